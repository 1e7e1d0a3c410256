"""All regions of an image in a table: searched, judged and walked through; a dock of its own."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from qtpy import QtWidgets as qt
from qtpy.QtCore import QItemSelection, QItemSelectionModel, QModelIndex, QSize, Qt, Signal
from qtpy.QtGui import QFont, QHideEvent, QKeyEvent, QKeySequence, QShowEvent
from superqt.utils import signals_blocked

from napari_patchioner.annotations import MACHINES
from napari_patchioner.annotations.record import UNFAMILIAR
from napari_patchioner.errors import counted
from napari_patchioner.viewer import widgets
from napari_patchioner.viewer.held_keys import HeldKeys, is_typing
from napari_patchioner.viewer.layers.geometry import own_axes, record_plane, shown_plane
from napari_patchioner.viewer.session.session import Session, learned_from

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_patchioner.annotations import Record
    from napari_patchioner.viewer.controller import Controller

    Current = Callable[[], Controller | None]

NAME = "Patch-ioner: regions"
# Many captions in a row are shown together.
WAIT_MS = 40
# Which records each choice lists; the lowest quarter of the model's scores is what is called low,
# as they are comparable only with its own.
LOW_SHARE = 0.25
ONLY: dict[str, Callable[[Record, float], bool]] = {
    "All regions": lambda record, low: True,
    "Without a caption": lambda record, low: not record.caption,
    "Written by a person": lambda record, low: record.source in ("human", "edited"),
    "Written by the model": lambda record, low: record.source in MACHINES,
    "Low score": lambda record, low: (
        record.source == "model" and record.score is not None and record.score <= low
    ),
    "Unlike what the model knows": lambda record, low: (
        record.familiarity is not None and record.familiarity < UNFAMILIAR
    ),
    "Not reviewed": lambda record, low: not record.reviewed,
    "Locked": lambda record, low: record.locked,
}
KINDS = {"rectangle": "box", "path": "trace"}
AUTHORS = {"edited": "you, from a draft", "human": "you"}
# Title, name of the action, and what it is for.
ACTIONS = (
    ("Accept", "accept", "Keep these captions: no model will change them (key A)."),
    ("Reject", "reject", "Throw away what the model wrote here (key X)."),
    ("Again", "caption_again", "Have them captioned anew (key Q)."),
    ("Lock", "lock", "Keep all models from these regions, or let them in again (key K)."),
    ("Together", "caption_together", "Caption the selected shapes as one region (key G)."),
    ("Delete", "delete", "Delete the selected shapes (key Delete)."),
    ("Teach", "write_name", "Teach the selected regions a name (key T)."),
)
# The keys of these while the table has the focus.
_KEYS = ("A", "X", "Q", "K", "G", "Del", "T")
TABLE_KEYS = {key: name for key, (_, name, _) in zip(_KEYS, ACTIONS, strict=True)}
TABLE_KEYS["Backspace"] = "delete"
_Role = Qt.ItemDataRole
_Select = QItemSelectionModel.SelectionFlag


class FilterError(ValueError):
    """What was typed is no regular expression; the message says where it goes wrong."""


class RegionFilter:
    """Which regions to list: those whose caption holds a text or matches a regular expression.

    Upper and lower case are the same. Raises `FilterError` where the pattern is none.
    """

    def __init__(self, text: str = "", *, pattern: bool = False, only: str = "All regions") -> None:
        self._is_kept, self._fold = ONLY[only], str if pattern else str.casefold
        searched = text if pattern else re.escape(text.casefold())
        try:
            self._pattern = re.compile(searched, re.IGNORECASE if pattern else 0)
        except re.error as error:
            where = "" if error.pos is None else f" at character {error.pos + 1}"
            raise FilterError(f"No regular expression: {error.msg}{where}.") from error

    def keep(self, records: Iterable[Record]) -> list[str]:
        """Return the uids of the records to list, in the order given."""
        records = list(records)
        low, search = low_bar(records), self._pattern.search
        return [r.uid for r in records if self._is_kept(r, low) and search(self._fold(r.caption))]


def low_bar(records: Iterable[Record]) -> float:
    """Return the score up to which the lowest quarter of a model's captions lies, or NaN."""
    scores = sorted(r.score for r in records if r.source == "model" and r.score is not None)
    return scores[math.ceil(LOW_SHARE * len(scores)) - 1] if scores else math.nan


