"""How well a phrase is found in large images: on a smaller size of them, and part by part as well.

Sixteen development photographs beside each other make one image of 2560 by 1920 pixels, so that a
thing is a sixteenth as large as in its photograph. Each category that one or two of them show is
asked for.

``python -m recipes.mini.find_large --data DIR`` prints the table of ``docs/finding.md``.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from napari_patchioner import load_model
from napari_patchioner.evaluation.protocols.page import markdown_table
from napari_patchioner.grids import GridStore
from napari_patchioner.grounding import PhraseScorer, find_in_levels
from napari_patchioner.images import Levels
from napari_patchioner.regions import Box
from napari_patchioner.teaching import overlap

from .coco_folders import development_images
from .find_by_text import phrase_of
from .options import measure_parser

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from .coco_folders import LabelledImage

WIDTH, HEIGHT, ACROSS = 640, 480, 4
# Share of the union from which on a proposal shows a thing.
ALIKE = 0.3


class Answer(NamedTuple):
    """Whether the first, or one of the first five, is in the right photograph, and the box."""

    photograph: bool
    photograph5: bool
    box: bool
    box5: bool


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table.

    Parameters
    ----------
    arguments : sequence of str, optional
        ``sys.argv`` without the program's name.
    """
    parser = measure_parser(__doc__, folds=False)
    parser.add_argument("--model", default="mini")
    given = parser.parse_args(arguments)
    images = list(development_images(given.data))
    order = np.random.default_rng(3).permutation(len(images))
    images = [images[row] for row in order]
    captioner = load_model(given.model)
    answers: dict[bool, list[Answer]] = defaultdict(list)
    seconds: dict[bool, list[float]] = defaultdict(list)
    count = len(images) // ACROSS**2
    for number in range(0, count, given.every):
        store = GridStore(given.grids) if given.grids is not None else None
        tiles = images[number * ACROSS**2 :][: ACROSS**2]
        levels = Levels(mosaic(tiles))
        for category, boxes in boxes_of(tiles).items():
            places = {tile_of(box) for box in boxes}
            if len(places) > 2:
                continue
            scorer = PhraseScorer(captioner, phrase_of(category))
            for in_parts in (False, True):
                started = time.perf_counter()
                proposals = find_in_levels(
                    captioner, scorer, levels, in_parts=in_parts, store=store
                ).proposals
                seconds[in_parts].append(time.perf_counter() - started)
                rows = [corners(proposal.box) for proposal in proposals[:5]]
                right = [bool((overlap(row, boxes) >= ALIKE).any()) for row in rows]
                within = [tile_of(row) in places for row in rows]
                answers[in_parts].append(
                    Answer(any(within[:1]), any(within), any(right[:1]), any(right))
                )
    table = []
    for in_parts, title in ((False, "a smaller size of all of it"), (True, "and in parts")):
        shares = np.mean(answers[in_parts], axis=0)
        median = float(np.median(seconds[in_parts]))
        table.append([title, *(f"{share:.0%}" for share in shares), f"{median:.2f} s"])
    print(f"{len(answers[True])} phrases on {-(-count // given.every)} images")
    heads = ["searched", "right part @1", "@5", f"box (IoU {ALIKE}) @1", "@5", "time"]
    print(markdown_table(heads, table))


def mosaic(tiles: Sequence[LabelledImage]) -> npt.NDArray[np.uint8]:
    """Return photographs beside each other, shape (height, width, 3)."""
    pixels = np.zeros((HEIGHT * ACROSS, WIDTH * ACROSS, 3), np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, ACROSS)
        top, left = row * HEIGHT, column * WIDTH
        small = Image.fromarray(tile.pixels()).resize((WIDTH, HEIGHT))
        pixels[top : top + HEIGHT, left : left + WIDTH] = np.asarray(small)
    return pixels


def boxes_of(tiles: Sequence[LabelledImage]) -> dict[str, npt.NDArray[np.float64]]:
    """Return the corners of what a mosaic shows by category, shape (n, 4)."""
    boxes: dict[str, list[npt.NDArray[np.float64]]] = defaultdict(list)
    for number, tile in enumerate(tiles):
        height, width = tile.size
        origin = np.multiply(divmod(number, ACROSS), (HEIGHT, WIDTH))
        scale = np.array((HEIGHT / height, WIDTH / width))
        for labelled in tile.boxes:
            own = corners(labelled.region.bounds())
            boxes[labelled.category].append((own.reshape(2, 2) * scale + origin).ravel())
    return {category: np.array(rows) for category, rows in boxes.items()}


def corners(box: Box) -> npt.NDArray[np.float64]:
    """Return the corners of a box, pixel corners at integers."""
    return np.array((box.top, box.left, box.bottom, box.right), float) + 0.5


def tile_of(box: npt.NDArray[np.float64]) -> int:
    """Return in which photograph of a mosaic the middle of a box lies."""
    row, column = (box[:2] + box[2:]) / 2 // (HEIGHT, WIDTH)
    return int(row) * ACROSS + int(column)


if __name__ == "__main__":
    main()
