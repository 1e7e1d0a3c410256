"""Pooled vectors of labelled regions and of plain windows: what heads are fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.backbones.mini import SIZE, grid_shape, interpolation

from .coco_folders import FOLDERS, MORE_FOLDERS, development_images
from .features import read_features
from .regions import Example, examples, windows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FloatArray: TypeAlias = npt.NDArray[np.float32]

SMALLEST = 0.004
COMMERCIAL = (4, 5, 6, 7, 8)
WINDOW_SHARE = 0.3
"""Of an image's smaller windows; one image's many windows tell little more."""
_LARGE = 0.3


@dataclass(frozen=True, eq=False, slots=True)
class Pooled:
    """Regions of the development images as the bridge will see them.

    Attributes
    ----------
    features : ndarray of float32, shape (n, dim)
    images : ndarray of str, shape (n,)
        File name each region belongs to.
    categories : ndarray of str, shape (n,)
        Plain category names; empty for windows.
    kinds : ndarray of str, shape (n,)
        ``"box"``, ``"mask"``, ``"stuff"`` or ``"window"``.
    areas : ndarray of float32, shape (n,)
        Fraction of the image.
    copies : ndarray of int64, shape (n,)
        0 for the region itself, 1 and up for jittered boxes.
    clean : ndarray of bool, shape (n,)
        Whether the photograph's licence allows commercial use.
    """

    features: FloatArray
    images: npt.NDArray[np.str_]
    categories: npt.NDArray[np.str_]
    kinds: npt.NDArray[np.str_]
    areas: FloatArray
    copies: npt.NDArray[np.int64]
    clean: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False, slots=True)
class Tags:
    """What is known of whole images: names, and where they came from.

    Attributes
    ----------
    categories : frozenset of str
        Objects and stuff the image is said to show.
    stuff_known : bool
        Whether the list of stuff is complete; otherwise only what the captions say is known.
    captions : tuple of str
    things_known : bool
        Whether the list of things is complete.
    """

    categories: frozenset[str]
    stuff_known: bool
    captions: tuple[str, ...]
    things_known: bool = True


def pool_development_images(
    data: Path, cache: Path, *, seed: int = 0
) -> tuple[Pooled, Pooled, dict[str, Tags]]:
    """Pool every labelled region and some windows of every image of all folders.

    Parameters
    ----------
    data : Path
        The data folder.
    cache : Path
        Where `compute_features` wrote.
    seed : int
        Draws the jittered boxes and the windows.

    Returns
    -------
    regions : Pooled
    windows : Pooled
        Laid out without looking at any label.
    tags : dict of str to Tags
        By file name.
    """
    generator = np.random.default_rng(seed)
    regions: list[tuple[Example, FloatArray, bool]] = []
    plain: list[tuple[Example, FloatArray, bool]] = []
    tags: dict[str, Tags] = {}
    for image in development_images(data, (*FOLDERS, *MORE_FOLDERS), smallest=SMALLEST):
        grid = grid_shape(*image.size)
        clean = image.licence in COMMERCIAL
        laid = [
            window
            for window in windows(image.file_name, grid)
            if generator.random() < WINDOW_SHARE or window.area > _LARGE
        ]
        for found, target in ((examples(image, grid, generator), regions), (laid, plain)):
            means = _pool(found, cache, image.file_name, grid)
            target.extend(
                (example, mean, clean) for example, mean in zip(found, means, strict=True)
            )
        tags[image.file_name] = Tags(
            frozenset(labelled.category for labelled in (*image.boxes, *image.stuff)),
            bool(image.stuff),
            image.captions,
            image.complete,
        )
    return _stack(regions), _stack(plain), tags


def _pool(found: Sequence[Example], cache: Path, name: str, grid: tuple[int, int]) -> FloatArray:
    """Weighted means of ``[deep | middle]``."""
    if not found:
        return np.zeros((0, 0), np.float32)
    weights = np.stack([example.weights for example in found])
    parts = []
    for features in read_features(cache, name, SIZE):
        rows, columns, channels = features.shape
        spread = weights.reshape(-1, *grid) @ interpolation(columns, grid[1])
        spread = np.swapaxes(np.swapaxes(spread, 1, 2) @ interpolation(rows, grid[0]), 1, 2)
        cells = features.reshape(-1, channels).astype(np.float32)
        parts.append(spread.reshape(len(found), -1) @ cells)
    return np.concatenate(parts, axis=1)


def _stack(rows: list[tuple[Example, FloatArray, bool]]) -> Pooled:
    found = [row[0] for row in rows]
    return Pooled(
        features=np.stack([row[1] for row in rows]),
        images=np.array([example.image for example in found]),
        categories=np.array([example.category for example in found]),
        kinds=np.array([example.kind for example in found]),
        areas=np.array([example.area for example in found], np.float32),
        copies=np.array([example.copy for example in found]),
        clean=np.array([row[2] for row in rows]),
    )
