"""The dock widget: it connects the panel with what its buttons do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qtpy
from napari.utils.notifications import show_warning
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QApplication
from superqt.utils import QSignalDebouncer

from .actions import Actions
from .images import Images, choices
from .layers.captions import TemplateError, checked, show_on, write_on
from .layers.overlays import add_halo, delete_in_own_context
from .panels import forms, keys
from .panels.inspect import InspectPanel
from .panels.main import MainPanel
from .panels.models import ModelPanel
from .panels.project import Projects
from .panels.regions import RegionList
from .preferences import preference
from .widgets import DockBase
from .workers.models import ModelRegistry, shared_registry

if TYPE_CHECKING:
    import napari
    from magicgui.widgets import Container

    from .controller import Controller

# Long enough to finish a word or a number.
OPTIONS_MS = 500
VIEWER_KEYS = {"Control-Z": "undo", "Control-Shift-Z": "redo"}


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
    """Draws the captions the way `forms.canvas_form` says, on the layers of all controllers."""

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
        self._style = {widget.name: widget.value for widget in form}
        self._crowded = False
        form.changed.connect(self._on_form)
        for name in ("visible", "lines", "template"):
            form[name].value = preference("captions", name)

    def apply(self, layer: napari.layers.Layer) -> None:
        """Draw the captions of a layer that has any."""
        if hasattr(layer, "text"):
            write_on(layer, **self._style)
            add_halo(self._viewer, layer)

    def thin_out(self) -> None:
        """Draw no captions where there are too many, and say so once."""
        shown, crowd = self._style["visible"], self._style["crowd"]
        crowded = sum(show_on(layer, shown, crowd) for layer in self._layers()) > 0
        if crowded and not self._crowded:
            self.messaged.emit(
                f"More than {crowd} shapes: their captions are in the list (key O) and in the "
                f"caption box, no longer on the image."
            )
        self._crowded = crowded

    def _layers(self) -> list[napari.layers.Layer]:
        return [b.layer for c in self._everyone() for b in c.bindings.values()]

    def _on_form(self, *_: object) -> None:
        """Take over what the form says; a template that makes no sense changes nothing."""
        style = {widget.name: widget.value for widget in self._form}
        try:
            self._style = style | {"template": checked(style["template"])}
        except TemplateError as error:
            self.messaged.emit(str(error))
            return
        for layer in self._layers():
            self.apply(layer)


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
        super().__init__(napari_viewer)
        self.registry = registry or shared_registry()
        # Another dock in the same window would save and key the same layers.
        for other in QApplication.allWidgets():
            if isinstance(other, CaptionDock) and other is not self:
                other.give_way(self.viewer)
        self._idle = "Open an image to begin."
        delete_in_own_context(self.viewer)

        def current() -> Controller | None:
            return self.images.current

        def everyone() -> Iterable[Controller]:
            return self.images.controllers.values()

        actions = self.image_actions = Actions(self)
        self.models = ModelPanel(self.registry, current, everyone)
        self.inspect = InspectPanel(self.viewer, current)
        self.projects = Projects(current, actions.open_folder)
        self.panel = panel = MainPanel(
            lambda *_: choices(self.viewer), actions, self.models, self.inspect, self.projects
        )
        self.setWidget(panel)
        self.images = Images(
            self.viewer, panel.image, self.registry, self._prepare, self._equip, self
        )
        self.captions = CaptionStyle(self.viewer, panel.canvas, everyone, self)
        self.region_list = RegionList(self.viewer, actions, current)
        self._options_settled = QSignalDebouncer(parent=self)
        self._options_settled.setTimeout(OPTIONS_MS)
        self._options_settled.triggered.connect(actions.apply_options)
        panel.options.changed.connect(self._on_options)
        for part in (self.images, self.models, self.region_list):
            part.changed.connect(self.refresh)
        for part in (self.models, self.captions):
            part.messaged.connect(self.show_message)
        self.images.changed.connect(self.projects.refresh)
        self.images.opened.connect(self.projects.keep)
        self.images.closing.connect(self.projects.dismiss)
        # On the image, too: the layer that had these keys may be what was deleted.
        for key, name in VIEWER_KEYS.items():
            keys.bind(self.viewer, key, getattr(actions, name))
        if first := preference("models", "first"):
            self.models.choice.value = first
        self.reset_choices()
        if warning := qt_warning():
            show_warning(warning)

    @property
    def image(self) -> napari.layers.Image | None:
        """The image to caption."""
        return self.panel.image.value

    @property
    def controller(self) -> Controller | None:
        """That of the image at hand."""
        return self.images.current

    @property
    def controllers(self) -> dict[Any, Controller]:
        """Those of all images, by layer."""
        return self.images.controllers

    def start(self) -> None:
        """Encode the image, with a model that is got first if it is not there."""
        self.image_actions.start()

    def export_csv(self, path: str | Path) -> None:
        """Write the two CSV files; `path` names the first."""
        self.image_actions.export(path)

    def reset_choices(self, *_: object) -> None:
        """Offer the image layers there are now; napari calls this too."""
        self.images.reset()

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
        panel.progress.follow((controller and controller.progress) or self.models.progress)
        panel.progress.set_ready(controller is not None)
        panel.set_ready(controller is not None)
        if not self.closed:
            panel.buttons["toggle_list"].setChecked(self.region_list.isVisible())
            self.region_list.refresh_soon()
        if controller is None:
            panel.show_nothing(self._idle)
            return
        panel.review.show_review(self.image_actions.review_here())
        panel.status.setText(f"{self.images.warning()} {controller.message}".strip())
        waits = self.models.awaited
        pending = "Waiting for the model" if waits else controller.pending_message()
        # What is shown is what Accept and the like act upon.
        chosen = self.image_actions.chosen()
        record = controller.session.records.get(chosen[0]) if len(chosen) == 1 else None
        panel.selected.setText(controller.heading(chosen))
        panel.buttons["lock"].setChecked(record is not None and record.locked)
        panel.caption.show_record(record, pending=pending, empty=controller.hint())
        panel.whole.show_record(controller.current_whole(), pending=pending)
        active = self.viewer.layers.selection.active
        key = next((k for k, b in controller.bindings.items() if b.layer is active), "")
        panel.draw.show_mode(key, str(active.mode) if key else "")

    def _prepare(self, controller: Controller) -> None:
        controller.queue.set_options(forms.options(self.panel.options))
        controller.changed.connect(self.captions.thin_out)

    def _equip(self, layer: napari.layers.Layer, with_keys: bool) -> None:
        """Draw the captions of a layer that comes into use; bind the keys where it is ours."""
        if with_keys:
            keys.bind_keys(layer, self.image_actions)
        self.captions.apply(layer)

    def _on_options(self, *_: object) -> None:
        for controller in self.controllers.values():
            controller.queue.set_options(forms.options(self.panel.options))
        self._options_settled.throttle()

    def give_way(self, viewer: napari.Viewer) -> None:
        """Save and stop, where another dock was opened in the same viewer."""
        if self.viewer is viewer and not self.closed:
            self.shut_down()
            self.panel.setEnabled(False)
            self.panel.status.setText("The dock was opened once more in this window; go on there.")

    def save_now(self) -> None:
        """Save the project of the image at hand."""
        self.projects.save_now()

    def may_close(self) -> bool:
        """Save all work; where that fails, ask whether to go on without it."""
        return self.projects.may_close()

    def let_go(self) -> None:
        """Stop all workers and let go of the viewer; what is drawn stays."""
        # napari has connected these.
        events = self.viewer.layers.events
        for emitter in (events.inserted, events.removed, events.reordered):
            emitter.disconnect(self.reset_choices)
        for key in VIEWER_KEYS:
            keys.bind(self.viewer, key)
        self._options_settled.cancel()
        steps = [part.let_go for part in (self.region_list, self.inspect, self.models)]
        steps += [partial(self.panel.progress.follow, None)]
        steps += [self.projects.close_all, self.images.close]
        # Each of them, in this order, even if one fails.
        with ExitStack() as stack:
            for step in reversed(steps):
                stack.callback(step)
