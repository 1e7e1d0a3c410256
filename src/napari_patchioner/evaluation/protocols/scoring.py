"""Numbers from predictions: nothing here knows a model."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
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

    ``metrics`` are names in `METRICS`, by default of all that suit the task and whose ``tools`` are
    open; ``paths`` are those of the images by their ids, for metrics that read them.

    Returns ``scores[variant][group]`` with ``"all"`` among the groups. Each holds ``count``,
    ``images``, ``seconds`` (median per region), ``silent`` (captions that could not be written) and
    ``metrics``: ``value`` by name, with the ends ``low`` and ``high`` of a 95 % interval over
    images where the value is a mean of items. CIDEr-D of a subset is the mean over its items under
    the weights of the whole set, so that subsets can be compared with one another.
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
                if numbers is not None:
                    interval = _interval(numbers[places], part.images)
                    names = ("value", "low", "high", "count")
                    value = dict(zip(names, astuple(interval), strict=True))
                else:
                    value = {"value": float(metric.score(part).corpus)}
                if not np.isnan(value["value"]):
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


def _interval(numbers: Any, images: Sequence[str]) -> Interval:
    """Mean of what is known of the items, with its interval; nan where nothing is."""
    known = ~np.isnan(numbers)
    return mean_interval(numbers[known], np.asarray(images)[known].tolist())


def check_metrics(
    task: str,
    names: Sequence[str],
    say: Callable[[str], object],
    *,
    regions_of_images: Sequence[int],
    has_categories: bool,
    reads_text: bool | None = None,
) -> None:
    """Refuse metrics asked for by name that can have no value; ``say`` which others have none.

    Without ``names`` all metrics that suit the task are meant. ``regions_of_images`` are the
    numbers of samples of the images, ``has_categories`` says whether any sample names what is
    there, ``reads_text`` whether the model can embed a caption (None: not known yet). The
    FormatError says why a metric can have no value here.
    """
    for name in names or [metric.name for metric in _suiting(task)]:
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


def _suiting(task: str) -> list[Metric]:
    return [metric for metric in METRICS.values() if task in metric.tasks]


def _chosen(task: Task, names: Sequence[str], tools: Mapping[str, Any] | None) -> list[Metric]:
    """Return metrics asked for, or all that suit a task and whose tools are there."""
    if names:
        return [METRICS[name] for name in names]
    return [metric for metric in _suiting(task) if set(metric.needs) <= set(tools or {})]


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


def check_runs(path: Path) -> None:
    """Refuse a file to which `append_row` cannot add, before anything is scored."""
    _rows_before(path)


def _rows_before(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table of runs; none where it is not there or empty."""
    if not path.exists() or (path.is_file() and not path.stat().st_size):
        return []
    before = table.read_table(path)
    before.require(("run",), "a table of runs")
    named = (map(table.unguard_cell, cells) for _, cells in before.rows)
    return [dict(zip(before.columns, cells, strict=True)) for cells in named]


def append_row(path: Path, run: str, scores: Mapping[str, Any]) -> None:
    """Add the rows of a run to a table of runs; rows of an earlier run of that name are replaced.

    The CSV file is made where it is not there, columns are added where they are new, and texts that
    a spreadsheet would take for a formula get an apostrophe in front. A FormatError where the file
    is no table of runs, or cannot be written.
    """
    rows = _rows_before(path)
    rows = [row for row in rows if row.get("run") != run] + list(_new_rows(run, scores))
    columns = list(dict.fromkeys([*_FIRST, *(name for row in rows for name in row)]))
    # Names of runs, models and files are other people's, and a spreadsheet would run some.
    cells = ([table.guard_extra_cell(row.get(name, "")) for name in columns] for row in rows)
    write_text(path, table.format_table(columns, cells))


def _new_rows(run: str, scores: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    asked = {name: scores["asked"][name] for name in ("task", "dataset", "model")}
    for variant, groups in scores["scores"].items():
        for group, results in groups.items():
            row = {"run": run, **asked, "variant": variant, "group": group}
            counts = {"images": "images", "samples": "count", "silent": "silent"}
            row |= {column: str(results[name]) for column, name in counts.items()}
            seconds = results["seconds"]
            row["seconds"] = "" if seconds is None else f"{seconds:.6g}"
            for name, value in results["metrics"].items():
                for end in ("value", "low", "high"):
                    if end in value:
                        row[name if end == "value" else f"{name}_{end}"] = f"{value[end]:.6g}"
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

    Samples that only one of them has are left out, and so are metrics that say nothing about one of
    them; the rest is as for `score_predictions`. A FormatError where the runs share no sample, have
    other references for one, or one of them holds several variants.
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
    before, after = (
        float(items[known].mean()) if known.any() else np.nan for items in (left.items, right.items)
    )
    gain = _interval(right.items - left.items, item.images)
    return Difference(metric.name, before, after, gain)
