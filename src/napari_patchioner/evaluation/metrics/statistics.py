"""How far a mean may be trusted: confidence intervals by drawing whole images again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean, the ends of its confidence interval, and how many values went in."""

    mean: float
    low: float
    high: float
    count: int


def mean_interval(
    values: npt.ArrayLike,
    images: Sequence[str],
    *,
    draws: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Mean of values with a percentile interval over images.

    Regions of one image are not independent, so images are drawn, not regions. For a paired
    comparison give the differences.

    >>> mean_interval([1.0, 1.0], ["a", "b"])
    Interval(mean=1.0, low=1.0, high=1.0, count=2)
    """
    numbers = np.asarray(values, dtype=np.float64)
    if not numbers.size:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    _, index = np.unique(np.asarray(images), return_inverse=True)
    sums = np.bincount(index, weights=numbers)
    counts = np.bincount(index)
    picks = np.random.default_rng(seed).integers(len(counts), size=(draws, len(counts)))
    means = sums[picks].sum(axis=1) / counts[picks].sum(axis=1)
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return Interval(float(numbers.mean()), float(low), float(high), int(numbers.size))
