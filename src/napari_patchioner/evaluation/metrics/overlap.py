"""BLEU, ROUGE-L and CIDEr-D: word overlap of captions with their references."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from .tokens import Grams, ngrams, tokenize_captions, tokenize_references

# The published code adds these so that an absent n-gram does not end in a logarithm of zero.
_TINY, _SMALL = 1e-15, 1e-9
# Weight of recall against precision in ROUGE-L.
_BETA = 1.2
# How many words a caption may be longer or shorter than a reference in CIDEr-D.
_SIGMA = 6.0


def _pairs(
    candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Tokens of each caption and of its references."""
    return zip(tokenize_captions(candidates), tokenize_references(references), strict=True)


def bleu(
    candidates: Sequence[str], references: Sequence[Sequence[str]], longest: int = 4
) -> list[float]:
    """Corpus BLEU-1 to BLEU-``longest``, 0 to 1, with the closest reference's length."""
    matched, guessed = [0] * longest, [0] * longest
    written = closest = 0
    for tokens, others in _pairs(candidates, references):
        written += len(tokens)
        closest += min((abs(len(item) - len(tokens)), len(item)) for item in others)[1]
        # Runs found in a reference, each at most as often as one reference has it.
        allowed: list[Grams] = [Counter() for _ in range(longest)]
        for other in others:
            for size, grams in enumerate(ngrams(other, longest)):
                allowed[size] |= grams
        for size, grams in enumerate(ngrams(tokens, longest)):
            matched[size] += (grams & allowed[size]).total()
            guessed[size] += max(0, len(tokens) - size)
    ratio = (written + _TINY) / (closest + _SMALL)
    brevity = min(1.0, math.exp(1 - 1 / ratio))
    scores, product = [], 1.0
    for size, (hits, tries) in enumerate(zip(matched, guessed, strict=True), start=1):
        product *= (hits + _TINY) / (tries + _SMALL)
        scores.append(float(product ** (1 / size) * brevity))
    return scores


def rouge_l(
    candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> npt.NDArray[np.float64]:
    """ROUGE-L of each caption (Lin 2004), 0 to 1, with recall weighing more than precision.

    The best precision and the best recall over the references are combined, as the COCO caption
    tools do, even where they come from two of them.

    >>> rouge_l(["a dog runs"], [["a dog runs"]])
    array([1.])
    """
    scores = []
    for caption, others in _pairs(candidates, references):
        # A caption or reference without a word counts as one empty word in the published code.
        tokens = caption or [""]
        shared = [(longest_common(tokens, other or [""]), len(other) or 1) for other in others]
        precision = max((common / len(tokens) for common, _ in shared), default=0.0)
        recall = max((common / length for common, length in shared), default=0.0)
        both = (1 + _BETA**2) * precision * recall
        scores.append(both / (recall + _BETA**2 * precision) if both else 0.0)
    return np.array(scores)


def longest_common(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest common subsequence.

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


class DocumentFrequency:
    """In how many images' references each n-gram occurs."""

    def __init__(self, references: Sequence[Sequence[str]]) -> None:
        self._counts: Grams = Counter()
        for others in tokenize_references(references):
            self._counts.update({g for tokens in others for size in ngrams(tokens) for g in size})
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
    """CIDEr-D of each caption (Vedantam et al. 2015), on the scale of 0 to 10."""
    frequency = frequency or DocumentFrequency(references)
    scores = []
    for tokens, others in _pairs(candidates, references):
        total = 0.0
        for other in others:
            # The published code counts bigrams for the length, so an empty caption has length 0.
            difference = max(len(tokens) - 1, 0) - max(len(other) - 1, 0)
            penalty = math.exp(-(difference**2) / (2 * _SIGMA**2))
            for mine, theirs in zip(ngrams(tokens), ngrams(other), strict=True):
                left, left_norm = frequency.weigh(mine)
                right, right_norm = frequency.weigh(theirs)
                if left_norm and right_norm:
                    # The lesser of both: a caption gains nothing by repeating itself.
                    shared = left.keys() & right.keys()
                    overlap = sum(min(left[gram], right[gram]) * right[gram] for gram in shared)
                    total += penalty * (overlap / (left_norm * right_norm))
        scores.append(10.0 * total / (4 * len(others)))
    return np.array(scores)
