"""Questions before something is downloaded or deleted; both are answered no by default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QMessageBox

from . import model_text

if TYPE_CHECKING:
    from pathlib import Path

    from qtpy.QtWidgets import QAbstractButton, QWidget

    from napari_patchioner.models import ModelCard


class _Question(QMessageBox):
    """A question that does not stop the rest of the program; gone once it is answered."""

    def __init__(self, title: str, text: str, facts: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.setIcon(QMessageBox.Icon.Question)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setText(text)
        self.setInformativeText(facts)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.no = self.addButton(QMessageBox.StandardButton.Cancel)
        self.setDefaultButton(self.no)
        self.setEscapeButton(self.no)
        self.finished.connect(lambda _: self._on_answered(self.clickedButton()))

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
    parent : QWidget
        Whose window it belongs to.
    """

    agreed = Signal()
    folder_wanted = Signal()

    def __init__(self, card: ModelCard, folder: Path, parent: QWidget) -> None:
        facts = model_text.question(card, folder, model_text.machine_memory())
        super().__init__("Get a model", f"{card.title} is not installed.", facts, parent)
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
            f"This frees up to {model_text.size_text(card.size)}; files that another installed "
            "model needs are kept. Captions stay as they are."
        )
        super().__init__("Remove a model", f"Remove {card.title}?", facts, parent)
        self.yes = self.addButton("Remove", QMessageBox.ButtonRole.DestructiveRole)

    def _on_answered(self, button: QAbstractButton | None) -> None:
        if button == self.yes:
            self.agreed.emit()
