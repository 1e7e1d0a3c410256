from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from napari_patchioner.errors import Cancelled, FormatError, ModelError
from napari_patchioner.texts import TextList
from napari_patchioner.training import Split, read_corpus
from napari_patchioner.training.corpus import claim

from .conftest import CAPTIONS, embed


def test_every_text_is_learned_from_or_held_out(texts, tower, tmp_path):
    corpus = read_corpus([texts], tower, tmp_path, split=Split(share=0.25))
    learned, held_out = list(corpus.training.captions), list(corpus.held_out.captions)
    assert sorted(learned + held_out) == sorted(CAPTIONS)
    assert 20 < len(held_out) < 60
    np.testing.assert_allclose(corpus.training.embeddings[:3], embed(learned[:3]), rtol=1e-3)
    assert corpus.training.provenance == tower.provenance
    assert corpus.notes == ("160 of 160 texts kept",)


def test_a_text_is_held_out_whatever_stands_around_it(texts, tower, tmp_path):
    first = read_corpus([texts], tower, tmp_path / "a", split=Split(0.2, seed=1))
    some = TextList("some", tuple(reversed(CAPTIONS[::2])))
    second = read_corpus([some], tower, tmp_path / "b", split=Split(0.2, seed=1))
    assert set(second.held_out.captions) == set(first.held_out.captions) & set(some.texts)
    other = read_corpus([texts], tower, tmp_path / "c", split=Split(0.2, seed=2))
    assert set(other.held_out.captions) != set(first.held_out.captions)


def test_what_is_held_out_apart_is_never_learned_from(texts, tower, tmp_path):
    apart = TextList("apart", ("a RED dog  on the grass.", "A new one.", "12"))
    corpus = read_corpus([texts], tower, tmp_path, held_out=[apart])
    assert list(corpus.held_out.captions) == ["a RED dog on the grass.", "A new one."]
    assert "A red dog on the grass." not in corpus.training.captions
    assert len(corpus.training) == len(CAPTIONS) - 1


def test_interrupted_it_goes_on_and_ends_alike(texts, tower, tmp_path):
    whole = read_corpus([texts], tower, tmp_path / "whole")
    asked: list[int] = []

    def counted(some: Sequence[str]) -> np.ndarray:
        asked.append(len(some))
        return embed(some)

    def interrupt(fraction: float, _: str) -> None:
        if fraction > 0.11:
            raise Cancelled

    with pytest.raises(Cancelled):
        read_corpus([texts], replace(tower, embed=counted), tmp_path / "b", progress=interrupt)
    resumed = read_corpus([texts], replace(tower, embed=counted), tmp_path / "b")
    assert resumed.digest == whole.digest
    assert sum(asked) == len(CAPTIONS)
    assert read_corpus([texts], tower, tmp_path / "b").digest == whole.digest


def test_too_little_is_an_error_of_one_sentence(tower, tmp_path):
    with pytest.raises(FormatError, match="nothing is left"):
        read_corpus([TextList("few", ("A dog.",))], tower, tmp_path / "few")
    with pytest.raises(FormatError, match="nothing is left to learn from of 0 texts"):
        read_corpus([TextList("none", ("12", ""))], tower, tmp_path / "none")


def test_a_folder_is_claimed_for_one_thing(tmp_path):
    claim(tmp_path, {"tower": {"text": "a"}, "width": 8})
    claim(tmp_path, {"tower": {"text": "a"}, "width": 8})
    with pytest.raises(ModelError, match="with other width"):
        claim(tmp_path, {"tower": {"text": "a"}, "width": 9})
    (tmp_path / "request.json").write_text("[1")
    with pytest.raises(ModelError, match="damaged"):
        claim(tmp_path, {"width": 8})
