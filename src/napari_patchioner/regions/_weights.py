"""How much each patch of a grid counts for one region, and what a region knows of the grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import RegionError

if TYPE_CHECKING:
    from collections.abc import Iterable

FloatArray: TypeAlias = npt.NDArray[np.float64]
IndexArray: TypeAlias = npt.NDArray[np.int64]


class Placement(Protocol):
    """Image pixels to patch units and back: ``grids.GridTransform`` is one."""

    @property
    def grid_shape(self) -> tuple[int, int]:
        """``(rows, columns)`` of the patch grid."""
        ...

    @property
    def image_shape(self) -> tuple[int, int]:
        """``(height, width)`` of the image in pixels."""
        ...

    @property
    def window(self) -> tuple[float, float, float, float] | None:
        """The part of the image that the grid covers; None for all of it."""
        ...

    def to_grid(self, points: npt.ArrayLike, /) -> FloatArray:
        """Map ``(row, column)`` pixel-centre coordinates, shape (..., 2), to patch units."""
        ...

    def to_image(self, points: npt.ArrayLike, /) -> FloatArray:
        """Map patch units, shape (..., 2), to ``(row, column)`` pixel-centre coordinates."""
        ...


class OutsideError(RegionError):
    """A region that lies wholly outside the image, or outside the part that was encoded."""

    @classmethod
    def beyond(cls, transform: Placement) -> OutsideError:
        """Say where the image, or the window of it that the grid covers, ends."""
        (top, left), (bottom, right) = transform.to_image([[0, 0], transform.grid_shape])
        whole = transform.window is None
        name = "image" if whole else "part of the image that the model sees"
        return cls(
            f"The region lies outside the {name} (rows {top + 0.5:.0f} to {bottom - 0.5:.0f}, "
            f"columns {left + 0.5:.0f} to {right - 0.5:.0f}): draw it inside."
        )


@dataclass(frozen=True, eq=False, slots=True)
class PatchWeights:
    """The patches a region takes and how much each counts; never empty.

    Attributes
    ----------
    indices : ndarray of int64, shape (k,)
        Flat row-major patch indices, unique and ascending.
    weights : ndarray of float64, shape (k,)
        Positive, not normalised: counts, or covered fractions of a patch.
    grid_shape : tuple of int
        ``(rows, columns)`` of the grid.
    members : tuple of PatchWeights
        The parts of a region set, which Gaussian and attention pooling weigh one by one; empty
        for everything else.
    """

    indices: IndexArray
    weights: FloatArray
    grid_shape: tuple[int, int]
    members: tuple[PatchWeights, ...] = ()

    @property
    def rows(self) -> IndexArray:
        """Grid row of each patch, shape (k,)."""
        return self.indices // self.grid_shape[1]

    @property
    def columns(self) -> IndexArray:
        """Grid column of each patch, shape (k,)."""
        return self.indices % self.grid_shape[1]

    @property
    def total(self) -> float:
        """Sum of the weights: ``|S|`` of the paper for uniform weights."""
        return float(self.weights.sum())

    def normalised(self) -> PatchWeights:
        """Return the same patches with weights that sum to one."""
        return replace(self, weights=self.weights / self.total)

    def dense(self) -> FloatArray:
        """Return the weights as a map, shape (rows, columns), zero where no patch is taken."""
        weights = np.zeros(self.grid_shape)
        weights.flat[self.indices] = self.weights
        return weights

    @classmethod
    def from_dense(cls, weights: FloatArray) -> PatchWeights:
        """Take the positive entries of a map of shape (rows, columns)."""
        rows, columns = weights.shape
        indices = np.flatnonzero(weights > 0)
        return cls(
            indices.astype(np.int64), weights.ravel()[indices].astype(np.float64), (rows, columns)
        )

    @classmethod
    def from_cells(cls, indices: IndexArray, grid_shape: tuple[int, int]) -> PatchWeights:
        """Count how often each patch index occurs."""
        cells, counts = np.unique(indices, return_counts=True)
        return cls(cells.astype(np.int64), counts.astype(np.float64), grid_shape)

    @classmethod
    def sum_of(cls, members: Iterable[PatchWeights]) -> PatchWeights:
        """Add the weights of the members of a region set (equation 1 of the paper).

        A patch taken by two members counts twice.
        """
        members = tuple(members)
        cells, where = np.unique(np.concatenate([m.indices for m in members]), return_inverse=True)
        summed = np.bincount(where, np.concatenate([m.weights for m in members]))
        weights = summed.astype(np.float64)
        return cls(cells.astype(np.int64), weights, members[0].grid_shape, members)
