"""The exact share of every patch that a region covers, without rasterising."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import RegionError

from ._outline import is_flat, outline_rings
from ._shapes import Box, Ellipse, Mask, Polygon, WholeImage, check_points
from ._weights import OutsideError, Placement

FloatArray: TypeAlias = npt.NDArray[np.float64]

TOUCH = 1e-9
"""Shares of a patch below this are rounding, not intersection."""

_ROUNDING = 1e-6


def areas(region: Box | Polygon | Ellipse | Mask | WholeImage, transform: Placement) -> FloatArray:
    """Measure the covered share of each patch, shape (rows, columns), in 0..1.

    A region without area (a line, a single position) gives one to each patch that it passes.
    """
    match region:
        case WholeImage():
            return np.ones(transform.grid_shape)
        case Mask():
            ring, shares = _mask(region, transform)
        case Box():
            ring = transform.to_grid(region.bounds().coords())
            edges = image_edges(transform)
            corners = ring[::2] if edges is None else np.clip(ring[::2], *edges)
            shares = _box_areas(corners, transform.grid_shape)
        case _:
            ring, shares = _outline(region, transform)
    shares = np.where(shares > TOUCH, shares, 0.0)
    return shares if shares.any() else _passage(ring, transform)


def _outline(region: Polygon | Ellipse, transform: Placement) -> tuple[FloatArray, FloatArray]:
    """Vertices in patch units and covered shares of an outline."""
    if isinstance(region, Ellipse):
        vertices = region.fine_outline()
    else:
        vertices = check_points(region.coords())
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


def _mask(region: Mask, transform: Placement) -> tuple[FloatArray, FloatArray]:
    """Bounding corners in patch units and covered shares of a mask."""
    pixels = np.asarray(region.pixels, bool)
    if pixels.ndim != 2:
        raise RegionError(
            f"A mask has rows and columns, not the shape {pixels.shape}: use a plane."
        )
    box = region.bounds()
    top, left = (int(edge + 0.5) for edge in (box.top, box.left))
    bottom, right = (int(edge + 0.5) for edge in (box.bottom, box.right))
    row, column = region.offset
    pixels = pixels[top - row : bottom - row, left - column : right - column]
    ring = transform.to_grid(box.coords())
    if image_edges(transform) is not None:
        height, width = transform.image_shape
        rows, columns = np.arange(top, bottom), np.arange(left, right)
        pixels = pixels & np.outer(
            (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
        )
    return ring, _mask_areas(pixels, ring[::2], transform.grid_shape)


def _passage(ring: FloatArray, transform: Placement) -> FloatArray:
    """Give one to each patch that an outline without area passes through."""
    limits = np.array(transform.grid_shape)
    low, high = ring.min(axis=0), ring.max(axis=0)
    # With some extent, lying against the border from outside is outside; without, it is inside.
    slack = np.where(high - low > TOUCH, -TOUCH, TOUCH)
    starts, ends = _pieces(ring, transform.grid_shape)
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


def image_edges(transform: Placement) -> FloatArray | None:
    """Return the lowest and highest ``(row, column)`` of the image in patch units.

    None where no patch reaches beyond the image, as one of a tile may, so that nothing is cut off.
    """
    if transform.window is None:
        return None
    ends = np.asarray(transform.image_shape, float) - 0.5
    edges = transform.to_grid(np.array([[-0.5, -0.5], ends]))
    limits = np.array([[0, 0], transform.grid_shape], float)
    if (edges[0] <= limits[0] + _ROUNDING).all() and (edges[1] >= limits[1] - _ROUNDING).all():
        return None
    return edges


def cut(ring: FloatArray, edges: FloatArray) -> FloatArray:
    """Cut an outline at the edges of the image, by Sutherland and Hodgman.

    Vertices in patch units, shape (n, 2), the last joining the first; empty if nothing is left.
    What is left may be several parts that are joined along an edge.
    """
    for axis in (0, 1):
        for edge, sign in ((edges[0, axis], 1.0), (edges[1, axis], -1.0)):
            depths = sign * (ring[:, axis] - edge)
            if not len(ring) or (depths >= 0).all():
                continue
            kept: list[FloatArray] = []
            for vertex, after, depth, depth_after in zip(
                ring, np.roll(ring, -1, axis=0), depths, np.roll(depths, -1), strict=True
            ):
                if depth >= 0:
                    kept.append(vertex)
                if (depth >= 0) != (depth_after >= 0):
                    met = vertex + (after - vertex) * (depth / (depth - depth_after))
                    met[axis] = edge
                    kept.append(met)
            ring = np.array(kept).reshape(-1, 2)
    return ring


def _box_areas(corners: FloatArray, grid_shape: tuple[int, int]) -> FloatArray:
    """Share of each patch inside an upright rectangle of two corners, shape (2, 2)."""
    shares = [
        _overlaps(corners[0, axis], corners[1, axis], np.arange(grid_shape[axis] + 1.0))
        for axis in (0, 1)
    ]
    return np.outer(shares[0], shares[1])


def _overlaps(low: float, high: float, edges: FloatArray) -> FloatArray:
    """Length that the interval shares with each of the bins between ascending edges."""
    shared = np.minimum(high, edges[1:]) - np.maximum(low, edges[:-1])
    return np.asarray(np.maximum(shared, 0.0))


def _mask_areas(
    pixels: npt.NDArray[np.bool_], corners: FloatArray, grid_shape: tuple[int, int]
) -> FloatArray:
    """Share of each patch under pixels, whose outer corners, shape (2, 2), are in patch units.

    A pixel is a square, not a dot: one that lies over a patch border gives each side its part.
    """
    edges = [
        np.linspace(corners[0, axis], corners[1, axis], pixels.shape[axis] + 1) for axis in (0, 1)
    ]
    shares = np.zeros(grid_shape)
    columns = _bins(edges[1], grid_shape[1])
    for row, first, heights in _bins(edges[0], grid_shape[0]):
        # One patch row at a time, so that a mask of a large plane is never copied as floats.
        profile = heights @ pixels[first : first + len(heights)]
        for column, start, widths in columns:
            shares[row, column] = profile[start : start + len(widths)] @ widths
    return shares.clip(0.0, 1.0)


def _bins(edges: FloatArray, n_patches: int) -> list[tuple[int, int, FloatArray]]:
    """Return for each patch its number, the first pixel it meets and its length over each pixel."""
    bins = []
    for patch in range(max(0, int(edges[0])), min(n_patches, int(np.ceil(edges[-1])))):
        first = max(int(np.searchsorted(edges, patch, side="right")) - 1, 0)
        stop = int(np.searchsorted(edges, patch + 1, side="left"))
        bins.append((patch, first, _overlaps(patch, patch + 1, edges[first : stop + 1])))
    return bins


def ring_areas(ring: FloatArray, grid_shape: tuple[int, int]) -> FloatArray:
    """Measure the share of each patch inside an outline that does not cross itself.

    Every piece of the outline adds the signed area between itself and the right border of the
    grid; summed over a closed ring what is left is the enclosed area. Vertices in patch units,
    shape (n, 2), the last joining the first; what lies outside the grid is cut off.

    >>> ring_areas(np.array([[0, 0], [0, 1.5], [1, 1.5], [1, 0]]), (1, 3))
    array([[1. , 0.5, 0. ]])
    """
    n_rows, n_columns = grid_shape
    starts, ends = _pieces(ring, grid_shape)
    middle = (starts + ends) / 2
    inside = (middle[:, 0] > 0) & (middle[:, 0] < n_rows) & (starts[:, 0] != ends[:, 0])
    row, position = middle[inside, 0].astype(np.int64), middle[inside, 1].clip(0, n_columns)
    rise = ends[inside, 0] - starts[inside, 0]
    column = np.minimum(position.astype(np.int64), n_columns)
    beyond = position - column
    width = n_columns + 2
    flat = row * width + column
    change = np.bincount(flat, rise * (1 - beyond), n_rows * width)
    change += np.bincount(flat + 1, rise * beyond, n_rows * width)
    signed = change.reshape(n_rows, width).cumsum(axis=1)[:, :n_columns]
    return np.asarray(np.clip(np.abs(signed), 0.0, 1.0))


def _pieces(ring: FloatArray, grid_shape: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """Return starts and ends, shape (m, 2), of the edges of a ring, cut at patch borders."""
    starts, ends = ring, np.roll(ring, -1, axis=0)
    cuts = [_crossings(starts[:, axis], ends[:, axis], grid_shape[axis]) for axis in (0, 1)]
    edge = np.concatenate([np.arange(len(starts)), cuts[0][0], cuts[1][0]])
    share = np.concatenate([np.zeros(len(starts)), cuts[0][1], cuts[1][1]])
    order = np.lexsort((share, edge))
    edge, share = edge[order], share[order]
    steps = ends[edge] - starts[edge]
    pieces = starts[edge] + share[:, None] * steps
    last = np.append(edge[1:] != edge[:-1], True)
    return pieces, np.where(last[:, None], ends[edge], np.roll(pieces, -1, axis=0))


def _crossings(
    start: FloatArray, end: FloatArray, n_patches: int
) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Edge number and share of the way (0..1) of every crossing with the lines 0..n_patches."""
    low, high = np.minimum(start, end), np.maximum(start, end)
    first = np.clip(np.floor(low) + 1, 0, n_patches + 1)
    stop = np.clip(np.ceil(high), 0, n_patches + 1)
    counts = np.maximum(stop - first, 0).astype(np.int64)
    edge = np.repeat(np.arange(len(start)), counts)
    rank = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    line = first[edge] + rank
    return edge, (line - start[edge]) / (end[edge] - start[edge])
