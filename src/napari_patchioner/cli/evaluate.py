"""The sub-command ``evaluate``: a model on a published data set, scored, shown and compared."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_patchioner.errors import FormatError, PatchionerError
from napari_patchioner.locking import WriteLock

from .outputs import check_outputs
from .shared import Bar, check_folder, make_folder, positive, say, split_names

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner
    from napari_patchioner.evaluation.datasets import Dataset
    from napari_patchioner.evaluation.protocols import Evaluation, Prediction

TASKS = ("image", "dense", "region-set", "trace")
BASELINES = ("crop", "whole-image", "class-token")
AGGREGATIONS = ("mean", "gaussian", "attention", "cls")
PREDICTIONS, SCORES, PAGE, TABLE = "predictions.jsonl", "scores.json", "index.html", "scores.csv"


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``evaluate``."""
    parser.add_argument("task", nargs="?", choices=TASKS, help="one of the paper's four tasks")
    parser.add_argument("--data", type=Path, metavar="FILE", help="data set in its published file")
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of its images")
    parser.add_argument("--model", metavar="ID", help="model to evaluate")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for all that is written")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace files in --out that are of no earlier run"
    )
    parser.add_argument(
        "--baseline",
        action="append",
        choices=BASELINES,
        default=[],
        help="score this beside the model's own captions; may be given several times",
    )
    parser.add_argument("--aggregation", choices=AGGREGATIONS, help="how patches become a vector")
    parser.add_argument("--limit", type=positive, metavar="N", help="take the first N images")
    parser.add_argument("--split", metavar="NAME", help="part of a file that has parts (test)")
    parser.add_argument("--skip-missing", action="store_true", help="leave out images not there")
    parser.add_argument("--metrics", metavar="A,B,...", help="by default all that suit the task")
    parser.add_argument("--clip", type=Path, metavar="DIR", help="CLIP ViT-B/32, for CLIPScore")
    parser.add_argument("--pac", type=Path, metavar="FILE", help="weights of PAC-S")
    parser.add_argument("--table", type=Path, metavar="FILE", help="CSV that collects many runs")
    parser.add_argument(
        "--compare",
        nargs=2,
        metavar=("RUN", "RUN"),
        help="compare two earlier runs (DIR or DIR:VARIANT) instead",
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, load: Callable[[str], Captioner]) -> None:
    """Evaluate or compare; standard output gets a table in Markdown."""
    if arguments.compare:
        first, second = arguments.compare
        print(_compare(first, second, arguments))
        return
    missing = [n for n in ("task", "data", "images", "model", "out") if not getattr(arguments, n)]
    if missing:
        wanted = ", ".join(name if name == "task" else f"--{name}" for name in missing)
        raise FormatError(f"evaluate needs {wanted}; see napari-patchioner evaluate --help")
    print(_evaluate(arguments, load))


def _evaluate(arguments: argparse.Namespace, load: Callable[[str], Captioner]) -> str:
    from napari_patchioner.evaluation import datasets, metrics, protocols

    names = _names(arguments.metrics)
    out, table = arguments.out, arguments.table
    make_folder(out)
    check_folder(out)
    is_run = (out / PREDICTIONS).exists()
    files = [out / name for name in (SCORES, PAGE, TABLE)]
    check_outputs(files, inputs=[arguments.data], overwrite=arguments.overwrite or is_run)
    if table:
        if table.exists() and not table.is_file():
            raise FormatError(f"{table}: is no file; name a CSV file by --table")
        check_folder(table.parent)
    for path in filter(None, (out / TABLE, table)):
        protocols.check_runs(path)
    dataset = datasets.open_dataset(
        arguments.task,
        arguments.data,
        arguments.images,
        split=arguments.split,
        skip_missing=arguments.skip_missing,
    )
    samples = list(dataset.samples())
    protocols.check_metrics(
        arguments.task,
        names,
        say,
        regions_of_images=list(Counter(sample.image for sample in samples).values()),
        has_categories=any(sample.extra.get("category") for sample in samples),
    )
    tools = metrics.open_tools(arguments.task, names, say, arguments.clip, arguments.pac)
    lock = WriteLock(arguments.out / PREDICTIONS, str(arguments.out))
    try:
        captioner = load(arguments.model)
        if "self_retrieval" in names:
            _check_reads_text(captioner)
        with Bar() as bar:
            done = protocols.evaluate(
                dataset,
                captioner,
                arguments.out / PREDICTIONS,
                variants=["model", *dict.fromkeys(arguments.baseline)],
                options={"pooling": arguments.aggregation} if arguments.aggregation else {},
                limit=arguments.limit,
                progress=bar,
            )
        return _publish(arguments, dataset, done, names, tools)
    finally:
        lock.release()


