"""Which measured adjectives may be said of which kind of thing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._concepts import ADJECTIVES, COLOURS, LIGHT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._concepts import Concept

STRONG = 0.5
"""From this strength on an attribute is said."""

UNIQUE = ("sky", "sun", "moon", "ocean")
"""What there is but one of: "the sky" wherever it stands."""

GROUNDS = ("stuff", "scene", "building")
"""Kinds that things are in, on or in front of, rather than beside or with."""

_COLOURLESS = ("person", "scene")
_IN_LIGHT = ("scene", "stuff", "building")
_PATTERNED = ("animal", "clothing", "furniture")
_SURFACES = ("building", "stuff")
_UNCOUNTED = ("scene", "stuff")


def fits(adjective: str, concept: Concept) -> bool:
    """Whether an adjective can be said of a thing: no coloured people, no striped roads.

    Examples
    --------
    >>> from napari_patchioner.decoders._concepts import Concept
    >>> fits("red", Concept("bus", "buses", False, "vehicle"))
    True
    >>> fits("red", Concept("person", "people", False, "person"))
    False
    """
    if adjective in concept.name.split():
        return False
    if adjective in COLOURS:
        return concept.kind not in _COLOURLESS
    if adjective in LIGHT:
        return concept.kind in _IN_LIGHT
    if adjective in ("striped", "spotted"):
        return concept.kind in _PATTERNED and concept.name != "zebra"
    return concept.kind in _SURFACES


def fitting_adjectives(attributes: Mapping[str, float], concept: Concept) -> tuple[str, ...]:
    """Adjectives strong enough to be said of a thing: at most two colours, else one word."""
    strong = [
        word for word in ADJECTIVES if attributes.get(word, 0.0) >= STRONG and fits(word, concept)
    ]
    by_strength = sorted(strong, key=lambda word: -attributes[word])
    colours = by_strength[:2]
    if all(word in COLOURS for word in colours):
        return tuple(sorted(colours, key=ADJECTIVES.index))
    return tuple(by_strength[:1])


def is_plural(attributes: Mapping[str, float], concept: Concept) -> bool:
    """Whether more than one was seen of something that can be counted."""
    countable = not concept.mass and concept.kind not in _UNCOUNTED
    return countable and attributes.get("plural", 0.0) >= STRONG
