"""Only plain files are opened: whatever else has a path may never end."""

from __future__ import annotations

import os
import stat

from napari_patchioner.errors import ImageError


def check_plain_file(path: str | os.PathLike[str]) -> None:
    """Raise an ImageError for a path that is no plain file, without opening it."""
    name = os.fsdecode(path)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        raise ImageError(f"{name}: there is no such image") from error
    except (OSError, ValueError) as error:
        raise ImageError(f"{name!r}: cannot be read ({error})") from error
    if stat.S_ISDIR(mode):
        raise ImageError(f"{name}: is a folder, not an image")
    if not stat.S_ISREG(mode):
        raise ImageError(f"{name}: is a pipe, socket or device; save its contents to a plain file")