class Line(NamedTuple):
    """One region in words, as a table shows it."""

    uid: str
    caption: str
    score: float
    reviewed: bool
    locked: bool
    model: str
    problem: str
    wanted: bool
    kind: str
    author: str
    plane: str
    familiarity: float
    agreement: float = math.nan

    def text(self, column: str) -> str:
        """Return what a cell says."""
        if column == "caption":
            # A caption takes one line of the table, however long it is.
            nothing = "waiting for the model" if self.wanted else self.problem or "no caption"
            return self.caption or nothing
        if column in ("score", "agreement"):
            value = getattr(self, column)
            return f"{value:.2f}" if value == value else ""
        if column == "familiarity":
            return f"{self.familiarity:.2g}" if self.familiarity == self.familiarity else ""
        if column == "reviewed":
            return " ".join(filter(None, ("✓" * self.reviewed, "locked" * self.locked)))
        return str(getattr(self, column))

    def tip(self, column: str) -> str:
        """Return what a cell has to add."""
        if column == "author" and self.author and self.model:
            return f"{self.author} ({self.model})"
        caption = self.caption or self.problem
        if self.caption and self.wanted:
            caption = f"{caption}\nThis is the old caption; a new one is waited for."
        return {"author": self.author, "caption": caption}.get(column, "")


OUTDATED = "outdated: the regions have changed"
"""What is said of a caption whose place and size may be others by now."""

RESHAPED = "outdated: the shape or the image has changed since"
"""What is said of a text that was asked for before the shape was moved, or the image replaced."""


def line_of(record: Record, plane: str = "", *, outdated: bool = False) -> Line:
    """Describe a record: a shape, several together, or a whole image; `plane` is for stacks."""
    shape_type = record.seen.shape_type if record.seen else "region"
    kinds = {"group": f"{len(record.members)} together", "image": "whole image"}
    kind = kinds.get(record.subject, KINDS.get(shape_type, shape_type))
    same = (getattr(record, name) for name in Line._fields[:8])
    author = AUTHORS.get(record.source, record.source)
    if record.source == "taught":
        author = learned_from(record)
    elif record.found_by:
        author = f"found by {record.found_by!r}"
    if record.reworded_by:
        author = f"{author}, {record.reworded_by}"
    if record.is_outdated and not outdated:
        author = f"{RESHAPED}; {author}"
    if outdated:
        # First, as the column is narrow.
        author = f"{OUTDATED}; {author}"
    known = math.nan if record.familiarity is None else record.familiarity
    line = Line._make((*same, kind, author, plane, known, math.nan))
    return line if record.score is not None else line._replace(score=math.nan)


def ordered(lines: list[Line], column: str, *, descending: bool = False) -> list[Line]:
    """Sort lines by the field of that name; those that say nothing in it come last either way.

    Lines come in the order of drawing, which decides between equals; no column keeps it.
    """
    if not column:
        return lines

    def rank(line: Line) -> Any:
        value = getattr(line, column)
        return widgets.natural(value) if isinstance(value, str) else -1 if value != value else value

    def is_silent(line: Line) -> bool:
        value = getattr(line, column)
        return value == "" or value is False or value != value

    return sorted(sorted(lines, key=rank, reverse=descending), key=is_silent)


