"""Grids of images that were encoded before: the last ones in memory, more of them on disk."""

from __future__ import annotations

import json
import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from threading import Lock, get_ident
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from napari_patchioner import __version__
from napari_patchioner.regions import GridTransform

from .grid import FeatureGrid

Answer = TypeVar("Answer")

RAM_BYTES = 512_000_000
DISK_BYTES = 2_000_000_000
CACHE = "NAPARI_PATCHIONER_CACHE"

_KEY = re.compile(r"[0-9a-f]{32}")
_OURS = re.compile(r"[0-9a-f]{32}\.safetensors|\.[0-9a-f]{32}\.\d+\.\d+\.part")
# Nobody writes a grid for so long; whoever began it was killed.
_ABANDONED_S = 600.0

FORMAT = "napari-patchioner grid 2"

_ARRAYS = ("embeddings", "attention", "cls", "picture")
_BLANK = b"0" * 64
_DIGEST = re.compile(rb'"digest":"([0-9a-f]{64})"')


def cache_folder() -> Path:
    """Return where grids are kept on disk: in $NAPARI_PATCHIONER_CACHE, or the user's cache."""
    from platformdirs import user_cache_path

    chosen = os.environ.get(CACHE)
    root = Path(chosen).expanduser() if chosen else user_cache_path("napari-patchioner", False)
    return root / "grids"


@dataclass(frozen=True, slots=True)
class StoreSize:
    """How much a store holds, in memory and on disk; most grids in memory are on disk too."""

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
    ram_bytes, disk_bytes : int
        What grids in memory and files on disk may have together; 512 MB and 2 GB by default. With
        0 there is no disk.

    Attributes
    ----------
    error_message : str
        One sentence where the disk cannot be used, see also :meth:`news`; empty as long as all is
        well.

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
    ) -> None:
        self.error_message = ""
        self._messages: list[str] = []
        self._damage_reported = False
        self._ram_bytes = ram_bytes
        self._disk: DiskStore | None = None
        self._ram: OrderedDict[str, FeatureGrid] = OrderedDict()
        self._held = 0  # bytes in memory
        self._lock = Lock()
        self.limit(folder, ram_bytes=ram_bytes, disk_bytes=disk_bytes)

    def limit(self, folder: Path | None, *, ram_bytes: int, disk_bytes: int) -> None:
        """Hold from now on what is allowed now; what is too much goes at once.

        Grids in another folder than the one before stay there; those in memory are kept.
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
        if before and after and before[0] == after[0]:
            self._on_disk(DiskStore.trim, None)

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
        """Return the grid of a key, or None if it has to be made; never raises for the disk."""
        with self._lock:
            if key in self._ram:
                self._ram.move_to_end(key)
                return self._ram[key]
        grid = self._on_disk(lambda disk: disk.get(key), None)
        if grid is not None:
            self._keep(grid)
        return grid

    def holds(self, key: str) -> bool:
        """Whether there is a grid of this key, without reading it; never raises."""
        disk = self._disk
        with self._lock:
            held = key in self._ram
        return held or (disk is not None and disk.holds(key))

    def put(self, grid: FeatureGrid) -> None:
        """Keep a grid under its own key; never raises because of the disk."""
        self._keep(grid)
        self._on_disk(lambda disk: disk.put(grid), None, "written to")

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
        return StoreSize(*dropped, *self._on_disk(DiskStore.clear, (0, 0)))

    def size(self) -> StoreSize:
        """Return how much is held."""
        with self._lock:
            held = len(self._ram), self._held
        return StoreSize(*held, *self._on_disk(DiskStore.size, (0, 0)))

    def _keep(self, grid: FeatureGrid) -> None:
        """Hold a grid in memory and drop the least recently used ones beyond the limit."""
        size = _size(grid)
        with self._lock:
            self._drop(grid.key)
            if size <= self._ram_bytes:
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

    def _on_disk(
        self, ask: Callable[[DiskStore], Answer], otherwise: Answer, done: str = "read"
    ) -> Answer:
        """Return what the disk answers; where it cannot be used say so once, and return another."""
        disk = self._disk
        try:
            return otherwise if disk is None else ask(disk)
        except OSError as error:
            with self._lock:
                if not self.error_message and self._disk is not None:
                    self.error_message = (
                        f"{self._disk.folder} cannot be {done} ({error.strerror or error}), so "
                        f"images will be encoded again after a restart; make room there, or set "
                        f"{CACHE} to a folder of your own."
                    )
                    self._messages.append(self.error_message)
            return otherwise


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
        self.folder, self.limit, self.damaged = folder, limit, 0
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
        path = self._path(grid.key)
        beside = path.with_name(f".{path.stem}.{os.getpid()}.{get_ident()}.part")
        with self._writing:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # An older file of this grid would take room from others until it is replaced.
            _delete(path)
            self._trim(self.limit - len(data))
            try:
                # A file that a crash left incomplete fails its own test.
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
            # Another process may have written meanwhile.
            self._trim(self.limit)

    def trim(self) -> None:
        """Delete the grids used longest ago that there is no room for."""
        with self._writing:
            self._trim(self.limit)

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


class DamagedError(ValueError):
    """A file that is not the grid it should be: cut off, changed, foreign or of another version."""


class OtherVersionError(DamagedError):
    """A whole file that another version wrote, or that is another grid."""


def grid_arrays(grid: FeatureGrid) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays that a grid has, by name."""
    named = {name: getattr(grid, name) for name in _ARRAYS}
    return {name: array for name, array in named.items() if array is not None}


