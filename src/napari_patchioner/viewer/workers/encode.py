"""Encoding the displayed plane of an image in a worker, and the grids of the planes so far."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_patchioner.errors import Cancelled, PatchionerError
from napari_patchioner.grids import GridStore, cache_folder
from napari_patchioner.progress import part
from napari_patchioner.viewer.layers.geometry import displayed_plane, own_axes, record_plane
from napari_patchioner.viewer.preferences import preference

from .job import Job, error_message
from .patches import LargePlane, RegionPooling
from .plane import channels, plane_source, same_display

if TYPE_CHECKING:
    from collections.abc import Iterator

    import napari

    from napari_patchioner.captioner import Captioner
    from napari_patchioner.grids import FeatureGrid
    from napari_patchioner.progress import Progress
    from napari_patchioner.viewer.session.record import Plane, Record
    from napari_patchioner.viewer.session.session import Session

    from .models import ModelRegistry
    from .plane import PlaneSource

KEPT_PLANES = 12


def encode_image(
    registry: ModelRegistry,
    model: str,
    source: PlaneSource,
    store: GridStore | None,
    progress: Progress,
) -> Iterator[tuple[FeatureGrid, RegionPooling]]:
    """Load the model and encode the plane; yield the grid and how regions are pooled on it."""
    progress(0.0, "loading the model")
    with registry.using(model, part(progress, 0.0, 0.3)) as captioner:
        progress(0.3, "reading the image")
        grid = encode_plane(captioner, source, store, progress)
        pooling = RegionPooling.of(captioner)
    progress(1.0, "done")
    yield grid, pooling


def encode_plane(
    captioner: Captioner, source: PlaneSource, store: GridStore | None, progress: Progress
) -> FeatureGrid:
    """Return the grid of a plane; of one too large for one pass, its overview."""
    if source.sizes:
        return LargePlane(source.sizes, store).overview(captioner, part(progress, 0.3, 1.0))
    grid = captioner.encode(source.read(), progress=part(progress, 0.35, 1.0), store=store)
    return source.in_full_pixels(grid)


class Encoder(QObject):  # type: ignore[misc]
    """Encodes planes of one image with one model.

    Attributes
    ----------
    ready : bool
        Whether captions can be made with what has been encoded since the last start.
    completed : bool
        Whether any encoding of the image has ever come to its end.
    displays : dict of Plane to dict
        How each plane was displayed when it was encoded; see `PlaneSource.display`.
    pooling : RegionPooling
        How the model in use goes from a region to patches.
    composite : bool
        Whether visible channels whose light is added on the image are encoded with it.
    follow : bool
        Whether the image is encoded again when its display changes.
    keep : bool
        Whether grids are kept on disk, so that the same picture is never encoded twice.
    """

    messaged = Signal(str)
    changed = Signal()

    def __init__(
        self,
        viewer: napari.Viewer,
        image: napari.layers.Image,
        registry: ModelRegistry,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.model = ""
        self.ready = self.completed = False
        self.job: Job | None = None
        self.grids: dict[Plane, FeatureGrid] = {}
        self.displays: dict[Plane, dict[str, Any]] = {}
        self.pooling = RegionPooling()
        self.composite = True
        self.follow = False
        self.keep = bool(preference("cache", "on_disk"))
        self._store: GridStore | None = None
        # Planes that are not encoded again by themselves.
        self._attempted: set[Plane] = set()
        self._viewer, self._image, self._registry = viewer, image, registry

    @property
    def active(self) -> bool:
        """Whether a worker is encoding."""
        return self.job is not None

    def start(self, model: str) -> None:
        """Encode the displayed plane with a model; grids of an earlier start are dropped."""
        self.model, self.ready = model, False
        self.grids.clear()
        self.displays.clear()
        self._attempted.clear()
        self.encode()

    def encode(self) -> None:
        """Encode the displayed plane with the model in use."""
        try:
            source = self._source()
        except PatchionerError as error:
            self.messaged.emit(str(error))
            return
        self._attempted.add(source.plane)
        store = self._store = current_store(self.keep)
        job = Job(encode_image, self._registry, self.model, source, store, parent=self)
        job.delivered.connect(partial(self._on_encoded, job, source))
        job.ended.connect(partial(self._on_ended, job))
        self.job = job
        self.messaged.emit("reading the image; you can draw meanwhile")
        job.start()
        self.changed.emit()

    def cancel(self) -> None:
        """Stop encoding; what arrives later is dropped."""
        if self.job is not None:
            self.job.cancel()

    def close(self) -> None:
        """Stop for good, and drop the grids from memory; the disk may have them still."""
        self.cancel()
        self.job = None
        for grid in self.grids.values():
            if self._store is not None:
                self._store.release(grid.key)
        self.grids.clear()
        self.displays.clear()
        self.ready = False

    def forget(self) -> None:
        """Drop all grids: the image or the model has changed."""
        self.cancel()
        self.grids.clear()
        self.displays.clear()
        self.model, self.ready = "", False

    def here(self) -> tuple[Plane, FeatureGrid] | None:
        """Return the displayed plane with its grid, if it has been encoded."""
        plane = self._plane()
        return (plane, self.grids[plane]) if plane is not None and plane in self.grids else None

    @property
    def stale(self) -> bool:
        """Whether the displayed plane looks different from what was encoded."""
        encoded = self.here()
        return encoded is not None and not same_display(
            self._source().display, self.displays[encoded[0]]
        )

    def provenance(self, plane: Plane) -> dict[str, Any]:
        """Return what the grid of a plane was made from, as plain values; empty without one."""
        if plane not in self.grids:
            return {}
        display = self.displays[plane]
        return {"model": self.model, "grid": self.grids[plane].key, "display": display}

    def plane_and_grid(self, record: Record, session: Session) -> tuple[Plane, FeatureGrid] | None:
        """Return the plane a record lies on with its grid, if that plane has been encoded."""
        own = own_axes(record, session) or ()
        # A line lies on several planes: it belongs to the one that it was drawn on.
        for axes in sorted(
            {plane.axes for plane in self.grids}, key=lambda axes: (set(axes) != set(own), axes)
        ):
            plane = record_plane(record, session, axes)
            if plane is not None and plane in self.grids:
                return plane, self.grids[plane]
        return None

    def is_needed(self, session: Session) -> bool:
        """Whether the displayed plane has to be encoded for a caption that is wanted there.

        A plane that failed or was cancelled is not tried again until Start is pressed.
        """
        plane = self._plane() if self.ready and not self.active else None
        if plane is None or plane in self.grids or plane in self._attempted:
            return False
        wanted = (record for record in session.records.values() if record.wanted)
        return any(record_plane(record, session, plane.axes) == plane for record in wanted)

    def _plane(self) -> Plane | None:
        """Return the displayed plane; None in the 3-D view."""
        try:
            return displayed_plane(self._viewer, self._image)
        except PatchionerError:
            return None

    def _source(self) -> PlaneSource:
        """Return the displayed plane as it is displayed now."""
        plane = displayed_plane(self._viewer, self._image)
        others = channels(self._viewer, self._image) if self.composite else ()
        return plane_source(self._image, plane, others)

    def _on_encoded(
        self, job: Job, source: PlaneSource, result: tuple[FeatureGrid, RegionPooling]
    ) -> None:
        if job is not self.job:
            return
        self.ready = self.completed = True
        while len(self.grids) >= KEPT_PLANES:
            oldest = next(iter(self.grids))
            self._attempted.discard(oldest)
            del self.grids[oldest], self.displays[oldest]
        self.grids[source.plane], self.pooling = result
        self.displays[source.plane] = source.display

    def _on_ended(self, job: Job, error: Exception | None) -> None:
        if job is not self.job:
            return
        self.job = None
        news = self._store.news() if self._store is not None else ""
        outcome = _outcome(error)
        self.messaged.emit(f"{outcome}. {news}" if news else outcome)
        self.changed.emit()


@cache
def shared_store(on_disk: bool) -> GridStore:
    """Return the store of grids of this process: in memory, and on disk if wanted."""
    return GridStore()


def current_store(on_disk: bool) -> GridStore:
    """Return the same, with the limits and the folder that are set now."""
    store = shared_store(on_disk)
    store.limit(
        cache_folder() if on_disk else None,
        ram_bytes=1_000_000 * preference("cache", "memory_mb"),
        disk_bytes=1_000_000 * preference("cache", "disk_mb"),
    )
    return store


def _outcome(error: Exception | None) -> str:
    """Return how the encoding ended, in one sentence."""
    if error is None:
        return "ready: draw a region and its caption appears"
    if isinstance(error, Cancelled):
        return "cancelled; press Start to read the image again"
    if isinstance(error, MemoryError):
        return "there is not enough memory to read this image; crop it or close other programs"
    return error_message(error, "the image could not be read")
