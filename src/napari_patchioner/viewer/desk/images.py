"""The images of a viewer, each with its annotator; one of them is worked on."""

from __future__ import annotations

import re
from contextlib import contextmanager
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_patchioner.errors import PatchionerError
from napari_patchioner.viewer.export.export import image_title
from napari_patchioner.viewer.export.placing import may_mean
from napari_patchioner.viewer.layers import image_layers, view
from napari_patchioner.viewer.layers.geometry import alignment, full_shape, lies_on
from napari_patchioner.viewer.layers.sources import bring_captions, is_opened
from napari_patchioner.viewer.layers.upright import turn_all
from napari_patchioner.viewer.panels import forms, keys
from napari_patchioner.viewer.session.session import counted

from .annotator import Annotator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import napari
    from magicgui.widgets import ComboBox
    from napari.utils.events import Event

    from napari_patchioner.viewer.layers.binding import LayerBinding
    from napari_patchioner.viewer.reading.library import Library


# How far, in pixels, a format moves a vertex by rounding it.
_ROUNDED = 1.0
# What regions are called here; nobody else calls another region so.
_OUR_UID = re.compile("[0-9a-f]{32}")
# What the buttons that draw do, besides.
_TO_SHOW = "choose a tool to have it shown"


class Images(QObject):
    """Keeps an annotator for every image, and turns to the one that is chosen or made active.

    Attributes
    ----------
    annotators : dict
        By image layer.
    current : Annotator, optional
        That of the chosen image.

    Parameters
    ----------
    viewer : napari.Viewer
        Where the images are.
    choice : ComboBox
        The question which image; it offers what :meth:`choices` returns.
    library : Library
        Where models come from.
    prepare : callable
        Told of every new annotator before anything is drawn with it.
    deeds : object
        Whose methods the keys of the layers call.
    dress : callable
        Told of every layer that comes into use, to give it its looks.
    parent : QObject, optional
        The dock.
    """

    changed = Signal()
    # With an annotator: ready to be drawn with, and about to end.
    opened = Signal(object)
    closing = Signal(object)

    def __init__(
        self,
        viewer: napari.Viewer,
        choice: ComboBox,
        library: Library,
        prepare: Callable[[Annotator], None],
        deeds: object,
        dress: Callable[[napari.layers.Shapes], None],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.annotators: dict[Any, Annotator] = {}
        self.current: Annotator | None = None
        self._viewer = viewer
        self._choice = choice
        self._library = library
        self._prepare = prepare
        self._deeds = deeds
        self._dress = dress
        self._closed = self._following = False
        # What was hidden to show a chosen image, and is shown again with its own.
        self._hidden: WeakSet[Any] = WeakSet()
        # Layers from files, each of which is asked once which image it is about.
        self._joined: WeakSet[napari.layers.Layer] = WeakSet()
        self._strange: WeakSet[napari.layers.Layer] = WeakSet()
        # Of the layers that were opened together, what was told, and which hold nothing new.
        self._news: dict[Annotator, list[str]] = {}
        self._needless: list[napari.layers.Layer] = []
        self._opened = QTimer(self)
        self._opened.setSingleShot(True)
        self._opened.timeout.connect(self._on_all_opened)
        choice.changed.connect(self._on_choice)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.renamed.connect(self.reset)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.layers.events.connect(self._on_look)
        viewer.layers.selection.events.active.connect(self._on_active)

    def reset(self, *_: object) -> None:
        """Offer the image layers there are now."""
        if not self._closed:
            turn_all(self._viewer)
            with self._follow():
                self._offer()
            self._turn()

    def _offer(self) -> None:
        """Offer the images, and leave the chosen one chosen, whatever it is called by now."""
        before = self.current.image if self.current is not None else None
        # magicgui knows its choice again by the text only.
        with self._choice.changed.blocked():
            self._choice.reset_choices()
            images = self._choice.choices
            wanted = before if before in images else self._foremost(images)
            if self._choice.value is not wanted:
                self._choice.value = wanted

    def _foremost(self, images: Sequence[napari.layers.Image]) -> napari.layers.Image | None:
        """Return the image a person is at: the active one, else the uppermost that is seen."""
        active = self._viewer.layers.selection.active
        seen = [image for image in reversed(images) if image.visible]
        ours = [image for image in seen if image_layers.belongs(self._viewer, active, image)]
        return next(iter((*ours, *seen, *images)), None)

    def bind(self, chosen: Iterable[str]) -> None:
        """Give layers of the current annotator, made on first use, our keys; follow their mode."""
        if self.current is None:
            return
        for key in chosen:
            self._hold(self.current.layer(key))

    def _hold(self, layer: napari.layers.Layer) -> None:
        keys.bind_keys(layer, self._deeds)
        self._dress(layer)
        layer.events.mode.disconnect(self._on_mode)
        layer.events.mode.connect(self._on_mode)
        layer.events.data.disconnect(self._on_drawn)
        layer.events.data.connect(self._on_drawn)

    def join(self, opened: Iterable[napari.layers.Layer]) -> None:
        """Have layers opened from files of captions join the work on the image they are about.

        Those of no known image join the image at hand. What names an image that is not open is
        left alone, and what has just been opened and holds nothing new is taken away again.
        """
        for layer in list(opened):
            if layer in self._joined or not (is_opened(layer) or bring_captions(layer)):
                continue
            image = self._subject(layer)
            annotator = self.annotators.get(image)
            if annotator is None:
                if image is None:
                    self._tell_of_stranger(layer)
                continue
            self._joined.add(layer)
            if layer.ndim != image.ndim:
                self._tell(
                    annotator,
                    f"{layer.name!r} has {layer.ndim} axes but the image has {image.ndim}, so its "
                    "regions are not captioned; choose an image with as many.",
                )
                continue
            if layer not in annotator.sources.offers():
                continue
            if layer in annotator.sources.following:
                continue
            known = _known(layer, annotator)
            if known and None not in known:
                self._tell(annotator, f"All regions of {_name_and_file(layer)} are here already.")
                captions = zip(known, _captions(layer), strict=True)
                if layer.source.path and all(text in ("", one.caption) for one, text in captions):
                    self._needless.append(layer)
                continue
            try:
                annotator.sources.follow(layer)
            except PatchionerError as error:
                self._tell(annotator, str(error))
            else:
                self._dress(layer)
                number = counted(len(layer.features), "region")
                name = _name_and_file(layer)
                self._tell(annotator, f"{number} of {name} joined the work on this image.")

    def _tell(self, annotator: Annotator, sentence: str) -> None:
        """Tell of one layer, after what was told of others that were opened with it."""
        told = self._news.setdefault(annotator, [])
        told.append(sentence)
        annotator.tell(" ".join(told))
        self._opened.start(0)

    def _tell_of_stranger(self, layer: napari.layers.Layer) -> None:
        """Say once that a layer is about an image that is not open."""
        names = sorted(_images_named(layer))
        if not names or self.current is None or layer in self._strange:
            return
        if image_layers.is_ours(self._viewer, layer):
            return
        self._strange.add(layer)
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        self._tell(
            self.current,
            f"{layer.name!r} names {names[0]}{more}, which {'are' if more else 'is'} not open; "
            "choose Caption this layer to have it captioned on this image.",
        )

    def _on_all_opened(self) -> None:
        """Take away what was opened for nothing, now that napari is done with opening."""
        needless, self._needless = self._needless, []
        self._news.clear()
        for layer in needless:
            if not self._closed and layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    def _subject(self, layer: napari.layers.Layer) -> napari.layers.Image | None:
        """Return the image that a layer opened from a file is about; the one at hand in doubt."""
        if not hasattr(layer, "features") or not len(layer.features):
            return None
        names = _images_named(layer)
        at_hand = self._choice.value
        if not names:
            return at_hand
        images = [image for _, image in choices(self._viewer)]
        images.sort(key=lambda image: image is not at_hand)
        for image in images:
            called = {image.name, image_title(image), PurePath(image_title(image)).stem}
            alike = {PurePath(name).name for name in names if may_mean(name, image)}
            if names & called or alike & called:
                return image
        return None

    def close(self) -> None:
        """Let go of the viewer and close all annotators; what is drawn stays."""
        self._closed = True
        self._opened.stop()
        events = self._viewer.layers.events
        events.inserted.disconnect(self._on_inserted)
        events.renamed.disconnect(self.reset)
        events.removed.disconnect(self._on_removed)
        events.disconnect(self._on_look)
        self._viewer.layers.selection.events.active.disconnect(self._on_active)
        for annotator in self.annotators.values():
            _end(annotator)
        self.annotators.clear()
        self.current = None

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

    def bring_to_light(self) -> None:
        """Show the image that is captioned, where it is hidden or another one lies over it."""
        if self.current is not None and self.warning():
            with self._follow():
                self._show(self.current)

    def _on_look(self, event: Event) -> None:
        """See whether the image that is captioned is still the one that is seen."""
        if event.type in view.EVENTS and not self._closed and not self._following:
            self._follow_eye()
            self.changed.emit()

    def _follow_eye(self) -> None:
        """Turn to the image that is seen in the place of the one at hand, tool and all."""
        annotator = self.current
        if annotator is None or not self.warning():
            return
        before, channels = annotator.image, _channels(annotator.image, self._viewer)
        seen = view.uppermost(self._viewer, before)
        busy = any(one.drawing or one.dragging for one in annotator.bindings.values())
        # Channels are looked at one by one, and captioned together.
        looked_at = any(view.is_shown(layer) for layer in channels)
        if seen is None or busy or looked_at or seen not in self._choice.choices:
            return
        in_use = annotator.owns(self._viewer.layers.selection.active)
        with self._follow():
            self._choice.value = seen
            if in_use and self.current is not None:
                self._take_up(self.current)
            for binding in self._bindings_of(seen):
                image_layers.raise_above(self._viewer, binding.layer, seen)
        if self.current is not None:
            self.current.tell(
                f"{seen.name!r} is what is seen now, so it is the image that is captioned; choose "
                f"{before.name!r} in the dock to go on there."
            )

    def _on_drawn(self, event: Event) -> None:
        """Say so where a person draws on one image what is captioned from another one."""
        layer, annotator = self._viewer.layers.selection.active, self.current
        if str(getattr(event.action, "value", event.action)) != "added" or annotator is None:
            return
        # In other modes shapes come from somewhere else.
        if not annotator.owns(layer) or not str(getattr(layer, "mode", "")).startswith("add"):
            return
        image, drawn = annotator.image, layer.data
        if not len(drawn) or self.warning():
            return
        spot = layer.data_to_world(np.atleast_2d(drawn[-1]).mean(axis=0))
        seen = view.image_at(self._viewer, spot)
        if seen is not None and seen is not image and seen not in _channels(image, self._viewer):
            annotator.tell(
                f"This is drawn on {seen.name!r} but captioned from {image.name!r}; choose "
                f"{seen.name!r} in the dock to caption what is seen there."
            )

    def _show(self, annotator: Annotator) -> None:
        """Have an image seen and its layers drawn on, whatever lay over it."""
        image = annotator.image
        image.visible = True
        if not view.is_shown(image):
            image.opacity = 1
        # First, as napari takes the tool away from a layer that is hidden.
        self._take_up(annotator)
        hidden = [layer for layer in self._covering(image) if layer.visible]
        for layer in hidden:
            layer.visible = False
            for binding in self._bindings_of(layer):
                if binding.layer.visible:
                    binding.layer.visible = False
                    self._hidden.add(binding.layer)
        self._hidden.update(hidden)
        if hidden:
            names = " and ".join(repr(layer.name) for layer in hidden[:2])
            more = f" and {len(hidden) - 2} more" if len(hidden) > 2 else ""
            annotator.tell(
                f"{image.name!r} is shown; {names}{more} {'is' if len(hidden) == 1 else 'are'} "
                "hidden: the eye in the list of layers brings it back."
            )

    def _unhide(self, annotator: Annotator) -> None:
        """Show an image with all its layers, as far as they were hidden for another one."""
        bound = (binding.layer for binding in annotator.bindings.values())
        for layer in (annotator.image, *bound, *_channels(annotator.image, self._viewer)):
            if layer in self._hidden:
                self._hidden.discard(layer)
                layer.visible = True

    def _covering(self, image: Any) -> list[Any]:
        """Return the other images that are drawn in the same place, its own channels left out."""
        own = _channels(image, self._viewer)
        return [
            layer
            for _, layer in choices(self._viewer)
            if layer is not image and layer not in own and _overlap(layer, image)
        ]

    def _bindings_of(self, image: Any) -> list[LayerBinding]:
        annotator = self.annotators.get(image)
        return list(annotator.bindings.values()) if annotator is not None else []

    def _take_up(self, annotator: Annotator) -> None:
        """Turn from the layer of another image to the same one of this, tool and all."""
        active = self._viewer.layers.selection.active
        if image_layers.belongs(self._viewer, active, annotator.image):
            return
        bound = [b for image in self.annotators for b in self._bindings_of(image)]
        old = next((b for b in bound if b.layer is active), None)
        target: Any = annotator.image
        if old is not None:
            mode = str(old.layer.mode)
            old.layer.mode = "pan_zoom"
            target = annotator.layer(old.key)
            self.bind([old.key])
            target.mode = mode
        elif annotator.bindings:
            target = next(iter(annotator.bindings.values())).layer
        self._viewer.layers.selection.active = target

    def _turn(self) -> None:
        """Turn to the annotator of the image that is chosen now."""
        image = self._choice.value
        forms.name_image(self._choice)
        if image is not None and image not in self.annotators:
            annotator = Annotator(self._viewer, image, self._library, self.parent())
            self._prepare(annotator)
            annotator.changed.connect(self.changed)
            annotator.told.connect(self.changed)
            annotator.released.connect(self._on_released)
            annotator.replaced.connect(partial(self._renew, image))
            self.annotators[image] = annotator
            self.opened.emit(annotator)
            self.join(self._viewer.layers)
        self.current = self.annotators.get(image)
        if self.current is not None:
            with self._follow():
                self._unhide(self.current)
        self._adopt()
        self.changed.emit()

    def _on_active(self, *_: object) -> None:
        """Turn to the image that was made active, itself or one of its layers."""
        active = self._viewer.layers.selection.active
        images = (image for _, image in choices(self._viewer))
        found = [image for image in images if image_layers.belongs(self._viewer, active, image)]
        if found and found[0] is not self._choice.value and found[0] in self._choice.choices:
            with self._follow():
                self._choice.value = found[0]
        elif found:
            self._adopt()
        self.changed.emit()

    def _on_inserted(self, event: Event) -> None:
        self.reset()
        if not self._closed and event.value is not None:
            self.join([event.value])

    def _on_removed(self, event: Event) -> None:
        self._renew(event.value)

    def _renew(self, image: napari.layers.Image) -> None:
        """End the work on an image that is gone, or is another one now; begin what there is."""
        annotator = self.annotators.pop(image, None)
        if annotator is not None:
            self.closing.emit(annotator)
            _end(annotator)
        self.reset()

    def _on_released(self, layer: napari.layers.Shapes) -> None:
        """Take back from a layer what `bind` has given it."""
        keys.free_keys(layer)
        layer.events.mode.disconnect(self._on_mode)
        layer.events.data.disconnect(self._on_drawn)

    def _on_mode(self, *_: object) -> None:
        self.changed.emit()

    def _adopt(self) -> None:
        if self.current is not None:
            self.current.adopt()
            self.bind(list(self.current.bindings))
            own = self.current.sources.own
            if own is not None:
                self._hold(own.layer)


def _end(annotator: Annotator) -> None:
    """Close an annotator for good; the dock, its parent, would keep all that hangs on it."""
    annotator.close()
    annotator.setParent(None)
    annotator.deleteLater()


def _images_named(layer: napari.layers.Layer) -> set[str]:
    """Return the images that the rows of a layer name."""
    names = getattr(layer, "features", {}).get("image", ())
    return {name for name in names if isinstance(name, str) and name}


def _known(layer: napari.layers.Layer, annotator: Annotator) -> list[Any]:
    """Return the record that each region of a layer is already, None for others.

    Names alone do not tell: most programs count the regions of every file from 0 or 1.
    """
    records = annotator.session.records
    uids = [str(uid) for uid in layer.features.get("uid", ())]
    if not uids or all(_OUR_UID.fullmatch(uid) for uid in uids):
        return [records.get(uid) for uid in uids]
    if isinstance(layer.data, np.ndarray) and layer.data.shape[1:] != (layer.ndim,):  # labels
        following = annotator.sources.following
        is_open = any(one.source.path == layer.source.path for one in following)
        return [records.get(uid) if is_open else None for uid in uids]
    outlines: dict[tuple[int, ...], list[Any]] = {}
    for record in records.values():
        if record.seen is not None:
            outlines.setdefault(record.seen.outline.shape, []).append(record)
    stacks = {shape: np.stack([one.seen.outline for one in of]) for shape, of in outlines.items()}
    to_image, captions = alignment(layer, annotator.image), _captions(layer)
    found: list[Any] = []
    for uid, data, caption in zip(uids, layer.data, captions, strict=False):
        outline = to_image(np.atleast_2d(data))
        stack = stacks.get(outline.shape, np.empty((0, *outline.shape)))
        apart = np.abs(stack - outline).max(axis=(1, 2), initial=0)
        there = [outlines[outline.shape][place] for place in np.flatnonzero(apart <= _ROUNDED)]
        same = (one for one in there if one.uid == uid or caption in ("", one.caption))
        found.append(next(same, None))
    return found


def _captions(layer: napari.layers.Layer) -> list[str]:
    """Return the captions in the table of a layer."""
    return list(layer.features.get("caption", [""] * len(layer.features)))


def _name_and_file(layer: napari.layers.Layer) -> str:
    """Return what to call a layer, and its file where the name does not tell."""
    path = PurePath(str(layer.source.path or ""))
    told = not path.stem or path.stem in layer.name
    return repr(layer.name) if told else f"{layer.name!r} ({path.name})"


def choices(viewer: napari.Viewer) -> list[tuple[str, napari.layers.Image]]:
    """Return the image layers of a viewer by name; layers of derived kinds are none."""
    from napari.layers import Image

    return [(layer.name, layer) for layer in viewer.layers if type(layer) is Image]


def _channels(image: Any, viewer: napari.Viewer) -> list[Any]:
    """Return the other channels of an image: they add their light, exactly on it."""
    others = (layer for _, layer in choices(viewer) if layer is not image)
    return [
        layer
        for layer in others
        if image.blending == "additive" == layer.blending
        and full_shape(layer) == full_shape(image)
        and lies_on(layer, image)
    ]


def _overlap(one: Any, other: Any) -> bool:
    """Whether two images share a place in the world, along the axes of rows and columns."""
    (low, high), (start, stop) = one.extent.world[:, -2:], other.extent.world[:, -2:]
    return bool((np.minimum(high, stop) > np.maximum(low, start)).all())
