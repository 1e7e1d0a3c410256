"""Where a file of a model may already lie: our store, a folder, a mirror, the hub's own cache."""

from __future__ import annotations

import hashlib
import os
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from ._preset import PresetFile

MIRROR = "NAPARI_PATCHIONER_MIRROR"
_CHUNK = 1 << 20
# A version in the hub's cache is the name of a folder, never a path.
_VERSION = re.compile(r"[\w-][\w.-]*")
_fingerprints: dict[tuple[int, ...], tuple[str, str]] = {}


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
    """Return the folder of a repository in the hub's cache.

    >>> cache_name("owner/name")
    'models--owner--name'
    """
    return "--".join(["models", *repo.split("/")])


def find(folder: Path, file: PresetFile, alone: Collection[str] = ()) -> Path | None:
    """Find a file in a folder that a person copied together.

    Parameters
    ----------
    folder : Path
        Holds files as ``owner/name/path``, ``owner--name/path``, in the layout of the hub's
        cache, or beside each other.
    file : PresetFile
        What is wanted; the path may be a glob.
    alone : collection of str
        Paths whose last part no other file of the model has; only these are looked for directly
        in the folder.

    Returns
    -------
    Path or None

    Raises
    ------
    ModelError
        Several files fit a glob.
    """
    for base in _bases(folder, file.repo):
        found = _match(base, file.path)
        if found is not None:
            return found
    if file.path not in alone:
        return None
    return _match(folder, Path(file.path).name)


def _bases(folder: Path, repo: str) -> Iterator[Path]:
    """Yield the folders that may stand for a repository."""
    if not repo:
        yield folder
        return
    yield folder / repo
    yield folder / repo.replace("/", "--")
    yield from snapshots(folder, repo)
    yield from snapshots(folder / "hub", repo)


def snapshots(cache: Path, repo: str) -> Iterator[Path]:
    """Yield the versions of a repository in a cache of the hub, the current one first."""
    folder = cache / cache_name(repo)
    try:
        current = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        current = ""
    if _VERSION.fullmatch(current):
        yield folder / "snapshots" / current
    try:
        others = [path for path in (folder / "snapshots").iterdir() if path.name != current]
    except OSError:
        return
    yield from sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)


def _match(base: Path, path: str) -> Path | None:
    """Return the one file of a folder that a path or glob names."""
    if not is_glob(path):
        return base / path if (base / path).is_file() else None
    if not base.is_dir():
        return None
    found = sorted(item for item in base.glob(path) if item.is_file())
    if len(found) > 1:
        names = ", ".join(item.name for item in found[:3])
        raise ModelError(f"{base} holds several files {path} ({names}); leave only the right one.")
    return found[0] if found else None


def is_glob(path: str) -> bool:
    """Tell whether a path stands for whatever fits it."""
    return any(sign in path for sign in "*?[")


def fits(pattern: str, path: str) -> bool:
    """Tell whether a path is one that a glob stands for; a star does not reach across folders.

    >>> fits("*.pt", "a.pt"), fits("*.pt", "memory/a.pt"), fits("*/a.pt", "memory/a.pt")
    (True, False, True)
    """
    wanted, parts = pattern.split("/"), path.split("/")
    pairs = zip(parts, wanted, strict=False)
    return len(wanted) == len(parts) and all(fnmatchcase(part, sign) for part, sign in pairs)


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
