"""What the sub-commands of the command line do; no Qt, and no model until one is needed."""

from __future__ import annotations

from ._cache import add_cache
from ._caption import caption_files, caption_image
from ._demo import captions_table, run_demo
from ._models import add_models

__all__ = [
    "add_cache",
    "add_models",
    "caption_files",
    "caption_image",
    "captions_table",
    "run_demo",
]
