"""Sentences and their embeddings, to pull image vectors over to the text side."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_patchioner.errors import ModelError

from ._folder import read_bank, usable_rows, write_bank
from ._normalize import unit_rows
from ._recall import Ranking, SoftAverage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from ._bridge import Neighbours

# Rows read at once: 25 MB of float32 at 768 columns.
_CHUNK = 8192


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

        Raises
        ------
        ModelError
            If the folder exists, a chunk does not fit, or there are no captions.
        """
        write_bank(Path(folder), chunks, provenance or {}, dtype)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: str | Path) -> MemoryBank:
        """Open a bank written by :meth:`build`, without reading its embeddings.

        Raises
        ------
        ModelError
            If a file is missing, cut short, or belongs to another bank.
        """
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

        Parameters
        ----------
        captions : sequence of str
            The texts.
        embeddings : array_like, shape (rows, dim)
            Their vectors; rows of zeros are left out with their text.
        provenance : mapping of str to str, optional
            What made the embeddings.
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
        progress: Callable[[float, str], None] | None = None,
    ) -> tuple[Neighbours, ...]:
        """Find for each vector, shape (n, dim), its ``k`` nearest captions and their cosines.

        ``among``, a mask of shape (rows,), says which captions count; all by default.
        """
        ranking = Ranking(k if among is None else min(k, int(among.sum())))
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
        progress: Callable[[float, str], None] | None = None,
    ) -> tuple[npt.NDArray[np.float32], tuple[Neighbours, ...]]:
        """Project and name the nearest captions in one pass over the memory.

        Takes what :meth:`project` takes and returns what it and :meth:`nearest` return.
        ``progress`` is told of every chunk and may raise ``Cancelled``.
        """
        average, ranking = SoftAverage(temperature), Ranking(max(neighbours, top_k or 0))
        for first, rows, cosines in self._compare(vectors, progress):
            ranking.add(first, cosines)
            if top_k is None:
                average.add(cosines, rows, self._lengths[first : first + _CHUNK] if unit else None)
        if top_k is not None:
            # A few rows per vector: each averages its own.
            places = ranking.indices[:, :top_k]
            rows = np.asarray(self.embeddings[places], np.float32)
            lengths = self._lengths[places] if unit else None
            average.add(ranking.cosines[:, :top_k], rows, lengths)
        projected = average.result()
        return unit_rows(projected) if normalize else projected, self._named(ranking, neighbours)

    def _compare(
        self, vectors: npt.ArrayLike, progress: Callable[[float, str], None] | None
    ) -> Iterator[tuple[int, npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
        """Yield the memory in chunks: first row, rows as stored, cosines of shape (n, rows)."""
        queries = self._checked(vectors)
        for first, rows in self._chunks():
            if progress is not None:
                progress(first / len(self), f"comparing with {len(self)} sentences")
            yield first, rows, queries @ rows.T / self._lengths[first : first + _CHUNK]

    def _chunks(self) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        for first in range(0, len(self), _CHUNK):
            yield first, np.asarray(self.embeddings[first : first + _CHUNK], np.float32)

    def _checked(self, vectors: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Scale queries to length one, or say why that cannot be."""
        queries = np.asarray(vectors, np.float32)
        if queries.ndim != 2 or queries.shape[1] != self.dim:
            raise ModelError(
                f"The memory holds vectors of length {self.dim} but was asked about an array of "
                f"shape {queries.shape}; use the backbone it was built for."
            )
        if not np.isfinite(queries).all():
            raise ModelError("A region's embedding is not finite; encode the image again.")
        return unit_rows(queries)

    def _named(self, ranking: Ranking, k: int) -> tuple[Neighbours, ...]:
        return tuple(
            tuple(
                (self.captions[place], float(cosine)) for place, cosine in zip(*pair, strict=True)
            )
            for pair in zip(
                ranking.indices[:, :k].tolist(), ranking.cosines[:, :k].tolist(), strict=True
            )
        )