# By field, the title and what it means.
COLUMNS = {
    "kind": ("Kind", "What was drawn."),
    "caption": ("Caption", "Click a selected one, or press F2, to write."),
    "score": ("Score", "How sure the model is; compare only captions of one model."),
    "familiarity": (
        "Familiar",
        "Share of what the model knows that is as unlike the rest of it:\n"
        "below 0.01 do not trust what is named.",
    ),
    "agreement": (
        "Agrees",
        "How well the image bears out the caption, yours as well as the model's;\n"
        "empty where that cannot be told.",
    ),
    "author": ("By", "Who wrote the caption."),
    "reviewed": ("Reviewed", "✓ accepted by you; locked: no model may touch it."),
    "plane": ("Plane", "Where in the stack it lies."),
}
FIELDS = tuple(COLUMNS)
CAPTION, PLANE, FAMILIAR, AGREES = map(
    FIELDS.index, ("caption", "plane", "familiarity", "agreement")
)
WIDTHS = {
    **{"kind": 90, "score": 56, "familiarity": 68, "agreement": 62},
    **{"author": 118, "reviewed": 92, "plane": 64},
}


class RegionTableModel(widgets.RowModel):
    """Shows the records of a session, filtered and sorted; selections and editors live on by uid.

    The order is worked out anew at every change, in some hundredths of a second for 5,000 records.
    """

    edited = Signal(str, str)

    def __init__(self, parent: Any = None) -> None:
        sorting = "Click to sort, a third time to stop sorting."
        columns = [(title, f"{tip}\n{sorting}") for title, tip in COLUMNS.values()]
        super().__init__(columns, parent)
        self.filter = RegionFilter()
        self.session: Session | None = None
        self._axes = (0, 1)
        self._moved: frozenset[str] = frozenset()
        self._sorted = ("", False)
        # Lines by uid, each with the stamp of the record and the members it was made from.
        self._made: dict[str, tuple[object, Line]] = {}

    def show_session(
        self,
        session: Session | None,
        axes: tuple[int, int] = (0, 1),
        moved: Collection[str] = (),
    ) -> None:
        """Show the regions of a session; `axes` are those displayed as rows and columns.

        ``moved`` are those whose place and size may be others by now.
        """
        if session is not self.session or axes != self._axes:
            self._made.clear()
        self.session, self._axes, self._moved = session, axes, frozenset(moved)
        self.refresh()

    def refresh(self) -> None:
        """Bring the table in step with the session."""
        records = self.session.records if self.session else {}
        known, self._made = self._made, {}
        for uid in self.filter.keep(records.values()):
            record = records[uid]
            members = [records[member] for member in record.members if member in records]
            made = known.get(uid)
            moved = uid in self._moved
            stamp = [moved, record, *members]
            if made is None or made[0] != stamp:
                # Where it lies is read off its shapes, which takes long.
                made = stamp, line_of(record, self._where(record), outdated=moved)
            agreement = self.session.agreement(record) if self.session else math.nan
            if repr(agreement) != repr(made[1].agreement):
                made = made[0], made[1]._replace(agreement=agreement)
            self._made[uid] = made
        lines = [line for _, line in self._made.values()]
        lines = ordered(lines, self._sorted[0], descending=self._sorted[1])
        self.show_lines({line.uid: line for line in lines})

    def _where(self, record: Record) -> str:
        """Return where in a stack a record lies; of one in another view, along which axes, too."""
        assert self.session is not None
        plane = record_plane(record, self.session, self._axes)
        own = own_axes(record, self.session)
        if own is None:
            return "several"
        if plane is None or set(own) != set(self._axes):
            plane = record_plane(record, self.session, own)
            index = ", ".join(map(str, plane.index if plane else ()))
            return f"{index} (axes {own[0]}, {own[1]})"
        return ", ".join(map(str, plane.index))

    def uid(self, index: QModelIndex) -> str:
        """Return which record a cell belongs to."""
        return self.lines[index.row()].uid if 0 <= index.row() < len(self.lines) else ""

    def data(self, index: QModelIndex, role: int = _Role.DisplayRole) -> Any:
        """Return a cell."""
        line, name = self.lines[index.row()], FIELDS[index.column()]
        if role == _Role.DisplayRole:
            return line.text(name)
        if role == _Role.EditRole:
            return line.caption
        if role == _Role.ToolTipRole:
            return line.tip(name)
        is_there = bool(line.caption) and not line.wanted
        if role == _Role.FontRole and name == "caption" and not is_there:
            font = QFont()
            font.setItalic(True)
            return font
        return None

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Let captions be edited."""
        flags = super().flags(index)
        return flags | Qt.ItemFlag.ItemIsEditable if index.column() == CAPTION else flags

    def setData(self, index: QModelIndex, value: str, role: int = _Role.EditRole) -> bool:
        """Signal what a person wrote; it comes back by way of the session."""
        if role != _Role.EditRole or index.column() != CAPTION:
            return False
        if value != self.lines[index.row()].caption:
            self.edited.emit(self.uid(index), value)
        return True

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; by the order of drawing for none."""
        name = FIELDS[column] if 0 <= column < len(FIELDS) else ""
        self._sorted = (name, order == Qt.SortOrder.DescendingOrder)
        self.refresh()


