"""Keys on our two layers; all of them are free in napari 0.9."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari

KEYS = {"Q": "caption_again", "G": "caption_together", "W": "caption_whole", "C": "write_caption"}


def bind_keys(layer: napari.layers.Shapes, dock: object) -> None:
    """Let the keys of a layer do what the dock's buttons do."""
    for key, name in KEYS.items():
        layer.bind_key(key, _call(getattr(dock, name)), overwrite=True)


def free_keys(layer: napari.layers.Shapes) -> None:
    """Give the keys back."""
    for key in KEYS:
        layer.bind_key(key, None, overwrite=True)


def _call(action: Callable[[], None]) -> Callable[[napari.layers.Shapes], None]:
    def press(_: napari.layers.Shapes) -> None:
        action()

    return press
