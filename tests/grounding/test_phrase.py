"""What phrases are taken for."""

from __future__ import annotations

import pytest

from napari_patchioner.grounding import read_phrase, split_negative


@pytest.mark.parametrize(
    ("text", "wanted", "unwanted"),
    [
        ("a red bus, not a car", "a red bus", ("a car",)),
        ("a bus but not a car", "a bus", ("a car",)),
        ("bus -car -dark truck", "bus", ("car", "dark truck")),
        ("bus not a car, a truck or a van", "bus", ("a car", "a truck", "a van")),
        ("a T-shirt", "a T-shirt", ()),
        ("knot in a rope", "knot in a rope", ()),
        ("NOT a car", "", ("a car",)),
        ("no cat", "", ("cat",)),
        ("a street with no cars and no people", "a street", ("cars", "people")),
        ("a man without a hat", "a man", ("a hat",)),
        ("a bus, except for red ones", "a bus", ("red ones",)),
        ("not a dog, but a cat", "a cat", ("a dog",)),
        ("a cup, not a spoon but a table", "a cup with a table", ("a spoon",)),
        ("neither a cup nor a spoon", "", ("a cup", "a spoon")),
        ("a table, never a spoon", "a table", ("a spoon",)),
        ("a cup instead of a spoon", "a cup", ("a spoon",)),
        ("a cup other than a mug", "a cup", ("a mug",)),
        ("a table w/o cup", "a table", ("cup",)),
        ("cup - spoon", "cup", ("spoon",)),
        ("a no entry sign", "a no entry sign", ()),
        ("no entry sign", "no entry sign", ()),
        ("No Parking signs", "No Parking signs", ()),
        ("no dogs allowed sign on a wall", "no dogs allowed sign on a wall", ()),
        ("do not enter sign", "do not enter sign", ()),
        ("don't walk signal", "don't walk signal", ()),
        ("no entry sign, no parking sign", "no entry sign, no parking sign", ()),
        ("a wall with no smoking sign, not a door", "a wall with no smoking sign", ("a door",)),
        ("bus, not a no entry sign", "bus", ("a no entry sign",)),
        ("a post but no parking sign", "a post", ("parking sign",)),
        ("no cars", "", ("cars",)),
        ("no stop sign", "", ("stop sign",)),
        ("no red signs", "", ("red signs",)),
        ("not a sign", "", ("a sign",)),
        ("a street without parking signs", "a street", ("parking signs",)),
        ("non-stick pan", "non-stick pan", ()),
        ("no-smoking sign", "no-smoking sign", ()),
        ("never-ending road", "never-ending road", ()),
        ("without people", "", ("people",)),
        ("without people, a street", "a street", ("people",)),
        ("a bus, I don't want cars", "a bus", ("cars",)),
        ("the no. 5 bus", "the no. 5 bus", ()),
        ("  a \t bus \n", "a bus", ()),
        ("", "", ()),
    ],
)
def test_what_is_not_wanted_is_parted_off(text, wanted, unwanted):
    assert split_negative(text) == (wanted, unwanted)


@pytest.mark.parametrize(
    ("text", "thing", "adjectives", "beside"),
    [
        ("the big RED bus", "big bus", ("red",), ""),
        ("two grey people", "two person", ("gray",), ""),
        ("women", "woman", (), ""),
        ("a person in a red shirt", "person", (), "a red shirt"),
        ("something blue", "", ("blue",), ""),
        ("an orange", "orange", (), ""),
        ("an orange orange", "orange", ("orange",), ""),
        ("orange things", "", ("orange",), ""),
        ("black and white cat", "cat", ("black", "white"), ""),
    ],
)
def test_a_phrase_is_a_thing_with_adjectives(text, thing, adjectives, beside):
    phrase = read_phrase(text)
    assert (phrase.thing, phrase.adjectives, phrase.beside) == (thing, adjectives, beside)


@pytest.mark.parametrize(
    ("text", "measurable"),
    [
        ("dark purple round spots", True),
        ("a stripe", True),
        ("a mitotic cell", False),
        ("a", False),
    ],
)
def test_only_what_is_measured_can_be_asked_for_by_adjectives(text, measurable):
    assert read_phrase(text).is_measurable is measurable
