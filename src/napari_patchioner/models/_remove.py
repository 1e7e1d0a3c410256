"""Taking a model away, and only what nobody else uses."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from napari_patchioner.errors import ModelError

from ._install import forget_made
from ._listing import added_presets, find_preset
from ._local import cache_folder, cache_name, snapshots
from ._store import (
    FILES,
    PRESETS,
    ROLES,
    disclaim,
    locked,
    ours,
    placed,
    read_record,
    records,
    store_folder,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from ._preset import Preset


def remove_model(name: str) -> int:
    """Delete a model: what was made for it, and what this package downloaded for it alone.

    Files that were in the hub's cache before, or that another installed model reads, stay. A
    model that a person added is forgotten as a whole.

    Parameters
    ----------
    name : str
        Its id.

    Returns
    -------
    int
        Bytes that were freed.

    Raises
    ------
    ModelError
        There is no such model, it is part of the package, or nothing of it is here.
    """
    from ._embedded import HEADS

    if name in HEADS:
        raise ModelError(f"The model {name!r} is part of the package and cannot be removed.")
    return remove(find_preset(name))


def remove(preset: Preset) -> int:
    """Delete a preset's model, as `remove_model` does."""
    store = store_folder()
    added = preset.id in added_presets()
    with locked(lambda: None):
        gone = _files_alone(preset)
        folders = [store / preset.id, store / ROLES / preset.id]
        folders += [store / PRESETS / preset.id] if added else []
        if not gone and not any(folder.exists() for folder in folders):
            raise ModelError(f"The model {preset.id!r} is not installed; nothing was removed.")
        freed = sum(_room(folder) for folder in folders) + sum(map(_size, gone))
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        forget_made(preset.id)
        for path in gone:
            path.unlink(missing_ok=True)
        _sweep(preset, gone)
        disclaim(gone)
    return freed


def _files_alone(preset: Preset) -> set[Path]:
    """Return the files this package brought here that only this model uses."""
    record = read_record(preset.id)
    mine = {placed(file.at) for file in record.files} if record is not None else set()
    # What an interrupted download left is not in any record.
    mine |= set(_found(preset))
    others = [
        placed(file.at) for other in records() if other.id != preset.id for file in other.files
    ]
    used = {path.resolve() for path in others}
    brought = ours()
    mine = {path for path in mine if path in brought and path.resolve() not in used}
    blobs = {path.resolve() for path in mine if path.is_symlink()}
    if record is not None:
        # Where there are no links, the cache keeps the contents beside the file.
        blobs |= {
            cache_folder() / cache_name(file.repo) / "blobs" / file.sha256
            for file in record.files
            if placed(file.at) in mine
        }
    return mine | {blob for blob in blobs & brought if not _shown_elsewhere(blob, mine)}


def _found(preset: Preset) -> Iterator[Path]:
    """Yield files of a preset that lie where this package puts them, whole or in part."""
    for file in {file for files in preset.files.values() for file in files}:
        own = store_folder() / FILES / (file.repo.replace("/", "--") or preset.id)
        yield from own.glob(file.path)
        for folder in snapshots(cache_folder(), file.repo) if file.repo else ():
            yield from folder.glob(file.path)
    for repo in preset.repos:
        yield from (cache_folder() / cache_name(repo) / "blobs").glob("*.incomplete")


def _shown_elsewhere(blob: Path, leaving: set[Path]) -> bool:
    """Tell whether the hub's cache shows contents under another name or version too."""
    cache, repo = blob.parents[2], blob.parents[1].name.removeprefix("models--")
    shown = (
        path
        for folder in snapshots(cache, repo.replace("--", "/", 1))
        for path in folder.rglob("*")
    )
    return any(path not in leaving and path.is_file() and path.samefile(blob) for path in shown)


def _sweep(preset: Preset, gone: Iterable[Path]) -> None:
    """Delete the folders that this left empty."""
    roots = {store_folder(), cache_folder(), cache_folder().resolve()}
    for path in gone:
        for folder in path.parents:
            if folder in roots or not folder.is_dir() or any(folder.iterdir()):
                break
            folder.rmdir()
    for repo in preset.repos:
        folder = cache_folder() / cache_name(repo)
        left = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        if left and left <= {"refs", ".no_exist"}:
            shutil.rmtree(folder, ignore_errors=True)


def _room(folder: Path) -> int:
    return sum(_size(path) for path in folder.rglob("*") if path.is_file())


def _size(path: Path) -> int:
    """Return the bytes that deleting a path frees: none if it is only one of several names."""
    try:
        state = path.lstat()
    except OSError:
        return 0
    return state.st_size if state.st_nlink == 1 and not path.is_symlink() else 0
