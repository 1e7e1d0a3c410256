"""CaptionOptions in the search: checked with models that would write anything."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from published import clipcap, decap, viecap
from torch import Tensor

from napari_patchioner.decoders import (
    Caption,
    CaptionOptions,
    ClipCapDecoder,
    ClipTokenizer,
    DeCapDecoder,
    Evidence,
    PrefixGPT,
    PrefixGPTConfig,
    QuoteDecoder,
    ViECapDecoder,
    caption_of,
    generate,
)
from napari_patchioner.decoders.search import TokenText, caption_rows
from napari_patchioner.decoders.search.automaton import Finder, Spelling
from napari_patchioner.decoders.search.constraints import MAX_TOKENS, ConstraintBias
from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

END = 0
PIECES = [b"", b" cat", b" ca", b"t", b"hedral", b" a", b"s", b" hot", b" dog", b".", b"-", b" "]
WORDS = ["cat", "cats", "dog", "hot dog", "a", "cathedral", "hot", "ca-t", "cat s", "t"]
DIM = 24


def text_of(tokens: Sequence[int]) -> str:
    return " ".join(b"".join(PIECES[token] for token in tokens).decode().split())


def encode(phrase: str) -> list[int]:
    """Spell with the longest pieces that fit."""
    rest, tokens = f" {phrase}".encode(), []
    while rest:
        token = max(
            (token for token, piece in enumerate(PIECES) if piece and rest.startswith(piece)),
            key=lambda token: len(PIECES[token]),
        )
        tokens.append(token)
        rest = rest[len(PIECES[token]) :]
    return tokens


TEXT = TokenText(Spelling(PIECES), (END,), encode, text_of)


def tiny_gpt(vocab_size: int = len(PIECES), seed: int = 0) -> PrefixGPT:
    torch.manual_seed(seed)
    config = PrefixGPTConfig(vocab_size, width=8, layers=1, heads=2, positions=20, prefix_dim=5)
    model = PrefixGPT(config)
    for parameter in model.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter)
    return model.eval()


def prefixes(rows: int, seed: int = 1) -> Tensor:
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed))


def write(
    model: PrefixGPT, prefix: Tensor, options: CaptionOptions, max_tokens: int = 9, beams: int = 3
) -> list[Caption]:
    return caption_rows(model, prefix, TEXT, options.changed({"beams": beams}), max_tokens)


class Bigrams:
    """A language of a few sentences, in which each word knows the next."""

    def __init__(self, *sentences: str) -> None:
        self.words = ["", *dict.fromkeys(word for one in sentences for word in one.split())]
        self.vocab_size = len(self.words)
        counts = torch.full((self.vocab_size, self.vocab_size), 1e-3)
        for one in sentences:
            tokens = [0, *(self.words.index(word) for word in one.split()), 0]
            for before, after in itertools.pairwise(tokens):
                counts[before, after] += 1
        self.table = counts.log()

    def start(self, prefix: Tensor) -> tuple[Tensor, Tensor]:
        return self.table[torch.zeros(len(prefix), dtype=torch.long)], prefix

    def step(self, tokens: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        return self.table[tokens], cache

    def reorder(self, cache: Tensor, rows: Tensor) -> Tensor:
        return cache[rows]

    def text(self) -> TokenText:
        return TokenText(
            Spelling([b"", *(f" {word}".encode() for word in self.words[1:])]),
            (0,),
            lambda phrase: [self.words.index(word) for word in phrase.split()],
            lambda tokens: " ".join(self.words[token] for token in tokens if token),
        )

    def say(self, **changes: object) -> Caption:
        options = CaptionOptions().changed(changes)
        (caption,) = caption_rows(self, torch.zeros(1, 1), self.text(), options, 20)
        return caption


SCENES = Bigrams(
    *["a brown dog sits on the couch"] * 6,
    *["a brown dog holds one red frisbee", "a cat sits on the couch", "one red ball", "a dog"],
)

# What is a word, and what is only part of one.


@pytest.mark.parametrize(
    ("phrase", "text", "held"),
    [
        ("cat", "A cat.", True),
        ("cat", "two cats", False),
        ("cat", "a cathedral", False),
        ("cat", "to concatenate", False),
        ("cat", "the CAT's bed", True),
        ("  Cat ", "a cat-like thing", True),
        ("hot dog", "a hot  dog", True),
        ("hot dog", "a hot brown dog", False),
        ("t-shirt", "a t - shirt", True),
        ("t-shirt", "a t shirt", False),
        ("café", "in a Café", True),
    ],
)
def test_words_are_found_as_words(phrase: str, text: str, held: bool) -> None:
    assert CaptionOptions(must_exclude=[phrase]).excludes(text) is held
    assert (CaptionOptions(must_include=[phrase]).missing(text) == ()) is held


def test_plurals_count_where_asked() -> None:
    assert not CaptionOptions(must_exclude=["fire truck"]).excludes("two fire trucks")
    assert CaptionOptions(must_exclude=["fire truck"], plurals=True).excludes("two fire trucks")
    assert CaptionOptions(must_exclude=["woman"], plurals=True).excludes("two women")
    assert CaptionOptions(must_include=["knife"], plurals=True).satisfied_by("knives on a table")


def test_a_lone_string_is_one_word_and_not_its_letters() -> None:
    assert CaptionOptions(must_include="hot dog").must_include == ("hot dog",)


@pytest.mark.parametrize(
    "senseless",
    [
        {"length": "essay"},
        {"temperature": 0.0},
        {"temperature": float("nan")},
        {"repetition": 0},
        {"must": ["..."]},
        {"never": [""]},
        {"must": ["a hot dog"], "never": ["dog"]},
        {"must": ["one two three four five six seven eight nine"]},
        {"pixel_size": "0.65"},
        {"pixel_size": "0 um"},
        {"pixel_size": "3 pixel"},
    ],
)
def test_senseless_options_are_refused(senseless: dict[str, object]) -> None:
    with pytest.raises(ModelError):
        CaptionOptions().changed(senseless)


letters = [b"", b" ", b"a", b"b", b"ab", b" a", b"-", b"'", b".", b"B", b"\n ", b"c"]


@settings(max_examples=60, deadline=None)
@given(
    phrases=st.lists(st.text("ab -'", min_size=1, max_size=6), min_size=1, max_size=3),
    tokens=st.lists(
        st.lists(st.integers(0, len(letters) - 1), min_size=6, max_size=6), min_size=1, max_size=9
    ),
)
def test_tokens_hold_what_their_text_holds(phrases: list[str], tokens: list[list[int]]) -> None:
    spelt = [phrase for phrase in phrases if any(letter in "ab" for letter in phrase)]
    constraints = CaptionOptions(must_exclude=spelt or ["a"])
    finder = Finder(constraints.must_exclude, Spelling(letters))
    states = finder.run(np.array(tokens))
    for row, state in zip(tokens, states, strict=True):
        text = b"".join(letters[token] for token in row).decode()
        assert constraints.excludes(text) == (state == finder.matched or bool(finder.open[state]))


# The laws, for language models that mean nothing.


def possible(must: list[str], never: list[str], **others: object) -> CaptionOptions:
    """CaptionOptions that do not contradict themselves: what may not be there has the last word."""
    forbidding = CaptionOptions(must_exclude=never, **others)  # type: ignore[arg-type]
    wanted = [word for word in must if not forbidding.excludes(word)]
    return CaptionOptions(must_include=wanted, must_exclude=never, **others)  # type: ignore[arg-type]


all_kinds = st.builds(
    possible,
    must=st.lists(st.sampled_from(WORDS), max_size=2, unique=True),
    never=st.lists(st.sampled_from(WORDS), max_size=3, unique=True),
    length=st.sampled_from([None, "label", "phrase", "sentence"]),
    repetition=st.sampled_from([None, 1, 2, 3]),
    plurals=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(constraints=all_kinds, seed=st.integers(0, 50), beams=st.integers(1, 4))
def test_unwanted_words_never_appear_and_wanted_ones_where_nothing_is_said(
    constraints: CaptionOptions, seed: int, beams: int
) -> None:
    for caption in write(tiny_gpt(seed=seed), prefixes(3, seed), constraints, beams=beams):
        for text in (caption.text, *caption.alternatives):
            assert not constraints.excludes(text)
            if caption.problem is None:
                assert constraints.satisfied_by(text)
        texts = [caption.text, *caption.alternatives]
        assert len({text.casefold() for text in texts}) == len(texts)


@settings(max_examples=25, deadline=None)
@given(constraints=all_kinds, seed=st.integers(0, 50))
def test_a_region_in_company_is_as_alone(constraints: CaptionOptions, seed: int) -> None:
    model, prefix = tiny_gpt(seed=seed), prefixes(4, seed)
    together = write(model, prefix, constraints)
    for row, caption in enumerate(together):
        (alone,) = write(model, prefix[row : row + 1], constraints)
        assert (alone.text, alone.problem) == (caption.text, caption.problem)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 200), beams=st.sampled_from([1, 2, 4]))
def test_a_constraint_that_changes_nothing_changes_nothing(seed: int, beams: int) -> None:
    model, prefix = tiny_gpt(seed=seed), prefixes(3, seed)
    plain = generate(model, prefix, end=END, max_tokens=9, beams=beams)
    steering = ConstraintBias(
        CaptionOptions(must_exclude=["zebra"], repetition=9), TEXT.spelling, (END,), 9
    )
    steered = generate(
        model, prefix, end=END, max_tokens=9, beams=beams, constrain=steering, strict=True
    )
    assert steered == plain


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 200), length=st.sampled_from([1, 2, 3]), beams=st.sampled_from([1, 3]))
def test_no_passage_is_repeated(seed: int, length: int, beams: int) -> None:
    steering = ConstraintBias(CaptionOptions(repetition=length), TEXT.spelling, (END,), 12)
    for found in generate(
        tiny_gpt(seed=seed),
        prefixes(3, seed),
        end=END,
        max_tokens=12,
        beams=beams,
        constrain=steering,
        strict=True,
    ):
        for one in found:
            passages = list(zip(*(one.tokens[i:] for i in range(length)), strict=False))
            assert len(passages) == len(set(passages))


def sentences(constraints: CaptionOptions, longest: int) -> list[tuple[int, ...]]:
    """All token sequences that satisfy constraints: whole ones, or cut ones if none is whole."""
    whole, cut = [], []
    for length in range(longest + 1):
        for tokens in itertools.product(range(1, len(PIECES)), repeat=length):
            if constraints.satisfied_by(text_of(tokens)):
                whole += [(*tokens, END)] * (length < longest)
                cut += [tokens] * (length == longest)
    return whole or cut


def scores(
    model: PrefixGPT, prefix: Tensor, written: list[tuple[int, ...]]
) -> dict[tuple[int, ...], float]:
    found = {}
    for length, group in itertools.groupby(sorted(written, key=len), len):
        rows = list(group)
        tokens = torch.tensor(rows)
        with torch.inference_mode():
            logits = model(prefix.expand(len(rows), -1), tokens)[:, :-1].log_softmax(-1)
        sums = logits.gather(2, tokens[..., None]).sum((1, 2)) / length**0.7
        found.update(zip(rows, sums.tolist(), strict=True))
    return found


@pytest.mark.parametrize("must", [["dog"], ["hot dog"], ["dog", "cat"]])
def test_enough_beams_find_the_best_caption_with_the_words(must: list[str]) -> None:
    longest, constraints = 4, CaptionOptions(must_include=must)
    written = sentences(constraints, longest)
    for seed in range(4):
        model, prefix = tiny_gpt(seed=seed), prefixes(1, seed)
        best = scores(model, prefix, written)
        (caption,) = write(model, prefix, constraints, max_tokens=longest, beams=700)
        assert caption.problem is None, seed
        assert caption.text == text_of(max(best, key=lambda one: best[one])), seed


# What people see.


@pytest.mark.parametrize("beams", [1, 4])
def test_what_cannot_fit_is_left_out_and_reported(beams: int) -> None:
    model, prefix = tiny_gpt(), prefixes(2)
    constraints = CaptionOptions(must_include=["hot dog", "cat", "cathedral"])
    plain = generate(model, prefix, end=END, max_tokens=3, beams=beams)
    captions = write(model, prefix, constraints, max_tokens=3, beams=beams)
    for caption, found in zip(captions, plain, strict=True):
        assert caption.problem is not None
        assert "'hot dog', 'cat' and 'cathedral'" in caption.problem
        assert caption.text == caption_of(found, text_of).text
    assert all(one.problem is None for one in write(model, prefix, constraints, max_tokens=9))


def test_lengths_are_a_name_a_phrase_and_a_sentence() -> None:
    assert SCENES.say(length="label").text in ("a brown dog", "a dog")
    assert SCENES.say(length="phrase").text == "a brown dog sits on the couch"
    assert SCENES.say(length="sentence").text == "A brown dog sits on the couch."


@pytest.mark.parametrize("length", ["label", "phrase"])
@pytest.mark.parametrize("beams", [1, 4])
def test_short_captions_are_whole(length: str, beams: int) -> None:
    steering = ConstraintBias(CaptionOptions(length=length), TEXT.spelling, (END,), 20)  # type: ignore[arg-type]
    assert steering.max_tokens == MAX_TOKENS[length]
    found = generate(
        tiny_gpt(),
        prefixes(5),
        end=END,
        max_tokens=steering.max_tokens,
        beams=beams,
        constrain=steering,
        strict=True,
    )
    assert all(1 < len(one.tokens) <= MAX_TOKENS[length] for row in found for one in row)
    assert all(one.ended for row in found for one in row)


def test_wanted_words_come_where_they_fit() -> None:
    caption = SCENES.say(must=["frisbee"])
    assert caption.text == "a brown dog holds one red frisbee"
    assert caption.problem is None


@pytest.mark.parametrize("beams", [1, 4])
def test_several_words_are_wanted_in_any_order(beams: int) -> None:
    for must in (["ball", "the couch", "cat"], ["cat", "the couch", "ball"]):
        caption = SCENES.say(must=must, beams=beams)
        assert caption.problem is None
        assert {"ball", "cat"} <= set(caption.text.split())
        assert "the couch" in caption.text


@pytest.mark.parametrize("beams", [1, 4])
def test_another_word_takes_the_place_of_an_unwanted_one(beams: int) -> None:
    assert SCENES.say(beams=beams, repetition=9).text == "a brown dog sits on the couch"
    caption = SCENES.say(beams=beams, never=["dog", "brown"])
    assert caption.text == "a cat sits on the couch"
    assert caption.problem is None


def test_a_forbidden_word_may_begin_a_longer_one() -> None:
    class Cathedral(Bigrams):
        def __init__(self) -> None:
            self.vocab_size = len(PIECES)
            self.table = torch.full((len(PIECES), len(PIECES)), -9.0)
            for before, after in ((0, 5), (5, 1), (1, 4), (4, 0)):
                self.table[before, after] = 9.0

    for beams in (1, 3):
        (caption,) = write(
            Cathedral(), prefixes(1), CaptionOptions(must_exclude=["cat"]), beams=beams
        )  # type: ignore[arg-type]
        assert caption.text == "a cathedral"


# The decoders.


@pytest.fixture(scope="module", params=["decap", "viecap", "clipcap"])
def decoder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> DeCapDecoder | ViECapDecoder | ClipCapDecoder:
    folder: Path = tmp_path_factory.mktemp(request.param)
    if request.param == "decap":
        return DeCapDecoder.open(decap.write(folder, dim=DIM))
    if request.param == "viecap":
        return ViECapDecoder.open(viecap.write(folder, dim=DIM))
    return ClipCapDecoder.open(clipcap.write(folder, dim=DIM))


def vectors(n: int) -> np.ndarray:
    rows = np.random.default_rng(0).normal(size=(n, DIM)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize("beams", [1, 3])
def test_no_constraint_is_no_change(decoder: DeCapDecoder, beams: int) -> None:
    options = {"max_tokens": 8, "beams": beams, "alternatives": 2}
    plain = decoder.decode(vectors(3), **options)
    assert decoder.decode(vectors(3), None, **options) == plain
    assert decoder.decode(vectors(3), CaptionOptions(temperature=0.1), **options) == plain


@pytest.mark.parametrize("beams", [1, 3])
def test_decoders_leave_out_and_put_in(decoder: DeCapDecoder, beams: int) -> None:
    options = {"max_tokens": 10, "beams": beams, "alternatives": 2}
    texts = [caption.text for caption in decoder.decode(vectors(3), **options)]
    words = {word.strip(".,!?'\"").lower() for text in texts for word in text.split()}
    never = sorted(word for word in words if word.isalnum() and word.isascii())[:5]
    constraints = CaptionOptions(must_include=["dog", "red bus"], must_exclude=never)
    assert any(constraints.excludes(text) for text in texts) == bool(never)
    for caption in decoder.decode(vectors(3), constraints, **options):
        assert not constraints.excludes(caption.text)
        assert caption.problem is None
        assert all(constraints.satisfied_by(text) for text in (caption.text, *caption.alternatives))


def test_names_that_may_not_be_written_are_not_prompted(tmp_path: Path) -> None:
    decoder = ViECapDecoder.open(viecap.write(tmp_path, dim=DIM))
    seen = [Evidence(concepts=(("dog", 0.6), ("park", 0.4)))]
    (caption,) = decoder.decode(vectors(1), evidence=seen, max_tokens=6, never=["dog"])
    without = [Evidence(concepts=(("park", 0.4),))]
    (other,) = decoder.decode(vectors(1), evidence=without, max_tokens=6, never=["dog"])
    assert caption.text == other.text


def test_every_piece_of_clip_spells_what_it_decodes_to() -> None:
    tokenizer = ClipTokenizer()
    pieces = tokenizer.pieces()
    assert len(pieces) == tokenizer.size
    for token in range(0, tokenizer.size - 2, 97):
        assert pieces[token].decode("utf-8", errors="replace") == tokenizer.decode([token])
    assert pieces[tokenizer.start] == pieces[tokenizer.end] == b""


# Quotes.

NEAR = Evidence(
    concepts=(("a cat", 0.9), ("two Dogs", 0.8), ("a dog", 0.7)), score=0.9, text="a cat"
)


def quote(**constraints: object) -> Caption:
    (caption,) = QuoteDecoder().decode(
        np.zeros((1, 2), np.float32), evidence=[NEAR], alternatives=2, **constraints
    )
    return caption


def test_the_nearest_sentence_that_will_do_is_quoted() -> None:
    assert quote(never=["cat"]).text == "two Dogs"
    assert quote(never=["cat"]).alternatives == ("a dog",)
    assert quote(must=["dog"]).text == "a dog"
    assert quote(must=["dog"]).score == pytest.approx(0.7)
    assert quote(must=["dog"], plurals=True).text == "two Dogs"
    with pytest.raises(ModelError, match="No sentence"):
        quote(must=["zebra"])
