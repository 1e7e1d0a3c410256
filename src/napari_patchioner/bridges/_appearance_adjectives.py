"""Adjectives for photographs: only what most of a region's pixels vouch for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._appearance_view import View

if TYPE_CHECKING:
    import numpy.typing as npt

_LEAST = 0.05


def adjectives(axes: npt.NDArray[np.float32]) -> dict[str, float]:
    """Strength of each adjective of one region (see `attributes`)."""
    view = View(axes)
    strengths = _colour(view) | {
        "dark": _ramp(view["lightness"], 34.0, 20.0),
        "bright": _ramp(view["lightness"], 80.0, 92.0),
        "smooth": _ramp(view["flat"], 0.7, 0.95) * _ramp(view.variation, 16.0, 8.0),
        "striped": _ramp(view.parallel(), 0.7, 0.85) * _ramp(view.line_area(), 0.25, 0.4),
        "grainy": _ramp(view["fine_energy"], 1.5, 4.0)
        * _ramp(view["fine_energy"] / max(view["medium_energy"], 1e-6), 0.9, 1.3),
        "textured": _ramp(view["medium_energy"], 3.0, 7.0) * _ramp(view["flat"], 0.3, 0.1),
        "spotted": _spotted(view),
    }
    return {name: strength for name, strength in strengths.items() if strength > _LEAST}


def _colour(view: View) -> dict[str, float]:
    """One colour at most: the one that clearly dominates."""
    (first, most), (_, second), *_ = view.shares.items()
    # Grays are what shadows, roads and walls all are: ask more of them.
    least = 0.68 if first in ("gray", "black", "brown") else 0.44
    clear = _ramp(most, least, least + 0.3) * _ramp(second / max(most, 1e-6), 0.65, 0.35)
    return {first: clear}


def _spotted(view: View) -> float:
    spots = view.spots()
    count = view[f"{spots.polarity}_spot_count"]
    even = view[f"{spots.polarity}_spot_area"] / max(count, 1e-6)
    return (
        _ramp(spots.area, 0.2, 0.35)
        * _ramp(spots.difference, 20.0, 32.0)
        * _ramp(view.spot_roundness(spots.polarity), 0.58, 0.72)
        * _ramp(even, 1.5, 0.7)
    )


def _ramp(value: float, low: float, high: float) -> float:
    """Rise from 0 at ``low`` to 1 at ``high``."""
    return float(np.clip((value - low) / (high - low), 0.0, 1.0))
