"""From a drawn region to the patches it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

import numpy as np
import shapely

from napari_patchioner.errors import RegionError

from ._areas import TOUCH, areas, ring_areas
from ._outline import enclosed
from ._shapes import (
    Box,
    Ellipse,
    FloatArray,
    Mask,
    Point,
    Polygon,
    Region,
    RegionSet,
    Trace,
    WholeImage,
    check_points,
)
from ._weights import OutsideError, PatchWeights, Placement

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Weighting: TypeAlias = Literal["touch", "area"]
Convention: TypeAlias = Literal["paper", "reference"]
Result = TypeVar("Result")


def cover(
    region: Region,
    transform: Placement,
    *,
    weighting: Weighting = "touch",
    convention: Convention = "paper",
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

    Returns
    -------
    PatchWeights
        Not normalised: ``weights.sum()`` is ``|S|``.

    Raises
    ------
    RegionError
        The region is empty, not finite or lies wholly outside.

    Notes
    -----
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
    match region:
        case RegionSet():
            return _set(region, transform, weighting, convention)
        case Point():
            return _counts(region.coords(), transform, bridge=False)
        case Trace():
            bridge = region.connected and convention == "paper"
            return _counts(region.coords(), transform, bridge=bridge)
        case Box() if convention == "reference":
            return _reference_box(region, transform)
        case Box() | Polygon() | Ellipse() | Mask() | WholeImage():
            shares = areas(region, transform)
            return PatchWeights.from_dense(shares if weighting == "area" else np.ceil(shares))
    raise TypeError(f"{region!r} is no region")


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


def _counts(points: FloatArray, transform: Placement, *, bridge: bool) -> PatchWeights:
    """Count the points in each patch (equation 2 of the paper); points outside are dropped.

    A point on the far border belongs to the last patch. With ``bridge``, gaps wider than one patch
    are filled first.
    """
    limits = np.array(transform.grid_shape)
    positions = transform.to_grid(check_points(points))
    if bridge:
        # At the very most so many into one gap, for a pen that jumped far outside.
        positions = bridged(positions, most=4 * int(limits.sum()))
    positions = positions[((positions >= 0) & (positions <= limits)).all(axis=1)]
    if not len(positions):
        raise OutsideError.beyond(transform)
    cells = np.minimum(positions.astype(np.int64), limits - 1)
    return PatchWeights.from_cells(cells[:, 0] * limits[1] + cells[:, 1], transform.grid_shape)


def bridged(positions: FloatArray, most: int) -> FloatArray:
    """Fill each gap of a trace, shape (n, 2), with even steps of at most one patch."""
    steps = np.diff(positions, axis=0)
    parts = np.clip(np.ceil(np.hypot(*steps.T) - 1e-9), 1, most).astype(np.int64)
    gap = np.repeat(np.arange(len(steps)), parts)
    rank = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
    filled = positions[gap] + (rank / parts[gap])[:, None] * steps[gap]
    return np.concatenate([filled, positions[-1:]])


def _reference_box(box: Box, transform: Placement) -> PatchWeights:
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
    region: RegionSet, transform: Placement, weighting: Weighting, convention: Convention
) -> PatchWeights:
    """Add the members that the grid reaches up (equation 1), or count their patches once."""
    if not region.members or any(isinstance(member, RegionSet) for member in region.members):
        raise RegionError("A set of regions needs at least one region, and none that is a set.")
    inside, covers = [], []
    for member in region.members:
        try:
            covers.append(cover(member, transform, weighting=weighting, convention=convention))
        except OutsideError:
            continue
        inside.append(member)
    if not covers:
        raise OutsideError.beyond(transform)
    if region.union and weighting == "area" and convention == "paper":
        return PatchWeights.from_dense(_united_areas(inside, covers, transform))
    if region.union:
        taken = np.zeros(transform.grid_shape)
        for weights in covers:
            taken.flat[weights.indices] = 1.0
        return PatchWeights.from_dense(taken)
    if convention == "reference":
        covers = [weights.normalised() for weights in covers]
    return PatchWeights.sum_of(covers)


def _united_areas(
    members: Sequence[Region], covers: Sequence[PatchWeights], transform: Placement
) -> FloatArray:
    """Share of each patch that members cover together; those without area keep their own."""
    shares = np.zeros(transform.grid_shape)
    outlines = []
    for member, weights in zip(members, covers, strict=True):
        outline = _geometry(member)
        if outline is None or shapely.area(outline) == 0:
            shares.flat[weights.indices] = 1.0
        else:
            outlines.append(outline)
    for part in shapely.get_parts(shapely.union_all(outlines)) if outlines else ():
        if isinstance(part, shapely.Polygon):  # a union may leave lines as well
            outer, *holes = (
                ring_areas(
                    transform.to_grid(shapely.get_coordinates(ring)[:-1, ::-1]),
                    transform.grid_shape,
                )
                for ring in (part.exterior, *part.interiors)
            )
            shares += outer - sum(holes, start=np.zeros(transform.grid_shape))
    return np.where(shares > TOUCH, shares.clip(0.0, 1.0), 0.0)


def _geometry(member: Region) -> shapely.Geometry | None:
    """Return the inside of a region as (column, row) geometry; None where it has none."""
    match member:
        case Box():
            return shapely.make_valid(shapely.Polygon(member.bounds().coords()[:, ::-1]))
        case Ellipse():
            return shapely.make_valid(shapely.Polygon(member.fine_outline()[:, ::-1]))
        case Polygon() if len(member.vertices) > 2:
            return enclosed(member.coords()[:, ::-1])
        case Mask():
            return shapely.union_all(shapely.box(*(member.runs()[:, [1, 0, 3, 2]] - 0.5).T))
        case _:
            return None
