"""Why a caption says a word: which patches show it, and whether the region bears it out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skimage import data

from napari_patchioner.errors import ModelError, RegionError
from napari_patchioner.grounding import WordGrounder
from napari_patchioner.regions import Box, Polygon, WholeImage

from .test_scorer import SentencePatches, Speechless, made

CAT, CUP = Box(0, 0, 299, 450), Box(0, 451, 299, 899)


@pytest.fixture(scope="module")
def grid(mini):
    """A cat on the left, a cup on the right."""
    return mini.encode(np.concatenate([data.cat(), data.coffee()[50:350, 30:480]], axis=1))


@pytest.fixture(scope="module")
def grounder(mini):
    return WordGrounder(mini)


def verdicts(words):
    return {word.word.text: word.verdict for word in words if word.word.kind}


def test_a_region_bears_out_what_it_shows_and_contradicts_the_rest(grounder, grid):
    said = grounder.words(grid, CAT, "A brown cat beside a bus")
    assert verdicts(said) == {"brown": "borne out", "cat": "borne out", "bus": "contradicted"}
    cat, bus = (word for word in said if word.word.kind == "thing")
    assert cat.support > 0.9 > 0.1 > bus.support
    assert "'bus'" in bus.why
    assert verdicts(grounder.words(grid, CUP, "a cat"))["cat"] == "contradicted"


def test_every_word_of_the_text_comes_back_in_its_place(grounder, grid):
    text = "It's a cat, isn't it?"
    words = grounder.words(grid, CAT, text)
    assert [text[w.word.start : w.word.end] for w in words] == [w.word.text for w in words]
    assert all(word.why for word in words)
    assert grounder.words(grid, CAT, "") == ()


def test_what_the_model_knows_by_name_alone_is_not_judged(grounder, grid):
    [kitchen] = [w for w in grounder.words(grid, CAT, "a kitchen") if w.word.kind]
    assert math.isnan(kitchen.support)
    assert kitchen.verdict == ""
    assert "by name alone" in kitchen.why


def test_what_is_said_to_be_missing_and_what_is_often_overlooked_is_not_marked(grounder, grid):
    assert "contradicted" not in verdicts(grounder.words(grid, CAT, "a cat without a bus")).values()
    assert verdicts(grounder.words(grid, CAT, "a shirt"))["shirt"] == ""


def test_a_colour_that_is_nowhere_is_marked(grounder, grid):
    assert verdicts(grounder.words(grid, CAT, "a green cat"))["green"] == "contradicted"
    assert verdicts(grounder.words(grid, CAT, "a black cat"))["black"] != "contradicted"


def test_the_heat_of_a_word_lies_on_its_thing_and_within_the_region(grounder, grid):
    columns = grid.shape[1]
    for name, left in (("cat", True), ("cup", False)):
        heat = grounder.heat(grid, WholeImage(), name)
        assert heat.shape == grid.shape
        assert ((heat.argmax() % columns) < columns / 2) == left
    within = grounder.heat(grid, CUP, "cat")
    assert not within[:, : columns // 2 - 1].any()
    triangle = grounder.heat(grid, Polygon([(10, 20), (290, 20), (290, 400)]), "cat")
    assert triangle.max() > 0
    assert triangle[0, columns // 2 - 3] == 0
    assert grounder.heat(grid, CAT, "brown").max() > 0.5


def test_captions_agree_with_the_region_that_they_are_about(grounder, grid):
    texts = ["a cat", "a cat and a bus", "it is nice", ""]
    right, partly, nothing, empty = grounder.agreement(grid, [CAT] * 4, texts)
    assert right > 0.9 > partly
    assert math.isnan(nothing)
    assert math.isnan(empty)
    assert grounder.agreement(grid, [CUP], ["a cat"])[0] < 0.1
    # Of several guesses one is enough.
    assert grounder.agreement(grid, [CAT], ["bus or cat?"])[0] > 0.9


def test_of_a_micrograph_the_text_as_a_whole_is_compared(mini, grounder):
    micrograph = mini.encode(data.immunohistochemistry())
    whole = [WholeImage()] * 3
    spots, stripes, dog = grounder.agreement(
        micrograph, whole, ["brown spots", "bright green stripes", "a dog"]
    )
    assert spots > stripes
    assert math.isnan(dog)
    assert (
        "contradicted" not in verdicts(grounder.words(micrograph, WholeImage(), "a dog")).values()
    )


def test_a_region_outside_the_image_is_refused(grounder, grid):
    with pytest.raises(RegionError):
        grounder.words(grid, Box(5000, 5000, 5100, 5100), "a cat")


def test_patches_among_sentences_are_asked_the_same():
    backbone = SentencePatches()
    field = [["grass"] * 8 for _ in range(8)]
    for row in (2, 3, 4):
        field[row][1:4] = ["dog"] * 3
    grid = backbone.image(field)
    dog, grass = Box(20, 10, 49, 39), Box(0, 60, 79, 79)
    grounder = WordGrounder(made(backbone))
    assert verdicts(grounder.words(grid, dog, "a dog"))["dog"] == "borne out"
    assert verdicts(grounder.words(grid, grass, "a dog"))["dog"] == "contradicted"
    heat = grounder.heat(grid, WholeImage(), "dog")
    assert np.unravel_index(heat.argmax(), heat.shape) == (3, 2)


def test_a_model_without_a_text_tower_says_so():
    with pytest.raises(ModelError, match="no text tower"):
        WordGrounder(made(Speechless()))


def test_a_caption_after_the_first_asks_nothing_of_all_windows_again(mini, grid, monkeypatch):
    grounder = WordGrounder(mini)
    grounder.words(grid, CAT, "a cat")
    asked, probabilities = [], mini.bridge.probabilities

    def counted(features):
        asked.append(len(features))
        return probabilities(features)

    monkeypatch.setattr(mini.bridge, "probabilities", counted)
    WordGrounder(mini).words(grid, CUP, "a red cup beside a dog and a bus")
    assert asked
    assert max(asked) == 1
