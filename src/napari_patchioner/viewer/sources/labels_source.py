"""A labels layer: every label is a region, holes and separate parts included."""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject, QTimer

from napari_patchioner.errors import PatchionerError
from napari_patchioner.viewer.canvas.following import Follower
from napari_patchioner.viewer.canvas.geometry import affine_between, displayed_plane, full_shape
from napari_patchioner.viewer.canvas.label_plane import LabelPlane
from napari_patchioner.viewer.reading.worker import Job
from napari_patchioner.viewer.session.record import Row

from . import label_table
from .label_scan import scan_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import napari

    from napari_patchioner.viewer.reading.worker import Progress
    from napari_patchioner.viewer.session.mask import SeenMask
    from napari_patchioner.viewer.session.record import Plane
    from napari_patchioner.viewer.session.session import Session

    Where = tuple[Plane, int]

# Long enough that a stroke of the brush is over, most of the time.
STILL_MS = 250
# A table of thousands of labels is written at most this often.
TABLE_MS = 400
LONG_S = 0.5


class LabelsSource(QObject):
    """Keeps a labels layer in step with the session, both ways.

    Labels are looked at in a worker, plane by plane as planes are displayed, and again after
    painting; only those whose pixels have changed are captioned anew.

    Parameters
    ----------
    layer : napari.layers.Labels
        The layer to follow; its features table gets our columns, see `label_table`.
    image : napari.layers.Image
        What the labels lie on.
    key : str
        Name of the layer in the session.
    session : Session
        What to keep in step.
    changed : callable
        Called after something happened that may need captions.
    viewer : napari.Viewer
        Which plane is displayed.
    """

    def __init__(
        self,
        layer: napari.layers.Labels,
        image: napari.layers.Image,
        key: str,
        session: Session,
        changed: Callable[[], None],
        viewer: napari.components.ViewerModel,
    ) -> None:
        super().__init__()
        self.layer, self.image, self.key = layer, image, key
        self.planes: dict[Plane, dict[int, SeenMask]] = {}
        self._session, self._changed, self._viewer = session, changed, viewer
        self._places: list[Where] = []
        self._written: dict[Where, Row] = {}
        self._erased: dict[str, Row] = {}
        self._old: set[Plane] = set()
        self._job: Job | None = None
        self._since = 0.0
        self._writing = False
        self._follower = Follower(layer, image)
        self._still = self._timer(STILL_MS, self._on_still)
        self._table = self._timer(TABLE_MS, self._write)
        events = layer.events
        self._connections = [
            (events.paint, self._on_painted),
            (events.labels_update, self._on_painted),
            (events.data, self._on_painted),
            (events.features, self._on_features),
            (events.selected_label, self._on_selected),
        ]
        for emitter, slot in self._connections:
            emitter.connect(slot)

    def close(self) -> None:
        """Stop following; what is written stays in the table."""
        for emitter, slot in self._connections:
            emitter.disconnect(slot)
        self._connections.clear()
        self._follower.close()
        self._still.stop()
        if self._table.isActive():
            self._table.stop()
            self._write()
        if self._job is not None:
            self._job.cancel()
        self._job = None
        self.deleteLater()

    @property
    def progress(self) -> Progress | None:
        """How far a look at the labels is that takes long enough to be watched."""
        long = self._job is not None and monotonic() - self._since > LONG_S
        return self._job.progress if long else None

    def sync(self) -> None:
        """Look at the displayed plane, unless it has been looked at since it was painted."""
        if self._job is not None or self._still.isActive():
            return
        try:
            plane = displayed_plane(self._viewer, self.image)
        except PatchionerError:
            return
        if plane in self.planes and plane not in self._old:
            return
        self._old.discard(plane)
        where = self._where(plane)
        if where is None:
            self.planes[plane] = {}
            return
        job = Job(scan_labels, where, dict(self.planes.get(plane, {})), parent=self)
        job.delivered.connect(partial(self._on_scanned, job, plane))
        job.ended.connect(partial(self._on_ended, job, plane))
        self._job, self._since = job, monotonic()
        job.start()

    def show(self) -> None:
        """Write the session's captions into the table, soon."""
        if not self._table.isActive():
            self._table.start()

    def selected(self) -> list[str]:
        """Return the uid of the selected label on the displayed plane."""
        try:
            here = displayed_plane(self._viewer, self.image), int(self.layer.selected_label)
        except PatchionerError:
            return []
        uids = self._session.uids(self.key)
        return [uid for uid, place in zip(uids, self._places, strict=False) if place == here]

    def select(self, uids: Collection[str]) -> bool:
        """Select a label, of several the first; whether any is on this layer."""
        ours = zip(self._session.uids(self.key), self._places, strict=False)
        values = [value for uid, (_, value) in ours if uid in uids]
        if values and self.layer.selected_label not in values:
            self.layer.selected_label = values[0]
        return bool(values)

    # details

    def _timer(self, pause: int, slot: Callable[[], None]) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(pause)
        timer.timeout.connect(slot)
        return timer

    def _where(self, plane: Plane) -> LabelPlane | None:
        """Return where to read the labels of a plane; None where the layer has none there."""
        layer = self.layer
        data = layer.data[0] if layer.multiscale else layer.data
        self._follower.look()
        matrix, origin = affine_between(layer, self.image)
        axes = list(plane.axes)
        others = [axis for axis in range(layer.ndim) if axis not in axes]
        spot = np.array(full_shape(self.image), float) / 2
        spot[others] = plane.index
        there = np.round((spot - origin) @ np.linalg.inv(matrix)).astype(int)
        if not all(0 <= there[axis] < data.shape[axis] for axis in others):
            return None
        index = tuple(
            slice(None) if axis in axes else int(there[axis]) for axis in range(layer.ndim)
        )
        # What the other axes add to the displayed ones is the same all over the plane.
        shift = origin[axes] + there[others] @ matrix[np.ix_(others, axes)]
        full = full_shape(self.image)
        return LabelPlane(
            data,
            index,
            axes[0] > axes[1],
            plane,
            layer.ndim,
            (full[axes[0]], full[axes[1]]),
            matrix[np.ix_(axes, axes)],
            np.asarray(shift, float),
        )

    def _observe(self) -> None:
        """Tell the session of the labels of all planes seen so far."""
        uids = self._session.uids(self.key)
        ours = dict(zip(self._places, self._session.table(self.key), strict=False))
        for (plane, value), uid in zip(self._places, uids, strict=False):
            if value not in self.planes[plane]:
                fingerprint = self._session.records[uid].fingerprint
                self._erased[fingerprint] = ours[plane, value]
        places = [(plane, value) for plane, found in self.planes.items() for value in found]
        seen = [self.planes[plane][value] for plane, value in places]
        theirs = label_table.read_rows(self.layer)
        rows = [
            self._row(where, mask.fingerprint, ours, theirs)
            for where, mask in zip(places, seen, strict=True)
        ]
        self._session.observe(self.key, seen, rows, foreign=True)
        self._places = places
        self.show()

    def _row(
        self, where: Where, fingerprint: str, ours: dict[Where, Row], theirs: dict[Any, Row]
    ) -> Row:
        """Return what a label's row says.

        The table lags behind the session, so it counts only where somebody else has written. A
        label that comes back as it was erased, as by undo, gets back its text.
        """
        there = theirs.get(label_table.place(*where))
        if there is not None and there != self._written.get(where):
            return there
        if where in ours:
            return ours[where]
        return self._erased.pop(fingerprint, Row())

    def _write(self) -> None:
        rows = dict(zip(self._places, self._session.table(self.key), strict=True))
        self._writing = True
        try:
            label_table.write_rows(self.layer, rows, self.planes)
        finally:
            self._writing = False
        table = label_table.read_rows(self.layer)
        self._written = {where: table[label_table.place(*where)] for where in rows}

    def _on_scanned(self, job: Job, plane: Plane, found: dict[int, SeenMask]) -> None:
        if job is self._job:
            self.planes[plane] = found
            self._observe()

    def _on_ended(self, job: Job, plane: Plane, error: Exception | None) -> None:
        if job is not self._job:
            return
        self._job = None
        if error is not None:
            # Else the same plane would be tried again at once.
            self.planes.setdefault(plane, {})
            show_warning(
                f"The labels of {self.layer.name!r} could not be looked at "
                f"({type(error).__name__}: {error}); paint a little to try again."
            )
        self._changed()

    def _on_painted(self, *_: Any) -> None:
        self._still.start()

    def _on_still(self) -> None:
        self._old = set(self.planes)
        self._changed()

    def _on_features(self, *_: Any) -> None:
        if not self._writing and self.planes:
            self._observe()
            self._changed()

    def _on_selected(self, *_: Any) -> None:
        self._changed()
