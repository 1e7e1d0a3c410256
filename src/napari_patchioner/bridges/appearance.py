"""From measured appearance to words: descriptions of any image, adjectives for photographs."""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Mapping
from itertools import combinations

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

# From Oklab to cube roots of cones and from cones to linear light (Ottosson 2020).
_TO_ROOTS = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_TO_LIGHT = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)
# No colour is dark whose strongest light is above the first, and light only with so much white.
_FULL, _WHITENED = 0.55, 0.1

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
# Hue angles (degrees) of two colours that are no basic terms, and how vivid the second is.
_CYAN, _MAGENTA, _VIVID = (174.0, 217.0), (318.0, 349.0), 20.0
_TINTED = 2.0
# Below this chroma, where it is neither dark nor pale, a colour is a gray with a tint.
_DULLEST, _DULL_LIGHT = 4.8, (50.0, 76.0)
# What is no colour, and lighter than this, is a dark gray; on a thing it still passes for black.
_BLACK = 22.5

LAB = ("lightness", "green_red", "blue_yellow")
BANDS = ("fine", "medium", "coarse")
UNIT = 32.0
LONG_SIDE = 640
HUES = (*COLOURS, "cyan", "magenta")
"""Colours in which marks are counted."""

_FORMS = ("ring", "round", "rod", "irregular", "square", "rectangle", "outline")
_MARKS = ("count", "sharp", "diameter", "diameter_squared", "spacing", *_FORMS)

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
    "clear_squared",
    "clear_along",
    "clear_across",
    "fourfold_along",
    "fourfold_across",
    "slope_down",
    "slope_right",
    *(f"{part}_{name}" for part in ("ground", "mark", "line") for name in ("area", *LAB)),
    *(f"marks_{measure}" for measure in (*_MARKS, "along", "across", *HUES, *LAB, "brighter")),
    *(f"marks_number_{hue}" for hue in HUES),
    *(f"marks_gray_{channel}" for channel in LAB),
    *(f"line_{measure}" for measure in ("count", "length", "width")),
    *(f"line_{measure}" for measure in ("ends", "branches", "crossings")),
    *(f"balanced_{colour}" for colour in COLOURS),
    *(f"{first}_times_{second}" for first, second in combinations(LAB, 2)),
    *("line_along", "line_across"),
)
"""Names of the measured axes, in the order of the last dimension of an axes array.

Every axis is a mean over the pixels of one patch, so a weighted mean over patches is the same
statistic of the region they make up. Lengths are pixels of an image whose long side is
``LONG_SIDE``; densities count per square of side ``UNIT``; areas are shares of the patch,
0 to 1; colours are Oklab times 100. The sums of ground, marks and lines divide by their area,
those of single marks by their count, to give means. Balanced shares are those under a light that
is taken for white; pictures without any colour have none.
"""

# Axes that are sums per square; the others are means.
_SUMMED = np.array([name.startswith(("marks_", "line_")) for name in AXES])
_WORDS = """
    a an one two three four five six seven eight nine ten about few several many coloured
    and on of in background area texture pattern gradient from to grid mesh stripes checkered
    line lines spot spots mark marks rod rods ring rings
    square squares rectangle rectangles rectangular outline outlines
    tiny small large thin thick round oval irregular parallel branching crossing
    clusters evenly spread
    smooth uneven even grainy fine coarse mottled
    dark light pale darker brighter
"""
VOCABULARY = frozenset(_WORDS.split()) | frozenset(HUES) | frozenset(TINTS.values())
"""Every word a description may use, beside numbers; none of them names an object."""

