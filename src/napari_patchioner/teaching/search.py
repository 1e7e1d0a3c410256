"""Find more like this in images of any size: in one piece, or part by part in bounded memory."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import RegionError
from napari_patchioner.images import Levels
from napari_patchioner.progress import Progress, no_progress
from napari_patchioner.progress import part as share
from napari_patchioner.regions import Box, Region

from .describe import ImageMeasures, check_example
from .find import LONGEST, Finder, Sample, overlap, peaks
from .measures import CELLS, Boxes, FloatArray

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner
    from napari_patchioner.grids import GridStore

PART = 1024
"""Long side, in pixels, of the parts of an image that is searched part by part."""

# Windows over a part: their profiles are held together.
_MOST_WINDOWS = 400_000
# Parts are at least so many things high and wide, and share so many with their neighbours.
_LEAST_THINGS, _SHARED_THINGS = 6, 2
# Share of the union from which on two boxes show the same thing.
_SAME = 0.3
# A box with more than this share in a known one shows a part of it, unless that has so many times
# its area.
_MOSTLY, _FAR_LARGER = 0.6, 8.0


@dataclass(frozen=True, slots=True)
class Part:
    """Part of an image: its corner in it, its height and its width, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def read(self, levels: Levels) -> npt.NDArray[np.uint8]:
        """Return its pixels at full resolution, shape (height, width, 3)."""
        pixels: npt.NDArray[Any] = levels.given[0].read(*dataclasses.astuple(self))
        return levels.rgb(pixels)

    def moved(self, box: Box, sign: int = 1) -> Box:
        """Return a box in it as one of the image; with -1 one of the image as one in it."""
        down, across = sign * self.top, sign * self.left
        return Box(box.top + down, box.left + across, box.bottom + down, box.right + across)

    def cuts(self, box: Box, shape: tuple[int, int]) -> bool:
        """Whether a box in it reaches a border at which the image, of this shape, goes on."""
        return (
            (self.top > 0 and box.top <= 0.5)
            or (self.left > 0 and box.left <= 0.5)
            or (self.top + self.height < shape[0] and box.bottom >= self.height - 1.5)
            or (self.left + self.width < shape[1] and box.right >= self.width - 1.5)
        )


@dataclass(frozen=True, slots=True)
class Found:
    """What a search of one image has come to.

    Attributes
    ----------
    proposals : list of (Box, str, float)
        Boxes, what they may show, and how likely they do, 0 to 1; the likeliest first.
    photograph : float or None
        How likely the image is a photograph, 0 to 1; None where nobody knows.
    heat : ndarray or None
        A heat map of the whole plane as of `Finder.heat`, where that was asked for.
    """

    proposals: list[tuple[Box, str, float]]
    photograph: float | None
    heat: FloatArray | None = None


def parts_of(shape: tuple[int, int], size: tuple[float, float]) -> list[Part]:
    """Cut an image into parts in which things of a size, (height, width) in pixels, are searched.

    One part where that takes little memory. Others overlap by two things, so that every one is
    whole in one of them.

    >>> parts_of((900, 1200), (40.0, 40.0))
    [Part(top=0, left=0, height=900, width=1200)]
    >>> len(parts_of((3000, 4000), (40.0, 40.0)))
    20
    """
    windows = math.prod(shape) * CELLS**2 / math.prod(size)
    if max(shape) <= LONGEST and windows <= _MOST_WINDOWS:
        return [Part(0, 0, *shape)]
    finest = math.sqrt(_MOST_WINDOWS * math.prod(size)) / CELLS
    side = math.ceil(min(max(min(PART, finest), _LEAST_THINGS * max(size)), LONGEST))
    shared = math.ceil(min(_SHARED_THINGS * max(size), side / 2))
    starts = []
    for end in shape:
        last = max(end - side, 0)
        count = 1 + math.ceil(last / (side - shared))
        starts.append([round(last * number / max(count - 1, 1)) for number in range(count)])
    height, width = min(side, shape[0]), min(side, shape[1])
    return [Part(top, left, height, width) for top in starts[0] for left in starts[1]]


def mean_size(boxes: Iterable[Box]) -> tuple[float, float]:
    """Return the geometric mean of the heights and of the widths of boxes, at least a pixel."""
    sides = [(box.bottom - box.top, box.right - box.left) for box in boxes]
    height, width = np.exp(np.log(np.maximum(sides, 1.0)).mean(axis=0)).tolist()
    return height, width


def box_in(region: Region, shape: tuple[int, int]) -> Box:
    """Return the box around a region, cut to its image.

    A RegionError where it lies outside, or is a point or a line, which have no size.
    """
    if not region.is_area:
        raise RegionError(
            f"a {region.kind} has no size to look for; draw a box around what it shows"
        )
    check_example(region)
    bounds = region.for_image(*shape).bounds()
    top, left = max(bounds.top, -0.5), max(bounds.left, -0.5)
    bottom, right = min(bounds.bottom, shape[0] - 0.5), min(bounds.right, shape[1] - 0.5)
    if bottom - top <= 0 or right - left <= 0:
        raise RegionError(f"it lies outside the image of {shape[0]} by {shape[1]} pixels")
    return Box(top, left, bottom, right)


