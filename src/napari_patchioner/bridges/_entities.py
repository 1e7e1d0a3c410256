"""The bridge that recognises regions by a vocabulary (ViECap's entities)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_patchioner.decoders import Evidence
from napari_patchioner.errors import ModelError

from ._bridge import Crossing
from ._entity_table import EntityTable
from ._normalize import unit_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy.typing as npt

    from ._bridge import Scene


class EntityBridge:
    """Names the entities nearest to each region; the vectors are only scaled to length one.

    The probabilities are ``softmax(cos(v, E) / temperature)`` over the vocabulary; of the best
    ``top_k`` those before the first below ``threshold`` are named (Fei et al., "Transferable
    Decoding with Visual Entities for Zero-Shot Image Captioning", ICCV 2023). At the published
    threshold of 0.4 that is two at most, and often none.

    Parameters
    ----------
    table : EntityTable
        The vocabulary in the space of the regions.
    temperature : float
        The smaller, the surer.
    top_k : int
        Most entities to name.
    threshold : float
        Least probability of an entity.

    Raises
    ------
    ModelError
        If the temperature is not above zero.
    """

    def __init__(
        self,
        table: EntityTable,
        *,
        temperature: float = 0.01,
        top_k: int = 3,
        threshold: float = 0.4,
    ) -> None:
        if not temperature > 0:
            raise ModelError(f"The temperature of entities must be above 0, not {temperature}.")
        self.table = table
        self.temperature = temperature
        self.top_k = top_k
        self.threshold = threshold

    @classmethod
    def open(
        cls,
        files: Mapping[str, Path],
        *,
        temperature: float = 0.01,
        top_k: int = 3,
        threshold: float = 0.4,
    ) -> EntityBridge:
        """Open a bridge from files.

        Parameters
        ----------
        files : mapping of str to path
            ``entities``: what `EntityTable.save` wrote.
        temperature, top_k, threshold
            As for the class.

        Raises
        ------
        ModelError
            The table is missing or damaged.
        """
        table = EntityTable.open(files["entities"])
        return cls(table, temperature=temperature, top_k=top_k, threshold=threshold)

    @property
    def provenance(self) -> Mapping[str, str]:
        """What made the embeddings of the vocabulary."""
        return self.table.provenance

    def cross(
        self,
        vectors: npt.NDArray[np.float32],
        grid: Scene,
        *,
        patches: npt.NDArray[np.float64] | None = None,
        progress: Callable[[float, str], None] | None = None,
    ) -> Crossing:
        """Recognise every region, shape (n, dim); the evidence names its entities, best first."""
        unit = self._checked(vectors)
        evidence = tuple(self._evidence(row) for row in self._probabilities(unit))
        return Crossing(unit, evidence)

    def probabilities(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Probability of every name for every region, shape (n, names)."""
        return self._probabilities(self._checked(vectors))

    def _probabilities(self, unit: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        # torch's product, softmax and top-k, so that entities of equal score come in the order
        # that the published code gives them.
        import torch

        table = torch.from_numpy(self.table.embeddings)
        logits = torch.from_numpy(unit) @ table.T / self.temperature
        return logits.softmax(dim=-1).numpy()

    def _evidence(self, probabilities: npt.NDArray[np.float32]) -> Evidence:
        import torch

        count = min(self.top_k, len(probabilities))
        best, indices = torch.from_numpy(probabilities).topk(count)
        sure = zip(indices.tolist(), best.tolist(), strict=True)
        concepts = tuple(
            (self.table.names[index], score) for index, score in sure if score >= self.threshold
        )
        return Evidence(concepts=concepts, score=float(probabilities.max()))

    def _checked(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Scale regions to length one, or say why that cannot be."""
        if vectors.ndim != 2 or vectors.shape[1] != self.table.dim:
            raise ModelError(
                f"The entities have vectors of length {self.table.dim} but were compared with an "
                f"array of shape {vectors.shape}; use the backbone the table was built for."
            )
        if not np.isfinite(vectors).all():
            raise ModelError("A region's embedding is not finite; encode the image again.")
        return unit_rows(vectors)
