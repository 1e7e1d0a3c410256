"""From measured appearance to words: descriptions of any image, adjectives for photographs."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .colours import COLOURS, TINTS, colour_name, colour_shares

__all__ = [
    "AXES",
    "COLOURS",
    "INDEX",
    "LONG_SIDE",
    "UNIT",
    "VOCABULARY",
    "attributes",
    "colour_shares",
    "describe",
]

LAB = ("lightness", "green_red", "blue_yellow")
POLARITIES = ("dark", "bright")
BANDS = ("fine", "medium", "coarse")
UNIT = 32.0
LONG_SIDE = 640


_SPOT = ("count", "count_squared", "area", "area_squared", "roundness", *LAB)
_LINE = ("area", "width", "along", "across", *LAB)

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
    *(f"{polarity}_spot_{measure}" for polarity in POLARITIES for measure in _SPOT),
    *(f"{polarity}_line_{measure}" for polarity in POLARITIES for measure in _LINE),
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

_WORDS = """
    a an one few several many and of on with in around
    background area texture lines spots spot meshwork gaps
    tiny small large thin thick round oval elongated
    densely packed clustered parallel branching crossing striped
    blank smooth uneven grainy fine coarse mottled
    dark light pale darker brighter
"""
VOCABULARY = frozenset(_WORDS.split()) | frozenset(COLOURS) | frozenset(TINTS.values())
"""Every word a description may use; none of them names an object."""

# Shares of the region and colour distances below which a mark goes unmentioned.
_SPOT_AREA, _LINE_AREA, _DIFFERENCE = 0.02, 0.05, 7.0
_STRIKING_AREA = 0.003
_PACKED = 0.45
# Variance over mean of the counts per patch; spots strewn at random have one.
_CLUSTERED = 1.6
_MIN_STRENGTH = 0.05
_MIN_GROUND = 0.04


def describe(
    axes: npt.NDArray[np.float32],
    *,
    patches: npt.ArrayLike = 1.0,
    scale: float = 32.0,
) -> list[str]:
    """Describe regions in plain words that only state what was measured.

    ``axes`` (n, len(AXES)) are averaged over each region; ``patches``, the number of patches in
    each (the sum of the coverage weights), says with the density of spots how many there are;
    ``scale`` is the side of a patch in pixels of an image whose long side is 640. The result is a
    noun phrase per region, such as ``"many small dark purple round spots on a pale pink
    background"``, never the name of an object.
    """
    counts = np.broadcast_to(np.asarray(patches, float), (len(axes),))
    return [_describe(row, count, scale) for row, count in zip(axes, counts, strict=True)]


def attributes(axes: npt.NDArray[np.float32]) -> list[dict[str, float]]:
    """Adjectives that most pixels of each region support, and their strength, 0 to 1.

    Of ``axes`` (n, len(AXES)), averaged over each region: colour terms, ``dark``, ``bright``,
    ``smooth``, ``striped``, ``grainy``, ``textured`` and ``spotted``.
    """
    return [_adjectives(row) for row in axes]


def _describe(axes: npt.NDArray[np.float32], patches: float, scale: float) -> str:
    """Describe a single region."""
    view = _View(axes)
    squares = patches * (scale / UNIT) ** 2
    spots, lines = view.spots(), view.lines()
    number = view[f"{spots.polarity}_spot_count"] * squares
    striking = view["flat"] > 0.6 and spots.difference > 15.0
    least = _STRIKING_AREA if striking else _SPOT_AREA
    has_spots = spots.area > least and spots.difference > _DIFFERENCE and number >= 0.7
    has_lines = lines.area > _LINE_AREA and lines.difference > _DIFFERENCE
    if has_lines and (not has_spots or 2.5 * lines.weight > spots.weight):
        phrase = _of_lines(view, lines, spots if has_spots else None)
    elif has_spots:
        phrase = _of_spots(view, spots, number, lines if has_lines else None)
        if number > 12 and view.clumping(spots.polarity, scale) > _CLUSTERED:
            phrase += ", clustered"
    else:
        phrase = _of_texture(view)
    return re.sub(r"\ba (?=[aeo])", "an ", phrase)


def _of_spots(view: _View, spots: _Marks, number: float, lines: _Marks | None) -> str:
    ground, ink = _ground_and_marks(view, spots)
    diameter = view.spot_diameter(spots.polarity)
    shape = _shape(view.spot_roundness(spots.polarity))
    noun = "spot" if number < 1.5 else "spots"
    packed = "densely packed" if spots.area > _PACKED and number > 4 else ""
    words = _joined(_number(number), packed, _size(diameter), ink, shape, noun)
    phrase = f"{words} on a {ground} background"
    if lines is not None and lines.polarity != spots.polarity:
        return f"{phrase} with {_width(view, lines)} {colour_name(lines.colour)} lines"
    return phrase


def _of_lines(view: _View, lines: _Marks, spots: _Marks | None) -> str:
    ground, ink = _ground_and_marks(view, lines)
    if view.parallel() > 0.6:
        if view.line_area() > 0.3:
            return f"a striped texture of {_two_colours(view)}"
        return f"{_width(view, lines)} {ink} parallel lines on a {ground} background"
    if spots is not None and spots.polarity != lines.polarity and spots.area > 0.2:
        gaps = colour_name(spots.colour)
        gaps = gaps if gaps != colour_name(lines.colour) else ""
        return _joined("a meshwork of", _width(view, lines), ink, "lines around", gaps, "gaps")
    pattern = "crossing" if lines.area > 0.15 else "branching"
    phrase = f"{_width(view, lines)} {ink} {pattern} lines on a {ground} background"
    if spots is not None and spots.area > 0.08:
        colour, size = colour_name(spots.colour), _size(view.spot_diameter(spots.polarity))
        if colour != colour_name(lines.colour):
            return f"{phrase} with {_joined(size, colour, 'spots')}"
    return phrase


def _of_texture(view: _View) -> str:
    colour = colour_name(view.lab())
    if view["flat"] > 0.97 and view.variation < 2.0:
        return f"a blank {colour} area"
    if view["flat"] > 0.75:
        even = "smooth" if view.variation < 8.0 else "smooth uneven"
        return f"a {even} area of {_two_colours(view)}"
    fine, medium, coarse = (view[f"{band}_energy"] for band in ("fine", "medium", "coarse"))
    if fine > 1.2 and fine > 0.6 * medium:
        grain = "coarse" if medium > 0.8 * fine else "fine"
        return f"a {grain} grainy texture of {_two_colours(view)}"
    kind = "mottled" if medium + coarse > 3.0 else "smooth mottled"
    return f"a {kind} texture of {_two_colours(view)}"


def _two_colours(view: _View) -> str:
    """Name the region's mean colour, or its two main colours where it has two."""
    (first, most), (second, next_most), *_ = view.shares.items()
    if next_most < 0.2 or most > 0.75:
        return colour_name(view.lab())
    return f"{first} and {second}"


