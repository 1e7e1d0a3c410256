from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from published import language as published

from napari_patchioner.errors import ModelError
from napari_patchioner.evaluation.baselines import Gpt2, Guide, Magic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TOKENS = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published.write(tmp_path_factory.mktemp("gpt2"))["gpt2"]


@pytest.fixture(scope="module")
def gpt2(folder: Path) -> Gpt2:
    return Gpt2.open(folder)


class Wishes:
    """Finds a text the better the more often it says a word; keeps what it was asked."""

    def __init__(self, word: str) -> None:
        self.word = word
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        counts = np.array([text.count(self.word) for text in texts], np.float32)
        return np.stack([counts + 0.1, np.ones(len(texts), np.float32)], axis=1)


def guide(word: str = "a") -> Guide:
    return Guide(np.array([3.0, 0.0], np.float32), Wishes(word))


def whole(gpt2: Gpt2, tokens: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the next token and all states, without a cache."""
    with torch.inference_mode():
        reading = gpt2.read(torch.tensor([tokens]))
    return reading.logits[0], reading.states[0]


def searched(gpt2: Gpt2, prompt: str, words: str, k: int, alpha: float, beta: float) -> list[int]:
    """MAGIC search as its formula reads, one candidate at a time."""
    tokens = [gpt2.start, *gpt2.tokenizer.encode(prompt)]
    begun, fits = len(tokens), guide(words)
    while len(tokens) - begun < TOKENS:
        logits, before = whole(gpt2, tokens)
        top = logits.topk(k).indices.tolist()
        shares = 100 * fits.cosines([gpt2.tokenizer.decode([*tokens[begun:], v]) for v in top])
        scores = []
        for token, share in zip(top, shares.softmax(0), strict=True):
            state = whole(gpt2, [*tokens, token])[1][-1]
            repeats = max(float(torch.cosine_similarity(state, old, dim=0)) for old in before)
            sure = float(logits.softmax(0)[token])
            scores.append((1 - alpha) * sure - alpha * repeats + beta * float(share))
        tokens.append(top[int(np.argmax(scores))])
        if tokens[-1] == gpt2.end:
            break
    return tokens[begun:]


@pytest.mark.parametrize("prompt", ["", "Image of a"])
@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 0.0), (0.6, 0.0), (0.1, 2.0), (0.5, 0.3)])
def test_the_search_is_the_formula(gpt2, prompt, alpha, beta):
    written = Magic(gpt2, k=7, alpha=alpha, beta=beta, prompt=prompt)
    caption = written.caption(guide("h"), max_tokens=TOKENS)
    expected = searched(gpt2, prompt, "h", 7, alpha, beta)
    assert caption.text == " ".join(gpt2.text(expected).split())
    assert len(caption.token_log_probabilities) == len(expected)


def test_without_penalty_and_picture_it_is_greedy(gpt2):
    tokens = [gpt2.start]
    likely = []
    for _ in range(TOKENS):
        logits = whole(gpt2, tokens)[0].log_softmax(0)
        tokens.append(int(logits.argmax()))
        likely.append(float(logits.max()))
    caption = Magic(gpt2, alpha=0, beta=0).caption(guide(), max_tokens=TOKENS)
    assert caption.text == " ".join(gpt2.text(tokens[1:]).split())
    np.testing.assert_allclose(caption.token_log_probabilities, likely, atol=1e-5)
    assert caption.score == pytest.approx(np.exp(np.mean(likely)))


def test_one_candidate_is_greedy_whatever_the_picture(gpt2):
    greedy = Magic(gpt2, alpha=0, beta=0).caption(guide(), max_tokens=TOKENS)
    single = Magic(gpt2, k=1).caption(guide("dog"), max_tokens=TOKENS)
    assert single.text == greedy.text
    assert single.log_probability == pytest.approx(greedy.log_probability, abs=1e-5)


def test_the_picture_brings_its_word_in(gpt2):
    alone = Magic(gpt2, k=gpt2.tokenizer.size, beta=0).caption(guide(" dog"), max_tokens=TOKENS)
    guided = Magic(gpt2, k=gpt2.tokenizer.size).caption(guide(" dog"), max_tokens=TOKENS)
    assert "dog" not in alone.text
    assert "dog" in guided.text
    assert guided == Magic(gpt2, k=999).caption(guide(" dog"), max_tokens=TOKENS)


def test_the_end_is_an_end(gpt2):
    caption = Magic(gpt2, k=999, beta=9).caption(guide("<|endoftext|>"), max_tokens=TOKENS)
    assert (caption.text, len(caption.token_log_probabilities)) == ("", 1)


def test_the_prompt_is_neither_shown_nor_told(gpt2):
    wishes = Wishes("dog")
    caption = Magic(gpt2, prompt="The image").caption(
        Guide(np.array([1.0, 0.0], np.float32), wishes), max_tokens=3
    )
    assert wishes.asked
    assert not any("The image" in text for text in [caption.text, *wishes.asked])
    assert len(set(wishes.asked)) == len(wishes.asked), "a text is embedded once"


@pytest.mark.parametrize("options", [{"k": 0}, {"alpha": 1.5}])
def test_senseless_settings_are_refused(gpt2, options):
    with pytest.raises(ModelError, match="MAGIC needs"):
        Magic(gpt2, **options)


@pytest.mark.parametrize("tokens", [0, 64])
def test_no_room_is_told(gpt2, tokens):
    with pytest.raises(ModelError, match=f"can write 1 to 63 tokens, not {tokens}"):
        Magic(gpt2).caption(guide(), max_tokens=tokens)


def test_gpt2_continues_from_its_cache(gpt2):
    tokens = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
    with torch.inference_mode():
        at_once = gpt2.read(tokens)
        first = gpt2.read(tokens[:, :2])
        rest = gpt2.read(tokens[:, 2:], first.past)
    torch.testing.assert_close(rest.logits, at_once.logits)
    torch.testing.assert_close(rest.states, at_once.states[:, 2:])
    torch.testing.assert_close(rest.past[1][0], at_once.past[1][0])
    assert first.past[0][0].shape[2] == 2, "reading on leaves the cache as it was"


def test_both_published_forms_open(tmp_path, gpt2):
    captions = Gpt2.open(published.write(tmp_path / "captions", captions=True)["gpt2"])
    assert (gpt2.start, captions.start) == (gpt2.end, captions.end + 1)
    logits, _ = whole(captions, [captions.start])
    assert len(logits) == captions.tokenizer.size, "nothing that cannot be spelt"
    assert Magic(captions).caption(guide(), max_tokens=3).text


@pytest.mark.parametrize(
    "name", ["config.json", "vocab.json", "model.safetensors", "added_tokens.json"]
)
def test_a_damaged_folder_is_told(tmp_path, name):
    folder = published.write(tmp_path / "gpt2")["gpt2"]
    (folder / name).write_text("[", encoding="utf-8")
    with pytest.raises(ModelError, match=r"again\.$"):
        Gpt2.open(folder)


def test_another_model_is_no_gpt2(tmp_path):
    from published import meacap

    with pytest.raises(ModelError, match="is not a GPT-2"):
        Gpt2.open(meacap.write_parser(tmp_path / "t5"))
