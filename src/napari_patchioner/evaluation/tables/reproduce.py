"""Running a table of the paper, and printing it beside what was published."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_patchioner.errors import PatchionerError
from napari_patchioner.evaluation.datasets import open_dataset
from napari_patchioner.evaluation.metrics import METRICS
from napari_patchioner.evaluation.protocols import evaluate, score_predictions, write_scores
from napari_patchioner.evaluation.protocols.page import markdown_table
from napari_patchioner.progress import Progress, no_progress, part

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from napari_patchioner.captioner import Captioner

    from .published import Column, Row, Table


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of a table.

    Attributes
    ----------
    row, column : str
        Titles.
    value : float or None
        What was measured, times 100; None where that was not possible.
    published : float or None
        What the paper has, times 100.
    count : int
        Samples it was measured on.
    why : str
        Why there is no value.
    """

    row: str
    column: str
    value: float | None
    published: float | None
    count: int = 0
    why: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class Bench:
    """Where the data lie, where results go, and how much is asked for.

    Attributes
    ----------
    root : Path
        Folder of the data, with the files where the table names them.
    out : Path
        Predictions and scores go to ``out/ROW/COLUMN``; a run that was stopped goes on.
    limit : int or None
        Images of every data set.
    skip_missing : bool
        Leave out images that are not there.
    tools : mapping
        Opened helpers of the metric.
    """

    root: Path
    out: Path
    limit: int | None = None
    skip_missing: bool = False
    tools: Mapping[str, Any] = field(default_factory=dict)


def reproduce(
    table: Table,
    bench: Bench,
    load: Callable[[str], Captioner],
    *,
    models: Sequence[str] = (),
    progress: Progress = no_progress,
) -> list[Cell]:
    """Run every model of a table on every data set of it; what is missing leaves its cell empty.

    Parameters
    ----------
    table : Table
    bench : Bench
    load : callable
        Loads a model by its id; raises `PatchionerError` for one that is not installed.
    models : sequence of str
        Take rows of these models alone.
    progress : callable
        Given the fraction done and a message; may raise ``Cancelled``.

    Returns
    -------
    list of Cell
        Row by row.
    """
    rows = [row for row in table.rows if not models or row.model in models]
    cells: list[Cell] = []
    total = max(1, len(rows) * len(table.columns))
    for row in rows:
        try:
            captioner = load(row.model)
        except PatchionerError as error:
            cells += [_empty(row, column, str(error)) for column in table.columns]
            continue
        for column in table.columns:
            title = f"{row.title}, {column.title}"
            inner = part(_titled(progress, title), len(cells) / total, (len(cells) + 1) / total)
            try:
                cells.append(_measure(table, bench, row, column, captioner, inner))
            except PatchionerError as error:
                cells.append(_empty(row, column, str(error)))
    return cells


def print_table(table: Table, cells: Sequence[Cell]) -> str:
    """Write measured numbers with the published ones behind them, as Markdown.

    Parameters
    ----------
    table : Table
    cells : sequence of Cell
        Of `reproduce`.

    Returns
    -------
    str
        ``27.9 / 27.9``: measured / published; a dash where there is none.
    """
    results = {(cell.row, cell.column): cell for cell in cells}
    rows = list(dict.fromkeys(cell.row for cell in cells))
    titles = [column.title for column in table.columns]
    lines = [[row, *(_pair(results[row, title]) for title in titles)] for row in rows]
    name = METRICS[table.metric].title
    head = [f"{name}, measured / published", *titles]
    return f"{table.title}\n\n{markdown_table(head, lines)}\n\nPublished: {table.source}."


def _measure(
    table: Table,
    bench: Bench,
    row: Row,
    column: Column,
    captioner: Captioner,
    progress: Progress,
) -> Cell:
    dataset = open_dataset(
        column.task,
        bench.root / column.data,
        bench.root / column.images,
        split=column.split,
        skip_missing=bench.skip_missing,
    )
    variant = row.variant.get(column.name, "model")
    pooling = row.aggregation.get(column.name)
    folder = bench.out / _file_name(row.title) / column.name
    done = evaluate(
        dataset,
        captioner,
        folder / "predictions.jsonl",
        variants=[variant],
        options={"pooling": pooling} if pooling else {},
        limit=bench.limit,
        progress=progress,
    )
    if not done.predictions:
        return _empty(row, column, f"{column.data}: no sample of it has its image here")
    scores = score_predictions(
        done.predictions, column.task, metrics=[table.metric], tools=bench.tools
    )
    write_scores(folder / "scores.json", {"asked": done.asked, "scores": scores})
    result = scores[variant]["all"]
    value = result["metrics"].get(table.metric, {}).get("value")
    measured = None if value is None else 100 * value
    published = row.published.get(column.name)
    return Cell(row.title, column.title, measured, published, result["count"])


def _titled(progress: Progress, title: str) -> Progress:
    """Progress whose messages begin with a title."""
    return lambda fraction, message: progress(fraction, f"{title}: {message}")


def _file_name(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _empty(row: Row, column: Column, why: str) -> Cell:
    return Cell(row.title, column.title, None, row.published.get(column.name), why=why)


def _pair(cell: Cell) -> str:
    numbers = ("-" if item is None else f"{item:.1f}" for item in (cell.value, cell.published))
    return " / ".join(numbers)
