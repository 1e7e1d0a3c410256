"""Regions from clicks, and proposed ones."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data
from skimage.draw import disk

from napari_patchioner.errors import ImageError, RegionError
from napari_patchioner.grids import FeatureGrid, GridTransform
from napari_patchioner.grounding import grow_region, propose_regions

SHAPE = (48, 64)
CLICKS = st.tuples(st.integers(0, SHAPE[0] - 1), st.integers(0, SHAPE[1] - 1))
SOME = st.lists(CLICKS, min_size=1, max_size=4, unique=True)


def patches_of(image, rows, columns):
    """A grid whose patches are the mean colours under them."""
    down, across = (
        np.linspace(0, side, count + 1).astype(int)
        for side, count in ((image.shape[0], rows), (image.shape[1], columns))
    )
    cells = [
        [image[top:bottom, left:right].mean(axis=(0, 1)) for left, right in pairwise(across)]
        for top, bottom in pairwise(down)
    ]
    embeddings = np.array(cells, np.float32) + 1
    return FeatureGrid(embeddings, GridTransform(image.shape[:2], (rows, columns)), "colours")


def speckled(shape=SHAPE):
    """Blocks of colour with some noise."""
    generator = np.random.default_rng(3)
    blocks = np.kron(
        generator.integers(0, 200, (3, 4, 3)), np.ones((shape[0] // 3, shape[1] // 4, 1))
    )
    return (blocks + generator.integers(0, 50, (*shape, 3))).astype(np.uint8)


def pixels(mask, shape):
    whole = np.zeros(shape[:2], bool)
    top, left = mask.offset
    height, width = mask.pixels.shape
    whole[top : top + height, left : left + width] = mask.pixels
    return whole


def overlap(first, second):
    return (first & second).sum() / (first | second).sum()


@pytest.fixture(scope="module")
def blocks():
    image = speckled()
    return image, patches_of(image, 6, 8)


def grown(blocks, clicks, negative=()):
    image, grid = blocks
    return pixels(grow_region(grid, image, clicks, negative), image.shape)


@settings(max_examples=60, deadline=None)
@given(wanted=SOME, unwanted=st.lists(CLICKS, max_size=4, unique=True))
def test_clicks_lie_in_the_region_and_negative_ones_do_not(blocks, wanted, unwanted):
    unwanted = [click for click in unwanted if click not in wanted]
    region = grown(blocks, wanted, unwanted)
    assert all(region[click] for click in wanted)
    assert not any(region[click] for click in unwanted)


@settings(max_examples=60, deadline=None)
@given(wanted=SOME, unwanted=st.lists(CLICKS, max_size=3, unique=True), more=CLICKS)
def test_one_more_click_never_takes_away_and_a_negative_one_never_adds(
    blocks, wanted, unwanted, more
):
    unwanted = [click for click in unwanted if click not in wanted and click != more]
    before = grown(blocks, wanted, unwanted)
    assert (before <= grown(blocks, [*wanted, more], unwanted)).all()
    if more not in wanted:
        assert (grown(blocks, wanted, [*unwanted, more]) <= before).all()


@settings(max_examples=20, deadline=None)
@given(wanted=SOME, unwanted=st.lists(CLICKS, max_size=3, unique=True))
def test_the_order_of_clicks_does_not_matter(blocks, wanted, unwanted):
    unwanted = [click for click in unwanted if click not in wanted]
    first = grown(blocks, wanted, unwanted)
    again = grown(blocks, wanted[::-1] + wanted[:1], unwanted[::-1])
    assert np.array_equal(first, again)


def test_a_larger_size_has_all_of_a_smaller_one_and_the_click(mini):
    image = data.coffee()
    grid = mini.encode(image)
    # Likeliest meant is a segment where one is nearly that.
    sizes = [-9, -3, -2, -1, 1, 2, 3, 4, 9]
    grown_ones = [
        pixels(grow_region(grid, image, [(200, 300)], size=size), image.shape) for size in sizes
    ]
    assert all((one <= other).all() for one, other in pairwise(grown_ones))
    assert all(one[200, 300] for one in grown_ones)
    assert grown_ones[-1].sum() > 2 * grown_ones[0].sum()
    # Beyond the largest and the smallest there is nothing.
    assert np.array_equal(grown_ones[0], grown_ones[1])
    assert np.array_equal(grown_ones[-1], grown_ones[-2])


def two_discs(shape=(240, 320)):
    """A red and a blue disc on gray ground, all a little noisy, and their pixels."""
    image = np.full((*shape, 3), 128)
    discs = []
    for centre, colour in (((110, 90), (220, 30, 30)), ((130, 240), (30, 40, 210))):
        disc = np.zeros(shape, bool)
        disc[disk(centre, 50, shape=shape)] = True
        image[disc] = colour
        discs.append(disc)
    noise = np.random.default_rng(1).integers(-8, 9, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8), discs


def test_a_click_on_a_disc_is_the_disc():
    image, discs = two_discs()
    grid = patches_of(image, 15, 20)
    for click, disc in zip(((110, 90), (130, 240)), discs, strict=True):
        region = pixels(grow_region(grid, image, [click]), image.shape)
        assert overlap(region, disc) > 0.9
    both = pixels(grow_region(grid, image, [(110, 90), (130, 240)]), image.shape)
    assert overlap(both, discs[0] | discs[1]) > 0.9


def test_both_discs_are_proposed():
    image, discs = two_discs()
    grid = patches_of(image, 15, 20)
    proposals = propose_regions(grid, image, most=10)
    assert 2 <= len(proposals) <= 10
    scores = [proposal.score for proposal in proposals]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    shown = [pixels(proposal.region, image.shape) for proposal in proposals]
    assert all(max(overlap(region, disc) for region in shown) > 0.9 for disc in discs)
    for place, region in enumerate(shown):
        assert all(overlap(region, other) < 0.5 for other in shown[:place])


def test_the_embedded_model_grows_a_cup_and_proposes_it(mini):
    image = data.coffee()
    grid = mini.encode(image)
    region = grow_region(grid, image, [(200, 300)])
    again = grow_region(grid, image, [(200, 300)])
    assert region.offset == again.offset
    assert np.array_equal(region.pixels, again.pixels)
    whole = pixels(region, image.shape)
    assert whole[200, 300]
    # The corners are the table and what lies on it.
    assert not whole[[0, 0, -1, -1], [0, -1, 0, -1]].any()
    assert 1 <= len(propose_regions(grid, image)) <= 20


def test_an_image_of_twice_the_size_has_the_same_region_twice_as_large():
    image, _ = two_discs()
    grid = patches_of(image, 15, 20)
    double = np.kron(image, np.ones((2, 2, 1), np.uint8))
    transform = GridTransform(double.shape[:2], grid.shape)
    larger = FeatureGrid(grid.embeddings, transform, "double")
    region = pixels(grow_region(grid, image, [(110, 90)], [(60, 90)]), image.shape)
    twice = pixels(grow_region(larger, double, [(221, 181)], [(121, 181)]), double.shape)
    assert np.array_equal(twice, np.kron(region, np.ones((2, 2), bool)))
    # The smaller picture is enough.
    same = grow_region(larger, image, [(221, 181)], [(121, 181)])
    assert np.array_equal(twice, pixels(same, double.shape))


def test_a_gray_image_has_regions_as_well():
    image, discs = two_discs()
    gray = image[..., 0] / 255
    grid = patches_of(image, 15, 20)
    region = pixels(grow_region(grid, gray, [(110, 90)], [(20, 20)]), gray.shape)
    assert overlap(region, discs[0]) > 0.6


def test_what_a_model_was_not_shown_can_be_clicked_all_the_same():
    image, _ = two_discs()
    grid = patches_of(image, 15, 15)
    transform = GridTransform(image.shape[:2], (15, 15), (0.0, 40.0, 240.0, 240.0))
    cut = FeatureGrid(grid.embeddings, transform, "cut")
    assert pixels(grow_region(cut, image, [(5, 2)]), image.shape)[5, 2]


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (3, 2), (700, 9)])
def test_images_of_any_shape_have_regions(shape):
    image = np.random.default_rng(0).integers(0, 255, (*shape, 3)).astype(np.uint8)
    grid = FeatureGrid(np.ones((1, 1, 4), np.float32), GridTransform(shape, (1, 1)), "one")
    click = (shape[0] - 1, shape[1] // 2)
    assert pixels(grow_region(grid, image, [click]), shape)[click]
    assert all(proposal.region.pixels.any() for proposal in propose_regions(grid, image))


def test_a_large_image_takes_no_more_memory_than_its_mask():
    shape = (6000, 8000)
    image = np.broadcast_to(np.array([90, 120, 60], np.uint8), (*shape, 3))
    grid = FeatureGrid(np.ones((30, 40, 8), np.float32), GridTransform(shape, (30, 40)), "large")
    tracemalloc.start()
    region = grow_region(grid, image, [(3000, 4000)], [(10, 10)])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert region.pixels.any()
    assert peak < 2.5 * shape[0] * shape[1]


def test_what_cannot_be_grown_is_said(blocks):
    image, grid = blocks
    with pytest.raises(RegionError, match="click on it"):
        grow_region(grid, image, [])
    with pytest.raises(RegionError, match="beside the image of 48 x 64"):
        grow_region(grid, image, [(48, 3)])
    with pytest.raises(RegionError, match="beside the image"):
        grow_region(grid, image, [(float("nan"), 3)])
    with pytest.raises(RegionError, match=r"\(3, 4\) cannot lie both"):
        grow_region(grid, image, [(3, 4)], [(3.2, 4.1)])
    with pytest.raises(ImageError, match="48 x 64"):
        grow_region(grid, image[:20], [(3, 4)])
