"""Place and size of regions in words: "the third largest of 12 nuclei, 8 µm across, left of …"."""

from __future__ import annotations

import itertools
import math
import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.decoders.options import as_length
from napari_patchioner.errors import ModelError
from napari_patchioner.regions import Layout, Region

from .nouns import (
    head_of,
    is_bare,
    is_hedged,
    is_mass,
    kin_of,
    noun_of,
    number_words,
    ordinal,
    plural_of,
    with_article,
    with_the,
)

WITH_PLACE = "with place and size"
"""How a caption was put in other words that says them."""

PixelSides: TypeAlias = tuple[tuple[float, str], tuple[float, str]]
"""Height and width of a pixel, each with the name of its unit."""

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]

# Diameters that differ by less than this share, or by less than a pixel, are the same size.
_REAL = 0.05
# Lengths that differ by less than that are the same, whatever the unit.
_SAME = 1 + 1e-9
_METRES = {"nm": 1e-9, "µm": 1e-6, "mm": 1e-3, "cm": 1e-2, "m": 1.0, "km": 1e3}
_DIGITS = 2
# Of what touches or covers a region so many are measured, the nearest in size.
_MOST_NEAR = 12
# A neighbour between which and another one a region lies is no more than this times as far.
_AS_FAR = 3.0
_OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
_GROUP = "group of "
# What has so much in common with a larger one of its noun is no other thing.
_SAME_THING = 0.5
# Of more, nobody would pick out "one of the five largest".
_FEW = 3


def length_words(value: float, unit: str) -> str:
    """Return a length with two digits, in the unit in which it is best read.

    >>> length_words(8.04, "µm"), length_words(1234, "nm"), length_words(0.5, "cm")
    ('8 µm', '1.2 µm', '5 mm')
    >>> length_words(1, "pixel"), length_words(123.4, "pixel"), length_words(999.7, "nm")
    ('1 pixel', '120 pixels', '1 µm')
    """
    if unit not in _METRES:
        number = _rounded(value)
        # Not even half a pixel is no pixel.
        text = f"{number:,.0f}" if number >= 10 else f"{number:.2g}"
        return f"{text} {unit}{'' if text == '1' else 's'}"
    metres = _rounded(value * _METRES[unit])
    # Nobody but those who measure in centimetres expects them.
    ladder = [u for u in _METRES if u != "cm" or unit == "cm"]
    best = next((u for u in reversed(ladder) if metres >= _METRES[u] * (1 - 1e-9)), ladder[0])
    return f"{_rounded(metres / _METRES[best]):,.6g} {best}"


def _rounded(value: float) -> float:
    """Return a number with two digits."""
    return float(f"{value:.{_DIGITS - 1}e}")


def usual_sides(pixel: PixelSides | None) -> tuple[tuple[float, float], str]:
    """Return height and width of a pixel in one unit, and that; in pixels where it is no length.

    >>> usual_sides(((0.5, "micrometer"), (250, "nm"))), usual_sides(((2, "s"), (1, "s")))
    (((0.5, 0.25), 'µm'), ((1.0, 1.0), 'pixel'))
    """
    try:
        if pixel is not None:
            (high, unit), (wide, other) = (as_length(f"{size:.12g} {unit}") for size, unit in pixel)
            return (high, float(f"{wide * _METRES[other] / _METRES[unit]:.12g}")), unit
    except ModelError:
        pass
    return (1.0, 1.0), "pixel"


