from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from published import decap

from napari_patchioner.decoders import (
    Caption,
    ClipTokenizer,
    DeCapDecoder,
    Evidence,
    Hypothesis,
    PrefixGPT,
    PrefixGPTConfig,
    QuoteDecoder,
    caption_of,
)
from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def tokenizer() -> ClipTokenizer:
    return ClipTokenizer()


def gpt(vocab_size: int = 50257, positions: int = 16) -> PrefixGPT:
    torch.manual_seed(0)
    model = PrefixGPT(PrefixGPTConfig(vocab_size, 8, 1, 2, positions, prefix_dim=8))
    for parameter in model.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter)
    return model


def saying(tokenizer: ClipTokenizer, text: str, vocab_size: int = 50257) -> PrefixGPT:
    """A decoder that says one text whatever it is given."""
    tokens = [*tokenizer.encode(text), tokenizer.end]
    width = 32
    assert len(tokens) <= width
    model = PrefixGPT(PrefixGPTConfig(vocab_size, width, 1, 1, width, prefix_dim=2))
    with torch.no_grad():
        # Only positions speak: nothing is added to them.
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.zero_()
        model.positions.weight.copy_(100 * torch.eye(width))
        for place, token in enumerate(tokens):
            model.tokens.weight[token, place] += 9.0
    return model


def vectors(n: int = 5, dim: int = 8) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, dim)).astype(np.float32)


def test_text_is_tidied_for_people(tokenizer: ClipTokenizer) -> None:
    model = saying(tokenizer, "a dog, a child's toy (red) .")
    (tidy,) = DeCapDecoder(model, tokenizer).decode(np.ones((1, 2), np.float32))
    (raw,) = DeCapDecoder(model, tokenizer, tidy=False).decode(np.ones((1, 2), np.float32))
    assert tidy.text == "a dog, a child's toy (red)"
    assert raw.text == "a dog , a child 's toy ( red )"


def test_one_strange_token_does_not_spoil_the_batch(tokenizer: ClipTokenizer) -> None:
    model = gpt()
    with torch.no_grad():
        model.tokens.weight[49408:] *= 50
    captions = DeCapDecoder(model, tokenizer).decode(vectors(), max_tokens=6)
    assert len(captions) == 5
    assert all(isinstance(caption, Caption) for caption in captions)


def test_alternatives_are_other_texts(tokenizer: ClipTokenizer) -> None:
    captions = DeCapDecoder(gpt(), tokenizer).decode(
        vectors(), max_tokens=6, beams=6, alternatives=3
    )
    for caption in captions:
        texts = [caption.text, *caption.alternatives]
        assert len(texts) == len(set(texts)) == 4
        assert 0 < caption.score < 1
        assert caption.score == pytest.approx(np.exp(caption.log_probability))
        assert caption.log_probability == pytest.approx(np.mean(caption.token_log_probabilities))


def test_greedy_search_has_no_alternatives(tokenizer: ClipTokenizer) -> None:
    captions = DeCapDecoder(gpt(), tokenizer).decode(vectors(), max_tokens=6, alternatives=3)
    assert [caption.alternatives for caption in captions] == [()] * 5


def test_captions_are_no_longer_than_the_model_knows(tokenizer: ClipTokenizer) -> None:
    captions = DeCapDecoder(gpt(positions=5), tokenizer).decode(vectors(), max_tokens=99)
    assert max(len(caption.token_log_probabilities) for caption in captions) <= 5


def test_no_regions_give_no_captions(tokenizer: ClipTokenizer) -> None:
    assert DeCapDecoder(gpt(), tokenizer).decode(vectors(0)) == []


def test_a_decoder_of_another_tokenizer_is_refused(tokenizer: ClipTokenizer) -> None:
    with pytest.raises(ModelError, match="knows 100 tokens"):
        DeCapDecoder(gpt(vocab_size=100), tokenizer)