def _number(number: float) -> str:
    if number < 1.5:
        return "one"
    if number < 5:
        return "a few"
    return "several" if number < 13 else "many"


def _size(diameter: float) -> str:
    if diameter < 9:
        return "tiny"
    if diameter < 26:
        return "small"
    return "large" if diameter > 65 else ""


def _shape(roundness: float) -> str:
    if roundness > 0.62:
        return "round"
    return "oval" if roundness > 0.48 else "elongated"


def _width(view: _View, lines: _Marks) -> str:
    return "thin" if view.line_width(lines.polarity) < 9 else "thick"


def _joined(*words: str) -> str:
    return " ".join(word for word in words if word)


def _adjectives(axes: npt.NDArray[np.float32]) -> dict[str, float]:
    """Strength of each adjective of a single region."""
    view = _View(axes)
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
    return {name: strength for name, strength in strengths.items() if strength > _MIN_STRENGTH}


def _colour(view: _View) -> dict[str, float]:
    """One colour at most: the one that clearly dominates."""
    (first, most), (_, second), *_ = view.shares.items()
    # Grays are what shadows, roads and walls all are: ask more of them.
    least = 0.68 if first in ("gray", "black", "brown") else 0.44
    clear = _ramp(most, least, least + 0.3) * _ramp(second / max(most, 1e-6), 0.65, 0.35)
    return {first: clear}


def _ramp(value: float, low: float, high: float) -> float:
    """Rise from 0 at ``low`` to 1 at ``high``."""
    return float(np.clip((value - low) / (high - low), 0.0, 1.0))


def _spotted(view: _View) -> float:
    spots = view.spots()
    count = view[f"{spots.polarity}_spot_count"]
    even = view[f"{spots.polarity}_spot_area"] / max(count, 1e-6)
    return (
        _ramp(spots.area, 0.2, 0.35)
        * _ramp(spots.difference, 20.0, 32.0)
        * _ramp(view.spot_roundness(spots.polarity), 0.58, 0.72)
        * _ramp(even, 1.5, 0.7)
    )


