"""The linear heads that turn a pooled vector into concept probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float32]

TENSORS = (
    *("weights", "bias", "labels", "imagenet_weights", "imagenet_bias", "imagenet_concepts"),
    *("mixing", "score_steps", "score_values"),
)


@dataclass(frozen=True, eq=False, slots=True)
class ConceptHead:
    """Concept probabilities of pooled features.

    Two linear readings are put together: concepts fitted on development images, and the rest of
    the ImageNet classes, grouped under concepts, as the published classifier has them.

    Attributes
    ----------
    weights : ndarray of float32, shape (dim, fitted)
        Fitted rows, temperature included.
    bias : ndarray of float32, shape (fitted,)
    labels : ndarray of int64, shape (fitted,)
        The concept each fitted output stands for.
    imagenet_weights : ndarray of float32, shape (deep, classes)
        Rows of the ImageNet classifier, for the mean of the deep features over all sizes.
    imagenet_bias : ndarray of float32, shape (classes,)
    imagenet_concepts : ndarray of int64, shape (classes,)
        The concept each class stands for.
    mixing : ndarray of float32, shape (3,)
        Sharpness of the ImageNet reading, its share, and the power of the fitted one.
    score_steps, score_values : ndarray of float32
        Calibration: probability of the first concept to probability of being right.
    """

    weights: FloatArray
    bias: FloatArray
    labels: npt.NDArray[np.int64]
    imagenet_weights: FloatArray
    imagenet_bias: FloatArray
    imagenet_concepts: npt.NDArray[np.int64]
    mixing: FloatArray
    score_steps: FloatArray
    score_values: FloatArray

    @property
    def dim(self) -> int:
        """Length of the features it reads."""
        return len(self.weights)

    def probabilities(self, features: FloatArray, concepts: int) -> FloatArray:
        """Probabilities of all concepts.

        Parameters
        ----------
        features : ndarray of float32, shape (n, dim)
            Pooled features of each region.
        concepts : int
            How many concepts there are.

        Returns
        -------
        ndarray of float32, shape (n, concepts)
            Each row sums to one.
        """
        found = np.zeros((len(features), concepts), np.float32)
        fitted = _softmax(np.sqrt(np.maximum(features, 0)) @ self.weights + self.bias)
        np.add.at(found.T, self.labels, fitted.T)
        return found

    def calibrated(self, probabilities: FloatArray) -> FloatArray:
        """Probability that the first concept is right, from its raw probability, shape (n,)."""
        return np.interp(probabilities, self.score_steps, self.score_values).astype(np.float32)


def load_head(path: Path) -> ConceptHead:
    """Read a head from a safetensors file.

    Raises
    ------
    ModelError
        The file is missing, damaged or of another kind.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors = load_file(path)
        return ConceptHead(
            **{
                name: tensors[name].astype(
                    np.int64 if tensors[name].dtype.kind == "i" else np.float32
                )
                for name in TENSORS
            }
        )
    except (OSError, SafetensorError, KeyError) as error:
        raise ModelError(
            f"{path} is missing or damaged; reinstall napari-patchioner to restore it."
        ) from error


def _softmax(logits: FloatArray) -> FloatArray:
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)
