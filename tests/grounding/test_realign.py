"""A person's sentence against the image: what is put right, what is added, and what is left."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from napari_patchioner.errors import ModelError
from napari_patchioner.grounding import Realigner
from napari_patchioner.regions import Box, WholeImage

from .test_scorer import Speechless, made

CAT, CUP = Box(0, 0, 299, 450), Box(0, 451, 299, 899)


@pytest.fixture(scope="module")
def grid(mini):
    """A cat on the left, a cup on the right."""
    return mini.encode(np.concatenate([data.cat(), data.coffee()[50:350, 30:480]], axis=1))


@pytest.fixture(scope="module")
def realigner(mini):
    return Realigner(mini)


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("a dog", "a cat"),
        ("An elephant looks at me.", "A cat looks at me."),
        ("my dog sleeps", "my cat sleeps"),
        ("Two dogs play", "Two cats play"),
        ("my dog's whiskers", "my cat's whiskers"),
    ],
)
def test_what_the_image_contradicts_is_put_right_and_all_else_is_kept(
    realigner, grid, text, mended
):
    result = realigner.check(grid, CAT, text)
    assert result.text == mended
    [change] = result.changes
    assert change.kind == "replaced"
    assert change.after in ("cat", "cats")
    assert repr(change.before) in change.why
    assert "support" in change.why


@pytest.mark.parametrize(
    "text",
    [
        "a cat",
        "A cute kitten, asleep!",
        "an animal",
        "it is nice",
        "",
        "a kitchen",
        "a shirt",
        "¿?",
        "This isn't a bus.",
        "Neither dog nor horse",
        "The dog is missing",
        "A man named Bush",
    ],
)
def test_a_sentence_that_nothing_contradicts_comes_back_letter_by_letter(realigner, grid, text):
    result = realigner.check(grid, CAT, text)
    assert result.text == text
    assert result.changes == ()


def test_what_is_plain_to_see_and_not_said_is_added_at_the_end(realigner, mini, grid):
    cat = mini.caption(grid, [WholeImage()])[0]
    assert "cat" in cat.text
    result = realigner.check(grid, WholeImage(), "A cup of coffee.")
    assert result.text.startswith("A cup of coffee")
    assert result.text.endswith("cat.")
    assert [change.kind for change in result.changes] == ["added"]
    assert realigner.check(grid, WholeImage(), "A cup of coffee.", add=False).changes == ()


@pytest.mark.parametrize(
    ("text", "added"),
    [
        ("My cup is empty.", "My cup is empty; also a cat."),
        ("The cup stands on a table", "The cup stands on a table; also a cat"),
        ("a cup", "a cup with a cat"),
    ],
)
def test_what_is_added_leaves_the_sentence_grammatical(realigner, grid, text, added):
    result = realigner.check(grid, WholeImage(), text)
    assert result.text == added
    assert result.changes[0].after in ("also a cat", "with a cat")


@pytest.mark.parametrize(
    ("text", "wrong"), [("a cup on a bus", "bus"), ("There is no cat here, but a cup", "cat")]
)
def test_nothing_is_added_while_a_word_that_is_marked_is_kept(realigner, grid, text, wrong):
    result = realigner.check(grid, WholeImage(), text)
    assert wrong in [word.word.text for word in result.kept_wrong()]
    assert result.changes == ()
    assert not result.sought


def test_what_was_replaced_is_kept_no_more(realigner, grid):
    assert realigner.check(grid, CAT, "a dog").kept_wrong() == ()
    assert realigner.check(grid, CAT, "a dog", [("Rex", CAT)]).kept_wrong() == ()
    [bus] = realigner.check(grid, CAT, "a dog on a bus").kept_wrong()
    assert bus.word.text == "bus"


@pytest.mark.parametrize("text", ["There is no cat here", "the cat isn't here"])
def test_a_denial_is_never_rewritten(realigner, grid, text):
    result = realigner.check(grid, CAT, text)
    assert result.text == text
    assert [word.word.text for word in result.kept_wrong()] == ["cat"]


def test_what_the_region_surely_shows_is_known_where_nothing_is_borne_out(realigner, grid):
    assert realigner.check(grid, CAT, "something to look at and a shirt").shown == "cat"
    assert realigner.check(grid, CAT, "a cat").shown == ""


def test_a_question_is_given_no_more(realigner, grid):
    assert realigner.check(grid, WholeImage(), "is it a cup?").changes == ()


def test_a_sentence_with_a_noun_in_doubt_is_not_lengthened_by_what_it_may_mean(realigner, grid):
    for text in ("a bird", "a rabbit on a table"):
        result = realigner.check(grid, CAT, text)
        assert not any(change.kind == "added" for change in result.changes)


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("Rex", "a cat on a table", "Rex on a table"),
        ("Rex", "A cat", "Rex"),
        ("Rex", "look, a brown cat on a table", "look, Rex, a brown cat, on a table"),
        ("Rex", "a brown cat, asleep", "Rex, a brown cat, asleep"),
        ("Rex", "a dog on a table", "Rex on a table"),
        ("Rex", "Rex on a table", "Rex on a table"),
        ("Rex", "two cats", "two cats"),
        ("Rex", "my cat's whiskers", "Rex's whiskers"),
        ("Rex", "Her cat looks up", "Rex looks up"),
        ("Rex", "my brown cat's whiskers", "my brown cat's whiskers"),
        ("Rex", "another cat", "another cat"),
        ("Rex", "a cat named Tom", "a cat named Tom"),
        ("my tabby", "a cat looks up", "my tabby looks up"),
        ("The boss", "I see the cat", "I see the boss"),
        ("the boss", "A brown cat", "The boss, a brown cat"),
        ("tabby", "Her cat looks up", "Her tabby looks up"),
        # What is quoted is somebody's own, and a measure is no thing.
        ("Rex", "One region is described as “a cat”", "One region is described as “a cat”"),
        ("Rex", 'They call it "a cat" here', 'They call it "a cat" here'),
        ("Rex", "“old” and a cat", "“old” and Rex"),
        ("+1 cat", "“+1 cat” is what it is", "“+1 cat” is what it is"),
        ("Rex", "a cat of marble", "a cat of marble"),
    ],
)
def test_a_name_takes_the_place_of_the_noun(realigner, grid, name, text, named):
    assert realigner.check(grid, CAT, text, [(name, CAT)], add=False).text == named


def test_a_name_that_is_no_proper_name_keeps_the_article(realigner, grid):
    names = [("espresso cup", CUP), ("Rex", CAT)]
    result = realigner.check(grid, WholeImage(), "a cat and a cup", names, add=False)
    assert result.text == "Rex and an espresso cup"
    assert [change.kind for change in result.changes] == ["named", "named"]
    assert realigner.check(grid, CAT, "a table", [("Rex", CAT)], add=False).changes == ()


def test_a_name_outside_the_image_is_passed_over(realigner, grid):
    away = Box(9000, 9000, 9100, 9100)
    assert realigner.check(grid, CAT, "a cat", [("Rex", away)]).text == "a cat"


def test_a_micrograph_contradicts_no_sentence(mini, realigner):
    micrograph = mini.encode(data.immunohistochemistry())
    result = realigner.check(micrograph, WholeImage(), "brown cells beside a dog")
    assert result.text == "brown cells beside a dog"


def test_a_model_without_a_text_tower_says_so():
    with pytest.raises(ModelError, match="no text tower"):
        Realigner(made(Speechless()))
