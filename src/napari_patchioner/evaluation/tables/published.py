"""A table of the paper, read from a TOML file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_patchioner.errors import FormatError
from napari_patchioner.evaluation.datasets import TASKS
from napari_patchioner.evaluation.metrics import METRICS
from napari_patchioner.evaluation.protocols import VARIANTS
from napari_patchioner.limits import check_plain_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_patchioner.evaluation.datasets import Task
    from napari_patchioner.evaluation.protocols import Variant

_FOLDER = Path(__file__).parent
_LARGEST = 1_000_000
_POOLINGS = ("mean", "gaussian", "attention", "cls")


@dataclass(frozen=True, slots=True)
class Column:
    """One data set of one task.

    Attributes
    ----------
    name, title : str
        Key within the table, and what it is headed with.
    task : {"image", "dense", "region-set", "trace"}
    data, images : str
        File and folder, below the folder of all data.
    split : str or None
        Part of the file, where it has parts.
    """

    name: str
    title: str
    task: Task
    data: str
    images: str
    split: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One model, and what was published of it.

    Attributes
    ----------
    title : str
        What the paper calls it.
    model : str
        Id of the preset.
    published : mapping of str to float
        Values by column, as printed (times 100).
    variant : mapping of str to str
        How captions come about, by column; the model's own way where none is named.
    aggregation : mapping of str to str
        How patches become one vector, by column; the model's own way where none is named.
    """

    title: str
    model: str
    published: Mapping[str, float] = field(default_factory=dict)
    variant: Mapping[str, Variant] = field(default_factory=dict)
    aggregation: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the paper.

    Attributes
    ----------
    title, source : str
        What it is about, and where it was published.
    metric : str
        Name of the metric in `METRICS`.
    columns : tuple of Column
    rows : tuple of Row
    """

    title: str
    source: str
    metric: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def known_tables() -> list[str]:
    """Names of the tables that ship."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def open_table(name: str) -> Table:
    """Read a table.

    Parameters
    ----------
    name : str
        Name of one that ships, or path of a file of your own.

    Returns
    -------
    Table

    Raises
    ------
    FormatError
        There is no such table, or something in it is unknown; the entry is named.
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
    _check(path.name, table)
    return table


def _check(file: str, table: Table) -> None:
    """Refuse names that nothing has."""
    _known(file, "metric", [table.metric], METRICS.__contains__)
    _known(file, "task", [column.task for column in table.columns], TASKS.__contains__)
    columns = {column.name for column in table.columns}
    for row in table.rows:
        for keys in (row.published, row.variant, row.aggregation):
            _known(file, f"column of {row.title!r}", keys, columns.__contains__)
        _known(file, "variant", row.variant.values(), VARIANTS.__contains__)
        _known(file, "aggregation", row.aggregation.values(), _POOLINGS.__contains__)


def _known(file: str, what: str, names: Any, present: Callable[[Any], bool]) -> None:
    for name in names:
        if not present(name):
            raise FormatError(f"{file}: there is no {what} {name!r}")
