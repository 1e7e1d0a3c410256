"""Which words of a sentence name things and colours, and which do not."""

from __future__ import annotations

import pytest

from napari_patchioner.grounding.sentence import plural_of, read_words


def kinds(sentence):
    return {word.text: word.kind for word in read_words(sentence) if word.kind}


def test_words_keep_their_place_and_names_of_several_words_are_one():
    text = "Two dogs on a tennis court, near a hot dog."
    words = read_words(text)
    assert all(text[word.start : word.end] == word.text for word in words)
    assert kinds(text) == {"dogs": "thing", "tennis court": "thing", "hot dog": "thing"}
    assert [word.name for word in words if word.kind] == ["dog", "tennis court", "hot dog"]


def test_an_orange_is_a_fruit_and_an_orange_cat_is_none():
    assert kinds("an orange cat with an orange") == {"orange": "thing", "cat": "thing"}
    assert [w.kind for w in read_words("an orange cat and an orange") if w.text == "orange"] == [
        "look",
        "thing",
    ]


def test_what_names_the_kind_of_the_next_thing_is_a_part_of_it():
    assert kinds("a dog bed") == {"dog": "part", "bed": "thing"}


@pytest.mark.parametrize(
    ("sentence", "things"),
    [
        ("a couple of cats", ["cat"]),
        ("a man looks at the camera", ["man"]),
        ("a camera on a table", ["camera", "table"]),
        ("a woman watches a film", ["woman"]),
        ("a person learns to ski", ["person"]),
        ("children in the room", ["child", "room"]),
        ("", []),
        ("qwrtzp!", []),
    ],
)
def test_words_that_only_look_like_things_are_none(sentence, things):
    assert [word.name for word in read_words(sentence) if word.kind == "thing"] == things


def test_what_is_said_to_be_missing_is_marked_so():
    absent = {word.text: word.absent for word in read_words("a man without a hat on a horse")}
    assert absent == {
        **dict.fromkeys(("a", "man", "without", "on", "horse"), False),
        "hat": True,
    }


def test_plurals():
    assert [plural_of(n) for n in ("dog", "person", "bus", "grass", "sofa", "puppy")] == [
        "dogs",
        "people",
        "buses",
        "grass",
        "sofas",
        "puppies",
    ]
