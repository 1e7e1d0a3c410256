"""The TOML form of a preset, read strictly: what is not understood is refused."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import MappingProxyType
from typing import Any

from napari_patchioner.errors import ModelError, reason
from napari_patchioner.limits import check_plain_file

from .parts import captioner_options, only, part_kind
from .preset import Conversion, Part, Preset, PresetFile

NAME = "preset.toml"
# Bytes; a preset is a page of text.
_LARGEST = 1_000_000
_PARTS = {"backbone", "bridge", "decoder"}
_KEYS = {"id", "title", "note", "licence", "row", "ram"} | _PARTS
_KEYS |= {"files", "prepare", "provenance", "options"}
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


def parse_preset(text: str, *, source: str, home: Path | None = None) -> Preset:
    """Read a preset from text."""
    try:
        return _preset(tomllib.loads(text), home)
    except ModelError as error:
        raise ModelError(f"{source}: {error}") from error
    except (ValueError, RecursionError) as error:
        # Besides its own error the library raises what Python does for huge numbers and depths.
        raise ModelError(f"{source} is not TOML ({reason(error)}); mend it there.") from error


def _preset(table: Mapping[str, Any], home: Path | None) -> Preset:
    only(table, _KEYS, "preset")
    name = _text(table, "id")
    if not _ID.fullmatch(name):
        raise ModelError(
            f"The id {name!r} must be lower-case letters, digits and dashes, at most 64, and "
            "no name that Windows keeps for itself."
        )
    files = {}
    for role, entries in _table(table, "files", "preset").items():
        listed = entries if isinstance(entries, list) else [entries]
        if not listed or not all(isinstance(entry, dict) for entry in listed):
            raise ModelError(f"The files {role!r} must be tables like {{repo = ..., path = ...}}.")
        files[role] = tuple(_file(f"files {role!r}", entry, home) for entry in listed)
    prepared = _table(table, "prepare", "preset").items()
    made = tuple(_conversion(role, entry, files) for role, entry in prepared)
    stamps = _table(table, "provenance", "preset")
    only(stamps, {"projection"}, "[provenance]")
    if stamps and not _SHA256.fullmatch(_text(stamps, "projection", where="[provenance]")):
        raise ModelError("The projection of [provenance] must be 64 hexadecimal digits.")
    roles = {*files, *(conversion.role for conversion in made)}
    return Preset(
        id=name,
        title=_text(table, "title"),
        note=_text(table, "note"),
        licence=_text(table, "licence"),
        backbone=_part("backbone", table, roles),
        bridge=_part("bridge", table, roles),
        decoder=_part("decoder", table, roles),
        files=files,
        conversions=made,
        provenance=stamps,
        options=captioner_options(_table(table, "options", "preset")),
        row=_text(table, "row", required=False),
        ram=_count(table, "ram", "preset"),
        home=home,
    )


def _part(group: str, table: Mapping[str, Any], roles: set[str]) -> Part:
    entry = _table(table, group, "preset")
    where = f"[{group}]"
    only(entry, {"kind", "files", "options"}, where)
    kind = _text(entry, "kind", where=where)
    known = part_kind(group, kind)
    files = _table(entry, "files", where)
    only(files, {*known.needs, *known.may}, f"files of the {group} {kind!r}")
    if lacking := [role for role in known.needs if role not in files]:
        raise ModelError(f"The {group} {kind!r} needs files {lacking[0]!r}; name their role.")
    for role, name in files.items():
        if name not in roles:
            raise ModelError(
                f"The {group} {kind!r} reads {role!r} from {name!r}, which neither [files] nor "
                f"[prepare] has; name one of: {', '.join(sorted(roles)) or 'none'}."
            )
    return Part(kind, files, _table(entry, "options", where))


def _file(where: str, entry: Mapping[str, Any], home: Path | None) -> PresetFile:
    only(entry, {"repo", "path", "size", "about", "sha256", "where"}, where)
    repo, path, sha256, place = (
        _text(entry, key, required=key == "path", where=where)
        for key in ("repo", "path", "sha256", "where")
    )
    if repo and not _REPO.fullmatch(repo):
        raise ModelError(f"The {where} name the repository {repo!r}; write owner/name.")
    if sha256 and not _SHA256.fullmatch(sha256):
        raise ModelError(f"The {where} have a sha256 that is not 64 hexadecimal digits.")
    if not repo and home is None and not place:
        raise ModelError(f"The {where} name no repo; say where a person finds them.")
    # A path must not leave its folder, on any system.
    posix, windows = PurePosixPath(path), PureWindowsPath(path)
    leaves = posix.is_absolute() or windows.drive or windows.root or "\\" in path
    if leaves or not posix.parts or ".." in posix.parts:
        raise ModelError(f"The {where} lie at {path!r}; give a path inside the folder.")
    size, about = _count(entry, "size", where), _count(entry, "about", where)
    return PresetFile(repo, str(posix), size, sha256, place, about)


def _conversion(role: str, entry: object, files: Mapping[str, Any]) -> Conversion:
    from .prepare import MAKERS

    where = f"[prepare] {role!r}"
    if not isinstance(entry, dict):
        raise ModelError(f"{where} must be a table like {{make = ..., source = ...}}.")
    only(entry, {"make", "source", "options"}, where)
    if role in files:
        raise ModelError(f"The role {role!r} is in both [files] and [prepare]; rename one.")
    make = _text(entry, "make", where=where)
    if make not in MAKERS:
        raise ModelError(f"{where} is made by {make!r}; choose one of: {', '.join(MAKERS)}.")
    source = _text(entry, "source", required=False, where=where)
    if source and source not in files:
        raise ModelError(f"{where} is made from {source!r}, which [files] does not have.")
    if MAKERS[make].needs_source and not source:
        raise ModelError(f"{where} needs the role of the file it is made from: source = ....")
    options = _table(entry, "options", where)
    only(options, set(MAKERS[make].options), f"options of {where}")
    return Conversion(role, make, source, options)


def _table(table: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise ModelError(f"The {key!r} of the {where} must be a table, not {value!r}.")
    return value


def _text(
    table: Mapping[str, Any], key: str, *, required: bool = True, where: str = "preset"
) -> str:
    value = table.get(key, "")
    if not isinstance(value, str) or (required and not value):
        raise ModelError(f'The {where} needs {key} = "some text".')
    if not value.isprintable():
        raise ModelError(f"The {key} of the {where} must be one line of plain text.")
    return value


def _count(table: Mapping[str, Any], key: str, where: str) -> int:
    value = table.get(key, 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ModelError(f"The {key} of the {where} must be a number of bytes, not {value!r}.")
    return value


FOLDER = Path(__file__).parent / "presets"
# The paper's own models, then one for every backbone, in the order people read them.
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
)


@cache
def presets() -> Mapping[str, Preset]:
    """Return every preset of this package by its id, the paper's own first."""
    read = {name: read_preset(FOLDER / f"{name}.toml") for name in ORDER}
    for name, preset in read.items():
        if preset.id != name:
            raise ModelError(f"{name}.toml says its id is {preset.id!r}; reinstall the package.")
    return MappingProxyType(read)
