"""Teaching names by example: a name to type, and what was taught so far, with all that is in it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from qtpy import QtWidgets as qt
from qtpy.QtCore import QEvent, QModelIndex, QObject, QSize, QStringListModel, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QKeyEvent, QPixmap
from superqt import QCollapsible
from superqt.utils import signals_blocked

from napari_patchioner.errors import FormatError, counted
from napari_patchioner.teaching import Example, Lexicon, checked_name, is_lexicon
from napari_patchioner.viewer.layers.captions import colour_of
from napari_patchioner.viewer.widgets import (
    MenuButton,
    RowModel,
    Sentence,
    brief,
    button,
    stack,
    throttled,
)
from napari_patchioner.viewer.workers.teach import is_fitted

from .models import Question

if TYPE_CHECKING:
    from napari_patchioner.viewer.controller import Controller
    from napari_patchioner.viewer.teaching.teacher import Teacher

    Current = Callable[[], Controller | None]

TITLE = "Taught"
WAIT_MS = 60
# Side of a small picture in the list, and what a picture of a lexicon may have at most.
PICTURE, MOST_PIXELS = 56, 512
# Small pictures shown of one name; thousands would take long to lay out.
MOST_PICTURES = 60
ROWS = 5
_PNG = b"\x89PNG\r\n\x1a\n"
_Role = Qt.ItemDataRole
COLUMNS = (
    ("Name", "Double-click to write another one; a name that is there already joins both."),
    ("Examples", "How many regions it was taught with."),
    ("Right", "How often examples are named rightly when each is left out in turn."),
)
NAME = 0
JOINING = {"in photographs": None, "always": True, "never": False}
"""Where what the model says follows a name."""


class NameLine(NamedTuple):
    """One name of a lexicon, as the table shows it."""

    name: str
    examples: int
    right: str

    def text(self, column: int) -> str:
        """Return what a cell says."""
        return (self.name, str(self.examples), self.right)[column]


class NameModel(RowModel):
    """The names of a lexicon with their colours; a new wording is announced, not taken."""

    renamed = Signal(str, str)

    def __init__(self, parent: QObject) -> None:
        super().__init__(COLUMNS, parent)
        self._icons: dict[str, QIcon] = {}

    def data(self, index: QModelIndex, role: int = _Role.DisplayRole) -> Any:
        """Return a cell."""
        line = self.lines[index.row()]
        if role == _Role.DisplayRole:
            return line.text(index.column())
        if role == _Role.EditRole:
            return line.name
        if role == _Role.ToolTipRole:
            return line.name if index.column() == NAME else COLUMNS[index.column()][1]
        if role == _Role.DecorationRole and index.column() == NAME:
            if line.name not in self._icons:
                square = QPixmap(12, 12)
                square.fill(QColor(colour_of(line.name)))
                icon = self._icons[line.name] = QIcon()
                icon.addPixmap(square)
            return self._icons[line.name]
        return None

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Let names be edited."""
        flags = super().flags(index)
        return flags | Qt.ItemFlag.ItemIsEditable if index.column() == NAME else flags

    def setData(self, index: QModelIndex, value: str, role: int = _Role.EditRole) -> bool:
        """Announce another wording; it comes back by way of the lexicon."""
        if role != _Role.EditRole or not value.strip():
            return False
        self.renamed.emit(self.lines[index.row()].name, value)
        return True


class NameTable(qt.QTreeView):  # type: ignore[misc]
    """The table of names."""

    def __init__(self, model: NameModel) -> None:
        super().__init__(rootIsDecorated=False, uniformRowHeights=True, accessibleName="Names")
        self.setModel(model)
        self.setFixedHeight((ROWS + 1) * (self.fontMetrics().height() + 7) + 4)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header = self.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(NAME, header.ResizeMode.Stretch)
        for column in range(NAME + 1, len(COLUMNS)):
            header.setSectionResizeMode(column, header.ResizeMode.ResizeToContents)

    @property
    def editing(self) -> bool:
        """Whether somebody is typing in a cell."""
        return bool(self.state() == self.State.EditingState)


