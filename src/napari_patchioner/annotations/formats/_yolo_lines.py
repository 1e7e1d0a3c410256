"""YOLO's lines for regions: outlines in fractions of the image, and back.

After the class, all in fractions of the image:

=======================  =====================================================================
numbers                  stand for
=======================  =====================================================================
4                        a box: centre, width and height
4, then 2 or 3 each      a box and its keypoints (``kpt_shape`` in ``data.yaml`` says how many;
                         without it, three each whose third is 0, 1 or 2, all within the box)
6 and more, even         an outline; 8 are the corners of a turned box
one more than these      the last is how sure a detector is, 0 to 1
=======================  =====================================================================
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import shapely

from napari_patchioner.annotations.notes import leaving_out
from napari_patchioner.annotations.texts import as_one
from napari_patchioner.annotations.xy import from_xy, to_xy
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import charge_records, check_time
from napari_patchioner.regions import (
    Polygon,
    Region,
    enclosed,
    is_tangled,
    upright_box,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

KeypointShape: TypeAlias = "tuple[int, int] | None"
"""How many keypoints a line has, and how many numbers each."""

_FEWEST_KEYPOINTS = 2
_MOST_PAIRS = 400_000
"""Pairs of lines that are compared by what they enclose."""

_BLOCK = 64
_ROUGHLY = 2000
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
    confidence : float or None
        How sure a detector is.
    keypoints : tuple of float
        The numbers of its keypoints, as they stand there.
    """

    place: int
    text: str
    number: int
    points: npt.NDArray[np.float64]
    confidence: float | None = None
    keypoints: tuple[float, ...] = ()

    def region(self, size: tuple[int, int]) -> Region:
        """Return what the line outlines on an image of ``(height, width)``."""
        vertices = from_xy(self.points * size[::-1])
        return upright_box(vertices, tolerance=1e-6) or Polygon(vertices)


def parse_lines(name: str, data: bytes, shape: KeypointShape = None) -> list[Line]:
    """Return the lines of a text file: outlines, or boxes by centre and size.

    Parameters
    ----------
    name : str
        The file, for messages.
    data : bytes
        What it holds.
    shape : tuple of int, optional
        How many keypoints there are, and how many numbers each has.

    Raises
    ------
    FormatError
        One sentence that names the file and the line.
    """
    found = []
    text_of_file = data.decode("utf-8", "replace").removeprefix("\ufeff")
    for place, text in enumerate(text_of_file.splitlines(), start=1):
        if not text.strip():
            continue
        with leaving_out("line", f"{name}: line {place}"):
            charge_records()
            try:
                found.append(_line(place, text.strip(), shape))
            except (ValueError, OverflowError) as error:
                raise FormatError(
                    f"{name}: line {place}: must be a class and an outline 'x1 y1 x2 y2 x3 y3 ...' "
                    "or a box 'x y width height', as fractions"
                ) from error
    return found


@dataclass(frozen=True, slots=True)
class Written:
    """What stands for a region in a text file.

    Attributes
    ----------
    lines : tuple of str
        Its lines, each ended by a line feed; there may be none.
    before : str or None
        The line it was read from, if it was read from one of other people.
    """

    lines: tuple[str, ...]
    before: str | None = None


def in_place(data: bytes, written: Sequence[Written]) -> bytes:
    r"""Return a text file with lines in the places where those before them stood.

    Blank lines, lines that cannot be read, ends of lines and a byte order mark stay; lines of
    which no region is left go, and new ones come last.

    Parameters
    ----------
    data : bytes
        The file as it is; nothing where there is none.
    written : sequence of Written
        What is to stand in it.

    >>> in_place(b"0 .5 .5 .1 .1\r\nodd\r\n", [Written(("1 .5 .5 .1 .1\n",), "0 .5 .5 .1 .1")])
    b'1 .5 .5 .1 .1\r\nodd\r\n'
    """
    # What is no UTF-8 comes back as it was.
    whole = data.decode("utf-8", "surrogateescape")
    mark = whole[: whole.startswith("\ufeff")]
    old = whole[len(mark) :].splitlines(keepends=True)
    end = _end(old[0]) if old else "\n"
    units = _units(written)
    of_line = _places(old, units)
    parts = []
    for place, raw in enumerate(old):
        unit = of_line.get(place)
        if unit is None:
            parts += [raw] if _stays(raw.strip()) else []
        elif [line.strip() for line in unit.lines] == [raw.strip()]:
            parts.append(raw)
        else:
            parts += [line.replace("\n", _end(raw) or end) for line in unit.lines]
    there = set(map(id, of_line.values()))
    new = [
        line.replace("\n", end) for unit in units if id(unit) not in there for line in unit.lines
    ]
    if new and parts and not _end(parts[-1]):
        parts[-1] += end
    return (mark + "".join([*parts, *new])).encode("utf-8", "surrogateescape")


def _units(written: Sequence[Written]) -> list[Written]:
    """Return what has a place of its own: a line that was read, or each line of a region."""
    units = []
    for one in written:
        if one.before is not None:
            units.append(one)
        else:
            units += [Written((line,), line.strip()) for line in one.lines]
    return units


