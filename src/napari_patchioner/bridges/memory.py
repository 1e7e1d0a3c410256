"""Sentences and their embeddings, and the bridges that pull image vectors over to them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from napari_patchioner.decoders import CaptionOptions, Evidence
from napari_patchioner.errors import ModelError
from napari_patchioner.progress import Progress, no_progress

from .bank_files import read_bank, usable_rows, write_bank
from .base import BridgeOutput, Neighbours, Scene, checked_unit_rows, unit_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

# Rows read at once: 25 MB of float32 at 768 columns.
_CHUNK = 8192
# exp(-34) times a million rows is below what single precision can tell from nothing.
_NEGLIGIBLE = 34.0
# Sets of required and excluded words whose sentences are cached: half a megabyte each for the
# largest memory.
_CACHED = 16


class MemoryBank:
    """Captions and their text embeddings, read in chunks and never held whole in RAM.

    Made by :meth:`build`, :meth:`open` or :meth:`from_arrays`.

    Attributes
    ----------
    embeddings : ndarray, shape (rows, dim)
        As stored: half or single precision, not normalised.
    captions : sequence of str
        One per row.
    provenance : mapping of str to str
        What made the embeddings, such as the hash of a projection.
    hash : str
        SHA-256 of embeddings and captions.
    """

    def __init__(
        self,
        embeddings: npt.NDArray[Any],
        captions: Sequence[str],
        provenance: Mapping[str, str],
        hash: str,  # noqa: A002 - the word the annotations use
        lengths: npt.NDArray[np.float32],
    ) -> None:
        self.embeddings = embeddings
        self.captions = captions
        self.provenance = provenance
        self.hash = hash
        self._lengths = lengths

    @classmethod
    def build(
        cls,
        folder: str | Path,
        chunks: Iterable[tuple[Sequence[str], npt.ArrayLike]],
        *,
        provenance: Mapping[str, str] | None = None,
        dtype: Literal["float16", "float32"] = "float16",
    ) -> MemoryBank:
        """Write a bank chunk by chunk and open it; nothing is left behind if that fails.

        Parameters
        ----------
        folder : path
            Where it goes; must not exist yet.
        chunks : iterable of (captions, embeddings)
            Texts and their vectors, shape (k, dim). Rows of zeros are left out with their text.
        provenance : mapping of str to str, optional
            What made the embeddings.
        dtype : {"float16", "float32"}
            Precision on disk.
        """
        write_bank(Path(folder), chunks, provenance or {}, dtype)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: str | Path) -> MemoryBank:
        """Open a bank written by :meth:`build`, without reading its embeddings."""
        rows, captions, lengths, meta = read_bank(Path(folder))
        return cls(rows, captions, meta.get("provenance", {}), meta.get("sha256", ""), lengths)

    @classmethod
    def from_arrays(
        cls,
        captions: Sequence[str],
        embeddings: npt.ArrayLike,
        *,
        provenance: Mapping[str, str] | None = None,
    ) -> MemoryBank:
        """Hold a small bank in RAM, such as a list of sentences a person typed.

        Rows of zeros in ``embeddings``, shape (rows, dim), are left out with their text.
        """
        rows, texts = usable_rows(captions, embeddings, np.float32)
        if not texts:
            raise ModelError("The memory has no captions; give at least one with its embedding.")
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
        self,
        vectors: npt.ArrayLike,
        temperature: float = 0.01,
        *,
        unit: bool = False,
        normalize: bool = True,
        top_k: int | None = None,
    ) -> npt.NDArray[np.float32]:
        """Replace vectors by averages of the memory, weighted by similarity (DeCap).

        The weights are ``softmax(cos(v, M) / temperature)`` over all rows of the memory.

        Parameters
        ----------
        vectors : array_like, shape (n, dim)
            Pooled image embeddings of any length.
        temperature : float
            The smaller, the closer to the single nearest sentence.
        unit : bool
            Average the rows scaled to length one (CLIP) instead of as stored (Talk2DINO).
        normalize : bool
            Scale the result to length one.
        top_k : int, optional
            Average the nearest rows only.

        Returns
        -------
        ndarray of float32, shape (n, dim)

        Raises
        ------
        ModelError
            If the vectors have another length than the memory's, or are not finite.
        """
        return self.recall(
            vectors, temperature, unit=unit, normalize=normalize, top_k=top_k, neighbours=0
        )[0]

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
        ranking = _Ranking(k if among is None else min(k, int(among.sum())))
        for first, rows, cosines in self._compare(vectors, progress):
            if among is not None:
                cosines[:, ~among[first : first + len(rows)]] = -np.inf
            ranking.add(first, cosines)
        return self._named(ranking, k)

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
        """Project and name the nearest captions in one pass over the memory.

        Takes what :meth:`project` takes and returns what it and :meth:`nearest` return.
        ``progress`` is called for every chunk and may raise ``Cancelled``.
        """
        average, ranking = _SoftAverage(temperature), _Ranking(max(neighbours, top_k or 0))
        for first, rows, cosines in self._compare(vectors, progress):
            ranking.add(first, cosines)
            if top_k is None:
                average.add(cosines, rows, self._lengths[first : first + _CHUNK] if unit else None)
        if top_k is not None:
            # A few rows per vector: each averages its own.
            indices = ranking.indices[:, :top_k]
            rows = np.asarray(self.embeddings[indices], np.float32)
            lengths = self._lengths[indices] if unit else None
            average.add(ranking.cosines[:, :top_k], rows, lengths)
        projected = average.result()
        return unit_rows(projected) if normalize else projected, self._named(ranking, neighbours)

    def _compare(
        self, vectors: npt.ArrayLike, progress: Progress | None
    ) -> Iterator[tuple[int, npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
        """Yield the memory in chunks: first row, rows as stored, cosines of shape (n, rows)."""
        queries = checked_unit_rows(np.asarray(vectors, np.float32), self.dim, "The memory holds")
        progress = progress or no_progress
        for first in range(0, len(self), _CHUNK):
            progress(first / len(self), f"comparing with {len(self)} sentences")
            rows = np.asarray(self.embeddings[first : first + _CHUNK], np.float32)
            yield first, rows, queries @ rows.T / self._lengths[first : first + _CHUNK]

    def _named(self, ranking: _Ranking, k: int) -> tuple[Neighbours, ...]:
        """Captions and cosines of the first ``k`` of each query."""
        pairs = zip(ranking.indices[:, :k].tolist(), ranking.cosines[:, :k].tolist(), strict=True)
        return tuple(
            tuple((self.captions[row], cosine) for row, cosine in zip(*pair, strict=True))
            for pair in pairs
        )


class _SoftAverage:
    """An average of rows weighted by ``softmax(cosine / temperature)``, taken chunk by chunk.

    The result is that of a softmax over all rows at once: when a chunk brings a larger cosine,
    what was added before is scaled down to it.
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
        """Add rows, shape (k, dim) or (n, k, dim), divided by ``lengths``; ``cosines`` (n, k)."""
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


