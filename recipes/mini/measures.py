"""What is measured on each prediction, and simple summaries of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_patchioner.evaluation.metrics.mention import head_mentions, mentions
from napari_patchioner.evaluation.metrics.statistics import Interval, mean_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .run import Trial


def class_mean(predictions: Sequence[Trial]) -> float:
    """Mean over categories of the accuracy within each, so that rare ones count as much."""
    by_name: defaultdict[str, list[float]] = defaultdict(list)
    for one in predictions:
        by_name[one.category].append(is_right(one))
    return float(np.mean([np.mean(values) for values in by_name.values()])) if by_name else 0.0


def best_constant(categories: Sequence[str]) -> tuple[str, float]:
    """Find the one caption "a {category}" that is right most often, and how often.

    Examples
    --------
    >>> best_constant(["person", "person", "dog"])
    ('a person', 0.6666666666666666)
    """
    counts = Counter(categories)
    hits = {
        f"a {name}": sum(count for one, count in counts.items() if mentions(f"a {name}", one))
        for name in counts
    }
    if not hits:
        return "", 0.0
    caption = max(hits, key=lambda text: hits[text])
    return caption, hits[caption] / len(categories)


def is_right(one: Trial) -> float:
    """Whether the caption names the category, 0 or 1."""
    return float(mentions(one.caption.text, one.category))


def is_head(one: Trial) -> float:
    """Whether its first named thing is the category."""
    return float(head_mentions(one.caption.text, one.category))


def is_whole(one: Trial) -> float:
    """Whether the whole image's caption names the category."""
    return float(mentions(one.whole, one.category))


def is_crop(one: Trial) -> float:
    """Whether the crop's caption names the category."""
    return float(mentions(one.crop or "", one.category))


def interval_of(predictions: Sequence[Trial], value: Callable[[Trial], float]) -> Interval:
    """Mean of a value over predictions, with an interval over images."""
    files = [one.sample.image for one in predictions]
    return mean_interval([value(one) for one in predictions], files)


def separation(scores: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> float:
    """Chance that a right caption scores above a wrong one."""
    yes, no = scores[right == 1], scores[right == 0]
    if not len(yes) or not len(no):
        return float("nan")
    gap = yes[:, None] - no[None]
    return float((gap > 0).mean() + 0.5 * (gap == 0).mean())


EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True, slots=True)
class ScoreBin:
    """Captions whose scores lie in one range; ``high`` belongs to the last one only.

    Mean score and share of right captions are nan in an empty bin.
    """

    low: float
    high: float
    count: int
    score: float
    accuracy: float


def score_bins(
    scores: npt.ArrayLike, right: npt.ArrayLike, edges: Sequence[float] = EDGES
) -> list[ScoreBin]:
    """Accuracy by range of score, 0 to 1."""
    scores, right = np.asarray(scores, np.float64), np.asarray(right, np.float64)
    place = np.clip(np.digitize(scores, edges) - 1, 0, len(edges) - 2)
    bins = []
    for number, (low, high) in enumerate(pairwise(edges)):
        here = place == number
        means = (scores[here].mean(), right[here].mean()) if here.any() else (np.nan, np.nan)
        bins.append(ScoreBin(low, high, int(here.sum()), float(means[0]), float(means[1])))
    return bins


def calibration_error(scores: npt.ArrayLike, right: npt.ArrayLike, bins: int = 10) -> float:
    """Measure the expected calibration error: the mean gap between score and accuracy.

    Examples
    --------
    >>> calibration_error([0.75, 0.75, 0.75, 0.75], [1, 1, 1, 0])
    0.0
    """
    count = np.size(scores)
    if not count:
        return float("nan")
    edges = np.linspace(0, 1, bins + 1).tolist()
    filled = [one for one in score_bins(scores, right, edges) if one.count]
    return sum(abs(one.score - one.accuracy) * one.count for one in filled) / count
