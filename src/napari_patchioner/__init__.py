"""Caption any region of an image: one pass over the image, then a sentence per region.

The public names are loaded on first use, so that importing the package stays quick and
pulls in neither torch nor Qt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from .captioner import Captioner
    from .decoders import Caption
    from .grids import FeatureGrid
    from .models import load_model

__version__ = "0.1.0"
__all__ = ["Caption", "Captioner", "FeatureGrid", "__version__", "load_model"]

__getattr__, *_ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "captioner": ["Captioner"],
        "decoders": ["Caption"],
        "grids": ["FeatureGrid"],
        "models": ["load_model"],
    },
)


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return list(__all__)
