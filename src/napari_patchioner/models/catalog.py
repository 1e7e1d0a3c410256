"""The TOML form of a preset, read strictly: what is not understood is refused."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import MappingProxyType
from typing import Any

from napari_patchioner.describers import Endpoint, check_template
from napari_patchioner.errors import ModelError, reason
from napari_patchioner.limits import check_plain_file

from .parts import captioner_options, only, part_kind
from .preset import Conversion, Part, Preset, PresetFile

NAME = "preset.toml"
CARD, PAGE = "card.json", "CARD.md"
"""The card of a model that was trained here, for programs and for people."""
# Bytes; a preset is a page of text.
_LARGEST = 1_000_000
# The fields of each table, and what they hold; of texts ending in ! none may be empty.
_PARTS = ("backbone", "bridge", "decoder")
_PRESET = {
    **dict.fromkeys(("id", "title", "note", "licence"), "text!"),
    **dict.fromkeys((*_PARTS, "files", "prepare", "provenance", "options"), "table"),
    "row": "text",
    "ram": "bytes",
    "server": "table",
}
_SERVER = {"address": "text!", "model": "text!", "prompt": "text"}
# What a model on a server has in the place of each part.
_NOTHING = Part("server")
_PART = {"kind": "text!", "files": "table", "options": "table"}
_CONVERSION = {"make": "text!", "source": "text", "options": "table"}
_FILE = dict.fromkeys(("repo", "sha256", "where"), "text") | {"path": "text!"}
_FILE |= dict.fromkeys(("size", "about"), "bytes")
_TYPES: dict[str, type] = {"text": str, "text!": str, "bytes": int, "table": dict}
# Windows keeps some names for devices.
_ID = re.compile(r"(?!(con|prn|aux|nul|com\d|lpt\d)$)[a-z0-9][a-z0-9-]{0,63}")
_REPO = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def read_preset(path: str | Path) -> Preset:
    """Read a preset from its file, or from the folder it lies in with files of its own."""
    path, home = Path(path), None
    if os.path.isdir(path):
        path, home = path / NAME, path
    try:
        path.stat()
        if check_plain_file(path, ModelError) > _LARGEST:
            raise ModelError(f"{path} is too large for a {NAME}; it is a page of text.")
        # Some editors begin a file with a mark of its encoding.
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path} is not text in UTF-8; save it in that encoding.") from error
    except ModelError:
        raise
    except (OSError, ValueError) as error:
        shown = repr(str(path)) if "\0" in str(path) else path
        raise ModelError(f"{shown} cannot be read; write the model's {NAME} there.") from error
    return parse_preset(text, source=str(path), home=home)


def read_card(folder: Path) -> dict[str, Any]:
    """Read the card of a trained model in its folder; nothing where there is none.

    A ModelError where it is damaged.
    """
    path = folder / CARD
    if not path.is_file():
        return {}
    if check_plain_file(path, ModelError) > _LARGEST:
        raise ModelError(f"{path} is too large for a card.")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read ({reason(error)}).") from error
    if not isinstance(card, dict):
        raise ModelError(f"{path} is no card of a model.")
    return card


def parse_preset(text: str, *, source: str, home: Path | None = None) -> Preset:
    """Read a preset from text."""
    try:
        return _preset(tomllib.loads(text), home)
    except ModelError as error:
        raise ModelError(f"{source}: {error}") from error
    except (ValueError, RecursionError) as error:
        # Besides its own error the library raises what Python does for huge numbers and depths.
        raise ModelError(f"{source} is not TOML ({reason(error)}); mend it there.") from error


def preset_text(preset: Preset) -> str:
    """Return a preset as `parse_preset` reads it."""
    simple = {name: getattr(preset, name) for name in ("id", "title", "note", "licence", "row")}
    lines = _entries({**simple, "ram": preset.ram})
    for group, part in preset.parts.items():
        lines += ["", f"[{group}]", f"kind = {_toml(part.kind)}"]
        lines += _entries({"files": part.files, "options": part.options})
    for name in ("server", "options", "provenance"):
        if table := getattr(preset, name):
            lines += ["", f"[{name}]", *_entries(table)]
    if preset.files:
        lines += ["", "[files]"]
    for role, files in preset.files.items():
        tables = [f"    {_toml(_filled(asdict(file)))}," for file in files]
        lines += [f"{_toml_key(role)} = [", *tables, "]"]
    if preset.conversions:
        made = {
            item.role: _filled(
                {"make": item.make, "source": item.source, "options": dict(item.options)}
            )
            for item in preset.conversions
        }
        lines += ["", "[prepare]", *_entries(made)]
    return "\n".join([*lines, ""])


def _filled(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a table that say something."""
    return {name: value for name, value in table.items() if value not in ("", 0, {})}


