"""Buttons for the drawing tools, so that nobody has to hunt for the right layer first."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QButtonGroup, QGridLayout, QPushButton, QWidget

if TYPE_CHECKING:
    from napari_patchioner.viewer.canvas.layers import LayerKey


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


class DrawBar(QWidget):
    """One button per tool; the pressed one is the tool in use."""

    chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.buttons: dict[str, QPushButton] = {}
        self._group = QButtonGroup(self)
        self._group.setExclusive(False)
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for place, tool in enumerate(TOOLS):
            button = self._button(tool)
            layout.addWidget(button, *divmod(place, COLUMNS))
            self._group.addButton(button, place)
            self.buttons[tool.title] = button
        self._group.idClicked.connect(self._on_clicked)

    def show_mode(self, key: str, mode: str) -> None:
        """Press the button of the tool in use, if it has one.

        Selecting works on both layers, so its button does not ask which.
        """
        for tool in TOOLS:
            same = tool.mode == mode and (tool.key == key or mode == "select")
            self.buttons[tool.title].setChecked(same)

    def _button(self, tool: Tool) -> QPushButton:
        button = QPushButton(tool.title, self)
        button.setToolTip(tool.tip)
        button.setCheckable(True)
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        return button

    def _on_clicked(self, place: int) -> None:
        self.chosen.emit(TOOLS[place])
