"""Fingerprints of files and of weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, read once for as long as the file stays the same.

    A ModelError where the file cannot be read.
    """
    path = Path(path)
    try:
        state = path.stat()
        return _file_sha256(path, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}); check the path.") from error


@lru_cache(maxsize=256)
def _file_sha256(path: Path, _size: int, _changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensors_sha256(state: Mapping[str, Tensor]) -> str:
    """Return one SHA-256 for named weights, whatever file or order they came in.

    Names, shapes and single-precision values count; so the same projection is recognised within
    a small file of its own and within a whole model.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        values = state[name].detach().cpu().float().contiguous().numpy()
        digest.update(f"{name} {values.shape}\n".encode())
        digest.update(np.ascontiguousarray(values, "<f4").tobytes())
    return digest.hexdigest()