class RegionTable(qt.QTableView):  # type: ignore[misc]
    """The table; what is done in it is handed to the actions by uid."""

    def __init__(self, model: RegionTableModel, actions: Any) -> None:
        super().__init__(wordWrap=False, showGrid=False, accessibleName="Regions")
        self.setTabKeyNavigation(False)
        self.regions, self._actions = model, actions
        self._selecting = False
        self._kept: list[str] = []
        self._scrolled = 0
        self.setModel(model)
        self.setSelectionBehavior(self.SelectionBehavior.SelectRows)
        self.setSelectionMode(self.SelectionMode.ExtendedSelection)
        self.setEditTriggers(self.EditTrigger.SelectedClicked)
        header, rows = self.horizontalHeader(), self.verticalHeader()
        for name, width in WIDTHS.items():
            self.setColumnWidth(FIELDS.index(name), width)
        header.setSectionResizeMode(CAPTION, header.ResizeMode.Stretch)
        header.setHighlightSections(False)
        if hasattr(header, "setSortIndicatorClearable"):
            header.setSortIndicatorClearable(True)
        header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.setSortingEnabled(True)
        rows.hide()
        rows.setSectionResizeMode(rows.ResizeMode.Fixed)
        rows.setDefaultSectionSize(self.fontMetrics().lineSpacing() + 6)
        model.modelAboutToBeReset.connect(self._keep)
        model.modelReset.connect(self._restore)
        self.selectionModel().selectionChanged.connect(self._on_selection)
        self.doubleClicked.connect(lambda index: actions.go_to(model.uid(index)))

    @property
    def editing(self) -> bool:
        """Whether somebody is typing in a cell."""
        return bool(self.state() == self.State.EditingState)

    def _selected_rows(self) -> list[int]:
        return sorted({index.row() for index in self.selectionModel().selectedRows()})

    def uids(self) -> list[str]:
        """Return what is selected, from top to bottom."""
        return [self.regions.lines[row].uid for row in self._selected_rows()]

    def select(self, uids: Iterable[str]) -> None:
        """Select these, as far as they are listed, without handing that on."""
        rows = sorted({self.regions.row(uid) for uid in uids} - {-1})
        if self._selected_rows() == rows:
            return
        # As few ranges as can be, of which Qt makes less work than of many cells.
        chosen, index = QItemSelection(), self.regions.index
        for first, last in widgets.runs(rows):
            chosen.select(index(first, 0), index(last, len(FIELDS) - 1))
        self._selecting = True
        self.selectionModel().select(chosen, _Select.ClearAndSelect | _Select.Rows)
        if rows and self.currentIndex().row() not in rows:
            self.selectionModel().setCurrentIndex(index(rows[0], CAPTION), _Select.NoUpdate)
            self.scrollTo(index(rows[0], CAPTION))
        self._selecting = False

    def step(self, by: int) -> str:
        """Select the region so many rows further on, and return its uid; the ends hold."""
        count, chosen = self.regions.rowCount(), self._selected_rows()
        if not count:
            return ""
        start = (chosen[-1 if by > 0 else 0] + by) if chosen else (0 if by > 0 else count - 1)
        row = min(max(start, 0), count - 1)
        self.setCurrentIndex(self.regions.index(row, CAPTION))
        return str(self.regions.lines[row].uid)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Judge with single keys; napari's own keys are not meant here."""
        actions, key, held = self._actions, QKeySequence(event.key()).toString(), event.modifiers()
        if event.matches(QKeySequence.StandardKey.Undo):
            actions.undo()
        elif event.matches(QKeySequence.StandardKey.Redo):
            actions.redo()
        elif key == "F2" and self.currentIndex().isValid():
            # Whichever column is the current one
            cell = self.currentIndex().siblingAtColumn(CAPTION)
            self.selectionModel().setCurrentIndex(cell, _Select.NoUpdate)
            self.edit(cell)
        elif held not in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier):
            super().keyPressEvent(event)
        elif key in TABLE_KEYS:
            getattr(actions, TABLE_KEYS[key])()
        elif key in tuple("123456789"):
            actions.choose(int(key) - 1)
        elif key in ("N", "P"):
            actions.go_to(self.step(1 if key == "N" else -1))
        elif key in ("Return", "Enter"):
            actions.go_to(self.regions.uid(self.currentIndex()))
        else:
            super().keyPressEvent(event)

    def _keep(self) -> None:
        self._kept, self._scrolled = self.uids(), self.verticalScrollBar().value()

    def _restore(self) -> None:
        with signals_blocked(self.verticalScrollBar()):
            self.verticalScrollBar().setValue(self._scrolled)
        self.select(self._kept)

    def _on_selection(self, *_: object) -> None:
        if not self._selecting:
            self._actions.select(self.uids())


