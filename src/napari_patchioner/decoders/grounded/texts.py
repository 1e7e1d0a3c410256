"""Hedges where the model is not sure, and names and sentences made of phrases."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from napari_patchioner.decoders.options import Length

from .vocabulary import UNIQUE, Concept, correct_articles, with_article

# How many guesses a hedge holds, and the share of the first one's probability that is worth one.
GUESSES, FAR_BEHIND = 3, 0.15
_HEDGE, _UNKNOWN = "?", "not sure what this is"
# A description without these is no description.
_FUNCTION_WORDS = "a an one two three about many and of on with in from to"
_NOUNS = "background area texture pattern gradient lines line spots spot marks mark rods rod rings"
_NOUNS += " ring stripes grid mesh"
_NEEDED = frozenset(f"{_FUNCTION_WORDS} {_NOUNS}".split())
# What may not be called by its form is a mark.
_NAMES = ("line", "spot", "rod", "ring", "square", "rectangle", "outline")
_FORMS = frozenset([*_NAMES, *(f"{name}s" for name in _NAMES)])
_TAIL = re.compile(r",| (?:on|of|with|around) ")
_ARTICLE = re.compile(r"^(?:an?|the) ")


def hedge(candidates: Sequence[tuple[str, float]]) -> str:
    """Say what a region may hold, without claiming it: the likely names, the best first.

    >>> hedge([("cup", 0.2), ("bowl", 0.18), ("vase", 0.1)])
    'cup, bowl or vase?'
    >>> hedge([("orange", 0.2), ("vase", 0.02)])
    'orange?'
    >>> hedge([])
    'not sure what this is'
    """
    if not candidates:
        return _UNKNOWN
    best = candidates[0][1]
    likely = [name for name, weight in candidates[:GUESSES] if weight >= FAR_BEHIND * best]
    return _listed(likely) + _HEDGE


def _listed(names: Sequence[str]) -> str:
    """Join names as a choice."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last


def name_with_article(name: str, concepts: Mapping[str, Concept]) -> str:
    """Return a name with the article it takes."""
    if name in UNIQUE:
        return f"the {name}"
    concept = concepts.get(name)
    return with_article(name, mass=concept is not None and concept.mass)


def with_length(
    text: str,
    length: Length | None,
    *,
    measured: bool = False,
    concepts: Mapping[str, Concept] | None = None,
) -> str:
    """Make a name or a sentence of a phrase, hedge or (``measured``) description.

    In a sentence the guesses of a hedge take the articles of ``concepts``.

    >>> with_length("a brown dog", "sentence"), with_length("several dogs", "sentence")
    ('There is a brown dog.', 'There are several dogs.')
    >>> with_length("cup, bowl or vase?", "label"), with_length("cup or bowl?", "sentence")
    ('cup?', 'This may be a cup or a bowl.')
    >>> with_length("a striped texture of red and white", "label", measured=True)
    'a striped texture'
    """
    guesses = re.split(", | or ", text.removesuffix(_HEDGE)) if text.endswith(_HEDGE) else []
    if length == "label":
        if measured:
            return _TAIL.split(text)[0]
        if guesses:
            return guesses[0] + _HEDGE
        return text if text == _UNKNOWN else _ARTICLE.sub("", text)
    if length != "sentence":
        return text
    if measured:
        return f"This shows {text}."
    if text == _UNKNOWN:
        return "It is not clear what this is."
    if guesses:
        named = [name_with_article(name, concepts or {}) for name in guesses]
        return f"This may be {_listed(named)}."
    if text.startswith("the "):
        return f"This is {text}."
    return f"There {'are' if text.startswith(('several ', 'two ')) else 'is'} {text}."


def without_words(text: str, words: Sequence[str]) -> str | None:
    """Take adjectives out of a description, call forms marks; None where it would fall apart.

    >>> without_words("many small purple spots on a red and white background", ["red", "small"])
    'many purple spots on a white background'
    >>> without_words("many purple spots", ["spots"])
    'many purple marks'
    >>> without_words("two black squares", ["squares"])
    'two black marks'
    >>> without_words("two square outlines", ["square"]), without_words("a square", ["square"])
    ('two outlines', 'a mark')
    >>> without_words("many purple spots", ["many"]) is None
    True
    """
    for word in _FORMS.intersection(words):
        text = re.sub(rf"\b{word}\b(?! outline)", "marks" if word.endswith("s") else "mark", text)
    for word in words:
        if word in _FORMS and word not in text.split():
            continue
        if _NEEDED.intersection(word.split()):
            return None
        pattern = rf"(?<!\w){re.escape(word)}(?!\w)"
        text = re.sub(rf"{pattern} and | and {pattern}|{pattern} ?", "", text, flags=re.IGNORECASE)
    return " ".join(correct_articles(text.split())) or None
