"""What a caller asks of captions, and whether a text satisfies it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal, TypeAlias

from napari_patchioner.errors import ModelError

Length: TypeAlias = Literal["label", "phrase", "sentence"]
Pooling: TypeAlias = Literal["mean", "gaussian", "attention", "cls"]
LENGTHS = ("label", "phrase", "sentence")
# Longest phrase that a caption can be asked to include.
MAX_WORDS = 8
MOST_SPECIFIC = 5.0
"""The largest specificity of captions."""
_SHORT_NAMES = {"must": "must_include", "never": "must_exclude"}
# Pixels are square whose sides differ by no more than this share.
SQUARE = 0.05
_LENGTH = re.compile(r"([0-9.]+(?:e[+-]?[0-9]+)?)\s*([a-zµμ]+)", re.IGNORECASE)
_UNITS = {
    **dict.fromkeys(("µm", "um", "micron", "micrometer", "micrometre", "µ"), "µm"),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), "nm"),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), "mm"),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), "cm"),
    **dict.fromkeys(("m", "meter", "metre"), "m"),
    **dict.fromkeys(("km", "kilometer", "kilometre"), "km"),
}
_PARTS = re.compile(r"\w+|[^\w\s]")
_EDGES = re.compile(r"^\W+|\W+$")


@dataclass(frozen=True, slots=True)
class CaptionOptions:
    """How regions are captioned; constraints are off by default.

    Words count as words, whatever their case: "cat" is in "A cat's bed" but not in "cathedral".
    Several words may be given as one phrase ("hot dog").

    Attributes
    ----------
    beams : int
        Sentences followed side by side; 1 is fastest.
    alternatives : int
        How many other captions to give where there are any.
    max_tokens : int, optional
        Longest caption in tokens, the end token included; the model's own by default.
    pooling : {"mean", "gaussian", "attention", "cls"}, optional
        How patches become one vector; the captioner's own by default. Backbones that encode
        every region by itself pool nothing.
    union : bool
        Whether patches shared by the members of a region set count once.
    temperature : float, optional
        Of the memory; the smaller, the closer to its nearest sentence. Nothing changes where
        there is no memory to average.
    length : {"label", "phrase", "sentence"}, optional
        A name with hardly a word more, a phrase, or a whole sentence; the model's own by default.
    repetition : int, optional
        No sequence of so many tokens occurs twice in a caption; 1 forbids every repeated
        token, 3 is mild.
    must_include : sequence of str
        Words that a caption has to hold, in any order.
    must_exclude : sequence of str
        Words that it may not hold.
    plurals : bool
        Whether ``must_exclude`` forbids the plurals of its words too, and ``must_include`` is
        satisfied by them.
    no_close_up : bool
        Whether small regions are not looked at once more, by models that else do so.
    specificity : float
        How much what a region alone would say counts more than what is said of anything, 0 to 5:
        ``(1 + g) log p(word | region) - g log p(word | nothing)``. 0 is off; above 2 captions are
        seldom good.
    pixel_size : str, optional
        Side of a pixel of the image and its unit, such as ``"0.65 µm"``: what is measured in
        pictures that are no photographs is said in it.
    prompt : str, optional
        What is asked of each region, of models that read prompts: those on a server.

    Raises
    ------
    ModelError
        If an option makes no sense, or one word has to be both included and excluded.
    """

    beams: int = 4
    alternatives: int = 3
    max_tokens: int | None = None
    pooling: Pooling | None = None
    union: bool = False
    temperature: float | None = None
    length: Length | None = None
    repetition: int | None = None
    must_include: Sequence[str] = ()
    must_exclude: Sequence[str] = ()
    plurals: bool = False
    no_close_up: bool = False
    pixel_size: str | None = None
    prompt: str | None = None
    specificity: float = 0.0

    def __post_init__(self) -> None:
        if self.length is not None and self.length not in LENGTHS:
            raise ModelError(f"A length is one of {', '.join(LENGTHS)}, not {self.length!r}.")
        temperature = self.temperature
        if temperature is not None and not (math.isfinite(temperature) and temperature > 0):
            raise ModelError(f"The memory's temperature must be above 0, not {temperature}.")
        if self.repetition is not None and self.repetition < 1:
            raise ModelError(
                f"Repetition counts tokens that may not come twice, from 1 on, "
                f"not {self.repetition}."
            )
        if not 0 <= self.specificity <= MOST_SPECIFIC:
            raise ModelError(
                f"Specificity goes from 0, which is off, to {MOST_SPECIFIC:g}, not "
                f"{self.specificity}."
            )
        if self.pixel_size is not None:
            as_length(self.pixel_size)
        object.__setattr__(self, "must_include", _phrases(self.must_include))
        object.__setattr__(self, "must_exclude", _phrases(self.must_exclude))
        for phrase in self.must_include:
            if self.excludes(phrase):
                raise ModelError(
                    f"A caption cannot hold {phrase!r} and be without "
                    f"{listed(self.must_exclude)}; take one of them back."
                )
            if len(phrase.split()) > MAX_WORDS:
                raise ModelError(
                    f"{phrase!r} is longer than {MAX_WORDS} words; ask for single words."
                )

    def changed(self, changes: Mapping[str, Any]) -> CaptionOptions:
        """Return these options with some replaced; ``must`` and ``never`` are short names."""
        if not changes:
            return self
        return replace(self, **{_SHORT_NAMES.get(name, name): changes[name] for name in changes})

    @property
    def constrained(self) -> bool:
        """Whether anything is asked of the text itself."""
        return bool(self.length or self.repetition or self.must_include or self.must_exclude)

    def spellings(self, phrase: str) -> tuple[str, ...]:
        """Return a phrase, and its plurals where they count."""
        return (phrase, *plural_forms(phrase)) if self.plurals else (phrase,)

    def excludes(self, text: str) -> bool:
        """Whether a text holds a word that it may not."""
        return any(self._holds(text, phrase) for phrase in self.must_exclude)

    def missing(self, text: str) -> tuple[str, ...]:
        """Words that have to be in a text and are not."""
        return tuple(phrase for phrase in self.must_include if not self._holds(text, phrase))

    def _holds(self, text: str, phrase: str) -> bool:
        """Whether a text holds a phrase; most are ruled out by a part that they lack."""
        lower = text.lower()
        patterns = map(_pattern, self.spellings(phrase))
        return any(part in lower and pattern.search(text) for part, pattern in patterns)

    def satisfied_by(self, text: str) -> bool:
        """Whether a text holds all that it must and nothing that it may not."""
        return not self.excludes(text) and not self.missing(text)

    def punctuated(self, text: str) -> str:
        """Give a text the capital and full stop of a sentence, or take a stop away.

        >>> CaptionOptions(length="sentence").punctuated("a dog")
        'A dog.'
        >>> CaptionOptions(length="label").punctuated("A dog.")
        'A dog'
        """
        if self.length is None or not text:
            return text
        if self.length == "sentence":
            stop = "" if text.endswith((".", "!", "?", "…")) else "."
            return text[0].upper() + text[1:] + stop
        return text.rstrip(" .")


def listed(phrases: Sequence[str]) -> str:
    """Join quoted phrases for a message: "'a', 'b' and 'c'"."""
    *others, last = [f"'{phrase}'" for phrase in phrases]
    return f"{', '.join(others)} and {last}" if others else last


def split_phrase(phrase: str) -> list[tuple[str, bool]]:
    """Split a phrase into words and marks, each with whether white space must precede it.

    >>> split_phrase("hot t-shirt")
    [('hot', False), ('t', True), ('-', False), ('shirt', False)]
    """
    parts = _PARTS.findall(phrase)
    is_word = [part[0].isalnum() or part[0] == "_" for part in parts]
    return list(zip(parts, [False, *(a and b for a, b in pairwise(is_word))], strict=True))


@lru_cache(maxsize=1024)
def _pattern(phrase: str) -> tuple[str, re.Pattern[str]]:
    """Return the longest part of a phrase, and what finds it as words of its own."""
    # Gaps around marks do not count ("t - shirt").
    pattern = "".join(
        (r"\s+" if apart else r"\s*" if index else "") + re.escape(part)
        for index, (part, apart) in enumerate(split_phrase(phrase))
    )
    longest = max(_PARTS.findall(phrase), key=len)
    return longest, re.compile(rf"(?<!\w){pattern}(?!\w)", re.IGNORECASE)


def _phrases(given: str | Sequence[str]) -> tuple[str, ...]:
    """Clean phrases, each once; a lone string is a single phrase."""
    clean: dict[str, None] = {}
    for phrase in [given] if isinstance(given, str) else given:
        plain = _EDGES.sub("", " ".join(phrase.lower().split()))
        if not plain:
            raise ModelError(f"{phrase!r} holds no word; give words to ask for.")
        clean[plain] = None
    return tuple(clean)


def as_length(text: str) -> tuple[float, str]:
    """Return the number and the unit of a length; a ModelError where a text is none.

    >>> as_length("0.65 um"), as_length("2e-1 micrometers")
    ((0.65, 'µm'), (0.2, 'µm'))
    """
    parts = _LENGTH.fullmatch(text.strip().replace("\u03bc", "\u00b5"))
    unit = (
        _UNITS.get(parts[2].casefold().replace("\u03bc", "\u00b5").removesuffix("s"))
        if parts
        else None
    )
    with suppress(ValueError):
        size = float(parts[1]) if parts and unit else 0.0
        if unit and 0 < size < math.inf:
            return size, unit
    raise ModelError(
        f"A pixel size is a length above 0 and its unit, such as '0.65 µm', but {text!r} is none."
    )


def square_pixel(height: tuple[float, str], width: tuple[float, str]) -> str | None:
    """Return the side of a pixel as a length, None where it is not square or has no such unit.

    Sides that hardly differ stand for that of the square of the same area.

    >>> square_pixel((0.65, "micrometer"), (0.65, "micrometer")), square_pixel((2, "s"), (2, "s"))
    ('0.65 micrometer', None)
    >>> square_pixel((0.65, "µm"), (0.67, "µm")), square_pixel((0.65, "µm"), (1.3, "µm"))
    ('0.659924 µm', None)
    """
    (down, unit), (across, other) = height, width
    text = f"{math.sqrt(max(down * across, 0)):.6g} {unit}"
    with suppress(ModelError):
        as_length(text)
        if unit == other and math.isclose(down, across, rel_tol=SQUARE):
            return text
    return None


_IRREGULAR = {
    **{"child": "children", "foot": "feet", "goose": "geese", "man": "men", "mouse": "mice"},
    **{"ox": "oxen", "person": "people", "tooth": "teeth", "woman": "women"},
}
_PLURAL_ENDINGS = {"f": "ves", "fe": "ves", "us": "i", "um": "a", "is": "es"}


@lru_cache(maxsize=1024)
def plural_forms(phrase: str) -> tuple[str, ...]:
    """Return what may be the plural of a phrase: that of its last word, in several spellings.

    >>> plural_forms("fire truck"), plural_forms("fireman"), plural_forms("knife")
    (('fire trucks',), ('firemen', 'firemans'), ('knives', 'knifes'))
    >>> plural_forms("city"), plural_forms("bus")
    (('cities',), ('bi', 'buses'))
    """
    *before, word = phrase.split(" ")
    forms = [
        word[: -len(end)] + plural
        for end, plural in _IRREGULAR.items()
        if word == end or (len(end) > 2 and word.endswith(end))
    ]
    if word.endswith("y") and word[-2:-1] in "bcdfghjklmnpqrstvwxz":
        forms.append(f"{word[:-1]}ies")
    else:
        if word.endswith(("s", "x", "z", "ch", "sh", "o")):
            forms.append(f"{word}es")
        if not word.endswith(("s", "x", "z", "ch", "sh")):
            forms.append(f"{word}s")
        endings = _PLURAL_ENDINGS.items()
        forms = [*(word[: -len(e)] + form for e, form in endings if word.endswith(e)), *forms]
    return tuple(dict.fromkeys(" ".join([*before, form]) for form in forms))
