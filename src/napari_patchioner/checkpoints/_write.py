"""Weights to a file, written beside and renamed."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


def write_state(path: str | Path, state: Mapping[str, Tensor], **notes: str) -> Path:
    """Write weights and notes on them to one safetensors file; an older file stays until then.

    Parameters
    ----------
    path : path
        Where it goes.
    state : mapping of str to Tensor
        The weights.
    **notes : str
        What to remember of them, such as the hash of the projection they were made behind.

    Raises
    ------
    OSError
        It cannot be written there, for instance because the disk is full.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    # Names that share storage are written once each: safetensors refuses shared memory.
    tensors = {name: value.detach().contiguous().clone() for name, value in state.items()}
    try:
        save_file(tensors, beside, metadata=dict(notes))
        beside.replace(path)
    except SafetensorError as error:
        raise _os_error(error) from error
    finally:
        beside.unlink(missing_ok=True)
    return path


def _os_error(error: SafetensorError) -> OSError:
    """Return what the system said, which safetensors wraps in words of its own."""
    number = re.search(r"os error (\d+)", str(error))
    if number is None:
        return OSError(str(error))
    return OSError(int(number[1]), os.strerror(int(number[1])))


def read_notes(path: str | Path) -> dict[str, str]:
    """Return the notes of a safetensors file, empty where it has none.

    Raises
    ------
    ModelError
        The file is missing or damaged.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} is missing or damaged; get it again.") from error
