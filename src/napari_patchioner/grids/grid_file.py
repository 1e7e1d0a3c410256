"""A feature grid as one file with a digest of every byte of itself."""

from __future__ import annotations

import json
import re
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from napari_patchioner import __version__

from .grid import FeatureGrid, GridTransform

FORMAT = "napari-patchioner grid 1"

_ARRAYS = ("embeddings", "attention", "cls", "picture")
_BLANK = b"0" * 64
_DIGEST = re.compile(rb'"digest":"([0-9a-f]{64})"')


class DamagedError(ValueError):
    """A file that is not the grid it should be: cut off, changed, foreign or of another version."""


class OtherVersionError(DamagedError):
    """A whole file that another version wrote, or that is another grid."""


def grid_arrays(grid: FeatureGrid) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays that a grid has, by name."""
    named = {name: getattr(grid, name) for name in _ARRAYS}
    return {name: array for name, array in named.items() if array is not None}


def grid_to_bytes(grid: FeatureGrid) -> bytes:
    """Return a grid as a safetensors file.

    Its metadata hold ``notes`` (all that is no array, and the version of this package, as JSON)
    and ``digest``, 64 hexadecimal digits: BLAKE2b of the whole file with zeros in their place.
    Every field comes back exactly.
    """
    transform = grid.transform
    notes = {
        "format": FORMAT,
        "version": __version__,
        "key": grid.key,
        "backbone": grid.backbone,
        "image_shape": [int(side) for side in transform.image_shape],
        "grid_shape": [int(side) for side in transform.grid_shape],
        "window": transform.window and [float(edge) for edge in transform.window],
        "measures": {name: float(value) for name, value in grid.measures.items()},
    }
    arrays = {name: np.ascontiguousarray(array) for name, array in grid_arrays(grid).items()}
    data = save(arrays, {"notes": json.dumps(notes), "digest": _BLANK.decode()})
    start, stop = _digest_span(data)
    return b"".join([data[:start], _digest(data, start, stop), data[stop:]])


def grid_from_bytes(data: bytes, key: str) -> FeatureGrid:
    """Return the grid of a whole file that has this key.

    Raises ``DamagedError`` where a byte is not what was written, the grid is another one, or
    another version of this package wrote it, whose backbones may encode an image differently.
    """
    start, stop = _digest_span(data)
    if data[start:stop] != _digest(data, start, stop):
        raise DamagedError("The digest is not that of the contents.")
    try:
        notes = json.loads(json.loads(data[8 : _header_end(data)])["__metadata__"]["notes"])
        if [notes[name] for name in ("format", "version", "key")] != [FORMAT, __version__, key]:
            raise OtherVersionError("The file is of another version or another grid.")
        window = notes["window"]
        transform = GridTransform(
            tuple(notes["image_shape"]), tuple(notes["grid_shape"]), window and tuple(window)
        )
        return FeatureGrid(
            transform=transform,
            key=notes["key"],
            measures=notes["measures"],
            backbone=notes["backbone"],
            **load(data),
        )
    except OtherVersionError:
        raise
    except (SafetensorError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise DamagedError(f"The file is no grid: {error}") from error


def _header_end(data: bytes) -> int:
    return 8 + int.from_bytes(data[:8], "little")


def _digest_span(data: bytes) -> tuple[int, int]:
    """Find the digest, which safetensors puts anywhere in the header."""
    # Within the notes its name would have backslashes before the quotation marks.
    match = _DIGEST.search(data, 8, min(len(data), _header_end(data)))
    if match is None:
        raise DamagedError("The file has no digest.")
    return match.span(1)


def _digest(data: bytes, start: int, stop: int) -> bytes:
    view = memoryview(data)
    digest = blake2b(view[:start], digest_size=32)
    digest.update(_BLANK)
    digest.update(view[stop:])
    return digest.hexdigest().encode()
