"""Rows of buttons in the dock: for the drawing tools, and to go on with a review."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QPushButton, QWidget

from napari_patchioner.viewer.widgets.basic import button

if TYPE_CHECKING:
    from napari_patchioner.viewer.layers.image_layers import LayerKey
    from napari_patchioner.viewer.session.review import Review


class Tool(NamedTuple):
    """A drawing tool: which layer, which of napari's modes, and how to use it."""

    title: str
    key: LayerKey
    mode: str
    tip: str


TOOLS = (
    Tool("Box", "regions", "add_rectangle", "Press, drag, release (key R)."),
    Tool("Ellipse", "regions", "add_ellipse", "Press, drag, release (key E)."),
    Tool("Polygon", "regions", "add_polygon", "Click each corner, double-click the last (key P)."),
    Tool("Lasso", "regions", "add_polygon_lasso", "Draw around something with the button held."),
    Tool("Trace", "traces", "add_path", "Draw along or over something with the button held."),
    Tool("Select", "regions", "select", "Click a shape to see its caption, drag to move (key S)."),
)
COLUMNS = 3


class DrawBar(QWidget):  # type: ignore[misc]
    """One button per tool, so that nobody has to search for the right layer first.

    The pressed one is the tool in use.
    """

    chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.buttons: dict[str, QPushButton] = {}
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for index, tool in enumerate(TOOLS):
            made = self.buttons[tool.title] = button(tool.title, tool.tip, checkable=True)
            made.clicked.connect(lambda *_, tool=tool: self.chosen.emit(tool))
            layout.addWidget(made, *divmod(index, COLUMNS))

    def show_mode(self, key: str, mode: str) -> None:
        """Press the button of the tool in use, if it has one.

        Selecting works on both layers, so its button does not ask which.
        """
        for tool in TOOLS:
            same = tool.mode == mode and (tool.key == key or mode == "select")
            self.buttons[tool.title].setChecked(same)


class ReviewBar(QWidget):  # type: ignore[misc]
    """Where a review stands, and the buttons to go on with it; shown while there is a review."""

    accept = Signal()
    skip = Signal()
    back = Signal()
    stop = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.position = QLabel(self)
        self.position.setToolTip("The most doubtful captions come first.")
        self.next = button("Accept, next", "Keep this caption and go on to the next one (key Y).")
        self.skipped = button("Skip", "Leave it as it is and go on (key N).")
        self.previous = button("Back", "Go back to the one before (key Shift+N).")
        self.end = button("End", "End the review; what was accepted stays so.")
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.position, 0, 0, 1, 2)
        layout.addWidget(self.end, 0, 2)
        for column, made in enumerate((self.previous, self.skipped, self.next)):
            layout.addWidget(made, 1, column)
        for made, signal in (
            (self.next, self.accept),
            (self.skipped, self.skip),
            (self.previous, self.back),
            (self.end, self.stop),
        ):
            made.clicked.connect(lambda *_, signal=signal: signal.emit())
        self.hide()

    def show_review(self, review: Review | None) -> None:
        """Show how far a review has come; without one, nothing."""
        self.setVisible(review is not None)
        if review is not None:
            self.position.setText(f"Review: {review.position}")
