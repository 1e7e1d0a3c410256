"""Drawings, charts, pages, gels and noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from . import _painted_tools as tools

if TYPE_CHECKING:
    import numpy.typing as npt

    Random = np.random.Generator
    Picture = npt.NDArray[np.uint8]


def drawing(random: Random) -> Picture:
    """Draw lines, or a cartoon of flat colours."""
    shape = tools.shape(random)
    filled = random.random() < 0.5
    paper = tuple(int(v) for v in random.integers(225, 256, 3))
    canvas = Image.new("RGB", shape[::-1], paper)
    pen = ImageDraw.Draw(canvas)
    width = int(random.integers(1, 6))
    for _ in range(random.integers(5, 60)):
        fill = tuple(int(v) for v in random.integers(0, 256, 3)) if filled else None
        row, column = random.uniform(0, shape[0]), random.uniform(0, shape[1])
        high, wide = random.uniform(5, shape[0] / 2.5, 2)
        kind = random.integers(4)
        box = [column, row, column + wide, row + high]
        if kind == 0:
            pen.ellipse(box, fill=fill, outline=(0, 0, 0), width=width)
        elif kind == 1:
            pen.rectangle(box, fill=fill, outline=(0, 0, 0), width=width)
        elif kind == 2:
            points = tools.walk(random, shape, 6, 40.0, 0.9, start=(column, row))
            pen.polygon(points, fill=fill, outline=(0, 0, 0), width=width)
        else:
            points = tools.walk(random, shape, 30, 8.0, 0.3, start=(column, row))
            pen.line(points, fill=(20, 20, 20), width=width)
    return tools.finish(random, np.asarray(canvas, float), noise=random.choice([0, 0, 4]))


def chart(random: Random) -> Picture:
    """Axes with curves, bars or points."""
    shape = tools.shape(random)
    canvas = Image.new("RGB", shape[::-1], (255, 255, 255))
    pen = ImageDraw.Draw(canvas)
    left, top, right, bottom = 50, 25, shape[1] - 25, shape[0] - 40
    pen.rectangle([left, top, right, bottom], outline=(0, 0, 0), width=2)
    for tick in np.linspace(left, right, 7):
        pen.line([tick, bottom, tick, bottom + 6], fill=(0, 0, 0))
        pen.text((tick - 8, bottom + 10), f"{random.uniform(0, 99):.1f}", fill=(0, 0, 0))
    for _ in range(random.integers(1, 6)):
        ink = tuple(int(v) for v in random.integers(0, 220, 3))
        across = np.linspace(left + 5, right - 5, int(random.integers(5, 60)))
        up = np.cumsum(random.normal(0, 1, len(across)))
        up = bottom - 10 - (up - up.min()) / (np.ptp(up) + 1e-9) * (bottom - top - 30)
        kind = random.integers(3)
        if kind == 0:
            pen.line(list(zip(across, up, strict=True)), fill=ink, width=2)
        for x, y in zip(across, up, strict=True):
            if kind == 1:
                pen.rectangle([x - 3, y, x + 3, bottom], fill=ink)
            elif kind == 2:
                pen.ellipse([x - 3, y - 3, x + 3, y + 3], fill=ink)
    return tools.finish(random, np.asarray(canvas, float), noise=0)


def page(random: Random) -> Picture:
    """Lines of small dark text on pale paper, or the reverse."""
    shape = tools.shape(random)
    reverse = random.random() < 0.3
    paper, ink = (random.integers(0, 60), 220) if reverse else (random.integers(200, 256), 20)
    canvas = Image.new("L", shape[::-1], int(paper))
    pen = ImageDraw.Draw(canvas)
    size = int(random.integers(9, 30))
    for row in range(15, shape[0] - size, int(size * random.uniform(1.2, 1.9))):
        letters = [chr(c) for c in random.integers(97, 123, 200)]
        text = "".join(" " if random.random() < 0.17 else c for c in letters)
        pen.text((20, row), text[: int(shape[1] / size * 1.7)], fill=ink, font_size=size)
    light = 1 + 0.12 * tools.clouds(random, shape, 150) * (random.random() < 0.5)
    return tools.finish(random, tools.gray(np.asarray(canvas) * light), noise=random.choice([0, 5]))


def bands(random: Random) -> Picture:
    """Smooth shapes seen by rays or on gels: bright soft forms on black, or dark lanes."""
    shape = tools.shape(random)
    if random.random() < 0.4:
        gray = np.full(shape, random.uniform(170, 230))
        for lane in np.linspace(30, shape[1] - 30, int(random.integers(4, 14))):
            for row in random.uniform(20, shape[0] - 20, random.integers(2, 9)):
                rows, columns = np.ogrid[: shape[0], : shape[1]]
                spot = np.exp(-(((rows - row) / 5) ** 2)) * (np.abs(columns - lane) < 13)
                gray -= random.uniform(20, 150) * spot
        return tools.finish(random, tools.gray(ndimage.gaussian_filter(gray, 1.5)), noise=5)
    gray = np.zeros(shape)
    for _ in range(random.integers(3, 25)):
        cells = tools.cells(random, shape, 1, random.uniform(15, 180), (0.2, 1))
        gray += random.uniform(-40, 80) * ndimage.gaussian_filter(cells, random.uniform(1, 12))
    return tools.finish(random, tools.gray(gray + 15 + 8 * tools.clouds(random, shape, 5)), noise=6)


def noise(random: Random) -> Picture:
    """Blank fields, gradients and noise of every roughness, gray or coloured."""
    shape = tools.shape(random)
    picture = np.ones((*shape, 3)) * random.uniform(0, 255, 3)
    if random.random() < 0.5:
        picture = np.ones((*shape, 3)) * random.uniform(0, 255)
    rows, columns = np.indices(shape) / max(shape)
    picture += (
        random.choice([0, 80]) * (rows * random.normal() + columns * random.normal())[..., None]
    )
    amount = random.choice([0, 0, 5, 20, 60])
    rough = random.choice([0.01, 1, 3, 10, 40])
    if random.random() < 0.5:
        picture += amount * tools.clouds(random, shape, rough)[..., None]
    else:
        picture += amount * np.stack([tools.clouds(random, shape, rough) for _ in range(3)], -1)
    return tools.finish(random, picture, noise=random.choice([0, 2, 20]))
