"""The napari plugin: everything that knows napari or Qt, and nothing that knows a model."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .desk.dock import CaptionDock
    from .folder.folder_dock import FolderDock
    from .opening import open_demo

__all__ = ["CaptionDock", "FolderDock", "open_demo"]

_HOMES = {
    "CaptionDock": ".desk.dock",
    "FolderDock": ".folder.folder_dock",
    "open_demo": ".opening",
}


def __getattr__(name: str) -> object:
    """Import a public name from the module it lives in, so that napari starts without Qt here."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
