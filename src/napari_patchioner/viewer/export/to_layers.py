"""Annotations as layers of shapes, points and labels, captions and all in their features."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.annotations import fitted, other_axes, shape_from_region
from napari_patchioner.regions import Mask, Point, Trace

from .placing import placement_on, shifted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import napari
    import numpy.typing as npt

    from napari_patchioner.annotations import Annotation

    Layer = tuple[Any, dict[str, Any], str]

# A file about more images than this comes as layers for all of them together.
MOST_IMAGES = 8
_OURS = ("uid", "image", "caption", "score", "source", "caption_model", "reviewed")
_LINES = {"regions": "#ff7f0e", "traces": "#17becf"}


def annotation_layers(
    annotations: Sequence[Annotation],
    name: str,
    depths: Mapping[str, int] | None = None,
    known: Callable[[str], napari.layers.Image | None] = lambda image: None,
) -> tuple[list[Layer], list[Annotation]]:
    """Return layers that show annotations, and those that napari has no shape for.

    Parameters
    ----------
    annotations : sequence of Annotation
        Regions of any number of images.
    name : str
        What to call the layers where no image is named.
    depths : mapping of str to int, optional
        How many axes the images that are open have before row and column, by their names.
    known : callable
        Returns the layer of an image that is open, by the name the annotations have for it; their
        layers come to lie exactly on it.

    Returns
    -------
    layers : list of (data, meta, kind)
        For each image its regions and traces under the names by which the dock takes them over,
        then points and labels.
    left_out : list of Annotation
        Sets, traces of one position and whole images.
    """
    images = dict.fromkeys(one.image for one in annotations)
    apart = len(images) <= MOST_IMAGES
    layers: list[Layer] = []
    left_out: list[Annotation] = []
    for image in images if apart else [""]:
        own = [one for one in annotations if one.image == image or not apart]
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
        left_out += [one for one in own if _kind(one) is None]
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
    planes = [_leading(one) for one in annotations]
    if known is not None and all(fitted(plane, known) is not None for plane in planes):
        return known
    return max((len(plane) for plane in planes if any(plane) or len(plane) == 1), default=0)


def _image_layers(
    annotations: Sequence[Annotation], title: str, depth: int, image: napari.layers.Image | None
) -> list[Layer]:
    """Return the layers of one image, all with as many axes, where that image lies."""
    place = placement_on(image, depth + 2) if image is not None else {}
    found: list[Layer] = []
    for key in ("regions", "traces", "points"):
        own = [one for one in annotations if _kind(one) == key]
        if own:
            data, meta, kind = (_LAYERS[key])(own, f"{key} [{title}]", depth)
            found.append((data, {**meta, **place}, kind))
    masks = [one for one in annotations if _kind(one) == "labels"]
    return [*found, *_labels_layers(masks, title, depth, place)]


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
    shapes = [shape_from_region(one.region) for one in annotations]
    pairs = [(one, shape) for one, shape in zip(annotations, shapes, strict=True) if shape]
    meta = {
        "name": name,
        "shape_type": [kind for _, (kind, _) in pairs],
        "features": features(one for one, _ in pairs),
        "edge_color": _LINES[name.partition(" ")[0]],
        "face_color": "transparent",
        "opacity": 1,
    }
    return [_placed(one, vertices, depth) for one, (_, vertices) in pairs], meta, "shapes"


def _points_layer(annotations: Sequence[Annotation], name: str, depth: int) -> Layer:
    places = [
        _placed(one, [[one.region.row, one.region.column]], depth)[0]  # type: ignore[union-attr]
        for one in annotations
    ]
    return np.array(places), {"name": name, "features": features(annotations)}, "points"


def _labels_layers(
    masks: Sequence[Annotation], title: str, depth: int, on_image: Mapping[str, Any]
) -> list[Layer]:
    """Return masks as layers as large as they need, more than one where masks overlap."""
    if not masks:
        return []
    low, high = _extent(masks, depth)
    painted: list[tuple[npt.NDArray[np.int32], list[Annotation]]] = []
    for one in masks:
        first, last = _corners(one, depth)
        place = (*map(slice, first - low, last - low),)
        pixels = one.region.pixels.reshape(last - first)  # type: ignore[union-attr]
        free = next((p for p in painted if not p[0][place][pixels].any()), None)
        if free is None:
            free = (np.zeros(high - low, np.int32), [])
            painted.append(free)
        free[1].append(one)
        free[0][place][pixels] = len(free[1])
    return [
        (
            labels,
            {
                "name": f"labels [{title}]{f' [{number}]' * (number > 0)}",
                **shifted(on_image, low),
                "features": {"index": np.arange(1, len(own) + 1), **features(own)},
            },
            "labels",
        )
        for number, (labels, own) in enumerate(painted)
    ]


def _corners(one: Annotation, depth: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the first pixel of a mask along all axes of its layer, and the one after its last."""
    first = _placed(one, [one.region.offset], depth)[0].round().astype(int)  # type: ignore[union-attr]
    last = first + 1
    last[list(_axes(one, depth))] += np.array(one.region.pixels.shape) - 1  # type: ignore[union-attr]
    return first, last


def _extent(masks: Sequence[Annotation], depth: int) -> tuple[Any, Any]:
    corners = [_corners(one, depth) for one in masks]
    low = np.min([first for first, _ in corners], axis=0)
    # Planes are counted from the first one of the image.
    low[:depth] = 0
    return low, np.max([last for _, last in corners], axis=0)


def features(annotations: Iterable[Annotation]) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of a features table: ours as the dock has them, then the extras."""
    found = list(annotations)
    scores = [np.nan if one.score is None else one.score for one in found]
    ours = {
        "uid": [one.uid for one in found],
        "image": [one.image for one in found],
        "caption": [one.caption for one in found],
        "score": np.array(scores, float),
        "source": [one.source for one in found],
        "caption_model": [one.model for one in found],
        "reviewed": np.array([_yes(one.extra.get("reviewed", "")) for one in found], bool),
    }
    names = Counter(name for one in found for name in one.extra if name not in ("plane", "axes"))
    extras = {
        name: [one.extra.get(name, "") for one in found] for name in names if name not in ours
    }
    columns = {**ours, **extras}
    return {
        name: column if isinstance(column, np.ndarray) else np.array(column, object)
        for name, column in columns.items()
    }


def _yes(text: str) -> bool:
    return text.lower() in ("true", "1", "yes")


_LAYERS = {"regions": _shapes_layer, "traces": _shapes_layer, "points": _points_layer}
