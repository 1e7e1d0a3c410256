"""Words and n-grams the way the COCO caption tools count them."""

from __future__ import annotations

import re
from collections import Counter
from typing import TypeAlias

Grams: TypeAlias = Counter[tuple[str, ...]]

_BRACKETS = {"(": " -lrb- ", ")": " -rrb- ", "[": " -lsb- ", "]": " -rsb- "}
_CLITICS = re.compile(r"(?<=\w)('s|'re|'ve|'ll|'d|'m|n't)\b")
_TOKEN = re.compile(r"-[lr][rs]b-|'?[^\W_][\w.&/-]*(?:'\w+)?|n't|'\w+")


def tokenize(caption: str) -> list[str]:
    """Lower-case tokens without punctuation, after the Penn Treebank's manner.

    Parameters
    ----------
    caption : str

    Returns
    -------
    list of str

    Examples
    --------
    >>> tokenize("A child's bed (close up), open-air.")
    ['a', 'child', "'s", 'bed', '-lrb-', 'close', 'up', '-rrb-', 'open-air']
    """
    text = caption.lower()
    for bracket, token in _BRACKETS.items():
        text = text.replace(bracket, token)
    tokens = _TOKEN.findall(_CLITICS.sub(r" \1", text))
    return [token.rstrip(".") for token in tokens]


def ngrams(tokens: list[str], longest: int = 4) -> list[Grams]:
    """Count runs of 1 to ``longest`` tokens.

    Returns
    -------
    list of Counter
        One per length; keys are tuples of tokens.
    """
    return [
        Counter(tuple(tokens[start : start + size]) for start in range(len(tokens) - size + 1))
        for size in range(1, longest + 1)
    ]
