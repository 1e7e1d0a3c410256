"""What a grounded caption is turned into where a length is wished for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ._grammar import correct_articles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._wishes import Length

_HEDGE, _CLUELESS = "not sure: maybe ", "not sure what this is"
# A description without these is no description.
_FRAME = "a an one few several many and of on with in around"
_NOUNS = "background area texture lines line spots spot meshwork gaps"
_BONES = frozenset(f"{_FRAME} {_NOUNS}".split())
_TAIL = re.compile(r",| (?:on|of|with|around) ")
_ARTICLE = re.compile(r"^(?:an?|the) ")


def reworded(text: str, length: Length | None, *, measured: bool = False) -> str:
    """Make a name or a sentence of a phrase or hedge.

    Parameters
    ----------
    text : str
        "a dog", "not sure: maybe a bottle or a vase", or what was measured.
    length : {"label", "phrase", "sentence"}, optional
        Phrases are left as they are.
    measured : bool
        Whether the text describes an appearance.

    Examples
    --------
    >>> reworded("a brown dog", "sentence"), reworded("several dogs", "sentence")
    ('There is a brown dog.', 'There are several dogs.')
    >>> reworded("not sure: maybe a bottle or a vase", "label")
    'maybe a bottle'
    >>> reworded("a striped texture of red and white", "label", measured=True)
    'a striped texture'
    """
    if length == "label":
        return _label(text, measured)
    if length == "sentence":
        return _sentence(text, measured)
    return text


def _label(text: str, measured: bool) -> str:
    if measured:
        return _TAIL.split(text)[0]
    if text.startswith(_HEDGE):
        return f"maybe {text.removeprefix(_HEDGE).split(' or ')[0]}"
    return text if text == _CLUELESS else _ARTICLE.sub("", text)


def _sentence(text: str, measured: bool) -> str:
    if measured:
        return f"This shows {text}."
    if text == _CLUELESS:
        return "It is not clear what this is."
    if text.startswith(_HEDGE):
        return f"This may be {text.removeprefix(_HEDGE)}."
    if text.startswith("the "):
        return f"This is {text}."
    return f"There {'are' if text.startswith('several ') else 'is'} {text}."


def without(text: str, words: Sequence[str]) -> str | None:
    """Take describing words out of a description; None where it would fall apart.

    Examples
    --------
    >>> without("many small purple spots on a red and white background", ["red", "small"])
    'many purple spots on a white background'
    >>> without("many purple spots", ["spots"]) is None
    True
    """
    for word in words:
        if _BONES.intersection(word.split()):
            return None
        found = rf"(?<!\w){re.escape(word)}(?!\w)"
        text = re.sub(rf"{found} and | and {found}|{found} ?", "", text, flags=re.IGNORECASE)
    left = " ".join(correct_articles(text.split()))
    return left or None
