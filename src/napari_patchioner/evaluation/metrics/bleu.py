"""BLEU: how many runs of a caption's words some reference has too."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from ._tokens import ngrams, tokenize_captions, tokenize_references

if TYPE_CHECKING:
    from collections.abc import Sequence

# The published code adds these so that an absent n-gram does not end in a logarithm of zero.
TINY, SMALL = 1e-15, 1e-9


def bleu(
    candidates: Sequence[str], references: Sequence[Sequence[str]], longest: int = 4
) -> list[float]:
    """Corpus BLEU-1 to BLEU-``longest``, with the closest reference's length.

    Parameters
    ----------
    candidates : sequence of str, length n
        One caption per image.
    references : sequence of sequence of str, length n
        What people wrote about each image.
    longest : int
        Longest run of words that is counted.

    Returns
    -------
    list of float
        One value per length, 0 to 1.
    """
    matched, guessed = [0] * longest, [0] * longest
    written = closest = 0
    pairs = zip(tokenize_captions(candidates), tokenize_references(references), strict=True)
    for tokens, others in pairs:
        written += len(tokens)
        closest += min((abs(len(one) - len(tokens)), len(one)) for one in others)[1]
        for size, count in enumerate(_matches(tokens, others, longest)):
            matched[size] += count
            guessed[size] += max(0, len(tokens) - size)
    return _combine(matched, guessed, (written + TINY) / (closest + SMALL))


def _matches(tokens: list[str], others: list[list[str]], longest: int) -> list[int]:
    """Count runs found in a reference, each at most as often as one reference has it."""
    allowed: list[Counter[tuple[str, ...]]] = [Counter() for _ in range(longest)]
    for other in others:
        for size, grams in enumerate(ngrams(other, longest)):
            allowed[size] |= grams
    return [(grams & allowed[size]).total() for size, grams in enumerate(ngrams(tokens, longest))]


def _combine(matched: list[int], guessed: list[int], ratio: float) -> list[float]:
    brevity = min(1.0, math.exp(1 - 1 / ratio))
    scores, product = [], 1.0
    for size, (hits, tries) in enumerate(zip(matched, guessed, strict=True), start=1):
        product *= (hits + TINY) / (tries + SMALL)
        scores.append(float(product ** (1 / size) * brevity))
    return scores
