"""The bridge of the embedded models: from pooled features to named concepts and measured words."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.decoders import CaptionOptions, Evidence
from napari_patchioner.errors import ModelError

from .appearance import AXES, attributes, describe
from .base import BridgeOutput, Scene

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_patchioner.progress import Progress

FloatArray: TypeAlias = npt.NDArray[np.float32]

CANDIDATES = 6
"""How many concepts a region's evidence lists at most."""

SHOWN = 3
"""How many are listed always, for people to see what else was considered."""

MIN_SHARE = 0.05
"""Beyond those, concepts below this share of the first one's probability are left out."""

PHOTOGRAPH = 0.5
"""Below this probability of being a photograph nothing is named."""

UNSURE = 0.5
"""Below this calibrated score the caption hedges."""

_MIXTURE = 3
_SHARPNESS = 1.5
_MIN_PROBABILITY = 1e-3
_MIN_OPEN = 0.02

# ImageNet's probability that speaks neither for nor against a concept.
_EVEN = 0.01


class ConceptBridge:
    """Recognises concepts and appearance, and maps a region to the space of sentences.

    Parameters
    ----------
    head : ConceptHead
        Pooled features to concept probabilities.
    imagenet : ImageNetClassifier
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
        imagenet: ImageNetClassifier,
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
        index = {name: position for position, name in enumerate(self._names)}
        members = [[index[name] for name in group if name in index] for group in groups]
        self._groups = [group for group in members if len(group) > 1]

    def project(
        self,
        vectors: npt.NDArray[np.float32],
        grid: Scene,
        *,
        options: CaptionOptions | None = None,
        patches: npt.NDArray[np.float64] | None = None,
        progress: Progress | None = None,
    ) -> BridgeOutput:
        """Name what is in each region and measure its appearance.

        ``vectors`` (n, dim) are pooled ``[features | appearance axes]``; ``measures["photograph"]``
        of the grid decides whether anything is named at all; with ``patches`` (n,) spots can be
        counted. The output's vectors are ``[text vector | attribute strengths]``.
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
        return BridgeOutput(
            np.concatenate([self._text_vectors(probabilities), strengths], axis=1),
            evidence=tuple(evidence),
        )

    def probabilities(self, features: FloatArray) -> FloatArray:
        """Probability of every concept, shape (n, len(names)), before near-synonyms merge."""
        return self._head.probabilities(features, self._imagenet, len(self._names))

    def named(self, features: FloatArray) -> FloatArray:
        """Merge near-synonyms: a group's share goes to its most probable member."""
        probabilities = self.probabilities(features)
        merged = probabilities.copy()
        for members in self._groups:
            part = probabilities[:, members]
            merged[:, members] = 0
            rows = np.arange(len(part))
            merged[rows, np.asarray(members)[part.argmax(1)]] = part.sum(1)
        return merged

    def _evidence(self, row: FloatArray, words: dict[str, float], score: float) -> Evidence:
        best = np.argsort(-row, kind="stable")[:CANDIDATES]
        likely = row[best] >= MIN_SHARE * row[best[0]]
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


@dataclass(frozen=True, eq=False, slots=True)
class ImageNetClassifier:
    """The published ImageNet classifier, its classes grouped under concepts.

    ``weights`` (channels, classes), ``bias`` (classes,), ``groups`` (classes,): each class's
    concept.
    """

    weights: FloatArray
    bias: FloatArray
    groups: npt.NDArray[np.int64]

    def probabilities(self, deep: FloatArray, concepts: int) -> FloatArray:
        """Probability of every concept, zero where it has no class, shape (n, concepts)."""
        classes = softmax(deep @ self.weights + self.bias)
        grouped = np.zeros((concepts, len(deep)), np.float32)
        np.add.at(grouped, self.groups, classes.T)
        return grouped.T


