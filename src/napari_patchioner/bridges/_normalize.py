"""The bridge for decoders trained with noise: the gap was closed in training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._bridge import Crossing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy.typing as npt

    from ._bridge import Scene


def unit_rows(vectors: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Scale every vector, along the last axis, to length one; zeros stay zero.

    Examples
    --------
    >>> unit_rows([[3.0, 4.0], [0.0, 0.0]]).tolist()
    [[0.6..., 0.8...], [0.0, 0.0]]
    """
    rows = np.asarray(vectors, np.float32)
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), np.float32)


class NormalizeBridge:
    """Only scales to length one, as decoders trained with noise expect (CapDec, CLOSE).

    Parameters
    ----------
    unit : bool
        False hands the vectors on as they are: for a ClipCap trained on embeddings of any length,
        and for what the published code does where a model has no memory.
    """

    def __init__(self, *, unit: bool = True) -> None:
        self.unit = unit

    @classmethod
    def open(cls, files: Mapping[str, Path], *, unit: bool = True) -> NormalizeBridge:
        """Return one; it needs no files."""
        return cls(unit=unit)

    def cross(
        self,
        vectors: npt.NDArray[np.float32],
        grid: Scene,
        *,
        patches: npt.NDArray[np.float64] | None = None,
        progress: Callable[[float, str], None] | None = None,
    ) -> Crossing:
        """Scale each row of ``vectors``, shape (n, dim), to length one, unless told not to."""
        return Crossing(unit_rows(vectors) if self.unit else np.asarray(vectors, np.float32))
