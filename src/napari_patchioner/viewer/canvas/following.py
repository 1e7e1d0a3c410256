"""Layers that stay on their image when it is calibrated, moved or turned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .geometry import affine_between, lies_on
from .layers import placement

if TYPE_CHECKING:
    import napari
    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]

PLACE = ("scale", "translate", "rotate", "shear", "affine", "units")


class Follower:
    """Takes a layer along with its image, so that what is on it keeps its pixels of the image.

    A layer that lies exactly on its image goes on to do so. One that lies elsewhere, as labels
    with pixels of another size, keeps its place on the image.

    Parameters
    ----------
    layer : napari.layers.Layer
        What is taken along; a person may move it by itself, which `look` takes note of.
    image : napari.layers.Image
        What it lies on.
    """

    def __init__(self, layer: napari.layers.Layer, image: napari.layers.Image) -> None:
        self._layer, self._image = layer, image
        self._working = False
        self._map = affine_between(layer, image)
        for name in PLACE:
            getattr(image.events, name).connect(self._on_placed)

    def close(self) -> None:
        """Stay where it is from now on."""
        for name in PLACE:
            getattr(self._image.events, name).disconnect(self._on_placed)

    def look(self) -> None:
        """Take note of how both lie on each other now."""
        self._map = affine_between(self._layer, self._image)

    def _on_placed(self, *_: object) -> None:
        """Bring the layer back to where it was on the image, unless somebody has done so."""
        if self._working or lies_on(self._layer, self._image):
            return
        now = affine_between(self._layer, self._image)
        if all(map(np.allclose, now, self._map)):
            return
        self._working = True
        try:
            self._place()
        finally:
            self._working = False

    def _place(self) -> None:
        layer, image = self._layer, self._image
        matrix, origin = self._map
        if np.array_equal(matrix, np.eye(layer.ndim)) and not origin.any():
            wanted = placement(image)
            for name in PLACE:
                setattr(layer, name, wanted[name])
            return
        layer.units = image.units
        target = _world_matrix(image) @ _homogeneous(matrix.T, origin)
        turned = np.allclose(layer.rotate, np.eye(layer.ndim)) and not np.any(layer.shear)
        straight = np.diag(np.diag(target[:-1, :-1]))
        if turned and np.allclose(target[:-1, :-1], straight) and _is_none(layer.affine):
            layer.scale, layer.translate = np.diag(straight), target[:-1, -1]
            return
        physical = np.linalg.inv(np.asarray(layer.affine.affine_matrix)) @ _world_matrix(layer)
        layer.affine = target @ np.linalg.inv(physical)


def _world_matrix(layer: napari.layers.Layer) -> FloatArray:
    """Return the matrix from data to world, shape (ndim + 1, ndim + 1)."""
    steps = np.vstack([np.zeros(layer.ndim), np.eye(layer.ndim)])
    world = np.array([layer.data_to_world(step) for step in steps], float)
    return _homogeneous((world[1:] - world[0]).T, world[0])


def _homogeneous(linear: FloatArray, origin: FloatArray) -> FloatArray:
    matrix = np.eye(len(origin) + 1)
    matrix[:-1, :-1], matrix[:-1, -1] = linear, origin
    return matrix


def _is_none(affine: napari.utils.transforms.Affine) -> bool:
    """Whether a layer is placed by nothing but scale, translation, turn and shear."""
    matrix = np.asarray(affine.affine_matrix)
    return np.allclose(matrix, np.eye(len(matrix)))
