"""A paragraph about an image, made of what is said of its regions, with links to them."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from html import escape
from typing import Any, NamedTuple

import numpy as np

from .nouns import is_mass, is_plural_only, number_words, phrase_of, plural_of, with_the
from .place import PixelSides, Places, Thing, usual_sides, without_place
from .record import Annotation

FROM_REGIONS = "put together from its regions"
"""How the text of a whole image was made, where it is such a paragraph."""

# Things named in the sentence of what there is, captions of people that are quoted, things of which
# more is said, and guesses that are repeated.
_NAMED, _QUOTED, _PLACED, _GUESSED = 6, 6, 3, 2
# Of more alike, only the largest is placed.
_ALL_PLACED = 20
# A phrase about more regions links to the largest of them.
_LINKED = 100
_PIXEL = "pixel"
_GROUP = "group of "
# How captions are told apart by places
_WHERE = re.compile(
    r"(?:on|at|in) the (?:left|right|top|bottom|middle)|the (?:larger|smaller) one"
    r"|the (?:largest|smallest)|\w+ from the (?:left|right|top|bottom)"
)
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|<>~&])")


class Link(NamedTuple):
    """A phrase of a paragraph: where it begins and ends, and the uids of what it speaks of."""

    start: int
    stop: int
    uids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph about an image.

    Attributes
    ----------
    text : str
        A few sentences; empty where nothing is said of the regions.
    links : tuple of Link
        Its phrases that speak of regions, in order. Of many regions the largest are named.
    """

    text: str = ""
    links: tuple[Link, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the links as plain values, as they are kept beside the text."""
        return {"links": [[link.start, link.stop, list(link.uids)] for link in self.links]}


def links_of(made: object, text: str) -> tuple[Link, ...]:
    """Return the links that are kept beside a text; those that do not fit it are left out.

    Parameters
    ----------
    made : object
        What `Paragraph.to_json` gave, read from a file that may hold anything.
    text : str
        The paragraph.
    """
    listed = made.get("links") if isinstance(made, Mapping) else None
    links: list[Link] = []
    for item in listed if isinstance(listed, list | tuple) else ():
        if not (isinstance(item, list | tuple) and len(item) == 3):
            continue
        start, stop, uids = item
        if not (isinstance(uids, list | tuple) and all(isinstance(uid, str) for uid in uids)):
            continue
        before = links[-1].stop if links else 0
        if type(start) is type(stop) is int and before <= start < stop <= len(text) and uids:
            links.append(Link(start, stop, tuple(uids)))
    return tuple(links)


def links_in(annotation: Annotation) -> tuple[Link, ...]:
    """Return the links of a paragraph that an annotation of a whole image holds, if it is one."""
    try:
        made = json.loads(annotation.extra.get("origin", ""))["reworded"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ()
    if not isinstance(made, dict) or made.get("by") != FROM_REGIONS:
        return ()
    return links_of(made, annotation.caption) if made.get("text") == annotation.caption else ()


def as_html(text: str, links: Sequence[Link], address: Callable[[Link], str]) -> str:
    """Return a paragraph as HTML; a link without an address is plain text.

    >>> as_html("a < cat", [Link(4, 7, ("u",))], lambda link: "#" + link.uids[0])
    'a &lt; <a href="#u">cat</a>'
    """
    return _marked(text, links, address, escape, '<a href="{1}">{0}</a>', escape)


def as_markdown(text: str, links: Sequence[Link], address: Callable[[Link], str]) -> str:
    r"""Return a paragraph as Markdown, what would be markup in its text escaped.

    >>> as_markdown("*a* cat", [Link(4, 7, ("u",))], lambda link: "report.html#c1")
    '\\*a\\* [cat](<report.html#c1>)'
    """

    def safe(address: str) -> str:
        return re.sub(r"[<>\s\\]", lambda sign: f"%{ord(sign.group()):02X}", address)

    return _marked(
        text, links, address, lambda part: _MARKDOWN.sub(r"\\\1", part), "[{}](<{}>)", safe
    )


def _marked(
    text: str,
    links: Sequence[Link],
    address: Callable[[Link], str],
    plain: Callable[[str], str],
    linked: str,
    safe: Callable[[str], str],
) -> str:
    parts, before = [], 0
    for link in links:
        parts.append(plain(text[before : link.start]))
        phrase, target = plain(text[link.start : link.stop]), address(link)
        parts.append(linked.format(phrase, safe(target)) if target else phrase)
        before = link.stop
    return "".join([*parts, plain(text[before:])])


def regions_digest(regions: Iterable[int]) -> str:
    """Return the digest of a set of regions, each given by its `region_digest`."""
    total, count = 0, 0
    for region in regions:
        total, count = total ^ region, count + 1
    return f"{count:x}-{total:016x}"


def region_digest(uid: str, caption: str, geometry: str) -> int:
    """Return the digest of one region: 64 bits that change with its caption or geometry.

    Place and size behind a caption change nothing.
    """
    digest = blake2b(digest_size=8)
    for text in (uid, without_place(caption), geometry):
        digest.update(f"{len(text)} {text}".encode())
    return int.from_bytes(digest.digest(), "big")


def paragraph_of(
    things: Sequence[Thing],
    by_people: Collection[str] = (),
    *,
    pixel: PixelSides | None = None,
    shape: tuple[int, int] | None = None,
) -> Paragraph:
    """Compose a paragraph about an image of what is said of its regions.

    First come the captions of people, word for word, then what else there is, counted and the
    largest first, then how the largest lie to each other, then guesses, as such.

    Parameters
    ----------
    things : sequence of Thing
        Regions of one plane with their captions; those without a caption are left out. A set
        counts where a person wrote its caption.
    by_people : collection of str
        Uids of regions whose caption a person wrote.
    pixel : pair of (float, str), optional
        Height and width of a pixel, each with its unit; sizes are said where it is a length.
    shape : tuple of int, optional
        Height and width of the image in pixels; regions that lie outside are left out.

    Returns
    -------
    Paragraph
        Empty where no region has a caption.

    Examples
    --------
    >>> from napari_patchioner.regions import Box
    >>> things = [Thing("a", Box(0, 0, 9, 9), "a cat"), Thing("b", Box(0, 20, 20, 40), "a cat"),
    ...           Thing("c", Box(0, 60, 30, 90), "a tall tree")]
    >>> paragraph_of(things).text
    'The image shows a tall tree and two cats. Both cats are left of the tree.'
    """
    said = [thing for thing in things if thing.caption.strip()]
    kinds = ((thing, thing.region.kind) for thing in said)
    said = [t for t, kind in kinds if kind != "image" and (kind != "set" or t.uid in by_people)]
    places = Places(said, pixel=pixel, shape=shape)
    if outside := places.layout.outside:
        said = [thing for index, thing in enumerate(said) if index not in outside]
        places = Places(said, pixel=pixel, shape=shape)
    return _Writer(places, by_people, is_sized=usual_sides(pixel)[1] != _PIXEL).paragraph()


class _Writer:
    """Writes one paragraph, sentence by sentence."""

    def __init__(self, places: Places, by_people: Collection[str], *, is_sized: bool) -> None:
        self.places = places
        self.is_sized = is_sized
        things = enumerate(places.things)
        self.people = [index for index, thing in things if thing.uid in by_people]
        own = set(self.people)
        self.machine = [index for index in range(len(places.things)) if index not in own]
        self._parts: list[tuple[str, tuple[int, ...]]] = []

    def paragraph(self) -> Paragraph:
        """Return all sentences."""
        self._quote()
        self._name()
        self._place()
        self._guess()
        text, links = "", []
        for part, members in self._parts:
            if members:
                uids = tuple(self.places.things[member].uid for member in members)
                links.append(Link(len(text), len(text) + len(part), uids))
            text += part
        return Paragraph(text, tuple(links))

    # sentences

    def _quote(self) -> None:
        """Say what people wrote."""
        texts = defaultdict(list)
        for index in self.people:
            texts[" ".join(self.places.things[index].caption.split())].append(index)
        ordered = self._largest_first(texts)
        if not ordered:
            return
        items: list[list[tuple[str, Sequence[int]]]] = []
        for text, members in ordered[:_QUOTED]:
            count = number_words(len(members))
            verb = "is" if len(members) == 1 else "are"
            noun = "region" if len(members) == 1 else "regions"
            start = f"{count} {noun} {verb} described as " if not items else f"{count} as "
            items.append([(start, ()), (f"“{text}”", members)])
        if rest := [member for _, members in ordered[_QUOTED:] for member in members]:
            items.append([(f"{number_words(len(rest))} in other words", rest)])
        self._say([("By hand, ", ()), *_joined(items)])

    def _name(self) -> None:
        """Say what else there is, and how many of each."""
        nouns: dict[str, list[int]] = defaultdict(list)
        for index in self._sure():
            thing = self.places.things[index]
            if self.places.noun(index) and not self.places.is_counted(index):
                continue
            # What is not understood is alike only where it is the same.
            noun = self.places.noun(index) or thing.noun or without_place(thing.caption)
            nouns[noun.casefold()].append(index)
        ordered = self._largest_first(nouns)
        items = [[(self._counted(members), members)] for _, members in ordered[:_NAMED]]
        others = [member for _, members in ordered[_NAMED:] for member in members]
        if len(others) == 1 and len(ordered) > _NAMED:
            items.append([(self._counted(others), others)])
            others = []
        if others:
            more = "other thing" if items else "thing"
            count = number_words(len(others))
            items.append([(f"{count} {more}{'' if len(others) == 1 else 's'}", others)])
        if items:
            start = "The image also shows " if self._parts else "The image shows "
            self._say([(start, ()), *_joined(items)])

    def _place(self) -> None:
        """Say how the largest things lie to each other, each two only once."""
        places = self.places
        groups = [members for _, members in self._largest_first(dict(places.alike))[:_PLACED]]
        together = {members[0]: self._common(members) for members in groups}
        said = {self._nouns(first, about) for first, (_, about) in together.items() if about}
        for members in groups:
            text, about = together[members[0]]
            if text:
                count = "Both" if len(members) == 2 else f"All {number_words(len(members))}"
                subject = f"{count} {plural_of(places.noun(members[0]))}"
                self._predicate(subject, members, "", text, about, several=True)
            elif (index := self._chief(members)) is not None:
                text, about = places.relation(index)
                pair = self._nouns(index, about)
                # One of many is no place that anybody would know.
                known = all(places.landmark(other).startswith("the ") for other in about)
                if not about or pair in said or not (known or text.startswith("between")):
                    text, about = self._position(index), ()
                said.add(pair)
                self._place_one(index, members, text, about)

    def _common(self, members: Sequence[int]) -> tuple[str, tuple[int, ...]]:
        """Return how all of some things lie to another one, in words; else nothing."""
        is_few = 1 < len(members) <= _ALL_PLACED
        if not is_few or is_mass(self.places.noun(members[0])):
            return "", ()
        relations = {self.places.relation(member) for member in members}
        text, about = relations.pop()
        is_known = len(about) == 1 and len(self.places.alike_with(about[0])) == 1
        return (text, about) if is_known and not relations else ("", ())

    def _place_one(
        self, index: int, members: Sequence[int], relation: str, about: tuple[int, ...]
    ) -> None:
        """Say where one thing is, and how large, be it the only one or the largest of those."""
        called = self.places.called(index)
        is_group = self.places.noun(index).startswith(_GROUP)
        # "The cups are", but "the group of cups is".
        several = not called.startswith(_GROUP) and (is_group or is_plural_only(called))
        subject = with_the(called)
        if len(members) > 1:
            which, of = self.places.ranked(index)
            subject, several = f"{which} {of.replace('of ', 'of the ', 1)}", False
        size = self.places.size(index) if self.is_sized else ""
        self._predicate(subject, [index], size, relation, about, several=several)

    def _nouns(self, index: int, about: Sequence[int]) -> frozenset[str]:
        """Return the nouns of what is said to lie to each other."""
        return frozenset(self.places.noun(member).casefold() for member in (index, *about))

    def _position(self, index: int) -> str:
        """Return where in the image a thing lies, in words, if the size of that is known."""
        shape = self.places.shape
        return self.places.layout.position(index, *shape) if shape is not None else ""

    def _guess(self) -> None:
        """Say what is not sure, as a guess."""
        things = self.places.things
        guesses = [index for index in self.machine if things[index].doubtful]
        texts: dict[str, list[int]] = defaultdict(list)
        for index in guesses:
            texts[_guess_of(things[index].caption)].append(index)
        if 0 < len(texts) <= _GUESSED and "" not in texts:
            for text, members in self._largest_first(texts):
                count = number_words(len(members)).capitalize()
                start = "Another region" if self._parts else "One region"
                if len(members) > 1:
                    start = f"{count} other regions" if self._parts else f"{count} regions"
                each = "may each be" if len(members) > 1 else "may be"
                self._say([(start, members), (f" {each} {text}", ())])
        elif guesses:
            more = " more" if self._parts else ""
            count = number_words(len(guesses)).capitalize()
            is_one = len(guesses) == 1
            noun, verb = ("region", "is") if is_one else ("regions", "are")
            self._say([(f"{count}{more} {noun}", guesses), (f" {verb} uncertain", ())])

    # parts of sentences

    def _sure(self) -> Iterator[int]:
        return (index for index in self.machine if not self.places.things[index].doubtful)

    def _counted(self, members: Sequence[int]) -> str:
        """Return things that are alike, as many as there are, with their own words for one."""
        thing = self.places.things[members[0]]
        caption = without_place(thing.caption)
        if len(members) == 1:
            return phrase_of(caption) or caption.rstrip(".")
        noun = self.places.noun(members[0]) or thing.noun
        if not noun:
            return f"{caption} in {number_words(len(members))} places"
        if is_mass(noun):
            return f"{noun} in {number_words(len(members))} places"
        return f"{number_words(len(members))} {plural_of(noun)}"

    def _chief(self, members: Sequence[int]) -> int | None:
        """Return the one of things alike that is plainly the largest; None if none is."""
        if len(members) == 1:
            return members[0]
        best = max(members, key=lambda member: (self.places.layout.diameters[member], -member))
        which = self.places.ranked(best)[0]
        return best if which in ("the largest", "the larger", "the longest", "the longer") else None

    def _predicate(
        self,
        subject: str,
        members: Sequence[int],
        size: str,
        relation: str,
        about: tuple[int, ...],
        *,
        several: bool,
    ) -> None:
        """Say how large things are and where."""
        be = "are" if several else "is"
        if not relation:
            if size:
                self._say([(subject, members), (f" {be} {size}", ())])
            return
        word, _, rest = relation.partition(" ")
        verbs = {"around": "surround", "touching": "touch", "overlapping": "overlap"}
        verbs["filling"] = "fill"
        verb = verbs.get(word, "")
        if verb:
            ending = "" if several else "es" if verb == "touch" else "s"
            relation, start = rest, f"{verb}{ending} "
        else:
            start = f"{be} "
        middle = f", {size}, " if size else " "
        place: list[tuple[str, Sequence[int]]] = [(relation, ())]
        if about:
            name = self.places.landmark(about[0]) if len(about) == 1 else rest
            place = [(relation[: len(relation) - len(name)], ()), (name, about)]
        self._say([(subject, members), (f"{middle}{start}", ()), *place])

    def _largest_first(self, groups: Mapping[Any, list[int]]) -> list[tuple[Any, list[int]]]:
        """Return groups by the area that they take, and the members of each by theirs."""
        sizes = np.maximum(self.places.layout.diameters, 0) ** 2
        ordered = [
            (name, sorted(members, key=lambda member: (-sizes[member], member)))
            for name, members in groups.items()
        ]
        return sorted(ordered, key=lambda group: (-sizes[group[1]].sum(), group[1][0]))

    def _say(self, parts: Sequence[tuple[str, Sequence[int]]]) -> None:
        """Add a sentence."""
        if self._parts:
            self._parts.append((" ", ()))
        *others, (last, members) = [(text, tuple(m[:_LINKED])) for text, m in parts]
        first, linked = (*others, (last, members))[0]
        sentence = [(first[:1].upper() + first[1:], linked), *(*others, (last, members))[1:]]
        self._parts += sentence
        # A quotation may end in a full stop of its own.
        if not last.removesuffix("”").endswith((".", "!", "?")):
            self._parts.append((".", ()))


def _joined(items: Sequence[Sequence[tuple[str, Sequence[int]]]]) -> list[tuple[str, Any]]:
    """Join the parts of a list with commas and "and"."""
    joined: list[tuple[str, Any]] = []
    for place, item in enumerate(items):
        if place:
            joined.append((" and " if place == len(items) - 1 else ", ", ()))
        joined += item
    return joined


def _guess_of(caption: str) -> str:
    """Return what a region may be; empty where nobody knows.

    >>> _guess_of("cup, umbrella or coffee?"), _guess_of("a cup on a table"), _guess_of("?")
    ('a cup, an umbrella or coffee', 'a cup', '')
    >>> _guess_of("cup or bowl, the largest?")
    'a cup or a bowl'
    """
    caption = without_place(caption).strip()
    if not caption.endswith("?"):
        return phrase_of(caption)
    names = [name.strip() for name in re.split(r", | or ", caption[:-1]) if name.strip()]
    # Where it is says which region is meant, and not what it may be.
    names = [name for name in names if not _WHERE.fullmatch(name)]
    *others, last = [phrase_of(name) or name for name in names] or [""]
    return f"{', '.join(others)} or {last}" if others else last
