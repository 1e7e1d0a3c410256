"""From a drawn region to the patches it takes, and how much each of them counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, Self, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import shapely

from napari_patchioner.errors import RegionError

from ._outline import FloatArray, check_points, is_flat, outline_rings, polygon_rings
from ._shapes import Box, Ellipse, Mask, Point, Polygon, Region, RegionSet, Trace, WholeImage

IndexArray: TypeAlias = npt.NDArray[np.int64]
Weighting: TypeAlias = Literal["touch", "area"]
Convention: TypeAlias = Literal["paper", "reference"]
Result = TypeVar("Result")

TOUCH = 1e-9
"""Shares of a patch below this are rounding, not intersection."""

_ROUNDING = 1e-6

# Patches of outlines that are measured at once, 32 MB; a few such arrays are needed.
_AT_ONCE = 2**22

# Patches of a bell that count less than this share of its nearest do not count.
_FAINT = 0.01


@dataclass(frozen=True, slots=True)
class GridTransform:
    """The affine map between an image and the patch grid laid over it.

    The grid covers ``window``, a rectangle of the image measured from the outer corner of the
    first pixel (edge coordinates, so the whole image is ``(0, 0, height, width)``). Patch
    ``(i, j)`` fills the square ``[i, i + 1) x [j, j + 1)`` of patch units. A squashed square
    input and an aspect-preserving one are both this map; a centre crop has a smaller window.

    ``image_shape`` is the ``(height, width)`` of the full-resolution image in pixels,
    ``grid_shape`` the ``(rows, columns)`` of the grid, ``window`` the ``(top, left, height,
    width)`` in edge coordinates, the whole image by default.
    """

    image_shape: tuple[int, int]
    grid_shape: tuple[int, int]
    window: tuple[float, float, float, float] | None = None

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """``(top, left, height, width)`` of the covered window in edge coordinates."""
        if self.window is not None:
            return self.window
        return (0.0, 0.0, float(self.image_shape[0]), float(self.image_shape[1]))

    @property
    def patch_size(self) -> tuple[float, float]:
        """``(height, width)`` of one patch in image pixels."""
        _, _, height, width = self.extent
        return height / self.grid_shape[0], width / self.grid_shape[1]

    def to_grid(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map ``(row, column)`` pixel-centre coordinates, shape (..., 2), to patch units."""
        top, left, _, _ = self.extent
        return (np.asarray(points, float) + 0.5 - (top, left)) / self.patch_size

    def to_image(self, points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map patch units, shape (..., 2), back to ``(row, column)`` pixel-centre coordinates."""
        top, left, _, _ = self.extent
        return np.asarray(points, float) * self.patch_size + (top, left) - 0.5

    @classmethod
    def squashed(cls, image_shape: tuple[int, int], input_size: int, patch_size: int) -> Self:
        """Lay a square grid over the whole image, resized to a square of ``input_size`` pixels."""
        cells = input_size // patch_size
        return cls(image_shape, (cells, cells))

    @classmethod
    def keeping_aspect(cls, image_shape: tuple[int, int], input_size: int, patch_size: int) -> Self:
        """Lay nearly square patches over the whole image, the long side ``input_size`` long."""
        longest = max(image_shape)
        rows, columns = (
            max(1, round(side * input_size / longest / patch_size)) for side in image_shape
        )
        return cls(image_shape, (rows, columns))

    @classmethod
    def centre_cropped(cls, image_shape: tuple[int, int], input_size: int, patch_size: int) -> Self:
        """Lay a square grid over the middle, after the short side was resized to ``input_size``.

        Whole pixels are resized and cut as torchvision's ``Resize`` and ``CenterCrop`` do, so the
        window is what the network got, not what exact arithmetic would give.
        """
        cells, shortest = input_size // patch_size, min(image_shape)
        resized = [int(input_size * side / shortest) for side in image_shape]
        start = [round((side - input_size) / 2) for side in resized]
        scale = [full / side for full, side in zip(image_shape, resized, strict=True)]
        side = cells * patch_size
        window = (start[0] * scale[0], start[1] * scale[1], side * scale[0], side * scale[1])
        return cls(image_shape, (cells, cells), window)


class OutsideError(RegionError):
    """A region that lies wholly outside the image, or outside the part that was encoded."""

    @classmethod
    def beyond(cls, transform: GridTransform) -> OutsideError:
        """Say where the image, or the window of it that the grid covers, ends."""
        (top, left), (bottom, right) = transform.to_image([[0, 0], transform.grid_shape])
        whole = transform.window is None
        name = "image" if whole else "part of the image that the model sees"
        return cls(
            f"The region lies outside the {name} (rows {top + 0.5:.0f} to {bottom - 0.5:.0f}, "
            f"columns {left + 0.5:.0f} to {right - 0.5:.0f}): draw it inside."
        )


@dataclass(frozen=True, eq=False, slots=True)
class PatchWeights:
    """The patches a region takes and how much each counts; never empty.

    Attributes
    ----------
    indices : ndarray of int64, shape (k,)
        Flat row-major patch indices, unique and ascending, in a grid of ``grid_shape``.
    weights : ndarray of float64, shape (k,)
        Positive, not normalised: counts, or covered fractions of a patch.
    members : tuple of PatchWeights
        The parts of a region set, which Gaussian and attention pooling weigh one by one.
    """

    indices: IndexArray
    weights: FloatArray
    grid_shape: tuple[int, int]
    members: tuple[PatchWeights, ...] = ()

    @property
    def rows(self) -> IndexArray:
        """Grid row of each patch, shape (k,)."""
        return self.indices // self.grid_shape[1]

    @property
    def columns(self) -> IndexArray:
        """Grid column of each patch, shape (k,)."""
        return self.indices % self.grid_shape[1]

    @property
    def total(self) -> float:
        """Sum of the weights: ``|S|`` of the paper for uniform weights."""
        return float(self.weights.sum())

    def normalised(self) -> PatchWeights:
        """Return the same patches with weights that sum to one."""
        return replace(self, weights=self.weights / self.total)

    def dense(self) -> FloatArray:
        """Return the weights as a map, shape (rows, columns), zero where no patch is taken."""
        weights = np.zeros(self.grid_shape)
        weights.flat[self.indices] = self.weights
        return weights

    @classmethod
    def from_dense(cls, weights: FloatArray) -> PatchWeights:
        """Take the positive entries of a map of shape (rows, columns)."""
        rows, columns = weights.shape
        indices = np.flatnonzero(weights > 0)
        return cls(
            indices.astype(np.int64), weights.ravel()[indices].astype(np.float64), (rows, columns)
        )

    @classmethod
    def sum_of(cls, members: Iterable[PatchWeights]) -> PatchWeights:
        """Add the weights of a set's members (equation 1): a patch of two counts twice."""
        members = tuple(members)
        cells, where = np.unique(np.concatenate([m.indices for m in members]), return_inverse=True)
        summed = np.bincount(where, np.concatenate([m.weights for m in members]))
        weights = summed.astype(np.float64)
        return cls(cells.astype(np.int64), weights, members[0].grid_shape, members)


def cover(
    region: Region,
    transform: GridTransform,
    *,
    weighting: Weighting = "touch",
    convention: Convention = "paper",
    spread: float = 0.0,
) -> PatchWeights:
    """Say which patches a region covers and how much each of them counts.

    The same pixels give the same weights whatever tool drew them. What lies outside the image is
    cut off; a region inside it gets at least one patch, a line those it passes through.

    Parameters
    ----------
    region : Region
        In ``(row, column)`` image pixels.
    transform : GridTransform
        Where the patches lie on the image.
    weighting : {"touch", "area"}
        Every patch that the region intersects counts one, as in the paper, or as much of it as
        is covered. Points and traces count points either way.
    convention : {"paper", "reference"}
        The paper's formulas, or the published code where it differs: boxes by floor division of
        corner and size (at least as many patches, touched or not; ``weighting`` has no say), the
        mean of the members' means for a set, traces without bridges.
    spread : float
        Standard deviation, in patches, of the bell that a point takes around it; with 0 it takes
        the patch it lies in, as in the paper, and as points of a united set do.

    Returns
    -------
    PatchWeights
        Not normalised: ``weights.sum()`` is ``|S|``.

    Notes
    -----
    A region that is empty, not finite or lies wholly outside is a ``RegionError``.

    An outline that crosses itself is filled where a line from outside crosses it an odd number of
    times, as pycocotools fills it.

    A set adds the weights of its members (equation 1), so shared patches weigh more; a trace
    counts its points (equation 2), so repeats do.

    Examples
    --------
    >>> from napari_patchioner.grids import GridTransform
    >>> from napari_patchioner.regions import Box, cover
    >>> cover(Box(-0.5, -0.5, 29.5, 9.5), GridTransform((40, 40), (2, 2)), weighting="area").dense()
    array([[0.5 , 0.  ],
           [0.25, 0.  ]])
    """
    if isinstance(region, RegionSet):
        return _set(region, transform, weighting, convention, 0.0 if region.union else spread)
    if not isinstance(region, Region):
        raise TypeError(f"{region!r} is no region")
    if isinstance(region, Point) and spread > 0:
        return _bell(region, transform, spread)
    if not region.is_area:
        bridge = isinstance(region, Trace) and region.connected and convention == "paper"
        return _counts(region.coords(), transform, bridge=bridge)
    if isinstance(region, Box) and convention == "reference":
        return _reference_box(region, transform)
    shares = _areas(region, transform)
    return PatchWeights.from_dense(shares if weighting == "area" else np.ceil(shares))


def cover_all(
    regions: Sequence[Region],
    transform: GridTransform,
    *,
    weighting: Weighting = "touch",
    convention: Convention = "paper",
    spread: float = 0.0,
) -> list[PatchWeights]:
    """Say the same as `cover` of each of many regions, ten times as fast for outlines.

    Parameters and results are those of `cover`; a `RegionError` says which region is at fault.
    """
    known = dict(_simple_outlines(regions, transform, weighting))

    def covered(place: int, region: Region) -> PatchWeights:
        if place in known:
            return known[place]
        return cover(region, transform, weighting=weighting, convention=convention, spread=spread)

    places = iter(range(len(regions)))
    return each(regions, lambda region: covered(next(places), region))


def each(regions: Sequence[Region], work: Callable[[Region], Result]) -> list[Result]:
    """Return what work on each region gives; a RegionError says which of several was at fault."""
    results = []
    for number, region in enumerate(regions, start=1):
        try:
            results.append(work(region))
        except RegionError as error:
            if len(regions) == 1:
                raise
            raise RegionError(f"Region {number} of {len(regions)}: {error}") from error
    return results


def _counts(points: FloatArray, transform: GridTransform, *, bridge: bool) -> PatchWeights:
    """Count the points in each patch (equation 2 of the paper); points outside are dropped.

    A point on the far border belongs to the last patch. With ``bridge``, gaps wider than one patch
    are filled first.
    """
    limits = np.array(transform.grid_shape)
    positions = transform.to_grid(check_points(points))
    if bridge:
        # Even steps of at most one patch, and not more than so many for a pen that jumped far off.
        steps = np.diff(positions, axis=0)
        parts = np.clip(np.ceil(np.hypot(*steps.T) - 1e-9), 1, 4 * limits.sum()).astype(np.int64)
        gap, rank = _numbered(parts)
        filled = positions[gap] + (rank / parts[gap])[:, None] * steps[gap]
        positions = np.concatenate([filled, positions[-1:]])
    positions = positions[((positions >= 0) & (positions <= limits)).all(axis=1)]
    if not len(positions):
        raise OutsideError.beyond(transform)
    taken = np.minimum(positions.astype(np.int64), limits - 1)
    cells, counts = np.unique(taken[:, 0] * limits[1] + taken[:, 1], return_counts=True)
    return PatchWeights(cells, counts.astype(np.float64), transform.grid_shape)


def _bell(point: Point, transform: GridTransform, spread: float) -> PatchWeights:
    """Take the patches around a point, the nearest most; together they count as one."""
    # One outside has no neighbourhood either.
    _counts(point.coords(), transform, bridge=False)
    [place] = transform.to_grid(point.coords()) - 0.5
    rows, columns = np.indices(transform.grid_shape)
    distance = (rows - place[0]) ** 2 + (columns - place[1]) ** 2
    weights = np.exp(-(distance - distance.min()) / (2 * spread**2))
    weights[weights < _FAINT] = 0
    return PatchWeights.from_dense(weights / weights.sum())


def _numbered(counts: IndexArray) -> tuple[IndexArray, IndexArray]:
    """Repeat the number of each item so often as it counts, and number the repetitions from 0."""
    item = np.repeat(np.arange(len(counts)), counts)
    return item, np.arange(len(item)) - np.repeat(np.cumsum(counts) - counts, counts)


def _reference_box(box: Box, transform: GridTransform) -> PatchWeights:
    """Take the patches ``x // p .. x // p + w // p``, both included, and likewise for rows.

    Corner and size are divided apart and in single precision, as in the published code, so the
    last patch touched may be missing. Its indices below zero, which there count from the far
    side, are not reproduced: the box is cut at the image first.
    """
    low, high = transform.to_grid(box.bounds().coords())[::2]
    limits = np.array(transform.grid_shape)
    beside = ((high <= 0) | (low >= limits)) & (low < high)
    if (high < 0).any() or (low > limits).any() or beside.any():
        raise OutsideError.beyond(transform)
    low, high = low.clip(0, limits), high.clip(0, limits)
    first = np.minimum(low.astype(np.float32).astype(np.int64), limits - 1)
    last = np.minimum(first + (high - low).astype(np.float32).astype(np.int64), limits - 1)
    weights = np.zeros(transform.grid_shape)
    weights[first[0] : last[0] + 1, first[1] : last[1] + 1] = 1.0
    return PatchWeights.from_dense(weights)


def _set(
    region: RegionSet,
    transform: GridTransform,
    weighting: Weighting,
    convention: Convention,
    spread: float,
) -> PatchWeights:
    """Add the members that the grid reaches up (equation 1), or count their patches once."""
    if not region.members or any(isinstance(member, RegionSet) for member in region.members):
        raise RegionError("A set of regions needs at least one region, and none that is a set.")
    covers: list[tuple[Region, PatchWeights]] = []
    for member in region.members:
        with suppress(OutsideError):
            weights = cover(
                member, transform, weighting=weighting, convention=convention, spread=spread
            )
            covers.append((member, weights))
    if not covers:
        raise OutsideError.beyond(transform)
    if not region.union:
        reference = convention == "reference"
        return PatchWeights.sum_of(
            weights.normalised() if reference else weights for _, weights in covers
        )
    # Members without area, and all where no areas count, take each of their patches as a whole.
    whole, outlines = np.zeros(transform.grid_shape), []
    for member, weights in covers:
        measured = weighting == "area" and convention == "paper"
        outline = member.inside() if measured else None
        if outline is None or shapely.area(outline) == 0:
            whole.flat[weights.indices] = 1.0
        else:
            outlines.append(outline)
    shares = _ring_shares(polygon_rings(shapely.union_all(outlines)), transform)
    united = np.maximum(whole, np.where(shares > TOUCH, shares, 0.0))
    if not united.any():  # the members only pass patches
        united = np.maximum.reduce([weights.dense() for _, weights in covers])
    return PatchWeights.from_dense(united)


def _areas(region: Region, transform: GridTransform) -> FloatArray:
    """Measure the covered share of each patch, shape (rows, columns), in 0..1.

    A region without area (a line, a single position) gives one to each patch that it passes.
    """
    if isinstance(region, WholeImage):
        return np.ones(transform.grid_shape)
    if isinstance(region, Box | Mask):
        ring = transform.to_grid(region.bounds().coords())
        measured = _box_shares if isinstance(region, Box) else partial(_mask_shares, region)
        shares = measured(ring[::2], transform)
    else:
        vertices = region.fine_outline()
        ring = transform.to_grid(vertices)
        shares = _ring_shares([] if is_flat(vertices) else outline_rings(vertices), transform)
    shares = np.where(shares > TOUCH, shares, 0.0)
    return shares if shares.any() else _passage(ring, transform)


def _passage(ring: FloatArray, transform: GridTransform) -> FloatArray:
    """Give one to each patch that an outline without area passes through."""
    limits = np.array(transform.grid_shape)
    low, high = ring.min(axis=0), ring.max(axis=0)
    # With some extent, lying against the border from outside is outside; without, it is inside.
    slack = np.where(high - low > TOUCH, -TOUCH, TOUCH)
    starts, ends, _ = _pieces(ring, np.roll(ring, -1, axis=0), transform.grid_shape)
    middle = (starts + ends) / 2
    met = ((middle >= -TOUCH) & (middle <= limits + TOUCH)).all(axis=1)
    edges = _image_edges(transform)
    first, last = (np.zeros(2), limits) if edges is None else edges
    if not (((low <= last + slack) & (high >= first - slack)).all() and met.any()):
        raise OutsideError.beyond(transform)
    cells = middle[met].astype(np.int64).clip(0, limits - 1)
    shares = np.zeros(transform.grid_shape)
    shares[cells[:, 0], cells[:, 1]] = 1.0
    return shares


def _image_edges(transform: GridTransform) -> FloatArray | None:
    """Return the lowest and highest ``(row, column)`` of the image in patch units.

    None where no patch reaches beyond the image, as one of a tile may, so that nothing is cut off.
    """
    if transform.window is None:
        return None
    ends = np.asarray(transform.image_shape, float) - 0.5
    edges = transform.to_grid(np.array([[-0.5, -0.5], ends]))
    limits = np.array([[0, 0], transform.grid_shape], float)
    reaches = (edges[0] > limits[0] + _ROUNDING) | (edges[1] < limits[1] - _ROUNDING)
    return edges if reaches.any() else None


def _overlaps(low: float, high: float, edges: FloatArray) -> FloatArray:
    """Length that the interval shares with each of the bins between ascending edges."""
    shared = np.minimum(high, edges[1:]) - np.maximum(low, edges[:-1])
    return np.asarray(np.maximum(shared, 0.0))


def _box_shares(corners: FloatArray, transform: GridTransform) -> FloatArray:
    """Share of each patch within a box, whose corners, shape (2, 2), are in patch units."""
    edges = _image_edges(transform)
    low, high = corners if edges is None else corners.clip(*edges)
    borders = [np.arange(cells + 1.0) for cells in transform.grid_shape]
    return np.outer(*map(_overlaps, low, high, borders))


def _mask_shares(mask: Mask, corners: FloatArray, transform: GridTransform) -> FloatArray:
    """Share of each patch under pixels, whose outer corners, shape (2, 2), are in patch units.

    A pixel is a square, not a dot: one that lies over a patch border gives each side its part.
    """
    mask = mask.cropped()
    pixels = mask.pixels
    if _image_edges(transform) is not None:
        places = map(np.add, mask.offset, map(np.arange, pixels.shape))
        inside = [
            (place >= 0) & (place < side)
            for place, side in zip(places, transform.image_shape, strict=True)
        ]
        pixels = pixels & np.outer(*inside)
    shares = np.zeros(transform.grid_shape)
    sides = zip(*corners, pixels.shape, transform.grid_shape, strict=True)
    rows, columns = (
        _bins(np.linspace(low, high, length + 1), cells) for low, high, length, cells in sides
    )
    for row, first, heights in rows:
        # One patch row at a time, so that a mask of a large plane is never copied as floats.
        profile = heights @ pixels[first : first + len(heights)]
        for column, start, widths in columns:
            shares[row, column] = profile[start : start + len(widths)] @ widths
    return shares.clip(0.0, 1.0)


def _bins(edges: FloatArray, n_patches: int) -> list[tuple[int, int, FloatArray]]:
    """Return for each patch its number, the first pixel it meets and its length over each pixel."""
    bins = []
    for patch in range(max(0, int(edges[0])), min(n_patches, int(np.ceil(edges[-1])))):
        first = max(int(np.searchsorted(edges, patch, side="right")) - 1, 0)
        stop = int(np.searchsorted(edges, patch + 1, side="left"))
        bins.append((patch, first, _overlaps(patch, patch + 1, edges[first : stop + 1])))
    return bins


def _ring_shares(rings: Iterable[tuple[float, FloatArray]], transform: GridTransform) -> FloatArray:
    """Share of each patch within rings in image pixels, which count 1 or, for holes, -1."""
    edges = _image_edges(transform)
    shares = np.zeros(transform.grid_shape)
    for sign, ring in rings:
        on_grid = transform.to_grid(ring)
        inside = on_grid if edges is None else _cut(on_grid, edges)
        shares += sign * ring_areas(inside, transform.grid_shape)
    return shares.clip(0.0, 1.0)


def _cut(ring: FloatArray, edges: FloatArray) -> FloatArray:
    """Cut an outline at the edges of the image, by Sutherland and Hodgman.

    Vertices in patch units, shape (n, 2), the last joining the first; empty if nothing is left.
    What is left may be several parts that are joined along an edge.
    """
    for axis in (0, 1):
        for edge, sign in ((edges[0, axis], 1.0), (edges[1, axis], -1.0)):
            depths = sign * (ring[:, axis] - edge)
            if not len(ring) or (depths >= 0).all():
                continue
            kept: list[FloatArray] = []
            for vertex, after, depth, depth_after in zip(
                ring, np.roll(ring, -1, axis=0), depths, np.roll(depths, -1), strict=True
            ):
                if depth >= 0:
                    kept.append(vertex)
                if (depth >= 0) != (depth_after >= 0):
                    met = vertex + (after - vertex) * (depth / (depth - depth_after))
                    met[axis] = edge
                    kept.append(met)
            ring = np.array(kept).reshape(-1, 2)
    return ring


def ring_areas(ring: FloatArray, grid_shape: tuple[int, int]) -> FloatArray:
    """Measure the share of each patch inside an outline that does not cross itself.

    Every piece of the outline adds the signed area between itself and the right border of the
    grid; summed over a closed ring what is left is the enclosed area. Vertices in patch units,
    shape (n, 2), the last joining the first; what lies outside the grid is cut off.

    >>> ring_areas(np.array([[0, 0], [0, 1.5], [1, 1.5], [1, 0]]), (1, 3))
    array([[1. , 0.5, 0. ]])
    """
    after = np.roll(ring, -1, axis=0)
    [shares] = _enclosed_shares(ring, after, np.zeros(len(ring), np.int64), 1, grid_shape)
    return np.asarray(shares)


def _simple_outlines(
    regions: Sequence[Region], transform: GridTransform, weighting: Weighting
) -> Iterator[tuple[int, PatchWeights]]:
    """Cover at once all outlines that do not cross themselves and that no edge cuts off.

    Their places among the regions, and their patches; outlines that are doubtful in any way, or
    that take no patch, are left out.
    """
    if _image_edges(transform) is not None:
        return
    places, outlines = [], []
    for place, region in enumerate(regions):
        if isinstance(region, Polygon | Ellipse):
            with suppress(RegionError):
                outlines.append(region.fine_outline())
                places.append(place)
    n_rows, n_columns = transform.grid_shape
    size = max(1, _AT_ONCE // (n_rows * (n_columns + 2)))
    for first in range(0, len(places), size):
        some = outlines[first : first + size]
        simple = _simple(some)
        if not simple.any():
            continue
        kept = [outline for outline, good in zip(some, simple, strict=True) if good]
        counts = np.array([len(outline) for outline in kept])
        points, ends = transform.to_grid(np.concatenate(kept)), np.cumsum(counts)
        following = np.arange(1, len(points) + 1)
        following[ends - 1] = ends - counts
        ring = np.repeat(np.arange(len(kept)), counts)
        shares = _enclosed_shares(points, points[following], ring, len(kept), transform.grid_shape)
        shares = np.where(shares > TOUCH, shares, 0.0).reshape(len(kept), -1)
        of, cells = np.nonzero(shares)
        weights = shares[of, cells] if weighting == "area" else np.ones(len(cells))
        cuts = np.searchsorted(of, np.arange(1, len(kept)))
        parts = zip(np.split(cells, cuts), np.split(weights, cuts), strict=True)
        numbers = np.flatnonzero(simple) + first
        for number, (indices, weight) in zip(numbers.tolist(), parts, strict=True):
            if len(indices):
                yield places[number], PatchWeights(indices, weight, transform.grid_shape)


def _simple(outlines: Sequence[FloatArray]) -> npt.NDArray[np.bool_]:
    """Which outlines, each (n, 2), neither cross themselves nor are anywhere near flat."""
    counts = np.array([len(outline) for outline in outlines])
    enough = counts > 2
    if not enough.any():
        return enough
    points = np.concatenate([outline for outline in outlines if len(outline) > 2])
    rings = shapely.linearrings(
        points[:, ::-1], indices=np.repeat(np.arange(enough.sum()), counts[enough])
    )
    outlined = shapely.polygons(rings)
    areas, around = shapely.area(outlined), shapely.length(rings)
    enough[enough] = shapely.is_valid(outlined) & (areas > 1e-4 * around**2)
    return enough


def _enclosed_shares(
    starts: FloatArray, ends: FloatArray, ring: IndexArray, rings: int, grid_shape: tuple[int, int]
) -> FloatArray:
    """Measure the share of each patch inside each of many rings, shape (rings, rows, columns).

    Given are the edges of all, (n, 2) in patch units, and the number of the ring each is of; see
    `ring_areas`.
    """
    n_rows, n_columns = grid_shape
    starts, ends, edge = _pieces(starts, ends, grid_shape)
    middle = (starts + ends) / 2
    inside = (middle[:, 0] > 0) & (middle[:, 0] < n_rows) & (starts[:, 0] != ends[:, 0])
    row, position = middle[inside, 0].astype(np.int64), middle[inside, 1].clip(0, n_columns)
    rise = ends[inside, 0] - starts[inside, 0]
    column = position.astype(np.int64)
    beyond = position - column
    width = n_columns + 2
    flat = (ring[edge[inside]] * n_rows + row) * width + column
    change = np.bincount(flat, rise * (1 - beyond), rings * n_rows * width)
    change += np.bincount(flat + 1, rise * beyond, rings * n_rows * width)
    signed = change.reshape(rings, n_rows, width).cumsum(axis=2)[..., :n_columns]
    return np.asarray(np.clip(np.abs(signed), 0.0, 1.0))


def _pieces(
    starts: FloatArray, ends: FloatArray, grid_shape: tuple[int, int]
) -> tuple[FloatArray, FloatArray, IndexArray]:
    """Return starts and ends, shape (m, 2), of edges (n, 2) cut at patch borders.

    With them come the numbers of the edges they are of, (m,).
    """
    # The number of the edge and the share of its way, 0..1, at which each piece begins.
    edges, shares = [np.arange(len(starts))], [np.zeros(len(starts))]
    for start, end, cells in zip(starts.T, ends.T, grid_shape, strict=True):
        first = np.clip(np.floor(np.minimum(start, end)) + 1, 0, cells + 1)
        stop = np.clip(np.ceil(np.maximum(start, end)), 0, cells + 1)
        crossed, rank = _numbered(np.maximum(stop - first, 0).astype(np.int64))
        way = end[crossed] - start[crossed]
        edges.append(crossed)
        shares.append((first[crossed] + rank - start[crossed]) / way)
    edge, share = np.concatenate(edges), np.concatenate(shares)
    order = np.lexsort((share, edge))
    edge, share = edge[order], share[order]
    pieces = starts[edge] + share[:, None] * (ends[edge] - starts[edge])
    last = np.append(edge[1:] != edge[:-1], True)
    return pieces, np.where(last[:, None], ends[edge], np.roll(pieces, -1, axis=0)), edge
