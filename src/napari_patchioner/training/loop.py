"""The one way a network is trained: by steps, repeatable to the bit, resumable at any moment."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from napari_patchioner.checkpoints import read_notes, read_state, write_state
from napari_patchioner.devices import CPU, Placement
from napari_patchioner.errors import Cancelled, ModelError
from napari_patchioner.progress import Progress, no_progress

Network = TypeVar("Network", bound=nn.Module)
Rows: TypeAlias = npt.NDArray[np.int64]
Pace: TypeAlias = Literal["cosine", "linear", "constant"]

PACES: tuple[Pace, ...] = ("cosine", "linear", "constant")
"""How the learning rate goes on after the warm-up."""
CHECKPOINT, LOSSES = "checkpoint.safetensors", "losses.csv"
# Of the largest learning rate at the end of a cosine.
_LAST = 0.02
_BETAS = (0.9, 0.98)
# The moments that AdamW keeps of every weight.
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True, slots=True)
class Settings:
    """How long a network is trained, and how fast.

    Attributes
    ----------
    steps : int
        Batches to learn from at most.
    batch : int
        Examples in a batch.
    learning_rate : float
        The largest, which is reached after ``warmup`` steps.
    warmup : int
        Steps over which the learning rate rises from nothing.
    pace : {"cosine", "linear", "constant"}
        How it falls afterwards: to a fiftieth, to nothing, or not at all.
    weight_decay : float
        Of AdamW; for matrices alone.
    clip : float
        Longest gradient, which others are scaled down to; 0 for any.
    check_every : int
        Steps between two checks of what is held out, after each of which a checkpoint is written.
    patience : int
        Checks without a better loss after which training ends; 0 to go on to the last step.
    seed : int
        Of weights, order, dropout and noise.
    """

    steps: int = 4000
    batch: int = 64
    learning_rate: float = 1e-3
    warmup: int = 200
    pace: Pace = "cosine"
    weight_decay: float = 0.01
    clip: float = 1.0
    check_every: int = 200
    patience: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "check_every"):
            if getattr(self, name) < 1:
                raise ModelError(f"Training needs {name} of 1 or more, not {getattr(self, name)}.")
        if self.pace not in PACES:
            raise ModelError(f"The pace is one of {', '.join(PACES)}, not {self.pace!r}.")
        if not self.learning_rate > 0:
            raise ModelError(f"The learning rate must be above 0, not {self.learning_rate}.")

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0.

        >>> settings = Settings(steps=100, warmup=10, learning_rate=1.0, pace="linear")
        >>> [settings.rate(step) for step in (0, 9, 55, 100)]
        [0.1, 1.0, 0.5, 0.0]
        """
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        done = min((step - self.warmup) / max(self.steps - self.warmup, 1), 1.0)
        if self.pace == "linear":
            return self.learning_rate * (1 - done)
        if self.pace == "cosine":
            share = _LAST + (1 - _LAST) * 0.5 * (1 + math.cos(math.pi * done))
            return self.learning_rate * share
        return self.learning_rate


