"""The images of a viewer, each with its controller; one of them is worked on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import PurePath
from typing import Any
from weakref import WeakSet

import napari
import numpy as np
from magicgui.widgets import ComboBox
from napari.utils.events import Event
from qtpy.QtCore import QObject, Signal

from napari_patchioner.errors import PatchionerError, counted

from .controller import Controller
from .io.placement import may_mean
from .layers import geometry, image_layers, sources, upright, view
from .layers.binding import LayerBinding, action
from .panels import forms
from .panels.keys import free_keys
from .widgets import throttled
from .workers.models import ModelRegistry
from .workers.plane import added

# How far, in pixels, a format moves a vertex by rounding it.
_ROUNDED = 1.0
# What regions are called here; nobody else calls another region so.
_OUR_UID = re.compile("[0-9a-f]{32}")
# What the buttons that draw do, besides.
_TO_SHOW = "choose a tool to have it shown"


class Images(QObject):  # type: ignore[misc]
    """Keeps a controller for every image, and turns to the one that is chosen or made active."""

    changed = Signal()
    # With a controller: ready to be drawn with, and about to end.
    opened = Signal(object)
    closing = Signal(object)

    def __init__(
        self,
        viewer: napari.Viewer,
        choice: ComboBox,
        registry: ModelRegistry,
        prepare: Callable[[Controller], None],
        equip: Callable[[napari.layers.Layer, bool], None],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        # By image layer, and that of the chosen image
        self.controllers: dict[Any, Controller] = {}
        self.current: Controller | None = None
        self._viewer, self._choice, self._registry = viewer, choice, registry
        # Called with every new controller before anything is drawn with it, and with every layer
        # that comes into use, and whether it is one of ours, which have keys.
        self._prepare, self._equip = prepare, equip
        self._closed = self._following = False
        # The image whose controller is being made, which may move layers
        self._opening: Any = None
        # What was hidden to show a chosen image, and is shown again with its own.
        self._hidden: WeakSet[Any] = WeakSet()
        # The message that said so, and what it spoke of
        self._said: tuple[str, list[Any]] = "", []
        # Layers from files, each of which is asked once which image it is about.
        self._joined: WeakSet[napari.layers.Layer] = WeakSet()
        self._unrelated: WeakSet[napari.layers.Layer] = WeakSet()
        # Of the layers that were opened together, the messages, and those that hold nothing new.
        self._messages: dict[Controller, list[str]] = {}
        self._needless: list[napari.layers.Layer] = []
        self._opened = throttled(self._on_all_opened, 0, self)
        choice.changed.connect(self._on_choice)
        events = viewer.layers.events
        self._connections: list[tuple[Any, Callable[..., None]]] = [
            (events.inserted, self._on_inserted),
            (events.renamed, self.reset),
            (events.removed, self._on_removed),
            (events, self._on_layer_event),
            (viewer.layers.selection.events.active, self._on_active),
        ]
        for emitter, slot in self._connections:
            emitter.connect(slot)

    def reset(self, event: Event | None = None) -> None:
        """Offer the image layers there are now; what only shows something changes nothing in it."""
        if self._closed or image_layers.is_aside(getattr(event, "value", None)):
            return
        upright.turn_all(self._viewer)
        # The chosen image stays chosen, whatever it is called by now: magicgui knows its choice
        # again by the text only.
        with self._follow(), self._choice.changed.blocked():
            before = self.current.image if self.current is not None else None
            self._choice.reset_choices()
            images = self._choice.choices
            if before not in images:
                # The image a person is at: the active one, else the uppermost that is seen.
                active = self._viewer.layers.selection.active
                seen = [image for image in reversed(images) if image.visible]
                ours = [i for i in seen if image_layers.belongs(self._viewer, active, i)]
                before = next(iter((*ours, *seen, *images)), None)
            if self._choice.value is not before:
                self._choice.value = before
        self._turn()

    def bind(self, chosen: Iterable[str]) -> None:
        """Give layers of the current controller, made on first use, keys; follow their mode."""
        if self.current is not None:
            for key in chosen:
                self._hold(self.current.layer(key))

    def _hold(self, layer: napari.layers.Layer) -> None:
        self._equip(layer, True)
        layer.events.mode.disconnect(self._on_mode)
        layer.events.mode.connect(self._on_mode)
        layer.events.data.disconnect(self._on_drawn)
        layer.events.data.connect(self._on_drawn)

    # layers from files

    def join(self, opened: Iterable[napari.layers.Layer]) -> None:
        """Have layers opened from files of captions join the work on the image they are about."""
        for layer in list(opened):
            if layer in self._joined or not (
                sources.is_opened(layer) or sources.bring_captions(layer)
            ):
                continue
            image = self._subject(layer)
            controller, sentence = self.controllers.get(image), ""
            if controller is not None:
                self._joined.add(layer)
                sentence = self._join(layer, controller)
            elif image is None and self.current is not None:
                controller, sentence = self.current, self._unrelated_message(layer)
            if controller is not None and sentence:
                # After what is said of others that were opened with it.
                messages = self._messages.setdefault(controller, [])
                messages.append(sentence)
                controller.show_message(" ".join(messages))
                self._opened.throttle()

    def _join(self, layer: napari.layers.Layer, controller: Controller) -> str:
        """Have a layer join the work on an image, if it may; return what has come of it."""
        image, followed = controller.image, controller.sources
        if layer.ndim != image.ndim:
            return (
                f"{layer.name!r} has {layer.ndim} axes but the image has {image.ndim}, so its "
                "regions are not captioned; choose an image with as many."
            )
        if layer not in followed.offers() or layer in followed.following:
            return ""
        known = _known(layer, controller)
        if known and None not in known:
            if not layer.source.path:
                return f"All regions of {layer.name!r} are here already."
            self._needless.append(layer)
            return _take_over(layer, known, controller)
        try:
            followed.follow(layer)
        except PatchionerError as error:
            return str(error)
        self._equip(layer, False)
        number = counted(len(layer.features), "region")
        return f"{number} of {_name_and_file(layer)} joined the work on this image."

    def _unrelated_message(self, layer: napari.layers.Layer) -> str:
        """Say once that a layer is about an image that is not open."""
        names = sorted(_images_named(layer))
        if not names or layer in self._unrelated or image_layers.is_ours(self._viewer, layer):
            return ""
        self._unrelated.add(layer)
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        return (
            f"{layer.name!r} names {names[0]}{more}, which {'are' if more else 'is'} not open; "
            "choose Caption this layer to have it captioned on this image."
        )

    def _on_all_opened(self) -> None:
        """Take away what was opened for nothing, now that napari is done with opening."""
        needless, self._needless = self._needless, []
        self._messages.clear()
        for layer in needless:
            if not self._closed and layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    def _subject(self, layer: napari.layers.Layer) -> napari.layers.Image | None:
        """Return the image that a layer opened from a file is about; the one at hand in doubt."""
        if not hasattr(layer, "features") or not len(layer.features):
            return None
        names, at_hand = _images_named(layer), self._choice.value
        if not names:
            return at_hand
        for image in (at_hand, *image_layers.images_of(self._viewer)):
            if image is None:
                continue
            called = {image.name, title := image_layers.image_title(image), PurePath(title).stem}
            alike = {PurePath(name).name for name in names if may_mean(name, image)}
            if names & called or alike & called:
                return image
        return None

    def close(self) -> None:
        """Let go of the viewer and close all controllers; what is drawn stays."""
        self._closed = True
        self._opened.cancel()
        for emitter, slot in self._connections:
            emitter.disconnect(slot)
        for controller in self.controllers.values():
            _end(controller)
        self.controllers.clear()
        self.current = None

    # which image is seen

    @contextmanager
    def _follow(self) -> Iterator[None]:
        """Let the choice follow the window: nobody has chosen anything."""
        before, self._following = self._following, True
        try:
            yield
        finally:
            self._following = before

    def _on_choice(self, *_: object) -> None:
        """Turn to the chosen image; where a person has chosen it, show it."""
        self._turn()
        if self.current is not None and not self._following:
            with self._follow():
                self._show(self.current)
            self.changed.emit()

    def warning(self) -> str:
        """Return a sentence where the image that is captioned is not the one that is seen."""
        if self.current is None:
            return ""
        image = self.current.image
        if not view.is_shown(image):
            return f"{image.name!r} is captioned, but it is hidden: {_TO_SHOW}."
        over = view.covering(self._viewer, image)
        if over:
            return f"{image.name!r} is captioned, but {over[0].name!r} lies over it: {_TO_SHOW}."
        return ""

    def hidden(self) -> str:
        """Return a sentence where the layer at hand is hidden: napari's keys do nothing then."""
        layer = self._viewer.layers.selection.active
        if self.current is None or self.current.binding_of(layer) is None or layer.visible:
            return ""
        return f"{layer.name!r} is hidden: press V to show it, or choose a tool in the dock."

    def uncover(self) -> None:
        """Show the image that is captioned, where it is hidden or another one lies over it."""
        if self.current is not None and self.warning():
            with self._follow():
                self._show(self.current)

    def _on_layer_event(self, event: Event) -> None:
        """Check whether the image that is captioned is still the one that is seen."""
        if event.type in view.EVENTS and not self._closed and not self._following:
            self._follow_view()
            self.changed.emit()

    def _follow_view(self) -> None:
        """Turn to the image that is seen in the place of the one at hand, tool and all."""
        controller = self.current
        if controller is None or not self.warning():
            return
        before = controller.image
        seen = view.uppermost(self._viewer, before)
        busy = any(b.drawing or b.dragging for b in controller.bindings.values())
        # Channels are shown one by one, and captioned together.
        channel_seen = any(view.is_shown(layer) for layer in _channels(before, self._viewer))
        if seen is None or busy or channel_seen or seen not in self._choice.choices:
            return
        in_use = controller.owns(self._viewer.layers.selection.active)
        with self._follow():
            self._choice.value = seen
            if in_use and self.current is not None:
                self._take_up(self.current)
            for binding in self._bindings_of(seen):
                image_layers.raise_above(self._viewer, binding.layer, seen)
        if self.current is not None:
            self.current.show_message(
                f"{seen.name!r} is what is seen now, so it is the image that is captioned; choose "
                f"{before.name!r} in the dock to go on there."
            )

    def _on_drawn(self, event: Event) -> None:
        """Say so where a person draws on one image what is captioned from another one."""
        layer, controller = self._viewer.layers.selection.active, self.current
        if action(event) != "added" or controller is None or not controller.owns(layer):
            return
        # In other modes shapes come from somewhere else.
        if not str(getattr(layer, "mode", "")).startswith("add"):
            return
        image, drawn = controller.image, layer.data
        if not len(drawn) or self.warning():
            return
        spot = layer.data_to_world(np.atleast_2d(drawn[-1]).mean(axis=0))
        seen = view.image_at(self._viewer, spot)
        if seen is not None and seen is not image and seen not in _channels(image, self._viewer):
            controller.show_message(
                f"This is drawn on {seen.name!r} but captioned from {image.name!r}; choose "
                f"{seen.name!r} in the dock to caption what is seen there."
            )

    def _show(self, controller: Controller) -> None:
        """Have an image seen and its layers drawn on, whatever lay over it."""
        image = controller.image
        image_layers.show(image)
        if not view.is_shown(image):
            image.opacity = 1
        # First, as napari takes the tool away from a layer that is hidden.
        self._take_up(controller)
        own = _channels(image, self._viewer)
        hidden = [
            layer
            for layer in image_layers.images_of(self._viewer)
            if layer is not image
            and layer not in own
            and layer.visible
            and view.shared(layer.extent.world[:, -2:], image.extent.world[:, -2:]) > 0
        ]
        for layer in hidden:
            layer.visible = False
            for binding in self._bindings_of(layer):
                if binding.layer.visible:
                    binding.layer.visible = False
                    self._hidden.add(binding.layer)
        self._hidden.update(hidden)
        if hidden:
            self._say_hidden(controller, hidden)

    def _say_hidden(self, controller: Controller, hidden: list[Any]) -> None:
        """Say which images are hidden to show another one."""
        names = " and ".join(repr(layer.name) for layer in hidden[:2])
        more = f" and {len(hidden) - 2} more" if len(hidden) > 2 else ""
        shown = f"{controller.image.name!r} is shown"
        if hidden:
            are = "is" if len(hidden) == 1 else "are"
            shown += f"; {names}{more} {are} hidden: the eye in the list of layers brings it back"
        controller.show_message(shown)
        self._said = controller.message, hidden

    def _forget_hidden(self, gone: object) -> None:
        """Speak no longer of a hidden image that is closed."""
        message, hidden = self._said
        left = [layer for layer in hidden if layer is not gone]
        if len(left) < len(hidden):
            self._said = message, left
            if self.current is not None and self.current.message == message:
                self._say_hidden(self.current, left)

    def _bindings_of(self, image: Any) -> list[LayerBinding]:
        controller = self.controllers.get(image)
        return list(controller.bindings.values()) if controller is not None else []

    def _take_up(self, controller: Controller) -> None:
        """Turn from the layer of another image to the same one of this, tool and all."""
        active = self._viewer.layers.selection.active
        if image_layers.belongs(self._viewer, active, controller.image):
            return
        bound = [b for image in self.controllers for b in self._bindings_of(image)]
        old = next((b for b in bound if b.layer is active), None)
        target: Any = controller.image
        if old is not None:
            mode = str(old.layer.mode)
            old.layer.mode = "pan_zoom"
            target = controller.layer(old.key)
            self.bind([old.key])
            target.mode = mode
        elif controller.bindings:
            target = next(iter(controller.bindings.values())).layer
        self._viewer.layers.selection.active = target

    def _turn(self) -> None:
        """Turn to the controller of the image that is chosen now."""
        image = self._choice.value
        if image is not None and image is self._opening:
            return
        forms.name_image(self._choice)
        if image is not None and image not in self.controllers:
            self._opening = image
            try:
                controller = Controller(self._viewer, image, self._registry, self.parent())
            finally:
                self._opening = None
            self._prepare(controller)
            controller.changed.connect(self.changed)
            controller.messaged.connect(self.changed)
            controller.released.connect(self._on_released)
            controller.replaced.connect(partial(self._renew, image))
            self.controllers[image] = controller
            self.opened.emit(controller)
            self.join(self._viewer.layers)
        self.current = self.controllers.get(image)
        if self.current is not None:
            # Shown again with all its layers, as far as they were hidden for another image.
            bound = (binding.layer for binding in self.current.bindings.values())
            with self._follow():
                for layer in (image, *bound, *_channels(image, self._viewer)):
                    if layer in self._hidden:
                        self._hidden.discard(layer)
                        image_layers.show(layer)
        self._adopt()
        self.changed.emit()

    def _on_active(self, *_: object) -> None:
        """Turn to the image that was made active, itself or one of its layers."""
        active = self._viewer.layers.selection.active
        images = image_layers.images_of(self._viewer)
        image = next((i for i in images if image_layers.belongs(self._viewer, active, i)), None)
        if image is not None:
            if image is not self._choice.value and image in self._choice.choices:
                with self._follow():
                    self._choice.value = image
            else:
                self._adopt()
        self.changed.emit()

    def _on_inserted(self, event: Event) -> None:
        self.reset(event)
        if not self._closed and event.value is not None:
            self.join([event.value])

    def _on_removed(self, event: Event) -> None:
        if not image_layers.is_aside(event.value):
            self._renew(event.value)
            self._forget_hidden(event.value)

    def _renew(self, image: napari.layers.Image) -> None:
        """End the work on an image that is gone, or is another one now; begin what there is."""
        controller = self.controllers.pop(image, None)
        if controller is not None:
            self.closing.emit(controller)
            _end(controller)
        self.reset()

    def _on_released(self, layer: napari.layers.Shapes) -> None:
        """Take back from a layer what `bind` has given it."""
        free_keys(layer)
        layer.events.mode.disconnect(self._on_mode)
        layer.events.data.disconnect(self._on_drawn)

    def _on_mode(self, *_: object) -> None:
        self.changed.emit()

    def _adopt(self) -> None:
        if self.current is not None:
            self.current.adopt()
            for own in self.current.own_bindings():
                self._hold(own.layer)


