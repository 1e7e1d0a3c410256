"""The napari plugin: everything that knows napari or Qt, and nothing that knows a model."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .dock import CaptionDock
    from .folder.dock import FolderDock
    from .plugin import open_demo

__all__ = ["CaptionDock", "FolderDock", "open_demo"]

_MODULES = {"CaptionDock": ".dock", "FolderDock": ".folder.dock", "open_demo": ".plugin"}


def __getattr__(name: str) -> object:
    """Import a public name from its module, so that napari starts without Qt here."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name], __name__), name)
