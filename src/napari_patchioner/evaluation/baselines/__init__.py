"""Late-guided captioning of the paper's comparison: CLIP judges what GPT-2 might say next.

For research, and slow: the picture's part takes part in every word.
"""

from __future__ import annotations

from .guide import Gpt2, Guide
from .late_guided import LateGuided, open_baseline
from .magic import Magic
from .zerocap import ZeroCap, ZeroCapSettings

__all__ = ["Gpt2", "Guide", "LateGuided", "Magic", "ZeroCap", "ZeroCapSettings", "open_baseline"]
