"""A frank answer where the model is not sure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._describe import UNIQUE
from ._grammar import with_article

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ._concepts import Concept

FAR_BEHIND = 0.5
"""A second candidate below this share of the first is not worth mentioning."""


def hedge(candidates: Sequence[tuple[str, float]], concepts: Mapping[str, Concept]) -> str:
    """Say what a region may hold, without claiming it.

    Parameters
    ----------
    candidates : sequence of (str, float)
        Names and probabilities, best first.
    concepts : mapping of str to Concept
        What is known of the names; an unknown one takes an article.

    Returns
    -------
    str

    Examples
    --------
    >>> hedge([("bottle", 0.2), ("vase", 0.18)], {})
    'not sure: maybe a bottle or a vase'
    >>> hedge([("orange", 0.2), ("vase", 0.05)], {})
    'not sure: maybe an orange'
    >>> hedge([], {})
    'not sure what this is'
    """
    if not candidates:
        return "not sure what this is"
    best = candidates[0][1]
    likely = [name for name, weight in candidates[:2] if weight >= FAR_BEHIND * best]
    return "not sure: maybe " + " or ".join(named(name, concepts) for name in likely)


def named(name: str, concepts: Mapping[str, Concept]) -> str:
    """Return a name with the article it takes."""
    if name in UNIQUE:
        return f"the {name}"
    concept = concepts.get(name)
    return with_article(name, mass=concept is not None and concept.mass)
