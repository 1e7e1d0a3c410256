"""Taking in a model of a person's own."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchioner.errors import ModelError
from napari_patchioner.limits import check_plain_file

from ._free import remove_folder
from ._install import install
from ._listing import known_presets
from ._meter import Meter
from ._room import need_room
from ._store import HOME, PRESETS, locked, store_folder
from ._trouble import disk_trouble

if TYPE_CHECKING:
    from ._meter import Progress
    from ._preset import Preset

_MOST_FILES = 10_000


def add_model(folder: str | Path, *, progress: Progress | None = None) -> Preset:
    """Take in a model of a person's own.

    Parameters
    ----------
    folder : path
        Holds ``preset.toml`` and the files it names without a repository. These are copied.
    progress : callable, optional
        As in `get_model`; a preset that needs nothing from a hub is got ready at once.

    Returns
    -------
    Preset

    Raises
    ------
    ModelError
        The preset is not understood, its id is taken, or a file is missing or damaged. Nothing
        was added then.
    """
    from ._parse import NAME, read_preset

    folder = Path(folder)
    if folder.name == NAME and folder.is_file():
        folder = folder.parent
    preset = read_preset(folder)
    _refuse_taken(preset, folder)
    home = store_folder() / PRESETS / preset.id
    meter = Meter(progress)
    with locked(partial(meter.tick, "waiting for another installation")):
        # Another window may have been quicker.
        _refuse_taken(preset, folder)
        # What is there now cannot be read any more.
        remove_folder(home)
        _take_in(folder, preset, home)
    try:
        added = read_preset(home)
        if not preset.repos:
            install(added, progress=progress)
    except BaseException as error:
        remove_folder(home)
        if isinstance(error, OSError):
            raise disk_trouble(error, home, HOME) from error
        raise
    return added


def _refuse_taken(preset: Preset, folder: Path) -> None:
    """Let no model take the place of another."""
    from ._embedded import HEADS

    if preset.id in HEADS or preset.id in known_presets():
        raise ModelError(
            f"There is a model {preset.id!r} already; remove it, or write another id in "
            f"{folder / 'preset.toml'}."
        )


def _take_in(folder: Path, preset: Preset, home: Path) -> None:
    """Copy a model of a person's own, whole or not at all."""
    try:
        _copy_preset(folder, preset, home)
    except BaseException as error:
        remove_folder(home)
        if isinstance(error, shutil.Error):
            source, _, reason = error.args[0][0]
            raise ModelError(
                f"{source} cannot be copied ({reason}); mend that and add the model again."
            ) from error
        if isinstance(error, OSError):
            raise disk_trouble(error, home, HOME) from error
        raise


def _copy_preset(folder: Path, preset: Preset, home: Path) -> None:
    """Copy a preset and the files that lie beside it."""
    own = {file.path for files in preset.files.values() for file in files if not file.repo}
    copies = {folder / "preset.toml": home / "preset.toml"}
    for path in sorted(own):
        # All are found before the first is copied: the store may lie in the folder.
        copies |= {file: home / file.relative_to(folder) for file in _files_of(folder / path)}
    need_room({store_folder(): sum(check_plain_file(one, ModelError) for one in copies)})
    home.mkdir(parents=True)
    for source, target in copies.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _files_of(path: Path) -> list[Path]:
    """Return a file, or all files of a folder and the folders in it.

    Raises
    ------
    ModelError
        It is missing, or is or holds what cannot be copied: a link to a folder, which may lead in
        a circle, a pipe, a device, or too many files.
    """
    if not path.is_dir():
        if not path.exists():
            raise ModelError(f"{path} is missing, which the preset names; add it and try again.")
        check_plain_file(path, ModelError)
        return [path]
    found: list[Path] = []
    for place, folders, names in os.walk(path, onerror=_raise):
        for name in folders:
            if Path(place, name).is_symlink():
                raise ModelError(
                    f"{Path(place, name)} is a link to a folder; put the folder itself there and "
                    "add the model again."
                )
        for name in names:
            check_plain_file(Path(place, name), ModelError)
            found.append(Path(place, name))
        if len(found) > _MOST_FILES:
            raise ModelError(
                f"{path} holds more than {_MOST_FILES} files, which is no model; name the folder "
                "of its files alone in the preset."
            )
    return sorted(found)


def _raise(error: OSError) -> None:
    raise error
