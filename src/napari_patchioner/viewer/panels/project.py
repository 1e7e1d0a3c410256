"""The projects of all images: where the work is saved, opened, merged, and what to ask then."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.notifications import show_info, show_warning
from qtpy.QtCore import QObject, Qt
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QMenu,
    QMessageBox,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_patchioner.errors import PatchionerError
from napari_patchioner.models.preset import size_text
from napari_patchioner.viewer.project.project_file import ProjectFile
from napari_patchioner.viewer.session.session import counted
from napari_patchioner.viewer.widgets.basic import narrow
from napari_patchioner.viewer.workers.encode import current_store, shared_store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_patchioner.annotations import CopyProject
    from napari_patchioner.viewer.controller import Controller

CLEAR = "Clear the grid store…"
FILTER = "Patch-ioner projects (*.patchioner.json *.bak *.damaged);;All files (*)"


class ProjectRow(QWidget):  # type: ignore[misc]
    """Shows whether all work is saved; `offer` is laid out elsewhere, where it is seen at once."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = QElidingLabel("", self)
        self.state.setElideMode(Qt.TextElideMode.ElideMiddle)
        self.open = QPushButton("Open project…", self)
        self.open.setToolTip("Load saved work on this image from a file.")
        self.open.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.menu = QMenu(self)
        self.menu.setToolTipsVisible(True)
        self.save = self.menu.addAction("Save now (Ctrl+S)")
        self.save.setToolTip("Work is saved by itself; this is for peace of mind.")
        self.merge = self.menu.addAction("Merge…")
        self.merge.setToolTip("Take over what another project of this image has.")
        self.menu.addSeparator()
        self.folder = self.menu.addAction("Folder of images…")
        self.folder.setToolTip("List the images of a folder and go through them.")
        self.clear = self.menu.addAction(CLEAR)
        self.clear.setToolTip("Delete what was read of images; it is read again when needed.")
        self.more = QToolButton(self)
        self.more.setText("More")
        # Room for the arrow beside the text
        self.more.setStyleSheet("QToolButton { padding: 2px 14px 2px 4px; }")
        self.more.setToolTip("Save now, merge projects, go through a folder, clear the grid store.")
        self.more.setMenu(self.menu)
        self.more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.more.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.offer = CopyOffer(self)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.state, 1)
        layout.addWidget(self.open)
        layout.addWidget(self.more)

    def show_state(self, state: str, path: Path | None, problem: str = "") -> None:
        """Show a few words; the whole path, or what is wrong, is the tooltip."""
        self.state.setText(state)
        self.state.setToolTip(problem or (str(path) if path is not None else ""))


