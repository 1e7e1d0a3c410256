"""Annotations as layers of shapes, points and labels, captions and all in their features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image

from napari_patchioner.annotations import SOURCES, Annotation, napari_shapes
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Mask, Point, Region, Trace, label_boxes
from napari_patchioner.viewer.layers.geometry import FloatArray, mapped
from napari_patchioner.viewer.layers.labels import INDEX, place_label
from napari_patchioner.viewer.layers.table import annotation_columns

from .placement import layer_image, pixels_of, placement_on, shifted

Layer = tuple[Any, dict[str, Any], str]
# Row of the table, region, position along the other axes, and the axes it is drawn along
Placed = tuple[int, Region, FloatArray, tuple[int, int]]

# A file about more images than this comes as layers for all of them together.
MOST_IMAGES = 8
_LINES = {"regions": "#ff7f0e", "traces": "#17becf"}
# Columns of ours and the fields they are; all other columns are extras.
_FIELDS = ("uid", "image", "caption", "score", "source", "caption_model")


def annotation_layers(
    annotations: Sequence[Annotation],
    name: str,
    depths: Mapping[str, int] | None = None,
    known: Callable[[str], Image | None] = lambda image: None,
) -> tuple[list[Layer], list[Annotation]]:
    """Return layers that show annotations, and those that napari has no shape for.

    `depths` says how many axes the open images have before row and column, `known` which is meant.
    """
    images = dict.fromkeys(annotation.image for annotation in annotations)
    apart, deep = len(images) <= MOST_IMAGES, depths or {}
    layers: list[Layer] = []
    for image in images if apart else [""]:
        own = [a for a in annotations if a.image == image or not apart]
        title = PurePath(image).stem if image and apart else name
        open_depth = deep.get(image, deep.get(PurePath(image).name, deep.get(title)))
        if open_depth is None and len(set(deep.values())) == 1:
            open_depth = next(iter(deep.values()))
        below = known(image) if apart else None
        if below is None and image and apart and title in deep:
            # Called like an open image, but of another folder: its layers say which.
            title = PurePath(image).with_suffix("").as_posix()
        # Formats with fixed axes say 0 along those that the image does not have.
        planes = [_leading(a) for a in own]
        depth = max((len(plane) for plane in planes if any(plane) or len(plane) == 1), default=0)
        if open_depth is not None and all(
            napari_shapes.fitted(plane, open_depth) is not None for plane in planes
        ):
            depth = open_depth
        layers += _image_layers(own, title, depth, below)
    return layers, [annotation for annotation in annotations if _kind(annotation) is None]


def _kind(annotation: Annotation) -> str | None:
    """Return which layer shows a region."""
    region = annotation.region
    if isinstance(region, Mask | Point):
        return "labels" if isinstance(region, Mask) else "points"
    if napari_shapes.shape_from_region(region) is None:
        return None
    return "traces" if isinstance(region, Trace) else "regions"


def _image_layers(
    annotations: Sequence[Annotation], title: str, depth: int, image: Image | None
) -> list[Layer]:
    """Return the layers of one image, all with as many axes, where that image lies."""
    place = placement_on(image, depth + 2) if image is not None else {}
    kinds = [(_kind(annotation), annotation) for annotation in annotations]
    layers: list[Layer] = []
    for key in ("regions", "traces", "points"):
        own = [annotation for kind, annotation in kinds if kind == key]
        if not own:
            continue
        meta = {"name": f"{key} [{title}]", "features": annotation_columns(own), **place}
        if key == "points":
            places = [_placed(a, a.region.coords(), depth)[0] for a in own]
            layers.append((np.array(places), meta, "points"))
            continue
        shapes = [shape for a in own if (shape := napari_shapes.shape_from_region(a.region))]
        meta |= {"shape_type": [kind for kind, _ in shapes], "edge_color": _LINES[key]}
        meta |= {"face_color": "transparent", "opacity": 1}
        drawn = zip(own, shapes, strict=True)
        layers.append(([_placed(a, vertices, depth) for a, (_, vertices) in drawn], meta, "shapes"))
    masks = [annotation for kind, annotation in kinds if kind == "labels"]
    return [*layers, *_labels_layers(masks, title, depth, place)]


def _leading(annotation: Annotation) -> list[float]:
    """Return where a region lies along the axes before row and column."""
    try:
        return [float(index) for index in annotation.extra.get("plane", "").split()]
    except ValueError:
        return []


def _axes(annotation: Annotation, depth: int) -> tuple[int, int]:
    """Return the axes of the layer that are the rows and columns of a region."""
    own, missing = napari_shapes.other_axes(annotation), depth - len(_leading(annotation))
    if own is None or missing < 0 or own[1] + missing > depth + 1:
        return depth, depth + 1
    return own[0] + missing, own[1] + missing


def _placed(annotation: Annotation, points: Any, depth: int) -> FloatArray:
    """Return points ``(row, column)`` with all axes of the layer."""
    shown = _axes(annotation, depth)
    others = [axis for axis in range(depth + 2) if axis not in shown]
    placed = np.zeros((len(points), depth + 2))
    placed[:, others] = napari_shapes.fitted(_leading(annotation), depth) or [0.0] * depth
    placed[:, list(shown)] = points
    return placed


def _labels_layers(
    masks: Sequence[Annotation], title: str, depth: int, on_image: Mapping[str, Any]
) -> list[Layer]:
    """Return masks as layers as large as they need, more than one where masks overlap."""
    boxes: list[tuple[Annotation, npt.NDArray[np.bool_], Any]] = []
    for annotation in masks:
        mask = annotation.region
        assert isinstance(mask, Mask)
        first = _placed(annotation, [mask.offset], depth)[0].round().astype(int)
        shape = np.ones_like(first)
        shape[list(_axes(annotation, depth))] = mask.pixels.shape
        boxes.append((annotation, mask.pixels.reshape(shape), first))
    if not boxes:
        return []
    low = np.min([first for *_, first in boxes], axis=0)
    # Planes are counted from the first one of the image.
    low[:depth] = 0
    high = np.max([first + pixels.shape for _, pixels, first in boxes], axis=0)
    painted: list[tuple[npt.NDArray[np.int32], list[Annotation]]] = []
    for annotation, pixels, first in boxes:
        box = (*map(slice, first - low, first - low + pixels.shape),)
        free = next((p for p in painted if not p[0][box][pixels].any()), None)
        if free is None:
            free = (np.zeros(high - low, np.int32), [])
            painted.append(free)
        labels, own = free
        own.append(annotation)
        labels[box][pixels] = len(own)
    return [
        (
            labels,
            {
                "name": f"labels [{title}]{f' [{number}]' * (number > 0)}",
                **shifted(on_image, low),
                "features": {INDEX: np.arange(1, len(own) + 1), **annotation_columns(own)},
            },
            "labels",
        )
        for number, (labels, own) in enumerate(painted)
    ]


def layer_annotations(
    data: Any, meta: Mapping[str, Any], kind: str, image: Image | None = None
) -> Iterator[Annotation]:
    """Yield what a layer of shapes, points or labels holds, in pixels of its image or its own."""
    features = meta.get("features")
    columns = {} if features is None else {str(name): list(features[name]) for name in features}
    title = layer_image(meta)
    if kind == "labels":
        placed = _labels(data, meta, [int(value) for value in columns.pop(INDEX, [])], image)
    else:
        placed = (_shapes if kind == "shapes" else _points)(data, meta, image)
    for row, region, leading, axes in placed:
        extra: dict[str, str] = {}
        for name, column in columns.items():
            cell = column[row] if 0 <= row < len(column) else None
            # Missing values of numpy and pandas are empty texts.
            if cell is not None and cell == cell and cell != "":
                flag = isinstance(cell, bool | np.bool_) and name not in _FIELDS
                extra[name] = str(cell).lower() if flag else str(cell)
        ours = {name: extra.pop(name, "") for name in _FIELDS}
        if extra.get("reviewed") == "false":
            del extra["reviewed"]
        if len(leading):
            extra["plane"] = " ".join(f"{value:g}" for value in leading.tolist())
            if axes != (len(leading), len(leading) + 1):
                extra["axes"] = f"{axes[0]} {axes[1]}"
        yield Annotation(
            uid=ours["uid"] or str(row),
            image=ours["image"] or title,
            region=region,
            caption=ours["caption"],
            score=float(ours["score"]) if ours["score"] else None,
            source=ours["source"] if ours["source"] in SOURCES else "",
            model=ours["caption_model"],
            extra=extra,
        )


def _shapes(data: Any, meta: Mapping[str, Any], image: Image | None) -> Iterator[Placed]:
    for row, (kind, points) in enumerate(shapes_in_pixels(data, meta, image)):
        axes = napari_shapes.axes_drawn_along(points)
        if axes is None:
            raise FormatError(f"shape {row} spans several planes; draw it in one")
        others = [axis for axis in range(points.shape[1]) if axis not in axes]
        yield (
            row,
            napari_shapes.region_from_shape(points[:, list(axes)], kind),
            points[0, others].round(6),
            axes,
        )


def shapes_in_pixels(
    data: Any, meta: Mapping[str, Any], image: Image | None
) -> list[tuple[str, FloatArray]]:
    """Return the shape types of a layer's shapes and their vertices, in pixels of its image."""
    kinds = meta.get("shape_type") or "polygon"
    kinds = [kinds] * len(data) if isinstance(kinds, str) else list(kinds)
    return [
        (kind, _pixels(vertices, meta, image)) for kind, vertices in zip(kinds, data, strict=True)
    ]


