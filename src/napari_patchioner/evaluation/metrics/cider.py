"""CIDEr-D: agreement with several people's sentences, rare phrases weighing more."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ._tokens import Grams, ngrams, tokenize_captions, tokenize_references

if TYPE_CHECKING:
    from collections.abc import Sequence

SIGMA = 6.0


class DocumentFrequency:
    """In how many images' references each n-gram occurs.

    Parameters
    ----------
    references : sequence of sequence of str
        All references of each image; usually those of the test set itself.
    """

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

    Parameters
    ----------
    candidates : sequence of str, length n
        One caption per image.
    references : sequence of sequence of str, length n
        What people wrote about each image.
    frequency : DocumentFrequency, optional
        Corpus for the weights; the references themselves when not given.

    Returns
    -------
    ndarray of float64, shape (n,)
        The corpus score is their mean.
    """
    frequency = frequency or DocumentFrequency(references)
    pairs = zip(tokenize_captions(candidates), tokenize_references(references), strict=True)
    return np.array([_score(tokens, others, frequency) for tokens, others in pairs])


def _score(tokens: list[str], others: list[list[str]], frequency: DocumentFrequency) -> float:
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
