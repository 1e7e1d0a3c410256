"""From what was trained to a folder that ``models add`` takes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_patchioner.errors import ModelError
from napari_patchioner.models.catalog import NAME, read_preset
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
    head = {"id": id, "title": title, "note": note, "licence": licence}
    lines = [f"{name} = {_toml(value)}" for name, value in head.items()]
    if base.provenance:
        lines += ["", "[provenance]", *_entries(base.provenance)]
    if options:
        lines += ["", "[options]", *_entries(options)]
    for group, part in {"backbone": backbone, "bridge": bridge, "decoder": decoder}.items():
        lines += ["", f"[{group}]", f"kind = {_toml(part.kind)}"]
        lines += [f"files = {_toml(part.files)}"] if part.files else []
        lines += [f"options = {_toml(part.options)}"] if part.options else []
    lines += ["", "[files]"]
    for role, group_files in files.items():
        lines += [f"{_toml(role)} = ["]
        lines += [f"    {_toml(_file(file))}," for file in group_files]
        lines += ["]"]
    write_beside(folder / NAME, "\n".join([*lines, ""]))
    return read_preset(folder)


def _file(file: PresetFile) -> dict[str, Any]:
    """Return the fields of a file that say something."""
    fields = {
        name: getattr(file, name) for name in ("repo", "path", "size", "sha256", "where", "about")
    }
    return {name: value for name, value in fields.items() if value}


def _entries(table: Mapping[str, Any]) -> list[str]:
    return [f"{name} = {_toml(value)}" for name, value in table.items()]


def _toml(value: Any) -> str:
    """Return a value as TOML has it, on one line."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_toml(name)} = {_toml(item)}" for name, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        # What JSON escapes, TOML escapes alike.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    raise ModelError(f"A preset cannot hold {value!r}; leave that option out.")
