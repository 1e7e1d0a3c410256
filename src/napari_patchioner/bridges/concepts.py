"""The bridge of the embedded models: from pooled features to named concepts and measured words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_patchioner.decoders import Evidence

from ._bridge import Crossing
from .appearance import AXES, attributes, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from ._bridge import Scene
    from ._head import ConceptHead, ImageNetReading

    FloatArray = npt.NDArray[np.float32]

CANDIDATES = 6
"""How many concepts a region's evidence lists at most."""

SHOWN = 3
"""How many are listed always, for people to see what else was considered."""

LEAST_SHARE = 0.05
"""Beyond those, concepts below this share of the first one's probability are left out."""

PHOTOGRAPH = 0.5
"""Below this probability of being a photograph nothing is named."""

UNSURE = 0.5
"""Below this calibrated score the caption hedges."""

_MIXTURE = 3
_SHARPNESS = 1.5


class ConceptBridge:
    """Reads off concepts and appearance, and places a region in the space of sentences.

    Parameters
    ----------
    head : ConceptHead
        Pooled features to concept probabilities.
    imagenet : ImageNetReading
        The classifier the features were made for.
    names : sequence of str
        The concepts, in the order of the head's outputs.
    embeddings : ndarray, shape (len(names), d)
        Sentence embedding of each concept.
    words : sequence of str
        Names of the attribute strengths that follow the text vector.
    groups : sequence of sequence of str
        Concepts too near in meaning to be offered side by side ("mug" and "cup"): the most
        probable of a group stands for all of it.
    """

    def __init__(
        self,
        head: ConceptHead,
        imagenet: ImageNetReading,
        names: Sequence[str],
        embeddings: npt.NDArray[np.floating],
        words: Sequence[str],
        groups: Sequence[Sequence[str]] = (),
    ) -> None:
        self._head = head
        self._imagenet = imagenet
        self._names = tuple(names)
        self._embeddings = _unit(np.asarray(embeddings, np.float32))
        self._words = tuple(words)
        self._group = _group_of(self._names, groups)

    def cross(
        self,
        vectors: npt.NDArray[np.float32],
        grid: Scene,
        *,
        patches: npt.NDArray[np.float64] | None = None,
        progress: Callable[[float, str], None] | None = None,
    ) -> Crossing:
        """Name what is in each region and measure how it looks.

        Parameters
        ----------
        vectors : ndarray of float32, shape (n, dim)
            Pooled ``[features | appearance axes]``.
        grid : Scene
            ``measures["photograph"]`` decides whether anything is named at all.
        patches : ndarray of float, shape (n,), optional
            Patches each region holds, so that spots can be counted.

        Returns
        -------
        Crossing
            ``vectors`` are ``[text vector | attribute strengths]``; one Evidence per region.
        """
        features, axes = vectors[:, : -len(AXES)], vectors[:, -len(AXES) :]
        measured = attributes(axes)
        probabilities = self.named(features)
        photograph = grid.measures.get("photograph", 1.0)
        if photograph < PHOTOGRAPH:
            texts = describe(
                axes, patches=1.0 if patches is None else patches, scale=640 / max(grid.shape)
            )
            evidence = [
                Evidence(attributes=words, score=1 - photograph, verdict="appearance", text=text)
                for words, text in zip(measured, texts, strict=True)
            ]
        else:
            scores = self._head.calibrated(probabilities.max(1, initial=0.0))
            evidence = [
                self._evidence(row, words, float(score))
                for row, words, score in zip(probabilities, measured, scores, strict=True)
            ]
        strengths = np.array(
            [[words.get(word, 0.0) for word in self._words] for words in measured], np.float32
        ).reshape(len(vectors), len(self._words))
        return Crossing(
            np.concatenate([self._text_vectors(probabilities), strengths], axis=1),
            evidence=tuple(evidence),
        )

    def probabilities(self, features: FloatArray) -> FloatArray:
        """Probability of every concept, shape (n, len(names)), before near-synonyms merge."""
        return self._head.probabilities(features, self._imagenet, len(self._names))

    def named(self, features: FloatArray) -> FloatArray:
        """Probability of every concept, shape (n, len(names)), near-synonyms merged."""
        return self._merged(self.probabilities(features))

    def _merged(self, probabilities: FloatArray) -> FloatArray:
        """Give each group's probability to its most probable member."""
        merged = probabilities.copy()
        for members in self._group:
            part = probabilities[:, members]
            merged[:, members] = 0
            rows = np.arange(len(part))
            merged[rows, np.asarray(members)[part.argmax(1)]] = part.sum(1)
        return merged

    def _evidence(self, row: FloatArray, words: dict[str, float], score: float) -> Evidence:
        best = np.argsort(-row, kind="stable")[:CANDIDATES]
        likely = row[best] >= LEAST_SHARE * row[best[0]]
        best = best[likely | (np.arange(len(best)) < SHOWN)]
        return Evidence(
            concepts=tuple((self._names[index], float(row[index])) for index in best),
            attributes=words,
            score=score,
            verdict="sure" if score >= UNSURE else "unsure",
        )

    def _text_vectors(self, probabilities: FloatArray) -> FloatArray:
        """Sharpened mixture of the best concepts' embeddings, unit length."""
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :_MIXTURE]
        shares = np.take_along_axis(probabilities, best, 1) ** _SHARPNESS
        return _unit(np.einsum("nk,nkd->nd", shares, self._embeddings[best]))


def _unit(rows: FloatArray) -> FloatArray:
    unit: FloatArray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit


def _group_of(names: Sequence[str], groups: Sequence[Sequence[str]]) -> list[list[int]]:
    index = {name: position for position, name in enumerate(names)}
    found = [[index[name] for name in group if name in index] for group in groups]
    return [members for members in found if len(members) > 1]
