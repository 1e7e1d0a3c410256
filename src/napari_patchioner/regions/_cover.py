"""From a drawn region to the patches it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from napari_patchioner.errors import RegionError

from ._areas import areas
from ._counts import counts
from ._outside import OutsideError
from ._reference_box import reference_box
from ._shapes import Box, Point, Region, RegionSet, Trace
from ._united import united_areas, united_touch
from ._weights import PatchWeights

if TYPE_CHECKING:
    from ._placement import Placement

Weighting: TypeAlias = Literal["touch", "area"]
Convention: TypeAlias = Literal["paper", "reference"]


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
    if isinstance(region, RegionSet):
        return _of_set(region, transform, weighting, convention)
    if isinstance(region, Point):
        return counts(np.array([[region.row, region.column]]), transform, bridge=False)
    if isinstance(region, Trace):
        bridge = region.connected and convention == "paper"
        return counts(region.points, transform, bridge=bridge)
    if isinstance(region, Box) and convention == "reference":
        return reference_box(region, transform)
    shares = areas(region, transform)
    return PatchWeights.from_dense(shares if weighting == "area" else np.ceil(shares))


def _of_set(
    region: RegionSet, transform: Placement, weighting: Weighting, convention: Convention
) -> PatchWeights:
    """Add the members that the grid reaches up (equation 1), or unite them."""
    if not region.members or any(isinstance(m, RegionSet) for m in region.members):
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
        return PatchWeights.from_dense(united_areas(inside, covers, transform))
    if region.union:
        return PatchWeights.from_dense(united_touch(covers))
    if convention == "reference":
        covers = [member.normalised() for member in covers]
    return PatchWeights.sum_of(covers)
