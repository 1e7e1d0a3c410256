"""Weights from a file or folder, without running anything that may be in it."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from napari_patchioner.errors import ModelError

State: TypeAlias = dict[str, Tensor]

# The name of a tensor that was saved alone.
LONE = "tensor"
_FOLDER = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
# What training scripts put around the weights.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "module")


def read_state(path: str | Path) -> State:
    """Read weights by name.

    Parameters
    ----------
    path : path
        A ``.safetensors``, ``.pt``, ``.pth`` or ``.bin`` file, the index of a split one, or a
        folder that holds ``model.safetensors`` or ``pytorch_model.bin``.

    Returns
    -------
    dict of str to Tensor
        On the CPU, in the file's own precision. Wrappers such as ``state_dict`` and the
        ``module.`` of parallel training are taken off.

    Raises
    ------
    ModelError
        The file is missing or cut short, holds anything besides tensors and plain values, or no
        weights at all. Nothing in it was executed.
    """
    path = _file_of(Path(path))
    if path.name.endswith(".index.json"):
        return _read_split(path)
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if not state:
        raise ModelError(f"{path} holds no weights; choose the file that does.")
    return state


def _file_of(path: Path) -> Path:
    if path.is_dir():
        for name in _FOLDER:
            if (path / name).is_file():
                return path / name
        raise ModelError(f"{path} holds none of {', '.join(_FOLDER)}; get the model again.")
    if not path.is_file():
        raise ModelError(f"{path} does not exist; get the model again.")
    return path


def _read_safetensors(path: Path) -> State:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error


def _read_split(index: Path) -> State:
    try:
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        parts = sorted({str(part) for part in names.values()})
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise _damaged(index, error) from error
    if any(Path(part).name != part for part in parts):
        raise ModelError(f"{index} points outside its folder; get the model again.")
    state: State = {}
    for part in parts:
        state |= read_state(index.parent / part)
    if missing := sorted(names.keys() - state.keys()):
        raise ModelError(f"{index} lists {missing[0]}, which no part holds; get the model again.")
    return state


def _read_torch(path: Path) -> State:
    _refuse_torchscript(path)
    try:
        mapped = zipfile.is_zipfile(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        if "weights_only" not in str(error) and "Unsupported" not in str(error):
            raise _damaged(path, error) from error
        raise ModelError(
            f"{path} holds Python objects besides tensors, which could run code on this computer; "
            f"nothing was loaded: ask its author for a safetensors file."
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise _damaged(path, error) from error
    return _unwrapped(content)


def _refuse_torchscript(path: Path) -> None:
    """Tell a compiled program from a table of weights."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("constants.pkl") for name in names):
        raise ModelError(
            f"{path} is a compiled program (TorchScript), not a table of weights; "
            f"nothing was loaded: use the same model's safetensors file."
        )


def _unwrapped(content: object) -> State:
    """Find the tensors in what a training script saved."""
    while isinstance(content, Mapping):
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
    reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
    return ModelError(f"{path} is damaged or cut short ({reason}); get it again.")
