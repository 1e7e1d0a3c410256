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
    from napari_patchioner.viewer.session.record import Record
    from napari_patchioner.viewer.session.session import Session

    Fill = Callable[[napari.layers.Layer], None]

DRAWN = ("rectangle", "ellipse", "polygon", "path", "line")


class Restored(NamedTuple):
    """How it went: shapes and captions on the image, and the records that cannot be shown."""

    regions: int
    captions: int
    left: tuple[ProjectRecord, ...]


def add(
    records: Sequence[ProjectRecord],
    image: napari.layers.Image,
    session: Session,
    refill: Callable[[str, Fill], None],
) -> Restored:
    """Put records on an image, after what is there; those it has are brought up to date.

    `refill` takes the key of a layer and a function that fills it, and lets the session follow the
    filled layer. Raises `FormatError` where the project was made on an image with other axes.
    """
    drawn: dict[str, list[ProjectRecord]] = {}
    for record in records:
        if record.vertices is not None and record.vertices.shape[1] != image.ndim:
            raise FormatError(
                f"the project was made on an image with {record.vertices.shape[1]} axes, but "
                f"{image.name!r} has {image.ndim}; open the image it belongs to"
            )
        if record.vertices is not None and _is_drawn(record) and record.uid not in session.records:
            drawn.setdefault(record.layer, []).append(record)
    for key, mine in drawn.items():
        refill(key, lambda layer, mine=mine: fill_layer(layer, image, mine))  # type: ignore[misc]
    restore_groups(records, session)
    for saved in records:
        if saved.uid in session.records:
            fill_in(session.records[saved.uid], saved)
    shown = [record for record in records if record.uid in session.records]
    return Restored(
        sum(record.kind == "shape" for record in shown),
        sum(bool(record.caption) for record in shown),
        tuple(record for record in records if record.uid not in session.records),
    )


def at_home(
    records: Sequence[ProjectRecord], image: napari.layers.Image, present: Container[str]
) -> tuple[ProjectRecord, ...]:
    """Return records with a place on the image's own layers for what no other layer shows.

    These are shapes and points that were opened from files of captions, and points that were put
    on the dock's own layer before it came back by itself. `present` holds the keys of the layers
    of other people's making that are there.
    """
    own_points = f"{POINT}s:points [{image.name}]"

    def home(record: ProjectRecord) -> ProjectRecord:
        loose = record.layer.partition(":")[0] == OPENED or record.layer == own_points
        if not loose or record.layer in present or record.vertices is None:
            return record
        if record.shape_type == POINT:
            return replace(record, layer="points")
        return replace(record, layer="traces" if record.shape_type == "path" else "regions")

    return tuple(map(home, records))


def resume(project: Project, session: Session) -> tuple[ProjectRecord, ...] | None:
    """Go on with work that is on the image still, as after the dock was closed and opened.

    Returns what lies on layers that are not followed yet; None, and nothing has changed, where no
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
    missing = [saved for saved in project.records if saved.uid not in session.records]
    foreign = {saved.uid for saved in missing if is_foreign(saved.layer)}
    return tuple(
        saved for saved in missing if saved.uid in foreign or not foreign.isdisjoint(saved.members)
    )


def fill_layer(
    layer: napari.layers.Shapes | napari.layers.Points,
    image: napari.layers.Image,
    records: Sequence[ProjectRecord],
) -> None:
    """Add saved shapes or points to a layer, each with its uid and caption in its row."""
    from napari.layers import Shapes

    to_layer = alignment(image, layer)
    vertices = [to_layer(np.asarray(record.vertices, float)) for record in records]
    before = table.read_rows(layer)[: len(layer.data)]
    if isinstance(layer, Shapes):
        with flat(layer):
            records = _draw(layer, records, vertices)
    else:
        layer.add(np.concatenate(vertices))
        layer.selected_data = set()
    columns = dict.fromkeys(name for record in records for name in record.columns)
    missing = [name for name in columns if name not in layer.features]
    if missing:
        empty = np.full(len(layer.features), None, object)
        layer.features = layer.features.assign(**dict.fromkeys(missing, empty))
    rows = [
        Row(r.uid, r.caption, r.score, r.source, r.model, r.reviewed, r.columns) for r in records
    ]
    table.write_rows(layer, [*before, *rows])


def _draw(
    layer: napari.layers.Shapes, records: Sequence[ProjectRecord], vertices: Sequence[Any]
) -> list[ProjectRecord]:
    """Add shapes all at once; one by one where one of them is refused. Return those there."""
    before = layer.nshapes
    try:
        layer.add(list(vertices), shape_type=[record.shape_type for record in records])
        return list(records)
    except Exception:  # whatever napari raises for a degenerate outline
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
            record: Record | None = session.whole(plane_of_record(saved))
        elif saved.kind == "group" and session.records.keys() >= set(saved.members):
            record = session.group(saved.members)
        else:
            continue
        if record is not None and record.uid != saved.uid:
            del session.records[record.uid]
            record.uid = saved.uid
            session.records[saved.uid] = record


def _is_drawn(record: ProjectRecord) -> bool:
    """Whether a record is a shape that one of the image's own layers can hold."""
    return record.shape_type in (*DRAWN, POINT) and record.layer in OWN_LAYERS