@dataclass(frozen=True, slots=True)
class Thing:
    """A region as it is counted and placed.

    Attributes
    ----------
    uid : str
        Its name.
    region : Region
        Its geometry. A set is placed by itself, and neither counted nor a neighbour: its members
        are, if they are regions as well.
    caption : str
        What is said of it; its noun says what is alike.
    plane : hashable
        The plane it lies on; what lies on another plane is no neighbour and not counted.
    doubtful : bool
        Whether the caption is no more than a guess, so that it names nothing.
    """

    uid: str
    region: Region
    caption: str
    plane: Hashable = None
    doubtful: bool = False

    @property
    def noun(self) -> str:
        """What it is, in the singular; empty where nobody knows."""
        return "" if self.doubtful else noun_of(without_place(self.caption))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a region is and how large, in words; each part may be empty.

    Attributes
    ----------
    rank : str
        Its rank by size among those alike: "the third largest of 12 nuclei".
    size : str
        Its diameter or length: "8 µm across".
    relation : str
        How it lies to another thing, or in the image: "left of the vessel".
    about : tuple of str
        Uids of the regions that the relation speaks of.
    """

    rank: str = ""
    size: str = ""
    relation: str = ""
    about: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All that is known, with commas."""
        return ", ".join(filter(None, (self.rank, self.size, self.relation)))

    @property
    def where(self) -> str:
        """Rank and relation, with a comma."""
        return ", ".join(filter(None, (self.rank, self.relation)))


