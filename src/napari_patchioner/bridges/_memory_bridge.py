"""The bridge over a memory of sentences (DeCap's projection)."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

import numpy as np

from napari_patchioner.decoders import Evidence, Wishes
from napari_patchioner.errors import ModelError

from ._bridge import Crossing

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from ._bridge import Neighbours, Scene
    from ._memory import MemoryBank

# Answers to wishes that are kept: half a megabyte each for the largest memory.
_REMEMBERED = 16


class MemoryBridge:
    """Replaces region embeddings by averages of sentence embeddings.

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
    retrieve : bool
        Answer with the nearest sentence itself; go on with a ``QuoteDecoder``.

    Raises
    ------
    ModelError
        If the temperature is not above zero.
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
        retrieve: bool = False,
    ) -> None:
        if not temperature > 0:
            raise ModelError(f"The memory's temperature must be above 0, not {temperature}.")
        self.bank = bank
        self.temperature = temperature
        self.unit, self.normalize, self.top_k = unit, normalize, top_k
        self.neighbours = max(neighbours, 1) if retrieve else neighbours
        self.retrieve = retrieve
        self._granting: dict[Wishes, npt.NDArray[np.bool_]] = {}
        self._wanted: npt.NDArray[np.bool_] | None = None

    def wishing(self, wishes: Wishes) -> MemoryBridge:
        """Return a bridge over the same memory with the temperature and words wished for.

        Words matter where the nearest sentence is the answer: only sentences that hold what they
        must and nothing that they may not are then looked at. They are found once for each wish.

        Raises
        ------
        ModelError
            If no sentence of the memory will do.
        """
        bridge = copy(self)
        if wishes.temperature is not None:
            bridge.temperature = wishes.temperature
        if self.retrieve and (wishes.must or wishes.never):
            bridge._wanted = self._sentences(wishes)
        return bridge

    def _sentences(self, wishes: Wishes) -> npt.NDArray[np.bool_]:
        """Which sentences grant the wishes, shape (rows,)."""
        words = Wishes(must=wishes.must, never=wishes.never, plurals=wishes.plurals)
        if words not in self._granting:
            granting = np.fromiter((words.grants(text) for text in self.bank.captions), bool)
            if len(self._granting) >= _REMEMBERED:
                self._granting.clear()
            self._granting[words] = granting
        if not self._granting[words].any():
            raise ModelError(
                "No sentence of the memory has the words that it must have and none that it may "
                "not; take a word back."
            )
        return self._granting[words]

    def cross(
        self,
        vectors: npt.NDArray[np.float32],
        grid: Scene,
        *,
        patches: npt.NDArray[np.float64] | None = None,
        progress: Callable[[float, str], None] | None = None,
    ) -> Crossing:
        """Project all regions, shape (n, dim), in one pass over the memory."""
        projected, neighbours = self.bank.recall(
            vectors,
            self.temperature,
            unit=self.unit,
            normalize=self.normalize,
            top_k=self.top_k,
            neighbours=self.neighbours,
            progress=progress,
        )
        quotable = neighbours
        if self._wanted is not None:
            quotable = self.bank.nearest(vectors, self.neighbours, among=self._wanted)
        evidence = tuple(_quote(near) for near in quotable) if self.retrieve else None
        return Crossing(projected, evidence, neighbours if self.neighbours else None)


def _quote(near: Neighbours) -> Evidence:
    """Let the nearest sentence stand for the region, as sure as it is near."""
    text, cosine = near[0]
    return Evidence(concepts=near, score=float(np.clip(cosine, 0, 1)), text=text)
