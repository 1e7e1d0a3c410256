"""Clearing the grid store, once a person has said yes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.utils.notifications import show_info, show_warning
from qtpy.QtWidgets import QMessageBox

from napari_patchioner.models.preset import size_text
from napari_patchioner.viewer.reading.reader import current_store, shared_store

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget


def size_of_store() -> str:
    """Return how much memory and disk a clearing would free, in words."""
    held = shared_store(False).size()
    size = current_store(True).size()
    return size_text(held.ram_bytes + size.ram_bytes + size.disk_bytes)


def ask_to_clear(parent: QWidget) -> None:
    """Ask, then delete all that was read of images, in memory and on disk."""
    kinds = QMessageBox.StandardButton
    text = (
        f"Delete all that was read of images ({size_of_store()})? Captions stay; an image is "
        "read again when it is needed, which takes as long as the first time."
    )
    answer = QMessageBox.question(
        parent, "Clear the grid store", text, kinds.Yes | kinds.Cancel, kinds.Cancel
    )
    if answer != kinds.Yes:
        return
    held, freed = shared_store(False).clear(), current_store(True).clear()
    left = current_store(True).size()
    size = size_text(held.ram_bytes + freed.ram_bytes + freed.disk_bytes)
    if left.disk_grids:
        show_warning(
            f"{size} are free again, but {left.disk_grids} files could not be deleted; close "
            "other programs that use them, or make their folder writable."
        )
    else:
        show_info(f"{size} are free again.")
