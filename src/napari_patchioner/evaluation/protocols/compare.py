"""Two runs side by side, on the samples both have, with paired intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.errors import FormatError
from napari_patchioner.evaluation.metrics.bootstrap import Interval, mean_interval

from .scoring import captioned, chosen_metrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_patchioner.evaluation.datasets import Task
    from napari_patchioner.evaluation.metrics import Captioned, Metric

    from ._predictions import Prediction


@dataclass(frozen=True, slots=True)
class Difference:
    """What one run scores above another on the same samples.

    Attributes
    ----------
    metric : str
        Name of the metric.
    first, second : float
        Score of each run on the shared samples.
    gain : Interval
        Second minus first, with its 95 % interval over images; ends are nan for a metric that
        has no score for single captions.
    """

    metric: str
    first: float
    second: float
    gain: Interval

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.gain.low > 0 or self.gain.high < 0


def compare_runs(
    first: Sequence[Prediction],
    second: Sequence[Prediction],
    task: Task,
    *,
    metrics: Sequence[str] = (),
    tools: Mapping[str, Any] | None = None,
    paths: Mapping[str, Path] | None = None,
) -> list[Difference]:
    """Compare two runs, or two variants of one, by a paired bootstrap over images.

    Parameters
    ----------
    first, second : sequence of Prediction
        One variant each; samples that only one of them has are left out.
    task : {"image", "dense", "region-set", "trace"}
    metrics : sequence of str
        Names in `METRICS`; by default all that suit the task and whose tools are there.
    tools : mapping, optional
        Opened helpers for metrics that need them.
    paths : mapping of str to Path, optional
        Where the images lie, for metrics that look at them.

    Returns
    -------
    list of Difference
        One per metric that says something about both.

    Raises
    ------
    FormatError
        The runs share no sample, have other references for one, or one of them holds several
        variants.
    """
    left, right = _by_sample(first), _by_sample(second)
    shared = [name for name in left if name in right]
    if not shared:
        raise FormatError("The runs share no sample; compare runs of the same data set.")
    strange = next((n for n in shared if left[n].references != right[n].references), None)
    if strange is not None:
        raise FormatError(
            f"Sample {strange!r} is another in each run; compare runs of the same data set."
        )
    one = captioned([left[name] for name in shared], tools or {}, paths or {})
    other = captioned([right[name] for name in shared], tools or {}, paths or {})
    found = (
        _difference(metric, one, other) for metric in chosen_metrics(task, metrics, tools or {})
    )
    return [difference for difference in found if not np.isnan(difference.gain.mean)]


def _by_sample(predictions: Sequence[Prediction]) -> dict[str, Prediction]:
    by_sample = {one.sample: one for one in predictions}
    if len(by_sample) < len(predictions):
        raise FormatError("A run has several captions of a sample; compare one variant of each.")
    return by_sample


def _difference(metric: Metric, one: Captioned, other: Captioned) -> Difference:
    left, right = metric.score(one), metric.score(other)
    if not metric.mean or left.items is None or right.items is None:
        gain = Interval(right.corpus - left.corpus, np.nan, np.nan, len(one.candidates))
        return Difference(metric.name, left.corpus, right.corpus, gain)
    pair = (left.items, right.items)
    known = ~(np.isnan(left.items) | np.isnan(right.items))
    images = [image for image, there in zip(one.images, known, strict=True) if there]
    gain = mean_interval((right.items - left.items)[known], images)
    means = [float(items[known].mean()) if known.any() else np.nan for items in pair]
    return Difference(metric.name, means[0], means[1], gain)
