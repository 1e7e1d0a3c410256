"""Heads on pooled features: ridge regression, logistic regression and a hidden layer, added up."""

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

UNITS = 256
DROPPED = 0.5
DECAY = 0.1
START = 0.7
"""Of the hidden layer: its size, the share dropped while fitting, and the scale it starts at."""

STUFF_WEIGHT = 1.5
"""Fewer photographs have their stuff outlined than their things."""


@dataclass(frozen=True, eq=False, slots=True)
class Reading:
    """A map from features to logits: a linear one, and that of a hidden layer.

    Attributes
    ----------
    weights : ndarray of float32, shape (dim, outputs)
    bias : ndarray of float32, shape (outputs,)
    hidden : ndarray of float32, shape (dim, units)
    hidden_bias : ndarray of float32, shape (units,)
    hidden_weights : ndarray of float32, shape (units, outputs)
    """

    weights: FloatArray
    bias: FloatArray
    hidden: FloatArray
    hidden_bias: FloatArray
    hidden_weights: FloatArray

    def logits(self, features: FloatArray) -> FloatArray:
        """Logits of pooled features, shape (n, outputs)."""
        inputs = head_input(features, DEEP)
        units = np.maximum(inputs @ self.hidden + self.hidden_bias, 0)
        logits: FloatArray = inputs @ self.weights + self.bias + units @ self.hidden_weights
        return logits


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
    inputs: FloatArray,
    targets: FloatArray,
    weights: FloatArray,
    basis: Basis,
    *,
    units: int = UNITS,
    epochs: int = EPOCHS,
    seed: int = 0,
) -> Reading:
    """Fit the sum of a ridge and a logistic reading, the latter with a hidden layer.

    Parameters
    ----------
    inputs : ndarray of float32, shape (n, kept)
        Examples in the basis.
    targets : ndarray of float32, shape (n, outputs)
        What each example shows, a distribution.
    weights : ndarray of float32, shape (n,)
        How much each example counts, before classes are balanced.
    basis : Basis
        Of the inputs; the reading takes features.
    units : int
        Size of the hidden layer.
    epochs : int
        How often each example is seen, about.
    seed : int
        Order of the examples.

    Returns
    -------
    Reading
    """
    ridge = _fit_ridge(inputs, targets, weights * _balance(targets, weights, RIDGE_BALANCE))
    linear, hidden, last = _fit_logistic(inputs, targets, weights, units, epochs, seed)
    spread = basis.directions @ (linear[0] + RIDGE_SHARE * ridge[0])
    bias = linear[1] + last[1] + RIDGE_SHARE * ridge[1]
    directions = basis.directions @ hidden[0]
    return Reading(
        spread,
        bias - basis.mean @ spread,
        directions,
        hidden[1] - basis.mean @ directions,
        last[0],
    )


def one_hot(categories: npt.NDArray[np.str_], outputs: Sequence[str]) -> FloatArray:
    """Targets of labelled examples, shape (n, len(outputs))."""
    same: FloatArray = (categories[:, None] == np.asarray(outputs)[None]).astype(np.float32)
    return same


def region_weights(pooled: Pooled) -> FloatArray:
    """Weigh examples: a box shares with its jittered copies, and small ones count less."""
    copies = np.where(pooled.copies > 0, 0.5 / max(int(pooled.copies.max()), 1), 0.5)
    base = np.where(pooled.kinds == "box", copies, 1.0)
    base = np.where(pooled.kinds == "stuff", STUFF_WEIGHT, base)
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
    inputs: FloatArray, targets: FloatArray, weights: FloatArray
) -> tuple[FloatArray, FloatArray]:
    total = weights.sum()
    mean, target_mean = weights @ inputs / total, weights @ targets / total
    weighted = inputs * weights[:, None]
    gram = weighted.T @ inputs - total * np.outer(mean, mean)
    cross = weighted.T @ targets - total * np.outer(mean, target_mean)
    solution = np.linalg.solve(gram + RIDGE * total * np.eye(len(gram), dtype=np.float32), cross)
    return solution.astype(np.float32), (target_mean - mean @ solution).astype(np.float32)


def _fit_logistic(
    inputs: FloatArray,
    targets: FloatArray,
    weights: FloatArray,
    units: int,
    epochs: int,
    seed: int,
) -> list[tuple[FloatArray, FloatArray]]:
    """Fit weights and biases of the linear map, of the hidden layer, and of what follows it."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    rows_of = torch.from_numpy(np.ascontiguousarray(inputs, np.float32))
    answers = torch.from_numpy(targets)
    factors = torch.from_numpy(_balance(targets, weights, BALANCE).astype(np.float32))
    linear = torch.nn.Linear(inputs.shape[1], targets.shape[1])
    hidden = torch.nn.Linear(inputs.shape[1], units)
    last = torch.nn.Linear(units, targets.shape[1])
    for zeroed in (linear.weight, last.weight, last.bias):
        torch.nn.init.zeros_(zeroed)
    hidden.weight.data *= START
    counts = (weights @ targets + 0.3) ** (1 - BALANCE)
    linear.bias.data = torch.from_numpy(np.log(counts / counts.sum()).astype(np.float32))
    steps = epochs * max(1, int(weights.sum()) // BATCH)
    optimizer = torch.optim.AdamW(
        [
            {"params": [*linear.parameters()], "weight_decay": 0.0},
            {"params": [*hidden.parameters(), *last.parameters()], "weight_decay": DECAY},
        ],
        lr=RATE,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=steps, pct_start=0.2
    )
    shares = np.cumsum(weights, dtype=np.float64)
    for _ in range(steps):
        rows = np.searchsorted(shares, generator.random(BATCH) * shares[-1], side="right")
        drawn = rows_of[rows]
        layer = functional.dropout(functional.relu(hidden(drawn)), DROPPED)
        logits = linear(drawn) + last(layer)
        loss = functional.cross_entropy(logits, answers[rows], reduction="none")
        objective = (loss * factors[rows]).mean() + PENALTY * (linear.weight**2).sum()
        optimizer.zero_grad()
        objective.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return [
        (layer.weight.detach().numpy().T, layer.bias.detach().numpy())
        for layer in (linear, hidden, last)
    ]
