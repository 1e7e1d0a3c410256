"""Numbers from predictions: nothing here knows a model."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_patchioner.annotations import encode_text, region_from_text, write_bytes
from napari_patchioner.annotations.files import write_text
from napari_patchioner.annotations.table import (
    format_table,
    guard_extra_cell,
    read_table,
    unguard_cell,
)
from napari_patchioner.errors import FormatError
from napari_patchioner.evaluation.metrics import METRICS, Captioned
from napari_patchioner.evaluation.metrics.statistics import Interval, mean_interval
from napari_patchioner.limits import check_plain_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from napari_patchioner.evaluation.datasets import Task
    from napari_patchioner.evaluation.metrics import Metric, Scored

    from .predictions import Prediction

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
    results: dict[str, dict[str, Score]] = {}
    for variant in dict.fromkeys(prediction.variant for prediction in predictions):
        own = [prediction for prediction in predictions if prediction.variant == variant]
        given = captioned(own, tools or {}, paths or {})
        items = {metric.name: metric.score(given) for metric in chosen if metric.mean}
        groups = sorted({item.group for item in own} - {""})
        results[variant] = {
            group: _score_group(own, given, chosen, items, group)
            for group in (ALL, *(groups if len(groups) > 1 else ()))
        }
    return results


def check_metrics(
    task: str,
    names: Sequence[str],
    say: Callable[[str], object],
    *,
    regions_of_images: Sequence[int],
    has_categories: bool,
    reads_text: bool | None = None,
) -> None:
    """Refuse metrics asked for by name that can have no value; report which others have none.

    Parameters
    ----------
    task : {"image", "dense", "region-set", "trace"}
    names : sequence of str
        Names in `METRICS`; where none is given, all that suit the task are meant.
    say : callable
        Given one sentence about what is left out, where no metric is asked for by name.
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
            why = "no image has two regions to distinguish"
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
        candidates=[prediction.caption for prediction in predictions],
        references=[prediction.references for prediction in predictions],
        images=[prediction.image for prediction in predictions],
        regions=[
            region_from_text(prediction.geometry, prediction.kind, prediction.members)
            for prediction in predictions
        ],
        scores=[prediction.score for prediction in predictions],
        paths=paths,
        categories=[prediction.category for prediction in predictions],
        found=[prediction.found for prediction in predictions],
        tools=tools,
    )


def _score_group(
    predictions: Sequence[Prediction],
    given: Captioned,
    metrics: Sequence[Metric],
    items: Mapping[str, Scored],
    group: str,
) -> Score:
    places = [p for p, prediction in enumerate(predictions) if group in (ALL, prediction.group)]
    own = [predictions[place] for place in places]
    part = given if group == ALL else given.take(places)
    values = {m.name: _value(m, items.get(m.name), part, places) for m in metrics}
    return {
        "count": len(own),
        "images": len({item.image for item in own}),
        "silent": sum(bool(item.problem) for item in own),
        "seconds": float(np.median([item.seconds for item in own])) if own else None,
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
    images = [image for image, present in zip(part.images, known, strict=True) if present]
    interval = mean_interval(numbers[known], images)
    return {
        "value": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "count": interval.count,
    }


FIRST = ("run", "task", "dataset", "model", "variant", "group", "images", "samples", "silent")


def write_scores(path: Path, scores: Mapping[str, Any]) -> None:
    """Write the scores of a run, whole or not at all.

    Parameters
    ----------
    path : Path
    scores : mapping
        ``asked``, ``scores[variant][group]`` and whatever else belongs to the run.
    """
    text = json.dumps(scores, indent=1, ensure_ascii=False, allow_nan=False)
    write_bytes(path, encode_text(f"{text}\n"))


def read_scores(path: Path) -> dict[str, Any]:
    """Read the scores of a run.

    Raises
    ------
    FormatError
        The file is missing or does not hold scores.
    """
    if os.path.exists(path):
        check_plain_file(path)
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FormatError(f"{path}: holds no scores ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: holds no scores ({error})") from error
    if not isinstance(scores, dict) or not isinstance(scores.get("scores"), dict):
        raise FormatError(f"{path}: holds no scores; name a folder that 'evaluate' wrote")
    return scores


def append_row(path: Path, run: str, scores: Mapping[str, Any]) -> None:
    """Add the rows of a run to a table of runs; rows of an earlier run of that name are replaced.

    Parameters
    ----------
    path : Path
        A CSV file; made where it is not there, with columns added where they are new.
        Texts that a spreadsheet would take for a formula get an apostrophe in front.
    run : str
        Name of the run.
    scores : mapping
        As for `write_scores`.

    Raises
    ------
    FormatError
        The file is there and no table of runs, or cannot be written.
    """
    before = _rows(path)
    rows = [row for row in before if row.get("run") != run] + list(_new_rows(run, scores))
    columns = list(dict.fromkeys([*FIRST, *(name for row in rows for name in row)]))
    # Names of runs, models and files are other people's, and a spreadsheet would run some.
    cells = ([guard_extra_cell(row.get(name, "")) for name in columns] for row in rows)
    write_text(path, format_table(columns, cells))


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists() or (path.is_file() and not path.stat().st_size):
        return []
    table = read_table(path)
    table.require(("run",), "a table of runs")
    return [
        dict(zip(table.columns, map(unguard_cell, cells), strict=True)) for _, cells in table.rows
    ]


def _new_rows(run: str, scores: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    asked = scores["asked"]
    for variant, groups in scores["scores"].items():
        for group, results in groups.items():
            row = {
                "run": run,
                "task": asked["task"],
                "dataset": asked["dataset"],
                "model": asked["model"],
                "variant": variant,
                "group": group,
                "images": str(results["images"]),
                "samples": str(results["count"]),
                "silent": str(results["silent"]),
                "seconds": "" if results["seconds"] is None else f"{results['seconds']:.6g}",
            }
            for name, value in results["metrics"].items():
                row |= {name: f"{value['value']:.6g}"}
                row |= {
                    f"{name}_{end}": f"{value[end]:.6g}" for end in ("low", "high") if end in value
                }
            yield row


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
        Where the images lie, for metrics that read them.

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
    result = captioned([left[name] for name in shared], tools or {}, paths or {})
    other = captioned([right[name] for name in shared], tools or {}, paths or {})
    results = (
        _difference(metric, result, other) for metric in chosen_metrics(task, metrics, tools or {})
    )
    return [difference for difference in results if not np.isnan(difference.gain.mean)]


def _by_sample(predictions: Sequence[Prediction]) -> dict[str, Prediction]:
    by_sample = {prediction.sample: prediction for prediction in predictions}
    if len(by_sample) < len(predictions):
        raise FormatError("A run has several captions of a sample; compare one variant of each.")
    return by_sample


def _difference(metric: Metric, item: Captioned, other: Captioned) -> Difference:
    left, right = metric.score(item), metric.score(other)
    if not metric.mean or left.items is None or right.items is None:
        gain = Interval(right.corpus - left.corpus, np.nan, np.nan, len(item.candidates))
        return Difference(metric.name, left.corpus, right.corpus, gain)
    pair = (left.items, right.items)
    known = ~(np.isnan(left.items) | np.isnan(right.items))
    images = [image for image, present in zip(item.images, known, strict=True) if present]
    gain = mean_interval((right.items - left.items)[known], images)
    means = [float(items[known].mean()) if known.any() else np.nan for items in pair]
    return Difference(metric.name, means[0], means[1], gain)
