"""Plain widgets, none of which knows a region or a model: rows, texts, menus, tables, a dock."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from napari.utils import progress
from qtpy import QtWidgets as qt
from qtpy.QtCore import QAbstractTableModel, QEvent, QModelIndex, QObject, Qt, QTimer, Signal
from qtpy.QtGui import (
    QCloseEvent,
    QKeyEvent,
    QKeySequence,
    QResizeEvent,
    QShowEvent,
    QTextLayout,
)
from superqt.utils import QSignalDebouncer, QSignalThrottler

from .held_keys import HeldKeys, is_typing

if TYPE_CHECKING:
    import napari

    from napari_patchioner.viewer.workers.job import JobProgress

POLL_MS = 80
# What is done sooner is not announced in napari: its turning wheel has the whole window composed
# anew thirty times a second, which takes all cores where graphics are drawn by software.
_SHORT_S = 1.5
ACTIVITY_STEP = 10
START = (
    "Let the model read the image; drawing is possible meanwhile (pressed again, it\n"
    "reads the image anew and rewrites the model's captions, never yours)."
)
CANCEL = "Stop this; what was downloaded is kept, what you have drawn is too."
# A position where a line may be broken, which nobody sees.
_BREAK = "\u200b"
# Pixels in which a word takes one line
_WIDE = 10_000
# Where Qt's layouts begin another line
_NEW_LINE = "\u2028"
_LONG, _PIECE = re.compile(r"\S{16,}"), re.compile(r"\S{8}(?=\S)")
_NUMBER = re.compile(r"(\d+)")
# Letters of a name within a sentence
_BRIEF = 40
_NOWHERE = QModelIndex()


def stack(
    parent: qt.QWidget,
    *rows: qt.QWidget | tuple[qt.QWidget, ...],
    wide: Collection[qt.QWidget] = (),
    margins: tuple[int, int, int, int] = (0, 0, 0, 0),
    spacing: int = 4,
) -> qt.QVBoxLayout:
    """Lay out widgets in rows, those of a tuple side by side; `wide` ones take the room left."""
    layout = qt.QVBoxLayout(parent)
    layout.setContentsMargins(*margins)
    layout.setSpacing(spacing)
    for row in rows:
        if not isinstance(row, tuple):
            layout.addWidget(row, int(row in wide))
            continue
        line = qt.QHBoxLayout()
        line.setSpacing(spacing)
        for widget in row:
            line.addWidget(widget, int(widget in wide))
        layout.addLayout(line)
    return layout


def button(
    title: str, tip: str, act: Callable[[], object] | None = None, *, checkable: bool = False
) -> qt.QPushButton:
    """Return a button that does not take the keyboard away from the canvas."""
    policy = Qt.FocusPolicy.NoFocus
    made = qt.QPushButton(title, toolTip=tip, checkable=checkable, focusPolicy=policy)
    if act is not None:
        made.clicked.connect(lambda *_: act())
    return made


def action_buttons(
    actions: object, table: Iterable[tuple[str, str, str]]
) -> dict[str, qt.QPushButton]:
    """Return buttons by the name of the action that each is for, of (title, name, tip)."""
    return {name: button(title, tip, getattr(actions, name)) for title, name, tip in table}


def throttled(
    act: Callable[[], None], wait_ms: int, parent: QObject, *, rest: bool = False
) -> QSignalThrottler | QSignalDebouncer:
    """Return what calls `act` some time after its `throttle` was called, or it came to `rest`."""
    kind = QSignalDebouncer if rest else QSignalThrottler
    throttler = kind(kind.EmissionPolicy.Trailing, parent)
    throttler.setTimeout(wait_ms)
    throttler.triggered.connect(act)
    return throttler


class MenuButton(qt.QToolButton):  # type: ignore[misc]
    """A button that opens a menu, and takes no keyboard away from the canvas."""

    def __init__(self, title: str, tip: str) -> None:
        super().__init__(text=title, toolTip=tip, focusPolicy=Qt.FocusPolicy.NoFocus)
        # Room for the arrow beside the text
        self.setStyleSheet("QToolButton { padding: 2px 14px 2px 4px; }")
        self.setPopupMode(self.ToolButtonPopupMode.InstantPopup)
        self.setMenu(qt.QMenu(self, toolTipsVisible=True))

    def add(
        self, title: str, act: Callable[..., object], tip: str = "", *, on: bool | None = None
    ) -> Any:
        """Add a line to the menu; where `on` says whether it is ticked, `act` is given that."""
        action = self.menu().addAction(title)
        if tip:
            action.setToolTip(tip)
        if on is None:
            action.triggered.connect(lambda *_: act())
        else:
            action.setCheckable(True)
            action.setChecked(on)
            action.toggled.connect(act)
        return action


def wrapped(tip: str = "") -> qt.QLabel:
    """Return a text to copy from; it asks for no width: a long word would set the dock's."""
    flags = Qt.TextInteractionFlag.TextSelectableByMouse
    return qt.QLabel(
        wordWrap=True,
        minimumWidth=1,
        toolTip=tip,
        textInteractionFlags=flags,
        textFormat=Qt.TextFormat.PlainText,
    )


