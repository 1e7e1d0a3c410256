"""The images of a viewer, each with its annotator; one of them is worked on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_patchioner.viewer.canvas import keys, layers

from .annotator import Annotator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import napari
    from magicgui.widgets import ComboBox
    from napari.utils.events import Event

    from napari_patchioner.viewer.reading.library import Library


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
        self._closed = False
        choice.changed.connect(self._on_choice)
        viewer.layers.events.inserted.connect(self.reset)
        viewer.layers.events.renamed.connect(self.reset)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.layers.selection.events.active.connect(self._on_active)

    def reset(self, *_: object) -> None:
        """Offer the image layers there are now."""
        if not self._closed:
            self._choice.reset_choices()
            self._on_choice()

    def bind(self, chosen: Iterable[str]) -> None:
        """Give layers of the current annotator, made on first use, our keys; follow their mode."""
        if self.current is None:
            return
        for key in chosen:
            layer = self.current.layer(key)
            keys.bind_keys(layer, self._deeds)
            self._dress(layer)
            layer.events.mode.disconnect(self._on_mode)
            layer.events.mode.connect(self._on_mode)

    def close(self) -> None:
        """Let go of the viewer and close all annotators; what is drawn stays."""
        self._closed = True
        events = self._viewer.layers.events
        events.inserted.disconnect(self.reset)
        events.renamed.disconnect(self.reset)
        events.removed.disconnect(self._on_removed)
        self._viewer.layers.selection.events.active.disconnect(self._on_active)
        for annotator in self.annotators.values():
            for binding in annotator.bindings.values():
                keys.free_keys(binding.layer)
                binding.layer.events.mode.disconnect(self._on_mode)
            annotator.close()
        self.annotators.clear()
        self.current = None

    def _on_choice(self, *_: object) -> None:
        """Turn to the annotator of the chosen image."""
        image = self._choice.value
        if image is not None and image not in self.annotators:
            annotator = Annotator(self._viewer, image, self._library, self.parent())
            self._prepare(annotator)
            annotator.changed.connect(self.changed)
            annotator.told.connect(self.changed)
            self.annotators[image] = annotator
            self.opened.emit(annotator)
        self.current = self.annotators.get(image)
        self._adopt()
        self.changed.emit()

    def _on_active(self, *_: object) -> None:
        """Turn to the image that was made active, itself or one of its layers."""
        active = self._viewer.layers.selection.active
        images = (image for _, image in choices(self._viewer))
        found = [image for image in images if layers.belongs(self._viewer, active, image)]
        if found and found[0] is not self._choice.value and found[0] in self._choice.choices:
            self._choice.value = found[0]
        elif found:
            self._adopt()
        self.changed.emit()

    def _on_removed(self, event: Event) -> None:
        annotator = self.annotators.pop(event.value, None)
        if annotator is not None:
            self.closing.emit(annotator)
            annotator.close()
            annotator.deleteLater()
        self.reset()

    def _on_mode(self, *_: object) -> None:
        self.changed.emit()

    def _adopt(self) -> None:
        if self.current is not None:
            self.current.adopt()
            self.bind(list(self.current.bindings))


def choices(viewer: napari.Viewer) -> list[tuple[str, napari.layers.Image]]:
    """Return the image layers of a viewer by name; layers of derived kinds are none."""
    from napari.layers import Image

    return [(layer.name, layer) for layer in viewer.layers if type(layer) is Image]
