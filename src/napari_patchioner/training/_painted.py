"""Pictures that are no photographs, painted from random numbers: one function per family."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Random = np.random.Generator
    Plane = npt.NDArray[np.float64]
    Picture = npt.NDArray[np.uint8]

_STAINS = {
    "pink": ((240, 215, 228), (224, 160, 190), (95, 60, 135)),
    "brown": ((236, 232, 226), (205, 175, 150), (125, 75, 40)),
    "blue": ((235, 238, 243), (190, 200, 225), (60, 70, 140)),
    "violet": ((238, 224, 240), (196, 140, 195), (70, 40, 110)),
}
_GLOWS = ((1, 1, 1), (0.15, 0.35, 1), (0.1, 1, 0.2), (1, 0.15, 0.1), (1, 0.2, 0.9), (0.1, 0.9, 0.9))


def tissue(random: Random) -> Picture:
    """Stained tissue: clouds of pale colour, fibres, gaps and dark nuclei."""
    pale, body, dark = (np.array(c, float) for c in _STAINS[random.choice(list(_STAINS))])
    body = body + random.normal(0, 12, 3)
    shape = _shape(random)
    amount = _stretch(_clouds(random, shape, random.uniform(8, 60)))
    fibre = _stretch(_clouds(random, shape, random.uniform(2, 6), random.uniform(1, 4)))
    mix = np.clip(0.75 * amount + 0.45 * fibre, 0, 1)
    if random.random() < 0.5:
        mix *= _clouds(random, shape, random.uniform(30, 90)) > random.uniform(-1.3, -0.4)
    picture = pale + mix[..., None] * (body - pale)
    size = random.uniform(3, 14)
    cells = _cells(random, shape, random.integers(80, 900), size, (0.6, 1.0), crowd=amount)
    stain = ndimage.gaussian_filter(cells, 0.8) * random.uniform(0.6, 1)
    chromatin = 1 + 0.2 * _clouds(random, shape, 1.5)
    stain = np.clip(stain * chromatin, 0, 1)
    picture += stain[..., None] * (dark + random.normal(0, 10, 3) - picture)
    return _finish(random, picture, noise=4)


def two_stains(random: Random) -> Picture:
    """Paint tissue with two stains: islands of streaky cells, pale fibres with thin nuclei."""
    shape = _shape(random)
    ink = np.array(((150, 105, 55), (190, 70, 90), (120, 80, 150), (70, 120, 130)))
    first = ink[random.choice(4, p=(0.55, 0.15, 0.2, 0.1))] + random.normal(0, 12, 3)
    pale, cold = np.array((228, 226, 226)), np.array((120, 130, 170)) + random.normal(0, 12, 3)
    island = _clouds(random, shape, random.uniform(30, 90)) > random.uniform(-0.5, 0.5)
    inside = ndimage.gaussian_filter(island.astype(float), 2)
    stretch = random.uniform(1, 5)
    streaks = _stretch(_clouds(random, shape, random.uniform(1.5, 5), stretch))
    cells = _cells(random, shape, 1500, random.uniform(4, 12), (0.3, 0.9))
    nuclei = ndimage.gaussian_filter(cells, 1) * random.uniform(0.4, 0.9)
    fibre = _stretch(_clouds(random, shape, random.uniform(2, 5), 1 / stretch))
    picture = pale - (25 * fibre)[..., None]
    picture += (inside * (0.35 + 0.65 * streaks))[..., None] * (first - picture)
    sparse = nuclei * (0.5 + 0.5 * _stretch(_clouds(random, shape, 15)))
    picture += sparse[..., None] * (cold - picture)
    gaps = _clouds(random, shape, 25) > random.uniform(1.5, 2.5)
    picture += ndimage.gaussian_filter(gaps.astype(float), 1)[..., None] * (238 - picture)
    return _finish(random, picture, noise=4)


def glowing_nuclei(random: Random) -> Picture:
    """Fluorescent discs on black, in one colour or two, often out of focus."""
    shape = _shape(random)
    picture = np.zeros((*shape, 3))
    for _ in range(random.integers(1, 3)):
        size = random.uniform(2, 35)
        number = int(min(500, random.uniform(0.03, 0.4) * shape[0] * shape[1] / size**2 / 3))
        cells = _cells(random, shape, number + 2, size, (0.3, 1.0), brightness=(0.3, 1))
        cells = ndimage.gaussian_filter(cells, random.uniform(0.5, 4))
        cells *= 1 + 0.25 * _clouds(random, shape, random.uniform(1, 4))
        picture += 255 * cells[..., None] * np.array(_GLOWS[random.integers(len(_GLOWS))])
    return _finish(random, picture + random.uniform(0, 25), noise=random.uniform(1, 14))


def filaments(random: Random) -> Picture:
    """Bright wandering threads on a dark ground, with or without cell bodies."""
    shape = _shape(random)
    canvas = Image.new("L", shape[::-1])
    pen = ImageDraw.Draw(canvas)
    wiggle = random.uniform(0.02, 0.3)
    for _ in range(random.integers(15, 160)):
        width = int(random.integers(1, 4))
        path = _walk(random, shape, random.integers(20, 120), 5.0, wiggle)
        pen.line(path, fill=int(random.uniform(80, 255)), width=width)
    light = ndimage.gaussian_filter(np.asarray(canvas, float), random.uniform(0.6, 2))
    picture = light[..., None] * np.array(_GLOWS[random.integers(len(_GLOWS))])
    if random.random() < 0.5:
        nuclei = _cells(random, shape, random.integers(3, 30), random.uniform(10, 25), (0.5, 1))
        picture += 200 * ndimage.gaussian_filter(nuclei, 2)[..., None] * np.array((0.1, 0.3, 1))
    return _finish(random, picture + random.uniform(0, 30), noise=random.uniform(1, 14))


def phase_contrast(random: Random) -> Picture:
    """Gray cells with bright rims on a gray ground."""
    shape = _shape(random)
    size = random.uniform(6, 40)
    number = int(min(300, 0.3 * shape[0] * shape[1] / size**2 / 3)) + 1
    cells = ndimage.gaussian_filter(_cells(random, shape, number, size, (0.2, 0.9)), 1.5)
    halo = ndimage.gaussian_filter(cells, size / 4) - cells
    inside = cells * _clouds(random, shape, random.uniform(1.5, 4))
    ground = random.uniform(90, 190) + 12 * _clouds(random, shape, 120)
    gray = ground + random.uniform(60, 180) * halo + random.uniform(10, 45) * inside
    tint = np.array((1, 1, 1)) + (random.random() < 0.3) * random.normal(0, 0.05, 3)
    return _finish(random, gray[..., None] * tint, noise=random.uniform(1, 9))


def electron_micrograph(random: Random) -> Picture:
    """Gray noisy membranes, vesicles and dark grains, or particles on a flat ground."""
    shape = _shape(random)
    ridges = 1 - np.clip(np.abs(_clouds(random, shape, random.uniform(5, 30))) * 5, 0, 1)
    ridges += 0.6 * (1 - np.clip(np.abs(_clouds(random, shape, random.uniform(3, 12))) * 4, 0, 1))
    organelles = _cells(random, shape, random.integers(0, 60), random.uniform(6, 40), (0.3, 1))
    organelles *= 0.5 + 0.5 * np.sin(_clouds(random, shape, 8) * random.uniform(5, 25))
    base = 0.3 * _clouds(random, shape, random.uniform(10, 60))
    gray = random.uniform(120, 200) - 70 * ridges - 60 * organelles + 25 * base
    if random.random() < 0.35:
        gray = 110 + 60 * ndimage.gaussian_filter(organelles, 1) + 25 * base
    gray = ndimage.gaussian_filter(gray, random.uniform(0.3, 1.2))
    return _finish(random, _gray(gray), noise=random.uniform(4, 35))


def fundus(random: Random) -> Picture:
    """Paint an orange disc on black with a bright spot and a tree of dark vessels."""
    shape = _shape(random)
    rows, columns = np.indices(shape)
    middle = np.array(shape) / 2
    radius = min(shape) * random.uniform(0.42, 0.75)
    distance = np.hypot(rows - middle[0], columns - middle[1]) / radius
    base = np.array((200, 95, 45)) * random.uniform(0.6, 1.15) + random.normal(0, 15, 3)
    shade = 1.05 - 0.5 * distance**2 + 0.08 * _clouds(random, shape, 25)
    picture = base * shade[..., None]
    away = np.array([random.uniform(-0.2, 0.2), random.choice([-0.6, 0.6])])
    disc = middle + radius * away
    spot = np.exp(-(((rows - disc[0]) ** 2 + (columns - disc[1]) ** 2) / (0.1 * radius) ** 2))
    picture += spot[..., None] * (np.array((245, 210, 130)) - picture)
    tree = np.zeros(shape)
    for _ in range(random.integers(8, 20)):
        canvas = Image.new("L", shape[::-1])
        path = _walk(random, shape, 80, 6.0, 0.12, start=(disc[1], disc[0]))
        ImageDraw.Draw(canvas).line(path, fill=255, width=int(random.integers(1, 7)))
        tree = np.maximum(tree, np.asarray(canvas) / 255)
    vessels = 0.45 * ndimage.gaussian_filter(tree, 0.8)
    return _finish(random, picture * (1 - vessels[..., None]) * (distance < 1)[..., None], noise=3)


def rods(random: Random) -> Picture:
    """Short rods, rings and beads: bacteria, yeast, latex, crystals."""
    shape = _shape(random)
    pale = random.random() < 0.5
    ground = random.uniform(150, 240, 3) if pale else random.uniform(0, 40, 3)
    ink = random.uniform(20, 130, 3) if pale else random.uniform(120, 255, 3)
    if random.random() < 0.5:
        ground, ink = ground.mean(), ink.mean()
    cells = np.zeros(shape)
    length, slim = random.uniform(4, 20), random.uniform(0.15, 1)
    for _ in range(2):
        new = _cells(random, shape, random.integers(20, 400), length, (slim, min(1, slim + 0.2)))
        cells = np.maximum(cells, new)
    if random.random() < 0.4:
        cells = np.abs(ndimage.gaussian_filter(cells, 1) - ndimage.gaussian_filter(cells, 3)) * 3
    cells = np.clip(ndimage.gaussian_filter(cells, random.uniform(0.5, 2)), 0, 1)
    picture = np.ones((*shape, 3)) * ground + cells[..., None] * (ink - ground)
    return _finish(random, picture + 8 * _clouds(random, shape, 90)[..., None], noise=6)


def honeycomb(random: Random) -> Picture:
    """Paint a sheet of touching cells with marked borders, bright on dark or dark on pale."""
    shape = _shape(random)
    count = int(random.integers(25, 700))
    seeds = np.ones(shape, bool)
    seeds[random.integers(0, shape[0], count), random.integers(0, shape[1], count)] = False
    where = ndimage.distance_transform_edt(seeds, return_distances=False, return_indices=True)
    label = where[0] * shape[1] + where[1]
    border = (ndimage.maximum_filter(label, 3) != label).astype(float)
    border = ndimage.gaussian_filter(border, random.uniform(0.8, 2.2))
    border *= 1 + 0.3 * _clouds(random, shape, 6)
    if random.random() < 0.6:
        glow = np.array(_GLOWS[random.integers(len(_GLOWS))])
        return _finish(random, 320 * border[..., None] * glow + random.uniform(0, 30), noise=9)
    ground, ink = random.uniform(170, 240, 3), random.uniform(30, 130, 3)
    picture = ground + np.clip(1.4 * border, 0, 1)[..., None] * (ink - ground)
    return _finish(random, picture + 10 * _clouds(random, shape, 30)[..., None], noise=5)


def drawing(random: Random) -> Picture:
    """Draw lines, or a cartoon of flat colours."""
    shape = _shape(random)
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
            points = _walk(random, shape, 6, 40.0, 0.9, start=(column, row))
            pen.polygon(points, fill=fill, outline=(0, 0, 0), width=width)
        else:
            points = _walk(random, shape, 30, 8.0, 0.3, start=(column, row))
            pen.line(points, fill=(20, 20, 20), width=width)
    return _finish(random, np.asarray(canvas, float), noise=random.choice([0, 0, 4]))


def chart(random: Random) -> Picture:
    """Axes with curves, bars or points."""
    shape = _shape(random)
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
    return _finish(random, np.asarray(canvas, float), noise=0)


def page(random: Random) -> Picture:
    """Lines of small dark text on pale paper, or the reverse."""
    shape = _shape(random)
    reverse = random.random() < 0.3
    paper, ink = (random.integers(0, 60), 220) if reverse else (random.integers(200, 256), 20)
    canvas = Image.new("L", shape[::-1], int(paper))
    pen = ImageDraw.Draw(canvas)
    size = int(random.integers(9, 30))
    for row in range(15, shape[0] - size, int(size * random.uniform(1.2, 1.9))):
        letters = [chr(c) for c in random.integers(97, 123, 200)]
        text = "".join(" " if random.random() < 0.17 else c for c in letters)
        pen.text((20, row), text[: int(shape[1] / size * 1.7)], fill=ink, font_size=size)
    light = 1 + 0.12 * _clouds(random, shape, 150) * (random.random() < 0.5)
    return _finish(random, _gray(np.asarray(canvas) * light), noise=random.choice([0, 5]))


def bands(random: Random) -> Picture:
    """Smooth shapes seen by rays or on gels: bright soft forms on black, or dark lanes."""
    shape = _shape(random)
    if random.random() < 0.4:
        gray = np.full(shape, random.uniform(170, 230))
        for lane in np.linspace(30, shape[1] - 30, int(random.integers(4, 14))):
            for row in random.uniform(20, shape[0] - 20, random.integers(2, 9)):
                rows, columns = np.ogrid[: shape[0], : shape[1]]
                spot = np.exp(-(((rows - row) / 5) ** 2)) * (np.abs(columns - lane) < 13)
                gray -= random.uniform(20, 150) * spot
        return _finish(random, _gray(ndimage.gaussian_filter(gray, 1.5)), noise=5)
    gray = np.zeros(shape)
    for _ in range(random.integers(3, 25)):
        cells = _cells(random, shape, 1, random.uniform(15, 180), (0.2, 1))
        gray += random.uniform(-40, 80) * ndimage.gaussian_filter(cells, random.uniform(1, 12))
    return _finish(random, _gray(gray + 15 + 8 * _clouds(random, shape, 5)), noise=6)


def noise(random: Random) -> Picture:
    """Blank fields, gradients and noise of every roughness, gray or coloured."""
    shape = _shape(random)
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
        picture += amount * _clouds(random, shape, rough)[..., None]
    else:
        picture += amount * np.stack([_clouds(random, shape, rough) for _ in range(3)], -1)
    return _finish(random, picture, noise=random.choice([0, 2, 20]))


FAMILIES: dict[str, Callable[[Random], Picture]] = {
    painter.__name__: painter
    for painter in (
        tissue,
        glowing_nuclei,
        filaments,
        phase_contrast,
        electron_micrograph,
        fundus,
        rods,
        honeycomb,
        drawing,
        chart,
        page,
        bands,
        noise,
        two_stains,
    )
}
"""Painters by name; each takes a random generator and returns (height, width, 3) uint8."""


def _shape(random: Random) -> tuple[int, int]:
    return [(480, 640), (512, 512), (384, 512), (640, 480)][random.integers(4)]


def _clouds(random: Random, shape: tuple[int, int], size: float, stretch: float = 1.0) -> Plane:
    """Smooth noise of unit variance with features of about ``size`` pixels."""
    step = max(1, int(size / 3))
    coarse = tuple(side // step + 8 for side in shape)
    plane = random.normal(0, 1, coarse)
    plane = ndimage.gaussian_filter(plane, (size / step, size / step * stretch))
    plane = ndimage.zoom(plane, step, order=1)[: shape[0], : shape[1]]
    return np.asarray((plane - plane.mean()) / (plane.std() + 1e-9))


def _stretch(plane: Plane) -> Plane:
    low, high = np.percentile(plane, (2, 98))
    return np.clip((plane - low) / (high - low + 1e-9), 0, 1)


def _cells(
    random: Random,
    shape: tuple[int, int],
    number: int,
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


def _walk(
    random: Random,
    shape: tuple[int, int],
    steps: int,
    length: float,
    wiggle: float,
    *,
    start: tuple[float, float] | None = None,
) -> list[tuple[float, float]]:
    """Walk a wandering path of (x, y) points."""
    x, y = start or (random.uniform(0, shape[1]), random.uniform(0, shape[0]))
    turns = random.uniform(0, 2 * np.pi) + np.cumsum(random.normal(0, wiggle, steps))
    across, down = x + np.cumsum(length * np.cos(turns)), y + np.cumsum(length * np.sin(turns))
    return [(float(x), float(y)), *zip(across.tolist(), down.tolist(), strict=True)]


def _gray(plane: Plane) -> Plane:
    return np.repeat(plane[..., None], 3, axis=2)


def _finish(random: Random, picture: Plane, *, noise: float) -> Picture:
    """Add sensor noise and round to bytes."""
    one_channel = np.ptp(picture, axis=2).max() < 1
    grain = random.normal(0, 1, (*picture.shape[:2], 1 if one_channel else 3))
    return np.clip(picture + noise * grain, 0, 255).round().astype(np.uint8)
