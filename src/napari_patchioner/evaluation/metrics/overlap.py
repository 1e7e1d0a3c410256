"""BLEU, ROUGE-L and CIDEr-D: word overlap of captions with their references."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .tokens import Grams, ngrams, tokenize_captions, tokenize_references

if TYPE_CHECKING:
    from collections.abc import Sequence

# The published code adds these so that an absent n-gram does not end in a logarithm of zero.
TINY, SMALL = 1e-15, 1e-9


def bleu(
    candidates: Sequence[str], references: Sequence[Sequence[str]], longest: int = 4
) -> list[float]:
    """Corpus BLEU-1 to BLEU-``longest``, with the closest reference's length.

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
        closest += min((abs(len(item) - len(tokens)), len(item)) for item in others)[1]
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


BETA = 1.2


def rouge_l(
    candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> npt.NDArray[np.float64]:
    """ROUGE-L of each caption (Lin 2004), with recall weighing more than precision.

    The best precision and the best recall over the references are combined, as the COCO caption
    tools do, even where they come from two of them.

    Returns
    -------
    ndarray of float64, shape (n,)
        0 to 1; the corpus score is their mean.

    Examples
    --------
    >>> rouge_l(["a dog runs"], [["a dog runs"]])
    array([1.])
    """
    pairs = zip(tokenize_captions(candidates), tokenize_references(references), strict=True)
    return np.array([_rouge_of(tokens, others) for tokens, others in pairs])


def _rouge_of(tokens: list[str], others: list[list[str]]) -> float:
    # A caption or reference without a word counts as one empty word in the published code.
    tokens = tokens or [""]
    shared = [(longest_common(tokens, other or [""]), len(other) or 1) for other in others]
    precision = max((common / len(tokens) for common, _ in shared), default=0.0)
    recall = max((common / length for common, length in shared), default=0.0)
    if not precision or not recall:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def longest_common(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest common subsequence.

    Examples
    --------
    >>> longest_common("a red dog runs".split(), "a dog slowly runs".split())
    3
    """
    row = [0] * (len(right) + 1)
    for word in left:
        diagonal = 0
        for place, other in enumerate(right, start=1):
            above = row[place]
            row[place] = diagonal + 1 if word == other else max(above, row[place - 1])
            diagonal = above
    return row[-1]


SIGMA = 6.0


class DocumentFrequency:
    """In how many images' references each n-gram occurs."""

    def __init__(self, references: Sequence[Sequence[str]]) -> None:
        counts: Counter[tuple[str, ...]] = Counter()
        for others in tokenize_references(references):
            grams = [gram for tokens in others for size in ngrams(tokens) for gram in size]
            counts.update(set(grams))
        self._counts = counts
        self._log_images = math.log(len(references))

    def weigh(self, grams: Grams) -> tuple[dict[tuple[str, ...], float], float]:
        """TF-IDF of counted n-grams and its norm."""
        weighed = {
            gram: count * (self._log_images - math.log(max(1, self._counts[gram])))
            for gram, count in grams.items()
        }
        return weighed, math.sqrt(sum(value**2 for value in weighed.values()))


def cider_d(
    candidates: Sequence[str],
    references: Sequence[Sequence[str]],
    frequency: DocumentFrequency | None = None,
) -> npt.NDArray[np.float64]:
    """CIDEr-D of each caption (Vedantam et al. 2015), on the scale of 0 to 10.

    Returns
    -------
    ndarray of float64, shape (n,)
        The corpus score is their mean.
    """
    frequency = frequency or DocumentFrequency(references)
    pairs = zip(tokenize_captions(candidates), tokenize_references(references), strict=True)
    return np.array([_cider_of(tokens, others, frequency) for tokens, others in pairs])


def _cider_of(tokens: list[str], others: list[list[str]], frequency: DocumentFrequency) -> float:
    total = 0.0
    for other in others:
        # The published code counts bigrams for the length, so an empty caption has length 0.
        difference = max(len(tokens) - 1, 0) - max(len(other) - 1, 0)
        penalty = math.exp(-(difference**2) / (2 * SIGMA**2))
        for mine, theirs in zip(ngrams(tokens), ngrams(other), strict=True):
            total += penalty * _cosine(frequency.weigh(mine), frequency.weigh(theirs))
    return 10.0 * total / (4 * len(others))


def _cosine(
    mine: tuple[dict[tuple[str, ...], float], float],
    theirs: tuple[dict[tuple[str, ...], float], float],
) -> float:
    """Cosine in which a caption gains nothing by repeating itself."""
    (left, left_norm), (right, right_norm) = mine, theirs
    if not left_norm or not right_norm:
        return 0.0
    shared = left.keys() & right.keys()
    overlap = sum(min(left[gram], right[gram]) * right[gram] for gram in shared)
    return overlap / (left_norm * right_norm)
