"""The image of the folder that is in the window."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_patchioner.viewer.layers.image_layers import KEYS, find_layer
from napari_patchioner.viewer.panels.bars import TOOLS

if TYPE_CHECKING:
    import napari

    from napari_patchioner.viewer.desk.annotator import Annotator
    from napari_patchioner.viewer.desk.dock import CaptionDock
    from napari_patchioner.viewer.keeping.keeper import Keeper
    from napari_patchioner.viewer.panels.bars import Tool

    from ._files import ImageFile


class Opened(QObject):
    """Follows an image from when it is in the window until it goes.

    Parameters
    ----------
    dock : CaptionDock
        What it is captioned with.
    file : ImageFile
        Where it is from.
    layers : list of Layer
        What its file holds.
    image : Image
        The one of them that is captioned.
    parent : QObject, optional
        The browser.
    """

    # Its saved work is there, if it has any.
    restored = Signal()
    # What is known of it has changed: saved, read, captioned.
    changed = Signal()
    # What came of the search for saved work, in a sentence.
    told = Signal(str)

    def __init__(
        self,
        dock: CaptionDock,
        file: ImageFile,
        layers: list[napari.layers.Layer],
        image: napari.layers.Image,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.file = file
        self.image = image
        self._dock = dock
        self._layers = layers
        self._restored = False
        annotator, keeper = self.annotator, self.keeper
        if annotator is not None and keeper is not None:
            keeper.changed.connect(self._on_kept)
            keeper.told.connect(self.told)
            annotator.reader.changed.connect(self.changed)
            annotator.changed.connect(self.changed)

    @property
    def annotator(self) -> Annotator | None:
        """What is drawn and written on it."""
        return self._dock.annotators.get(self.image)

    @property
    def keeper(self) -> Keeper | None:
        """What saves that."""
        return self._dock.projects.keepers.get(self.annotator)

    @property
    def busy(self) -> bool:
        """Whether something is being done for it by a worker, or about to be."""
        annotator, keeper = self.annotator, self.keeper
        if annotator is None or keeper is None:
            return False
        return not keeper.found or annotator.reader.active or annotator.scribe.active

    @property
    def tool(self) -> Tool | None:
        """The drawing tool in use, to go on with on the next image."""
        active = self._dock.viewer.layers.selection.active
        bindings = self.annotator.bindings if self.annotator is not None else {}
        for tool in TOOLS:
            bound = bindings.get(tool.key)
            if bound is not None and bound.layer is active and str(active.mode) == tool.mode:
                return tool
        return None

    def facts(self) -> dict[str, Any]:
        """Return what this machine is to know of it next time, as plain values."""
        annotator, keeper = self.annotator, self.keeper
        known: dict[str, Any] = {"stamp": self.file.stamp, "problem": ""}
        if keeper is not None and keeper.found:
            # Its pixels may have turned out to be unreadable.
            with suppress(OSError, ValueError, RuntimeError):
                known["content"] = keeper.content
        if annotator is not None and annotator.reader.grids:
            known["grid"] = list(annotator.reader.grids.values())[-1].key
        return known

    def start(self) -> None:
        """Have it read with the chosen model, if that is there."""
        card = self._dock.library.card(self._dock.panel.source.model.value)
        if card.installed and self._dock.image is self.image:
            self._dock.deeds.start()

    def may_close(self) -> bool:
        """Save the work; where that fails, ask. False where a person would rather stay."""
        return self._dock.projects.may_leave(self.annotator)

    def close(self) -> None:
        """Take the image away with its shapes, whose work is saved.

        Points and labels are other people's: they stay, out of sight where they were captioned.
        """
        viewer, annotator = self._dock.viewer, self.annotator
        if annotator is not None:
            for layer in annotator.sources.following:
                layer.visible = False
        shapes = [find_layer(viewer, self.image, key) for key in KEYS]
        # The image first: that lets go of its shapes.
        for layer in (self.image, *shapes, *self._layers):
            if layer in viewer.layers:
                viewer.layers.remove(layer)
        self._layers = []
        self.deleteLater()

    def _on_kept(self) -> None:
        keeper = self.keeper
        if keeper is not None and keeper.found and not self._restored:
            self._restored = True
            self.restored.emit()
        self.changed.emit()
