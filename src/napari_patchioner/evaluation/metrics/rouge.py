"""ROUGE-L: the longest run of words, gaps allowed, that a caption shares with a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ._tokens import tokenize_captions, tokenize_references

if TYPE_CHECKING:
    from collections.abc import Sequence

BETA = 1.2


def rouge_l(
    candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> npt.NDArray[np.float64]:
    """ROUGE-L of each caption (Lin 2004), with recall weighing more than precision.

    The best precision and the best recall over the references are combined, as the COCO caption
    tools do, even where they come from two of them.

    Parameters
    ----------
    candidates : sequence of str, length n
        One caption per image.
    references : sequence of sequence of str, length n
        What people wrote about each image.

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
    return np.array([_score(tokens, others) for tokens, others in pairs])


def _score(tokens: list[str], others: list[list[str]]) -> float:
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

    Parameters
    ----------
    left, right : sequence of str

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