# Of marks that are only estimated.
_ROUGHLY = ((1.5, 5.0, 13.0), ("one", "a few", "several", "many"))
_LEAST_DIFFERENCE = 7.0
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
# From these numbers on, counts are rounded to steps of so many.
_STEPS = ((10, 1), (25, 5), (100, 10), (300, 50), (1000, 100))
# Limits of words, in pixels of an image whose long side is 640 where they are of lengths.
_SIZES = ((8.0, 26.0, 75.0), ("tiny", "small", "", "large"))
_WIDTHS = ((9.0,), ("thin", "thick"))
_MIN_STRENGTH = 0.05
# Below this lightness of what is around a thing it is too dark to call that black.
_NIGHT = 29.0
_NO_COLOURS_SAID = """
    television, computer monitor, computer, laptop, keyboard, remote control, cell phone, telephone,
    video game, game controller, picture, mirror, window, clock, digital clock, sign, street sign,
    traffic light, refrigerator, washing machine, dishwasher, scoreboard,
    vending machine, slot machine, cash machine, book, comic book, magazine, newspaper,
    menu, paper, map, graffiti, bowl, plate, tray, pot, pan, glass, wine glass, petri dish,
    aquarium, cage, basket, measuring cup, pitcher, beaker, toilet, urinal, sink, bathtub, faucet,
    shower, microwave, oven, stove, table, dining table, desk, counter, shelf, bookshelf, skis,
    ski poles, baseball bat, tennis racket, paddle, net, bow, bicycle, unicycle, tricycle, sailboat,
    boat, ship, wheelchair, stroller, shopping cart, fork, knife, spoon, silverware, scissors,
    toothbrush, food, pizza, sandwich, hot dog, cake, hair dryer, orange, carrot
"""
_COLOURLESS = frozenset(re.split(r",\s+", _NO_COLOURS_SAID.strip()))
_FURRED = frozenset(("cow", "dog", "cat", "horse", "sheep", "bear", "elephant", "zebra", "giraffe"))
# Of other things in photographs that look gray most are white ones in the shade, or glass.
_NAMES_OF_GRAY = """
    elephant, hippopotamus, rhinoceros, koala, wolf, squirrel, mouse, dolphin, seal, shark, whale,
    heron, statue, standing stones, stone wall, rocks, road
"""
_GRAYISH = frozenset(re.split(r",\s+", _NAMES_OF_GRAY.strip()))
# In a dim or warm light what is green looks black or yellow.
_GREEN = frozenset(("broccoli", "potted plant"))
# How red, or for yellow how yellow, skin gets, and from where on a colour is none of skin; brown
# always may be.
_REDDER, _YELLOWER = (8.5, 11.0), (11.0, 14.0)
_SKIN = {
    "red": ("green_red", _REDDER),
    "orange": ("green_red", _REDDER),
    "pink": ("green_red", _REDDER),
    "yellow": ("blue_yellow", _YELLOWER),
    "brown": ("", (0.0, 1.0)),
}
# With so much of a region maybe skin it is a face rather than a person in clothes, up to for sure.
_FACE = 0.25, 0.45
_UNNATURAL = ("blue", "purple", "green", "pink", "red", "yellow")
# Units of lengths, in metres, and those to go to from one that makes long numbers.
_METRES = {"nm": 1e-9, "µm": 1e-6, "mm": 1e-3, "cm": 1e-2, "m": 1.0, "km": 1e3}
_LADDER = ("nm", "µm", "mm", "m", "km")
# Between these shares of pixels on edges the edges are all there is of a slope.
_STEPPED = (0.003, 0.2)
# Shares of the region below which lines, or marks that nothing counts, go unmentioned.
_LINE_AREA, _MARK_AREA = 0.004, 0.2
# The same of lines that differ so much from the ground; how many times more crossings than branches
# a grid has; how many deviations an even slope of colours reaches to both sides.
_CLEAR, _CLEAR_LINE_AREA, _CROSSED, _REACH = 15.0, 0.0012, 3.0, 1.75
# What share of the marks a word must fit to be said of them.
_MOST = 0.7
# Of a colour that is said of some marks: their share, and how many there are; how many of these are
# listed.
_SOME, _FEWEST, _LISTED = 0.08, 0.6, 3
# Distance between neighbours over that of as many at random places.
_CLUSTERED, _EVEN = 0.6, 1.45


def describe(
    axes: npt.NDArray[np.float32],
    *,
    patches: npt.ArrayLike = 1.0,
    scale: float = 32.0,
    things: Mapping[int, npt.NDArray[np.float32]] | None = None,
    unit: tuple[float, str] | None = None,
) -> list[str]:
    """Describe regions in plain words that only state what was measured.

    ``axes`` (n, len(AXES)) are averaged over each region; ``patches``, the number of patches in
    each (the sum of the coverage weights), says with the density of marks how many there are;
    ``scale`` is the side of a patch in pixels of an image whose long side is 640; ``things`` are
    those that single regions, by their row, were drawn around: sums over all of the region, in
    place of the axes that they have a number for, (len(AXES),), others NaN; ``unit`` is the length
    of one of those pixels and its unit, in which sizes are said where it is given. The result is a
    noun phrase per region, such as ``"about 60 small dark purple round spots on a pale pink
    background"``, never the name of an object.
    """
    counts = np.broadcast_to(np.asarray(patches, float), (len(axes),))
    squares = counts * (scale / UNIT) ** 2
    axes = axes.copy()
    for row, thing in (things or {}).items():
        whole = np.where(_SUMMED, squares[row], 1.0)
        axes[row] = np.where(np.isnan(thing), axes[row], thing / whole)
    phrases = [_phrase(_View(row, size, unit)) for row, size in zip(axes, squares, strict=True)]
    return [re.sub(r"\ba (?=[aeo])", "an ", phrase) for phrase in phrases]


