"""Ways to look: inspect under the cursor, the patch grid, the patches of a region."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QPoint, Qt, Signal
from qtpy.QtGui import QCursor
from qtpy.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QSlider,
    QToolButton,
    QWidget,
)

from napari_patchioner.viewer.widgets.sentence import Sentence

from .inspector import LARGEST

if TYPE_CHECKING:
    from napari_patchioner.decoders import Caption

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


class LookBar(QWidget):
    """Three switches, the brush, and a menu with what is looked at.

    Attributes
    ----------
    inspect, grid, patches : QPushButton
        The switches.
    brush : QSlider
        Radius of the brush, in patches.
    menu : QMenu
        Filled by whoever knows what there is.
    text : QLabel
        What is said about the place under the cursor.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.inspect, self.grid, self.patches = (self._switch(title) for title in TIPS)
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
        self._lay_out()
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

    def say_waiting(self) -> None:
        """Show that something is about to be said; the last text is about another place."""
        self.say("…")

    def say_caption(self, caption: Caption | Exception | None) -> None:
        """Show what is said about a place, or why nothing is."""
        if caption is None:
            self.say("")
        elif isinstance(caption, Exception):
            self.say(str(caption))
        else:
            score = "" if caption.score != caption.score else f"  ({caption.score:.0%})"
            self.say((caption.text or caption.problem or "nothing to say") + score)

    def _switch(self, title: str) -> QPushButton:
        button = QPushButton(title, self)
        button.setCheckable(True)
        button.setToolTip(TIPS[title])
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        button.toggled.connect(self.changed)
        return button

    def _lay_out(self) -> None:
        switches = QHBoxLayout()
        switches.setSpacing(4)
        for button in (self.inspect, self.grid, self.patches, self.more):
            switches.addWidget(button)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(switches, 0, 0, 1, 2)
        layout.addWidget(self.brush, 1, 0)
        layout.addWidget(self.wide, 1, 1)
        layout.addWidget(self.text, 2, 0, 1, 2)
        layout.setColumnStretch(0, 1)


class Bubble(QLabel):
    """A text beside the cursor that takes no mouse events."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setStyleSheet(
            "background: rgba(0, 0, 0, 190); color: white; padding: 3px 6px; border-radius: 4px;"
        )
        self.hide()

    def say(self, text: str) -> None:
        """Show a text, or go where there is none."""
        self.setText(text)
        self.setVisible(bool(text))
        if text:
            self.adjustSize()
            self.follow()
            self.raise_()

    def follow(self) -> None:
        """Move to the cursor, within the window."""
        window = self.parentWidget()
        spot = window.mapFromGlobal(QCursor.pos()) + BESIDE
        right, bottom = window.width() - self.width(), window.height() - self.height()
        self.move(max(0, min(spot.x(), right)), max(0, min(spot.y(), bottom)))
