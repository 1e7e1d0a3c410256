"""Getting, removing and adding models; an image that waits for its model is encoded then."""

from __future__ import annotations

from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from qtpy.QtCore import QObject, Qt, QUrl, Signal, Slot
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_patchioner.errors import PatchionerError
from napari_patchioner.models.preset import size_text
from napari_patchioner.viewer.workers.models import ModelInstaller

from .model_list import FROM_FOLDER, machine_memory, question, state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from qtpy.QtWidgets import QAbstractButton, QWidget

    from napari_patchioner.models import ModelCard
    from napari_patchioner.viewer.controller import Controller
    from napari_patchioner.viewer.workers.job import JobProgress
    from napari_patchioner.viewer.workers.models import ModelRegistry

    from .model_list import SourceBox


class _Question(QMessageBox):  # type: ignore[misc]
    """A question that does not block the program, answered no by default; gone once answered."""

    answered = Signal()
    agreed = Signal()

    def __init__(self, title: str, text: str, facts: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.setIcon(QMessageBox.Icon.Question)
        self.setText(text)
        self.setInformativeText(facts)
        self.no = self.addButton(QMessageBox.StandardButton.Cancel)
        self.setDefaultButton(self.no)
        self.setEscapeButton(self.no)
        self.yes: QAbstractButton | None = None
        # Later: the answer processes events, and Qt is still busy with the box now.
        self.finished.connect(self._on_finished, Qt.ConnectionType.QueuedConnection)

    @Slot(int)  # type: ignore[untyped-decorator]
    def _on_finished(self, _result: int) -> None:
        self._on_answered(self.clickedButton())
        self.answered.emit()
        self.deleteLater()

    def _on_answered(self, button: QAbstractButton | None) -> None:
        if button is not None and button == self.yes:
            self.agreed.emit()


class GetQuestion(_Question):
    """Asks before a model is got into a folder; `by_hand` are files a person has to bring along."""

    folder_wanted = Signal()

    def __init__(
        self, card: ModelCard, folder: Path, by_hand: Sequence[str], parent: QWidget
    ) -> None:
        facts = question(card, folder, machine_memory(), by_hand)
        super().__init__("Get a model", f"{escape(card.title)} is not installed.", facts, parent)
        self.yes = self.addButton("Get", QMessageBox.ButtonRole.AcceptRole)
        self.copy = self.addButton("Choose a folder…", QMessageBox.ButtonRole.ActionRole)
        self.copy.setToolTip(FROM_FOLDER)

    def _on_answered(self, button: QAbstractButton | None) -> None:
        super()._on_answered(button)
        if button is not None and button == self.copy:
            self.folder_wanted.emit()


class RemoveQuestion(_Question):
    """Asks before a model is deleted."""

    def __init__(self, card: ModelCard, parent: QWidget) -> None:
        facts = (
            f"Frees up to {size_text(card.size)}; what another model needs is kept. "
            if card.installed
            else "Deletes what was downloaded of it so far. "
        )
        facts += "Captions stay as they are."
        super().__init__("Remove a model", f"Remove {escape(card.title)}?", facts, parent)
        self.yes = self.addButton("Remove", QMessageBox.ButtonRole.DestructiveRole)


class _Pending(NamedTuple):
    """An image that waits for its model; void once it has been encoded otherwise."""

    controller: Controller
    generation: int


class ModelPanel(QObject):  # type: ignore[misc]
    """Stands between the list of models, the registry and whoever wants an image encoded."""

    changed = Signal()
    messaged = Signal(str)

    def __init__(
        self,
        box: SourceBox,
        registry: ModelRegistry,
        current: Callable[[], Controller | None],
        everyone: Callable[[], Iterable[Controller]],
        window: QWidget,
    ) -> None:
        super().__init__(window)
        self.installer = ModelInstaller(registry, self)
        self.question: GetQuestion | RemoveQuestion | None = None
        self._choice, self._menu, self._window = box.model, box.menu, window
        self._registry = registry
        self._current, self._everyone = current, everyone
        self._pending: _Pending | None = None
        self._agreed: dict[str, Path | None] = {}
        self.refresh()
        self._choice.opening.connect(self.refresh)
        self._choice.changed.connect(self._on_choice)
        self._menu.menu().aboutToShow.connect(self._on_menu)
        self._menu.get.triggered.connect(lambda: self._ask_to_get(self._card(), None))
        self._menu.copy.triggered.connect(lambda: self._copy(self._card(), None))
        self._menu.remove.triggered.connect(lambda: self._ask_to_remove(self._card()))
        self._menu.add.triggered.connect(self._add)
        self._menu.open.triggered.connect(self._open_folder)
        self.installer.changed.connect(self._on_installer)
        self.installer.messaged.connect(self._on_failed)
        self.installer.got.connect(self._on_got)
        self.installer.removed.connect(self._on_removed)
        self.installer.added.connect(self._on_added)

    @property
    def progress(self) -> JobProgress | None:
        """How far the chosen model has come that is being got, or one that is being added."""
        mine = self.installer.model in ("", self._choice.value)
        return self.installer.progress if mine else None

    @property
    def awaited(self) -> bool:
        """Whether the image on display will be encoded as soon as its model is there."""
        return self._is_wanted(self._pending, self.installer.model)

    def start(self) -> None:
        """Have the image on display encoded with the chosen model, got first if need be."""
        controller = self._current()
        self.refresh()
        card = self._card()
        if controller is None or card is None:
            return
        if card.installed:
            controller.start(card.id)
        else:
            self._ask_to_get(card, _Pending(controller, controller.session.generation))

    def cancel(self) -> None:
        """Stop what the progress is of; Start goes on with a download later."""
        if self.progress is not None:
            kept = "what was downloaded is kept, press Start to go on"
            outcome = kept if self.installer.model else "nothing was added"
            self._pending = None
            self.installer.cancel()
            self.messaged.emit(f"cancelled; {outcome}")

    def close(self) -> None:
        """Stop for good."""
        self._pending = None
        self.installer.cancel()
        if self.question is not None:
            self.question.reject()
            self.question = None

    def refresh(self) -> None:
        """Bring the list up to date."""
        registry = self._registry
        self._choice.show_cards(registry.cards(), registry.built_in, self.installer.model)

    # what is asked

    def _ask_to_get(self, card: ModelCard | None, pending: _Pending | None) -> None:
        if card is None or self._is_busy():
            return
        if card.id in self._agreed:
            self._get(card, pending, self._agreed[card.id])
            return
        store = self._registry.store
        question = GetQuestion(card, store.folder(), store.by_hand(card.id), self._window)
        question.agreed.connect(partial(self._get, card, pending))
        question.folder_wanted.connect(partial(self._copy, card, pending))
        self._ask(question)

    def _ask_to_remove(self, card: ModelCard | None) -> None:
        if card is None or self._is_busy():
            return
        question = RemoveQuestion(card, self._window)
        question.agreed.connect(partial(self.installer.remove, card.id))
        self._ask(question)

    def _ask(self, question: GetQuestion | RemoveQuestion) -> None:
        self.question = question
        question.answered.connect(self._on_answered)
        question.open()

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
        self.installer.get(card.id, folder)

    def _copy(self, card: ModelCard | None, pending: _Pending | None) -> None:
        if card is not None:
            folder = self._ask_for_folder(f"Folder with the files of {card.title}")
            if folder is not None:
                self._get(card, pending, folder)

    def _add(self, *_: object) -> None:
        folder = self._ask_for_folder("Folder with a preset.toml and the files it names")
        if folder is not None and not self._is_busy():
            self.installer.add(folder)

    def _open_folder(self, *_: object) -> None:
        folder = self._registry.store.folder()
        folder.mkdir(parents=True, exist_ok=True)
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))

    def _ask_for_folder(self, title: str) -> Path | None:
        chosen = QFileDialog.getExistingDirectory(self._window, title)
        return Path(chosen) if chosen else None

    def _is_busy(self) -> bool:
        """Whether one model is in work already; says so."""
        if self.installer.active:
            self.messaged.emit("another model is still being got or removed; wait, or cancel that")
        return self.installer.active

    def _card(self, model: str = "") -> ModelCard | None:
        """Return what is known of a model, the chosen one by default."""
        try:
            return self._registry.card(model or self._choice.value)
        except PatchionerError as error:
            self.messaged.emit(str(error))
            return None

    # what happens

    def _on_installer(self) -> None:
        self.refresh()
        self.changed.emit()

    def _on_failed(self, message: str) -> None:
        """Show why, and ask again where the folder may have been the wrong one."""
        self._agreed = {model: folder for model, folder in self._agreed.items() if folder is None}
        self.messaged.emit(message)

    def _on_menu(self) -> None:
        self.refresh()
        card = self._card()
        built_in = self._choice.value in self._registry.built_in
        self._menu.show_card(card, built_in=built_in, busy=self.installer.active)

    def _on_choice(self, model: str) -> None:
        card = self._card(model)
        if card is not None and not card.installed:
            self.messaged.emit(f"{card.title}: {state(card)}; Start asks before it downloads")
        self.changed.emit()

    def _on_got(self, model: str) -> None:
        """Encode the image that was waiting for this model, if it still is."""
        pending, self._pending = self._pending, None
        card = self._card(model)
        if pending is not None and self._is_wanted(pending, model):
            pending.controller.start(model)
        elif card is not None:
            self.messaged.emit(f"{card.title} is installed; choose it and press Start to use it")

    def _is_wanted(self, pending: _Pending | None, model: str) -> bool:
        """Whether the person still waits for this model on this image."""
        return (
            pending is not None
            and pending.controller is self._current()
            and self._choice.value == model
            and pending.generation == pending.controller.session.generation
        )

    def _on_removed(self, model: str, freed: int) -> None:
        self._agreed.pop(model, None)
        for controller in self._everyone():
            if controller.encoder.model == model:
                controller.forget_grids()
        self.messaged.emit(f"removed; {size_text(freed)} of disk space freed")

    def _on_added(self, model: str) -> None:
        self._choice.value = model
        card = self._card(model)
        if card is not None:
            self.messaged.emit(f"{card.title} is in the list now; press Start to use it")
