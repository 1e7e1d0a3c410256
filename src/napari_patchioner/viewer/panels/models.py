"""The list of models, and how one is got, removed or added; an image that waits is encoded then."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from html import escape
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from qtpy import QtWidgets as qt
from qtpy.QtCore import QElapsedTimer, Qt, QUrl, Signal, Slot
from qtpy.QtGui import QDesktopServices, QPaintEvent, QStandardItem, QStandardItemModel
from superqt.utils import signals_blocked

from napari_patchioner.devices import DEVICES, ENGINES
from napari_patchioner.errors import PatchionerError
from napari_patchioner.models import ModelCard
from napari_patchioner.models.preset import size_text
from napari_patchioner.viewer.preferences import preference, set_preference
from napari_patchioner.viewer.widgets import MenuButton, stack
from napari_patchioner.viewer.workers.job import Job, JobProgress, error_message
from napari_patchioner.viewer.workers.models import ModelRegistry

if TYPE_CHECKING:
    from napari_patchioner.viewer.controller import Controller

    _Pending = tuple[Controller, int]
    # The title, role and tool tip of an answer to a question, and what it does.
    _Answer = tuple[str, qt.QMessageBox.ButtonRole, str, Callable[[], object]]

WIDTH = 72
BRING = "These are on no hub: put them in a folder, then press Choose a folder."
GROUPS = ("Built in", "Installed", "To get")
FROM_FOLDER = "Where a copy of the files lies already; nothing is downloaded then."
DEVICE_TITLES = dict(
    zip(DEVICES, ("The fastest there is", "Processor", "Nvidia GPU", "Apple GPU"), strict=True)
)
ENGINE_TITLES = dict(zip(ENGINES, ("The quickest there is", "PyTorch"), strict=True))
ID = Qt.ItemDataRole.UserRole
TITLE = ID + 1
SHOWN = 24
_Role = qt.QMessageBox.ButtonRole


def line(card: ModelCard, *, built_in: bool = False, coming: bool = False) -> str:
    """Return the line of a model in the list: its name and its state."""
    if coming:
        return f"{card.title} — on its way"
    return card.title if built_in else f"{card.title} — {state(card)}"


def state(card: ModelCard) -> str:
    """Return whether a model is there, or what it takes to have it."""
    if card.installed:
        return "installed"
    return f"{size_text(card.to_get)} to get" if card.to_get else "to get"


def tooltip(card: ModelCard) -> str:
    """Return what a person should know before choosing a model, a line for each matter."""
    facts = {
        "In the paper": card.row,
        "Licence": card.licence,
        "From": ", ".join(card.sources),
        "Files": size_text(card.size) if card.size else "",
        "Memory": size_text(card.ram) if card.ram else "",
    }
    lines = [card.note, *(f"{name}: {text}" for name, text in facts.items() if text)]
    return "\n".join(fill(line, WIDTH, subsequent_indent="    ") for line in lines if line)


def question(
    card: ModelCard, folder: Path, machine: int | None, by_hand: Sequence[str] = ()
) -> str:
    """Return what to know before a model is got, as rich text; `machine` is its bytes of memory."""
    memory = size_text(card.ram) if card.ram else ""
    if memory and machine:
        enough = "this machine has" if machine >= card.ram else "but this machine has only"
        memory += f"; {enough} {size_text(machine)}"
    facts = {
        "Download": size_text(card.to_get) if card.to_get else "size not known",
        "From": "\n".join(card.sources),
        "By hand": "\n".join([*by_hand, BRING] if by_hand else []),
        "Licence": card.licence,
        "Kept in": str(folder),
        "Memory": memory,
    }
    cells = (
        f"<tr><td><b>{name}</b>&nbsp;&nbsp;</td>"
        f"<td>{escape(text).replace(chr(10), '<br>')}</td></tr>"
        for name, text in facts.items()
        if text
    )
    return f"<table>{''.join(cells)}</table>"


def machine_memory() -> int | None:
    """Return how many bytes of memory this machine has, if the system says so."""
    try:
        import psutil  # type: ignore[import-untyped]

        return int(psutil.virtual_memory().total)
    except (ImportError, OSError, RuntimeError):
        return None


class ModelChoice(qt.QComboBox):  # type: ignore[misc]
    """Asks which model; `changed` carries its id."""

    changed = Signal(str)
    opening = Signal()

    def __init__(self) -> None:
        super().__init__(accessibleName="Model", maxVisibleItems=SHOWN, minimumContentsLength=16)
        # Of each model its group, id, title, line and tip.
        self._lines: list[tuple[str, str, str, str, str]] = []
        self._announced = ""
        self.setModel(QStandardItemModel(self))
        self.setView(_SearchedList())
        self.setSizeAdjustPolicy(self.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.currentIndexChanged.connect(self._on_index)

    @property
    def value(self) -> str:
        """Id of the chosen model."""
        return self.currentData(ID) or ""

    @value.setter
    def value(self, model: str) -> None:
        row = self.findData(model, ID)
        if row >= 0:
            self.setCurrentIndex(row)

    def show_cards(
        self, cards: Sequence[ModelCard], built_in: Collection[str] = (), coming: str = ""
    ) -> None:
        """List the models, the default one first; the chosen one stays chosen while it is there."""
        lines = []
        for card in cards:
            ours = card.id in built_in
            group = GROUPS[0 if ours else 1 if card.installed else 2]
            text = line(card, built_in=ours, coming=card.id == coming)
            lines.append((group, card.id, card.title, text, tooltip(card)))
        lines.sort(key=lambda row: GROUPS.index(row[0]))
        if lines == self._lines:
            return
        before, self._lines = self.value, lines
        with signals_blocked(self):
            self.clear()
            above = lines[0][0] if lines[0][0] == lines[-1][0] else ""
            for group, model, title, text, tip in lines:
                if group != above:
                    above, heading = group, QStandardItem(group)
                    heading.setFlags(Qt.ItemFlag.NoItemFlags)
                    font = heading.font()
                    font.setBold(True)
                    heading.setFont(font)
                    self.model().appendRow(heading)
                item = QStandardItem(text)
                item.setData(model, ID)
                item.setData(title, TITLE)
                item.setToolTip(tip)
                self.model().appendRow(item)
            self.value = cards[0].id
            self.value = before
        self._on_index()

    def showPopup(self) -> None:
        """Open the list, as wide as its longest line."""
        self.opening.emit()
        view = self.view()
        frame = 2 * view.frameWidth() + view.verticalScrollBar().sizeHint().width()
        room = self.screen().availableGeometry().width() if self.screen() else 10_000
        view.setMinimumWidth(min(view.sizeHintForColumn(0) + frame, room))
        super().showPopup()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Show the title alone; where it is long, its middle is left out, as ends differ more."""
        option, style = qt.QStyleOptionComboBox(), qt.QStyle
        self.initStyleOption(option)
        kind, part = style.ComplexControl.CC_ComboBox, style.SubControl.SC_ComboBoxEditField
        room = self.style().subControlRect(kind, option, part, self).width() - 4
        title, middle = self.currentData(TITLE) or "", Qt.TextElideMode.ElideMiddle
        option.currentText = option.fontMetrics.elidedText(title, middle, room)
        painter = qt.QStylePainter(self)
        painter.drawComplexControl(kind, option)
        painter.drawControl(style.ControlElement.CE_ComboBoxLabel, option)

    def _on_index(self, *_: object) -> None:
        self.setToolTip(self.currentData(Qt.ItemDataRole.ToolTipRole) or "")
        if self.value != self._announced:
            self._announced = self.value
            self.changed.emit(self.value)


