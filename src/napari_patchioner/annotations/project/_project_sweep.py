"""Files that a program was killed in the middle of writing, taken away."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from napari_patchioner.annotations._file_names import short_name

if TYPE_CHECKING:
    from pathlib import Path

# Nobody writes a project for so long, not over the slowest network; whoever began was killed.
ABANDONED_S = 600.0
# What `tempfile` and a process id add to a name.
_ADDED = r"\.(?:[a-z0-9_]{8}|\d{1,10})"


def sweep(path: Path) -> list[Path]:
    """Delete what is left of unfinished writings of one file, long after they were begun.

    Only hidden files beside it go whose names a project's writer makes for this very file, and
    that nobody has touched for ten minutes: a shorter time may be another process at work.

    Parameters
    ----------
    path : Path
        The finished file, whether it exists or not.

    Returns
    -------
    list of Path
        What is gone.
    """
    names = [path.name, f"{path.name}.bak", f"{path.name}.damaged"]
    stems = "|".join(re.escape(name) for one in names for name in (one, short_name(one, 80)))
    ours = re.compile(rf"\.(?:{stems}){_ADDED}")
    gone = []
    with suppress(OSError):
        for beside in path.parent.iterdir():
            if ours.fullmatch(beside.name) and _is_abandoned(beside):
                with suppress(OSError):
                    beside.unlink()
                    gone.append(beside)
    return gone


def _is_abandoned(path: Path) -> bool:
    try:
        state = path.lstat()
    except OSError:
        return False
    # A second name of an old file is as young as the name.
    touched = max(state.st_mtime, state.st_ctime)
    return path.is_file() and not path.is_symlink() and time.time() - touched > ABANDONED_S