def attributes(
    axes: npt.NDArray[np.float32], around: npt.ArrayLike | None = None
) -> list[dict[str, float]]:
    """Adjectives that most pixels of each region support, and their strength, 0 to 1.

    Of ``axes`` (n, len(AXES)), averaged over each region: colour terms, ``dark``, ``bright``,
    ``smooth``, ``striped``, ``grainy``, ``textured`` and ``spotted``. ``around`` is the lightness
    of each region with what lies around it, where it is known: in the dark nothing is black.
    """
    strengths = [_strengths(_View(row)) for row in axes]
    for row, lightness in enumerate([] if around is None else np.asarray(around).tolist()):
        if lightness < _NIGHT:
            strengths[row].pop("black", None)
    return [{name: s for name, s in row.items() if s > _MIN_STRENGTH} for row in strengths]


def _phrase(view: _View) -> str:
    """Describe a single region."""
    if pattern := _pattern(view):
        return pattern
    lines = _of_lines(view)
    marks = _of_marks(view)
    if lines and marks and view["mark_area"] > 0.2 * view["line_area"]:
        first, second = (marks, lines) if view["mark_area"] > view["line_area"] else (lines, marks)
        return f"{first} and {second} on {_ground(view)}"
    if lines or marks:
        return f"{lines or marks} on {_ground(view)}"
    return _of_texture(view)


def _pattern(view: _View) -> str:
    """Name a pattern that fills the region: stripes, checks or a grid; else nothing."""
    twofold, fourfold = view.directions()
    ink = view["line_area"] + view["mark_area"]
    if (view.variation < 6.0 and view.contrast < _CLEAR) or ink < 0.02:
        return ""
    colours = " and ".join(dict.fromkeys((view.name("ground"), view.name("mark", "line"))))
    if max(twofold, view.alignment) > 0.8 and view["line_area"] > 0.25 and view.mostly_lines:
        return f"{colours} stripes"
    if fourfold > 0.75 and twofold < 0.3:
        if ink > 0.35 and view["line_area"] < 0.1:
            return f"a checkered pattern of {colours}"
        if view["line_crossings"] * view.squares > 3 and view.mostly_lines:
            width = _word(view.line_width, _WIDTHS)
            return f"a grid of {width} {view.inked('line')} lines on {_ground(view)}"
    return ""


def _of_marks(view: _View) -> str:
    """Count and describe single marks; nothing where there are none."""
    number = view["marks_count"] * view.squares
    sharp = view.mean("sharp") > 0.5
    if number < 0.6 or not (sharp or view.difference > _LEAST_DIFFERENCE):
        return ""
    size, across = _word(view.mean("diameter"), _SIZES), ""
    shape, noun = _shape(view)
    if view.unit is not None and noun != "rod":
        size, across = "", view.measured(view.mean("diameter"), "across")
    if round(number) == 1:
        return _joined("one", size, _mark_colours(view), shape, noun, across)
    if not sharp:
        how_many = _word(number, _ROUGHLY)
        return _joined(how_many, size, _mark_colours(view), shape, f"{noun}s", across)
    how_many, colour = _counted_colours(view, number)
    words = _joined(how_many, size, colour, shape, f"{noun}s", across)
    return _joined(words, _arrangement(view, number))


