from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_patchioner.decoders.grounded.vocabulary import (
    ADJECTIVES,
    END,
    PADDING,
    RELATIONS,
    Concept,
    Words,
    article,
    correct_articles,
    with_article,
)
from napari_patchioner.errors import ModelError

CONCEPTS = [
    Concept("dog", "dogs", False, "animal"),
    Concept("hot dog", "hot dogs", False, "food"),
    Concept("sheep", "sheep", False, "animal"),
    Concept("skis", "skis", True, "sport"),
    Concept("orange", "oranges", False, "food"),
]


@pytest.fixture(scope="module")
def words() -> Words:
    return Words(CONCEPTS)


def test_a_name_is_one_token_however_it_is_spelt(words: Words) -> None:
    assert words.tokens[words.names[1]] == "hot dog"
    assert words.names[1] not in (words.names[0], words.plurals[0])


def test_every_token_knows_what_it_names(words: Words) -> None:
    for concept, (name, plural) in enumerate(zip(words.names, words.plurals, strict=True)):
        assert words.concept_of[name] == words.concept_of[plural] == concept
    assert (words.concept_of[: words.function_words] == -1).all()


def test_names_without_a_plural_have_one_token(words: Words) -> None:
    assert words.plurals[2] == words.names[2]
    assert words.plurals[3] == words.names[3]
    assert len(words) == words.function_words + 5 + 3


def test_the_colour_orange_is_not_the_fruit(words: Words) -> None:
    assert words.id("orange") != words.names[4]
    assert words.concept_of[words.id("orange")] == -1


def test_padding_is_zero_because_the_loss_leaves_zero_out(words: Words) -> None:
    assert words.id(PADDING) == 0


def test_text_ends_at_the_end_token(words: Words) -> None:
    tokens = [words.id("a"), words.names[4], words.id(END), words.names[0]]
    assert words.text(tokens) == "an orange"


def test_nothing_said_is_an_empty_text(words: Words) -> None:
    assert words.text([words.id(END)]) == ""


def test_an_unknown_word_is_told(words: Words) -> None:
    with pytest.raises(ModelError, match="'zebra'"):
        words.id("zebra")


@given(st.lists(st.sampled_from([*RELATIONS, *ADJECTIVES, "a", "the"]), min_size=1))
def test_function_words_come_back_as_they_went_in(said: list[str]) -> None:
    words = Words(CONCEPTS)
    assert words.text([words.id(word) for word in said]).replace("an ", "a ").split() == (
        " ".join(correct_articles(said)).replace("an ", "a ").split()
    )


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("umbrella", "an"),
        ("uniform", "a"),
        ("unicycle", "a"),
        ("hourglass", "an"),
        ("orange cat", "an"),
        ("house", "a"),
        ("urinal", "a"),
        ("egg", "an"),
        ("oven", "an"),
    ],
)
def test_articles_go_by_sound(noun: str, expected: str) -> None:
    assert article(noun) == expected


def test_mass_nouns_take_no_article() -> None:
    assert with_article("grass", mass=True) == "grass"
    assert with_article("egg") == "an egg"
