"""Where models are kept, and the record of each: what it reads and where that lies.

``STORE/ID/installed.json`` is written last, so a model without one is not installed, whatever
else lies there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from napari_patchioner.errors import ModelError

from .preset import Preset, PresetFile, size_text

FORMAT = "napari-patchioner install 1"
HOME, MIRROR = "NAPARI_PATCHIONER_HOME", "NAPARI_PATCHIONER_MIRROR"
RECORD = "installed.json"
# Names that no model can have.
FILES, ROLES, PRESETS, LOCK = "_files", "_roles", "_presets", "_lock"
_CHUNK = 1 << 20
# Bytes that are left free beside the files themselves.
_SPARE = 50e6
# A version in the hub's cache is the name of a folder, never a path.
_VERSION = re.compile(r"[\w-][\w.-]*")
_fingerprints: dict[tuple[int, ...], tuple[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that a model was made from or, if ``read``, that a part of it reads.

    ``path`` is as the preset writes it, even where that is a glob; ``at`` is where it lies,
    relative to the store if inside it.
    """

    repo: str
    path: str
    at: str
    size: int
    sha256: str
    read: bool


@dataclass(frozen=True, slots=True)
class Record:
    """What is written of an installed model.

    ``roles`` are the files or folders that it reads, ``files`` what was got for it, ``made`` what
    was converted for it, and its bytes; places are relative to the store if inside it.
    ``versions`` are those of the packages that made it.
    """

    id: str
    roles: Mapping[str, str]
    files: tuple[Kept, ...]
    made: Mapping[str, int]
    versions: Mapping[str, str]

    @property
    def needed(self) -> dict[str, int]:
        """Files that have to be there to load it, and their bytes."""
        reads = {Path(place) for place in self.roles.values()}
        raw = {
            file.at: file.size
            for file in self.files
            if file.read and not reads.isdisjoint([Path(file.at), *Path(file.at).parents])
        }
        return raw | dict(self.made)


def store_folder() -> Path:
    """Return the folder models are kept in: $NAPARI_PATCHIONER_HOME or the user's data folder."""
    if home := os.environ.get(HOME):
        return Path(home).expanduser().resolve()
    from platformdirs import user_data_path

    return user_data_path("napari-patchioner", appauthor=False)


def placed(place: str) -> Path:
    """Return the path that a record names."""
    return store_folder() / place


def stored_name(path: Path) -> str:
    """Return a path as records name it: relative to the store if inside it."""
    store = store_folder()
    return path.relative_to(store).as_posix() if path.is_relative_to(store) else str(path)


def installed(preset: Preset) -> dict[str, Path] | None:
    """Return what the parts of a model read, by role; None unless all of it is there.

    Only existence and sizes are checked: contents were checked when the model was got.
    """
    record = read_record(preset.id)
    if record is None or problem_of(preset, record):
        return None
    return {role: placed(place) for role, place in record.roles.items()}


def problem_of(preset: Preset, record: Record) -> str:
    """Say what is wrong with an installed model, in half a sentence; empty if nothing is."""
    wanted = {(file.repo, file.path) for file in preset.unique}
    if {(file.repo, file.path) for file in record.files} != wanted:
        return "it was made from other files than are asked for now"
    for place, size in record.needed.items():
        try:
            result = placed(place).stat().st_size
        except OSError:
            return f"{placed(place)} is missing"
        if result != size:
            return f"{placed(place)} has {result} bytes instead of {size}"
    return ""


def read_record(name: str) -> Record | None:
    """Return the record of a model; None if there is none that can be read."""
    try:
        content = json.loads((store_folder() / name / RECORD).read_text(encoding="utf-8"))
        if content.pop("format") != FORMAT:
            return None
        content["files"] = tuple(Kept(**file) for file in content["files"])
        record = Record(**content)
        texts = [record.id, *record.roles.keys(), *record.roles.values(), *record.made.keys()]
        sizes = list(record.made.values())
        for file in record.files:
            texts += [file.repo, file.path, file.at, file.sha256]
            sizes.append(file.size)
        plain = all(isinstance(text, str) and "\0" not in text for text in texts)
        return record if plain and all(isinstance(size, int) for size in sizes) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def records() -> list[Record]:
    """Return the records of all models in the store."""
    names = sorted(path.parent.name for path in store_folder().glob(f"[!_.]*/{RECORD}"))
    return [record for record in map(read_record, names) if record is not None]


def write_record(record: Record) -> None:
    """Write the record of a model whole, which makes it an installed one."""
    path = store_folder() / record.id / RECORD
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    content = json.dumps({"format": FORMAT, **asdict(record)}, indent=1)
    beside.write_text(content, encoding="utf-8")
    beside.replace(path)


