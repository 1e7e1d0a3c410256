"""What the sub-commands of the command line do; no Qt, and no model until one is needed."""

from __future__ import annotations

from ._baseline import add_baseline
from ._cache import add_cache
from ._caption import add_caption
from ._demo import captions_table, run_demo
from ._evaluate import add_evaluate
from ._models import add_models
from ._reproduce import add_reproduce
from ._telling import say

__all__ = [
    "add_baseline",
    "add_cache",
    "add_caption",
    "add_evaluate",
    "add_models",
    "add_reproduce",
    "captions_table",
    "run_demo",
    "say",
]