class Places:
    """Where the regions of an image are, in words.

    Directions are those of the image, its rows running down and its columns to the right, however
    it is displayed. Only what is true of the outlines is said: a rank where sizes differ by more
    than 5 % of the diameter and a pixel, "left of" where one ends before the other begins.

    Parameters
    ----------
    things : sequence of Thing
        All regions of the image.
    pixel : pair of (float, str), optional
        Height and width of a pixel, each with its unit; where none is a length, sizes are said in
        pixels.
    shape : tuple of int, optional
        Height and width of the image in pixels; where it is not known, no region lies "in the
        left half of the image". What of a region lies beyond does not count, and a region that
        does as a whole has no place.

    Examples
    --------
    >>> from napari_patchioner.regions import Box
    >>> things = [Thing("a", Box(0, 0, 9, 9), "a cat"), Thing("b", Box(0, 20, 20, 40), "a cat"),
    ...           Thing("c", Box(0, 60, 20, 80), "a tree")]
    >>> Places(things, pixel=((2, "cm"), (2, "cm"))).place("a").text
    'the smaller of two cats, 20 cm across, left of the tree'
    """

    def __init__(
        self,
        things: Sequence[Thing],
        *,
        pixel: PixelSides | None = None,
        shape: tuple[int, int] | None = None,
    ) -> None:
        self.things = tuple(things)
        self.shape = shape
        sides, self._unit = usual_sides(pixel)
        self.layout = Layout([thing.region for thing in self.things], sides=sides, shape=shape)
        self._pixel = math.sqrt(math.prod(sides))
        self._index = {thing.uid: index for index, thing in enumerate(self.things)}
        self._nouns = [
            thing.noun if thing.region.kind != "set" and self.layout.is_placed(index) else ""
            for index, thing in enumerate(self.things)
        ]
        self._merge()
        self._ranks: dict[int, tuple[str, str]] | None = None
        self._foreign: dict[tuple[Hashable, str], IntArray] = {}

    def _merge(self) -> None:
        """Count "a cell nucleus" and "Nuclei" with the nuclei, where something is called that."""
        known: dict[Hashable, dict[str, str]] = defaultdict(dict)
        for thing, noun in zip(self.things, self._nouns, strict=True):
            if noun and not noun.startswith(_GROUP):
                known[thing.plane].setdefault(noun.casefold(), noun)
        plurals = {
            plane: {plural_of(noun).casefold(): noun for noun in nouns.values()}
            for plane, nouns in known.items()
        }
        for index, (thing, noun) in enumerate(zip(self.things, self._nouns, strict=True)):
            if noun.startswith(_GROUP):
                # A name for many, written at one.
                name = without_place(thing.caption).strip(" .").casefold()
                self._nouns[index] = plurals.get(thing.plane, {}).get(name, noun)
            elif noun and (head := head_of(noun)) in known[thing.plane]:
                self._nouns[index] = known[thing.plane][head]

    @cached_property
    def alike(self) -> dict[tuple[Hashable, str], list[int]]:
        """The indices of those of one noun on one plane, by plane and noun in small letters.

        What lies within another of its noun, or has half of itself in common with a larger one, is
        that once more or a part of it, and not counted.
        """
        alike = defaultdict(list)
        for index, (thing, noun) in enumerate(zip(self.things, self._nouns, strict=True)):
            if noun:
                alike[thing.plane, noun.casefold()].append(index)
        for key, members in alike.items():
            parts = self.layout.nested(members, _SAME_THING)
            alike[key] = [member for member in members if member not in parts]
        return dict(alike)

    @cached_property
    def _counts(self) -> FloatArray:
        """How many there are of the noun of each thing, shape (n,)."""
        counts = np.ones(len(self.things))
        for members in self.alike.values():
            counts[members] = len(members)
        return counts

    def noun(self, index: int) -> str:
        """Return the noun of a thing that is counted; else empty."""
        return self._nouns[index]

    def alike_with(self, index: int) -> list[int]:
        """Return the indices of those alike that are counted; none where it has no noun."""
        noun = self._nouns[index]
        return self.alike[self.things[index].plane, noun.casefold()] if noun else []

    def is_counted(self, index: int) -> bool:
        """Whether a thing is counted among those alike: it is no part of another of them."""
        return index in self._counted

    @cached_property
    def _counted(self) -> frozenset[int]:
        return frozenset(itertools.chain.from_iterable(self.alike.values()))

    def place(self, uid: str) -> Place:
        """Return place and size of a region; nothing of a whole image."""
        index = self._index[uid]
        if not self.layout.is_placed(index):
            return Place()
        relation, about = self.relation(index)
        if not relation and self.shape is not None:
            relation = self.layout.position(index, *self.shape)
        about_uids = tuple(self.things[other].uid for other in about)
        return Place(self.rank(index), self.size(index), relation, about_uids)

    def size(self, index: int) -> str:
        """Return how large a thing is, in words."""
        size = self.layout.size(index)
        return f"{length_words(size.value, self._unit)} {size.kind}" if size is not None else ""

    # rank

    def rank(self, index: int) -> str:
        """Return the rank of a thing by size among those alike, in words; empty if it is alone."""
        which, of = self.ranked(index)
        return f"{which} {of}" if which else ""

    def ranked(self, index: int) -> tuple[str, str]:
        """Return the same in two parts: which, such as "the largest", and of how many."""
        if self._ranks is None:
            self._ranks = {}
            for members in self.alike.values():
                self._ranks |= self._all_ranks(members)
        return self._ranks.get(index, ("", ""))

    def _all_ranks(self, members: Sequence[int]) -> dict[int, tuple[str, str]]:
        """Return the ranks of things that are alike, each as which and of how many."""
        count = len(members)
        if count < 2 or is_mass(self._nouns[members[0]]):
            return {}
        of = f"of {number_words(count)} {plural_of(self._nouns[members[0]])}"
        ranks = dict.fromkeys(members, ("one", of))
        values, words = self.layout.diameters, ("larger", "smaller", "largest", "smallest")
        if not all(map(self.layout.is_area, members)):
            values, words = self.layout.lengths, ("longer", "shorter", "longest", "shortest")
            if any(self.layout.is_area(member) or values[member] <= 0 for member in members):
                # Points, or areas and lines, do not compare.
                return ranks
        order = sorted(members, key=lambda member: (-values[member], member))
        sizes = values[order]
        # The unit is not to decide what is exactly so much larger.
        least = np.maximum(_REAL * sizes[:-1], self._pixel) * _SAME
        steps = sizes[:-1] - sizes[1:] > least
        starts = [0, *(np.flatnonzero(steps) + 1).tolist(), count]
        for start, stop in itertools.pairwise(starts):
            for member in order[start:stop]:
                which = _which(start, stop, count, words)
                if which:
                    ranks[member] = which, of
        return ranks

    # relation

    def relation(self, index: int) -> tuple[str, tuple[int, ...]]:
        """Return how a thing lies to the most telling other, in words, and which those are."""
        others = self._others(index)
        if not len(others):
            return "", ()
        layout = self.layout
        gaps = layout.gaps(index)
        near = others[gaps[others] <= sum(layout.sides) * _SAME]
        if len(near):
            fit = np.abs(layout.diameters[near] - layout.diameters[index])
            near = near[np.argsort(fit, kind="stable")[:_MOST_NEAR]]
            relations = {int(other): layout.relation(index, int(other)) for other in near}
            for word in ("inside", "touching", "overlapping"):
                fits = [other for other, relation in relations.items() if relation == word]
                if fits:
                    # In the smallest of those that it lies in.
                    best = min(fits, key=lambda other: (layout.diameters[other], other))
                    return f"{word} {self.landmark(best)}", (best,)
        sizes = np.maximum(layout.diameters[others], layout.lengths[others] / 2)
        crowd = np.sqrt(self._counts[others])
        cost = (gaps[others] + self._pixel) * crowd / np.maximum(sizes, self._pixel)
        order = others[_smallest(cost, _MOST_NEAR)]
        around: list[int] = []
        for other in map(int, order):
            relation = layout.relation(index, other)
            if relation == "around":
                around.append(other)
            elif relation is not None and relation not in ("inside", "touching", "overlapping"):
                between = self._between(index, other, relation, order, gaps)
                return between or (f"{relation} {self.landmark(other)}", (other,))
        if around:
            return f"around {self.landmark(around[0])}", (around[0],)
        return "", ()

    def _others(self, index: int) -> IntArray:
        """Return the things of other nouns on the same plane that a thing may lie by."""
        key = self.things[index].plane, self._nouns[index].casefold()
        if key not in self._foreign:
            groups = [m for (plane, noun), m in self.alike.items() if plane == key[0]]
            # A group of the same is no other thing.
            own = _many(self._nouns[index])
            groups = [m for m in groups if _many(self._nouns[m[0]]) != own]
            members = sorted(itertools.chain.from_iterable(groups))
            self._foreign[key] = np.array(members, np.int64)
        others = self._foreign[key]
        if self.things[index].region.kind == "set" and len(others):
            # Its own parts say nothing of where it is.
            relations = [self.layout.relation(index, int(other)) for other in others]
            others = others[[r not in ("around", "overlapping", "touching") for r in relations]]
        return others

    def _between(
        self, index: int, other: int, relation: str, order: IntArray, gaps: FloatArray
    ) -> tuple[str, tuple[int, ...]] | None:
        """Return that a thing lies between two others, where the second is about as near."""
        opposite = _OPPOSITE.get(relation)
        farthest = _SAME * _AS_FAR * max(gaps[other], self._pixel)
        for second in map(int, order):
            if second == other or gaps[second] > farthest or opposite is None:
                continue
            if self.layout.relation(index, second) == opposite:
                pair = other, second
                first, last = (self._nouns[member] for member in pair)
                names = sorted(map(self.landmark, pair))
                is_same = first.casefold() == last.casefold()
                if is_mass(first) if is_same else names[0] == names[1]:
                    # "Between the grass and the grass" says nothing.
                    return None
                if not is_same:
                    # The same sentence however the image is mirrored.
                    return f"between {names[0]} and {names[1]}", pair
                the = "the " if len(self.alike_with(other)) == 2 else ""
                return f"between {the}two {plural_of(first)}", pair
        return None

    def called(self, index: int) -> str:
        """Return what a thing is called after "the": "vessel", of several "cups".

        Where one cup is there as well, they are a "group of cups".
        """
        noun, plane = self._nouns[index], self.things[index].plane
        return noun if (plane, _many(noun)) in self._single else noun.removeprefix(_GROUP)

    @cached_property
    def _single(self) -> frozenset[tuple[Hashable, str]]:
        """The nouns of single things on each plane, in the plural."""
        nouns = (key for key in self.alike if not key[1].startswith(_GROUP))
        return frozenset((plane, _many(noun)) for plane, noun in nouns)

    def landmark(self, index: int) -> str:
        """Return what a thing is called where another lies by it: "the vessel", "a vessel"."""
        noun, count = self._nouns[index], len(self.alike_with(index))
        if count == 1 or is_mass(noun):
            return with_the(self.called(index))
        which = self.ranked(index)[0]
        is_extreme = which.startswith("the ") and which.count(" ") == 1
        return f"{which} {noun}" if is_extreme else with_article(noun)


