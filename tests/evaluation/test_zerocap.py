from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from published import language as published

from napari_patchioner.errors import Cancelled, ModelError
from napari_patchioner.evaluation.baselines import Gpt2, Guide, ZeroCap, ZeroCapSettings
from napari_patchioner.evaluation.baselines.zerocap import move_cache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

TOKENS = 4
PLAIN = ZeroCapSettings(iterations=0, end_factor=1, first_end_factor=1, beams=1)
EAGER = ZeroCapSettings(iterations=25, step=2.0, fluency=0.0, candidates=999, beams=1)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Gpt2:
    return Gpt2.open(published.write(tmp_path_factory.mktemp("gpt2"))["gpt2"])


def wishing(word: str) -> Guide:
    """A picture that fits a text the better the more often it says a word."""

    def embed(texts: Sequence[str]) -> np.ndarray:
        counts = np.array([text.count(word) for text in texts], np.float32)
        return np.stack([counts + 0.1, np.ones(len(texts), np.float32)], axis=1)

    return Guide(np.array([1.0, 0.0], np.float32), embed)


def prepared(gpt2: Gpt2, texts: Sequence[str]) -> tuple[tuple, Tensor, Tensor]:
    """A cache, what was said and GPT-2's own log-probabilities, for texts of one length."""
    tokens = torch.cat([gpt2.begin(text, 1) for text in texts])
    with torch.no_grad():
        past = gpt2.read(tokens[:, :-1]).past
        alone = gpt2.read(tokens[:, -1:], past).logits.log_softmax(-1)
    return past, tokens, alone


def test_without_steps_it_is_greedy(gpt2):
    tokens = gpt2.begin(PLAIN.prompt, TOKENS)
    likely = []
    for _ in range(TOKENS):
        with torch.inference_mode():
            logits = gpt2.read(tokens).logits.log_softmax(-1)
        likely.append(float(logits.max()))
        tokens = torch.cat([tokens, logits.argmax(1)[:, None]], dim=1)
        if tokens[0, -1] == gpt2.tokenizer.stop:
            break
    caption = ZeroCap(gpt2, PLAIN).caption(wishing("dog"), max_tokens=TOKENS)
    written = tokens[0, -len(likely) :].tolist()
    assert caption.text == " ".join(gpt2.text(written).split())
    np.testing.assert_allclose(caption.token_log_probabilities, likely, atol=1e-5)


@pytest.mark.parametrize("candidates", [20, 999])
@pytest.mark.parametrize("fluency", [0.0, 0.2, 2.0])
def test_steps_lower_the_loss(gpt2, candidates, fluency):
    settings = ZeroCapSettings(iterations=6, step=0.02, candidates=candidates, fluency=fluency)
    past, tokens, alone = prepared(gpt2, ["Image of a", "Image of t"])
    _, losses = move_cache(gpt2, wishing("h"), settings, past, tokens, alone)
    assert len(losses) == 6
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]


def test_no_step_moves_nothing(gpt2):
    past, tokens, alone = prepared(gpt2, ["Image of a"])
    moved, losses = move_cache(gpt2, wishing("h"), PLAIN, past, tokens, alone)
    assert losses == []
    torch.testing.assert_close(moved, past, rtol=0, atol=0)


def test_a_step_against_a_normed_gradient_has_its_length(gpt2):
    settings = ZeroCapSettings(iterations=1, step=0.3, gradient_power=1.0)
    past, tokens, alone = prepared(gpt2, ["Image of a", "Image of t"])
    moved, _ = move_cache(gpt2, wishing("h"), settings, past, tokens, alone)
    for before, after in zip(past, moved, strict=True):
        for old, new in zip(before, after, strict=True):
            lengths = (new - old).flatten(1).norm(dim=1)
            torch.testing.assert_close(lengths, torch.full((2,), 0.3), rtol=1e-3, atol=0)


