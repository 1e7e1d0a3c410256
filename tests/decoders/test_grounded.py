"""What may be said: checked with an untrained language model, which would say anything."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_patchioner.decoders import Evidence, PrefixGPT, PrefixGPTConfig, Thing
from napari_patchioner.decoders.grounded import GroundedDecoder, vocabulary
from napari_patchioner.decoders.grounded.relations import Relations
from napari_patchioner.decoders.grounded.vocabulary import (
    ADJECTIVES,
    ATTRIBUTES,
    PLACES,
    QUANTITIES,
    Concept,
    fits,
)
from napari_patchioner.errors import ModelError

EMBEDDED = Path(vocabulary.__file__).parents[2] / "models" / "embedded"
CONCEPTS = [
    Concept("person", "people", False, "person"),
    Concept("surfer", "surfers", False, "person"),
    Concept("dog", "dogs", False, "animal"),
    Concept("hot dog", "hot dogs", False, "food"),
    Concept("bus", "buses", False, "vehicle"),
    Concept("egg", "eggs", False, "food"),
    Concept("umbrella", "umbrellas", False, "clothing"),
    Concept("skis", "skis", True, "sport"),
    Concept("grass", "grass", True, "stuff"),
    Concept("street", "streets", False, "stuff"),
    Concept("kitchen", "kitchens", False, "scene"),
]
RELATIONS = Relations(
    pairs={("dog", "grass"): "on", ("person", "umbrella"): "with", ("bus", "street"): "on"},
    kinds={("person", "street"): "on", ("anything", "kitchen"): "in"},
    determiners={"grass": "the", "street": "the"},
    together=frozenset(
        (one, other)
        for one in ("bus", "dog", "grass", "person", "skis")
        for other in ("dog", "grass", "person", "skis", "street", "umbrella")
        if one < other
    ),
)
NAMES = [concept.name for concept in CONCEPTS]
DIM = 24


@pytest.fixture(scope="module")
def decoder() -> GroundedDecoder:
    torch.manual_seed(0)
    embeddings = np.linalg.qr(np.random.default_rng(0).normal(size=(DIM, DIM)))[0]
    forms = sum(1 + (concept.name != concept.plural) for concept in CONCEPTS)
    model = PrefixGPT(
        PrefixGPTConfig(
            vocab_size=2 + 2 + 2 + 10 + len(ADJECTIVES) + forms,
            width=16,
            layers=1,
            heads=2,
            positions=22,
            prefix_dim=DIM + len(ATTRIBUTES),
        )
    ).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return GroundedDecoder(model, CONCEPTS, embeddings[: len(CONCEPTS)], RELATIONS)


@pytest.fixture(scope="module")
def shipped() -> GroundedDecoder:
    return GroundedDecoder.open(EMBEDDED)


def seen(*concepts: tuple[str, float], verdict: str = "sure", **attributes: float) -> Evidence:
    return Evidence(concepts, attributes, score=0.5, verdict=verdict)  # type: ignore[arg-type]


def vectors_of(decoder: GroundedDecoder, evidence: list[Evidence]) -> np.ndarray:
    rows = []
    for one in evidence:
        weights = np.array([weight for _, weight in one.concepts])
        rows_of = [decoder.selection.index[name] for name, _ in one.concepts]
        mixture = weights @ decoder.embeddings[rows_of]
        strengths = [one.attributes.get(name, 0.0) for name in ATTRIBUTES]
        rows.append(np.concatenate([mixture / np.linalg.norm(mixture), strengths]))
    return np.array(rows, np.float32)


def say(decoder: GroundedDecoder, *evidence: Evidence, **options: int) -> list[str]:
    return [
        c.text
        for c in decoder.decode(vectors_of(decoder, [*evidence]), evidence=evidence, **options)
    ]


def split(text: str) -> list[str]:
    """Words of a caption, names and fixed phrases in one piece."""
    pieces, rest = [], f" {text} "
    fixed = [c.name for c in CONCEPTS] + [c.plural for c in CONCEPTS]
    for phrase in sorted({*fixed, *QUANTITIES, *PLACES}, key=len, reverse=True):
        rest = rest.replace(f" {phrase} ", f" {phrase.replace(' ', '_')} ")
    pieces = [word.replace("_", " ") for word in rest.split()]
    return pieces


bags = st.builds(
    lambda names, weights, attributes: Evidence(
        tuple(zip(names, sorted(weights, reverse=True), strict=False)), attributes, score=0.6
    ),
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=6, unique=True),
    st.lists(st.floats(0.01, 1.0), min_size=6, max_size=6),
    st.dictionaries(st.sampled_from(ATTRIBUTES), st.floats(0.0, 1.0), max_size=6),
)


@settings(max_examples=60, deadline=None)
@given(evidence=st.lists(bags, min_size=1, max_size=4), beams=st.sampled_from([1, 3]))
def test_only_what_was_seen_is_said(
    decoder: GroundedDecoder, evidence: list[Evidence], beams: int
) -> None:
    captions = decoder.decode(vectors_of(decoder, evidence), evidence=evidence, beams=beams)
    for caption, one in zip(captions, evidence, strict=True):
        check_grounded(caption.text, one)


def check_grounded(text: str, evidence: Evidence) -> None:
    by_form = {form: c for c in CONCEPTS for form in (c.name, c.plural)}
    plain = {"a", "an", "the", "and", "with"}
    candidates = [name for name, _ in evidence.concepts]
    said: list[Concept] = []
    pieces = split(text)
    for piece, after in zip(pieces, [*pieces[1:], ""], strict=True):
        if piece in by_form:
            concept = by_form[piece]
            assert concept.name in candidates
            assert concept not in said
            many = piece == concept.plural != concept.name
            assert not many or evidence.attributes.get("plural", 0) >= 0.5
            said.append(concept)
        elif piece in ADJECTIVES:
            assert evidence.attributes.get(piece, 0.0) >= 0.5
            assert not said
        elif piece in QUANTITIES:
            assert evidence.attributes["plural"] >= 0.5
            assert piece == ("a group of" if after == "people" else piece)
        elif piece not in plain:
            assert piece in PLACES
    assert 1 <= len(said) <= 3
    assert candidates[0] in [concept.name for concept in said]
    adjectives = [p for p in pieces if p in ADJECTIVES]
    assert all(fits(adjective, said[0]) for adjective in adjectives)
    assert pieces[-1] in by_form


@settings(max_examples=60, deadline=None)
@given(evidence=bags)
def test_a_place_is_one_that_people_name_for_the_two(
    decoder: GroundedDecoder, evidence: Evidence
) -> None:
    (text,) = say(decoder, evidence, beams=3)
    pieces = split(text)
    index = decoder.selection.index
    for position, piece in enumerate(pieces):
        if piece in PLACES:
            before = [p for p in pieces[:position] if p in index]
            after = next(p for p in pieces[position:] if p in index)
            plurals = {concept.plural: concept for concept in CONCEPTS}
            earlier = [CONCEPTS[index[p]] for p in before]
            earlier += [plurals[p] for p in pieces[:position] if p in plurals]
            relations = {RELATIONS.between(one, CONCEPTS[index[after]]) for one in earlier}
            assert piece in relations


@settings(max_examples=60, deadline=None)
@given(evidence=st.lists(bags, min_size=1, max_size=4))
def test_what_need_not_be_searched_for_is_what_a_search_finds(
    decoder: GroundedDecoder, evidence: list[Evidence]
) -> None:
    vectors = vectors_of(decoder, evidence)
    # A search is made where a word is excluded, be it one that nothing holds.
    searched = decoder.decode(vectors, evidence=evidence, must_exclude=("umbrellas of nobody",))
    for caption, other in zip(decoder.decode(vectors, evidence=evidence), searched, strict=True):
        assert (caption.text, caption.alternatives) == (other.text, other.alternatives)
        assert caption.log_probability == pytest.approx(other.log_probability, abs=1e-4)


def test_a_name_is_never_part_of_another(decoder: GroundedDecoder) -> None:
    assert "hot dog" in say(decoder, seen(("hot dog", 0.9)))[0]
    assert "hot" not in say(decoder, seen(("dog", 0.9)))[0]


def test_rivals_are_not_told_as_company(decoder: GroundedDecoder) -> None:
    (text,) = say(decoder, seen(("surfer", 0.5), ("person", 0.45)))
    assert text.split()[-1] == "surfer"


def test_what_is_far_behind_is_left_out(decoder: GroundedDecoder) -> None:
    (text,) = say(decoder, seen(("bus", 0.8), ("dog", 0.1)))
    assert "dog" not in text


def test_the_usual_guesses_are_no_company(decoder: GroundedDecoder) -> None:
    guesses = [("dog", 0.2), ("skis", 0.1), ("grass", 0.09), ("egg", 0.08), ("kitchen", 0.07)]
    (text,) = say(decoder, seen(("bus", 0.22), *guesses))
    assert set(split(text)) - {"a", "and", "with"} == {"bus", "dog"}


def test_what_nobody_mentions_together_is_a_mistake(decoder: GroundedDecoder) -> None:
    (text,) = say(decoder, seen(("dog", 0.5), ("egg", 0.45)))
    assert text == "a dog"


def test_people_have_no_colour(decoder: GroundedDecoder) -> None:
    (text,) = say(decoder, seen(("person", 0.8), white=1.0, dark=1.0))
    assert text == "a person"


def test_several_are_said_only_when_counted(decoder: GroundedDecoder) -> None:
    one, many = say(decoder, seen(("person", 0.8)), seen(("person", 0.8), plural=0.9), beams=4)
    assert one == "a person"
    assert many in ("a group of people", "a person")


@pytest.mark.parametrize(
    ("concepts", "text"),
    [
        ([("bus", 0.2), ("umbrella", 0.15), ("egg", 0.1)], "bus, umbrella or egg?"),
        ([("egg", 0.3), ("bus", 0.03)], "egg?"),
        ([("grass", 0.2), ("skis", 0.2)], "grass or skis?"),
    ],
)
def test_a_doubt_is_told_as_a_doubt(
    decoder: GroundedDecoder, concepts: list[tuple[str, float]], text: str
) -> None:
    evidence = seen(*concepts, verdict="unsure")
    (caption,) = decoder.decode(vectors_of(decoder, [evidence]), evidence=[evidence])
    assert (caption.text, caption.verdict, caption.score) == (text, "unsure", 0.5)


def test_measured_text_is_passed_on(decoder: GroundedDecoder) -> None:
    evidence = Evidence((("dog", 0.3),), {}, 0.4, "appearance", "many small dark spots")
    (caption,) = decoder.decode(vectors_of(decoder, [evidence]), evidence=[evidence])
    assert (caption.text, caption.verdict) == ("many small dark spots", "appearance")


def test_the_grounds_come_with_the_caption(decoder: GroundedDecoder) -> None:
    evidence = seen(("dog", 0.5), ("grass", 0.3), ("bus", 0.1), ("skis", 0.05))
    (caption,) = decoder.decode(
        vectors_of(decoder, [evidence]), evidence=[evidence], beams=4, alternatives=3
    )
    assert caption.concepts == (("dog", 0.5), ("grass", 0.3), ("bus", 0.1))
    assert caption.score == 0.5
    assert len({caption.text, *caption.alternatives}) == 1 + len(caption.alternatives) == 4


def test_a_word_too_few_still_names_the_first(decoder: GroundedDecoder) -> None:
    assert say(decoder, seen(("dog", 0.5), ("grass", 0.4)), max_tokens=1) == ["a dog"]


def test_unknown_names_are_said_plainly(decoder: GroundedDecoder) -> None:
    evidence = Evidence((("axolotl", 0.9),), {}, 0.9)
    vector = np.ones((1, DIM + len(ATTRIBUTES)), np.float32)
    assert decoder.decode(vector, evidence=[evidence])[0].text == "an axolotl"


def test_no_regions_no_captions(decoder: GroundedDecoder) -> None:
    nothing = np.empty((0, DIM + len(ATTRIBUTES)), np.float32)
    assert decoder.decode(nothing, evidence=[]) == []
    assert decoder.decode(nothing) == []


def test_each_row_needs_its_evidence(decoder: GroundedDecoder) -> None:
    with pytest.raises(ModelError, match="1 vectors but 0"):
        decoder.decode(np.ones((1, DIM + len(ATTRIBUTES)), np.float32), evidence=[])


def test_parts_of_different_models_are_refused(decoder: GroundedDecoder) -> None:
    with pytest.raises(ModelError, match="made together"):
        GroundedDecoder(decoder.model, CONCEPTS[:-1], decoder.embeddings[:-1], RELATIONS)


def test_a_missing_model_is_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"concepts\.json"):
        GroundedDecoder.open(tmp_path)


def test_batches_do_not_change_a_caption(shipped: GroundedDecoder) -> None:
    evidence = [
        seen(("person", 0.6), ("surfboard", 0.4), ("ocean", 0.3)),
        seen(("bus", 0.9), red=0.9),
        seen(("cat", 0.5), ("couch", 0.4), black=0.8, white=0.7),
    ]
    together = say(shipped, *evidence)
    assert together == [say(shipped, one)[0] for one in evidence] == say(shipped, *evidence)


@pytest.mark.parametrize(
    ("evidence", "text"),
    [
        (seen(("bus", 0.9), red=0.9), "a red bus"),
        (seen(("cat", 0.9), black=0.8, white=0.7), "a black and white cat"),
        (seen(("person", 0.9), plural=0.9), "a group of people"),
        (seen(("zebra", 0.9), plural=0.9), "several zebras"),
        (seen(("sky", 0.9)), "the sky"),
        (seen(("grass", 0.9), green=0.9), "green grass"),
        (seen(("umbrella", 0.9)), "an umbrella"),
        (seen(("dog", 0.6), ("couch", 0.5)), "a dog on a couch"),
        (seen(("person", 0.6), ("tennis racket", 0.5)), "a person with a tennis racket"),
    ],
)
def test_the_shipped_decoder_speaks_english(
    shipped: GroundedDecoder, evidence: Evidence, text: str
) -> None:
    assert say(shipped, evidence) == [text]


def test_the_shipped_decoder_speaks_without_evidence(shipped: GroundedDecoder) -> None:
    vectors = vectors_of(shipped, [seen(("dog", 1.0))])
    assert "dog" in shipped.decode(vectors)[0].text


def test_fifty_regions_take_well_under_a_second(shipped: GroundedDecoder) -> None:
    evidence = [seen(("person", 0.5), ("dog", 0.4), ("grass", 0.35), green=0.9)] * 50
    vectors = vectors_of(shipped, evidence)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds = []
    for _ in range(3):
        started = time.process_time()
        shipped.decode(vectors, evidence=evidence, beams=4, max_tokens=20)
        seconds.append(time.process_time() - started)
    torch.set_num_threads(threads)
    assert min(seconds) < 1.0


def test_a_rarer_name_is_taken_where_it_is_about_as_likely(shipped: GroundedDecoder) -> None:
    """Specificity weighs names against how usual they are, and never claims what is unlikely."""
    close = replace(seen(("dog", 0.5), ("wolf", 0.45)), score=0.9)
    assert say(shipped, close) == say(shipped, close, specificity=0) == ["a dog"]
    assert say(shipped, close, specificity=1) == ["a wolf"]
    [caption] = shipped.decode(vectors_of(shipped, [close]), evidence=[close], specificity=1)
    assert caption.score == pytest.approx(0.81)
    further = replace(seen(("dog", 0.5), ("wolf", 0.35)), score=0.9)
    assert say(shipped, further, specificity=1) == ["a dog"]
    assert say(shipped, further, specificity=2) == ["a wolf"]
    far = replace(seen(("dog", 0.8), ("wolf", 0.3)), score=0.9)
    assert say(shipped, far, specificity=5) == ["a dog"]


def test_specific_captions_say_sooner_what_is_there_too(shipped: GroundedDecoder) -> None:
    likely, doubtful = Thing("cat", 0.75, 0.5), Thing("cat", 0.4, 0.5)
    for thing, said in ((likely, "a dog and a cat"), (doubtful, "a dog")):
        evidence = replace(seen(("dog", 0.9)), score=0.9, beside=(thing,), around=())
        assert say(shipped, evidence) == ["a dog"]
        assert say(shipped, evidence, specificity=2) == [said]


def test_texts_of_its_language_are_rated(shipped: GroundedDecoder) -> None:
    evidence = [seen(("dog", 0.9)), seen(("car", 0.9), red=1.0)]
    rated = shipped.log_likelihoods(
        vectors_of(shipped, evidence), ["a dog", "a red car", "dog?", "an unheard thing"]
    )
    assert rated.shape == (2, 4)
    assert rated[0, 0] > rated[1, 0]
    assert rated[1, 1] > rated[0, 1]
    assert np.isnan(rated[:, 2:]).all()


def test_all_that_can_be_said_is_borne_out(shipped: GroundedDecoder) -> None:
    evidence = replace(
        seen(("car", 0.9)),
        beside=(Thing("dog", 0.9, 0.5), Thing("cat", 0.1, 0.5)),
        around=(Thing("road", 0.9, 0.5, relation="on"), Thing("boat", 0.2, 0.5, relation="near")),
    )
    found = shipped.descriptions(evidence, {"red": 0.9, "blue": 0.6, "green": 0.2, "spotted": 1.0})
    texts = [item.text for item in found]
    assert texts[0] == "a car"
    assert {"a red car", "a red and blue car", "a red car on a road"} <= {*texts}
    assert not any(word in text for text in texts for word in ("green", "cat", "boat", "spotted"))
    [item] = [item for item in found if item.text == "a red car on a road"]
    assert item.adjectives == ("red",)
    assert item.things == (("on", "road"),)
    people = replace(seen(("person", 0.9)), beside=(), around=())
    assert [item.text for item in shipped.descriptions(people, {"red": 0.9})] == [
        "a person",
        "a person in red",
    ]
