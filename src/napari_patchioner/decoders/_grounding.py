"""What may be said of one region, and what may follow the words said so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from ._concepts import ADJECTIVES
from ._describe import GROUNDS, UNIQUE, fits, fitting_adjectives, is_plural
from ._words import END, JOINS, PLACES, QUANTITIES, RELATIONS, Words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from ._relations import Relations


class Grounds(NamedTuple):
    """What was seen in one region.

    Attributes
    ----------
    things : tuple of int
        Concepts that may be named; the first must be.
    heads : tuple of int
        Those of them that the phrase may begin with.
    attributes : mapping
        Measured strengths.
    """

    things: tuple[int, ...]
    heads: tuple[int, ...]
    attributes: Mapping[str, float]


class GroundedGrammar:
    """Says which token may follow, so that only what was seen is said, and in whole phrases.

    A name may be used once; a place ("on", "in") must be one that people name for the two
    things; adjectives and number come with the first name; a phrase ends after a name, and not
    before the first thing of its grounds was named.

    Parameters
    ----------
    words : Words
        The vocabulary.
    relations : Relations
        Which places hold between which things.
    """

    def __init__(self, words: Words, relations: Relations) -> None:
        self.words = words
        self.relations = relations
        self._relation_tokens = {words.id(word): word for word in RELATIONS}
        self._place_tokens = {words.id(word): word for word in PLACES}
        self._adjectives = {words.id(word): word for word in ADJECTIVES}
        self._quantities = {words.id(word) for word in QUANTITIES}
        self._joins = {words.id(word) for word in JOINS}
        self._and, self._a, self._the = (words.id(word) for word in ("and", "a", "the"))
        self._end = words.id(END)

    def mask(self, grounds: Sequence[Grounds], rows: Tensor, tokens: Tensor) -> Tensor:
        """Which tokens may come next, for the generation loop.

        Parameters
        ----------
        grounds : sequence of Grounds
            One per region.
        rows : Tensor of int64, shape (m,)
            The region each sentence is about.
        tokens : Tensor of int64, shape (m, t)
            The sentences so far.

        Returns
        -------
        Tensor of bool, shape (m, vocab)
        """
        allowed = torch.zeros(len(rows), len(self.words), dtype=torch.bool)
        seen: dict[tuple[int, ...], list[int]] = {}
        for place, (row, said) in enumerate(zip(rows.tolist(), tokens.tolist(), strict=True)):
            key = (row, *said)
            if key not in seen:
                seen[key] = self.following(grounds[row], said)
            allowed[place, seen[key]] = True
        return allowed

    def following(self, grounds: Grounds, said: Sequence[int]) -> list[int]:
        """Tokens that may follow ``said``; the end token alone once all is said."""
        named = [int(self.words.concept_of[token]) for token in said]
        named = [concept for concept in named if concept >= 0]
        left = [thing for thing in grounds.things if thing not in named]
        last = said[-1] if said else None
        if last is not None and self.words.concept_of[last] >= 0:
            ending = [self._end] if grounds.things[0] in named else []
            return ending + self._relations_to(named, left) or [self._end]
        if not named:
            return self._opening(grounds, said)
        return self._next_noun(said, named, left)

    def _relations_to(self, named: Sequence[int], left: Sequence[int]) -> list[int]:
        """Words that can join one of the things left to those named."""
        if not left:
            return []
        found = {self._relation(one, thing) for one in named for thing in left}
        places = [token for token, word in self._place_tokens.items() if word in found]
        joins = [join for join in sorted(self._joins) if self._joined(join, named, left)]
        return joins + places

    def _joined(self, join: int, named: Sequence[int], left: Sequence[int]) -> list[int]:
        """Things that "and" or "with" may lead to: nobody is "with the sky"."""
        if join == self._and:
            return list(left)
        concepts = self.words.concepts
        return [
            thing
            for thing in left
            if concepts[thing].kind not in GROUNDS
            or any(self._relation(one, thing) == "with" for one in named)
        ]

    def _next_noun(self, said: Sequence[int], named: Sequence[int], left: list[int]) -> list[int]:
        """After a relation: a determiner, or a name it can lead to."""
        join = next((token for token in reversed(said) if token in self._relation_tokens), None)
        if join is None:
            # A beam that was ruled out before, kept by the loop only to fill its place.
            return [self._end]
        word = self._relation_tokens[join]
        if join in self._joins:
            left = self._joined(join, named, left)
        else:
            left = [t for t in left if any(self._relation(one, t) == word for one in named)]
        concepts = self.words.concepts
        # "the" belongs to places ("on the beach") and to what there is but one of.
        definite = [t for t in left if join not in self._joins or concepts[t].name in UNIQUE]
        if said[-1] == self._the:
            return [self.words.names[t] for t in definite]
        counted = [t for t in left if not concepts[t].mass]
        if said[-1] == self._a:
            return [self.words.names[t] for t in counted]
        bare = [self.words.names[t] for t in left if concepts[t].mass]
        return bare + [self._a] * bool(counted) + [self._the] * bool(definite)

    def _opening(self, grounds: Grounds, said: Sequence[int]) -> list[int]:
        """Before the first name: article or quantity, adjectives, then the name."""
        things = [thing for thing in grounds.heads if self._agrees(thing, grounds, said)]
        adjectives = self._more_adjectives(things, grounds, said)
        if not said:
            return self._first(things, grounds, adjectives)
        if said[-1] == self._and:
            return adjectives
        many = said[0] in self._quantities
        names = [(self.words.plurals if many else self.words.names)[t] for t in things]
        if said[-1] not in self._adjectives:
            return names + adjectives
        # A second adjective comes after "and" only: "a black and white cat".
        return names + [self._and] * bool(adjectives and self._and not in said)

    def _first(
        self, things: Sequence[int], grounds: Grounds, adjectives: Sequence[int]
    ) -> list[int]:
        """Words a phrase may begin with."""
        concepts = self.words.concepts
        bare = [thing for thing in things if concepts[thing].mass]
        return [
            *(self.words.names[thing] for thing in bare),
            *(adjectives if bare else ()),
            *([self._a] if len(bare) < len(things) else ()),
            *([self._the] if any(concepts[thing].name in UNIQUE for thing in things) else ()),
            *self._counts(things, grounds),
        ]

    def _agrees(self, thing: int, grounds: Grounds, said: Sequence[int]) -> bool:
        """Whether a first name suits the article, quantity and adjectives before it."""
        concept = self.words.concepts[thing]
        if not said:
            return True
        start = said[0]
        if start in self._quantities:
            fit = start in self._counts([thing], grounds)
        elif start == self._the:
            fit = concept.name in UNIQUE
        else:
            fit = concept.mass != (start == self._a)
        spoken = [self._adjectives[token] for token in said if token in self._adjectives]
        # What was measured of the region is said of what the region is, and of nothing else.
        mine = thing == grounds.things[0] or not spoken
        return fit and mine and all(fits(word, concept) for word in spoken)

    def _counts(self, things: Sequence[int], grounds: Grounds) -> list[int]:
        """Quantity that was measured: "a group of" people, "several" of anything else."""
        top = grounds.things[0]
        concept = self.words.concepts[top]
        if top not in things or not is_plural(grounds.attributes, concept):
            return []
        return [self.words.id("a group of" if concept.kind == "person" else "several")]

    def _more_adjectives(
        self, things: Sequence[int], grounds: Grounds, said: Sequence[int]
    ) -> list[int]:
        """Adjectives that were measured, fit the first thing and were not said yet."""
        spoken = [token for token in said if token in self._adjectives]
        top = grounds.things[0]
        if len(spoken) > 1 or top not in things or self._the in said:
            return []
        measured = fitting_adjectives(grounds.attributes, self.words.concepts[top])
        return [self.words.id(word) for word in measured if self.words.id(word) not in spoken]

    def _relation(self, one: int, other: int) -> str | None:
        return self.relations.between(self.words.concepts[one], self.words.concepts[other])
