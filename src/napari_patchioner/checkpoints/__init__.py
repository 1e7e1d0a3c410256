"""How weights are read: nothing in them is ever executed.

torch is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from .hashes import file_sha256, tensors_sha256
from .settings import check_settings, read_settings

if TYPE_CHECKING:
    from .read import State, own_file_damaged, read_own_arrays, read_state
    from .weights import fit, read_notes, rename, write_state

__all__ = [
    "State",
    "check_settings",
    "file_sha256",
    "fit",
    "own_file_damaged",
    "read_notes",
    "read_own_arrays",
    "read_settings",
    "read_state",
    "rename",
    "tensors_sha256",
    "write_state",
]


def __getattr__(name: str) -> object:
    """Import a public name from the module it lives in."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    read = ("State", "own_file_damaged", "read_own_arrays", "read_state")
    return getattr(import_module(".read" if name in read else ".weights", __name__), name)
