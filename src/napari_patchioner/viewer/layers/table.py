"""The features table of a layer, read for the session and written back."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.viewer.session.record import NO_SCORE, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt
    from napari.layers import Layer

    from napari_patchioner.annotations import Annotation

# What each column holds, and what it says where there is nothing to say.
BLANK = {
    "uid": "",
    "caption": "",
    "score": NO_SCORE,
    "source": "",
    "caption_model": "",
    "reviewed": False,
}
COLUMNS = tuple(BLANK)
_KINDS = {"score": float, "reviewed": bool}


def empty_columns(length: int = 0) -> dict[str, npt.NDArray[Any]]:
    """Return our columns for a new layer, typed."""
    return {name: _column(name, [BLANK[name]] * length) for name in COLUMNS}


def annotation_columns(annotations: Iterable[Annotation]) -> dict[str, npt.NDArray[Any]]:
    """Return the table of annotations from a file: our columns, their image, and the extras."""
    listed = list(annotations)
    extras = dict.fromkeys(
        name for a in listed for name in a.extra if name not in ("plane", "axes")
    )
    columns: dict[str, list[Any]] = {
        **{name: [a.extra.get(name, "") for a in listed] for name in extras},
        "uid": [a.uid for a in listed],
        "image": [a.image for a in listed],
        "caption": [a.caption for a in listed],
        "score": [NO_SCORE if a.score is None else a.score for a in listed],
        "source": [a.source for a in listed],
        "caption_model": [a.model for a in listed],
        "reviewed": [_is_true(a.extra.get("reviewed", "")) for a in listed],
    }
    ours = ("uid", "image", *COLUMNS[1:])
    names = dict.fromkeys((*ours, *extras))
    return {name: _column(name, columns[name]) for name in names}


def _is_true(text: str) -> bool:
    return text.lower() in ("true", "1", "yes")


def add_columns(layer: Layer, length: int) -> None:
    """Give a table of so many rows the columns of ours that it lacks."""
    blank = empty_columns(length)
    missing = {name: blank[name] for name in COLUMNS if name not in layer.features}
    if missing:
        layer.features = layer.features.assign(**missing)


def has_columns(layer: Layer) -> bool:
    """Whether nobody has taken our columns away, or put another of the same name beside one."""
    columns = layer.features.columns
    return set(COLUMNS) <= set(columns) and columns.is_unique


def keep_theirs(layer: Layer) -> None:
    """Keep columns of other people that are called like ours, under another name.

    A table without captions knows nothing of us: its score is another score.
    """
    features = layer.features
    taken = [name for name in COLUMNS if name in features]
    if taken and not {"uid", "caption"} & set(taken):
        layer.features = features.rename(columns={name: f"{name} (before)" for name in taken})


def read_rows(layer: Layer) -> list[Row]:
    """Return the rows of the features table, however many there are."""
    return rows_of(*named_columns(layer), len(layer.features))


def named_columns(layer: Layer) -> tuple[list[str], list[list[Any]]]:
    """Return the names of the columns of a features table, each another text, and their cells."""
    features = layer.features
    names = _names(features.columns)
    return names, [features.iloc[:, index].tolist() for index in range(len(names))]


def rows_of(names: Sequence[str], columns: Sequence[Sequence[Any]], length: int) -> list[Row]:
    """Return the rows of a table given by its columns."""
    # Column by column: pandas takes several times as long to make the rows itself.
    cells = zip(*columns, strict=True) if columns else [()] * length
    return [_row(dict(zip(names, row, strict=True))) for row in cells]


def write_rows(layer: Layer, rows: Sequence[Row]) -> None:
    """Replace the features table; other people's columns are kept."""
    import pandas as pd

    features = layer.features
    # Other code names columns by numbers or tuples, too; our records have texts.
    features = features.set_axis(_names(features.columns), axis=1)
    columns = [name for name in features.columns if name not in COLUMNS]
    table = pd.DataFrame(
        {name: [row.extras.get(name) for row in rows] for name in columns}
        | {name: _column(name, [getattr(row, name) for row in rows]) for name in COLUMNS}
    )
    for name in columns:
        # A category or a whole number stays one, as far as what is missing allows.
        if table[name].dtype != features[name].dtype:
            with suppress(TypeError, ValueError):
                table[name] = table[name].astype(features[name].dtype)
    layer.features = table[[*COLUMNS, *columns]]
    reset_defaults(layer)


def update_rows(layer: Layer, rows: Iterable[Row]) -> bool:
    """Write our columns into the rows that carry the same uid; return whether any changed.

    Safe in the middle of a drawing, when the table may not be replaced.
    """
    features = layer.features
    if not has_columns(layer):
        return False
    indices = {uid: index for index, uid in enumerate(features["uid"].tolist())}
    wanted = {indices[row.uid]: row for row in rows if row.uid in indices}
    known = rows_of(COLUMNS, [features[name].iloc[list(wanted)].tolist() for name in COLUMNS], 0)
    news = {
        index: row
        for (index, row), before in zip(wanted.items(), known, strict=True)
        if not row.same(before)
    }
    if not news:
        return False
    # Column by column and in place: cell by cell takes several times as long.
    for name in COLUMNS[1:]:
        column = features.columns.get_loc(name)
        features.iloc[list(news), column] = [getattr(row, name) for row in news.values()]
    # Text that nobody sees costs as much to lay out; it is made when it is shown again.
    if layer.text.visible:
        layer.refresh_text()
    layer.events.features()
    return True


def reset_defaults(layer: Layer) -> None:
    """Make sure that the next shape drawn starts blank.

    napari copies the last row into the defaults whenever the features are set, and the next
    shape would inherit its caption.
    """
    defaults = layer.feature_defaults
    first = {name: defaults[name].iloc[0] for name in defaults.columns}
    texts = ("uid", "caption", "source", "caption_model")
    if first["reviewed"] or any(first[name] != "" for name in texts):
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


def _row(cells: dict[str, Any]) -> Row:
    try:
        score = float(cells.get("score", NO_SCORE))
    except (TypeError, ValueError):
        score = NO_SCORE
    uid, source, model = (
        # Missing values of numpy and pandas are no texts.
        value if isinstance(value := cells.get(name), str) else ""
        for name in ("uid", "source", "caption_model")
    )
    caption = cells.get("caption")
    return Row(
        uid,
        caption if isinstance(caption, str) else None,
        score,
        source,
        model,
        _yes_or_no(cells.get("reviewed")),
        {name: value for name, value in cells.items() if name not in COLUMNS},
    )


def _yes_or_no(value: object) -> bool | None:
    """Return a truth value, also where it has been through a file; None for anything else."""
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower())
    is_number = isinstance(value, (bool, int, float, np.bool_, np.number))
    return bool(value) if is_number and value in (0, 1) else None
