"""YOLO's lines for regions: outlines in fractions of the image, and back."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import shapely

from napari_patchioner.annotations._napari_shape import box_corners, upright_box
from napari_patchioner.annotations._outlines import ellipse_ring, from_xy, mask_polygons, to_xy
from napari_patchioner.annotations._parts import as_one, members_of
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import (
    Box,
    Ellipse,
    Mask,
    Polygon,
    Region,
    WholeImage,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_OVERLAP = 0.5
"""How much of what two lines enclose together both must enclose, to be the same region."""


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """One line of a text file.

    Attributes
    ----------
    place : int
        Which line it is, from 1.
    text : str
        The line.
    number : int
        The class.
    points : ndarray of float, shape (n, 2)
        The outline, ``x y`` in fractions of the image.
    """

    place: int
    text: str
    number: int
    points: npt.NDArray[np.float64]

    def region(self, size: tuple[int, int]) -> Region:
        """Return what the line outlines on an image of ``(height, width)``."""
        vertices = from_xy(self.points * size[::-1])
        return upright_box(vertices, tolerance=1e-6) or Polygon(vertices)


def parse_lines(name: str, data: bytes) -> list[Line]:
    """Return the lines of a text file: outlines, or boxes by centre and size.

    Raises
    ------
    FormatError
        One sentence that names the file and the line.
    """
    found = []
    for place, text in enumerate(data.decode("utf-8", "replace").splitlines(), start=1):
        if not text.strip():
            continue
        try:
            number, *numbers = text.split()
            found.append(Line(place, text.strip(), int(float(number)), _points(numbers)))
        except (ValueError, OverflowError) as error:
            raise FormatError(
                f"{name}: line {place}: must be a class and an outline 'x1 y1 x2 y2 x3 y3 ...' or "
                "a box 'x y width height', as fractions"
            ) from error
    return found


def _points(texts: list[str]) -> npt.NDArray[np.float64]:
    """Return the outline that numbers stand for, or raise ValueError."""
    numbers = np.array(texts, float)
    if not np.isfinite(numbers).all():
        raise ValueError
    if len(numbers) == 4:
        (x, y), half = numbers[:2], numbers[2:] / 2
        return np.array([x, y]) + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    if len(numbers) < 6 or len(numbers) % 2:
        raise ValueError
    return numbers.reshape(-1, 2)


def lines_of(region: Region, number: int, size: tuple[int, int]) -> list[str]:
    """Return the lines for a region of a class: the parts of its area within the image."""
    lines = []
    for ring in _rings(region, size):
        fractions = np.clip(to_xy(ring) / size[::-1], 0, 1)
        lines.append(" ".join([str(number), *map(repr, fractions.ravel().tolist())]) + "\n")
    return lines


def _rings(region: Region, size: tuple[int, int]) -> list[npt.NDArray[np.float64]]:
    """Return the outlines of a region within the image, ``(row, column)``."""
    rings = []
    for member in members_of(region):
        rings += [part for ring in _outlines(member, size) for part in _cut(ring, size)]
    return rings


def _outlines(region: Region, size: tuple[int, int]) -> list[npt.NDArray[np.float64]]:
    """Return the outlines of a region that is no set; none if it is no area."""
    if isinstance(region, WholeImage):
        return [box_corners(Box(-0.5, -0.5, size[0] - 0.5, size[1] - 0.5))]
    if isinstance(region, Box):
        return [box_corners(region)]
    if isinstance(region, Ellipse):
        return [ellipse_ring(region)]
    if isinstance(region, Polygon):
        return [np.asarray(region.vertices, float)]
    parts = mask_polygons(region) if isinstance(region, Mask) else []
    return [from_xy(shapely.get_coordinates(part.exterior)[:-1]) for part in parts]


def _cut(ring: npt.NDArray[np.float64], size: tuple[int, int]) -> list[npt.NDArray[np.float64]]:
    """Return an outline as it is if it lies within the image, else its parts that do."""
    low, high = ring.min(axis=0), ring.max(axis=0)
    if (low >= -0.5).all() and (high <= np.array(size) - 0.5).all():
        return [ring]
    image = shapely.box(0, 0, size[1], size[0])
    within = shapely.intersection(shapely.make_valid(shapely.Polygon(to_xy(ring))), image)
    parts = [part for one in shapely.get_parts(within) for part in shapely.get_parts(one)]
    areas = [part for part in parts if part.geom_type == "Polygon" and part.area > 0]
    return [from_xy(shapely.get_coordinates(part.exterior)[:-1]) for part in areas]


def shown(region: Region, size: tuple[int, int]) -> Region | None:
    """Return what YOLO's lines show for a region; None if there are none."""
    lines = parse_lines("", "".join(lines_of(region, 0, size)).encode())
    return as_one([line.region(size) for line in lines], union=True)


def match(
    lines: Sequence[Line], written: Sequence[Sequence[Line]]
) -> tuple[list[list[Line]], list[Line]]:
    """Tell which lines are those that were written, though other tools may have changed them.

    Parameters
    ----------
    lines : sequence of Line
        What the file holds.
    written : sequence of sequence of Line
        What was written into it, by region.

    Returns
    -------
    own : list of list of Line
        The lines of every region that was written.
    new : list of Line
        All others.
    """
    waiting: dict[str, deque[Line]] = defaultdict(deque)
    for line in lines:
        waiting[line.text].append(line)
    flat = [(at, line) for at, of in enumerate(written) for line in of]
    found = {id(line): waiting[line.text].popleft() for _, line in flat if waiting[line.text]}
    rest = [line for queue in waiting.values() for line in queue]
    lost = [line for _, line in flat if id(line) not in found]
    found |= _overlapping(lost, rest)
    own: list[list[Line]] = [[] for _ in written]
    for at, line in flat:
        if id(line) in found:
            own[at].append(found[id(line)])
    taken = {id(line) for line in found.values()}
    return own, [line for line in lines if id(line) not in taken]


def _overlapping(lost: Sequence[Line], rest: Sequence[Line]) -> dict[int, Line]:
    """Return for lines that were written the lines that enclose nearly the same, best first."""
    if not lost or not rest:
        return {}
    before, after = (_boxes(lines) for lines in (lost, rest))
    pairs = shapely.STRtree(after).query(before)
    ours, theirs = before[pairs[0]], after[pairs[1]]
    both = shapely.area(shapely.intersection(ours, theirs))
    either = shapely.area(ours) + shapely.area(theirs) - both
    shares = np.where(either > 0, both / np.where(either > 0, either, 1), 1.0)
    found: dict[int, Line] = {}
    taken: set[int] = set()
    for place in np.argsort(-shares, kind="stable"):
        one, other = int(pairs[0][place]), int(pairs[1][place])
        if shares[place] < _OVERLAP:
            break
        if id(lost[one]) not in found and other not in taken:
            found[id(lost[one])] = rest[other]
            taken.add(other)
    return found


def _boxes(lines: Sequence[Line]) -> npt.NDArray[np.object_]:
    """Return the upright rectangle around each line."""
    corners = [(*line.points.min(axis=0), *line.points.max(axis=0)) for line in lines]
    return np.asarray(shapely.box(*np.array(corners, float).T))
