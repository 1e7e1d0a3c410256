"""The dock widget: it only connects the small widgets with what they do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_warning
from qtpy.QtWidgets import QFileDialog

from . import forms, keys, layers
from .annotator import Annotator
from .dock_base import DockBase
from .export import export_csv, suggested_path
from .library import Library, shared_library
from .model_desk import ModelDesk
from .panel import Panel
from .qt_trouble import qt_trouble

if TYPE_CHECKING:
    import napari
    from napari.utils.events import Event

    from .draw_bar import Tool


class CaptionDock(DockBase):
    """Caption the regions of an image: choose, start, draw, correct, export.

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
        # napari hands plugins a proxy whose layers are never the same object twice, and that
        # warns on the screen of what `table` has no public word for.
        self.viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self.library = library or shared_library()
        self.annotators: dict[Any, Annotator] = {}
        self.annotator: Annotator | None = None
        self._closed = False
        self._idle = "Open an image to begin."
        self.panel = Panel(self._images)
        self.setWidget(self.panel)
        self.models = ModelDesk(
            self.panel.source,
            self.library,
            lambda: self.annotator,
            self.annotators.values,
            self,
        )
        self._wire()
        self.reset_choices()
        if trouble := qt_trouble():
            show_warning(trouble)

    def _wire(self) -> None:
        panel = self.panel
        panel.source.image.changed.connect(self._on_image)
        self.models.changed.connect(self.refresh)
        self.models.told.connect(self.tell)
        panel.options.changed.connect(self._on_options)
        panel.progress.start.connect(self.start)
        panel.progress.cancel.connect(self.cancel)
        panel.draw.chosen.connect(self.use_tool)
        panel.caption.edited.connect(self._on_edited)
        panel.whole.edited.connect(self._on_edited)
        panel.again.clicked.connect(self.caption_again)
        panel.together.clicked.connect(self.caption_together)
        panel.describe.clicked.connect(self.caption_whole)
        panel.export.clicked.connect(self._on_export)
        self.viewer.layers.events.inserted.connect(self.reset_choices)
        self.viewer.layers.events.renamed.connect(self.reset_choices)
        self.viewer.layers.events.removed.connect(self._on_removed)
        self.viewer.layers.selection.events.active.connect(self._on_active)

    # what can be done

    @property
    def image(self) -> napari.layers.Image | None:
        """The image to caption."""
        return self.panel.source.image.value

    def start(self) -> None:
        """Read the image, with a model that is got first if it is not there."""
        if self.annotator is not None:
            self._bind(layers.KEYS)
            self.models.start()

    def cancel(self) -> None:
        """Stop reading the image, or getting the model."""
        if self.annotator is not None and self.annotator.reader.active:
            self.annotator.reader.cancel()
        else:
            self.models.cancel()

    def use_tool(self, tool: Tool) -> None:
        """Make the tool's layer active and put it in the tool's mode."""
        if self.annotator is None:
            self.refresh()
            return
        self._bind(layers.KEYS)
        active = self.viewer.layers.selection.active
        layer = self.annotator.layer(tool.key)
        if tool.mode == "select":
            for binding in self.annotator.bindings.values():
                binding.layer.mode = tool.mode
                layer = active if binding.layer is active else layer
        layer.mode = tool.mode
        self.viewer.layers.selection.active = layer
        self.refresh()

    def caption_again(self) -> None:
        """Have the selected shapes captioned anew, or the group they make up."""
        if self.annotator is None:
            return
        record = self.annotator.current()
        chosen = [record.uid] if record else self.annotator.selected()
        if chosen:
            self.annotator.again(chosen)
        else:
            self.annotator.tell("Select a shape first: press S, then click it.")

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
        if self.panel.caption.editor.isEnabled():
            self.panel.caption.editor.setFocus()
            self.panel.caption.editor.selectAll()

    def export_csv(self, path: str | Path) -> None:
        """Write the two CSV files; `path` names the first."""
        if self.annotator is None:
            return
        try:
            files = export_csv(Path(path), self.annotator.session, self.annotator.image)
        except (OSError, ValueError) as error:
            self.annotator.tell(f"Nothing was exported: {error}")
        else:
            self.annotator.tell(f"Saved {files[0].name} and {files[1].name}.")

    # what is shown

    def tell(self, message: str) -> None:
        """Show a sentence, with the image if there is one."""
        if self.annotator is not None:
            self.annotator.tell(message)
        else:
            self._idle = message[:1].upper() + message[1:]
            self.refresh()

    def reset_choices(self, *_: object) -> None:
        """Offer the image layers there are now; napari calls this too."""
        if not self._closed:
            self.panel.source.image.reset_choices()
            self._on_image()

    def refresh(self) -> None:
        """Show the state of the image's annotator."""
        annotator, panel = self.annotator, self.panel
        job = annotator.reader.job if annotator else None
        panel.progress.follow(job.progress if job else self.models.progress)
        panel.progress.set_ready(annotator is not None)
        for widget in (panel.draw, panel.again, panel.together, panel.describe, panel.export):
            widget.setEnabled(annotator is not None)
        if annotator is None:
            panel.status.setText(self._idle)
            panel.caption.show_record(None)
            panel.whole.show_record(None)
            return
        panel.status.setText(annotator.message)
        panel.selected.setText(annotator.heading())
        waiting = "Waiting for the model" if self.models.awaited else annotator.waiting()
        panel.caption.show_record(annotator.current(), waiting=waiting, empty=annotator.hint())
        panel.whole.show_record(annotator.current_whole(), waiting=waiting)
        active = self.viewer.layers.selection.active
        key = next((k for k, b in annotator.bindings.items() if b.layer is active), "")
        panel.draw.show_mode(key, str(active.mode) if key else "")

    # events

    def _on_image(self, *_: object) -> None:
        """Turn to the annotator of the chosen image."""
        image = self.image
        if image is not None and image not in self.annotators:
            self.annotators[image] = self._new_annotator(image)
        self.annotator = self.annotators.get(image)
        if self.annotator is not None:
            self.annotator.adopt()
            self._bind(list(self.annotator.bindings))
        self.refresh()

    def _new_annotator(self, image: napari.layers.Image) -> Annotator:
        annotator = Annotator(self.viewer, image, self.library, self)
        annotator.scribe.options.update(forms.options(self.panel.options))
        annotator.changed.connect(self.refresh)
        annotator.told.connect(self.refresh)
        return annotator

    def _bind(self, chosen: Any) -> None:
        """Give the annotator's layers our keys, and follow their mode."""
        for key in chosen:
            layer = self.annotator.layer(key)
            keys.bind_keys(layer, self)
            layer.events.mode.disconnect(self._on_mode)
            layer.events.mode.connect(self._on_mode)

    def _on_options(self, *_: object) -> None:
        for annotator in self.annotators.values():
            annotator.scribe.options.update(forms.options(self.panel.options))

    def _on_edited(self, uid: str, text: str) -> None:
        if self.annotator is not None:
            self.annotator.edit(uid, text)

    def _on_mode(self, *_: object) -> None:
        self.refresh()

    def _on_active(self, *_: object) -> None:
        """Turn to the image that was made active, itself or one of its layers."""
        active = self.viewer.layers.selection.active
        found = [image for _, image in self._images() if layers.belongs(self.viewer, active, image)]
        if found and found[0] is not self.image and found[0] in self.panel.source.image.choices:
            self.panel.source.image.value = found[0]
        elif found and self.annotator is not None:
            self.annotator.adopt()
            self._bind(list(self.annotator.bindings))
        self.refresh()

    def _on_removed(self, event: Event) -> None:
        annotator = self.annotators.pop(event.value, None)
        if annotator is not None:
            annotator.close()
            annotator.deleteLater()
        self.reset_choices()

    def _on_export(self) -> None:
        if self.annotator is None:
            return
        suggestion = str(suggested_path(self.annotator.image))
        path, _ = QFileDialog.getSaveFileName(self, "Export CSV", suggestion, "CSV (*.csv)")
        if path:
            self.export_csv(path)

    def _images(self, *_: object) -> list[tuple[str, napari.layers.Image]]:
        from napari.layers import Image

        return [(layer.name, layer) for layer in self.viewer.layers if type(layer) is Image]

    # the end

    def shut_down(self) -> None:
        """Stop all workers and let go of the viewer; what is drawn stays."""
        if self._closed:
            return
        self._closed = True
        self.viewer.layers.events.inserted.disconnect(self.reset_choices)
        self.viewer.layers.events.renamed.disconnect(self.reset_choices)
        self.viewer.layers.events.reordered.disconnect(self.reset_choices)
        self.viewer.layers.events.removed.disconnect(self._on_removed)
        self.viewer.layers.selection.events.active.disconnect(self._on_active)
        self.models.close()
        self.panel.progress.follow(None)
        for annotator in self.annotators.values():
            for binding in annotator.bindings.values():
                keys.free_keys(binding.layer)
                binding.layer.events.mode.disconnect(self._on_mode)
            annotator.close()
        self.annotators.clear()
        self.annotator = None