def test_the_loss_is_that_of_the_paper(gpt2):
    settings = ZeroCapSettings(iterations=1, candidates=30)
    past, tokens, alone = prepared(gpt2, ["Image of a"])
    _, (loss,) = move_cache(gpt2, wishing("h"), settings, past, tokens, alone)
    top = alone[0].topk(30).indices
    texts = ["Image of a" + gpt2.tokenizer.decode([token]) for token in top.tolist()]
    wanted = (wishing("h").cosines(texts) / 0.01).softmax(0)
    # nothing has moved yet, so the distance to GPT-2's own distribution is zero
    assert loss == pytest.approx(float(-(wanted * alone[0, top]).sum()), rel=1e-5)


def test_beams_are_guided_apart(gpt2):
    texts = ["Image of a", "Image of t"]
    settings = ZeroCapSettings(candidates=40)
    together = ZeroCap(gpt2, settings).logits(
        torch.cat([gpt2.begin(text, 1) for text in texts]), wishing("h"), first=True
    )
    for row, text in enumerate(texts):
        alone = ZeroCap(gpt2, settings).logits(gpt2.begin(text, 1), wishing("h"), first=True)
        torch.testing.assert_close(together[row], alone[0], rtol=1e-3, atol=1e-3)


def test_the_picture_brings_its_word_in(gpt2):
    writers = {"alone": ZeroCap(gpt2, PLAIN), "guided": ZeroCap(gpt2, EAGER)}
    texts = {
        name: writer.caption(wishing(" dog"), max_tokens=TOKENS).text
        for name, writer in writers.items()
    }
    assert "dog" not in texts["alone"]
    assert "dog" in texts["guided"]


def test_the_best_fitting_beam_is_told_and_the_same_each_time(gpt2):
    writer = ZeroCap(gpt2, ZeroCapSettings(candidates=40, iterations=2))
    caption = writer.caption(wishing("a"), max_tokens=TOKENS)
    texts = [caption.text, *caption.alternatives]
    assert len(texts) > 1
    assert int(wishing("a").cosines(texts).argmax()) == 0
    assert writer.caption(wishing("a"), max_tokens=TOKENS) == caption


def test_a_full_stop_can_be_held_back_or_favoured(gpt2):
    stop = gpt2.tokenizer.stop
    tokens = gpt2.begin("Image of a", 1)

    def likely(first: bool, **changes: float | tuple[int, ...]) -> float:
        settings = replace(PLAIN, **changes)
        logits = ZeroCap(gpt2, settings).logits(tokens, wishing("h"), first=first)
        return float(logits.log_softmax(-1)[0, stop])

    plain = likely(False)
    assert likely(False, end_factor=1.5) > plain
    assert likely(True, end_factor=1.5) == plain
    assert likely(True, first_end_factor=1.6) < plain
    assert likely(False, held_back=(stop,)) < plain


def test_fusion_lets_gpt2_speak(gpt2):
    tokens = gpt2.begin("Image of a", 1)
    with torch.inference_mode():
        alone = gpt2.read(tokens).logits.log_softmax(-1)
    settings = replace(EAGER, fusion=0.0, iterations=2)
    guided = ZeroCap(gpt2, settings).logits(tokens, wishing("h"), first=False)
    torch.testing.assert_close(guided, alone, atol=1e-4, rtol=1e-4)


def test_nothing_to_move_is_no_trouble(gpt2):
    caption = ZeroCap(gpt2, ZeroCapSettings(prompt="", candidates=9)).caption(
        wishing("h"), max_tokens=2
    )
    assert len(caption.token_log_probabilities) <= 2


def test_it_can_be_cancelled(gpt2):
    told = []

    def progress(share: float, text: str) -> None:
        told.append((share, text))
        if share:
            raise Cancelled

    with pytest.raises(Cancelled):
        ZeroCap(gpt2, PLAIN).caption(wishing("h"), max_tokens=4, progress=progress)
    assert told[0] == (0.0, "Image of a")
    assert told[1][0] == 0.25


@pytest.mark.parametrize("changes", [{"iterations": -1}, {"candidates": 0}, {"beams": 0}])
def test_senseless_settings_are_refused(changes):
    with pytest.raises(ModelError, match="ZeroCap needs"):
        ZeroCapSettings(**changes)
