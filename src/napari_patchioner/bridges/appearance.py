"""From measured appearance to words: descriptions of any image, adjectives for photographs."""

from __future__ import annotations

import re
from bisect import bisect
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from napari_patchioner.decoders.grounded.vocabulary import COLOURS

# Hue angle (degrees) up to which a name reaches, and the half-width of the border there.
_BORDERS = ((50.0, 8.0), (84.0, 6.0), (113.0, 5.0), (208.0, 10.0), (291.0, 6.0), (343.0, 6.0))
_RING = ("red", "orange", "yellow", "green", "blue", "purple", "rose")
# Below the first the colour is dark, above the second light; each name has its own middle.
_LIGHTNESS = {
    "yellow": (65.0, 101.0),
    "pink": (60.0, 84.0),
    "orange": (50.0, 84.0),
    "red": (45.0, 75.0),
    "brown": (42.0, 66.0),
}

TINTS = {
    "red": "reddish",
    "orange": "brownish",
    "yellow": "yellowish",
    "green": "greenish",
    "blue": "bluish",
    "purple": "purplish",
    "rose": "pinkish",
}
"""What a gray with a little of a hue is called."""

# What a white with a little of a hue is called, where that is not the hue.
_PALE = {"red": "pink", "rose": "pink"}
_TINTED = 2.0

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
# Limits of words, in pixels of an image whose long side is 640 where they are of lengths.
_NUMBERS = ((1.5, 5.0, 13.0), ("one", "a few", "several", "many"))
_SIZES = ((9.0, 26.0, 65.0), ("tiny", "small", "", "large"))
_SHAPES = ((0.48, 0.62), ("elongated", "oval", "round"))
_WIDTHS = ((9.0,), ("thin", "thick"))
_MIN_STRENGTH = 0.05
_MIN_GROUND = 0.04


def describe(
    axes: npt.NDArray[np.float32], *, patches: npt.ArrayLike = 1.0, scale: float = 32.0
) -> list[str]:
    """Describe regions in plain words that only state what was measured.

    ``axes`` (n, len(AXES)) are averaged over each region; ``patches``, the number of patches in
    each (the sum of the coverage weights), says with the density of spots how many there are;
    ``scale`` is the side of a patch in pixels of an image whose long side is 640. The result is a
    noun phrase per region, such as ``"many small dark purple round spots on a pale pink
    background"``, never the name of an object.
    """
    counts = np.broadcast_to(np.asarray(patches, float), (len(axes),))
    phrases = [_phrase(_View(row), count, scale) for row, count in zip(axes, counts, strict=True)]
    return [re.sub(r"\ba (?=[aeo])", "an ", phrase) for phrase in phrases]


def attributes(axes: npt.NDArray[np.float32]) -> list[dict[str, float]]:
    """Adjectives that most pixels of each region support, and their strength, 0 to 1.

    Of ``axes`` (n, len(AXES)), averaged over each region: colour terms, ``dark``, ``bright``,
    ``smooth``, ``striped``, ``grainy``, ``textured`` and ``spotted``.
    """
    strengths = [_strengths(_View(row)) for row in axes]
    return [{name: s for name, s in row.items() if s > _MIN_STRENGTH} for row in strengths]


def _phrase(view: _View, patches: float, scale: float) -> str:
    """Describe a single region."""
    squares = (scale / UNIT) ** 2
    spots, lines = view.marks("spot"), view.marks("line")
    number = view[f"{spots.polarity}_spot_count"] * (patches * squares)
    striking = view["flat"] > 0.6 and spots.difference > 15.0
    least = _STRIKING_AREA if striking else _SPOT_AREA
    has_spots = spots.area > least and spots.difference > _DIFFERENCE and number >= 0.7
    has_lines = lines.area > _LINE_AREA and lines.difference > _DIFFERENCE
    if has_lines and (not has_spots or 2.5 * lines.weight > spots.weight):
        return _of_lines(view, lines, spots if has_spots else None)
    if not has_spots:
        return _of_texture(view)
    phrase = _of_spots(view, spots, number, lines if has_lines else None)
    # Variance over mean of the number of spots per patch.
    mean = max(squares * view[f"{spots.polarity}_spot_count"], 1e-9)
    variance = squares**2 * view[f"{spots.polarity}_spot_count_squared"] - mean**2
    return f"{phrase}, clustered" if number > 12 and variance / mean > _CLUSTERED else phrase


