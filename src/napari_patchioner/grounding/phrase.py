"""What a phrase asks for: the thing, how it looks, and what it is not."""

from __future__ import annotations

import re
from dataclasses import dataclass

from napari_patchioner.bridges.appearance import VOCABULARY
from napari_patchioner.decoders.grounded.vocabulary import COLOURS, LIGHT, TEXTURES

LONGEST = 500
"""Letters of a phrase that are read."""

# What begins the part that is not wanted, in words, or a dash before one; "a no entry sign" is a
# thing.
_NOT = re.compile(
    r"(?<!\ba)(?<!\ban)(?<!\bthe)(?:^|[\s,;(]+)(?:(?:but|and|or|with)\s+)?"
    r"(?:(?:not|no|never|neither|nor|without|w/o|except(?:\s+for)?|excluding|minus|instead\s+of|"
    r"rather\s+than|other\s+than)\b(?!\.)\s*|[-\u2212]\s?(?=\w))",
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
_ANYTHING = frozenset(
    re.findall(r"\w+", "thing things something anything object objects item items area part ones")
)
# After these comes what the thing is beside.
_RELATIONS = frozenset(
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
        words = (word.removesuffix("s") for word in re.findall(r"[a-z]+", self.text.casefold()))
        known = {word.removesuffix("s") for word in VOCABULARY - _JOINING} | set(ADJECTIVES)
        return any(word in known for word in words)


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
    first, *rest = (part.strip(" ,;()\t\n") for part in _NOT.split(text[:LONGEST]))
    if rest:
        rest[-1], *wanted = _BUT.split(rest[-1], maxsplit=1)
        first = " with ".join(filter(None, (first, *wanted)))
    unwanted = (word.strip() for part in rest for word in re.split(r"\s*[,;]\s*|\s+or\s+", part))
    return " ".join(first.split()), tuple(" ".join(word.split()) for word in unwanted if word)


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
    end = next((n for n, word in enumerate(words) if n and word in _RELATIONS), len(words))
    words, beside = words[:end], words[end + 1 :]
    content = [word for word in words if word not in _FILLING]
    named = [word for word in content if word not in _ANYTHING]
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
