"""The napari plugin: everything that knows napari or Qt, and nothing that knows a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from .dock import CaptionDock
    from .folder.dock import FolderDock
    from .plugin import open_demo

__all__ = ["CaptionDock", "FolderDock", "open_demo"]

__getattr__, *_ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "dock": ["CaptionDock"],
        "folder.dock": ["FolderDock"],
        "plugin": ["open_demo"],
    },
)


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return list(__all__)