def right_when_left_out(lexicon: Lexicon, name: str) -> str:
    """Return how often examples of a name were named rightly without themselves: "4 of 5"."""
    row = lexicon.classifier.confusion.counts.get(name, {}) if is_fitted(lexicon) else {}
    return f"{row.get(name, 0)} of {sum(row.values())}" if row else ""


def judged(lexicon: Lexicon) -> str:
    """Return how well the examples of a lexicon tell each other apart, in a few lines."""
    if not is_fitted(lexicon):
        return "Learning…"
    classifier = lexicon.classifier
    mistakes = classifier.confusion.sentences(brief)
    lines = ["Teach more examples of each name to see how well they are told apart."]
    if len(classifier.names) > 1 and (summary := classifier.confusion.summary()):
        lines = [f"{summary}."]
    lines += [f"{mistake}." for mistake in mistakes[:3]]
    if len(mistakes) > 3:
        lines[-1] += f" And {len(mistakes) - 3} more mistakes."
    least, most = (f"{end(classifier.limits.values()):.2f}" for end in (min, max))
    limits = least if least == most else f"{least} to {most}"
    lines.append(
        f"Without a name stays what is farther from a name than {limits} of how far different "
        "things are apart."
    )
    return "\n".join(lines)


def picture_of(data: bytes) -> QPixmap | None:
    """Return a small PNG picture; None where it is none, or not small."""
    if not data.startswith(_PNG) or len(data) < 24:
        return None
    if max(struct.unpack(">II", data[16:24])) > MOST_PIXELS:
        return None
    picture = QPixmap()
    return picture if picture.loadFromData(data, "PNG") else None