@dataclass(frozen=True, eq=False, slots=True)
class ConceptHead:
    """Concept probabilities of pooled features.

    Logits of the concepts fitted on development images are a linear function plus
    ``prior`` times the log-probability that ImageNet gives them: the fewer images showed a
    concept, the more ImageNet counts. Of the other concepts, those it finds likely have
    ``open_prior`` times that log-probability plus ``open_offset``. The softmax of both at
    ``temperature`` is the answer.

    ``weights`` (dim, fitted) read the square root of deep features, and middle features as they
    are; ``labels`` (fitted,) are the concepts of the outputs; ``mixing`` holds ``open_prior,
    open_offset, temperature``; ``score_steps`` and ``score_values`` calibrate the probability of
    the first concept to that of being right.
    """

    weights: FloatArray
    bias: FloatArray
    labels: npt.NDArray[np.int64]
    prior: FloatArray
    mixing: FloatArray
    score_steps: FloatArray
    score_values: FloatArray

    @property
    def dim(self) -> int:
        """Length of the features it reads."""
        return len(self.weights)

    def probabilities(
        self, features: FloatArray, imagenet: ImageNetClassifier, concepts: int
    ) -> FloatArray:
        """Probabilities of all concepts, shape (n, concepts); each row sums to one.

        ``features`` (n, dim) are pooled ``[deep | middle]``.
        """
        deep = len(imagenet.weights)
        known = np.log(imagenet.probabilities(features[:, :deep], concepts) + _MIN_PROBABILITY)
        open_prior, open_offset, temperature = self.mixing
        # Hundreds of names with a trace of probability each must not drown the likely ones.
        logits = np.where(
            known > np.log(_MIN_OPEN), open_prior * known + open_offset, -np.inf
        ).astype(np.float32)
        logits[:, self.labels] = -np.inf
        fitted = head_input(features, deep) @ self.weights + self.bias
        fitted += self.prior * (known[:, self.labels] - np.log(_EVEN))
        fitted = np.log(np.maximum(softmax(fitted), 1e-9))
        # Two categories may be one concept, so their logits add up as probabilities do.
        np.logaddexp.at(logits.T, self.labels, fitted.T)
        return softmax(logits / temperature)

    def calibrated(self, probabilities: FloatArray) -> FloatArray:
        """Probability that the first concept is right, from its raw probability, shape (n,)."""
        return np.interp(probabilities, self.score_steps, self.score_values).astype(np.float32)


def head_input(features: FloatArray, deep: int) -> FloatArray:
    """Features as the head reads them: square roots prevent a few strong channels from ruling."""
    return np.concatenate([np.sqrt(np.maximum(features[:, :deep], 0)), features[:, deep:]], axis=1)


def load_head(path: Path, model: str | None = None) -> ConceptHead:
    """Read a head, of a certain model if its id is given, from a safetensors file."""
    from safetensors import safe_open

    head = ConceptHead(**_read(path, [field.name for field in fields(ConceptHead)]))
    outputs = head.weights.shape[-1:]
    parts = (head.bias, head.labels, head.prior)
    if head.weights.ndim != 2 or any(part.shape != outputs for part in parts):
        raise _damaged(path)
    if head.mixing.shape != (3,) or head.score_steps.shape != head.score_values.shape:
        raise _damaged(path)
    with safe_open(path, "np") as file:
        owner = (file.metadata() or {}).get("model")
    if model is not None and owner != model:
        raise ModelError(
            f"{path} belongs to {owner or 'no model'}, not to {model}; reinstall napari-patchioner "
            "to restore it."
        )
    return head


def load_imagenet(path: Path) -> ImageNetClassifier:
    """Read the ImageNet classifier from a safetensors file."""
    classifier = ImageNetClassifier(
        **_read(path, [field.name for field in fields(ImageNetClassifier)])
    )
    classes = classifier.weights.shape[-1:]
    if (
        classifier.weights.ndim != 2
        or not classifier.bias.shape == classifier.groups.shape == classes
    ):
        raise _damaged(path)
    return classifier


def _read(path: Path, names: list[str]) -> dict[str, npt.NDArray[Any]]:
    """Tensors of a file, all finite: integers as 64 bits, the others as float32."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
        read = {
            name: tensors[name].astype(np.int64 if tensors[name].dtype.kind == "i" else np.float32)
            for name in names
        }
    except (OSError, SafetensorError, KeyError) as error:
        raise _damaged(path) from error
    if not all(np.isfinite(tensor).all() for tensor in read.values()):
        raise _damaged(path)
    return read


def _damaged(path: Path) -> ModelError:
    return ModelError(f"{path} is missing or damaged; reinstall napari-patchioner to restore it.")


def softmax(logits: FloatArray) -> FloatArray:
    """Softmax over the last axis."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    normalised: FloatArray = shifted / shifted.sum(-1, keepdims=True)
    return normalised


def _unit(rows: FloatArray) -> FloatArray:
    unit: FloatArray = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return unit