class Sentence(qt.QLabel):  # type: ignore[misc]
    """A text of at least so many lines that fits into any width: long names are broken.

    Where it is ``fixed`` it has these lines and no more, so that nothing below ever moves; what
    does not fit is in the tooltip.
    """

    def __init__(self, lines: int = 0, *, fixed: bool = False, tip: str = "") -> None:
        super().__init__(wordWrap=True, minimumWidth=1, textFormat=Qt.TextFormat.PlainText)
        self._text, self._tip, self._lines, self._fixed = "", tip, lines, fixed
        self.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        if fixed:
            # Qt would indent it from above as well.
            self.setIndent(0)
            self.setStyleSheet("padding: 0px 5px;")
        self.set_lines(lines)

    def set_lines(self, lines: int) -> None:
        """Take the room of so many lines."""
        self._lines = lines
        self.setMinimumHeight(0)
        # A theme may add a frame; nothing but a text tells how much.
        super().setText("x")
        height = lines * max(super().heightForWidth(_WIDE), self.fontMetrics().lineSpacing())
        self.setMinimumHeight(height)
        if self._fixed:
            self.setMaximumHeight(height)
        self._show()

    def setText(self, text: str) -> None:
        """Show a text, also as the tooltip where part of it may not be readable."""
        if text != self._text:
            self._text = text
            self._show()

    def setToolTip(self, tip: str) -> None:
        """Show a tip, below the text where part of that may not be readable."""
        self._tip = tip
        self._show()

    def text(self) -> str:
        """Return the text as it was given."""
        return self._text

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Fit into the new width."""
        super().resizeEvent(event)
        self._show()

    def showEvent(self, event: QShowEvent) -> None:
        """Fit into the width that there is."""
        super().showEvent(event)
        self._show()

    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme's font."""
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self.set_lines(self._lines)

    def _show(self) -> None:
        broken = _LONG.sub(lambda word: _PIECE.sub(rf"\g<0>{_BREAK}", word.group()), self._text)
        shown = self._cut(broken) if self._fixed and self.isVisible() else broken
        is_whole = shown == self._text
        super().setToolTip("\n".join(filter(None, ["" if is_whole else self._text, self._tip])))
        if shown != super().text():
            super().setText(shown)

    def _cut(self, text: str) -> str:
        """Return a text with as much of it as its lines take."""
        width, start = self.contentsRect().width() - 1, 0
        layout = QTextLayout(text.replace("\n", _NEW_LINE), self.font())
        layout.beginLayout()
        for number in range(self._lines + 1):
            line = layout.createLine()
            if not line.isValid():
                break
            line.setLineWidth(width)
            if number == self._lines - 1:
                start = line.textStart()
            if number == self._lines:
                rest = text[start:].replace("\n", " ")
                elided = self.fontMetrics().elidedText(rest, Qt.TextElideMode.ElideRight, width)
                text = f"{text[:start]}{elided}"
        layout.endLayout()
        return text


def brief(name: str) -> str:
    """Return a name, which may be a long sentence, cut to its beginning where it would fill a dock.

    >>> brief("red cell"), brief("a cell " * 80)
    ('red cell', 'a cell a cell a cell a cell a cell a ce…')
    """
    return name if len(name) <= _BRIEF else f"{name[: _BRIEF - 1].rstrip()}…"


def natural(text: str) -> tuple[str | int, ...]:
    """Return a key that sorts texts as people count, whatever their case: cell1, Cell9, cell10."""
    # Every second part is a number: texts are only ever compared with texts.
    parts = _NUMBER.split(text.casefold())
    return tuple(int(part) if index % 2 else part for index, part in enumerate(parts))


