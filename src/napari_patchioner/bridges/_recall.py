"""What is kept of a memory while it passes by in chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt


# exp(-34) times a million rows is below what single precision can tell from nothing.
_NEGLIGIBLE = 34.0


class SoftAverage:
    """An average of rows weighted by ``softmax(cosine / temperature)``, taken chunk by chunk.

    The result is that of a softmax over all rows at once: when a chunk brings a larger cosine,
    what was added before is scaled down to it.

    Parameters
    ----------
    temperature : float
        Greater than zero.
    """

    def __init__(self, temperature: float) -> None:
        self._temperature = temperature
        self._peak: npt.NDArray[np.float64] | None = None

    def add(
        self,
        cosines: npt.NDArray[np.float32],
        rows: npt.NDArray[np.float32],
        lengths: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Add a chunk of rows.

        Parameters
        ----------
        cosines : ndarray of float32, shape (n, k)
            Similarity of each query to each row.
        rows : ndarray of float32, shape (k, dim) or (n, k, dim)
            The rows, the same for all queries or each query's own.
        lengths : ndarray of float32, shape (k,) or (n, k), optional
            What to divide the rows by.
        """
        logits = cosines.astype(np.float64) / self._temperature
        peak = logits.max(axis=1, keepdims=True)
        if self._peak is None:
            self._peak = peak
            self._mass = np.zeros_like(peak)
            self._sum = np.zeros((len(cosines), rows.shape[-1]))
        top = np.maximum(self._peak, peak)
        fade = np.exp(self._peak - top)
        near = (logits > top - _NEGLIGIBLE).any(axis=0)
        if rows.ndim == 2 and near.mean() < 0.5:
            logits, rows = logits[:, near], rows[near]
            lengths = None if lengths is None else lengths[near]
        weights = np.exp(logits - top).astype(np.float32)
        self._mass = self._mass * fade + weights.sum(axis=1, dtype=np.float64, keepdims=True)
        shares = weights if lengths is None else weights / lengths
        added = shares @ rows if rows.ndim == 2 else (shares[:, None] @ rows)[:, 0]
        self._sum = self._sum * fade + added
        self._peak = top

    def result(self) -> npt.NDArray[np.float32]:
        """Return the averages, shape (n, dim)."""
        return np.asarray(self._sum / self._mass, np.float32)


class Ranking:
    """The ``k`` nearest rows of each query, kept while chunks pass by.

    Attributes
    ----------
    cosines : ndarray of float32, shape (n, at most k)
        Best first; of equal ones the earlier row comes first.
    indices : ndarray of int64, shape (n, at most k)
        Which rows they belong to.
    """

    def __init__(self, k: int) -> None:
        self._k = k
        self.cosines: npt.NDArray[np.float32] = np.empty((0, 0), np.float32)
        self.indices: npt.NDArray[np.int64] = np.empty((0, 0), np.int64)

    def add(self, first: int, cosines: npt.NDArray[np.float32]) -> None:
        """Add a chunk of cosines, shape (n, rows), whose first row is number ``first``."""
        if not self.cosines.size:
            self.cosines = np.empty((len(cosines), 0), np.float32)
            self.indices = np.empty((len(cosines), 0), np.int64)
        if not self._k:
            return
        places = np.arange(cosines.shape[1])[None].repeat(len(cosines), axis=0)
        if cosines.shape[1] > self._k:
            places = np.sort(np.argpartition(-cosines, self._k - 1, axis=1)[:, : self._k], axis=1)
        both = np.hstack([self.cosines, np.take_along_axis(cosines, places, axis=1)])
        indices = np.hstack([self.indices, places + first])
        order = np.argsort(-both, axis=1, kind="stable")[:, : self._k]
        self.cosines = np.take_along_axis(both, order, axis=1)
        self.indices = np.take_along_axis(indices, order, axis=1)