def samples_of(
    captioner: Captioner,
    levels: Levels,
    boxes: Sequence[Box],
    size: tuple[float, float],
    *,
    store: GridStore | None = None,
    progress: Progress | None = None,
) -> list[Sample]:
    """Encode an image, or those parts of it that show examples, for a `Finder`.

    The boxes lie in the image, of any size; ``size`` is that of what is looked for, as in
    `parts_of`. The ``store`` is asked for grids first, and ``progress`` is told how far it is.
    """
    progress = progress or no_progress
    parts = parts_of(levels.shape, size)
    members: dict[Part, list[Box]] = {}
    for box in boxes:
        # The part in whose middle it lies most.
        best = min(parts, key=lambda part: _off_middle(part, box))
        members.setdefault(best, []).append(best.moved(box, -1))
    samples = []
    for number, (part, own) in enumerate(members.items()):
        progress(number / len(members), "reading the examples")
        pixels = part.read(levels)
        grid = captioner.encode(pixels, store=store)
        samples.append(Sample(grid, ImageMeasures(pixels), own))
    return samples


def search_image(
    captioner: Captioner,
    finders: Mapping[str, Finder],
    levels: Levels,
    *,
    least: float = 0.5,
    known: Sequence[Box] = (),
    with_heat: bool = False,
    store: GridStore | None = None,
    progress: Progress | None = None,
) -> Found:
    """Search one plane of an image of any size for things of several names.

    Parameters
    ----------
    captioner : Captioner
        What the finders were made with.
    finders : mapping of str to Finder
        By name, at least one.
    levels : Levels
        The plane. Where a side is longer than `LONGEST`, or things are so small that there would be
        very many windows, it is read, encoded and searched part by part, with one result.
    least : float
        The score that a proposal has at least.
    known : sequence of Box
        What is there already; proposals that are much the same box are left out.
    with_heat : bool
        Whether a heat map is made as well, of what is smallest.
    store : GridStore, optional
        Asked for grids before anything is encoded, and given the new ones.
    progress : callable, optional
        Is told how far it is; may raise ``Cancelled``.
    """
    progress = progress or no_progress
    sizes = [finder.size for finder in finders.values()]
    parts = parts_of(levels.shape, min(sizes, key=math.prod))
    smallest = min(finders.values(), key=lambda finder: math.prod(finder.size))
    heat = np.zeros(smallest.heat_shape(levels.shape), np.float32) if with_heat else None
    proposals: list[tuple[Box, str, float]] = []
    likely = []
    for number, part in enumerate(parts):
        message = f"searching part {number + 1} of {len(parts)}"
        progress(number / len(parts), message)
        pixels = part.read(levels)
        within = share(progress, number / len(parts), (number + 1) / len(parts), message)
        grid = captioner.encode(pixels, store=store, progress=within)
        measures = ImageMeasures(pixels)
        likely += [grid.measures["photograph"]] if "photograph" in grid.measures else []
        proposals += [
            (part.moved(proposal.box), name, proposal.score)
            for name, finder in finders.items()
            for proposal in finder.find(grid, measures, least=least)
            if not part.cuts(proposal.box, levels.shape)
        ]
        if heat is not None:
            lay_heat(heat, smallest.heat(measures), part, levels.shape)
    progress(1.0, "done")
    photograph = float(np.mean(likely)) if likely else None
    return Found(distinct(proposals, known), photograph, heat)


def lay_heat(heat: FloatArray, own: FloatArray, part: Part, shape: tuple[int, int]) -> None:
    """Lay the heat map of a part over that of the whole image, the higher value on top."""
    starts, sides = (part.top, part.left), (part.height, part.width)
    inside, nearest, under = [], [], []
    for axis in (0, 1):
        middles = (np.arange(heat.shape[axis]) + 0.5) * shape[axis] / heat.shape[axis]
        places = (middles - starts[axis]) * own.shape[axis] / sides[axis]
        cells = np.flatnonzero((places >= 0) & (places < own.shape[axis]))
        inside.append(cells)
        nearest.append(places[cells].astype(int))
        middles = starts[axis] + (np.arange(own.shape[axis]) + 0.5) * sides[axis] / own.shape[axis]
        under.append((middles * heat.shape[axis] / shape[axis]).astype(int))
    cover = np.ix_(*inside)
    heat[cover] = np.maximum(heat[cover], own[np.ix_(*nearest)])
    # Where cells of the whole are larger, the highest value of each counts.
    np.maximum.at(heat, np.ix_(*under), own)


def distinct(
    proposals: list[tuple[Box, str, float]], known: Sequence[Box]
) -> list[tuple[Box, str, float]]:
    """Return the likeliest of proposals that are much the same box, the likeliest first."""
    if not proposals:
        return []
    corners = np.array([dataclasses.astuple(box) for box, _, _ in proposals])
    scores = np.array([score for _, _, score in proposals])
    rows = peaks(corners, scores, most=len(scores), overlapping=_SAME, candidates=len(scores))
    for box in known:
        rows = rows[~_is_taken(np.array(dataclasses.astuple(box)), corners[rows])]
    return [proposals[row] for row in rows.tolist()]


def _is_taken(box: Boxes, boxes: Boxes) -> npt.NDArray[np.bool_]:
    """Say which boxes show what a known box shows: they are much the same, or a part of it.

    In something far larger than they are, like a tissue that was outlined, they may well be new.
    """
    shared = overlap(box, boxes)
    own, areas = np.prod(box[2:] - box[:2]), np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    common = shared * (own + areas) / (1 + shared)
    is_part = (common > _MOSTLY * areas) & (own < _FAR_LARGER * areas)
    return np.asarray((shared > _SAME) | is_part)


def _off_middle(part: Part, box: Box) -> float:
    """Return how far a box lies from the middle of a part, in pixels."""
    down = (box.top + box.bottom + 1 - part.height) / 2 - part.top
    across = (box.left + box.right + 1 - part.width) / 2 - part.left
    return max(abs(down), abs(across))
