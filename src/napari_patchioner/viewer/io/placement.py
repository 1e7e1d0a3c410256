"""Which image of the viewer a layer is about, and where the pixels of one lie on the other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import napari
import numpy as np
import numpy.typing as npt

from napari_patchioner.batch import ImageMatcher
from napari_patchioner.viewer.layers import geometry
from napari_patchioner.viewer.layers.geometry import PLACEMENT, FloatArray

# As short a name as can be: the number at the end is napari's, given to the second of that name.
_NAMED = re.compile(r"(?:regions|traces|points|labels) \[(.*?)\](?: \[\d+\])?\Z", re.DOTALL)


def layer_image(meta: Mapping[str, Any]) -> str:
    """Return the name of the image layer that a layer of ours lies on; empty for others."""
    sign = (meta.get("metadata") or {}).get("napari-patchioner") or meta.get("name") or ""
    match = _NAMED.match(str(sign))
    return match[1] if match else ""


def open_images() -> list[napari.layers.Image]:
    """Return the image layers that are open in napari, from below to above."""
    viewer = napari.current_viewer()
    layers = viewer.layers if viewer is not None else ()
    return [layer for layer in layers if isinstance(layer, napari.layers.Image)]


def image_named(name: str, images: Sequence[napari.layers.Image]) -> napari.layers.Image | None:
    """Return the image of this name, that of its layer or of its file, with the ending or without.

    Where no name is given, it is the only image there is, or any of several that lie alike.
    """
    if not name:
        return images[0] if images and _alike(images) else None
    files = [PurePath(image.source.path or "") for image in images]
    for names in ([i.name for i in images], [f.name for f in files], [f.stem for f in files]):
        if name in names:
            return images[names.index(name)]
    stem = PurePath(name).stem
    alike = (i for i, file in zip(images, files, strict=True) if stem in (i.name, file.stem))
    return next((image for image in alike if may_mean(name, image)), None)


def may_mean(name: str, image: napari.layers.Image) -> bool:
    """Whether a name in a file can mean an image called alike: ``d2/a.png`` is not ``d1/a.png``."""
    path = image.source.path
    if not path or len(re.split(r"[\\/]", name)) == 1:
        return True
    return ImageMatcher([Path(path)]).find(name) is not None


def image_below(
    data: Any, meta: Mapping[str, Any], kind: str, images: Sequence[napari.layers.Image]
) -> napari.layers.Image | None:
    """Return the image that a layer of shapes, points or labels names, or else lies on."""
    if name := layer_image(meta):
        image = image_named(name, images)
        if image is not None:
            return image
    features = meta.get("features")
    names = set() if features is None or "image" not in features else set(features["image"])
    named = [image_named(str(name), images) for name in names if name]
    if len(named) == 1 and named[0] is not None:
        return named[0]
    if not images or _alike(images):
        return images[0] if images else None
    corners = _corners(data, kind)
    shared = [_shared(corners, meta, image) for image in images]
    return images[int(np.argmax(shared))]


def pixels_of(
    meta: Mapping[str, Any], ndim: int, image: napari.layers.Image | None, *, moved: bool = False
) -> tuple[FloatArray, FloatArray]:
    """Return matrix and origin with ``image_pixels = layer_data @ matrix + origin``."""
    place = {name: meta[name] for name in PLACEMENT if meta.get(name) is not None}
    if image is None and not moved:
        return np.eye(ndim), np.zeros(ndim)
    on = {**place, "translate": np.zeros(ndim)} if image is None else placement_on(image, ndim)
    return geometry.affine_between(_stand_in(ndim, place), _stand_in(ndim, on))


def placement_on(image: napari.layers.Image, ndim: int) -> dict[str, Any]:
    """Return where a new layer of so many axes lies exactly on an image, as arguments for it."""
    if ndim == image.ndim:
        return geometry.placement(image)
    affine = np.eye(max(ndim, image.ndim) + 1)
    affine[-image.ndim - 1 :, -image.ndim - 1 :] = geometry.world_matrix(image)
    units = ["pixel"] * (ndim - image.ndim) + [str(unit) for unit in image.units[-ndim:]]
    return {"affine": affine[-ndim - 1 :, -ndim - 1 :], "units": units}


def shifted(place: Mapping[str, Any], first: npt.ArrayLike) -> dict[str, Any]:
    """Return the placement of a layer whose first pixel is another one of the image."""
    first = np.asarray(first, float)
    turning = {name: place[name] for name in ("scale", "rotate", "shear") if name in place}
    shift = np.asarray(_stand_in(len(first), turning).data_to_world(first))
    return {**place, "translate": np.asarray(place.get("translate", 0.0)) + shift}


def _stand_in(ndim: int, place: Mapping[str, Any]) -> napari.layers.Points:
    """Return an empty layer at some place in the world."""
    kept = {name: value for name, value in place.items() if name in PLACEMENT}
    return napari.layers.Points(np.empty((0, ndim)), **kept)


def _alike(images: Iterable[napari.layers.Image]) -> bool:
    """Whether all images have their pixels in the same places."""
    first, *others = images
    return all(
        other.ndim == first.ndim
        and other.units == first.units
        and np.allclose(geometry.world_matrix(other), geometry.world_matrix(first))
        for other in others
    )


def _corners(data: Any, kind: str) -> FloatArray:
    """Return the least and the greatest coordinates on a layer, shape (2, ndim)."""
    if kind == "labels":
        shape = np.shape(data)
        return np.array([np.zeros(len(shape)), np.array(shape, float) - 1])
    places = np.concatenate([*map(np.atleast_2d, data)]) if len(data) else np.zeros((1, 2))
    return np.array([places.min(axis=0), places.max(axis=0)], float)


def _shared(corners: FloatArray, meta: Mapping[str, Any], image: napari.layers.Image) -> float:
    """Return which share of a layer's extent lies within an image, along rows and columns."""
    matrix, origin = pixels_of(meta, corners.shape[1], image)
    ends = corners @ matrix + origin
    low, high = ends.min(axis=0)[-2:] - 0.5, ends.max(axis=0)[-2:] + 0.5
    size = np.array(geometry.full_shape(image)[-2:], float)
    inside = np.clip(np.minimum(high, size - 0.5) - np.maximum(low, -0.5), 0, None)
    return float((inside / (high - low)).prod())
