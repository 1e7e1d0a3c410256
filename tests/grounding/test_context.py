"""Wordings of a model in the order that suits a context."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skimage import data

from napari_patchioner.bridges import NormalizeBridge
from napari_patchioner.captioner import Captioner
from napari_patchioner.decoders import Caption, QuoteDecoder
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import FeatureGrid, GridTransform
from napari_patchioner.grounding import captions_in_context
from napari_patchioner.regions import Box

CUP = Box(50, 150, 300, 430)
SAID = Caption(
    "a cup",
    0.8,
    alternatives=("a bowl", "a lynx"),
    concepts=(("cup", 0.5), ("bowl", 0.4), ("lynx", 1e-5)),
)


@pytest.fixture(scope="module")
def grid(mini):
    return mini.encode(data.coffee())


def test_what_suits_the_context_and_is_likely_comes_first(mini, grid):
    [ranked] = captions_in_context(mini, grid, [CUP], [SAID], "cereal, a bowl of soup")
    assert ranked.text == "a bowl"
    assert ranked.score == pytest.approx(0.4)
    assert {ranked.text, *ranked.alternatives} == {"a cup", "a bowl", "a lynx"}
    [ranked] = captions_in_context(mini, grid, [CUP], [SAID], "a cup of tea")
    assert ranked.text == "a cup"
    assert ranked.score == 0.8


def test_what_is_unlikely_needs_more_than_a_context(mini, grid):
    [ranked] = captions_in_context(mini, grid, [CUP], [SAID], "animals of the forest, cats")
    assert ranked.text != "a lynx"


def test_fewer_words_for_the_same_thing_are_not_preferred(mini, grid):
    said = Caption(
        "a cat in front of a wall",
        0.9,
        alternatives=("a cat", "a snake"),
        concepts=(("cat", 0.76), ("snake", 0.05)),
    )
    # Nor is what is many times less likely, however near it lies.
    for context in ("snakes, reptiles", "cars, street", "kitchen, breakfast", "cats"):
        [ranked] = captions_in_context(mini, grid, [CUP], [said], context)
        assert ranked.text == said.text


def test_without_a_context_nothing_changes(mini, grid):
    assert captions_in_context(mini, grid, [CUP], [SAID], " , ,") == [SAID]


def test_captions_of_the_model_hold_the_same_texts(mini, grid):
    said = mini.caption(grid, [CUP, Box(20, 300, 120, 560)])
    for before, after in zip(
        said, captions_in_context(mini, grid, [CUP, CUP], said, "office, desk"), strict=True
    ):
        assert sorted([after.text, *after.alternatives]) == sorted(
            {before.text, *before.alternatives}
        )
        assert not math.isnan(after.score)


def test_a_model_without_a_text_tower_says_so():
    class Backbone:
        name, dim = "colours", 2

    patches = np.eye(2, dtype=np.float32).reshape(1, 2, 2)
    grid = FeatureGrid(patches, GridTransform((10, 20), (1, 2)), "key", backbone="colours")
    captioner = Captioner(Backbone(), NormalizeBridge(), QuoteDecoder(), name="mute")
    with pytest.raises(ModelError, match="mute cannot compare its wordings with a context"):
        captions_in_context(captioner, grid, [Box(0, 0, 9, 9)], [SAID], "a kitchen")


@pytest.mark.parametrize("context", ["!!!", "dog", "not a cup", "kitchen", "cutlery", "crockery"])
def test_what_speaks_of_none_of_them_settles_no_doubt(mini, context):
    grid, region = mini.encode(data.coffee()), Box(50, 150, 300, 430)
    captions = mini.caption(grid, [region])
    assert captions[0].text == "cup or coffee?"
    assert captions_in_context(mini, grid, [region], captions, context)[0].text == captions[0].text
    # What the context names itself, it does settle.
    [said] = captions_in_context(mini, grid, [region], captions, "a hot drink, coffee")
    assert said.text == "coffee"


def test_a_guess_is_settled_by_what_is_likely(mini, grid):
    for chance, first in ((0.45, "cup or bowl?"), (0.7, "a bowl")):
        concepts = (("bowl", chance), ("cup", 0.2))
        said = Caption("cup or bowl?", 0.5, alternatives=("a bowl", "a cup"), concepts=concepts)
        [ranked] = captions_in_context(mini, grid, [CUP], [said], "bowls")
        assert ranked.text == first
        assert set(ranked.alternatives) == {"cup or bowl?", "a cup", "a bowl"} - {first}
