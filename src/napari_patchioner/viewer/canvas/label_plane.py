"""Where the labels of one plane are, and where they lie on the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_patchioner.viewer.session.record import Plane

    FloatArray = npt.NDArray[np.float64]
    Box = tuple[slice, slice]


@dataclass(frozen=True, eq=False, slots=True)
class LabelPlane:
    """Where the labels of one plane are, and where they lie on the image.

    Attributes
    ----------
    data : array_like of int
        All labels, lazy or not.
    index : tuple of int or slice
        What to take of them.
    turned : bool
        Whether the rows of the plane are a later axis than its columns.
    plane : Plane
        The plane of the image.
    ndim : int
        Number of axes of the image.
    shape : tuple of int
        ``(height, width)`` of the plane of the image.
    matrix, origin : ndarray of float, shapes (2, 2) and (2,)
        ``image = labels @ matrix + origin`` in ``(row, column)`` pixels.
    """

    data: Any
    index: tuple[Any, ...]
    turned: bool
    plane: Plane
    ndim: int
    shape: tuple[int, int]
    matrix: FloatArray
    origin: FloatArray

    def read(self) -> npt.NDArray[Any]:
        """Return the labels of the plane, shape (rows, columns)."""
        pixels = np.asarray(self.data[self.index])
        return pixels.T if self.turned else pixels

    def place(self, pixels: npt.NDArray[np.bool_], box: Box) -> tuple[Any, tuple[int, int]]:
        """Return a label's own pixels as pixels of the image, and the first of them.

        The label of a layer with finer or turned pixels is looked up at the middle of each image
        pixel; one too small to lie under any takes the pixel in its middle.
        """
        start = np.array([part.start for part in box], float)
        if np.array_equal(self.matrix, np.eye(2)) and np.array_equal(
            self.origin, np.round(self.origin)
        ):
            return pixels, tuple(np.round(start + self.origin).astype(int))
        edges = start - 0.5 + np.array([(0, 0), (0, 1), (1, 0), (1, 1)]) * pixels.shape
        corners = edges @ self.matrix + self.origin
        low = np.ceil(corners.min(axis=0)).astype(int)
        high = np.maximum(np.floor(corners.max(axis=0)).astype(int) + 1, low + 1)
        rows, columns = np.mgrid[low[0] : high[0], low[1] : high[1]]
        there = (np.stack([rows, columns], -1) - self.origin) @ np.linalg.inv(self.matrix) - start
        cells = np.round(there).astype(int)
        within = ((cells >= 0) & (cells < pixels.shape)).all(axis=-1)
        found = np.zeros(within.shape, bool)
        found[within] = pixels[tuple(cells[within].T)]
        if not found.any():
            middle = (start + np.argwhere(pixels).mean(axis=0)) @ self.matrix + self.origin
            return np.ones((1, 1), bool), tuple(np.round(middle).astype(int))
        return found, (int(low[0]), int(low[1]))
