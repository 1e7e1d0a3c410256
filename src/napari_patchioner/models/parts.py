"""The parts a model is put together of: which there are, and how they are opened."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from napari_patchioner.backbones import BACKBONES
from napari_patchioner.bridges import BRIDGES
from napari_patchioner.decoders import DECODERS
from napari_patchioner.errors import Cancelled, ModelError, PatchionerError
from napari_patchioner.parts import PartKind

from .embedded import HEADS
from .preset import Part

_EMBEDDED = dict.fromkeys(HEADS, PartKind("models.embedded:EmbeddedBackbone"))
KINDS = {"backbone": BACKBONES | _EMBEDDED, "bridge": BRIDGES, "decoder": DECODERS}
_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "int or None": (int, type(None)),
    "float": (int, float),
    "bool": (bool,),
}
# Type, least and most of the options; of those not named here the parts know the words.
_OPTIONS = {
    **dict.fromkeys(("size", "detail"), ("int or None", 1, 8192)),
    **dict.fromkeys(("last", "captions", "concepts", "heads", "mapper_heads"), ("int", 1, 1000)),
    "neighbours": ("int", 0, 1000),
    "top_k": ("int or None", 1, 10**6),
    "temperature": ("float", 1e-6, 1e6),
    **dict.fromkeys(
        ("beta", "gamma", "threshold", "similarity", "length_penalty"), ("float", -1e6, 1e6)
    ),
    **dict.fromkeys(("unit", "normalize", "residual", "head", "tidy"), ("bool", 0, 1)),
}


def part_kind(group: str, kind: str) -> PartKind:
    """Return a kind."""
    try:
        return KINDS[group][kind]
    except KeyError:
        known = ", ".join(KINDS[group])
        raise ModelError(f"There is no {group} {kind!r}; choose one of: {known}.") from None


def open_part(group: str, part: Part, files: Mapping[str, Path]) -> Any:
    """Open one part of a preset."""
    kind = part_kind(group, part.kind)
    if missing := [role for role in part.files.values() if role not in files]:
        raise ModelError(
            f"The {group} {part.kind!r} lacks its files {missing[0]!r}; get the model again."
        )
    _check_options(kind, group, part)
    module, _, name = kind.target.partition(":")
    opener = getattr(import_module(f"napari_patchioner.{module}"), name)
    try:
        return opener.open({role: files[at] for role, at in part.files.items()}, **part.options)
    except (PatchionerError, Cancelled, MemoryError):
        raise
    except Exception as error:  # files and options of other people's may be at odds in any way
        lines = str(error).strip().splitlines()
        why = f"{type(error).__name__}: {lines[0][:120]}" if lines else type(error).__name__
        raise ModelError(
            f"The {group} {part.kind!r} cannot be made of its files and options ({why}); mend its "
            "preset, or get the model again."
        ) from error


def _check_options(kind: PartKind, group: str, part: Part) -> None:
    """Refuse an option that the part does not have, or a value that it cannot take."""
    if unknown := sorted(set(part.options) - set(kind.options)):
        listed = ", ".join(sorted(kind.options)) or "none"
        raise ModelError(
            f"The {group} {part.kind!r} has no option {unknown[0]!r}; it knows: {listed}."
        )
    for name, value in part.options.items():
        if name not in _OPTIONS:
            continue
        wanted, least, most = _OPTIONS[name]
        option = f"The option {name!r} of the {group} {part.kind!r} must"
        if type(value) not in _TYPES[wanted]:
            raise ModelError(f"{option} be of type {wanted}, not {shown(value)}.")
        if value is not None and not least <= value <= most:
            raise ModelError(f"{option} lie between {least:g} and {most:g}, not at {shown(value)}.")


def shown(value: object) -> str:
    """Return a value as messages show it: short, whatever it is."""
    try:
        text = repr(value)
    except ValueError:  # a number of thousands of digits
        text = "a number of very many digits"
    return text if len(text) <= 60 else f"{text[:59]}…"


_POOLINGS = ("mean", "gaussian", "attention", "cls")
_CHOICES = {
    "pooling": _POOLINGS,
    "whole": _POOLINGS,
    "weighting": ("touch", "area"),
    "convention": ("paper", "reference"),
}


def captioner_options(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Check the further arguments of `Captioner`."""
    only(entries, {*_CHOICES, "variance", "max_tokens"}, "[options]")
    for key, value in entries.items():
        if key == "variance":
            good, wanted = type(value) in (int, float) and 0 < value < 1e6, "a number above 0"
        elif key == "max_tokens":
            good, wanted = type(value) is int and 0 < value <= 1000, "a whole number from 1 to 1000"
        else:
            good, wanted = value in _CHOICES[key], f"one of {', '.join(_CHOICES[key])}"
        if not good:
            raise ModelError(f"The option {key} must be {wanted}, not {shown(value)}.")
    return dict(entries)


def only(table: Mapping[str, Any], known: set[str], where: str) -> None:
    """Refuse a table with a key that it does not take."""
    if unknown := sorted(set(table) - known):
        listed = ", ".join(sorted(known)) or "nothing"
        raise ModelError(f"The {where} must not have {unknown[0]!r}; it takes: {listed}.")
