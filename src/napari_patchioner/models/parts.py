"""The parts a model is put together of: what each kind reads, and how it is opened."""

from __future__ import annotations

import json
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_patchioner.backbones import BACKBONES
from napari_patchioner.bridges import BRIDGES
from napari_patchioner.decoders import DECODERS
from napari_patchioner.errors import Cancelled, ModelError, PatchionerError
from napari_patchioner.limits import check_plain_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from napari_patchioner.parts import PartKind

    from .preset import Part


CAPTIONS, EMBEDDINGS = "memory_captions.json", "memory_clip_embeddings.pt"
# Rows handed on at once: 25 MB of float32 at 768 columns.
_CHUNK = 8192


def read_meacap_memory(folder: Path) -> Iterator[tuple[list[str], npt.NDArray[np.float32]]]:
    """Read a published memory in chunks.

    Parameters
    ----------
    folder : Path
        Holds ``memory_captions.json``, a list of texts, and ``memory_clip_embeddings.pt``, one
        tensor of shape (captions, dim).

    Yields
    ------
    (list of str, ndarray of float32, shape (k, dim))
    """
    from napari_patchioner.checkpoints import read_state

    captions = _captions(folder / CAPTIONS)
    tensors = list(read_state(folder / EMBEDDINGS).values())
    if len(tensors) != 1 or tensors[0].ndim != 2 or len(tensors[0]) != len(captions):
        shapes = [tuple(tensor.shape) for tensor in tensors[:3]]
        raise ModelError(
            f"{folder / EMBEDDINGS} must hold one vector for each of the {len(captions)} captions "
            f"beside it but holds {shapes}; get both files again."
        )
    for first in range(0, len(captions), _CHUNK):
        rows = tensors[0][first : first + _CHUNK].float().numpy()
        yield captions[first : first + _CHUNK], rows


def _captions(path: Path) -> list[str]:
    if os.path.exists(path):
        check_plain_file(path, ModelError)
    try:
        captions = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is missing or damaged; get it again.") from error
    if not isinstance(captions, list) or not all(isinstance(text, str) for text in captions):
        raise ModelError(f"{path} must be a list of captions; get it again.")
    return captions


_HERE = "napari_patchioner"


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
    """Return a value as messages show it: short, whatever it is."""
    try:
        text = repr(value)
    except ValueError:  # a number of thousands of digits
        text = "a number of very many digits"
    return text if len(text) <= 60 else f"{text[:59]}…"


def _target(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(import_module(f"{_HERE}.{module}"), name)


def _check_options(function: Any, group: str, part: Part) -> None:
    """Separate an option the part does not have from an error within it."""
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


def captioner_options(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Check the further arguments of `Captioner`."""
    only(entries, set(_OPTIONS), "[options]")
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


def only(table: Mapping[str, Any], known: set[str], where: str) -> None:
    """Refuse a table with a key that it does not take."""
    if unknown := sorted(set(table) - known):
        listed = ", ".join(sorted(known)) or "nothing"
        raise ModelError(f"The {where} must not have {unknown[0]!r}; it takes: {listed}.")
