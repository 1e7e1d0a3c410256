"""Ways to inspect an image: what lies under the cursor, the patch grid, the patches of a region."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from qtpy.QtCore import QObject, QPoint, Qt, Signal
from qtpy.QtGui import QCursor
from qtpy.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMenu,
    QSlider,
    QToolButton,
    QWidget,
)

from napari_patchioner.errors import RegionError
from napari_patchioner.viewer.layers.captions import draw_captions, has_text
from napari_patchioner.viewer.layers.image_layers import line_colour
from napari_patchioner.viewer.layers.rendering import add_halo, delete_in_own_context
from napari_patchioner.viewer.widgets.basic import Sentence, button

from .inspector import LARGEST
from .keys import key_callback

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.viewer import Viewer

    from napari_patchioner.decoders import Caption
    from napari_patchioner.viewer.layers.overlays import Overlays
    from napari_patchioner.viewer.layers.sources import Sources

    from .inspector import Inspector

TIPS = {
    "Inspect": (
        "Shows what the model says about the place under the cursor (key J). [ and ] change the "
        "brush.\nHold Ctrl (Cmd on a Mac) and click to keep the place as a region."
    ),
    "Grid": "Shows the patches the image was cut into.",
    "Patches": "Shows the patches of the selected region; bright ones count most.",
}
# Below and right of the cursor, where its arrow does not cover the text.
BESIDE = QPoint(18, 18)
CAPTION_LAYER = "Caption this layer"
SMALLER, LARGER, INSPECT = "[", "]", "J"
UNDO, REDO = "Control-Z", "Control-Shift-Z"
READING = {
    "composite": "Read all visible channels together",
    "follow": "Read again when the display changes",
    "keep": "Keep what was read on disk",
}


class InspectBar(QWidget):  # type: ignore[misc]
    """Three switches, the brush, and a menu with what is captioned besides."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.inspect, self.grid, self.patches = (
            button(title, tip, checkable=True) for title, tip in TIPS.items()
        )
        self.brush = QSlider(Qt.Orientation.Horizontal, self)
        self.brush.setRange(0, LARGEST)
        self.brush.setToolTip("Size of the brush, in patches around the one under the cursor.")
        self.brush.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.brush.valueChanged.connect(self.changed)
        self.wide = QLabel(self)
        self.text = Sentence(self)
        self.text.setMinimumHeight(2 * self.text.fontMetrics().lineSpacing())
        self.text.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self.menu = QMenu(self)
        self.more = QToolButton(self)
        self.more.setText("Layers")
        # Room for the arrow beside the text
        self.more.setStyleSheet("QToolButton { padding: 2px 14px 2px 4px; }")
        self.more.setToolTip("What is read and captioned besides: channels, points, labels.")
        self.more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.more.setMenu(self.menu)
        self.bubble: Bubble | None = None
        switches = QHBoxLayout()
        switches.setSpacing(4)
        for switch in (self.inspect, self.grid, self.patches):
            switch.toggled.connect(self.changed)
            switches.addWidget(switch)
        switches.addWidget(self.more)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(switches, 0, 0, 1, 2)
        layout.addWidget(self.brush, 1, 0)
        layout.addWidget(self.wide, 1, 1)
        layout.addWidget(self.text, 2, 0, 1, 2)
        layout.setColumnStretch(0, 1)
        self.show_state()

    def show_state(self) -> None:
        """Show only what is of use."""
        on = self.inspect.isChecked()
        for widget in (self.brush, self.wide, self.text):
            widget.setVisible(on)
        wide = 2 * self.brush.value() + 1
        self.wide.setText("one patch" if wide == 1 else f"{wide} patches")
        if not on:
            self.say("")

    def say(self, text: str) -> None:
        """Show a text in the dock and beside the cursor; an empty one takes it away."""
        self.text.setText(text or "Move over the image.")
        if self.bubble is None and text:
            self.bubble = Bubble(self.window())
        if self.bubble is not None:
            self.bubble.say(text)

    def say_pending(self) -> None:
        """Show that a caption is being made; the last text is about another patch."""
        self.say("…")

    def say_caption(self, caption: Caption | Exception | None) -> None:
        """Show what is said about a patch, or why nothing is."""
        if caption is None:
            self.say("")
        elif isinstance(caption, Exception):
            self.say(str(caption))
        else:
            score = "" if caption.score != caption.score else f"  ({caption.score:.0%})"
            self.say((caption.text or caption.problem or "nothing to say") + score)