def _shape(view: _View) -> tuple[str, str]:
    """Return an adjective and a noun for what most marks look like."""
    shares = {name: view.mean(name) for name in _FORMS}
    straight = shares["square"] + shares["rectangle"]
    square = shares["square"] > _MOST * straight
    if shares["outline"] > 0.5:
        return ("square" if square else "rectangular"), "outline"
    if straight > _MOST:
        return "", ("square" if square else "rectangle")
    if shares["ring"] > 0.5:
        return "", "ring"
    if shares["rod"] > 0.6:
        return "", "rod"
    if shares["round"] > _MOST:
        return "round", "spot"
    if shares["irregular"] > 0.5:
        return "irregular", "mark"
    if shares["rod"] + shares["irregular"] < 0.3:
        return ("" if shares["round"] > 0.4 else "oval"), "spot"
    return "", "mark"


def _counted_colours(view: _View, number: float) -> tuple[str, str]:
    """Say how many marks there are, and the colour of most, or how many of which colour."""
    groups = _groups(view)
    counts = [share * number for share in groups.values()]
    if set(groups) <= {""}:
        brighter = view.mean("brighter")
        return _number(number), "brighter" if brighter > 0.9 else "darker" if brighter < 0.1 else ""
    if len(groups) == 1:
        return _number(number), view.inked("marks")
    if len(groups) > _LISTED or "" in groups:
        return _number(number), "many-coloured"
    first, *others = (
        f"{_number(count)} {_of_group(view, name)}"
        for name, count in zip(groups, counts, strict=True)
    )
    others = [text.removeprefix("about ") for text in others]
    return f"{', '.join([first, *others[:-1]])} and {others[-1]}", ""


def _of_group(view: _View, name: str) -> str:
    """Name the colour of a group of marks; of gray ones with their tint and lightness."""
    grays = view["marks_number_gray"]
    if name != "gray" or grays <= 0:
        return name
    gray = np.array([view[f"marks_gray_{channel}"] for channel in LAB]) / grays
    if colour_name(gray) == view.name("ground"):
        return "darker" if gray[0] < view.lab("ground")[0] else "brighter"
    return colour_name(gray)


def _groups(view: _View) -> dict[str, float]:
    """Share of the marks of each colour that some have, the commonest first; "" for no name.

    Of marks of the colour of the ground some may be darker than that, and others brighter.
    """
    whole = max(view["marks_count"], 1e-9)
    shares = {name: view[f"marks_number_{name}"] / whole for name in HUES}
    shares[""] = 1 - sum(shares.values())
    least = max(_SOME, _FEWEST / max(whole * view.squares, 1e-9))
    kept = {name: share for name, share in shares.items() if share > least}
    ground = str(hue_names(view.lab("ground")))
    if list(kept) == [ground]:
        brighter = view["marks_brighter"] / whole
        kept = {"darker": 1 - brighter, "brighter": brighter}
        kept = {name: share for name, share in kept.items() if share > least}
        if len(kept) < 2:
            kept = {ground: 1.0}
    whole = sum(kept.values())
    return {name: kept[name] / whole for name in sorted(kept, key=lambda name: -kept[name])}


def _mark_colours(view: _View) -> str:
    """Name the colour of a mark, or of marks that are not counted, or their two colours."""
    whole = max(view["marks_diameter"], 1e-9)
    hues = {name: view[f"marks_{name}"] / whole for name in HUES}
    (first, most), (second, next_most), *_ = sorted(hues.items(), key=lambda item: -item[1])
    if most > _MOST or {first, second} <= set(_GRAYS) or next_most < 0.15:
        return view.inked("marks")
    if most + next_most > 0.75:
        return view.inked("marks") if {first, second} in _ALIKE else f"{first} and {second}"
    vivid = [share for name, share in hues.items() if name not in _DULL]
    if sum(share > 0.12 for share in vivid) > 2 and sum(vivid) > 0.6:
        return "many-coloured"
    return view.inked("marks")


_DULL = ("black", "gray", "white", "brown", "pink")
_GRAYS = ("black", "gray", "white")
# Neighbours on the hue circle, between which a single colour may scatter.
_ALIKE = (
    {"red", "orange"},
    {"red", "brown"},
    {"red", "pink"},
    {"orange", "brown"},
    {"orange", "yellow"},
    {"yellow", "green"},
    {"yellow", "brown"},
    {"green", "cyan"},
    {"cyan", "blue"},
    {"blue", "purple"},
    {"purple", "magenta"},
    {"purple", "pink"},
    {"magenta", "pink"},
    {"pink", "brown"},
    {"gray", "purple"},
    {"gray", "blue"},
    {"gray", "brown"},
    {"gray", "green"},
)