def _end(controller: Controller) -> None:
    """Close a controller for good; the dock, its parent, would keep all that hangs on it."""
    controller.close()
    controller.setParent(None)
    controller.deleteLater()


def _images_named(layer: napari.layers.Layer) -> set[str]:
    """Return the images that the rows of a layer name."""
    names = getattr(layer, "features", {}).get("image", ())
    return {name for name in names if isinstance(name, str) and name}


def _known(layer: napari.layers.Layer, controller: Controller) -> list[Any]:
    """Return the record that each region of a layer is already, None for others."""
    records = controller.session.records
    uids = [str(uid) for uid in layer.features.get("uid", ())]
    if not uids or all(_OUR_UID.fullmatch(uid) for uid in uids):
        return [records.get(uid) for uid in uids]
    # Most other programs count the regions of every file from 0 or 1.
    if isinstance(layer.data, np.ndarray) and layer.data.shape[1:] != (layer.ndim,):  # labels
        followed = controller.sources.following
        is_open = any(other.source.path == layer.source.path for other in followed)
        return [records.get(uid) if is_open else None for uid in uids]
    by_shape: dict[tuple[int, ...], list[Any]] = {}
    for record in records.values():
        if record.seen is not None:
            by_shape.setdefault(record.seen.outline.shape, []).append(record)
    stacks = {shape: np.stack([r.seen.outline for r in of]) for shape, of in by_shape.items()}
    to_image, captions = geometry.alignment(layer, controller.image), _captions(layer)
    known: list[Any] = []
    for uid, data, caption in zip(uids, layer.data, captions, strict=False):
        outline = to_image(np.atleast_2d(data))
        stack = stacks.get(outline.shape, np.empty((0, *outline.shape)))
        apart = np.abs(stack - outline).max(axis=(1, 2), initial=0)
        near = (by_shape[outline.shape][index] for index in np.flatnonzero(apart <= _ROUNDED))
        same = (r for r in near if r.uid == uid or caption in ("", r.caption))
        known.append(next(same, None))
    return known


