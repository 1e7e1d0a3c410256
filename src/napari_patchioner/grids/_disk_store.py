"""Feature grids in a folder, the least recently used of them deleted when it is full."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from threading import Lock, get_ident
from typing import TYPE_CHECKING

from ._grid_file import DamagedError, OtherVersionError, grid_from_bytes, grid_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ._grid import FeatureGrid

_KEY = re.compile(r"[0-9a-f]{32}")
_OURS = re.compile(r"[0-9a-f]{32}\.safetensors|\.[0-9a-f]{32}\.\d+\.\d+\.part")
# Nobody writes a grid for so long; whoever began it was killed.
_ABANDONED_S = 600.0


class DiskStore:
    """One file per grid, named by its key; several processes may share the folder.

    A file is written beside and renamed, and says whether it is whole, so that nobody ever reads
    half of one and no lock is needed. Last use is the time of the file. Files of other names are
    never touched.

    Parameters
    ----------
    folder : Path
        Made when it is first written to, for this user only: grids tell what was in a picture.
    limit : int
        Bytes that all files together may have.

    Attributes
    ----------
    damaged : int
        How many files were found damaged, and deleted.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self.damaged = 0
        self._writing = Lock()

    def get(self, key: str) -> FeatureGrid | None:
        """Read a grid; a file that is not that grid, whole, is deleted.

        Raises
        ------
        OSError
            The file cannot be read.
        """
        if not _KEY.fullmatch(key):
            return None
        path = self._path(key)
        try:
            data = b"" if path.stat().st_size > self.limit else path.read_bytes()
            grid = grid_from_bytes(data, key)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except DamagedError as error:
            # One of another version, or larger than is allowed by now, is only out of date.
            self.damaged += bool(data) and not isinstance(error, OtherVersionError)
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):
            _touch(path)
        return grid

    def holds(self, key: str) -> bool:
        """Whether there is a file of this key."""
        return _KEY.fullmatch(key) is not None and self._path(key).is_file()

    def put(self, grid: FeatureGrid) -> None:
        """Write a grid, unless it is larger than the whole store.

        Raises
        ------
        OSError
            It cannot be written.
        """
        if not _KEY.fullmatch(grid.key):
            return
        data = grid_to_bytes(grid)
        if len(data) > self.limit:
            return
        with self._writing:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # An older file of this grid would take room from others until it is replaced.
            _gone(self._path(grid.key))
            self._trim(self.limit - len(data))
            self._write(self._path(grid.key), data)
            # Another process may have written meanwhile.
            self._trim(self.limit)

    def trim(self) -> tuple[int, int]:
        """Delete the grids used longest ago that there is no room for; return what is left."""
        with self._writing:
            self._trim(self.limit)
        return self.size()

    def clear(self) -> tuple[int, int]:
        """Delete all grids; return how many that were and their bytes."""
        freed = [size for _, path, size in self._files() if _gone(path)]
        return len(freed), sum(freed)

    def size(self) -> tuple[int, int]:
        """Return how many files there are and their bytes."""
        sizes = [size for _, _, size in self._files()]
        return len(sizes), sum(sizes)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def _write(self, path: Path, data: bytes) -> None:
        """Write beside and rename; a file that a crash left incomplete fails its own test."""
        beside = path.with_name(f".{path.stem}.{os.getpid()}.{get_ident()}.part")
        try:
            beside.write_bytes(data)
            _touch(beside)
            beside.replace(path)
        except FileNotFoundError:
            pass  # Another process has cleared the folder meanwhile.
        except PermissionError:
            # Windows keeps files that somebody reads; what is there under this key is the same.
            if not path.exists():
                raise
        finally:
            _gone(beside)

    def _trim(self, room: int) -> None:
        """Delete the least recently used grids until all files have at most ``room`` bytes."""
        files = sorted(self._files())
        total = sum(size for _, _, size in files)
        now = time.time_ns()
        for used, path, size in files:
            part = path.suffix == ".part"
            abandoned = part and now - used > _ABANDONED_S * 1e9
            if (abandoned or (total > room and not part)) and _gone(path):
                total -= size

    def _files(self) -> Iterator[tuple[int, Path, int]]:
        """Time of last use, path and bytes of every file of ours."""
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.folder) as entries:
            for entry in entries:
                if _OURS.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    with suppress(FileNotFoundError):
                        state = entry.stat(follow_symlinks=False)
                        yield state.st_mtime_ns, self.folder / entry.name, state.st_size


def _touch(path: Path) -> None:
    """Note the time of use, finer than the clock that file systems set it by."""
    now = time.time_ns()
    os.utime(path, ns=(now, now))


def _gone(path: Path) -> bool:
    """Delete a file; whether that was possible."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True
