"""A wrong kind of thing, or too few of them, is one clear sentence."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from napari_patchioner.decoders import Caption
from napari_patchioner.errors import ModelError
from napari_patchioner.grounding import (
    PhraseScorer,
    Realigner,
    WordGrounder,
    captions_in_context,
    distinct_captions,
    grow_outline,
    grow_region,
    propose_outlines,
    propose_regions,
)
from napari_patchioner.regions import Box

BOX, CAT = Box(10, 10, 200, 200), data.cat()


@pytest.fixture(scope="module")
def grid(mini):
    return mini.encode(CAT)


@pytest.mark.parametrize(
    ("message", "call"),
    [
        ("The phrase is a text, not 5", lambda c, _: PhraseScorer(c, 5)),
        ("The phrase is a text, not None", lambda c, _: PhraseScorer(c, None)),
        ("captioner is wanted", lambda *_: PhraseScorer("mini", "a cat")),
        ("captioner is wanted", lambda *_: WordGrounder("mini")),
        ("captioner is wanted", lambda *_: Realigner("mini")),
        ("grid is wanted", lambda c, _: PhraseScorer(c, "a cat").heat(CAT)),
        ("grid is wanted", lambda c, _: PhraseScorer(c, "a cat").regions(CAT, [BOX])),
        ("grid is wanted", lambda c, _: PhraseScorer(c, "a cat").proposals(CAT)),
        ("list of regions", lambda c, grid: PhraseScorer(c, "a cat").regions(grid, BOX)),
        ("region is wanted", lambda c, grid: PhraseScorer(c, "a cat").regions(grid, [5])),
        ("grid is wanted", lambda c, _: WordGrounder(c).words(CAT, BOX, "a cat")),
        ("caption is a text", lambda c, grid: WordGrounder(c).words(grid, BOX, 5)),
        ("region is wanted", lambda c, grid: WordGrounder(c).words(grid, "x", "a cat")),
        ("caption is a text", lambda c, grid: Realigner(c).check(grid, BOX, 5)),
        ("list of texts", lambda c, grid: WordGrounder(c).agreement(grid, [BOX], "a cat")),
        ("grid is wanted", lambda c, _: distinct_captions(c, CAT, [BOX])),
        ("list of regions", lambda c, grid: distinct_captions(c, grid, BOX)),
        (
            "context is a text",
            lambda c, grid: captions_in_context(c, grid, [BOX], [Caption("a", 0.1)], 5),
        ),
        ("grid is wanted", lambda *_: grow_region(CAT, CAT, [(9, 9)])),
        (
            "is a whole number, not 'big'",
            lambda _, grid: grow_region(grid, CAT, [(9, 9)], size="big"),
        ),
        (
            "is a whole number, not nan",
            lambda _, grid: grow_outline(grid, CAT, [(9, 9)], size=np.nan),
        ),
        ("grid is wanted", lambda *_: propose_regions(CAT, CAT)),
        ("grid is wanted", lambda *_: propose_outlines(CAT, CAT)),
    ],
)
def test_a_wrong_kind_of_thing_is_one_sentence(mini, grid, message, call):
    with pytest.raises(TypeError, match=message) as raised:
        call(mini, grid)
    assert str(raised.value).endswith(".")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda c, grid: distinct_captions(c, grid, [BOX, BOX], [Caption("a", 0.1)]),
        lambda c, grid: distinct_captions(c, grid, [BOX], []),
        lambda c, grid: captions_in_context(c, grid, [BOX], [], "x"),
        lambda c, grid: WordGrounder(c).agreement(grid, [BOX, BOX], ["a cat"]),
    ],
)
def test_as_many_captions_as_regions_are_wanted(mini, grid, call):
    with pytest.raises(ModelError, match=r"one (caption|text) for each region, but"):
        call(mini, grid)


def test_a_size_beyond_the_last_counts_as_the_last(grid):
    last, beyond = (grow_region(grid, CAT, [(150, 200)], size=size) for size in (4, 99))
    assert last.offset == beyond.offset
    assert np.array_equal(last.pixels, beyond.pixels)


@pytest.mark.parametrize("value", [0, 200, 255])
def test_a_picture_of_one_colour_has_no_regions_to_propose(mini, value):
    plain = np.full((300, 300, 3), value, np.uint8)
    plain[::7, ::3] += np.uint8(1) if value < 255 else np.uint8(0)
    grid = mini.encode(plain)
    assert propose_regions(grid, plain) == propose_outlines(grid, plain) == []
    assert propose_regions(grid, plain[..., 0].astype(float) * 0) == []
