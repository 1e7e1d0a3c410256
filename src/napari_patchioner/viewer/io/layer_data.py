"""Annotations as layers of shapes, points and labels, captions and all in their features."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from napari_patchioner.annotations import (
    Annotation,
    axes_drawn_along,
    fitted,
    other_axes,
    region_from_shape,
    shape_from_region,
)
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Mask, Point, Trace, label_boxes
from napari_patchioner.viewer.layers.labels import place_label
from napari_patchioner.viewer.layers.table import annotation_columns

from .placement import layer_image, pixels_of, placement_on, shifted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import napari
    import numpy.typing as npt

    from napari_patchioner.regions import Region

    Layer = tuple[Any, dict[str, Any], str]
    FloatArray = npt.NDArray[np.float64]
    Image: TypeAlias = napari.layers.Image
    Placed = tuple[int, Region, FloatArray, tuple[int, int]]

# A file about more images than this comes as layers for all of them together.
MOST_IMAGES = 8
_LINES = {"regions": "#ff7f0e", "traces": "#17becf"}
# Columns of ours and the fields they are; all other columns are extras.
_SOURCES = ("model", "edited", "human")
_FIELDS = ("uid", "image", "caption", "score", "source", "caption_model")
# The column of a labels layer that says which label a row is about.
_INDEX = "index"


def annotation_layers(
    annotations: Sequence[Annotation],
    name: str,
    depths: Mapping[str, int] | None = None,
    known: Callable[[str], napari.layers.Image | None] = lambda image: None,
) -> tuple[list[Layer], list[Annotation]]:
    """Return layers that show annotations, and those that napari has no shape for.

    Parameters
    ----------
    depths : mapping of str to int, optional
        How many axes the images that are open have before row and column, by their names.
    """
    images = dict.fromkeys(annotation.image for annotation in annotations)
    apart = len(images) <= MOST_IMAGES
    layers: list[Layer] = []
    left_out: list[Annotation] = []
    for image in images if apart else [""]:
        own = [a for a in annotations if a.image == image or not apart]
        title = PurePath(image).stem if image and apart else name
        deep = depths or {}
        open_depth = deep.get(image, deep.get(PurePath(image).name, deep.get(title)))
        if open_depth is None and len(set(deep.values())) == 1:
            open_depth = next(iter(deep.values()))
        below = known(image) if apart else None
        if below is None and image and apart and title in deep:
            # Called like an open image, but of another folder: its layers say which.
            title = PurePath(image).with_suffix("").as_posix()
        layers += _image_layers(own, title, _depth(own, open_depth), below)
        left_out += [annotation for annotation in own if _kind(annotation) is None]
    return layers, left_out


def _kind(annotation: Annotation) -> str | None:
    """Return which layer shows a region."""
    region = annotation.region
    if isinstance(region, Mask | Point):
        return "labels" if isinstance(region, Mask) else "points"
    if shape_from_region(region) is None:
        return None
    return "traces" if isinstance(region, Trace) else "regions"


def _depth(annotations: Sequence[Annotation], known: int | None) -> int:
    """Return how many axes before row and column the layers of an image get.

    Formats with fixed axes say 0 along those that the image does not have.
    """
    planes = [_leading(annotation) for annotation in annotations]
    if known is not None and all(fitted(plane, known) is not None for plane in planes):
        return known
    return max((len(plane) for plane in planes if any(plane) or len(plane) == 1), default=0)


def _image_layers(
    annotations: Sequence[Annotation], title: str, depth: int, image: napari.layers.Image | None
) -> list[Layer]:
    """Return the layers of one image, all with as many axes, where that image lies."""
    place = placement_on(image, depth + 2) if image is not None else {}
    layers: list[Layer] = []
    for key in ("regions", "traces", "points"):
        own = [annotation for annotation in annotations if _kind(annotation) == key]
        if own:
            data, meta, kind = (_LAYERS[key])(own, f"{key} [{title}]", depth)
            layers.append((data, {**meta, **place}, kind))
    masks = [annotation for annotation in annotations if _kind(annotation) == "labels"]
    return [*layers, *_labels_layers(masks, title, depth, place)]


def _leading(annotation: Annotation) -> list[float]:
    """Return where a region lies along the axes before row and column."""
    try:
        return [float(index) for index in annotation.extra.get("plane", "").split()]
    except ValueError:
        return []


def _placed(annotation: Annotation, points: Any, depth: int) -> npt.NDArray[np.float64]:
    """Return points ``(row, column)`` with all axes of the layer."""
    before = fitted(_leading(annotation), depth) or [0.0] * depth
    shown = _axes(annotation, depth)
    others = [axis for axis in range(depth + 2) if axis not in shown]
    points = np.asarray(points, float)
    placed = np.zeros((len(points), depth + 2))
    placed[:, others] = before
    placed[:, list(shown)] = points
    return placed


def _axes(annotation: Annotation, depth: int) -> tuple[int, int]:
    """Return the axes of the layer that are the rows and columns of a region."""
    own, missing = other_axes(annotation), depth - len(_leading(annotation))
    if own is None or missing < 0 or own[1] + missing > depth + 1:
        return depth, depth + 1
    return own[0] + missing, own[1] + missing


def _shapes_layer(annotations: Sequence[Annotation], name: str, depth: int) -> Layer:
    shapes = [shape_from_region(annotation.region) for annotation in annotations]
    pairs = [
        (annotation, shape) for annotation, shape in zip(annotations, shapes, strict=True) if shape
    ]
    meta = {
        "name": name,
        "shape_type": [kind for _, (kind, _) in pairs],
        "features": annotation_columns([annotation for annotation, _ in pairs]),
        "edge_color": _LINES[name.partition(" ")[0]],
        "face_color": "transparent",
        "opacity": 1,
    }
    return (
        [_placed(annotation, vertices, depth) for annotation, (_, vertices) in pairs],
        meta,
        "shapes",
    )


def _points_layer(annotations: Sequence[Annotation], name: str, depth: int) -> Layer:
    places = [_placed(item, item.region.coords(), depth)[0] for item in annotations]
    return np.array(places), {"name": name, "features": annotation_columns(annotations)}, "points"


def _labels_layers(
    masks: Sequence[Annotation], title: str, depth: int, on_image: Mapping[str, Any]
) -> list[Layer]:
    """Return masks as layers as large as they need, more than one where masks overlap."""
    if not masks:
        return []
    low, high = _extent(masks, depth)
    painted: list[tuple[npt.NDArray[np.int32], list[Annotation]]] = []
    for mask in masks:
        first, last = _corners(mask, depth)
        place = (*map(slice, first - low, last - low),)
        pixels = _mask(mask).pixels.reshape(last - first)
        free = next((p for p in painted if not p[0][place][pixels].any()), None)
        if free is None:
            free = (np.zeros(high - low, np.int32), [])
            painted.append(free)
        free[1].append(mask)
        free[0][place][pixels] = len(free[1])
    return [
        (
            labels,
            {
                "name": f"labels [{title}]{f' [{number}]' * (number > 0)}",
                **shifted(on_image, low),
                "features": {"index": np.arange(1, len(own) + 1), **annotation_columns(own)},
            },
            "labels",
        )
        for number, (labels, own) in enumerate(painted)
    ]


def _mask(annotation: Annotation) -> Mask:
    """Return the region of an annotation of pixels."""
    assert isinstance(annotation.region, Mask)
    return annotation.region


def _corners(
    annotation: Annotation, depth: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the first pixel of a mask along all axes of its layer, and the one after its last."""
    mask = _mask(annotation)
    first = _placed(annotation, [mask.offset], depth)[0].round().astype(int)
    last = first + 1
    last[list(_axes(annotation, depth))] += np.array(mask.pixels.shape) - 1
    return first, last


