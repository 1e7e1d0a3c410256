"""Grids of images that were looked at before: the last ones in memory, more of them on disk."""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from ._disk_store import DiskStore
from ._grid_file import grid_arrays

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._grid import FeatureGrid

RAM_BYTES = 512_000_000
DISK_BYTES = 2_000_000_000
CACHE = "NAPARI_PATCHIONER_CACHE"


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

    A disk that cannot be used is never an error: the store then works without it, tells so once
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
    tell : callable, optional
        Told, once and in one sentence, when the disk cannot be used; called in whatever thread
        found out.

    Attributes
    ----------
    trouble : str
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
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.trouble = ""
        self._tell = tell
        self._untold: list[str] = []
        self._damaged_told = False
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
            places = [one and (one.folder, one.limit) for one in (disk, wanted)]
            if places[0] == places[1]:
                return
            self._disk, self.trouble, self._damaged_told = wanted, "", False
        if disk is not None and wanted is not None and wanted.folder == disk.folder:
            self._on_disk(DiskStore.trim)

    def news(self) -> str:
        """Return what a person should know and was not told yet, in a sentence; mostly empty."""
        disk = self._disk
        with self._lock:
            if disk is not None and disk.damaged and not self._damaged_told:
                self._damaged_told = True
                self._untold.append(
                    f"A file in {disk.folder} was damaged and is deleted; its image is looked at "
                    "again."
                )
            told, self._untold = " ".join(self._untold), []
            return told

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
        grid = self._read(key)
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
        disk = self._disk
        if disk is None:
            return
        try:
            disk.put(grid)
        except OSError as error:
            self._say(error, "written to")

    def release(self, key: str) -> bool:
        """Let go of a grid in memory that the disk has as well; return whether it is gone there.

        Nobody is expected to ask for it soon; if somebody does, it is read again.
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

    def _read(self, key: str) -> FeatureGrid | None:
        """Return a grid from the disk."""
        disk = self._disk
        if disk is None:
            return None
        try:
            return disk.get(key)
        except OSError as error:
            self._say(error, "read")
            return None

    def _on_disk(self, ask: Callable[[DiskStore], tuple[int, int]]) -> tuple[int, int]:
        disk = self._disk
        if disk is None:
            return 0, 0
        try:
            return ask(disk)
        except OSError as error:
            self._say(error, "read")
            return 0, 0

    def _say(self, error: OSError, done: str) -> None:
        """Tell of the disk, the first time only."""
        with self._lock:
            if self.trouble or self._disk is None:
                return
            self.trouble = (
                f"{self._disk.folder} cannot be {done} ({error.strerror or error}), so images "
                f"will be looked at again after a restart; make room there, or set {CACHE} to a "
                f"folder of your own."
            )
            self._untold.append(self.trouble)
        if self._tell is not None:
            self._tell(self.trouble)


def _size(grid: FeatureGrid) -> int:
    return sum(array.nbytes for array in grid_arrays(grid).values())
