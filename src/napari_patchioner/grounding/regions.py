"""Regions from a click or from none: what is alike in the grid, with the outline of its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import RegionError
from napari_patchioner.regions import Mask, Polygon

from .arguments import check_grid, check_whole
from .membership import belonging
from .outline import region_outline
from .segments import SegmentTree, segment_tree

if TYPE_CHECKING:
    from napari_patchioner.grids import FeatureGrid

Scores: TypeAlias = npt.NDArray[np.float64]
Click: TypeAlias = tuple[float, float]
Pixel: TypeAlias = tuple[int, int]

# How much of the mask that it overlaps most a segment overlaps, by its measures: fitted to half of
# the development photographs.
_OF_ANY = (-0.071, -0.002, -0.004, 0.05, 0.071, 0.039, 0.277, 0.28, -0.041, -0.15)
# Proposed regions take this share of the image at least, and overlap no better one by more.
_LEAST, _OVERLAP = 0.003, 0.5

# Steps of 255 by which the pixels of a picture of one colour differ, once compressed.
_NOISE = 2


@dataclass(frozen=True, eq=False, slots=True)
class RegionProposal:
    """A region that may be a thing.

    Attributes
    ----------
    region : Mask or Polygon
        Its pixels, or its outline.
    score : float
        The higher, the likelier it is one, 0 to 1; an order, no probability.
    """

    region: Mask | Polygon
    score: float


def grow_region(
    grid: FeatureGrid,
    image: npt.ArrayLike,
    clicks: Sequence[Click],
    negative: Sequence[Click] = (),
    *,
    size: int = 0,
) -> Mask:
    """Grow a region from clicks: what is like them and lies around them.

    The first answer for an image takes its pixels and its grid apart, the next ones are quick.
    Every click lies in the region and no negative one does. One more click never takes anything
    away, one more negative click never adds anything. The same clicks give the same region in any
    order.

    Parameters
    ----------
    grid : FeatureGrid
        Of any model.
    image : array_like, shape (height, width) or (height, width, channels)
        What was encoded, in its own size or a smaller one.
    clicks, negative : sequence of (row, column)
        In pixels of the image, pixel centres at integers. A RegionError where there is no click,
        one is beside the image, or a pixel is clicked both ways.
    size : int
        For a larger region than is likeliest meant more than 0, for a smaller one less, within
        `membership.SIZES`; what is beyond counts as the last of these.

    Returns
    -------
    Mask
        Cut to its bounds. At most `segments.LONG_SIDE` steps along a side of the image are told
        apart.

    Examples
    --------
    >>> from skimage import data
    >>> from napari_patchioner import load_model  # doctest: +SKIP
    >>> grid = load_model("mini").encode(data.coffee())  # doctest: +SKIP
    >>> cup = grow_region(grid, data.coffee(), [(200, 300)])  # doctest: +SKIP
    """
    check_grid(grid)
    check_whole(size, "size of a region")
    wanted, unwanted = _checked(clicks, negative, grid.transform.image_shape)
    return _grown(segment_tree(grid, image), wanted, unwanted, size)


def grow_outline(
    grid: FeatureGrid,
    image: npt.ArrayLike,
    clicks: Sequence[Click],
    negative: Sequence[Click] = (),
    *,
    size: int = 0,
) -> Polygon:
    """Grow a region from clicks, as `grow_region` does, and return its outline.

    It takes no more memory for a large image than for a small one, and has no steps. Cuts lead to
    its holes and its separate parts.

    Parameters
    ----------
    grid : FeatureGrid
        Of any model.
    image : array_like, shape (height, width) or (height, width, channels)
        What was encoded, in its own size or a smaller one.
    clicks, negative : sequence of (row, column)
        As in `grow_region`; what lies in the same step of the image counts as the same place.
    size : int
        As in `grow_region`.

    Returns
    -------
    Polygon
        In pixels of what was encoded.
    """
    check_grid(grid)
    check_whole(size, "size of a region")
    _checked(clicks, negative, grid.transform.image_shape)
    tree = segment_tree(grid, image)
    scale = np.divide(tree.image_shape, tree.labels.shape)
    small = replace(tree, image_shape=tree.labels.shape)
    wanted, unwanted = (
        ((np.reshape(given, (-1, 2)) + 0.5) / scale - 0.5).tolist() for given in (clicks, negative)
    )
    mask = _grown(small, *_checked(wanted, unwanted, small.image_shape), size)
    outline = region_outline(mask, small.image_shape, wanted, unwanted)
    return Polygon((outline + 0.5) * scale - 0.5)


def propose_regions(
    grid: FeatureGrid, image: npt.ArrayLike, *, most: int = 20
) -> list[RegionProposal]:
    """Propose regions of an image that may be things, the likeliest first.

    Some lie inside others, as a face lies in a person. None overlaps another by half or more. An
    image of one colour has none.

    Parameters
    ----------
    grid : FeatureGrid
        Of any model.
    image : array_like, shape (height, width) or (height, width, channels)
        What was encoded, in its own size or a smaller one.
    most : int
        Regions at most.
    """
    check_grid(grid)
    if _is_plain(image):
        return []
    return _proposed(segment_tree(grid, image), most)


def propose_outlines(
    grid: FeatureGrid, image: npt.ArrayLike, *, most: int = 20
) -> list[RegionProposal]:
    """Propose regions of an image, as `propose_regions` does, each by its outline.

    They take no more memory for a large image than for a small one, and have no steps.

    Parameters
    ----------
    grid : FeatureGrid
        Of any model.
    image : array_like, shape (height, width) or (height, width, channels)
        What was encoded, in its own size or a smaller one.
    most : int
        Regions at most.
    """
    check_grid(grid)
    if _is_plain(image):
        return []
    tree = segment_tree(grid, image)
    scale = np.divide(tree.image_shape, tree.labels.shape)
    small = replace(tree, image_shape=tree.labels.shape)
    proposals = []
    for proposal in _proposed(small, most):
        assert isinstance(proposal.region, Mask)
        outline = region_outline(proposal.region, small.image_shape)
        region = Polygon((outline + 0.5) * scale - 0.5)
        proposals.append(RegionProposal(region, proposal.score))
    return proposals


# details


def _is_plain(image: npt.ArrayLike) -> bool:
    """Whether an image is of one colour, as far as bytes of a compressed picture tell."""
    pixels = np.asarray(image)
    if pixels.ndim < 2 or not pixels.size:
        return False
    plane = pixels.reshape(*pixels.shape[:2], -1)
    spread = plane.max(axis=(0, 1)).astype(float) - plane.min(axis=(0, 1)).astype(float)
    return bool((spread <= (_NOISE if pixels.dtype == np.uint8 else 0)).all())


def _checked(
    clicks: Sequence[Click], negative: Sequence[Click], shape: tuple[int, int]
) -> tuple[list[Pixel], list[Pixel]]:
    """Return the pixels that are clicked, refused where they contradict each other."""
    if not len(clicks):
        raise RegionError("There is nothing to grow a region from: click on it.")
    wanted, unwanted = (_pixels(given, shape) for given in (clicks, negative))
    if both := set(wanted) & set(unwanted):
        row, column = min(both)
        raise RegionError(
            f"The pixel ({row}, {column}) cannot lie both in the region and out of it: leave one "
            "click out."
        )
    return wanted, unwanted


def _grown(tree: SegmentTree, wanted: list[Pixel], unwanted: list[Pixel], size: int) -> Mask:
    """Return what is meant by clicks on pixels."""
    inside = np.zeros(len(tree.order), bool)
    chances, against = np.zeros((2, len(tree.order)))
    positive = {_piece(tree, pixel) for pixel in wanted}
    for pixel in wanted:
        likely, own = belonging(tree, _step(tree, pixel), size)
        inside |= own
        np.maximum(chances, np.where(own, likely, 0), out=chances)
    for pixel in unwanted:
        np.maximum(against, belonging(tree, _step(tree, pixel))[0], out=against)
    # What is claimed by both belongs to the likelier one.
    inside &= against < chances
    inside[list(positive)] = True
    shared = positive & {_piece(tree, pixel) for pixel in unwanted}
    mask = _mask(tree, inside)
    for piece in sorted(shared):
        _part(tree, mask, piece, wanted, unwanted)
    return mask.cropped()


def _pixels(clicks: Sequence[Click], shape: tuple[int, int]) -> list[Pixel]:
    """Return the pixels that are clicked, each once."""
    places = np.asarray(clicks, float).reshape(-1, 2)
    limits = np.array(shape) - 0.5
    if not ((places >= -0.5) & (places <= limits)).all():
        raise RegionError(
            f"A click is beside the image of {shape[0]} x {shape[1]} pixels: click inside it."
        )
    pixels = np.clip(np.floor(places + 0.5), 0, limits - 0.5).astype(int)
    return sorted({(row, column) for row, column in pixels.tolist()})


def _small(tree: SegmentTree, places: npt.NDArray[np.int64], axis: int) -> npt.NDArray[np.int64]:
    """Return the rows or columns of ``labels`` that those of the image belong to."""
    return np.asarray(places * tree.labels.shape[axis] // tree.image_shape[axis])


def _step(tree: SegmentTree, pixel: Pixel) -> Pixel:
    """Return the pixel of ``labels`` that one of the image belongs to."""
    row, column = (int(_small(tree, np.array(at), axis)) for axis, at in enumerate(pixel))
    return row, column


def _piece(tree: SegmentTree, pixel: Pixel) -> int:
    return int(tree.labels[_step(tree, pixel)])


def _common(tree: SegmentTree, first: int, second: int) -> float:
    """Return intersection over union: one of two segments holds the other, or they are apart."""
    smaller, larger = sorted((first, second))
    start, own = tree.firsts[smaller], tree.firsts[larger]
    if not own <= start < own + tree.counts[larger]:
        return 0.0
    return float(tree.areas[smaller] / tree.areas[larger])


def _mask(tree: SegmentTree, inside: npt.NDArray[np.bool_]) -> Mask:
    """Return pieces as pixels of the image, in a window around them."""
    small = inside[tree.labels]
    slices = []
    for axis in (0, 1):
        places = _small(tree, np.arange(tree.image_shape[axis]), axis)
        taken = np.asarray(small.any(axis=1 - axis))[places]
        ends = np.flatnonzero(taken)
        slices.append((int(ends[0]), places[ends[0] : ends[-1] + 1]))
    (top, rows), (left, columns) = slices
    return Mask(small[np.ix_(rows, columns)], (top, left))


def _part(
    tree: SegmentTree,
    mask: Mask,
    piece: int,
    wanted: list[Pixel],
    unwanted: list[Pixel],
) -> None:
    """Leave of a piece that is clicked both ways the pixels that are nearer to a click."""
    top, left = mask.offset
    height, width = mask.pixels.shape
    rows = _small(tree, np.arange(top, top + height), 0)
    columns = _small(tree, np.arange(left, left + width), 1)
    down = np.flatnonzero((tree.labels == piece).any(axis=1)[rows])
    across = np.flatnonzero((tree.labels == piece).any(axis=0)[columns])
    window = np.ix_(down, across)
    own = np.asarray(tree.labels[np.ix_(rows[down], columns[across])] == piece)

    def nearest(clicks: list[Pixel]) -> Scores:
        distances = np.full(own.shape, np.inf)
        for row, column in clicks:
            far = np.hypot.outer(down + top - row, across + left - column)
            np.minimum(distances, far, out=distances)
        return distances

    mask.pixels[window] &= ~(own & (nearest(unwanted) < nearest(wanted)))


def _proposed(tree: SegmentTree, most: int) -> list[RegionProposal]:
    """Return the segments that are likeliest a thing, with their pixels."""
    scores = tree.measures @ np.array(_OF_ANY)
    scores[tree.areas < _LEAST * tree.labels.size] = -np.inf
    # All of the image is no proposal.
    scores[-1] = -np.inf
    kept: list[int] = []
    for segment in np.argsort(-scores, kind="stable").tolist():
        if len(kept) >= most or scores[segment] == -np.inf:
            break
        if all(_common(tree, segment, other) < _OVERLAP for other in kept):
            kept.append(segment)
    proposals = []
    for segment in kept:
        inside = np.zeros(len(tree.order), bool)
        inside[tree.pieces(segment)] = True
        mask = _mask(tree, inside)
        proposals.append(RegionProposal(mask.cropped(), float(np.clip(scores[segment], 0, 1))))
    return proposals
