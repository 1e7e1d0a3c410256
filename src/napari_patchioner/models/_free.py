"""Deleting files that this package brought here, and only those that nobody else uses."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from ._local import cache_folder, cache_name, snapshots
from ._store import ROLES, disclaim, ours, placed, read_record, records, store_folder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ._preset import Preset


def free_raw(preset: Preset) -> int:
    """Delete the published files that an installed model was made of and that no part reads.

    Those that lay here before, that another model reads, or that are on no hub stay.

    Returns
    -------
    int
        Bytes that were freed.
    """
    record = read_record(preset.id)
    if record is None:
        return 0
    raw = {placed(file.at) for file in record.files if not file.read and file.repo}
    used = {placed(file.at) for other in records() for file in other.files if file.read}
    return delete(preset, brought_alone(preset, raw, used))


def brought_alone(preset: Preset, files: Iterable[Path], used: Iterable[Path]) -> set[Path]:
    """Return what may be deleted of files: what was brought here and is not ``used``.

    With a file of the hub's cache comes the place where the cache keeps its contents.
    """
    brought, kept = ours(), {path.resolve() for path in used}
    mine = {path for path in files if path in brought and path.resolve() not in kept}
    blobs = {path.resolve() for path in mine if path.is_symlink()}
    record = read_record(preset.id)
    if record is not None:
        # Where there are no links, the cache keeps the contents beside the file.
        blobs |= {
            cache_folder() / cache_name(file.repo) / "blobs" / file.sha256
            for file in record.files
            if placed(file.at) in mine
        }
    return mine | {blob for blob in blobs & brought if not _shown_elsewhere(blob, mine)}


def delete(preset: Preset, gone: set[Path]) -> int:
    """Delete files and the folders that this leaves empty; return the bytes that are free again."""
    own = {path for path in gone if is_ours(path)}
    freed = sum(map(size, own))
    for path in own:
        path.unlink(missing_ok=True)
    _sweep(preset, own)
    disclaim(gone)
    return freed


def is_ours(path: Path) -> bool:
    """Whether a path lies in the store or in the hub's cache, wherever links on its way lead."""
    folder = path.parent.resolve()
    return any(folder.is_relative_to(root.resolve()) for root in (store_folder(), cache_folder()))


def remove_folder(folder: Path) -> None:
    """Delete a folder of the store; of a link to one only the link, and nothing elsewhere."""
    if not is_ours(folder):
        return
    if folder.is_symlink():
        folder.unlink(missing_ok=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def size(path: Path) -> int:
    """Return the bytes that deleting a path frees: none if it is only one of several names."""
    try:
        state = path.lstat()
    except OSError:
        return 0
    return state.st_size if state.st_nlink == 1 and not path.is_symlink() else 0


def forget_made(name: str) -> None:
    """Delete what was made for a model, whole or not."""
    forget_half_made(name)
    for folder in (store_folder() / name, store_folder() / ROLES / name):
        remove_folder(folder)


def forget_half_made(name: str) -> None:
    """Delete what a process that was killed left of a model; nobody else may be making one."""
    for ending in ("????????", "????????-older"):
        for folder in store_folder().glob(f".{name}-{ending}"):
            remove_folder(folder)


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
            remove_folder(folder)
