"""The panel of the dock: the small widgets, one below the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_patchioner.viewer.widgets.basic import Sentence, button
from napari_patchioner.viewer.widgets.progress_row import ProgressRow

from . import forms
from .bars import DrawBar, ReviewBar
from .caption_box import CaptionBox
from .inspect import InspectBar
from .keys import HelpButton
from .model_list import SourceBox
from .project import ProjectRow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


class MainPanel(QWidget):  # type: ignore[misc]
    """Choose, start, draw, correct, export: from top to bottom.

    `images` returns the image layers to choose from.
    """

    def __init__(self, images: Callable[[Any], Sequence[Any]]) -> None:
        super().__init__()
        self.source = SourceBox(images, self)
        self.options = forms.options_form()
        self.canvas = forms.canvas_form()
        self.progress = ProgressRow(self)
        self.status = Sentence(self)
        self.status.setMinimumHeight(2 * self.status.fontMetrics().lineSpacing())
        self.status.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self.draw = DrawBar(self)
        self.inspect = InspectBar(self)
        self.caption = CaptionBox("Select a shape to see its caption", parent=self)
        self.whole = CaptionBox("Not captioned yet", lines=2, compact=True, parent=self)
        self.review = ReviewBar(self)
        self.help = HelpButton(self)
        self.project = ProjectRow(self)
        self.selected = _heading("Selected shape")
        self.undo = button("Undo", "Take back the last step: shapes and captions (key Ctrl+Z).")
        self.redo = button("Redo", "Do it again (key Ctrl+Shift+Z).")
        self.accept = button("Accept", "Keep this caption: no model will change it (key Y).")
        self.reject = button("Reject", "Throw away what the model wrote here (key U).")
        self.lock = button("Lock", "Keep all models from this region (key K).", checkable=True)
        self.again = button("Caption again", "Have the selected shapes captioned anew (key Q).")
        self.together = button("As one region", "Caption the selected shapes together (key G).")
        self.describe = button("Caption whole image", "Caption the plane on display (key W).")
        self.walk = button("Review…", "Go through the captions, the most doubtful first.")
        self.list = button("List of regions", "All regions in a table (key O).", checkable=True)
        self.export = button("Export…", "Save all regions and captions in a format you choose.")
        self._lay_out()

    def set_ready(self, ready: bool) -> None:
        """Allow or forbid what needs an image."""
        for widget in (
            *(self.draw, self.accept, self.reject, self.lock, self.again, self.together),
            *(self.describe, self.walk, self.export, self.undo, self.redo),
        ):
            widget.setEnabled(ready)

    def show_nothing(self, message: str) -> None:
        """Show that there is no image."""
        self.status.setText(message)
        self.caption.show_record(None)
        self.whole.show_record(None)
        self.review.show_review(None)

    def _lay_out(self) -> None:
        more = QCollapsible("Options", self, expandedIcon="▾", collapsedIcon="▸")
        more.layout().setContentsMargins(0, 0, 0, 0)
        more.content().layout().setContentsMargins(0, 0, 0, 0)
        more.addWidget(self.options.native)
        more.addWidget(self.canvas.native)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.setSpacing(5)
        for part in (
            *(self.source, self.progress, self.status, self.project.offer, self.review),
            _row(_heading("Draw"), self.undo, self.redo, self.help, spacing=None),
            *(self.draw, self.inspect, self.selected, self.caption),
            _row(self.accept, self.reject, self.lock),
            _row(self.again, self.together),
            _row(self.walk, self.list, self.export),
            _row(_heading("Whole image"), self.describe, spacing=None),
            *(self.whole, more, self.project),
        ):
            if isinstance(part, QWidget):
                layout.addWidget(part)
            else:
                layout.addLayout(part)
        layout.addStretch(1)


def _row(*widgets: QWidget, spacing: int | None = 4) -> QHBoxLayout:
    """Return widgets side by side; a heading takes the room that is left."""
    row = QHBoxLayout()
    if spacing is not None:
        row.setSpacing(spacing)
    for widget in widgets:
        row.addWidget(widget, int(isinstance(widget, QLabel)))
    return row


def _heading(title: str) -> QLabel:
    label = QLabel(title)
    font = label.font()
    font.setBold(True)
    label.setFont(font)
    return label
