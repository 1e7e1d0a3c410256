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


CONVERTED = "converted, then deleted"


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
    return sum(file.bytes for file in unique.values() if _place(preset, file) is None)


def _place(preset: Preset, file: PresetFile) -> Path | None:
    """Return where a file lies already, without looking into it."""
    if not file.repo and preset.home is not None:
        return preset.home / file.path
    own = store_folder() / FILES / preset.id if not file.repo else store_folder() / FILES
    for place in (own, *mirrors(), *([cache_folder()] if file.repo else [])):
        try:
            found = find(place, file)
        except ModelError:
            continue
        if found is not None and file.size in (0, found.stat().st_size):
            return found
    return None


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


def files_of(name: str) -> list[tuple[str, str, int, Path | None, str]]:
    """Return the files of a model: role, name, bytes, where it lies, and where to find it if not.

    Raises
    ------
    ModelError
        There is no such model.
    """
    from ._embedded import FOLDER, HEADS, SHARED

    if name in HEADS:
        paths = [FOLDER / file for file in (*SHARED, HEADS[name])]
        return [("", path.name, path.stat().st_size, path, "") for path in paths]
    preset = find_preset(name)
    listed = [
        (role, f"{file.repo}/{file.path}".lstrip("/"), file.bytes, _place(preset, file), file.where)
        for role, files in preset.files.items()
        for file in files
    ]
    ready = installed(preset) or {}
    if ready:
        # What is not there although the model is whole was only needed to make it.
        listed = [(*entry[:4], entry[4] if entry[3] else CONVERTED) for entry in listed]
    raw = {place for *_, place, _ in listed if place is not None}
    made = [
        (role, path.name, 0, path, "")
        for role, path in ready.items()
        if role not in preset.files and path not in raw
    ]
    return listed + made
