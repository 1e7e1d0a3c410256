"""Reading an image: one worker, and the grids of the planes read so far."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_patchioner.errors import Cancelled, PatchionerError
from napari_patchioner.viewer.layers.geometry import displayed_plane, own_axes, record_plane
from napari_patchioner.viewer.preferences import preference

from .picture import channels, plane_source, same_look
from .weighing import Manner
from .worker import Job, read_image

if TYPE_CHECKING:
    import napari

    from napari_patchioner.grids import FeatureGrid, GridStore
    from napari_patchioner.viewer.session.record import Plane, Record
    from napari_patchioner.viewer.session.session import Session

    from .library import Library
    from .picture import PlaneSource

KEPT_PLANES = 12


class Reader(QObject):
    """Reads planes of one image with one model.

    Attributes
    ----------
    ready : bool
        Whether captions can be written with what has been read since the last start.
    completed : bool
        Whether any reading of the image has ever come to its end.
    looks : dict of Plane to dict
        How each plane was displayed when it was read, as plain values: layers, contrast limits,
        gamma, colormaps. See `picture.PlaneSource.look`.
    manner : Manner
        How the model in use goes from a region to patches.
    composite : bool
        Whether visible channels whose light is added on the image are read with it.
    follow : bool
        Whether the image is read again when its display changes.
    keep : bool
        Whether what was read is kept on disk, so that the same picture is never read twice.

    Parameters
    ----------
    viewer : napari.Viewer
        Says which plane is displayed.
    image : napari.layers.Image
        The image to read.
    library : Library
        Where models come from.
    parent : QObject, optional
        Whoever wants the grids.
    """

    told = Signal(str)
    changed = Signal()

    def __init__(
        self,
        viewer: napari.Viewer,
        image: napari.layers.Image,
        library: Library,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.model = ""
        self.ready = False
        self.completed = False
        self.job: Job | None = None
        self.grids: dict[Plane, FeatureGrid] = {}
        self.looks: dict[Plane, dict[str, Any]] = {}
        self.manner = Manner()
        self.composite = True
        self.follow = False
        self.keep = bool(preference("cache", "on_disk"))
        self._store: GridStore | None = None
        self._refused: set[Plane] = set()
        self._viewer = viewer
        self._image = image
        self._library = library

    @property
    def active(self) -> bool:
        """Whether a worker is reading."""
        return self.job is not None

    def start(self, model: str) -> None:
        """Read the displayed plane with a model; grids of an earlier reading are dropped."""
        self.model, self.ready = model, False
        self.grids.clear()
        self.looks.clear()
        self._refused.clear()
        self.read()

    def read(self) -> None:
        """Read the displayed plane with the model in use."""
        try:
            source = self._source()
        except PatchionerError as error:
            self.told.emit(str(error))
            return
        self._refused.add(source.plane)
        store = self._store = current_store(self.keep)
        job = Job(read_image, self._library, self.model, source, store, parent=self)
        job.delivered.connect(partial(self._on_read, job, source))
        job.ended.connect(partial(self._on_ended, job))
        self.job = job
        self.told.emit("reading the image; you can draw meanwhile")
        job.start()
        self.changed.emit()

    def cancel(self) -> None:
        """Stop reading; what arrives later is dropped."""
        if self.job is not None:
            self.job.cancel()

    def close(self) -> None:
        """Stop reading for good, and let go of what was read; the disk may have it still."""
        self.cancel()
        self.job = None
        for grid in self.grids.values():
            if self._store is not None:
                self._store.release(grid.key)
        self.grids.clear()
        self.looks.clear()
        self.ready = False

    def forget(self) -> None:
        """Drop all grids: the image is not what it was."""
        self.cancel()
        self.grids.clear()
        self.looks.clear()
        self.model, self.ready = "", False

    def here(self) -> tuple[Plane, FeatureGrid] | None:
        """Return the displayed plane with its grid, if it has been read."""
        try:
            plane = displayed_plane(self._viewer, self._image)
        except PatchionerError:
            return None
        return (plane, self.grids[plane]) if plane in self.grids else None

    @property
    def stale(self) -> bool:
        """Whether the displayed plane looks different from what was read of it."""
        found = self.here()
        return found is not None and not same_look(self._source().look, self.looks[found[0]])

    def provenance(self, plane: Plane) -> dict[str, Any]:
        """Return what the grid of a plane was made from, as plain values; empty without one."""
        if plane not in self.grids:
            return {}
        return {"model": self.model, "grid": self.grids[plane].key, "display": self.looks[plane]}

    def plane_and_grid(self, record: Record, session: Session) -> tuple[Plane, FeatureGrid] | None:
        """Return the plane a record lies on with its grid, if that plane has been read."""
        own = own_axes(record, session) or ()
        shown = {plane.axes for plane in self.grids}
        # A line lies on several planes: it belongs to the one that it was drawn on.
        for axes in sorted(shown, key=lambda axes: (set(axes) != set(own), axes)):
            plane = record_plane(record, session, axes)
            if plane in self.grids:
                return plane, self.grids[plane]
        return None

    def should_read(self, session: Session) -> bool:
        """Whether the displayed plane has to be read for a caption that is wanted there.

        A plane whose reading failed or was cancelled is not tried again until Start is pressed.
        """
        if not self.ready or self.active:
            return False
        try:
            plane = displayed_plane(self._viewer, self._image)
        except PatchionerError:
            return False
        if plane in self.grids or plane in self._refused:
            return False
        records = [record for record in session.records.values() if record.wanted]
        return any(record_plane(record, session, plane.axes) == plane for record in records)

    def _source(self) -> PlaneSource:
        """Return the displayed plane as it is displayed now."""
        plane = displayed_plane(self._viewer, self._image)
        others = channels(self._viewer, self._image) if self.composite else ()
        return plane_source(self._image, plane, others)

    def _on_read(self, job: Job, source: PlaneSource, read: tuple[FeatureGrid, Manner]) -> None:
        if job is not self.job:
            return
        self.ready = self.completed = True
        while len(self.grids) >= KEPT_PLANES:
            oldest = next(iter(self.grids))
            self._refused.discard(oldest)
            del self.grids[oldest], self.looks[oldest]
        self.grids[source.plane], self.manner = read
        self.looks[source.plane] = source.look

    def _on_ended(self, job: Job, error: Exception | None) -> None:
        if job is not self.job:
            return
        self.job = None
        news = self._store.news() if self._store is not None else ""
        self.told.emit(f"{_outcome(error)}. {news}" if news else _outcome(error))
        self.changed.emit()


@cache
def shared_store(on_disk: bool) -> GridStore:
    """Return where this process keeps what was read: in memory, and on disk if wanted."""
    from napari_patchioner.grids import GridStore

    return GridStore()


def current_store(on_disk: bool) -> GridStore:
    """Return the same, as large and where it is wanted now."""
    from napari_patchioner.grids import cache_folder

    store = shared_store(on_disk)
    store.limit(
        cache_folder() if on_disk else None,
        ram_bytes=1_000_000 * preference("cache", "memory_mb"),
        disk_bytes=1_000_000 * preference("cache", "disk_mb"),
    )
    return store


def _outcome(error: Exception | None) -> str:
    """Return how the reading ended, in one sentence."""
    if error is None:
        return "ready: draw a region and its caption appears"
    if isinstance(error, Cancelled):
        return "cancelled; press Start to read the image again"
    if isinstance(error, PatchionerError):
        return str(error)
    if isinstance(error, MemoryError):
        return "there is not enough memory to read this image; crop it or close other programs"
    return f"the image could not be read ({type(error).__name__}: {error})"
