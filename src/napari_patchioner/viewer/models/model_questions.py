"""Questions before something is downloaded or deleted; both are answered no by default."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal, Slot
from qtpy.QtWidgets import QMessageBox

from . import model_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from qtpy.QtWidgets import QAbstractButton, QWidget

    from napari_patchioner.models import ModelCard


class _Question(QMessageBox):
    """A question that does not stop the rest of the program; gone once it is answered."""

    answered = Signal()

    def __init__(self, title: str, text: str, facts: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.setIcon(QMessageBox.Icon.Question)
        self.setText(text)
        self.setInformativeText(facts)
        self.no = self.addButton(QMessageBox.StandardButton.Cancel)
        self.setDefaultButton(self.no)
        self.setEscapeButton(self.no)
        # Later: what is done then works off events, and Qt is still busy with the box now.
        self.finished.connect(self._on_finished, Qt.ConnectionType.QueuedConnection)

    @Slot(int)
    def _on_finished(self, _result: int) -> None:
        self._on_answered(self.clickedButton())
        self.answered.emit()
        self.deleteLater()

    def _on_answered(self, button: QAbstractButton | None) -> None:
        raise NotImplementedError


class GetQuestion(_Question):
    """Asks before a model is got.

    Parameters
    ----------
    card : ModelCard
        The model.
    folder : Path
        Where it would be kept.
    by_hand : sequence of str
        Files that a person has to bring along.
    parent : QWidget
        Whose window it belongs to.
    """

    agreed = Signal()
    folder_wanted = Signal()

    def __init__(
        self, card: ModelCard, folder: Path, by_hand: Sequence[str], parent: QWidget
    ) -> None:
        facts = model_text.question(card, folder, model_text.machine_memory(), by_hand)
        super().__init__("Get a model", f"{escape(card.title)} is not installed.", facts, parent)
        self.yes = self.addButton("Get", QMessageBox.ButtonRole.AcceptRole)
        self.copy = self.addButton("Choose a folder…", QMessageBox.ButtonRole.ActionRole)
        self.copy.setToolTip("Where a copy of the files lies already; nothing is downloaded then.")

    def _on_answered(self, button: QAbstractButton | None) -> None:
        if button == self.yes:
            self.agreed.emit()
        elif button == self.copy:
            self.folder_wanted.emit()


class RemoveQuestion(_Question):
    """Asks before a model is deleted.

    Parameters
    ----------
    card : ModelCard
        The model.
    parent : QWidget
        Whose window it belongs to.
    """

    agreed = Signal()

    def __init__(self, card: ModelCard, parent: QWidget) -> None:
        facts = (
            f"Frees up to {model_text.size_text(card.size)}; what another model needs is kept. "
            if card.installed
            else "Deletes what was downloaded of it so far. "
        )
        facts += "Captions stay as they are."
        super().__init__("Remove a model", f"Remove {escape(card.title)}?", facts, parent)
        self.yes = self.addButton("Remove", QMessageBox.ButtonRole.DestructiveRole)

    def _on_answered(self, button: QAbstractButton | None) -> None:
        if button == self.yes:
            self.agreed.emit()
