"""From a vector to a sentence.

What needs torch is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ._caption import Caption, Evidence

if TYPE_CHECKING:
    from ._decap_weights import prefix_gpt_from_decap
    from ._gpt import PrefixGPT, PrefixGPTConfig

__all__ = [
    "Caption",
    "Evidence",
    "PrefixGPT",
    "PrefixGPTConfig",
    "prefix_gpt_from_decap",
]

_HOMES = {
    "PrefixGPT": "._gpt",
    "PrefixGPTConfig": "._gpt",
    "prefix_gpt_from_decap": "._decap_weights",
}


def __getattr__(name: str) -> object:
    """Import a public name from the module it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
