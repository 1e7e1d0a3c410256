"""Which fold every development image belongs to: nothing of an image is ever in two folds."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FOLDS = 5


def fold_of(file_name: str) -> int:
    """Fold of an image, 0 to 4, from its file name alone.

    Examples
    --------
    >>> fold_of("000000000139.jpg") == fold_of("000000000139.jpg")
    True
    """
    return int(hashlib.sha256(file_name.encode()).hexdigest(), 16) % FOLDS


def folds_of(file_names: Iterable[str]) -> npt.NDArray[np.int64]:
    """Folds of many images, shape (n,)."""
    return np.array([fold_of(name) for name in file_names], np.int64)


def fold_head(folder: Path, name: str, file_name: str) -> Path:
    """File of the head that never saw an image.

    Parameters
    ----------
    folder : Path
        Where the fold heads were written.
    name : str
        ``"mini"`` or ``"zeroshot"``.
    file_name : str
        Name of the development image.

    Returns
    -------
    Path
        For `napari_patchioner.bridges.concepts.load_head`.
    """
    return folder / f"head_{name}_fold{fold_of(file_name)}.safetensors"
