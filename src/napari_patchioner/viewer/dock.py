"""The dock widget: it only connects the small widgets with what they do."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_warning

from . import forms
from .deeds import Deeds
from .dock_base import DockBase
from .images import Images, choices
from .library import Library, shared_library
from .model_desk import ModelDesk
from .panel import Panel
from .qt_trouble import qt_trouble

if TYPE_CHECKING:
    from pathlib import Path

    import napari

    from .annotator import Annotator


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
        self._idle = "Open an image to begin."
        self.deeds = Deeds(self)
        self.panel = Panel(lambda *_: choices(self.viewer))
        self.setWidget(self.panel)
        self.images = Images(
            self.viewer,
            self.panel.source.image,
            self.library,
            self._prepare,
            self.deeds,
            self,
        )
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
        panel, deeds = self.panel, self.deeds
        self.images.changed.connect(self.refresh)
        self.models.changed.connect(self.refresh)
        self.models.told.connect(self.tell)
        panel.options.changed.connect(self._on_options)
        panel.progress.start.connect(deeds.start)
        panel.progress.cancel.connect(deeds.cancel)
        panel.draw.chosen.connect(deeds.use_tool)
        panel.caption.edited.connect(deeds.edit)
        panel.whole.edited.connect(deeds.edit)
        panel.again.clicked.connect(partial(_do, deeds.caption_again))
        panel.together.clicked.connect(partial(_do, deeds.caption_together))
        panel.describe.clicked.connect(partial(_do, deeds.caption_whole))
        panel.export.clicked.connect(partial(_do, deeds.ask_where_to_export))

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
        job = annotator.reader.job if annotator else None
        panel.progress.follow(job.progress if job else self.models.progress)
        panel.progress.set_ready(annotator is not None)
        panel.set_ready(annotator is not None)
        if annotator is None:
            panel.show_nothing(self._idle)
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

    def _prepare(self, annotator: Annotator) -> None:
        annotator.scribe.options.update(forms.options(self.panel.options))

    def _on_options(self, *_: object) -> None:
        for annotator in self.annotators.values():
            self._prepare(annotator)

    # the end

    def shut_down(self) -> None:
        """Stop all workers and let go of the viewer; what is drawn stays."""
        if self._closed:
            return
        self._closed = True
        # napari has connected these.
        events = self.viewer.layers.events
        for emitter in (events.inserted, events.removed, events.reordered):
            emitter.disconnect(self.reset_choices)
        self.models.close()
        self.panel.progress.follow(None)
        self.images.close()


def _do(deed: Any, *_: object) -> None:
    """Do it, whatever the button says besides having been pressed."""
    deed()
