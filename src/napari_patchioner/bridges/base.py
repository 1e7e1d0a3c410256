"""What every bridge between image and text can do, and the bridge that only normalises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from napari_patchioner.decoders import CaptionOptions, Evidence
from napari_patchioner.devices import Placeable, Placement
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import FeatureGrid
from napari_patchioner.parts import Part
from napari_patchioner.progress import Progress, no_progress
from napari_patchioner.regions import PatchWeights

Neighbours: TypeAlias = tuple[tuple[str, float], ...]


@dataclass(frozen=True, eq=False, slots=True)
class BridgeOutput:
    """Region embeddings on the text side of the modality gap."""

    vectors: npt.NDArray[np.float32]  # what the decoder reads, one row per region, (n, d)
    evidence: tuple[Evidence, ...] | None = None  # what was recognised in each region
    # For each region its nearest memory sentences and their cosine similarity, best first.
    neighbours: tuple[Neighbours, ...] | None = None


class Query(NamedTuple):
    """What a bridge is asked, see `Bridge.project`."""

    vectors: npt.NDArray[np.float32]
    grid: FeatureGrid
    options: CaptionOptions
    patches: npt.NDArray[np.float64] | None
    progress: Progress
    covers: Sequence[PatchWeights] = ()
    close_ups: Mapping[int, npt.NDArray[np.float32]] = {}


class Bridge(Part):
    """Takes pooled patch embeddings to where the decoder was trained.

    A subclass defines :meth:`answer`, and :meth:`read` where it needs files.
    """

    def project(
        self,
        vectors: npt.NDArray[np.float32],
        grid: FeatureGrid,
        *,
        options: CaptionOptions | None = None,
        patches: npt.NDArray[np.float64] | None = None,
        covers: Sequence[PatchWeights] = (),
        close_ups: Mapping[int, npt.NDArray[np.float32]] | None = None,
        progress: Progress | None = None,
    ) -> BridgeOutput:
        """Project all regions of one image at once.

        Parameters
        ----------
        vectors : ndarray of float32, shape (n, dim)
            Pooled embeddings.
        grid : FeatureGrid
            The image they come from.
        options : CaptionOptions, optional
            What is asked of the captions; a memory reads its temperature and words.
        patches : ndarray of float, shape (n,), optional
            How many patches each region holds: the sum of its weights.
        covers : sequence of PatchWeights, optional
            The patches themselves, one item per region, for bridges that name their parts.
        close_ups : mapping of int to ndarray of float32, shape (d,), optional
            Vectors of those rows that a backbone looked at once more, see `CloseUpEncoder`; of sets
            perhaps (members, d).
        progress : callable, optional
            Called with the fraction done and a message; may raise ``Cancelled``.
        """
        asked, progress = options or CaptionOptions(), progress or no_progress
        return self.answer(Query(vectors, grid, asked, patches, progress, covers, close_ups or {}))

    def answer(self, query: Query) -> BridgeOutput:
        """Project the regions that are asked for."""
        raise NotImplementedError


@runtime_checkable
class TextSpace(Protocol):
    """A bridge of a backbone whose patches are not among sentences: it takes regions there."""

    @property
    def text_dim(self) -> int:
        """Length of the vectors among sentences."""

    def text_vectors(self, query: Query) -> npt.NDArray[np.float32]:
        """Regions as vectors to compare with embedded sentences, shape (n, d)."""


@runtime_checkable
class WordReader(Protocol):
    """A bridge that says how likely regions show what a word means."""

    def word_probabilities(
        self, vectors: npt.NDArray[np.float32], words: Sequence[str]
    ) -> npt.NDArray[np.float32]:
        """Return how likely each region shows each word, shape (n, words); NaN for unknown words.

        The vectors, (n, dim), are pooled embeddings.
        """


Knowledge: TypeAlias = Literal["regions", "pictures", ""]
"""What was learned of a thing: from labelled regions, so that it is missed where it is not seen;
from pictures of it alone, so that it may be there unseen; or nothing at all but its name."""


@runtime_checkable
class PhraseReader(Protocol):
    """A bridge that says how likely regions show what a phrase means, be it wider than a word."""

    def phrase_meaning(self, phrase: str) -> tuple[str, ...]:
        """Return what the bridge knows that a phrase may mean, the nearest first."""

    def is_name(self, phrase: str) -> bool:
        """Whether a phrase is a name of something that the bridge knows, not only near to one."""

    def phrase_knowledge(self, phrase: str) -> Knowledge:
        """Return what the bridge has learned to see of a phrase's meaning, see `Knowledge`."""

    def phrase_probabilities(
        self, vectors: npt.NDArray[np.float32], phrases: Sequence[str]
    ) -> npt.NDArray[np.float32]:
        """Return how likely each region shows each phrase, shape (n, phrases); NaN where unknown.

        The vectors, (n, dim), are pooled embeddings.
        """

    def adjective_strengths(
        self, vectors: npt.NDArray[np.float32], adjectives: Sequence[str]
    ) -> npt.NDArray[np.float32]:
        """Return how much each region has each colour or texture, shape (n, adjectives), 0 to 1."""


