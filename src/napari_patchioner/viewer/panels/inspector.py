"""What the model says about the patch under the cursor, as the cursor moves."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from qtpy.QtCore import QObject, Signal
from superqt.utils import QSignalThrottler

from napari_patchioner.errors import Cancelled, PatchionerError
from napari_patchioner.regions import Ellipse, Point
from napari_patchioner.viewer.layers.geometry import world_to_image
from napari_patchioner.viewer.workers.caption import caption_region
from napari_patchioner.viewer.workers.job import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import numpy.typing as npt
    from napari.layers import Image
    from napari.utils.events import Event
    from napari.viewer import Viewer

    from napari_patchioner.decoders import Caption
    from napari_patchioner.grids import FeatureGrid
    from napari_patchioner.viewer.session.record import Plane
    from napari_patchioner.viewer.workers.caption import CaptionQueue
    from napari_patchioner.viewer.workers.encode import Encoder
    from napari_patchioner.viewer.workers.models import ModelRegistry

# Often enough to seem to follow the hand, seldom enough not to be asked for every pixel.
PACE_MS = 60
LARGEST = 10
# Tokens: one short sentence that is read while the cursor rests.
SHORT = 12
REMEMBERED = 512
# Of a patch: how far inside its borders a box around it lies, to touch this patch and no other.
INSIDE = 1e-3


class Spot(NamedTuple):
    """What is under the cursor: the region, and a name for the patches that it takes."""

    plane: Plane
    grid: FeatureGrid
    region: Point | Ellipse
    name: tuple[Any, ...]


class Inspector(QObject):  # type: ignore[misc]
    """Captions what is under the cursor, from the grid at hand, and leaves no trace.

    One question is with a worker at any time. What the cursor passed meanwhile is never asked;
    an answer about a patch it has left is remembered but not shown.

    It uses the options of the caption queue, with fewer beams and a shorter caption. `keep` takes
    a shape type and its vertices in image pixels when the person wants to keep a spot.
    """

    moved = Signal()
    pending = Signal()
    answered = Signal(object)

    def __init__(
        self,
        viewer: Viewer,
        image: Image,
        encoder: Encoder,
        queue: CaptionQueue,
        registry: ModelRegistry,
        keep: Callable[[str, npt.NDArray[np.float64]], None],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.on = False
        # Of the brush, in patches; 0 is the one patch under the cursor.
        self.radius = 0
        self.spot: Spot | None = None
        self._viewer, self._image, self._registry = viewer, image, registry
        self._encoder, self._queue, self._keep = encoder, queue, keep
        self._position: tuple[float, ...] | None = None
        self._job: Job | None = None
        self._known: OrderedDict[tuple[Any, ...], Caption] = OrderedDict()
        self._pace = QSignalThrottler(QSignalThrottler.EmissionPolicy.Trailing, self)
        self._pace.setTimeout(PACE_MS)
        self._pace.triggered.connect(self.update)

    def switch(self, on: bool) -> None:
        """Begin or stop to follow the cursor."""
        if on == self.on:
            return
        self.on = on
        callbacks = (
            (self._viewer.mouse_move_callbacks, self._on_move),
            (self._viewer.mouse_drag_callbacks, self._on_press),
        )
        for followers, callback in callbacks:
            if on:
                followers.append(callback)
            elif callback in followers:
                followers.remove(callback)
        if not on:
            self._pace.cancel()
            if self._job is not None:
                self._job.cancel()
            self._job = self.spot = self._position = None
            self.moved.emit()
            self.answered.emit(None)

    def grow(self, step: int) -> None:
        """Make the brush larger or smaller."""
        self.radius = min(max(self.radius + step, 0), LARGEST)
        if self.on:
            self._pace.throttle()

    def update(self) -> None:
        """Turn to the newest position: show what is known of it, or ask."""
        spot = self._spot() if self.on else None
        if (spot and spot.name) == (self.spot and self.spot.name):
            return
        self.spot = spot
        self.moved.emit()
        if spot is None:
            self.answered.emit(None)
        elif spot.name in self._known:
            self._known.move_to_end(spot.name)
            self.answered.emit(self._known[spot.name])
        else:
            self.pending.emit()
            if self._job is None:
                self._ask(spot)

    def forget(self) -> None:
        """Ask anew: the grid or the options are not what they were."""
        self._known.clear()
        self.spot = None
        if self.on and self._position is not None:
            self._pace.throttle()

    def close(self) -> None:
        """Stop for good."""
        self.switch(False)

    def _on_move(self, _viewer: object, event: Event) -> None:
        """Note where the cursor is; napari calls this for every pixel."""
        self._position = tuple(event.position)
        self._pace.throttle()

    def _on_press(self, _viewer: object, event: Event) -> Generator[None, None, None]:
        """Keep the spot where Ctrl is held and the cursor has not moved between down and up."""
        if "Control" not in event.modifiers or event.button != 1:
            return
        self._position = tuple(event.position)
        yield
        while event.type == "mouse_move":
            if event.is_dragging and (
                self._position is None or not np.allclose(event.position, self._position)
            ):
                return
            yield
        spot = self._spot()
        if spot is not None:
            shape, corners = _outline(spot)
            vertices = np.zeros((4, self._image.ndim))
            others = [axis for axis in range(self._image.ndim) if axis not in spot.plane.axes]
            vertices[:, others] = spot.plane.index
            vertices[:, list(spot.plane.axes)] = corners
            self._keep(shape, vertices)

    def _spot(self) -> Spot | None:
        """Return what is under the cursor, None where there is nothing to say."""
        displayed = self._encoder.here()
        if displayed is None or self._position is None:
            return None
        plane, grid = displayed
        pixel = world_to_image(self._viewer, self._image, self._position)[list(plane.axes)]
        cell = np.floor(grid.transform.to_grid(pixel)).astype(int)
        if not ((cell >= 0) & (cell < grid.shape)).all():
            return None
        region: Point | Ellipse = Point(float(pixel[0]), float(pixel[1]))
        if self.radius:
            half = (self.radius + 0.5) * np.array(grid.transform.patch_size)
            region = Ellipse(pixel + half * np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]))
        try:
            taken = self._encoder.pooling.cover(region, grid)
        except PatchionerError:
            return None
        how = (self._encoder.model, repr(sorted(self._queue.options.items())))
        name = (*how, grid.key, taken.indices.tobytes(), taken.weights.tobytes())
        return Spot(plane, grid, region, name)

    def _ask(self, spot: Spot) -> None:
        options = self._queue.options_for([spot.grid])
        longest = options.get("max_tokens") or SHORT
        options |= {"beams": 1, "alternatives": 0, "max_tokens": min(longest, SHORT)}
        if options.get("length") == "sentence":
            options["length"] = "phrase"
        model = self._encoder.model
        job = Job(
            caption_region, self._registry, model, spot.grid, spot.region, options, parent=self
        )
        job.delivered.connect(partial(self._on_delivered, job, spot))
        job.ended.connect(partial(self._on_ended, job, spot))
        self._job = job
        job.start()

    def _on_delivered(self, job: Job, spot: Spot, caption: Caption) -> None:
        if job is not self._job:
            return
        self._known[spot.name] = caption
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        if self.spot is not None and self.spot.name == spot.name:
            self.answered.emit(caption)

    def _on_ended(self, job: Job, spot: Spot, error: Exception | None) -> None:
        if job is not self._job:
            return
        self._job = None
        current = self.spot
        if current is None:
            return
        if current.name != spot.name and current.name not in self._known:
            self._ask(current)
        elif current.name == spot.name and error is not None and not isinstance(error, Cancelled):
            self.answered.emit(error)


def _outline(spot: Spot) -> tuple[str, npt.NDArray[np.float64]]:
    """Return napari's shape for a spot: the brush, or the very patch, (4, 2) corners."""
    region, transform = spot.region, spot.grid.transform
    if isinstance(region, Ellipse):
        return "ellipse", region.corners
    cell = np.floor(transform.to_grid((region.row, region.column)))
    around = np.array([(0, 0), (0, 1), (1, 1), (1, 0)]) * (1 - 2 * INSIDE) + INSIDE
    return "rectangle", transform.to_image(cell + around)
