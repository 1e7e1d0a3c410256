"""Painted views through other instruments: phase contrast, electrons, the eye."""

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


def phase_contrast(random: Random) -> Picture:
    """Gray cells with bright rims on a gray ground."""
    shape = tools.shape(random)
    size = random.uniform(6, 40)
    number = int(min(300, 0.3 * shape[0] * shape[1] / size**2 / 3)) + 1
    cells = ndimage.gaussian_filter(tools.cells(random, shape, number, size, (0.2, 0.9)), 1.5)
    halo = ndimage.gaussian_filter(cells, size / 4) - cells
    inside = cells * tools.clouds(random, shape, random.uniform(1.5, 4))
    ground = random.uniform(90, 190) + 12 * tools.clouds(random, shape, 120)
    gray = ground + random.uniform(60, 180) * halo + random.uniform(10, 45) * inside
    tint = np.array((1, 1, 1)) + (random.random() < 0.3) * random.normal(0, 0.05, 3)
    return tools.finish(random, gray[..., None] * tint, noise=random.uniform(1, 9))


def electron_micrograph(random: Random) -> Picture:
    """Gray noisy membranes, vesicles and dark grains, or particles on a flat ground."""
    shape = tools.shape(random)
    ridges = 1 - np.clip(np.abs(tools.clouds(random, shape, random.uniform(5, 30))) * 5, 0, 1)
    ridges += 0.6 * (
        1 - np.clip(np.abs(tools.clouds(random, shape, random.uniform(3, 12))) * 4, 0, 1)
    )
    organelles = tools.cells(random, shape, random.integers(0, 60), random.uniform(6, 40), (0.3, 1))
    organelles *= 0.5 + 0.5 * np.sin(tools.clouds(random, shape, 8) * random.uniform(5, 25))
    base = 0.3 * tools.clouds(random, shape, random.uniform(10, 60))
    gray = random.uniform(120, 200) - 70 * ridges - 60 * organelles + 25 * base
    if random.random() < 0.35:
        gray = 110 + 60 * ndimage.gaussian_filter(organelles, 1) + 25 * base
    gray = ndimage.gaussian_filter(gray, random.uniform(0.3, 1.2))
    return tools.finish(random, tools.gray(gray), noise=random.uniform(4, 35))


def fundus(random: Random) -> Picture:
    """Paint an orange disc on black with a bright spot and a tree of dark vessels."""
    shape = tools.shape(random)
    rows, columns = np.indices(shape)
    middle = np.array(shape) / 2
    radius = min(shape) * random.uniform(0.42, 0.75)
    distance = np.hypot(rows - middle[0], columns - middle[1]) / radius
    base = np.array((200, 95, 45)) * random.uniform(0.6, 1.15) + random.normal(0, 15, 3)
    shade = 1.05 - 0.5 * distance**2 + 0.08 * tools.clouds(random, shape, 25)
    picture = base * shade[..., None]
    away = np.array([random.uniform(-0.2, 0.2), random.choice([-0.6, 0.6])])
    disc = middle + radius * away
    spot = np.exp(-(((rows - disc[0]) ** 2 + (columns - disc[1]) ** 2) / (0.1 * radius) ** 2))
    picture += spot[..., None] * (np.array((245, 210, 130)) - picture)
    tree = np.zeros(shape)
    for _ in range(random.integers(8, 20)):
        canvas = Image.new("L", shape[::-1])
        path = tools.walk(random, shape, 80, 6.0, 0.12, start=(disc[1], disc[0]))
        ImageDraw.Draw(canvas).line(path, fill=255, width=int(random.integers(1, 7)))
        tree = np.maximum(tree, np.asarray(canvas) / 255)
    vessels = 0.45 * ndimage.gaussian_filter(tree, 0.8)
    return tools.finish(
        random, picture * (1 - vessels[..., None]) * (distance < 1)[..., None], noise=3
    )


def rods(random: Random) -> Picture:
    """Short rods, rings and beads: bacteria, yeast, latex, crystals."""
    shape = tools.shape(random)
    pale = random.random() < 0.5
    ground = random.uniform(150, 240, 3) if pale else random.uniform(0, 40, 3)
    ink = random.uniform(20, 130, 3) if pale else random.uniform(120, 255, 3)
    if random.random() < 0.5:
        ground, ink = ground.mean(), ink.mean()
    cells = np.zeros(shape)
    length, slim = random.uniform(4, 20), random.uniform(0.15, 1)
    for _ in range(2):
        new = tools.cells(
            random, shape, random.integers(20, 400), length, (slim, min(1, slim + 0.2))
        )
        cells = np.maximum(cells, new)
    if random.random() < 0.4:
        cells = np.abs(ndimage.gaussian_filter(cells, 1) - ndimage.gaussian_filter(cells, 3)) * 3
    cells = np.clip(ndimage.gaussian_filter(cells, random.uniform(0.5, 2)), 0, 1)
    picture = np.ones((*shape, 3)) * ground + cells[..., None] * (ink - ground)
    return tools.finish(random, picture + 8 * tools.clouds(random, shape, 90)[..., None], noise=6)


def honeycomb(random: Random) -> Picture:
    """Paint a sheet of touching cells with marked borders, bright on dark or dark on pale."""
    shape = tools.shape(random)
    count = int(random.integers(25, 700))
    seeds = np.ones(shape, bool)
    seeds[random.integers(0, shape[0], count), random.integers(0, shape[1], count)] = False
    where = ndimage.distance_transform_edt(seeds, return_distances=False, return_indices=True)
    label = where[0] * shape[1] + where[1]
    border = (ndimage.maximum_filter(label, 3) != label).astype(float)
    border = ndimage.gaussian_filter(border, random.uniform(0.8, 2.2))
    border *= 1 + 0.3 * tools.clouds(random, shape, 6)
    if random.random() < 0.6:
        glow = np.array(tools.GLOWS[random.integers(len(tools.GLOWS))])
        return tools.finish(random, 320 * border[..., None] * glow + random.uniform(0, 30), noise=9)
    ground, ink = random.uniform(170, 240, 3), random.uniform(30, 130, 3)
    picture = ground + np.clip(1.4 * border, 0, 1)[..., None] * (ink - ground)
    return tools.finish(random, picture + 10 * tools.clouds(random, shape, 30)[..., None], noise=5)
