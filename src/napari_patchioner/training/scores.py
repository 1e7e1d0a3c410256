"""How well a decoder rebuilds held-out captions from their embeddings, beside plain retrieval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.bridges import MemoryBank, unit_rows
from napari_patchioner.evaluation.metrics.overlap import bleu, cider_d
from napari_patchioner.evaluation.metrics.tokens import tokenize_captions
from napari_patchioner.progress import Progress, no_progress

Decode: TypeAlias = Callable[[npt.NDArray[np.float32], Sequence[str]], list[str]]
"""Vectors, shape (n, dim), and the captions they belong to (for the names in them), to texts."""

_BATCH = 64


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Scores of texts against the captions they should be.

    ``cider`` is CIDEr-D (0 to 10) and ``bleu`` BLEU-4 with one reference each; ``words`` is how
    much the words have in common, whatever their order (F1, 0 to 1); ``exact`` the share of
    captions that are rebuilt word for word.
    """

    cider: float
    bleu: float
    words: float
    exact: float


def rebuilt(texts: Sequence[str], captions: Sequence[str]) -> Rebuilt:
    """Score texts against the captions they should be.

    >>> rebuilt(["a dog", "a cat sits"], ["A dog.", "a cat runs"]).exact
    0.5
    """
    references = [[caption] for caption in captions]
    pairs = list(zip(tokenize_captions(texts), tokenize_captions(captions), strict=True))
    shared = [(Counter(left) & Counter(right)).total() for left, right in pairs]
    words = [
        2 * both / max(len(left) + len(right), 1)
        for both, (left, right) in zip(shared, pairs, strict=True)
    ]
    return Rebuilt(
        cider=float(cider_d(texts, references).mean()),
        bleu=bleu(texts, references)[-1],
        words=float(np.mean(words)),
        exact=float(np.mean([left == right for left, right in pairs])),
    )


def score_ways(
    decode: Decode,
    training: MemoryBank,
    held_out: MemoryBank,
    *,
    unit: bool = False,
    most: int = 500,
    progress: Progress | None = None,
) -> dict[str, Rebuilt]:
    """Rebuild held-out captions in three ways.

    Parameters
    ----------
    decode : callable
        The decoder.
    training, held_out : MemoryBank
        What it learned from, and what it did not.
    unit : bool
        As in `MemoryBank.recall`.
    most : int
        How many captions at most, the first ones.
    progress : callable, optional
        May raise ``Cancelled``.

    Returns
    -------
    dict of str to Rebuilt
        ``retrieval``: the nearest caption of the memory; ``decoder``: from the embeddings as they
        are; ``memory``: from their projection onto the memory of the training captions.
    """
    progress = progress or no_progress
    count = min(len(held_out), most)
    captions = [held_out.captions[row] for row in range(count)]
    texts: dict[str, list[str]] = {"retrieval": [], "decoder": [], "memory": []}
    for start in range(0, count, _BATCH):
        progress(start / count, f"{start} of {count} held-out captions rebuilt")
        rows = np.arange(start, min(start + _BATCH, count))
        vectors, own = unit_rows(held_out.take(rows)), captions[start : start + _BATCH]
        projected, near = training.recall(vectors, unit=unit, neighbours=1)
        texts["retrieval"] += [neighbours[0][0] for neighbours in near]
        texts["decoder"] += decode(vectors, own)
        texts["memory"] += decode(projected, own)
    return {name: rebuilt(written, captions) for name, written in texts.items()}
