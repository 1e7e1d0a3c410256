"""A phrase in images of any size: on the whole, and part by part."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from skimage import data

from napari_patchioner.errors import Cancelled
from napari_patchioner.grids import GridStore
from napari_patchioner.grounding import PhraseScorer, find_in_levels
from napari_patchioner.images import Levels
from napari_patchioner.regions import Box

SHAPE = (1024, 2400)
# A cat of a tenth of the image's width, and a cup that fills more than half of the image.
CAT, CUP = Box(700, 1950, 849, 2174), Box(0, 0, 1023, 1535)


@pytest.fixture(scope="module")
def large():
    """A large picture of a cup, with a small cat beside it where it is empty."""
    pixels = np.full((*SHAPE, 3), 120, np.uint8)
    pixels += np.random.default_rng(0).integers(0, 9, pixels.shape, dtype=np.uint8)
    pixels[:, :1536] = np.asarray(Image.fromarray(data.coffee()).resize((1536, 1024)))
    pixels[700:850, 1950:2175] = np.asarray(Image.fromarray(data.cat()).resize((225, 150)))
    return Levels(pixels)


def share_in(box, other):
    """The share of a box that lies in another."""
    height = min(box.bottom, other.bottom) - max(box.top, other.top)
    width = min(box.right, other.right) - max(box.left, other.left)
    area = (box.bottom - box.top) * (box.right - box.left)
    return max(height, 0) * max(width, 0) / area


def test_what_is_small_is_found_in_a_part_and_what_is_large_on_the_whole(large, mini):
    scorer = PhraseScorer(mini, "a cat")
    first, *_ = find_in_levels(mini, scorer, large).proposals
    assert share_in(CAT, first.box) > 0.8
    assert first.box.right - first.box.left < 600
    assert first.score > 0.5
    scorer = PhraseScorer(mini, "a cup")
    for in_parts in (True, False):
        first, *_ = find_in_levels(mini, scorer, large, in_parts=in_parts).proposals
        assert share_in(first.box, CUP) > 0.9
    # In parts alone no box would be that large.
    assert first.box.right - first.box.left > 600


def test_the_heat_map_covers_the_image_and_is_hottest_on_it(large, mini):
    heat = find_in_levels(mini, PhraseScorer(mini, "a cat"), large).heat
    assert heat.shape == (SHAPE[0] / 16, SHAPE[1] / 16)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    peak = Box(row * 16, column * 16, row * 16 + 16, column * 16 + 16)
    assert share_in(peak, CAT) > 0.5


def test_no_two_proposals_are_much_the_same_and_the_likeliest_comes_first(large, mini):
    found = find_in_levels(mini, PhraseScorer(mini, "a cup"), large).proposals
    assert [p.score for p in found] == sorted((p.score for p in found), reverse=True)
    for number, proposal in enumerate(found):
        for other in found[:number]:
            both = share_in(proposal.box, other.box), share_in(other.box, proposal.box)
            assert min(both) < 0.6


def test_of_several_things_each_is_found_at_its_size(large, mini):
    found = find_in_levels(mini, PhraseScorer(mini, "a cat, a cup"), large).proposals
    first = {text: next(p.box for p in found if p.text == text) for text in ("a cat", "a cup")}
    assert share_in(CAT, first["a cat"]) > 0.8
    assert share_in(first["a cup"], CUP) > 0.9
    assert [p.score for p in found] == sorted((p.score for p in found), reverse=True)


def test_the_grids_of_parts_are_kept_and_a_search_can_be_stopped(large, mini, tmp_path):
    store, told = GridStore(tmp_path), []

    def progress(share, message):
        told.append(share)
        if share > 0.5:
            raise Cancelled

    scorer = PhraseScorer(mini, "a cat")
    with pytest.raises(Cancelled):
        find_in_levels(mini, scorer, large, store=store, progress=progress)
    assert told == sorted(told)
    assert any(tmp_path.rglob("*.*"))


class Watched:
    """Pixels that count how often they are read."""

    def __init__(self, pixels):
        self.pixels, self.shape, self.dtype, self.reads = pixels, pixels.shape, pixels.dtype, 0

    def __getitem__(self, window):
        self.reads += 1
        return self.pixels[window]


def test_parts_that_were_encoded_are_not_read_again_for_the_next_phrase(large, mini, tmp_path):
    [given] = large.given
    watched, store, grid = Watched(given.data), GridStore(tmp_path), mini.encode(given.data)
    levels = Levels(watched)
    find_in_levels(mini, PhraseScorer(mini, "a cup"), levels, grid=grid, store=store)
    reads = watched.reads
    assert reads
    again = find_in_levels(mini, PhraseScorer(mini, "a cat"), levels, grid=grid, store=store)
    assert watched.reads == reads
    anew = find_in_levels(mini, PhraseScorer(mini, "a cat"), large, grid=grid)
    assert [proposal.score for proposal in again.proposals] == [
        proposal.score for proposal in anew.proposals
    ]


def test_what_is_no_photograph_says_why_nothing_is_found(mini):
    found = find_in_levels(mini, PhraseScorer(mini, "a cat"), Levels(data.immunohistochemistry()))
    assert found.proposals == []
    assert "no photograph" in found.problem
    assert found.photograph < 0.5


def test_a_plane_that_is_encoded_already_is_not_encoded_again(mini, monkeypatch):
    grid = mini.encode(data.cat())
    monkeypatch.setattr(mini.backbone, "forward", None)
    found = find_in_levels(mini, PhraseScorer(mini, "a cat"), Levels(data.cat()), grid=grid)
    assert found.proposals[0].score > 0.5
    assert found.heat.shape == (2 * grid.shape[0], 2 * grid.shape[1])
