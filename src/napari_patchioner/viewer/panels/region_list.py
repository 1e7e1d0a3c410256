"""All regions of an image: searched, judged and walked through; a dock of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from qtpy.QtCore import (
    QItemSelection,
    QItemSelectionModel,
    QObject,
    QSize,
    Qt,
    Signal,
)
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QTableView,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import QSignalThrottler, signals_blocked

from napari_patchioner.errors import PatchionerError
from napari_patchioner.viewer.layers.geometry import displayed_plane
from napari_patchioner.viewer.session.session import counted
from napari_patchioner.viewer.widgets.basic import Sentence, WheelGuard, button

from .region_model import CAPTION, COLUMNS, ONLY, FilterError, RegionFilter, RegionTableModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari.viewer import Viewer
    from qtpy.QtGui import QHideEvent, QKeyEvent, QShowEvent

    from napari_patchioner.viewer.session.session import Session

NAME = "Patch-ioner: regions"
# Many captions in a row are shown together.
WAIT_MS = 40
WIDTHS = {"kind": 90, "score": 56, "author": 118, "reviewed": 92, "plane": 64}
ACTIONS = (
    ("Accept", "accept", "Keep these captions: no model will change them (key A)."),
    ("Reject", "reject", "Throw away what the model wrote here (key X)."),
    ("Again", "caption_again", "Have them captioned anew (key Q)."),
    ("Lock", "lock", "Keep all models from these regions, or let them in again (key K)."),
    ("Together", "caption_together", "Caption the selected shapes as one region (key G)."),
    ("Delete", "delete", "Delete the selected shapes (key Delete)."),
)
# What each key does while the table has the focus, by name of the action.
TABLE_KEYS = {
    Qt.Key.Key_A: "accept",
    Qt.Key.Key_X: "reject",
    Qt.Key.Key_Q: "caption_again",
    Qt.Key.Key_K: "lock",
    Qt.Key.Key_G: "caption_together",
    Qt.Key.Key_Delete: "delete",
    Qt.Key.Key_Backspace: "delete",
}
_PLANE = next(index for index, column in enumerate(COLUMNS) if column.field == "plane")
_Select = QItemSelectionModel.SelectionFlag


class RegionTable(QTableView):  # type: ignore[misc]
    """Signals what is selected, wanted and done by uid."""

    selected = Signal(list)
    wanted = Signal(str)
    asked = Signal(str)
    picked = Signal(int)
    idle = Signal()

    def __init__(self, model: RegionTableModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.regions = model
        self._selecting = False
        self._kept: list[str] = []
        self._scrolled = 0
        self.setModel(model)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        triggers = QAbstractItemView.EditTrigger
        self.setEditTriggers(triggers.EditKeyPressed | triggers.SelectedClicked)
        self.setWordWrap(False)
        self.setShowGrid(False)
        self.setTabKeyNavigation(False)
        self.setAccessibleName("Regions")
        self._lay_out()
        model.modelAboutToBeReset.connect(self._keep)
        model.modelReset.connect(self._restore)
        self.selectionModel().selectionChanged.connect(self._on_selection)
        self.doubleClicked.connect(lambda index: self.wanted.emit(self.regions.uid(index)))

    def _lay_out(self) -> None:
        header = self.horizontalHeader()
        for index, column in enumerate(COLUMNS):
            if index != CAPTION:
                self.setColumnWidth(index, WIDTHS[column.field])
        header.setSectionResizeMode(CAPTION, QHeaderView.ResizeMode.Stretch)
        header.setHighlightSections(False)
        if hasattr(header, "setSortIndicatorClearable"):
            header.setSortIndicatorClearable(True)
        header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.setSortingEnabled(True)
        rows = self.verticalHeader()
        rows.hide()
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setDefaultSectionSize(self.fontMetrics().lineSpacing() + 6)

    @property
    def editing(self) -> bool:
        """Whether somebody is typing in a cell."""
        return bool(self.state() == QAbstractItemView.State.EditingState)

    def uids(self) -> list[str]:
        """Return what is selected, from top to bottom."""
        rows = sorted({index.row() for index in self.selectionModel().selectedRows()})
        return [self.regions.lines[row].uid for row in rows]

    def select(self, uids: Iterable[str]) -> None:
        """Select these, as far as they are listed, without a signal."""
        rows = sorted({row for uid in uids if (row := self.regions.row(uid)) is not None})
        if sorted({index.row() for index in self.selectionModel().selectedRows()}) == rows:
            return
        self._selecting = True
        try:
            flags = _Select.ClearAndSelect | _Select.Rows
            self.selectionModel().select(self._ranges(rows), flags)
            if rows and self.currentIndex().row() not in rows:
                first = self.regions.index(rows[0], CAPTION)
                self.selectionModel().setCurrentIndex(first, _Select.NoUpdate)
                self.scrollTo(first)
        finally:
            self._selecting = False

    def step(self, by: int) -> str:
        """Select the region so many rows further on, and return its uid; the ends hold."""
        count = self.regions.rowCount()
        if not count:
            return ""
        chosen = [row for uid in self.uids() if (row := self.regions.row(uid)) is not None]
        start = (chosen[-1 if by > 0 else 0] + by) if chosen else (0 if by > 0 else count - 1)
        row = min(max(start, 0), count - 1)
        self.setCurrentIndex(self.regions.index(row, CAPTION))
        return self.regions.lines[row].uid

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Judge with single keys; napari's own keys are not meant here."""
        standard = QKeySequence.StandardKey
        for keys, action in ((standard.Undo, "undo"), (standard.Redo, "redo")):
            if event.matches(keys):
                self.asked.emit(action)
                return
        plain = event.modifiers() in (
            Qt.KeyboardModifier.NoModifier,
            Qt.KeyboardModifier.KeypadModifier,
        )
        if not plain or not self._is_ours(event.key()):
            super().keyPressEvent(event)

    def closeEditor(self, *arguments: Any) -> None:
        """Signal that a cell is left."""
        super().closeEditor(*arguments)
        self.idle.emit()

    def _is_ours(self, key: int) -> bool:
        """Do what a key is for; False where it is for nothing."""
        if key in TABLE_KEYS:
            self.asked.emit(TABLE_KEYS[Qt.Key(key)])
        elif Qt.Key.Key_1 <= key <= Qt.Key.Key_9:
            self.picked.emit(int(key) - int(Qt.Key.Key_1))
        elif key in (Qt.Key.Key_N, Qt.Key.Key_P):
            self.wanted.emit(self.step(1 if key == Qt.Key.Key_N else -1))
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.wanted.emit(self.regions.uid(self.currentIndex()))
        else:
            return False
        return True

    def _ranges(self, rows: list[int]) -> QItemSelection:
        """Return ascending rows as few ranges, of which Qt makes less work than of many cells."""
        chosen, last = QItemSelection(), len(COLUMNS) - 1
        start = None
        for position, row in enumerate(rows):
            start = row if start is None else start
            if position + 1 == len(rows) or rows[position + 1] != row + 1:
                chosen.select(self.regions.index(start, 0), self.regions.index(row, last))
                start = None
        return chosen

    def _keep(self) -> None:
        self._kept, self._scrolled = self.uids(), self.verticalScrollBar().value()

    def _restore(self) -> None:
        with signals_blocked(self.verticalScrollBar()):
            self.verticalScrollBar().setValue(self._scrolled)
        self.select(self._kept)

    def _on_selection(self, *_: object) -> None:
        if not self._selecting:
            self.selected.emit(self.uids())


