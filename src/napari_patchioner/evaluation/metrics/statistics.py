"""How far a mean may be trusted: confidence intervals by drawing whole images again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its confidence interval.

    Attributes
    ----------
    mean, low, high : float
        The estimate and the ends of the interval.
    count : int
        How many values went in.
    """

    mean: float
    low: float
    high: float
    count: int


def mean_interval(
    values: Sequence[float] | npt.NDArray[np.float64],
    images: Sequence[str],
    *,
    draws: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Mean of values with a percentile interval over images.

    Regions of one image are not independent, so images are drawn, not regions. For a paired
    comparison give the differences.

    Examples
    --------
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


EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True, slots=True)
class ScoreBin:
    """Captions whose scores lie in one range.

    Attributes
    ----------
    low, high : float
        The range; ``high`` belongs to the last bin only.
    count : int
        Captions in it.
    score, accuracy : float
        Mean score and share of right captions, nan in an empty bin.
    """

    low: float
    high: float
    count: int
    score: float
    accuracy: float


def score_bins(
    scores: Sequence[float] | npt.NDArray[np.float64],
    right: Sequence[float] | npt.NDArray[np.float64],
    edges: Sequence[float] | npt.NDArray[np.float64] = EDGES,
) -> list[ScoreBin]:
    """Accuracy by range of score.

    Parameters
    ----------
    scores : sequence of float, length n
        0 to 1.
    """
    scores, right = np.asarray(scores, np.float64), np.asarray(right, np.float64)
    place = np.clip(np.digitize(scores, edges) - 1, 0, len(edges) - 2)
    bins = []
    for number in range(len(edges) - 1):
        here = place == number
        count = int(here.sum())
        means = (scores[here].mean(), right[here].mean()) if count else (np.nan, np.nan)
        bins.append(
            ScoreBin(edges[number], edges[number + 1], count, float(means[0]), float(means[1]))
        )
    return bins


def calibration_error(
    scores: Sequence[float] | npt.NDArray[np.float64],
    right: Sequence[float] | npt.NDArray[np.float64],
    bins: int = 10,
) -> float:
    """Measure the expected calibration error: the mean gap between score and accuracy.

    Examples
    --------
    >>> calibration_error([0.75, 0.75, 0.75, 0.75], [1, 1, 1, 0])
    0.0
    """
    if not len(scores):
        return float("nan")
    filled = [b for b in score_bins(scores, right, np.linspace(0, 1, bins + 1)) if b.count]
    return sum(abs(b.score - b.accuracy) * b.count for b in filled) / len(scores)
