"""Whether a score of 0.7 means right seven times in ten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    right : sequence of bool or float, length n
        Whether each caption was right.
    edges : sequence of float
        Ascending ends of the ranges.

    Returns
    -------
    list of ScoreBin
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

    Parameters
    ----------
    scores, right : sequence of float, length n
        As in `score_bins`.
    bins : int
        How many equal ranges.

    Returns
    -------
    float
        0 is perfect; nan without captions.

    Examples
    --------
    >>> calibration_error([0.75, 0.75, 0.75, 0.75], [1, 1, 1, 0])
    0.0
    """
    if not len(scores):
        return float("nan")
    filled = [b for b in score_bins(scores, right, np.linspace(0, 1, bins + 1)) if b.count]
    return sum(abs(b.score - b.accuracy) * b.count for b in filled) / len(scores)
