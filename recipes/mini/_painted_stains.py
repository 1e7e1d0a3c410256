"""Painted stained tissue and fluorescence."""

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

_STAINS = {
    "pink": ((240, 215, 228), (224, 160, 190), (95, 60, 135)),
    "brown": ((236, 232, 226), (205, 175, 150), (125, 75, 40)),
    "blue": ((235, 238, 243), (190, 200, 225), (60, 70, 140)),
    "violet": ((238, 224, 240), (196, 140, 195), (70, 40, 110)),
}


def tissue(random: Random) -> Picture:
    """Stained tissue: clouds of pale colour, fibres, gaps and dark nuclei."""
    pale, body, dark = (np.array(c, float) for c in _STAINS[random.choice(list(_STAINS))])
    body = body + random.normal(0, 12, 3)
    shape = tools.shape(random)
    amount = tools.stretch(tools.clouds(random, shape, random.uniform(8, 60)))
    fibre = tools.stretch(tools.clouds(random, shape, random.uniform(2, 6), random.uniform(1, 4)))
    mix = np.clip(0.75 * amount + 0.45 * fibre, 0, 1)
    if random.random() < 0.5:
        mix *= tools.clouds(random, shape, random.uniform(30, 90)) > random.uniform(-1.3, -0.4)
    picture = pale + mix[..., None] * (body - pale)
    size = random.uniform(3, 14)
    cells = tools.cells(random, shape, random.integers(80, 900), size, (0.6, 1.0), crowd=amount)
    stain = ndimage.gaussian_filter(cells, 0.8) * random.uniform(0.6, 1)
    chromatin = 1 + 0.2 * tools.clouds(random, shape, 1.5)
    stain = np.clip(stain * chromatin, 0, 1)
    picture += stain[..., None] * (dark + random.normal(0, 10, 3) - picture)
    return tools.finish(random, picture, noise=4)


def two_stains(random: Random) -> Picture:
    """Paint tissue with two stains: islands of streaky cells, pale fibres with thin nuclei."""
    shape = tools.shape(random)
    ink = np.array(((150, 105, 55), (190, 70, 90), (120, 80, 150), (70, 120, 130)))
    first = ink[random.choice(4, p=(0.55, 0.15, 0.2, 0.1))] + random.normal(0, 12, 3)
    pale, cold = np.array((228, 226, 226)), np.array((120, 130, 170)) + random.normal(0, 12, 3)
    island = tools.clouds(random, shape, random.uniform(30, 90)) > random.uniform(-0.5, 0.5)
    inside = ndimage.gaussian_filter(island.astype(float), 2)
    stretch = random.uniform(1, 5)
    streaks = tools.stretch(tools.clouds(random, shape, random.uniform(1.5, 5), stretch))
    cells = tools.cells(random, shape, 1500, random.uniform(4, 12), (0.3, 0.9))
    nuclei = ndimage.gaussian_filter(cells, 1) * random.uniform(0.4, 0.9)
    fibre = tools.stretch(tools.clouds(random, shape, random.uniform(2, 5), 1 / stretch))
    picture = pale - (25 * fibre)[..., None]
    picture += (inside * (0.35 + 0.65 * streaks))[..., None] * (first - picture)
    sparse = nuclei * (0.5 + 0.5 * tools.stretch(tools.clouds(random, shape, 15)))
    picture += sparse[..., None] * (cold - picture)
    gaps = tools.clouds(random, shape, 25) > random.uniform(1.5, 2.5)
    picture += ndimage.gaussian_filter(gaps.astype(float), 1)[..., None] * (238 - picture)
    return tools.finish(random, picture, noise=4)


def glowing_nuclei(random: Random) -> Picture:
    """Fluorescent discs on black, in one colour or two, often out of focus."""
    shape = tools.shape(random)
    picture = np.zeros((*shape, 3))
    for _ in range(random.integers(1, 3)):
        size = random.uniform(2, 35)
        number = int(min(500, random.uniform(0.03, 0.4) * shape[0] * shape[1] / size**2 / 3))
        cells = tools.cells(random, shape, number + 2, size, (0.3, 1.0), brightness=(0.3, 1))
        cells = ndimage.gaussian_filter(cells, random.uniform(0.5, 4))
        cells *= 1 + 0.25 * tools.clouds(random, shape, random.uniform(1, 4))
        picture += 255 * cells[..., None] * np.array(tools.GLOWS[random.integers(len(tools.GLOWS))])
    return tools.finish(random, picture + random.uniform(0, 25), noise=random.uniform(1, 14))


def filaments(random: Random) -> Picture:
    """Bright wandering threads on a dark ground, with or without cell bodies."""
    shape = tools.shape(random)
    canvas = Image.new("L", shape[::-1])
    pen = ImageDraw.Draw(canvas)
    wiggle = random.uniform(0.02, 0.3)
    for _ in range(random.integers(15, 160)):
        width = int(random.integers(1, 4))
        path = tools.walk(random, shape, random.integers(20, 120), 5.0, wiggle)
        pen.line(path, fill=int(random.uniform(80, 255)), width=width)
    light = ndimage.gaussian_filter(np.asarray(canvas, float), random.uniform(0.6, 2))
    picture = light[..., None] * np.array(tools.GLOWS[random.integers(len(tools.GLOWS))])
    if random.random() < 0.5:
        nuclei = tools.cells(
            random, shape, random.integers(3, 30), random.uniform(10, 25), (0.5, 1)
        )
        picture += 200 * ndimage.gaussian_filter(nuclei, 2)[..., None] * np.array((0.1, 0.3, 1))
    return tools.finish(random, picture + random.uniform(0, 30), noise=random.uniform(1, 14))
