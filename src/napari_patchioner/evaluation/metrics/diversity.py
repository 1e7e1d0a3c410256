"""Whether captions distinguish regions: many words in use, and no caption that fits them all."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .tokens import ngrams, tokenize

if TYPE_CHECKING:
    from collections.abc import Sequence

    FloatArray = npt.NDArray[np.float32] | npt.NDArray[np.float64]


def distinct(candidates: Sequence[str], size: int) -> float:
    """Share of different n-grams among all n-grams of the captions (distinct-n, Li et al. 2016).

    Returns
    -------
    float
        0 to 1; nan where no caption is long enough.

    Examples
    --------
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
    texts: FloatArray, regions: FloatArray, images: Sequence[str]
) -> npt.NDArray[np.float64]:
    """Whether each caption finds its own region again among all regions of its image.

    Parameters
    ----------
    texts : ndarray of float, shape (n, dim)
        Embeddings of the captions.
    regions : ndarray of float, shape (n, dim)
        Embeddings of the regions they were written for, in the same space.

    Returns
    -------
    ndarray of float64, shape (n,)
        1 where a caption is nearer to its region, by cosine, than to any other of the image; a
        tie shares the point out among those tied. Nan for the only region of an image, which
        nothing could be mistaken for.
    """
    texts, regions = _unit(texts), _unit(regions)
    members: dict[str, list[int]] = defaultdict(list)
    for place, image in enumerate(images):
        members[image].append(place)
    results = np.full(len(images), np.nan)
    for places in members.values():
        if len(places) > 1:
            likeness = texts[places] @ regions[places].T
            results[places] = _own_is_best(likeness)
    return results


def _own_is_best(likeness: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    own = np.diag(likeness)[:, None]
    better = (likeness > own + _TIE).any(axis=1)
    tied = (np.abs(likeness - own) <= _TIE).sum(axis=1)
    return np.where(better, 0.0, 1.0 / tied)


_TIE = 1e-9


def _unit(vectors: FloatArray) -> npt.NDArray[np.float64]:
    vectors = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(norms > 0, norms, 1.0)
