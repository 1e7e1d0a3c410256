"""What the model says about the place under the cursor, asked while the cursor rests."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from napari.utils.events import Event
from qtpy.QtCore import QObject, Signal

from napari_patchioner.annotations import Plane
from napari_patchioner.decoders import Caption
from napari_patchioner.describers.picture import BACKBONE
from napari_patchioner.errors import Cancelled, ModelError, PatchionerError
from napari_patchioner.grids import FeatureGrid
from napari_patchioner.regions import Ellipse, Point
from napari_patchioner.viewer.layers.geometry import world_to_image
from napari_patchioner.viewer.widgets import throttled

from .caption import CaptionQueue, caption_region
from .encode import Encoder
from .job import Job

Keep = Callable[[str, npt.NDArray[np.float64]], None]
# Often enough to seem to follow the hand, seldom enough not to be asked for every pixel.
PACE_MS = 60
LARGEST = 10
# Tokens: one short sentence that is read while the cursor rests.
SHORT = 12
REMEMBERED = 512
ON_SERVER = "A model on a server is not asked about what is under the cursor: draw a region."
# Of a patch: how far inside its borders a box around it lies, to touch this patch and no other.
INSIDE = 1e-3


class Spot(NamedTuple):
    """What is under the cursor: the region, and a name for the patches that it takes."""

    plane: Plane
    grid: FeatureGrid
    region: Point | Ellipse
    name: tuple[Any, ...]

    def outline(self) -> tuple[str, npt.NDArray[np.float64]]:
        """Return napari's shape for it: the brush, or the very patch, (4, 2) corners."""
        if isinstance(self.region, Ellipse):
            return "ellipse", self.region.corners
        cell = np.floor(self.grid.transform.to_grid((self.region.row, self.region.column)))
        around = np.array([(0, 0), (0, 1), (1, 1), (1, 0)]) * (1 - 2 * INSIDE) + INSIDE
        return "rectangle", self.grid.transform.to_image(cell + around)


class Inspector(QObject):  # type: ignore[misc]
    """Captions what is under the cursor, from the grid at hand, and leaves no trace.

    One question is with a worker at any time. What the cursor passed meanwhile is never asked;
    an answer about a patch it has left is remembered but not shown.

    It uses the options of the queue, with fewer beams and a shorter caption. `keep` takes a shape
    type and its vertices in image pixels when the person wants to keep a spot.
    """

    moved = Signal()
    # A caption is being made; the last one was of another patch.
    pending = Signal()
    # A caption, an error, or None where there is nothing to say.
    answered = Signal(object)

    def __init__(
        self, encoder: Encoder, queue: CaptionQueue, keep: Keep, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.on = False
        # Of the brush, in patches; 0 is the one patch under the cursor.
        self.radius = 0
        self.spot: Spot | None = None
        self._encoder, self._queue, self._keep = encoder, queue, keep
        self._position: tuple[float, ...] | None = None
        self._job: Job | None = None
        self._known: OrderedDict[tuple[Any, ...], Caption] = OrderedDict()
        self._pace = throttled(self.update, PACE_MS, self)

    def switch(self, on: bool) -> None:
        """Begin or stop to follow the cursor."""
        if on == self.on:
            return
        self.on = on
        viewer = self._encoder.viewer
        moves, drags = viewer.mouse_move_callbacks, viewer.mouse_drag_callbacks
        for followers, callback in ((moves, self._on_move), (drags, self._on_press)):
            if on:
                followers.append(callback)
            elif callback in followers:
                followers.remove(callback)
        if not on:
            self._pace.cancel()
            if self._job is not None:
                self._job.drop()
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
            stays = self._position is not None and np.allclose(event.position, self._position)
            if event.is_dragging and not stays:
                return
            yield
        spot, ndim = self._spot(), self._encoder.image.ndim
        if spot is not None:
            shape, corners = spot.outline()
            vertices = np.zeros((4, ndim))
            others = [axis for axis in range(ndim) if axis not in spot.plane.axes]
            vertices[:, others] = spot.plane.index
            vertices[:, list(spot.plane.axes)] = corners
            self._keep(shape, vertices)

    def _spot(self) -> Spot | None:
        """Return what is under the cursor, None where there is nothing to say."""
        encoder, displayed = self._encoder, self._encoder.here()
        if displayed is None or self._position is None:
            return None
        plane, grid = displayed
        pixel = world_to_image(encoder.viewer, encoder.image, self._position)[list(plane.axes)]
        cell = np.floor(grid.transform.to_grid(pixel)).astype(int)
        if not ((cell >= 0) & (cell < grid.shape)).all():
            return None
        region: Point | Ellipse = Point(float(pixel[0]), float(pixel[1]))
        if self.radius:
            half = (self.radius + 0.5) * np.array(grid.transform.patch_size)
            region = Ellipse(pixel + half * np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]))
        try:
            taken = encoder.pooling.cover(region, grid)
        except PatchionerError:
            return None
        how = (
            encoder.model,
            repr((sorted(self._queue.options.items()), self._queue.memory)),
            grid.key,
        )
        return Spot(plane, grid, region, (*how, taken.indices.tobytes(), taken.weights.tobytes()))

    def _ask(self, spot: Spot) -> None:
        if spot.grid.backbone == BACKBONE:
            # Nobody has asked for crops of all that the cursor passes to be sent anywhere.
            self.answered.emit(ModelError(ON_SERVER))
            return
        options = self._queue.options_for([spot.grid])
        longest = options.get("max_tokens") or SHORT
        options |= {"beams": 1, "alternatives": 0, "max_tokens": min(longest, SHORT)}
        if spot.grid.picture is not None:
            # The cursor is on its way: a second look would come too late.
            options["no_close_up"] = True
        if options.get("length") == "sentence":
            options["length"] = "phrase"
        encoder = self._encoder
        work = (caption_region, encoder.registry, encoder.model, spot.grid, spot.region, options)
        delivered, ended = partial(self._on_delivered, spot), partial(self._on_ended, spot)
        self._job = Job.run(*work, delivered=delivered, ended=ended, parent=self)

    def _on_delivered(self, spot: Spot, caption: Caption) -> None:
        self._known[spot.name] = caption
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        if self.spot is not None and self.spot.name == spot.name:
            self.answered.emit(caption)

    def _on_ended(self, spot: Spot, error: Exception | None) -> None:
        self._job = None
        current = self.spot
        if current is None:
            return
        if current.name != spot.name and current.name not in self._known:
            self._ask(current)
        elif current.name == spot.name and error is not None and not isinstance(error, Cancelled):
            self.answered.emit(error)
