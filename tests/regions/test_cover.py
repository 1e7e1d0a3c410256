from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask

from napari_patchioner.errors import RegionError
from napari_patchioner.grids import GridTransform
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
    cover_all,
    each,
    united,
)

SHAPES = [(37, 37), (480, 640), (640, 480), (1000, 300), (31, 2000), (7, 5), (1, 1)]
GRIDS = [(37, 37), (7, 7), (20, 33), (1, 1)]
LAWS = settings(max_examples=80, deadline=None)

transforms = st.builds(
    GridTransform,
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)


def edges(box: Box) -> np.ndarray:
    return np.array(
        [
            [box.top, box.left],
            [box.top, box.right],
            [box.bottom, box.right],
            [box.bottom, box.left],
        ]
    )


@st.composite
def pixel_boxes(draw):
    """A transform and a box of whole pixels inside its image."""
    transform = draw(transforms)
    height, width = transform.image_shape
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    bottom, right = draw(st.integers(top + 1, height)), draw(st.integers(left + 1, width))
    return transform, Box(top - 0.5, left - 0.5, bottom - 0.5, right - 0.5)


@st.composite
def polygons(draw):
    """A transform and a star-shaped polygon about a place in its image."""
    transform = draw(transforms)
    n = draw(st.integers(3, 12))
    angles = np.linspace(0, 2 * np.pi, n, endpoint=False)
    radii = np.array(draw(st.lists(st.floats(0.5, 80), min_size=n, max_size=n)))
    centre = [draw(st.floats(0, side - 1)) for side in transform.image_shape]
    return transform, centre + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def mask_of(box: Box, transform: GridTransform) -> Mask:
    pixels = np.zeros(transform.image_shape, bool)
    pixels[
        int(box.top + 0.5) : int(box.bottom + 0.5), int(box.left + 0.5) : int(box.right + 0.5)
    ] = 1
    return Mask(pixels)


