"""The dock widget: it connects the panel with what its buttons do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import qtpy
from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QApplication
from superqt.utils import QSignalDebouncer

from .actions import Actions
from .images import Images, choices
from .layers.captions import TemplateError, checked, show_on, write_on
from .layers.rendering import add_halo
from .panels import forms
from .panels.inspect import InspectPanel
from .panels.keys import bind_keys
from .panels.main import MainPanel
from .panels.models import ModelPanel
from .panels.project import Projects
from .panels.region_list import RegionListDock
from .preferences import preference
from .widgets.dock_base import DockBase
from .workers.models import ModelRegistry, shared_registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    import napari
    from magicgui.widgets import Container

    from .controller import Controller

# Long enough to finish a word or a number.
OPTIONS_MS = 500


def qt_warning() -> str:
    """Return a warning where the Qt binding is known to end the process, else nothing.

    PySide6 6.12.0 loses a reference to None at every call that returns nothing. Since Python
    3.12 None counts no references; before, the interpreter ends once they are used up.
    """
    broken = qtpy.PYSIDE6 and qtpy.PYSIDE_VERSION == "6.12.0"
    if not broken or sys.version_info >= (3, 12):
        return ""
    return (
        "PySide6 6.12.0 ends napari after some minutes on Python 3.11: save often, and install "
        "PySide6 6.11 or PyQt6 instead"
    )


class CaptionStyle(QObject):  # type: ignore[misc]
    """Draws the captions on the image the way the form says, on every layer there is.

    `form` is that of `forms.canvas_form`, and `everyone` returns all controllers.
    """

    messaged = Signal(str)

    def __init__(
        self,
        viewer: napari.Viewer,
        form: Container[Any],
        everyone: Callable[[], Iterable[Controller]],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._form, self._everyone = viewer, form, everyone
        for name in ("visible", "lines", "template"):
            form[name].value = preference("captions", name)
        self._style: dict[str, Any] = {}
        self._crowded = False
        self._read()
        form.changed.connect(self._on_form)

    def apply(self, layer: napari.layers.Layer) -> None:
        """Draw the captions of a layer that has any."""
        if hasattr(layer, "text"):
            write_on(layer, **self._style)
            add_halo(self._viewer, layer)

    def thin_out(self) -> None:
        """Draw no captions where there are too many, and say so once."""
        shown, crowd = self._style["visible"], self._style["crowd"]
        layers = [b.layer for c in self._everyone() for b in c.bindings.values()]
        crowded = sum(show_on(layer, shown, crowd) for layer in layers) > 0
        if crowded and not self._crowded:
            self.messaged.emit(
                f"More than {crowd} shapes: their captions are in the list (key O) and in the "
                f"caption box, no longer on the image."
            )
        self._crowded = crowded

    def _on_form(self, *_: object) -> None:
        if self._read():
            for controller in self._everyone():
                for binding in controller.bindings.values():
                    self.apply(binding.layer)

    def _read(self) -> bool:
        """Take over what the form says; a template that makes no sense changes nothing."""
        try:
            template = checked(self._form["template"].value)
        except TemplateError as error:
            self.messaged.emit(str(error))
            return False
        names = ("lines", "visible", "crowd")
        self._style = {"template": template, **{n: self._form[n].value for n in names}}
        return True


class CaptionDock(DockBase):
    """Caption the regions of an image: choose, start, draw, correct, export.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer it is docked in.
    registry : ModelRegistry, optional
        Where models come from; the one of this process by default.
    """

    def __init__(
        self, napari_viewer: napari.viewer.Viewer, *, registry: ModelRegistry | None = None
    ) -> None:
        super().__init__()
        # napari hands plugins a proxy whose layers are never the same object twice, and that
        # warns on the screen of what `table` has no public word for.
        self.viewer: napari.Viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self.registry = registry or shared_registry()
        self._closed = False
        self._replace_other_docks()
        self._idle = "Open an image to begin."
        self.image_actions = Actions(self)
        self.panel = panel = MainPanel(lambda *_: choices(self.viewer))
        self.setWidget(panel)
        self.captions = CaptionStyle(
            self.viewer, panel.canvas, lambda: self.controllers.values(), self
        )
        self.images = Images(
            self.viewer, panel.source.image, self.registry, self._prepare, self._equip, self
        )
        self.models = ModelPanel(
            panel.source,
            self.registry,
            lambda: self.controller,
            self.controllers.values,
            self,
        )
        self.region_list = RegionListDock(
            self.viewer, self.image_actions, lambda: self.controller, self
        )
        self._options_settled = QSignalDebouncer(parent=self)
        self._options_settled.setTimeout(OPTIONS_MS)
        self.inspect = InspectPanel(self.viewer, panel.inspect, lambda: self.controller, self)
        self.projects = Projects(panel.project, lambda: self.controller, self)
        self._connect()
        if first := preference("models", "first"):
            panel.source.model.value = first
        self.reset_choices()
        if warning := qt_warning():
            show_warning(warning)

    def _connect(self) -> None:
        panel, actions = self.panel, self.image_actions
        self.images.changed.connect(self.refresh)
        self.images.changed.connect(self.projects.refresh)
        self.images.opened.connect(self.projects.keep)
        self.images.closing.connect(self.projects.dismiss)
        self.models.changed.connect(self.refresh)
        self.models.messaged.connect(self.show_message)
        self.captions.messaged.connect(self.show_message)
        self.region_list.changed.connect(self.refresh)
        self._options_settled.triggered.connect(actions.apply_options)
        panel.options.changed.connect(self._on_options)
        panel.progress.start.connect(actions.start)
        panel.progress.cancel.connect(actions.cancel)
        panel.draw.chosen.connect(actions.use_tool)
        for box in (panel.caption, panel.whole):
            box.edited.connect(actions.edit)
            box.left.connect(actions.finish_edit)
            box.picked.connect(actions.take)
        panel.review.accept.connect(actions.accept)
        panel.review.skip.connect(actions.go_on)
        panel.review.back.connect(actions.go_back)
        panel.review.stop.connect(actions.stop_review)
        for signal, action in (
            (panel.undo.clicked, actions.undo),
            (panel.redo.clicked, actions.redo),
            (panel.accept.clicked, actions.accept),
            (panel.reject.clicked, actions.reject),
            (panel.lock.clicked, actions.lock),
            (panel.again.clicked, actions.caption_again),
            (panel.together.clicked, actions.caption_together),
            (panel.describe.clicked, actions.caption_whole),
            (panel.walk.clicked, actions.start_review),
            (panel.list.clicked, actions.toggle_list),
            (panel.export.clicked, actions.ask_where_to_export),
            (panel.project.folder.triggered, actions.open_folder),
        ):
            # Whatever the button says besides having been pressed.
            signal.connect(lambda *_, action=action: action())

    # what there is

    @property
    def image(self) -> napari.layers.Image | None:
        """The image to caption."""
        return self.panel.source.image.value

    @property
    def controller(self) -> Controller | None:
        """That of the image at hand."""
        return self.images.current

    @property
    def controllers(self) -> dict[Any, Controller]:
        """Those of all images, by layer."""
        return self.images.controllers

    # what can be done; the rest is in the actions

    def start(self) -> None:
        """Encode the image, with a model that is got first if it is not there."""
        self.image_actions.start()

    def export_csv(self, path: str | Path) -> None:
        """Write the two CSV files; `path` names the first."""
        self.image_actions.export_csv(path)

    def reset_choices(self, *_: object) -> None:
        """Offer the image layers there are now; napari calls this too."""
        self.images.reset()

    # what is shown

    def show_message(self, message: str) -> None:
        """Show a sentence, with the image if there is one."""
        if self.controller is not None:
            self.controller.show_message(message)
        else:
            self._idle = message[:1].upper() + message[1:]
            self.refresh()

    def refresh(self) -> None:
        """Show the state of the image's controller."""
        controller, panel = self.controller, self.panel
        self.inspect.refresh()
        progress = controller.progress if controller else None
        panel.progress.follow(progress or self.models.progress)
        panel.progress.set_ready(controller is not None)
        panel.set_ready(controller is not None)
        panel.list.setChecked(self.region_list.shown)
        self.region_list.refresh()
        if controller is None:
            panel.show_nothing(self._idle)
            return
        panel.review.show_review(self.image_actions.review_here())
        warning = self.images.warning()
        panel.status.setText(f"{warning} {controller.message}" if warning else controller.message)
        awaited = self.models.awaited
        pending = "Waiting for the model" if awaited else controller.pending_message()
        # What is shown is what Accept and the like act upon.
        chosen = self.image_actions.chosen()
        record = controller.session.records.get(chosen[0]) if len(chosen) == 1 else None
        panel.selected.setText(controller.heading(chosen))
        panel.lock.setChecked(record is not None and record.locked)
        panel.caption.show_record(record, pending=pending, empty=controller.hint())
        panel.whole.show_record(controller.current_whole(), pending=pending)
        active = self.viewer.layers.selection.active
        key = next((k for k, b in controller.bindings.items() if b.layer is active), "")
        panel.draw.show_mode(key, str(active.mode) if key else "")

    # events

    def _prepare(self, controller: Controller) -> None:
        controller.queue.set_options(forms.options(self.panel.options))
        controller.changed.connect(self.captions.thin_out)

    def _equip(self, layer: napari.layers.Layer, keys: bool) -> None:
        """Draw the captions of a layer that comes into use; bind the keys where it is ours."""
        if keys:
            bind_keys(layer, self.image_actions)
        self.captions.apply(layer)

    def _on_options(self, *_: object) -> None:
        for controller in self.controllers.values():
            controller.queue.set_options(forms.options(self.panel.options))
        self._options_settled.throttle()

    # the end

    def _replace_other_docks(self) -> None:
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
        self._options_settled.cancel()
        self.region_list.close()
        self.inspect.close()
        self.models.close()
        self.panel.progress.follow(None)
        self.projects.close()
        self.images.close()