def _many(noun: str) -> str:
    """Return what many of a thing are called, in small letters; of a group, its things."""
    many = noun.removeprefix(_GROUP)
    return (many if many != noun else plural_of(noun)).casefold()


class PlaceDigests:
    """Digests of what the words about each region go by, cheap to tell whether they still hold.

    They change where the region does, one that its words name, or how many there are of either
    kind and where; what else is drawn or said changes nothing.

    Parameters
    ----------
    things : iterable of (Thing, str)
        All regions, each with a text that changes with its geometry.

    Examples
    --------
    >>> from napari_patchioner.regions import Box
    >>> cats = [(Thing(name, Box(0, 0, 9, 9), "a cat"), name) for name in "ab"]
    >>> tree = Thing("t", Box(0, 20, 9, 29), "a tree"), "t"
    >>> whole, part = PlaceDigests([*cats, tree]), PlaceDigests([*cats[:1], tree])
    >>> whole.digest("a") == part.digest("a"), whole.digest("t") == part.digest("t")
    (False, True)
    """

    def __init__(self, things: Iterable[tuple[Thing, str]]) -> None:
        self._kin: dict[str, tuple[Hashable, str]] = {}
        self._own: dict[str, str] = {}
        kinds: dict[tuple[Hashable, str], int] = defaultdict(int)
        for thing, geometry in things:
            noun = "" if thing.region.kind == "set" else thing.noun
            key = self._kin[thing.uid] = thing.plane, kin_of(noun)
            self._own[thing.uid] = geometry
            if noun:
                words = f"{thing.uid}\0{noun.casefold()}\0{geometry}".encode()
                kinds[key] ^= int.from_bytes(blake2b(words, digest_size=8).digest(), "big")
        self._kinds = kinds

    def digest(self, uid: str, about: Iterable[str] = ()) -> str:
        """Return that of a region whose words name others."""
        parts = []
        for name in (uid, *about):
            kin = self._kin.get(name)
            # Which plane it is stands in its geometry.
            kind = f"{kin[1]} {self._kinds.get(kin, 0)}" if kin is not None else ""
            parts += [name, self._own.get(name, ""), kind]
        return blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