def grid_to_bytes(grid: FeatureGrid) -> bytes:
    """Return a grid as a safetensors file.

    Its metadata hold ``notes`` (all that is no array, and the version of this package, as JSON)
    and ``digest``, 64 hexadecimal digits: BLAKE2b of the whole file with zeros in their place.
    Every field comes back exactly.
    """
    transform = grid.transform
    notes = {
        "format": FORMAT,
        "version": __version__,
        "key": grid.key,
        "backbone": grid.backbone,
        "image_shape": [int(side) for side in transform.image_shape],
        "grid_shape": [int(side) for side in transform.grid_shape],
        "window": transform.window and [float(edge) for edge in transform.window],
        "measures": {name: float(value) for name, value in grid.measures.items()},
    }
    arrays = {name: np.ascontiguousarray(array) for name, array in grid_arrays(grid).items()}
    data = save(arrays, {"notes": json.dumps(notes), "digest": _BLANK.decode()})
    start, stop = _digest_span(data)
    return b"".join([data[:start], _digest(data, start, stop), data[stop:]])


def grid_from_bytes(data: bytes, key: str) -> FeatureGrid:
    """Return the grid of a whole file that has this key.

    Raises ``DamagedError`` where a byte is not what was written, the grid is another one, or
    another version of this package wrote it, whose backbones may encode an image differently.
    """
    start, stop = _digest_span(data)
    if data[start:stop] != _digest(data, start, stop):
        raise DamagedError("The digest is not that of the contents.")
    try:
        notes = json.loads(json.loads(data[8 : _header_end(data)])["__metadata__"]["notes"])
        if [notes[name] for name in ("format", "version", "key")] != [FORMAT, __version__, key]:
            raise OtherVersionError("The file is of another version or another grid.")
        places = (notes[name] for name in ("image_shape", "grid_shape", "window"))
        fields: dict[str, Any] = {name: notes[name] for name in ("key", "measures", "backbone")}
        fields["transform"] = GridTransform(*(place and tuple(place) for place in places))
        return FeatureGrid(**(fields | load(data)))
    except OtherVersionError:
        raise
    except (SafetensorError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise DamagedError(f"The file is no grid: {error}") from error


def _header_end(data: bytes) -> int:
    return 8 + int.from_bytes(data[:8], "little")


def _digest_span(data: bytes) -> tuple[int, int]:
    """Find the digest, which safetensors puts anywhere in the header."""
    # Within the notes its name would have backslashes before the quotation marks.
    match = _DIGEST.search(data, 8, min(len(data), _header_end(data)))
    if match is None:
        raise DamagedError("The file has no digest.")
    return match.span(1)


def _digest(data: bytes, start: int, stop: int) -> bytes:
    view = memoryview(data)
    digest = blake2b(view[:start], digest_size=32)
    digest.update(_BLANK)
    digest.update(view[stop:])
    return digest.hexdigest().encode()
