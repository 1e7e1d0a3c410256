"""The sub-commands of ``cache``: how much is kept of images and networks, and deleting it."""

from __future__ import annotations

import argparse

from napari_patchioner.backbones.engine import delete_kept, engine_folder, kept_files
from napari_patchioner.errors import PatchionerError
from napari_patchioner.grids import GridStore, cache_folder
from napari_patchioner.models.preset import size_text

from .shared import say


def add_cache(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands of ``cache``; without one, its size is printed."""
    parser.set_defaults(run=_info)
    commands = parser.add_subparsers(metavar="WHAT")
    commands.add_parser("info", help="where it is and how much it holds").set_defaults(run=_info)
    commands.add_parser("clear", help="delete all of it").set_defaults(run=_clear)


def _info(*_: object) -> None:
    """Print where grids and converted networks are kept and how much they take."""
    store = GridStore(cache_folder())
    size = store.size()
    print(f"folder  {cache_folder()}\nimages  {size.disk_grids}")
    print(f"size    {size_text(size.disk_bytes)}")
    if files := kept_files():
        taken = size_text(sum(size for _, size in files))
        print(f"engines {engine_folder()}\nsize of engines {taken}")
    if store.error_message:
        raise PatchionerError(store.error_message)


def _clear(*_: object) -> None:
    """Delete all grids and converted networks on disk."""
    store = GridStore(cache_folder())
    freed, left = store.clear(), store.size()
    say(f"{size_text(freed.disk_bytes + delete_kept())} are free again")
    if store.error_message:
        raise PatchionerError(store.error_message)
    if left.disk_grids:
        raise PatchionerError(
            f"{left.disk_grids} files in {cache_folder()} could not be deleted; close other "
            f"programs that use them, or make the folder writable."
        )
