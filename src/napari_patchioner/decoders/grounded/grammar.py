"""Which token may follow those so far, so that only what has grounds is named."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from . import vocabulary
from .relations import Grounds, Relations
from .vocabulary import SURROUNDINGS, UNIQUE, Words


class GroundedGrammar:
    """Allows only tokens that have grounds, and only whole phrases.

    A name may be used once; a place ("on", "in") must be one that people name for the two
    things; adjectives and number come with the first name; a phrase ends after a name, and not
    before the first thing of its grounds was named.
    """

    def __init__(self, words: Words, relations: Relations) -> None:
        self.words = words
        self.relations = relations
        tables = (vocabulary.RELATIONS, vocabulary.PLACES, vocabulary.ADJECTIVES)
        self._relation_tokens, self._place_tokens, self._adjectives = (
            {words.id(word): word for word in table} for table in tables
        )
        self._quantities = {words.id(word) for word in vocabulary.QUANTITIES}
        self._joins = {words.id(word) for word in vocabulary.JOINS}
        self._and, self._a, self._the = (words.id(word) for word in ("and", "a", "the"))
        self._end = words.id(vocabulary.END)

    def mask(self, grounds: Sequence[Grounds], rows: Tensor, tokens: Tensor) -> Tensor:
        """Which tokens may come next, shape (m, vocab), for the generation loop.

        ``grounds`` has an item per region, ``rows`` (m,) is the region each sentence is about,
        ``tokens`` (m, t) are the sentences so far.
        """
        allowed = torch.zeros(len(rows), len(self.words), dtype=torch.bool)
        known: dict[tuple[int, ...], list[int]] = {}
        for index, (row, past) in enumerate(zip(rows.tolist(), tokens.tolist(), strict=True)):
            key = (row, *past)
            if key not in known:
                known[key] = self.following(grounds[row], past)
            allowed[index, known[key]] = True
        return allowed

    def phrases(self, grounds: Grounds, most: int) -> list[tuple[int, ...]] | None:
        """Every whole phrase about a region, the end token included; None if over ``most``."""
        whole: list[tuple[int, ...]] = []
        begun: list[tuple[int, ...]] = [()]
        while begun and len(whole) + len(begun) <= most:
            past = begun.pop()
            longer = [(*past, token) for token in self.following(grounds, past)]
            whole += [phrase for phrase in longer if phrase[-1] == self._end]
            begun += [phrase for phrase in longer if phrase[-1] != self._end]
        return None if begun or len(whole) > most else whole

    def following(self, grounds: Grounds, past: Sequence[int]) -> list[int]:
        """Tokens that may follow ``past``; the end token alone once all is named."""
        concepts = [int(self.words.concept_of[token]) for token in past]
        named = [concept for concept in concepts if concept >= 0]
        left = [thing for thing in grounds.things if thing not in named]
        if past and concepts[-1] >= 0:
            ending = [self._end] if grounds.things[0] in named else []
            return ending + self._relations_to(named, left) or [self._end]
        return self._next_noun(past, named, left) if named else self._opening(grounds, past)

    def _relations_to(self, named: Sequence[int], left: Sequence[int]) -> list[int]:
        """Words that can join the things left to those named."""
        if not left:
            return []
        known = {self._relation(subject, thing) for subject in named for thing in left}
        places = [token for token, word in self._place_tokens.items() if word in known]
        joins = [join for join in sorted(self._joins) if self._joined(join, named, left)]
        return joins + places

    def _joined(self, join: int, named: Sequence[int], left: Sequence[int]) -> list[int]:
        """Things that "and" or "with" may lead to: nobody is "with the sky"."""
        if join == self._and:
            return list(left)
        return [
            thing
            for thing in left
            if self.words.concepts[thing].kind not in SURROUNDINGS
            or any(self._relation(subject, thing) == "with" for subject in named)
        ]

    def _next_noun(self, past: Sequence[int], named: Sequence[int], left: list[int]) -> list[int]:
        """After a relation: a determiner, or a name it can lead to."""
        join = next((token for token in reversed(past) if token in self._relation_tokens), None)
        if join is None:
            # A beam that was ruled out before, left in the loop only to fill its row.
            return [self._end]
        word = self._relation_tokens[join]
        if join in self._joins:
            left = self._joined(join, named, left)
        else:
            left = [t for t in left if any(self._relation(n, t) == word for n in named)]
        concepts = self.words.concepts
        # "the" belongs to places ("on the beach") and to what exists but once.
        definite = [t for t in left if join not in self._joins or concepts[t].name in UNIQUE]
        if past[-1] == self._the:
            return [self.words.names[t] for t in definite]
        counted = [t for t in left if not concepts[t].mass]
        if past[-1] == self._a:
            return [self.words.names[t] for t in counted]
        bare = [self.words.names[t] for t in left if concepts[t].mass]
        return bare + [self._a] * bool(counted) + [self._the] * bool(definite)

    def _opening(self, grounds: Grounds, past: Sequence[int]) -> list[int]:
        """Before the first name: article or quantity, adjectives, then the name."""
        concepts, names = self.words.concepts, self.words.names
        things = [thing for thing in grounds.heads if self._agrees(thing, grounds, past)]
        adjectives = self._more_adjectives(things, grounds, past)
        if not past:
            bare = [thing for thing in things if concepts[thing].mass]
            return [
                *(names[thing] for thing in bare),
                *(adjectives if bare else ()),
                *([self._a] if len(bare) < len(things) else ()),
                *([self._the] if any(concepts[thing].name in UNIQUE for thing in things) else ()),
                *self._counts(things, grounds),
            ]
        if past[-1] == self._and:
            return adjectives
        nouns = [(self.words.plurals if past[0] in self._quantities else names)[t] for t in things]
        if past[-1] not in self._adjectives:
            return nouns + adjectives
        # A second adjective comes after "and" only: "a black and white cat".
        return nouns + [self._and] * bool(adjectives and self._and not in past)

    def _agrees(self, thing: int, grounds: Grounds, past: Sequence[int]) -> bool:
        """Whether a first name suits the article, quantity and adjectives before it."""
        concept = self.words.concepts[thing]
        if not past:
            return True
        start = past[0]
        if start in self._quantities:
            fit = start in self._counts([thing], grounds)
        elif start == self._the:
            fit = concept.name in UNIQUE
        else:
            fit = concept.mass != (start == self._a)
        adjectives = [self._adjectives[token] for token in past if token in self._adjectives]
        # What was measured of the region describes what the region is, and nothing else.
        own = thing == grounds.things[0] or not adjectives
        return fit and own and all(vocabulary.fits(word, concept) for word in adjectives)

    def _counts(self, things: Sequence[int], grounds: Grounds) -> list[int]:
        """Quantity that was measured: "a group of" people, "several" of anything else."""
        top = grounds.things[0]
        concept = self.words.concepts[top]
        if top not in things or not vocabulary.is_plural(grounds.attributes, concept):
            return []
        return [self.words.id("a group of" if concept.kind == "person" else "several")]

    def _more_adjectives(
        self, things: Sequence[int], grounds: Grounds, past: Sequence[int]
    ) -> list[int]:
        """Adjectives that were measured, fit the first thing and are not there yet."""
        used = [token for token in past if token in self._adjectives]
        top = grounds.things[0]
        if len(used) > 1 or top not in things or self._the in past:
            return []
        measured = vocabulary.fitting_adjectives(grounds.attributes, self.words.concepts[top])
        return [self.words.id(word) for word in measured if self.words.id(word) not in used]

    def _relation(self, subject: int, other: int) -> str | None:
        return self.relations.between(self.words.concepts[subject], self.words.concepts[other])
