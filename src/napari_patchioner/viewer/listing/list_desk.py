"""Docks the list of regions in the window, and keeps it in step with the image at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_patchioner.errors import PatchionerError
from napari_patchioner.viewer.canvas.geometry import displayed_plane

from .region_list import RegionList

if TYPE_CHECKING:
    import napari

    from napari_patchioner.viewer.desk.annotator import Annotator
    from napari_patchioner.viewer.desk.deeds import Deeds

NAME = "Patch-ioner: regions"


class ListDesk(QObject):
    """Makes the list on first use; closing its dock keeps it for the next time.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose window it is docked in.
    deeds : Deeds
        What is done with the regions.
    parent : QObject, optional
        The dock.
    """

    changed = Signal()

    def __init__(self, viewer: napari.Viewer, deeds: Deeds, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._deeds = deeds
        self._list: RegionList | None = None

    @property
    def list(self) -> RegionList:
        """The list of regions, which may be hidden."""
        if self._list is None:
            self._list = made = RegionList()
            deeds = self._deeds
            made.selected.connect(deeds.select)
            made.wanted.connect(deeds.go_to)
            made.asked.connect(lambda deed: getattr(deeds, deed)())
            made.picked.connect(deeds.choose)
            made.edited.connect(deeds.edit)
            made.appeared.connect(self.changed)
            self.refresh()
        return self._list

    @property
    def shown(self) -> bool:
        """Whether the list is to be seen."""
        return self._list is not None and self._list.isVisible()

    def toggle(self) -> None:
        """Show the list below the image, or hide it."""
        made = self.list
        dock = made.parent()
        if dock is None:
            dock = self._viewer.window.add_dock_widget(
                made, name=NAME, area="bottom", add_vertical_stretch=False
            )
            # One whose dock was closed before is hidden by itself.
            made.show()
        else:
            dock.setVisible(not dock.isVisible())
        if not dock.isHidden():
            made.table.setFocus()

    def refresh(self) -> None:
        """Show the regions of the image at hand."""
        annotator = self._deeds.annotator
        if self._list is None:
            return
        if annotator is None:
            self._list.show_session(None, (0, 1), [])
        else:
            self._list.show_session(annotator.session, _axes(annotator), annotator.selected())

    def selected(self, annotator: Annotator) -> list[str]:
        """Return what is selected in the list, as long as the canvas does not say otherwise."""
        if not self.shown:
            return []
        uids = self._list.table.uids()
        same = set(self._list.shapes(uids)) == set(annotator.selected())
        return uids if same else []

    def close(self) -> None:
        """Take the list away for good."""
        if self._list is None:
            return
        self._list.blockSignals(True)
        if self._list.parent() is not None:
            self._viewer.window.remove_dock_widget(self._list)
        self._list.close()
        self._list.deleteLater()
        self._list = None


def _axes(annotator: Annotator) -> tuple[int, int]:
    """Return the axes displayed as rows and columns; the last two in the 3-D display."""
    try:
        return displayed_plane(annotator.viewer, annotator.image).axes
    except PatchionerError:
        return annotator.image.ndim - 2, annotator.image.ndim - 1