@dataclass(frozen=True, slots=True)
class Check:
    """One measurement of what is held out.

    ``loss`` is the mean of the steps since the check before, ``held_out`` that of what is held out;
    ``epoch`` counts how often every example was seen.
    """

    step: int
    epoch: float
    learning_rate: float
    loss: float
    held_out: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of training: every check, which was the best, and whether it ended early."""

    checks: tuple[Check, ...]
    best: Check
    steps: int
    stopped_early: bool


def train(
    network: nn.Module,
    loss: Callable[[Rows], Tensor],
    held_out: Callable[[], float],
    *,
    rows: int,
    folder: str | Path,
    settings: Settings,
    stamp: str,
    placement: Placement = CPU,
    progress: Progress | None = None,
) -> Outcome:
    """Train a network and leave it with its best weights, on the processor and ready to use.

    A checkpoint is written beside the old one and renamed after every check of what is held out,
    and when ``progress`` raises `Cancelled`. Called again with the same network, data and settings
    it goes on from there, and arrives at the same weights to the bit, on the same machine, as if it
    had never been interrupted. The order of examples, dropout and noise depend on seed and step
    alone.

    Parameters
    ----------
    network : nn.Module
        With its first weights, which depend on the seed alone.
    loss : callable
        Given numbers of examples, shape (batch,), it returns the mean loss, a scalar with
        gradients. What is random in it comes from torch's own generator, which is seeded for every
        step.
    held_out : callable
        Returns the loss of what is held out; called without gradients and with the network in
        evaluation mode, after seeding.
    rows : int
        How many examples there are.
    folder : path
        Gets the checkpoint and ``losses.csv``.
    settings : Settings
        How long and how fast.
    stamp : str
        A hash of all else that the outcome depends on, such as data and sizes of the network.
    placement : Placement
        Where it is trained; on an Nvidia GPU in mixed precision (bfloat16).
    progress : callable, optional
        Called at every step with the fraction done and the losses; may raise ``Cancelled``.

    Raises
    ------
    ModelError
        There is nothing to train on, the loss is not finite, or the folder holds a training of
        something else.
    Cancelled
        By ``progress``; what was learned is kept.
    """
    if rows < 1:
        raise ModelError("There is nothing to train on; give more examples.")
    progress = progress or no_progress
    run = _Run(network, Path(folder), settings, stamp, placement)
    with _quiet_state(placement), run.threads():
        run.restore()
        order = _Order(rows, settings)
        try:
            while not run.finished:
                progress(run.step / settings.steps, run.message())
                run.learn(loss, order.batch_of(run.step))
                if run.step % settings.check_every == 0 or run.step == settings.steps:
                    run.check(held_out, rows)
                    run.save()
        except Cancelled:
            run.save()
            raise
        finally:
            network.to("cpu")
        progress(1.0, run.message())
        run.take_best()
    return run.outcome()


def read_losses(folder: str | Path) -> list[Check]:
    """Read the ``losses.csv`` that `train` wrote."""
    with (Path(folder) / LOSSES).open(encoding="utf-8", newline="") as file:
        return [
            Check(int(row["step"]), *(float(row[name]) for name in list(row)[1:]))
            for row in csv.DictReader(file)
        ]


class _Order:
    """Which examples each step learns from: all of them, shuffled anew in every epoch."""

    def __init__(self, rows: int, settings: Settings) -> None:
        self._rows, self._batch, self._seed = rows, settings.batch, settings.seed
        self._shuffled: dict[int, Rows] = {}

    def batch_of(self, step: int) -> Rows:
        """Return the numbers of the examples of a step, shape (batch,)."""
        places = np.arange(step * self._batch, (step + 1) * self._batch)
        epochs, within = np.divmod(places, self._rows)
        needed = {int(epoch) for epoch in epochs}
        self._shuffled = {
            epoch: self._shuffled[epoch] if epoch in self._shuffled else self._shuffle(epoch)
            for epoch in needed
        }
        return np.array(
            [self._shuffled[int(epoch)][place] for epoch, place in zip(epochs, within, strict=True)]
        )

    def _shuffle(self, epoch: int) -> Rows:
        return np.random.default_rng([self._seed, epoch]).permutation(self._rows)


class _Run:
    """A training under way: the network, what AdamW keeps of it, and the checks so far."""

    def __init__(
        self, network: nn.Module, folder: Path, settings: Settings, stamp: str, placement: Placement
    ) -> None:
        self._network, self._folder, self._settings = network, folder, settings
        self._stamp, self._placement = stamp, placement
        self.step = 0
        self._checks: list[Check] = []
        self._best: dict[str, Tensor] = {}
        # Sum and number of the losses since the last check.
        self._sum, self._count = 0.0, 0
        self._threads = torch.get_num_threads()
        self._stored = self._read()
        network.to(placement.device)
        matrices = [weight for weight in network.parameters() if weight.dim() > 1]
        others = [weight for weight in network.parameters() if weight.dim() <= 1]
        groups: list[dict[str, Any]] = [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        self._optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=_BETAS)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.step >= self._settings.steps or self._is_stopped

    @property
    def _is_stopped(self) -> bool:
        """Whether the held-out loss has not become better for too long."""
        patience = self._settings.patience
        if not patience or len(self._checks) <= patience:
            return False
        return self._checks.index(self._best_check) < len(self._checks) - patience

    @property
    def _best_check(self) -> Check:
        return min(self._checks, key=lambda check: check.held_out)

    def message(self) -> str:
        """Say how far it is."""
        text = f"step {self.step:,} of {self._settings.steps:,}"
        if self._count:
            text += f", loss {self._sum / self._count:.3f}"
        if self._checks:
            text += (
                f", held out {self._checks[-1].held_out:.3f} (best {self._best_check.held_out:.3f})"
            )
        return text

    def learn(self, loss: Callable[[Rows], Tensor], rows: Rows) -> None:
        """Take one step."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.rate(self.step)
        self._seed(self.step)
        self._network.train().requires_grad_(True)
        with self._mixed():
            value = loss(rows)
        if not bool(torch.isfinite(value)):
            raise ModelError(
                f"The loss is not a number any more at step {self.step + 1:,}; start again with a "
                "lower learning rate."
            )
        self._optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        if self._settings.clip:
            nn.utils.clip_grad_norm_(self._network.parameters(), self._settings.clip)
        self._optimizer.step()
        self.step += 1
        self._sum, self._count = self._sum + float(value.detach()), self._count + 1

    def check(self, held_out: Callable[[], float], rows: int) -> None:
        """Measure what is held out, and keep the weights if they are the best so far."""
        # The same noise at every check.
        self._seed(-1)
        self._network.eval()
        with torch.no_grad(), self._mixed():
            value = float(held_out())
        if not math.isfinite(value):
            raise ModelError(
                f"The held-out loss is not a number at step {self.step:,}; start again with a "
                "lower learning rate."
            )
        settings = self._settings
        self._checks.append(
            Check(
                self.step,
                round(self.step * settings.batch / rows, 4),
                settings.rate(self.step - 1),
                self._sum / max(self._count, 1),
                value,
            )
        )
        self._sum, self._count = 0.0, 0
        if self._best_check is self._checks[-1]:
            weights = self._network.state_dict().items()
            self._best = {name: value.detach().cpu().clone() for name, value in weights}

    def save(self) -> None:
        """Write all that is needed to go on: one file, whole or not at all, and the losses."""
        tensors = {f"now.{name}": value for name, value in self._network.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self._best.items()}
        for name, weight in self._network.named_parameters():
            kept = self._optimizer.state.get(weight, {})
            tensors |= {f"{moment}.{name}": kept[moment] for moment in _MOMENTS if kept}
        progress = {
            "step": self.step,
            "checks": [list(asdict(check).values()) for check in self._checks],
            "since": [self._sum, self._count],
            "threads": self._threads,
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        write_state(
            self._folder / CHECKPOINT,
            {name: value.cpu() for name, value in tensors.items()},
            stamp=self._stamp,
            settings=json.dumps(asdict(self._settings)),
            progress=json.dumps(progress),
        )
        self._write_losses()

    def _write_losses(self) -> None:
        """Write the checks as a table, beside the old one first."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(Check.__dataclass_fields__)
        writer.writerows(asdict(check).values() for check in self._checks)
        beside = self._folder / f".{LOSSES}.{os.getpid()}.part"
        beside.write_text(text.getvalue(), encoding="utf-8")
        beside.replace(self._folder / LOSSES)

    def _read(self) -> dict[str, Any] | None:
        """Read how far an earlier run came; None where there is none."""
        path = self._folder / CHECKPOINT
        if not path.is_file():
            return None
        notes = read_notes(path)
        try:
            before = json.loads(notes.get("settings", ""))
            now = asdict(self._settings).items()
            other = next((name for name, value in now if before.get(name) != value), None)
        except (ValueError, AttributeError) as error:
            raise ModelError(f"{path} is damaged; start the training afresh.") from error
        if notes.get("stamp") != self._stamp:
            other = "data or sizes"
        if other is not None:
            raise ModelError(
                f"{self._folder} holds an interrupted training with other "
                f"{other.replace('_', ' ')}; go on with the same, start afresh (--fresh), or "
                "choose another name."
            )
        try:
            stored: dict[str, Any] = json.loads(notes["progress"])
            self._checks = [Check(*check) for check in stored["checks"]]
            self.step, (self._sum, self._count) = int(stored["step"]), stored["since"]
            self._threads = int(stored["threads"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{path} is damaged; start the training afresh.") from error
        return stored

    def restore(self) -> None:
        """Go on from where an earlier run came to, if there was one."""
        if self._stored is None:
            return
        path = self._folder / CHECKPOINT
        state = read_state(path)
        weights = dict(self._network.named_parameters())
        try:
            self._network.load_state_dict(_under(state, "now"))
            moments = {moment: _under(state, moment) for moment in _MOMENTS}
            for name, weight in weights.items():
                if name in moments[_MOMENTS[0]]:
                    kept = {k: part[name].to(weight.device) for k, part in moments.items()}
                    self._optimizer.state[weight] = {"step": torch.tensor(float(self.step)), **kept}
        except (KeyError, RuntimeError) as error:
            raise ModelError(f"{path} is damaged; start the training afresh.") from error
        self._best = _under(state, "best")

    def take_best(self) -> None:
        """Give the network its best weights."""
        self._network.load_state_dict(self._best)
        self._network.eval().requires_grad_(False)

    def outcome(self) -> Outcome:
        """Return what came of it."""
        early = self._is_stopped and self.step < self._settings.steps
        return Outcome(tuple(self._checks), self._best_check, self.step, early)

    @contextmanager
    def threads(self) -> Iterator[None]:
        """Use as many threads as the run began with: another number rounds sums differently."""
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def _seed(self, step: int) -> None:
        """Seed torch for one step, -1 for a check."""
        words = np.random.SeedSequence([self._settings.seed, step + 1]).generate_state(2)
        torch.manual_seed(int(words[0]) << 32 | int(words[1]))

    def _mixed(self) -> Any:
        """Mixed precision where there is an Nvidia GPU that has bfloat16."""
        if self._placement.device == "cuda" and torch.cuda.is_bf16_supported():
            return torch.autocast("cuda", torch.bfloat16)
        return nullcontext()


def _under(state: dict[str, Tensor], stem: str) -> dict[str, Tensor]:
    """Return the weights below a name."""
    start = f"{stem}."
    return {
        name.removeprefix(start): value for name, value in state.items() if name.startswith(start)
    }


@contextmanager
def _quiet_state(placement: Placement) -> Iterator[None]:
    """Leave torch's generators as they were, and let a GPU compute in a repeatable order."""
    gpus = [torch.cuda.current_device()] if placement.device == "cuda" else []
    before = torch.are_deterministic_algorithms_enabled()
    if gpus:
        # cuBLAS reads it when it starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        torch.use_deterministic_algorithms(bool(gpus) or before, warn_only=True)
        with torch.random.fork_rng(gpus):
            yield
    finally:
        torch.use_deterministic_algorithms(before)


def seeded(make: Callable[[], Network], seed: int) -> Network:
    """Make a network whose first weights depend on a seed alone."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return make()
