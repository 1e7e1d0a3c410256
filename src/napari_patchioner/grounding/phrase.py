"""What a phrase asks for: the thing, how it looks, and what it is not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from napari_patchioner.bridges.appearance import VOCABULARY
from napari_patchioner.decoders.grounded.vocabulary import COLOURS, LIGHT, TEXTURES

LONGEST = 500
"""Letters of a phrase that are read."""

# Signs that are called by what they forbid: "no entry sign", "do not enter sign".
_SIGN = r"(?:sign|signal|symbol|sticker|label|poster|board|notice|placard|icon|logo|zone)s?\b"
_FORBIDDEN = (
    r"(?:entry|entrance|exit|parking|stopping|standing|waiting|smoking|swimming|diving|fishing|"
    r"trespassing|littering|camping|cycling|overtaking|passing|photography|photos|dogs|bikes|"
    r"bicycles|vehicles|trucks|(?:u|left|right)[\s-]turn|turns?|enter|walk|touch|disturb)"
)
# Before "sign" these say of which kind it is, and "no stop sign" that none is wanted.
_KIND = rf"(?:stop|road|street|traffic|warning|neon|yield|bus|store|shop|{'|'.join(COLOURS)})"
_FORBIDS = r"(?:no|do\s+not|don['’]t)"
_SIGN_NAME = re.compile(
    rf"^\s*{_FORBIDS}\s+(?!(?:an?|the|any)\s|{_KIND}\s+{_SIGN})(?:[\w'’-]+\s+){{1,3}}?{_SIGN}"
    rf"|(?<![\w-])(?<!\bbut\s)(?:{_FORBIDS}\s+{_FORBIDDEN}|not\s+for\s+sale|minus)\s+{_SIGN}",
    re.IGNORECASE,
)
# They are put by while a phrase is parted, each as a character that nobody types.
_PUT_BY = 0xE000
# What begins the part that is not wanted, in words, or a dash before one; "a no entry sign" and
# "no-smoking area" are things.
_NOT = re.compile(
    r"(?<!\ba)(?<!\ban)(?<!\bthe)(?:^|[\s,;(]+)(?:(?:but|and|or|with)\s+)?"
    r"(?:(?:(?:i\s+|we\s+)?(?:do\s+not|don['’]t)\s+(?:want|need|show|include|find|look\s+for)|"
    r"not|no|never|neither|nor|without|w/o|except(?:\s+for)?|excluding|minus|instead\s+of|"
    r"rather\s+than|other\s+than)\b(?![.-]\w)(?!\.)\s*|[-\u2212]\s?(?=\w))",
    re.IGNORECASE,
)
# "Without cars, a street" begins with what is not wanted.
_WITHOUT = re.compile(
    r"^\s*(?P<unwanted>(?:without|w/o|except(?:\s+for)?|excluding|instead\s+of|rather\s+than|"
    r"other\s+than)\s[^,;]+)[,;]\s*(?P<wanted>.+)$",
    re.IGNORECASE,
)
# What is wanted after all, after what is not.
_BUT = re.compile(r"[\s,;]+but\s+", re.IGNORECASE)
ADJECTIVES = {
    **{word: word for word in (*COLOURS, *LIGHT, *TEXTURES)},
    **{"grey": "gray", "light": "bright", "golden": "yellow", "violet": "purple"},
    **{"stripy": "striped", "dotted": "spotted", "rose": "pink"},
}
"""Colours, lightness and textures that can be measured, as they are spelt and as they are known."""
# What says nothing of what a thing is.
_FILLING = frozenset(
    re.findall(
        r"\w+",
        "a an the some any all every each this that these those my your his her its our their one "
        "very and or of",
    )
)
ANYTHING = frozenset(
    re.findall(r"\w+", "thing things something anything object objects item items area part ones")
)
# After these comes what the thing is beside.
RELATIONS = frozenset(
    re.findall(
        r"\w+",
        "in on at with under over near by behind above below beside between holding wearing "
        "riding eating inside outside from to for next sitting standing lying against",
    )
)
SINGULAR = {"people": "person", "men": "man", "women": "woman", "children": "child"} | {
    "mice": "mouse",
    "geese": "goose",
    "feet": "foot",
    "teeth": "tooth",
    "knives": "knife",
    "leaves": "leaf",
    "loaves": "loaf",
    "shelves": "shelf",
    "wolves": "wolf",
}
"""The singular of plurals that no rule gives."""
# Words that only join others in a description of what is measured.
_JOINING = frozenset(("a", "an", "and", "on", "of", "in", "from", "to"))


@dataclass(frozen=True, slots=True)
class NounPhrase:
    """A thing and how it looks.

    Attributes
    ----------
    text : str
        The phrase as it was typed.
    thing : str
        What is looked for in lower case, without articles and adjectives, singular where that
        is irregular; empty where any thing of these adjectives is meant.
    adjectives : tuple of str
        Colours, lightness and texture that can be measured, such as ``"red"``.
    beside : str
        What is said after the thing: where it is, what it has on.
    """

    text: str
    thing: str
    adjectives: tuple[str, ...] = ()
    beside: str = ""

    @property
    def is_measurable(self) -> bool:
        """Whether a description of marks, colours and textures could say any of it."""
        return any(word in _measured() for word in self._words())

    @property
    def is_measured(self) -> bool:
        """Whether such a description could say all of it: "round spots", but not "brown cells"."""
        left = {word for word in self._words() if word not in _JOINING and not word.isdigit()}
        return bool(left) and left <= _measured()

    def _words(self) -> list[str]:
        return [word.removesuffix("s") for word in re.findall(r"\w+", self.text.casefold())]


@cache
def _measured() -> frozenset[str]:
    """Words that say what is measured, in the singular."""
    return frozenset({word.removesuffix("s") for word in VOCABULARY - _JOINING} | set(ADJECTIVES))


def split_negative(text: str) -> tuple[str, tuple[str, ...]]:
    """Part what is wanted from what is not: what follows "not" or the like, or a dash.

    "No", "without" and "except" are like "not"; a dash stands right before a word.

    Examples
    --------
    >>> split_negative("a red bus, not a car")
    ('a red bus', ('a car',))
    >>> split_negative("bus -car -truck")
    ('bus', ('car', 'truck'))
    >>> split_negative("a street without cars"), split_negative("not a dog but a cat")
    (('a street', ('cars',)), ('a cat', ('a dog',)))
    >>> split_negative("a T-shirt")
    ('a T-shirt', ())
    """
    text = text[:LONGEST]
    if begins := _WITHOUT.match(text):
        text = f"{begins['wanted']}, {begins['unwanted']}"
    names: list[str] = []

    def put_by(name: re.Match[str]) -> str:
        names.append(name[0].strip())
        return f" {chr(_PUT_BY + len(names) - 1)}"

    def shown(part: str) -> str:
        for number, name in enumerate(names):
            part = part.replace(chr(_PUT_BY + number), name)
        return " ".join(part.split())

    text = _SIGN_NAME.sub(put_by, text)
    first, *rest = (part.strip(" ,;()\t\n") for part in _NOT.split(text))
    if rest:
        rest[-1], *wanted = _BUT.split(rest[-1], maxsplit=1)
        first = " with ".join(filter(None, (first, *wanted)))
    unwanted = (word.strip() for part in rest for word in re.split(r"\s*[,;]\s*|\s+or\s+", part))
    return shown(first), tuple(shown(word) for word in unwanted if word)


def read_phrase(text: str) -> NounPhrase:
    """Read a phrase: its thing, its measurable adjectives, and what it is beside.

    Examples
    --------
    >>> read_phrase("the big red bus")
    NounPhrase(text='the big red bus', thing='big bus', adjectives=('red',), beside='')
    >>> read_phrase("people in the street").thing, read_phrase("an orange").thing
    ('person', 'orange')
    >>> read_phrase("something red").adjectives
    ('red',)
    """
    plain = " ".join(text[:LONGEST].split())
    words = re.findall(r"[\w'’-]+", plain.casefold())
    end = next((n for n, word in enumerate(words) if n and word in RELATIONS), len(words))
    words, beside = words[:end], words[end + 1 :]
    content = [word for word in words if word not in _FILLING]
    named = [word for word in content if word not in ANYTHING]
    adjectives, thing = [], []
    for number, word in enumerate(named):
        is_last = number == len(named) - 1
        # "An orange" is a fruit, and what is dark or light may be the dark or a light.
        is_thing = is_last and len(named) == len(content) and word in ("orange", "rose", "light")
        if word in ADJECTIVES and not is_thing:
            adjectives.append(ADJECTIVES[word])
        else:
            thing.append(SINGULAR.get(word, word) if is_last else word)
    return NounPhrase(plain, " ".join(thing), tuple(dict.fromkeys(adjectives)), " ".join(beside))
