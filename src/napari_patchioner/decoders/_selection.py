"""Which of a region's candidates are there together, and which only compete for one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._describe import fitting_adjectives, is_plural
from ._grounding import Grounds
from ._words import PLACES

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ._caption import Evidence
    from ._relations import Relations
    from ._words import Words

SHARE = 0.15
"""A thing with this share of the best one's probability may be named beside it, if people are
known to mention the two together: a region's features know the foremost thing best."""

STRANGE_SHARE = 0.5
"""Without that, it needs this much beside a person, and is a mistake beside anything else."""

RIVAL_SHARE = 0.7
"""One that is easily taken for the best needs this much."""

HEAD_SHARE = 0.75
"""From this share on it comes first where people would begin with it."""

STANDS_OUT = 2.0
"""It must also be this much likelier than the last of a long list of candidates: where the eye
knows only one thing, what follows is no more than the usual guesses."""

LONG = 5
ALIKE = 0.5
MOST = 3
# A region has one scene, and a surfer is a person already.
_ONE_OF_A_KIND = ("person", "scene")
# A kitchen with a stove, a person with whatever it may be.
_FIRST = ("person", "scene")
_HELD = ("sport", "instrument", "tool", "clothing", "appliance", "container", "paper", "food")


class Selection:
    """Chooses what may be named.

    Parameters
    ----------
    words : Words
        The vocabulary.
    relations : Relations
        Which things people mention together.
    embeddings : ndarray of float32, shape (concepts, d)
        Of unit length.
    """

    def __init__(
        self, words: Words, relations: Relations, embeddings: npt.NDArray[np.float32]
    ) -> None:
        self.words = words
        self.relations = relations
        self.embeddings = embeddings
        self.index = {concept.name: i for i, concept in enumerate(words.concepts)}

    def grounds(self, evidence: Evidence) -> Grounds | None:
        """Return what may be said of a region; None if its best candidate is no known word."""
        known = [(self.index.get(name, -1), weight) for name, weight in evidence.concepts]
        if not known or known[0][0] < 0:
            return None
        (top, best), *others = known
        floor = STANDS_OUT * known[-1][1] if len(known) >= LONG else 0.0
        things, head = [top], top
        for thing, weight in others:
            if thing < 0 or thing in things or len(things) == MOST:
                continue
            needed = max(self._needed(one, thing) for one in things)
            if weight >= max(needed * best, floor):
                things.append(thing)
                if weight >= HEAD_SHARE * best and self._rather_first(thing, head):
                    head = thing
        concept = self.words.concepts[top]
        described = fitting_adjectives(evidence.attributes, concept)
        keep = described or is_plural(evidence.attributes, concept)
        heads = tuple(dict.fromkeys([head, top])) if keep else (head,)
        return Grounds(tuple(things), heads, evidence.attributes)

    def _needed(self, one: int, other: int) -> float:
        """Share of the best probability that ``other`` needs beside ``one``; above 1, never."""
        first, second = self.words.concepts[one], self.words.concepts[other]
        known = self.relations.seen_together(first, second)
        alike = float(self.embeddings[one] @ self.embeddings[other]) >= ALIKE
        if first.kind != second.kind or not (alike or first.kind in _ONE_OF_A_KIND):
            person = "person" in (first.kind, second.kind)
            return SHARE if known else STRANGE_SHARE if person else 2.0
        if first.kind in _ONE_OF_A_KIND or not known:
            return 2.0
        return RIVAL_SHARE

    def _rather_first(self, thing: int, head: int) -> bool:
        """Whether people would begin with ``thing``: it is "on" the other, or holds it."""
        one, other = self.words.concepts[thing], self.words.concepts[head]
        if self.relations.between(other, one) in PLACES or other.kind in _FIRST:
            return False
        held = one.kind == "person" and other.kind in _HELD
        return held or self.relations.between(one, other) in PLACES