@pytest.mark.parametrize("image_shape", SHAPES)
@pytest.mark.parametrize("grid_shape", GRIDS)
def test_a_painted_patch_is_the_patch_that_is_taken(image_shape, grid_shape):
    transform = GridTransform(image_shape, grid_shape)
    for row, column in {(0, 0), (grid_shape[0] - 1, grid_shape[1] // 2), grid_shape}:
        cell = min(row, grid_shape[0] - 1), min(column, grid_shape[1] - 1)
        low, high = transform.to_image([cell, np.add(cell, 1)])
        middle = (low + high) / 2
        box = Box(*low, *high)
        drawn = [
            box,
            Polygon(edges(box)),
            Ellipse(edges(box)),
            Point(*middle),
            Trace(middle[None]),
            Polygon(np.array([middle, middle])),
        ]
        for region in drawn:
            for weighting in ("touch", "area"):
                taken = cover(region, transform, weighting=weighting)
                assert taken.indices.tolist() == [cell[0] * grid_shape[1] + cell[1]], region


@pytest.mark.parametrize("weighting", ["touch", "area"])
@given(drawn=pixel_boxes())
@LAWS
def test_the_same_pixels_weigh_the_same_whatever_drew_them(weighting, drawn):
    transform, box = drawn
    by_box = cover(box, transform, weighting=weighting)
    others = [Polygon(edges(box)), mask_of(box, transform), RegionSet((box, box), union=True)]
    for other in others:
        weights = cover(other, transform, weighting=weighting)
        np.testing.assert_array_equal(weights.indices, by_box.indices)
        np.testing.assert_allclose(weights.weights, by_box.weights, atol=1e-9)


@given(drawn=pixel_boxes())
@LAWS
def test_covered_areas_add_up_to_the_area(drawn):
    transform, box = drawn
    covered = cover(box, transform, weighting="area").total * np.prod(transform.patch_size)
    assert covered == pytest.approx((box.bottom - box.top) * (box.right - box.left), rel=1e-6)


@given(drawn=polygons())
@LAWS
def test_polygon_areas_are_those_of_shapely(drawn):
    transform, vertices = drawn
    weights = cover(Polygon(vertices), transform, weighting="area").dense()
    outline = shapely.Polygon(transform.to_grid(vertices)[:, ::-1])
    rows, columns = np.indices(transform.grid_shape)
    patches = shapely.box(columns, rows, columns + 1, rows + 1)
    expected = shapely.area(shapely.intersection(outline, patches))
    if expected.max() > 1e-6:
        np.testing.assert_allclose(weights, expected, atol=1e-8)


@given(drawn=polygons())
@LAWS
def test_a_set_adds_its_members_and_a_union_does_not(drawn):
    transform, vertices = drawn
    members = (Polygon(vertices), Point(0, 0), WholeImage())
    apart = [cover(member, transform).dense() for member in members]
    together = cover(RegionSet(members), transform)
    np.testing.assert_array_equal(together.dense(), sum(apart))
    assert [m.total for m in together.members] == [a.sum() for a in apart]
    united = cover(RegionSet(members, union=True), transform)
    np.testing.assert_array_equal(united.dense(), np.maximum.reduce(apart))


@given(
    transform=transforms,
    place=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    size=st.tuples(*[st.one_of(st.just(0.0), st.floats(1e-12, 50))] * 2),
)
@LAWS
def test_a_region_inside_the_image_gets_at_least_one_patch(transform, place, size):
    low = np.array(place) * transform.image_shape - 0.5
    high = np.minimum(low + size, np.array(transform.image_shape) - 0.5)
    low = np.minimum(low, high)
    for convention in ("paper", "reference"):
        assert len(cover(Box(*low, *high), transform, convention=convention).indices)
    assert len(cover(Polygon(np.array([low, high])), transform).indices)
    assert len(cover(Polygon(edges(Box(*low, *high))), transform).indices)
    assert len(cover(Point(*low), transform).indices) == 1


def test_a_line_takes_the_patches_it_passes():
    transform = GridTransform((40, 40), (4, 4))
    line = Polygon(np.array([[4.0, 2.0], [4.0, 25.0]]))
    assert cover(line, transform).indices.tolist() == [0, 1, 2]
    assert cover(Box(4, 2, 4, 25), transform).indices.tolist() == [0, 1, 2]
    diagonal = Polygon(np.array([[0.0, 0.0], [20.0, 30.0], [10.0, 15.0]]))
    assert set(cover(diagonal, transform).indices) == {0, 1, 5, 6, 10, 11}


def test_edges_may_come_in_any_order():
    transform = GridTransform((40, 40), (4, 4))
    there, back = Box(2, 3, 25, 17), Box(25, 17, 2, 3)
    np.testing.assert_array_equal(cover(there, transform).indices, cover(back, transform).indices)


def test_an_ellipse_has_its_area_and_turns_with_its_corners():
    transform = GridTransform((100, 100), (10, 10))
    upright = Ellipse(np.array([[20.0, 10], [20, 90], [60, 90], [60, 10]]))
    covered = cover(upright, transform, weighting="area").total * 100
    assert covered == pytest.approx(np.pi * 40 * 20, rel=1e-4)
    turned = Ellipse(np.array([[50.0, 10], [90, 50], [50, 90], [10, 50]]))
    covered = cover(turned, transform, weighting="area").total * 100
    assert covered == pytest.approx(np.pi * 20**2 * 2, rel=1e-4)


def test_a_mask_may_have_holes_parts_and_an_offset():
    transform = GridTransform((12, 12), (4, 4))
    pixels = np.ones((6, 6), bool)
    pixels[3:, 3:] = False
    shares = cover(Mask(pixels, (-3, 4)), transform, weighting="area").dense()
    expected = np.zeros((12, 12))
    expected[0:3, 4:7] = 1
    expected = expected.reshape(4, 3, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(shares, expected, atol=1e-12)


def test_a_pixel_may_be_larger_than_a_patch():
    shares = cover(Mask(np.array([[False, True]])), GridTransform((1, 2), (3, 4))).dense()
    np.testing.assert_array_equal(shares, [[0, 0, 1, 1]] * 3)


def test_a_trace_counts_and_bridges():
    transform = GridTransform((10, 50), (1, 5))
    points = np.array([[5.0, 4.0], [5.0, 4.0], [5.0, 34.0]])
    assert cover(Trace(points, connected=False), transform).dense().tolist() == [[2, 0, 0, 1, 0]]
    assert cover(Trace(points), transform).dense().tolist() == [[2, 1, 1, 1, 0]]
    reference = cover(Trace(points), transform, convention="reference")
    assert reference.dense().tolist() == [[2, 0, 0, 1, 0]]


def test_a_trace_that_leaves_the_image_counts_inside():
    transform = GridTransform((10, 50), (1, 5))
    points = np.array([[5.0, 4.0], [5.0, 1e12], [5.0, 49.5]])
    assert cover(Trace(points), transform).indices[0] == 0
    assert cover(Trace(points, connected=False), transform).dense().tolist() == [[1, 0, 0, 0, 1]]


def test_the_union_of_areas_counts_shared_parts_once():
    transform = GridTransform((10, 10), (1, 1))
    left, right = Box(-0.5, -0.5, 9.5, 5.5), Box(-0.5, 2.5, 9.5, 9.5)
    ring = np.ones((10, 10), bool)
    ring[2:8, 2:8] = False
    for members in [(left, right), (Mask(ring), Box(1, 1, 9, 9)), (WholeImage(), left)]:
        united = cover(RegionSet(members, union=True), transform, weighting="area")
        assert united.weights == pytest.approx([1.0])
    hollow = cover(RegionSet((Mask(ring),), union=True), transform, weighting="area")
    assert hollow.weights == pytest.approx([0.64])


def test_a_set_forgets_members_outside():
    transform = GridTransform((40, 40), (4, 4))
    inside, outside = Box(0, 0, 5, 5), Box(50, 50, 60, 60)
    np.testing.assert_array_equal(
        cover(RegionSet((inside, outside)), transform).dense(), cover(inside, transform).dense()
    )


NAN = float("nan")
REFUSED = {
    "outside": (Box(50, 50, 60, 60), "outside the image .rows 0 to 39, columns 0 to 29"),
    "against the border": (Box(-9, 0, -0.5, 5), "outside the image"),
    "point outside": (Point(-1, 5), "outside the image"),
    "polygon outside": (Polygon(np.array([[50.0, 0], [60, 0], [55, 9]])), "outside the image"),
    "around a corner": (Polygon(np.array([[-9.0, 5], [-9, -9], [5, -9]])), "outside the image"),
    "mask outside": (Mask(np.ones((3, 3), bool), (40, 0)), "outside the image"),
    "trace outside": (Trace(np.array([[50.0, 5]])), "outside the image"),
    "all of a set": (RegionSet((Box(50, 50, 60, 60),)), "outside the image"),
    "empty set": (RegionSet(()), "at least one"),
    "set of sets": (RegionSet((RegionSet((Point(1, 1),)),)), "none that is a set"),
    "empty mask": (Mask(np.zeros((4, 4), bool)), "mask is empty"),
    "empty polygon": (Polygon(np.zeros((0, 2))), "no points"),
    "empty trace": (Trace(np.zeros((0, 2))), "no points"),
    "nan box": (Box(NAN, 0, 5, 5), "finite"),
    "nan point": (Point(NAN, 0), "finite"),
    "infinite polygon": (Polygon(np.array([[0, 0], [np.inf, 5], [5, 5]])), "finite"),
    "ellipse of three": (Ellipse(np.zeros((3, 2))), "4 corners"),
    "three columns": (Polygon(np.zeros((5, 3))), "pairs, not an array of shape"),
    "mask of a stack": (Mask(np.ones((2, 3, 3), bool)), "rows and columns"),
}


@pytest.mark.parametrize(("region", "message"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("convention", ["paper", "reference"])
def test_bad_regions_are_refused_in_one_sentence(region, message, convention):
    with pytest.raises(RegionError, match=message) as caught:
        cover(region, GridTransform((40, 30), (4, 3)), convention=convention)
    assert str(caught.value).count(". ") == 0
    assert str(caught.value).endswith(".")


def test_outside_the_window_of_a_crop_is_told_apart():
    transform = GridTransform.centre_cropped((100, 200), 56, 14)
    with pytest.raises(RegionError, match="part of the image that the model sees"):
        cover(Box(0, 0, 20, 20), transform)


def test_an_outline_may_touch_itself():
    outline = np.array([[0.0, 0], [0, 20], [20, 20], [20, 10], [0, 10], [20, 10], [20, 0]])
    transform = GridTransform((21, 21), (3, 3))
    covered = cover(Polygon(outline), transform, weighting="area").total * 49
    assert covered == pytest.approx(400)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_an_outline_that_crosses_itself_is_filled_as_pycocotools_fills_it():
    transform = GridTransform((40, 30), (40, 30))
    star = np.array([[2, 14], [36, 24], [12, 1], [12, 27], [36, 4]], float) + 0.25
    for vertices in (star, star[::-1], np.array([[2.0, 3], [22, 23], [22, 3], [2, 23]])):
        inside = cover(Polygon(vertices), transform, weighting="area").dense()
        ring = (vertices[:, ::-1] + 0.5).ravel().tolist()
        expected = mask.decode(mask.frPyObjects([ring], 40, 30))[..., 0]
        assert np.abs(inside - expected).mean() < 0.04
        middle = tuple(vertices.mean(axis=0).astype(int))
        if len(vertices) == 5:  # what two turns enclose is a hole
            assert inside[middle] == expected[middle] == 0
    everything = RegionSet((Polygon(star), Box(-0.5, -0.5, 2.5, 2.5)), union=True)
    assert cover(everything, transform, weighting="area").dense().sum() > inside.sum() > 0


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


def test_a_point_can_ask_the_patches_around_it() -> None:
    transform = GridTransform((100, 140), (10, 14))
    weights = cover(Point(29.5, 59.5), transform, spread=1.5)
    dense = weights.dense()
    assert weights.total == pytest.approx(1)
    # It lies at a corner of four patches, and the bell is round.
    assert dense[2:4, 5:7] == pytest.approx(dense[3, 6])
    assert dense[3, 8] == pytest.approx(dense[5, 6])
    assert dense[3, 8] / dense[3, 6] == pytest.approx(np.exp(-(2.5**2 - 0.5**2) / 4.5))
    assert not dense[:, 12:].any()
    alone = cover(Point(34, 64), transform, spread=0.0)
    assert (alone.indices, alone.weights) == ([3 * 14 + 6], [1])
    with pytest.raises(RegionError, match="outside"):
        cover(Point(-3, 5), transform, spread=1.5)
    boxed = Box(20, 20, 40, 40)
    assert (cover(boxed, transform, spread=1.5).weights == cover(boxed, transform).weights).all()


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    weighting=st.sampled_from(["touch", "area"]),
    window=st.sampled_from([None, (10.0, 5.0, 60.0, 80.0)]),
)
def test_many_at_once_take_the_patches_that_each_alone_takes(seed, weighting, window) -> None:
    """Also those that are flat, cross themselves, or reach beyond the image."""
    generator = np.random.default_rng(seed)
    transform = GridTransform((90, 120), (6, 8), window)
    regions = [Box(2, 3, 40, 50), Point(20, 20)]
    for _ in range(12):
        corners = int(generator.integers(3, 9))
        outline = generator.uniform(-20, 130, (corners, 2)).round(int(generator.integers(0, 3)))
        centre = generator.uniform(20, 70, 2)
        turned = np.sort(generator.uniform(0, 2 * np.pi, corners))
        ring = centre + 15 * np.stack([np.sin(turned), np.cos(turned)], axis=1)
        line = centre + np.outer(generator.uniform(-5, 5, corners), [1, 2])
        regions += [Polygon(outline), Polygon(ring), Polygon(line)]
        sides = np.array([[-1, -2], [-1, 2], [1, 2], [1, -2]])
        regions.append(Ellipse(centre + generator.uniform(1, 15) * sides))
    inside = []
    for region in regions:
        with suppress(RegionError):
            inside.append((region, cover(region, transform, weighting=weighting)))
    together = cover_all([region for region, _ in inside], transform, weighting=weighting)
    for many, (region, alone) in zip(together, inside, strict=True):
        np.testing.assert_array_equal(many.indices, alone.indices, repr(region))
        np.testing.assert_allclose(many.weights, alone.weights, rtol=0, atol=1e-12)
