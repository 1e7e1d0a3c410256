"""The projects of all images: where the work is saved, opened, merged, and what to ask then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.notifications import show_info, show_warning
from qtpy import QtWidgets as qt
from qtpy.QtCore import Qt
from superqt import QElidingLabel

from napari_patchioner.errors import PatchionerError, counted
from napari_patchioner.models.preset import size_text
from napari_patchioner.viewer.project.project_file import ProjectFile
from napari_patchioner.viewer.widgets import MenuButton, button, stack, wrapped
from napari_patchioner.viewer.workers.encode import current_store, shared_store

if TYPE_CHECKING:
    from napari_patchioner.annotations import CopyProject
    from napari_patchioner.viewer.controller import Controller

    Current = Callable[[], Controller | None]

CLEAR = "Clear the grid store…"
FILTER = "Patch-ioner projects (*.patchioner.json *.bak *.damaged);;All files (*)"
_Answer = qt.QMessageBox.StandardButton


def question(copies: Sequence[CopyProject]) -> str:
    """Return what to ask about the first of some copies."""
    first, more = copies[0], len(copies) - 1
    if first.image_path:
        place = f"{'at' if first.image_exists else 'that is no longer at'} {first.image_path}"
    else:
        place = f"called {first.image_name!r}" if first.image_name else f"at {first.path}"
    others = f" (and of {counted(more, 'other copy', 'other copies')})" if more else ""
    number = counted(first.captions, "caption")
    return f"An identical image {place} has {number}{others}. Take them over?"


def size_of_store() -> str:
    """Return how much memory and disk a clearing would free, in words."""
    held, size = shared_store(False).size(), current_store(True).size()
    return size_text(held.ram_bytes + size.ram_bytes + size.disk_bytes)


def ask_to_clear(parent: qt.QWidget) -> None:
    """Ask, then delete all grids of images, in memory and on disk."""
    text = (
        f"Delete all that was read of images ({size_of_store()})? Captions stay; an image is "
        "read again when it is needed, which takes as long as the first time."
    )
    title, buttons = "Clear the grid store", _Answer.Yes | _Answer.Cancel
    if qt.QMessageBox.question(parent, title, text, buttons, _Answer.Cancel) != _Answer.Yes:
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


class Projects(qt.QWidget):  # type: ignore[misc]
    """Has a project file for every controller, and shows whether all work is saved.

    `offer`, which asks whether to take over the work on an image with the same pixels, is laid out
    elsewhere, where it is seen at once; nothing waits for it.
    """

    def __init__(self, current: Current, open_folder: Callable[[], None]) -> None:
        super().__init__()
        self.files: dict[Controller, ProjectFile] = {}
        self._controller = current
        self.state = QElidingLabel("")
        self.state.setElideMode(Qt.TextElideMode.ElideMiddle)
        tip = "Load saved work on this image from a file."
        self.open = button("Open project…", tip, self.ask_what_to_open)
        tip = "Save now, merge projects, go through a folder, clear the grid store."
        self.more = more = MenuButton("More", tip)
        tip = "Work is saved by itself; this is for peace of mind."
        self.save = more.add("Save now (Ctrl+S)", self.save_now, tip)
        tip = "Take over what another project of this image has."
        self.merge = more.add("Merge…", self.ask_what_to_merge, tip)
        more.menu().addSeparator()
        tip = "List the images of a folder and go through them."
        self.folder = more.add("Folder of images…", open_folder, tip)
        tip = "Delete what was read of images; it is read again when needed."
        self.clear = more.add(CLEAR, lambda: ask_to_clear(self), tip)
        more.menu().aboutToShow.connect(lambda: self.clear.setText(f"{CLEAR} ({size_of_store()})"))
        stack(self, (self.state, self.open, more), wide=[self.state])
        self.offer, self.question = qt.QWidget(), wrapped()
        tip = "They go on beside this image; the other project stays as it is."
        self.accept = button("Take them over", tip, self.take_over)
        tip = "Leave them where they are; More > Merge… offers them still."
        self.refuse = button("Start fresh", tip, self.start_fresh)
        stack(self.offer, self.question, (self.accept, self.refuse))
        self.offer.hide()

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

    def close_all(self) -> None:
        """Save everything and stop."""
        for controller in list(self.files):
            self.dismiss(controller)

    def refresh(self) -> None:
        """Show where the work at hand is saved."""
        file = self.current
        for part in (self.open, self.save, self.merge):
            part.setEnabled(file is not None)
        self.state.setText(file.state if file else "")
        # The whole path, or what is wrong.
        self.state.setToolTip(file.autosave.problem or str(file.path or "") if file else "")
        copies = file.copies if file else ()
        self.offer.setVisible(bool(copies))
        if copies:
            self.question.setText(question(copies))
            self.question.setToolTip(question(copies))

    def take_over(self) -> None:
        """Take over the work on a copy of the image at hand."""
        if (file := self.current) and file.copies:
            file.take_over()

    def start_fresh(self) -> None:
        """Leave the work on copies of the image at hand where it is."""
        if file := self.current:
            file.start_fresh()

    def ask_what_to_open(self) -> None:
        """Ask for a project, and load it on the image at hand."""
        if (file := self.current) and (path := self._ask_for_file("Open project", file)):
            file.open(path)
            self.refresh()

    def save_now(self) -> None:
        """Save the work at hand, and say where; where that fails, ask for another file."""
        if file := self.current:
            if file.save() or self._ask(file, may_stay=True):
                file.messaged.emit(file.state or "There is nothing to save yet.")
            self.refresh()

    def ask_what_to_merge(self) -> None:
        """Offer the other projects of the image that are known, or ask for a file."""
        file = self.current
        if file is None:
            return
        known = file.others
        for path in known:
            text = (
                f"There is other work on this image in {path}.\n\nTake over what it has and this "
                "one has not? No text of a person is replaced, and that file stays as it is."
            )
            buttons = _Answer.Yes | _Answer.No | _Answer.Cancel
            answer = qt.QMessageBox.question(self, "Merge projects", text, buttons)
            if answer == _Answer.Cancel:
                return
            if answer == _Answer.Yes:
                file.merge(path)
        if not known and (chosen := self._ask_for_file("Merge project", file)):
            file.merge(chosen)
        self.refresh()

    def _ask_for_file(self, title: str, file: ProjectFile) -> str:
        """Ask for a project to read."""
        return str(qt.QFileDialog.getOpenFileName(self, title, str(file.folder), FILTER)[0])

    def _ask(self, file: ProjectFile, *, may_stay: bool) -> bool:
        """Ask what to do with work that cannot be saved; return whether to go on without it."""
        buttons = _Answer.Save | _Answer.Discard
        if may_stay:
            buttons |= _Answer.Cancel
        while True:
            text = f"The captions of this image could not be saved: {file.autosave.problem}"
            icon = qt.QMessageBox.Icon.Warning
            box = qt.QMessageBox(icon, "Unsaved captions", text, buttons, self)
            box.button(_Answer.Save).setText("Save elsewhere…")
            box.button(_Answer.Discard).setText("Close without saving")
            box.setDefaultButton(_Answer.Save)
            answer = box.exec()
            box.deleteLater()
            if answer == _Answer.Discard:
                file.give_up()
                return True
            if answer == _Answer.Cancel and may_stay:
                return False
            if answer == _Answer.Save:
                suggestion = str(Path.home() / "captions.patchioner.json")
                path, _ = qt.QFileDialog.getSaveFileName(self, "Save project", suggestion, FILTER)
                try:
                    if path:
                        file.save_as(path)
                        return True
                except PatchionerError:
                    continue
