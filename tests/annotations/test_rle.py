from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco_mask

from napari_patchioner.annotations import region_from_text, region_to_text
from napari_patchioner.annotations.rle import decode_runs, encode_runs, mask_runs, runs_mask
from napari_patchioner.annotations.wkt import members_cell
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Box, Mask, RegionSet

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40))


@given(MASKS)
def test_the_text_is_the_one_pycocotools_writes_and_reads(pixels: np.ndarray) -> None:
    theirs = coco_mask.encode(np.asfortranarray(pixels, np.uint8))
    assert encode_runs(mask_runs(pixels)) == theirs["counts"].decode()
    assert (runs_mask(decode_runs(theirs["counts"].decode()), *pixels.shape) == pixels).all()


def test_runs_of_a_whole_slide_are_read_by_pycocotools() -> None:
    runs = [40_000_000, 3, 70_000, 1_000_000, 2, 150_000_000]
    text = encode_runs(runs)
    assert decode_runs(text).tolist() == runs
    size = [sum(runs), 1]
    assert coco_mask.area({"size": size, "counts": text.encode()}) == 3 + 1_000_000 + 150_000_000


@given(st.lists(st.integers(0, 2**40), max_size=20))
def test_any_runs_come_back(runs: list[int]) -> None:
    assert decode_runs(encode_runs(runs)).tolist() == runs


@given(MASKS.filter(np.any), st.integers(-9, 9), st.integers(0, 10**6))
def test_a_mask_keeps_its_pixels_and_its_frame(pixels: np.ndarray, row: int, column: int) -> None:
    again = region_from_text(region_to_text(Mask(pixels, (row, column))), "mask")
    assert again.offset == (row, column)
    assert (again.pixels == pixels).all()
    assert again.pixels.shape == pixels.shape


def test_a_set_may_hold_masks(same_region) -> None:
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    region = RegionSet((Mask(ring, (4, 5)), Box(0.25, 1, 2, 3)), union=True)
    text = region_to_text(region)
    assert text.startswith("GEOMETRYCOLLECTION (RLE (5 4, 3 3, ")
    assert same_region(region_from_text(text, "set", members_cell(region)), region)
    with pytest.raises(FormatError, match="do not fit a set of 2"):
        region_from_text(text, "set", "")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("POINT (1 1)", "is no mask"),
        ("RLE (0 0, 2 2, 1)", "do not fill"),
        ("RLE (0 0, 2 2, 4)", "at least one pixel"),
        ("RLE (0 0, 2 2, 1P)", "cut off"),
        (f"RLE (0 0, 2 2, {'P' * 20}1)", "too long"),
    ],
)
def test_broken_masks_are_told(text: str, told: str) -> None:
    with pytest.raises(FormatError, match=told):
        region_from_text(text, "mask")