class _Ranking:
    """The ``k`` nearest rows of each query, updated chunk by chunk.

    ``cosines`` and ``indices`` (n, at most k) are best first; of equal ones the earlier row comes
    first.
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
        columns = np.arange(cosines.shape[1])[None].repeat(len(cosines), axis=0)
        if cosines.shape[1] > self._k:
            columns = np.sort(np.argpartition(-cosines, self._k - 1, axis=1)[:, : self._k], axis=1)
        both = np.hstack([self.cosines, np.take_along_axis(cosines, columns, axis=1)])
        indices = np.hstack([self.indices, columns + first])
        order = np.argsort(-both, axis=1, kind="stable")[:, : self._k]
        self.cosines = np.take_along_axis(both, order, axis=1)
        self.indices = np.take_along_axis(indices, order, axis=1)


class MemoryBridge:
    """Replaces region embeddings by averages of sentence embeddings (DeCap's projection).

    Parameters
    ----------
    bank : MemoryBank
        The sentences.
    temperature : float
        The smaller, the closer to the single nearest sentence; the paper uses 0.01.
    unit : bool
        Average the rows scaled to length one (CLIP) instead of as stored (Talk2DINO).
    normalize : bool
        Scale the result to length one (Talk2DINO).
    top_k : int, optional
        Average the nearest rows only; all by default.
    neighbours : int
        How many of the nearest sentences to name.

    Raises
    ------
    ModelError
        If the temperature is not above zero, or ``top_k`` below 1.
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
        self.bank = bank
        self.temperature = temperature
        self.unit, self.normalize, self.top_k = unit, normalize, top_k
        self.neighbours = neighbours

    @classmethod
    def open(
        cls,
        files: Mapping[str, Path],
        *,
        temperature: float = 0.01,
        unit: bool = False,
        normalize: bool = True,
        top_k: int | None = None,
        neighbours: int = 5,
    ) -> MemoryBridge:
        """Open ``bank``, the folder of a `MemoryBank`; the options are those of the class."""
        return cls(
            MemoryBank.open(files["bank"]),
            temperature=temperature,
            unit=unit,
            normalize=normalize,
            top_k=top_k,
            neighbours=neighbours,
        )

    def project(
        self,
        vectors: npt.NDArray[np.float32],
        grid: Scene,
        *,
        options: CaptionOptions | None = None,
        patches: npt.NDArray[np.float64] | None = None,
        progress: Progress | None = None,
    ) -> BridgeOutput:
        """Project all regions, shape (n, dim), in one pass over the memory."""
        asked = None if options is None else options.temperature
        projected, neighbours = self.bank.recall(
            vectors,
            self.temperature if asked is None else asked,
            unit=self.unit,
            normalize=self.normalize,
            top_k=self.top_k,
            neighbours=self.neighbours,
            progress=progress,
        )
        return BridgeOutput(projected, neighbours=neighbours if self.neighbours else None)


class RetrievalBridge:
    """Answers with the nearest sentence itself; go on with a ``QuoteDecoder``.

    Parameters
    ----------
    bank : MemoryBank
        The sentences.
    neighbours : int
        How many of the nearest sentences to name, at least one.
    """

    def __init__(self, bank: MemoryBank, *, neighbours: int = 5) -> None:
        self.bank = bank
        self.neighbours = max(neighbours, 1)
        self._usable: dict[CaptionOptions, npt.NDArray[np.bool_]] = {}

    @classmethod
    def open(cls, files: Mapping[str, Path], *, neighbours: int = 5) -> RetrievalBridge:
        """Open ``bank``, the folder of a `MemoryBank`."""
        return cls(MemoryBank.open(files["bank"]), neighbours=neighbours)

    def project(
        self,
        vectors: npt.NDArray[np.float32],
        grid: Scene,
        *,
        options: CaptionOptions | None = None,
        patches: npt.NDArray[np.float64] | None = None,
        progress: Progress | None = None,
    ) -> BridgeOutput:
        """Find the nearest sentences of all regions, shape (n, dim), in one pass.

        Only sentences that satisfy the options are quoted; ModelError if there is none.
        """
        # The vector is that of the nearest sentence.
        projected, neighbours = self.bank.recall(
            vectors, top_k=1, neighbours=self.neighbours, progress=progress
        )
        quotable = neighbours
        if options is not None and (options.must_include or options.must_exclude):
            usable = self._sentences(options)
            quotable = self.bank.nearest(vectors, self.neighbours, among=usable)
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
