"""The ImageNet classifier's rows, each under the concept its class belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from safetensors.numpy import save_file

from .backbone import PACKAGE, classifier

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_patchioner.decoders.grounded.vocabulary import Concept


def write_imagenet(path: Path, concepts: Sequence[Concept]) -> None:
    """Write ``imagenet.safetensors`` for the concepts that have classes."""
    weights, bias = (tensor.numpy() for tensor in classifier())
    pairs = [(each, index) for index, concept in enumerate(concepts) for each in concept.imagenet]
    classes = np.array([pair[0] for pair in pairs])
    tensors = {
        "weights": np.ascontiguousarray(weights[classes].T.astype(np.float16)),
        "bias": bias[classes].astype(np.float32),
        "groups": np.array([pair[1] for pair in pairs], np.int64),
    }
    save_file(tensors, path, metadata={"source": PACKAGE, "licence": "Apache-2.0"})
    path.chmod(0o644)
