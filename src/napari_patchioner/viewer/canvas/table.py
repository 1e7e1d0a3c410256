"""Reading a Shapes layer for the session, and writing its features table back."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.viewer.session.seen import NO_SCORE, Look, Row, Seen

from .geometry import alignment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import napari
    import pandas as pd

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


def empty_columns(length: int = 0) -> dict[str, np.ndarray]:
    """Return our columns for a new layer, typed."""
    return {name: _column(name, [BLANK[name]] * length) for name in COLUMNS}


def _column(name: str, cells: Sequence[Any]) -> np.ndarray:
    """Return one of our columns, typed."""
    return np.array(cells, _KINDS.get(name, object))


def has_columns(layer: napari.layers.Shapes) -> bool:
    """Whether nobody has taken our columns away."""
    return set(COLUMNS) <= set(layer.features.columns)


def is_drawing(layer: napari.layers.Shapes) -> bool:
    """Whether a shape is being drawn and not finished, so that the last one is only half there.

    napari has no public word for it (napari PR 9275); without it nothing is lost but time.
    """
    return bool(getattr(layer, "_is_creating", False))


def finish_drawing(layer: napari.layers.Shapes) -> None:
    """End a drawing the way Escape does: what has corners enough stays, the rest goes."""
    finish = getattr(layer, "_finish_drawing", None)
    if is_drawing(layer) and finish is not None:
        finish()


def is_dragging(layer: napari.layers.Shapes) -> bool:
    """Whether a shape or vertex is being moved."""
    return bool(getattr(layer, "_is_moving", False))


def read_shapes(layer: napari.layers.Shapes, image: napari.layers.Image) -> list[Seen]:
    """Return all shapes of a layer as they lie on the image."""
    to_image = alignment(layer, image)
    looks = read_looks(layer)
    return [
        Seen(kind, to_image(vertices), drawn=np.array(vertices), look=look)
        for kind, vertices, look in zip(layer.shape_type, layer.data, looks, strict=True)
    ]


def read_looks(
    layer: napari.layers.Shapes, places: Sequence[int] | None = None
) -> list[Look | None]:
    """Return how the shapes, or those at some places, are drawn, as far as napari knows."""
    places = range(layer.nshapes) if places is None else places
    width, edge, face, z = layer.edge_width, layer.edge_color, layer.face_color, layer.z_index
    if not min(map(len, (width, edge, face, z))) >= layer.nshapes:
        return [None] * len(places)
    return [
        Look(float(width[i]), tuple(edge[i].tolist()), tuple(face[i].tolist()), int(z[i]))
        for i in places
    ]


def read_rows(layer: napari.layers.Layer) -> list[Row]:
    """Return the rows of the features table, however many there are."""
    return rows_of(*named_columns(layer), len(layer.features))


def named_columns(layer: napari.layers.Layer) -> tuple[list[str], list[list[Any]]]:
    """Return the names of the columns of a features table, and their cells."""
    features = layer.features
    names = [str(name) for name in features.columns]
    return names, [features.iloc[:, place].tolist() for place in range(len(names))]


def rows_of(names: Sequence[str], columns: Sequence[Sequence[Any]], length: int) -> list[Row]:
    """Return the rows of a table given by its columns."""
    # Column by column: pandas takes several times as long to make the rows itself.
    cells = zip(*columns, strict=True) if columns else [()] * length
    return [_row(dict(zip(names, row, strict=True))) for row in cells]


def write_rows(layer: napari.layers.Shapes, rows: Sequence[Row]) -> None:
    """Replace the features table; other people's columns are kept."""
    import pandas as pd

    features = layer.features
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


def update_rows(layer: napari.layers.Shapes, rows: Iterable[Row]) -> bool:
    """Write our columns into the rows that carry the same uid; return whether any changed.

    Safe in the middle of a drawing, when the table may not be replaced.
    """
    features = layer.features
    if not set(COLUMNS) <= set(features.columns):
        return False
    places = {uid: place for place, uid in enumerate(features["uid"].tolist())}
    wanted = {places[row.uid]: row for row in rows if row.uid in places}
    there = rows_of(COLUMNS, [features[name].iloc[list(wanted)].tolist() for name in COLUMNS], 0)
    news = {
        place: row
        for (place, row), known in zip(wanted.items(), there, strict=True)
        if not row.same(known)
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


def keep_theirs(layer: napari.layers.Layer) -> None:
    """Keep columns of other people that are called like ours, under another name.

    A table without captions knows nothing of us: its score is another score.
    """
    features = layer.features
    taken = [name for name in COLUMNS if name in features]
    if taken and not {"uid", "caption"} & set(taken):
        layer.features = features.rename(columns={name: f"{name} (before)" for name in taken})


def trim_colours(layer: napari.layers.Shapes) -> None:
    """Drop the colours of shapes that are gone, which napari 0.9 keeps like the rows.

    Left there, they turn all shapes white at the next ``layer.data = ...``. No public setter
    makes the table of colours shorter.
    """
    view = getattr(layer, "_data_view", None)
    for name in ("_edge_color", "_face_color"):
        colours = getattr(view, name, None)
        if colours is not None and len(colours) > layer.nshapes:
            setattr(view, name, colours[: layer.nshapes])


def reset_defaults(layer: napari.layers.Shapes) -> None:
    """Make sure that the next shape drawn starts blank.

    napari copies the last row into the defaults whenever the features are set, and the next
    shape would inherit its caption.
    """
    defaults = layer.feature_defaults
    first = _first(defaults)
    texts = ("uid", "caption", "source", "caption_model")
    if first["reviewed"] or any(first[name] != "" for name in texts):
        layer.feature_defaults = {**first, **BLANK}


def _first(defaults: pd.DataFrame) -> dict[str, Any]:
    return {str(name): defaults[name].iloc[0] for name in defaults.columns}


def _row(record: dict[Any, Any]) -> Row:
    extras = {str(name): value for name, value in record.items() if name not in COLUMNS}
    try:
        score = float(record.get("score", NO_SCORE))
    except (TypeError, ValueError):
        score = NO_SCORE
    caption = record.get("caption")
    return Row(
        _plain(record.get("uid")),
        caption if isinstance(caption, str) else None,
        score,
        _plain(record.get("source")),
        _plain(record.get("caption_model")),
        _yes_or_no(record.get("reviewed")),
        extras,
    )


def _plain(value: object) -> str:
    """Return a text, empty for the missing values of numpy and pandas."""
    return value if isinstance(value, str) else ""


def _yes_or_no(value: object) -> bool | None:
    """Return a truth value, also where it has been through a file; None for anything else."""
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower())
    is_number = isinstance(value, (bool, int, float, np.bool_, np.number))
    return bool(value) if is_number and value in (0, 1) else None
