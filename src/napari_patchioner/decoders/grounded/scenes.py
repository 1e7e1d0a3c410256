"""A sentence about a whole picture, from the things that its parts show."""

from __future__ import annotations

from collections.abc import Sequence

from napari_patchioner.decoders.caption import Thing

from .relations import Relations
from .vocabulary import PLACES, SURROUNDINGS, UNIQUE, Words, is_plural, with_article

# A sentence begins with what is at least this probable.
SURE = 0.5
# Of what else is shown, this much must be probable, and so many people mention it.
SHOWN, MENTIONED = 0.35, 0.08
MOST = 3
# From this probability of three or more on they are several.
SEVERAL = 0.7
# A picture is of one of these, however it is called.
_ALONE = (("person",), ("scene", "stuff"))


class Scenes:
    """Joins the things of a picture by the words that people use and their places allow."""

    def __init__(self, words: Words, relations: Relations) -> None:
        self._relations = relations
        self._concepts = {concept.name: concept for concept in words.concepts}

    def chosen(self, things: Sequence[Thing]) -> list[Thing]:
        """Things to be named, the one that the sentence begins with first.

        Empty where none is probable enough to begin with.
        """
        known = [thing for thing in things if thing.name in self._concepts]
        head = max(
            (thing for thing in known if thing.probability >= SURE),
            key=lambda thing: thing.mention,
            default=None,
        )
        if head is None:
            return []
        kept = [head]
        for thing in sorted(known, key=lambda thing: -thing.mention):
            shown = thing.probability >= SHOWN and thing.mention >= MENTIONED
            if len(kept) < MOST and shown and all(self._beside(thing, k) for k in kept):
                kept.append(thing)
        for thing in kept:
            if thing.probability >= SURE and self._goes_before(thing, head):
                head = thing
        return [head, *(thing for thing in kept if thing is not head)]

    def phrases(self, things: Sequence[Thing], longest: int) -> list[str]:
        """Phrases of at most so many tokens, the end included: of all things chosen, then of fewer.

        Empty where nothing is probable enough.
        """
        kept = self.chosen(things)
        phrases = dict.fromkeys(self.phrase(kept[:most]) for most in range(len(kept), 0, -1))
        return [text for text in phrases if len(text.split()) < longest]

    def phrase(self, things: Sequence[Thing]) -> str:
        """Say what `chosen` gave: what is beside the first thing, then what it is on or in."""
        head, *others = things
        apart = [thing for thing in others if self._is_place_of(thing, head)]
        beside = [thing for thing in others if thing not in apart]
        text = self._counted(head)
        if beside:
            join = self._join(head, beside[0])
            text += f" {join} {' and '.join(map(self._noun, beside))}"
        near = head
        for thing in sorted(apart, key=lambda thing: self._lateness(head, thing)):
            relation = self._place_word(near, thing) or self._place_word(head, thing)
            text += f" {relation or 'with'} {self._noun(thing, relation)}"
            near = thing
        return text

    def _beside(self, thing: Thing, other: Thing) -> bool:
        """Whether two things are worth a word each."""
        first, second = self._concepts[thing.name], self._concepts[other.name]
        if any(first.kind in kinds and second.kind in kinds for kinds in _ALONE):
            return False
        return {*first.name.split()}.isdisjoint(second.name.split())

    def _goes_before(self, thing: Thing, head: Thing) -> bool:
        """Whether people would begin with ``thing``: persons first, places last."""
        first, second = self._concepts[thing.name], self._concepts[head.name]
        if "person" in (first.kind, second.kind):
            return first.kind == "person" != second.kind
        ahead, behind = (
            self._relations.between(*pair) in PLACES for pair in ((first, second), (second, first))
        )
        if ahead != behind:
            return ahead
        return second.kind in SURROUNDINGS and first.kind not in SURROUNDINGS

    def _lateness(self, head: Thing, thing: Thing) -> tuple[bool, bool]:
        """Where a thing stands in a phrase: what it is "of", what is small, what it is in."""
        return self._place_word(head, thing) != "of", self._is_surrounding(thing)

    def _is_surrounding(self, thing: Thing) -> bool:
        return self._concepts[thing.name].kind in SURROUNDINGS

    def _is_place_of(self, thing: Thing, head: Thing) -> bool:
        return self._is_surrounding(thing) or self._place_word(head, thing) is not None

    def _place_word(self, thing: Thing, other: Thing) -> str | None:
        """Say where a thing is by another one, as people do, where the places do not deny it."""
        first, second = self._concepts[thing.name], self._concepts[other.name]
        word = self._relations.between(first, second)
        if word not in PLACES:
            return "in" if second.kind == "scene" else None
        if not self._is_surrounding(other) and not _may_be(word, thing, other):
            return "near"
        return word

    def _join(self, head: Thing, thing: Thing) -> str:
        """Join what stands side by side."""
        first, second = self._concepts[head.name], self._concepts[thing.name]
        word = self._relations.between(first, second)
        if word in ("and", "with"):
            return word
        return "with" if first.kind == "person" or first.kind in SURROUNDINGS else "and"

    def _counted(self, head: Thing) -> str:
        concept = self._concepts[head.name]
        if head.several < SEVERAL or not is_plural({"plural": 1.0}, concept):
            return self._noun(head)
        return f"{'a group of' if concept.kind == 'person' else 'several'} {concept.plural}"

    def _noun(self, thing: Thing, relation: str | None = None) -> str:
        """Return a name with its article; "the" where people say so in such a place."""
        concept = self._concepts[thing.name]
        usual = self._relations.determiners.get(concept.name, "a") if relation else "a"
        if concept.name in UNIQUE or usual == "the":
            return f"the {concept.name}"
        return with_article(concept.name, mass=concept.mass)


def _may_be(word: str, thing: Thing, other: Thing) -> bool:
    """Whether a thing can be "on" or "under" another one, from where both are."""
    top, left, bottom, right = thing.place
    other_top, other_left, other_bottom, other_right = other.place
    if min(right, other_right) <= max(left, other_left):
        return False
    middle, other_middle = (top + bottom) / 2, (other_top + other_bottom) / 2
    if word in ("on", "over"):
        return middle <= other_bottom
    return word != "under" or middle >= other_middle
