"""Several banks of sentences as one, each with its weight."""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, overload

import numpy as np
import numpy.typing as npt

from napari_patchioner.devices import Placement
from napari_patchioner.errors import ModelError
from napari_patchioner.progress import Progress, no_progress, part

from .memory import Compared, MemoryBank

if TYPE_CHECKING:
    from .bank_on_gpu import PlacedBank

SHIFT = 0.05
"""What a weight e times as large adds to the cosines of a bank, in their own unit.

Cosines of sentences with one picture differ by some hundredths to tenths.
"""


class MixedBank(MemoryBank):
    """Several banks of one model, compared as one.

    Of equal weights, their sentences count as if they lay in one bank. Else those of each bank are
    taken to be nearer by ``SHIFT * log(weight)``: the nearest sentence comes from a bank of small
    weight only where it fits that much better, and an average is drawn to a bank accordingly. The
    cosines that are named are the true ones.

    ``parts`` are banks and weights, 0 or more; those of weight 0 do not count. A ModelError where
    the vectors of two banks differ in length, or no weight is above 0.
    """

    def __init__(self, parts: Sequence[tuple[MemoryBank, float]]) -> None:
        used = [(bank, weight) for bank, weight in parts if weight > 0]
        if not used or not all(math.isfinite(weight) for _, weight in used):
            raise ModelError("Give at least one of the memories that are mixed a weight above 0.")
        self._banks = [bank for bank, _ in used]
        first = self._banks[0]
        for bank in self._banks:
            if bank.dim != first.dim:
                raise ModelError(
                    f"Memories with vectors of lengths {first.dim} and {bank.dim} cannot be mixed; "
                    "build both with one model."
                )
        largest = max(weight for _, weight in used)
        shifts = [SHIFT * math.log(weight / largest) for _, weight in used]
        self._shifts = np.asarray(shifts, np.float32)
        self._starts = np.cumsum([0, *map(len, self._banks)])
        named = ",".join(f"{bank.hash}*{weight / largest:.6g}" for bank, weight in used)
        super().__init__(
            first.embeddings,
            Chained([bank.captions for bank in self._banks]),
            first.provenance,
            hashlib.sha256(named.encode()).hexdigest(),
            np.concatenate([bank.lengths for bank in self._banks]),
        )

    def __len__(self) -> int:
        return int(self._starts[-1])

    def place(self, placement: Placement) -> None:
        """Have all banks compared there."""
        super().place(placement)
        for bank in self._banks:
            bank.place(placement)

    def placed(self) -> list[PlacedBank]:
        """Return the rows of all banks as a GPU compares them."""
        return [
            replace(placed, start=placed.start + int(start), shift=placed.shift + float(shift))
            for bank, start, shift in zip(self._banks, self._starts, self._shifts, strict=False)
            for placed in bank.placed()
        ]

    def compare(
        self, queries: npt.NDArray[np.float32], progress: Progress | None = None
    ) -> Iterator[Compared]:
        """Yield all banks in chunks, their cosines shifted by the weights."""
        report = progress or no_progress
        for place, bank in enumerate(self._banks):
            start, stop = int(self._starts[place]), int(self._starts[place + 1])
            share = part(report, start / len(self), stop / len(self))
            for chunk in bank.compare(queries, share):
                cosines = chunk.cosines + self._shifts[place]
                yield chunk._replace(indices=chunk.indices + start, cosines=cosines)

    def estimate(
        self, queries: npt.NDArray[np.float32], progress: Progress | None = None
    ) -> npt.NDArray[np.float32] | None:
        """Return the shifted cosines of unit vectors with all rows of all banks."""
        report, shifted = progress or no_progress, []
        for place, bank in enumerate(self._banks):
            start, stop = int(self._starts[place]), int(self._starts[place + 1])
            near = bank.estimate(queries, part(report, start / len(self), stop / len(self)))
            if near is None:
                return None
            shifted.append(near + self._shifts[place])
        return np.concatenate(shifted, axis=1)

    def take(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return rows as stored, shape (..., dim), by their numbers."""
        rows = np.empty((*indices.shape, self.dim), np.float32)
        places = self._places(indices)
        for place, bank in enumerate(self._banks):
            chosen = places == place
            rows[chosen] = bank.take(indices[chosen] - self._starts[place])
        return rows

    def shift(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return what `compare` adds to the cosines of rows."""
        return np.asarray(self._shifts[self._places(indices)], np.float32)

    def _places(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Which bank each row is of."""
        return np.searchsorted(self._starts, indices, side="right") - 1


class Chained(Sequence[str]):
    """Texts of several sequences, one after the other, without copying them."""

    def __init__(self, parts: Sequence[Sequence[str]]) -> None:
        self._parts = parts
        self._starts = [0]
        for texts in parts:
            self._starts.append(self._starts[-1] + len(texts))

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        """Return one text, or several."""
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        row = range(len(self))[index]
        place = bisect_right(self._starts, row) - 1
        return self._parts[place][row - self._starts[place]]
