from __future__ import annotations

import dask.array
import h5py
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from near_sighted import PATCH, SIDE, TILE, Watched, near_sighted

from napari_patchioner.errors import Cancelled, ImageError, RegionError
from napari_patchioner.grids import GridStore, GridTransform, pool
from napari_patchioner.pyramid import BIG
from napari_patchioner.regions import (
    Box,
    Ellipse,
    Mask,
    Point,
    Polygon,
    RegionSet,
    Trace,
    WholeImage,
    cover,
)

HEIGHT, WIDTH = 150, 203
FINEST = {"patches_across": 1e9, "most_tiles": 10**6}


def picture(height=HEIGHT, width=WIDTH, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def tiled(image, reach=0, **options):
    return near_sighted(reach).pyramid(image, big=0, **{"overlap": 2, **options})


def untiled(image, reach=0):
    """The grid of one look at the whole image at its full resolution, patches as large."""
    rows, columns = (-(-side // PATCH) for side in image.shape[:2])
    around = [(0, rows * PATCH - image.shape[0]), (0, columns * PATCH - image.shape[1]), (0, 0)]
    # The near-sighted backbone takes squares only.
    side = max(rows, columns)
    padded = np.pad(image, around, mode="symmetric")
    square = np.zeros((side * PATCH, side * PATCH, 3), np.uint8)
    square[: rows * PATCH, : columns * PATCH] = padded
    return near_sighted(reach, side).encode(square).embeddings[:rows, :columns]


def everything(image):
    return Box(-0.5, -0.5, image.shape[0] - 0.5, image.shape[1] - 0.5)


# one grid from many


@given(st.integers(40, 90), st.integers(33, 120), st.integers(0, SIDE - 1), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_the_stitched_grid_is_that_of_one_look(height, width, overlap, seed):
    image = picture(height, width, seed)
    pyramid = tiled(image, overlap=overlap, **FINEST)
    grid = pyramid.grid(everything(image))
    np.testing.assert_array_equal(grid.embeddings, untiled(image))
    rows, columns = grid.shape
    assert grid.transform.extent == (0, 0, rows * PATCH, columns * PATCH)
    assert grid.transform.image_shape == (height, width)


@pytest.mark.parametrize(("overlap", "off"), [(0, True), (2, True), (4, False), (6, False)])
def test_seams_are_within_reach_of_borders_and_an_overlap_closes_them(overlap, off):
    # A blur that reaches two patches: with four patches in common, nobody's edge is in reach.
    image, reach = picture(), 2 * PATCH
    pyramid = tiled(image, reach, overlap=overlap, **FINEST)
    ours, theirs = pyramid.grid(everything(image)).embeddings, untiled(image, reach)
    differs = np.abs(ours - theirs).max(-1) > 1e-3
    # The far edges of the picture are mirrored by the one and black for the other.
    differs[-3:], differs[:, -3:] = False, False
    assert differs.any() == off
    tiling = pyramid.planner.tiling(0)
    near = np.zeros_like(differs)
    for axis, strip in enumerate((tiling.down, tiling.across)):
        for tile in range(strip.tiles - 1):
            border = strip.owned(tile)[1]
            near.swapaxes(0, axis)[border - 2 : border + 2] = True
    assert not (differs & ~near).any()


# regions


def points(height=HEIGHT, width=WIDTH):
    return st.tuples(st.integers(0, 4 * height - 4), st.integers(0, 4 * width - 4)).map(
        lambda place: (place[0] / 4, place[1] / 4)
    )


def boxes():
    return st.tuples(points(), points()).map(
        lambda ends: Box(
            min(ends[0][0], ends[1][0]),
            min(ends[0][1], ends[1][1]),
            max(ends[0][0], ends[1][0]),
            max(ends[0][1], ends[1][1]),
        )
    )


def regions():
    several = st.lists(points(), min_size=2, max_size=5).map(np.array)
    return st.one_of(
        boxes(),
        points().map(lambda place: Point(*place)),
        several.map(Trace),
        st.tuples(points(), points(), points()).map(lambda ends: Polygon(np.array(ends))),
        boxes().map(
            lambda box: Ellipse(
                np.array(
                    [
                        [box.top, box.left],
                        [box.top, box.right + 1],
                        [box.bottom + 1, box.right + 1],
                        [box.bottom + 1, box.left],
                    ]
                )
            )
        ),
        st.tuples(st.integers(0, 130), st.integers(0, 180), st.integers(1, 20)).map(
            lambda where: Mask(np.eye(where[2], dtype=bool), where[:2])
        ),
        st.tuples(boxes(), boxes()).map(RegionSet),
    )


IMAGE = picture()
HALF = IMAGE[:150, :202].reshape(75, 2, 101, 2, 3).mean((1, 3)).astype(np.uint8)


@given(regions(), st.sampled_from(["touch", "area"]), st.sampled_from([1, 2.5, 6]))
@settings(max_examples=60, deadline=None)
def test_a_region_takes_the_patches_it_would_take_of_the_whole_grid(region, weighting, across):
    pyramid = tiled(IMAGE, patches_across=across)
    plan = pyramid.plan(region)
    if plan.block is None:
        return
    view = pyramid.encode(plan).transform
    rows, columns = pyramid.planner.tiling(plan.level).down, pyramid.planner.tiling(plan.level)
    shape = (rows.cells, columns.across.cells)
    extent = (0.0, 0.0, shape[0] * plan.patch[0], shape[1] * plan.patch[1])
    full = cover(region, GridTransform((HEIGHT, WIDTH), shape, extent), weighting=weighting)
    ours = cover(region, view, weighting=weighting)
    top, left = (
        round(start / patch) for start, patch in zip(view.extent, plan.patch, strict=False)
    )
    placed = (ours.rows + top) * shape[1] + ours.columns + left
    np.testing.assert_array_equal(placed, full.indices)
    np.testing.assert_allclose(ours.weights, full.weights, atol=1e-9)


@given(regions(), st.booleans(), st.sampled_from([1, 3, 6]))
@settings(max_examples=30, deadline=None)
def test_where_patches_lie_is_known_without_looking(region, zoom, across):
    pyramid = tiled(IMAGE, patches_across=across)
    plan = pyramid.plan(region, zoom=zoom)
    view, seen = pyramid.planner.view(plan), pyramid.encode(plan).transform
    if view is None:
        assert plan.level == -1
    else:
        assert view.extent == pytest.approx(seen.extent)
        assert view.grid_shape == seen.grid_shape


def test_a_backbone_that_looks_at_its_picture_again_gets_a_region_in_one_tile():
    captioner = near_sighted()
    asked = []

    def embed_regions(grid, weights, *, progress=None):
        asked.append(grid)
        return np.ones((len(weights), 3), np.float32)

    captioner.backbone.embed_regions = embed_regions
    pyramid = captioner.pyramid(IMAGE, big=0, overlap=4, patches_across=2)
    boxes = [Box(40, 40, 50, 50), Box(3, 3, 90, 90), Box(20, 27, 36, 31), Box(100, 150, 149, 202)]
    pyramid.caption(boxes)
    assert {pyramid.plan(box).level for box in boxes} > {-1}
    for box in boxes:
        top, left, height, width = pyramid.grid(box).transform.extent
        assert pyramid.grid(box).shape == (SIDE, SIDE)
        assert top <= box.top < box.bottom < top + height
        assert left <= box.left < box.right < left + width
    assert all(grid.shape == (SIDE, SIDE) for grid in asked)


def test_a_region_over_several_tiles_pools_over_all_of_them():
    pyramid, region = tiled(IMAGE, **FINEST), Box(20, 30, 79.5, 99.5)
    grid = pyramid.grid(region)
    vector = pool(grid, [cover(region, grid.transform)])[0]
    rows, columns = slice(20 // PATCH, 80 // PATCH), slice(30 // PATCH, 100 // PATCH)
    assert pyramid.plan(region).block.tiles > 3
    np.testing.assert_allclose(vector, untiled(IMAGE)[rows, columns].mean((0, 1)), rtol=1e-5)


def test_patches_lie_where_their_pixels_are():
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[101, 77] = 255
    pyramid = tiled(image, patches_across=2)
    grid = pyramid.grid(Box(96, 72, 106, 82))
    [[row, column]] = np.argwhere(grid.embeddings[..., 0] > 0)
    inside = grid.transform.to_grid([101, 77])
    assert (row, column) == tuple(np.floor(inside))


# which level


def test_the_larger_a_region_the_coarser_it_is_seen():
    pyramid = tiled(picture(512, 512))
    levels = [pyramid.plan(Box(1, 1, 1 + side, 1 + side)).level for side in (4, 20, 40, 90, 400)]
    assert levels[0] == 0
    assert levels[-1] == -1
    assert sorted(levels[:-1]) == levels[:-1]
    assert len(set(levels)) > 3


def test_a_region_is_as_many_patches_wide_as_was_asked_for():
    pyramid = tiled(picture(512, 512), patches_across=3)
    for side in (13, 25, 60, 130):
        plan = pyramid.plan(Box(50, 50, 50 + side, 50 + side))
        assert 3 <= side / plan.patch[0] < 6


def test_levels_at_hand_are_taken_rather_than_made():
    fine, coarse = Watched(IMAGE), Watched(HALF)
    pyramid = tiled([fine, coarse], patches_across=2)
    plan = pyramid.plan(Box(20, 20, 40, 40))
    assert plan.patch == pytest.approx((2 * PATCH, 2 * PATCH), rel=0.02)
    pyramid.encode(plan)
    assert coarse.read
    assert not fine.read


def test_a_region_never_takes_more_tiles_than_there_may_be():
    pyramid = tiled(picture(2000, 2000), patches_across=1000)
    for side in (10, 100, 500, 1500):
        plan = pyramid.plan(Box(5, 5, 5 + side, 5 + side))
        assert plan.block is None or plan.block.tiles <= pyramid.planner.most


# reading


def test_only_tiles_around_a_region_are_read():
    watched = Watched(picture(1000, 1200))
    pyramid = tiled(watched, patches_across=2)
    pyramid.caption([Box(500, 600, 510, 610), Point(900, 1100)])
    assert watched.read
    assert max(max(shape[:2]) for shape in watched.read) <= TILE
    assert sum(shape[0] * shape[1] for shape in watched.read) <= 6 * TILE**2


def test_nothing_is_read_before_a_region_asks():
    watched = Watched(picture(1000, 1200))
    pyramid = tiled(watched)
    pyramid.plan(Box(500, 600, 510, 610))
    assert not watched.read


def test_a_large_image_without_levels_is_shrunk_a_piece_at_a_time():
    watched = Watched(picture(4500, 4500)[..., :1])
    grid = tiled(watched).grid(WholeImage())
    assert max(max(shape) for shape in watched.read) <= 2048
    assert grid.transform.image_shape == (4500, 4500)
    assert grid.transform.extent == pytest.approx((0, 0, 4500, 4500), rel=0.03)


def test_a_tile_is_looked_at_once_for_all_regions_on_it():
    pyramid = tiled(picture(1000, 1200), patches_across=2)
    boxes = [Box(500 + at, 601, 510 + at, 612) for at in range(5)]
    captions = pyramid.caption(boxes)
    once = len(pyramid.captioner.backbone.seen)
    assert once == pyramid.plan(boxes[2]).block.tiles
    assert [caption.text for caption in pyramid.caption(boxes[::-1])] == [
        caption.text for caption in captions[::-1]
    ]
    assert len(pyramid.captioner.backbone.seen) == once


@pytest.mark.parametrize("zoom", [False, True])
def test_what_is_measured_of_the_image_is_not_that_of_a_few_tiles(zoom):
    image = np.zeros((1000, 1200, 3), np.uint8)
    image[:200] = 200
    levels = [image, image[::32, ::32]]
    pyramid = near_sighted(measured=True).pyramid(levels, big=0, overlap=2, patches_across=2)
    overview = pyramid.grid(WholeImage())
    close = pyramid.grid(Box(500, 600, 502, 602), zoom=zoom)
    assert (pyramid.plan(Box(500, 600, 502, 602), zoom=zoom).window is not None) == zoom
    assert close.embeddings.max() == 0
    assert close.measures == overview.measures
    assert close.measures["brightness"] == pytest.approx(40, abs=5)
    image[:200] = 100
    other = near_sighted(measured=True).pyramid(levels, big=0, overlap=2, patches_across=2)
    assert other.grid(Box(500, 600, 502, 602), zoom=zoom).key != close.key


def test_no_large_image_is_read_whole_for_what_is_measured_of_it(monkeypatch):
    monkeypatch.setattr("napari_patchioner.pyramid._MOST_MEASURED", 1000 * 1200 - 1)
    watched = Watched(picture(1000, 1200))
    pyramid = near_sighted(measured=True).pyramid(watched, big=0, overlap=2, patches_across=2)
    grid = pyramid.grid(Box(500, 600, 510, 610))
    assert max(max(shape[:2]) for shape in watched.read) <= TILE
    assert grid.measures["brightness"] == pytest.approx(127, abs=10)


def test_memory_is_bounded_by_the_store():
    store = GridStore(ram_bytes=10 * SIDE * SIDE * 3 * 4)
    pyramid = tiled(picture(1000, 1200), patches_across=2, store=store)
    pyramid.caption([Box(at, at, at + 9, at + 9) for at in range(0, 900, 30)])
    assert store.size().ram_grids <= 10
    assert len(pyramid.captioner.backbone.seen) > 20


@pytest.mark.parametrize("kind", ["dask", "zarr", "h5py", "memmap", "tifffile", "list"])
def test_whatever_holds_the_image_the_grid_is_the_same(kind, tmp_path, request):
    held = {
        "dask": lambda: dask.array.from_array(IMAGE, chunks=(64, 50, 3)),
        "zarr": lambda: zarr.array(IMAGE, chunks=(64, 50, 3)),
        "h5py": lambda: _h5(tmp_path / "a.h5", request),
        "memmap": lambda: _memmap(tmp_path / "a.npy"),
        "tifffile": lambda: _tiff(tmp_path / "a.tif", request),
        "list": lambda: [IMAGE],
    }[kind]()
    region = Box(60, 60, 90, 130)
    ours, plain = tiled(held, patches_across=2), tiled(IMAGE, patches_across=2)
    assert ours.plan(region).block.tiles > 1
    assert ours.grid(region).key == plain.grid(region).key
    np.testing.assert_array_equal(ours.grid(region).embeddings, plain.grid(region).embeddings)


def _h5(path, request):
    file = h5py.File(path, "w")
    request.addfinalizer(file.close)
    return file.create_dataset("image", data=IMAGE)


def _memmap(path):
    np.save(path, IMAGE)
    return np.load(path, mmap_mode="r")


def _tiff(path, request):
    tifffile.imwrite(path, IMAGE, tile=(64, 64), photometric="rgb")
    store = tifffile.imread(path, aszarr=True)
    request.addfinalizer(store.close)
    return zarr.open(store, mode="r")


# the same pixels look the same wherever they are


def test_deep_values_are_as_bright_in_every_tile():
    image = np.full((HEIGHT, WIDTH), 1000, np.uint16)
    image[:75] = 3000
    image[140:, 190:] = 5000
    pyramid = tiled(image, patches_across=2)
    dark = pyramid.grid(Box(120, 20, 131, 31)).embeddings[..., 0]
    medium = pyramid.grid(Box(20, 20, 31, 31)).embeddings[..., 0]
    np.testing.assert_allclose(dark[-1], 0)
    np.testing.assert_allclose(medium[0], np.rint(255 * 2000 / 4000))


def test_limits_say_what_is_black_and_white():
    image = np.full((HEIGHT, WIDTH), 1000, np.uint16)
    from napari_patchioner.images import Levels

    pyramid = tiled(Levels(image, contrast_limits=(0, 2000)), patches_across=2)
    assert pyramid.grid(Box(20, 20, 31, 31)).embeddings[0, 0, 0] == 128


# small images, zoom, errors


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, float])
def test_a_small_image_is_seen_as_it_always_was(dtype):
    image = picture().astype(dtype)
    captioner = near_sighted()
    pyramid = captioner.pyramid(image)
    assert max(image.shape) <= BIG
    expected = near_sighted().encode(image)
    for region in (Box(3, 3, 9, 9), WholeImage(), Point(100, 200)):
        grid = pyramid.grid(region)
        assert grid.key == expected.key
        assert grid.transform == expected.transform
        np.testing.assert_array_equal(grid.embeddings, expected.embeddings)
    assert len(captioner.backbone.seen) == 1


def test_the_whole_of_a_large_image_comes_from_its_smallest_useful_level():
    levels = [picture(640, 640), picture(160, 160, 1), picture(40, 40, 2), picture(10, 10, 3)]
    pyramid = tiled(levels)
    grid = pyramid.grid(WholeImage())
    np.testing.assert_array_equal(grid.embeddings, near_sighted().encode(levels[2]).embeddings)
    assert grid.transform.image_shape == (640, 640)
    assert grid.transform.window is None


def test_what_is_smaller_than_a_patch_can_be_enlarged():
    pyramid = tiled(IMAGE)
    region = Box(100, 100, 101.5, 101.5)
    plain, zoomed = pyramid.plan(region), pyramid.plan(region, zoom=True)
    assert plain.window is None
    assert "zoomed" not in plain.notes
    top, left, height, width = zoomed.window
    assert top <= 100 < 101 < top + height
    assert left <= 100 < 101 < left + width
    assert (
        zoomed.notes["zoomed"] == f"rows {top} to {top + height}, columns {left} to {left + width}"
    )
    grid = pyramid.grid(region, zoom=True)
    assert grid.transform.extent == zoomed.window
    assert grid.transform.patch_size[0] == zoomed.patch[0] < plain.patch[0]
    assert grid.key != near_sighted().encode(IMAGE[top : top + height, left : left + width]).key
    covered = cover(region, grid.transform)
    assert len(covered.indices) > len(cover(region, pyramid.grid(region).transform).indices)


@pytest.mark.parametrize("place", [(0, 0), (HEIGHT - 1, WIDTH - 1), (0, WIDTH - 1)])
def test_the_enlarged_window_stays_in_the_image(place):
    pyramid = tiled(IMAGE)
    plan = pyramid.plan(Point(*place), zoom=True)
    top, left, height, width = plan.window
    assert 0 <= top <= place[0] < top + height <= HEIGHT
    assert 0 <= left <= place[1] < left + width <= WIDTH
    assert pyramid.encode(plan).transform.extent == plan.window


def test_what_is_large_enough_is_not_enlarged():
    pyramid = tiled(IMAGE)
    region = Box(100, 100, 120, 120)
    assert pyramid.plan(region, zoom=True) == pyramid.plan(region)


@pytest.mark.parametrize(
    "region",
    [
        Box(HEIGHT, 0, HEIGHT + 5, 5),
        Point(-3, 5),
        Polygon(np.array([[10.0, 10], [20, np.nan], [15, 5]])),
        Box(0, 0, np.nan, 5),
        Mask(np.zeros((3, 3), bool)),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_read(region):
    watched = Watched(IMAGE)
    pyramid = tiled(watched)
    with pytest.raises(RegionError):
        pyramid.grid(region)
    with pytest.raises(RegionError, match="Region 2 of 2"):
        pyramid.caption([Box(1, 1, 9, 9), region])
    assert not watched.read


def test_progress_rises_and_can_stop_the_work():
    told = []
    pyramid = tiled(IMAGE, patches_across=2)
    boxes = [Box(10, 10, 20, 20), Box(60, 60, 90, 130)]
    pyramid.caption(boxes, progress=lambda done, message: told.append((done, message)))
    shares = [done for done, _ in told]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert any("of 4" in message for _, message in told)

    def stop(done, _message):
        if done > 0.3:
            raise Cancelled

    fresh = tiled(IMAGE, patches_across=2)
    with pytest.raises(Cancelled):
        fresh.caption(boxes, progress=stop)
    assert len(fresh.captioner.backbone.seen) < len(pyramid.captioner.backbone.seen)


def test_no_regions_need_no_look():
    watched = Watched(IMAGE)
    assert tiled(watched).caption([]) == []
    assert not watched.read


def test_an_image_that_is_none_is_refused():
    with pytest.raises(ImageError, match="must have the shape"):
        near_sighted().pyramid(np.zeros((3, 4, 5, 6)))