def _arrangement(view: _View, number: float) -> str:
    """How the marks lie: parallel, clustered, evenly spread; nothing where it is by chance."""
    if view.mean("rod") > 0.6 and number > 4:
        turned = np.hypot(view.mean("along"), view.mean("across")) / view.mean("rod")
        if turned > 0.8:
            return "in parallel"
    if number < 12:
        return ""
    # Neighbours at random places are half a unit of length apart at a density of one.
    ratio = 2 * view.mean("spacing") / UNIT * np.sqrt(view["marks_count"])
    if ratio < _CLUSTERED:
        return "in clusters"
    return "evenly spread" if ratio > _EVEN and view["mark_area"] < 0.45 else ""


def _of_lines(view: _View) -> str:
    """Describe lines; nothing where there are none."""
    if view["line_area"] < (_LINE_AREA if view.contrast < _CLEAR else _CLEAR_LINE_AREA):
        return ""
    wide = view.measured(view.line_width, "wide")
    words = _joined("" if wide else _word(view.line_width, _WIDTHS), view.inked("line"))
    length = view["line_length"] * view.squares
    ends, branches, crossings, count = (
        view[f"line_{part}"] * view.squares for part in ("ends", "branches", "crossings", "count")
    )
    twofold, _ = view.directions()
    if branches + crossings > 4 and ends < 0.35 * (branches + crossings) and length > 200:
        # Where four lines meet in every knot they cross, even where no edge tells how.
        pattern = "grid" if crossings > _CROSSED * branches else "mesh"
        return _joined(f"a {pattern} of {words} lines", wide)
    if crossings > 0.6 * branches and crossings > 1.5:
        return _joined(words, "crossing lines", wide)
    if branches > 2:
        return _joined(words, "branching lines", wide)
    # Where ends are missing the region shows only parts of lines.
    whole = 0.5 < count < 9.5 and abs(ends - 2 * count) < 1.5
    if whole and round(count) == 1:
        return _joined("one", words, "line", wide)
    number = _number(count) if whole else ""
    parallel = "parallel" if max(twofold, view.alignment) > 0.8 and count > 1.5 else ""
    return _joined(number, words, parallel, "lines", wide)


def _of_texture(view: _View) -> str:
    if view["flat"] > 0.97 and view.variation < 2.0:
        return f"an even {view.colour} area"
    steep, steadiness = view.slope()
    # Where few pixels hold all of the slope, plain areas meet at an edge.
    stepped = _STEPPED[0] < view["edge"] < _STEPPED[1] and view["flat"] > 0.75
    slopes = steep > 0.02 and steadiness > 0.85 and view["fine_energy"] < 2.5 and view.variation > 2
    if slopes and not stepped:
        first, second = map(colour_name, view.ends())
        if first != second:
            return f"a smooth gradient from {first} to {second}"
        return f"a smooth gradient of {first}"
    if view["flat"] > 0.75:
        even = "smooth" if view.variation < 8.0 else "smooth uneven"
        return f"a {even} area of {view.colours}"
    fine, medium, coarse = (view[f"{band}_energy"] for band in BANDS)
    if fine > 1.2 and fine > 0.6 * medium:
        grain = "coarse" if medium > 0.8 * fine else "fine"
        return f"a {grain} grainy texture of {view.colours}"
    kind = "mottled" if medium + coarse > 3.0 else "smooth mottled"
    return f"a {kind} texture of {view.colours}"


def _ground(view: _View) -> str:
    unclear = view["marks_count"] > 0 and view.mean("sharp") < 0.5
    return f"a {view.colours if unclear else view.name('ground')} background"


def _number(number: float) -> str:
    """Say a number, in words up to ten and rounded beyond."""
    if number < len(_NUMBERS) + 0.5:
        return _NUMBERS[max(round(number), 1) - 1]
    step = next((step for limit, step in reversed(_STEPS) if number >= limit), 1)
    rounded = step * round(number / step)
    return f"about {rounded}" if rounded < 10_000 else "many"


def _word(value: float, scale: tuple[tuple[float, ...], tuple[str, ...]]) -> str:
    """Return the word of a scale that stands for a value."""
    limits, words = scale
    return words[bisect(limits, value)]


def _joined(*words: str) -> str:
    return " ".join(filter(None, words))