class CopyOffer(QWidget):  # type: ignore[misc]
    """Asks whether to take over the work on an image with the same pixels; nothing waits for it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.question = QLabel(self)
        self.question.setWordWrap(True)
        narrow(self.question)
        self.question.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.accept = QPushButton("Take them over", self)
        self.accept.setToolTip("They go on beside this image; the other project stays as it is.")
        self.refuse = QPushButton("Start fresh", self)
        self.refuse.setToolTip("Leave them where they are; More > Merge… offers them still.")
        row = QHBoxLayout()
        for button in (self.accept, self.refuse):
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            row.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.question)
        layout.addLayout(row)
        self.hide()

    def show_copies(self, copies: Sequence[CopyProject]) -> None:
        """Ask about the first of these, or about nothing."""
        self.setVisible(bool(copies))
        if copies:
            self.question.setText(question(copies))
            self.question.setToolTip(question(copies))


def question(copies: Sequence[CopyProject]) -> str:
    """Return what to ask about the first of some copies."""
    first, more = copies[0], len(copies) - 1
    place = first.image_path or first.path
    where = "at" if first.image_exists or not first.image_path else "that is no longer at"
    others = f" (and of {counted(more, 'other copy', 'other copies')})" if more else ""
    number = counted(first.captions, "caption")
    return f"An identical image {where} {place} has {number}{others}. Take them over?"


def size_of_store() -> str:
    """Return how much memory and disk a clearing would free, in words."""
    held, size = shared_store(False).size(), current_store(True).size()
    return size_text(held.ram_bytes + size.ram_bytes + size.disk_bytes)


def ask_to_clear(parent: QWidget) -> None:
    """Ask, then delete all grids of images, in memory and on disk."""
    kinds = QMessageBox.StandardButton
    text = (
        f"Delete all that was read of images ({size_of_store()})? Captions stay; an image is "
        "read again when it is needed, which takes as long as the first time."
    )
    title, buttons = "Clear the grid store", kinds.Yes | kinds.Cancel
    if QMessageBox.question(parent, title, text, buttons, kinds.Cancel) != kinds.Yes:
        return
    held, freed = shared_store(False).clear(), current_store(True).clear()
    left = current_store(True).size().disk_grids
    size = size_text(held.ram_bytes + freed.ram_bytes + freed.disk_bytes)
    if left:
        show_warning(
            f"{size} are free again, but {left} files could not be deleted; close "
            "other programs that use them, or make their folder writable."
        )
    else:
        show_info(f"{size} are free again.")


class Projects(QObject):  # type: ignore[misc]
    """Has a project file for every controller."""

    def __init__(
        self, row: ProjectRow, current: Callable[[], Controller | None], window: QWidget
    ) -> None:
        super().__init__(window)
        self.files: dict[Controller, ProjectFile] = {}
        self._row, self._window = row, window
        self._controller = current
        row.open.clicked.connect(self.ask_what_to_open)
        row.save.triggered.connect(self.save_now)
        row.merge.triggered.connect(self.ask_what_to_merge)
        row.offer.accept.clicked.connect(self.take_over)
        row.offer.refuse.clicked.connect(self.start_fresh)
        row.clear.triggered.connect(lambda: ask_to_clear(window))
        row.menu.aboutToShow.connect(lambda: row.clear.setText(f"{CLEAR} ({size_of_store()})"))

    @property
    def current(self) -> ProjectFile | None:
        """The project file of the image at hand."""
        controller = self._controller()
        return self.files.get(controller) if controller is not None else None

    def keep(self, controller: Controller) -> None:
        """Restore what was saved for a controller's image, and save what is done from now on."""
        file = self.files[controller] = ProjectFile(controller)
        file.messaged.connect(controller.show_message)
        file.changed.connect(self.refresh)
        self.refresh()

    def dismiss(self, controller: Controller) -> None:
        """Save the work of a controller that is about to end."""
        file = self.files.pop(controller, None)
        if file is not None and not file.close():
            self._ask(file, may_stay=False)

    def may_close(self) -> bool:
        """Save everything; where that fails, ask. False where a person would rather stay."""
        return all(file.save() or self._ask(file, may_stay=True) for file in self.files.values())

    def may_leave(self, controller: Controller | None) -> bool:
        """Save the work on one image, half drawn shapes too; where that fails, ask."""
        file = self.files.get(controller) if controller is not None else None
        if controller is None or file is None:
            return True
        controller.finish_drawing()
        return file.save() or self._ask(file, may_stay=True)

    def close(self) -> None:
        """Save everything and stop."""
        for controller in list(self.files):
            self.dismiss(controller)

    def refresh(self) -> None:
        """Show where the work at hand is saved."""
        file = self.current
        for widget in (self._row.open, self._row.save, self._row.merge):
            widget.setEnabled(file is not None)
        if file is None:
            self._row.show_state("", None)
        else:
            self._row.show_state(file.state, file.path, file.autosave.problem)
        self._row.offer.show_copies(file.copies if file is not None else ())

    def take_over(self, *_: object) -> None:
        """Take over the work on a copy of the image at hand."""
        file = self.current
        if file is not None and file.copies:
            file.take_over()

    def start_fresh(self, *_: object) -> None:
        """Leave the work on copies of the image at hand where it is."""
        file = self.current
        if file is not None:
            file.start_fresh()

    def ask_what_to_open(self, *_: object) -> None:
        """Ask for a project, and load it on the image at hand."""
        file = self.current
        if file is not None and (path := self._ask_for_file("Open project", file)):
            file.open(path)
            self.refresh()

    def save_now(self, *_: object) -> None:
        """Save the work at hand, and say where; where that fails, ask for another file."""
        file = self.current
        if file is None:
            return
        if file.save() or self._ask(file, may_stay=True):
            file.messaged.emit(file.state or "There is nothing to save yet.")
        self.refresh()

    def ask_what_to_merge(self, *_: object) -> None:
        """Offer the other projects of the image that are known, or ask for a file."""
        file = self.current
        if file is None:
            return
        kinds = QMessageBox.StandardButton
        known = file.others
        for path in known:
            text = (
                f"There is other work on this image in {path}.\n\nTake over what it has and this "
                "one has not? No text of a person is replaced, and that file stays as it is."
            )
            buttons = kinds.Yes | kinds.No | kinds.Cancel
            answer = QMessageBox.question(self._window, "Merge projects", text, buttons)
            if answer == kinds.Yes:
                file.merge(path)
            elif answer == kinds.Cancel:
                return
        if not known and (chosen := self._ask_for_file("Merge project", file)):
            file.merge(chosen)
        self.refresh()

    def _ask_for_file(self, title: str, file: ProjectFile) -> str:
        """Ask for a project to read."""
        return str(QFileDialog.getOpenFileName(self._window, title, str(file.folder), FILTER)[0])

    def _ask(self, file: ProjectFile, *, may_stay: bool) -> bool:
        """Ask what to do with work that cannot be saved; return whether to go on without it."""
        kinds = QMessageBox.StandardButton
        buttons = kinds.Save | kinds.Discard
        if may_stay:
            buttons |= kinds.Cancel
        while True:
            text = f"The captions of this image could not be saved: {file.autosave.problem}"
            question = QMessageBox(
                QMessageBox.Icon.Warning, "Unsaved captions", text, buttons, self._window
            )
            question.button(kinds.Save).setText("Save elsewhere…")
            question.button(kinds.Discard).setText("Close without saving")
            question.setDefaultButton(kinds.Save)
            answer = question.exec()
            question.deleteLater()
            if answer == kinds.Save and self._save_elsewhere(file):
                return True
            if answer == kinds.Discard:
                file.give_up()
                return True
            if answer == kinds.Cancel and may_stay:
                return False

    def _save_elsewhere(self, file: ProjectFile) -> bool:
        """Ask for another file, and save there; return whether that worked."""
        suggestion = str(Path.home() / "captions.patchioner.json")
        path, _ = QFileDialog.getSaveFileName(self._window, "Save project", suggestion, FILTER)
        if not path:
            return False
        try:
            file.save_as(path)
        except PatchionerError:
            return False
        return True
