"""A labels layer: every label is a region, holes and separate parts included."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.components import ViewerModel
from napari.layers import Labels
from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject

from napari_patchioner.annotations import Plane, Record
from napari_patchioner.annotations.project.records import SeenMask
from napari_patchioner.progress import Progress, no_progress
from napari_patchioner.regions import label_boxes
from napari_patchioner.viewer.session.session import Row
from napari_patchioner.viewer.widgets import throttled
from napari_patchioner.viewer.workers.job import Job, JobProgress

from .binding import TableBinding
from .geometry import FloatArray, affine_between, full_shape, shown_plane
from .table import cells_of, read_rows

PlacedLabel = tuple[Plane, int]
# What the table calls a label: its plane as a text, and its number.
TableKey = tuple[str, int]

# Long enough that a stroke of the brush is over, most of the time.
STROKE_MS = 250
# A table of thousands of labels is written at most this often.
TABLE_MS = 400
LONG_S = 0.5
# Labels between two checks whether anybody still wants them.
BATCH = 64
SCANNING = "looking at the labels"
INDEX, PLANE = "index", "plane"


# the labels of a plane


def place_label(
    pixels: npt.NDArray[np.bool_], first: npt.ArrayLike, matrix: FloatArray, origin: FloatArray
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int_]]:
    """Return a label's own pixels, from `first` on, as pixels of the image, and the first of these.

    ``image = labels @ matrix + origin``; finer or turned pixels are sampled at their middles.
    """
    start = np.asarray(first, float)
    if np.array_equal(matrix, np.eye(2)) and np.array_equal(origin, np.round(origin)):
        return pixels, np.round(start + origin).astype(int)
    edges = start - 0.5 + np.array([(0, 0), (0, 1), (1, 0), (1, 1)]) * pixels.shape
    corners = edges @ matrix + origin
    low = np.ceil(corners.min(axis=0)).astype(int)
    high = np.maximum(np.floor(corners.max(axis=0)).astype(int) + 1, low + 1)
    rows, columns = np.mgrid[low[0] : high[0], low[1] : high[1]]
    places = (np.stack([rows, columns], -1) - origin) @ np.linalg.inv(matrix) - start
    cells = np.round(places).astype(int)
    within = ((cells >= 0) & (cells < pixels.shape)).all(axis=-1)
    sampled = np.zeros(within.shape, bool)
    sampled[within] = pixels[tuple(cells[within].T)]
    if not sampled.any():
        # It is too small to lie under the middle of any pixel.
        middle = (start + np.argwhere(pixels).mean(axis=0)) @ matrix + origin
        return np.ones((1, 1), bool), np.round(middle).astype(int)
    return sampled, low


@dataclass(frozen=True, eq=False, slots=True)
class LabelPlane:
    """Where the labels of one plane are, and where they lie on the image."""

    # All labels, lazy or not, and what to take of them
    data: Any
    index: tuple[Any, ...]
    # Plane and number of axes of the image
    plane: Plane
    ndim: int
    # Shapes (2, 2) and (2,): image = labels @ matrix + origin, in (row, column) pixels
    matrix: FloatArray
    origin: FloatArray


def seen_labels(
    labels: LabelPlane, known: Mapping[int, SeenMask], progress: Progress = no_progress
) -> dict[int, SeenMask]:
    """Return every label of a plane by value; those that have not changed are the known ones."""
    progress(0.0, SCANNING)
    axes, pixels = labels.plane.axes, np.asarray(labels.data[labels.index])
    pixels = pixels.T if axes[0] > axes[1] else pixels
    boxes = label_boxes(pixels)
    others = [axis for axis in range(labels.ndim) if axis not in axes]
    seen = {}
    for count, (value, box) in enumerate(boxes.items()):
        if count % BATCH == 0:
            progress(count / len(boxes), SCANNING)
        start = [part.start for part in box]
        mask, corner = place_label(pixels[box] == value, start, labels.matrix, labels.origin)
        first = np.zeros(labels.ndim)
        first[others] = labels.plane.index
        first[list(axes)] = corner
        old = known.get(value)
        same = (
            old is not None
            and np.array_equal(old.vertices[0], first)
            and np.array_equal(old.pixels, mask)
        )
        seen[value] = old if old is not None and same else SeenMask.of(mask, first, axes, value)
    return seen


# the features table: one row per label, or per label and plane in a stack
#
# napari finds a row by its column ``index``, the label. In a stack the column ``plane`` says where,
# and the rows of the plane on display come last, which are the ones napari then shows.


def table_key(plane: Plane, value: int) -> TableKey:
    """Return how the table names a label on a plane: ("4", 7)."""
    return " ".join(map(str, plane.index)), value


def _read_table(layer: Labels) -> dict[TableKey, Row]:
    """Return the rows of the table by plane and label; those that name no label are left out."""
    rows = {}
    for row in read_rows(layer):
        try:
            value = int(row.extra[INDEX])
        except (KeyError, TypeError, ValueError):
            continue
        plane = row.extra.get(PLANE, "")
        rows[plane if isinstance(plane, str) else "", value] = row
    return rows


class LabelsBinding(TableBinding):
    """Keeps a labels layer in step with the session, both ways.

    Labels are read in a worker, plane by plane as planes are displayed, and again after painting.
    """

    def __init__(self, *parts: Any, viewer: ViewerModel) -> None:
        self._viewer, self._parent = viewer, QObject()
        super().__init__(*parts)

    def _prepare(self) -> None:
        self.planes: dict[Plane, dict[int, SeenMask]] = {}
        # The labels in the order of their records
        self._placed: dict[str, PlacedLabel] = {}
        self._written: dict[PlacedLabel, Row] = {}
        self._erased: dict[str, Record] = {}
        self._old: set[Plane] = set()
        self._job: Job | None = None
        self._since = 0.0
        self._painting = False
        self._stroke = throttled(self._on_stroke_over, STROKE_MS, self._parent, rest=True)
        self._table = throttled(self._write, TABLE_MS, self._parent)
        events = self.layer.events
        self._connections += [
            (events.paint, self._on_data),
            (events.labels_update, self._on_data),
            (events.selected_label, self._on_selected),
        ]

    def close(self) -> None:
        """Stop following; what is written stays in the table."""
        super().close()
        self._stroke.cancel()
        self._table.flush()
        if self._job is not None:
            self._job.drop()
        self._job = None
        self._parent.deleteLater()

    @property
    def progress(self) -> JobProgress | None:
        """How far a reading of the labels is that takes long enough to be watched."""
        long = monotonic() - self._since > LONG_S
        return self._job.progress if self._job is not None and long else None

    @property
    def busy(self) -> bool:
        """Whether the layer is being painted on, or its labels are being read."""
        return self._painting or self._job is not None

    def sync(self, *, quiet: bool = False) -> None:
        """Read the displayed plane, unless that has been done since it was painted."""
        plane = shown_plane(self._viewer, self.image)
        if plane is None or self.busy or (plane in self.planes and plane not in self._old):
            return
        self._old.discard(plane)
        labels = self._label_plane(plane)
        if labels is None:
            self.planes[plane] = {}
            return
        self._since = monotonic()
        known, ended = dict(self.planes.get(plane, {})), partial(self._on_ended, plane)
        scanned = partial(self._on_scanned, plane)
        self._job = Job.run(
            seen_labels, labels, known, delivered=scanned, ended=ended, parent=self._parent
        )

    def show(self) -> None:
        """Write the session's captions into the table, soon."""
        self._table.throttle()

    def selected(self) -> list[str]:
        """Return the uid of the selected label on the displayed plane."""
        chosen = shown_plane(self._viewer, self.image), int(self.layer.selected_label)
        return [uid for uid, label in self._placed.items() if label == chosen]

    def select(self, uids: Collection[str]) -> bool:
        """Select a label, of several the first; whether any is on this layer."""
        values = [value for uid, (_, value) in self._placed.items() if uid in uids]
        if values and self.layer.selected_label not in values:
            self.layer.selected_label = values[0]
        return bool(values)

    def _label_plane(self, plane: Plane) -> LabelPlane | None:
        """Return where to read the labels of a plane; None where the layer has none on it."""
        layer, axes = self.layer, list(plane.axes)
        data = layer.data[0] if layer.multiscale else layer.data
        self._follower.update()
        matrix, origin = affine_between(layer, self.image)
        others = [axis for axis in range(layer.ndim) if axis not in axes]
        point = np.array(full_shape(self.image), float) / 2
        point[others] = plane.index
        cell = np.round((point - origin) @ np.linalg.inv(matrix)).astype(int)
        if not all(0 <= cell[axis] < data.shape[axis] for axis in others):
            return None
        index = tuple(slice(None) if a in axes else int(cell[a]) for a in range(layer.ndim))
        # What the other axes add to the displayed ones is the same all over the plane.
        shift = np.asarray(origin[axes] + cell[others] @ matrix[np.ix_(others, axes)], float)
        return LabelPlane(data, index, plane, layer.ndim, matrix[np.ix_(axes, axes)], shift)

    def _observe(self) -> None:
        """Bring the labels of all planes seen so far into the session."""
        ours = self._records()
        for (plane, value), record in ours.items():
            if value not in self.planes[plane]:
                self._erased[record.fingerprint] = record
        placed = [(plane, value) for plane, labels in self.planes.items() for value in labels]
        seen = [self.planes[plane][value] for plane, value in placed]
        table, rows = _read_table(self.layer), list[Row | Record]()
        for label, mask in zip(placed, seen, strict=True):
            row = table.get(table_key(*label))
            # The table lags behind the session: it counts only where somebody else has written.
            if row is not None and row != self._written.get(label):
                rows.append(row)
            elif label in ours:
                rows.append(ours[label])
            else:
                # What comes back as it was erased, as by undo, gets back its text.
                rows.append(self._erased.pop(mask.fingerprint, Row()))
        self._session.observe(self.key, seen, rows, foreign=self._foreign)
        self._placed = dict(zip(self._session.uids(self.key), placed, strict=True))
        self.show()

    def _records(self) -> dict[PlacedLabel, Record]:
        """Return the records of the labels seen last, as far as they have not gone since."""
        records = self._session.records
        return {label: records[uid] for uid, label in self._placed.items() if uid in records}

    def _write(self) -> None:
        """Replace our rows; those of planes not seen yet and other people's columns are kept."""
        searched = {table_key(plane, 0)[0] for plane in self.planes}
        # Other rows of ours on the planes seen are of labels that are gone.
        merged: dict[TableKey, Row | Record] = {
            (plane, value): row
            for (plane, value), row in _read_table(self.layer).items()
            if plane not in searched or not row.uid
        }
        records = self._records()
        written = {label: table_key(*label) for label in records}
        for label, key in written.items():
            merged.pop(key, None)
            merged[key] = records[label]
        lines: list[dict[str, Any]] = []
        for (plane, value), row in merged.items():
            ours = {INDEX: value, PLANE: plane} | cells_of(row)
            lines.append(ours | {n: cell for n, cell in row.extra.items() if n not in ours})
        import pandas as pd  # late, see `write_rows`

        table = pd.DataFrame(lines)
        if self.layer.ndim == 2 and PLANE in table:
            table = table.drop(columns=PLANE)
        with self._quietly():
            self.layer.features = table
        rows = _read_table(self.layer)
        self._written = {label: rows[key] for label, key in written.items()}

    def _on_scanned(self, plane: Plane, labels: dict[int, SeenMask]) -> None:
        self.planes[plane] = labels
        self._observe()

    def _on_ended(self, plane: Plane, error: Exception | None) -> None:
        self._job = None
        if error is not None:
            # Else the same plane would be tried again at once.
            self.planes.setdefault(plane, {})
            show_warning(
                f"The labels of {self.layer.name!r} could not be looked at "
                f"({type(error).__name__}: {error}); paint a little to try again."
            )
        self._changed()

    def _on_data(self, *_: Any) -> None:
        self._painting = True
        self._stroke.throttle()

    def _on_stroke_over(self) -> None:
        self._painting = False
        self._old = set(self.planes)
        self._changed()

    def _on_placed(self, *_: object) -> None:
        if not self._follower.working:
            self._old = set(self.planes)
        super()._on_placed()

    def _on_features(self, *_: object) -> None:
        if not self._writing and self.planes:
            self._observe()
            self._changed()
