"""Notices when something on display changes that pictures for the model are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from napari.utils.events import Event, EventEmitter

EVENTS = ("contrast_limits", "gamma", "colormap", "opacity", "visible")


class DisplayWatch:
    """Follows the display settings of all image layers of a viewer.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers are followed.
    changed : callable
        Called with nothing after any change; contrast limits change with every step of a slider.
    """

    def __init__(self, viewer: napari.components.ViewerModel, changed: Callable[[], None]) -> None:
        self._layers = viewer.layers
        self._changed = changed
        self._closed = False
        self._layers.events.inserted.connect(self._on_inserted)
        self._layers.events.removed.connect(self._on_removed)
        for layer in self._layers:
            self._follow(layer, True)

    def close(self) -> None:
        """Follow nothing any more."""
        self._closed = True
        self._layers.events.inserted.disconnect(self._on_inserted)
        self._layers.events.removed.disconnect(self._on_removed)
        for layer in self._layers:
            self._follow(layer, False)

    def _follow(self, layer: object, on: bool) -> None:
        for emitter in _emitters(layer):
            if on:
                emitter.connect(self._on_change)
            else:
                emitter.disconnect(self._on_change)

    def _on_change(self, *_: object) -> None:
        # An emission that is under way goes on to those who hear no more of the next one.
        if not self._closed:
            self._changed()

    def _on_inserted(self, event: Event) -> None:
        if not self._closed:
            self._follow(event.value, True)
            self._changed()

    def _on_removed(self, event: Event) -> None:
        self._follow(event.value, False)
        self._on_change()


def _emitters(layer: object) -> list[EventEmitter]:
    from napari.layers import Image

    return [getattr(layer.events, name) for name in EVENTS] if type(layer) is Image else []
