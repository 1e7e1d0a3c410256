"""Every label of a plane as a region, one bounding box at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_patchioner.regions import label_boxes
from napari_patchioner.viewer.reading.worker import reporting
from napari_patchioner.viewer.session.mask import SeenMask

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from napari_patchioner.viewer.canvas.label_plane import LabelPlane
    from napari_patchioner.viewer.reading.worker import Progress

# Labels between two looks at whether anybody still waits.
TURN = 64


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
