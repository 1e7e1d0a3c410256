"""Ways to inspect an image: what lies under the cursor, the patch grid, the patches of a region."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from napari.layers import Layer
from napari.viewer import Viewer
from qtpy import QtWidgets as qt
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QCursor

from napari_patchioner.decoders import Caption
from napari_patchioner.errors import RegionError
from napari_patchioner.viewer.layers.captions import draw_captions, has_text
from napari_patchioner.viewer.layers.image_layers import POINTS, line_colour
from napari_patchioner.viewer.layers.overlays import add_halo
from napari_patchioner.viewer.widgets import MenuButton, Sentence, button, stack
from napari_patchioner.viewer.workers.inspect import LARGEST

from .keys import bind

# Below and right of the cursor, where its arrow does not cover the text.
BESIDE = QPoint(18, 18)
CAPTION_LAYER = "Caption this layer"
SMALLER, LARGER, INSPECT = "[", "]", "J"
READING = {
    "composite": "Read all visible channels together",
    "follow": "Read again when the display changes",
    "keep": "Keep what was read on disk",
}


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
        self.text = Sentence(lines=2, fixed=True)
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
        self._current.overlays.clear()
        self.say("")

    def _bind_keys(self, on: bool) -> None:
        """Give the brush its keys while inspecting; layers with keys of that name keep theirs."""
        for key, step in ((SMALLER, -1), (LARGER, 1)):
            bind(self._viewer, key, self.grow if on else None, step)
