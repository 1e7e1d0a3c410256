"""Escape on the canvas while something runs that it stops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.components import ViewerModel
from napari.layers import Shapes

from .shapes import finish_drawing, is_drawing

_KEY = "Escape"


class EscapeKey:
    """Has Escape stop what runs, whichever layer is active; what it did before comes after that.

    What has taken the key since, such as a tool that was picked up meanwhile, comes first, and so
    does a shape that is half drawn.
    """

    def __init__(self, viewer: ViewerModel, stop: Callable[[], object]) -> None:
        def press(target: object) -> None:
            if isinstance(target, Shapes) and is_drawing(target):
                finish_drawing(target)
            else:
                stop()

        self._viewer, self._press = viewer, press
        # Whose key it is now, by identity, and what the key did there before
        self._held: dict[int, tuple[Any, Any]] = {}

    def follow(self, running: bool) -> None:
        """Take the key while something runs, where nothing newer has it; else give it back."""
        if not running:
            self.leave()
            return
        is_new = not self._held
        for target in (self._viewer, *self._viewer.layers):
            action = _swap(target, self._press)
            if action is not None and action is not self._press and not is_new:
                _swap(target, action)
                self._held.pop(id(target), None)
            elif action is not self._press:
                self._held[id(target)] = (target, action)

    def leave(self) -> None:
        """Give the key back to what it did before."""
        for target, before in self._held.values():
            action = _swap(target, before)
            if action is not self._press:
                _swap(target, action)
        self._held.clear()


def _swap(target: Any, action: Any) -> Any:
    """Bind the key of a layer or the viewer; return what it was bound to, None for nothing."""
    return target.bind_key(_KEY, action, overwrite=True)