class NameField(qt.QLineEdit):  # type: ignore[misc]
    """Where a name is typed; names there are already are offered."""

    entered, left = Signal(), Signal()

    def __init__(self) -> None:
        super().__init__(placeholderText="Name of the selected regions", accessibleName="Name")
        self.setToolTip(
            "What the selected regions are: a name or a sentence. Enter teaches it.\n"
            "Key Shift+T puts the cursor here, and brings back the one that was taught last.\n"
            "Empty, Teach takes what you wrote in their captions."
        )
        self._names, self._last = QStringListModel(self), ""
        completer = qt.QCompleter(self._names, self)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.setCompleter(completer)

    def offer(self, names: Sequence[str]) -> None:
        """Offer these names."""
        if self._names.stringList() != list(names):
            self._names.setStringList(list(names))

    def done(self) -> None:
        """Be empty for what comes next, once the name has been taught."""
        self._last = " ".join(self.text().split()) or self._last
        # Names that are offered would take the next click.
        self.completer().popup().hide()
        self.clear()
        self.clearFocus()

    def begin(self) -> None:
        """Take the cursor; Enter repeats the name that was taught last, typing goes over it."""
        self.setFocus()
        if not self.text():
            self.setText(self._last)
        self.selectAll()

    def event(self, event: QEvent) -> bool:
        """Announce that somebody is about to type."""
        if event.type() == QEvent.Type.FocusIn:
            self.entered.emit()
        return bool(super().event(event))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Go back to the canvas with Escape."""
        if event.key() == Qt.Key.Key_Escape:
            self.clearFocus()
            self.left.emit()
        else:
            super().keyPressEvent(event)
        # Qt passes Enter on, and napari would take it for its own key.
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            event.accept()


class TeachPanel(qt.QWidget):  # type: ignore[misc]
    """Asks for a name, and shows what was taught; `model` returns the one that is chosen."""

    def __init__(
        self, teacher: Teacher, actions: Any, current: Current, model: Callable[[], str]
    ) -> None:
        super().__init__()
        self._teacher, self._actions, self._current, self._model = teacher, actions, current, model
        self._shown: tuple[Lexicon | None, str] = (None, "")
        self._chosen: list[str] = []
        self.question: Question | None = None
        self.name = NameField()
        tip = "Teach the selected regions this name: others that look alike get it at once."
        self.teach = button("Teach", tip, actions.teach)
        self.names = NameModel(self)
        self.table = NameTable(self.names)
        self.judged, self.here = Sentence(), Sentence(lines=2, fixed=True)
        self.pictures = qt.QListWidget()
        self.pictures.setAccessibleName("Examples")
        self.pictures.setWrapping(True)
        self.pictures.setViewMode(self.pictures.ViewMode.IconMode)
        self.pictures.setIconSize(QSize(PICTURE, PICTURE))
        self.pictures.setMovement(self.pictures.Movement.Static)
        self.pictures.setResizeMode(self.pictures.ResizeMode.Adjust)
        self.pictures.setSelectionMode(self.pictures.SelectionMode.ExtendedSelection)
        self.pictures.setFixedHeight(PICTURE + 26)
        self.pictures.setToolTip("Examples of the name. Double-click one to go there.")
        self.every = qt.QCheckBox("Every caption I correct is an example")
        self.every.setToolTip("What you write or accept on the open images is taught by itself.")
        adding = qt.QLabel("Add what the model says")
        self.joined = qt.QComboBox(accessibleName=adding.text())
        self.joined.setToolTip('As in "white blood cell: one large purple round spot".')
        for words, choice in JOINING.items():
            self.joined.addItem(words, choice)
        self.coloured = qt.QCheckBox("Show names in colours on the image")
        tip = "Go to the region that is most useful to label (key M)."
        self.next = button("Label next", tip, actions.label_next)
        tip = "Forget the chosen examples, or else the chosen name with all of its own."
        self.forget = button("Forget…", tip, self._ask_to_forget)
        self.menu = MenuButton("Lexicon", "Open, save or clear what was taught.")
        tip = "Add the names of a lexicon folder to these."
        self.open = self.menu.add("Open…", self._ask_what_to_open, tip)
        tip = "Write a folder to share, for other images and for the command line."
        self.save = self.menu.add("Save as…", self._ask_where_to_save, tip)
        tip = "Forget all names, and begin anew."
        self.clear = self.menu.add("Clear…", self._ask_to_clear, tip)
        self.fold = QCollapsible(TITLE, self, expandedIcon="▾", collapsedIcon="▸")
        content = qt.QWidget()
        stack(
            content,
            *(self.table, self.judged, self.pictures, self.here),
            (self.next, self.forget, self.menu),
            *(self.every, (adding, self.joined), self.coloured),
        )
        for layout in (self.fold.layout(), self.fold.content().layout()):
            layout.setContentsMargins(0, 0, 0, 0)
        self.fold.addWidget(content)
        stack(self, (self.name, self.teach), self.fold, wide=[self.name])
        self._soon = throttled(self.refresh, WAIT_MS, self)
        self.name.returnPressed.connect(actions.teach)
        # Not every window manager says that a field has the focus.
        for hint in (self.name.entered, self.name.textEdited):
            hint.connect(self._prepare)
        self.names.renamed.connect(self._on_renamed)
        self.table.itemDelegate().closeEditor.connect(lambda *_: self._soon.throttle())
        self.table.selectionModel().currentRowChanged.connect(self._on_row)
        self.pictures.itemDoubleClicked.connect(self._on_picture)
        self.every.toggled.connect(self._on_every)
        self.joined.activated.connect(self._on_joined)
        self.coloured.toggled.connect(self._on_coloured)
        teacher.changed.connect(self._soon.throttle)

    # what is shown

    @property
    def lexicon(self) -> Lexicon | None:
        """The lexicon in use."""
        return self._teacher.lexicon_of(self._current())

    @property
    def chosen(self) -> str:
        """The name that is chosen in the table; empty for none."""
        row = self.table.currentIndex().row()
        return self.names.lines[row].name if 0 <= row < len(self.names.lines) else ""

    def write_name(self) -> None:
        """Put the cursor into the name."""
        self.name.begin()

    def refresh_soon(self) -> None:
        """Show what is taught, and what is known of what is selected, before long."""
        self._soon.throttle()

    def refresh(self, *_: object) -> None:
        """Show what is taught now, but never under the hands of somebody who types."""
        if self.table.editing:
            return
        self._soon.cancel()
        lexicon, current, teacher = self.lexicon, self._current(), self._teacher
        for part in (self.name, self.teach, self.next, self.every, self.joined, self.coloured):
            part.setEnabled(current is not None)
        self.joined.setCurrentIndex(list(JOINING.values()).index(teacher.joined))
        with signals_blocked(self.every):
            self.every.setChecked(teacher.is_every(current))
        if (chosen := self._actions.chosen()) != self._chosen:
            self._chosen = chosen
            self._prepare()
        self.here.setText(self._about_selected(current))
        counts = lexicon.counts if lexicon is not None else {}
        self.name.offer(list(counts))
        self.fold.setText(self._title(lexicon))
        for part in (self.table, self.judged, self.pictures):
            part.setVisible(lexicon is not None)
        for act in (self.save, self.clear):
            act.setEnabled(lexicon is not None)
        self.forget.setEnabled(bool(self.chosen) and lexicon is not None)
        if lexicon is not None:
            before = self.chosen
            self.names.show_lines(
                {n: NameLine(n, c, right_when_left_out(lexicon, n)) for n, c in counts.items()}
            )
            row = self.names.row(before)
            if row >= 0 and self.table.currentIndex().row() != row:
                self.table.setCurrentIndex(self.names.index(row, NAME))
            self.judged.setText(judged(lexicon))
            self._show_pictures(lexicon)
        self._colour()

    def _title(self, lexicon: Lexicon | None) -> str:
        """Return how much is taught, and which lexicon that is."""
        unread = self._teacher.unread
        parts = []
        if lexicon is not None:
            parts.append(f"{counted(lexicon.counts, 'name')}, {counted(len(lexicon), 'example')}")
        if unread:
            parts.append(f"{unread} to learn when read")
        if lexicon is not None and self._teacher.path is not None:
            parts.append(self._teacher.path.name)
        return f"{TITLE}: {'; '.join(parts)}" if parts else f"{TITLE}: nothing yet"

    def _about_selected(self, current: Controller | None) -> str:
        """Return what the lexicon says of the selected region, where it has given it no name."""
        chosen = self._actions.chosen() if current is not None else []
        if current is None or len(chosen) != 1 or chosen[0] not in current.session.records:
            return ""
        naming = self._teacher.naming(current, chosen[0])
        if naming is None or current.session.records[chosen[0]].protected:
            return ""
        likely = "" if naming.name is not None else ", but not like enough"
        return f"Selected: most like {brief(naming.closest)!r} ({naming.score:.2f}){likely}."

    def _show_pictures(self, lexicon: Lexicon) -> None:
        """Show small pictures of the chosen name's examples, or of all."""
        if self._shown[0] is lexicon and self._shown[1] == self.chosen:
            return
        self._shown = lexicon, self.chosen
        self.pictures.clear()
        shown = [e for e in lexicon.examples if e.name == self.chosen or not self.chosen]
        for example in shown[:MOST_PICTURES]:
            picture = picture_of(example.thumbnail)
            item = qt.QListWidgetItem(self.pictures)
            item.setData(_Role.UserRole, example)
            item.setToolTip(f"{example.name}\n{example.image}")
            if picture is not None:
                icon = QIcon()
                icon.addPixmap(picture)
                item.setIcon(icon)
            else:
                item.setText(example.name[:8])

    def _colour(self) -> None:
        """Show regions with names in the colours of these, or not."""
        current, lexicon = self._current(), self.lexicon
        if current is not None:
            names = lexicon.counts.keys() if lexicon is not None else ()
            current.overlays.names = frozenset(names if self.coloured.isChecked() else ())
            current.overlays.refresh()

    def let_go(self) -> None:
        """Stop showing anything."""
        self._soon.cancel()
        if self.question is not None:
            self.question.close()

    # what a person does

    def _prepare(self, *_: object) -> None:
        current = self._current()
        if current is not None:
            self._teacher.prepare(current)

    def _on_row(self, *_: object) -> None:
        if self.lexicon is not None:
            self._show_pictures(self.lexicon)
        self.forget.setEnabled(bool(self.chosen))

    def _on_picture(self, item: qt.QListWidgetItem) -> None:
        """Go to an example that is on the image at hand."""
        current, example = self._current(), item.data(_Role.UserRole)
        if current is None:
            return
        if self._teacher.is_here(current, example):
            if example.uid in current.session.records:
                self._actions.go_to(example.uid)
            else:
                current.show_message("Its shape was deleted; what was learned from it stays.")
        else:
            current.show_message(f"This example is on {example.image!r}; open that image first.")

    def _on_every(self, on: bool) -> None:
        self._teacher.set_every(on)

    def _on_joined(self, row: int) -> None:
        self._teacher.set_joined(self.joined.itemData(row))

    def _on_coloured(self, *_: object) -> None:
        self._colour()

    def _on_renamed(self, old: str, new: str) -> None:
        """Rename, and ask first where that joins two names for good."""
        current, lexicon = self._current(), self.lexicon
        try:
            new = checked_name(new)
        except FormatError as error:
            if current is not None:
                current.show_message(str(error))
            return
        counts = lexicon.counts if lexicon is not None else {}
        others = [name for name in counts if name != old]
        # One that differs from another only in capitals is that one.
        new = next((name for name in others if name.casefold() == new.casefold()), new)
        if new in others and lexicon is not None:
            number = counted(lexicon.counts[old], "example")
            text = (
                f"{brief(new)!r} is there already: let {number} of {brief(old)!r} be of that name, "
                "too?"
            )
            self._ask("Join names", text, "Join", lambda: self._teacher.rename(old, new))
        else:
            self._teacher.rename(old, new)

    def _ask_to_forget(self) -> None:
        """Ask, then forget the chosen examples, or the chosen name."""
        lexicon, name = self.lexicon, self.chosen
        chosen: list[Example] = [
            item.data(_Role.UserRole) for item in self.pictures.selectedItems()
        ]
        if lexicon is None or not (chosen or name):
            return
        kept = (
            "Captions that you wrote stay. Undo, on the image of an example, brings it back; those "
            "of images that are not open are gone."
        )
        if chosen:
            text = f"Forget {counted(chosen, 'example')}? {kept}"
            self._ask("Forget", text, "Forget", lambda: self._teacher.forget(chosen))
        else:
            number = counted(lexicon.counts.get(name, 0), "example")
            text = f"Forget {brief(name)!r} with {number}? {kept}"
            self._ask("Forget", text, "Forget", lambda: self._teacher.forget_name(name))

    def _ask_to_clear(self) -> None:
        if (lexicon := self.lexicon) is not None:
            names, number = counted(lexicon.counts, "name"), counted(len(lexicon), "example")
            text = f"Forget {names} with {number}? Captions that you wrote stay."
            if self.every.isChecked():
                text += f" {self.every.text()!r} is switched off."
            self._ask("Clear", text, "Clear", self._teacher.clear)

    def _ask(self, title: str, text: str, yes: str, act: Callable[[], object]) -> None:
        """Ask without holding up the window."""
        if self.question is not None:
            self.question.raise_()
            return
        role = qt.QMessageBox.ButtonRole.AcceptRole
        self.question = Question(title, text, "", [(yes, role, "", act)], self)
        self.question.answered.connect(self._on_answered)
        self.question.open()

    def _on_answered(self) -> None:
        self.question = None
        self.refresh()

    def _ask_what_to_open(self) -> None:
        start = str(self._teacher.path or Path.home())
        if chosen := qt.QFileDialog.getExistingDirectory(self, "Lexicon folder", start):
            self.open_lexicon(Path(chosen))

    def open_lexicon(self, path: Path) -> None:
        """Add the names of a lexicon folder to those in use."""
        current = self._current()
        encoded = current.encoder.model if current is not None else ""
        self._teacher.open(path, encoded or self._model())

    def _ask_where_to_save(self) -> None:
        """Ask for a folder, which is made; one that is there is replaced if it is a lexicon."""
        lexicon, current = self.lexicon, self._current()
        if lexicon is None:
            return
        start = str(self._teacher.path or Path.home() / "lexicon")
        path = qt.QFileDialog.getSaveFileName(self, "Save lexicon folder", start)[0]
        if not path:
            return
        folder = Path(path)
        if folder.exists() and not is_lexicon(folder) and current is not None:
            current.show_message(f"{folder.name} is there and no lexicon; choose another name.")
            return
        self._teacher.save(folder, lexicon)
