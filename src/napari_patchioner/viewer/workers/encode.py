"""Encoding planes of an image in a worker, and the grids of the planes so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cache, partial
from typing import Any, Literal, NamedTuple

import napari
import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, Signal

from napari_patchioner.annotations import Plane, Record
from napari_patchioner.annotations.record import UNFAMILIAR
from napari_patchioner.captioner import Captioner, spread_on
from napari_patchioner.decoders import Caption, Pooling
from napari_patchioner.errors import Cancelled, PatchionerError
from napari_patchioner.grids import FeatureGrid, GridStore, cache_folder, pool_shares
from napari_patchioner.images import Levels
from napari_patchioner.progress import Progress, part
from napari_patchioner.pyramid import Planner
from napari_patchioner.regions import PatchWeights, Region, WholeImage, cover
from napari_patchioner.viewer.layers import geometry
from napari_patchioner.viewer.preferences import preference
from napari_patchioner.viewer.session.session import Session

from .job import Job, error_message
from .models import ModelRegistry
from .plane import PlaneSource, all_sizes, channels, plane_source, same_display

KEPT_PLANES = 12


@dataclass(frozen=True, slots=True)
class RegionPooling:
    """How a captioner goes from a region to patches; its fields are the captioner's."""

    weighting: Literal["touch", "area"] = "touch"
    convention: Literal["paper", "reference"] = "paper"
    pooling: Pooling = "mean"
    whole: Pooling | None = None
    variance: float = 0.5
    spread: float = 0.0

    @classmethod
    def of(cls, captioner: Captioner) -> RegionPooling:
        """Return the pooling of a captioner."""
        return cls(**{field.name: getattr(captioner, field.name) for field in fields(cls)})

    def cover(self, region: Region, grid: FeatureGrid) -> PatchWeights:
        """Return the patches of a region and how often, or to which share, each is taken."""
        meant = geometry.untangled(region)
        return cover(
            meant,
            grid.transform,
            weighting=self.weighting,
            convention=self.convention,
            spread=spread_on(grid, self.spread),
        )

    def weights(
        self, region: Region, grid: FeatureGrid, pooling: Pooling | None = None
    ) -> npt.NDArray[np.float64]:
        """Return what each patch contributes, shape (rows, columns), summing to one.

        With the class token no patch contributes by itself; then the covered ones are given.
        """
        covered = self.cover(region, grid)
        how = pooling or (isinstance(region, WholeImage) and self.whole) or self.pooling
        if how == "cls" or (how == "attention" and grid.attention is None):
            how = "mean"
        shares = np.zeros(grid.shape)
        shares.flat[covered.indices] = pool_shares(covered, grid, how, variance=self.variance)
        return shares


@dataclass(frozen=True, eq=False, slots=True)
class Overview(FeatureGrid):
    """The grid of a plane too large for one pass, from afar; regions are captioned from close."""

    levels: Levels = field(kw_only=True)
    store: GridStore | None = field(kw_only=True)
    planner: Planner = field(kw_only=True)

    @classmethod
    def of(
        cls, captioner: Captioner, source: PlaneSource, store: GridStore | None, progress: Progress
    ) -> Overview:
        """Encode all of a plane, from its smallest useful size."""
        levels = Levels(source.sizes)
        pyramid = captioner.pyramid(levels, store=store)
        grid = pyramid.grid(WholeImage(), progress=progress)
        parts = {field.name: getattr(grid, field.name) for field in fields(FeatureGrid)}
        return cls(**parts, levels=levels, store=store, planner=pyramid.planner)

    def caption(
        self, captioner: Captioner, regions: Sequence[Region], **options: Any
    ) -> list[Caption]:
        """Caption regions, each from as close as its size asks for."""
        return captioner.pyramid(self.levels, store=self.store).caption(regions, **options)

    def closer(self, region: Region, *, zoom: bool) -> FeatureGrid:
        """Return the patches that a region takes, without embeddings; these for large ones."""
        view = self.planner.view(self.planner.plan(region, zoom=zoom))
        if view is None:
            return self
        nothing = np.zeros((*view.grid_shape, 0), np.float32)
        return FeatureGrid(nothing, view, self.key, backbone=self.backbone)