class _SearchedList(qt.QListView):  # type: ignore[misc]
    """Finds a line by any part of it that is typed."""

    def __init__(self) -> None:
        super().__init__()
        self._typed = ""
        self._since = QElapsedTimer()
        self._since.start()

    def keyboardSearch(self, search: str) -> None:
        """Go to the next line that holds what has been typed without a long pause."""
        pause = self._since.restart() > 2 * qt.QApplication.keyboardInputInterval()
        self._typed = search if pause else self._typed + search
        # From the current line on, around the end.
        start = self.model().index(max(0, self.currentIndex().row()), 0)
        how = Qt.MatchFlag.MatchContains | Qt.MatchFlag.MatchWrap
        shown = Qt.ItemDataRole.DisplayRole
        for index in self.model().match(start, shown, self._typed, -1, how):
            if index.flags() & Qt.ItemFlag.ItemIsSelectable:
                self.setCurrentIndex(index)
                return


class Question(qt.QMessageBox):  # type: ignore[misc]
    """A question that does not block the program, answered no by default; gone once answered."""

    answered = Signal()

    def __init__(
        self, title: str, text: str, facts: str, answers: Iterable[_Answer], parent: qt.QWidget
    ) -> None:
        super().__init__(self.Icon.Question, title, text, parent=parent)
        self.setInformativeText(facts)
        self.no = self.addButton(self.StandardButton.Cancel)
        self.setDefaultButton(self.no)
        self.setEscapeButton(self.no)
        # By title.
        self.answers: dict[str, tuple[qt.QAbstractButton, Callable[[], object]]] = {}
        for answer, role, tip, act in answers:
            self.answers[answer] = self.addButton(answer, role), act
            self.answers[answer][0].setToolTip(tip)
        # Later: the answer processes events, and Qt is still busy with the box now.
        self.finished.connect(self._on_finished, Qt.ConnectionType.QueuedConnection)

    @Slot(int)  # type: ignore[untyped-decorator]
    def _on_finished(self, _result: int) -> None:
        pressed = self.clickedButton()
        for button, act in self.answers.values():
            if button == pressed:
                act()
        self.answered.emit()
        self.deleteLater()