def _entries(table: Mapping[str, Any]) -> list[str]:
    """Return a line for every value; what is empty is left out, but not a number or a switch."""
    return [
        f"{_toml_key(name)} = {_toml(value)}"
        for name, value in table.items()
        if isinstance(value, bool | float) or value not in ("", 0, {})
    ]


def _toml(value: Any) -> str:
    """Return a value in TOML; what JSON writes of texts, numbers and switches is TOML as well."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_toml_key(name)} = {_toml(item)}" for name, item in value.items())
        return f"{{ {inside} }}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def check_id(model: str) -> None:
    """Raise a ModelError where a model cannot have this id."""
    if not _ID.fullmatch(model):
        raise ModelError(
            f"The id {model!r} must be lower-case letters, digits and dashes, at most 64, and no "
            "name that Windows keeps for itself."
        )


def _preset(table: Mapping[str, Any], home: Path | None) -> Preset:
    fields = _fields(table, "preset", _PRESET)
    check_id(fields["id"])
    if fields["server"]:
        return _server_preset(fields, home)
    files = {}
    for role, entries in fields.pop("files").items():
        listed = entries if isinstance(entries, list) else [entries]
        if not listed or not all(isinstance(entry, dict) for entry in listed):
            raise ModelError(f"The files {role!r} must be tables like {{repo = ..., path = ...}}.")
        files[role] = tuple(_file(f"files {role!r}", entry, home) for entry in listed)
    prepared = fields.pop("prepare").items()
    made = tuple(_conversion(role, entry, files) for role, entry in prepared)
    stamps = _fields(fields["provenance"], "[provenance]", {"projection": "text"})
    if fields["provenance"] and not _SHA256.fullmatch(stamps["projection"]):
        raise ModelError("The projection of [provenance] must be 64 hexadecimal digits.")
    roles = {*files, *(conversion.role for conversion in made)}
    fields |= {group: _part(group, fields[group], roles) for group in _PARTS}
    fields["options"] = captioner_options(fields["options"])
    return Preset(**fields, files=files, conversions=made, home=home)


def _server_preset(fields: Mapping[str, Any], home: Path | None) -> Preset:
    """Return the preset of a model on a server, which has no parts and no files."""
    about = {name: fields[name] for name in ("id", "title", "note", "licence", "row", "ram")}
    if more := [name for name, value in fields.items() if value and name not in (*about, "server")]:
        raise ModelError(f"A preset with [server] must not have [{more[0]}]: it has no parts.")
    server = _fields(fields["server"], "[server]", _SERVER)
    Endpoint(server["address"])
    check_template(server["prompt"])
    parts: dict[str, Any] = dict.fromkeys(_PARTS, _NOTHING)
    return Preset(**about, **parts, server=_filled(server), home=home)


def _part(group: str, table: Mapping[str, Any], roles: set[str]) -> Part:
    fields = _fields(table, f"[{group}]", _PART)
    kind, files = fields["kind"], fields["files"]
    known = part_kind(group, kind)
    only(files, {*known.needs, *known.may}, f"files of the {group} {kind!r}")
    if lacking := [role for role in known.needs if role not in files]:
        raise ModelError(f"The {group} {kind!r} needs files {lacking[0]!r}; name their role.")
    for role, name in files.items():
        if name not in roles:
            raise ModelError(
                f"The {group} {kind!r} reads {role!r} from {name!r}, which neither [files] nor "
                f"[prepare] has; name one of: {', '.join(sorted(roles)) or 'none'}."
            )
    return Part(**fields)


def _file(where: str, table: Mapping[str, Any], home: Path | None) -> PresetFile:
    fields = _fields(table, where, _FILE)
    repo, path, sha256 = fields["repo"], fields["path"], fields["sha256"]
    if repo and not _REPO.fullmatch(repo):
        raise ModelError(f"The {where} name the repository {repo!r}; write owner/name.")
    if sha256 and not _SHA256.fullmatch(sha256):
        raise ModelError(f"The {where} have a sha256 that is not 64 hexadecimal digits.")
    if not repo and home is None and not fields["where"]:
        raise ModelError(f"The {where} name no repo; say where a person finds them.")
    # A path must not leave its folder, on any system.
    posix, windows = PurePosixPath(path), PureWindowsPath(path)
    leaves = posix.is_absolute() or windows.drive or windows.root or "\\" in path
    if leaves or not posix.parts or ".." in posix.parts:
        raise ModelError(f"The {where} lie at {path!r}; give a path inside the folder.")
    return PresetFile(**fields | {"path": str(posix)})


def _conversion(role: str, table: object, files: Mapping[str, Any]) -> Conversion:
    from .prepare import MAKERS

    where = f"[prepare] {role!r}"
    if not isinstance(table, dict):
        raise ModelError(f"{where} must be a table like {{make = ..., source = ...}}.")
    fields = _fields(table, where, _CONVERSION)
    make, source = fields["make"], fields["source"]
    if role in files:
        raise ModelError(f"The role {role!r} is in both [files] and [prepare]; rename one.")
    if make not in MAKERS:
        raise ModelError(f"{where} is made by {make!r}; choose one of: {', '.join(MAKERS)}.")
    if source and source not in files:
        raise ModelError(f"{where} is made from {source!r}, which [files] does not have.")
    if MAKERS[make].needs_source and not source:
        raise ModelError(f"{where} needs the role of the file it is made from: source = ....")
    only(fields["options"], set(MAKERS[make].options), f"options of {where}")
    return Conversion(role, **fields)


def _fields(table: Mapping[str, Any], where: str, kinds: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of all fields of a table, those that are not there empty."""
    only(table, set(kinds), where)
    values = {key: table.get(key, _TYPES[kind]()) for key, kind in kinds.items()}
    for key, value in values.items():
        match kinds[key]:
            case "table":
                if not isinstance(value, dict):
                    raise ModelError(f"The {key!r} of the {where} must be a table, not {value!r}.")
            case "bytes":
                if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                    raise ModelError(
                        f"The {key} of the {where} must be a number of bytes, not {value!r}."
                    )
            case kind:
                if not isinstance(value, str) or (kind == "text!" and not value):
                    raise ModelError(f'The {where} needs {key} = "some text".')
                if not value.isprintable():
                    raise ModelError(f"The {key} of the {where} must be one line of plain text.")
    return values


