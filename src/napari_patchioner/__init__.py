"""Caption any region of an image: one pass over the image, then a sentence per region.

The public names are loaded on first use, so that importing the package stays quick and
pulls in neither torch nor Qt.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .captioner import Captioner
    from .decoders import Caption
    from .grids import FeatureGrid
    from .models import load_model

__version__ = "0.1.0"
__all__ = ["Caption", "Captioner", "FeatureGrid", "__version__", "load_model"]

_HOMES = {
    "Caption": ".decoders",
    "Captioner": ".captioner",
    "FeatureGrid": ".grids",
    "load_model": ".models",
}


def __getattr__(name: str) -> object:
    """Import a public name from the module it lives in."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