def _check_reads_text(captioner: Captioner) -> None:
    """Refuse the metric for which the model has to read its own captions, where it cannot."""
    from napari_patchioner.backbones import TextTower

    backbone, why = captioner.backbone, "the model cannot read captions"
    if isinstance(backbone, TextTower):
        try:
            backbone.embed_text(["a cat"])
        except PatchionerError as error:
            why = str(error)
        else:
            return
    raise FormatError(f"the metric 'self_retrieval' cannot be had here: {why}; leave it out")


def _publish(
    arguments: argparse.Namespace,
    dataset: Dataset,
    done: Evaluation,
    names: Sequence[str],
    tools: Mapping[str, Any],
) -> str:
    """Write everything there is to read of a run; return its table."""
    from napari_patchioner.evaluation import protocols

    out = arguments.out
    images = {prediction.image for prediction in done.predictions}
    paths = {image: dataset.find(image) for image in images}
    scored = protocols.score_predictions(
        done.predictions, arguments.task, metrics=names, tools=tools, paths=paths
    )
    seconds = sorted(done.encode_seconds)
    scores = {
        "asked": done.asked,
        "missing": len(done.missing),
        "failed": done.failed,
        "encode_seconds": seconds[len(seconds) // 2] if seconds else None,
        "scores": scored,
    }
    for name in names:
        if not any(name in groups["all"]["metrics"] for groups in scored.values()):
            say(f"{name}: has no value on these captions")
    protocols.write_scores(out / SCORES, scores)
    protocols.write_page(out / PAGE, scores, done.predictions, dataset.find)
    for table in filter(None, (out / TABLE, arguments.table)):
        protocols.append_row(table, out.name, scores)
    if done.missing:
        are = "image is" if len(done.missing) == 1 else "images are"
        say(f"{len(done.missing)} {are} not in the folder and left out")
    for name, why in done.failed.items():
        say(f"{name}: {why}")
    say(f"wrote {out / PREDICTIONS}, {SCORES}, {PAGE}, {TABLE}")
    return protocols.markdown(scored)


def _names(text: str | None) -> list[str]:
    from napari_patchioner.evaluation.metrics import METRICS

    names = split_names(text)
    if unknown := [name for name in names if name not in METRICS]:
        raise FormatError(
            f"there is no metric {unknown[0]!r}; those there are: {', '.join(METRICS)}"
        )
    return names


def _compare(first: str, second: str, arguments: argparse.Namespace) -> str:
    from napari_patchioner.evaluation import datasets, metrics, protocols

    (run, predictions), (other_run, others) = _side(first), _side(second)
    task = run["task"]
    if task != other_run["task"]:
        raise FormatError(
            f"{first} is {task} captioning but {second} is {other_run['task']} "
            "captioning; compare runs of one task"
        )
    names = _names(arguments.metrics)
    images = Counter(prediction.image for prediction in predictions)
    protocols.check_metrics(
        task,
        names,
        say,
        regions_of_images=list(images.values()),
        has_categories=any(prediction.category for prediction in predictions),
        reads_text=any(prediction.found is not None for prediction in predictions),
    )
    tools = metrics.open_tools(task, names, say, arguments.clip, arguments.pac)
    folder = datasets.ImageFolder(arguments.images) if arguments.images else None
    paths = {image: folder.find(image) for image in images} if folder else {}
    scores = protocols.compare_runs(
        predictions, others, task, metrics=names, tools=tools, paths=paths
    )
    return protocols.differences(scores, (first, second))


def _side(run: str) -> tuple[dict[str, Any], list[Prediction]]:
    """Return the settings and the captions of a run, DIR or DIR:VARIANT."""
    from napari_patchioner.evaluation import protocols

    folder, colon, variant = run.rpartition(":")
    if not colon or variant not in protocols.VARIANTS:
        folder, variant = run, "model"
    settings, predictions = protocols.read_predictions(Path(folder) / PREDICTIONS)
    own = [prediction for prediction in predictions if prediction.variant == variant]
    if not own:
        known = ", ".join(dict.fromkeys(prediction.variant for prediction in predictions))
        raise FormatError(f"{folder}: has no captions from {variant}; it has {known}")
    return settings, own
