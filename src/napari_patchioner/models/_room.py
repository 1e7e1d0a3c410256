"""Whether there is room on the disks."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from napari_patchioner.errors import ModelError

from ._card import size_text
from ._store import HOME

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# What is left free beside the files themselves.
_SPARE = 50e6


def need_room(need: Mapping[Path, float]) -> None:
    """Refuse if folders do not have so many bytes free, those of one disk taken together.

    Raises
    ------
    ModelError
        A disk is too full.
    """
    disks: dict[int, tuple[Path, float]] = {}
    for folder, size in need.items():
        there = next(path for path in (folder, *folder.parents) if path.exists())
        device = there.stat().st_dev
        disks[device] = (there, size + disks.get(device, (there, 0.0))[1])
    for folder, size in disks.values():
        free = shutil.disk_usage(folder).free
        if size and size + _SPARE > free:
            raise ModelError(
                f"{size_text(size + _SPARE)} are needed on the disk of {folder} but only "
                f"{size_text(free)} are free; make room, or set HF_HOME and {HOME} to folders on "
                "another disk."
            )