FOLDER = Path(__file__).parent / "presets"
# The paper's own models, one for every backbone, then those for biology, as people read them.
ORDER = (
    "talk2dino-b-decap",
    "talk2dino-b-capdec",
    "talk2dino-b-viecap",
    "talk2dino-b-meacap",
    "talk2dino-b",
    "talk2dino-l",
    "talk2dino-dinov3-b",
    "talk2dino-dinov3-l",
    "dinotxt-l",
    "siglip2-b16",
    "proxyclip-b16",
    "proxyclip-b16-dino",
    "invite-b16",
    "maskclip-b16",
    "clip-b32",
    "clip-b16",
    "clip-l14",
    "denseclip-b16",
    "alphaclip-b16",
    "regionclip-rn50",
    "biomedclip-b16",
    "quiltnet-b32",
    "bioclip2-l14",
    "plip-b32",
)


@cache
def presets() -> Mapping[str, Preset]:
    """Return every preset of this package by its id, the paper's own first."""
    read = {name: read_preset(FOLDER / f"{name}.toml") for name in ORDER}
    for name, preset in read.items():
        if preset.id != name:
            raise ModelError(f"{name}.toml says its id is {preset.id!r}; reinstall the package.")
    return MappingProxyType(read)


def _sam2(name: str, title: str, repo: str, about: int) -> Preset:
    """Return what is got of a SAM 2.1; its weights are for videos as well."""
    files = (PresetFile(repo, "config.json"), PresetFile(repo, "model.safetensors", about=about))
    return Preset(
        name,
        title,
        "Sharp outlines from a click or a box; it makes no captions.",
        "Apache-2.0",
        backbone=Part("sam2", {"folder": "folder"}),
        bridge=Part("none"),
        decoder=Part("none"),
        files={"folder": files},
    )


SEGMENTERS = {
    preset.id: preset
    for preset in (
        _sam2("sam2-tiny", "SAM 2.1 tiny", "facebook/sam2.1-hiera-tiny", 156_000_000),
        _sam2("sam2-base", "SAM 2.1 base+", "facebook/sam2.1-hiera-base-plus", 324_000_000),
    )
}
"""The models for outlines by id, the smallest first; none of them is a captioner."""