def _take_over(layer: napari.layers.Layer, known: list[Any], controller: Controller) -> str:
    """Take from a layer what people wrote of regions that are here, and say what came of it."""
    writers = layer.features.get("source", [""] * len(known))
    other = [
        (record, text)
        for record, text, writer in zip(known, _captions(layer), writers, strict=True)
        if text not in ("", record.caption) and not (writer == "model" and record.caption)
    ]
    taken = [(record, text) for record, text in other if not record.protected]
    name = _name_and_file(layer)
    with controller.session.step(f"captions of {name}"):
        for record, text in taken:
            controller.edit(record.uid, text)
    message = f"All regions of {name} are here already"
    if taken:
        message += f"; {counted(taken, 'caption')} taken over from there"
    if kept := len(other) - len(taken):
        message += f"; {kept} say something else there, and what a person wrote here is kept"
    return f"{message}."


def _captions(layer: napari.layers.Layer) -> list[str]:
    """Return the captions in the table of a layer."""
    return list(layer.features.get("caption", [""] * len(layer.features)))


def _name_and_file(layer: napari.layers.Layer) -> str:
    """Return what to call a layer, and its file where the name does not say."""
    path = PurePath(str(layer.source.path or ""))
    if not path.stem or path.stem in layer.name:
        return repr(layer.name)
    return f"{layer.name!r} ({path.name})"


def choices(viewer: napari.Viewer) -> list[tuple[str, napari.layers.Image]]:
    """Return the image layers of a viewer by name."""
    return [(layer.name, layer) for layer in image_layers.images_of(viewer)]


def _channels(image: Any, viewer: napari.Viewer) -> list[Any]:
    """Return the other channels of an image: they add their light, exactly on it."""
    return added(viewer.layers, image) if image.blending == "additive" else []
