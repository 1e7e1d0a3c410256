"""Captions as bags of things: what people name together, in which order, joined by which word.

The source is the captions of COCO val2017 (CC BY 4.0). Words for which a region gives no evidence
(numbers, ages, gender, actions) are left behind: a caption is kept as the concepts it names, the
colours put before them, and the plain relation between neighbours.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_patchioner.decoders.grounded.vocabulary import COLOURS

from .vocabulary import pluralize

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_patchioner.decoders.grounded.vocabulary import Concept

# What the spelling of a concept usually means in a caption of a photograph, if something else.
_MEANS = {
    "bat": "baseball bat",
    "bats": "baseball bat",
    "mouse": "computer mouse",
    "pitcher": "baseball player",
}
_NOT_MEANT_TEXT = (
    "ground soil chicken fly flies watch watches match matches bow seal tick pick bar bars "
    "iron range rack roll rolls stand stands male female individual fan scale switch hook "
    "stole dip tap shades turkey reel shade letter trunk safe nest stall human swing swings "
    "pen pens"
)
_NOT_MEANT = frozenset(_NOT_MEANT_TEXT.split())
# What only looks like a thing.
_IDIOMS = re.compile(
    r"\b(?:"
    r"(?:baseball|tennis|soccer|football|frisbee|basketball|video|wii)"
    r" (?:game|match|team|uniform|practice|tournament|event)s?"
    r"|(?:game|play(?:s|ing)?|match) (?:of )?(?:baseball|football|soccer|basketball|volleyball)"
    r"|(?:picture|photograph|photo|image|painting)s? of|(?:top|side|front|back) view"
    r"|(?:at|for|to|toward|towards) (?:the|a) camera|(?:water|food) colou?r"
    r"|(?:couple|family|crowd|team) of|light (?:blue|brown|green|gray|grey|colou?red)"
    r"|ski lift|street corner|teddy bear picnic"
    r")\b"
)
_PLURAL_NOUNS_TEXT = (
    "men women children people boys girls guys ladies kids persons family crowd team audience "
    "couple"
)
_PLURAL_NOUNS = frozenset(_PLURAL_NOUNS_TEXT.split())
_VERBS_AFTER_A_NOUN_TEXT = (
    "skis ski surfs surf bats parks park boards drinks drink plates paints lights waves wave "
    "fishes paddles hits fires smokes rocks trails bikes skateboards lands lines books flags "
    "cooks shops shop steps papers flowers toys dresses sheds"
)
_VERBS_AFTER_A_NOUN = frozenset(_VERBS_AFTER_A_NOUN_TEXT.split())
_LINKS = (
    ("in front of", r"\bin front of\b"),
    ("near", r"\b(?:next to|beside|besides|near|nearby|by|along|alongside|against|close to)\b"),
    ("on", r"\b(?:on top of|on|atop|onto|upon)\b"),
    ("under", r"\b(?:under|underneath|beneath|below)\b"),
    ("over", r"\b(?:over|above)\b"),
    ("in", r"\b(?:in|into|inside|within)\b"),
    ("at", r"\bat\b"),
    ("with", r"\b(?:with|holding|holds|carrying|using|wearing|has|having|wears|swinging)\b"),
    ("on", r"\b(?:riding|rides)\b"),
    ("of", r"\bof\b"),
    ("and", r"\band\b|,"),
)


@dataclass(frozen=True, slots=True)
class Mention:
    """A concept named in a caption.

    Attributes
    ----------
    concept : int
        Its index.
    plural : bool
        Whether more than one is meant.
    colours : tuple of str
        Colour words before it.
    determiner : str
        "a", "the" or "".
    link : str
        The relation of the mention before to this one, "" where there is none.
    """

    concept: int
    plural: bool
    colours: tuple[str, ...] = ()
    determiner: str = ""
    link: str = ""


def read_captions(path: Path) -> list[str]:
    """Captions of a COCO annotation file, in its order."""
    return [record["caption"] for record in json.loads(path.read_text("utf8"))["annotations"]]


class Reader:
    """Finds concepts in sentences, the longest spelling first.

    Parameters
    ----------
    concepts : sequence of Concept
        What can be named; synonyms and plurals are found as well.
    """

    def __init__(self, concepts: Sequence[Concept]) -> None:
        self.concepts = tuple(concepts)
        self._forms: dict[str, tuple[int, bool]] = {}
        for index, concept in enumerate(self.concepts):
            for word in concept.synonyms:
                self._add(pluralize(word), index, plural=True)
                self._add(word, index, plural=word in _PLURAL_NOUNS)
        for index, concept in enumerate(self.concepts):
            self._forms[concept.plural] = (index, True)
            self._forms[concept.name] = (index, False)
        for word, name in _MEANS.items():
            self._forms[word] = (self._forms[name][0], word.endswith("s"))
        self._longest = max(len(form.split()) for form in self._forms)

    def _add(self, word: str, index: int, *, plural: bool) -> None:
        self._forms.setdefault(word, (index, plural))

    def read(self, sentence: str) -> list[Mention]:
        """Mentions of concepts in a sentence, in its order.

        Of two names side by side ("glass vase", "pizza box") the last is the thing.
        """
        words = _plain(sentence).split()
        found: list[tuple[int, int, int, bool]] = []
        place = 0
        while place < len(words):
            size, concept, plural = self._longest_at(words, place)
            if not size:
                place += 1
                continue
            if found and found[-1][1] == place:
                if words[place] in _VERBS_AFTER_A_NOUN:
                    place += 1
                    continue
                place_before = found.pop()[0]
                found.append((place_before, place + size, concept, plural))
            else:
                found.append((place, place + size, concept, plural))
            place += size
        return _mentions(words, found)

    def _longest_at(self, words: Sequence[str], place: int) -> tuple[int, int, bool]:
        """Length, concept and number of the longest spelling that starts here; 0 if none."""
        for size in range(min(self._longest, len(words) - place), 0, -1):
            form = " ".join(words[place : place + size])
            if form in self._forms and not _misleading(form, words, place + size):
                return size, *self._forms[form]
        return 0, 0, False


def _plain(sentence: str) -> str:
    """Lower-case words and commas, without what only looks like a thing."""
    text = re.sub(r"[^a-z, ]", " ", sentence.lower().replace("grey", "gray"))
    return re.sub(r"\s+", " ", _IDIOMS.sub(" ", text).replace(",", " , ")).strip()


def _misleading(form: str, words: Sequence[str], end: int) -> bool:
    """Whether a spelling is not the thing here: a verb, a colour, an adjective."""
    if form == "orange":
        return end < len(words) and words[end] not in ("and", "on", "in", "with", ",", "next", "is")
    return form in _NOT_MEANT


def _mentions(words: Sequence[str], found: Sequence[tuple[int, int, int, bool]]) -> list[Mention]:
    mentions: list[Mention] = []
    last = 0
    for start, end, concept, plural in found:
        between = words[last:start]
        nouns = " ".join(between)
        mentions.append(
            Mention(
                concept=concept,
                plural=plural,
                colours=_colours(between),
                determiner=_determiner(between),
                link=_link(nouns) if mentions else "",
            )
        )
        last = end
    return mentions


def _colours(before: Sequence[str]) -> tuple[str, ...]:
    """Colour words of the noun phrase that ends here."""
    words = list(before[-4:])
    colours = [word for word in words if word in COLOURS]
    return tuple(dict.fromkeys(colours))


def _determiner(before: Sequence[str]) -> str:
    for word in reversed(before[-3:]):
        if word in ("a", "an", "the"):
            return "the" if word == "the" else "a"
    return ""


def _link(between: str) -> str:
    """Relation told by the words between two nouns: the last one counts."""
    places = [
        (match.end(), -len(match.group()), relation)
        for relation, pattern in _LINKS
        for match in re.finditer(pattern, between)
    ]
    if not places:
        return ""
    return max(places, key=lambda place: (place[0], -place[1]))[2]
