"""All regions of an image as a Qt table; rows are found by uid and never remembered."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QFont

from napari_patchioner.viewer.canvas.geometry import own_axes, record_plane

from .region_filter import Line, RegionFilter, line_of, ordered

if TYPE_CHECKING:
    from napari_patchioner.viewer.session.record import Record
    from napari_patchioner.viewer.session.session import Session


class _Column(NamedTuple):
    title: str
    field: str
    tip: str


COLUMNS = (
    _Column("Kind", "kind", "What was drawn."),
    _Column("Caption", "caption", "Click a selected one, or press F2, to write."),
    _Column("Score", "score", "How sure the model is; compare only captions of one model."),
    _Column("By", "author", "Who wrote the caption."),
    _Column("Reviewed", "reviewed", "✓ accepted by you; locked: no model may touch it."),
    _Column("Plane", "plane", "Where in the stack it lies."),
)
CAPTION = 1
_NOWHERE = QModelIndex()
_Role = Qt.ItemDataRole


class RegionTableModel(QAbstractTableModel):
    """Shows the records of a session, filtered and sorted.

    The order is worked out anew from the session whenever something has changed, which for 5,000
    records takes some hundredths of a second; selections and editors live on by uid.
    """

    edited = Signal(str, str)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.filter = RegionFilter()
        self.total = 0
        self.lines: list[Line] = []
        self._session: Session | None = None
        self._axes = (0, 1)
        self._rows: dict[str, int] = {}
        self._sorted = ("", False)
        # Lines by uid, each with the stamp of the record and the members it was made from.
        self._made: dict[str, tuple[object, Line]] = {}

    # what is shown

    def show_session(self, session: Session | None, axes: tuple[int, int] = (0, 1)) -> None:
        """Show the regions of a session; `axes` are those displayed as rows and columns."""
        if session is not self._session or axes != self._axes:
            self._made.clear()
        self._session, self._axes = session, axes
        self.refresh()

    def refresh(self) -> None:
        """Bring the table in step with the session."""
        lines = self._wanted()
        if lines == self.lines:
            return
        pairs = list(zip(lines, self.lines, strict=False))
        same = len(lines) == len(self.lines) and all(one.uid == two.uid for one, two in pairs)
        changed = [row for row, (one, two) in enumerate(pairs) if one is not two and one != two]
        if not same:
            self.beginResetModel()
        self.lines = lines
        self._rows = {line.uid: row for row, line in enumerate(lines)}
        if same:
            self._tell_of(changed)
        else:
            self.endResetModel()

    def uids(self) -> list[str]:
        """Return what is listed, from top to bottom."""
        return [line.uid for line in self.lines]

    def row(self, uid: str) -> int | None:
        """Return where a record is listed right now."""
        return self._rows.get(uid)

    def uid(self, index: QModelIndex) -> str:
        """Return which record a cell belongs to."""
        return self.lines[index.row()].uid if 0 <= index.row() < len(self.lines) else ""

    @property
    def is_stack(self) -> bool:
        """Whether any region lies in a stack."""
        return any(line.plane for line in self.lines)

    def _wanted(self) -> list[Line]:
        records = self._session.records if self._session else {}
        self.total = len(records)
        kept = self.filter.keep(records.values())
        made, self._made = self._made, {}
        lines = [self._line(records[uid], made.get(uid)) for uid in kept]
        return ordered(lines, self._sorted[0], descending=self._sorted[1])

    def _line(self, record: Record, known: tuple[object, Line] | None) -> Line:
        """Return a record in words; where it lies is read off its shapes, which takes long."""
        records = self._session.records
        stamp = (record.stamp, *(records[uid].stamp for uid in record.members if uid in records))
        if known is None or known[0] != stamp:
            known = stamp, line_of(record, self._where(record))
        self._made[record.uid] = known
        return known[1]

    def _where(self, record: Record) -> str:
        """Return where in a stack a record lies; of one in another view, along which axes, too."""
        plane = record_plane(record, self._session, self._axes)
        own = own_axes(record, self._session)
        if own is None:
            return "several"
        if plane is None or set(own) != set(self._axes):
            plane = record_plane(record, self._session, own)
            return f"{', '.join(map(str, plane.index))} (axes {own[0]}, {own[1]})"
        return ", ".join(map(str, plane.index))

    def _tell_of(self, rows: list[int]) -> None:
        """Tell of changed rows, those that follow each other at once."""
        for _, run in groupby(enumerate(rows), lambda pair: pair[1] - pair[0]):
            first, *_, last = [row for _, row in run] * 2
            self.dataChanged.emit(self.index(first, 0), self.index(last, len(COLUMNS) - 1))

    # Qt's side

    def rowCount(self, parent: QModelIndex = _NOWHERE) -> int:
        """Return the number of regions listed."""
        return 0 if parent.isValid() else len(self.lines)

    def columnCount(self, parent: QModelIndex = _NOWHERE) -> int:
        """Return the number of columns."""
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:
        """Return the titles of the columns and what they mean."""
        if orientation == Qt.Orientation.Horizontal:
            if role == _Role.DisplayRole:
                return COLUMNS[section].title
            if role == _Role.ToolTipRole:
                return f"{COLUMNS[section].tip}\nClick to sort, a third time to stop sorting."
        return None

    def data(self, index: QModelIndex, role: int = _Role.DisplayRole) -> Any:
        """Return a cell."""
        line, field = self.lines[index.row()], COLUMNS[index.column()].field
        if role == _Role.DisplayRole:
            return cell_text(line, field)
        if role == _Role.EditRole:
            return line.caption
        if role == _Role.ToolTipRole:
            return cell_tip(line, field)
        if role == _Role.FontRole and field == "caption" and not line.caption:
            return _italic()
        return None

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Let captions be edited."""
        if not index.isValid():
            return Qt.ItemFlag.NoItemFlags
        flags = Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEnabled
        return flags | Qt.ItemFlag.ItemIsEditable if index.column() == CAPTION else flags

    def setData(self, index: QModelIndex, value: str, role: int = _Role.EditRole) -> bool:
        """Tell what a person wrote; it comes back by way of the session."""
        if role != _Role.EditRole or index.column() != CAPTION:
            return False
        if value != self.lines[index.row()].caption:
            self.edited.emit(self.uid(index), value)
        return True

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; by the order of drawing for none."""
        field = COLUMNS[column].field if 0 <= column < len(COLUMNS) else ""
        self._sorted = (field, order == Qt.SortOrder.DescendingOrder)
        self.refresh()


def cell_text(line: Line, field: str) -> str:
    """Return what a cell says."""
    if field == "caption":
        # A caption takes one line of the table, however long it is.
        nothing = "waiting for the model" if line.owed else line.problem or "no caption"
        return line.caption or nothing
    if field == "score":
        return f"{line.score:.2f}" if line.score == line.score else ""
    if field == "reviewed":
        return " ".join(word for word in ("✓" * line.reviewed, "locked" * line.locked) if word)
    return getattr(line, field)


def cell_tip(line: Line, field: str) -> str:
    """Return what a cell has to add."""
    if field == "author" and line.author:
        return f"{line.author} ({line.model})" if line.model else line.author
    return line.caption or line.problem if field == "caption" else ""


def _italic() -> QFont:
    font = QFont()
    font.setItalic(True)
    return font
