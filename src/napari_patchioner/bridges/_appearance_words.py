"""Words for one region, chosen from a closed list by what was measured."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ._appearance_axes import UNIT
from ._appearance_view import View, ground_and_marks
from ._colour_names import COLOURS, TINTS
from ._colour_names import name as colour_name

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ._appearance_view import Marks

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


def describe_one(axes: npt.NDArray[np.float32], patches: float, scale: float) -> str:
    """Describe one region (see `describe`)."""
    view = View(axes)
    squares = patches * (scale / UNIT) ** 2
    spots, lines = view.spots(), view.lines()
    number = view[f"{spots.polarity}_spot_count"] * squares
    striking = view["flat"] > 0.6 and spots.difference > 15.0
    least = _STRIKING_AREA if striking else _SPOT_AREA
    has_spots = spots.area > least and spots.difference > _DIFFERENCE and number >= 0.7
    has_lines = lines.area > _LINE_AREA and lines.difference > _DIFFERENCE
    if has_lines and (not has_spots or 2.5 * lines.weight > spots.weight):
        return _with_article(_of_lines(view, lines, spots if has_spots else None))
    if has_spots:
        clustered = number > 12 and view.clumping(spots.polarity, scale) > _CLUSTERED
        phrase = _of_spots(view, spots, number, lines if has_lines else None)
        return _with_article(f"{phrase}, clustered" if clustered else phrase)
    return _with_article(_of_texture(view))


def _of_spots(view: View, spots: Marks, number: float, lines: Marks | None) -> str:
    ground, ink = ground_and_marks(view, spots)
    diameter = view.spot_diameter(spots.polarity)
    shape = _shape(view.spot_roundness(spots.polarity))
    noun = "spot" if number < 1.5 else "spots"
    packed = "densely packed" if spots.area > _PACKED and number > 4 else ""
    words = (_number(number), packed, _size(diameter), ink, shape, noun)
    phrase = f"{_joined(words)} on a {ground} background"
    if lines is not None and lines.polarity != spots.polarity:
        return f"{phrase} with {_width(view, lines)} {_tone(lines)} lines"
    return phrase


def _of_lines(view: View, lines: Marks, spots: Marks | None) -> str:
    ground, ink = ground_and_marks(view, lines)
    if view.parallel() > 0.6:
        if view.line_area() > 0.3:
            return f"a striped texture of {_two_colours(view)}"
        return f"{_width(view, lines)} {ink} parallel lines on a {ground} background"
    if spots is not None and spots.polarity != lines.polarity and spots.area > 0.2:
        gaps = colour_name(spots.colour)
        gaps = gaps if gaps != colour_name(lines.colour) else ""
        return _joined(("a meshwork of", _width(view, lines), ink, "lines around", gaps, "gaps"))
    crossing = "crossing" if lines.area > 0.15 else "branching"
    phrase = f"{_width(view, lines)} {ink} {crossing} lines on a {ground} background"
    if spots is not None and spots.area > 0.08 and _tone(spots) != _tone(lines):
        size = _size(view.spot_diameter(spots.polarity))
        return f"{phrase} with {_joined((size, _tone(spots), 'spots'))}"
    return phrase


def _of_texture(view: View) -> str:
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


def _two_colours(view: View) -> str:
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


def _width(view: View, lines: Marks) -> str:
    return "thin" if view.line_width(lines.polarity) < 9 else "thick"


def _tone(marks: Marks) -> str:
    return colour_name(marks.colour)


def _joined(words: tuple[str, ...]) -> str:
    return " ".join(word for word in words if word)


def _with_article(phrase: str) -> str:
    return re.sub(r"\ba (?=[aeo])", "an ", phrase)