def _places(old: Sequence[str], units: Sequence[Written]) -> dict[int, Written]:
    """Return which lines of a file stand for what: those that are alike, then those read before."""
    waiting: dict[str, deque[int]] = defaultdict(deque)
    for place, raw in enumerate(old):
        waiting[raw.strip()].append(place)
    found: dict[int, Written] = {}
    rest = []
    for unit in units:
        same = waiting.get(unit.lines[0].strip()) if unit.lines else None
        if same:
            found[same.popleft()] = unit
        else:
            rest.append(unit)
    for unit in rest:
        if same := waiting.get(unit.before or ""):
            found[same.popleft()] = unit
    return found


def _end(line: str) -> str:
    """Return what ends a line."""
    return line[len("".join(line.splitlines())) :]


def _stays(text: str) -> bool:
    """Whether a line stays though no region is written for it: it is blank or was left out."""
    try:
        points = _line(1, text, None).points if text else None
    except (ValueError, OverflowError):
        return True
    return points is None or is_tangled(points)


def _line(place: int, text: str, shape: KeypointShape) -> Line:
    """Return a line, or raise ValueError."""
    first, *rest = text.split()
    numbers = np.array(rest, float)
    number = int(float(first))
    if not np.isfinite(numbers).all() or len(numbers) < 4 or abs(number) > 2**31:
        raise ValueError
    count = shape[0] * shape[1] if shape is not None else 0
    if count and len(numbers) in (4 + count, 5 + count):
        keypoints = numbers[4 : 4 + count]
    else:
        keypoints = _keypoints(numbers)
    bare = numbers[:4] if len(keypoints) or len(numbers) == 5 else numbers
    sure = None
    if len(numbers) == len(bare) + len(keypoints) + 1:
        sure = float(numbers[-1])
    elif len(bare) % 2:
        bare, sure = bare[:-1], float(bare[-1])
    if sure is not None and not 0 <= sure <= 1:
        raise ValueError
    return Line(place, text, number, _points(bare), sure, tuple(keypoints.tolist()))


def _keypoints(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return what must be keypoints of three numbers each, though nothing says so; else none."""
    for end in (len(numbers), len(numbers) - 1):
        count, rest = divmod(end - 4, 3)
        if rest or count < _FEWEST_KEYPOINTS:
            continue
        centre, size = numbers[:2], numbers[2:4]
        points = numbers[4:end].reshape(-1, 3)
        seen = points[points[:, 2] > 0, :2]
        within = (abs(seen - centre) <= size / 2 + 0.05).all()
        if np.isin(points[:, 2], (0, 1, 2)).all() and (size > 0).all() and within:
            return numbers[4:end]
    return numbers[:0]


def _points(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the outline that numbers stand for, or raise ValueError."""
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
    for member in region.parts():
        outlines = member.for_image(*size).rings(holes=False)
        rings += [part for ring in outlines for part in _cut(ring, size)]
    return rings


def _cut(ring: npt.NDArray[np.float64], size: tuple[int, int]) -> list[npt.NDArray[np.float64]]:
    """Return an outline as it is if it lies within the image, else its parts that do."""
    low, high = ring.min(axis=0), ring.max(axis=0)
    if (low >= -0.5).all() and (high <= np.array(size) - 0.5).all():
        return [ring]
    if is_tangled(ring):
        return [ring]  # nobody can tell what it encloses; its corners go to the edge
    image = shapely.box(0, 0, size[1], size[0])
    within = shapely.intersection(enclosed(to_xy(ring)), image)
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
    found |= _rounded(lost, rest)
    taken = {id(line) for line in found.values()}
    lost = [line for line in lost if id(line) not in found]
    found |= _overlapping(lost, [line for line in rest if id(line) not in taken])
    own: list[list[Line]] = [[] for _ in written]
    for at, line in flat:
        if id(line) in found:
            own[at].append(found[id(line)])
    taken = {id(line) for line in found.values()}
    return own, [line for line in lines if id(line) not in taken]


def _rounded(lost: Sequence[Line], rest: Sequence[Line]) -> dict[int, Line]:
    """Return for lines that were written the lines that differ from them by rounding alone."""
    waiting: dict[bytes, deque[Line]] = defaultdict(deque)
    for line in rest:
        waiting[_rough(line)].append(line)
    return {id(line): waiting[_rough(line)].popleft() for line in lost if waiting[_rough(line)]}


def _rough(line: Line) -> bytes:
    return (np.rint(line.points * _ROUGHLY) + 0.0).tobytes()


def _overlapping(lost: Sequence[Line], rest: Sequence[Line]) -> dict[int, Line]:
    """Return for lines that were written the lines that enclose nearly the same, best first."""
    if not lost or not rest:
        return {}
    before, after = (_boxes(lines) for lines in (lost, rest))
    pairs = _pairs(before, after)
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


def _pairs(before: npt.NDArray[np.object_], after: npt.NDArray[np.object_]) -> npt.NDArray[np.intp]:
    """Return which rectangles touch each other, shape (2, n); of very many the first ones."""
    tree = shapely.STRtree(after)
    found, count = [np.zeros((2, 0), np.intp)], 0
    for start in range(0, len(before), _BLOCK):
        check_time()
        block = tree.query(before[start : start + _BLOCK])
        found.append(block + np.array([[start], [0]]))
        count += block.shape[1]
        if count > _MOST_PAIRS:
            break
    return np.concatenate(found, axis=1)[:, :_MOST_PAIRS]


def _boxes(lines: Sequence[Line]) -> npt.NDArray[np.object_]:
    """Return the upright rectangle around each line."""
    corners = [(*line.points.min(axis=0), *line.points.max(axis=0)) for line in lines]
    return np.asarray(shapely.box(*np.array(corners, float).T))
