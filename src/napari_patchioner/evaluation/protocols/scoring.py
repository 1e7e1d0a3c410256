"""Numbers from predictions: nothing here knows a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_patchioner.annotations import region_from_text
from napari_patchioner.errors import FormatError
from napari_patchioner.evaluation.metrics import METRICS, Captioned
from napari_patchioner.evaluation.metrics.bootstrap import mean_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from napari_patchioner.evaluation.datasets import Task
    from napari_patchioner.evaluation.metrics import Metric, Scored

    from ._predictions import Prediction

Score: TypeAlias = dict[str, Any]
ALL = "all"


def score_predictions(
    predictions: Sequence[Prediction],
    task: Task,
    *,
    metrics: Sequence[str] = (),
    tools: Mapping[str, Any] | None = None,
    paths: Mapping[str, Path] | None = None,
) -> dict[str, dict[str, Score]]:
    """Score every variant, and every subset of it that is reported apart.

    Parameters
    ----------
    predictions : sequence of Prediction
        Of all variants.
    task : {"image", "dense", "region-set", "trace"}
    metrics : sequence of str
        Names in `METRICS`; by default all that suit the task and whose tools are there.
    tools : mapping, optional
        Opened helpers for metrics that need them.
    paths : mapping of str to Path, optional
        Where the images lie.

    Returns
    -------
    dict
        ``scores[variant][group]`` with ``"all"`` among the groups. Each holds ``count``,
        ``images``, ``seconds`` (median per region), ``silent`` (captions that could not be
        written) and ``metrics``: ``value`` by name, with the ends ``low`` and ``high`` of a 95 %
        interval over images where the value is a mean of items.

    Notes
    -----
    CIDEr-D of a subset is the mean over its items under the weights of the whole set, so that
    subsets can be compared with one another.
    """
    chosen = chosen_metrics(task, metrics, tools or {})
    found: dict[str, dict[str, Score]] = {}
    for variant in dict.fromkeys(one.variant for one in predictions):
        own = [one for one in predictions if one.variant == variant]
        given = captioned(own, tools or {}, paths or {})
        items = {metric.name: metric.score(given) for metric in chosen if metric.mean}
        groups = sorted({one.group for one in own} - {""})
        found[variant] = {
            group: _score_group(own, given, chosen, items, group)
            for group in (ALL, *(groups if len(groups) > 1 else ()))
        }
    return found


def check_metrics(
    task: str,
    names: Sequence[str],
    say: Callable[[str], object],
    *,
    regions_of_images: Sequence[int],
    has_categories: bool,
    reads_text: bool | None = None,
) -> None:
    """Refuse metrics asked for by name that can have no value; tell which others have none.

    Parameters
    ----------
    task : {"image", "dense", "region-set", "trace"}
    names : sequence of str
        Names in `METRICS`; where none is given, all that suit the task are meant.
    say : callable
        Told in one sentence what is left out, where no metric is asked for by name.
    regions_of_images : sequence of int
        How many samples each image has.
    has_categories : bool
        Whether any sample names what is there.
    reads_text : bool, optional
        Whether the model can embed a caption; None where that is not known yet.

    Raises
    ------
    FormatError
        A metric asked for by name can have no value here; the sentence says why.
    """
    for name in names or [n for n, metric in METRICS.items() if task in metric.tasks]:
        why = ""
        if task not in METRICS[name].tasks:
            why = f"it is for {' and '.join(METRICS[name].tasks)} captioning, not for {task}"
        elif name == "mention" and not has_categories:
            why = "the data name no category of what is there"
        elif name == "self_retrieval" and max(regions_of_images, default=0) < 2:
            why = "no image has two regions to tell apart"
        elif name == "self_retrieval" and reads_text is False:
            why = "the model cannot read captions"
        if why and names:
            raise FormatError(f"the metric {name!r} cannot be had here: {why}; leave it out")
        if why:
            say(f"left out: {name}, since {why}")


def chosen_metrics(task: Task, names: Sequence[str], tools: Mapping[str, Any]) -> list[Metric]:
    """Metrics asked for, or all that suit a task and whose tools are there."""
    if names:
        return [METRICS[name] for name in names]
    suiting = (metric for metric in METRICS.values() if task in metric.tasks)
    return [metric for metric in suiting if all(need in tools for need in metric.needs)]


def captioned(
    predictions: Sequence[Prediction], tools: Mapping[str, Any], paths: Mapping[str, Path]
) -> Captioned:
    """Return predictions as metrics read them."""
    return Captioned(
        candidates=[one.caption for one in predictions],
        references=[one.references for one in predictions],
        images=[one.image for one in predictions],
        regions=[region_from_text(one.geometry, one.kind, one.members) for one in predictions],
        scores=[one.score for one in predictions],
        paths=paths,
        categories=[one.category for one in predictions],
        found=[one.found for one in predictions],
        tools=tools,
    )


def _score_group(
    predictions: Sequence[Prediction],
    given: Captioned,
    metrics: Sequence[Metric],
    items: Mapping[str, Scored],
    group: str,
) -> Score:
    places = [p for p, one in enumerate(predictions) if group in (ALL, one.group)]
    own = [predictions[place] for place in places]
    part = given if group == ALL else given.take(places)
    values = {m.name: _value(m, items.get(m.name), part, places) for m in metrics}
    return {
        "count": len(own),
        "images": len({one.image for one in own}),
        "silent": sum(bool(one.problem) for one in own),
        "seconds": float(np.median([one.seconds for one in own])) if own else None,
        "metrics": {name: value for name, value in values.items() if value is not None},
    }


def _value(
    metric: Metric, scored: Scored | None, part: Captioned, places: Sequence[int]
) -> Score | None:
    """Value of a metric on a subset; None where it says nothing about it."""
    if scored is None or scored.items is None:
        corpus = metric.score(part).corpus
        return None if np.isnan(corpus) else {"value": float(corpus)}
    numbers = scored.items[list(places)]
    known = ~np.isnan(numbers)
    if not known.any():
        return None
    images = [image for image, there in zip(part.images, known, strict=True) if there]
    interval = mean_interval(numbers[known], images)
    return {
        "value": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "count": interval.count,
    }
