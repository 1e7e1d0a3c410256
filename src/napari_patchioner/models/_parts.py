"""The parts a preset can name: kind to the class that opens it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_patchioner.errors import Cancelled, ModelError, PatchionerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ._preset import Part

_HERE = "napari_patchioner"


@dataclass(frozen=True, slots=True)
class PartKind:
    """One kind of part.

    Attributes
    ----------
    target : str
        ``module:name`` of something with ``open(files, **options)``.
    needs : tuple of str
        Roles that ``open`` cannot do without.
    may : tuple of str
        Roles it reads where they are given.
    """

    target: str
    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()


BACKBONES = {
    "talk2dino": PartKind(
        "backbones.talk2dino:Talk2DINO", ("vision",), ("projection", "text", "merges")
    ),
    "dino": PartKind("backbones.dino:Dino", ("vision",)),
    "dinotxt": PartKind("backbones.dinotxt:DinoTxt", ("vision",), ("head", "text", "merges")),
    "clip": PartKind("backbones.clip:ClipDense", ("clip",)),
    "maskclip": PartKind("backbones.maskclip:MaskClip", ("clip",)),
    "invite": PartKind("backbones.invite:Invite", ("clip",)),
    "proxyclip": PartKind("backbones.proxyclip:ProxyClip", ("clip", "guide")),
    "denseclip": PartKind("backbones.denseclip:DenseClip", ("weights",), ("merges", "clip")),
    "siglip2": PartKind("backbones.siglip2:SigLip2", ("folder",)),
    "alphaclip": PartKind("backbones.alphaclip:AlphaClip", ("alpha",), ("clip",)),
    "regionclip": PartKind("backbones.regionclip:RegionClip", ("weights",), ("merges",)),
}
BRIDGES = {
    "memory": PartKind("models._ready:Memory", ("bank",)),
    "retrieve": PartKind("models._ready:Retrieve", ("bank",)),
    "normalize": PartKind("bridges:NormalizeBridge"),
    "entities": PartKind("bridges:EntityBridge", ("entities",)),
    "meacap": PartKind("bridges._meacap:MeaCapBridge", ("bank", "parser", "sentences")),
}
DECODERS = {
    "decap": PartKind("decoders:DeCapDecoder", ("weights", "merges")),
    "viecap": PartKind("decoders:ViECapDecoder", ("weights", "tokenizer")),
    "clipcap": PartKind("decoders:ClipCapDecoder", ("weights", "tokenizer")),
    "quote": PartKind("decoders:QuoteDecoder"),
}
# Values that fit an option, by the name of its type.
_TYPES: dict[str, Callable[[object], bool]] = {
    "int": lambda value: type(value) is int,
    "float": lambda value: type(value) in (int, float),
    "bool": lambda value: type(value) is bool,
    "str": lambda value: type(value) is str,
    "None": lambda value: value is None,
}
# The least and the most that an option of whole numbers may be, where 1 to a thousand is not it.
_RANGES = {"size": (1, 8192), "detail": (1, 8192), "neighbours": (0, 1000), "top_k": (1, 10**6)}
_LARGEST_NUMBER = 1e6
KINDS = {"backbone": BACKBONES, "bridge": BRIDGES, "decoder": DECODERS}


def part_kind(group: str, kind: str) -> PartKind:
    """Look a kind up.

    Raises
    ------
    ModelError
        There is none of that name; those there are, are named.
    """
    try:
        return KINDS[group][kind]
    except KeyError:
        known = ", ".join(KINDS[group])
        raise ModelError(f"There is no {group} {kind!r}; choose one of: {known}.") from None


def open_part(group: str, part: Part, files: Mapping[str, Path]) -> Any:
    """Open one part of a preset.

    Parameters
    ----------
    group : {"backbone", "bridge", "decoder"}
        What it is.
    part : Part
        Which one, and from which of the files.
    files : mapping of str to Path
        Role in the preset to file or folder.

    Raises
    ------
    ModelError
        A file is missing or does not fit, or the part does not know an option.
    """
    kind = part_kind(group, part.kind)
    if missing := [role for role in part.files.values() if role not in files]:
        raise ModelError(
            f"The {group} {part.kind!r} lacks its files {missing[0]!r}; get the model again."
        )
    opener = _target(kind.target)
    given = {role: files[name] for role, name in part.files.items()}
    _check_options(opener.open, group, part)
    try:
        return opener.open(given, **part.options)
    except (PatchionerError, Cancelled, MemoryError):
        raise
    except Exception as error:  # files and options of other people's may be at odds in any way
        lines = str(error).strip().splitlines()
        why = f"{type(error).__name__}: {lines[0][:120]}" if lines else type(error).__name__
        raise ModelError(
            f"The {group} {part.kind!r} cannot be made of its files and options ({why}); mend its "
            "preset, or get the model again."
        ) from error


def shown(value: object) -> str:
    """Return a value as messages tell it: short, whatever it is."""
    try:
        text = repr(value)
    except ValueError:  # a number of thousands of digits
        text = "a number of very many digits"
    return text if len(text) <= 60 else f"{text[:59]}…"


def _target(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(import_module(f"{_HERE}.{module}"), name)


def _check_options(function: Any, group: str, part: Part) -> None:
    """Tell an option the part does not have from an error within it."""
    from inspect import Parameter, signature

    known = {
        name: str(parameter.annotation)
        for name, parameter in signature(function).parameters.items()
        if parameter.kind is Parameter.KEYWORD_ONLY
    }
    if unknown := sorted(set(part.options) - known.keys()):
        listed = ", ".join(sorted(known)) or "none"
        raise ModelError(
            f"The {group} {part.kind!r} has no option {unknown[0]!r}; it knows: {listed}."
        )
    for name, value in part.options.items():
        wanted = known[name].split(" | ")
        if set(wanted) <= _TYPES.keys() and not any(_TYPES[kind](value) for kind in wanted):
            raise ModelError(
                f"The option {name!r} of the {group} {part.kind!r} must be of type "
                f"{' or '.join(wanted)}, not {shown(value)}."
            )
        least, most = _RANGES.get(name, (1, 1000))
        if type(value) is int and "int" in wanted and not least <= value <= most:
            raise ModelError(
                f"The option {name!r} of the {group} {part.kind!r} must lie between {least} and "
                f"{most}, not at {shown(value)}."
            )
        least_number = 1e-6 if name == "temperature" else -_LARGEST_NUMBER
        if "float" in wanted and not least_number <= value <= _LARGEST_NUMBER:
            raise ModelError(
                f"The option {name!r} of the {group} {part.kind!r} must lie between "
                f"{least_number:g} and {_LARGEST_NUMBER:g}, not at {shown(value)}."
            )
