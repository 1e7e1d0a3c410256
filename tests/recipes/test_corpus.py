from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_patchioner.decoders.grounded.vocabulary import PLACES, RELATIONS, Words
from recipes.mini._bags import NAMED, BagSampler
from recipes.mini.corpus import Mention, Reader
from recipes.mini.phrases import Writer
from recipes.mini.relations import count_relations
from recipes.mini.vocabulary import pluralize, read_concepts

CONCEPTS = read_concepts()
INDEX = {concept.name: index for index, concept in enumerate(CONCEPTS)}
READER = Reader(CONCEPTS)
CAPTIONS = [
    "a dog on a couch",
    "two dogs sitting on a red couch",
    "the puppy lies on the sofa",
    "a man riding a wave on top of a surfboard in the ocean",
    "a woman on a surfboard in the ocean",
    "a man on a surfboard in the ocean",
    "a boy on a surfboard, in the ocean",
    "a person with an umbrella",
    "a girl holding an umbrella",
    "a lady carrying an umbrella",
]


@pytest.fixture(scope="module")
def writer() -> Writer:
    sentences = [READER.read(caption) for caption in CAPTIONS]
    return Writer(Words(CONCEPTS), count_relations(sentences, CONCEPTS))


def names(caption: str) -> list[str]:
    found = READER.read(caption)
    return [CONCEPTS[m.concept].plural if m.plural else CONCEPTS[m.concept].name for m in found]


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A young man riding a wave on a surfboard.", ["person", "waves", "surfboard"]),
        ("Two women eating hot dogs", ["people", "hot dogs"]),
        ("a man swinging a bat", ["person", "baseball bat"]),
        ("a glass vase on a table", ["vase", "table"]),
        ("a man skis down a hill", ["person", "hill"]),
        ("a picture of a cat looking at the camera", ["cat"]),
        ("kids playing baseball in a field", ["people", "field"]),
        ("an orange cat with an orange", ["cat", "orange"]),
        ("nothing to see", []),
    ],
)
def test_captions_are_read_as_things(caption: str, expected: list[str]) -> None:
    assert names(caption) == expected


def test_colours_links_and_determiners_are_kept() -> None:
    cat, couch = READER.read("a black and white cat sleeping on the couch")
    assert cat.colours == ("black", "white")
    assert (couch.link, couch.determiner) == ("on", "the")


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("a dog next to a cat", "near"),
        ("a dog in front of a cat", "in front of"),
        ("a dog on top of a cat", "on"),
        ("a dog wearing a hat", "with"),
        ("a dog, a cat", "and"),
        ("a dog chasing a cat", ""),
    ],
)
def test_the_last_word_of_place_is_the_relation(text: str, link: str) -> None:
    assert READER.read(text)[1].link == link


def test_people_agree_on_relations(writer: Writer) -> None:
    assert writer.relation(INDEX["dog"], INDEX["couch"]) == "on"
    assert writer.relation(INDEX["person"], INDEX["umbrella"]) == "with"
    assert writer.relation(INDEX["couch"], INDEX["dog"]) is None


def test_too_few_votes_are_no_relation() -> None:
    relations = count_relations([READER.read("a dog on a couch")] * 2, CONCEPTS)
    assert not relations.pairs


def test_nobody_is_in_the_sky() -> None:
    relations = count_relations([READER.read("a man in the sky")] * 9, CONCEPTS)
    assert relations.between(CONCEPTS[INDEX["person"]], CONCEPTS[INDEX["sky"]]) is None


@pytest.mark.parametrize(
    ("things", "text"),
    [
        (["dog"], "a dog"),
        (["dog", "couch"], "a dog on a couch"),
        (["couch", "dog"], "a couch and a dog"),
        (["person", "surfboard", "ocean"], "a person on a surfboard in the ocean"),
        (["person", "ocean", "surfboard"], "a person on a surfboard in the ocean"),
        (["sky"], "the sky"),
        (["skis"], "skis"),
        (["orange", "egg"], "an orange and an egg"),
    ],
)
def test_phrases_read_well(writer: Writer, things: list[str], text: str) -> None:
    assert writer.words.text(writer.write([INDEX[name] for name in things])) == text


@pytest.mark.parametrize(
    ("thing", "adjectives", "plural", "text"),
    [
        ("person", (), True, "a group of people"),
        ("sheep", (), True, "several sheep"),
        ("bus", ("red",), False, "a red bus"),
        ("cow", ("black", "white"), False, "a black and white cow"),
        ("cow", ("brown",), True, "several brown cows"),
        ("sky", ("blue",), False, "blue sky"),
        ("elephant", ("gray",), False, "a gray elephant"),
        ("bus", ("orange",), False, "an orange bus"),
    ],
)
def test_adjectives_and_numbers(
    writer: Writer, thing: str, adjectives: tuple[str, ...], plural: bool, text: str
) -> None:
    tokens = writer.write([INDEX[thing]], adjectives=adjectives, plural=plural)
    assert writer.words.text(tokens) == text


@settings(deadline=None)
@given(st.lists(st.sampled_from(range(len(CONCEPTS))), min_size=1, max_size=3, unique=True))
def test_a_phrase_names_its_things_once_and_nothing_else(writer: Writer, things: list[int]) -> None:
    words = writer.words
    tokens = writer.write(things)
    named = [int(words.concept_of[token]) for token in tokens]
    assert sorted(concept for concept in named if concept >= 0) == sorted(things)
    assert named[0] == things[0] or named[1] == things[0]
    for one, other in pairwise(tokens):
        if words.tokens[other] in RELATIONS and other < words.function_words:
            assert words.concept_of[one] >= 0
    places = [words.tokens[t] for t in tokens if t < words.function_words]
    supported = {writer.relation(one, other) for one in things for other in things}
    assert {place for place in places if place in PLACES} <= supported


def test_bags_are_the_same_for_the_same_seed(writer: Writer) -> None:
    embeddings = np.random.default_rng(0).normal(size=(len(CONCEPTS), 8)).astype(np.float32)
    sentences = [[Mention(INDEX["dog"], False), Mention(INDEX["couch"], False, link="on")]]
    one, two = (BagSampler(writer, embeddings, sentences, seed=3) for _ in range(2))
    for _ in range(50):
        bag, other = one.draw(), two.draw()
        assert bag == other
        assert (one.vector(bag) == two.vector(other)).all()
        assert min(bag.weights) >= NAMED
        assert not set(bag.noise) & set(bag.things)


def test_names_are_spelt_once_and_every_imagenet_class_has_one() -> None:
    classes = [index for concept in CONCEPTS for index in concept.imagenet]
    assert sorted(classes) == list(range(1000))


def test_no_synonym_is_the_name_of_another_concept() -> None:
    synonyms = [synonym for concept in CONCEPTS for synonym in concept.synonyms]
    assert not set(synonyms) & set(INDEX)
    assert len(set(synonyms)) == len(synonyms)


def test_plurals_of_phrases() -> None:
    assert [pluralize(noun) for noun in ("box", "fly", "toy", "traffic light")] == [
        *("boxes", "flies", "toys", "traffic lights"),
    ]