def _strengths(view: _View) -> dict[str, float]:
    """Strength of each adjective of a single region."""
    # One colour at most, which clearly dominates in the light of the picture and in white light.
    (colour, _), *_ = view.shares.items()
    balanced = {name: view[f"balanced_{name}"] for name in COLOURS}
    fine, medium = view["fine_energy"], view["medium_energy"]
    twofold, _ = view.directions()
    spots = _ramp(view["mark_area"], 0.08, 0.2) * _ramp(view["marks_count"], 0.3, 1.0)
    plain = min(_dominance(shares, colour) for shares in (view.shares, balanced))
    return {
        colour: plain * _plainness(view, colour),
        "dark": _ramp(view["lightness"], 34.0, 20.0),
        "bright": _ramp(view["lightness"], 80.0, 92.0),
        "smooth": _ramp(view["flat"], 0.7, 0.95) * _ramp(view.variation, 16.0, 8.0),
        "striped": _ramp(twofold, 0.8, 0.9) * _ramp(view["line_area"], 0.25, 0.4),
        "grainy": _ramp(fine, 1.5, 4.0) * _ramp(fine / max(medium, 1e-6), 0.9, 1.3),
        "textured": _ramp(medium, 3.0, 7.0) * _ramp(view["flat"], 0.3, 0.1),
        "spotted": spots * _ramp(view.mean("round"), 0.6, 0.8),
    }


def _dominance(shares: dict[str, float], colour: str) -> float:
    """How far a colour dominates the others, 0 to 1."""
    # Grays are what shadows, roads and walls all are: ask more of them.
    least = 0.68 if colour in ("gray", "black", "brown") else 0.44
    second = max(share for name, share in shares.items() if name != colour)
    most = shares[colour]
    return _ramp(most, least, least + 0.3) * _ramp(second / max(most, 1e-6), 0.65, 0.35)


def _plainness(view: _View, colour: str) -> float:
    """How far a colour is what people call so, not only the nearest term, 0 to 1."""
    chroma = float(np.hypot(view["green_red"], view["blue_yellow"]))
    if colour == "black":
        # Dark brown, dark red and dark green are not black.
        return _ramp(chroma, 1.5, 0.8)
    if colour == "red":
        return _ramp(chroma, 5.4, 6.8)
    # Dark yellow is olive.
    return _ramp(view["lightness"], 48.0, 56.0) if colour == "yellow" else 1.0


