"""Whether a caption names a category, by the words of ``mention.toml``.

A phrase belongs to the categories that list it and hides the shorter phrases inside it: a "hot
dog" is no dog.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

_WORDS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
THINGS: dict[str, str] = _WORDS["things"]
STUFF: dict[str, str] = _WORDS["stuff"]
_BREAKS = frozenset(_WORDS["breaks"].split())
_NOUNS_IN_ING = frozenset(_WORDS["nouns_in_ing"].split())
_COLOURS = frozenset(_WORDS["colours"].split())


def plain_name(category: str) -> str:
    """Everyday name of a COCO panoptic category.

    >>> plain_name("sky-other-merged"), plain_name("tree-merged"), plain_name("dog")
    ('sky', 'tree', 'dog')
    """
    return str(_WORDS["panoptic"].get(category, category.removesuffix("-merged")))


def plural(phrase: str) -> str:
    """Plural of a noun phrase, by rule: the last word takes the ending.

    >>> plural("bus"), plural("wine glass"), plural("puppy"), plural("knife"), plural("sheep")
    ('buses', 'wine glasses', 'puppies', 'knives', 'sheeps')
    """
    start, space, word = phrase.rpartition(" ")
    if word in _WORDS["irregular"]:
        word = _WORDS["irregular"][word]
    elif re.search(r"(s|x|z|ch|sh)$", word):
        word += "es"
    elif re.search(r"[^aeiou]y$", word):
        word = word[:-1] + "ies"
    else:
        word += "s"
    return f"{start}{space}{word}"


def mentions(caption: str, category: str) -> bool:
    """Whether the caption names the category anywhere, by whole words.

    >>> mentions("two puppies on a beach", "dog"), mentions("two puppies on a beach", "sand")
    (True, True)
    >>> mentions("a hot dog", "dog"), mentions("an orange cat", "orange")
    (False, False)
    """
    return _names(_words(caption), plain_name(category))


def head_mentions(caption: str, category: str) -> bool:
    """Whether the caption says that the region *is* the category: its first named thing only.

    The caption is read up to its first preposition, conjunction or verb; "of" reads on, so "a
    slice of pizza" is pizza.

    >>> head_mentions("a person riding a horse", "horse")
    False
    >>> head_mentions("a slice of pizza on a plate", "pizza")
    True
    """
    tokens = _words(caption)
    ends = (
        position
        for position, word in enumerate(tokens)
        if position and (word in _BREAKS or (word.endswith("ing") and word not in _NOUNS_IN_ING))
    )
    return _names(tokens[: next(ends, None)], plain_name(category))


def named(caption: str) -> list[frozenset[str]]:
    """Categories named by each phrase of the caption, in order; the longest phrase wins.

    >>> [sorted(found) for found in named("a hot dog next to a cat")]
    [['hot dog'], ['cat']]
    """
    return _named(_words(caption))


def _words(caption: str) -> list[str]:
    """Lower-case words of a caption; hyphens and punctuation separate."""
    # Of several guesses ("orange, bowl or vase?") each is a name of its own.
    if caption.endswith("?"):
        caption = caption.replace(",", " or")
    return re.findall(r"[a-z0-9]+", caption.lower().replace("'s", ""))


def _names(tokens: list[str], category: str) -> bool:
    if category not in THINGS and category not in STUFF:
        return f" {' '.join(_words(category))} " in f" {' '.join(tokens)} "
    return any(category in names for names in _named(tokens))


def _named(tokens: list[str]) -> list[frozenset[str]]:
    """Categories named by each phrase of a caption, in order; the longest phrase wins."""
    table, longest = _phrases()
    results: list[frozenset[str]] = []
    position = 0
    while position < len(tokens):
        for length in range(longest, 0, -1):
            phrase = " ".join(tokens[position : position + length])
            owners = table.get(phrase)
            if owners is not None and not _is_colour(phrase, tokens[position + length :]):
                results.append(owners)
                position += length - 1
                break
        position += 1
    return [owners for owners in results if owners]


def _is_colour(phrase: str, following: list[str]) -> bool:
    """``orange`` before a word that a fruit would not stand before is a colour."""
    if phrase != "orange" or not following or following[0] in {"slice", "slices"}:
        return False
    beside_a_colour = following[0] == "and" and not _COLOURS.isdisjoint(following[1:2])
    return beside_a_colour or following[0] not in _BREAKS


@cache
def _phrases() -> tuple[dict[str, frozenset[str]], int]:
    """Every phrase with the categories it names, and the most words a phrase has."""
    table: dict[str, set[str]] = {}
    for category, listed in (*THINGS.items(), *STUFF.items(), ("", _WORDS["neutral"])):
        for phrase in listed.split("|"):
            for form in (phrase, plural(phrase)):
                table.setdefault(form, set()).update({category} - {""})
    longest = max(len(phrase.split()) for phrase in table)
    return {phrase: frozenset(owners) for phrase, owners in table.items()}, longest
