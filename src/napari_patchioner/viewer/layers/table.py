"""The features table of a layer, read for the session and written back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from napari.layers import Layer

from napari_patchioner.annotations import Annotation, Record
from napari_patchioner.annotations.project.records import same_cell
from napari_patchioner.viewer.session.session import Row, row_texts, same_row

# What each column holds, and what it says where there is nothing to say.
BLANK = {
    "uid": "",
    "caption": "",
    "score": np.nan,
    "source": "",
    "caption_model": "",
    "reviewed": False,
}
COLUMNS = tuple(BLANK)
# Numbers in an array, anything else in a list
Column: TypeAlias = npt.NDArray[Any] | list[Any]
_TEXTS = ("uid", "caption", "source", "caption_model")
_KINDS = {"score": float, "reviewed": bool}


def empty_columns(length: int = 0) -> dict[str, npt.NDArray[Any]]:
    """Return our columns for a new layer, typed."""
    return {name: _column(name, [BLANK[name]] * length) for name in COLUMNS}


def annotation_columns(annotations: Sequence[Annotation]) -> dict[str, npt.NDArray[Any]]:
    """Return the table of annotations from a file: our columns, their image, and the extras."""
    extras = dict.fromkeys(name for a in annotations for name in a.extra)
    columns = {name: [a.extra.get(name, "") for a in annotations] for name in extras}
    fields = ("uid", "image", "caption", "score", "source", "model")
    ours: dict[str, list[Any]] = {f: [getattr(a, f) for a in annotations] for f in fields}
    ours["caption_model"] = ours.pop("model")
    marks = (a.extra.get("reviewed", "").lower() for a in annotations)
    ours["reviewed"] = [mark in ("true", "1", "yes") for mark in marks]
    named = ours | {n: column for n, column in columns.items() if n not in (*ours, "plane", "axes")}
    return {name: _column(name, cells) for name, cells in named.items()}


def add_columns(layer: Layer) -> None:
    """Give a table the columns of ours that it lacks."""
    blank = empty_columns(len(layer.features))
    missing = {name: blank[name] for name in COLUMNS if name not in layer.features}
    if missing:
        layer.features = layer.features.assign(**missing)
    reset_defaults(layer)


def has_columns(layer: Layer) -> bool:
    """Whether nobody has taken our columns away, or put another of the same name beside one."""
    columns = layer.features.columns
    return set(COLUMNS) <= set(columns) and columns.is_unique


def keep_theirs(layer: Layer) -> None:
    """Keep columns of other people that are called like ours, under another name."""
    features = layer.features
    taken = [name for name in COLUMNS if name in features]
    # A table without captions knows nothing of us: its score is another score.
    if taken and not {"uid", "caption"} & set(taken):
        layer.features = features.rename(columns={name: f"{name} (before)" for name in taken})


def read_columns(layer: Layer) -> tuple[list[str], list[Column]]:
    """Return the names of the columns of a features table, each another text, and copies of them.

    Numbers are arrays, as these are quick to compare.
    """
    features = layer.features
    names = _names(features.columns)
    columns: list[Column] = []
    for index in range(len(names)):
        series = features.iloc[:, index]
        numbers = isinstance(series.dtype, np.dtype) and series.dtype.kind in "biuf"
        columns.append(series.to_numpy(copy=True) if numbers else series.tolist())
    return names, columns


def cells_at(columns: Iterable[Column], index: int) -> tuple[Any, ...]:
    """Return a row of a table as plain values."""
    return tuple(c[index].item() if isinstance(c, np.ndarray) else c[index] for c in columns)


def read_rows(layer: Layer) -> list[Row]:
    """Return the rows of the features table, however many there are."""
    names, columns = read_columns(layer)
    return [row_of(names, cells_at(columns, index)) for index in range(len(layer.features))]


def row_of(names: Iterable[str], cells: Iterable[Any]) -> Row:
    """Return a row of a table; missing values of numpy and pandas are no texts."""
    given = dict(zip(names, cells, strict=True))
    ours = {name: given.pop(name, None) for name in COLUMNS}
    texts: dict[str, Any] = {n: ours[n] if isinstance(ours[n], str) else "" for n in _TEXTS}
    if not isinstance(ours["caption"], str):
        texts["caption"] = None
    try:
        score = float(ours["score"])
    except (TypeError, ValueError):
        score = np.nan
    reviewed = ours["reviewed"]
    if isinstance(reviewed, str):
        # As it comes back from a file
        reviewed = {"true": True, "false": False}.get(reviewed.lower())
    elif isinstance(reviewed, (bool, int, float, np.bool_, np.number)) and reviewed in (0, 1):
        reviewed = bool(reviewed)
    else:
        reviewed = None
    texts["model"] = texts.pop("caption_model")
    known = None if np.isnan(score) else score
    return Row(**texts, score=known, reviewed=reviewed, extra=given)


def write_rows(layer: Layer, rows: Sequence[Row | Record]) -> None:
    """Have the features table say what these rows say; other people's columns are kept.

    Where only a few differ they are written in place: all else about a table takes napari long.
    """
    features = layer.features
    if _has_same_order(layer, rows):
        known = [features[name].tolist() for name in COLUMNS]
        score = COLUMNS.index("score")
        known[score] = [None if cell != cell else cell for cell in known[score]]
        pairs = enumerate(zip(zip(*known, strict=True), rows, strict=True))
        news = {index: row for index, (cells, row) in pairs if cells != row_texts(row)}
        if all(_has_same_extra(layer, index, row) for index, row in news.items()):
            _write_cells(layer, news)
            return
    # Late: it takes a third as long as opening the dock, and a worker has imported it by now.
    import pandas as pd

    # Other code names columns by numbers or tuples, too; our records have texts.
    features = features.set_axis(_names(features.columns), axis=1)
    columns = [name for name in features.columns if name not in COLUMNS]
    ours = list(map(cells_of, rows))
    table = pd.DataFrame(
        {name: [row.extra.get(name) for row in rows] for name in columns}
        | {name: _column(name, [cells[name] for cells in ours]) for name in COLUMNS}
    )
    for name in columns:
        # A category or a whole number stays one, as far as what is missing allows.
        if table[name].dtype != features[name].dtype:
            with suppress(TypeError, ValueError):
                table[name] = table[name].astype(features[name].dtype)
    layer.features = table[[*COLUMNS, *columns]]
    reset_defaults(layer)


def update_rows(layer: Layer, rows: Iterable[Record]) -> None:
    """Write what records say into the rows that carry the same uid."""
    # In place, as in the middle of a drawing the table may not be replaced.
    features = layer.features
    if not has_columns(layer):
        return
    indices = {uid: index for index, uid in enumerate(features["uid"].tolist())}
    wanted = {indices[row.uid]: row for row in rows if row.uid in indices}
    known = zip(*(features[name].iloc[list(wanted)].tolist() for name in COLUMNS), strict=True)
    news = {
        index: row
        for (index, row), before in zip(wanted.items(), known, strict=True)
        if not same_row(row_of(COLUMNS, before), row)
    }
    _write_cells(layer, news)


def _write_cells(layer: Layer, rows: Mapping[int, Row | Record]) -> None:
    """Write into rows of the table, given by number, in place."""
    if not rows:
        return
    features, indices = layer.features, list(rows)
    ours = list(map(cells_of, rows.values()))
    before = features["caption"].iloc[indices].tolist()
    # Column by column and in place: cell by cell takes several times as long.
    for name in COLUMNS:
        column = features.columns.get_loc(name)
        features.iloc[indices, column] = [row[name] for row in ours]
    # Text that nobody sees costs as much to lay out; it is made when it is shown again.
    if layer.text.visible and before != [row["caption"] for row in ours]:
        layer.refresh_text()
    layer.events.features()


def _has_same_order(layer: Layer, rows: Sequence[Row | Record]) -> bool:
    """Whether a table has our columns first and as many rows, and no colours follow it."""
    columns = list(layer.features.columns)
    modes = (
        str(getattr(layer, f"{name}_color_mode", "direct")) for name in ("edge", "border", "face")
    )
    return (
        len(layer.features) == len(rows)
        and columns[: len(COLUMNS)] == list(COLUMNS)
        and layer.features.columns.is_unique
        and set(modes) == {"direct"}
    )


def _has_same_extra(layer: Layer, index: int, row: Row | Record) -> bool:
    """Whether other people's columns say in a row what they should."""
    names = layer.features.columns[len(COLUMNS) :]
    try:
        return all(
            same_cell(layer.features[name].iloc[index], row.extra.get(name)) for name in names
        )
    except (TypeError, ValueError):
        return False


def cells_of(row: Row | Record) -> dict[str, Any]:
    """Return what our columns hold for a row or a record."""
    score = np.nan if row.score is None else row.score
    cells = (row.uid, row.caption, score, row.source, row.model, row.reviewed)
    return dict(zip(COLUMNS, cells, strict=True))


def reset_defaults(layer: Layer) -> None:
    """Make sure that the next shape drawn starts blank."""
    # napari copies the last row into the defaults whenever the features are set.
    defaults = layer.feature_defaults
    first = {name: defaults[name].iloc[0] for name in defaults.columns}
    if first["reviewed"] or any(first[name] != "" for name in _TEXTS):
        layer.feature_defaults = {**first, **BLANK}


def _names(columns: Iterable[object]) -> list[str]:
    """Return names of columns as texts, of which no two are the same."""
    names: list[str] = []
    for column in columns:
        name, count = str(column), 1
        while name in names:
            count += 1
            name = f"{column} ({count})"
        names.append(name)
    return names


def _column(name: str, cells: Sequence[Any]) -> npt.NDArray[Any]:
    """Return one of our columns, typed."""
    return np.array(cells, _KINDS.get(name, object))
