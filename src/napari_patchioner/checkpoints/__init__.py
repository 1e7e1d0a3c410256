"""How weights are read: nothing in them is ever executed.

torch is loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

from .hashes import file_sha256, tensors_sha256
from .settings import check_settings, read_settings

if TYPE_CHECKING:
    from .arrays import arrays_as_bytes, read_arrays
    from .read import State, own_file_damaged, read_own_arrays, read_state
    from .weights import fit, read_notes, rename, unfilled, write_state

__all__ = [
    "State",
    "arrays_as_bytes",
    "check_settings",
    "file_sha256",
    "fit",
    "own_file_damaged",
    "read_arrays",
    "read_notes",
    "read_own_arrays",
    "read_settings",
    "read_state",
    "rename",
    "tensors_sha256",
    "unfilled",
    "write_state",
]

__getattr__, *_ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "arrays": ["arrays_as_bytes", "read_arrays"],
        "read": ["State", "own_file_damaged", "read_own_arrays", "read_state"],
        "weights": ["fit", "read_notes", "rename", "unfilled", "write_state"],
    },
)


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return list(__all__)
