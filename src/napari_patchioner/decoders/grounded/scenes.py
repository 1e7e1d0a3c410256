"""A sentence about a whole picture, from the things that its parts show."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.decoders.caption import Evidence, Thing

from .relations import Relations
from .vocabulary import (
    COLOURS,
    LIGHT,
    PLACES,
    SURROUNDINGS,
    UNIQUE,
    Concept,
    Words,
    fits,
    fitting_adjectives,
    is_plural,
    with_article,
)

# A sentence begins with what is at least this probable, as the name of a box is.
SURE = 0.7
# Of what else is shown, this much must be probable, and so many people mention it.
SHOWN, MENTIONED = 0.38, 0.07
# So many things of a picture are named, and of a region set.
MOST, MOST_MEMBERS = 4, 3
# What people do not mention with the others must be so probable.
EVIDENT = 0.65
# Persons are named, and come first, from this share of the best mentioned thing's mention.
PERSONS = 0.5
# Beside the first thing of a region, so much and so many.
BESIDE, MOST_BESIDE = 0.85, 1
# A region is said to be on, in front of or near a thing from these probabilities on; near a
# material, or in the sky, from this one on.
AROUND = {"on": 0.65, "in front of": 0.65, "near": 0.65}
SELDOM = 0.8
# What a thing can stand on beside materials, at, in, and in front of; and what nothing is near.
_SUPPORTS, _TABLES, _WATERS, _SKIES, _BACKDROPS, _EVERYWHERE = (
    frozenset(re.split(r",\s+", names))
    for names in (
        """floor, wooden floor, bridge, pier, dock, stairs, roof, rug, blanket, towel, pillow, bed,
        couch, bench, chair, table, dining table, desk, counter, shelf, cabinet, stove, field,
        parking lot, tennis court, baseball field, farm, yard, grass, hay""",
        "table, dining table, desk, counter",
        "ocean, water, waves, river, lake, swimming pool",
        "sky, clouds, sun, moon",
        """building, house, church, castle, tower, barn, fence, chain link fence, gate, wall,
        brick wall, stone wall, tile wall, door, sliding door, window, trees, curtain,
        shower curtain, window blind, mountain, hill, cliff, rocks""",
        "floor, wooden floor, ceiling",
    )
)
# What people say "sits" on furniture, as they do of what lies and stands there.
_SITS = ("appliance", "clothing", "container", "food", "instrument", "paper", "plant", "tool")
_BESIDE = "next to"
_SEATS = _TABLES | {"bed", "couch", "bench", "chair", "shelf", "stove"}
# From this probability of three or more on they are several.
SEVERAL = 0.75
# Things of a kind that share this much of their places need to be this probable, both of them.
RIVALS, RIVAL_SURE = 0.4, 0.7
# Things of a kind whose names lie this near among sentences ("bus" and "truck") are taken for one
# another: they are one thing seen twice unless both are this probable, or this where people say
# "and" between them whichever is first ("toilet" and "sink"). Chosen on half of the development
# images.
ALIKE, ALIKE_SURE, USUAL_SURE = 0.45, 0.95, 0.6
# A picture is of one of these, however it is called.
_ALONE = (("person",), ("scene", "stuff"))
# Things are on it although it is a plant.
_GROUND = frozenset(("grass", "hay"))

Place: TypeAlias = tuple[float, float, float, float]


# What is said of a region so that it is told apart from others: from these strengths on of a colour
# or a pattern, and this probability of what is beside it.
COLOURED, COMPANION = 0.5, 0.7
_SAID = (*COLOURS, *LIGHT, "striped", "spotted")


class Description(NamedTuple):
    """A phrase about a region, and what it says of it beside its name.

    Attributes
    ----------
    text : str
        The phrase.
    adjectives : tuple of str
        What it says that is measured; "plural" of several.
    things : tuple of (str, str)
        What it says is there too: ``relation`` ("beside", "on", "in front of" or "near") and name.
    """

    text: str
    adjectives: tuple[str, ...] = ()
    things: tuple[tuple[str, str], ...] = ()


class Scenes:
    """Joins the things of a picture by the words that people use and their places allow."""

    def __init__(
        self, words: Words, relations: Relations, embeddings: npt.NDArray[np.float32]
    ) -> None:
        self._relations = relations
        self._vectors = {
            concept.name: row for concept, row in zip(words.concepts, embeddings, strict=True)
        }
        self._concepts = {concept.name: concept for concept in words.concepts}

    def chosen(self, things: Sequence[Thing]) -> list[Thing]:
        """Things to be named, the one that the sentence begins with first.

        Empty where none is probable enough to begin with.
        """
        known = [thing for thing in things if thing.name in self._concepts]
        head = max(
            (thing for thing in known if _is_sure(thing)),
            key=lambda thing: thing.mention,
            default=None,
        )
        if head is None:
            return []
        kept, most = [head], MOST_MEMBERS if head.number else MOST
        floor = max(MENTIONED, PERSONS * head.mention)
        known = [
            thing
            for thing in known
            if self._concepts[thing.name].kind != "person" or thing.mention >= floor
        ]
        for thing in sorted(known, key=lambda thing: -thing.mention):
            shown = thing.probability >= SHOWN and thing.mention >= MENTIONED
            fits = self._fits(thing, kept) and self._is_likely_with(thing, kept)
            if len(kept) < most and shown and fits:
                kept.append(thing)
        for thing in kept:
            if _is_sure(thing) and self._goes_before(thing, head):
                head = thing
        return [head, *(thing for thing in kept if thing is not head)]

    def phrases(self, things: Sequence[Thing], longest: int) -> list[str]:
        """Phrases of at most so many tokens, the end included: of all things chosen, then of fewer.

        Empty where nothing is probable enough.
        """
        kept = self.chosen(things)
        phrases = dict.fromkeys(self.phrase(kept[:most]) for most in range(len(kept), 0, -1))
        return [text for text in phrases if len(text.split()) < longest]

    def phrase(self, things: Sequence[Thing], first: str | None = None) -> str:
        """Say what is beside the first of some things, then what it is on or in.

        ``first`` replaces the name of the first thing, of a region.
        """
        head, *others = things
        of_picture = first is None and not head.number
        apart = [thing for thing in others if self._is_place_of(thing, head)]
        beside = [thing for thing in others if thing not in apart]
        text = first or self._counted(head)
        # A cup of coffee is that, whatever is beside it.
        filled = [thing for thing in apart if self._place_word(head, thing) == "of"][:1]
        apart = [thing for thing in apart if thing not in filled]
        text += "".join(f" of {self._noun(thing, 'of')}" for thing in filled)
        if beside:
            join = self._join(head, beside[0])
            nouns = [self._noun(thing) for thing in beside]
            if join == "and" and len(nouns) > 1:
                text += f", {', '.join(nouns[:-1])} and {nouns[-1]}"
            else:
                first_ones = "".join(f"{noun}, " for noun in nouns[:-2])
                text += f" {join} {first_ones}{' and '.join(nouns[-2:])}"
        near, used, last = head, "of" if filled else "", ""
        for thing in sorted(apart, key=lambda thing: self._lateness(head, thing)):
            relation = self._place_word(head, thing) or self._place_word(near, thing) or "near"
            # Nothing is on two things, and no group is on one horse.
            large = self._is_surrounding(thing)
            crowded = self._is_group(head) or (used and used != "of")
            if relation == used or (crowded and not large and relation in ("on", "in")):
                relation = "near"
            # Whatever is outdoors is near the sky, and nothing on the ground is in it.
            if thing.name in _SKIES and (relation == "near" or used):
                continue
            word = self._fuller(relation, near, thing) if of_picture else relation
            # Next to two things is next to both.
            text += f" {'and' if word == last == _BESIDE else word} {self._noun(thing, relation)}"
            last = word
            if relation != "of":
                near, used = thing, relation
        return text

    def _fuller(self, relation: str, thing: Thing, other: Thing) -> str:
        """Say where a thing is as people do who describe a whole picture."""
        kind = self._concepts[thing.name].kind
        if relation == "on" and kind in _SITS and other.name in _SEATS:
            return "sitting on"
        if relation == "near" and other.name not in _WATERS | _SKIES:
            return _BESIDE
        return relation

    def of_region(self, evidence: Evidence) -> list[str]:
        """Phrases about a region's first concept, what is beside it and where it is, longest first.

        Empty where nothing else is probable enough. The first has its adjectives and number.
        """
        name = evidence.concepts[0][0] if evidence.concepts else ""
        if name not in self._concepts or not (evidence.beside or evidence.around):
            return []
        head = Thing(name, evidence.score, 1.0)
        place, word = self._surroundings(head, evidence.around) or (None, "")
        kept = [head] if place is None else [head, place]
        beside: list[Thing] = []
        for thing in evidence.beside or ():
            known = thing.name in self._concepts and thing.probability >= BESIDE
            if len(beside) < MOST_BESIDE and known and self._fits(thing, [*kept, *beside]):
                beside.append(thing)
        described = self._described(head, evidence.attributes)
        phrases = []
        for most in range(len(beside), -1, -1):
            phrase = self.phrase([head, *beside[:most]], described)
            if place is not None and f" {word} " not in phrase:
                noun = self._noun(place, None if word == "near" else word)
                phrases.append(f"{phrase} {word} {noun}")
            if most:
                phrases.append(phrase)
        return phrases

    def descriptions(
        self, evidence: Evidence, strengths: Mapping[str, float], name: str = ""
    ) -> list[Description]:
        """Everything that can be said of a region with a colour or two and one other thing.

        All of it is borne out: adjectives by ``strengths``, 0 to 1, things by the evidence. The
        plainest comes first. ``name`` is what the region is called, by default its first concept.
        Empty where nothing is named.
        """
        name = name or (evidence.concepts[0][0] if evidence.concepts else "")
        if name not in self._concepts:
            return []
        concept, head = self._concepts[name], Thing(name, evidence.score, 1.0)
        several = is_plural(evidence.attributes, concept)
        company = self._company(head, evidence)
        phrases: dict[str, Description] = {}
        for adjectives in _looks(concept, strengths):
            text = self._looking(concept, adjectives, several=several)
            claimed = ("plural", *adjectives) if several else adjectives
            phrases.setdefault(text, Description(text, claimed))
            for relation, word, thing in company:
                noun = self._noun(thing, None if word in ("near", "and", "with") else word)
                whole = f"{text} {word} {noun}"
                phrases.setdefault(whole, Description(whole, claimed, ((relation, thing.name),)))
        return list(phrases.values())

    def _company(self, head: Thing, evidence: Evidence) -> list[tuple[str, str, Thing]]:
        """Everything a thing is said to be by or with: how it lies, in which word, and what."""
        company: list[tuple[str, str, Thing]] = []
        for thing in evidence.around:
            known = thing.name in self._concepts and thing.probability >= AROUND[thing.relation]
            word = self._around_word(head, thing) if known and self._beside(thing, head) else ""
            if word:
                company.append((thing.relation, word, thing))
        for thing in evidence.beside or ():
            known = thing.name in self._concepts and thing.probability >= COMPANION
            if known and self._beside(thing, head):
                company.append(("beside", self._join(head, thing), thing))
        return company

    @staticmethod
    def _looking(concept: Concept, adjectives: Sequence[str], *, several: bool) -> str:
        """Return a name with its number and adjectives; persons are dressed in a colour."""
        looks, dressed = " and ".join(adjectives), concept.kind == "person"
        noun = concept.plural if several else concept.name
        text = noun if dressed else f"{looks} {noun}".strip()
        if several:
            text = f"{'a group of' if dressed else 'several'} {text}"
        elif concept.name in UNIQUE:
            text = f"the {text}"
        else:
            text = with_article(text, mass=concept.mass)
        return f"{text} in {looks}" if dressed and looks else text

    def _surroundings(self, head: Thing, around: Sequence[Thing]) -> tuple[Thing, str] | None:
        """By what a thing is, and how: on something rather than in front of or near it."""
        said = []
        for thing in around:
            known = thing.name in self._concepts and thing.probability >= AROUND[thing.relation]
            word = self._around_word(head, thing) if known and self._beside(thing, head) else ""
            if word:
                large = self._is_surrounding(thing) or thing.name in _BACKDROPS
                rank = (-list(AROUND).index(thing.relation), not large, thing.probability)
                said.append((rank, word, thing))
        if not said:
            return None
        _, word, thing = max(said, key=lambda item: item[0])
        return thing, word

    def _around_word(self, head: Thing, thing: Thing) -> str:
        """Say how a thing lies to another one, as was measured; nothing where that is odd."""
        first, second = self._concepts[head.name], self._concepts[thing.name]
        certain = thing.probability >= SELDOM
        if thing.name in _SKIES:
            # The sky is under a bird on a branch, too.
            flies = first.kind in ("vehicle", "sport") and certain
            return "in" if thing.relation == "on" and flies else ""
        if thing.relation == "on":
            # What drives is on the road beside it.
            if thing.name == "sidewalk" and first.kind == "vehicle":
                return "near"
            if thing.name in _WATERS:
                return "in" if first.kind in ("person", "animal") else "on"
            if thing.name in _TABLES and first.kind in ("person", "furniture"):
                return "at"
            stands = thing.name in _SUPPORTS or second.kind == "stuff"
            return "on" if stands and thing.name not in _BACKDROPS - {"rocks"} else ""
        if thing.relation == "in front of":
            return "in front of" if thing.name in _BACKDROPS else ""
        vague = second.kind == "stuff" or thing.name in ("grass", "field")
        return "" if thing.name in _EVERYWHERE or (vague and not certain) else "near"

    def _described(self, head: Thing, attributes: Mapping[str, float]) -> str:
        """Return a name with what was measured of it."""
        concept = self._concepts[head.name]
        adjectives = " and ".join(fitting_adjectives(attributes, concept))
        if is_plural(attributes, concept):
            quantity = "a group of" if concept.kind == "person" else "several"
            return " ".join(filter(None, [quantity, adjectives, concept.plural]))
        if not adjectives:
            return self._noun(head)
        return with_article(f"{adjectives} {concept.name}", mass=concept.mass)

    def _fits(self, thing: Thing, kept: Sequence[Thing]) -> bool:
        return all(self._beside(thing, other) for other in kept)

    def _beside(self, thing: Thing, other: Thing) -> bool:
        """Whether two things are worth a word each."""
        first, second = self._concepts[thing.name], self._concepts[other.name]
        if any(first.kind in kinds and second.kind in kinds for kinds in _ALONE):
            return False
        least = min(thing.probability, other.probability)
        apart = thing.relation or (thing.number and other.number)
        if not apart and least < self._sure_beside(first, second):
            return False
        # Two animals in one place are guesses at one animal.
        rivals = first.kind == second.kind and _overlap(thing.place, other.place) > RIVALS
        if rivals and least < RIVAL_SURE:
            return False
        return {*first.name.split()}.isdisjoint(second.name.split())

    def _sure_beside(self, first: Concept, second: Concept) -> float:
        """How probable two things must be that may be one thing seen twice."""
        near = float(self._vectors[first.name] @ self._vectors[second.name]) >= ALIKE
        if first.kind != second.kind or not near:
            return 0.0
        words = {
            self._relations.pairs.get(pair)
            for pair in ((first.name, second.name), (second.name, first.name))
        }
        if not words.isdisjoint(("with", *PLACES)):
            return 0.0
        return USUAL_SURE if words == {"and"} else ALIKE_SURE

    def _is_likely_with(self, thing: Thing, kept: Sequence[Thing]) -> bool:
        """Whether a thing was drawn, is plain to see, or is what people mention with the others."""
        if thing.number or thing.probability >= EVIDENT:
            return True
        concept = self._concepts[thing.name]
        others = [self._concepts[other.name] for other in kept]
        # A cup of coffee is what the cup is, wherever it stands.
        if any(self._relations.between(other, concept) == "of" for other in others):
            return True
        return all(self._relations.mentioned_together(concept, other) for other in others)

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
        return thing.name in _GROUND or self._concepts[thing.name].kind in SURROUNDINGS

    def _is_place_of(self, thing: Thing, head: Thing) -> bool:
        return self._is_surrounding(thing) or self._place_word(head, thing) is not None

    def _place_word(self, thing: Thing, other: Thing) -> str | None:
        """Say where a thing is by another one, as people do, where the places do not deny it."""
        first, second = self._concepts[thing.name], self._concepts[other.name]
        word, large = self._relations.between(first, second), self._is_surrounding(other)
        if word == "at" and second.kind not in (*SURROUNDINGS, "furniture"):
            return "near"
        if word not in PLACES:
            return {"scene": "in", "plant": "on"}.get(second.kind) if large else None
        if not large and not _may_be(word, thing, other):
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
        if head.number < 2 and self._is_group(head):
            return f"a group of {self._concepts[head.name].plural}"
        return self._noun(head)

    def _is_group(self, thing: Thing) -> bool:
        """Whether there are several persons; one large animal looks like a herd in windows."""
        concept = self._concepts[thing.name]
        return (
            (thing.several >= SEVERAL or thing.number > 1)
            and is_plural({"plural": 1.0}, concept)
            and (concept.kind == "person")
        )

    def _noun(self, thing: Thing, relation: str | None = None) -> str:
        """Return a name with its number or article; "the" where people say so in such a place."""
        concept = self._concepts[thing.name]
        if thing.number > 1 and is_plural({"plural": 1.0}, concept):
            many = "a group of" if concept.kind == "person" else "several"
            return f"{'two' if thing.number == 2 else many} {concept.plural}"
        usual = self._relations.determiners.get(concept.name, "a") if relation else "a"
        if concept.name in UNIQUE or usual == "the":
            return f"the {concept.name}"
        return with_article(concept.name, mass=concept.mass)


def _looks(concept: Concept, strengths: Mapping[str, float]) -> list[tuple[str, ...]]:
    """Return the adjectives that suit a thing and are strong: none, one, or two colours."""
    dressed = concept.kind == "person"
    words = [
        word
        for word in _SAID
        if strengths.get(word, 0.0) >= COLOURED
        and (fits(word, concept) or (dressed and word in COLOURS))
    ]
    colours = [] if dressed else [word for word in words if word in COLOURS]
    return [(), *((word,) for word in words), *combinations(colours, 2)]


def _is_sure(thing: Thing) -> bool:
    """Whether a sentence may begin with a thing; members of a set were found sure before."""
    return thing.number > 0 or thing.probability >= SURE


def _overlap(place: Place, other: Place) -> float:
    """Share that two places have in common of all they take together."""
    height = min(place[2], other[2]) - max(place[0], other[0])
    width = min(place[3], other[3]) - max(place[1], other[1])
    common = max(height, 0.0) * max(width, 0.0)
    areas = [(bottom - top) * (right - left) for top, left, bottom, right in (place, other)]
    return common / (sum(areas) - common)


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
