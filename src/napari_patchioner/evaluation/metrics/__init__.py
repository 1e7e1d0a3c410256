"""How well captions agree with what people wrote, and with the pictures themselves."""

from __future__ import annotations

from .metric import Captioned, Metric, Scored
from .registry import METRICS, open_tools

__all__ = ["METRICS", "Captioned", "Metric", "Scored", "open_tools"]
