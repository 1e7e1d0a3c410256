"""Why a caption says a word: which patches show it, and whether the region bears it out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skimage import data

from napari_patchioner.errors import ModelError, RegionError
from napari_patchioner.grounding import WordGrounder
from napari_patchioner.grounding.words import NO_PHOTOGRAPH, account_of
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


@pytest.mark.parametrize("text", ["There is no cat here", "the cat isn't here", "without a cat"])
def test_what_is_said_not_to_be_there_and_surely_is_is_marked(grounder, grid, text):
    [cat] = [word for word in grounder.words(grid, CAT, text) if word.word.kind]
    assert cat.verdict == "contradicted"
    assert cat.support > 0.95
    assert "not there; the region shows it" in cat.why
    assert grounder.agreement(grid, [CAT], [text])[0] < 0.05
    # What is not there is rightly said not to be.
    [cat] = [word for word in grounder.words(grid, CUP, text) if word.word.kind]
    assert cat.verdict == ""


@pytest.mark.parametrize("text", ["waiting for a cat", "I dream of a cat", "a toy cat", "a cat?"])
def test_what_is_only_thought_of_is_not_marked(grounder, grid, text):
    assert "contradicted" not in verdicts(grounder.words(grid, CAT, text)).values()


def test_what_a_thing_is_beside_is_looked_for_around_the_region_as_well(grounder, grid):
    narrow = Box(20, 200, 280, 450)
    beside, within = (
        {word.word.text: word for word in grounder.words(grid, narrow, text)}
        for text in ("a cat next to a cup", "a cat with a cup")
    )
    assert beside["cup"].verdict == "borne out"
    assert beside["cup"].why.startswith("What is around it shows 'cup'")
    assert within["cup"].verdict != "borne out"
    bus = grounder.words(grid, narrow, "a cat next to a bus")[-1]
    assert bus.verdict == "contradicted"
    assert "or around it" in bus.why


def test_a_model_agrees_with_its_own_words_about_what_is_around(mini, grounder, grid):
    region = Box(60, 500, 240, 700)
    [caption] = mini.caption(grid, [region])
    if any(word.word.placed for word in grounder.words(grid, region, caption.text)):
        assert grounder.agreement(grid, [region], [caption.text])[0] > 0.1


def test_what_was_judged_and_what_was_not_is_said(mini, grounder, grid):
    def account(text, grid=grid, region=CAT):
        return account_of(grounder.words(grid, region, text))

    assert account("a cat") == "Borne out: 'cat'."
    assert account("a cat sleeps") == "Borne out: 'cat'; all else was not judged."
    assert account("two cats") == (
        "Borne out: 'cats'; all else was not judged, nor how many there are."
    )
    assert "Contradicted: 'bus'" in account("a bus")
    for text in ("一只猫", "eine Katze schläft", "un chat noir", "96", ""):
        assert account(text).startswith("Nothing of it can be judged.")
    assert "in English" in account("eine Katze schläft")
    assert "by name alone" in account("a kitchen")
    micrograph = mini.encode(data.immunohistochemistry())
    said = account("a dog among brown glands", micrograph, WholeImage())
    assert said == f"Borne out: 'brown'; all else was not judged. {NO_PHOTOGRAPH}"
    assert account("a dog", micrograph, WholeImage()) == (
        f"Nothing of it can be judged. {NO_PHOTOGRAPH}"
    )


def test_a_colour_near_one_that_is_there_is_doubtful(mini, grounder):
    violet = np.full((224, 224, 3), (120, 60, 170), np.uint8)
    violet[::7, ::5] = (110, 50, 160)
    grid = mini.encode(violet)
    found = {
        text: grounder.words(grid, WholeImage(), text)[-1]
        for text in ("purple", "blue", "orange", "green")
    }
    assert found["purple"].verdict == "borne out"
    assert found["blue"].verdict == "doubtful"
    assert "'purple', which is near it" in found["blue"].why
    assert found["orange"].verdict == found["green"].verdict == "contradicted"


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
    # One colour that is there makes no caption of a dog a good one; one that is nowhere a bad one.
    assert math.isnan(grounder.agreement(micrograph, whole[:1], ["a dog among brown glands"])[0])
    page = mini.encode(np.repeat(data.page()[..., None], 3, axis=2))
    wrong, gray = grounder.agreement(page, whole[:2], ["a dog among green glands", "gray"])
    assert wrong < 0.1
    assert gray > 0.5


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
