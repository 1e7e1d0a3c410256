"""Weights from a file or folder, without running anything that may be in it."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file
from torch import Tensor

from napari_patchioner.errors import ModelError, reason
from napari_patchioner.limits import check_plain_file
from napari_patchioner.quiet import ignored_warnings

State: TypeAlias = dict[str, Tensor]

# The name of a tensor that was saved alone.
LONE = "tensor"
_INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_FOLDER = ("model.safetensors", _INDICES[0], "pytorch_model.bin", _INDICES[1])
_SUFFIXES = (".safetensors", ".bin")
# What training scripts put around the weights, and how deep at most.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
_DEEPEST = 8
_MOST_INDEX = 2**25
# Of a safetensors file the library parses so much, of which one tensor takes about a hundred bytes.
_MOST_HEADER = 2**24
# How torch words that it met an object it will not make.
_REFUSALS = ("Unsupported global", "Unsupported class", "not an allowed", "unsupported GLOBAL")
# What a download may bring instead of weights, by its first bytes.
_OTHER_FILES = {
    b"version https://git-lfs": "a pointer to the file that Git LFS keeps elsewhere",
    b"<!doctype": "a web page",
    b"<html": "a web page",
}


def read_state(path: str | Path) -> State:
    """Read weights by name, on the CPU, in the file's own precision.

    The path is a ``.safetensors``, ``.pt``, ``.pth`` or ``.bin`` file, the index of a split one,
    or a folder that holds ``model.safetensors`` or ``pytorch_model.bin``. Wrappers such as
    ``state_dict`` and the ``module.`` of parallel training are taken off.

    A ModelError where the file is missing or cut short, holds anything besides tensors and plain
    values, or no weights at all. Nothing in it was executed.
    """
    path = _file_of(Path(path))
    state = _read_split(path) if path.name.endswith(".index.json") else _read_file(path)
    if not state:
        raise ModelError(f"{path} holds no weights; choose the file that does.")
    return state


def _file_of(path: Path) -> Path:
    if os.path.isdir(path):
        for name in _FOLDER:
            if (path / name).is_file():
                return path / name
        raise ModelError(f"{path} holds none of {', '.join(_FOLDER)}; get the model again.")
    if not os.path.isfile(path):
        raise ModelError(f"{path} does not exist; get the model again.")
    return path


def _read_file(path: Path) -> State:
    """Read one file of either kind, or say what is there where it is plainly none of weights."""
    try:
        with path.open("rb") as file:
            start = file.read(64).lstrip().lower()
    except OSError as error:
        raise _damaged(path, error) from error
    for first, what in _OTHER_FILES.items():
        if start.startswith(first):
            raise ModelError(f"{path} is {what}, not a file of weights; get the file itself.")
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)


def _read_safetensors(path: Path) -> State:
    try:
        with path.open("rb") as file:
            header = int.from_bytes(file.read(8), "little")
        if header > max(0, min(_MOST_HEADER, path.stat().st_size)):
            raise ValueError(f"its header claims {header:,} bytes")
        return load_file(path)
    except Exception as error:  # besides its own error the library raises what Python does
        raise _damaged(path, error) from error


def _read_split(index: Path) -> State:
    if check_plain_file(index, ModelError) > _MOST_INDEX:
        raise ModelError(f"{index} is too large to be an index; get the model again.")
    try:
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        parts = sorted({str(part) for part in names.values()})
    except Exception as error:  # as deeply nested as one likes
        raise _damaged(index, error) from error
    if any(Path(part).name != part or not part.endswith(_SUFFIXES) for part in parts):
        raise ModelError(f"{index} points to other files than weights beside it; get it again.")
    state: State = {}
    for part in parts:
        state |= _read_file(_file_of(index.parent / part))
    if missing := sorted(names.keys() - state.keys()):
        raise ModelError(f"{index} lists {missing[0]}, which no part holds; get the model again.")
    return state


def _read_torch(path: Path) -> State:
    try:
        mapped = zipfile.is_zipfile(path)
        if mapped:
            _refuse_other_zips(path)
        # Of a pickle's protocol, which says nothing to a person; what follows does.
        with ignored_warnings():
            content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except ModelError:
        raise
    except pickle.UnpicklingError as error:
        with path.open("rb") as file:
            start = file.read(2)
        # A pickle of a protocol that torch neither writes nor reads (it uses 2) says nothing of it.
        late = len(start) == 2 and start[0] == 0x80 and start[1] > 2
        if not (late or any(sign in str(error) for sign in _REFUSALS)):
            # What torch says is a page of advice to load the file without this check.
            raise _damaged(path, ValueError("it is no table of weights")) from error
        raise ModelError(
            f"{path} holds Python objects besides tensors, which could run code on this computer; "
            f"nothing was loaded: ask its author for a safetensors file."
        ) from error
    except Exception as error:  # garbage makes the unpickler raise almost anything
        raise _damaged(path, error) from error
    state = _unwrapped(content)
    size = path.stat().st_size
    for name, value in state.items():
        # A view may repeat one number as often as it likes.
        if value.numel() * value.element_size() > size:
            raise ModelError(
                f"{path} claims more numbers in {name} than it holds; get the model again."
            )
    return state


def _refuse_other_zips(path: Path) -> None:
    """Refuse a compiled program, or what is packed."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    # torch packs nothing; and what is packed may unpack to anything.
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ModelError(f"{path} is a packed archive, not a file of weights; unpack it first.")
    names = [member.filename for member in members]
    if any(name.endswith("constants.pkl") for name in names):
        raise ModelError(
            f"{path} is a compiled program (TorchScript), not a table of weights; "
            f"nothing was loaded: use the same model's safetensors file."
        )


def _unwrapped(content: object) -> State:
    """Find the tensors in what a training script saved."""
    for _ in range(_DEEPEST):
        if not isinstance(content, Mapping):
            break
        inner = [content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)]
        if not inner:
            break
        content = inner[0]
    if isinstance(content, Tensor):
        return {LONE: content}
    if not isinstance(content, Mapping):
        return {}
    state = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if state and all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return state


def _damaged(path: Path, error: Exception) -> ModelError:
    return ModelError(f"{path} is damaged or cut short ({reason(error)}); get it again.")


def read_own_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read a safetensors file of this package: whole numbers of 64 bits, the others float32."""
    try:
        tensors = load_arrays(path)
    except (OSError, SafetensorError) as error:
        raise own_file_damaged(path) from error
    arrays = {
        name: value.astype(np.int64 if value.dtype.kind == "i" else np.float32)
        for name, value in tensors.items()
    }
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise own_file_damaged(path)
    return arrays


def own_file_damaged(path: Path) -> ModelError:
    """Return the error of a file of this package that is not as it was."""
    return ModelError(f"{path} is missing or damaged; reinstall napari-patchioner to restore it.")
