"""What a second look brings to small regions, and neighbours to points.

``python -m recipes.mini.small_regions --data DIR [--folds DIR] [--folders NAME ...] [--grids DIR]``

How either is done was chosen on one half of the images; numbers are of the other half, and of heads
that have not seen them: those of the folds, or the shipped one on photographs it was not fitted to.
"""

from __future__ import annotations

import hashlib
import statistics
import tempfile
import time
import zlib
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_patchioner.captioner import Captioner
from napari_patchioner.evaluation.metrics.mention import mentions
from napari_patchioner.evaluation.metrics.statistics import mean_interval
from napari_patchioner.evaluation.protocols.page import markdown_table
from napari_patchioner.regions import Mask, Point

from .card import captioner_for, shared_encoder
from .coco_folders import FOLDERS, development_images
from .kept_grids import key_of
from .measures import calibration_error
from .options import measure_parser

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_patchioner.decoders import Caption
    from napari_patchioner.regions import Region

    from .coco_folders import LabelledImage
    from .run import Encode

MODELS = ("mini", "mini-zeroshot")
SMALLEST, SMALL = 0.003, 0.02
POINTS = 3
PERSON = "person"


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said of a region of a category."""

    image: str
    category: str
    caption: Caption

    @property
    def is_named(self) -> bool:
        """Whether any of the names is right."""
        return mentions(self.caption.text, self.category)

    @property
    def is_plainly_wrong(self) -> bool:
        """Whether it is wrong and does not say that it may be."""
        return self.caption.verdict == "sure" and not self.is_named

    @property
    def is_first(self) -> bool:
        """Whether the most probable name is right, which is what the score is about."""
        concepts = self.caption.concepts
        return bool(concepts) and mentions(concepts[0][0], self.category)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables.

    Parameters
    ----------
    arguments : sequence of str, optional
        ``sys.argv`` without the program's name.
    """
    parser = measure_parser(__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS, help="which models")
    parser.add_argument("--folders", nargs="+", default=FOLDERS, help="parts of the data")
    parser.add_argument("--most", type=int, default=4, help="regions of a kind and image")
    given = parser.parse_args(arguments)
    images = development_images(given.data, given.folders, smallest=SMALLEST)
    chosen = [image for image in images if is_reported(image.file_name)][:: given.every]
    answers: defaultdict[tuple[str, str], list[Answer]] = defaultdict(list)
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as scratch:
        models = {name: captioner_for(name, given.folds, Path(scratch)) for name in given.models}
        for image in chosen:
            for name, captioner_of in models.items():
                captioner = captioner_of(image.file_name)
                assert isinstance(captioner, Captioner)
                encode = shared_encoder(captioner, given.grids)
                for way, answer in ask(captioner, encode, image, given.most, seconds):
                    answers[name, way].append(answer)
    header = ["model", "regions", "n", "named", "not people", "plainly wrong", "score error"]
    print(markdown_table(header, [row(*key, found) for key, found in answers.items()]))
    print({what: f"{1000 * statistics.median(each):.0f} ms" for what, each in seconds.items()})


def is_reported(file_name: str) -> bool:
    """Whether an image is of the half that nothing was chosen on."""
    return int(hashlib.sha256(f"t{file_name}".encode()).hexdigest(), 16) % 2 == 1


def ask(
    captioner: Captioner,
    encode: Encode,
    image: LabelledImage,
    most: int,
    seconds: dict[str, list[float]],
) -> Iterator[tuple[str, Answer]]:
    """Caption some small boxes, and points inside objects, in both ways.

    Parameters
    ----------
    captioner : Captioner
    encode : callable
        Pixels and their key to grid.
    image : LabelledImage
    most : int
        Boxes, and objects with points, at most.
    seconds : dict of str to list of float
        Gets the time for the image, for a small region, and for its second look.

    Yields
    ------
    tuple
        The way, and what was said.
    """
    generator = np.random.default_rng(zlib.crc32(image.file_name.encode()))
    boxes = [one for one in image.boxes if one.area <= SMALL]
    masks = [one for one in image.masks if isinstance(one.region, Mask)]
    boxes, masks = (
        [found[pick] for pick in generator.permutation(len(found))[:most]]
        for found in (boxes, masks)
    )
    if not boxes and not masks:
        return
    start = time.perf_counter()
    pixels = image.pixels()
    grid = encode(pixels, key_of(pixels))
    seconds["encoding an image"].append(time.perf_counter() - start)
    drawn: list[tuple[str, Region]] = []
    for one in masks:
        assert isinstance(one.region, Mask)
        inside = np.argwhere(one.region.pixels) + one.region.offset
        places = inside[generator.integers(len(inside), size=POINTS)]
        drawn += [(one.category, Point(float(row), float(column))) for row, column in places]
    asked = {"boxes": [(one.category, one.region) for one in boxes], "points": drawn}
    narrow = replace(captioner, spread=0.0)
    for kind, pairs in asked.items():
        if not pairs:
            continue
        regions = [region for _, region in pairs]
        for after in (False, True):
            start = time.perf_counter()
            if kind == "boxes":
                captions = captioner.caption(grid, regions, no_close_up=not after)
            else:
                captions = (captioner if after else narrow).caption(grid, regions)
            spent = (time.perf_counter() - start) / len(regions)
            if kind == "boxes":
                seconds["a box, two looks" if after else "a box, one look"].append(spent)
            way = {
                ("boxes", False): "boxes of 0.3-2 %, one look",
                ("boxes", True): "boxes of 0.3-2 %, two looks",
                ("points", False): "points, their patch",
                ("points", True): "points, and around them",
            }[kind, after]
            for (category, _), caption in zip(pairs, captions, strict=True):
                yield way, Answer(image.file_name, category, caption)


def row(model: str, way: str, found: Sequence[Answer]) -> list[str]:
    """Cells of one line of the table."""
    files = [one.image for one in found]
    others = [one for one in found if one.category != PERSON]
    named = mean_interval([float(one.is_named) for one in found], files)
    scores = [one.caption.score for one in found]
    return [
        model,
        way,
        str(len(found)),
        f"{named.mean:.3f} ({named.low:.3f} to {named.high:.3f})",
        f"{np.mean([one.is_named for one in others]):.3f}",
        f"{np.mean([one.is_plainly_wrong for one in found]):.3f}",
        f"{calibration_error(scores, [float(one.is_first) for one in found]):.3f}",
    ]


if __name__ == "__main__":
    main()
