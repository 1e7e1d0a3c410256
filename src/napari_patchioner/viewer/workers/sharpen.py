"""Outlines of pixels for regions that are boxes, by a model for outlines, in a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, Signal

from napari_patchioner.annotations import Plane
from napari_patchioner.errors import Cancelled, ModelError, RegionError, counted
from napari_patchioner.images import as_rgb
from napari_patchioner.models.segmenters import installed_segmenter, load_segmenter
from napari_patchioner.progress import Progress
from napari_patchioner.regions import Box, Region
from napari_patchioner.viewer.layers.geometry import (
    own_axes,
    record_outline,
    record_plane,
    untangled,
)
from napari_patchioner.viewer.session.session import Session

from .encode import Encoder
from .job import Job, JobProgress, error_message
from .plane import PlaneSource, all_sizes, channels

if TYPE_CHECKING:
    from napari_patchioner.backbones.sam2 import Sam2

# Pixels of the long side of a window that is encoded, where the image is that fine
SIDE = 1024
NO_BOX = "Select a box, an ellipse or a polygon to sharpen first: press S, then click it."
FINE = (1, 1)
"""For `region_outline`: a mask has as many steps as pixels, and its outline keeps to them."""


@lru_cache(maxsize=1)
def segmenter_named(name: str) -> Sam2:
    """Return a model for outlines, which is loaded once; for workers."""
    return load_segmenter(name)


@dataclass(frozen=True, eq=False, slots=True)
class Blunt:
    """A region to sharpen: its plane in all sizes, and what outlines it."""

    uid: str
    plane: Plane
    sizes: Sequence[PlaneSource]
    outline: Callable[[], Region]
    fingerprint: str


class Sharpened(NamedTuple):
    """The outline of a region, shape (n, 2), in pixels of its plane; or what is wrong with it."""

    blunt: Blunt
    outline: npt.NDArray[np.float64] | None
    problem: str = ""


def sharpen(name: str, regions: Sequence[Blunt], progress: Progress) -> Iterator[Sharpened]:
    """Yield the outline of each region."""
    progress(0.0, "loading the model for outlines")
    segmenter = segmenter_named(name)
    for number, blunt in enumerate(regions):
        progress(number / len(regions), f"sharpening: {number + 1} of {len(regions)}")
        try:
            box = untangled(blunt.outline()).bounds()
            yield Sharpened(blunt, sharp_outline(segmenter, blunt.sizes, box))
        except RegionError as error:
            yield Sharpened(blunt, None, str(error))
    progress(1.0, "done")


def sharp_outline(
    segmenter: Sam2, sizes: Sequence[PlaneSource], box: Box
) -> npt.NDArray[np.float64]:
    """Return the outline of what a box is around, from the size of a plane that has it sharp."""
    # It loads torch, as the model for outlines has done already.
    from napari_patchioner.grounding import region_outline, sharpen_box
    from napari_patchioner.grounding.sharp import window_around

    shape = sizes[0].full_size
    rows, columns = window_around(box, shape)
    side = max(rows[1] - rows[0], columns[1] - columns[0])
    sharp = [size for size in sizes if side * size.shape[0] / shape[0] >= SIDE]
    source = (sharp or [sizes[0]])[-1]
    scale = np.divide(source.shape[:2], shape)
    first = np.floor(np.array([rows[0], columns[0]]) * scale).astype(int)
    last = np.ceil(np.array([rows[1], columns[1]]) * scale).astype(int)
    window = slice(int(first[0]), int(last[0])), slice(int(first[1]), int(last[1]))
    picture = as_rgb(source.read(window))
    corners = np.array([[box.top, box.left], [box.bottom, box.right]])
    (top, left), (bottom, right) = ((corners + 0.5) * scale - 0.5 - first).tolist()
    mask = sharpen_box(segmenter, picture, Box(top, left, bottom, right))
    outline = region_outline(mask, FINE)
    return np.asarray((outline + 0.5 + first) / scale - 0.5)


class Sharpener(QObject):  # type: ignore[misc]
    """Sharpens regions of one image; all of them are handed on together, as one step."""

    messaged = Signal(str)
    changed = Signal()
    # With a list of `Sharpened`, and the model.
    sharpened = Signal(object, str)

    def __init__(self, encoder: Encoder, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._encoder, self._session = encoder, session
        self._job: Job | None = None
        self._ready: list[Sharpened] = []

    @property
    def progress(self) -> JobProgress | None:
        """How far it is."""
        return self._job.progress if self._job is not None else None

    def start(self, uids: Iterable[str]) -> None:
        """Sharpen those of these regions that are areas drawn on the image's own layer."""
        self.cancel()
        regions = list(filter(None, map(self._blunt, uids)))
        if not regions:
            self.messaged.emit(NO_BOX)
            return
        name = installed_segmenter()
        if not name:
            try:
                load_segmenter()
            except ModelError as error:
                self.messaged.emit(str(error))
            return
        self._ready = []
        self._job = Job.run(
            *(sharpen, name, regions),
            delivered=self._ready.append,
            ended=partial(self._on_ended, name),
            parent=self,
        )
        self.messaged.emit(f"sharpening {counted(regions, 'outline')}…")
        self.changed.emit()

    def cancel(self) -> None:
        """Stop; nothing is changed."""
        if self._job is not None:
            self._job.drop()
            self._job = None
            self.messaged.emit("Sharpening was stopped; the outlines are as they were.")
            self.changed.emit()

    def close(self) -> None:
        """Stop, and let nobody know."""
        if self._job is not None:
            self._job.drop()
        self._job = None

    def _blunt(self, uid: str) -> Blunt | None:
        record, encoder = self._session.records.get(uid), self._encoder
        if record is None or record.seen is None or record.layer != "regions":
            return None
        if record.seen.shape_type not in ("rectangle", "ellipse", "polygon"):
            return None
        axes = own_axes(record, self._session)
        plane = record_plane(record, self._session, axes) if axes is not None else None
        if plane is None:
            return None
        others = channels(encoder.viewer, encoder.image) if encoder.composite else ()
        sizes = all_sizes(encoder.image, plane, others)
        outline = record_outline(record, self._session, plane.axes)
        return Blunt(uid, plane, sizes, outline, record.fingerprint)

    def _on_ended(self, name: str, error: Exception | None) -> None:
        self._job = None
        ready, self._ready = self._ready, []
        if error is not None:
            if not isinstance(error, Cancelled):
                self.messaged.emit(error_message(error, "the outlines could not be sharpened"))
            self.changed.emit()
            return
        records = self._session.records
        fit = [
            item
            for item in ready
            if item.outline is not None
            and item.blunt.uid in records
            and records[item.blunt.uid].fingerprint == item.blunt.fingerprint
        ]
        problems = [item.problem for item in ready if item.problem]
        if fit:
            self.sharpened.emit(fit, name)
        elif problems:
            self.messaged.emit(problems[0])
        self.changed.emit()
