"""Images too large for one look: read, seen and captioned piece by piece."""

from __future__ import annotations

from ._levels import Level, Levels
from ._open import open_image, open_levels
from ._plan import Plan, Planner
from ._pyramid import BIG, Pyramid
from ._stored import StoredImage
from ._zarr import is_zarr

__all__ = [
    "BIG",
    "Level",
    "Levels",
    "Plan",
    "Planner",
    "Pyramid",
    "StoredImage",
    "is_zarr",
    "open_image",
    "open_levels",
]