@dataclass(frozen=True, slots=True)
class _Marks:
    """Spots or lines, dark or bright: share of the region, mean Oklab times 100, its difference.

    The difference is the distance of their colour from the ground's.
    """

    polarity: str
    area: float
    colour: npt.NDArray[np.float64]
    difference: float

    @property
    def weight(self) -> float:
        """How much of the region's appearance they make up."""
        return self.area * self.difference


class _View:
    """Means of a single region; ``axes``, shape (len(AXES),), are averaged over it."""

    def __init__(self, axes: npt.NDArray[np.float32]) -> None:
        self._axes = np.asarray(axes, float)

    def __getitem__(self, axis: str) -> float:
        return float(self._axes[INDEX[axis]])

    def lab(self, prefix: str = "") -> npt.NDArray[np.float64]:
        """Three colour sums whose names start with ``prefix``."""
        return np.array([self[f"{prefix}{channel}"] for channel in LAB])

    @property
    def variation(self) -> float:
        """Standard deviation of lightness over the region's pixels."""
        return float(np.sqrt(max(self["lightness_squared"] - self["lightness"] ** 2, 0.0)))

    @property
    def ground(self) -> npt.NDArray[np.float64]:
        """Colour between the spots and lines, or of everything where nothing lies between."""
        area = self["ground_area"]
        return self.lab("ground_") / area if area > _MIN_GROUND else self.lab()

    @property
    def shares(self) -> dict[str, float]:
        """Share of the pixels under each colour term, largest first."""
        shares = {colour: self[f"share_{colour}"] for colour in COLOURS}
        return dict(sorted(shares.items(), key=lambda item: -item[1]))

    def spots(self) -> _Marks:
        """Find the spots that mark the region most."""
        return max((self._spots(polarity) for polarity in POLARITIES), key=lambda m: m.weight)

    def lines(self) -> _Marks:
        """Find the lines that mark the region most."""
        return max((self._lines(polarity) for polarity in POLARITIES), key=lambda m: m.weight)

    def spot_diameter(self, polarity: str) -> float:
        """Diameter of the mean spot, pixels of an image whose long side is 640."""
        mean = self[f"{polarity}_spot_area"] / max(self[f"{polarity}_spot_count"], 1e-9)
        return float(2 * UNIT * np.sqrt(mean / np.pi))

    def spot_roundness(self, polarity: str) -> float:
        """1 for discs, 0 for lines."""
        count = max(self[f"{polarity}_spot_count"], 1e-9)
        return self[f"{polarity}_spot_roundness"] / count

    def clumping(self, polarity: str, scale: float) -> float:
        """Variance over mean of the number of spots per patch of ``scale`` pixels."""
        squares = (scale / UNIT) ** 2
        mean = max(squares * self[f"{polarity}_spot_count"], 1e-9)
        return (squares**2 * self[f"{polarity}_spot_count_squared"] - mean**2) / mean

    def line_width(self, polarity: str) -> float:
        """Mean width of the lines, pixels of an image whose long side is 640."""
        return self[f"{polarity}_line_width"] / max(self[f"{polarity}_line_area"], 1e-9)

    def parallel(self) -> float:
        """How far dark and bright lines share one direction, 0 to 1."""
        along, across = (
            sum(self[f"{polarity}_line_{part}"] for polarity in POLARITIES)
            for part in ("along", "across")
        )
        return float(np.hypot(along, across) / max(self.line_area(), 1e-9))

    def line_area(self) -> float:
        """Share of the region on dark and bright lines together."""
        return sum(self[f"{polarity}_line_area"] for polarity in POLARITIES)

    def _spots(self, polarity: str) -> _Marks:
        count = max(self[f"{polarity}_spot_count"], 1e-9)
        area = min(self[f"{polarity}_spot_area"], 1.0)
        return self._marks(polarity, area, self.lab(f"{polarity}_spot_") / count)

    def _lines(self, polarity: str) -> _Marks:
        area = self[f"{polarity}_line_area"]
        return self._marks(polarity, area, self.lab(f"{polarity}_line_") / max(area, 1e-9))

    def _marks(self, polarity: str, area: float, colour: npt.NDArray[np.float64]) -> _Marks:
        # On a packed region hardly any ground is left: compare with the mean of everything.
        difference = float(np.linalg.norm(colour - self.ground)) if area > 0 else 0.0
        return _Marks(polarity, area, colour, difference)


def _ground_and_marks(view: _View, marks: _Marks) -> tuple[str, str]:
    """Name the ground and the marks on it; where the names agree, say only darker or brighter."""
    ground, ink = colour_name(view.ground), colour_name(marks.colour)
    if ink == ground:
        return ground, "darker" if marks.polarity == "dark" else "brighter"
    return ground, ink