@contextmanager
def locked(tick: Callable[[], object]) -> Iterator[None]:
    """Keep other windows and programs from changing the store; ``tick`` is called while waiting."""
    from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

    folder = store_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock: BaseFileLock = FileLock(folder / LOCK)
        while not lock.is_locked:
            try:
                lock.acquire(timeout=0.2)
            except Timeout:
                tick()
            except NotImplementedError:
                # Some network drives cannot lock; a file that is there or not has to do.
                lock = SoftFileLock(folder / f"{LOCK}.soft")
    except OSError as error:
        raise ModelError(
            f"{folder} cannot be written ({error.strerror}); set {HOME} to a folder of your own."
        ) from error
    try:
        yield
    finally:
        lock.release()


def cache_folder() -> Path:
    """Return the folder in which programs that use the hub keep what they downloaded.

    It is found as the hub's own library finds it, from HF_HUB_CACHE, HF_HOME or XDG_CACHE_HOME,
    but without importing that library, and as the environment is now.
    """
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(name):
            return _expanded(os.environ[name])
    home = os.environ.get("HF_HOME")
    if not home:
        home = os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return _expanded(home) / "hub"


def _expanded(path: str) -> Path:
    return Path(os.path.expandvars(path)).expanduser().resolve()


def mirrors() -> list[Path]:
    """Return the folders that are asked before the network, from NAPARI_PATCHIONER_MIRROR."""
    return [_expanded(path) for path in os.environ.get(MIRROR, "").split(os.pathsep) if path]


def cache_name(repo: str) -> str:
    """Return the folder of a repository in the hub's cache: ``models--owner--name``."""
    return f"models--{repo.replace('/', '--')}"


def find(folder: Path, file: PresetFile, alone: Collection[str] = ()) -> Path | None:
    """Find a file in a folder that a person copied together; those ``alone`` lie anywhere."""
    # Most places hold nothing of most models: one look tells.
    if not folder.is_dir():
        return None
    bases = [folder]
    if file.repo:
        bases = [folder / file.repo, folder / file.repo.replace("/", "--")]
        bases += [*snapshots(folder, file.repo), *snapshots(folder / "hub", file.repo)]
    for base in bases:
        if (result := _match(base, file.path)) is not None:
            return result
    return _match(folder, Path(file.path).name) if file.path in alone else None


def snapshots(cache: Path, repo: str) -> list[Path]:
    """Return the versions of a repository in a cache of the hub, the current one first."""
    folder = cache / cache_name(repo)
    current = ""
    with suppress(OSError, ValueError):
        current = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
    first = [folder / "snapshots" / current] if _VERSION.fullmatch(current) else []
    try:
        others = [path for path in (folder / "snapshots").iterdir() if path.name != current]
    except OSError:
        return first
    return first + sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)


def _match(base: Path, path: str) -> Path | None:
    """Return the one file of a folder that a path or glob names."""
    if not is_glob(path):
        return base / path if (base / path).is_file() else None
    if not base.is_dir():
        return None
    results = sorted(item for item in base.glob(path) if item.is_file())
    if len(results) > 1:
        names = ", ".join(item.name for item in results[:3])
        raise ModelError(f"{base} holds several files {path} ({names}); leave only the right one.")
    return results[0] if results else None


def is_glob(path: str) -> bool:
    """Whether a path stands for whatever fits it."""
    return any(sign in path for sign in "*?[")


def fits(pattern: str, path: str) -> bool:
    """Whether a path is one that a glob stands for; a star does not reach across folders.

    >>> fits("*.pt", "a.pt"), fits("*.pt", "memory/a.pt"), fits("*/a.pt", "memory/a.pt")
    (True, False, True)
    """
    wanted, parts = pattern.split("/"), path.split("/")
    return len(wanted) == len(parts) and all(map(fnmatchcase, parts, wanted))


def fingerprint(path: Path, tick: Callable[[], object]) -> tuple[str, str]:
    """Return a file's SHA-256 and its name as a git blob; ``tick`` may raise.

    A file is read once for as long as it stays the same, by whatever name.
    """
    state = path.stat()
    key = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)
    if key not in _fingerprints:
        strong = hashlib.sha256()
        blob = hashlib.sha1(b"blob %d\0" % state.st_size, usedforsecurity=False)
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                strong.update(chunk)
                blob.update(chunk)
                tick()
        _fingerprints[key] = strong.hexdigest(), blob.hexdigest()
    return _fingerprints[key]


def need_room(size: float) -> None:
    """Refuse with a `ModelError` if the disk of the store does not have so many bytes free."""
    store = store_folder()
    folder = next(path for path in (store, *store.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if size and size + _SPARE > free:
        raise ModelError(
            f"{size_text(size + _SPARE)} are needed on the disk of {folder} but only "
            f"{size_text(free)} are free; make room, or set {HOME} to a folder on another disk."
        )
