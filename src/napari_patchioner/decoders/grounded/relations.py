"""Which things people mention together, how, and which candidates of a region may be named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_patchioner.decoders.caption import Evidence

from .vocabulary import PLACES, SURROUNDINGS, Concept, Words, fitting_adjectives, is_plural

# Stands for the kind of whatever has no relation of its own.
ANYTHING = "anything"
# A thing with this share of the best one's probability may be named beside it, if people are known
# to mention the two together: a region's features show the foremost thing best.
SHARE = 0.15
# Without that, it needs this much beside a person, and is a mistake beside anything else.
STRANGE_SHARE = 0.5
# A thing that is easily taken for the best needs this much.
RIVAL_SHARE = 0.7
# From this share on it comes first where people would begin with it.
HEAD_SHARE = 0.75
# It must also be this much likelier than the last of a long list of candidates: where only one
# thing is recognised, what follows is no more than the usual guesses.
MIN_RATIO, LONG = 2.0, 5
ALIKE = 0.5
MAX_THINGS = 3
# A region has one scene, and a surfer is a person already; people begin with them, a kitchen with
# a stove, a person with whatever it may be.
_SINGLE = _FIRST = ("person", "scene")
_HELD = ("sport", "instrument", "tool", "clothing", "appliance", "container", "paper", "food")


@dataclass(frozen=True)
class Relations:
    """A table learned from text: "a boat" is "on" "the water".

    ``pairs`` maps (name, name) to a relation, ``kinds`` (kind, name) where the pair itself is too
    rare, the kind may be `ANYTHING`; ``determiners`` says what stands before a name after a
    relation of place ("a", "the" or ""); ``together`` holds names that people mention side by side,
    alphabetically.
    """

    pairs: Mapping[tuple[str, str], str] = field(default_factory=dict)
    kinds: Mapping[tuple[str, str], str] = field(default_factory=dict)
    determiners: Mapping[str, str] = field(default_factory=dict)
    together: frozenset[tuple[str, str]] = frozenset()

    def between(self, subject: Concept, other: Concept) -> str | None:
        """Relation of ``subject`` to ``other``, or None where the text does not say."""
        if subject.name == other.name:
            return None
        relation = self.pairs.get((subject.name, other.name))
        relation = relation or self.kinds.get((subject.kind, other.name))
        if relation or subject.kind in SURROUNDINGS:
            return relation
        return self.kinds.get((ANYTHING, other.name))

    def mentioned_together(self, first: Concept, second: Concept) -> bool:
        """Whether people mention both in one sentence."""
        return tuple(sorted((first.name, second.name))) in self.together

    def to_json(self) -> dict[str, Any]:
        """Plain lists and dictionaries, for a file."""
        return {
            "pairs": [[*pair, relation] for pair, relation in sorted(self.pairs.items())],
            "kinds": [[*pair, relation] for pair, relation in sorted(self.kinds.items())],
            "determiners": dict(sorted(self.determiners.items())),
            "together": [list(pair) for pair in sorted(self.together)],
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Relations:
        """Read what `to_json` gave."""
        pairs, kinds = (
            {(subject, other): relation for subject, other, relation in record[table]}
            for table in ("pairs", "kinds")
        )
        together = frozenset((first, second) for first, second in record["together"])
        return cls(pairs, kinds, dict(record["determiners"]), together)


class Grounds(NamedTuple):
    """What was recognised in a region.

    ``things`` are concepts that may be named, of which the first must be, ``heads`` those of them
    that the phrase may begin with, ``attributes`` measured strengths.
    """

    things: tuple[int, ...]
    heads: tuple[int, ...]
    attributes: Mapping[str, float]


class Selection:
    """Chooses which candidates of a region are shown together, and which only compete.

    ``embeddings`` (concepts, d) of unit length say which concepts are alike.
    """

    def __init__(
        self, words: Words, relations: Relations, embeddings: npt.NDArray[np.float32]
    ) -> None:
        self.words = words
        self.relations = relations
        self.embeddings = embeddings
        self.index = {concept.name: i for i, concept in enumerate(words.concepts)}

    def grounds(self, evidence: Evidence) -> Grounds | None:
        """Return what may be named of a region; None if its best candidate is no known word."""
        known = [(self.index.get(name, -1), weight) for name, weight in evidence.concepts]
        if not known or known[0][0] < 0:
            return None
        (top, best), *others = known
        if evidence.beside is not None:
            # Whatever else the region may hold was looked for, and competes with the first.
            others = []
        floor = MIN_RATIO * known[-1][1] if len(known) >= LONG else 0.0
        things, head = [top], top
        for thing, weight in others:
            if thing < 0 or thing in things or len(things) == MAX_THINGS:
                continue
            needed = max(self._needed(named, thing) for named in things)
            if weight >= max(needed * best, floor):
                things.append(thing)
                if weight >= HEAD_SHARE * best and self._goes_first(thing, head):
                    head = thing
        concept = self.words.concepts[top]
        described = fitting_adjectives(evidence.attributes, concept)
        keep = described or is_plural(evidence.attributes, concept)
        heads = tuple(dict.fromkeys([head, top])) if keep else (head,)
        return Grounds(tuple(things), heads, evidence.attributes)

    def _needed(self, named: int, thing: int) -> float:
        """Share of the best probability that ``thing`` needs beside ``named``; above 1, never."""
        first, second = self.words.concepts[named], self.words.concepts[thing]
        known = self.relations.mentioned_together(first, second)
        alike = float(self.embeddings[named] @ self.embeddings[thing]) >= ALIKE
        if first.kind != second.kind or not (alike or first.kind in _SINGLE):
            person = "person" in (first.kind, second.kind)
            return SHARE if known else STRANGE_SHARE if person else 2.0
        if first.kind in _SINGLE or not known:
            return 2.0
        return RIVAL_SHARE

    def _goes_first(self, thing: int, head: int) -> bool:
        """Whether people would begin with ``thing``: it is "on" the other, or holds it."""
        first, second = self.words.concepts[thing], self.words.concepts[head]
        if self.relations.between(second, first) in PLACES or second.kind in _FIRST:
            return False
        held = first.kind == "person" and second.kind in _HELD
        return held or self.relations.between(first, second) in PLACES
