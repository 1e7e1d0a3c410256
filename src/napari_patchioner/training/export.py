"""From what was trained to a folder that ``models add`` takes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from napari_patchioner.models.catalog import NAME, preset_text, read_preset
from napari_patchioner.models.preset import Part, Preset, PresetFile

from .corpus import write_beside


def write_preset(
    folder: str | Path,
    base: Preset,
    *,
    id: str,  # noqa: A002 - the preset's word
    title: str,
    note: str,
    licence: str,
    bridge: Part,
    decoder: Part,
    local: Mapping[str, str],
) -> Preset:
    """Write the preset of a model that has the backbone of another, and parts of its own.

    Parameters
    ----------
    folder : path
        Where the files of its own lie already; gets ``preset.toml``, and copies of those files of
        the backbone that are on no hub.
    base : Preset
        The model whose backbone is taken; it has to be installed if files are copied.
    id, title, note, licence : str
        What people read of it.
    bridge, decoder : Part
        Its other parts, which read roles of ``local``.
    local : mapping of str to str
        Role to file or folder, relative to ``folder``.

    Raises
    ------
    ModelError
        The preset makes no sense, such as an id with capital letters.
    """
    from napari_patchioner.models.install import installed_files

    folder = Path(folder)
    files: dict[str, list[PresetFile]] = {
        role: [PresetFile("", path)] for role, path in local.items()
    }
    roles = {}
    for role, name in base.backbone.files.items():
        own = f"backbone-{name}"
        roles[role] = own
        listed = base.files.get(name)
        if listed and all(file.repo for file in listed):
            files[own] = list(listed)
            continue
        source = installed_files(base)[name]
        target = folder / own / source.name if source.is_file() else folder / own
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copyfile if source.is_file() else shutil.copytree
        copy(source, target)
        files[own] = [PresetFile("", target.relative_to(folder).as_posix())]
    options = {name: value for name, value in base.options.items() if name != "max_tokens"}
    backbone = Part(base.backbone.kind, roles, base.backbone.options)
    preset = Preset(
        id,
        title,
        note,
        licence,
        backbone,
        bridge,
        decoder,
        files={role: tuple(listed) for role, listed in files.items()},
        provenance=base.provenance,
        options=options,
    )
    write_beside(folder / NAME, preset_text(preset))
    return read_preset(folder)
