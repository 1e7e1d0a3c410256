"""Sentences and their embeddings, and the bridges that pull image vectors over to them."""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from napari_patchioner.decoders import CaptionOptions, Evidence
from napari_patchioner.devices import CPU, Placement, notify, too_little_memory
from napari_patchioner.errors import ModelError, reason
from napari_patchioner.limits import check_plain_file
from napari_patchioner.progress import Progress, no_progress

from .bank_files import (
    CAPTIONS,
    EMBEDDINGS,
    FORMAT,
    LENGTHS,
    META,
    NO_CAPTIONS,
    OFFSETS,
    BankWriter,
    CaptionFile,
    usable_rows,
)
from .base import Bridge, BridgeOutput, Neighbours, Query, checked_unit_rows, unit_rows

if TYPE_CHECKING:
    from torch import Tensor

    from .bank_on_gpu import Found, PlacedBank, RowsOnGpu

_MAX_META = 2**22

# Rows compared at once: 12 MB of float32 at 768 columns mostly stay in the processor's cache, where
# both the comparison and the average read them.
_CHUNK = 4096
# Estimated cosines of half precision are wrong by less than this, for rows of such lengths; for
# more queries than a few, comparing them all is as quick.
_ROUNDING, _SHORT, _LONG, _FEW, _BLOCK = 1e-3, 2**-4, 2**12, 2, 65_536
# How much of the weight may be dropped with rows that only the estimate has seen, how many rows
# may be left, and the steps and the end, in units of the temperature, of the sum over the others.
_DROPPED, _SHORTLIST, _STEPS, _FAR = 1e-5, 65_536, 4, 60
# Below this share of rows that count, it is quicker to copy them out than to add all.
_SPARSE = 0.6
_DONT_NEED = getattr(mmap, "MADV_DONTNEED", None)
# Sets of required and excluded words whose sentences are cached: half a megabyte each for the
# largest memory.
_CACHED = 16


class Compared(NamedTuple):
    """Rows of a bank with their numbers, and their cosines with n queries, (n, rows).

    The rows are overwritten by those that are compared next.
    """

    indices: npt.NDArray[np.int64]
    rows: npt.NDArray[np.float32]
    lengths: npt.NDArray[np.float32]
    cosines: npt.NDArray[np.float32]


