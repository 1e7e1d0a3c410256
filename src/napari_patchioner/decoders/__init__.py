"""From a vector to a sentence."""

from __future__ import annotations

from ._caption import Caption, Evidence

__all__ = ["Caption", "Evidence"]
