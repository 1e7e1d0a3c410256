"""Numbers from predictions: nothing here knows a model."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from napari_patchioner.annotations import encode_text, region_from_text, table, write_bytes
from napari_patchioner.annotations.files import write_text
from napari_patchioner.errors import FormatError
from napari_patchioner.evaluation.datasets import Task
from napari_patchioner.evaluation.metrics import METRICS, Captioned, Metric
from napari_patchioner.evaluation.metrics.statistics import Interval, mean_interval
from napari_patchioner.limits import check_plain_file

from .predictions import Prediction

Score: TypeAlias = dict[str, Any]
_ALL = "all"
_FIRST = ("run", "task", "dataset", "model", "variant", "group", "images", "samples", "silent")


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
    chosen = _chosen(task, metrics, tools)
    results: dict[str, dict[str, Score]] = {}
    for variant in dict.fromkeys(prediction.variant for prediction in predictions):
        own = [prediction for prediction in predictions if prediction.variant == variant]
        given = _captioned(own, tools, paths)
        items = {metric.name: metric.score(given).items for metric in chosen if metric.mean}
        groups = sorted({item.group for item in own} - {""})
        results[variant] = {}
        for group in (_ALL, *(groups if len(groups) > 1 else ())):
            places = [p for p, item in enumerate(own) if group in (_ALL, item.group)]
            part = given if group == _ALL else given.take(places)
            values = {}
            for metric in chosen:
                numbers = items.get(metric.name)
                value = (
                    _corpus_value(metric.score(part).corpus)
                    if numbers is None
                    else _mean_value(numbers[places], part.images)
                )
                if value is not None:
                    values[metric.name] = value
            seconds = [own[place].seconds for place in places]
            results[variant][group] = {
                "count": len(places),
                "images": len(set(part.images)),
                "silent": sum(bool(own[place].problem) for place in places),
                "seconds": float(np.median(seconds)) if seconds else None,
                "metrics": values,
            }
    return results


def _corpus_value(corpus: float) -> Score | None:
    """Return what is written of a metric of a whole set; None where it says nothing about it."""
    return None if np.isnan(corpus) else {"value": float(corpus)}


def _mean_value(numbers: Any, images: Sequence[str]) -> Score | None:
    """Return what is written of a metric that is the mean of its items."""
    known = ~np.isnan(numbers)
    if not known.any():
        return None
    interval = mean_interval(numbers[known], np.asarray(images)[known].tolist())
    ends = {"low": interval.low, "high": interval.high}
    return {"value": interval.mean, **ends, "count": interval.count}


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


def _chosen(task: Task, names: Sequence[str], tools: Mapping[str, Any] | None) -> list[Metric]:
    """Return metrics asked for, or all that suit a task and whose tools are there."""
    if names:
        return [METRICS[name] for name in names]
    suiting = (metric for metric in METRICS.values() if task in metric.tasks)
    return [metric for metric in suiting if set(metric.needs) <= set(tools or {})]


def _captioned(
    predictions: Sequence[Prediction],
    tools: Mapping[str, Any] | None,
    paths: Mapping[str, Path] | None,
) -> Captioned:
    """Return predictions as metrics read them."""
    return Captioned(
        candidates=[item.caption for item in predictions],
        references=[item.references for item in predictions],
        images=[item.image for item in predictions],
        regions=[region_from_text(p.geometry, p.kind, p.members) for p in predictions],
        scores=[item.score for item in predictions],
        paths=paths or {},
        categories=[item.category for item in predictions],
        found=[item.found for item in predictions],
        tools=tools or {},
    )


def write_scores(path: Path, scores: Mapping[str, Any]) -> None:
    """Write ``asked``, ``scores[variant][group]`` and whatever else belongs to a run as JSON."""
    text = json.dumps(scores, indent=1, ensure_ascii=False, allow_nan=False)
    write_bytes(path, encode_text(f"{text}\n"))


def read_scores(path: Path) -> dict[str, Any]:
    """Read the scores of a run; a FormatError if the file is missing or does not hold any."""
    if os.path.exists(path):
        check_plain_file(path)
    try:
        scores = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or error
        raise FormatError(f"{path}: holds no scores ({why})") from error
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
    rows: list[dict[str, str]] = []
    if path.exists() and not (path.is_file() and not path.stat().st_size):
        before = table.read_table(path)
        before.require(("run",), "a table of runs")
        named = (map(table.unguard_cell, cells) for _, cells in before.rows)
        rows = [dict(zip(before.columns, cells, strict=True)) for cells in named]
    rows = [row for row in rows if row.get("run") != run] + list(_new_rows(run, scores))
    columns = list(dict.fromkeys([*_FIRST, *(name for row in rows for name in row)]))
    # Names of runs, models and files are other people's, and a spreadsheet would run some.
    cells = ([table.guard_extra_cell(row.get(name, "")) for name in columns] for row in rows)
    write_text(path, table.format_table(columns, cells))


def _new_rows(run: str, scores: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    asked = {name: scores["asked"][name] for name in ("task", "dataset", "model")}
    for variant, groups in scores["scores"].items():
        for group, results in groups.items():
            seconds = results["seconds"]
            row = {
                "run": run,
                **asked,
                "variant": variant,
                "group": group,
                "images": str(results["images"]),
                "samples": str(results["count"]),
                "silent": str(results["silent"]),
                "seconds": "" if seconds is None else f"{seconds:.6g}",
            }
            for name, value in results["metrics"].items():
                row[name] = f"{value['value']:.6g}"
                for end in ("low", "high"):
                    if end in value:
                        row[f"{name}_{end}"] = f"{value[end]:.6g}"
            yield row


@dataclass(frozen=True, slots=True)
class Difference:
    """What one run scores above another on the same samples, by one metric.

    The gain is second minus first, with its 95 % interval over images; ends are nan for a metric
    that has no score for single captions.
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
    task, metrics, tools, paths
        As for `score_predictions`.

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
    left, right = ({item.sample: item for item in run} for run in (first, second))
    if len(left) < len(first) or len(right) < len(second):
        raise FormatError("A run has several captions of a sample; compare one variant of each.")
    shared = [name for name in left if name in right]
    if not shared:
        raise FormatError("The runs share no sample; compare runs of the same data set.")
    strange = next((n for n in shared if left[n].references != right[n].references), None)
    if strange is not None:
        raise FormatError(
            f"Sample {strange!r} is another in each run; compare runs of the same data set."
        )
    result, other = (_captioned([run[n] for n in shared], tools, paths) for run in (left, right))
    results = (_difference(metric, result, other) for metric in _chosen(task, metrics, tools))
    return [difference for difference in results if not np.isnan(difference.gain.mean)]


def _difference(metric: Metric, item: Captioned, other: Captioned) -> Difference:
    left, right = metric.score(item), metric.score(other)
    if not metric.mean or left.items is None or right.items is None:
        gain = Interval(right.corpus - left.corpus, np.nan, np.nan, len(item.candidates))
        return Difference(metric.name, left.corpus, right.corpus, gain)
    known = ~(np.isnan(left.items) | np.isnan(right.items))
    before, after = left.items[known], right.items[known]
    gain = mean_interval(after - before, np.asarray(item.images)[known].tolist())
    means = [float(items.mean()) if items.size else np.nan for items in (before, after)]
    return Difference(metric.name, means[0], means[1], gain)
