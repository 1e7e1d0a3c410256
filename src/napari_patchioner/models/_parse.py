"""The TOML form of a preset, read strictly: what is not understood is refused."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from napari_patchioner.errors import ModelError
from napari_patchioner.limits import check_plain_file

from ._parts import part_kind, shown
from ._preset import Conversion, Part, Preset, PresetFile

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "preset.toml"
# Bytes; a preset is a page of text.
_LARGEST = 1_000_000
_PARTS = {"backbone", "bridge", "decoder"}
_KEYS = {"id", "title", "note", "licence", "row", "ram"} | _PARTS
_KEYS |= {"files", "prepare", "provenance", "options"}
_POOLINGS = ("mean", "gaussian", "attention", "cls")
_OPTIONS: dict[str, tuple[Any, ...] | type] = {
    "pooling": _POOLINGS,
    "whole": _POOLINGS,
    "weighting": ("touch", "area"),
    "convention": ("paper", "reference"),
    "variance": float,
    "max_tokens": int,
}
_LARGEST_NUMBER, _MOST_TOKENS = 1e6, 1000
# Windows keeps some names for devices.
_ID = re.compile(r"(?!(con|prn|aux|nul|com\d|lpt\d)$)[a-z0-9][a-z0-9-]{0,63}")
_REPO = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def read_preset(path: str | Path, *, home: Path | None = None) -> Preset:
    """Read a preset from its file.

    Parameters
    ----------
    path : path
        A TOML file, or a folder that holds ``preset.toml``.
    home : Path, optional
        Folder that files without a ``repo`` lie in; the folder itself where ``path`` is one.

    Raises
    ------
    ModelError
        The file is missing, is not TOML, or says something that is not understood.
    """
    path = Path(path)
    if os.path.isdir(path):
        path, home = path / NAME, path
    if os.path.exists(path):
        check_plain_file(path, ModelError)
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
        raise ModelError(
            f"{str(path)!r} cannot be read; write the model's {NAME} there."
            if "\0" in str(path)
            else f"{path} cannot be read; write the model's {NAME} there."
        ) from error
    return parse_preset(text, source=str(path), home=home)


def parse_preset(text: str, *, source: str, home: Path | None = None) -> Preset:
    """Read a preset from text.

    Parameters
    ----------
    text : str
        TOML.
    source : str
        Where it comes from, for messages.
    home : Path, optional
        Folder that files without a ``repo`` lie in.

    Raises
    ------
    ModelError
        It is not TOML, or says something that is not understood.
    """
    try:
        return _preset(tomllib.loads(text), home)
    except ModelError as error:
        raise ModelError(f"{source}: {error}") from error
    except (ValueError, RecursionError) as error:
        # Besides its own error the library raises what Python does for huge numbers and depths.
        reason = str(error).splitlines()[0][:120]
        raise ModelError(f"{source} is not TOML ({reason}); mend it there.") from error


def _preset(table: Mapping[str, Any], home: Path | None) -> Preset:
    _only(table, _KEYS, "preset")
    name = _text(table, "id")
    if not _ID.fullmatch(name):
        raise ModelError(
            f"The id {name!r} must be lower-case letters, digits and dashes, at most 64, and "
            "no name that Windows keeps for itself."
        )
    files = {
        role: _files(role, entries, home)
        for role, entries in _table(table, "files", "preset").items()
    }
    made = tuple(
        _conversion(role, entry, files)
        for role, entry in _table(table, "prepare", "preset").items()
    )
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
        provenance=_provenance(table),
        options=captioner_options(_table(table, "options", "preset")),
        row=_text(table, "row", required=False),
        ram=_count(table, "ram", "preset"),
        home=home,
    )


def _part(group: str, table: Mapping[str, Any], roles: set[str]) -> Part:
    entry = _table(table, group, "preset")
    where = f"[{group}]"
    _only(entry, {"kind", "files", "options"}, where)
    kind = _text(entry, "kind", where=where)
    known = part_kind(group, kind)
    files = _table(entry, "files", where)
    _only(files, {*known.needs, *known.may}, f"files of the {group} {kind!r}")
    if lacking := [role for role in known.needs if role not in files]:
        raise ModelError(f"The {group} {kind!r} needs files {lacking[0]!r}; name their role.")
    for role, name in files.items():
        if name not in roles:
            raise ModelError(
                f"The {group} {kind!r} reads {role!r} from {name!r}, which neither [files] nor "
                f"[prepare] has; name one of: {', '.join(sorted(roles)) or 'none'}."
            )
    return Part(kind, files, _table(entry, "options", where))


def _files(role: str, entries: object, home: Path | None) -> tuple[PresetFile, ...]:
    listed: list[Any] = entries if isinstance(entries, list) else [entries]
    if not listed or not all(isinstance(entry, dict) for entry in listed):
        raise ModelError(f"The files {role!r} must be tables like {{repo = ..., path = ...}}.")
    return tuple(_file(role, entry, home) for entry in listed)


def _file(role: str, entry: Mapping[str, Any], home: Path | None) -> PresetFile:
    where = f"files {role!r}"
    _only(entry, {"repo", "path", "size", "about", "sha256", "where"}, where)
    texts = {
        key: _text(entry, key, required=key == "path", where=where)
        for key in ("repo", "path", "sha256", "where")
    }
    if texts["repo"] and not _REPO.fullmatch(texts["repo"]):
        raise ModelError(f"The {where} name the repository {texts['repo']!r}; write owner/name.")
    if texts["sha256"] and not _SHA256.fullmatch(texts["sha256"]):
        raise ModelError(f"The {where} have a sha256 that is not 64 hexadecimal digits.")
    if not texts["repo"] and home is None and not texts["where"]:
        raise ModelError(f"The {where} name no repo; say where a person finds them.")
    return PresetFile(
        **{**texts, "path": _inside(texts["path"], where)},
        size=_count(entry, "size", where),
        about=_count(entry, "about", where),
    )


def _inside(path: str, where: str) -> str:
    """Refuse a path that leaves its folder, on any system."""
    posix, windows = PurePosixPath(path), PureWindowsPath(path)
    leaves = posix.is_absolute() or windows.drive or windows.root or "\\" in path
    if leaves or not posix.parts or ".." in posix.parts:
        raise ModelError(f"The {where} lie at {path!r}; give a path inside the folder.")
    return str(posix)


def _conversion(role: str, entry: object, files: Mapping[str, Any]) -> Conversion:
    from ._prepare import MAKERS

    where = f"[prepare] {role!r}"
    if not isinstance(entry, dict):
        raise ModelError(f"{where} must be a table like {{make = ..., source = ...}}.")
    _only(entry, {"make", "source", "options"}, where)
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
    _only(options, set(MAKERS[make].options), f"options of {where}")
    return Conversion(role, make, source, options)


def _provenance(table: Mapping[str, Any]) -> dict[str, str]:
    entries = _table(table, "provenance", "preset")
    _only(entries, {"projection"}, "[provenance]")
    stamps = {key: _text(entries, key, where="[provenance]") for key in entries}
    for key, stamp in stamps.items():
        if not _SHA256.fullmatch(stamp):
            raise ModelError(f"The {key} of [provenance] must be 64 hexadecimal digits.")
    return stamps


def captioner_options(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Check the further arguments of `Captioner`.

    Raises
    ------
    ModelError
        One is unknown, or has a value that it cannot have.
    """
    _only(entries, set(_OPTIONS), "[options]")
    for key, value in entries.items():
        allowed = _OPTIONS[key]
        if isinstance(allowed, tuple) and value not in allowed:
            raise ModelError(
                f"The option {key} must be one of {', '.join(allowed)}, not {shown(value)}."
            )
        if allowed is float and not (type(value) in (int, float) and 0 < value < _LARGEST_NUMBER):
            raise ModelError(f"The option {key} must be a number above 0, not {shown(value)}.")
        if allowed is int and not (type(value) is int and 0 < value <= _MOST_TOKENS):
            raise ModelError(
                f"The option {key} must be a whole number from 1 to {_MOST_TOKENS}, not "
                f"{shown(value)}."
            )
    return dict(entries)


def _only(table: Mapping[str, Any], known: set[str], where: str) -> None:
    if unknown := sorted(set(table) - known):
        listed = ", ".join(sorted(known)) or "nothing"
        raise ModelError(f"The {where} must not have {unknown[0]!r}; it takes: {listed}.")


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
