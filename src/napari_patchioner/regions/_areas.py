"""Which share of every patch a region with an inside covers."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import RegionError

from ._box_areas import box_areas
from ._inside import cut, image_edges
from ._mask_areas import mask_areas
from ._outline import is_flat, outline_rings
from ._outside import OutsideError
from ._pieces import pieces
from ._ring_areas import ring_areas
from ._shapes import Box, Ellipse, Mask, Polygon, WholeImage

if TYPE_CHECKING:
    from ._placement import Placement

FloatArray: TypeAlias = npt.NDArray[np.float64]

TOUCH = 1e-9
"""Shares of a patch below this are rounding, not intersection."""

_ELLIPSE_VERTICES = 512


def areas(region: Box | Polygon | Ellipse | Mask | WholeImage, transform: Placement) -> FloatArray:
    """Measure the covered share of each patch.

    A region without area (a line, a single position) gives one to each patch that it passes.

    Parameters
    ----------
    region : Box, Polygon, Ellipse, Mask or WholeImage
        In image pixels.
    transform : GridTransform
        Where the patches lie.

    Returns
    -------
    ndarray of float, shape (rows, columns)
        Shares in 0..1, at least one of them positive.

    Raises
    ------
    RegionError
        The region is empty, not finite or lies outside.
    """
    if isinstance(region, WholeImage):
        return np.ones(transform.grid_shape)
    if isinstance(region, Mask):
        ring, shares = _of_mask(region, transform)
    elif isinstance(region, Box):
        ring = transform.to_grid(finite(box_corners(region)))
        edges = image_edges(transform)
        corners = ring[::2] if edges is None else np.clip(ring[::2], *edges)
        shares = box_areas(corners, transform.grid_shape)
    else:
        ring, shares = _of_outline(region, transform)
    shares = np.where(shares > TOUCH, shares, 0.0)
    return shares if shares.any() else _passage(ring, transform)


def box_corners(box: Box) -> FloatArray:
    """Return the corners, shape (4, 2), from the lowest around to the highest and back."""
    top, bottom = sorted((box.top, box.bottom))
    left, right = sorted((box.left, box.right))
    return np.array([[top, left], [top, right], [bottom, right], [bottom, left]], float)


def ellipse_vertices(ellipse: Ellipse) -> FloatArray:
    """Return a fine polygon inscribed in an ellipse, shape (512, 2), in image pixels."""
    corners = finite(np.asarray(ellipse.corners, float))
    if len(corners) != 4:
        raise RegionError(f"An ellipse needs 4 corners, not {len(corners)}: draw it again.")
    angles = np.arange(_ELLIPSE_VERTICES)[:, None] * (2 * np.pi / _ELLIPSE_VERTICES)
    half_width, half_height = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    turned = np.cos(angles) * half_width + np.sin(angles) * half_height
    return np.asarray(corners.mean(axis=0) + turned)


def _of_outline(region: Polygon | Ellipse, transform: Placement) -> tuple[FloatArray, FloatArray]:
    """Vertices in patch units and covered shares of an outline."""
    if isinstance(region, Ellipse):
        vertices = ellipse_vertices(region)
    else:
        vertices = finite(np.asarray(region.vertices, float))
    ring = transform.to_grid(vertices)
    if is_flat(vertices):
        return ring, np.zeros(transform.grid_shape)
    edges = image_edges(transform)
    shares = np.zeros(transform.grid_shape)
    for sign, part in outline_rings(vertices):
        on_grid = transform.to_grid(part)
        inside = on_grid if edges is None else cut(on_grid, edges)
        shares += sign * ring_areas(inside, transform.grid_shape)
    return ring, shares.clip(0.0, 1.0)


def _of_mask(region: Mask, transform: Placement) -> tuple[FloatArray, FloatArray]:
    """Bounding corners in patch units and covered shares of a mask."""
    pixels = np.asarray(region.pixels, bool)
    if pixels.ndim != 2:
        raise RegionError(
            f"A mask has rows and columns, not the shape {pixels.shape}: use a plane."
        )
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    if not len(rows):
        raise RegionError("The mask is empty: paint at least one pixel.")
    pixels = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    top, left = region.offset[0] + rows[0] - 0.5, region.offset[1] + columns[0] - 0.5
    box = Box(top, left, top + pixels.shape[0], left + pixels.shape[1])
    ring = transform.to_grid(box_corners(box))
    if image_edges(transform) is not None:
        pixels = pixels & _in_image(box, pixels.shape, transform.image_shape)
    return ring, mask_areas(pixels, ring[::2], transform.grid_shape)


def _in_image(
    box: Box, shape: tuple[int, ...], image_shape: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    """Say which pixels of a box lie on the image."""
    rows = box.top + 0.5 + np.arange(shape[0])
    columns = box.left + 0.5 + np.arange(shape[1])
    height, width = image_shape
    return np.outer((rows >= 0) & (rows < height), (columns >= 0) & (columns < width))


def finite(vertices: FloatArray) -> FloatArray:
    """Refuse points that are none, are no ``(row, column)`` pairs, or lie nowhere."""
    if not vertices.size:
        raise RegionError("The region has no points: draw it again.")
    if vertices.ndim != 2 or vertices.shape[1] != 2:
        raise RegionError(
            f"Points of a region are (row, column) pairs, not an array of shape {vertices.shape}."
        )
    if not np.isfinite(vertices).all():
        raise RegionError("A point of the region is not a finite number: draw it again.")
    return vertices


def _passage(ring: FloatArray, transform: Placement) -> FloatArray:
    """Give one to each patch that an outline without area passes through."""
    limits = np.array(transform.grid_shape)
    low, high = ring.min(axis=0), ring.max(axis=0)
    # With some extent, lying against the border from outside is outside; without, it is inside.
    slack = np.where(high - low > TOUCH, -TOUCH, TOUCH)
    starts, ends = pieces(ring, np.roll(ring, -1, axis=0), transform.grid_shape)
    middle = (starts + ends) / 2
    met = (middle >= -TOUCH) & (middle <= limits + TOUCH)
    edges = image_edges(transform)
    first, last = (np.zeros(2), limits) if edges is None else edges
    if not (((low <= last + slack) & (high >= first - slack)).all() and met.all(axis=1).any()):
        raise OutsideError.beyond(transform)
    cells = middle[met.all(axis=1)].astype(np.int64).clip(0, limits - 1)
    shares = np.zeros(transform.grid_shape)
    shares[cells[:, 0], cells[:, 1]] = 1.0
    return shares
