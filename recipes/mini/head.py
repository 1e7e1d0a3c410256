"""Linear heads on pooled features: ridge regression and logistic regression, added up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from napari_patchioner.bridges.concepts import head_input

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .pooled import Pooled

FloatArray: TypeAlias = npt.NDArray[np.float32]

DIRECTIONS = 900
"""Principal directions kept; the rest of the features is noise to so few regions."""

RIDGE = 1.0
RIDGE_BALANCE = 0.5
RIDGE_SHARE = 10.0
"""What one unit of the ridge reading counts in logits."""

PENALTY = 0.02
BALANCE = 0.3
EPOCHS = 12
RATE = 2e-3
BATCH = 256
DEEP = 1280


@dataclass(frozen=True, eq=False, slots=True)
class Reading:
    """A linear map from features to logits.

    Attributes
    ----------
    weights : ndarray of float32, shape (dim, outputs)
    bias : ndarray of float32, shape (outputs,)
    """

    weights: FloatArray
    bias: FloatArray

    def logits(self, features: FloatArray) -> FloatArray:
        """Logits of pooled features, shape (n, outputs)."""
        return head_input(features, DEEP) @ self.weights + self.bias


@dataclass(frozen=True, eq=False, slots=True)
class Basis:
    """Standardised principal directions of features.

    Attributes
    ----------
    mean : ndarray of float32, shape (dim,)
    directions : ndarray of float32, shape (dim, kept)
    """

    mean: FloatArray
    directions: FloatArray

    def __call__(self, features: FloatArray) -> FloatArray:
        """Coordinates of pooled features, shape (n, kept)."""
        found = (head_input(features, DEEP) - self.mean) @ self.directions
        return found.astype(np.float32)


def find_basis(features: FloatArray, kept: int = DIRECTIONS) -> Basis:
    """Principal directions of standardised features, shape (n, dim)."""
    rows = head_input(features, DEEP)
    mean = rows.mean(0)
    deviation = rows.std(0) + 1e-3
    rows = (rows - mean) / deviation
    _, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    return Basis(mean, vectors[:, ::-1][:, :kept] / deviation[:, None])


def fit_reading(
    pooled: Pooled,
    targets: FloatArray,
    weights: FloatArray,
    basis: Basis,
    *,
    seed: int = 0,
) -> Reading:
    """Fit the sum of a ridge and a logistic reading.

    Parameters
    ----------
    pooled : Pooled
        Examples; their mirror images count as much.
    targets : ndarray of float32, shape (n, outputs)
        What each example shows, a distribution.
    weights : ndarray of float32, shape (n,)
        How much each example counts, before classes are balanced.
    basis : Basis
    seed : int
        Order of the examples.

    Returns
    -------
    Reading
    """
    views = [basis(pooled.features), basis(pooled.mirrored)]
    ridge = _fit_ridge(views, targets, weights * _balance(targets, weights, RIDGE_BALANCE))
    logistic = _fit_logistic(views, targets, weights, seed)
    total = logistic[0] + RIDGE_SHARE * ridge[0]
    bias = logistic[1] + RIDGE_SHARE * ridge[1]
    spread = basis.directions @ total
    return Reading(spread, bias - basis.mean @ spread)


def one_hot(categories: npt.NDArray[np.str_], outputs: Sequence[str]) -> FloatArray:
    """Targets of labelled examples, shape (n, len(outputs))."""
    same: FloatArray = (categories[:, None] == np.asarray(outputs)[None]).astype(np.float32)
    return same


def region_weights(pooled: Pooled) -> FloatArray:
    """Weigh examples: a box shares with its jittered copies, and small ones count less."""
    copies = np.where(pooled.copies > 0, 0.5 / max(int(pooled.copies.max()), 1), 0.5)
    base = np.where(pooled.kinds == "box", copies, 1.0)
    size = np.sqrt(np.minimum(1.0, pooled.areas / 0.02))
    weights: FloatArray = (base * size).astype(np.float32)
    return weights


def _balance(targets: FloatArray, weights: FloatArray, power: float) -> FloatArray:
    """Factors that make frequent classes count less, mean one."""
    counts = weights @ targets
    factors = targets @ (counts + 1e-3) ** -power
    normalised: FloatArray = factors * weights.sum() / (weights @ factors)
    return normalised


def _fit_ridge(
    views: list[FloatArray], targets: FloatArray, weights: FloatArray
) -> tuple[FloatArray, FloatArray]:
    total = len(views) * weights.sum()
    mean = sum(weights @ view for view in views) / total
    target_mean = weights @ targets / weights.sum()
    gram = -total * np.outer(mean, mean)
    cross = -total * np.outer(mean, target_mean)
    for view in views:
        weighted = view * weights[:, None]
        gram += weighted.T @ view
        cross += weighted.T @ targets
    solution = np.linalg.solve(gram + RIDGE * total * np.eye(len(gram), dtype=np.float32), cross)
    return solution.astype(np.float32), (target_mean - mean @ solution).astype(np.float32)


def _fit_logistic(
    views: list[FloatArray], targets: FloatArray, weights: FloatArray, seed: int
) -> tuple[FloatArray, FloatArray]:
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    inputs = [torch.from_numpy(np.ascontiguousarray(view, np.float32)) for view in views]
    answers = torch.from_numpy(targets)
    factors = torch.from_numpy(_balance(targets, weights, BALANCE).astype(np.float32))
    layer = torch.nn.Linear(inputs[0].shape[1], targets.shape[1])
    torch.nn.init.zeros_(layer.weight)
    counts = (weights @ targets + 0.3) ** (1 - BALANCE)
    layer.bias.data = torch.from_numpy(np.log(counts / counts.sum()).astype(np.float32))
    drawn = int(weights.sum())
    batches = max(1, drawn // BATCH)
    optimizer = torch.optim.Adam(layer.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=EPOCHS * batches, pct_start=0.2
    )
    for _ in range(EPOCHS * batches):
        rows = generator.choice(len(weights), BATCH, p=weights / weights.sum())
        view = inputs[int(generator.integers(len(inputs)))]
        loss = functional.cross_entropy(layer(view[rows]), answers[rows], reduction="none")
        objective = (loss * factors[rows]).mean() + PENALTY * (layer.weight**2).sum()
        optimizer.zero_grad()
        objective.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return layer.weight.detach().numpy().T, layer.bias.detach().numpy()
