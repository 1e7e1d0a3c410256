"""All regions of an image: found, judged and walked through; a dock of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt, QTimer, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from napari_patchioner.viewer.widgets.buttons import button
from napari_patchioner.viewer.widgets.sentence import Sentence
from napari_patchioner.viewer.widgets.wheel import WheelGuard

from .region_filter import ONLY, FilterError, RegionFilter
from .region_table import RegionTable
from .region_table_model import COLUMNS, RegionTableModel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_patchioner.viewer.session.session import Session

# Many captions in a row are shown together.
WAIT_MS = 40
_PLANE = next(place for place, column in enumerate(COLUMNS) if column.field == "plane")
ACTIONS = (
    ("Accept", "accept", "Keep these captions: no model will change them (key A)."),
    ("Reject", "reject", "Throw away what the model wrote here (key X)."),
    ("Again", "caption_again", "Have them captioned anew (key Q)."),
    ("Lock", "lock", "Keep all models from these regions, or let them in again (key K)."),
    ("Together", "caption_together", "Caption the selected shapes as one region (key G)."),
    ("Delete", "delete", "Delete the selected shapes (key Delete)."),
)


class RegionList(QWidget):
    """A filter above, the table in the middle, what can be done with the selected ones below."""

    selected = Signal(list)
    wanted = Signal(str)
    asked = Signal(str)
    picked = Signal(int)
    edited = Signal(str, str)
    appeared = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.regions = RegionTableModel(self)
        self.table = RegionTable(self.regions, self)
        self.search = QLineEdit(self)
        self.pattern = QCheckBox("Regular expression", self)
        self.only = QComboBox(self)
        self.count = QLabel(self)
        self.problem = Sentence(self)
        self._source: tuple[Session | None, tuple[int, int]] = (None, (0, 1))
        self._canvas: list[str] = []
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(WAIT_MS)
        self._timer.timeout.connect(self.refresh)
        self._set_up()
        self._lay_out()
        self._wire()
        self._guard = WheelGuard(self)

    def _set_up(self) -> None:
        self.search.setPlaceholderText("Find in captions")
        self.search.setClearButtonEnabled(True)
        self.search.setToolTip("Lists the regions whose caption holds this, as you type.")
        self.pattern.setToolTip("For instance ^a (cat|dog)$ finds these two captions only.")
        self.only.addItems(list(ONLY))
        self.only.setToolTip(
            "Which regions to list. Low score: the lowest quarter of the model's captions."
        )
        self.problem.hide()

    def _lay_out(self) -> None:
        top, bottom = QHBoxLayout(), QHBoxLayout()
        top.addWidget(self.search, 1)
        for widget in (self.pattern, self.only, self.count):
            top.addWidget(widget)
        for title, deed, tip in ACTIONS:
            made = button(title, tip)
            made.clicked.connect(lambda *_, deed=deed: self.asked.emit(deed))
            bottom.addWidget(made)
        bottom.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.setSpacing(4)
        layout.addLayout(top)
        layout.addWidget(self.problem)
        layout.addWidget(self.table, 1)
        layout.addLayout(bottom)

    def _wire(self) -> None:
        self.search.textChanged.connect(self._on_filter)
        self.pattern.toggled.connect(self._on_filter)
        self.only.currentIndexChanged.connect(self._on_filter)
        self.table.selected.connect(self._on_selected)
        self.table.wanted.connect(self.wanted)
        self.table.asked.connect(self.asked)
        self.table.picked.connect(self.picked)
        self.table.idle.connect(self._timer.start)
        self.regions.edited.connect(self.edited)

    def sizeHint(self) -> QSize:
        """Leave most of a small screen to the image."""
        return QSize(560, 210)

    # what is shown

    def show_session(
        self, session: Session | None, axes: tuple[int, int], selected: Iterable[str]
    ) -> None:
        """Show the regions of a session soon, and what is selected on the canvas.

        Parameters
        ----------
        session : Session, optional
            The regions.
        axes : tuple of int
            The image axes displayed as rows and columns.
        selected : iterable of str
            Uids of the selected shapes.
        """
        self._source, self._canvas = (session, axes), list(selected)
        if self.isVisible() and not self._timer.isActive():
            self._timer.start()

    def refresh(self) -> None:
        """Bring the table up to date, but never under the hands of somebody who types."""
        if self.table.editing:
            return
        self._timer.stop()
        self.regions.show_session(*self._source)
        self.table.setColumnHidden(_PLANE, not self.regions.is_stack)
        shown, total = len(self.regions.lines), self.regions.total
        counted = "1 region" if total == 1 else f"{total} regions"
        self.count.setText(counted if shown == total else f"{shown} of {counted}")
        if set(self.shapes(self.table.uids())) != set(self._canvas):
            self.table.select(self._rows_of(self._canvas))

    def shapes(self, uids: Iterable[str]) -> list[str]:
        """Return the shapes that make up these records, as they are selected on the canvas."""
        session = self._source[0]
        records = (
            [session.records[uid] for uid in uids if uid in session.records] if session else []
        )
        found = [one for r in records for one in (r.members or ([r.uid] if r.seen else []))]
        return list(dict.fromkeys(found))

    def step(self, by: int) -> str:
        """Select the region so many rows further on, and return its uid."""
        self.refresh()
        return self.table.step(by)

    def showEvent(self, event: object) -> None:
        """Catch up with what happened while it was hidden."""
        super().showEvent(event)
        self.refresh()
        self.appeared.emit(True)

    def hideEvent(self, event: object) -> None:
        """Say so."""
        super().hideEvent(event)
        self.appeared.emit(False)

    def _rows_of(self, shapes: list[str]) -> list[str]:
        """Return the records to select for shapes: several may make up a group."""
        session = self._source[0]
        group = session.find_group(shapes) if session and len(shapes) > 1 else None
        listed = group is not None and self.regions.row(group.uid) is not None
        return [group.uid] if listed else shapes

    # events

    def _on_filter(self, *_: object) -> None:
        """Filter by what is typed; a half-typed expression leaves the list as it is."""
        only = ONLY[self.only.currentText()]
        try:
            self.regions.filter = RegionFilter(self.search.text(), self.pattern.isChecked(), only)
            self.problem.hide()
        except FilterError as error:
            self.problem.setText(str(error))
            self.problem.show()
        self.refresh()

    def _on_selected(self, uids: list[str]) -> None:
        self._canvas = self.shapes(uids)
        self.selected.emit(uids)

    def keyPressEvent(self, event: object) -> None:
        """Clear the filter with Escape."""
        if event.key() == Qt.Key.Key_Escape and self.search.text():
            self.search.clear()
        else:
            super().keyPressEvent(event)
