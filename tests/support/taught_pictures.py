"""Drawn pictures of spots and rods in colours, with the boxes around them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_patchioner.captioner import Captioner
from napari_patchioner.grids import FeatureGrid
from napari_patchioner.regions import Box
from napari_patchioner.teaching import Lexicon
from napari_patchioner.teaching.measures import measured_planes

COLOURS = {"nucleus": (110, 30, 150), "leaf": (30, 120, 40), "grain": (200, 150, 40)}
SIZES = {"nucleus": 26, "leaf": 40, "grain": 12}


@dataclass(frozen=True, eq=False)
class Drawn:
    """A picture with what is drawn on it, encoded."""

    name: str
    pixels: np.ndarray
    boxes: list[Box]
    names: list[str]
    grid: FeatureGrid


def draw(seed: int, kinds: list[str], height: int = 160, width: int = 240) -> tuple:
    """Return a picture with one thing of each kind, in its own cell of a raster; their boxes."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 225, np.int16)
    pixels += rng.integers(-6, 7, pixels.shape, dtype=np.int16)
    boxes, columns = [], width // 60
    rows, across = np.mgrid[:height, :width]
    for number, kind in enumerate(kinds):
        size = SIZES[kind] + int(rng.integers(-2, 3))
        top, left = 8 + 54 * (number // columns), 8 + 60 * (number % columns)
        middle = top + size / 2 - 0.5, left + size / 2 - 0.5
        inside = (rows - middle[0]) ** 2 + (across - middle[1]) ** 2 < (size / 2) ** 2
        pixels[inside] = COLOURS[kind] + rng.integers(-6, 7, (int(inside.sum()), 3))
        boxes.append(Box(top - 0.5, left - 0.5, top + size - 0.5, left + size - 0.5))
    return pixels.clip(0, 255).astype(np.uint8), boxes


def drawn(captioner: Captioner, seed: int, kinds: list[str]) -> Drawn:
    pixels, boxes = draw(seed, kinds)
    return Drawn(f"{seed}.png", pixels, boxes, kinds, captioner.encode(pixels))


def taught(captioner: Captioner, image: Drawn, rows: list[int] | None = None) -> Lexicon:
    """Return a lexicon of some things of a picture, all by default."""
    rows = list(range(len(image.boxes))) if rows is None else rows
    return Lexicon.teach(
        captioner,
        image.grid,
        image.pixels,
        [image.boxes[row] for row in rows],
        [image.names[row] for row in rows],
        uids=[str(row) for row in rows],
        image_name=image.name,
    )


def planes(pixels: np.ndarray) -> np.ndarray:
    """Return what is measured of all of a picture."""
    return measured_planes(pixels)
