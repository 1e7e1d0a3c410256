"""Which words of a sentence name things and colours, and which do not."""

from __future__ import annotations

import pytest

from napari_patchioner.grounding.sentence import is_clause, plural_of, read_words


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


@pytest.mark.parametrize(
    ("sentence", "absent"),
    [
        ("a man without a hat on a horse", ["hat"]),
        ("without bus or train", ["bus", "train"]),
        ("a street with no bus, train or tram", ["bus", "train", "tram"]),
        ("This isn't a bus.", ["bus"]),
        ("This isn’t a bus, it is a cat.", ["bus"]),
        ("There arent any buses", ["bus"]),
        ("I can't see a bus. A cat sleeps.", ["bus"]),
        ("a bus cannot be seen", ["bus"]),
        ("I never saw a bus, but a cat", ["bus"]),
        ("neither bus nor train", ["bus", "train"]),
        ("none of the buses", ["bus"]),
        ("nobody on the bus", ["bus"]),
        ("The bus is missing", ["bus"]),
        ("The bus, it seems, is gone", ["bus"]),
        ("The bus is no longer here", ["bus"]),
        ("the room lacks a sofa", ["room", "sofa"]),
        ("a cat instead of a bus on a sofa", ["bus"]),
        ("a cat rather than a bus", ["bus"]),
        ("a cat, not a bus", ["bus"]),
        ("a cat and anything but a bus, on a sofa", ["bus"]),
        ("a cat smaller than a dog on a sofa", ["dog"]),
        ("The bus drove away. A cat sleeps", ["bus"]),
        ("zero buses", ["bus"]),
        ("the bus is out of the picture", ["bus"]),
        ("two dogs wait for a bus on a bench", ["bus"]),
        ("I dream of a bus", ["bus"]),
        ("a boy dressed as a cow on a sofa", ["cow"]),
        ("a man who wants pizza, and a dog", ["pizza"]),
        ("it reminds me of a cat on a bed", ["cat"]),
        ("a toy bus on a table", ["bus"]),
        ("a toy on a bus", []),
        ("a long bench and a dress on a bed", []),
        ("people looking at a bus", []),
        ("a man walks out of a bus, away from a cat", []),
        ("It is a cat, isn't it?", []),
        ("not only a cat but a bus", []),
        ("a no entry sign and a bus", []),
    ],
)
def test_what_is_said_to_be_missing_is_marked_so(sentence, absent):
    assert [word.name for word in read_words(sentence) if word.absent] == absent


@pytest.mark.parametrize(
    ("sentence", "denied"),
    [
        ("There is no bus here", ["bus"]),
        ("the cat isn't here", ["cat"]),
        ("The cat on the sofa isn’t here", ["cat"]),
        ("the cat and the dog are gone", ["cat", "dog"]),
        ("This isn't a bus.", ["bus"]),
        ("There arent any buses", ["buses"]),
        ("I can't see a bus", ["bus"]),
        ("a bus cannot be seen", ["bus"]),
        ("a cat, not a bus", ["bus"]),
        ("neither a cat nor a dog", ["cat", "dog"]),
        ("a street with no bus, train or tram", ["bus", "train", "tram"]),
        ("a truck with no bed and a man in it", ["bed"]),
        ("a man without a hat on a horse", ["hat"]),
        ("a cat instead of a bus on a sofa", ["bus"]),
        ("The bus is no longer here", ["bus"]),
        ("the bus is out of the picture", ["bus"]),
        ("a bus is nowhere to be seen", ["bus"]),
        # Who may well be there
        ("waiting for a bus", []),
        ("a girl dreams of a cat", []),
        ("a toy bus", []),
        ("a statue of a cat", []),
        ("the cat is not looking at the camera", []),
        ("The man isn't wearing a hat", []),
        ("a man who is not on a bus", []),
        ("a man is missing a tooth", []),
        ("This is not a red bus", []),
        ("no red bus", []),
        ("it is not the bus that I took", []),
        ("a sign says no dogs", []),
        ("with or without a bus", []),
        ("not only a cat but a bus", []),
        ("Is this not a bus?", []),
        ("a purple bus can't be missed", []),
        ("a cat larger than a dog", []),
    ],
)
def test_what_is_said_outright_not_to_be_there_is_told_from_what_may_be(sentence, denied):
    assert [word.text for word in read_words(sentence) if word.denied] == denied
    assert all(word.absent for word in read_words(sentence) if word.denied)


@pytest.mark.parametrize(
    "sentence",
    [
        "My cat Rex is ill",
        "the television is on",
        "two dogs play",
        "A cat sits on a table",
        "It isn't a cat",
        "I saw a bus",
        "there's a bus",
        "the horse stood in a field",
    ],
)
def test_a_sentence_with_a_verb_is_a_clause(sentence):
    assert is_clause(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "a brown cat",
        "Two dogs on a tennis court",
        "a man riding a horse across a grass field",
        "my sister's cat with glasses",
        "",
    ],
)
def test_what_only_names_things_is_no_clause(sentence):
    assert not is_clause(sentence)


def test_what_a_thing_stands_at_or_on_is_a_place():
    def placed(sentence):
        return [word.text for word in read_words(sentence) if word.placed]

    assert placed("a person near an elephant") == ["elephant"]
    assert placed("a horse in front of a wall with a dog") == ["wall"]
    assert placed("on a bus") == []
    assert placed("a man with a cat and a dog on the grass") == ["grass"]


@pytest.mark.parametrize(
    ("sentence", "names"),
    [
        ("a man named Bush", ["Bush"]),
        ("a cat called tiger", ["tiger"]),
        ("Mr Brown and a cat", ["Brown"]),
        ("I met Bush at the table", ["Bush"]),
        ("a man named George Bush on a sofa", ["Bush"]),
        ("a man called a taxi", []),
        ("A Dog On A Sofa", []),
        ("a cat near the TV", []),
        ("a Jeep and a Christmas tree. Dogs bark", []),
    ],
)
def test_what_is_written_as_a_name_is_no_thing(sentence, names):
    words = [word for word in read_words(sentence) if word.is_name]
    assert [word.text for word in words] == names
    assert not any(word.kind for word in words)


def test_an_owner_is_named_without_its_ending():
    assert kinds("the cat's whiskers") == {"cat": "thing"}
    assert kinds("the dog’s bed") == {"dog": "part", "bed": "thing"}


def test_plurals():
    assert [plural_of(n) for n in ("dog", "person", "bus", "grass", "sofa", "puppy")] == [
        "dogs",
        "people",
        "buses",
        "grass",
        "sofas",
        "puppies",
    ]
