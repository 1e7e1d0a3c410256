"""Saved work back on its image: shapes, captions, groups, and all that goes with them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_patchioner.errors import FormatError
from napari_patchioner.viewer.layers import table
from napari_patchioner.viewer.layers.geometry import POINT, alignment
from napari_patchioner.viewer.layers.shapes import flat
from napari_patchioner.viewer.layers.sources import OPENED
from napari_patchioner.viewer.session.record import OWN_LAYERS, Row, is_foreign

from .snapshot import fill_in, plane_of_record

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence

    import napari

    from napari_patchioner.annotations import Project, ProjectRecord
    from napari_patchioner.viewer.session.session import Session

    Fill = Callable[[napari.layers.Layer], None]

DRAWN = ("rectangle", "ellipse", "polygon", "path", "line")


class Restored(NamedTuple):
    """How it went.

    Attributes
    ----------
    regions : int
        Shapes on the image again.
    captions : int
        Captions there again, of groups and whole planes as well.
    left : tuple of ProjectRecord
        What could not be shown; it has to be carried along.
    """

    regions: int
    captions: int
    left: tuple[ProjectRecord, ...]


def restore(
    project: Project,
    image: napari.layers.Image,
    session: Session,
    refill: Callable[[str, Fill], None],
) -> Restored:
    """Put the records of a project back on an image that has none.

    Parameters
    ----------
    project : Project
        The saved work.
    image : napari.layers.Image
        The image, wherever it lies in the world by now.
    session : Session
        Takes the records; no model is asked for any that has its caption.
    refill : callable
        Takes the key of a layer and a function that fills it, and lets the session follow the
        filled layer.

    Raises
    ------
    FormatError
        If the project was made on an image with other axes; nothing was changed.
    """
    return add(project.records, image, session, refill)


def add(
    records: Sequence[ProjectRecord],
    image: napari.layers.Image,
    session: Session,
    refill: Callable[[str, Fill], None],
) -> Restored:
    """Put records on an image, after what is there; those it has are brought up to date.

    See `restore`.
    """
    shapes = [record for record in records if record.vertices is not None]
    _check_axes(shapes, image)
    drawn = [one for one in shapes if _is_drawn(one) and one.uid not in session.records]
    for key in dict.fromkeys(record.layer for record in drawn):
        mine = [record for record in drawn if record.layer == key]
        refill(key, lambda layer, mine=mine: fill_layer(layer, image, mine))
    restore_groups(records, session)
    left = []
    for saved in records:
        record = session.records.get(saved.uid)
        if record is None:
            left.append(saved)
        else:
            fill_in(record, saved)
    there = [record for record in records if record.uid in session.records]
    regions = sum(record.kind == "shape" for record in there)
    return Restored(regions, sum(bool(record.caption) for record in there), tuple(left))


def at_home(
    records: Sequence[ProjectRecord], image: napari.layers.Image, there: Container[str]
) -> tuple[ProjectRecord, ...]:
    """Return records with a place on the image's own layers for what no other layer shows.

    Shapes and points that were opened from files of captions, and points that were put on the
    dock's own layer before it came back by itself.

    Parameters
    ----------
    records : sequence of ProjectRecord
        As saved.
    image : Image
        What they lie on.
    there : container of str
        Keys of other people's layers that are there.
    """
    own_points = f"{POINT}s:points [{image.name}]"

    def home(record: ProjectRecord) -> ProjectRecord:
        loose = record.layer.partition(":")[0] == OPENED or record.layer == own_points
        if not loose or record.layer in there or record.vertices is None:
            return record
        if record.shape_type == POINT:
            return replace(record, layer="points")
        return replace(record, layer="traces" if record.shape_type == "path" else "regions")

    return tuple(map(home, records))


def resume(project: Project, session: Session) -> tuple[ProjectRecord, ...] | None:
    """Go on with work that is on the image still, as after the dock was closed and opened.

    Returns
    -------
    tuple of ProjectRecord, optional
        What lies on layers that are not looked at yet; None, and nothing has changed, where no
        shape of the project is there.
    """
    drawn = {record.uid for record in project.records if _is_drawn(record)}
    if drawn.isdisjoint(session.records):
        return None
    restore_groups(project.records, session)
    for saved in project.records:
        record = session.records.get(saved.uid)
        # What is on the image is newer: it may have been changed without the dock.
        if record is not None and record.caption in ("", saved.caption):
            fill_in(record, saved)
    missing = [one for one in project.records if one.uid not in session.records]
    waiting = {one.uid for one in missing if is_foreign(one.layer)}
    return tuple(
        one for one in missing if one.uid in waiting or not waiting.isdisjoint(one.members)
    )


def fill_layer(
    layer: napari.layers.Shapes, image: napari.layers.Image, records: Sequence[ProjectRecord]
) -> None:
    """Draw saved shapes after those of a layer, each with its uid and caption in its row."""
    to_layer = alignment(image, layer)
    if not hasattr(layer, "nshapes"):
        _fill_points(layer, to_layer, records)
        return
    there = table.read_rows(layer)[: layer.nshapes]
    with flat(layer):
        drawn = _draw(layer, [(record, to_layer(record.vertices)) for record in records])
    columns = dict.fromkeys(name for record in drawn for name in record.columns)
    _add_columns(layer, columns)
    table.write_rows(layer, [*there, *(_row(record) for record in drawn)])


def _fill_points(
    layer: napari.layers.Points, to_layer: Callable[[Any], Any], records: Sequence[ProjectRecord]
) -> None:
    """Put saved points after those of a layer."""
    there = table.read_rows(layer)[: len(layer.data)]
    layer.add(np.concatenate([to_layer(record.vertices) for record in records]))
    layer.selected_data = set()
    _add_columns(layer, dict.fromkeys(name for record in records for name in record.columns))
    table.write_rows(layer, [*there, *map(_row, records)])


def _draw(
    layer: napari.layers.Shapes, shapes: Iterable[tuple[ProjectRecord, Any]]
) -> list[ProjectRecord]:
    """Add shapes all at once; one by one where one of them is refused. Return those there."""
    records, vertices = zip(*shapes, strict=True)
    before = layer.nshapes
    try:
        layer.add(list(vertices), shape_type=[record.shape_type for record in records])
        return list(records)
    except Exception:  # whatever napari makes of a degenerate outline
        layer.selected_data = set(range(before, layer.nshapes))
        layer.remove_selected()
    drawn = []
    for record, points in zip(records, vertices, strict=True):
        before = layer.nshapes
        try:
            layer.add([points], shape_type=[record.shape_type])
        except Exception:
            if layer.nshapes > before:
                layer.remove([before])
            continue
        drawn.append(record)
    return drawn


def restore_groups(records: Iterable[ProjectRecord], session: Session) -> None:
    """Make the records of groups, where all of them is there, and planes, as they were named."""
    for saved in records:
        if saved.kind == "image":
            record = session.whole(plane_of_record(saved))
        elif saved.kind == "group" and session.records.keys() >= set(saved.members):
            record = session.group(saved.members)
        else:
            continue
        if record is not None and record.uid != saved.uid:
            del session.records[record.uid]
            record.uid = saved.uid
            session.records[saved.uid] = record


def _row(record: ProjectRecord) -> Row:
    return Row(
        record.uid,
        record.caption,
        record.score,
        record.source,
        record.model,
        record.reviewed,
        record.columns,
    )


def _add_columns(layer: napari.layers.Shapes, names: Iterable[str]) -> None:
    """Give the layer other people's columns."""
    missing = [name for name in names if name not in layer.features]
    if missing:
        empty = np.full(len(layer.features), None, object)
        layer.features = layer.features.assign(**dict.fromkeys(missing, empty))


def _is_drawn(record: ProjectRecord) -> bool:
    """Whether a record is a shape that one of the image's own layers can hold."""
    return record.shape_type in (*DRAWN, POINT) and record.layer in OWN_LAYERS


def _check_axes(shapes: Iterable[ProjectRecord], image: napari.layers.Image) -> None:
    for record in shapes:
        axes = record.vertices.shape[1]
        if axes != image.ndim:
            raise FormatError(
                f"the project was made on an image with {axes} axes, but {image.name!r} has "
                f"{image.ndim}; open the image it belongs to"
            )