class RegionList(qt.QWidget):  # type: ignore[misc]
    """A filter, the table and what can be done with the selected ones, in a dock of its own."""

    # It was shown or hidden.
    changed = Signal()

    def __init__(self, viewer: Viewer, actions: Any, current: Current) -> None:
        super().__init__()
        self._viewer, self._current = viewer, current
        self.regions = RegionTableModel(self)
        self.table = RegionTable(self.regions, actions)
        self.search = qt.QLineEdit(placeholderText="Find in captions", clearButtonEnabled=True)
        self.search.setToolTip("Lists the regions whose caption holds this, as you type.")
        self.pattern = qt.QCheckBox("Regular expression")
        self.pattern.setToolTip("For instance ^a (cat|dog)$ finds these two captions only.")
        tip = "Which regions to list. Low score: the lowest quarter of the model's captions."
        self.only = qt.QComboBox(toolTip=tip)
        self.only.addItems(list(ONLY))
        self.count = qt.QLabel()
        self.problem = widgets.Sentence()
        self.problem.hide()
        self._soon = widgets.throttled(self.refresh, WAIT_MS, self)
        room = qt.QWidget()
        widgets.stack(
            self,
            (self.search, self.pattern, self.only, self.count),
            self.problem,
            self.table,
            (*widgets.action_buttons(actions, ACTIONS).values(), room),
            wide=[self.search, self.table, room],
            margins=(6, 4, 6, 4),
        )
        self.search.textChanged.connect(self._on_filter)
        self.pattern.toggled.connect(self._on_filter)
        self.only.currentIndexChanged.connect(self._on_filter)
        self.table.itemDelegate().closeEditor.connect(lambda *_: self._soon.throttle())
        self.regions.edited.connect(actions.rewrite)
        self._guard = widgets.WheelGuard(self)

    def sizeHint(self) -> QSize:
        """Leave most of a small screen to the image."""
        return QSize(560, 210)

    def toggle(self) -> None:
        """Show the list below the image, or hide it."""
        dock = self.parent()
        if dock is None:
            dock = self._viewer.window.add_dock_widget(
                self, name=NAME, area="bottom", add_vertical_stretch=False
            )
            # A list whose dock was closed before is hidden by itself.
            self.show()
        else:
            dock.setVisible(not dock.isVisible())
        if not dock.isHidden():
            self.table.setFocus()

    def refresh_soon(self) -> None:
        """Show what has changed, many changes together."""
        if self.isVisible():
            self._soon.throttle()

    def refresh(self) -> None:
        """Bring the table up to date, but never under the hands of somebody who types."""
        if self.table.editing:
            return
        self._soon.cancel()
        current, session, shapes = self._current(), None, []
        if current is not None:
            session, shapes, ndim = current.session, current.selected(), current.image.ndim
            plane = shown_plane(current.viewer, current.image)
            axes = plane.axes if plane else (ndim - 2, ndim - 1)
            self.regions.show_session(session, axes, current.describer.moved())
        else:
            self.regions.show_session(None)
        lines = self.regions.lines
        self.table.setColumnHidden(PLANE, not any(line.plane for line in lines))
        is_known = any(line.familiarity == line.familiarity for line in lines)
        self.table.setColumnHidden(FAMILIAR, not is_known)
        is_compared = any(line.agreement == line.agreement for line in self.regions.lines)
        self.table.setColumnHidden(AGREES, not is_compared)
        shown, total = len(self.regions.lines), len(session.records) if session else 0
        regions = counted(total, "region")
        self.count.setText(regions if shown == total else f"{shown} of {regions}")
        if set(self.shapes(self.table.uids())) != set(shapes):
            # Several may make up a group.
            group = session.find_group(shapes) if session and len(shapes) > 1 else None
            listed = group is not None and self.regions.row(group.uid) >= 0
            self.table.select([group.uid] if group and listed else shapes)

    def shapes(self, uids: Iterable[str]) -> list[str]:
        """Return the shapes that make up these records, as they are selected on the canvas."""
        current = self._current()
        records = current.session.records if current is not None else {}
        chosen = [records[uid] for uid in uids if uid in records]
        members = [r.members or ((r.uid,) if r.seen else ()) for r in chosen]
        return list(dict.fromkeys(uid for shapes in members for uid in shapes))

    def selected(self) -> list[str]:
        """Return what is selected in the list, as long as the canvas does not say otherwise."""
        current = self._current()
        if current is None or not self.isVisible():
            return []
        uids = self.table.uids()
        return uids if set(self.shapes(uids)) == set(current.selected()) else []

    def step(self, by: int) -> str:
        """Select the region so many rows further on, and return its uid."""
        self.refresh()
        return self.table.step(by)

    def let_go(self) -> None:
        """Take the list away for good."""
        HeldKeys.leave(self)
        self.blockSignals(True)
        if self.parent() is not None:
            # A window that was closed by a script has let go of its widgets.
            with suppress(AttributeError):
                self._viewer.window.remove_dock_widget(self)
        self.close()
        self.deleteLater()

    def showEvent(self, event: QShowEvent) -> None:
        """Catch up with what happened while it was hidden."""
        super().showEvent(event)
        HeldKeys.follow(self)
        self.refresh()
        self.changed.emit()

    def hideEvent(self, event: QHideEvent) -> None:
        """Signal it."""
        super().hideEvent(event)
        self.changed.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Clear the filter with Escape."""
        if event.key() == Qt.Key.Key_Escape and self.search.text():
            self.search.clear()
        elif is_typing(self):
            event.accept()
        else:
            super().keyPressEvent(event)

    def _on_filter(self, *_: object) -> None:
        """Filter by what is typed; a half-typed expression leaves the list as it is."""
        pattern, only, problem = self.pattern.isChecked(), self.only.currentText(), ""
        try:
            self.regions.filter = RegionFilter(self.search.text(), pattern=pattern, only=only)
        except FilterError as error:
            problem = str(error)
        self.problem.setText(problem)
        self.problem.setVisible(bool(problem))
        self.refresh()
