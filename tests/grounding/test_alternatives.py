"""Several things in one phrase."""

from __future__ import annotations

import pytest

from napari_patchioner.grounding import alternatives


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("bus, car", ("bus", "car")),
        ("bus or car", ("bus", "car")),
        ("bus and car", ("bus", "car")),
        ("bus and/or car", ("bus", "car")),
        ("bus, bus", ("bus",)),
        ("a bus or the bus", ("a bus",)),
        ("blue sky; a tree", ("blue sky", "a tree")),
        ("a dog / a cat", ("a dog", "a cat")),
        ("dog/cat", ("dog", "cat")),
        ("dogs & cats", ("dogs", "cats")),
        ("cats as well as dogs", ("cats", "dogs")),
        ('"bus", "car"', ("bus", "car")),
        ("either a dog or a cat", ("a dog", "a cat")),
        ("both dogs and cats", ("dogs", "cats")),
        ("a dog, a cat, and a bird", ("a dog", "a cat", "a bird")),
        ("a big red bus, a car", ("a big red bus", "a car")),
        ("apple, orange, banana", ("apple", "orange", "banana")),
        ("a building, a cat", ("a building", "a cat")),
        ("two cups and a spoon on a table", ("two cups", "a spoon on a table")),
        ("a man with a hat, a dog", ("a man with a hat", "a dog")),
        ("a cat on a chair or a dog on a sofa", ("a cat on a chair", "a dog on a sofa")),
    ],
)
def test_things_of_a_list_are_asked_for_one_by_one(text, texts):
    assert alternatives(text).texts == texts


@pytest.mark.parametrize(
    "text",
    [
        "a red bus",
        "a big, red bus",
        "black and white cat",
        "orange and white cat",
        "dark, purple, round spots",
        "a man in a hat and gloves",
        "a child holding a cup or a spoon",
        "a chair between a table and a door",
        "24/7 store",
        "spots of 1,5 mm",
        "AT&T store",
        "",
        ",",
    ],
)
def test_what_says_how_or_where_one_thing_is_is_no_list(text):
    assert alternatives(text).texts == (text,)


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("red or blue bus", ("red bus", "blue bus")),
        ("a big red or blue bus", ("a big red bus", "a blue bus")),
        ("a black and a white cat", ("a black cat", "a white cat")),
        ("red, blue and green cars", ("red cars", "blue cars", "green cars")),
        ("something red or blue", ("something red", "something blue")),
        ("a bus, red or blue", ("a red bus", "a blue bus")),
        ("a bus, red", ("a red bus",)),
        ("a cat, sleeping", ("a sleeping cat",)),
        ("red, blue", ("red", "blue")),
        ("bus,", ("bus",)),
    ],
)
def test_adjectives_go_with_the_thing_that_they_describe(text, texts):
    assert alternatives(text).texts == texts


@pytest.mark.parametrize(
    ("text", "together"),
    [
        ("a dog and a cat", True),
        ("a dog, a cat and a bird", True),
        ("a dog, a cat or a bird", False),
        ("a dog, a cat", False),
        ("a dog; a cat and a bird", False),
        ("a dog and a dog", False),
        ("black and white cat", False),
    ],
)
def test_only_and_asks_for_all_of_them(text, together):
    assert alternatives(text).together is together
