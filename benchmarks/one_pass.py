"""One look at the image for all regions, against one look per cut-out region.

``python benchmarks/one_pass.py [--model mini] [--regions 1 5 20 100]``

Both ways run in the same process on the same photograph, so their ratio means something on any
machine; the seconds do not.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import numpy as np
import skimage.data
import torch

from napari_patchioner.models import load_model
from napari_patchioner.regions import Box, WholeImage

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--regions", type=int, nargs="+", default=[1, 5, 20, 100])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    captioner = load_model(options.model)
    image = skimage.data.coffee()
    together(captioner, image, draw_boxes(image, 2))
    print(f"{'regions':>8} {'one pass':>10} {'crops':>10} {'ratio':>7}")
    for count in options.regions:
        boxes = draw_boxes(image, count)
        ours = seconds(lambda boxes=boxes: together(captioner, image, boxes))
        # The cost of a crop hardly depends on which one it is: twenty stand for a hundred.
        few = boxes[:20]
        crops = seconds(lambda few=few: one_by_one(captioner, image, few)) * count / len(few)
        print(f"{count:8d} {ours:9.2f}s {crops:9.2f}s {crops / ours:6.1f}x")


def draw_boxes(image: np.ndarray, count: int) -> list[Box]:
    """Boxes of a fifth to a half of each side, the same ones for the same count."""
    generator = np.random.default_rng(0)
    height, width = image.shape[:2]
    boxes = []
    for _ in range(count):
        rows, columns = generator.uniform(0.2, 0.5, 2) * (height, width)
        top, left = generator.uniform(0, 1, 2) * (height - rows - 1, width - columns - 1)
        boxes.append(Box(top, left, top + rows, left + columns))
    return boxes


def together(captioner: Captioner, image: np.ndarray, boxes: list[Box]) -> None:
    captioner.caption(captioner.encode(image), boxes)


def one_by_one(captioner: Captioner, image: np.ndarray, boxes: list[Box]) -> None:
    for box in boxes:
        rows = slice(round(box.top), round(box.bottom) + 1)
        columns = slice(round(box.left), round(box.right) + 1)
        captioner.caption(captioner.encode(image[rows, columns]), [WholeImage()])


def seconds(work: object) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
