"""The linear heads that turn a pooled vector into concept probabilities."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

FloatArray: TypeAlias = npt.NDArray[np.float32]

_LEAST = 1e-3
_LEAST_OPEN = 0.02

# ImageNet's opinion that speaks neither for nor against a concept.
_EVEN = 0.01


@dataclass(frozen=True, eq=False, slots=True)
class ImageNetReading:
    """The published ImageNet classifier, its classes grouped under concepts.

    Attributes
    ----------
    weights : ndarray of float32, shape (channels, classes)
    bias : ndarray of float32, shape (classes,)
    groups : ndarray of int64, shape (classes,)
        The concept each class belongs to.
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

    Logits of the concepts fitted on development images are a linear reading plus
    ``prior`` times the log-probability that ImageNet gives them: the fewer images showed a
    concept, the more ImageNet has to say. Of the other concepts, those it finds likely have
    ``open_prior`` times that log-probability plus ``open_offset``. The softmax of both at
    ``temperature`` is the answer.

    Attributes
    ----------
    weights : ndarray of float32, shape (dim, fitted)
        Reads the square root of deep features, and middle features as they are.
    bias : ndarray of float32, shape (fitted,)
    labels : ndarray of int64, shape (fitted,)
        The concept each fitted output stands for.
    prior : ndarray of float32, shape (fitted,)
        Weight of ImageNet's opinion on each fitted output.
    mixing : ndarray of float32, shape (3,)
        ``open_prior, open_offset, temperature``.
    score_steps, score_values : ndarray of float32
        Calibration: probability of the first concept to probability of being right.
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
        self, features: FloatArray, imagenet: ImageNetReading, concepts: int
    ) -> FloatArray:
        """Probabilities of all concepts.

        Parameters
        ----------
        features : ndarray of float32, shape (n, dim)
            Pooled ``[deep | middle]``.
        imagenet : ImageNetReading
            What the deep features' own classifier says.
        concepts : int
            How many concepts there are.

        Returns
        -------
        ndarray of float32, shape (n, concepts)
            Each row sums to one.
        """
        deep = len(imagenet.weights)
        known = np.log(imagenet.probabilities(features[:, :deep], concepts) + _LEAST)
        open_prior, open_offset, temperature = self.mixing
        # Hundreds of names with a trace of probability each must not drown the likely ones.
        logits = np.where(
            known > np.log(_LEAST_OPEN), open_prior * known + open_offset, -np.inf
        ).astype(np.float32)
        logits[:, self.labels] = -np.inf
        fitted = readable(features, deep) @ self.weights + self.bias
        fitted += self.prior * (known[:, self.labels] - np.log(_EVEN))
        fitted = np.log(np.maximum(softmax(fitted), 1e-9))
        # Two categories may be one concept, so their logits add up as probabilities do.
        np.logaddexp.at(logits.T, self.labels, fitted.T)
        return softmax(logits / temperature)

    def calibrated(self, probabilities: FloatArray) -> FloatArray:
        """Probability that the first concept is right, from its raw probability, shape (n,)."""
        return np.interp(probabilities, self.score_steps, self.score_values).astype(np.float32)


def readable(features: FloatArray, deep: int) -> FloatArray:
    """Features as the head reads them: square roots keep a few strong channels from ruling."""
    return np.concatenate([np.sqrt(np.maximum(features[:, :deep], 0)), features[:, deep:]], axis=1)


def load_head(path: Path, model: str | None = None) -> ConceptHead:
    """Read a head from a safetensors file.

    Parameters
    ----------
    path : Path
    model : str, optional
        Id of the model it must belong to.

    Raises
    ------
    ModelError
        The file is missing, damaged, of another kind or of another model.
    """
    head = ConceptHead(**_read(path, [field.name for field in fields(ConceptHead)]))
    outputs = head.weights.shape[-1:]
    parts = (head.bias, head.labels, head.prior)
    if head.weights.ndim != 2 or any(part.shape != outputs for part in parts):
        raise _damaged(path)
    if head.mixing.shape != (3,) or head.score_steps.shape != head.score_values.shape:
        raise _damaged(path)
    if model is not None and (owner := _owner(path)) != model:
        raise ModelError(
            f"{path} belongs to {owner or 'no model'}, not to {model}; reinstall napari-patchioner "
            "to restore it."
        )
    return head


def load_imagenet(path: Path) -> ImageNetReading:
    """Read the ImageNet classifier from a safetensors file.

    Raises
    ------
    ModelError
        The file is missing, damaged or of another kind.
    """
    reading = ImageNetReading(**_read(path, [field.name for field in fields(ImageNetReading)]))
    classes = reading.weights.shape[-1:]
    if reading.weights.ndim != 2 or not reading.bias.shape == reading.groups.shape == classes:
        raise _damaged(path)
    return reading


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


def _owner(path: Path) -> str | None:
    """Id of the model a file was made for."""
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        return (file.metadata() or {}).get("model")


def _damaged(path: Path) -> ModelError:
    return ModelError(f"{path} is missing or damaged; reinstall napari-patchioner to restore it.")


def softmax(logits: FloatArray) -> FloatArray:
    """Softmax over the last axis."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    normalised: FloatArray = shifted / shifted.sum(-1, keepdims=True)
    return normalised
