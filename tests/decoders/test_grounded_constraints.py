"""Constraints on the embedded model, with its own weights, which are part of the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_patchioner.decoders import Caption, CaptionOptions, Evidence, GroundedDecoder
from napari_patchioner.decoders.grounded import vocabulary
from napari_patchioner.decoders.grounded.vocabulary import ATTRIBUTES
from napari_patchioner.errors import ModelError

EMBEDDED = Path(vocabulary.__file__).parents[2] / "models" / "embedded"
SPOTS = "many small dark purple round spots on a pale pink background"
DOG = Evidence((("dog", 0.6), ("grass", 0.25), ("cat", 0.05)), {"brown": 0.9}, 0.8)
DOGS = Evidence((("dog", 0.6), ("cat", 0.3)), {"plural": 0.9}, 0.8)
VASE = Evidence((("bottle", 0.2), ("vase", 0.18)), {}, 0.3, "unsure")
CELLS = Evidence((), {"purple": 0.9}, 0.9, "appearance", SPOTS)
ALL = (DOG, DOGS, VASE, CELLS)


@pytest.fixture(scope="module")
def decoder() -> GroundedDecoder:
    return GroundedDecoder.open(EMBEDDED)


def captions(decoder: GroundedDecoder, *seen: Evidence, **constraints: object) -> list[Caption]:
    rows = np.zeros((len(seen), decoder.embeddings.shape[1] + len(ATTRIBUTES)), np.float32)
    for row, one in zip(rows, seen, strict=True):
        for name, weight in one.concepts:
            row[: -len(ATTRIBUTES)] += weight * decoder.embeddings[decoder.selection.index[name]]
        row[-len(ATTRIBUTES) :] = [one.attributes.get(name, 0.0) for name in ATTRIBUTES]
    return decoder.decode(rows, evidence=seen, alternatives=3, **constraints)


def texts(decoder: GroundedDecoder, *seen: Evidence, **constraints: object) -> list[str]:
    return [caption.text for caption in captions(decoder, *seen, **constraints)]


def test_a_label_is_the_name_only(decoder: GroundedDecoder) -> None:
    labels = texts(decoder, *ALL, length="label")
    assert labels == ["dog", "dog", "bottle?", "many small dark purple round spots"]


def test_a_phrase_is_what_is_said_anyway(decoder: GroundedDecoder) -> None:
    assert captions(decoder, *ALL, length="phrase") == captions(decoder, *ALL)


def test_a_sentence_says_no_more(decoder: GroundedDecoder) -> None:
    dog, dogs, vase, cells = texts(decoder, *ALL, length="sentence")
    phrase, *_ = texts(decoder, *ALL)
    assert dog == f"There is {phrase}."
    assert dogs.startswith("There are several dogs")
    assert vase == "This may be a bottle or a vase."
    assert cells == f"This shows {SPOTS}."


def test_what_may_not_be_named_gives_way_to_the_next(decoder: GroundedDecoder) -> None:
    [sure] = captions(decoder, DOG, never=["dog"])
    assert "grass" in sure.text
    assert sure.score == pytest.approx(0.25 / 0.4)
    assert sure.concepts == DOG.concepts
    [hedged] = captions(decoder, DOG, never=["dog", "grass"])
    assert hedged.text == "cat?"
    assert hedged.verdict == "unsure"


def test_a_description_does_without_an_adjective_but_not_without_its_noun(
    decoder: GroundedDecoder,
) -> None:
    [without] = captions(decoder, CELLS, never=["purple"])
    assert without.text == SPOTS.replace("purple ", "")
    assert texts(decoder, CELLS, never=["spots"]) == [SPOTS.replace("spots", "marks")]
    [nothing] = captions(decoder, CELLS, never=["spots", "marks"])
    assert (nothing.text, nothing.score) == ("", 0.0)
    assert nothing.problem is not None


def test_what_must_be_there_is_named_beside_what_was_seen(decoder: GroundedDecoder) -> None:
    for caption in captions(decoder, *ALL, must=["cat"]):
        assert "cat" in caption.text.split()
        assert caption.score == dict(caption.concepts).get("cat", 0.0)
        unseen = "did not recognise 'cat'" in (caption.problem or "")
        assert unseen == (caption.score == 0)
    [asked], [plain] = captions(decoder, DOG, must=["dog"]), captions(decoder, DOG)
    assert (asked.score, asked.problem) == (plain.score, None)
    [dog] = texts(decoder, DOG, must=["a beach"])
    assert "dog" in dog
    assert texts(decoder, VASE, must=["an umbrella"]) == ["an umbrella"]
    assert texts(decoder, VASE, must=["red bus"], length="label") == ["red bus"]


def test_a_word_that_cannot_be_said_there_is_left_out_and_reported(
    decoder: GroundedDecoder,
) -> None:
    for caption, plain in zip(
        captions(decoder, VASE, CELLS, must=["brown"]), captions(decoder, VASE, CELLS), strict=True
    ):
        assert caption.text == plain.text
        assert caption.problem is not None


@pytest.mark.parametrize(
    ("word", "message"), [("zebrafish", "does not know the word 'zebrafish'"), ("puppy", "'dog'")]
)
def test_an_unknown_word_is_an_error(decoder: GroundedDecoder, word: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        captions(decoder, DOG, must=[word])


@settings(max_examples=25, deadline=None)
@given(
    must=st.lists(
        st.sampled_from(["cat", "beach", "red", "red bus", "dogs", "person", "with"]), max_size=2
    ),
    never=st.lists(
        st.sampled_from(["dog", "a", "grass", "brown", "maybe", "there", "purple", "in the"]),
        max_size=3,
    ),
    length=st.sampled_from([None, "label", "phrase", "sentence"]),
    repetition=st.sampled_from([None, 1, 2]),
)
def test_constraints_are_met_or_the_caption_says_so(
    decoder: GroundedDecoder,
    must: list[str],
    never: list[str],
    length: str | None,
    repetition: int | None,
) -> None:
    asked = {"must": must, "never": never, "length": length, "repetition": repetition}
    constraints = CaptionOptions().changed(asked)
    together = captions(decoder, *ALL, **asked)
    for one, caption in zip(ALL, together, strict=True):
        for text in (caption.text, *caption.alternatives):
            assert not constraints.excludes(text)
            assert caption.problem is not None or constraints.satisfied_by(text)
        assert captions(decoder, one, **asked)[0].text == caption.text
