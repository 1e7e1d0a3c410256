"""The vocabulary of an image: chosen, mixed by weight, made from texts, removed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy import QtWidgets as qt
from qtpy.QtCore import Qt, Signal
from superqt.utils import signals_blocked

from napari_patchioner.errors import Cancelled, ModelError, PatchionerError, as_sentence
from napari_patchioner.models.memories import MemoryChoice, check_memory_name, memories
from napari_patchioner.texts import TextFile, TextList, TextSource
from napari_patchioner.viewer.widgets import MenuButton, Sentence, button, stack, throttled
from napari_patchioner.viewer.workers.job import Job, JobProgress, error_message
from napari_patchioner.viewer.workers.memories import Preview, build, ensure, preview, remove
from napari_patchioner.viewer.workers.models import ModelRegistry

if TYPE_CHECKING:
    from napari_patchioner.viewer.controller import Controller

NONE = "the model's own words"
FILTER = "Texts (*.txt *.csv *.tsv *.jsonl *.json *.gz);;All files (*)"
TIP = (
    "Captions in your own words: sentences of this vocabulary. Chosen for each image, and kept\n"
    "with its project. What people wrote or accepted stays."
)
SETTLE_MS = 400
_BY_PEOPLE = ("human", "edited")


class VocabularyDialog(qt.QDialog):  # type: ignore[misc]
    """Asks for texts and a name; shows what is kept of them, and what is dropped and why."""

    # With the name and the source of the texts.
    wanted = Signal(str, object)

    def __init__(
        self,
        parent: qt.QWidget,
        of_project: Callable[[], Sequence[str]],
        is_taken: Callable[[str], bool],
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("New vocabulary")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(640, 520)
        self._of_project, self._is_taken = of_project, is_taken
        self._path: Path | None = None
        self._job: Job | None = None
        self.name = qt.QLineEdit(placeholderText="A name, such as cells", maxLength=64)
        self.text = qt.QPlainTextEdit(
            placeholderText="Paste sentences here, one on each line, or open a file.",
            tabChangesFocus=True,
        )
        self.open = button("Open file…", "A text file, a table, JSON lines.", self.ask_for_file)
        tip = "What people wrote or accepted on this image."
        self.project = button("From this project", tip, self.take_project)
        self.file = Sentence()
        self.column = qt.QComboBox(toolTip="The column that holds the sentences.")
        self.column.setSizeAdjustPolicy(self.column.SizeAdjustPolicy.AdjustToContents)
        self.column.currentTextChanged.connect(self._on_column)
        self.kept = qt.QListWidget(accessibleName="Kept sentences")
        self.kept.setSelectionMode(self.kept.SelectionMode.NoSelection)
        self.report = Sentence(lines=7)
        box = qt.QDialogButtonBox(qt.QDialogButtonBox.StandardButton.Cancel)
        self.build = box.addButton("Build", box.ButtonRole.AcceptRole)
        self.build.setDefault(True)
        box.accepted.connect(self._on_build)
        box.rejected.connect(self.reject)
        line = (qt.QLabel("Name"), self.name)
        stack(
            self,
            line,
            (self.open, self.project, self.file, self.column),
            *(self.text, qt.QLabel("Kept"), self.kept, self.report, box),
            wide=[self.name, self.file, self.text, self.kept],
            margins=(10, 10, 10, 10),
            spacing=6,
        )
        self._settled = throttled(self._read, SETTLE_MS, self, rest=True)
        self.text.textChanged.connect(self._settled.throttle)
        self.name.textChanged.connect(self._allow)
        self.finished.connect(self._stop)
        self._show_column((), "")
        self._allow()

    def source(self) -> TextSource:
        """Return where the texts come from."""
        if self._path is not None:
            return TextFile(self._path, self.column.currentText() or None)
        return TextList.pasted(self.text.toPlainText())

    def ask_for_file(self) -> None:
        """Ask for a file of texts."""
        path, _ = qt.QFileDialog.getOpenFileName(self, "Open texts", "", FILTER)
        if path:
            self.take_file(Path(path))

    def take_file(self, path: Path) -> None:
        """Take the texts of a file; its name is suggested as that of the vocabulary."""
        self._path = path
        self.text.hide()
        self.file.setText(path.name)
        self._show_column((), "")
        if not self.name.text():
            self.name.setText(path.name.partition(".")[0][:64])
        self._read()

    def take_project(self) -> None:
        """Take what people wrote on the image at hand."""
        self._path = None
        self.text.show()
        self.file.setText("")
        self._show_column((), "")
        self.text.setPlainText("\n".join(self._of_project()))
        if not self.text.toPlainText():
            self.report.setText("Nobody has written or accepted a caption of this image yet.")

    def _read(self) -> None:
        """Find out what would be kept, in a worker; an earlier one is of no interest any more."""
        self._stop()
        self.build.setEnabled(False)
        self._job = Job.run(
            preview, self.source(), delivered=self._on_read, ended=self._on_ended, parent=self
        )

    def _stop(self, *_: object) -> None:
        self._settled.cancel()
        if self._job is not None:
            self._job.drop()
            self._job = None

    def _on_read(self, result: Preview) -> None:
        self._show_column(result.columns, self.column.currentText() or result.column)
        self.kept.clear()
        self.kept.addItems(result.kept)
        if result.report.kept > len(result.kept):
            self.kept.addItem(f"… and {result.report.kept - len(result.kept):,} more")
        self.report.setText("\n".join(f"{line}." for line in result.report.sentences()))

    def _on_ended(self, error: Exception | None) -> None:
        self._job = None
        if error is not None:
            self.kept.clear()
            message = error_message(error, "the texts cannot be read")
            self.report.setText(as_sentence(message))
        self._allow()

    def _show_column(self, columns: Sequence[str], chosen: str) -> None:
        with signals_blocked(self.column):
            if columns != [self.column.itemText(row) for row in range(self.column.count())]:
                self.column.clear()
                self.column.addItems(list(columns))
            self.column.setCurrentText(chosen)
        self.column.setVisible(len(columns) > 1)

    def _on_column(self, *_: object) -> None:
        if self._path is not None:
            self._read()

    def _allow(self, *_: object) -> None:
        """Allow to build what has a name and texts."""
        idle = self._job is None
        self.build.setEnabled(bool(self.name.text().strip()) and self.kept.count() > 0 and idle)

    def _on_build(self) -> None:
        name, source = self.name.text().strip(), self.source()
        try:
            check_memory_name(name)
        except ModelError as error:
            self.report.setText(str(error))
            return
        if self._is_taken(name):
            self.report.setText(f"There is a vocabulary {name} already; choose another name.")
            return
        self.accept()
        self.wanted.emit(name, source)


class VocabularyPanel(qt.QWidget):  # type: ignore[misc]
    """Chooses the vocabulary of the image at hand; has one at a time built or removed."""

    changed = Signal()
    messaged = Signal(str)

    def __init__(
        self,
        registry: ModelRegistry,
        current: Callable[[], Controller | None],
        model: Callable[[], str],
    ) -> None:
        super().__init__()
        self._registry, self._current, self._model = registry, current, model
        self._job: Job | None = None
        # Whether the weight was moved a moment ago, and is not chosen yet.
        self._is_moving = False
        self._cards = memories()
        self.dialog: VocabularyDialog | None = None
        self.choice = qt.QComboBox(accessibleName="Vocabulary", toolTip=TIP)
        self.choice.setSizeAdjustPolicy(
            self.choice.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.choice.setMinimumContentsLength(10)
        self.menu = menu = MenuButton("…", "Make or remove a vocabulary.")
        menu.setAccessibleName("Vocabularies")
        tip = "From sentences you paste, a file, or what people wrote on this image."
        self.new = menu.add("New vocabulary…", self.ask, tip)
        self.remove = menu.add("Remove this vocabulary…", self.ask_to_remove)
        self.weight = qt.QSlider(Qt.Orientation.Horizontal, minimum=0, maximum=100, value=100)
        self.weight.setAccessibleName("Weight of the vocabulary")
        self.weight.setToolTip(
            "How much it counts beside the model's own memory, or beside captions of photographs\n"
            "where the model has none; to the right, it counts alone."
        )
        self.share = qt.QLabel("100 %")
        self.share.setMinimumWidth(self.share.fontMetrics().horizontalAdvance("100 % "))
        self.quote = qt.QCheckBox("Word for word", focusPolicy=Qt.FocusPolicy.NoFocus)
        self.quote.setToolTip(
            "The nearest sentence is the caption, though the model could write one of its own."
        )
        self.mixing = qt.QWidget()
        stack(self.mixing, (self.weight, self.share, self.quote), wide=[self.weight])
        stack(self, (self.choice, menu), self.mixing, wide=[self.choice])
        self._settled = throttled(self._choose, SETTLE_MS, self, rest=True)
        self.choice.activated.connect(self._on_activated)
        self.weight.valueChanged.connect(self._on_weight)
        self.quote.toggled.connect(lambda *_: self._choose())
        menu.menu().aboutToShow.connect(self._on_menu)

    @property
    def progress(self) -> JobProgress | None:
        """How far a vocabulary is that is being built."""
        return self._job.progress if self._job is not None else None

    @property
    def value(self) -> str:
        """Name of the chosen vocabulary; empty for the model's own words."""
        return self.choice.currentData() or ""

    def list_again(self) -> None:
        """Read which vocabularies there are."""
        self._cards = memories()
        self.refresh()

    def refresh(self) -> None:
        """Show what is chosen for the image at hand."""
        controller = self._current()
        chosen = controller.queue.memory if controller is not None else None
        names = [("", NONE, TIP)]
        for card in self._cards:
            title = f"{card.name} ({card.rows:,})" if card.rows else card.name
            names.append((card.name, title, card.note))
        if chosen is not None and chosen.memory not in [name for name, _, _ in names]:
            names.append((chosen.memory, f"{chosen.memory} (missing)", "It is no longer there."))
        listed = [
            (self.choice.itemData(row), self.choice.itemText(row))
            for row in range(self.choice.count())
        ]
        with (
            signals_blocked(self.choice),
            signals_blocked(self.weight),
            signals_blocked(self.quote),
        ):
            if listed != [(name, title) for name, title, _ in names]:
                self.choice.clear()
                for name, title, tip in names:
                    self.choice.addItem(title, name)
                    row = self.choice.count() - 1
                    self.choice.setItemData(row, tip, Qt.ItemDataRole.ToolTipRole)
            self.choice.setCurrentIndex(self.choice.findData(chosen.memory if chosen else ""))
            if chosen is not None and not self._is_moving:
                self.weight.setValue(round(100 * chosen.weight))
                self.quote.setChecked(chosen.quote)
        self.share.setText(f"{self.weight.value()} %")
        self.mixing.setVisible(chosen is not None)
        self.choice.setEnabled(controller is not None)

    def cancel(self) -> None:
        """Stop what is being built; what was embedded is kept."""
        if self._job is not None:
            self._job.drop()
            self._job = None
            self.messaged.emit(
                "cancelled; what was embedded is kept, build it again to go on from there"
            )
            self.list_again()
            self.changed.emit()

    def let_go(self) -> None:
        """Stop for good."""
        self._settled.cancel()
        if self._job is not None:
            self._job.drop()
            self._job = None
        if self.dialog is not None:
            self.dialog.close()

    def ask(self) -> None:
        """Ask for texts and a name."""
        if self.dialog is None:
            self.dialog = VocabularyDialog(self, self._of_people, self._is_taken)
            self.dialog.wanted.connect(self.make)
            self.dialog.finished.connect(self._on_dialog_over)
        self.dialog.show()
        self.dialog.raise_()

    def make(self, name: str, source: TextSource) -> None:
        """Build a vocabulary for the chosen model, and choose it for the image at hand."""
        if self._is_free():
            self._start(build, self._registry, self._model(), name, [source])

    def ask_to_remove(self) -> None:
        """Ask, then delete the chosen vocabulary."""
        name, answer = self.value, qt.QMessageBox.StandardButton
        text = f"Delete the vocabulary {name}, for all images and models? Captions stay."
        buttons = answer.Yes | answer.Cancel
        title = "Remove a vocabulary"
        asked = qt.QMessageBox.question(self, title, text, buttons, answer.Cancel)
        if name and asked == answer.Yes and self._is_free():
            if (controller := self._current()) is not None:
                controller.choose_memory(None)
            self._job = Job.run(
                remove, name, delivered=self.messaged.emit, ended=self._on_ended, parent=self
            )
            self.changed.emit()

    def _start(self, function: Callable[..., object], *arguments: object) -> None:
        controller = self._current()
        self._job = Job.run(
            function,
            *arguments,
            delivered=partial(self._on_built, controller),
            ended=self._on_ended,
            parent=self,
        )
        self.changed.emit()

    def _is_free(self) -> bool:
        if self._job is not None:
            self.messaged.emit("one vocabulary is being built; wait for it, or press Cancel")
        return self._job is None

    def _is_taken(self, name: str) -> bool:
        """Whether the chosen model has a vocabulary of this name, or one comes along."""
        model = self._model()
        return any(c.name == name and (c.shipped or model in c.models) for c in self._cards)

    def _of_people(self) -> list[str]:
        """Return what people wrote or accepted on the image at hand."""
        controller = self._current()
        records = controller.session.records.values() if controller is not None else ()
        return [r.caption for r in records if r.caption and (r.source in _BY_PEOPLE or r.reviewed)]

    def _on_activated(self, *_: object) -> None:
        name = self.value
        card = next((card for card in self._cards if card.name == name), None)
        if card is None or card.shipped or self._model() in card.models:
            self._choose()
        elif self._is_free():
            self._start(ensure, self._registry, self._model(), name)
        else:
            self.refresh()

    def _on_weight(self, value: int) -> None:
        self.share.setText(f"{value} %")
        self._is_moving = True
        self._settled.throttle()

    def _choose(self) -> None:
        """Have the image at hand captioned with what is chosen."""
        controller, name, self._is_moving = self._current(), self.value, False
        if controller is None:
            return
        try:
            weight, quote = self.weight.value() / 100, self.quote.isChecked()
            choice = MemoryChoice(name, weight, quote) if name else None
        except PatchionerError as error:
            self.messaged.emit(str(error))
            return
        controller.choose_memory(choice)
        self.refresh()

    def _on_menu(self) -> None:
        shipped = {card.name for card in self._cards if card.shipped}
        self.remove.setEnabled(bool(self.value) and self.value not in shipped)

    def _on_built(self, controller: Controller | None, result: tuple[str, str]) -> None:
        name, message = result
        self._cards = memories()
        self.messaged.emit(message)
        if controller is not None and controller is self._current():
            controller.choose_memory(MemoryChoice(name, self.weight.value() / 100))

    def _on_ended(self, error: Exception | None) -> None:
        self._job = None
        if error is not None and not isinstance(error, Cancelled):
            self.messaged.emit(error_message(error, "the vocabulary could not be made"))
        self.list_again()
        self.changed.emit()

    def _on_dialog_over(self, *_: object) -> None:
        self.dialog = None
