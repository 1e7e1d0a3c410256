"""Answers for the models: keeps the list right, asks, and gets what a reading is waiting for."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from qtpy.QtCore import QObject, QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_patchioner.errors import PatchionerError

from . import model_text
from .model_questions import GetQuestion, RemoveQuestion
from .supply import Supply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari_patchioner.models import ModelCard
    from napari_patchioner.viewer.desk.annotator import Annotator
    from napari_patchioner.viewer.reading.library import Library
    from napari_patchioner.viewer.reading.worker import Progress

    from .source_box import SourceBox


class _Wish(NamedTuple):
    """A reading that waits for its model; void once the image has been read otherwise."""

    annotator: Annotator
    generation: int


class ModelDesk(QObject):
    """Stands between the list of models, the library and whoever wants an image read.

    Parameters
    ----------
    box : SourceBox
        The list and its menu.
    library : Library
        The models.
    current, everyone : callable
        Return the annotator of the image on display, if there is one, and all of them.
    parent : QWidget
        Whose window questions are asked in.
    """

    changed = Signal()
    told = Signal(str)

    def __init__(
        self,
        box: SourceBox,
        library: Library,
        current: Callable[[], Annotator | None],
        everyone: Callable[[], Iterable[Annotator]],
        parent: QWidget,
    ) -> None:
        super().__init__(parent)
        self.supply = Supply(library, self)
        self.question: GetQuestion | RemoveQuestion | None = None
        self._choice, self._menu = box.model, box.menu
        self._library = library
        self._current, self._everyone = current, everyone
        self._wish: _Wish | None = None
        self._agreed: dict[str, Path | None] = {}
        self.refresh()
        self._wire()

    def _wire(self) -> None:
        self._choice.opening.connect(self.refresh)
        self._choice.changed.connect(self._on_choice)
        self._menu.menu().aboutToShow.connect(self._on_menu)
        self._menu.get.triggered.connect(lambda: self._ask_to_get(self._card(), None))
        self._menu.copy.triggered.connect(lambda: self._copy(self._card(), None))
        self._menu.remove.triggered.connect(lambda: self._ask_to_remove(self._card()))
        self._menu.add.triggered.connect(self._add)
        self._menu.open.triggered.connect(self._open_folder)
        self.supply.changed.connect(self._on_supply)
        self.supply.told.connect(self._on_trouble)
        self.supply.got.connect(self._on_got)
        self.supply.removed.connect(self._on_removed)
        self.supply.added.connect(self._on_added)

    @property
    def progress(self) -> Progress | None:
        """How far the chosen model has come that is being got, or one that is being added."""
        supply = self.supply
        shown = supply.stoppable and supply.model in ("", self._choice.value)
        return supply.job.progress if shown else None

    @property
    def awaited(self) -> bool:
        """Whether the image on display will be read as soon as its model is there."""
        return self._wish is not None and self._still_wanted(self._wish, self.supply.model)

    def start(self) -> None:
        """Have the image on display read with the chosen model, got first if need be."""
        annotator = self._current()
        self.refresh()
        card = self._card()
        if annotator is None or card is None:
            return
        if card.installed:
            annotator.start(card.id)
        else:
            self._ask_to_get(card, _Wish(annotator, annotator.session.generation))

    def cancel(self) -> None:
        """Stop what the progress is of; Start goes on with a download later."""
        if self.progress is not None:
            kept = "what was downloaded is kept, press Start to go on"
            outcome = kept if self.supply.model else "nothing was added"
            self._wish = None
            self.supply.cancel()
            self.told.emit(f"cancelled; {outcome}")

    def close(self) -> None:
        """Stop for good."""
        self._wish = None
        self.supply.cancel()
        if self.question is not None:
            self.question.reject()
            self.question = None

    def refresh(self) -> None:
        """Bring the list up to date."""
        library = self._library
        self._choice.show_cards(library.cards(), library.built_in, self.supply.model)

    # what is asked

    def _ask_to_get(self, card: ModelCard | None, wish: _Wish | None) -> None:
        if card is None or self._busy():
            return
        if card.id in self._agreed:
            self._get(card, wish, self._agreed[card.id])
            return
        library = self._library
        question = GetQuestion(card, library.folder(), library.by_hand(card.id), self.parent())
        question.agreed.connect(partial(self._get, card, wish))
        question.folder_wanted.connect(partial(self._copy, card, wish))
        self._ask(question)

    def _ask_to_remove(self, card: ModelCard | None) -> None:
        if card is None or self._busy():
            return
        question = RemoveQuestion(card, self.parent())
        question.agreed.connect(partial(self.supply.remove, card.id))
        self._ask(question)

    def _ask(self, question: GetQuestion | RemoveQuestion) -> None:
        self.question = question
        question.answered.connect(self._on_answered)
        question.open()

    def _on_answered(self, *_: object) -> None:
        self.question = None

    # what is done

    def _get(self, card: ModelCard, wish: _Wish | None, folder: Path | None = None) -> None:
        if self._busy():
            return
        if folder is not None or not self._library.by_hand(card.id):
            self._agreed[card.id] = folder
        self._wish = wish
        self.told.emit(f"getting {card.title}; you can draw meanwhile")
        self.supply.get(card.id, folder)

    def _copy(self, card: ModelCard | None, wish: _Wish | None) -> None:
        if card is not None:
            folder = self._folder(f"Folder with the files of {card.title}")
            if folder is not None:
                self._get(card, wish, folder)

    def _add(self) -> None:
        folder = self._folder("Folder with a preset.toml and the files it names")
        if folder is not None and not self._busy():
            self.supply.add(folder)

    def _open_folder(self) -> None:
        folder = self._library.folder()
        folder.mkdir(parents=True, exist_ok=True)
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))

    def _folder(self, title: str) -> Path | None:
        chosen = QFileDialog.getExistingDirectory(self.parent(), title)
        return Path(chosen) if chosen else None

    def _busy(self) -> bool:
        """Say so where one model is in hand already."""
        if self.supply.active:
            self.told.emit("another model is still being got or removed; wait, or cancel that")
        return self.supply.active

    def _card(self, model: str = "") -> ModelCard | None:
        """Return what is known of a model, the chosen one by default."""
        try:
            return self._library.card(model or self._choice.value)
        except PatchionerError as error:
            self.told.emit(str(error))
            return None

    # what happens

    def _on_supply(self) -> None:
        self.refresh()
        self.changed.emit()

    def _on_trouble(self, message: str) -> None:
        """Tell it, and ask again where the folder may have been the wrong one."""
        self._agreed = {name: place for name, place in self._agreed.items() if place is None}
        self.told.emit(message)

    def _on_menu(self) -> None:
        self.refresh()
        card = self._card()
        built_in = self._choice.value in self._library.built_in
        self._menu.show_card(card, built_in=built_in, busy=self.supply.active)

    def _on_choice(self, model: str) -> None:
        card = self._card(model)
        if card is not None and not card.installed:
            self.told.emit(
                f"{card.title}: {model_text.state(card)}; Start asks before it downloads"
            )
        self.changed.emit()

    def _on_got(self, model: str) -> None:
        """Read what was waiting for this model, if it still is."""
        wish, self._wish = self._wish, None
        card = self._card(model)
        if wish is not None and self._still_wanted(wish, model):
            wish.annotator.start(model)
        elif card is not None:
            self.told.emit(f"{card.title} is installed; choose it and press Start to use it")

    def _still_wanted(self, wish: _Wish, model: str) -> bool:
        """Whether the person still waits for this model on this image."""
        here = wish.annotator is self._current() and self._choice.value == model
        return here and wish.generation == wish.annotator.session.generation

    def _on_removed(self, model: str, freed: int) -> None:
        self._agreed.pop(model, None)
        for annotator in self._everyone():
            if annotator.reader.model == model:
                annotator.let_go()
        self.told.emit(f"removed; {model_text.size_text(freed)} of disk space freed")

    def _on_added(self, model: str) -> None:
        self._choice.value = model
        card = self._card(model)
        if card is not None:
            self.told.emit(f"{card.title} is in the list now; press Start to use it")
