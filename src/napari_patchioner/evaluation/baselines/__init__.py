"""Late-guided captioning of the paper's comparison: CLIP judges what GPT-2 might say next.

For research, and slow: the picture's part takes part in every word. torch is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._cache_mover import ZeroCapSettings
    from ._crops import crop
    from ._gpt2 import Gpt2
    from ._guide import Guide
    from .late_guided import LateGuided, open_baseline
    from .magic import Magic
    from .zerocap import ZeroCap

__all__ = [
    "Gpt2",
    "Guide",
    "LateGuided",
    "Magic",
    "ZeroCap",
    "ZeroCapSettings",
    "crop",
    "open_baseline",
]

_HOMES = {
    "Gpt2": "._gpt2",
    "Guide": "._guide",
    "LateGuided": ".late_guided",
    "Magic": ".magic",
    "ZeroCap": ".zerocap",
    "ZeroCapSettings": "._cache_mover",
    "crop": "._crops",
    "open_baseline": ".late_guided",
}


def __getattr__(name: str) -> object:
    """Import a public name from the module it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
