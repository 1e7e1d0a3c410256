"""How the dock looks: the small widgets, one below the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget
from superqt import QCollapsible

from . import forms
from .caption_box import CaptionBox
from .draw_bar import DrawBar
from .progress_row import ProgressRow
from .source_box import SourceBox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


class Panel(QWidget):
    """Choose, start, draw, correct, export: from top to bottom.

    Parameters
    ----------
    images : callable
        Returns the image layers to choose from.
    """

    def __init__(self, images: Callable[[Any], Sequence[Any]]) -> None:
        super().__init__()
        self.source = SourceBox(images, self)
        self.options = forms.options_form()
        self.progress = ProgressRow(self)
        self.status = QLabel(self)
        self.status.setWordWrap(True)
        self.status.setMinimumHeight(2 * self.status.fontMetrics().lineSpacing())
        self.status.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self.draw = DrawBar(self)
        self.caption = CaptionBox("Select a shape to see its caption", parent=self)
        self.whole = CaptionBox("Not captioned yet", lines=2, compact=True, parent=self)
        self.again = _button("Caption again", "Have the selected shapes captioned anew (key Q).")
        self.together = _button("As one region", "Caption the selected shapes together (key G).")
        self.describe = _button("Caption whole image", "Caption the plane on display (key W).")
        self.export = _button("Export CSV…", "Save all regions and captions, in two CSV files.")
        self.selected = _heading("Selected shape")
        self._lay_out()

    def set_ready(self, ready: bool) -> None:
        """Allow or forbid what needs an image."""
        for widget in (self.draw, self.again, self.together, self.describe, self.export):
            widget.setEnabled(ready)

    def show_nothing(self, message: str) -> None:
        """Show that there is no image."""
        self.status.setText(message)
        self.caption.show_record(None)
        self.whole.show_record(None)

    def _lay_out(self) -> None:
        more = QCollapsible("Options", self)
        more.addWidget(self.options.native)
        pair = QHBoxLayout()
        pair.addWidget(self.again)
        pair.addWidget(self.together)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.setSpacing(5)
        layout.addWidget(self.source)
        layout.addWidget(self.progress)
        layout.addWidget(self.status)
        layout.addWidget(_heading("Draw"))
        layout.addWidget(self.draw)
        layout.addWidget(self.selected)
        layout.addWidget(self.caption)
        layout.addLayout(pair)
        layout.addWidget(_heading("Whole image"))
        layout.addWidget(self.whole)
        layout.addWidget(self.describe)
        layout.addWidget(more)
        layout.addWidget(self.export)
        layout.addStretch(1)


def _button(title: str, tip: str) -> QPushButton:
    button = QPushButton(title)
    button.setToolTip(tip)
    button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return button


def _heading(title: str) -> QLabel:
    label = QLabel(title)
    font = label.font()
    font.setBold(True)
    label.setFont(font)
    return label
