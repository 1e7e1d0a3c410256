"""How often descriptions of appearance are right: drawn pictures of which everything is known.

Run ``python -m recipes.mini.drawn_truth`` for the table, with ``--show`` for every description.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from napari_patchioner.backbones.appearance import appearance_axes
from napari_patchioner.backbones.mini import grid_shape
from napari_patchioner.bridges.appearance import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    Random = np.random.Generator
    Picture = npt.NDArray[np.uint8]
    Colour = tuple[int, int, int]

SIZE = (480, 640)
# Of the drawn pictures; limits were chosen on the first seeds, the table is about the second.
TUNE, REPORT = tuple(range(1, 3)), tuple(range(201, 205))
_OVER = 4

INKS: dict[str, Colour] = {
    "black": (12, 12, 12),
    "white": (245, 245, 245),
    "gray": (128, 128, 128),
    "red": (215, 30, 35),
    "orange": (250, 140, 10),
    "yellow": (245, 225, 30),
    "green": (40, 170, 60),
    "cyan": (20, 215, 225),
    "blue": (40, 70, 210),
    "purple": (110, 40, 150),
    "magenta": (235, 20, 225),
    "pink": (250, 150, 190),
    "brown": (120, 72, 35),
}
"""Colours that are drawn with, by the name that a description must use."""

_ALSO = {"magenta": {"pink", "purple"}, "purple": {"magenta"}, "cyan": {"blue"}}
_SHAPES = {
    "round": {"round", "spot", "spots"},
    "rod": {"rod", "rods", "elongated"},
    "ring": {"ring", "rings"},
    "line": {"line", "lines", "stripes", "grid", "mesh"},
    "square": {"square", "squares", "checkered"},
    "rectangle": {"rectangle", "rectangles"},
    "outline": {"square", "outline", "outlines"},
}
_ARRANGED = {
    "clustered": {"clusters", "clustered"},
    "even": {"evenly"},
    "parallel": {"parallel", "stripes", "striped"},
    "branching": {"branching"},
    "crossing": {"crossing", "grid"},
    "mesh": {"mesh", "network"},
    "grid": {"grid", "crossing"},
    "checkered": {"checkered"},
}
_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_COLOUR = re.compile(r"\b(" + "|".join(INKS) + r")\b")


@dataclass
class Truth:
    """What is in a drawn picture, or in a part of it.

    ``count`` of marks, or None where nobody would count them; ``inks`` their colours, ``ground``
    the colour between them; ``shape`` and ``arranged`` are keys of ``_SHAPES`` and ``_ARRANGED``,
    ``optional`` an arrangement that is right but need not be said;
    ``groups`` says how many of the marks have each of the inks;
    ``box`` is the part that is described, ``(top, left, bottom, right)`` in pixels.
    """

    inks: tuple[str, ...] = ()
    ground: str = ""
    count: int | None = None
    shape: str = ""
    arranged: str = ""
    texture: str = ""
    optional: str = ""
    groups: tuple[int, ...] = ()
    box: tuple[int, int, int, int] = field(default=(0, 0, *SIZE))


def judge(text: str, truth: Truth) -> dict[str, bool]:
    """Judge every statement of a description, and those it should have made but did not."""
    words = re.findall(r"[a-z]+|\d+", text)
    judged: dict[str, bool] = {}
    subject, _, ground = text.partition(" on a")
    named = set(_COLOUR.findall(subject if ground else text))
    if truth.texture:
        judged["texture"] = bool(set(truth.texture.split("|")) & set(words))
        judged["colour"] = _fits(named, set(truth.inks))
        # Marks where nothing is to be counted are a wrong statement.
        if re.search(r"\b(spots?|marks?|lines?|rods?|rings?|squares?)\b", text):
            judged["marks"] = False
        return judged
    judged["colour"] = _fits(
        named, set(truth.inks) | ({truth.ground} - {""} if not ground else set())
    )
    if ground and truth.ground:
        judged["ground"] = _fits(set(_COLOUR.findall(ground)), {truth.ground})
    if truth.count is not None:
        number = _number(text)
        judged["count"] = number is not None and abs(number - truth.count) <= 0.25 * truth.count
    if truth.groups:
        judged["groups"] = _fits_groups(text, dict(zip(truth.inks, truth.groups, strict=True)))
    if truth.shape:
        judged["shape"] = bool(_SHAPES[truth.shape] & set(words))
        others = set().union(*(v for k, v in _SHAPES.items() if k != truth.shape))
        judged["shape"] &= not ((others - _SHAPES[truth.shape]) & set(words))
    said = [name for name, spoken in _ARRANGED.items() if spoken & set(words)]
    said = [name for name in said if name != truth.optional]
    if said or truth.arranged:
        judged["arranged"] = truth.arranged in said if truth.arranged else False
    return judged


def _fits(named: set[str], true: set[str]) -> bool:
    """Whether every name is true, and every truth is named."""
    every = all(name in true or any(name in _ALSO.get(t, ()) for t in true) for name in named)
    return every and all(t in named or _ALSO.get(t, set()) & named for t in true)


def _fits_groups(text: str, groups: dict[str, int]) -> bool:
    """Whether the number of marks of every ink is said, within a quarter or one."""
    for ink, count in groups.items():
        before = re.search(rf"(\w+) {ink}\b", text)
        said = _number(before[1]) if before else None
        if said is None or abs(said - count) > max(0.25 * count, 1):
            return False
    return True


def _number(text: str) -> float | None:
    """Sum of the numbers in a description."""
    numbers = [float(digits) for digits in re.findall(r"\d+", text)]
    numbers += [_WORDS.index(word) + 1 for word in text.split() if word in _WORDS]
    return sum(numbers) if numbers else None


class Canvas:
    """A picture that is drawn large and then reduced, so that edges are smooth."""

    def __init__(self, ground: str, size: tuple[int, int] = SIZE) -> None:
        self.size = size
        self.image = Image.new("RGB", (size[1] * _OVER, size[0] * _OVER), INKS[ground])
        self.pen = ImageDraw.Draw(self.image)

    def disc(self, row: float, column: float, radius: float, ink: str) -> None:
        """Draw a disc."""
        box = [column - radius, row - radius, column + radius, row + radius]
        self.pen.ellipse([v * _OVER for v in box], fill=INKS[ink])

    def ring(self, row: float, column: float, radius: float, ink: str, width: float) -> None:
        """Draw a ring, its width inside the radius."""
        box = [column - radius, row - radius, column + radius, row + radius]
        self.pen.ellipse([v * _OVER for v in box], outline=INKS[ink], width=round(width * _OVER))

    def box(
        self, row: float, column: float, down: float, right: float, turn: float, ink: str
    ) -> None:
        """Draw a rectangle, turned around its middle, by half of its sides."""
        across, along = (
            np.array([np.cos(turn), -np.sin(turn)]),
            np.array([np.sin(turn), np.cos(turn)]),
        )
        corners = [
            np.array([row, column]) + first * down * across + second * right * along
            for first, second in ((-1, -1), (-1, 1), (1, 1), (1, -1))
        ]
        self.pen.polygon([(x * _OVER, y * _OVER) for y, x in corners], fill=INKS[ink])

    def line(self, points: list[tuple[float, float]], ink: str, width: float) -> None:
        """Draw a line through (row, column) points, with round ends."""
        path = [(column * _OVER, row * _OVER) for row, column in points]
        self.pen.line(path, fill=INKS[ink], width=round(width * _OVER), joint="curve")
        for row, column in (points[0], points[-1]):
            self.disc(row, column, width / 2, ink)

    def finished(self, random: Random, noise: float = 0.0, blur: float = 0.0) -> Picture:
        """Reduce, blur and roughen what was drawn."""
        picture = np.asarray(self.image.resize(self.size[::-1], Image.Resampling.BOX), float)
        if blur:
            picture = ndimage.gaussian_filter(picture, (blur, blur, 0))
        picture = picture + random.normal(0, 1, picture.shape) * noise
        return picture.clip(0, 255).round().astype(np.uint8)


def places(
    random: Random, count: int, gap: float, size: tuple[int, int] = SIZE, margin: float = 0
) -> list[tuple[float, float]]:
    """Random places that lie at least so far apart."""
    chosen: list[tuple[float, float]] = []
    for _ in range(20_000):
        if len(chosen) == count:
            break
        place = (random.uniform(margin, size[0] - margin), random.uniform(margin, size[1] - margin))
        if all(np.hypot(place[0] - r, place[1] - c) > gap for r, c in chosen):
            chosen.append(place)
    return chosen


def _pair(random: Random) -> tuple[str, str]:
    """Choose a ground and an ink that is far from it."""
    ground = str(random.choice(["black", "black", "white", "white", "gray"]))
    bright = ("white", "red", "orange", "yellow", "green", "cyan", "magenta", "pink", "blue")
    dark = ("black", "red", "purple", "brown", "blue", "green", "magenta", "orange", "cyan")
    middle = ("black", "white", "red", "yellow", "blue", "magenta")
    inks = {"black": bright, "white": dark, "gray": middle}[ground]
    return ground, str(random.choice(inks))


def _manner(random: Random) -> dict[str, float]:
    return {"noise": float(random.choice([0, 2, 6])), "blur": float(random.choice([0, 0.7, 1.2]))}


def tiny_spots(random: Random) -> tuple[Picture, Truth]:
    """Draw dozens of spots of a few pixels."""
    return _spots(random, int(random.integers(30, 150)), 2.5, 4.0)


def small_spots(random: Random) -> tuple[Picture, Truth]:
    """Draw dozens of small spots."""
    return _spots(random, int(random.integers(15, 90)), 5, 10)


def large_spots(random: Random) -> tuple[Picture, Truth]:
    """Draw a few large spots."""
    return _spots(random, int(random.integers(3, 10)), 25, 45)


def mixed_sizes(random: Random) -> tuple[Picture, Truth]:
    """Draw spots of many sizes."""
    return _spots(random, int(random.integers(12, 40)), 4, 20)


def many_spots(random: Random) -> tuple[Picture, Truth]:
    """Draw hundreds of tiny spots."""
    return _spots(random, int(random.integers(250, 500)), 3.0, 5.0)


def _spots(random: Random, count: int, least: float, most: float) -> tuple[Picture, Truth]:
    ground, ink = _pair(random)
    canvas = Canvas(ground)
    spots = places(random, count, 2 * most + 5, margin=most + 1)
    for row, column in spots:
        canvas.disc(row, column, random.uniform(least, most), ink)
    # Places kept apart are even where they fill the picture.
    crowd = len(spots) * (2 * most + 5) ** 2 / (SIZE[0] * SIZE[1])
    even = "even" if crowd > 0.25 and len(spots) > 11 else ""
    truth = Truth((ink,), ground, len(spots), "round", optional=even)
    return canvas.finished(random, **_manner(random)), truth


def clustered_spots(random: Random) -> tuple[Picture, Truth]:
    """Draw spots in a few clusters."""
    ground, ink = _pair(random)
    canvas = Canvas(ground)
    count = 0
    for row, column in places(random, int(random.integers(3, 6)), 150, margin=60):
        for down, right in places(random, int(random.integers(8, 16)), 12, (90, 90)):
            canvas.disc(row + down - 45, column + right - 45, random.uniform(3, 4.5), ink)
            count += 1
    truth = Truth((ink,), ground, count, "round", "clustered")
    return canvas.finished(random, **_manner(random)), truth


def spread_spots(random: Random) -> tuple[Picture, Truth]:
    """Draw spots at even distances."""
    ground, ink = _pair(random)
    canvas = Canvas(ground)
    step, count = int(random.integers(35, 70)), 0
    for row in np.arange(step / 2, SIZE[0] - step / 3, step):
        for column in np.arange(step / 2, SIZE[1] - step / 3, step):
            away = random.uniform(-0.1, 0.1, 2) * step
            canvas.disc(row + away[0], column + away[1], random.uniform(5, 8), ink)
            count += 1
    truth = Truth((ink,), ground, count, "round", "even")
    return canvas.finished(random, **_manner(random)), truth


def two_colours(random: Random) -> tuple[Picture, Truth]:
    """Draw spots of two colours."""
    ground = str(random.choice(["black", "white"]))
    inks = [
        ("red", "green"),
        ("green", "magenta"),
        ("yellow", "blue"),
        ("red", "cyan"),
        ("orange", "blue"),
    ][random.integers(5)]
    canvas = Canvas(ground)
    spots = places(random, int(random.integers(20, 60)), 24, margin=10)
    for index, (row, column) in enumerate(spots):
        canvas.disc(row, column, random.uniform(5, 9), inks[index % 2])
    truth = Truth(inks, ground, len(spots), "round")
    return canvas.finished(random, **_manner(random)), truth


def rods(random: Random) -> tuple[Picture, Truth]:
    """Draw rods that lie any way."""
    return _rods(random, parallel=False)


def parallel_rods(random: Random) -> tuple[Picture, Truth]:
    """Draw rods that lie one way."""
    return _rods(random, parallel=True)


def _rods(random: Random, *, parallel: bool) -> tuple[Picture, Truth]:
    ground, ink = _pair(random)
    canvas = Canvas(ground)
    length, width, turn = random.uniform(18, 36), random.uniform(5, 8), random.uniform(0, np.pi)
    middles = places(random, int(random.integers(12, 60)), length + 8, margin=length / 2 + 2)
    for row, column in middles:
        angle = turn + random.normal(0, 0.1) if parallel else random.uniform(0, np.pi)
        down, right = np.sin(angle) * length / 2, np.cos(angle) * length / 2
        canvas.line([(row - down, column - right), (row + down, column + right)], ink, width)
    truth = Truth((ink,), ground, len(middles), "rod", "parallel" if parallel else "")
    return canvas.finished(random, **_manner(random)), truth


def rings(random: Random) -> tuple[Picture, Truth]:
    """Draw rings."""
    ground, ink = _pair(random)
    canvas = Canvas(ground)
    middles = places(random, int(random.integers(5, 40)), 46, margin=22)
    for row, column in middles:
        canvas.ring(row, column, random.uniform(12, 19), ink, random.uniform(3, 5))
    truth = Truth((ink,), ground, len(middles), "ring")
    return canvas.finished(random, **_manner(random)), truth


def squares(random: Random) -> tuple[Picture, Truth]:
    """Draw squares, turned any way."""
    return _boxes(random, "square", 1.0)


def rectangles(random: Random) -> tuple[Picture, Truth]:
    """Draw rectangles, turned any way."""
    return _boxes(random, "rectangle", random.uniform(1.4, 2.2))


def square_outlines(random: Random) -> tuple[Picture, Truth]:
    """Draw squares that are empty inside."""
    return _boxes(random, "outline", 1.0, inside=random.uniform(0.5, 0.8))


def _boxes(random: Random, shape: str, longer: float, inside: float = 0.0) -> tuple[Picture, Truth]:
    ground, ink = _pair(random)
    canvas = Canvas(ground)
    half = random.uniform(9, 30)
    around = half * np.hypot(1, longer)
    middles = places(random, int(random.integers(3, 25)), 2 * around + 6, margin=around + 2)
    for row, column in middles:
        turn = random.uniform(0, np.pi)
        canvas.box(row, column, half, half * longer, turn, ink)
        if inside:
            canvas.box(row, column, half * inside, half * inside * longer, turn, ground)
    # Places kept apart are even where they fill the picture.
    return canvas.finished(random, **_manner(random)), Truth(
        (ink,), ground, len(middles), shape, optional="even"
    )


def single(random: Random) -> tuple[Picture, Truth]:
    """Draw one disc."""
    return _few(random, 1)


def two(random: Random) -> tuple[Picture, Truth]:
    """Draw two discs."""
    return _few(random, 2)


def _few(random: Random, count: int) -> tuple[Picture, Truth]:
    ground, ink = _pair(random)
    canvas = Canvas(ground)
    radius = random.uniform(8, 90)
    for row, column in places(random, count, 2 * radius + 20, margin=radius + 5):
        canvas.disc(row, column, radius * random.uniform(0.8, 1), ink)
    truth = Truth((ink,), ground, count, "round")
    return canvas.finished(random, **_manner(random)), truth


def few_lines(random: Random) -> tuple[Picture, Truth]:
    """Draw wavy lines that do not meet."""
    ground, ink = _pair(random)
    canvas = Canvas(ground)
    count = int(random.integers(1, 6))
    width = random.uniform(2, 6)
    across = np.linspace(20, SIZE[1] - 20, 40)
    for index in range(count):
        row = SIZE[0] * (index + 0.5) / count
        wave = SIZE[0] / count / 5 * np.sin(across / random.uniform(40, 90) + random.uniform(0, 6))
        canvas.line(list(zip(row + wave, across, strict=True)), ink, width)
    truth = Truth((ink,), ground, count, "line", optional="parallel" if count > 1 else "")
    return canvas.finished(random, **_manner(random)), truth


def branching(random: Random) -> tuple[Picture, Truth]:
    """Draw a tree of lines."""
    ground, ink = _pair(random)
    canvas = Canvas(ground)

    def grow(row: float, column: float, angle: float, length: float, width: float) -> None:
        end = (row + length * np.sin(angle), column + length * np.cos(angle))
        canvas.line([(row, column), end], ink, width)
        if length > 32:
            for side in (-1, 1):
                turn = angle + side * random.uniform(0.35, 0.6)
                grow(*end, turn, length * 0.72, max(2.0, width * 0.8))

    grow(SIZE[0] - 15, SIZE[1] / 2, -np.pi / 2 + random.normal(0, 0.1), 130, random.uniform(3, 7))
    truth = Truth((ink,), ground, None, "line", "branching")
    return canvas.finished(random, **_manner(random)), truth


def crossing(random: Random) -> tuple[Picture, Truth]:
    """Draw lines that cross."""
    ground, ink = _pair(random)
    canvas = Canvas(ground)
    width = random.uniform(2, 5)
    for _ in range(int(random.integers(6, 14))):
        row, column, angle = (*random.uniform(0.3, 0.7, 2) * SIZE, random.uniform(0, np.pi))
        reach = random.uniform(150, 300)
        down, right = reach * np.sin(angle), reach * np.cos(angle)
        canvas.line([(row - down, column - right), (row + down, column + right)], ink, width)
    truth = Truth((ink,), ground, None, "line", "crossing")
    return canvas.finished(random, **_manner(random)), truth


def mesh(random: Random) -> tuple[Picture, Truth]:
    """Draw borders between cells."""
    ground, ink = _pair(random)
    seeds = np.ones(SIZE, bool)
    for row, column in places(random, int(random.integers(60, 150)), 28):
        seeds[int(row), int(column)] = False
    where = ndimage.distance_transform_edt(seeds, return_distances=False, return_indices=True)
    label = where[0] * SIZE[1] + where[1]
    net = ndimage.gaussian_filter((ndimage.maximum_filter(label, 4) != label) * 1.0, 0.8)[..., None]
    picture = np.array(INKS[ground]) * (1 - net) + np.array(INKS[ink]) * net
    return picture.round().astype(np.uint8), Truth((ink,), ground, None, "line", "mesh")


def stripes(random: Random) -> tuple[Picture, Truth]:
    """Draw stripes in any direction."""
    ground, ink = _pair(random)
    period, turn = random.uniform(12, 50), random.choice([0, np.pi / 2, 0.6, -0.9])
    rows, columns = np.indices(SIZE)
    wave = np.sin((rows * np.sin(turn) + columns * np.cos(turn)) / period * 2 * np.pi)
    share = np.clip(wave * period / 4 + 0.5, 0, 1)[..., None]
    picture = np.array(INKS[ground]) * (1 - share) + np.array(INKS[ink]) * share
    return picture.round().astype(np.uint8), Truth((ink, ground), "", None, "line", "parallel")


def _drawn_grid(random: Random, ground: str, ink: str) -> tuple[Picture, Truth]:
    """Draw lines at right angles in these colours."""
    canvas = Canvas(ground)
    step, width = random.uniform(30, 80), random.uniform(2, 5)
    for row in np.arange(step / 2, SIZE[0], step):
        canvas.line([(row, -9), (row, SIZE[1] + 9)], ink, width)
    for column in np.arange(step / 2, SIZE[1], step):
        canvas.line([(-9, column), (SIZE[0] + 9, column)], ink, width)
    truth = Truth((ink,), ground, None, "line", "grid")
    return canvas.finished(random, **_manner(random)), truth


def grid(random: Random) -> tuple[Picture, Truth]:
    """Draw lines at right angles."""
    ground, ink = _pair(random)
    return _drawn_grid(random, ground, ink)


def checkers(random: Random) -> tuple[Picture, Truth]:
    """Draw a checkerboard."""
    ground, ink = _pair(random)
    step = int(random.integers(12, 60))
    rows, columns = np.indices(SIZE) // step
    dark = ((rows + columns) % 2).astype(bool)[..., None]
    picture = np.where(dark, np.array(INKS[ink]), np.array(INKS[ground])).astype(np.uint8)
    return picture, Truth((ink, ground), "", None, "square", "checkered")


def gradient(random: Random) -> tuple[Picture, Truth]:
    """Draw a slope of gray."""
    first, second = [("black", "white"), ("gray", "white"), ("black", "gray")][random.integers(3)]
    turn = random.uniform(0, 2 * np.pi)
    rows, columns = np.indices(SIZE)
    share = rows * np.sin(turn) + columns * np.cos(turn)
    share = ((share - share.min()) / np.ptp(share))[..., None]
    picture = np.array(INKS[first]) * (1 - share) + np.array(INKS[second]) * share
    inks = {"black", "gray", "white"} if (first, second) == ("black", "white") else {first, second}
    return picture.round().astype(np.uint8), Truth(tuple(inks), texture="gradient")


def blank(random: Random) -> tuple[Picture, Truth]:
    """Draw nothing on any colour."""
    ink = str(random.choice(list(INKS)))
    return Canvas(ink).finished(random, noise=random.choice([0, 1])), Truth(
        (ink,), texture="even|blank"
    )


def grain(random: Random) -> tuple[Picture, Truth]:
    """Draw noise of single pixels."""
    level = 128 + random.normal(0, random.uniform(15, 35), (*SIZE, 1))
    picture = np.repeat(level, 3, 2).clip(0, 255).astype(np.uint8)
    return picture, Truth(("gray",), texture="grainy")


def clouds(random: Random) -> tuple[Picture, Truth]:
    """Draw smooth noise."""
    plane = ndimage.gaussian_filter(random.normal(0, 1, SIZE), random.uniform(4, 12))
    picture = 128 + 22 * plane / plane.std()
    return np.repeat(picture[..., None], 3, 2).clip(0, 255).astype(np.uint8), Truth(
        ("gray",), texture="mottled|uneven"
    )


def spots_on_slope(random: Random) -> tuple[Picture, Truth]:
    """Draw bright spots on a ground that brightens from one side to the other."""
    ink = str(random.choice(["white", "yellow", "cyan", "green"]))
    canvas = Canvas("black")
    spots = places(random, int(random.integers(20, 70)), 26, margin=10)
    for row, column in spots:
        canvas.disc(row, column, random.uniform(4, 9), ink)
    picture = canvas.finished(random, blur=0.7).astype(float)
    slope = np.linspace(0, random.uniform(20, 45), SIZE[1])[None, :, None]
    picture = (picture + slope * (1 - picture / 255)).clip(0, 255).astype(np.uint8)
    return picture, Truth((ink,), "", len(spots), "round")


def spots_and_rods(random: Random) -> tuple[Picture, Truth]:
    """Describe only the half of a picture that has spots; the other half has rods."""
    ground, ink = _pair(random)
    canvas = Canvas(ground)
    spots = [p for p in places(random, 80, 30, margin=12) if p[1] < SIZE[1] / 2 - 12]
    for row, column in spots:
        canvas.disc(row, column, random.uniform(5, 9), ink)
    for row, column in places(random, 40, 44, margin=20):
        if column > SIZE[1] / 2 + 22:
            angle = random.uniform(0, np.pi)
            down, right = np.sin(angle) * 13, np.cos(angle) * 13
            canvas.line([(row - down, column - right), (row + down, column + right)], ink, 6)
    truth = Truth((ink,), ground, len(spots), "round", box=(0, 0, SIZE[0], SIZE[1] // 2))
    return canvas.finished(random, **_manner(random)), truth


def corner_of_spots(random: Random) -> tuple[Picture, Truth]:
    """Describe a quarter of a picture of spots."""
    ground, ink = _pair(random)
    canvas = Canvas(ground)
    spots = places(random, int(random.integers(60, 140)), 22, margin=10)
    for row, column in spots:
        canvas.disc(row, column, random.uniform(4, 8), ink)
    box = (0, 0, SIZE[0] // 2, SIZE[1] // 2)
    count = sum(row < box[2] and column < box[3] for row, column in spots)
    truth = Truth((ink,), ground, count, "round", box=box)
    return canvas.finished(random, **_manner(random)), truth


def colour_groups(random: Random) -> tuple[Picture, Truth]:
    """Draw spots of two or three colours, more of one than of another."""
    ground = str(random.choice(["black", "white", "gray"]))
    inks = tuple(ink for ink in ("black", "white", "red", "blue", "orange") if ink != ground)
    inks = tuple(map(str, random.permutation(inks)[: random.integers(2, 4)]))
    canvas = Canvas(ground)
    middles = places(random, int(random.integers(20, 60)), 26, margin=12)
    whose = np.arange(len(middles)) % (len(inks) + 1) % len(inks)
    for (row, column), which in zip(middles, whose, strict=True):
        canvas.disc(row, column, random.uniform(6, 10), inks[which])
    groups = tuple(np.bincount(whose).tolist())
    truth = Truth(inks, ground, len(middles), "round", optional="even", groups=groups)
    return canvas.finished(random, **_manner(random)), truth


def coloured_gradient(random: Random) -> tuple[Picture, Truth]:
    """Draw a slope from one colour to another."""
    pairs = [("red", "yellow"), ("blue", "cyan"), ("black", "orange"), ("purple", "white")]
    first, second = pairs[random.integers(len(pairs))]
    turn = random.uniform(0, 2 * np.pi)
    rows, columns = np.indices(SIZE)
    share = rows * np.sin(turn) + columns * np.cos(turn)
    share = ((share - share.min()) / np.ptp(share))[..., None]
    picture = np.array(INKS[first]) * (1 - share) + np.array(INKS[second]) * share
    return picture.round().astype(np.uint8), Truth((first, second), texture="gradient")


def grid_alike(random: Random) -> tuple[Picture, Truth]:
    """Draw a grid of lines about as light as the ground."""
    ground, ink = [("gray", "red"), ("green", "gray"), ("pink", "cyan")][random.integers(3)]
    return _drawn_grid(random, ground, ink)


KINDS: dict[str, Callable[[Random], tuple[Picture, Truth]]] = {
    painter.__name__: painter
    for painter in (
        *(tiny_spots, small_spots, large_spots, mixed_sizes, many_spots),
        *(clustered_spots, spread_spots, two_colours, spots_on_slope, corner_of_spots),
        *(rods, parallel_rods, rings, single, two, spots_and_rods),
        *(few_lines, branching, crossing, mesh, stripes, grid, checkers),
        *(gradient, blank, grain, clouds),
        *(squares, rectangles, square_outlines),
        *(colour_groups, coloured_gradient, grid_alike),
    )
}
"""What is drawn: a function of a random generator per kind of picture."""


def drawn(seeds: tuple[int, ...]) -> Iterator[tuple[str, Picture, Truth]]:
    """Draw every kind once per seed."""
    for number, (kind, painter) in enumerate(KINDS.items()):
        for seed in seeds:
            yield kind, *painter(np.random.default_rng((seed, number)))


def described(picture: Picture, truth: Truth) -> str:
    """Describe the part of a picture that a truth is about."""
    shape = grid_shape(*picture.shape[:2])
    axes = appearance_axes(picture, shape)
    side = max(picture.shape[:2]) / max(shape)
    top, left, bottom, right = (round(edge / side) for edge in truth.box)
    part = axes[top:bottom, left:right].reshape(-1, axes.shape[-1])
    return describe(part.mean(0, keepdims=True), patches=len(part), scale=16)[0]


def measure(seeds: tuple[int, ...], *, show: bool = False) -> dict[str, list[bool]]:
    """Judge descriptions of all kinds: what was right, by kind of statement and of picture."""
    right: dict[str, list[bool]] = defaultdict(list)
    for kind, picture, truth in drawn(seeds):
        text = described(picture, truth)
        judged = judge(text, truth)
        for statement, good in judged.items():
            right[statement].append(good)
        right["all statements"] += judged.values()
        right["whole descriptions"].append(all(judged.values()))
        if show:
            wrong = [statement for statement, good in judged.items() if not good]
            print(f"{kind:16} {text}" + (f"   WRONG {wrong} {truth}" if wrong else ""))
    return dict(right)


def main() -> None:
    """Print how often each kind of statement is right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tune", action="store_true", help="the part that limits were chosen on")
    parser.add_argument("--show", action="store_true", help="every description and what is wrong")
    chosen = parser.parse_args()
    right = measure(TUNE if chosen.tune else REPORT, show=chosen.show)
    print("| statements | number | right |\n|---|---|---|")
    for statement, good in right.items():
        print(f"| {statement} | {len(good)} | {np.mean(good):.2f} |")


if __name__ == "__main__":
    main()
