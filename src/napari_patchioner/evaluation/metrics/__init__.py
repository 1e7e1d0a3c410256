"""How well captions agree with what people wrote, and with the pictures themselves."""

from __future__ import annotations

from ._captioned import Captioned, Metric, Scored
from ._registry import METRICS
from ._tools import Places, open_tools

__all__ = ["METRICS", "Captioned", "Metric", "Places", "Scored", "open_tools"]
