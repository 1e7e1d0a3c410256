"""Which regions of an image to list, in which words and order, and as a Qt table."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QFont

from napari_patchioner.viewer.layers.geometry import own_axes, record_plane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari_patchioner.viewer.session.record import Record
    from napari_patchioner.viewer.session.session import Session

Only = Literal["all", "empty", "person", "model", "low", "open", "locked"]
ONLY: dict[str, Only] = {
    "All regions": "all",
    "Without a caption": "empty",
    "Written by a person": "person",
    "Written by the model": "model",
    "Low score": "low",
    "Not reviewed": "open",
    "Locked": "locked",
}
# A model's score is comparable only with its own: the lowest quarter is what is called low.
LOW_SHARE = 0.25
KINDS = {
    "rectangle": "box",
    "ellipse": "ellipse",
    "polygon": "polygon",
    "path": "trace",
    "line": "line",
}
AUTHORS = {"": "", "model": "model", "edited": "you, from a draft", "human": "you"}


class FilterError(ValueError):
    """What was typed is no regular expression; the message says where it goes wrong."""


@dataclass(frozen=True)
class RegionFilter:
    """Which regions to list: those whose caption holds a text or matches a regular expression.

    Upper and lower case are the same. Raises `FilterError` where the pattern is none.

    >>> from napari_patchioner.viewer.session.record import Record
    >>> RegionFilter("CAT").keep([Record("a", caption="a cat"), Record("b")])
    ['a']
    """

    text: str = ""
    pattern: bool = False
    only: Only = "all"
    _search: Callable[[str], object] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        wanted = self.text.casefold()
        search: Callable[[str], object] = lambda caption: wanted in caption.casefold()  # noqa: E731
        if self.pattern:
            try:
                search = re.compile(self.text, re.IGNORECASE).search
            except re.error as error:
                where = "" if error.pos is None else f" at character {error.pos + 1}"
                raise FilterError(f"No regular expression: {error.msg}{where}.") from error
        object.__setattr__(self, "_search", search)

    def keep(self, records: Iterable[Record]) -> list[str]:
        """Return the uids of the records to list, in the order given."""
        records = list(records)
        bar = low_bar(records) if self.only == "low" else math.nan
        return [record.uid for record in records if self._is_kept(record, bar)]

    def _is_kept(self, record: Record, bar: float) -> bool:
        if self.text and not self._search(record.caption):
            return False
        if self.only == "low":
            return record.source == "model" and record.score <= bar
        return self.only == "all" or _TESTS[self.only](record)


_TESTS: dict[str, Callable[[Record], bool]] = {
    "empty": lambda record: not record.caption,
    "person": lambda record: record.source in ("human", "edited"),
    "model": lambda record: record.source == "model",
    "open": lambda record: not record.reviewed,
    "locked": lambda record: record.locked,
}


def low_bar(records: Iterable[Record]) -> float:
    """Return the score up to which the lowest quarter of the model's captions lies.

    NaN, which no score is below, where the model has written none.
    """
    scores = sorted(r.score for r in records if r.source == "model" and r.score == r.score)
    return scores[math.ceil(LOW_SHARE * len(scores)) - 1] if scores else math.nan


class Line(NamedTuple):
    """One region in words, as a table shows it."""

    uid: str
    kind: str
    caption: str
    score: float
    author: str
    reviewed: bool
    locked: bool
    plane: str
    model: str
    problem: str
    owed: bool


def line_of(record: Record, plane: str = "") -> Line:
    """Describe a record: a shape, several together, or a whole image; `plane` is for stacks."""
    if record.kind == "group":
        kind = f"{len(record.members)} together"
    elif record.kind == "image":
        kind = "whole image"
    else:
        shape_type = record.seen.shape_type if record.seen else "region"
        kind = KINDS.get(shape_type, shape_type)
    return Line(
        record.uid,
        kind,
        record.caption,
        record.score,
        AUTHORS.get(record.source, record.source),
        record.reviewed,
        record.locked,
        plane,
        record.model,
        record.problem,
        record.owed,
    )


def ordered(lines: list[Line], column: str, *, descending: bool = False) -> list[Line]:
    """Sort lines by the field of that name; those that say nothing in it come last either way.

    Lines come in the order of drawing, which decides between equals; no column keeps it.
    """
    if not column:
        return lines

    def is_silent(line: Line) -> bool:
        value = getattr(line, column)
        return value == "" or value is False or value != value

    def rank(line: Line) -> tuple[object, ...]:
        value = getattr(line, column)
        if not isinstance(value, str):
            return (value,)
        # Numbers within texts by their size: "z 2" before "z 10".
        parts = re.split(r"(\d+)", value.casefold())
        return tuple((int(part), "") if part.isdigit() else (-1, part) for part in parts)

    spoken = [line for line in lines if not is_silent(line)]
    return sorted(spoken, key=rank, reverse=descending) + list(filter(is_silent, lines))


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


class RegionTableModel(QAbstractTableModel):  # type: ignore[misc]
    """Shows the records of a session, filtered and sorted; rows are found by uid, not remembered.

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
        same = len(lines) == len(self.lines) and all(new.uid == old.uid for new, old in pairs)
        changed = [row for row, (new, old) in enumerate(pairs) if new is not old and new != old]
        if not same:
            self.beginResetModel()
        self.lines = lines
        self._rows = {line.uid: row for row, line in enumerate(lines)}
        if not same:
            self.endResetModel()
            return
        # Rows that follow each other are announced at once.
        for _, run in groupby(enumerate(changed), lambda pair: pair[1] - pair[0]):
            rows = [row for _, row in run]
            self.dataChanged.emit(self.index(rows[0], 0), self.index(rows[-1], len(COLUMNS) - 1))

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
        self.total = 0
        if self._session is None:
            return []
        records = self._session.records
        self.total = len(records)
        known, self._made = self._made, {}
        lines = []
        for uid in self.filter.keep(records.values()):
            record = records[uid]
            members = [records[member] for member in record.members if member in records]
            stamp = (record.stamp, *(member.stamp for member in members))
            made = known.get(uid)
            if made is None or made[0] != stamp:
                # Where it lies is read off its shapes, which takes long.
                made = stamp, line_of(record, self._where(record, self._session))
            self._made[uid] = made
            lines.append(made[1])
        return ordered(lines, self._sorted[0], descending=self._sorted[1])

    def _where(self, record: Record, session: Session) -> str:
        """Return where in a stack a record lies; of one in another view, along which axes, too."""
        plane = record_plane(record, session, self._axes)
        own = own_axes(record, session)
        if own is None:
            return "several"
        if plane is None or set(own) != set(self._axes):
            plane = record_plane(record, session, own)
            index = ", ".join(map(str, plane.index if plane else ()))
            return f"{index} (axes {own[0]}, {own[1]})"
        return ", ".join(map(str, plane.index))

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
        line, name = self.lines[index.row()], COLUMNS[index.column()].field
        if role == _Role.DisplayRole:
            return cell_text(line, name)
        if role == _Role.EditRole:
            return line.caption
        if role == _Role.ToolTipRole:
            return cell_tip(line, name)
        if role == _Role.FontRole and name == "caption" and not line.caption:
            font = QFont()
            font.setItalic(True)
            return font
        return None

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Let captions be edited."""
        if not index.isValid():
            return Qt.ItemFlag.NoItemFlags
        flags = Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEnabled
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
        name = COLUMNS[column].field if 0 <= column < len(COLUMNS) else ""
        self._sorted = (name, order == Qt.SortOrder.DescendingOrder)
        self.refresh()


def cell_text(line: Line, name: str) -> str:
    """Return what a cell says."""
    if name == "caption":
        # A caption takes one line of the table, however long it is.
        nothing = "waiting for the model" if line.owed else line.problem or "no caption"
        return line.caption or nothing
    if name == "score":
        return f"{line.score:.2f}" if line.score == line.score else ""
    if name == "reviewed":
        return " ".join(word for word in ("✓" * line.reviewed, "locked" * line.locked) if word)
    return str(getattr(line, name))


def cell_tip(line: Line, name: str) -> str:
    """Return what a cell has to add."""
    if name == "author" and line.author:
        return f"{line.author} ({line.model})" if line.model else line.author
    return line.caption or line.problem if name == "caption" else ""
