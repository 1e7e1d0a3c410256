"""The closed-form map between two text towers, from any number of sentences (SITTA)."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from napari_patchioner.bridges import LinearMap, NormalEquations, unit_rows
from napari_patchioner.bridges.linear import Method
from napari_patchioner.checkpoints import read_notes, read_state, write_state
from napari_patchioner.errors import ModelError
from napari_patchioner.progress import Progress, no_progress

FloatArray: TypeAlias = npt.NDArray[np.float32]

RIDGES = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
"""What is tried where no ridge is given; covariances of unit vectors are below 1 / dim."""
MAP, SUMS = "map.safetensors", "sums.safetensors"
_LEAST = 20
# Every so many sentences one is held out, until there are enough.
_EVERY = 10
# Batches between two checkpoints.
_KEEP_EVERY = 50


class Embeds(Protocol):
    """A text tower: what it makes of sentences, and the stamp of all that is made with it."""

    @property
    def embed(self) -> Callable[[Sequence[str]], FloatArray]:
        """Texts to rows of shape (n, dim), not normalised."""

    @property
    def provenance(self) -> Mapping[str, str]:
        """The hash of tower or projection."""


@dataclass(frozen=True, slots=True)
class BridgeScores:
    """How well mapped sentences meet those that the other tower embedded; of held-out ones.

    ``cosine`` is the mean; ``recall_1`` and ``recall_5`` say of how many sentences the mapped
    vector has its own among the nearest one or five of all ``measured``; by chance it would be
    ``1 / measured``.
    """

    fitted: int
    measured: int
    ridge: float
    cosine: float
    recall_1: float
    recall_5: float


def fit_bridge(
    source: Embeds,
    target: Embeds,
    sentences: Iterable[str],
    folder: str | Path,
    *,
    method: Method = "least-squares",
    intercept: bool = True,
    ridge: float | None = None,
    held_out: int = 2000,
    batch: int = 256,
    stamp: str = "",
    progress: Progress | None = None,
) -> tuple[LinearMap, BridgeScores]:
    r"""Fit a linear map from the text space of one tower to that of another.

    Both embed the same sentences, each vector is scaled to length one, and `NormalEquations` keeps
    the sums, so memory does not depend on the number of sentences. Every tenth is held out until
    there are enough; half of these choose the ridge, the others measure.

    Parameters
    ----------
    source, target : Embeds
        The tower of the new encoder, and the tower of the decoder.
    sentences : iterable of str
        Each once; the more the better, thousands at least.
    folder : path
        Gets ``map.safetensors``, and meanwhile the sums, from which an interrupted fit goes on.
    method : {"least-squares", "orthogonal"}
        See `NormalEquations`.
    intercept : bool
        Whether the map may shift, too.
    ridge : float, optional
        How much large weights cost; by default the one of `RIDGES` that holds best.
    held_out : int
        Most sentences to hold out.
    batch : int
        Sentences embedded at once.
    stamp : str
        A hash of the sentences, so that an interrupted fit goes on with the same ones only.
    progress : callable, optional
        Called with 0 and how many sentences were embedded; may raise ``Cancelled``, after which
        the fit goes on from there.

    Raises
    ------
    ModelError
        There are too few sentences, or an interrupted fit in the folder is of others.
    """
    folder, report = Path(folder), progress or no_progress
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "towers": [dict(source.provenance), dict(target.provenance)],
        "sentences": stamp,
        "batch": batch,
        "held_out": held_out,
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    sums = _Sums(folder / SUMS, digest)
    try:
        for count, texts in enumerate(_batches(sentences, batch, sums.read)):
            report(0.0, f"{sums.read:,} sentences embedded by both towers")
            x, y = (unit_rows(tower.embed(texts)) for tower in (source, target))
            sums.add(x, y, held_out)
            if count % _KEEP_EVERY == _KEEP_EVERY - 1:
                sums.save()
    except BaseException:
        sums.save()
        raise
    if sums.read < _LEAST:
        raise ModelError(
            f"A map between two towers needs {_LEAST} sentences or more, and thousands to be good, "
            f"not {sums.read}."
        )
    report(0.95, f"fitting the map to {sums.equations.count:,} sentences")
    choose, measure = (np.arange(first, len(sums.held[0]), 2) for first in (0, 1))
    tried = [ridge] if ridge is not None else list(RIDGES)
    if method == "orthogonal":
        tried = [0.0]

    def fitted(amount: float) -> LinearMap:
        matrix, offset = sums.equations.solve(method, intercept=intercept, ridge=amount)
        return LinearMap(matrix, offset, source=source.provenance, target=target.provenance)

    x, y = sums.held
    best = max(tried, key=lambda amount: _cosine(fitted(amount)(x[choose]), y[choose]))
    made = fitted(best)
    made.save(folder / MAP)
    sums.remove()
    report(1.0, "done")
    mapped = made(x[measure])
    scores = BridgeScores(
        fitted=sums.equations.count,
        measured=len(measure),
        ridge=best,
        cosine=_cosine(mapped, y[measure]),
        recall_1=recall(mapped, y[measure], 1),
        recall_5=recall(mapped, y[measure], 5),
    )
    return made, scores


def recall(queries: npt.ArrayLike, answers: npt.ArrayLike, among: int = 1) -> float:
    """Return the share of rows whose own answer is one of the nearest by cosine.

    ``queries`` and ``answers`` have the shape (n, dim).

    >>> recall([[1, 0.1], [0.1, 1], [1, 0]], [[1, 0], [0, 1], [0, 1]])
    0.6...
    """
    left, right = unit_rows(queries), unit_rows(answers)
    hits = 0
    for first in range(0, len(left), 1024):
        cosines = left[first : first + 1024] @ right.T
        own = cosines[np.arange(len(cosines)), np.arange(first, first + len(cosines))]
        hits += int(((cosines > own[:, None]).sum(1) < among).sum())
    return hits / max(len(left), 1)


def _cosine(left: npt.ArrayLike, right: npt.ArrayLike) -> float:
    """Mean cosine of rows."""
    return float((unit_rows(left) * unit_rows(right)).sum(-1).mean())


def _batches(sentences: Iterable[str], size: int, skip: int) -> Iterator[list[str]]:
    """Yield sentences so many at once, after those that were read before."""
    rest = itertools.islice(sentences, skip, None)
    while batch := list(itertools.islice(rest, size)):
        yield batch


@dataclass
class _Sums:
    """What was read so far: the sums, the pairs that are held out, and how many sentences."""

    path: Path
    stamp: str
    read: int = 0
    equations: NormalEquations = field(init=False)
    held: tuple[FloatArray, FloatArray] = field(init=False)

    def __post_init__(self) -> None:
        if not self.path.is_file():
            return
        notes, state = read_notes(self.path), read_state(self.path)
        if notes.get("stamp") != self.stamp:
            raise ModelError(
                f"{self.path.parent} holds an interrupted fit of other sentences or towers; remove "
                f"{self.path.name}, or choose another folder."
            )
        try:
            arrays = {name: value.numpy() for name, value in state.items()}
            self.held = (arrays["held_x"], arrays["held_y"])
            self.equations = NormalEquations(len(arrays["x"]), len(arrays["y"]))
            self.equations.sums = {name: arrays[name] for name in self.equations.sums}
            self.read, self.equations.count = int(notes["read"]), int(notes["count"])
        except (KeyError, ValueError) as error:
            raise ModelError(f"{self.path} is damaged; remove it and start again.") from error

    def add(self, x: FloatArray, y: FloatArray, most: int) -> None:
        """Take in pairs, of which every tenth is held out while there are not enough."""
        if not hasattr(self, "equations"):
            self.equations = NormalEquations(x.shape[1], y.shape[1])
            self.held = (x[:0], y[:0])
        places = np.arange(self.read, self.read + len(x))
        out = np.flatnonzero(places % _EVERY == _EVERY - 1)[: max(most - len(self.held[0]), 0)]
        kept = np.setdiff1d(np.arange(len(x)), out)
        self.equations.add(x[kept], y[kept])
        self.held = (
            np.concatenate([self.held[0], x[out]]),
            np.concatenate([self.held[1], y[out]]),
        )
        self.read += len(x)

    def save(self) -> None:
        """Write all of it, so that a fit goes on from here."""
        if not self.read:
            return
        arrays = self.equations.sums | {"held_x": self.held[0], "held_y": self.held[1]}
        state = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}
        count = str(self.equations.count)
        write_state(self.path, state, stamp=self.stamp, read=str(self.read), count=count)

    def remove(self) -> None:
        """Remove what is needed no more."""
        self.path.unlink(missing_ok=True)
