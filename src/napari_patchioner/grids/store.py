"""Grids of images that were encoded before: the last ones in memory, more of them on disk."""

from __future__ import annotations

import os
import re
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, get_ident
from typing import TYPE_CHECKING

from .grid_file import (
    DamagedError,
    OtherVersionError,
    grid_arrays,
    grid_from_bytes,
    grid_to_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .grid import FeatureGrid

RAM_BYTES = 512_000_000
DISK_BYTES = 2_000_000_000
CACHE = "NAPARI_PATCHIONER_CACHE"

_KEY = re.compile(r"[0-9a-f]{32}")
_OURS = re.compile(r"[0-9a-f]{32}\.safetensors|\.[0-9a-f]{32}\.\d+\.\d+\.part")
# Nobody writes a grid for so long; whoever began it was killed.
_ABANDONED_S = 600.0


def cache_folder() -> Path:
    """Return where grids are kept on disk: in $NAPARI_PATCHIONER_CACHE, or the user's cache."""
    from platformdirs import user_cache_path

    chosen = os.environ.get(CACHE)
    root = Path(chosen).expanduser() if chosen else user_cache_path("napari-patchioner", False)
    return root / "grids"


@dataclass(frozen=True, slots=True)
class StoreSize:
    """How much a store holds.

    Attributes
    ----------
    ram_grids, ram_bytes : int
        In memory.
    disk_grids, disk_bytes : int
        On disk; most grids in memory are there too.
    """

    ram_grids: int
    ram_bytes: int
    disk_grids: int
    disk_bytes: int


class GridStore:
    """Grids by their key, the least recently used dropped first; threads may share one.

    A disk that cannot be used is never an error: the store then works without it, says so once
    and tries again at the next grid.

    Parameters
    ----------
    folder : Path, optional
        Where grids are kept on disk, such as `cache_folder`; without one, only in memory. Several
        processes may use the same folder.
    ram_bytes : int
        What grids in memory may have together; 512 MB by default.
    disk_bytes : int
        What files on disk may have together; 2 GB by default. With 0 there is no disk.
    on_error : callable, optional
        Called once, with one sentence, when the disk cannot be used; in whatever thread met it.

    Attributes
    ----------
    error_message : str
        The same sentence; empty as long as all is well.

    Examples
    --------
    >>> store = GridStore(ram_bytes=1_000_000)
    >>> store.get("0" * 32) is None
    True
    >>> store.size()
    StoreSize(ram_grids=0, ram_bytes=0, disk_grids=0, disk_bytes=0)
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        ram_bytes: int = RAM_BYTES,
        disk_bytes: int = DISK_BYTES,
        on_error: Callable[[str], None] | None = None,
    ) -> None:
        self.error_message = ""
        self._on_error = on_error
        self._messages: list[str] = []
        self._damage_reported = False
        self._ram_bytes = ram_bytes
        self._disk: DiskStore | None = None
        self._ram: OrderedDict[str, FeatureGrid] = OrderedDict()
        self._held = 0
        self._lock = Lock()
        self.limit(folder, ram_bytes=ram_bytes, disk_bytes=disk_bytes)

    def limit(self, folder: Path | None, *, ram_bytes: int, disk_bytes: int) -> None:
        """Hold from now on what is allowed now; what is too much goes at once.

        Parameters
        ----------
        folder, ram_bytes, disk_bytes
            As of the class. Grids in another folder stay there; those in memory are kept.
        """
        wanted = DiskStore(Path(folder), disk_bytes) if folder and disk_bytes > 0 else None
        with self._lock:
            self._ram_bytes = ram_bytes
            self._drop_beyond(ram_bytes)
            disk = self._disk
            before, after = (store and (store.folder, store.limit) for store in (disk, wanted))
            if before == after:
                return
            self._disk, self.error_message, self._damage_reported = wanted, "", False
        if disk is not None and wanted is not None and wanted.folder == disk.folder:
            self._on_disk(DiskStore.trim)

    def news(self) -> str:
        """Return what a person should know and has not read yet, in a sentence; mostly empty."""
        disk = self._disk
        with self._lock:
            if disk is not None and disk.damaged and not self._damage_reported:
                self._damage_reported = True
                self._messages.append(
                    f"A file in {disk.folder} was damaged and is deleted; its image is encoded "
                    "again."
                )
            news, self._messages = " ".join(self._messages), []
            return news

    def get(self, key: str) -> FeatureGrid | None:
        """Return a grid, or None if it has to be made; never raises because of the disk.

        Parameters
        ----------
        key : str
            Of the grid, see `grid_key`.
        """
        with self._lock:
            if key in self._ram:
                self._ram.move_to_end(key)
                return self._ram[key]
        grid = None
        if (disk := self._disk) is not None:
            try:
                grid = disk.get(key)
            except OSError as error:
                self._report(error, "read")
        if grid is not None:
            self._keep(grid)
        return grid

    def holds(self, key: str) -> bool:
        """Whether there is a grid of this key, without reading it; never raises."""
        with self._lock:
            if key in self._ram:
                return True
        disk = self._disk
        return disk is not None and disk.holds(key)

    def put(self, grid: FeatureGrid) -> None:
        """Keep a grid under its own key; never raises because of the disk."""
        self._keep(grid)
        if (disk := self._disk) is not None:
            try:
                disk.put(grid)
            except OSError as error:
                self._report(error, "written to")

    def release(self, key: str) -> bool:
        """Let go of a grid in memory that the disk has as well; return whether it is gone there.

        It is read again if it is asked for after all.
        """
        disk = self._disk
        if disk is None or not disk.holds(key):
            return False
        with self._lock:
            self._drop(key)
        return True

    def clear(self) -> StoreSize:
        """Drop all grids, on disk too; return what is gone."""
        with self._lock:
            dropped = len(self._ram), self._held
            self._ram.clear()
            self._held = 0
        return StoreSize(*dropped, *self._on_disk(DiskStore.clear))

    def size(self) -> StoreSize:
        """Return how much is held."""
        with self._lock:
            held = len(self._ram), self._held
        return StoreSize(*held, *self._on_disk(DiskStore.size))

    def _keep(self, grid: FeatureGrid) -> None:
        """Hold a grid in memory and drop the least recently used ones beyond the limit."""
        size = _size(grid)
        with self._lock:
            self._drop(grid.key)
            if size > self._ram_bytes:
                return
            self._drop_beyond(self._ram_bytes - size)
            self._ram[grid.key] = grid
            self._held += size

    def _drop_beyond(self, room: int) -> None:
        """Let go of the grids used longest ago until the others fit; the lock is held."""
        while self._ram and self._held > room:
            self._drop(next(iter(self._ram)))

    def _drop(self, key: str) -> None:
        """Let go of a grid in memory, if it is there; the lock is held."""
        grid = self._ram.pop(key, None)
        if grid is not None:
            self._held -= _size(grid)

    def _on_disk(self, ask: Callable[[DiskStore], tuple[int, int]]) -> tuple[int, int]:
        """Return how many grids and bytes a method of the disk counts."""
        disk = self._disk
        if disk is None:
            return 0, 0
        try:
            return ask(disk)
        except OSError as error:
            self._report(error, "read")
            return 0, 0

    def _report(self, error: OSError, done: str) -> None:
        """Say that the disk cannot be used, the first time only."""
        with self._lock:
            if self.error_message or self._disk is None:
                return
            self.error_message = (
                f"{self._disk.folder} cannot be {done} ({error.strerror or error}), so images "
                f"will be encoded again after a restart; make room there, or set {CACHE} to a "
                f"folder of your own."
            )
            self._messages.append(self.error_message)
        if self._on_error is not None:
            self._on_error(self.error_message)


def _size(grid: FeatureGrid) -> int:
    return sum(array.nbytes for array in grid_arrays(grid).values())


class DiskStore:
    """One file per grid, named by its key; several processes may share the folder.

    A file is written beside and renamed, and says whether it is whole, so that nobody ever reads
    half of one and no lock is needed. Last use is the time of the file. Files of other names are
    never touched. The folder is made when it is first written to, for this user only: grids reveal
    what was in a picture. All files together may have ``limit`` bytes; ``damaged`` counts those
    that were damaged, and deleted.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self.damaged = 0
        self._writing = Lock()

    def get(self, key: str) -> FeatureGrid | None:
        """Read a grid; a file that is not that grid, whole, is deleted. May raise OSError."""
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
        """Write a grid, unless it is larger than the whole store. May raise OSError."""
        if not _KEY.fullmatch(grid.key):
            return
        data = grid_to_bytes(grid)
        if len(data) > self.limit:
            return
        with self._writing:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # An older file of this grid would take room from others until it is replaced.
            _delete(self._path(grid.key))
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
        freed = [size for _, path, size in self._files() if _delete(path)]
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
            _delete(beside)

    def _trim(self, room: int) -> None:
        """Delete the least recently used grids until all files have at most ``room`` bytes."""
        files = sorted(self._files())
        total = sum(size for _, _, size in files)
        now = time.time_ns()
        for used, path, size in files:
            part = path.suffix == ".part"
            abandoned = part and now - used > _ABANDONED_S * 1e9
            if (abandoned or (total > room and not part)) and _delete(path):
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


def _delete(path: Path) -> bool:
    """Delete a file; whether that was possible."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True
