"""The comparison with a memory bank on a GPU: its rows lie there if they fit, else pass through."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from napari_patchioner.devices import Placement, succeeds, to_numpy
from napari_patchioner.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor

FloatArray: TypeAlias = npt.NDArray[np.float32]
Reader: TypeAlias = Callable[[int], "Iterator[tuple[int, Tensor]]"]

# Rows compared at once, and the fewest that are tried; so many cosines are held at once.
_BLOCK, _LEAST, _COSINES = 32_768, 1024, 2**24
# What must be left beside the rows, for networks at work.
_MARGIN = 2**30


class Found(NamedTuple):
    """What a search found: an average of the rows, (n, dim), and the k nearest, (n, k)."""

    average: FloatArray | None
    indices: npt.NDArray[np.int64]
    cosines: FloatArray


class RowsOnGpu:
    """The rows of one bank, where a GPU can compare them.

    ``read`` gives them as stored, so many at once, each block with the number of its first row;
    ``lengths``, shape (rows,), are theirs.
    """

    def __init__(
        self, read: Reader, lengths: FloatArray, dim: int, dtype: torch.dtype, placement: Placement
    ) -> None:
        self.placement = placement
        self._read, self._lengths, self._dim, self._dtype = read, lengths, dim, dtype
        self._resident: Tensor | None = None
        self._streamed = False
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._lengths)

    @property
    def resident(self) -> bool:
        """Whether all rows lie on the GPU."""
        return self._resident is not None

    def release(self) -> None:
        """Free the memory on the GPU; from now on the rows pass through."""
        self._resident, self._streamed = None, True

    def blocks(self, size: int) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield the first number, rows, (k, dim), and lengths of each block, rows in float32."""
        with self._lock:
            if not self._streamed and self._resident is None:
                needed = len(self) * self._dim * self._dtype.itemsize
                fits = needed + _MARGIN <= self.placement.free_bytes()
                self._streamed = not (fits and succeeds(self._bring))
                if self._streamed:
                    self.placement.empty_cache()
            resident = self._resident
        parts = self._stream(size) if resident is None else _cut(resident, size)
        for first, rows in parts:
            lengths = torch.from_numpy(self._lengths[first : first + len(rows)])
            yield first, rows.float(), self.placement.send(lengths)

    def _bring(self) -> None:
        """Bring all rows to the GPU, with no second copy of them on the way."""
        room = self.placement.empty((len(self), self._dim), self._dtype)
        for first, rows in self._stream(_BLOCK):
            room[first : first + len(rows)] = rows
        self._resident = room

    def _stream(self, size: int) -> Iterator[tuple[int, Tensor]]:
        """Yield blocks of rows that are brought to the GPU one after the other."""
        if self.placement.device != "cuda":
            for first, stored in self._read(size):
                yield first, self.placement.send(stored)
            return
        # From pinned memory the next block is copied while the last one is compared.
        shape = (min(size, len(self)), self._dim)
        staging = [torch.empty(shape, dtype=self._dtype, pin_memory=True) for _ in range(2)]
        copied = [torch.cuda.Event() for _ in staging]  # type: ignore[no-untyped-call]
        for number, (first, stored) in enumerate(self._read(size)):
            buffer, event = staging[number % 2], copied[number % 2]
            event.synchronize()
            pinned = buffer[: len(stored)].copy_(stored)
            rows = pinned.to(self.placement.device, non_blocking=True)
            event.record()
            yield first, rows


def _cut(rows: Tensor, size: int) -> Iterator[tuple[int, Tensor]]:
    for first in range(0, len(rows), size):
        yield first, rows[first : first + size]


@dataclass(frozen=True, slots=True)
class PlacedBank:
    """The rows of a bank among those of several, with what is added to their cosines."""

    rows: RowsOnGpu
    start: int = 0
    shift: float = 0.0