class Bubble(QLabel):  # type: ignore[misc]
    """A text beside the cursor that takes no mouse events."""

    def __init__(self, window: QWidget) -> None:
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


class _InspectedImage(Protocol):
    """An image that can be inspected, and whose layers can be captioned."""

    image: Any
    encoder: Any
    inspector: Inspector
    overlays: Overlays
    sources: Sources

    def owns(self, layer: object) -> bool: ...
    def points(self) -> Any: ...
    def undo(self) -> None: ...
    def redo(self) -> None: ...
    def show_message(self, message: str) -> None: ...
    def check_display(self) -> None: ...


class InspectPanel(QObject):  # type: ignore[misc]
    """Keeps the switches of an `InspectBar` and the chosen image in step."""

    def __init__(
        self,
        viewer: Viewer,
        bar: InspectBar,
        current: Callable[[], _InspectedImage | None],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        delete_in_own_context(viewer)
        self._viewer, self._bar, self._chosen = viewer, bar, current
        self._current: _InspectedImage | None = None
        bar.changed.connect(self.apply)
        viewer.bind_key(INSPECT, key_callback(bar.inspect.toggle), overwrite=True)
        # On the image, too: the layer that had these keys may be what was deleted.
        for key, action in ((UNDO, self.undo), (REDO, self.redo)):
            viewer.bind_key(key, key_callback(action), overwrite=True)
        bar.menu.aboutToShow.connect(self.fill_menu)

    def refresh(self) -> None:
        """Turn to the chosen image, if it is another one."""
        chosen = self._chosen()
        self._bar.setEnabled(chosen is not None)
        if chosen is not self._current:
            self._leave()
            self._current = chosen
            if chosen is not None:
                chosen.inspector.answered.connect(self._bar.say_caption)
                chosen.inspector.pending.connect(self._bar.say_pending)
        self.apply()

    def apply(self) -> None:
        """Do what the switches say."""
        self._bar.show_state()
        if self._current is None:
            return
        inspector, overlays = self._current.inspector, self._current.overlays
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
        menu, current = self._bar.menu, self._current
        menu.clear()
        if current is None:
            return
        for name, title in READING.items():
            self._check(title, getattr(current.encoder, name), partial(self._set_reading, name))
        menu.addAction(CAPTION_LAYER).triggered.connect(self.caption_layer)
        menu.addSection("Also caption")
        for layer in current.sources.offers():
            on = layer in current.sources.following
            self._check(layer.name, on, partial(self._set_source, layer))
        menu.addAction("New points layer: click to caption").triggered.connect(self.new_points)

    def caption_layer(self, *_: object) -> None:
        """Caption what lies on the layer that is selected in napari, whoever made it."""
        layer, current = self._viewer.layers.selection.active, self._current
        if current is None:
            return
        if layer is None or current.owns(layer):
            current.show_message("Select the layer to caption in napari's list of layers first.")
            return
        try:
            current.sources.follow(layer)
        except RegionError as error:
            current.show_message(str(error))
        else:
            # What somebody has written beside its shapes already stays.
            if hasattr(layer, "text") and not has_text(layer):
                draw_captions(layer, line_colour(current.image, "regions"))
                add_halo(self._viewer, layer)
            current.show_message(f"What lies on {layer.name!r} is captioned from now on.")

    def new_points(self, *_: object) -> None:
        """Turn to the image's own points layer: every point put on it is captioned."""
        if self._current is not None:
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
        inspector = self._current.inspector
        if inspector.on:
            self._bind_keys(False)
        inspector.answered.disconnect(self._bar.say_caption)
        inspector.pending.disconnect(self._bar.say_pending)
        inspector.close()
        self._current.overlays.close()
        self._bar.say("")

    def _check(self, title: str, on: bool, act: Callable[[bool], None]) -> None:
        action = self._bar.menu.addAction(title)
        action.setCheckable(True)
        action.setChecked(on)
        action.toggled.connect(act)

    def _set_reading(self, name: str, on: bool) -> None:
        if self._current is not None:
            setattr(self._current.encoder, name, on)
            self._current.check_display()

    def _set_source(self, layer: Any, on: bool) -> None:
        if self._current is not None:
            sources = self._current.sources
            (sources.follow if on else sources.leave)(layer)

    def _bind_keys(self, on: bool) -> None:
        """Give the brush its keys while inspecting; layers with keys of that name keep theirs."""
        for key, step in ((SMALLER, -1), (LARGER, 1)):
            action = key_callback(self.grow, step) if on else None
            self._viewer.bind_key(key, action, overwrite=True)
