"""The little English grammar that captions need: articles, plurals, and two names in a row."""

from __future__ import annotations

# Words whose first letter misleads.
_VOWEL_SOUNDS = ("hour",)
_CONSONANT_SOUNDS = ("uni", "use", "usu", "uri", "ute", "euro", "one")


def article(words: str) -> str:
    """Return ``"a"`` or ``"an"``, whichever the first of these words takes.

    Examples
    --------
    >>> article("umbrella"), article("uniform"), article("hourglass"), article("red apple")
    ('an', 'a', 'an', 'a')
    """
    word = words.lower()
    if word.startswith(_VOWEL_SOUNDS):
        return "an"
    if word.startswith(_CONSONANT_SOUNDS):
        return "a"
    return "an" if word[:1] in set("aeiou") else "a"


def with_article(noun: str, *, mass: bool = False) -> str:
    """Put the indefinite article before a noun that takes one.

    Examples
    --------
    >>> with_article("orange"), with_article("grass", mass=True)
    ('an orange', 'grass')
    """
    return noun if mass else f"{article(noun)} {noun}"


def correct_articles(words: list[str]) -> list[str]:
    """Make every "a" and "an" agree with the word after it.

    Examples
    --------
    >>> " ".join(correct_articles("a orange on an plate".split()))
    'an orange on a plate'
    """
    followers = [*words[1:], ""]
    return [
        article(after) if word in ("a", "an") and after else word
        for word, after in zip(words, followers, strict=False)
    ]
