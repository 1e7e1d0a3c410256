"""The dock of a folder's images: the list, and its keys on the canvas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow

from napari_patchioner.viewer.desk.dock import CaptionDock
from napari_patchioner.viewer.panels.keys import FOLDER, key_callback
from napari_patchioner.viewer.widgets.dock_base import DockBase

from .browser import Browser
from .folder_list import FolderList

if TYPE_CHECKING:
    from pathlib import Path

    import napari

    from napari_patchioner.viewer.reading.library import Library

_PLUGIN, _CAPTIONS = "napari-patchioner", "Patch-ioner: caption regions"
# The name of napari's own dock.
_LAYERS = "layer list"


class FolderDock(DockBase):
    """Go through a folder of images, with their regions and captions.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer it is docked in.
    library : Library, optional
        Where models come from; the one of this process by default.
    """

    def __init__(
        self, napari_viewer: napari.viewer.Viewer, *, library: Library | None = None
    ) -> None:
        super().__init__()
        # As of the dock for captions.
        self.viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self._library = library
        self._closed = self._placed = False
        self.browser = Browser(self.viewer, self.captions, self)
        self.panel = FolderList(self.browser)
        self.setWidget(self.panel)
        self._bind_keys(True)
        self.browser.go_on()

    def open_folder(self, folder: Path) -> None:
        """List the images in a folder."""
        self.panel.take(folder)

    def captions(self) -> CaptionDock:
        """Return the dock that regions are captioned with, opened if there is none."""
        window = self.viewer.window
        for widget in window.dock_widgets.values():
            if isinstance(widget, CaptionDock):
                return widget
        if self._library is None:
            _, made = window.add_plugin_dock_widget(_PLUGIN, _CAPTIONS)
        else:
            made = CaptionDock(self.viewer, library=self._library)
            window.add_dock_widget(made, name=_CAPTIONS, area="right")
        return made

    def showEvent(self, event: QEvent) -> None:
        """Find a place when it is there for the first time."""
        super().showEvent(event)
        if not self._placed:
            self._placed = True
            # Not while Qt lays out what it is moved out of. A timer of the dock ends with it; not
            # every binding's singleShot takes an owner.
            timer = QTimer(self)
            timer.setSingleShot(True)
            timer.timeout.connect(self._find_place)
            timer.start(0)

    def _find_place(self) -> None:
        """Share the place of the list of layers: a small screen has none to spare."""
        dock, window = self.parent(), self.window()
        if not isinstance(dock, QDockWidget) or not isinstance(window, QMainWindow):
            return
        layers = window.findChild(QDockWidget, _LAYERS)
        if layers is not None and layers.isVisible() and not (layers.isFloating() or self._closed):
            window.tabifyDockWidget(layers, dock)
            dock.raise_()

    def shut_down(self) -> None:
        """Stop all work and let go of the viewer; the image in the window stays."""
        if not self._closed:
            self._closed = True
            self._bind_keys(False)
            self.browser.close()

    def _bind_keys(self, on: bool) -> None:
        """Let the keys step from image to image whichever layer is active, or give them back."""
        for name, by in FOLDER.items():
            action = key_callback(self.browser.step, by) if on else None
            self.viewer.bind_key(name, action, overwrite=True)