def without_skin(axes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return axes of patches, shape (..., len(AXES)), that have no colours which may be skin.

    Examples
    --------
    >>> patch = np.zeros(len(AXES), np.float32)
    >>> patch[AXES.index("share_red")], patch[AXES.index("green_red_squared")] = 1, 6.0**2
    >>> float(without_skin(patch)[AXES.index("share_red")])
    0.0
    """
    axes = axes.copy()
    for colour, (channel, (low, high)) in _SKIN.items():
        share = AXES.index(f"share_{colour}")
        is_other = np.zeros(axes.shape[:-1], np.float32)
        if channel:
            # As much as what has the colour may have of it at most.
            squared = axes[..., AXES.index(f"{channel}_squared")]
            most = np.sqrt(squared / np.maximum(axes[..., share], 1e-6))
            is_other = np.clip((most - low) / (high - low), 0, 1)
        for name in (f"share_{colour}", f"balanced_{colour}"):
            axes[..., AXES.index(name)] *= is_other
    return axes


def clothed(
    axes: npt.NDArray[np.float32], skinless: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Return how likely regions show more than a face, shape (n,), 0 to 1.

    Both are (n, len(AXES)), averaged over the regions, the second `without_skin`.
    """
    shares = [AXES.index(f"share_{colour}") for colour in _SKIN]
    skin = (axes[:, shares] - skinless[:, shares]).sum(axis=1).astype(float)
    low, high = _FACE
    return np.asarray(1 - np.clip((skin - low) / (high - low), 0, 1))


def suiting(words: dict[str, float], name: str) -> dict[str, float]:
    """Leave out the colours that are no colour of a thing of this name.

    What a screen, a page or a bowl shows is what is on or in it, behind a bicycle or a fork lies
    most of the region, and white goods have the colour of their light. Gray is said of few.

    Examples
    --------
    >>> suiting({"red": 0.9, "smooth": 0.7}, "laptop"), suiting({"blue": 0.9}, "cow")
    ({'smooth': 0.7}, {})
    """
    unfit: tuple[str, ...] = ()
    if name in _COLOURLESS:
        unfit = COLOURS
    elif name in _FURRED:
        unfit = _UNNATURAL
    elif name in _GREEN:
        unfit = tuple(colour for colour in COLOURS if colour != "green")
    if name not in _GRAYISH:
        unfit = (*unfit, "gray")
    return {word: strength for word, strength in words.items() if word not in unfit}


def _ramp(value: float, low: float, high: float) -> float:
    """Rise from 0 at ``low`` to 1 at ``high``, in double precision."""
    return float(np.clip((value - low) / (high - low), 0.0, 1.0))


class _View(dict[str, float]):
    """Means of a single region, by axis.

    ``axes``, shape (len(AXES),), are averaged over it; ``squares`` is its area in squares of side
    ``UNIT``; ``unit`` the length of a pixel and its unit, where it is known.
    """

    def __init__(
        self,
        axes: npt.NDArray[np.float32],
        squares: float = 1.0,
        unit: tuple[float, str] | None = None,
    ) -> None:
        super().__init__(zip(AXES, axes.tolist(), strict=True))
        self.squares, self.unit = squares, unit

    def measured(self, length: float, extent: str) -> str:
        """Say a length, in pixels, and what it is of; nothing where the unit is not known."""
        if self.unit is None or length <= 0:
            return ""
        pixel, unit = self.unit
        size, unit = _readable(length * pixel, unit)
        # Two digits count.
        return f"{round(size, 1 - int(np.floor(np.log10(size)))):g} {unit} {extent}"

    def lab(self, *parts: str) -> npt.NDArray[np.float64]:
        """Mean colour of the ground, the marks and the lines, or of everything."""
        if parts == ("marks",):
            # Larger marks tell more of the colour.
            sums, whole = self._colour_sums("marks"), self["marks_diameter"]
        else:
            sums = np.sum([self._colour_sums(part) for part in parts], axis=0)
            whole = sum(self[f"{part}_area"] for part in parts)
        if whole > 1e-4:
            return np.asarray(sums / whole)
        return np.array([self[channel] for channel in LAB])

    def _colour_sums(self, part: str) -> npt.NDArray[np.float64]:
        return np.array([self[f"{part}_{channel}"] for channel in LAB])

    def name(self, *parts: str) -> str:
        return colour_name(self.lab(*parts))

    def inked(self, part: str) -> str:
        """Name the colour of marks or lines; where the ground has the same, only how it differs."""
        ink, ground = self.lab(part), self.lab("ground")
        if colour_name(ink) == colour_name(ground):
            return "darker" if ink[0] < ground[0] else "brighter"
        return colour_name(ink)

    @property
    def difference(self) -> float:
        """Distance of the colour of the marks from that of the ground."""
        return float(np.linalg.norm(self.lab("marks") - self.lab("ground")))

    def mean(self, measure: str) -> float:
        """Mean of a measure over the marks."""
        return self[f"marks_{measure}"] / max(self["marks_count"], 1e-9)

    @property
    def colour(self) -> str:
        return colour_name(self.lab())

    @property
    def colours(self) -> str:
        """Name the region's mean colour, or its two main colours where it has two."""
        (first, most), (second, next_most), *_ = self.shares.items()
        if next_most < 0.2 or most > 0.75:
            return self.colour
        return f"{first} and {second}"

    @property
    def variation(self) -> float:
        """Standard deviation of lightness over the region's pixels."""
        return float(np.sqrt(max(self["lightness_squared"] - self["lightness"] ** 2, 0.0)))

    @property
    def shares(self) -> dict[str, float]:
        """Share of the pixels under each colour term, largest first."""
        shares = {colour: self[f"share_{colour}"] for colour in COLOURS}
        return dict(sorted(shares.items(), key=lambda item: -item[1]))

    @property
    def line_width(self) -> float:
        return self["line_width"] / max(self["line_length"], 1e-9)

    @property
    def mostly_lines(self) -> bool:
        return self["line_area"] > 3 * self["mark_area"]

    @property
    def contrast(self) -> float:
        """Distance of the colour of lines and larger marks from that of the ground."""
        return float(np.linalg.norm(self.lab("mark", "line") - self.lab("ground")))

    @property
    def alignment(self) -> float:
        """How far straight lines share one direction, 0 to 1."""
        along = np.hypot(self["line_along"], self["line_across"])
        return float(along / max(self["line_count"], 1e-6))

    def directions(self) -> tuple[float, float]:
        """How far edges share one direction, and two at right angles, 0 to 1."""
        whole = max(self["clear_squared"], 1e-6)
        twofold = np.hypot(self["clear_along"], self["clear_across"]) / whole
        fourfold = np.hypot(self["fourfold_along"], self["fourfold_across"]) / whole
        return float(twofold), float(fourfold)

    def ends(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Colours at the darker and at the brighter end, where they change evenly in between."""
        mean = np.array([self[channel] for channel in LAB])
        covariance = np.diag([self[f"{channel}_squared"] for channel in LAB])
        for (row, first), (column, second) in combinations(enumerate(LAB), 2):
            covariance[row, column] = covariance[column, row] = self[f"{first}_times_{second}"]
        spread, ways = np.linalg.eigh(covariance - np.outer(mean, mean))
        way = ways[:, -1] * (1 if ways[0, -1] >= 0 else -1)
        # Over an even slope, colours spread so many deviations to both sides, but not beyond white.
        reach = _REACH * np.sqrt(max(float(spread[-1]), 0.0))
        room = np.array([mean[0], 100 - mean[0]]) / max(way[0], 1e-6)
        dark, bright = np.minimum(reach, np.maximum(room, 0))
        return mean - dark * way, mean + bright * way

    def slope(self) -> tuple[float, float]:
        """How steep lightness is, per pixel, and how steadily it goes one way, 0 to 1."""
        steep = float(np.hypot(self["slope_down"], self["slope_right"]))
        return steep, steep / max(self["gradient"], 1e-6)


def _readable(size: float, unit: str) -> tuple[float, str]:
    """Return a length in a unit of which it is neither thousands nor hundredths."""
    if unit not in _METRES or 0.1 <= size < 1000:
        return size, unit
    metres = size * _METRES[unit]
    fitting = [name for name in _LADDER if metres >= _METRES[name]] or [_LADDER[0]]
    return metres / _METRES[fitting[-1]], fitting[-1]


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
    base = str(hue_names(lab))
    tint = ""
    if chroma >= _TINTED:
        hue = np.degrees(np.arctan2(blue_yellow, green_red)) % 360.0
        parts = _ring(np.array(hue, np.float32))
        tint = max(parts, key=lambda part: float(parts[part]))
    if base == "black" and light > _BLACK:
        return "dark gray"
    if base == "black":
        return base
    if base == "white":
        return f"pale {_PALE.get(tint, tint)}" if tint else base
    dull = tint and chroma < _DULLEST and _DULL_LIGHT[0] < light < _DULL_LIGHT[1]
    if base == "gray" or dull:
        base, low, high = f"{TINTS[tint]} gray" if tint else "gray", 46.0, 76.0
    elif chroma < 7.5 and light > 76.0:
        return f"pale {base}"
    else:
        low, high = _LIGHTNESS.get(base, (48.0, 76.0))
    linear = _TO_LIGHT @ (_TO_ROOTS @ np.asarray(lab, float) / 100) ** 3
    gray = base.endswith("gray")
    if light < low and (gray or linear.max() < _FULL):
        return f"dark {base}"
    whitened = linear.min() > _WHITENED * linear.max()
    return f"light {base}" if light > high and (gray or whitened) else base


def hue_names(lab: npt.ArrayLike) -> npt.NDArray[np.object_]:
    """Name colours, Oklab times 100, shape (..., 3), each with one of ``HUES``, shape (...).

    Examples
    --------
    >>> hue_names([(90.5, -14.9, -3.9), (70.2, 27.5, -16.9)]).tolist()
    ['cyan', 'magenta']
    """
    colours = np.asarray(lab, float).reshape(*np.shape(lab)[:-1], 3)
    names = np.array(COLOURS, object)[colour_shares(colours).argmax(-1)]
    _, green_red, blue_yellow = np.moveaxis(colours, -1, 0)
    hue = np.degrees(np.arctan2(blue_yellow, green_red)) % 360.0
    vivid = np.hypot(green_red, blue_yellow) > _VIVID
    cyan = np.isin(names, ("green", "blue")) & (hue > _CYAN[0]) & (hue < _CYAN[1])
    magenta = np.isin(names, ("purple", "pink")) & (hue > _MAGENTA[0]) & (hue < _MAGENTA[1])
    return np.where(cyan, "cyan", np.where(magenta & vivid, "magenta", names))


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
