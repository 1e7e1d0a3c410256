"""The map between two towers, fitted on sentences that stream by."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from napari_patchioner.bridges import LinearMap, unit_rows
from napari_patchioner.errors import Cancelled, ModelError
from napari_patchioner.training import fit_bridge
from napari_patchioner.training.bridge import SUMS, recall


@dataclass
class Hashed:
    """A tower whose vectors are a fixed map of a random vector that only the text decides."""

    matrix: np.ndarray
    name: str
    noise: float = 0.0
    provenance: dict[str, str] = field(init=False)
    embedded: int = 0

    def __post_init__(self) -> None:
        self.provenance = {"text": self.name}

    def embed(self, texts):
        self.embedded += len(texts)
        seeds = [[ord(sign) for sign in text] for text in texts]
        hidden = [np.random.default_rng(seed).normal(size=len(self.matrix)) for seed in seeds]
        own = [
            np.random.default_rng([9, *seed]).normal(size=self.matrix.shape[1]) for seed in seeds
        ]
        rows = np.stack(hidden) @ self.matrix + self.noise * np.stack(own)
        return (3 * rows).astype(np.float32)


def towers(source=8, target=8, noise=0.0):
    draw = np.random.default_rng(0)
    turn = np.linalg.qr(draw.normal(size=(8, 8)))[0]
    first = Hashed(np.eye(8)[:, :source], "old")
    return first, Hashed((turn @ first.matrix)[:, :target], "new", noise), turn


SENTENCES = [f"cell number {number}" for number in range(500)]


def test_a_known_map_is_recovered(tmp_path):
    source, target, turn = towers()
    told = []
    made, scores = fit_bridge(
        source, target, iter(SENTENCES), tmp_path, progress=lambda share, text: told.append(share)
    )
    np.testing.assert_allclose(made.matrix, turn, atol=1e-5)
    np.testing.assert_allclose(made.offset, 0, atol=1e-5)
    assert scores.cosine == pytest.approx(1, abs=1e-6)
    assert (scores.recall_1, scores.recall_5) == (1, 1)
    assert (scores.fitted, scores.measured) == (450, 25)
    assert (told[-1], max(told)) == (1, 1)
    again = LinearMap.open(tmp_path / "map.safetensors")
    assert (again.source, again.target) == ({"text": "old"}, {"text": "new"})
    assert again.hash == made.hash
    assert not (tmp_path / SUMS).exists()


def test_it_is_orthogonal_when_asked_and_measured_on_what_was_held_out(tmp_path):
    source, target, turn = towers(noise=0.3)
    made, scores = fit_bridge(
        source, target, SENTENCES, tmp_path, method="orthogonal", intercept=False
    )
    np.testing.assert_allclose(made.matrix @ made.matrix.T, np.eye(8), atol=1e-5)
    np.testing.assert_array_equal(made.offset, 0)
    assert np.abs(made.matrix - turn).max() < 0.1
    held = [SENTENCES[place] for place in range(9, 500, 10)][1::2]
    mapped, wanted = made(source.embed(held)), unit_rows(target.embed(held))
    assert scores.cosine == pytest.approx((unit_rows(mapped) * wanted).sum(1).mean(), abs=1e-5)
    nearest = (unit_rows(mapped) @ wanted.T).argmax(1)
    assert scores.recall_1 == pytest.approx((nearest == np.arange(len(held))).mean())
    assert 0.5 < scores.cosine < 0.99


def test_a_ridge_is_chosen_that_holds_for_others(tmp_path):
    """Few sentences and much noise: without a ridge the map learns the noise by heart."""
    source, target, _ = towers(noise=2.0)
    plain = fit_bridge(source, target, SENTENCES[:60], tmp_path / "plain", ridge=0.0)[1]
    chosen = fit_bridge(source, target, SENTENCES[:60], tmp_path / "chosen")[1]
    assert plain.ridge == 0
    assert chosen.ridge >= 1e-3


def test_an_interrupted_fit_goes_on_and_arrives_at_the_same_map(tmp_path):
    source, target, _ = towers(noise=0.5)
    whole, scores = fit_bridge(source, target, SENTENCES, tmp_path / "whole", batch=16, stamp="s")

    def stop(_share, text):
        if text.startswith("208"):
            raise Cancelled

    with pytest.raises(Cancelled):
        fit_bridge(source, target, SENTENCES, tmp_path / "cut", batch=16, stamp="s", progress=stop)
    assert (tmp_path / "cut" / SUMS).exists()
    with pytest.raises(ModelError, match="interrupted fit of other sentences"):
        fit_bridge(source, target, SENTENCES, tmp_path / "cut", batch=16, stamp="other")
    source.embedded = 0
    again, same = fit_bridge(source, target, SENTENCES, tmp_path / "cut", batch=16, stamp="s")
    assert source.embedded == 500 - 208
    assert again.hash == whole.hash
    assert same == scores


def test_too_few_sentences(tmp_path):
    source, target, _ = towers()
    for sentences in ([], SENTENCES[:19]):
        with pytest.raises(ModelError, match="needs 20 sentences"):
            fit_bridge(source, target, sentences, tmp_path / str(len(sentences)))


def test_memory_does_not_grow_with_the_sentences(tmp_path):
    import tracemalloc

    source, target, _ = towers()

    class Quick(Hashed):
        def embed(self, texts):
            return np.tile(self.matrix, (len(texts) // 8 + 1, 1))[: len(texts)] + 0.1

    quick = [Quick(tower.matrix, tower.name) for tower in (source, target)]
    peaks = []
    for count in (20_000, 200_000):
        tracemalloc.start()
        sentences = (f"sentence {number}" for number in range(count))
        fit_bridge(*quick, sentences, tmp_path / str(count), held_out=500)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] + 100_000


def test_recall_counts_those_that_are_nearest():
    answers = np.eye(4)
    assert recall(answers, answers) == 1
    assert recall(np.roll(answers, 1, axis=0), answers) == 0
    mixed = answers + np.roll(2 * answers, 1, axis=0)
    assert recall(mixed, answers, 1) == 0
    assert recall(mixed, answers, 2) == 1