class MemoryBank:
    """Captions and their text embeddings, read in chunks and never held whole in RAM.

    Made by :meth:`build`, :meth:`open` or :meth:`from_arrays`.

    ``embeddings``, (rows, dim), are as stored: half or single precision, not normalised; there is a
    caption for each, and a length in ``lengths``. ``provenance`` says what made them, such as the
    hash of a projection; ``hash`` is the SHA-256 of embeddings and captions.
    """

    placement: Placement = CPU
    _on_gpu: RowsOnGpu | None = None

    def __init__(
        self,
        embeddings: npt.NDArray[Any],
        captions: Sequence[str],
        provenance: Mapping[str, str],
        hash: str,  # noqa: A002 - the word the annotations use
        lengths: npt.NDArray[np.float32],
    ) -> None:
        self.embeddings, self.captions, self.lengths = embeddings, captions, lengths
        self.provenance, self.hash = provenance, hash

    @classmethod
    def build(
        cls,
        folder: str | Path,
        chunks: Iterable[tuple[Sequence[str], npt.ArrayLike]],
        *,
        provenance: Mapping[str, str] | None = None,
        dtype: Literal["float16", "float32"] = "float16",
    ) -> Self:
        """Write a bank chunk by chunk and open it; nothing is left behind if that fails.

        The folder must not exist yet. Chunks are texts and their vectors, shape (k, dim), of which
        rows of zeros are left out with their text; ``provenance`` says what made the vectors,
        ``dtype`` is their precision on disk.
        """
        folder = Path(folder)
        if folder.exists():
            raise ModelError(f"{folder} already exists; remove it or choose another name.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            with BankWriter(beside, dtype) as writer:
                for texts, vectors in chunks:
                    writer.add(texts, vectors)
                writer.finish(folder, provenance or {})
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        return cls.open(folder)

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open a bank written by :meth:`build`, without reading its embeddings.

        ModelError if a file is missing, cut short, or belongs to another bank.
        """
        folder = Path(folder)
        try:
            for name in (META, EMBEDDINGS, OFFSETS, CAPTIONS, LENGTHS):
                size = check_plain_file(folder / name, ModelError)
                if name == META and size > _MAX_META:
                    raise ValueError(f"{META} is {size:,} bytes long")
            meta = json.loads((folder / META).read_text(encoding="utf-8"))
            # Mapped, so that a file is as long as it claims; torch takes writable arrays alone.
            rows, offsets, lengths = (
                np.load(folder / name, mmap_mode="c", allow_pickle=False)
                for name in (EMBEDDINGS, OFFSETS, LENGTHS)
            )
            if any(array.dtype.kind not in "if" for array in (rows, offsets, lengths)):
                raise ValueError("it holds no numbers")
            captions = CaptionFile(folder / CAPTIONS, np.array(offsets))
            stated = (meta["format"], meta["rows"], meta["dim"])
        except ModelError:
            raise
        except Exception as error:  # headers may be damaged in any way
            raise ModelError(
                f"The memory in {folder} is damaged or incomplete ({reason(error)}); build or copy "
                "it again."
            ) from error
        actual = (FORMAT, len(captions), rows.shape[-1])
        together = rows.ndim == 2 and len(rows) == len(captions) and lengths.shape == (len(rows),)
        if not together or stated != actual:
            raise ModelError(
                f"The files in {folder} do not belong together: {META} states {stated[1:]} rows "
                f"and columns, {EMBEDDINGS} has {rows.shape} and {CAPTIONS} {len(captions)} "
                "captions; copy the whole folder again."
            )
        provenance, digest = meta.get("provenance", {}), meta.get("sha256", "")
        return cls(rows, captions, provenance, digest, np.array(lengths))

    @classmethod
    def from_arrays(
        cls,
        captions: Sequence[str],
        embeddings: npt.ArrayLike,
        *,
        provenance: Mapping[str, str] | None = None,
    ) -> Self:
        """Hold a small bank in RAM, such as a list of sentences a person typed.

        Rows of zeros in ``embeddings``, shape (rows, dim), are left out with their text.
        """
        rows, texts = usable_rows(captions, embeddings, np.float32)
        if not texts:
            raise ModelError(NO_CAPTIONS)
        lines = "".join(f"{text}\n" for text in texts).encode()
        digest = hashlib.sha256(rows.tobytes() + lines).hexdigest()
        return cls(rows, texts, provenance or {}, digest, np.linalg.norm(rows, axis=1))

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def dim(self) -> int:
        """Length of one embedding."""
        return int(self.embeddings.shape[1])

    def project(
        self, vectors: npt.ArrayLike, temperature: float = 0.01, **options: Any
    ) -> npt.NDArray[np.float32]:
        """Replace vectors by averages of the memory, weighted by similarity (DeCap).

        Takes what :meth:`recall` takes, and returns the averages alone.
        """
        return self.recall(vectors, temperature, neighbours=0, **options)[0]

    def nearest(
        self,
        vectors: npt.ArrayLike,
        k: int = 5,
        *,
        among: npt.NDArray[np.bool_] | None = None,
        progress: Progress | None = None,
    ) -> tuple[Neighbours, ...]:
        """Find for each vector, shape (n, dim), its ``k`` nearest captions and their cosines.

        ``among``, a mask of shape (rows,), says which captions count; all by default.
        """
        queries = self._queries(vectors)
        most = k if among is None else min(k, int(among.sum()))
        result = self._search(queries, most, progress, among=among)
        if result is not None:
            return self._named(result.indices, result.cosines)
        ranking = _Ranking(len(queries), most)
        for chunk in self.compare(queries, progress):
            if among is not None:
                chunk.cosines[:, ~among[chunk.indices]] = -np.inf
            ranking.add(chunk.indices, chunk.cosines)
        return self._named(ranking.indices, ranking.cosines)

    def recall(
        self,
        vectors: npt.ArrayLike,
        temperature: float = 0.01,
        *,
        unit: bool = False,
        normalize: bool = True,
        top_k: int | None = None,
        neighbours: int = 5,
        progress: Progress | None = None,
    ) -> tuple[npt.NDArray[np.float32], tuple[Neighbours, ...]]:
        """Average the memory and name the nearest captions, in one pass over it.

        The weights are ``softmax(cos(v, M) / temperature)`` over all rows of the memory.

        ``vectors`` (n, dim) are pooled image embeddings of any length; the smaller the
        ``temperature``, the closer to the single nearest sentence. ``unit`` averages the rows
        scaled to length one (CLIP) instead of as stored (Talk2DINO), ``normalize`` scales the
        result to length one, ``top_k`` averages the nearest rows only. Returned are the averages,
        (n, dim), and for each vector so many ``neighbours``: its nearest captions and their
        cosines, best first. ``progress`` is called for every chunk; may raise ``Cancelled``.
        """
        queries = self._queries(vectors)
        k, averaged = max(neighbours, top_k or 0), None if top_k is not None else temperature
        projected, indices, cosines = self._search(
            queries, k, progress, temperature=averaged, unit=unit
        ) or self._compared(queries, k, progress, averaged, unit)
        if projected is None:
            # A few rows per vector: each averages its own.
            average = _SoftAverage(len(queries), self.dim, temperature, len(self))
            rows = self.take(indices[:, :top_k])
            lengths = np.linalg.norm(rows, axis=-1) if unit else None
            average.add(cosines[:, :top_k], rows, lengths)
            projected = average.result()
        named = self._named(indices[:, :neighbours], cosines[:, :neighbours])
        return unit_rows(projected) if normalize else projected, named

    def place(self, placement: Placement) -> None:
        """Have a GPU compare the rows from the next question on, or the processor again.

        The rows lie there, as they are stored, if they fit into what is free; else they pass
        through block by block at each question.
        """
        if placement != self.placement:
            before, self.placement, self._on_gpu = self.placement, placement, None
            if before.is_gpu:
                before.empty_cache()

    def placed(self) -> list[PlacedBank]:
        """Return the rows as a GPU compares them; nothing where the processor does."""
        if not self.placement.is_gpu:
            return []
        import torch

        from .bank_on_gpu import PlacedBank, RowsOnGpu

        if self._on_gpu is None:
            dtype = torch.from_numpy(self.embeddings[:0]).dtype
            # It holds no bank, so that what lies on the GPU goes with the bank.
            read, how = partial(_stored, self.embeddings), (self.dim, dtype, self.placement)
            self._on_gpu = RowsOnGpu(read, self.lengths, *how)
        return [PlacedBank(self._on_gpu)]

    def _search(
        self, queries: npt.NDArray[np.float32], k: int, progress: Progress | None, **options: Any
    ) -> Found | None:
        """Have a GPU compare, see `bank_on_gpu.search`; None where the processor has to."""
        banks = self.placed() if len(queries) else []
        if not banks:
            return None
        from .bank_on_gpu import search

        result = search(banks, queries, k, progress or no_progress, **options)
        if result is None:
            notify(too_little_memory(self.placement, "compare with the sentences of the memory"))
        return result

    def _compared(
        self,
        queries: npt.NDArray[np.float32],
        k: int,
        progress: Progress | None,
        temperature: float | None,
        unit: bool,
    ) -> tuple[npt.NDArray[np.float32] | None, npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Compare on the processor; return what `bank_on_gpu.search` finds."""
        ranking = _Ranking(len(queries), k)
        # Of rows as they are stored a long one moves the average more than it weighs.
        share = 1.0 if unit else float(self.lengths.min() / self.lengths.max())
        dropped = _DROPPED * share
        average = _SoftAverage(len(queries), self.dim, temperature or 1.0, len(self), dropped)
        chunks = self._estimated(queries, temperature, k, progress, dropped)
        for chunk in self.compare(queries, progress) if chunks is None else chunks:
            ranking.add(chunk.indices, chunk.cosines)
            if temperature is not None:
                average.add(chunk.cosines, chunk.rows, chunk.lengths if unit else None)
        averages = None if temperature is None else average.result()
        return averages, ranking.indices, ranking.cosines

    def _queries(self, vectors: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Vectors of length one, checked."""
        return checked_unit_rows(np.asarray(vectors, np.float32), self.dim, "The memory holds")

    def compare(
        self, queries: npt.NDArray[np.float32], progress: Progress | None = None
    ) -> Iterator[Compared]:
        """Yield the memory in chunks, compared with unit vectors of shape (n, dim)."""
        import torch  # converts half precision ten times as fast as numpy

        from napari_patchioner.products import linear

        progress = progress or no_progress
        buffer = torch.empty((min(_CHUNK, len(self)), self.dim))
        unit = torch.from_numpy(np.ascontiguousarray(queries))
        for first in range(0, len(self), _CHUNK):
            progress(first / len(self), f"comparing with {len(self)} sentences")
            stored = torch.from_numpy(self.embeddings[first : first + _CHUNK])
            rows = buffer[: len(stored)].copy_(stored)
            indices = np.arange(first, first + len(rows))
            lengths = self.lengths[indices]
            cosines = linear(unit, rows).div_(torch.from_numpy(lengths))
            yield Compared(indices, rows.numpy(), lengths, cosines.numpy())
            if (first + len(rows)) % _BLOCK < _CHUNK:
                _give_back(self.embeddings, first + len(rows))
        _give_back(self.embeddings, len(self))

    def estimate(
        self, queries: npt.NDArray[np.float32], progress: Progress | None = None
    ) -> npt.NDArray[np.float32] | None:
        """Return the cosines of unit vectors, (n, dim), with all rows, (n, rows), to `_ROUNDING`.

        Half as long as comparing takes. None where it does not pay, or a row is too short or long.
        """
        import torch

        suited = self.embeddings.dtype == np.float16 and 0 < len(queries) <= _FEW
        if not suited or self.lengths.min() < _SHORT or self.lengths.max() > _LONG:
            return None
        progress = progress or no_progress
        halves = torch.from_numpy(queries).half()
        cosines = np.empty((len(queries), len(self)), np.float32)
        for first in range(0, len(self), _BLOCK):
            progress(first / len(self), f"comparing with {len(self)} sentences")
            stored = torch.from_numpy(self.embeddings[first : first + _BLOCK])
            for query, row in zip(halves, cosines, strict=True):
                row[first : first + _BLOCK] = (stored @ query).numpy()
            _give_back(self.embeddings, first + len(stored))
        return cosines / self.lengths

    def _estimated(
        self,
        queries: npt.NDArray[np.float32],
        temperature: float | None,
        k: int,
        progress: Progress | None,
        dropped: float,
    ) -> list[Compared] | None:
        """Compare the rows alone that matter: the ``k`` nearest, and all weight but ``dropped``.

        A weight, where rows are averaged at a ``temperature``, is at most
        ``exp(2 error / temperature)`` times what an estimate says of it. None where nothing is
        saved, or the estimates turn out to be worse than they should be.
        """
        near = self.estimate(queries, progress) if len(self) > _CHUNK else None
        if near is None:
            return None
        first = _kth(near, k) - 2 * _ROUNDING
        weighty = [
            np.inf if temperature is None else _cut(row, temperature, dropped) for row in near
        ]
        chosen = _above(near, np.minimum(first, weighty))
        if len(chosen) > min(_SHORTLIST, len(self) // 4):
            return None
        rows = self.take(chosen)
        lengths = np.linalg.norm(rows, axis=1)
        exact = queries @ rows.T / lengths + self.shift(chosen)
        if np.abs(exact - near[:, chosen]).max() > _ROUNDING:
            return None
        return [Compared(chosen, rows, lengths, exact)]

    def take(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return rows as stored, shape (..., dim), by their numbers."""
        import torch  # see `compare`

        return torch.from_numpy(self.embeddings[indices]).float().numpy()

    def shift(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return what `compare` adds to the cosines of rows; nothing here, see `MixedBank`."""
        return np.zeros(indices.shape, np.float32)

    def _named(
        self, indices: npt.NDArray[np.int64], cosines: npt.NDArray[np.float32]
    ) -> tuple[Neighbours, ...]:
        """Captions and cosines of rows, (n, k)."""
        true = cosines - self.shift(indices)
        pairs = zip(indices.tolist(), true.tolist(), strict=True)
        return tuple(
            tuple((self.captions[row], cosine) for row, cosine in zip(*pair, strict=True))
            for pair in pairs
        )


class _SoftAverage:
    """An average of rows weighted by ``softmax(cosine / temperature)``, taken chunk by chunk.

    The result is that of a softmax over all rows at once: when a chunk brings a larger cosine,
    what was added before is scaled down to it.
    """

    def __init__(
        self, queries: int, dim: int, temperature: float, rows: int, dropped: float = _DROPPED
    ) -> None:
        self._temperature = temperature
        # All rows together, were they this far off, would be no more than what may be dropped.
        self._negligible = temperature * math.log(rows / dropped)
        self._peak = np.full((queries, 1), -np.inf, np.float32)
        self._mass, self._sum = np.zeros((queries, 1)), np.zeros((queries, dim))

    def add(
        self,
        cosines: npt.NDArray[np.float32],
        rows: npt.NDArray[np.float32],
        lengths: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Add rows, shape (k, dim) or (n, k, dim), divided by ``lengths``; ``cosines`` (n, k)."""
        import torch  # exponentials and products, several times as fast as numpy's

        from napari_patchioner.products import linear

        top = np.maximum(self._peak, cosines.max(axis=1, keepdims=True))
        fade = np.exp((self._peak - top).astype(np.float64) / self._temperature)
        if rows.ndim == 2:
            near = (cosines > top - self._negligible).any(axis=0)
            share = near.mean()
            if share == 0:
                return
            if share < _SPARSE:
                cosines, rows = cosines[:, near], rows[near]
                lengths = None if lengths is None else lengths[near]
        weights = (torch.from_numpy(cosines) - torch.from_numpy(top)).div_(self._temperature).exp_()
        self._mass *= fade
        self._mass += weights.sum(dim=1, keepdim=True, dtype=torch.double).numpy()
        if lengths is not None:
            weights /= torch.from_numpy(lengths)
        memory = torch.from_numpy(rows)
        added = weights[:, None] @ memory if rows.ndim == 3 else linear(weights, memory.T)
        self._sum *= fade
        self._sum += added.numpy().reshape(self._sum.shape)
        self._peak = top

    def result(self) -> npt.NDArray[np.float32]:
        """Return the averages, shape (n, dim)."""
        return np.asarray(self._sum / self._mass, np.float32)


class _Ranking:
    """The ``k`` nearest rows of each query, updated chunk by chunk.

    ``cosines`` and ``indices`` (n, at most k) are best first; of equal ones the earlier row comes
    first.
    """

    def __init__(self, queries: int, k: int) -> None:
        self.k = k
        self.cosines = np.empty((queries, 0), np.float32)
        self.indices = np.empty((queries, 0), np.int64)

    def add(self, rows: npt.NDArray[np.int64], cosines: npt.NDArray[np.float32]) -> None:
        """Add the cosines, (n, k), of rows with these numbers, which are higher than any before."""
        if not self.k:
            return
        if self.cosines.shape[1] < self.k:
            self.cosines, self.indices = self._merged(slice(None), rows, cosines)
            return
        # Most chunks have something nearer for few of many queries.
        closer = np.flatnonzero(cosines.max(axis=1) > self.cosines[:, -1])
        if len(closer):
            merged = self._merged(closer, rows, cosines[closer])
            self.cosines[closer], self.indices[closer] = merged

    def _merged(
        self,
        queries: slice | npt.NDArray[np.intp],
        rows: npt.NDArray[np.int64],
        cosines: npt.NDArray[np.float32],
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Return the nearest of those that some queries have and of others."""
        columns = np.arange(cosines.shape[1])[None].repeat(len(cosines), axis=0)
        if cosines.shape[1] > self.k:
            least = np.partition(cosines, -self.k, axis=1)[:, -self.k, None]
            chosen, equal = cosines > least, cosines == least
            room = self.k - np.count_nonzero(chosen, axis=1)
            # Of those that come last, which may be many, the first.
            for row in np.flatnonzero(np.count_nonzero(equal, axis=1) > room):
                equal[row, np.flatnonzero(equal[row])[room[row] :]] = False
            columns = np.nonzero(chosen | equal)[1].reshape(len(cosines), self.k)
        both = np.hstack([self.cosines[queries], np.take_along_axis(cosines, columns, axis=1)])
        indices = np.hstack([self.indices[queries], rows[columns]])
        order = np.argsort(-both, axis=1, kind="stable")[:, : self.k]
        return np.take_along_axis(both, order, axis=1), np.take_along_axis(indices, order, axis=1)


def _cut(cosines: npt.NDArray[np.float32], temperature: float, most: float) -> float:
    """Return the cosine below which rows together have less than ``most`` of the weight.

    The weights are those of a softmax over estimated cosines, (rows,), each of which may be wrong
    by `_ROUNDING`; this is what the worst case comes to.
    """
    below = (cosines.max() - cosines) / temperature
    # Rows by how far below the nearest they lie; all of a step weigh as its upper end.
    steps = np.bincount(np.minimum(below * _STEPS, _FAR * _STEPS).astype(np.int64))
    heaviest = np.exp(2 * _ROUNDING / temperature - np.arange(len(steps)) / _STEPS)
    dropped = np.cumsum((steps * heaviest)[::-1])[::-1]
    within = int((dropped > most).sum())
    return float(cosines.max() - within / _STEPS * temperature)


def _give_back(rows: npt.NDArray[Any], end: int) -> None:
    """Let the system have the memory of the last block of mapped rows before ``end``.

    They stay in its cache of files, so that reading them again takes next to nothing, but a
    process that has compared a whole bank is not as large as the bank.
    """
    mapped = rows.base
    if not isinstance(rows, np.memmap) or not isinstance(mapped, mmap.mmap) or _DONT_NEED is None:
        return
    first, last = (
        (rows.offset + row * rows.strides[0]) // mmap.PAGESIZE * mmap.PAGESIZE
        for row in (max(0, end - _BLOCK - _CHUNK), end)
    )
    if last > first:
        mapped.madvise(_DONT_NEED, first, last - first)


def _stored(rows: npt.NDArray[Any], size: int) -> Iterator[tuple[int, Tensor]]:
    """Yield rows as stored, so many at once, each block with the number of its first."""
    import torch

    for first in range(0, len(rows), size):
        stored = rows[first : first + size]
        yield first, torch.from_numpy(stored)
        _give_back(rows, first + len(stored))


def _kth(cosines: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.float32]:
    """Return the k-th largest of each query, of cosines (n, rows); infinity where none is asked."""
    if not 0 < k <= cosines.shape[1]:
        return np.full(len(cosines), np.inf, np.float32)
    return np.partition(cosines, -k, axis=1)[:, -k]


def _above(
    cosines: npt.NDArray[np.float32], limits: npt.NDArray[np.floating[Any]]
) -> npt.NDArray[np.int64]:
    """Return which rows come to the limit of one of the queries, of cosines (n, rows)."""
    return np.flatnonzero((cosines >= np.asarray(limits, np.float32)[:, None]).any(axis=0))


class _BankBridge(Bridge):
    """A bridge over a bank of sentences, of which so many nearest ``neighbours`` are named."""

    def __init__(self, bank: MemoryBank, neighbours: int) -> None:
        self.bank, self.neighbours = bank, neighbours

    def place(self, placement: Placement) -> None:
        """Have the bank compared there."""
        self.bank.place(placement)

    @classmethod
    def read(cls, files: Mapping[str, Path]) -> tuple[MemoryBank]:
        """Open ``bank``, the folder of a `MemoryBank`."""
        return (MemoryBank.open(files["bank"]),)


class MemoryBridge(_BankBridge):
    """Replaces region embeddings by averages of sentence embeddings (DeCap's projection).

    The options are as of `MemoryBank.recall`; the paper's temperature is 0.01.
    """

    def __init__(
        self,
        bank: MemoryBank,
        *,
        temperature: float = 0.01,
        unit: bool = False,
        normalize: bool = True,
        top_k: int | None = None,
        neighbours: int = 5,
    ) -> None:
        if not temperature > 0:
            raise ModelError(f"The memory's temperature must be above 0, not {temperature}.")
        if top_k is not None and top_k < 1:
            raise ModelError(f"The memory's top_k must be 1 or more, not {top_k}.")
        super().__init__(bank, neighbours)
        self.temperature, self.unit = temperature, unit
        self.normalize, self.top_k = normalize, top_k

    def answer(self, query: Query) -> BridgeOutput:
        """Project all regions in one pass over the memory."""
        asked = query.options.temperature
        projected, neighbours = self.bank.recall(
            query.vectors,
            self.temperature if asked is None else asked,
            unit=self.unit,
            normalize=self.normalize,
            top_k=self.top_k,
            neighbours=self.neighbours,
            progress=query.progress,
        )
        return BridgeOutput(projected, neighbours=neighbours if self.neighbours else None)


class RetrievalBridge(_BankBridge):
    """Answers with the nearest sentence itself; go on with a ``QuoteDecoder``."""

    def __init__(self, bank: MemoryBank, *, neighbours: int = 5) -> None:
        super().__init__(bank, max(neighbours, 1))
        self._usable: dict[CaptionOptions, npt.NDArray[np.bool_]] = {}

    def answer(self, query: Query) -> BridgeOutput:
        """Find the nearest sentences of all regions in one pass.

        Only sentences that satisfy the options are quoted; ModelError if there is none.
        """
        # The vector is that of the nearest sentence.
        projected, neighbours = self.bank.recall(
            query.vectors, top_k=1, neighbours=self.neighbours, progress=query.progress
        )
        quotable, options = neighbours, query.options
        if options.must_include or options.must_exclude:
            usable = self._sentences(options)
            quotable = self.bank.nearest(query.vectors, self.neighbours, among=usable)
        # A sentence is as sure as it is near.
        evidence = tuple(
            Evidence(concepts=near, score=float(np.clip(near[0][1], 0, 1)), text=near[0][0])
            for near in quotable
        )
        return BridgeOutput(projected, evidence, neighbours)

    def _sentences(self, options: CaptionOptions) -> npt.NDArray[np.bool_]:
        """Which sentences satisfy the options, shape (rows,); cached for each set of words."""
        words = CaptionOptions(
            must_include=options.must_include,
            must_exclude=options.must_exclude,
            plurals=options.plurals,
        )
        if words not in self._usable:
            usable = np.fromiter((words.satisfied_by(text) for text in self.bank.captions), bool)
            if len(self._usable) >= _CACHED:
                self._usable.clear()
            self._usable[words] = usable
        if not self._usable[words].any():
            raise ModelError(
                "No sentence of the memory has the words that it must have and none that it may "
                "not; take a word back."
            )
        return self._usable[words]