def _of_spots(view: _View, spots: _Marks, number: float, lines: _Marks | None) -> str:
    ground, ink = _ground_and_marks(view, spots)
    packed = "densely packed" if spots.area > _PACKED and number > 4 else ""
    size, shape = _word(spots.size, _SIZES), _word(spots.roundness, _SHAPES)
    noun = "spot" if number < 1.5 else "spots"
    words = _joined(_word(number, _NUMBERS), packed, size, ink, shape, noun)
    phrase = f"{words} on a {ground} background"
    if lines is not None and lines.polarity != spots.polarity:
        return f"{phrase} with {_word(lines.size, _WIDTHS)} {colour_name(lines.colour)} lines"
    return phrase


def _of_lines(view: _View, lines: _Marks, spots: _Marks | None) -> str:
    ground, ink = _ground_and_marks(view, lines)
    width, colour = _word(lines.size, _WIDTHS), colour_name(lines.colour)
    if view.parallel() > 0.6:
        if view.line_area() > 0.3:
            return f"a striped texture of {_two_colours(view)}"
        return f"{width} {ink} parallel lines on a {ground} background"
    if spots is not None and spots.polarity != lines.polarity and spots.area > 0.2:
        gaps = colour_name(spots.colour)
        gaps = gaps if gaps != colour else ""
        return _joined("a meshwork of", width, ink, "lines around", gaps, "gaps")
    pattern = "crossing" if lines.area > 0.15 else "branching"
    phrase = f"{width} {ink} {pattern} lines on a {ground} background"
    if spots is not None and spots.area > 0.08 and colour_name(spots.colour) != colour:
        size = _word(spots.size, _SIZES)
        return f"{phrase} with {_joined(size, colour_name(spots.colour), 'spots')}"
    return phrase


def _of_texture(view: _View) -> str:
    if view["flat"] > 0.97 and view.variation < 2.0:
        return f"a blank {colour_name(view.lab())} area"
    if view["flat"] > 0.75:
        even = "smooth" if view.variation < 8.0 else "smooth uneven"
        return f"a {even} area of {_two_colours(view)}"
    fine, medium, coarse = (view[f"{band}_energy"] for band in BANDS)
    if fine > 1.2 and fine > 0.6 * medium:
        grain = "coarse" if medium > 0.8 * fine else "fine"
        return f"a {grain} grainy texture of {_two_colours(view)}"
    kind = "mottled" if medium + coarse > 3.0 else "smooth mottled"
    return f"a {kind} texture of {_two_colours(view)}"


def _ground_and_marks(view: _View, marks: _Marks) -> tuple[str, str]:
    """Name the ground and the marks on it; where the names agree, say only darker or brighter."""
    ground, ink = colour_name(view.ground), colour_name(marks.colour)
    if ink == ground:
        return ground, "darker" if marks.polarity == "dark" else "brighter"
    return ground, ink


def _two_colours(view: _View) -> str:
    """Name the region's mean colour, or its two main colours where it has two."""
    (first, most), (second, next_most), *_ = view.shares.items()
    if next_most < 0.2 or most > 0.75:
        return colour_name(view.lab())
    return f"{first} and {second}"


def _word(value: float, scale: tuple[tuple[float, ...], tuple[str, ...]]) -> str:
    """Return the word of a scale that stands for a value."""
    limits, words = scale
    return words[bisect(limits, value)]


def _joined(*words: str) -> str:
    return " ".join(filter(None, words))


