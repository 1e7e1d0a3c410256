"""Ways to inspect an image: what lies under the cursor, the patch grid, the patches of a region."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from napari.layers import Layer
from napari.utils.events import Event
from napari.viewer import Viewer
from qtpy import QtWidgets as qt
from qtpy.QtCore import QObject, QPoint, Qt, Signal
from qtpy.QtGui import QCursor

from napari_patchioner.annotations import Plane
from napari_patchioner.decoders import Caption
from napari_patchioner.errors import Cancelled, PatchionerError, RegionError
from napari_patchioner.grids import FeatureGrid
from napari_patchioner.regions import Ellipse, Point
from napari_patchioner.viewer.layers.captions import draw_captions, has_text
from napari_patchioner.viewer.layers.geometry import world_to_image
from napari_patchioner.viewer.layers.image_layers import POINTS, line_colour
from napari_patchioner.viewer.layers.overlays import add_halo
from napari_patchioner.viewer.widgets import MenuButton, Sentence, button, stack, throttled
from napari_patchioner.viewer.workers.caption import CaptionQueue, caption_region
from napari_patchioner.viewer.workers.encode import Encoder
from napari_patchioner.viewer.workers.job import Job

from .keys import bind

Keep = Callable[[str, npt.NDArray[np.float64]], None]
# Often enough to seem to follow the hand, seldom enough not to be asked for every pixel.
PACE_MS = 60
LARGEST = 10
# Tokens: one short sentence that is read while the cursor rests.
SHORT = 12
REMEMBERED = 512
# Of a patch: how far inside its borders a box around it lies, to touch this patch and no other.
INSIDE = 1e-3
# Below and right of the cursor, where its arrow does not cover the text.
BESIDE = QPoint(18, 18)
CAPTION_LAYER = "Caption this layer"
SMALLER, LARGER, INSPECT = "[", "]", "J"
READING = {
    "composite": "Read all visible channels together",
    "follow": "Read again when the display changes",
    "keep": "Keep what was read on disk",
}


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
        how = encoder.model, repr(sorted(self._queue.options.items())), grid.key
        return Spot(plane, grid, region, (*how, taken.indices.tobytes(), taken.weights.tobytes()))

    def _ask(self, spot: Spot) -> None:
        options = self._queue.options_for([spot.grid])
        longest = options.get("max_tokens") or SHORT
        options |= {"beams": 1, "alternatives": 0, "max_tokens": min(longest, SHORT)}
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


class Bubble(qt.QLabel):  # type: ignore[misc]
    """A text beside the cursor that takes no mouse events."""

    def __init__(self, window: qt.QWidget) -> None:
        super().__init__(window)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setStyleSheet(
            "background: rgba(0, 0, 0, 190); color: white; padding: 3px 6px; border-radius: 4px;"
        )
        self.hide()

    def say(self, text: str) -> None:
        """Show a text at the cursor, within the window, or go where there is none."""
        self.setText(text)
        self.setVisible(bool(text))
        if text:
            self.adjustSize()
            window = self.parentWidget()
            corner = window.mapFromGlobal(QCursor.pos()) + BESIDE
            right, bottom = window.width() - self.width(), window.height() - self.height()
            self.move(max(0, min(corner.x(), right)), max(0, min(corner.y(), bottom)))
            self.raise_()


class InspectPanel(qt.QWidget):  # type: ignore[misc]
    """Three switches and the brush, for the chosen image, and a menu with what is captioned."""

    def __init__(self, viewer: Viewer, current: Callable[[], Any]) -> None:
        super().__init__()
        self._viewer, self._chosen = viewer, current
        self._current: Any = None
        tip = (
            "Shows what the model says about the place under the cursor (key J). [ and ] change "
            "the brush.\nHold Ctrl (Cmd on a Mac) and click to keep the place as a region."
        )
        self.inspect = button("Inspect", tip, checkable=True)
        self.grid = button("Grid", "Shows the patches the image was cut into.", checkable=True)
        tip = "Shows the patches of the selected region; bright ones count most."
        self.patches = button("Patches", tip, checkable=True)
        tip = "What is read and captioned besides: channels, points, labels."
        self.more = MenuButton("Layers", tip)
        self.menu = self.more.menu()
        self.brush = qt.QSlider(Qt.Orientation.Horizontal, maximum=LARGEST)
        self.brush.setToolTip("Size of the brush, in patches around the one under the cursor.")
        self.brush.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.wide = qt.QLabel()
        self.text = Sentence(lines=2)
        self.bubble: Bubble | None = None
        switches = (self.inspect, self.grid, self.patches)
        stack(self, (*switches, self.more), (self.brush, self.wide), self.text, wide=[self.brush])
        for switch in switches:
            switch.toggled.connect(self.apply)
        self.brush.valueChanged.connect(self.apply)
        self.menu.aboutToShow.connect(self.fill_menu)
        bind(viewer, INSPECT, self.inspect.toggle)
        self.apply()

    def refresh(self) -> None:
        """Turn to the chosen image, if it is another one."""
        chosen = self._chosen()
        self.setEnabled(chosen is not None)
        if chosen is not self._current:
            self.let_go_of_image()
            self._current = chosen
            if chosen is not None:
                chosen.inspector.answered.connect(self._on_answered)
                chosen.inspector.pending.connect(self._on_pending)
        self.apply()

    def apply(self, *_: object) -> None:
        """Do what the switches say, and show only what is of use."""
        on, brush = self.inspect.isChecked(), self.brush.value()
        for widget in (self.brush, self.wide, self.text):
            widget.setVisible(on)
        self.wide.setText(f"{2 * brush + 1} patches" if brush else "one patch")
        if not on:
            self.say("")
        if self._current is None:
            return
        inspector, overlays = self._current.inspector, self._current.overlays
        if brush != inspector.radius:
            inspector.grow(brush - inspector.radius)
        if on != inspector.on:
            inspector.switch(on)
            self._bind_keys(on)
        overlays.lines = self.grid.isChecked()
        overlays.patches = self.patches.isChecked()
        overlays.refresh()

    def say(self, text: str) -> None:
        """Show a text in the dock and beside the cursor; an empty one takes it away."""
        self.text.setText(text or "Move over the image.")
        if self.bubble is None and text:
            self.bubble = Bubble(self.window())
        if self.bubble is not None:
            self.bubble.say(text)

    def _on_pending(self) -> None:
        self.say("…")

    def _on_answered(self, answer: Caption | Exception | None) -> None:
        if answer is None or isinstance(answer, Exception):
            self.say(str(answer or ""))
        else:
            score = "" if answer.score != answer.score else f"  ({answer.score:.0%})"
            self.say((answer.text or answer.problem or "nothing to say") + score)

    def fill_menu(self) -> None:
        """List how the image is read, and the layers that can be captioned."""
        current = self._current
        self.menu.clear()
        if current is None:
            return

        def set_reading(name: str, on: bool) -> None:
            setattr(current.encoder, name, on)
            current.check_display()

        def set_source(layer: Layer, on: bool) -> None:
            (sources.follow if on else sources.leave)(layer)

        for name, title in READING.items():
            self.more.add(title, partial(set_reading, name), on=getattr(current.encoder, name))
        self.more.add(CAPTION_LAYER, self.caption_layer)
        self.menu.addSection("Also caption")
        sources = current.sources
        for layer in sources.offers():
            self.more.add(layer.name, partial(set_source, layer), on=layer in sources.following)
        self.more.add("New points layer: click to caption", self.new_points)

    def caption_layer(self) -> None:
        """Caption what lies on the layer that is selected in napari, whoever made it."""
        layer, current = self._viewer.layers.selection.active, self._current
        if layer is None or current.owns(layer):
            current.show_message("Select the layer to caption in napari's list of layers first.")
            return
        try:
            current.sources.follow(layer)
        except RegionError as error:
            current.show_message(str(error))
            return
        # What somebody has written beside its shapes already stays.
        if hasattr(layer, "text") and not has_text(layer):
            draw_captions(layer, line_colour(current.image, "regions"))
            add_halo(self._viewer, layer)
        current.show_message(f"What lies on {layer.name!r} is captioned from now on.")

    def new_points(self) -> None:
        """Turn to the image's own points layer: every point put on it is captioned."""
        layer = self._current.layer(POINTS)
        add_halo(self._viewer, layer)
        self._viewer.layers.selection.active = layer
        layer.mode = "add"

    def grow(self, step: int) -> None:
        """Make the brush larger or smaller by some patches."""
        self.brush.setValue(self.brush.value() + step)

    def let_go(self) -> None:
        """Let go of the viewer."""
        self.let_go_of_image()
        self._current = None
        bind(self._viewer, INSPECT)

    def let_go_of_image(self) -> None:
        """Stop inspecting the image at hand."""
        if self._current is None:
            return
        inspector = self._current.inspector
        if inspector.on:
            self._bind_keys(False)
        inspector.answered.disconnect(self._on_answered)
        inspector.pending.disconnect(self._on_pending)
        inspector.switch(False)
        self._current.overlays.close()
        self.say("")

    def _bind_keys(self, on: bool) -> None:
        """Give the brush its keys while inspecting; layers with keys of that name keep theirs."""
        for key, step in ((SMALLER, -1), (LARGER, 1)):
            bind(self._viewer, key, self.grow if on else None, step)
