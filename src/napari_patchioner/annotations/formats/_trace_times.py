"""When the points of a trace were made, as one of the extras of a record."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_patchioner.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

# Seconds from the first point on, apart by spaces; those of all members of a set in a row.
TIMES = "times"
UNIFORM = "uniform"
# As often as the published narratives have a point.
_STEP = 0.02


def times_text(times: Iterable[float]) -> str:
    """Return times as the text of the extra.

    >>> times_text([0.0, 0.25])
    '0 0.25'
    """
    return " ".join(repr(float(time)).removesuffix(".0") for time in times)


def seconds(text: str, points: int) -> tuple[npt.NDArray[np.float64], bool]:
    """Return a time for each point and whether they were recorded; evenly spaced if not.

    Raises
    ------
    FormatError
        If there are times that do not fit the points.

    >>> seconds("", 3)
    (array([0.  , 0.02, 0.04]), False)
    """
    if not text.strip():
        return np.array([place * _STEP for place in range(points)]), False
    try:
        times = np.array([float(time) for time in text.split()])
    except ValueError:
        times = np.zeros(0)
    if len(times) != points or not np.isfinite(times).all():
        raise FormatError(
            f"the extra {TIMES!r} must be one number of seconds for each of its {points} points"
        )
    return times, True
