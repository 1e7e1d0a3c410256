"""What painters of artificial pictures share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

if TYPE_CHECKING:
    import numpy.typing as npt

    Random = np.random.Generator
    Plane = npt.NDArray[np.float64]
    Picture = npt.NDArray[np.uint8]


GLOWS = ((1, 1, 1), (0.15, 0.35, 1), (0.1, 1, 0.2), (1, 0.15, 0.1), (1, 0.2, 0.9), (0.1, 0.9, 0.9))
"""Colours of fluorescent dyes, as shares of red, green and blue."""


def shape(random: Random) -> tuple[int, int]:
    return [(480, 640), (512, 512), (384, 512), (640, 480)][random.integers(4)]


def clouds(random: Random, shape: tuple[int, int], size: float, stretch: float = 1.0) -> Plane:
    """Smooth noise of unit variance with features of about ``size`` pixels."""
    step = max(1, int(size / 3))
    coarse = tuple(side // step + 8 for side in shape)
    plane = random.normal(0, 1, coarse)
    plane = ndimage.gaussian_filter(plane, (size / step, size / step * stretch))
    plane = ndimage.zoom(plane, step, order=1)[: shape[0], : shape[1]]
    return np.asarray((plane - plane.mean()) / (plane.std() + 1e-9))


def stretch(plane: Plane) -> Plane:
    low, high = np.percentile(plane, (2, 98))
    return np.asarray(np.clip((plane - low) / (high - low + 1e-9), 0, 1))


def cells(
    random: Random,
    shape: tuple[int, int],
    number: int | np.integer[Any],
    size: float,
    aspect: tuple[float, float],
    *,
    brightness: tuple[float, float] = (0.7, 1.0),
    crowd: Plane | None = None,
) -> Plane:
    """Scatter wobbly ellipses, values 0 to 1; ``crowd`` (0 to 1) says where they gather."""
    canvas = Image.new("L", shape[::-1])
    pen = ImageDraw.Draw(canvas)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    for _ in range(int(number)):
        row, column = random.uniform(0, shape[0]), random.uniform(0, shape[1])
        if crowd is not None and random.random() > crowd[int(row), int(column)]:
            continue
        long = size * random.lognormal(0, 0.25)
        wobble = 1 + 0.1 * random.normal() * np.cos(2 * angles) + 0.06 * np.cos(3 * angles)
        turn, thin = random.uniform(0, np.pi), random.uniform(*aspect)
        x, y = long * wobble * np.cos(angles), long * thin * wobble * np.sin(angles)
        across = column + x * np.cos(turn) - y * np.sin(turn)
        down = row + x * np.sin(turn) + y * np.cos(turn)
        fill = int(255 * random.uniform(*brightness))
        pen.polygon(list(zip(across, down, strict=True)), fill=fill)
    return np.asarray(canvas, float) / 255


def walk(
    random: Random,
    shape: tuple[int, int],
    steps: int | np.integer[Any],
    length: float,
    wiggle: float,
    *,
    start: tuple[float, float] | None = None,
) -> list[tuple[float, float]]:
    """Walk a wandering path of (x, y) points."""
    x, y = start or (random.uniform(0, shape[1]), random.uniform(0, shape[0]))
    turns = random.uniform(0, 2 * np.pi) + np.cumsum(random.normal(0, wiggle, int(steps)))
    across, down = x + np.cumsum(length * np.cos(turns)), y + np.cumsum(length * np.sin(turns))
    return [(float(x), float(y)), *zip(across.tolist(), down.tolist(), strict=True)]


def gray(plane: Plane) -> Plane:
    return np.repeat(plane[..., None], 3, axis=2)


def finish(random: Random, picture: Plane, *, noise: float) -> Picture:
    """Add sensor noise and round to bytes."""
    one_channel = np.ptp(picture, axis=2).max() < 1
    grain = random.normal(0, 1, (*picture.shape[:2], 1 if one_channel else 3))
    return np.clip(picture + noise * grain, 0, 255).round().astype(np.uint8)
