"""Whether captions distinguish regions: many words in use, and no caption that fits them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .tokens import ngrams, tokenize

# Cosines that differ by no more are the same.
_TIE = 1e-9


def distinct(candidates: Sequence[str], size: int) -> float:
    """Share of different n-grams among all n-grams of the captions (distinct-n, Li et al. 2016).

    0 to 1; nan where no caption is long enough.

    >>> distinct(["a dog", "a cat"], 1)
    0.75
    """
    seen: set[tuple[str, ...]] = set()
    total = 0
    for caption in candidates:
        grams = ngrams(tokenize(caption), size)[-1]
        seen |= grams.keys()
        total += grams.total()
    return len(seen) / total if total else float("nan")


def self_retrieval(
    texts: npt.NDArray[Any], regions: npt.NDArray[Any], images: Sequence[str]
) -> npt.NDArray[np.float64]:
    """Whether each caption finds its own region again among all regions of its image.

    ``texts`` and ``regions``, shape (n, dim), embed the captions and what they were written for in
    one space. Returns shape (n,): 1 where a caption is nearer to its region, by cosine, than to any
    other of the image; a tie shares the point out among those tied. Nan for the only region of an
    image, which nothing could be mistaken for.
    """
    texts, regions = _unit(texts), _unit(regions)
    results = np.full(len(images), np.nan)
    names = np.asarray(images)
    for image in dict.fromkeys(images):
        places = np.flatnonzero(names == image)
        if len(places) > 1:
            likeness = texts[places] @ regions[places].T
            gain = likeness - np.diag(likeness)[:, None]
            tied = (np.abs(gain) <= _TIE).sum(axis=1)
            results[places] = np.where((gain > _TIE).any(axis=1), 0.0, 1.0 / tied)
    return results


def _unit(vectors: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    vectors = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norms > 0, norms, 1.0)