def _strengths(view: _View) -> dict[str, float]:
    """Strength of each adjective of a single region."""
    # One colour at most: the one that clearly dominates.
    (colour, most), (_, second), *_ = view.shares.items()
    # Grays are what shadows, roads and walls all are: ask more of them.
    least = 0.68 if colour in ("gray", "black", "brown") else 0.44
    spots = view.marks("spot")
    count = view[f"{spots.polarity}_spot_count"]
    even = view[f"{spots.polarity}_spot_area"] / max(count, 1e-6)
    fine, medium = view["fine_energy"], view["medium_energy"]
    return {
        colour: _ramp(most, least, least + 0.3) * _ramp(second / max(most, 1e-6), 0.65, 0.35),
        "dark": _ramp(view["lightness"], 34.0, 20.0),
        "bright": _ramp(view["lightness"], 80.0, 92.0),
        "smooth": _ramp(view["flat"], 0.7, 0.95) * _ramp(view.variation, 16.0, 8.0),
        "striped": _ramp(view.parallel(), 0.7, 0.85) * _ramp(view.line_area(), 0.25, 0.4),
        "grainy": _ramp(fine, 1.5, 4.0) * _ramp(fine / max(medium, 1e-6), 0.9, 1.3),
        "textured": _ramp(medium, 3.0, 7.0) * _ramp(view["flat"], 0.3, 0.1),
        "spotted": _ramp(spots.area, 0.2, 0.35)
        * _ramp(spots.difference, 20.0, 32.0)
        * _ramp(spots.roundness, 0.58, 0.72)
        * _ramp(even, 1.5, 0.7),
    }


def _ramp(value: float, low: float, high: float) -> float:
    """Rise from 0 at ``low`` to 1 at ``high``, in double precision."""
    return float(np.clip((value - low) / (high - low), 0.0, 1.0))


@dataclass(frozen=True, slots=True)
class _Marks:
    """Spots or lines, dark or bright: their share of the region and mean Oklab times 100.

    ``difference`` is the distance of their colour from the ground's; ``size`` the diameter of the
    mean spot, or the mean width of the lines, in pixels of an image whose long side is 640;
    ``roundness`` is 1 for discs, 0 for lines.
    """

    polarity: str
    area: float
    colour: npt.NDArray[np.float64]
    difference: float
    size: float
    roundness: float = 0.0

    @property
    def weight(self) -> float:
        """How much of the region's appearance they make up."""
        return self.area * self.difference


class _View(dict[str, float]):
    """Means of a single region, by axis; ``axes``, shape (len(AXES),), are averaged over it."""

    def __init__(self, axes: npt.NDArray[np.float32]) -> None:
        super().__init__(zip(AXES, axes.tolist(), strict=True))

    def lab(self, prefix: str = "") -> npt.NDArray[np.float64]:
        """Three colour sums whose names start with ``prefix``."""
        return np.array([self[f"{prefix}{channel}"] for channel in LAB])

    @property
    def variation(self) -> float:
        """Standard deviation of lightness over the region's pixels."""
        return float(np.sqrt(max(self["lightness_squared"] - self["lightness"] ** 2, 0.0)))

    @property
    def ground(self) -> npt.NDArray[np.float64]:
        """Colour between the spots and lines, or of everything where hardly anything is."""
        area = self["ground_area"]
        return self.lab("ground_") / area if area > _MIN_GROUND else self.lab()

    @property
    def shares(self) -> dict[str, float]:
        """Share of the pixels under each colour term, largest first."""
        shares = {colour: self[f"share_{colour}"] for colour in COLOURS}
        return dict(sorted(shares.items(), key=lambda item: -item[1]))

    def marks(self, kind: Literal["spot", "line"]) -> _Marks:
        """Find the spots or lines that mark the region most."""
        marks = []
        for polarity in POLARITIES:
            prefix = f"{polarity}_{kind}_"
            area, roundness = self[f"{prefix}area"], 0.0
            if kind == "spot":
                whole = max(self[f"{prefix}count"], 1e-9)
                size = float(2 * UNIT * np.sqrt(max(area, 0.0) / whole / np.pi))
                roundness = self[f"{prefix}roundness"] / whole
                area = min(area, 1.0)
            else:
                whole = max(area, 1e-9)
                size = self[f"{prefix}width"] / whole
            colour = self.lab(prefix) / whole
            difference = float(np.linalg.norm(colour - self.ground)) if area > 0 else 0.0
            marks.append(_Marks(polarity, area, colour, difference, size, roundness))
        return max(marks, key=lambda mark: mark.weight)

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


