"""Does a caption name a category? By whole words, with synonyms.

Two readings: `mentions` looks anywhere in the caption, `head_mentions` only at what the caption
says the region *is*, so that "a person riding a horse" names a person and not a horse.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from ._synonyms import IRREGULAR, NEUTRAL, PANOPTIC, STUFF, THINGS

if TYPE_CHECKING:
    from collections.abc import Sequence

_BREAK_WORDS = (
    "on in at with and or next near by behind under over above beside inside outside against to "
    "from that which who is are was has have wearing holding front around between across into "
    "through along for beneath below during while as"
)
_NOUNS_IN_ING = (
    "building ceiling railing awning painting clothing ring string king wing thing swing dining "
    "living parking icing topping dressing wedding evening morning spring something anything "
    "nothing duckling flooring netting mixing rocking folding running"
)
_COLOURS = "black white gray grey red yellow green blue purple pink brown"
BREAKS = frozenset(_BREAK_WORDS.split())
NOUNS_IN_ING = frozenset(_NOUNS_IN_ING.split())
COLOURS = frozenset(_COLOURS.split())
KNOWN = frozenset(THINGS) | frozenset(STUFF)


def plain_name(category: str) -> str:
    """Everyday name of a COCO panoptic category.

    Parameters
    ----------
    category : str
        A name as the annotation files have it, such as ``"sky-other-merged"``.

    Returns
    -------
    str
        The key of the synonym table, such as ``"sky"``.

    Examples
    --------
    >>> plain_name("sky-other-merged"), plain_name("tree-merged"), plain_name("dog")
    ('sky', 'tree', 'dog')
    """
    return PANOPTIC.get(category, category.removesuffix("-merged"))


def plural(phrase: str) -> str:
    """Plural of a noun phrase, by rule: the last word takes the ending.

    Examples
    --------
    >>> plural("bus"), plural("wine glass"), plural("puppy"), plural("knife"), plural("sheep")
    ('buses', 'wine glasses', 'puppies', 'knives', 'sheeps')
    """
    start, _, word = phrase.rpartition(" ")
    if word in IRREGULAR:
        word = IRREGULAR[word]
    elif re.search(r"(s|x|z|ch|sh)$", word):
        word += "es"
    elif re.search(r"[^aeiou]y$", word):
        word = word[:-1] + "ies"
    else:
        word += "s"
    return f"{start} {word}" if start else word


def words(caption: str) -> list[str]:
    """Lower-case words of a caption; hyphens and punctuation separate.

    Examples
    --------
    >>> words("Not sure: maybe a wine-glass.")
    ['not', 'sure', 'maybe', 'a', 'wine', 'glass']
    """
    return re.findall(r"[a-z0-9]+", caption.lower().replace("'s", ""))


def named(caption: str) -> list[frozenset[str]]:
    """Categories named by each phrase of the caption, in order; the longest phrase wins.

    Parameters
    ----------
    caption : str
        Any English text.

    Returns
    -------
    list of frozenset of str
        One set per matched phrase: the categories (plain names) that list it.

    Examples
    --------
    >>> [sorted(found) for found in named("a hot dog next to a cat")]
    [['hot dog'], ['cat']]
    """
    return _named(words(caption))


def mentions(caption: str, category: str) -> bool:
    """Whether the caption names the category anywhere, by whole words.

    Parameters
    ----------
    caption : str
        What the model said.
    category : str
        One of the 80 COCO objects or 53 panoptic stuff classes, in either spelling; any other
        name is looked for as it stands.

    Returns
    -------
    bool

    Examples
    --------
    >>> mentions("two puppies on a beach", "dog"), mentions("two puppies on a beach", "sand")
    (True, True)
    >>> mentions("a hot dog", "dog"), mentions("an orange cat", "orange")
    (False, False)
    """
    return _names(words(caption), plain_name(category))


def head_mentions(caption: str, category: str) -> bool:
    """Whether the caption says that the region *is* the category: its first named thing only.

    The caption is read up to its first preposition, conjunction or verb; "of" reads on, so "a
    slice of pizza" is pizza.

    Parameters
    ----------
    caption : str
        What the model said.
    category : str
        As in `mentions`.

    Returns
    -------
    bool

    Examples
    --------
    >>> head_mentions("a person riding a horse", "horse")
    False
    >>> head_mentions("a slice of pizza on a plate", "pizza")
    True
    """
    return _names(_head(words(caption)), plain_name(category))


def _names(tokens: list[str], category: str) -> bool:
    if category not in KNOWN:
        return f" {' '.join(words(category))} " in f" {' '.join(tokens)} "
    return any(category in found for found in _named(tokens))


def _head(tokens: list[str]) -> list[str]:
    """Words before the first one that ends a noun phrase."""
    for position, word in enumerate(tokens):
        is_verb = word.endswith("ing") and word not in NOUNS_IN_ING
        if position and (word in BREAKS or is_verb):
            return tokens[:position]
    return tokens


def _named(tokens: list[str]) -> list[frozenset[str]]:
    table, longest = _phrases()
    found: list[frozenset[str]] = []
    position = 0
    while position < len(tokens):
        for length in range(longest, 0, -1):
            phrase = " ".join(tokens[position : position + length])
            owners = table.get(phrase)
            if owners is not None and not _is_colour(phrase, tokens[position + length :]):
                found.append(owners)
                position += length - 1
                break
        position += 1
    return [owners for owners in found if owners]


def _is_colour(phrase: str, following: Sequence[str]) -> bool:
    """``orange`` before a word that a fruit would not stand before is a colour."""
    if phrase != "orange" or not following or following[0] in {"slice", "slices"}:
        return False
    pair_of_colours = following[0] == "and" and following[1:2] and following[1] in COLOURS
    return bool(pair_of_colours) or following[0] not in BREAKS


@cache
def _phrases() -> tuple[dict[str, frozenset[str]], int]:
    """Every phrase with the categories it names, and the most words a phrase has."""
    table: dict[str, set[str]] = {}
    for category, listed in (*THINGS.items(), *STUFF.items(), ("", NEUTRAL)):
        for phrase in listed.split("|"):
            for form in (phrase, plural(phrase)):
                table.setdefault(form, set()).update({category} - {""})
    longest = max(len(phrase.split()) for phrase in table)
    return {phrase: frozenset(owners) for phrase, owners in table.items()}, longest
