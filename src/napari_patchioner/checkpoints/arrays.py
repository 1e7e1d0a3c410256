"""Arrays in a safetensors file, read and written without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from napari_patchioner.errors import FormatError, reason
from napari_patchioner.limits import read_file

# Of a safetensors file the library parses so much, of which one tensor takes about a hundred bytes.
_MOST_HEADER = 2**24


def read_arrays(path: str | Path) -> dict[str, npt.NDArray[Any]]:
    """Read arrays by name from a plain file within the budget of the file that is read.

    A FormatError where the file is missing, too large or damaged, or holds kinds of numbers that
    numpy does not know.
    """
    data = read_file(path)
    header = int.from_bytes(data[:8], "little")
    try:
        if len(data) < 8 or header > min(_MOST_HEADER, len(data)):
            raise ValueError(f"its header claims {header:,} bytes")
        return dict(load(data))
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(f"{path}: is damaged or cut short ({reason(error)})") from error


def arrays_as_bytes(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return the bytes of a safetensors file that holds these arrays."""
    return save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
