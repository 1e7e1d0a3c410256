"""The layout of the appearance axes: what is measured in every patch, in which order."""

from __future__ import annotations

from ._colour_names import COLOURS

LAB = ("lightness", "green_red", "blue_yellow")
POLARITIES = ("dark", "bright")
BANDS = ("fine", "medium", "coarse")
UNIT = 32.0
LONG_SIDE = 640


def _spots(polarity: str) -> tuple[str, ...]:
    measures = ("count", "count_squared", "area", "area_squared", "roundness", *LAB)
    return tuple(f"{polarity}_spot_{measure}" for measure in measures)


def _lines(polarity: str) -> tuple[str, ...]:
    measures = ("area", "width", "along", "across", *LAB)
    return tuple(f"{polarity}_line_{measure}" for measure in measures)


AXES: tuple[str, ...] = (
    *(f"share_{colour}" for colour in COLOURS),
    *LAB,
    *(f"{name}_squared" for name in LAB),
    *(f"{band}_energy" for band in BANDS),
    "flat",
    "edge",
    "gradient",
    "gradient_along",
    "gradient_across",
    "coherence",
    *_spots("dark"),
    *_spots("bright"),
    *_lines("dark"),
    *_lines("bright"),
    "ground_area",
    *(f"ground_{name}" for name in LAB),
)
"""Names of the measured axes, in the order of the last dimension of an axes array.

Every axis is a mean over the pixels of one patch, so a weighted mean over patches is the same
statistic of the region they make up. Lengths are pixels of an image whose long side is
``LONG_SIDE``; densities count per square of side ``UNIT``; areas are shares of the patch,
0 to 1; colours are Oklab times 100. The sums of lines and ground divide by their area, those
of spots by their count, to give means.
"""

INDEX: dict[str, int] = {name: index for index, name in enumerate(AXES)}
"""Where each axis stands in the last dimension."""
