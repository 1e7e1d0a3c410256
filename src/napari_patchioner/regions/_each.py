"""The same work for every region, and which one was at fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from napari_patchioner.errors import RegionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._shapes import Region

Made = TypeVar("Made")


def each(regions: Sequence[Region], work: Callable[[Region], Made]) -> list[Made]:
    """Do the same with every region.

    Parameters
    ----------
    regions : sequence of Region
        In the order that errors count them in.
    work : callable
        Takes a region; may raise ``RegionError``.

    Returns
    -------
    list
        What came of each, in the same order.

    Raises
    ------
    RegionError
        As ``work`` does, with the number of the region unless it is the only one.
    """
    made = []
    for position, region in enumerate(regions, start=1):
        try:
            made.append(work(region))
        except RegionError as error:
            if len(regions) == 1:
                raise
            raise RegionError(f"Region {position} of {len(regions)}: {error}") from error
    return made