def search(
    banks: Sequence[PlacedBank],
    queries: FloatArray,
    k: int,
    progress: Progress,
    *,
    temperature: float | None = None,
    unit: bool = False,
    among: npt.NDArray[np.bool_] | None = None,
) -> Found | None:
    """Compare unit vectors, (n, dim), with banks; None where the GPU has too little memory.

    Before that, fewer rows are compared at once, and those that lie there make room. Rows are
    averaged where a ``temperature`` is given, see `MemoryBank.recall`; ``among`` is as of
    `MemoryBank.nearest`.
    """
    placement = banks[0].rows.placement
    size = max(_LEAST, min(_BLOCK, _COSINES // max(1, len(queries))))
    results: list[Found] = []
    asked = _Search(placement, queries, k, temperature, unit, among)

    def fits() -> bool:
        return succeeds(lambda: results.append(asked.through(banks, size, progress)))

    while not fits():
        if size > _LEAST:
            size = max(_LEAST, size // 4)
        elif any(bank.rows.resident for bank in banks):
            for bank in banks:
                bank.rows.release()
        else:
            placement.empty_cache()
            return None
        placement.empty_cache()
    return results[0]


@dataclass(frozen=True, slots=True)
class _Search:
    """What is asked of banks; the fields are the arguments of `search`."""

    placement: Placement
    queries: FloatArray
    k: int
    temperature: float | None
    unit: bool
    among: npt.NDArray[np.bool_] | None

    def through(self, banks: Sequence[PlacedBank], size: int, progress: Progress) -> Found:
        """Compare with all rows once, so many at once."""
        send = self.placement.send
        queries = send(torch.from_numpy(np.ascontiguousarray(self.queries)))
        count, total = len(queries), sum(len(bank.rows) for bank in banks)
        average = None if self.temperature is None else _Average(self.temperature)
        best, numbers = queries.new_empty((count, 0)), queries.new_empty((count, 0)).long()
        for bank in banks:
            for first, rows, lengths in bank.rows.blocks(size):
                first += bank.start
                progress(first / total, f"comparing with {total} sentences")
                cosines = (queries @ rows.T).div_(lengths).add_(bank.shift)
                if self.among is not None:
                    usable = send(torch.from_numpy(self.among[first : first + len(rows)]))
                    cosines = cosines.masked_fill(~usable, -torch.inf)
                if self.k:
                    columns = _nearest(cosines, self.k)
                    both = torch.cat([best, cosines.gather(1, columns)], dim=1)
                    # Of equal ones the earlier row comes first.
                    order = both.argsort(dim=1, descending=True, stable=True)[:, : self.k]
                    best = both.gather(1, order)
                    numbers = torch.cat([numbers, columns + first], dim=1).gather(1, order)
                if average is not None:
                    average.add(cosines, rows, lengths if self.unit else None)
        averages = None if average is None else to_numpy(average.result())
        return Found(averages, numbers.cpu().numpy(), to_numpy(best))


def _nearest(cosines: Tensor, k: int) -> Tensor:
    """Return the columns of the k largest of each row, of equal ones the first, in rising order."""
    count, columns = cosines.shape
    if columns <= k:
        return torch.arange(columns, device=cosines.device).expand(count, -1)
    least = cosines.topk(k, dim=1).values[:, -1:]
    above, equal = cosines > least, cosines == least
    room = k - above.sum(dim=1, keepdim=True)
    chosen = above | (equal & (equal.cumsum(dim=1, dtype=torch.int32) <= room))
    return chosen.nonzero()[:, 1].reshape(count, k)


class _Average:
    """An average of rows weighted by ``softmax(cosine / temperature)``, taken block by block."""

    def __init__(self, temperature: float) -> None:
        self._temperature = temperature
        self._state: tuple[Tensor, Tensor, Tensor] | None = None

    def add(self, cosines: Tensor, rows: Tensor, lengths: Tensor | None) -> None:
        """Add rows, (k, dim), divided by ``lengths``; ``cosines`` (n, k) are overwritten."""
        top = cosines.max(dim=1, keepdim=True).values
        if self._state is not None:
            top = torch.maximum(top, self._state[0])
        weights = cosines.sub_(top).div_(self._temperature).exp_()
        mass = weights.sum(dim=1, keepdim=True)
        if lengths is not None:
            weights = weights.div_(lengths)
        added = weights @ rows
        if self._state is not None:
            peak, mass_before, sum_before = self._state
            fade = ((peak - top) / self._temperature).exp()
            mass, added = mass + fade * mass_before, added + fade * sum_before
        self._state = top, mass, added

    def result(self) -> Tensor:
        """Return the averages, shape (n, dim)."""
        assert self._state is not None
        _, mass, total = self._state
        return total / mass
