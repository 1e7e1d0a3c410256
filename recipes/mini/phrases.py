"""Short captions from bags of things: the only sentences the embedded decoder ever reads.

A phrase names its heaviest thing first, joins the next ones by the relation that captions agree
on, and says nothing else but measured adjectives and "several".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_patchioner.decoders.grounded.vocabulary import PLACES, SURROUNDINGS, UNIQUE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_patchioner.decoders.grounded.relations import Relations
    from napari_patchioner.decoders.grounded.vocabulary import Words

# What stands beside a person rather than being carried or used by one.
_EQUALS = ("person", "animal", "vehicle", "street")


class Writer:
    """Writes phrases as token ids, by rule.

    Parameters
    ----------
    words : Words
        The vocabulary.
    relations : Relations
        What captions agree on.
    """

    def __init__(self, words: Words, relations: Relations) -> None:
        self.words = words
        self.relations = relations

    def write(
        self, things: Sequence[int], *, adjectives: Sequence[str] = (), plural: bool = False
    ) -> list[int]:
        """Write a phrase about one to three things.

        Parameters
        ----------
        things : sequence of int
            Concepts, each once, the one the phrase is about first.
        adjectives : sequence of str
            What is said of the first.
        plural : bool
            Whether there are several of the first.

        Returns
        -------
        list of int
            Tokens, the end token included.
        """
        head, *others = things
        tokens = self._head(head, adjectives, plural=plural)
        before = [head]
        for thing in self._ordered(head, others):
            tokens += self._join(before, thing, last=len(before) == len(others))
            before.append(thing)
        return [*tokens, self.words.id("<end>")]

    def relation(self, one: int, other: int) -> str | None:
        """Relation of one concept to another, by index."""
        concepts = self.words.concepts
        return self.relations.between(concepts[one], concepts[other])

    def _head(self, head: int, adjectives: Sequence[str], *, plural: bool) -> list[int]:
        concept = self.words.concepts[head]
        said = [self.words.id(word) for word in adjectives]
        if len(said) == 2:
            said.insert(1, self.words.id("and"))
        if plural:
            quantity = "a group of" if concept.kind == "person" else "several"
            return [self.words.id(quantity), *said, self.words.plurals[head]]
        if concept.name in UNIQUE and not said:
            return [self.words.id("the"), self.words.names[head]]
        if concept.mass:
            return [*said, self.words.names[head]]
        return [self.words.id("a"), *said, self.words.names[head]]

    def _ordered(self, head: int, others: Sequence[int]) -> list[int]:
        """Things before the places they are in, clothes before other things."""
        return sorted(others, key=lambda thing: self._lateness(head, thing))

    def _lateness(self, head: int, thing: int) -> tuple[bool, bool]:
        kind = self.words.concepts[thing].kind
        worn = kind == "clothing"
        return kind in SURROUNDINGS, not worn and self.relation(head, thing) in PLACES

    def _join(self, before: Sequence[int], thing: int, *, last: bool) -> list[int]:
        """Attach one more thing to those named before."""
        relation = self._chosen(before, thing, last=last)
        place = relation in PLACES and relation != "of"
        return [self.words.id(relation), *self._noun(thing, place=place)]

    def _chosen(self, before: Sequence[int], thing: int, *, last: bool) -> str:
        head, nearest = before[0], before[-1]
        at_head, at_nearest = self.relation(head, thing), self.relation(nearest, thing)
        if at_nearest in PLACES and not self._is_ground(nearest):
            return str(at_nearest)
        if at_head in PLACES and self._may_follow(head, nearest, thing):
            return str(at_head)
        if len(before) > 1:
            return "and"
        if at_head in (None, "and"):
            return self._plainest(head, thing, last=last)
        return str(at_head)

    def _may_follow(self, head: int, nearest: int, thing: int) -> bool:
        """Whether the head's relation to a third thing is understood so late in the sentence."""
        if nearest == head:
            return True
        far = self.relation(head, thing)
        if self._is_ground(nearest) and far not in ("near", "in front of"):
            return False
        near = self.relation(head, nearest)
        return far not in (near, "of") and (self._is_ground(thing) or near not in PLACES)

    def _is_ground(self, thing: int) -> bool:
        return self.words.concepts[thing].kind in SURROUNDINGS

    def _plainest(self, one: int, other: int, *, last: bool) -> str:
        """Join what captions do not join: the last equal by "and", anything else by "with"."""
        if not last:
            return "with"
        if self._is_ground(other):
            return "and"
        kinds = [self.words.concepts[thing].kind for thing in (one, other)]
        holds = kinds[0] == "person" and kinds[1] not in _EQUALS
        return "with" if holds or self._is_ground(one) else "and"

    def _noun(self, thing: int, *, place: bool) -> list[int]:
        concept = self.words.concepts[thing]
        name = self.words.names[thing]
        usual = self.relations.determiners.get(concept.name, "a") if place else "a"
        if concept.name in UNIQUE or (usual == "the" and place):
            return [self.words.id("the"), name]
        return [name] if concept.mass else [self.words.id("a"), name]