class ThroughText(Bridge):
    """Goes by way of a space of sentences to another bridge, such as one over a memory bank.

    With it a model like `mini` takes a bank: ``then`` is given the region vectors of ``space``
    instead of those of patches.
    """

    def __init__(self, space: TextSpace, then: Bridge) -> None:
        self.space, self.then = space, then

    def place(self, placement: Placement) -> None:
        """Move both bridges that can be moved."""
        for bridge in (self.space, self.then):
            if isinstance(bridge, Placeable):
                bridge.place(placement)

    @property
    def text_dim(self) -> int:
        """Length of the vectors among sentences."""
        return self.space.text_dim

    def answer(self, query: Query) -> BridgeOutput:
        """Take the regions among sentences and let the other bridge answer."""
        return self.then.answer(query._replace(vectors=self.text_vectors(query)))

    def text_vectors(self, query: Query) -> npt.NDArray[np.float32]:
        """Regions among sentences, shape (n, d), as ``space`` has them."""
        return self.space.text_vectors(query)

    def word_probabilities(
        self, vectors: npt.NDArray[np.float32], words: Sequence[str]
    ) -> npt.NDArray[np.float32]:
        """Say how likely each region shows each word, as ``space`` does if it can."""
        if isinstance(self.space, WordReader):
            return self.space.word_probabilities(vectors, words)
        return np.full((len(vectors), len(words)), np.nan, np.float32)

    def phrase_meaning(self, phrase: str) -> tuple[str, ...]:
        """Return what a phrase may mean, as ``space`` does if it can."""
        return self.space.phrase_meaning(phrase) if isinstance(self.space, PhraseReader) else ()

    def is_name(self, phrase: str) -> bool:
        """Whether a phrase is a name that ``space`` knows, if it can tell."""
        return self.space.is_name(phrase) if isinstance(self.space, PhraseReader) else False

    def phrase_knowledge(self, phrase: str) -> Knowledge:
        """Return what ``space`` has learned to see of a phrase's meaning, if it can."""
        return self.space.phrase_knowledge(phrase) if isinstance(self.space, PhraseReader) else ""

    def phrase_probabilities(
        self, vectors: npt.NDArray[np.float32], phrases: Sequence[str]
    ) -> npt.NDArray[np.float32]:
        """Say how likely each region shows each phrase, as ``space`` does if it can."""
        if isinstance(self.space, PhraseReader):
            return self.space.phrase_probabilities(vectors, phrases)
        return np.full((len(vectors), len(phrases)), np.nan, np.float32)

    def adjective_strengths(
        self, vectors: npt.NDArray[np.float32], adjectives: Sequence[str]
    ) -> npt.NDArray[np.float32]:
        """Say how much each region has each colour or texture, as ``space`` does if it can."""
        if isinstance(self.space, PhraseReader):
            return self.space.adjective_strengths(vectors, adjectives)
        return np.ones((len(vectors), len(adjectives)), np.float32)


class NormalizeBridge(Bridge):
    """Only scales to length one, as decoders trained with noise expect (CapDec, CLOSE).

    ``unit=False`` hands the vectors on as they are: for a ClipCap trained on embeddings of any
    length, and for what the published code does where a model has no memory.
    """

    def __init__(self, *, unit: bool = True) -> None:
        self.unit = unit

    def answer(self, query: Query) -> BridgeOutput:
        """Scale each vector to length one where ``unit`` is set."""
        vectors = query.vectors
        return BridgeOutput(unit_rows(vectors) if self.unit else np.asarray(vectors, np.float32))


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


def checked_unit_rows(
    vectors: npt.NDArray[np.float32], dim: int, holder: str
) -> npt.NDArray[np.float32]:
    """Scale regions to length one; ModelError if they cannot be compared with the ``holder``."""
    rows = np.asarray(vectors, np.float32)
    if rows.ndim != 2 or rows.shape[1] != dim:
        raise ModelError(
            f"{holder} vectors of length {dim} but what is compared with them has the shape "
            f"{rows.shape}; use the backbone they were made for."
        )
    if not np.isfinite(rows).all():
        raise ModelError("A region's embedding is not finite; encode the image again.")
    return unit_rows(rows)


def clean_context(
    vectors: npt.ArrayLike,
    context: npt.ArrayLike,
    *,
    how: Literal["orthogonal", "contrastive"] = "orthogonal",
    strength: float = 1.0,
) -> npt.NDArray[np.float32]:
    """Weaken in region vectors, shape (..., d), what the vector of the whole image, (d,), says.

    ``how`` takes away the share along the context, ``v - strength <v, c> / |c|^2 c``
    (``"orthogonal"``), or damps each component by it, ``v * (1 - strength c)``
    (``"contrastive"``); ``strength``, 0 to 1, says how much of it.
    """
    rows, whole = np.asarray(vectors, np.float32), np.asarray(context, np.float32)
    if whole.shape != rows.shape[-1:]:
        raise ModelError(
            f"The context has shape {whole.shape} where the vectors have {rows.shape}; "
            "take both from the same model."
        )
    if how == "contrastive":
        return np.asarray(rows * (1 - strength * whole), np.float32)
    if how != "orthogonal":
        raise ModelError(f"Context cleaning is 'orthogonal' or 'contrastive', not {how!r}.")
    square = max(float(whole @ whole), float(np.finfo(np.float32).tiny))
    along = rows @ whole / square
    return np.asarray(rows - strength * along[..., None] * whole, np.float32)
