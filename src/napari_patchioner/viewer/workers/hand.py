"""Whether a person is drawing: then one core is the window's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from napari.components import ViewerModel

# How long after a press, a move or a release somebody may be about to go on.
_PAUSE_S = 2.0


class Hand:
    """The mouse over the canvases of all windows; any thread may ask about it."""

    def __init__(self) -> None:
        self._seen = float("-inf")

    def follow(self, viewer: ViewerModel) -> None:
        """Notice what is pressed and dragged in a viewer from now on."""
        viewer.mouse_drag_callbacks.append(self._on_drag)

    def leave(self, viewer: ViewerModel) -> None:
        """Notice nothing of a viewer any more."""
        if self._on_drag in viewer.mouse_drag_callbacks:
            viewer.mouse_drag_callbacks.remove(self._on_drag)

    @property
    def is_drawing(self) -> bool:
        """Whether something was pressed, dragged or let go of a moment ago."""
        return time.monotonic() - self._seen < _PAUSE_S

    def spared(self) -> int:
        """Return how many cores the window needs for itself."""
        return int(self.is_drawing)

    def _on_drag(self, viewer: Any, event: Any) -> Iterator[None]:
        self._seen = time.monotonic()
        yield
        while event.type == "mouse_move":
            self._seen = time.monotonic()
            yield
        self._seen = time.monotonic()


hand = Hand()
"""The one of this process."""
