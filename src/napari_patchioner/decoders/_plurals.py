"""Plurals of English nouns, as far as a list of unwanted words needs them."""

from __future__ import annotations

_IRREGULAR = {
    "child": "children",
    "foot": "feet",
    "goose": "geese",
    "man": "men",
    "mouse": "mice",
    "ox": "oxen",
    "person": "people",
    "tooth": "teeth",
    "woman": "women",
}
_ENDINGS = {"f": "ves", "fe": "ves", "us": "i", "um": "a", "is": "es"}
_CONSONANTS = "bcdfghjklmnpqrstvwxz"


def plural_forms(phrase: str) -> tuple[str, ...]:
    """Return what may be the plural of a phrase: that of its last word, more forms than one.

    Examples
    --------
    >>> plural_forms("fire truck"), plural_forms("fireman"), plural_forms("knife")
    (('fire trucks',), ('firemen', 'firemans'), ('knives', 'knifes'))
    >>> plural_forms("city"), plural_forms("bus")
    (('cities',), ('bi', 'buses'))
    """
    *before, word = phrase.split(" ")
    return tuple(dict.fromkeys(" ".join([*before, form]) for form in _forms(word)))


def _forms(word: str) -> list[str]:
    forms = [
        word[: -len(end)] + plural
        for end, plural in _IRREGULAR.items()
        if word == end or (len(end) > 2 and word.endswith(end))
    ]
    if word.endswith("y") and word[-2:-1] in _CONSONANTS:
        return [*forms, f"{word[:-1]}ies"]
    if word.endswith(("s", "x", "z", "ch", "sh", "o")):
        forms.append(f"{word}es")
    if not word.endswith(("s", "x", "z", "ch", "sh")):
        forms.append(f"{word}s")
    return [
        *(word[: -len(end)] + plural for end, plural in _ENDINGS.items() if word.endswith(end)),
        *forms,
    ]
