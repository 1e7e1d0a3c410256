"""A table of the paper, read from a TOML file: run, and printed beside what was published."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_patchioner.captioner import Captioner
from napari_patchioner.errors import FormatError, PatchionerError
from napari_patchioner.evaluation import protocols
from napari_patchioner.evaluation.datasets import TASKS, Task, open_dataset
from napari_patchioner.evaluation.metrics import METRICS
from napari_patchioner.evaluation.protocols.page import markdown_table
from napari_patchioner.limits import check_plain_file
from napari_patchioner.progress import Progress, no_progress, part

_FOLDER = Path(__file__).parent
_LARGEST = 1_000_000
_POOLINGS = ("mean", "gaussian", "attention", "cls")


@dataclass(frozen=True, slots=True)
class Column:
    """One data set of one task."""

    name: str  # key within the table
    title: str
    task: Task
    data: str  # file, below the folder of all data
    images: str  # folder, below the folder of all data
    split: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One model, and what was published of it; mappings are by column."""

    title: str
    model: str  # id of the preset
    published: Mapping[str, float] = field(default_factory=dict)  # as printed (times 100)
    # How captions come about, and how patches become one vector; by default the model's own way.
    variant: Mapping[str, protocols.Variant] = field(default_factory=dict)
    aggregation: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the paper, of a metric by name; ``source`` is where it was published."""

    title: str
    source: str
    metric: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of a table, times 100, beside the paper's; None, and why, where there is none."""

    row: str
    column: str
    value: float | None
    published: float | None
    count: int = 0  # samples it was measured on
    why: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class Bench:
    """Where the data lie, where results go, and how much is asked for."""

    root: Path  # folder of the data, with the files where the table names them
    out: Path  # all goes to ``out/ROW/COLUMN``; a run that was stopped goes on
    limit: int | None = None  # images of every data set
    skip_missing: bool = False  # leave out images that are not there
    tools: Mapping[str, Any] = field(default_factory=dict)  # opened helpers of the metric


def known_tables() -> list[str]:
    """Names of the tables that ship."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def open_table(name: str) -> Table:
    """Read a table that ships, by its name, or a file of your own.

    A FormatError where there is no such table, or something in it is unknown; the entry is named.
    """
    path = _FOLDER / f"{name}.toml" if name in known_tables() else Path(name)
    try:
        if path.exists() and check_plain_file(path) > _LARGEST:
            raise FormatError(f"{name}: is too large for a table, which is a page of text")
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        known = ", ".join(known_tables())
        raise FormatError(f"{name}: there is no such table; those that ship: {known}") from None
    except FormatError:
        raise
    except (ValueError, RecursionError) as error:  # bytes that are no text, numbers too long
        raise FormatError(f"{path.name}: is no TOML ({error})") from error
    try:
        columns = tuple(Column(**value) for value in values["column"])
        rows = tuple(Row(**value) for value in values["row"])
        table = Table(values["title"], values["source"], values["metric"], columns, rows)
    except (KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{path.name}: {error}") from error
    names = {column.name for column in columns}
    _check_known(path.name, "metric", [table.metric], METRICS)
    _check_known(path.name, "task", [column.task for column in columns], TASKS)
    for row in rows:
        for keys in (row.published, row.variant, row.aggregation):
            _check_known(path.name, f"column of {row.title!r}", keys, names)
        _check_known(path.name, "variant", row.variant.values(), protocols.VARIANTS)
        _check_known(path.name, "aggregation", row.aggregation.values(), _POOLINGS)
    return table


def _check_known(file: str, what: str, names: Iterable[Any], known: Container[Any]) -> None:
    """Refuse a name that nothing has."""
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        raise FormatError(f"{file}: there is no {what} {unknown!r}")


def reproduce(
    table: Table,
    bench: Bench,
    load: Callable[[str], Captioner],
    *,
    models: Sequence[str] = (),
    progress: Progress = no_progress,
) -> list[Cell]:
    """Run every model of a table, or only these ``models``, on every data set of it.

    ``load`` opens a model by its id. What is missing, such as a model that is not installed, leaves
    its cell empty; the cells come row by row. ``progress`` may raise ``Cancelled``.
    """
    rows = [row for row in table.rows if not models or row.model in models]
    cells: list[Cell] = []
    total = max(1, len(rows) * len(table.columns))
    for row in rows:
        captioner, absent = None, ""
        try:
            captioner = load(row.model)
        except PatchionerError as error:
            absent = str(error)
        for column in table.columns:
            title = f"{row.title}, {column.title}"
            inner = part(_titled(progress, title), len(cells) / total, (len(cells) + 1) / total)
            published = row.published.get(column.name)
            value, count, why = None, 0, absent
            if captioner is not None:
                try:
                    value, count, why = _measure(table, bench, row, column, captioner, inner)
                except PatchionerError as error:
                    why = str(error)
            cells.append(Cell(row.title, column.title, value, published, count, why))
    return cells


def print_table(table: Table, cells: Sequence[Cell]) -> str:
    """Write measured numbers with the published ones behind them, as Markdown.

    ``27.9 / 27.9``: measured / published; a dash where there is none.
    """
    lines: dict[str, list[str]] = {}
    for cell in cells:
        numbers = ("-" if item is None else f"{item:.1f}" for item in (cell.value, cell.published))
        lines.setdefault(cell.row, [cell.row]).append(" / ".join(numbers))
    name = METRICS[table.metric].title
    head = [f"{name}, measured / published", *(column.title for column in table.columns)]
    rows = markdown_table(head, lines.values())
    return f"{table.title}\n\n{rows}\n\nPublished: {table.source}."


def _measure(
    table: Table,
    bench: Bench,
    row: Row,
    column: Column,
    captioner: Captioner,
    progress: Progress,
) -> tuple[float | None, int, str]:
    """Return a value times 100, on how many samples it was measured, and why there is none."""
    dataset = open_dataset(
        column.task,
        bench.root / column.data,
        bench.root / column.images,
        split=column.split,
        skip_missing=bench.skip_missing,
    )
    variant = row.variant.get(column.name, "model")
    pooling = row.aggregation.get(column.name)
    folder = bench.out / re.sub(r"[^a-z0-9]+", "-", row.title.lower()).strip("-") / column.name
    done = protocols.evaluate(
        dataset,
        captioner,
        folder / "predictions.jsonl",
        variants=[variant],
        options={"pooling": pooling} if pooling else {},
        limit=bench.limit,
        progress=progress,
    )
    if not done.predictions:
        return None, 0, f"{column.data}: no sample of it has its image here"
    scores = protocols.score_predictions(
        done.predictions, column.task, metrics=[table.metric], tools=bench.tools
    )
    protocols.write_scores(folder / "scores.json", {"asked": done.asked, "scores": scores})
    result = scores[variant]["all"]
    value = result["metrics"].get(table.metric, {}).get("value")
    return None if value is None else 100 * value, result["count"], ""


def _titled(progress: Progress, title: str) -> Progress:
    """Progress whose messages begin with a title."""
    return lambda fraction, message: progress(fraction, f"{title}: {message}")
