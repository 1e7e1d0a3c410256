from __future__ import annotations

import pytest

from napari_patchioner.errors import RegionError
from napari_patchioner.regions import Box, Point, RegionSet, each, united


def right_half(region: Point) -> float:
    if region.column < 5:
        raise RegionError("Too far left.")
    return region.column


def test_the_work_is_done_in_order() -> None:
    assert each([Point(0, 7), Point(0, 5)], right_half) == [7, 5]  # type: ignore[arg-type]


def test_the_one_at_fault_is_told_by_its_number() -> None:
    with pytest.raises(RegionError, match=r"^Region 2 of 3: Too far left\.$"):
        each([Point(0, 7), Point(0, 1), Point(0, 2)], right_half)  # type: ignore[arg-type]


def test_the_only_one_needs_no_number() -> None:
    with pytest.raises(RegionError, match=r"^Too far left\.$"):
        each([Point(0, 1)], right_half)  # type: ignore[arg-type]


def test_only_sets_are_united() -> None:
    box = Box(0, 0, 1, 1)
    assert united(box) is box
    assert united(RegionSet((box, box))).union  # type: ignore[union-attr]
