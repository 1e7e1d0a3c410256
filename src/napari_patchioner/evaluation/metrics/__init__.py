"""How well captions agree with what people wrote, and with the pictures themselves."""

from __future__ import annotations

from .registry import METRICS, Captioned, Metric, Places, Scored, open_tools

__all__ = ["METRICS", "Captioned", "Metric", "Places", "Scored", "open_tools"]