class ModelPanel(qt.QWidget):  # type: ignore[misc]
    """Asks which model; has one at a time got, removed or added, and an image encoded with it."""

    changed = Signal()
    messaged = Signal(str)

    def __init__(
        self,
        registry: ModelRegistry,
        current: Callable[[], Controller | None],
        everyone: Callable[[], Iterable[Controller]],
    ) -> None:
        super().__init__()
        self.choice = ModelChoice()
        self.question: Question | None = None
        self._registry, self._current, self._everyone = registry, current, everyone
        # The job, whether it can be stopped half-way, and the id of the model that it gets, if any.
        self._job: Job | None = None
        self._stoppable, self._coming = False, ""
        self._ahead: Job | None = None
        # An image that waits for its model; void once it has been encoded otherwise.
        self._pending: _Pending | None = None
        self._agreed: dict[str, Path | None] = {}
        menu = self.menu = MenuButton("…", "Get, remove or add models; choose what they run on.")
        menu.setAccessibleName("Models")
        self.get = menu.add("Get this model…", partial(self._ask_to_get, None))
        self.copy = menu.add("Get it from a folder…", partial(self._copy, None), FROM_FOLDER)
        self.remove = menu.add("Remove this model…", self._ask_to_remove)
        menu.menu().addSeparator()
        tip = "A folder with a preset.toml and the files it names."
        self.add = menu.add("Add a model of your own…", self._add, tip)
        self.open = menu.add("Open models folder", self._open_folder)
        self.devices = menu.menu().addMenu("Device")
        self.engines = menu.menu().addMenu("Engine")
        menu.menu().aboutToShow.connect(self._on_menu)
        stack(self, (self.choice, menu), wide=[self.choice])
        self.refresh()
        self.choice.opening.connect(self.refresh)
        self.choice.changed.connect(self._on_choice)

    @property
    def active(self) -> bool:
        """Whether a model is being got, removed or added."""
        return self._job is not None

    @property
    def progress(self) -> JobProgress | None:
        """How far the chosen model has come that is being got, or one that is being added."""
        mine = self._stoppable and self._coming in ("", self.choice.value)
        return self._job.progress if self._job is not None and mine else None

    @property
    def awaited(self) -> bool:
        """Whether the image on display will be encoded as soon as its model is there."""
        return self._is_wanted(self._coming)

    def start(self) -> None:
        """Have the image on display encoded with the chosen model, got first if need be."""
        controller = self._current()
        card = next((card for card in self.refresh() if card.id == self.choice.value), None)
        if controller is None or card is None:
            return
        if card.installed:
            controller.start(card.id)
        else:
            self._ask_to_get((controller, controller.session.generation))

    def cancel(self) -> None:
        """Stop what the progress is of; Start goes on with a download later."""
        if self.progress is not None:
            kept = "what was downloaded is kept, press Start to go on"
            outcome = kept if self._coming else "nothing was added"
            self._pending = None
            self._end()
            self.messaged.emit(f"cancelled; {outcome}")

    def let_go(self) -> None:
        """Stop for good."""
        self._pending = None
        self._end()
        if self._ahead is not None:
            self._ahead.drop()
            self._ahead = None
        if self.question is not None:
            self.question.reject()
            self.question = None

    def load_ahead(self) -> None:
        """Have a worker load the chosen model, where it is small, while the person looks around.

        Other models may take more memory than somebody wants to give them who never presses Start.
        """
        if self.choice.value in self._registry.built_in:
            # Should that fail, Start says why.
            self._ahead = Job(self._registry.load_ahead, self.choice.value, parent=self)
            self._ahead.ended.connect(self._on_loaded)
            self._ahead.start()

    def refresh(self) -> Sequence[ModelCard]:
        """Bring the list up to date, and return what is in it."""
        cards = self._registry.cards()
        self.choice.show_cards(cards, self._registry.built_in, self._coming)
        return cards

    # what is asked

    def _ask_to_get(self, pending: _Pending | None) -> None:
        card = self._card()
        if card is None or self._is_busy():
            return
        if card.id in self._agreed:
            self._get(card, pending, self._agreed[card.id])
            return
        store = self._registry.store
        facts = question(card, store.folder(), machine_memory(), store.by_hand(card.id))
        get, copy = partial(self._get, card, pending), partial(self._copy, pending, card)
        answers = (
            ("Get", _Role.AcceptRole, "", get),
            ("Choose a folder…", _Role.ActionRole, FROM_FOLDER, copy),
        )
        self._ask("Get a model", f"{escape(card.title)} is not installed.", facts, answers)

    def _ask_to_remove(self) -> None:
        card = self._card()
        if card is None or self._is_busy():
            return
        facts = (
            f"Frees up to {size_text(card.size)}; what another model needs is kept. "
            if card.installed
            else "Deletes what was downloaded of it so far. "
        ) + "Captions stay as they are."
        done = partial(self._on_removed, card.id)
        remove = partial(self._run, done, self._registry.remove, card.id, stoppable=False)
        answers = [("Remove", _Role.DestructiveRole, "", remove)]
        self._ask("Remove a model", f"Remove {escape(card.title)}?", facts, answers)

    def _ask(self, title: str, text: str, facts: str, answers: Iterable[_Answer]) -> None:
        self.question = Question(title, text, facts, answers, self)
        self.question.answered.connect(self._on_answered)
        self.question.open()

    def _on_answered(self) -> None:
        self.question = None

    # what is done

    def _get(self, card: ModelCard, pending: _Pending | None, folder: Path | None = None) -> None:
        if self._is_busy():
            return
        if folder is not None or not self._registry.store.by_hand(card.id):
            self._agreed[card.id] = folder
        self._pending = pending
        self.messaged.emit(f"getting {card.title}; you can draw meanwhile")
        self._run(self._on_got, self._registry.get, card.id, folder, coming=card.id)

    def _copy(self, pending: _Pending | None, card: ModelCard | None = None) -> None:
        card = card or self._card()
        if card and (folder := self._ask_for_folder(f"Folder with the files of {card.title}")):
            self._get(card, pending, folder)

    def _add(self) -> None:
        folder = self._ask_for_folder("Folder with a preset.toml and the files it names")
        if folder is not None and not self._is_busy():
            self._run(self._on_added, self._registry.add, folder)

    def _open_folder(self) -> None:
        folder = self._registry.store.folder()
        folder.mkdir(parents=True, exist_ok=True)
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))

    def _ask_for_folder(self, title: str) -> Path | None:
        chosen = qt.QFileDialog.getExistingDirectory(self, title)
        return Path(chosen) if chosen else None

    def _set_where(self, name: str, value: str, *_: object) -> None:
        """Have models run elsewhere, those in memory once they are loaded anew."""
        set_preference("models", name, value)
        self._registry.forget()
        what = f"on {value}" if name == "device" else f"with the engine {value}"
        self.messaged.emit(f"models are loaded {what} from now on; press Start")

    def _is_busy(self) -> bool:
        """Whether one model is in work already; says so."""
        if self.active:
            self.messaged.emit("another model is still being got or removed; wait, or cancel that")
        return self.active

    def _card(self, model: str = "") -> ModelCard | None:
        """Return what is known of a model, the chosen one by default."""
        try:
            return self._registry.card(model or self.choice.value)
        except PatchionerError as error:
            self.messaged.emit(str(error))
            return None

    def _run(
        self,
        done: Callable[[Any], None],
        function: Callable[..., Any],
        *arguments: Any,
        stoppable: bool = True,
        coming: str = "",
    ) -> None:
        """Have a worker call a function, and hand what it returns to `done`."""

        def on_delivered(result: Any) -> None:
            self._end()
            done(result)

        self._stoppable, self._coming = stoppable, coming
        ended = self._on_ended
        self._job = Job.run(function, *arguments, delivered=on_delivered, ended=ended, parent=self)
        self._refresh_all()

    def _end(self) -> None:
        """Be done with the job, whether its thread is or not; that keeps what it got so far."""
        if self._job is not None:
            self._job.drop()
            self._job, self._coming = None, ""
            self._refresh_all()

    def _on_loaded(self, _error: Exception | None) -> None:
        self._ahead = None

    def _refresh_all(self) -> None:
        self.refresh()
        self.changed.emit()

    # what happens

    def _on_ended(self, error: Exception | None) -> None:
        """Show why it failed, and ask again where the folder may have been the wrong one."""
        self._end()
        self._agreed = {model: folder for model, folder in self._agreed.items() if folder is None}
        if error is not None:
            self.messaged.emit(error_message(error, "that did not work", "; try again"))

    def _on_menu(self) -> None:
        """Offer what can be done with the chosen model, but one thing at a time."""
        self.refresh()
        card, idle = self._card(), not self.active
        can_get = card is not None and idle and not card.installed
        self.get.setEnabled(can_get)
        self.copy.setEnabled(can_get)
        built_in = self.choice.value in self._registry.built_in
        self.remove.setEnabled(card is not None and idle and not built_in)
        self.add.setEnabled(idle)
        choices = ((self.devices, "device", DEVICE_TITLES), (self.engines, "engine", ENGINE_TITLES))
        for submenu, name, titles in choices:
            submenu.clear()
            for value, title in titles.items():
                action = submenu.addAction(title)
                action.setCheckable(True)
                action.setChecked(value == preference("models", name))
                action.triggered.connect(partial(self._set_where, name, value))

    def _on_choice(self, model: str) -> None:
        card = self._card(model)
        if card is not None and not card.installed:
            self.messaged.emit(f"{card.title}: {state(card)}; Start asks before it downloads")
        self.changed.emit()

    def _on_got(self, model: str) -> None:
        """Encode the image that was waiting for this model, if it still is."""
        controller, wanted = self._current(), self._is_wanted(model)
        self._pending = None
        if controller is not None and wanted:
            controller.start(model)
        elif card := self._card(model):
            self.messaged.emit(f"{card.title} is installed; choose it and press Start to use it")

    def _is_wanted(self, model: str) -> bool:
        """Whether the person still waits for this model on this image."""
        controller = self._current()
        if controller is None or self.choice.value != model:
            return False
        return self._pending == (controller, controller.session.generation)

    def _on_removed(self, model: str, freed: int) -> None:
        self._agreed.pop(model, None)
        for controller in self._everyone():
            if controller.encoder.model == model:
                controller.forget_grids()
        self.messaged.emit(f"removed; {size_text(freed)} of disk space freed")

    def _on_added(self, model: str) -> None:
        self.choice.value = model
        if card := self._card(model):
            self.messaged.emit(f"{card.title} is in the list now; press Start to use it")