def _smallest(values: FloatArray, most: int) -> IntArray:
    """Return the indices of so many of the smallest numbers, in order; of equals, the first."""
    few = np.arange(len(values))
    if len(values) > 2 * most:
        few = np.sort(np.argpartition(values, 2 * most)[: 2 * most])
    # A mirrored image differs in the last digits.
    coarse = np.array([float(f"{value:.9e}") for value in values[few].tolist()])
    return np.asarray(few[np.argsort(coarse, kind="stable")[:most]])


def _which(start: int, stop: int, count: int, words: tuple[str, str, str, str]) -> str:
    """Return the rank of things from one place to another, which are the same size, in words."""
    larger, smaller, largest, smallest = words
    if stop - start == count:
        return ""
    if stop - start > 1:
        if stop - start <= _FEW and (start == 0 or stop == count):
            superlative = largest if start == 0 else smallest
            return f"one of the {number_words(stop - start)} {superlative}"
        return ""
    if count == 2:
        return f"the {larger if start == 0 else smaller}"
    place, superlative = start + 1, largest
    if count - start < place:
        place, superlative = count - start, smallest
    return f"the {superlative}" if place == 1 else f"the {ordinal(place)} {superlative}"


# captions with it

_COUNT = r"(?:\w+|\d[\d,]*)"
_SUPERLATIVE = r"(?:larg|small|long|short)est"
_RANK = (
    rf"(?:the (?:{_COUNT} )?{_SUPERLATIVE}|the (?:larg|small|long|short)er"
    rf"|one|one of the {_COUNT} {_SUPERLATIVE}) of {_COUNT}(?: .+)?"
)
_SIZE = r"\d[\d.,e+-]* (?:nm|µm|mm|cm|m|km|pixels?) (?:across|long)"
_STATED = re.compile(r"\d ?-?(?:nm|[µμu]m|mm|cm|m|km|px|pixels?|microns?|micromet(?:er|re)s?)\b")
_RELATION = (
    r"(?:inside|around|touching|overlapping|between|beside|left of|right of|above|below"
    r"|(?:above|below) and (?:left|right) of) (?:(?:the|an?|two) )?[^,]+"
    r"|in the (?:[a-z]+ )?[a-z]+ (?:half|quarter) of the image|in the middle of the image"
    r"|filling most of the image"
)
_PARTS = tuple(re.compile(rf"(?:{part})\Z") for part in (_RELATION, _SIZE, _RANK))
_IN_BRACKETS = re.compile(r"(.*\S) \(([^()]*)\)\Z", re.DOTALL)


