"""What the sub-commands of the command line do; no Qt, and no model until one is needed."""

from __future__ import annotations

from ._caption import caption_files, caption_image
from ._demo import captions_table, run_demo
from ._models import models_table

__all__ = ["caption_files", "caption_image", "captions_table", "models_table", "run_demo"]
