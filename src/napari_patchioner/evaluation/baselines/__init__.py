"""Late-guided captioning of the paper's comparison: CLIP judges what GPT-2 might say next.

For research, and slow: the picture's part takes part in every word. torch is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .crops import crop
    from .guide import Gpt2, Guide
    from .late_guided import LateGuided, open_baseline
    from .magic import Magic
    from .zerocap import ZeroCap, ZeroCapSettings

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
    "Gpt2": ".guide",
    "Guide": ".guide",
    "LateGuided": ".late_guided",
    "Magic": ".magic",
    "ZeroCap": ".zerocap",
    "ZeroCapSettings": ".zerocap",
    "crop": ".crops",
    "open_baseline": ".late_guided",
}


def __getattr__(name: str) -> object:
    """Import a public name from the module it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
