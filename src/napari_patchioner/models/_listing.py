"""Every preset there is, and what a person is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_patchioner.errors import ModelError

from ._card import ModelCard, size_text
from ._local import cache_folder, find, mirrors
from ._store import FILES, PRESETS, installed, read_record, store_folder, trouble

if TYPE_CHECKING:
    from pathlib import Path

    from ._preset import Preset, PresetFile


def known_presets() -> dict[str, Preset]:
    """Return the package's presets and those a person added, by id."""
    from ._catalog import presets

    return {**added_presets(), **presets()}


def added_presets() -> dict[str, Preset]:
    """Return the presets a person added; one that cannot be read any more is left out."""
    from ._parse import read_preset

    found = {}
    for path in sorted((store_folder() / PRESETS).glob("*/preset.toml")):
        try:
            preset = read_preset(path.parent)
        except ModelError:
            continue
        found[preset.id] = preset
    return found


def find_preset(name: str) -> Preset:
    """Return a preset by its id.

    Raises
    ------
    ModelError
        There is no such model, or it is part of the package.
    """
    from ._embedded import HEADS

    if name in HEADS:
        raise ModelError(f"The model {name!r} is part of the package: it is always there.")
    known = known_presets()
    if name not in known:
        choices = ", ".join([*HEADS, *known])
        raise ModelError(f"There is no model {name!r}; choose one of: {choices}.")
    return known[name]


def preset_card(preset: Preset) -> ModelCard:
    """Return what a person is told of a preset; nothing is opened and nobody is asked."""
    ready = installed(preset) is not None
    return ModelCard(
        preset.id,
        preset.title,
        preset.licence,
        preset.size,
        preset.note,
        ram=preset.ram,
        installed=ready,
        to_get=0 if ready else bytes_to_get(preset),
        sources=preset.repos,
        row=preset.row,
    )


def bytes_to_get(preset: Preset) -> int:
    """Return how many bytes of a preset are not on this computer yet, as far as is known."""
    unique = {(file.repo, file.path): file for files in preset.files.values() for file in files}
    return sum(file.bytes for file in unique.values() if not _is_here(preset, file))


def _is_here(preset: Preset, file: PresetFile) -> bool:
    if not file.repo and preset.home is not None:
        return True
    return any(
        _holds(place, file) for place in (store_folder() / FILES, *mirrors(), cache_folder())
    )


def _holds(place: Path, file: PresetFile) -> bool:
    try:
        found = find(place, file)
    except ModelError:
        return False
    return found is not None and file.size in (0, found.stat().st_size)


def installed_files(preset: Preset) -> dict[str, Path]:
    """Return what the parts of an installed model read, by role.

    Raises
    ------
    ModelError
        The model is not installed, or not all of it is there any more.
    """
    files = installed(preset)
    if files is not None:
        return files
    how = f"run 'napari-patchioner models get {preset.id}' or choose it in the dock."
    record = read_record(preset.id)
    if record is not None:
        raise ModelError(
            f"The model {preset.id!r} is damaged: {trouble(preset, record)}; to mend it, {how}"
        )
    size = bytes_to_get(preset)
    amount = f" ({size_text(size)} to get)" if size else ""
    raise ModelError(f"The model {preset.id!r} is not installed{amount}; {how}")
