"""The projects of all images in the dock: kept, opened, and asked about when saving fails."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_patchioner.errors import PatchionerError

from .keeper import Keeper
from .project_row import CLEAR
from .store_question import ask_to_clear, size_of_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_patchioner.viewer.desk.annotator import Annotator

    from .project_row import ProjectRow

FILTER = "Patch-ioner projects (*.patchioner.json *.bak *.damaged);;All files (*)"


class ProjectDesk(QObject):
    """Has a keeper for every annotator.

    Parameters
    ----------
    row : ProjectRow
        Shows where the work at hand is saved.
    current : callable
        Returns the annotator at hand.
    parent : QWidget
        The dock, which questions are asked over.
    """

    def __init__(
        self, row: ProjectRow, current: Callable[[], Annotator | None], parent: Any
    ) -> None:
        super().__init__(parent)
        self.keepers: dict[Annotator, Keeper] = {}
        self._row = row
        self._current = current
        row.open.clicked.connect(self.ask_what_to_open)
        row.save.triggered.connect(self.save_now)
        row.merge.triggered.connect(self.ask_what_to_merge)
        row.offer.accept.clicked.connect(self.take_over)
        row.offer.refuse.clicked.connect(self.start_fresh)
        row.clear.triggered.connect(lambda: ask_to_clear(self.parent()))
        row.menu.aboutToShow.connect(lambda: row.clear.setText(f"{CLEAR} ({size_of_store()})"))

    def keep(self, annotator: Annotator) -> None:
        """Restore what was saved for an annotator's image, and save what is done from now on."""
        keeper = self.keepers[annotator] = Keeper(annotator)
        keeper.told.connect(annotator.tell)
        keeper.changed.connect(self.refresh)
        self.refresh()

    def dismiss(self, annotator: Annotator) -> None:
        """Save the work of an annotator that is about to end."""
        keeper = self.keepers.pop(annotator, None)
        if keeper is not None and not keeper.close():
            self._ask(keeper, may_stay=False)

    def may_close(self) -> bool:
        """Save everything; where that fails, ask. False where a person would rather stay."""
        return all(
            keeper.save() or self._ask(keeper, may_stay=True) for keeper in self.keepers.values()
        )

    def may_leave(self, annotator: Annotator | None) -> bool:
        """Save the work on one image, half drawn shapes too; where that fails, ask."""
        keeper = self.keepers.get(annotator)
        if keeper is None:
            return True
        annotator.finish_drawing()
        return keeper.save() or self._ask(keeper, may_stay=True)

    def close(self) -> None:
        """Save everything and stop."""
        for annotator in list(self.keepers):
            self.dismiss(annotator)

    def refresh(self) -> None:
        """Show where the work at hand is saved."""
        keeper = self.keepers.get(self._current())
        for one in (self._row.open, self._row.save, self._row.merge):
            one.setEnabled(keeper is not None)
        if keeper is None:
            self._row.show_state("", None)
        else:
            self._row.show_state(keeper.state, keeper.path, keeper.autosave.problem)
        self._row.offer.show_copies(keeper.copies if keeper is not None else ())

    def take_over(self, *_: object) -> None:
        """Take over the work on a copy of the image at hand."""
        keeper = self.keepers.get(self._current())
        if keeper is not None and keeper.copies:
            keeper.take_over()

    def start_fresh(self, *_: object) -> None:
        """Leave the work on copies of the image at hand where it is."""
        keeper = self.keepers.get(self._current())
        if keeper is not None:
            keeper.start_fresh()

    def ask_what_to_open(self) -> None:
        """Ask for a project, and load it on the image at hand."""
        keeper = self.keepers.get(self._current())
        if keeper is None:
            return
        folder = str(keeper.folder)
        path, _ = QFileDialog.getOpenFileName(self.parent(), "Open project", folder, FILTER)
        if path:
            keeper.open(path)
            self.refresh()

    def save_now(self) -> None:
        """Save the work at hand, and say where; where that fails, ask for another file."""
        keeper = self.keepers.get(self._current())
        if keeper is None:
            return
        if keeper.save() or self._ask(keeper, may_stay=True):
            keeper.told.emit(keeper.state or "There is nothing to save yet.")
        self.refresh()

    def ask_what_to_merge(self) -> None:
        """Offer the other projects of the image that are known, or ask for a file."""
        keeper = self.keepers.get(self._current())
        if keeper is None:
            return
        known = keeper.others
        for path in known:
            answer = self._offer(path)
            if answer == QMessageBox.StandardButton.Yes:
                keeper.merge(path)
            elif answer == QMessageBox.StandardButton.Cancel:
                return
        if not known:
            folder = str(keeper.folder)
            path, _ = QFileDialog.getOpenFileName(self.parent(), "Merge project", folder, FILTER)
            if path:
                keeper.merge(path)
        self.refresh()

    def _offer(self, path: Path) -> QMessageBox.StandardButton:
        kinds = QMessageBox.StandardButton
        text = (
            f"There is other work on this image in {path}.\n\nTake over what it has and this one "
            "has not? No text of a person is replaced, and that file stays as it is."
        )
        buttons = kinds.Yes | kinds.No | kinds.Cancel
        return QMessageBox.question(self.parent(), "Merge projects", text, buttons)

    def _ask(self, keeper: Keeper, *, may_stay: bool) -> bool:
        """Ask what to do with work that cannot be saved; return whether to go on without it."""
        kinds = QMessageBox.StandardButton
        buttons = kinds.Save | kinds.Discard
        if may_stay:
            buttons |= kinds.Cancel
        while True:
            text = f"The captions of this image could not be saved: {keeper.autosave.problem}"
            question = QMessageBox(
                QMessageBox.Icon.Warning, "Unsaved captions", text, buttons, self.parent()
            )
            question.button(kinds.Save).setText("Save elsewhere…")
            question.button(kinds.Discard).setText("Close without saving")
            question.setDefaultButton(kinds.Save)
            answer = question.exec()
            question.deleteLater()
            if answer == kinds.Save and self._save_elsewhere(keeper):
                return True
            if answer == kinds.Discard:
                keeper.give_up()
                return True
            if answer == kinds.Cancel and may_stay:
                return False

    def _save_elsewhere(self, keeper: Keeper) -> bool:
        """Ask for another file, and save there; return whether that worked."""
        suggestion = str(Path.home() / "captions.patchioner.json")
        path, _ = QFileDialog.getSaveFileName(self.parent(), "Save project", suggestion, FILTER)
        if not path:
            return False
        try:
            keeper.save_as(path)
        except PatchionerError:
            return False
        return True
