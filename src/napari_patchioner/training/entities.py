"""Which names of a vocabulary a caption mentions, for prompts in words (ViECap)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

# Words that ViECap takes for "person".
_PERSON = "person"
_PEOPLE = frozenset(
    [
        "adult",
        "adults",
        "baby",
        "babies",
        "boy",
        "boys",
        "child",
        "children",
        "female",
        "girl",
        "girls",
        "guy",
        "guys",
        "kid",
        "kids",
        "ladies",
        "lady",
        "male",
        "man",
        "men",
        "people",
        "person",
        "persons",
        "teenager",
        "woman",
        "women",
    ]
)
_MOST = 10
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
_IRREGULAR = {"mouse": "mice", "knife": "knives", "leaf": "leaves", "shelf": "shelves"}


class EntityFinder:
    """Finds names of a vocabulary in captions: whole words, the longest name first.

    The plural of a name counts, and where "person" is a name so does every word for people, as in
    ViECap (Fei et al. 2023).

    >>> EntityFinder(["dog", "hot dog", "person", "traffic light"]).names_in(
    ...     "Two men eat hot dogs near a dog.")
    ('person', 'hot dog', 'dog')
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._name_of: dict[tuple[str, ...], str] = {}
        names = list(names)
        for name in names:
            words = tuple(_words(name))
            if words:
                self._name_of.setdefault(words, name)
                for last in _plurals(words[-1]):
                    self._name_of.setdefault((*words[:-1], last), name)
        if _PERSON in names:
            for word in _PEOPLE:
                self._name_of.setdefault((word,), _PERSON)
        self._longest = max(map(len, self._name_of), default=0)

    def names_in(self, caption: str) -> tuple[str, ...]:
        """Return the names that a caption mentions, each once, in order, ten at most."""
        words, place = _words(caption), 0
        results: dict[str, None] = {}
        while place < len(words):
            for size in range(min(self._longest, len(words) - place), 0, -1):
                name = self._name_of.get(tuple(words[place : place + size]))
                if name is not None:
                    results[name] = None
                    place += size - 1
                    break
            place += 1
        return tuple(results)[:_MOST]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _plurals(word: str) -> Iterator[str]:
    """Yield how the plural of a word may be spelt."""
    if word in _IRREGULAR:
        yield _IRREGULAR[word]
    yield f"{word}s"
    if word.endswith(("s", "x", "z", "ch", "sh", "o")):
        yield f"{word}es"
    if word.endswith("y"):
        yield f"{word[:-1]}ies"
