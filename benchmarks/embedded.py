"""The embedded model: one look for all regions, beside cutting out each and looking at it.

The cost of a cut-out hardly depends on which one it is, so twenty stand for a hundred.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .rows import Row, fastest, in_turn

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner
    from napari_patchioner.regions import Box

CROPS = 20


def rows(threads: int, quick: bool) -> list[Row]:
    """Measure a look, one caption, and captions of 1 to 100 regions both ways."""
    import skimage.data
    import torch

    from napari_patchioner.models import load_model

    torch.set_num_threads(threads)
    captioner = load_model("mini")
    image = skimage.data.coffee()
    grid = captioner.encode(image)
    boxes = draw_boxes(image, 100)
    captioner.caption(grid, boxes[:2])
    single = sorted(fastest(lambda b=box: captioner.caption(grid, [b]), 1) for box in boxes)
    told = [
        Row("a look at an image", fastest(lambda: captioner.encode(image), 3)),
        Row("one caption, median of 100", single[50]),
        Row("one caption, slowest of 100", single[-1]),
    ]
    for count in (1, 5) if quick else (1, 5, 20, 100):
        few = boxes[: min(count, CROPS)]
        ours, crops = in_turn(
            [
                lambda c=count: captioner.caption(captioner.encode(image), boxes[:c]),
                lambda f=few: one_by_one(captioner, image, f),
            ],
            1 if quick else 2,
        )
        told.append(
            Row(
                f"{count} region{'s' * (count > 1)}, with the look",
                ours,
                against="crops",
                baseline=crops * count / len(few),
            )
        )
    return told


def draw_boxes(image: np.ndarray, count: int) -> list[Box]:
    """Boxes of a fifth to a half of each side, the same ones for the same count."""
    from napari_patchioner.regions import Box

    generator = np.random.default_rng(0)
    height, width = image.shape[:2]
    boxes = []
    for _ in range(count):
        sides = generator.uniform(0.2, 0.5, 2) * (height, width)
        top, left = generator.uniform(0, 1, 2) * (np.array([height, width]) - sides - 1)
        boxes.append(Box(top, left, top + sides[0], left + sides[1]))
    return boxes


def one_by_one(captioner: Captioner, image: np.ndarray, boxes: list[Box]) -> None:
    """Caption each box as an image of its own."""
    from napari_patchioner.regions import WholeImage

    for box in boxes:
        down = slice(round(box.top), round(box.bottom) + 1)
        across = slice(round(box.left), round(box.right) + 1)
        captioner.caption(captioner.encode(image[down, across]), [WholeImage()])
