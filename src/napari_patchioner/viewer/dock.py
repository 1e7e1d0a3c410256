"""The dock widget, which connects the panel with what its buttons and keys do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import qtpy
from magicgui.widgets import Container
from napari.layers import Image, Layer
from napari.utils.events import Event
from napari.utils.notifications import show_warning
from napari.viewer import Viewer
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QApplication
from superqt.utils import QSignalDebouncer, signals_blocked

from napari_patchioner.annotations import Record
from napari_patchioner.errors import as_sentence

from .actions import Actions
from .controller import Controller
from .images import Images, choices
from .layers.captions import TemplateError, checked, show_on, write_on
from .layers.overlays import add_halo, delete_in_own_context
from .panels import forms, keys
from .panels.compare import ComparePanel
from .panels.find import CANVAS_KEYS, FindPanel, PhraseBar
from .panels.inspect import InspectPanel
from .panels.main import GROW, MainPanel
from .panels.models import ModelPanel
from .panels.project import Projects
from .panels.regions import RegionList
from .panels.server import AskPanel
from .panels.teach import TeachPanel
from .panels.vocabulary import VocabularyPanel
from .preferences import preference
from .teaching.teacher import Teacher
from .widgets import DockBase, throttled
from .workers.hand import hand
from .workers.models import ModelRegistry, shared_registry

# Long enough to finish a word or a number.
OPTIONS_MS = 500
# Soon enough to seem at once.
REVEAL_MS = 60
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
        viewer: Viewer,
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

    def apply(self, layer: Layer) -> None:
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

    def _layers(self) -> list[Layer]:
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
    napari_viewer : Viewer
        The viewer it is docked in.
    registry : ModelRegistry, optional
        Where models come from; the one of this process by default.
    """

    def __init__(self, napari_viewer: Viewer, *, registry: ModelRegistry | None = None) -> None:
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
        self.vocabulary = VocabularyPanel(self.registry, current, lambda: self.models.choice.value)
        self.inspect = InspectPanel(self.viewer, current)
        self.projects = Projects(current, actions.open_folder)
        self.find = FindPanel(actions, current)
        self.phrase = PhraseBar(actions)
        self.ask = AskPanel(actions, current)
        self.teacher = Teacher(self)
        self.teach = TeachPanel(self.teacher, actions, current, lambda: self.models.choice.value)
        parts = self.models, self.vocabulary, self.inspect, self.projects, self.teach, self.find
        self.panel = panel = MainPanel(
            lambda *_: choices(self.viewer), actions, *parts, self.phrase, self.ask
        )
        self.setWidget(panel)
        how = self._prepare, self._equip
        self.images = Images(self.viewer, panel.image, self.registry, *how, self)
        self.compare = ComparePanel(panel, current, actions)
        self.captions = CaptionStyle(self.viewer, panel.canvas, everyone, self)
        self.region_list = RegionList(self.viewer, actions, current)
        # Once all is laid out with it
        self._reveal = throttled(partial(self.ensureWidgetVisible, self.find), REVEAL_MS, self)
        self._options_settled = QSignalDebouncer(parent=self)
        self._options_settled.setTimeout(OPTIONS_MS)
        self._options_settled.triggered.connect(actions.apply_options)
        panel.options.changed.connect(self._on_options)
        for part in (self.images, self.models, self.vocabulary, self.region_list):
            part.changed.connect(self.refresh)
        for part in (self.models, self.vocabulary, self.captions, self.teacher):
            part.messaged.connect(self.show_message)
        self.images.changed.connect(self.projects.refresh)
        self.images.opened.connect(self._on_opened)
        self.images.closing.connect(self.teacher.leave)
        self.images.closing.connect(self.projects.dismiss)
        self.images.closing.connect(self.compare.leave)
        # On the image, too: the layer that had these keys may be what was deleted.
        for key, name in VIEWER_KEYS.items():
            keys.bind(self.viewer, key, getattr(actions, name))
        if first := preference("models", "first"):
            self.models.choice.value = first
        self.reset_choices()
        if warning := qt_warning():
            show_warning(warning)
        hand.follow(self.viewer)
        if registry is None:
            self.models.load_ahead()

    @property
    def image(self) -> Image | None:
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

    def reset_choices(self, event: Event | None = None) -> None:
        """Offer the image layers there are now; napari calls this too."""
        self.images.reset(event)

    def show_message(self, message: str) -> None:
        """Show a sentence, with the image if there is one."""
        if self.controller is not None:
            self.controller.show_message(message)
        else:
            self._idle = as_sentence(message)
            self.refresh()

    def refresh(self) -> None:
        """Show the state of the image's controller."""
        controller, panel = self.controller, self.panel
        for other in self.controllers.values():
            if other is not controller:
                # Another image is at hand: what was asked about that one is not waited for.
                other.describing.clear()
        self.inspect.refresh()
        was_shown = self.find.isVisibleTo(panel)
        self.find.refresh()
        if self.find.isVisibleTo(panel) and not was_shown:
            self._reveal.throttle()
        self.teach.refresh_soon()
        self.ask.refresh()
        self.vocabulary.refresh()
        own = controller and controller.progress
        panel.progress.follow(own or self.models.progress or self.vocabulary.progress)
        panel.progress.set_ready(controller is not None)
        panel.set_ready(controller is not None)
        if not self.closed:
            panel.buttons["toggle_list"].setChecked(self.region_list.isVisible())
            self.region_list.refresh_soon()
        if controller is None:
            panel.show_nothing(self._idle)
            return
        with signals_blocked(panel.grow_sharply):
            panel.grow_sharply.setChecked(bool(controller.grower.segmenter))
        panel.review.show_review(self.image_actions.review_here())
        warned = self.images.warning() or self.images.hidden()
        panel.status.setText(f"{warned} {controller.message}".strip())
        waits = self.models.awaited
        pending = "Waiting for the model" if waits else controller.pending_message()
        # What is shown is what Accept and the like act upon.
        chosen = self.image_actions.chosen()
        record = controller.session.records.get(chosen[0]) if len(chosen) == 1 else None
        panel.selected.setText(controller.heading(chosen))
        panel.buttons["lock"].setChecked(record is not None and record.locked)
        moved = record is not None and record.uid in controller.describer.moved()
        hint = controller.hint()
        panel.caption.show_record(record, pending=pending, empty=hint, outdated=moved)
        self._explain(controller, record)
        whole = controller.current_whole()
        panel.whole.show_record(whole, pending=pending)
        links = controller.describer.links(whole)
        outdated = whole is not None and bool(links) and controller.describer.is_outdated(whole)
        panel.show_paragraph(whole, links, outdated=outdated)
        active = self.viewer.layers.selection.active
        key = next((k for k, b in controller.bindings.items() if b.layer is active), "")
        for other in self.controllers.values():
            if other.grower.on and not (other is controller and other.growing):
                other.grow(False)
        mode = GROW if controller.growing else str(active.mode) if key else ""
        panel.draw.show_mode(key, mode)

    def _explain(self, controller: Controller, record: Record | None) -> None:
        """Show the words of a caption, where they are to be seen, and compare all captions."""
        why, box = controller.why, self.panel.caption
        for other in self.controllers.values():
            if other is not controller:
                other.why.switch(False)
        self.panel.buttons["toggle_why"].setChecked(why.on)
        why.follow(record)
        why.compare(why.on or self.region_list.isVisible())
        box.why.show_why(why, record)
        box.wordings.make_room(why.on)
        if record is not None:
            box.wordings.show_reasons(partial(why.reason, record.uid))

    def _on_opened(self, controller: Controller) -> None:
        self.projects.keep(controller)
        self.teacher.follow(controller, self.projects.files[controller])

    def _prepare(self, controller: Controller) -> None:
        controller.queue.set_options(forms.options(self.panel.options))
        controller.changed.connect(self.captions.thin_out)
        controller.describing.arrived.connect(self.ask.refresh)
        controller.search.laid.connect(self._on_proposals_laid)

    def _on_proposals_laid(self, layer: Layer) -> None:
        """Let the keys that judge proposals do so from the canvas, too."""
        for key, name in CANVAS_KEYS.items():
            keys.bind(layer, key, getattr(self.image_actions, name))

    def _equip(self, layer: Layer, with_keys: bool) -> None:
        """Draw the captions of a layer that comes into use; bind the keys where it is ours."""
        if with_keys:
            keys.bind_keys(layer, self.image_actions)
        self.captions.apply(layer)

    def _on_options(self, *_: object) -> None:
        for controller in self.controllers.values():
            controller.queue.set_options(forms.options(self.panel.options))
        self._options_settled.throttle()

    def give_way(self, viewer: Viewer) -> None:
        """Save and stop, where another dock was opened in the same viewer."""
        if self.viewer is viewer and not self.closed:
            self.shut_down()
            self.panel.setEnabled(False)
            self.panel.status.setText("The dock was opened once more in this window; go on there.")

    def save_now(self) -> None:
        """Save the project of the image at hand, and what was taught."""
        self.teacher.flush()
        self.projects.save_now()

    def may_close(self) -> bool:
        """Save all work; where that fails, ask whether to go on without it."""
        self.teacher.flush()
        return self.projects.may_close()

    def let_go(self) -> None:
        """Stop all workers and let go of the viewer; what is drawn stays."""
        # napari has connected these.
        events = self.viewer.layers.events
        for emitter in (events.inserted, events.removed, events.reordered):
            emitter.disconnect(self.reset_choices)
        for key in VIEWER_KEYS:
            keys.bind(self.viewer, key)
        hand.leave(self.viewer)
        self._options_settled.cancel()
        self._reveal.cancel()
        parts = self.region_list, self.inspect, self.models, self.vocabulary, self.teach
        steps = [part.let_go for part in parts]
        steps += [
            self.compare.let_go,
            self.teacher.close,
            partial(self.panel.progress.follow, None),
        ]
        steps += [self.projects.close_all, self.images.close]
        # Each of them, in this order, even if one fails.
        with ExitStack() as stack:
            for step in reversed(steps):
                stack.callback(step)
