"""The one door through which weights come in: nothing in them is ever executed.

torch is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ._hash import file_sha256, tensors_sha256
from ._settings import check_settings, read_settings

if TYPE_CHECKING:
    from ._fit import fit
    from ._read import State, read_state
    from ._rename import rename
    from ._write import read_notes, write_state

__all__ = [
    "State",
    "check_settings",
    "file_sha256",
    "fit",
    "read_notes",
    "read_settings",
    "read_state",
    "rename",
    "tensors_sha256",
    "write_state",
]

_HOMES = {
    "State": "._read",
    "fit": "._fit",
    "read_notes": "._write",
    "read_state": "._read",
    "rename": "._rename",
    "write_state": "._write",
}


def __getattr__(name: str) -> object:
    """Import a public name from the module it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
