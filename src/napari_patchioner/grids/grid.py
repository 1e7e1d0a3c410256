"""Patch embeddings of an image, the key they are found by, and one vector per region of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import sparse

from napari_patchioner.errors import PatchionerError
from napari_patchioner.regions import GridTransform, PatchWeights

FloatArray: TypeAlias = npt.NDArray[np.float64]
Pooling: TypeAlias = Literal["mean", "gaussian", "attention", "cls"]

PHOTOGRAPH = 0.5
"""From this ``measures["photograph"]`` of a grid on its picture is taken for a photograph."""


@dataclass(frozen=True, eq=False, slots=True)
class FeatureGrid:
    """Patch embeddings of one image plane: encoded once, pooled for any number of regions.

    Attributes
    ----------
    embeddings : ndarray of float32, shape (rows, columns, dim)
        One vector per patch, row-major, not normalised.
    transform : GridTransform
        Image pixels to patch units and back.
    key : str
        Names what was encoded and how (image content, backbone, preprocessing).
    attention, cls : ndarray of float32, shapes (rows, columns) and (dim,), optional
        Class-token attention over the patches, summing to one, and the class token.
    measures : mapping of str to float
        Facts about the whole image, such as how likely it is a photograph.
    backbone : str
        Name of the backbone that made it; empty where it is not known.
    picture : ndarray, shape (3, height, width), optional
        The picture under the grid, for backbones that encode all or parts of it again for a region:
        prepared (float32), or as it is (uint8).
    """

    embeddings: npt.NDArray[np.float32]
    transform: GridTransform
    key: str
    attention: npt.NDArray[np.float32] | None = None
    cls: npt.NDArray[np.float32] | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    backbone: str = ""
    picture: npt.NDArray[np.float32 | np.uint8] | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """``(rows, columns)`` of the grid."""
        rows, columns, _ = self.embeddings.shape
        return rows, columns

    @property
    def dim(self) -> int:
        """Length of one embedding."""
        return int(self.embeddings.shape[2])


def grid_key(image: npt.ArrayLike, backbone: str, **options: object) -> str:
    """Hash an image and the way it is encoded, to 32 hexadecimal digits.

    The image are the pixels as the backbone gets them; its name holds weights and preprocessing.
    Options are whatever else changes the embeddings; compared by ``repr``, in any order.

    Examples
    --------
    >>> grid_key(np.zeros((2, 2)), "mini") == grid_key(np.zeros((2, 2)), "mini")
    True
    >>> grid_key(np.zeros((2, 2)), "mini") == grid_key(np.zeros((1, 4)), "mini")
    False
    """
    pixels = np.ascontiguousarray(image)
    digest = blake2b(digest_size=16)
    digest.update(
        repr((pixels.shape, pixels.dtype.str, backbone, sorted(options.items()))).encode()
    )
    digest.update(pixels.data.cast("B") if pixels.size else b"")
    return digest.hexdigest()


def derived_key(*made_of: object) -> str:
    """Name a grid that was made from others, by their keys and what was done; 32 hex digits."""
    return blake2b(repr(made_of).encode(), digest_size=16).hexdigest()


def pool(
    grid: FeatureGrid,
    weights: Sequence[PatchWeights],
    how: Pooling = "mean",
    *,
    variance: float = 0.5,
) -> npt.NDArray[np.float32]:
    """Average the embeddings under each region, all regions in one sparse product.

    Parameters
    ----------
    grid : FeatureGrid
        ``rows x columns`` patch embeddings.
    weights : sequence of PatchWeights
        One per region, on the same grid.
    how : {"mean", "gaussian", "attention", "cls"}
        By weight alone; times a bell over the region's bounding patches; times the class token's
        attention; or the class token itself, the same for every region. Each member of a region
        set has its own bell and its own attention, and keeps its share of the set.
    variance : float
        Width of the bell: ``exp(-(x^2 + y^2) / variance)`` with x and y from -1 to 1 across the
        region. Zero takes the central patches alone.

    Returns
    -------
    ndarray of float32, shape (n, dim)
        Weighted means, not normalised to unit length.

    Examples
    --------
    >>> from napari_patchioner.grids import FeatureGrid, GridTransform
    >>> from napari_patchioner.regions import Box, cover
    >>> transform = GridTransform((20, 30), (2, 3))
    >>> embeddings = np.arange(6, dtype=np.float32).reshape(2, 3, 1)
    >>> grid = FeatureGrid(embeddings, transform, key="example")
    >>> pool(grid, [cover(Box(0, 0, 5, 15), transform)])
    array([[0.5]], dtype=float32)
    """
    for region in weights:
        if region.grid_shape != grid.shape:
            raise PatchionerError(
                f"Patch weights of a {region.grid_shape} grid do not fit embeddings of shape "
                f"{grid.embeddings.shape}: cover the region with this grid's transform."
            )
    if not weights:
        return np.zeros((0, grid.dim), np.float32)
    if how == "cls":
        if grid.cls is None:
            raise PatchionerError(
                "This model gives no class token: choose mean or gaussian pooling instead."
            )
        return np.tile(np.asarray(grid.cls, np.float32), (len(weights), 1))
    values = [pool_shares(region, grid, how, variance=variance) for region in weights]
    indices = np.concatenate([region.indices for region in weights])
    used, columns = np.unique(indices, return_inverse=True)
    ends = np.cumsum([0] + [len(region.indices) for region in weights])
    matrix = sparse.csr_array((np.concatenate(values), columns, ends), (len(weights), len(used)))
    # Only the patches in use are widened: double precision costs little and keeps long sums exact.
    patches = grid.embeddings.reshape(-1, grid.dim)[used].astype(np.float64)
    return np.asarray(matrix @ patches, np.float32)


def pool_shares(
    region: PatchWeights, grid: FeatureGrid, how: Pooling = "mean", *, variance: float = 0.5
) -> FloatArray:
    """Say what each of ``k`` patches of a region contributes to its vector.

    ``how`` and ``variance`` are as in :func:`pool`; with ``"cls"`` no patch contributes. Returns
    shares, shape (k,), that sum to one.
    """
    if how == "mean" or not region.members:
        return _part_shares(region, grid, how, variance)
    shares = np.zeros(len(region.indices))
    for member in region.members:
        where = np.searchsorted(region.indices, member.indices)
        shares[where] += member.total * _part_shares(member, grid, how, variance)
    return np.asarray(shares / shares.sum())


def _part_shares(
    region: PatchWeights, grid: FeatureGrid, how: Pooling, variance: float
) -> FloatArray:
    """Return the shares of one part without members, summing to one."""
    factors: FloatArray = np.ones(len(region.indices))
    if how == "gaussian":
        if not variance >= 0:
            raise PatchionerError(f"The variance must be zero or more, not {variance}.")
        # From the middle of the bounding patches, one at the patch nearest to it.
        distance = _centred(region.rows) ** 2 + _centred(region.columns) ** 2
        distance -= distance.min()
        factors = np.exp(-distance / variance) if variance else (distance < 1e-9).astype(float)
    elif how == "attention":
        if grid.attention is None:
            raise PatchionerError(
                "This model gives no attention map: choose mean or gaussian pooling instead."
            )
        attention = grid.attention.reshape(-1)[region.indices].astype(np.float64)
        # Where it is zero all over the region, all patches count the same.
        factors = attention if attention.sum() > 0 else factors
    elif how != "mean":
        raise PatchionerError(f"Unknown pooling {how!r}: use mean, gaussian, attention or cls.")
    shares = region.weights * factors
    return np.asarray(shares / shares.sum())


def _centred(cells: npt.NDArray[np.int64]) -> FloatArray:
    """Map the range of grid cells to -1..1; a single one lies in the middle."""
    low, high = cells.min(), cells.max()
    return np.asarray((2 * cells - low - high) / max(high - low, 1))
