"""Layers of shapes, points and labels as annotations, with what their features say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.annotations import Annotation, axes_drawn_along, region_from_shape
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Mask, Point, label_boxes
from napari_patchioner.viewer.layers.labels import LabelPlane
from napari_patchioner.viewer.session.record import Plane

from .placing import layer_image, pixels_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import napari
    import numpy.typing as npt

    from napari_patchioner.regions import Region

    FloatArray = npt.NDArray[np.float64]
    Image = napari.layers.Image
    Placed = tuple[int, Region, FloatArray, tuple[int, int]]

# Columns of ours and the fields they are; all other columns are extras.
_SOURCES = ("model", "edited", "human")
_OURS = ("uid", "image", "caption", "score", "source", "caption_model")
# The column of a labels layer that says which label a row is about.
_INDEX = "index"


def layer_annotations(
    data: Any, meta: Mapping[str, Any], kind: str, image: Image | None = None
) -> Iterator[Annotation]:
    """Yield what a layer holds, as annotations in the pixels of its image.

    Parameters
    ----------
    data : list of ndarray, or ndarray
        The vertices of each shape, the points, or the painted labels.
    meta : mapping
        napari's description of the layer.
    kind : {"shapes", "points", "labels"}
        What the layer is.
    image : Image, optional
        What it lies on, wherever both lie in the world; without one, the layer's own coordinates
        are taken for pixels.

    Raises
    ------
    FormatError
        If a shape makes no sense, or lies on several planes.
    """
    features = meta.get("features")
    columns = {} if features is None else {str(name): list(features[name]) for name in features}
    name = layer_image(meta)
    placed = _PLACED[kind](data, meta, columns, image)
    if kind == "labels":
        columns = {name: cells for name, cells in columns.items() if name != _INDEX}
    for row, region, leading, axes in placed:
        cells = {name: cell for name, cells in columns.items() if (cell := _cell(cells, row)) != ""}
        place = {"plane": " ".join(f"{value:g}" for value in leading.tolist())}
        if axes != (len(leading), len(leading) + 1):
            place["axes"] = f"{axes[0]} {axes[1]}"
        yield _annotation(f"{row}", region, cells, name, place if len(leading) else {})


def _cell(cells: Sequence[Any], row: int) -> Any:
    """Return a cell, an empty text where it is missing."""
    cell = cells[row] if 0 <= row < len(cells) else ""
    return "" if cell is None or cell != cell else cell


def _annotation(
    number: str,
    region: Region,
    cells: dict[str, Any],
    image: str,
    place: Mapping[str, str],
) -> Annotation:
    texts = {name: str(cells.get(name, "")) for name in _OURS}
    extra = {name: _text(cell) for name, cell in cells.items() if name not in _OURS}
    if extra.get("reviewed") == "false":
        del extra["reviewed"]
    extra |= place
    source = texts["source"]
    return Annotation(
        uid=texts["uid"] or number,
        image=texts["image"] or image,
        region=region,
        caption=texts["caption"],
        score=float(texts["score"]) if texts["score"] else None,
        source=source if source in _SOURCES else "",  # type: ignore[arg-type]
        model=texts["caption_model"],
        extra=extra,
    )


def _text(cell: Any) -> str:
    return str(cell).lower() if isinstance(cell, bool | np.bool_) else str(cell)


def _shapes(
    data: Any, meta: Mapping[str, Any], columns: Mapping[str, Any], image: Image | None
) -> Iterator[Placed]:
    kinds = meta.get("shape_type") or "polygon"
    kinds = [kinds] * len(data) if isinstance(kinds, str) else list(kinds)
    for row, (vertices, kind) in enumerate(zip(data, kinds, strict=True)):
        points = _pixels(vertices, meta, image)
        axes = axes_drawn_along(points)
        if axes is None:
            raise FormatError(f"shape {row} spans several planes; draw it in one")
        others = [axis for axis in range(points.shape[1]) if axis not in axes]
        yield row, region_from_shape(points[:, list(axes)], kind), points[0, others].round(6), axes


def _points(
    data: Any, meta: Mapping[str, Any], columns: Mapping[str, Any], image: Image | None
) -> Iterator[Placed]:
    places = np.asarray(data, float)
    if not len(places):
        return
    last = places.shape[1] - 2, places.shape[1] - 1
    for row, place in enumerate(_pixels(places, meta, image)):
        yield row, Point(float(place[-2]), float(place[-1])), place[:-2].round(6), last


def _pixels(points: Any, meta: Mapping[str, Any], image: Image | None) -> FloatArray:
    """Return places on a layer as pixels of its image."""
    places = np.asarray(points, float)
    matrix, origin = pixels_of(meta, places.shape[1], image)
    if np.array_equal(matrix, np.eye(len(matrix))) and not origin.any():
        return places
    return (places @ matrix + origin).round(6)


def _labels(
    data: Any, meta: Mapping[str, Any], columns: Mapping[str, Any], image: Image | None
) -> Iterator[Placed]:
    """Yield the pixels of each label, plane by plane; its features are found by ``index``."""
    labels = np.asarray(data[0] if meta.get("multiscale") else data)
    matrix, origin = pixels_of(meta, labels.ndim, image, moved=True)
    index = [int(value) for value in columns.get(_INDEX, [])]
    depth, last = labels.ndim - 2, (labels.ndim - 2, labels.ndim - 1)
    middle = np.array(labels.shape[-2:], float) / 2
    for plane in np.ndindex(labels.shape[:-2]):
        there = np.array(plane, float)
        shift = origin[depth:] + there @ matrix[:depth, depth:]
        leading = origin[:depth] + np.concatenate([there, middle]) @ matrix[:, :depth]
        where = LabelPlane(
            labels, plane, False, Plane(last), labels.ndim, labels.shape[-2:],
            matrix[depth:, depth:], shift,
        )  # fmt: skip
        painted = labels[plane]
        for value, box in label_boxes(painted).items():
            row = index.index(value) if value in index else (-1 if index else value)
            pixels, corner = where.place(painted[box] == value, box)
            region = Mask(pixels, (int(corner[0]), int(corner[1])))
            yield row, region, leading.round(), last


_PLACED = {"shapes": _shapes, "points": _points, "labels": _labels}