def runs(rows: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last of rows that follow each other."""
    for _, run in groupby(enumerate(sorted(rows)), lambda pair: pair[1] - pair[0]):
        block = [row for _, row in run]
        yield block[0], block[-1]


class RowModel(QAbstractTableModel):  # type: ignore[misc]
    """Rows of a table that are found by name; what has changed is announced, and no more."""

    def __init__(self, columns: Sequence[tuple[str, str]], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.lines: list[Any] = []
        # The titles and what they mean.
        self._columns = columns
        self._rows: dict[str, int] = {}

    def show_lines(self, lines: Mapping[str, Any]) -> bool:
        """Show these; return whether that is another table, and not the same one grown longer."""
        before, count = self.lines, len(self.lines)
        grown = list(lines)[:count] == list(self._rows) and (count > 0 or not lines)
        if not grown:
            self.beginResetModel()
        elif len(lines) > count:
            self.beginInsertRows(_NOWHERE, count, len(lines) - 1)
        self.lines = list(lines.values())
        self._rows = {name: row for row, name in enumerate(lines)}
        if not grown:
            self.endResetModel()
            return True
        if len(lines) > count:
            self.endInsertRows()
        pairs = enumerate(zip(self.lines, before, strict=False))
        self.redraw(row for row, (new, old) in pairs if new is not old and new != old)
        return False

    def redraw(self, rows: Iterable[int]) -> None:
        """Announce that these rows are other ones."""
        for first, last in runs(rows):
            end = self.index(last, len(self._columns) - 1)
            self.dataChanged.emit(self.index(first, 0), end)

    def row(self, name: str) -> int:
        """Return where something is listed right now; -1 where it is not."""
        return self._rows.get(name, -1)

    def rowCount(self, parent: QModelIndex = _NOWHERE) -> int:
        """Return the number of rows."""
        return 0 if parent.isValid() else len(self.lines)

    def columnCount(self, parent: QModelIndex = _NOWHERE) -> int:
        """Return the number of columns."""
        return 0 if parent.isValid() else len(self._columns)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:
        """Return the titles of the columns and what they mean."""
        roles = (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole)
        if orientation == Qt.Orientation.Horizontal and role in roles:
            return self._columns[section][roles.index(role)]
        return None


class ProgressRow(qt.QWidget):  # type: ignore[misc]
    """A button that starts and cancels, and a bar beside it; napari's activity dock follows.

    The worker only notes down how far it is. Reading that from a timer keeps the worker
    away from Qt, and a fast worker from flooding the window with events.
    """

    start = Signal()
    cancel = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.button = qt.QPushButton(minimumWidth=84)
        self.button.clicked.connect(
            lambda *_: (self.start if self._progress is None else self.cancel).emit()
        )
        self.bar = qt.QProgressBar()
        self._progress: JobProgress | None = None
        self._activity: progress | None = None
        self._since = 0.0
        self._timer = QTimer(self, interval=POLL_MS)
        self._timer.timeout.connect(self._poll)
        stack(self, (self.button, self.bar), wide=[self.bar])
        self.follow(None)

    def follow(self, source: JobProgress | None) -> None:
        """Show this progress from now on; None where nothing is going on."""
        if source is self._progress and source is not None:
            return
        if self._activity is not None:
            # napari works off all events there, in which what goes on here could come to its end.
            QTimer.singleShot(0, self._activity.close)
        self._progress, self._activity = source, None
        self._since = time.monotonic()
        self.bar.setValue(0)
        self.bar.setFormat("")
        self.bar.setToolTip("")
        if source is None:
            self.button.setText("Start")
            self.button.setToolTip(START)
            self._timer.stop()
        else:
            self.button.setText("Cancel")
            self.button.setToolTip(CANCEL)
            self._timer.start()

    def set_ready(self, ready: bool) -> None:
        """Allow or forbid starting."""
        self.button.setEnabled(ready or self._progress is not None)

    def _poll(self) -> None:
        source = self._progress
        if source is None:
            return
        message, value = source.message, round(100 * source.fraction)
        elide = self.bar.fontMetrics().elidedText
        self.bar.setValue(value)
        self.bar.setToolTip(message)
        self.bar.setFormat(elide(message, Qt.TextElideMode.ElideRight, self.bar.width() - 8))
        # napari's own bar works off all events at every change, so it is updated seldom, and last.
        if self._activity is None and time.monotonic() < self._since + _SHORT_S:
            return
        if self._activity is None:
            # tqdm would also draw its bar on the terminal.
            activity = progress(total=100, desc="Patch-ioner", file=io.StringIO())
            if self._progress is source:
                self._activity = activity
            else:
                activity.close()
        elif value >= self._activity.n + ACTIVITY_STEP:
            self._activity.update(value - self._activity.n)


class WheelGuard(QObject):  # type: ignore[misc]
    """Keeps the wheel from lists, numbers and sliders in a widget that do not have the focus.

    What is around them scrolls instead. What the widget `root` comes to hold later is guarded, too.
    """

    def __init__(self, root: qt.QWidget) -> None:
        super().__init__(root)
        self._root = root
        root.installEventFilter(self)
        self._guard()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Pass the wheel on to what is around."""
        if watched is self._root:
            if event.type() in (QEvent.Type.LayoutRequest, QEvent.Type.Show):
                self._guard()
        elif event.type() == QEvent.Type.Wheel and not watched.hasFocus():
            around = watched.parentWidget()
            while around is not None and not isinstance(around, qt.QAbstractScrollArea):
                around = around.parentWidget()
            event.setAccepted(around is not None)
            if around is not None:
                qt.QApplication.sendEvent(around.viewport(), event.clone())
            return True
        return False

    def _guard(self) -> None:
        """Guard what there is by now; who is guarded already is not guarded twice."""
        for kind in (qt.QComboBox, qt.QAbstractSpinBox, qt.QSlider):
            for widget in self._root.findChildren(kind):
                if widget.focusPolicy() == Qt.FocusPolicy.WheelFocus:
                    widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
                widget.installEventFilter(self)


class DockBase(qt.QScrollArea):  # type: ignore[misc]
    """Scrolls up and down only; lets go of the viewer when its dock or its window is closed."""

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        # napari hands plugins a proxy whose layers are never the same object twice, and that
        # warns on the screen of what has no public word.
        self.viewer: napari.Viewer = getattr(viewer, "__wrapped__", viewer)
        self._docked = self.closed = False
        # Whether what was typed in has gone, so that the rest of it is for nobody
        self._is_orphaned = False
        self._guard: WheelGuard | None = None
        self.setWidgetResizable(True)
        self.setFrameShape(qt.QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def shut_down(self) -> None:
        """Stop all work and let go of the viewer; may be called more than once."""
        if not self.closed:
            self.closed = True
            HeldKeys.leave(self)
            self.let_go()

    def let_go(self) -> None:
        """Stop all work and let go of the viewer, for good."""

    def may_close(self) -> bool:
        """Whether the window may be closed; a person may be asked."""
        return True

    def save_now(self) -> None:
        """Save the work at hand, because a person says so."""

    def event(self, event: QEvent) -> bool:
        """Stop when the dock is closed: napari then takes the widget out of its parent.

        In the dock, Ctrl+S saves what is written in it; on the canvas it is napari's.
        """
        if isinstance(event, QKeyEvent) and event.matches(QKeySequence.StandardKey.Save):
            if event.type() == QEvent.Type.KeyPress:
                self.save_now()
            event.accept()
            return True
        if event.type() in (QEvent.Type.FocusOut, QEvent.Type.MouseButtonPress):
            self._is_orphaned = False
        if event.type() == QEvent.Type.ParentChange:
            if self._docked and self.parent() is None:
                self.shut_down()
            self._docked = self.parent() is not None
        return bool(super().event(event))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Keep from the canvas what is typed in fields, and what their going left over."""
        if self._is_orphaned and self.window().focusWidget() is self:
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Escape):
                self.clearFocus()
            event.accept()
        elif is_typing(self):
            event.accept()
        else:
            super().keyPressEvent(event)

    def focusNextPrevChild(self, forward: bool) -> bool:
        """Let no other field take what is typed when the one at hand goes away."""
        at_hand = self.window().focusWidget()
        if at_hand is None or at_hand is self or not self.isAncestorOf(at_hand):
            return bool(super().focusNextPrevChild(forward))
        # Qt asks as well when it is disabled or hidden.
        if (at_hand.isEnabled() and at_hand.isVisible()) or not self.isVisible():
            return bool(super().focusNextPrevChild(forward))
        self._is_orphaned = True
        self.setFocus()
        return True

    def showEvent(self, event: QShowEvent) -> None:
        """Watch for the end of the window, and be wide enough to scroll only up and down."""
        self.window().installEventFilter(self)
        HeldKeys.follow(self)
        if self._guard is None:
            self._guard = WheelGuard(self.widget())
        self._widen()
        super().showEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Stay wide enough once the bar is there."""
        super().resizeEvent(event)
        self._widen()

    def _widen(self) -> None:
        # A theme may draw the bar wider than it asks to be.
        taken = self.width() - self.viewport().width()
        bar = max(self.verticalScrollBar().sizeHint().width(), taken)
        wanted = self.widget().minimumSizeHint().width() + bar
        if wanted > self.minimumWidth():
            self.setMinimumWidth(wanted)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Stop with the window, while there still are widgets to stop with."""
        # Fonts and styles that come later, and parts that unfold, want more room than at first.
        if watched is self.widget() and event.type() == QEvent.Type.LayoutRequest:
            self._widen()
        if watched is not self and event.type() == QEvent.Type.Close and not self.may_close():
            event.ignore()
            return True
        if watched is not self and event.type() == QEvent.Type.DeferredDelete:
            self.shut_down()
        return bool(super().eventFilter(watched, event))

    def closeEvent(self, event: QCloseEvent) -> None:
        """Stop when it stands alone and is closed."""
        self.shut_down()
        super().closeEvent(event)
