"""Labelled regions of the development images as weights over the model's grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_patchioner.regions import Box, Mask

if TYPE_CHECKING:
    from napari_patchioner.regions import Region

    from .coco_folders import LabelledImage, LabelledRegion

    FloatArray = np.typing.NDArray[np.float32]

Kind = Literal["box", "mask", "stuff", "window"]
JITTERS = 3
JITTER = 0.15
WINDOWS = ((1.0, 1), (0.6, 3), (0.35, 5), (0.2, 7))
"""Side of the windows as a share of the image's, and how many steps each way."""


@dataclass(frozen=True, eq=False, slots=True)
class Example:
    """One labelled region, or a jittered copy of one.

    Attributes
    ----------
    image : str
        File name of the photograph; folds are split by it.
    kind : {"box", "mask", "stuff", "window"}
        How the region was outlined.
    category : str
        Plain name of the object or stuff class.
    area : float
        Fraction of the image.
    copy : int
        0 for the region itself, 1 and up for jittered boxes.
    weights : ndarray of float32, shape (cells,)
        Covered fraction of each cell of the image's grid, normalised to sum to one.
    """

    image: str
    kind: Kind
    category: str
    area: float
    copy: int
    weights: FloatArray


def examples(
    image: LabelledImage, grid: tuple[int, int], generator: np.random.Generator
) -> list[Example]:
    """All examples of one image.

    Parameters
    ----------
    image : LabelledImage
    grid : tuple of int
        ``(rows, columns)``.
    generator : numpy.random.Generator
        Draws the jitter.

    Returns
    -------
    list of Example
        Boxes with their jittered copies, object masks, stuff masks.
    """
    found: list[Example] = []

    def add(kind: Kind, labelled: LabelledRegion, region: Region, copy: int = 0) -> None:
        weights = coverage(region, image.size, grid)
        if weights.sum() > 0:
            weights = weights / weights.sum()
            found.append(
                Example(image.file_name, kind, labelled.category, labelled.area, copy, weights)
            )

    for labelled in image.boxes:
        add("box", labelled, labelled.region)
        assert isinstance(labelled.region, Box)
        for copy in range(JITTERS):
            add("box", labelled, _jittered(labelled.region, image.size, generator), copy + 1)
    for labelled in image.masks:
        add("mask", labelled, labelled.region)
    for labelled in image.stuff:
        add("stuff", labelled, labelled.region)
    return found


def windows(name: str, grid: tuple[int, int]) -> list[Example]:
    """Windows of several sizes laid evenly over an image, whatever it shows.

    Parameters
    ----------
    name : str
        File name of the image.
    grid : tuple of int
        ``(rows, columns)``.

    Returns
    -------
    list of Example
        The whole image first; categories are empty.
    """
    found = []
    for side, steps in WINDOWS:
        for row, column in np.ndindex(steps, steps):
            top, left = (step * (1 - side) / max(steps - 1, 1) for step in (row, column))
            rows = _overlap(top, top + side, 1, grid[0])
            columns = _overlap(left, left + side, 1, grid[1])
            weights = np.outer(rows, columns).astype(np.float32).ravel()
            weights = weights / weights.sum()
            found.append(Example(name, "window", "", side**2, 0, weights))
    return found


def coverage(region: Region, size: tuple[int, int], grid: tuple[int, int]) -> FloatArray:
    """Fraction of every cell that a box or mask covers.

    Parameters
    ----------
    region : Box or Mask
    size : tuple of int
        ``(height, width)`` of the image in pixels.
    grid : tuple of int
        ``(rows, columns)``.

    Returns
    -------
    ndarray of float32, shape (rows * columns,)
    """
    if isinstance(region, Box):
        rows = _overlap(region.top + 0.5, region.bottom + 0.5, size[0], grid[0])
        columns = _overlap(region.left + 0.5, region.right + 0.5, size[1], grid[1])
        return np.outer(rows, columns).astype(np.float32).ravel()
    assert isinstance(region, Mask)
    pixels = np.zeros(size, np.float32)
    top, left = region.offset
    height, width = region.pixels.shape
    pixels[top : top + height, left : left + width] = region.pixels
    rows_of = _averaging(size[0], grid[0])
    columns_of = _averaging(size[1], grid[1])
    return (rows_of @ pixels @ columns_of.T).astype(np.float32).ravel()


def _overlap(start: float, stop: float, length: float, cells: int) -> FloatArray:
    """Fraction of each of ``cells`` equal parts of ``[0, length]`` inside ``[start, stop]``."""
    edges = np.linspace(0, length, cells + 1)
    inside = np.minimum(stop, edges[1:]) - np.maximum(start, edges[:-1])
    share: FloatArray = (np.clip(inside, 0, None) * cells / length).astype(np.float32)
    return share


@cache
def _averaging(length: int, cells: int) -> FloatArray:
    """Matrix (cells, length) that averages pixels into equal parts, split pixels shared."""
    return np.stack([_overlap(pixel, pixel + 1, length, cells) for pixel in range(length)], axis=1)


def _jittered(box: Box, size: tuple[int, int], generator: np.random.Generator) -> Box:
    """Move each edge by up to `JITTER` of the side, staying on the image."""
    height, width = box.bottom - box.top, box.right - box.left
    shift = generator.uniform(-JITTER, JITTER, 4) * (height, width, height, width)
    top, bottom = np.clip([box.top + shift[0], box.bottom + shift[2]], -0.5, size[0] - 0.5)
    left, right = np.clip([box.left + shift[1], box.right + shift[3]], -0.5, size[1] - 0.5)
    return Box(float(top), float(left), float(bottom), float(right))