def test_texts_that_read_the_same_are_told_once() -> None:
    def hypothesis(*tokens: int) -> Hypothesis:
        return Hypothesis(tokens, (-0.5,) * len(tokens), -0.5, ended=True)

    spoken = {1: "a dog", 2: "a dog", 3: "", 4: "a cat", 5: "a cow"}
    caption = caption_of(
        [hypothesis(1, 1), *(hypothesis(token) for token in (2, 3, 4, 5))],
        lambda tokens: spoken[tokens[0]],
        alternatives=1,
    )
    assert caption.text == "a dog"
    assert caption.alternatives == ("a cat",)
    assert caption.token_log_probabilities == (-0.5, -0.5)
    assert caption.score == pytest.approx(np.exp(-0.5))


def test_quoting_gives_the_text_of_the_evidence() -> None:
    near = (("a dog", 0.9), ("a cat", 0.8), ("a dog", 0.7), ("a cow", 0.6))
    seen = Evidence(concepts=near, score=0.9, text="a dog")
    (caption,) = QuoteDecoder().decode(np.ones((1, 3), np.float32), alternatives=2, evidence=[seen])
    assert (caption.text, caption.score) == ("a dog", 0.9)
    assert caption.alternatives == ("a cat", "a cow")


@pytest.mark.parametrize("evidence", [None, [], [Evidence()]])
def test_nothing_to_quote_is_an_error(evidence: list[Evidence] | None) -> None:
    with pytest.raises(ModelError, match="nothing to quote"):
        QuoteDecoder().decode(np.ones((1, 3), np.float32), evidence=evidence)


def test_a_published_decoder_opens_and_is_saved_with_what_it_was_trained_behind(
    tmp_path: Path,
) -> None:
    files = decap.write(tmp_path, dim=8, layers=1)
    decoder = DeCapDecoder.open(files)
    decoder.model.save(tmp_path / "decoder.safetensors", projection="abc")
    again = DeCapDecoder.open(files | {"weights": tmp_path / "decoder.safetensors"}, tidy=False)
    assert again.provenance["projection"] == "abc"
    assert not again.tidy
    before, after = (one.decode(vectors(), max_tokens=4) for one in (decoder, again))
    assert [c.log_probability for c in before] == [c.log_probability for c in after]


@pytest.mark.parametrize("role", ["weights", "merges"])
def test_a_missing_file_is_named(tmp_path: Path, role: str) -> None:
    files = decap.write(tmp_path, dim=8, layers=1)
    files[role].unlink()
    with pytest.raises(ModelError, match=files[role].name):
        DeCapDecoder.open(files)


def test_quoting_needs_no_files() -> None:
    seen = Evidence(text="a dog")
    (caption,) = QuoteDecoder.open({}).decode(np.ones((1, 3), np.float32), evidence=[seen])
    assert caption.text == "a dog"


def test_texts_are_rated_as_they_are_spelt(tokenizer: ClipTokenizer) -> None:
    model, some = gpt(), vectors(2)
    rated = DeCapDecoder(model, tokenizer).log_likelihoods(some, ["a dog.", " . ", "a cat sits"])
    assert rated.shape == (2, 3)
    assert np.isnan(rated[:, 1]).all()
    tokens = torch.tensor([[tokenizer.start, *tokenizer.encode("a dog"), tokenizer.end]])
    with torch.inference_mode():
        chances = model(torch.from_numpy(some), tokens.repeat(2, 1))[:, :-1].log_softmax(-1)
    expected = chances.gather(2, tokens.repeat(2, 1)[..., None]).sum((1, 2))
    np.testing.assert_allclose(rated[:, 0], expected, rtol=1e-5)


def test_specificity_is_between_off_and_the_most(tokenizer: ClipTokenizer) -> None:
    decoder, some = DeCapDecoder(gpt(), tokenizer), vectors()
    plain = decoder.decode(some, beams=3)
    assert decoder.decode(some, beams=3, specificity=0) == plain
    changed = decoder.decode(some, beams=3, specificity=2)
    assert [c.text for c in changed] != [c.text for c in plain]
    alone = [decoder.decode(row[None], beams=3, specificity=2)[0].text for row in some]
    assert alone == [caption.text for caption in changed]
    with pytest.raises(ModelError, match="Specificity goes from 0"):
        decoder.decode(some, specificity=-1)
