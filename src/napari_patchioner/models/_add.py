"""Taking in a model of a person's own."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchioner.errors import ModelError

from ._install import install
from ._listing import known_presets
from ._meter import Meter
from ._store import HOME, PRESETS, locked, store_folder
from ._trouble import disk_trouble

if TYPE_CHECKING:
    from ._meter import Progress
    from ._preset import Preset


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
        shutil.rmtree(home, ignore_errors=True)
        _take_in(folder, preset, home)
    try:
        added = read_preset(home)
        if not preset.repos:
            install(added, progress=progress)
    except BaseException as error:
        shutil.rmtree(home, ignore_errors=True)
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
        shutil.rmtree(home, ignore_errors=True)
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
    home.mkdir(parents=True)
    shutil.copyfile(folder / "preset.toml", home / "preset.toml")
    own = {file.path for files in preset.files.values() for file in files if not file.repo}
    for path in sorted(own):
        source, target = folder / path, home / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        elif source.is_file():
            shutil.copyfile(source, target)
        else:
            raise ModelError(f"{source} is missing, which the preset names; add it and try again.")
