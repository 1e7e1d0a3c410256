"""What a person wishes of captions, and whether a text grants it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TypeAlias

from napari_patchioner.errors import ModelError

from ._plurals import plural_forms

if TYPE_CHECKING:
    from collections.abc import Sequence

Length: TypeAlias = Literal["label", "phrase", "sentence"]
LENGTHS = ("label", "phrase", "sentence")
MOST_WORDS = 8
"""A phrase that a caption must hold may have so many words."""

_PARTS = re.compile(r"\w+|[^\w\s]")
_EDGES = re.compile(r"^\W+|\W+$")


@dataclass(frozen=True, slots=True)
class Wishes:
    """How captions shall be written; the default wishes for nothing.

    Words count as words, whatever their case: "cat" is in "A cat's bed" but not in "cathedral".
    Several words may be given as one phrase ("hot dog").

    Attributes
    ----------
    length : {"label", "phrase", "sentence"}, optional
        A name with hardly a word more, a phrase, or a whole sentence; the model's own way by
        default.
    temperature : float, optional
        In place of the memory's own; read by bridges that have a memory.
    repetition : int, optional
        No sequence of so many tokens is written twice in a caption; 1 forbids every repeated
        word, 3 is a mild wish.
    must : sequence of str
        Words that a caption has to hold, in any order.
    never : sequence of str
        Words that it may not hold.
    plurals : bool
        Whether ``never`` forbids the plurals of its words too, and ``must`` is content with them.

    Raises
    ------
    ModelError
        If a wish makes no sense, or one word must and must not be there.
    """

    length: Length | None = None
    temperature: float | None = None
    repetition: int | None = None
    must: Sequence[str] = ()
    never: Sequence[str] = ()
    plurals: bool = False

    def __post_init__(self) -> None:
        if self.length is not None and self.length not in LENGTHS:
            raise ModelError(f"A length is one of {', '.join(LENGTHS)}, not {self.length!r}.")
        heat = self.temperature
        if heat is not None and not (math.isfinite(heat) and heat > 0):
            raise ModelError(f"The memory's temperature must be above 0, not {heat}.")
        if self.repetition is not None and self.repetition < 1:
            raise ModelError(
                f"Repetition counts tokens that may not come twice, from 1 on, "
                f"not {self.repetition}."
            )
        object.__setattr__(self, "must", _phrases(self.must))
        object.__setattr__(self, "never", _phrases(self.never))
        for phrase in self.must:
            if self.refuses(phrase):
                raise ModelError(
                    f"A caption cannot hold {phrase!r} and be without "
                    f"{_listed(self.never)}; take one of them back."
                )
            if len(phrase.split()) > MOST_WORDS:
                raise ModelError(
                    f"{phrase!r} is longer than {MOST_WORDS} words; wish for single words."
                )

    @property
    def steer(self) -> bool:
        """Whether anything is wished of the writing itself; a temperature is not."""
        return bool(self.length or self.repetition or self.must or self.never)

    def freed(self) -> Wishes:
        """Return the same wishes without the words that must be there."""
        return replace(self, must=())

    def spellings(self, phrase: str) -> tuple[str, ...]:
        """Return a phrase, and its plurals where they count."""
        return _spellings(phrase, self.plurals)

    def refuses(self, text: str) -> bool:
        """Whether a text holds a word that it may not."""
        return any(self._holds(text, phrase) for phrase in self.never)

    def missing(self, text: str) -> tuple[str, ...]:
        """Words that must be in a text and are not."""
        return tuple(phrase for phrase in self.must if not self._holds(text, phrase))

    def grants(self, text: str) -> bool:
        """Whether a text holds all that it must and nothing that it may not."""
        return not self.refuses(text) and not self.missing(text)

    def dress(self, text: str) -> str:
        """Give a text the capital and full stop of a sentence, or take a stop away.

        Examples
        --------
        >>> Wishes(length="sentence").dress("a dog"), Wishes(length="label").dress("A dog.")
        ('A dog.', 'A dog')
        """
        if self.length is None or not text:
            return text
        if self.length == "sentence":
            stop = "" if text.endswith((".", "!", "?")) else "."
            return text[0].upper() + text[1:] + stop
        return text.rstrip(" .")

    def regret(self) -> str:
        """Say that no caption with the wanted words was found."""
        return (
            f"No caption with {_listed(self.must)} fits; this is the best one without. "
            "Allow a longer caption or wish for fewer words."
        )

    def _holds(self, text: str, phrase: str) -> bool:
        return _patterns(phrase, self.plurals).holds(text)


def parts_of(phrase: str) -> list[tuple[str, bool]]:
    """Split a phrase into words and marks, each with whether white space must precede it.

    Examples
    --------
    >>> parts_of("hot t-shirt")
    [('hot', False), ('t', True), ('-', False), ('shirt', False)]
    """
    parts = _PARTS.findall(phrase)
    words = [part[0].isalnum() or part[0] == "_" for part in parts]
    apart = [False, *(one and other for one, other in pairwise(words))]
    return list(zip(parts, apart, strict=True))


class _Patterns:
    """Finds any spelling of a phrase; most texts are told by a part that they do not hold."""

    def __init__(self, spellings: Sequence[str]) -> None:
        self._each = [
            (max(_PARTS.findall(phrase), key=len), _pattern(phrase)) for phrase in spellings
        ]

    def holds(self, text: str) -> bool:
        low = text.lower()
        return any(part in low and pattern.search(text) is not None for part, pattern in self._each)


def _spellings(phrase: str, plurals: bool) -> tuple[str, ...]:
    return (phrase, *plural_forms(phrase)) if plurals else (phrase,)


@lru_cache(maxsize=512)
def _patterns(phrase: str, plurals: bool) -> _Patterns:
    return _Patterns(_spellings(phrase, plurals))


def _pattern(phrase: str) -> re.Pattern[str]:
    """Find a phrase as words of its own; gaps around marks do not count ("t - shirt")."""
    spelt = "".join(
        (r"\s+" if apart else r"\s*" if place else "") + re.escape(part)
        for place, (part, apart) in enumerate(parts_of(phrase))
    )
    return re.compile(rf"(?<!\w){spelt}(?!\w)", re.IGNORECASE)


def _phrases(given: str | Sequence[str]) -> tuple[str, ...]:
    """Clean phrases, each once; a lone string is one of them."""
    phrases = [given] if isinstance(given, str) else given
    clean: dict[str, None] = {}
    for phrase in phrases:
        plain = _EDGES.sub("", " ".join(phrase.lower().split()))
        if not plain:
            raise ModelError(f"{phrase!r} holds no word; give words to wish for.")
        clean[plain] = None
    return tuple(clean)


def _listed(phrases: Sequence[str]) -> str:
    *others, last = [f"'{phrase}'" for phrase in phrases]
    return f"{', '.join(others)} and {last}" if others else last