def _extent(masks: Sequence[Annotation], depth: int) -> tuple[Any, Any]:
    corners = [_corners(mask, depth) for mask in masks]
    low = np.min([first for first, _ in corners], axis=0)
    # Planes are counted from the first one of the image.
    low[:depth] = 0
    return low, np.max([last for _, last in corners], axis=0)


_LAYERS = {"regions": _shapes_layer, "traces": _shapes_layer, "points": _points_layer}


def layer_annotations(
    data: Any, meta: Mapping[str, Any], kind: str, image: Image | None = None
) -> Iterator[Annotation]:
    """Yield what a layer holds, as annotations in the pixels of its image.

    Parameters
    ----------
    data : list of ndarray, or ndarray
        The vertices of each shape, the points, or the painted labels.
    kind : {"shapes", "points", "labels"}
        What the layer is.
    image : Image, optional
        What it lies on, wherever both lie in the world; without one, the layer's own coordinates
        are taken for pixels.
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
    number: str, region: Region, cells: dict[str, Any], image: str, place: Mapping[str, str]
) -> Annotation:
    texts = {name: str(cells.get(name, "")) for name in _FIELDS}
    extra = {name: _text(cell) for name, cell in cells.items() if name not in _FIELDS}
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
    rows = [int(value) for value in columns.get(_INDEX, [])]
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
            region = Mask(pixels, (int(first[0]), int(first[1])))
            yield row, region, leading.round(), last


_PLACED = {"shapes": _shapes, "points": _points, "labels": _labels}