def colour_shares(lab: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Memberships of colours, Oklab times 100, shape (..., 3), in the basic terms, shape (..., 11).

    They are in the order of ``COLOURS`` and sum to one.
    """
    light, green_red, blue_yellow = np.moveaxis(np.asarray(lab, np.float32), -1, 0)
    chroma = np.hypot(green_red, blue_yellow)
    hue = np.degrees(np.arctan2(blue_yellow, green_red)) % 360.0
    # Near black, and in the pale greys of cameras with a cast, a little chroma is no colour yet.
    faint = 2.2 + 2.5 * ramp(light, 30.0, 12.0)
    colourful = ramp(chroma - faint, 0.0, 2.6) * ramp(light, 8.0, 20.0)
    black, white = ramp(light, 34.0, 24.0), ramp(light, 87.0, 93.0)
    grays = {"black": black, "white": white, "gray": 1 - black - white}
    memberships = {name: (1 - colourful) * part for name, part in grays.items()}
    for name, part in _chromatic(light, chroma, hue).items():
        memberships[name] = colourful * part
    return np.stack([memberships[name] for name in COLOURS], -1).astype(np.float32)


def colour_name(lab: npt.ArrayLike) -> str:
    """Name one colour with a basic term and, where it applies, ``dark``, ``light`` or ``pale``.

    Examples
    --------
    >>> colour_name((43, 6, -11)), colour_name((100, 0, 0)), colour_name((80, -5.7, -5.9))
    ('dark purple', 'white', 'light blue')
    """
    light, green_red, blue_yellow = np.asarray(lab, float)
    chroma = float(np.hypot(green_red, blue_yellow))
    base = COLOURS[int(np.argmax(colour_shares(lab)))]
    tint = ""
    if chroma >= _TINTED:
        hue = np.degrees(np.arctan2(blue_yellow, green_red)) % 360.0
        parts = _ring(np.array(hue, np.float32))
        tint = max(parts, key=lambda part: float(parts[part]))
    if base == "black":
        return base
    if base == "white":
        return f"pale {_PALE.get(tint, tint)}" if tint else base
    if base == "gray":
        base, low, high = f"{TINTS[tint]} gray" if tint else "gray", 46.0, 76.0
    elif chroma < 7.5 and light > 76.0:
        return f"pale {base}"
    else:
        low, high = _LIGHTNESS.get(base, (48.0, 76.0))
    if light < low:
        return f"dark {base}"
    return f"light {base}" if light > high else base


def ramp(values: npt.NDArray[np.float32], low: float, high: float) -> npt.NDArray[np.float32]:
    """Rise from 0 at ``low`` to 1 at ``high``."""
    return np.asarray(np.clip((values - low) / (high - low), 0.0, 1.0), np.float32)


def _chromatic(
    light: npt.NDArray[np.float32],
    chroma: npt.NDArray[np.float32],
    hue: npt.NDArray[np.float32],
) -> dict[str, npt.NDArray[np.float32]]:
    """Split the hue circle, then move dull warm hues to brown and light reds to pink."""
    parts = _ring(hue)
    rose = parts.pop("rose")
    reds = parts["red"] + rose
    pale_red = ramp(light, 58.0, 68.0) * ramp(chroma, 22.0, 16.0)
    pink = np.maximum(
        pale_red * ramp(_hue_distance(hue, 8.0), 34.0, 26.0),
        ramp(light, 50.0, 60.0) * np.minimum(1.0, 2 * rose),
    )
    dull = np.maximum(ramp(light, 72.0, 62.0) * ramp(chroma, 16.0, 12.5), ramp(chroma, 10.5, 8.0))
    brown_red = dull * ramp(_hue_distance(hue, 60.0), 32.0, 22.0)
    parts["pink"] = reds * pink
    parts["brown"] = reds * (1 - pink) * brown_red + parts["orange"] * dull
    parts["red"] = reds * (1 - pink) * (1 - brown_red)
    parts["orange"] = parts["orange"] * (1 - dull)
    return parts


def _ring(hue: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
    """Soft sectors of the hue circle, starting in the reds at 0 degrees."""
    reached = [ramp(hue, border - half, border + half) for border, half in _BORDERS]
    edges = [np.ones_like(hue), *reached, np.zeros_like(hue)]
    return {
        part: before - after
        for part, before, after in zip(_RING, edges[:-1], edges[1:], strict=True)
    }


def _hue_distance(hue: npt.NDArray[np.float32], centre: float) -> npt.NDArray[np.float32]:
    """Distance on the hue circle in degrees, 0 to 180."""
    return np.asarray(np.abs((hue - centre + 180.0) % 360.0 - 180.0), np.float32)