def _points(data: Any, meta: Mapping[str, Any], image: Image | None) -> Iterator[Placed]:
    for row, place in enumerate(_pixels(data, meta, image) if len(data) else ()):
        last = len(place) - 2, len(place) - 1
        yield row, Point(float(place[-2]), float(place[-1])), place[:-2].round(6), last


def _pixels(points: Any, meta: Mapping[str, Any], image: Image | None) -> FloatArray:
    """Return places on a layer as pixels of its image."""
    places = np.asarray(points, float)
    return mapped(places, *pixels_of(meta, places.shape[1], image))


def _labels(
    data: Any, meta: Mapping[str, Any], rows: Sequence[int], image: Image | None
) -> Iterator[Placed]:
    """Yield the pixels of each label, plane by plane; `rows` are the labels of the table."""
    labels = np.asarray(data[0] if meta.get("multiscale") else data)
    matrix, origin = pixels_of(meta, labels.ndim, image, moved=True)
    depth, last = labels.ndim - 2, (labels.ndim - 2, labels.ndim - 1)
    middle = np.array(labels.shape[-2:], float) / 2
    for plane in np.ndindex(labels.shape[:-2]):
        index = np.array(plane, float)
        shift = origin[depth:] + index @ matrix[:depth, depth:]
        leading = origin[:depth] + np.concatenate([index, middle]) @ matrix[:, :depth]
        painted = labels[plane]
        for value, box in label_boxes(painted).items():
            row = rows.index(value) if value in rows else (-1 if rows else value)
            start = [part.start for part in box]
            pixels, first = place_label(painted[box] == value, start, matrix[depth:, depth:], shift)
            yield row, Mask(pixels, (int(first[0]), int(first[1]))), leading.round(), last