def with_place(caption: str, place: Place) -> str:
    """Return a caption followed by place and size, in the place of those it has already.

    Where it states a size of its own, none is said.

    >>> place = Place("the larger of two nuclei", "8 µm across", "left of the vessel")
    >>> with_place("a nucleus", place)
    'a nucleus, the larger of two, 8 µm across, left of the vessel'
    >>> with_place("There is a dark nucleus.", place)
    'There is a dark nucleus, the larger of two nuclei, 8 µm across, left of the vessel.'
    >>> with_place(with_place("cup or bowl?", Place(size="9 cm across")), Place(size="8 cm across"))
    'cup or bowl? (8 cm across)'
    >>> with_place("a spot 4 mm across", Place("the larger of two spots", "3 cm long"))
    'a spot 4 mm across, the larger of two spots'
    """
    caption = without_place(caption)
    if _STATED.search(caption):
        # Measured another way, it would be another one.
        place = replace(place, size="")
    if not (caption and place.text):
        return caption
    if caption.endswith(("?", "!", ")")):
        return f"{caption} ({place.text})"
    stop = "." if caption.endswith(".") else ""
    text, rank = place.text, place.rank
    if rank and is_bare(caption):
        short = rank.removesuffix(f" {plural_of(noun_of(caption))}")
        text = short + text.removeprefix(rank)
    return f"{caption.removesuffix('.')}, {text}{stop}"


@lru_cache(maxsize=16384)
def without_place(caption: str) -> str:
    """Return a caption without the place and size that `with_place` has put behind it.

    >>> without_place("a nucleus, the larger of two, 8 µm across, left of the vessel")
    'a nucleus'
    """
    if ", " not in caption and " (" not in caption:
        return caption
    if (
        caption.endswith(")")
        and (match := _IN_BRACKETS.match(caption))
        and match[1].endswith(("?", "!", ")"))
    ):
        inner = f"x, {match[2]}"
        return match[1] if without_place(inner) == "x" else caption
    stop = "." if caption.endswith(".") else ""
    parts = caption.removesuffix(stop).split(", ")
    for pattern in _PARTS:
        if len(parts) > 1 and pattern.match(parts[-1]):
            parts.pop()
    # What was not shortened keeps every letter.
    return caption if len(parts) == caption.count(", ") + 1 else f"{', '.join(parts)}{stop}"


def is_doubtful(caption: str, verdict: str = "sure") -> bool:
    """Whether a caption is no more than a guess."""
    return verdict == "unsure" or is_hedged(without_place(caption))
