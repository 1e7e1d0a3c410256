"""Layers of shapes, points and labels as annotations, with what their features say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.annotations import Annotation, region_from_shape
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Mask, Point

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from napari_patchioner.regions import Region

    Placed = tuple[int, Region, npt.NDArray[np.float64]]

# Columns of ours and the fields they are; all other columns are extras.
_SOURCES = ("model", "edited", "human")
_OURS = ("uid", "image", "caption", "score", "source", "caption_model")
# The column of a labels layer that says which label a row is about.
_INDEX = "index"
# Shapes that lie further apart than this along another axis are on no single plane.
_FLAT = 0.5
_NAMED = re.compile(r"(?:regions|traces|points|labels) \[(.*)\](?: \[\d+\])?\Z", re.DOTALL)


def layer_annotations(data: Any, meta: Mapping[str, Any], kind: str) -> Iterator[Annotation]:
    """Yield what a layer holds, as annotations in its own pixels.

    Parameters
    ----------
    data : list of ndarray, or ndarray
        The vertices of each shape, the points, or the painted labels.
    meta : mapping
        napari's description of the layer.
    kind : {"shapes", "points", "labels"}
        What the layer is.

    Raises
    ------
    FormatError
        If a shape makes no sense, or lies on several planes.
    """
    features = meta.get("features")
    columns = {} if features is None else {str(name): list(features[name]) for name in features}
    image = layer_image(meta)
    placed = _PLACED[kind](data, meta, columns)
    if kind == "labels":
        columns = {name: cells for name, cells in columns.items() if name != _INDEX}
    for row, region, leading in placed:
        cells = {name: cell for name, cells in columns.items() if (cell := _cell(cells, row)) != ""}
        yield _annotation(f"{row}", region, cells, image, leading)


def layer_image(meta: Mapping[str, Any]) -> str:
    """Return the name of the image layer that a layer of ours lies on; empty for others."""
    sign = (meta.get("metadata") or {}).get("napari-patchioner") or meta.get("name") or ""
    match = _NAMED.match(str(sign))
    return match[1] if match else ""


def _cell(cells: Sequence[Any], row: int) -> Any:
    """Return a cell, an empty text where it is missing."""
    cell = cells[row] if 0 <= row < len(cells) else ""
    return "" if cell is None or cell != cell else cell


def _annotation(
    number: str,
    region: Region,
    cells: dict[str, Any],
    image: str,
    leading: npt.NDArray[np.float64],
) -> Annotation:
    texts = {name: str(cells.get(name, "")) for name in _OURS}
    extra = {name: _text(cell) for name, cell in cells.items() if name not in _OURS}
    if extra.get("reviewed") == "false":
        del extra["reviewed"]
    if len(leading):
        extra["plane"] = " ".join(f"{value:g}" for value in leading.tolist())
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


def _shapes(data: Any, meta: Mapping[str, Any], columns: Mapping[str, Any]) -> Iterator[Placed]:
    kinds = meta.get("shape_type") or "polygon"
    kinds = [kinds] * len(data) if isinstance(kinds, str) else list(kinds)
    for row, (vertices, kind) in enumerate(zip(data, kinds, strict=True)):
        points = np.asarray(vertices, float)
        leading = points[:, :-2]
        if leading.size and np.ptp(leading, axis=0).max() > _FLAT:
            raise FormatError(f"shape {row} spans several planes; draw it in one")
        yield row, region_from_shape(points[:, -2:], kind), leading[0].round(6)


def _points(data: Any, meta: Mapping[str, Any], columns: Mapping[str, Any]) -> Iterator[Placed]:
    for row, place in enumerate(np.asarray(data, float)):
        yield row, Point(float(place[-2]), float(place[-1])), place[:-2].round(6)


def _labels(data: Any, meta: Mapping[str, Any], columns: Mapping[str, Any]) -> Iterator[Placed]:
    """Yield the pixels of each label, plane by plane; its features are found by ``index``."""
    from scipy.ndimage import find_objects

    labels = np.asarray(data)
    shift = np.asarray(meta.get("translate", np.zeros(labels.ndim)), float)[-2:]
    top, left = (round(edge) for edge in shift.tolist())
    index = [int(value) for value in columns.get(_INDEX, [])]
    for plane in np.ndindex(labels.shape[:-2]):
        painted = labels[plane]
        values, dense = np.unique(painted, return_inverse=True)
        places = find_objects(dense.reshape(painted.shape) + 1)
        for value, place in zip(values.tolist(), places, strict=True):
            if value == 0 or place is None:
                continue
            row = index.index(value) if value in index else (-1 if index else value)
            corner = (place[0].start + top, place[1].start + left)
            yield row, Mask(painted[place] == value, corner), np.array(plane, float)


_PLACED = {"shapes": _shapes, "points": _points, "labels": _labels}
