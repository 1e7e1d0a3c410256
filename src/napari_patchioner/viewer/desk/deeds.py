"""What a person can do with the image at hand, by button or by key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog

from napari_patchioner.annotations import Notes
from napari_patchioner.viewer.export.export import (
    CSV,
    export_csv,
    export_file,
    export_filters,
    suggested_path,
)
from napari_patchioner.viewer.export.plugin_io import left_out_words
from napari_patchioner.viewer.layers import image_layers

from .judging import Judging

if TYPE_CHECKING:
    import napari

    from napari_patchioner.viewer.panels.bars import Tool

# The plugin and the name of its other dock, which napari opens.
FOLDER = ("napari-patchioner", "Patch-ioner: folder of images")


class Deeds(Judging):
    """Every method is one thing to do; without an image they do nothing."""

    def start(self) -> None:
        """Read the image, with a model that is got first if it is not there."""
        if self.annotator is not None:
            self._dock.images.bind(image_layers.KEYS)
            self._dock.models.start()

    def cancel(self) -> None:
        """Stop reading the image, or getting the model."""
        if self.annotator is not None and self.annotator.progress is not None:
            self.annotator.cancel()
        else:
            self._dock.models.cancel()

    def use_tool(self, tool: Tool) -> None:
        """Make the tool's layer active and put it in the tool's mode, in a view to draw in."""
        annotator, viewer = self.annotator, self._dock.viewer
        if annotator is not None:
            if viewer.dims.ndisplay != 2:
                viewer.dims.ndisplay = 2
                annotator.tell("Regions are drawn in the 2-D view, which is on display again.")
            if annotator.plane() is not None:
                self._dock.images.bring_to_light()
                self._dock.images.bind(image_layers.KEYS)
                layer = self._layer_for(tool)
                layer.mode = tool.mode
                viewer.layers.selection.active = layer
        self._dock.refresh()

    def caption_together(self) -> None:
        """Caption the selected shapes as one region."""
        if self.annotator is not None:
            self.annotator.group_selected()

    def caption_whole(self) -> None:
        """Caption the displayed plane."""
        if self.annotator is not None:
            self.annotator.whole_image()

    def write_caption(self) -> None:
        """Put the cursor into the caption of the selected shape."""
        editor = self._dock.panel.caption.editor
        if editor.isEnabled():
            editor.setFocus()
            editor.selectAll()

    def edit(self, uid: str, text: str) -> None:
        """Take a person's text."""
        if self.annotator is not None:
            self.annotator.edit(uid, text)

    def finish_edit(self) -> None:
        """Let the next words typed be a step of their own."""
        if self.annotator is not None:
            self.annotator.session.history.seal()

    def undo(self) -> None:
        """Take back the newest step: what was drawn, and what was written."""
        if self.annotator is not None:
            self.annotator.undo()

    def redo(self) -> None:
        """Do again what was taken back last."""
        if self.annotator is not None:
            self.annotator.redo()

    def toggle_list(self) -> None:
        """Show or hide the list of regions."""
        self._dock.region_list.toggle()

    def toggle_captions(self) -> None:
        """Show or hide the captions on the image."""
        shown = self._dock.panel.canvas["visible"]
        shown.value = not shown.value

    def open_folder(self) -> None:
        """Show the list of a folder's images."""
        self._dock.viewer.window.add_plugin_dock_widget(*FOLDER)

    def ask_where_to_export(self) -> None:
        """Ask for a file and its format, and write it."""
        if self.annotator is None:
            return
        suggestion, offered = str(suggested_path(self.annotator.image)), export_filters()
        path, chosen = QFileDialog.getSaveFileName(
            self._dock, "Export", suggestion, ";;".join(offered)
        )
        name = offered.get(chosen, CSV)
        if path and name == CSV:
            self.export_csv(path)
        elif path:
            self.export(path, name)

    def export(self, path: str | Path, name: str) -> None:
        """Write one file of a format, and tell what it has no place for."""
        if self.annotator is None:
            return
        session, image = self.annotator.session, self.annotator.image
        try:
            notes = Notes()
            file, left_out = export_file(Path(path), session, image, name, notes=notes)
        except (OSError, ValueError) as error:
            self.annotator.tell(f"Nothing was exported: {error}")
            return
        lost = f" It has no place for {left_out_words(left_out)}." if left_out else ""
        noted = "".join(f" {line}." for line in notes.lines(1))
        self.annotator.tell(f"Saved {file.name}.{lost}{noted}")

    def export_csv(self, path: str | Path) -> None:
        """Write the two CSV files; `path` names the first."""
        if self.annotator is None:
            return
        try:
            notes = Notes()
            session, image = self.annotator.session, self.annotator.image
            files = export_csv(Path(path), session, image, notes=notes)
        except (OSError, ValueError) as error:
            self.annotator.tell(f"Nothing was exported: {error}")
        else:
            noted = "".join(f" {line}." for line in notes.lines(1))
            self.annotator.tell(f"Saved {' and '.join(file.name for file in files)}.{noted}")

    def _layer_for(self, tool: Tool) -> napari.layers.Shapes:
        """Return the layer a tool works on: selecting works on both, on the active one first."""
        annotator, active = self.annotator, self._dock.viewer.layers.selection.active
        layer = annotator.layer(tool.key)
        if tool.mode == "select":
            for binding in annotator.bindings.values():
                binding.layer.mode = tool.mode
                layer = active if binding.layer is active else layer
        return layer
