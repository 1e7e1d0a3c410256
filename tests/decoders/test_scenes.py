"""Sentences about whole pictures, from given things and the shipped table of relations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from napari_patchioner.decoders import Evidence, Thing
from napari_patchioner.decoders.grounded import GroundedDecoder, vocabulary
from napari_patchioner.decoders.grounded.scenes import Scenes

EMBEDDED = Path(vocabulary.__file__).parents[2] / "models" / "embedded"
ABOVE, BELOW, LEFT = (0.1, 0.3, 0.6, 0.7), (0.5, 0.2, 1.0, 0.8), (0.3, 0.0, 0.6, 0.15)


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return GroundedDecoder.open(EMBEDDED).scenes


def say(scenes: Scenes, *things: Thing) -> str:
    return scenes.phrase(scenes.chosen(things))


@pytest.mark.parametrize(
    ("things", "text"),
    [
        ([Thing("cat", 0.9, 0.9, ABOVE), Thing("couch", 0.8, 0.5, BELOW)], "a cat on a couch"),
        ([Thing("cat", 0.9, 0.9, ABOVE), Thing("couch", 0.8, 0.5, LEFT)], "a cat next to a couch"),
        (
            [Thing("table", 0.9, 0.9), Thing("cup", 0.8, 0.5), Thing("coffee", 0.6, 0.4)],
            "a cup of coffee sitting on a table",
        ),
        (
            [Thing("person", 0.9, 0.9), Thing("bench", 0.8, 0.5), Thing("chair", 0.6, 0.4)],
            "a person on a bench next to a chair",
        ),
        (
            [Thing("boat", 0.9, 0.8), Thing("ocean", 0.8, 0.5), Thing("person", 0.9, 0.1)],
            "a boat in the ocean",
        ),
        (
            [Thing("bird", 0.9, 0.9), Thing("grass", 0.8, 0.5), Thing("sky", 0.6, 0.4)],
            "a bird on the grass",
        ),
        ([Thing("boat", 0.9, 0.9), Thing("sky", 0.8, 0.5)], "a boat"),
        (
            [Thing("toilet", 0.9, 0.8), Thing("sink", 0.8, 0.6), Thing("bathroom", 0.8, 0.4)],
            "a toilet and a sink in a bathroom",
        ),
        (
            [Thing("laptop", 0.9, 0.9, ABOVE), Thing("clock", 0.8, 0.6), Thing("vase", 0.8, 0.5)],
            "a laptop, a clock and a vase",
        ),
        (
            [Thing("cup", 0.9, 0.9), Thing("coffee", 0.9, 0.5), Thing("spoon", 0.8, 0.4)],
            "a cup of coffee and a spoon",
        ),
        (
            [Thing("cat", 0.9, 0.9, ABOVE), Thing("sink", 0.9, 0.5, BELOW)]
            + [Thing(name, 0.9, 0.4, LEFT) for name in ("toilet", "bathtub")],
            "a cat in a sink next to a toilet and a bathtub",
        ),
        ([Thing("person", 0.9, 0.9, several=0.9)], "a group of people"),
        ([Thing("zebra", 0.9, 0.9, several=0.9)], "a zebra"),
        (
            [Thing("dog", 0.9, 0.9, number=2), Thing("person", 0.8, 0.8, number=4)],
            "a group of people and two dogs",
        ),
    ],
)
def test_things_are_joined_as_people_do(scenes: Scenes, things: list[Thing], text: str) -> None:
    assert say(scenes, *things) == text


def test_what_is_doubtful_is_left_out(scenes: Scenes) -> None:
    cat = Thing("cat", 0.9, 0.9)
    assert say(scenes, cat, Thing("couch", 0.2, 0.5)) == "a cat"
    assert say(scenes, cat, Thing("couch", 0.9, 0.01)) == "a cat"
    assert say(scenes, cat, Thing("surfer", 0.9, 0.9), Thing("person", 0.9, 0.8)).count(" a ") < 2
    assert scenes.chosen([Thing("cat", 0.6, 0.9)]) == []
    bus = Thing("bus", 0.97, 0.9)
    assert say(scenes, bus, Thing("truck", 0.9, 0.6)) == "a bus"
    assert "truck" in say(scenes, bus, Thing("truck", 0.97, 0.6))
    assert say(scenes, Thing("suitcase", 0.9, 0.9), Thing("backpack", 0.9, 0.6)) == "a suitcase"
    assert say(scenes, Thing("toilet", 0.9, 0.9), Thing("sink", 0.5, 0.6)) == "a toilet"
    assert scenes.chosen([Thing("no such thing", 0.9, 0.9)]) == []


def test_a_region_has_beside_its_first_thing_what_is_probable(scenes: Scenes) -> None:
    def of(*beside: Thing, **attributes: float) -> list[str]:
        return scenes.of_region(Evidence((("cat", 0.9),), attributes, 0.9, beside=beside))

    couch = Thing("couch", 0.9, 0.9)
    assert of(couch, black=0.9, white=0.8) == ["a black and white cat on a couch"]
    assert of(couch, plural=0.9) == ["several cats on a couch"]
    assert of(Thing("couch", 0.8, 0.8)) == []
    assert of(Thing("cat", 0.9, 0.9)) == []
    assert of() == []


@pytest.mark.parametrize(
    ("name", "around", "text"),
    [
        ("dog", {"grass": "on", "person": "near"}, "a dog on the grass"),
        ("person", {"dining table": "on"}, "a person at a dining table"),
        ("boat", {"water": "on"}, "a boat on the water"),
        ("airplane", {"sky": "on"}, "an airplane in the sky"),
        ("bird", {"sky": "on"}, None),
        ("car", {"sidewalk": "on"}, "a car near a sidewalk"),
        ("vase", {"wall": "in front of", "cup": "near"}, "a vase in front of a wall"),
        ("cup", {"laptop": "near", "floor": "near"}, "a cup near a laptop"),
        ("cup", {"sky": "in front of"}, None),
        ("cup", {"no such thing": "near"}, None),
    ],
)
def test_a_region_is_where_its_surroundings_say(
    scenes: Scenes, name: str, around: dict[str, str], text: str | None
) -> None:
    things = [Thing(other, 0.85, 0.85, relation=word) for other, word in around.items()]
    evidence = Evidence(((name, 0.9),), {}, 0.9, beside=(), around=tuple(things))
    assert scenes.of_region(evidence)[:1] == ([] if text is None else [text])
    doubtful = [Thing(other, 0.5, 0.5, relation=word) for other, word in around.items()]
    assert scenes.of_region(replace(evidence, around=tuple(doubtful))) == []


def test_a_region_is_named_with_what_is_in_it_and_where_it_is(scenes: Scenes) -> None:
    frisbee, grass = Thing("frisbee", 0.9, 0.9), Thing("grass", 0.8, 0.8, relation="on")
    evidence = Evidence((("dog", 0.9),), {}, 0.9, beside=(frisbee,), around=(grass,))
    assert scenes.of_region(evidence) == [
        "a dog with a frisbee on the grass",
        "a dog with a frisbee",
        "a dog on the grass",
    ]


def test_fewer_things_make_shorter_phrases(scenes: Scenes) -> None:
    things = [Thing("cat", 0.9, 0.9, ABOVE), Thing("couch", 0.8, 0.5, BELOW)]
    assert scenes.phrases(things, 30) == ["a cat on a couch", "a cat"]
    assert scenes.phrases(things, 4) == ["a cat"]
