"""The dock widget: it only connects the small widgets with what they do."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_warning
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_patchioner.viewer.keeping.project_desk import ProjectDesk
from napari_patchioner.viewer.models.model_desk import ModelDesk
from napari_patchioner.viewer.panels import forms
from napari_patchioner.viewer.panels.inspect import InspectPanel
from napari_patchioner.viewer.panels.region_list import RegionListDock
from napari_patchioner.viewer.preferences import preference
from napari_patchioner.viewer.reading.library import Library, shared_library
from napari_patchioner.viewer.widgets.dock_base import DockBase

from .canvas_desk import CanvasDesk
from .deeds import Deeds
from .images import Images, choices
from .panel import Panel
from .qt_trouble import qt_trouble

if TYPE_CHECKING:
    from pathlib import Path

    import napari

    from .annotator import Annotator

# Long enough to finish a word or a number.
REWRITE_MS = 500


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
        self._closed = False
        self._take_the_place_of_others()
        self._idle = "Open an image to begin."
        self.deeds = Deeds(self)
        self.panel = Panel(lambda *_: choices(self.viewer))
        self.setWidget(self.panel)
        self.canvas = CanvasDesk(
            self.viewer, self.panel.canvas, lambda: self.annotators.values(), self
        )
        self.images = Images(
            self.viewer,
            self.panel.source.image,
            self.library,
            self._prepare,
            self.deeds,
            self.canvas.dress,
            self,
        )
        self.models = ModelDesk(
            self.panel.source,
            self.library,
            lambda: self.annotator,
            self.annotators.values,
            self,
        )
        self.region_list = RegionListDock(self.viewer, self.deeds, lambda: self.annotator, self)
        self._rewrite = QTimer(self)
        self._rewrite.setSingleShot(True)
        self._rewrite.setInterval(REWRITE_MS)
        self.inspect = InspectPanel(self.viewer, self.panel.inspect, lambda: self.annotator, self)
        self.projects = ProjectDesk(self.panel.project, lambda: self.annotator, self)
        self._wire()
        if first := preference("models", "first"):
            self.panel.source.model.value = first
        self.reset_choices()
        if trouble := qt_trouble():
            show_warning(trouble)

    def _wire(self) -> None:
        panel, deeds = self.panel, self.deeds
        self.images.changed.connect(self.refresh)
        self.images.changed.connect(self.projects.refresh)
        self.images.opened.connect(self.projects.keep)
        self.images.closing.connect(self.projects.dismiss)
        self.models.changed.connect(self.refresh)
        self.models.told.connect(self.tell)
        self.region_list.changed.connect(self.refresh)
        self._rewrite.timeout.connect(deeds.write_anew)
        panel.options.changed.connect(self._on_options)
        self.canvas.told.connect(self.tell)
        panel.progress.start.connect(deeds.start)
        panel.progress.cancel.connect(deeds.cancel)
        panel.draw.chosen.connect(deeds.use_tool)
        panel.caption.edited.connect(deeds.edit)
        panel.whole.edited.connect(deeds.edit)
        panel.caption.left.connect(deeds.finish_edit)
        panel.whole.left.connect(deeds.finish_edit)
        panel.caption.picked.connect(deeds.take)
        panel.whole.picked.connect(deeds.take)
        panel.review.accept.connect(deeds.accept)
        panel.review.skip.connect(deeds.go_on)
        panel.review.back.connect(deeds.go_back)
        panel.review.stop.connect(deeds.stop_review)
        for clicked, deed in (
            (panel.undo, deeds.undo),
            (panel.redo, deeds.redo),
            (panel.accept, deeds.accept),
            (panel.reject, deeds.reject),
            (panel.lock, deeds.lock),
            (panel.again, deeds.caption_again),
            (panel.together, deeds.caption_together),
            (panel.describe, deeds.caption_whole),
            (panel.walk, deeds.start_review),
            (panel.list, deeds.toggle_list),
            (panel.export, deeds.ask_where_to_export),
        ):
            clicked.clicked.connect(partial(_do, deed))
        panel.project.folder.triggered.connect(partial(_do, deeds.open_folder))

    # what there is

    @property
    def image(self) -> napari.layers.Image | None:
        """The image to caption."""
        return self.panel.source.image.value

    @property
    def annotator(self) -> Annotator | None:
        """What is drawn and written on that image."""
        return self.images.current

    @property
    def annotators(self) -> dict[Any, Annotator]:
        """Those of all images, by layer."""
        return self.images.annotators

    # what can be done; the rest is in the deeds

    def start(self) -> None:
        """Read the image, with a model that is got first if it is not there."""
        self.deeds.start()

    def export_csv(self, path: str | Path) -> None:
        """Write the two CSV files; `path` names the first."""
        self.deeds.export_csv(path)

    def reset_choices(self, *_: object) -> None:
        """Offer the image layers there are now; napari calls this too."""
        self.images.reset()

    # what is shown

    def tell(self, message: str) -> None:
        """Show a sentence, with the image if there is one."""
        if self.annotator is not None:
            self.annotator.tell(message)
        else:
            self._idle = message[:1].upper() + message[1:]
            self.refresh()

    def refresh(self) -> None:
        """Show the state of the image's annotator."""
        annotator, panel = self.annotator, self.panel
        self.inspect.refresh()
        progress = annotator.progress if annotator else None
        panel.progress.follow(progress or self.models.progress)
        panel.progress.set_ready(annotator is not None)
        panel.set_ready(annotator is not None)
        panel.list.setChecked(self.region_list.shown)
        self.region_list.refresh()
        if annotator is None:
            panel.show_nothing(self._idle)
            return
        panel.review.show_review(self.deeds.review_here())
        warning = self.images.warning()
        panel.status.setText(f"{warning} {annotator.message}" if warning else annotator.message)
        waiting = "Waiting for the model" if self.models.awaited else annotator.waiting()
        # What is shown is what Accept and its kin act upon.
        chosen = self.deeds.chosen()
        record = annotator.session.records.get(chosen[0]) if len(chosen) == 1 else None
        panel.selected.setText(annotator.heading(chosen))
        panel.lock.setChecked(record is not None and record.locked)
        panel.caption.show_record(record, pending=waiting, empty=annotator.hint())
        panel.whole.show_record(annotator.current_whole(), pending=waiting)
        active = self.viewer.layers.selection.active
        key = next((k for k, b in annotator.bindings.items() if b.layer is active), "")
        panel.draw.show_mode(key, str(active.mode) if key else "")

    # events

    def _prepare(self, annotator: Annotator) -> None:
        annotator.scribe.options = forms.options(self.panel.options)
        annotator.changed.connect(self.canvas.thin_out)

    def _on_options(self, *_: object) -> None:
        for annotator in self.annotators.values():
            self._prepare(annotator)
        self._rewrite.start()

    # the end

    def _take_the_place_of_others(self) -> None:
        """End another dock in the same window: two would save and key the same layers."""
        for other in QApplication.allWidgets():
            if isinstance(other, CaptionDock) and other is not self:
                other.give_way(self.viewer)

    def give_way(self, viewer: napari.Viewer) -> None:
        """Save and stop, where another dock was opened in the same viewer."""
        if getattr(self, "viewer", None) is viewer and not self._closed:
            self.shut_down()
            self.panel.setEnabled(False)
            self.panel.status.setText("The dock was opened once more in this window; go on there.")

    def save_now(self) -> None:
        """Save the project of the image at hand."""
        self.projects.save_now()

    def may_close(self) -> bool:
        """Save all work; where that fails, ask whether to go on without it."""
        return self.projects.may_close()

    def shut_down(self) -> None:
        """Stop all workers and let go of the viewer; what is drawn stays."""
        if self._closed:
            return
        self._closed = True
        # napari has connected these.
        events = self.viewer.layers.events
        for emitter in (events.inserted, events.removed, events.reordered):
            emitter.disconnect(self.reset_choices)
        self._rewrite.stop()
        self.region_list.close()
        self.inspect.close()
        self.models.close()
        self.panel.progress.follow(None)
        self.projects.close()
        self.images.close()


def _do(deed: Any, *_: object) -> None:
    """Do it, whatever the button says besides having been pressed."""
    deed()