class RegionList(QWidget):  # type: ignore[misc]
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
        self._session: Session | None = None
        self._axes = (0, 1)
        self._canvas: list[str] = []
        self._soon = QSignalThrottler(QSignalThrottler.EmissionPolicy.Trailing, self)
        self._soon.setTimeout(WAIT_MS)
        self._soon.triggered.connect(self.refresh)
        self.search.setPlaceholderText("Find in captions")
        self.search.setClearButtonEnabled(True)
        self.search.setToolTip("Lists the regions whose caption holds this, as you type.")
        self.pattern.setToolTip("For instance ^a (cat|dog)$ finds these two captions only.")
        self.only.addItems(list(ONLY))
        self.only.setToolTip(
            "Which regions to list. Low score: the lowest quarter of the model's captions."
        )
        self.problem.hide()
        self._lay_out()
        self.search.textChanged.connect(self._on_filter)
        self.pattern.toggled.connect(self._on_filter)
        self.only.currentIndexChanged.connect(self._on_filter)
        self.table.selected.connect(self._on_selected)
        self.table.wanted.connect(self.wanted)
        self.table.asked.connect(self.asked)
        self.table.picked.connect(self.picked)
        self.table.idle.connect(self._soon.throttle)
        self.regions.edited.connect(self.edited)
        self._guard = WheelGuard(self)

    def _lay_out(self) -> None:
        top, bottom = QHBoxLayout(), QHBoxLayout()
        top.addWidget(self.search, 1)
        for widget in (self.pattern, self.only, self.count):
            top.addWidget(widget)
        for title, action, tip in ACTIONS:
            made = button(title, tip)
            made.clicked.connect(lambda *_, action=action: self.asked.emit(action))
            bottom.addWidget(made)
        bottom.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.setSpacing(4)
        layout.addLayout(top)
        layout.addWidget(self.problem)
        layout.addWidget(self.table, 1)
        layout.addLayout(bottom)

    def sizeHint(self) -> QSize:
        """Leave most of a small screen to the image."""
        return QSize(560, 210)

    def show_session(
        self, session: Session | None, axes: tuple[int, int], selected: Iterable[str]
    ) -> None:
        """Show the regions of a session soon.

        `axes` are the image axes displayed as rows and columns, `selected` the uids of the shapes
        selected on the canvas.
        """
        self._session, self._axes, self._canvas = session, axes, list(selected)
        if self.isVisible():
            self._soon.throttle()

    def refresh(self) -> None:
        """Bring the table up to date, but never under the hands of somebody who types."""
        if self.table.editing:
            return
        self._soon.cancel()
        self.regions.show_session(self._session, self._axes)
        self.table.setColumnHidden(_PLANE, not self.regions.is_stack)
        shown, total = len(self.regions.lines), self.regions.total
        regions = counted(total, "region")
        self.count.setText(regions if shown == total else f"{shown} of {regions}")
        if set(self.shapes(self.table.uids())) != set(self._canvas):
            self.table.select(self._listed(self._canvas))

    def shapes(self, uids: Iterable[str]) -> list[str]:
        """Return the shapes that make up these records, as they are selected on the canvas."""
        records = self._session.records if self._session else {}
        chosen = [records[uid] for uid in uids if uid in records]
        members = [r.members or ((r.uid,) if r.seen else ()) for r in chosen]
        return list(dict.fromkeys(uid for shapes in members for uid in shapes))

    def step(self, by: int) -> str:
        """Select the region so many rows further on, and return its uid."""
        self.refresh()
        return self.table.step(by)

    def showEvent(self, event: QShowEvent) -> None:
        """Catch up with what happened while it was hidden."""
        super().showEvent(event)
        self.refresh()
        self.appeared.emit(True)

    def hideEvent(self, event: QHideEvent) -> None:
        """Signal it."""
        super().hideEvent(event)
        self.appeared.emit(False)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Clear the filter with Escape."""
        if event.key() == Qt.Key.Key_Escape and self.search.text():
            self.search.clear()
        else:
            super().keyPressEvent(event)

    def _listed(self, shapes: list[str]) -> list[str]:
        """Return the records to select for shapes: several may make up a group."""
        group = self._session.find_group(shapes) if self._session and len(shapes) > 1 else None
        return shapes if group is None or self.regions.row(group.uid) is None else [group.uid]

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


class _ListedImage(Protocol):
    """An image whose regions can be listed."""

    viewer: Any
    image: Any
    session: Session

    def selected(self) -> list[str]: ...


class RegionListDock(QObject):  # type: ignore[misc]
    """Docks the list of regions in the window, and keeps it in step with the image at hand.

    The list is made on first use; closing its dock keeps it for the next time.
    """

    changed = Signal()

    def __init__(
        self,
        viewer: Viewer,
        actions: Any,
        current: Callable[[], _ListedImage | None],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._actions, self._current = viewer, actions, current
        self._list: RegionList | None = None

    @property
    def regions(self) -> RegionList:
        """The list of regions, which may be hidden."""
        if self._list is None:
            self._list = made = RegionList()
            actions = self._actions
            made.selected.connect(actions.select)
            made.wanted.connect(actions.go_to)
            made.asked.connect(lambda action: getattr(actions, action)())
            made.picked.connect(actions.choose)
            made.edited.connect(actions.edit)
            made.appeared.connect(self.changed)
            self.refresh()
        return self._list

    @property
    def shown(self) -> bool:
        """Whether the list is to be seen."""
        return self._list is not None and bool(self._list.isVisible())

    def toggle(self) -> None:
        """Show the list below the image, or hide it."""
        made = self.regions
        dock = made.parent()
        if dock is None:
            dock = self._viewer.window.add_dock_widget(
                made, name=NAME, area="bottom", add_vertical_stretch=False
            )
            # A list whose dock was closed before is hidden by itself.
            made.show()
        else:
            dock.setVisible(not dock.isVisible())
        if not dock.isHidden():
            made.table.setFocus()

    def refresh(self) -> None:
        """Show the regions of the image at hand."""
        if self._list is None:
            return
        current = self._current()
        if current is None:
            self._list.show_session(None, (0, 1), [])
            return
        try:
            axes = displayed_plane(current.viewer, current.image).axes
        except PatchionerError:
            axes = current.image.ndim - 2, current.image.ndim - 1
        self._list.show_session(current.session, axes, current.selected())

    def selected(self, current: _ListedImage) -> list[str]:
        """Return what is selected in the list, as long as the canvas does not say otherwise."""
        if self._list is None or not self.shown:
            return []
        uids = self._list.table.uids()
        same = set(self._list.shapes(uids)) == set(current.selected())
        return uids if same else []

    def close(self) -> None:
        """Take the list away for good."""
        if self._list is None:
            return
        self._list.blockSignals(True)
        if self._list.parent() is not None:
            self._viewer.window.remove_dock_widget(self._list)
        self._list.close()
        self._list.deleteLater()
        self._list = None
