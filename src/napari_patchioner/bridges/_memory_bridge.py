"""The bridge over a memory of sentences (DeCap's projection)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_patchioner.decoders import Evidence
from napari_patchioner.errors import ModelError

from ._bridge import Crossing

if TYPE_CHECKING:
    import numpy.typing as npt

    from ._bridge import Neighbours, Scene
    from ._memory import MemoryBank


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

    def cross(
        self,
        vectors: npt.NDArray[np.float32],
        grid: Scene,
        *,
        patches: npt.NDArray[np.float64] | None = None,
    ) -> Crossing:
        """Project all regions, shape (n, dim), in one pass over the memory."""
        projected, neighbours = self.bank.recall(
            vectors,
            self.temperature,
            unit=self.unit,
            normalize=self.normalize,
            top_k=self.top_k,
            neighbours=self.neighbours,
        )
        evidence = tuple(_quote(near) for near in neighbours) if self.retrieve else None
        return Crossing(projected, evidence, neighbours if self.neighbours else None)


def _quote(near: Neighbours) -> Evidence:
    """Let the nearest sentence stand for the region, as sure as it is near."""
    text, cosine = near[0]
    return Evidence(concepts=near, score=float(np.clip(cosine, 0, 1)), text=text)
