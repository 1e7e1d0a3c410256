"""Selecting across the two layers, which napari keeps apart."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager

from napari.components import ViewerModel
from napari.layers import Shapes
from napari.utils.events import Event
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from .binding import LayerBinding
from .shapes import is_dragging


class SharedSelection:
    """Makes one selection of two layers: a click meets a shape on either; with Shift, it adds.

    `pressed` is called at every click on a shape that is to be the only one selected.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        bindings: Callable[[], Iterable[LayerBinding]],
        changed: Callable[[], None],
        pressed: Callable[[], None],
    ) -> None:
        self._viewer, self._bindings = viewer, bindings
        self._changed, self._pressed = changed, pressed
        self._working = False
        self._slots: dict[Shapes, Callable[..., None]] = {}

    def attach(self, layer: Shapes) -> None:
        """Follow a layer."""
        if layer in self._slots:
            return
        layer.mouse_drag_callbacks.insert(0, self._on_press)

        def items_changed(added: Collection[int], removed: Collection[int]) -> None:
            self._on_items(layer, added)

        self._slots[layer] = items_changed
        layer.selected_data.events.items_changed.connect(items_changed)

    def detach(self, layer: Shapes) -> None:
        """Stop following a layer."""
        if self._on_press in layer.mouse_drag_callbacks:
            layer.mouse_drag_callbacks.remove(self._on_press)
        layer.selected_data.events.items_changed.disconnect(self._slots.pop(layer))

    def follow_active(self, *_: object) -> None:
        """Select nothing on our layers where a layer has become active that shows nothing."""
        # napari shows what is selected on the active layer only.
        active = self._viewer.layers.selection.active
        ours = [binding.layer for binding in self._bindings()]
        if self._working or active not in ours or active.selected_data:
            return
        if any(layer.selected_data for layer in ours):
            with self.still():
                self._clear_others(active)

    @contextmanager
    def still(self) -> Iterator[None]:
        """Ignore all events while shapes are exchanged and selected again, on both layers."""
        if self._working:
            yield
            return
        self._working = True
        try:
            yield
        finally:
            self._working = False
        self._changed()

    def _on_press(self, layer: Shapes, event: Event) -> Iterator[None]:
        """Select what is clicked and nothing else, on whichever layer it lies."""
        if layer.mode not in ("select", "direct"):
            return
        clicked = layer.get_value(event.position, world=True)[0]
        adds = "Shift" in event.modifiers or shift_held()
        if clicked is None:
            self._turn_to_other(layer, event, adds)
            return
        if adds:
            return
        with self.still():
            self._clear_others(layer)
            self._pressed()
        # Of several selected shapes napari keeps all, since they may be dragged.
        moved = False
        yield
        while event.type == "mouse_move":
            moved = moved or is_dragging(layer)
            yield
        several = len(layer.selected_data) > 1 and clicked in layer.selected_data
        if several and layer.mode == "select" and not (moved or is_dragging(layer)):
            layer.selected_data = {clicked}

    def _turn_to_other(self, layer: Shapes, event: Event, adds: bool) -> None:
        """Turn to the other layer where the click meets a shape only on it, or select nothing."""
        for binding in self._bindings() if layer.mode == "select" else ():
            other = binding.layer
            if other is layer or not other.visible:
                continue
            value = other.get_value(event.position, world=True)
            if value is not None and value[0] is not None:
                other.mode = "select"
                other.selected_data = {value[0]} | (other.selected_data if adds else set())
                self._viewer.layers.selection.active = other
                return
        if not adds:
            with self.still():
                self._clear_others(layer)
                self._pressed()

    def _on_items(self, layer: Shapes, added: Collection[int]) -> None:
        """Drop the selection on the other layer unless Shift is held."""
        if not self._working:
            with self.still():
                if (added or layer.selected_data) and not shift_held():
                    self._clear_others(layer)

    def _clear_others(self, layer: Shapes) -> None:
        for binding in self._bindings():
            if binding.layer is not layer and binding.layer.selected_data:
                binding.layer.selected_data = set()


def shift_held() -> bool:
    """Whether Shift is held right now."""
    return bool(QApplication.keyboardModifiers() & Qt.KeyboardModifier.ShiftModifier)
