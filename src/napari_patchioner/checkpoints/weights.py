"""Weights under a network's own names: renamed, loaded into it, and written to a file."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from napari_patchioner.errors import ModelError
from napari_patchioner.products import quicken

Module = TypeVar("Module", bound=nn.Module)
_NAMED = 4


class _Unfilled(TorchFunctionMode):
    """Leaves new weights as they are, instead of giving them what training starts from."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


@contextmanager
def unfilled() -> Iterator[None]:
    """Build networks without weights, on the ``meta`` device, for `fit` to give them theirs.

    The random ones would import torch's compiler there, which takes a second.
    """
    with torch.device("meta"), _Unfilled():
        yield


def fit(
    module: Module,
    state: Mapping[str, Tensor],
    *,
    source: object,
    ignore: Sequence[str] = (),
    optional: Sequence[str] = (),
) -> Module:
    """Load weights, under the network's own names, into it, all of them or none.

    The module may live on the ``meta`` device; it gets the weights in single precision and is
    returned in evaluation mode, without gradients. ``source`` is where they came from, for the
    message. ``ignore`` are globs of names that may come along unused, such as buffers of old
    library versions, ``optional`` of names that may be missing.

    A ModelError names weights that are missing, left over, of another shape or type, or not finite;
    the module is then as it was.
    """
    wanted = module.state_dict()
    used = {name: state[name] for name in wanted if name in state}
    problems = {
        "missing": [name for name in wanted if name not in state and not _any(name, optional)],
        "unexpected": [name for name in state if name not in wanted and not _any(name, ignore)],
        "of another shape": [
            f"{name} {tuple(value.shape)} instead of {tuple(wanted[name].shape)}"
            for name, value in used.items()
            if value.shape != wanted[name].shape
        ],
        "of another type": [
            f"{name} {_kind(value)} instead of {_kind(wanted[name])}"
            for name, value in used.items()
            if not _alike(value, wanted[name])
        ],
    }
    listed = []
    for what, names in problems.items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        listed += [f"{what}: {', '.join(names[:_NAMED])}{more}"] if names else []
    if listed:
        raise ModelError(f"{source} does not fit: {'; '.join(listed)}. Choose the matching file.")
    for name, value in used.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ModelError(f"{source} holds numbers that are not finite in {name}; get it again.")
    single = {
        name: value.float() if value.is_floating_point() else value for name, value in used.items()
    }
    module.load_state_dict(single, strict=False, assign=True)
    # Counters beside the weights, which no file holds, would keep a network on the meta device.
    for part in module.modules():
        for name, buffer in part.named_buffers(recurse=False):
            if buffer.is_meta:
                setattr(part, name, None)
    quicken(module)
    return module.eval().requires_grad_(False)


def _alike(value: Tensor, wanted: Tensor) -> bool:
    """Whether weights can stand in for others: any precision, but no packed or sparse form."""
    same = value.is_floating_point() == wanted.is_floating_point()
    return same and not value.is_complex() and value.layout == torch.strided


def _kind(value: Tensor) -> str:
    dense = "" if value.layout == torch.strided else " sparse"
    return str(value.dtype).removeprefix("torch.") + dense


def _any(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def rename(
    state: Mapping[str, Tensor], rules: Iterable[tuple[str, str | None]]
) -> dict[str, Tensor]:
    r"""Rename weights.

    The rules are regular expressions that match a whole name, each with a replacement; the first
    that matches decides. A replacement of None drops the weight. Names no rule matches stay as they
    are. A ModelError where two weights would get one name.

    >>> rename({"linear_layer2.bias": None}, [(r"linear_layer2\.(.*)", r"hidden_layers.0.\1")])
    {'hidden_layers.0.bias': None}
    """
    rules = list(rules)
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        new: str | None = name
        for pattern, replacement in rules:
            if match := re.fullmatch(pattern, name):
                new = None if replacement is None else match.expand(replacement)
                break
        if new is None:
            continue
        if new in renamed:
            raise ModelError(f"Two weights of the file are both {new}; it mixes two layouts.")
        renamed[new] = value
    return renamed


def write_state(path: str | Path, state: Mapping[str, Tensor], **notes: str) -> Path:
    """Write weights and notes on them to one safetensors file; an older file stays until then.

    The notes are what to remember of them, such as the hash of the projection they were made
    behind. An OSError where it cannot be written there, for instance because the disk is full.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    # Names that share storage are written once each: safetensors refuses shared memory.
    tensors = {name: value.detach().contiguous().clone() for name, value in state.items()}
    try:
        save_file(tensors, beside, metadata=dict(notes))
        _sort_notes(beside)
        beside.replace(path)
    except SafetensorError as error:
        # The library wraps what the system said in words of its own.
        number = re.search(r"os error (\d+)", str(error))
        code = int(number[1]) if number else None
        raise (OSError(code, os.strerror(code)) if code else OSError(str(error))) from error
    finally:
        beside.unlink(missing_ok=True)
    return path


def _sort_notes(path: Path) -> None:
    """Put the notes of a safetensors file in order, so that the same content is the same bytes."""
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        # As long as it was: the weights begin where they did.
        if len(text) <= length:
            file.seek(8)
            file.write(text.ljust(length))


def read_notes(path: str | Path) -> dict[str, str]:
    """Return the notes of a safetensors file, empty where it has none.

    A ModelError where the file is missing or damaged.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} is missing or damaged; get it again.") from error
