"""Images too large for one look: read, seen and captioned piece by piece."""

from __future__ import annotations

from ._levels import Level, Levels
from ._plan import Plan, Planner
from ._pyramid import BIG, Pyramid

__all__ = ["BIG", "Level", "Levels", "Plan", "Planner", "Pyramid"]
