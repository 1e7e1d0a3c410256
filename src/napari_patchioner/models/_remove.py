"""Taking a model away, and only what nobody else uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_patchioner.errors import ModelError

from ._free import brought_alone, delete, forget_made, is_ours, remove_folder, size
from ._listing import added_presets, find_preset
from ._local import cache_folder, cache_name, snapshots
from ._store import (
    FILES,
    PRESETS,
    ROLES,
    locked,
    placed,
    read_record,
    records,
    store_folder,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
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
        freed = sum(_room(folder) for folder in folders)
        for folder in folders:
            remove_folder(folder)
        forget_made(preset.id)
        return freed + delete(preset, gone)


def _files_alone(preset: Preset) -> set[Path]:
    """Return the files this package brought here that only this model uses."""
    record = read_record(preset.id)
    mine = {placed(file.at) for file in record.files} if record is not None else set()
    # What an interrupted download left is not in any record.
    mine |= set(_found(preset))
    others = [
        placed(file.at) for other in records() if other.id != preset.id for file in other.files
    ]
    return brought_alone(preset, mine, others)


def _found(preset: Preset) -> Iterator[Path]:
    """Yield files of a preset that lie where this package puts them, whole or in part."""
    for file in {file for files in preset.files.values() for file in files}:
        own = store_folder() / FILES / (file.repo.replace("/", "--") or preset.id)
        yield from own.glob(file.path)
        for folder in snapshots(cache_folder(), file.repo) if file.repo else ():
            yield from folder.glob(file.path)
    for repo in preset.repos:
        yield from (cache_folder() / cache_name(repo) / "blobs").glob("*.incomplete")


def _room(folder: Path) -> int:
    if folder.is_symlink() or not is_ours(folder):
        return 0
    return sum(size(path) for path in folder.rglob("*") if path.is_file())
