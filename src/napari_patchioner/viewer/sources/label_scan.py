"""Every label of a plane as a region, one bounding box at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.regions._labels import label_boxes
from napari_patchioner.viewer.reading.worker import reporting
from napari_patchioner.viewer.session.mask import SeenMask

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    import numpy.typing as npt

    from napari_patchioner.viewer.reading.worker import Progress
    from napari_patchioner.viewer.session.record import Plane

    FloatArray = npt.NDArray[np.float64]
    Box = tuple[slice, slice]

# Labels between two looks at whether anybody still waits.
TURN = 64


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


def seen_labels(
    plane: LabelPlane,
    known: Mapping[int, SeenMask],
    check: Callable[[float], None] = lambda done: None,
) -> dict[int, SeenMask]:
    """Return every label of a plane by value; those that have not changed are the known ones.

    Parameters
    ----------
    plane : LabelPlane
        What to look at.
    known : mapping of int to SeenMask
        The labels as they were.
    check : callable
        Told the share done now and then; may raise `Cancelled`.
    """
    check(0.0)
    labels = plane.read()
    boxes = label_boxes(labels)
    found = {}
    for place, (value, box) in enumerate(boxes.items()):
        if place % TURN == 0:
            check(place / len(boxes))
        pixels, start = plane.place(labels[box] == value, box)
        first = np.zeros(plane.ndim)
        others = [axis for axis in range(plane.ndim) if axis not in plane.plane.axes]
        first[others] = plane.plane.index
        first[list(plane.plane.axes)] = start
        old = known.get(value)
        same = (
            old is not None
            and np.array_equal(old.vertices[0], first)
            and np.array_equal(old.pixels, pixels)
        )
        found[value] = old if same else SeenMask.of(pixels, first, plane.plane.axes, value)
    return found


@reporting
def scan_labels(
    plane: LabelPlane, known: Mapping[int, SeenMask], progress: Progress
) -> Generator[dict[int, SeenMask], None, None]:
    """Look at a plane in a worker; yield its labels."""
    yield seen_labels(plane, known, lambda done: progress(done, "looking at the labels"))
