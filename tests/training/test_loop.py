from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from napari_patchioner.errors import Cancelled, ModelError
from napari_patchioner.training import Outcome, Settings, read_losses, seeded, train

SUPPORT = Path(__file__).parents[1] / "support"
SETTINGS = Settings(steps=30, batch=8, check_every=10, warmup=3, learning_rate=0.03)


class Line:
    """A network that has to learn a plane."""

    def __init__(self, rows: int = 64, seed: int = 0) -> None:
        self.inputs = torch.randn(rows, 4, generator=torch.Generator().manual_seed(5))
        self.targets = self.inputs @ torch.tensor([[1.0], [-2.0], [0.5], [0.0]])
        self.network = seeded(lambda: nn.Sequential(nn.Dropout(0.1), nn.Linear(4, 1)), seed)
        self.seen: list[list[int]] = []

    def loss(self, rows: np.ndarray) -> torch.Tensor:
        self.seen.append(rows.tolist())
        return functional.mse_loss(self.network(self.inputs[rows]), self.targets[rows])

    def held_out(self) -> float:
        return float(functional.mse_loss(self.network(self.inputs), self.targets))

    def train(self, folder: Path, settings: Settings = SETTINGS, **options) -> Outcome:
        return train(
            self.network,
            self.loss,
            self.held_out,
            rows=len(self.inputs),
            folder=folder,
            settings=settings,
            stamp=options.pop("stamp", "line"),
            **options,
        )

    @property
    def weights(self) -> list[float]:
        return torch.cat([value.flatten() for value in self.network.state_dict().values()]).tolist()


def test_it_learns_and_says_how(tmp_path):
    line, heard = Line(), []
    outcome = line.train(
        tmp_path, replace(SETTINGS, steps=300, patience=0), progress=lambda *it: heard.append(it)
    )
    assert outcome.steps == 300
    assert not outcome.stopped_early
    assert outcome.best.held_out < outcome.checks[0].held_out / 10
    assert tuple(read_losses(tmp_path)) == outcome.checks
    fractions = [fraction for fraction, _ in heard]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert "held out" in heard[-1][1]
    assert not any(weight.requires_grad for weight in line.network.parameters())
    assert not line.network.training


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="children are forked")
def test_killed_at_any_moment_it_comes_to_the_same_weights(tmp_path):
    command = [sys.executable, SUPPORT / "killed_training.py", tmp_path, "25"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    whole, killed, count = done.stdout.split()
    assert killed == whole
    # How often there is time to kill it depends on how busy the machine is.
    assert int(count) >= 1
    left = [path.name for path in (tmp_path / "killed").iterdir() if not path.name.startswith(".")]
    assert sorted(left) == ["checkpoint.safetensors", "losses.csv"]


@pytest.mark.parametrize("stop", [1, 9, 10, 11, 25])
def test_cancelled_it_goes_on_where_it_was(tmp_path, stop):
    whole = Line()
    expected = whole.train(tmp_path / "whole")

    def cancel(fraction: float, _: str) -> None:
        if fraction >= stop / SETTINGS.steps:
            raise Cancelled

    first = Line()
    with pytest.raises(Cancelled):
        first.train(tmp_path / "cancelled", progress=cancel)
    second = Line(seed=99)
    assert second.train(tmp_path / "cancelled") == expected
    assert second.weights == whole.weights
    assert first.seen + second.seen == whole.seen
    # What is finished is not trained again.
    third = Line()
    assert third.train(tmp_path / "cancelled") == expected
    assert third.weights == whole.weights
    assert third.seen == []


def test_the_seed_alone_decides(tmp_path):
    runs = []
    for number, seed in enumerate((0, 0, 1)):
        torch.manual_seed(number)
        before = torch.random.get_rng_state()
        line = Line()
        line.train(tmp_path / str(number), replace(SETTINGS, seed=seed))
        assert torch.equal(torch.random.get_rng_state(), before)
        runs.append(line.weights)
    assert runs[0] == runs[1] != runs[2]


def test_it_ends_when_nothing_gets_better_and_keeps_the_best(tmp_path):
    line, values = Line(), iter([3.0, 2.0, 2.5, 2.4, 2.3, 1.0])
    weights = []

    def held_out() -> float:
        weights.append(line.weights)
        return next(values)

    outcome = train(
        line.network,
        line.loss,
        held_out,
        rows=64,
        folder=tmp_path,
        settings=replace(SETTINGS, steps=1000, patience=3),
        stamp="",
    )
    assert outcome.stopped_early
    assert (outcome.steps, outcome.best.step, outcome.best.held_out) == (50, 20, 2.0)
    assert line.weights == weights[1]


def test_a_training_of_something_else_is_not_taken_for_it(tmp_path):
    Line().train(tmp_path)
    for change in ({"stamp": "other"}, {"settings": replace(SETTINGS, seed=1)}):
        with pytest.raises(ModelError, match=r"interrupted training with other (data|seed)"):
            Line().train(tmp_path, **change)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(ModelError, match="damaged"):
        Line().train(tmp_path)


def test_numbers_that_run_away_are_an_error_of_one_sentence(tmp_path):
    line = Line()
    with pytest.raises(ModelError, match="lower learning rate"):
        line.train(tmp_path, replace(SETTINGS, learning_rate=1e38, clip=0.0))
    with pytest.raises(ModelError, match="nothing to train on"):
        train(line.network, line.loss, line.held_out, rows=0, folder=tmp_path,
              settings=SETTINGS, stamp="")  # fmt: skip


@settings(max_examples=15)
@given(rows=st.integers(1, 40), batch=st.integers(1, 17))
def test_every_example_is_seen_once_in_an_epoch(rows, batch, tmp_path_factory):
    line = Line(rows)
    steps = -(-2 * rows // batch)
    line.train(
        tmp_path_factory.mktemp("order"), Settings(steps=steps, batch=batch, check_every=1000)
    )
    order = [row for step in line.seen for row in step]
    assert sorted(order[:rows]) == sorted(order[rows : 2 * rows]) == list(range(rows))


@given(
    warmup=st.integers(0, 20),
    steps=st.integers(1, 100),
    pace=st.sampled_from(["cosine", "linear", "constant"]),
)
def test_the_learning_rate_rises_then_falls(warmup, steps, pace):
    chosen = Settings(steps=steps, warmup=warmup, pace=pace, learning_rate=2.0)
    rates = [chosen.rate(step) for step in range(steps)]
    assert max(rates) <= 2.0
    assert min(rates) > 0
    rising, falling = rates[:warmup], rates[warmup:]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)
