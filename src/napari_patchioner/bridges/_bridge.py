"""What the captioner asks of a bridge between image and text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    import numpy.typing as npt

    from napari_patchioner.decoders import Evidence, Wishes

Neighbours: TypeAlias = tuple[tuple[str, float], ...]


class Scene(Protocol):
    """What a bridge may know of the whole image; a ``FeatureGrid`` is one."""

    @property
    def shape(self) -> tuple[int, int]:
        """``(rows, columns)`` of patches."""

    @property
    def measures(self) -> Mapping[str, float]:
        """Facts about the whole image, such as how likely it is a photograph."""


@dataclass(frozen=True, eq=False, slots=True)
class Crossing:
    """Region embeddings on the text side of the modality gap.

    Attributes
    ----------
    vectors : ndarray of float32, shape (n, d)
        What the decoder reads, one row per region.
    evidence : tuple of Evidence, optional
        What was seen in each region.
    neighbours : tuple of tuple of (str, float), optional
        For each region its nearest memory sentences and their cosine similarity, best first.
    """

    vectors: npt.NDArray[np.float32]
    evidence: tuple[Evidence, ...] | None = None
    neighbours: tuple[Neighbours, ...] | None = None


class Bridge(Protocol):
    """Takes pooled patch embeddings to where the decoder was trained."""

    def cross(
        self,
        vectors: npt.NDArray[np.float32],
        grid: Scene,
        *,
        patches: npt.NDArray[np.float64] | None = None,
        progress: Callable[[float, str], None] | None = None,
    ) -> Crossing:
        """Cross with all regions of one image at once.

        Parameters
        ----------
        vectors : ndarray of float32, shape (n, dim)
            Pooled embeddings.
        grid : Scene
            The image they come from.
        patches : ndarray of float, shape (n,), optional
            How many patches each region holds: the sum of its weights.
        progress : callable, optional
            Told the share done and what is being done; may raise ``Cancelled``.
        """


@runtime_checkable
class WishfulBridge(Bridge, Protocol):
    """A bridge that can grant some wishes itself, such as another temperature."""

    def wishing(self, wishes: Wishes) -> Bridge:
        """Return a bridge over the same memory that grants the wishes it knows of."""