class Encoded(NamedTuple):
    """A grid, how regions are pooled on it, and how familiar the image is, if anybody knows."""

    grid: FeatureGrid
    pooling: RegionPooling
    familiarity: float | None


def encode_image(
    registry: ModelRegistry,
    model: str,
    source: PlaneSource,
    store: GridStore | None,
    progress: Progress,
) -> Encoded:
    """Load the model and encode the plane."""
    progress(0.0, "loading the model")
    with registry.using(model, part(progress, 0.0, 0.3)) as captioner:
        progress(0.3, "reading the image")
        grid = encode_plane(captioner, source, store, progress)
        shares = captioner.familiarity(grid, [WholeImage()])
        share = float(shares[0]) if shares is not None else None
        encoded = Encoded(grid, RegionPooling.of(captioner), share)
    progress(1.0, "done")
    return encoded


def encode_plane(
    captioner: Captioner, source: PlaneSource, store: GridStore | None, progress: Progress
) -> FeatureGrid:
    """Return the grid of a plane; of one too large for one pass, its overview."""
    if source.sizes:
        return Overview.of(captioner, source, store, part(progress, 0.3, 1.0))
    grid = captioner.encode(source.read(), progress=part(progress, 0.35, 1.0), store=store)
    return source.in_full_pixels(grid)


