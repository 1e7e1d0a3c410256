"""The memory that MeaCap's authors publish: a list of captions and a tensor of embeddings."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from napari_patchioner.checkpoints import read_state
from napari_patchioner.errors import ModelError
from napari_patchioner.limits import check_plain_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

CAPTIONS, EMBEDDINGS = "memory_captions.json", "memory_clip_embeddings.pt"
# Rows handed on at once: 25 MB of float32 at 768 columns.
_CHUNK = 8192


def read_meacap_memory(folder: Path) -> Iterator[tuple[list[str], npt.NDArray[np.float32]]]:
    """Read a published memory in chunks.

    Parameters
    ----------
    folder : Path
        Holds ``memory_captions.json``, a list of texts, and ``memory_clip_embeddings.pt``, one
        tensor of shape (captions, dim).

    Yields
    ------
    (list of str, ndarray of float32, shape (k, dim))

    Raises
    ------
    ModelError
        A file is missing, damaged, or the two do not belong together.
    """
    captions = _captions(folder / CAPTIONS)
    tensors = list(read_state(folder / EMBEDDINGS).values())
    if len(tensors) != 1 or tensors[0].ndim != 2 or len(tensors[0]) != len(captions):
        shapes = [tuple(tensor.shape) for tensor in tensors[:3]]
        raise ModelError(
            f"{folder / EMBEDDINGS} must hold one vector for each of the {len(captions)} captions "
            f"beside it but holds {shapes}; get both files again."
        )
    for first in range(0, len(captions), _CHUNK):
        rows = tensors[0][first : first + _CHUNK].float().numpy()
        yield captions[first : first + _CHUNK], rows


def _captions(path: Path) -> list[str]:
    if os.path.exists(path):
        check_plain_file(path, ModelError)
    try:
        captions = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is missing or damaged; get it again.") from error
    if not isinstance(captions, list) or not all(isinstance(text, str) for text in captions):
        raise ModelError(f"{path} must be a list of captions; get it again.")
    return captions
