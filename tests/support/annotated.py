"""Annotations of every kind, drawn at random, and how to compare what came back."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_patchioner.annotations import Annotation, ImageInfo
from napari_patchioner.regions import (
    Box,
    Ellipse,
    Mask,
    Point,
    Polygon,
    RegionSet,
    Trace,
    WholeImage,
)

IMAGES = {
    "cat.png": ImageInfo("cat.png", 48, 64),
    "a folder/Cat.tif": ImageInfo("Cat.tif", 1000, 700),
    "": ImageInfo("", 20, 30),
}
"""Three images: two whose files would have one name, and one without."""

# Surrogates alone are no text; everything else is, also what XML cannot hold.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NASTY = st.sampled_from(
    [
        "",
        "=1+1",
        "a, \"b\" 'c'",
        "zwei\nZeilen\r\n",
        "\t x ",
        "\0\x01\x1f\ufffe",
        "]]>&amp;<b>",
        "日本🐈",
        "</script><!--",
        "\\u0041 %41",
        "napari: patchioner",
        " ",
    ]
)
# Names that a record has of itself cannot name an extra as well; any other text can.
ODD = (
    "\r", "\n", " ", "\t a ", "id", "phrase", "x", "y", "w", "h", "width", "bbox", "label",
     "name", "text", "times", "timed_caption", "attributes", "region_id", "image_id", "part_of",
     "Caption", "UID", "index", "extra:id", "json:1", "napari_patchioner", "properties", "type",
     "group_id", "flags", "classification", "channel", "score_", "column 9", "axis", "=1",
)  # fmt: skip
NAMES = st.text("abc_ :%=é\n\0", min_size=1, max_size=5) | TEXT.filter(bool) | st.sampled_from(ODD)

COORDINATE = st.floats(-1000, 2000)
POINTS = arrays(float, st.tuples(st.integers(3, 9), st.just(2)), elements=COORDINATE)
SIZES = st.floats(0.01, 500)


def _box(top: float, left: float, height: float, width: float) -> Box:
    return Box(top, left, top + height, left + width)


def _ellipse(row: float, column: float, half: tuple[float, float], turn: float) -> Ellipse:
    along = np.array([np.sin(turn), np.cos(turn)]) * half[0]
    across = np.array([np.cos(turn), -np.sin(turn)]) * half[1]
    corners = [-along - across, along - across, along + across, across - along]
    return Ellipse(np.array([row, column]) + corners)


@st.composite
def _masks(draw: st.DrawFn) -> Mask:
    pixels = draw(arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 6))))
    pixels[draw(st.integers(0, pixels.shape[0] - 1)), 0] = True
    return Mask(pixels, (draw(st.integers(-3, 60)), draw(st.integers(-3, 60))))


SINGLE = st.one_of(
    st.builds(_box, COORDINATE, COORDINATE, SIZES, SIZES),
    st.builds(Polygon, POINTS),
    st.builds(_ellipse, COORDINATE, COORDINATE, st.tuples(SIZES, SIZES), st.floats(-4, 4)),
    st.builds(Ellipse, arrays(float, (4, 2), elements=COORDINATE)),
    st.builds(Trace, POINTS, st.booleans()),
    st.builds(Trace, arrays(float, (1, 2), elements=COORDINATE), st.booleans()),
    st.builds(Point, COORDINATE, COORDINATE),
    _masks(),
    st.builds(WholeImage),
)
REGIONS = SINGLE | st.builds(
    RegionSet, st.lists(SINGLE, min_size=1, max_size=3).map(tuple), st.booleans()
)

NOTHING = st.sampled_from([0.0, 1e-300, 1e-12])
FLAT_SINGLE = st.one_of(
    st.builds(_box, COORDINATE, COORDINATE, NOTHING, NOTHING | SIZES),
    st.builds(_ellipse, COORDINATE, COORDINATE, st.tuples(NOTHING, NOTHING | SIZES), st.just(0.0)),
    st.builds(lambda place: Polygon(np.tile(place, (3, 1))), arrays(float, 2, elements=COORDINATE)),
)
FLAT = FLAT_SINGLE | st.builds(
    RegionSet, st.lists(FLAT_SINGLE | SINGLE, min_size=1, max_size=3).map(tuple), st.booleans()
)
"""Regions of no area, and sets with some."""


@st.composite
def annotations(draw: st.DrawFn, images: tuple[str, ...] = tuple(IMAGES)) -> list[Annotation]:
    """Draw a few annotations, every uid once per image."""
    found = []
    for place in range(draw(st.integers(0, 4))):
        caption = draw(TEXT | NASTY)
        source = draw(st.sampled_from(["model", "edited", "human"])) if caption else ""
        found.append(
            Annotation(
                uid=f"{place}{draw(TEXT)}",
                image=draw(st.sampled_from(images)),
                region=draw(REGIONS),
                caption=caption,
                score=draw(st.none() | st.floats(0, 1)) if source == "model" else None,
                source=source,
                model=draw(TEXT) if source in ("model", "edited") else "",
                extra=draw(st.dictionaries(NAMES, TEXT | NASTY, max_size=3))
                | draw(st.sampled_from([{}, {"plane": "3"}, {"plane": "2 5"}, {"class": "cat"}])),
            )
        )
    return found


def told(annotation: Annotation) -> dict[str, Any]:
    """Return everything a record says but its geometry."""
    names = ("image", "uid", "kind", "caption", "score", "source", "model")
    return {name: getattr(annotation, name) for name in names} | {"extra": dict(annotation.extra)}


def extras(annotation: Annotation) -> dict[str, str]:
    """Return the extras of a record but the entry it was read from."""
    return {name: text for name, text in annotation.extra.items() if name != "metadata"}
