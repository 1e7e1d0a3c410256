"""How well boxes are named in pictures that are compressed, turned, tiny, gray or dark.

``python -m recipes.mini.robustness --data DIR --folds DIR [--grids DIR] [--every N]`` fills the
table of the model card. Every box is asked of a head that has not seen the photograph.
"""

from __future__ import annotations

import io
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from napari_patchioner.annotations import encode_text, write_bytes
from napari_patchioner.evaluation.protocols.page import markdown_table
from napari_patchioner.regions import Box

from .card import captioner_for, fill_blocks, shared_encoder
from .coco_folders import FOLDERS, development_images
from .kept_grids import key_of
from .options import measure_parser
from .small_regions import MODELS, Answer, row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import TypeAlias

    import numpy.typing as npt

    from .coco_folders import LabelledImage
    from .run import Captions, Encode

    Pixels: TypeAlias = npt.NDArray[np.uint8]

QUALITY, TINY = 10, 64
HEADER = ("model", "pictures", "n", "named", "not people", "plainly wrong", "score error")


def compressed(pixels: Pixels) -> Pixels:
    """Save a picture, shape (height, width, 3), as a JPEG of low quality and read it again."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY)
    return np.asarray(Image.open(file))


def turned(pixels: Pixels) -> Pixels:
    """Turn a picture by a quarter, counterclockwise."""
    return np.ascontiguousarray(np.rot90(pixels))


def tiny(pixels: Pixels) -> Pixels:
    """Bring the long side of a picture down to a few pixels."""
    height, width = pixels.shape[:2]
    scale = TINY / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def gray(pixels: Pixels) -> Pixels:
    """Take the colours out of a picture."""
    return np.asarray(Image.fromarray(pixels).convert("L").convert("RGB"))


def dark(pixels: Pixels) -> Pixels:
    """Halve the brightness of a picture."""
    return pixels // 2


WAYS: Mapping[str, Callable[[Pixels], Pixels]] = {
    "as they are": lambda pixels: pixels,
    f"JPEG of quality {QUALITY}": compressed,
    "turned by 90°": turned,
    f"{TINY} pixels on the long side": tiny,
    "gray": gray,
    "half as bright": dark,
}


def moved(box: Box, before: Pixels, after: Pixels, *, is_turned: bool = False) -> Box:
    """Find a box of a picture in what `WAYS` made of it."""
    edges = np.array([box.top, box.left, box.bottom, box.right]) + 0.5
    height, width = before.shape[:2]
    if is_turned:
        top, left, bottom, right = edges
        edges = np.array([width - right, top, width - left, bottom])
        height, width = width, height
    scale = np.tile(np.divide(after.shape[:2], (height, width)), 2)
    return Box(*(edges * scale - 0.5).tolist())


def ask(
    image: LabelledImage, captioners: Mapping[str, Captions], encode: Encode
) -> Iterable[tuple[str, str, list[Answer]]]:
    """Caption the boxes of an image in all ways; yields the model, the way and the answers."""
    pixels = image.pixels()
    boxes = [(one.category, one.region) for one in image.boxes if isinstance(one.region, Box)]
    for way, change in WAYS.items():
        changed = change(pixels)
        regions = [
            moved(region, pixels, changed, is_turned=change is turned) for _, region in boxes
        ]
        grid = encode(changed, key_of(changed))
        for name, captioner in captioners.items():
            pairs = zip(boxes, captioner.caption(grid, regions), strict=True)
            yield (
                name,
                way,
                [Answer(image.file_name, category, said) for (category, _), said in pairs],
            )


def measure(
    images: Iterable[LabelledImage],
    models: Mapping[str, Callable[[str], Captions]],
    encode: Encode,
) -> str:
    """Caption all boxes of photographs in all ways and return the table, the models in turn."""
    answers: defaultdict[tuple[str, str], list[Answer]] = defaultdict(list)
    for image in images:
        if image.boxes:
            captioners = {name: choose(image.file_name) for name, choose in models.items()}
            for name, way, said in ask(image, captioners, encode):
                answers[name, way] += said
    rows = [row(name, way, answers[name, way]) for name in models for way in WAYS]
    return markdown_table([*HEADER], rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and fill the table of the card.

    Parameters
    ----------
    arguments : sequence of str, optional
        ``sys.argv`` without the program's name.
    """
    parser = measure_parser(__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS, help="which models")
    parser.add_argument("--card", type=Path, default=Path("docs/models/mini.md"))
    given = parser.parse_args(arguments)
    images = list(development_images(given.data, FOLDERS))[:: given.every]
    with tempfile.TemporaryDirectory() as scratch:
        models = {name: captioner_for(name, given.folds, Path(scratch)) for name in given.models}
        first = models[given.models[0]](images[0].file_name)
        table = measure(images, models, shared_encoder(first, given.grids))
    print(table)
    text = given.card.read_text(encoding="utf-8")
    write_bytes(given.card, encode_text(fill_blocks(text, {"robustness": table})))


if __name__ == "__main__":
    main()