class Encoder(QObject):  # type: ignore[misc]
    """Encodes planes of one image with one model."""

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
        self.viewer, self.image, self.registry = viewer, image, registry
        self.model = ""
        # Whether captions can be made with what was encoded since the last start, and whether any
        # encoding has ever come to its end
        self.ready = self.completed = False
        # Whether channels whose light is added are encoded with the image, whether it is encoded
        # again when its display changes, and whether grids are kept on disk
        self.composite, self.follow = True, False
        self.keep = bool(preference("cache", "on_disk"))
        self.job: Job | None = None
        self.grids: dict[Plane, FeatureGrid] = {}
        # How each plane was displayed then; see `PlaneSource.display`. And its pixels, in all sizes
        self.displays: dict[Plane, dict[str, Any]] = {}
        self.sizes: dict[Plane, tuple[PlaneSource, ...]] = {}
        self.pooling = RegionPooling()
        # Share of the images the model knows that are as unlike as the one encoded last
        self.familiarity: float | None = None
        self._store: GridStore | None = None
        # Planes that are not encoded again by themselves.
        self._attempted: set[Plane] = set()

    @property
    def active(self) -> bool:
        """Whether a worker is encoding."""
        return self.job is not None

    @property
    def store(self) -> GridStore | None:
        """Where grids are kept, once something was encoded."""
        return self._store

    def start(self, model: str) -> None:
        """Encode the displayed plane with a model; grids of an earlier start are dropped."""
        self._drop_grids()
        self.model = model
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
        others = channels(self.viewer, self.image) if self.composite else ()
        sizes = all_sizes(self.image, source.plane, others)
        self._store = current_store(self.keep)
        work = (encode_image, self.registry, self.model, source, self._store)
        self.job = Job(*work, parent=self)
        self.job.delivered.connect(partial(self._on_encoded, source, sizes))
        self.job.ended.connect(self._on_ended)
        # Before it starts: the job may be over at once.
        self.messaged.emit("reading the image; you can draw meanwhile")
        self.job.start()
        self.changed.emit()

    def cancel(self) -> None:
        """Stop encoding; what arrives later is dropped."""
        if self.job is not None:
            self.job.cancel()

    def close(self) -> None:
        """Stop for good, and drop the grids from memory; the disk may have them still."""
        if self.job is not None:
            self.job.drop()
            self.job = None
        for grid in self.grids.values():
            if self._store is not None:
                self._store.release(grid.key)
        self._drop_grids()

    def forget(self) -> None:
        """Drop all grids: the image or the model has changed."""
        self.cancel()
        self._drop_grids()
        self.model = ""

    def _drop_grids(self) -> None:
        self.grids.clear()
        self.displays.clear()
        self.sizes.clear()
        self.ready = False

    def read_on(self) -> bool:
        """Encode the plane on display with the model in use; whether that is being done now."""
        plane = geometry.shown_plane(self.viewer, self.image)
        if self.ready and not self.active and plane is not None and plane not in self.grids:
            self.encode()
        return self.active

    def here(self) -> tuple[Plane, FeatureGrid] | None:
        """Return the displayed plane with its grid, if it has been encoded."""
        plane = geometry.shown_plane(self.viewer, self.image)
        return (plane, self.grids[plane]) if plane is not None and plane in self.grids else None

    @property
    def stale(self) -> bool:
        """Whether the displayed plane looks different from what was encoded."""
        here = self.here()
        return here is not None and not same_display(self._source().display, self.displays[here[0]])

    def provenance(self, plane: Plane) -> dict[str, Any]:
        """Return what the grid of a plane was made from, as plain values; empty without one."""
        if plane not in self.grids:
            return {}
        display = self.displays[plane]
        return {"model": self.model, "grid": self.grids[plane].key, "display": display}

    def plane_and_grid(self, record: Record, session: Session) -> tuple[Plane, FeatureGrid] | None:
        """Return the plane a record lies on with its grid, if that plane has been encoded."""
        own = set(geometry.own_axes(record, session) or ())
        # A line lies on several planes: it belongs to the one that it was drawn on.
        seen = {plane.axes for plane in self.grids}
        for axes in sorted(seen, key=lambda axes: (set(axes) != own, axes)):
            plane = geometry.record_plane(record, session, axes)
            if plane is not None and plane in self.grids:
                return plane, self.grids[plane]
        return None

    def is_needed(self, session: Session) -> bool:
        """Whether the displayed plane has to be encoded for what is wanted or taught there.

        A plane that failed or was cancelled is not tried again until Start is pressed.
        """
        if not self.ready or self.active:
            return False
        plane = geometry.shown_plane(self.viewer, self.image)
        if plane is None or plane in self.grids or plane in self._attempted:
            return False
        records = session.records.values()
        wanted = (r for r in records if session.is_open(r) or r.uid in session.awaited)
        return any(geometry.record_plane(rec, session, plane.axes) == plane for rec in wanted)

    def _source(self) -> PlaneSource:
        """Return the displayed plane as it is displayed now."""
        plane = geometry.displayed_plane(self.viewer, self.image)
        others = channels(self.viewer, self.image) if self.composite else ()
        return plane_source(self.image, plane, others)

    def _on_encoded(
        self,
        source: PlaneSource,
        sizes: tuple[PlaneSource, ...],
        result: Encoded,
    ) -> None:
        self.ready = self.completed = True
        while len(self.grids) >= KEPT_PLANES:
            oldest = next(iter(self.grids))
            self._attempted.discard(oldest)
            del self.grids[oldest], self.displays[oldest], self.sizes[oldest]
        self.grids[source.plane], self.pooling, self.familiarity = result
        self.displays[source.plane] = source.display
        self.sizes[source.plane] = sizes

    def _on_ended(self, error: Exception | None) -> None:
        self.job = None
        if error is None:
            outcome = "Ready: draw a region and its caption appears"
            if self.familiarity is not None and self.familiarity < UNFAMILIAR:
                outcome = (
                    f"{outcome}. This image is unlike anything {self.model} knows: do not trust "
                    "what it names"
                )
        elif isinstance(error, Cancelled):
            outcome = "cancelled; press Start to read the image again"
        elif isinstance(error, MemoryError):
            need = "crop it or close other programs"
            outcome = f"there is not enough memory to read this image; {need}"
        else:
            outcome = error_message(error, "the image could not be read")
        news = self._store.news() if self._store is not None else ""
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
