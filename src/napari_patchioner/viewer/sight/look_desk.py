"""Puts the switches of the `LookBar` to work on the image at hand."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

from napari_patchioner.errors import RegionError
from napari_patchioner.viewer.canvas._halo import add_halo
from napari_patchioner.viewer.canvas.canvas_text import has_text
from napari_patchioner.viewer.canvas.keys import key_callback
from napari_patchioner.viewer.canvas.layers import draw_captions, line_colour

from ._own_context import delete_in_own_context

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from qtpy.QtGui import QAction

    from napari_patchioner.viewer.desk.annotator import Annotator

    from .look_bar import LookBar

CAPTION_LAYER = "Caption this layer"
SMALLER, LARGER, INSPECT = "[", "]", "J"
UNDO, REDO = "Control-Z", "Control-Shift-Z"
READING = {
    "composite": "Read all visible channels together",
    "follow": "Read again when the display changes",
    "keep": "Keep what was read on disk",
}


class LookDesk(QObject):
    """Keeps the switches and the annotator of the chosen image in step.

    Parameters
    ----------
    viewer : napari.Viewer
        Gets the keys for the brush while inspecting.
    bar : LookBar
        The switches.
    annotator : callable
        Returns the annotator of the chosen image, or None.
    parent : QObject, optional
        The dock.
    """

    def __init__(
        self,
        viewer: napari.Viewer,
        bar: LookBar,
        annotator: Callable[[], Annotator | None],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        delete_in_own_context(viewer)
        self._viewer, self._bar, self._find = viewer, bar, annotator
        self._current: Annotator | None = None
        bar.changed.connect(self.apply)
        viewer.bind_key(INSPECT, key_callback(bar.inspect.toggle), overwrite=True)
        # On the image, too: the layer that had these keys may be what was deleted.
        for key, action in ((UNDO, self.undo), (REDO, self.redo)):
            viewer.bind_key(key, key_callback(action), overwrite=True)
        bar.menu.aboutToShow.connect(self.fill_menu)

    def refresh(self) -> None:
        """Turn to the annotator of the chosen image, if it is another one."""
        found = self._find()
        self._bar.setEnabled(found is not None)
        if found is not self._current:
            self._leave()
            self._current = found
            if found is not None:
                found.sight.inspector.answered.connect(self._bar.say_caption)
                found.sight.inspector.waiting.connect(self._bar.say_waiting)
        self.apply()

    def apply(self) -> None:
        """Do what the switches say."""
        self._bar.show_state()
        if self._current is None:
            return
        inspector, overlays = self._current.sight.inspector, self._current.sight.overlays
        step = self._bar.brush.value() - inspector.radius
        if step:
            inspector.grow(step)
        on = self._bar.inspect.isChecked()
        if on != inspector.on:
            inspector.switch(on)
            self._bind_keys(on)
        overlays.lines = self._bar.grid.isChecked()
        overlays.patches = self._bar.patches.isChecked()
        overlays.refresh()

    def fill_menu(self) -> None:
        """List how the image is read, and the layers that can be captioned."""
        menu = self._bar.menu
        menu.clear()
        if self._current is None:
            return
        for name, title in READING.items():
            on = getattr(self._current.reader, name)
            self._check(title, on, partial(self._set_reading, name))
        menu.addAction(CAPTION_LAYER).triggered.connect(self.caption_layer)
        menu.addSection("Also caption")
        for layer in self._current.sight.sources.offers():
            on = layer in self._current.sight.sources.following
            self._check(layer.name, on, partial(self._set_source, layer))
        menu.addAction("New points layer: click to caption").triggered.connect(self.new_points)

    def caption_layer(self, *_: object) -> None:
        """Caption what lies on the layer that is selected in napari, whoever made it."""
        layer = self._viewer.layers.selection.active
        if self._current is None:
            return
        if layer is None or self._current.owns(layer):
            self._current.tell("Select the layer to caption in napari's list of layers first.")
            return
        try:
            self._current.sight.sources.follow(layer)
        except RegionError as error:
            self._current.tell(str(error))
        else:
            # What somebody has written there already stays.
            if hasattr(layer, "text") and not has_text(layer):
                draw_captions(layer, line_colour(self._current.image, "regions"))
                add_halo(self._viewer, layer)
            self._current.tell(f"What lies on {layer.name!r} is captioned from now on.")

    def new_points(self, *_: object) -> None:
        """Turn to the image's own points layer: every point put there is captioned."""
        if self._current is None:
            return
        layer = self._current.points()
        add_halo(self._viewer, layer)
        self._viewer.layers.selection.active = layer
        layer.mode = "add"

    def undo(self) -> None:
        """Take back the newest step, whichever layer is active."""
        if self._current is not None:
            self._current.undo()

    def redo(self) -> None:
        """Do it again."""
        if self._current is not None:
            self._current.redo()

    def grow(self, step: int) -> None:
        """Make the brush larger or smaller by some patches."""
        self._bar.brush.setValue(self._bar.brush.value() + step)

    def close(self) -> None:
        """Let go of the viewer."""
        self._leave()
        self._current = None
        for key in (INSPECT, UNDO, REDO):
            self._viewer.bind_key(key, None, overwrite=True)

    def _leave(self) -> None:
        if self._current is None:
            return
        if self._current.sight.inspector.on:
            self._bind_keys(False)
        self._current.sight.inspector.answered.disconnect(self._bar.say_caption)
        self._current.sight.inspector.waiting.disconnect(self._bar.say_waiting)
        self._current.sight.inspector.close()
        self._current.sight.overlays.close()
        self._bar.say("")

    def _check(self, title: str, on: bool, act: Callable[[bool], None]) -> QAction:
        action = self._bar.menu.addAction(title)
        action.setCheckable(True)
        action.setChecked(on)
        action.toggled.connect(act)
        return action

    def _set_reading(self, name: str, on: bool) -> None:
        setattr(self._current.reader, name, on)
        self._current.sight.look_again()

    def _set_source(self, layer: Any, on: bool) -> None:
        if on:
            self._current.sight.sources.follow(layer)
        else:
            self._current.sight.sources.leave(layer)

    def _bind_keys(self, on: bool) -> None:
        """Give the brush its keys while inspecting; layers with keys of that name keep theirs."""
        for key, step in ((SMALLER, -1), (LARGER, 1)):
            action = key_callback(self.grow, step) if on else None
            self._viewer.bind_key(key, action, overwrite=True)
