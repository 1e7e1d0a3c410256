"""Segments of an image from its grid and its pixels: a tree, from small pieces up to all of it."""

from __future__ import annotations

import heapq
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage.color import rgb2lab
from skimage.segmentation import slic

from napari_patchioner.bridges.appearance import AXES
from napari_patchioner.errors import ImageError
from napari_patchioner.images import as_rgb

if TYPE_CHECKING:
    from napari_patchioner.grids import FeatureGrid

FloatArray: TypeAlias = npt.NDArray[np.float32]
Scores: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]

LONG_SIDE = 320
"""Long side, in pixels, at which an image is cut to pieces."""

# Pieces of an image at most, how far colours may differ in one, and passes over them.
_PIECES, _COMPACTNESS, _PASSES = 300, 20.0, 5
# Directions in which the embeddings of a grid differ most that are compared, and how often they are
# brought nearer to those.
_DIRECTIONS, _ROUNDS = 48, 3
COLOUR = 0.02
"""How much colour (CIELAB) counts beside embeddings."""

# Small segments are joined more readily than large ones, by this power of their size.
_SIZE_POWER = 0.75
# What costs and distances that are surely noise come to.
_NOTHING, _LITTLE = 1e-4, 0.05
_TINY = 1e-9


MEASURES = (
    "constant",
    "log_area",
    "log_area_squared",
    "fill",
    "image_edge",
    "lifetime",
    "contrast",
    "spread",
    "contrast_to_spread",
    "image_edge_to_size",
)
"""What is measured of a segment.

Its share of the image and of its box, how much of the image's edge it touches, how much dearer it
is to join it than it was to make it, how much what touches it differs, and it in itself.
"""


@dataclass(frozen=True, eq=False)
class SegmentTree:
    """Pieces of an image, joined two at a time until one is left.

    Attributes
    ----------
    labels : ndarray of int, shape (height, width)
        The piece of each pixel of the image made small, 0 to n - 1.
    image_shape : tuple of int
        Height and width of the image itself.
    parents : ndarray of int, shape (2 n - 1,)
        The segment that each is joined into; -1 for the last one. The first n are the pieces.
    firsts, counts : ndarray of int, shape (2 n - 1,)
        Which pieces a segment has: those of ``order`` from the first on.
    order : ndarray of int, shape (n,)
        The pieces, so that those of each segment lie together.
    areas : ndarray of float, shape (2 n - 1,)
        Pixels of ``labels``.
    centres : ndarray of float, shape (2 n - 1, 2)
        Row and column of the middle, in ``labels``.
    measures : ndarray of float, shape (2 n - 1, len(MEASURES))
        What tells whether a segment is a thing.
    vectors : ndarray of float, shape (n, d + 3)
        The mean of the embeddings of each piece, by the directions in which those of the image
        differ most, and of its colours, times `COLOUR`.
    pairs : ndarray of int, shape (k, 2)
        Pieces that touch.
    """

    labels: IntArray
    image_shape: tuple[int, int]
    parents: IntArray
    firsts: IntArray
    counts: IntArray
    order: IntArray
    areas: Scores
    centres: Scores
    measures: Scores
    vectors: Scores
    pairs: IntArray

    @property
    def counts_of_pixels(self) -> Scores:
        """How many pixels of ``labels`` each piece has, shape (n,)."""
        return self.areas[: len(self.order)]

    def pieces(self, segment: int) -> IntArray:
        """Return the pieces of a segment."""
        first = self.firsts[segment]
        return self.order[first : first + self.counts[segment]]

    def ancestors(self, segment: int) -> list[int]:
        """Return a segment and all that hold it, the smallest first."""
        path = [segment]
        while (parent := int(self.parents[path[-1]])) >= 0:
            path.append(parent)
        return path


_last: tuple[weakref.ref[FloatArray], tuple[object, ...], SegmentTree] | None = None


def segment_tree(grid: FeatureGrid, image: npt.ArrayLike) -> SegmentTree:
    """Return the segments of an image; those of the last grid are kept.

    Parameters
    ----------
    grid : FeatureGrid
        Of the image.
    image : array_like, shape (height, width) or (height, width, channels)
        What was encoded, in its own size or a smaller one; an ImageError where it is of another
        form.
    """
    global _last
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        pixels = as_rgb(pixels)
    height, width = grid.transform.image_shape
    rows, columns = pixels.shape[:2]
    # Sides of a smaller one are rounded to whole pixels.
    if (
        rows > height
        or columns > width
        or abs(rows * width - columns * height) > max(height, width)
    ):
        raise ImageError(
            f"An image of {rows} x {columns} pixels does not fit a grid of one of {height} x "
            f"{width}: give the pixels that were encoded."
        )
    small = _made_small(pixels)
    key = (hash(small.tobytes()), grid.transform)
    last = _last
    if last is not None and last[0]() is grid.embeddings and last[1] == key:
        return last[2]
    tree = _tree(grid, small)
    _last = weakref.ref(grid.embeddings, _forget), key, tree
    return tree


def _forget(gone: weakref.ref[FloatArray]) -> None:
    """Keep nothing of a grid that is gone."""
    global _last
    last = _last
    if last is not None and last[0] is gone:
        _last = None


def _made_small(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height, width = image.shape[:2]
    scale = LONG_SIDE / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    # Every n-th pixel of a very large image is enough, and takes no memory.
    step = max(1, int(0.25 / scale))
    picture = Image.fromarray(np.ascontiguousarray(image[::step, ::step]))
    return np.asarray(picture.resize(size, Image.Resampling.BOX))


def _tree(grid: FeatureGrid, small: npt.NDArray[np.uint8]) -> SegmentTree:
    lab = rgb2lab(small).astype(np.float32)
    # It makes CIELAB of colours itself: what is given as CIELAB, it would shrink to 0 to 1.
    labels = slic(
        small,
        _PIECES,
        compactness=_COMPACTNESS,
        max_num_iter=_PASSES,
        start_label=0,
        channel_axis=-1,
    ).astype(np.int64)
    n = int(labels.max()) + 1
    flat = labels.ravel()
    sizes = np.bincount(flat, minlength=n).astype(float)

    def means(planes: FloatArray) -> Scores:
        columns = planes.reshape(-1, planes.shape[-1]).T
        sums = np.stack([np.bincount(flat, plane, n) for plane in columns], 1)
        return np.asarray(sums / sizes[:, None])

    colours = means(lab)
    vectors = np.concatenate([means(_at_pixels(grid, labels.shape)), COLOUR * colours], axis=1)
    pairs, borders = _neighbours(labels, n)
    return _joined(labels, grid.transform.image_shape, vectors, sizes, pairs, borders)


def _directions(grid: FeatureGrid) -> FloatArray:
    """Return what differs most among the patches, (rows, columns, d), mean square length one."""
    rows = grid.embeddings.reshape(-1, grid.dim).astype(np.float32)
    if grid.measures.get("photograph") is not None and grid.dim > len(AXES):
        rows = rows[:, : -len(AXES)]
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _TINY)
    rows = rows - rows.mean(axis=0)
    # Subspace iteration from a fixed start: quick, and the same each time.
    start = np.random.default_rng(0).standard_normal((rows.shape[1], _DIRECTIONS))
    basis = start.astype(np.float32)
    for _ in range(_ROUNDS):
        basis, _ = np.linalg.qr(rows.T @ (rows @ basis))
    scores = rows @ basis
    scale = np.sqrt((scores**2).sum(axis=1).mean())
    return np.asarray(scores / max(scale, _TINY), np.float32).reshape(*grid.shape, -1)


def _at_pixels(grid: FeatureGrid, shape: tuple[int, ...]) -> FloatArray:
    """Return the directions at the pixels of the small image, between the patches' centres."""
    planes = _directions(grid)
    places = []
    for axis in (0, 1):
        pixels = (np.arange(shape[axis]) + 0.5) * grid.transform.image_shape[axis] / shape[axis]
        start, side = grid.transform.extent[axis], grid.transform.extent[axis + 2]
        places.append((pixels - start) / side * grid.shape[axis] - 0.5)
    down, across = (_between(at, count) for at, count in zip(places, grid.shape, strict=True))
    wide = np.tensordot(down, planes, 1)
    return np.asarray(np.einsum("xc,ycd->yxd", across, wide, optimize=True), np.float32)


def _between(places: Scores, count: int) -> FloatArray:
    """Return the matrix that interpolates between the centres of cells, (places, count)."""
    places = np.clip(places, 0, count - 1)
    lower = np.floor(places).astype(int)
    upper = np.minimum(lower + 1, count - 1)
    share = places - lower
    matrix = np.zeros((len(places), count), np.float32)
    rows = np.arange(len(places))
    matrix[rows, lower] += 1 - share
    matrix[rows, upper] += share
    return matrix


def _neighbours(labels: IntArray, n: int) -> tuple[IntArray, Scores]:
    """Return pairs of pieces that touch, (k, 2), and how many pixels of each they do along."""
    sides = [(labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])]
    first = np.concatenate([a.ravel() for a, _ in sides])
    second = np.concatenate([b.ravel() for _, b in sides])
    apart = first != second
    low, high = np.minimum(first, second)[apart], np.maximum(first, second)[apart]
    keys, counts = np.unique(low * n + high, return_counts=True)
    return np.stack([keys // n, keys % n], axis=1), counts.astype(float)


def _joined(
    labels: IntArray,
    image_shape: tuple[int, int],
    vectors: Scores,
    sizes: Scores,
    pairs: IntArray,
    borders: Scores,
) -> SegmentTree:
    """Join the two segments that are most alike until one is left, and measure all of them."""
    n, total = len(sizes), float(sizes.sum())
    count = 2 * n - 1
    mean = np.zeros((count, vectors.shape[1]))
    mean[:n] = vectors
    area = np.zeros(count)
    area[:n] = sizes / total
    spread = np.zeros(count)  # summed squares around the mean, of all pixels
    cost = np.zeros(count)
    parents = np.full(count, -1)
    children = np.full((count, 2), -1)
    # Of each segment, those it touches: border length, and summed distance over that border
    touching: list[dict[int, tuple[float, float]]] = [{} for _ in range(count)]
    for (a, b), length in zip(pairs.tolist(), borders.tolist(), strict=True):
        distance = float(np.sqrt(((vectors[a] - vectors[b]) ** 2).sum()))
        touching[a][b] = touching[b][a] = (length, length * distance)
    edge = np.zeros(count)
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        edge[:n] += np.bincount(side, minlength=n)
    boxes = np.zeros((count, 4))
    rows, columns = np.indices(labels.shape).reshape(2, -1)
    order = np.argsort(labels.ravel(), kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(int)
    for column, (values, reduce) in enumerate(
        ((rows, np.minimum), (columns, np.minimum), (rows, np.maximum), (columns, np.maximum))
    ):
        boxes[:n, column] = reduce.reduceat(values[order], starts)
    middle = np.zeros((count, 2))
    for column, places in enumerate((rows, columns)):
        middle[:n, column] = np.bincount(labels.ravel(), places, n) / sizes
    contrast = np.zeros((count, 2))

    def price(a: int, b: int) -> float:
        gap = mean[a] - mean[b]
        both = area[a] * area[b] / (area[a] + area[b])
        length, summed = touching[a][b]
        return float((gap @ gap + (summed / length) ** 2) * both**_SIZE_POWER)

    heap = [(price(a, b), a, b) for a, b in pairs.tolist()]
    heapq.heapify(heap)
    alive = np.zeros(count, bool)
    alive[:n] = True
    for new in range(n, count):
        while True:
            value, a, b = heapq.heappop(heap)
            if alive[a] and alive[b]:
                break
        alive[[a, b]], alive[new] = False, True
        parents[[a, b]], children[new] = new, (a, b)
        area[new] = area[a] + area[b]
        mean[new] = (area[a] * mean[a] + area[b] * mean[b]) / area[new]
        middle[new] = (area[a] * middle[a] + area[b] * middle[b]) / area[new]
        gap = mean[a] - mean[b]
        spread[new] = spread[a] + spread[b] + area[a] * area[b] / area[new] * float(gap @ gap)
        cost[new] = max(value, cost[a], cost[b])
        edge[new] = edge[a] + edge[b]
        boxes[new, :2] = np.minimum(boxes[a, :2], boxes[b, :2])
        boxes[new, 2:] = np.maximum(boxes[a, 2:], boxes[b, 2:])
        beside = touching[new]
        for old in (a, b):
            contrast[old] = np.sum([*touching[old].values(), (0.0, 0.0)], axis=0)
            for other, (length, summed) in touching[old].items():
                if other in (a, b):
                    continue
                known = beside.get(other, (0.0, 0.0))
                beside[other] = (known[0] + length, known[1] + summed)
        for other, value_ in beside.items():
            touching[other].pop(a, None)
            touching[other].pop(b, None)
            touching[other][new] = value_
            heapq.heappush(heap, (price(new, other), other, new))
    firsts, counts = np.zeros(count, int), np.ones(count, int)
    for new in range(n, count):
        counts[new] = counts[children[new]].sum()
    for new in range(count - 1, n - 1, -1):
        a, b = children[new]
        firsts[a], firsts[b] = firsts[new], firsts[new] + counts[a]
    pieces = np.zeros(n, int)
    pieces[firsts[:n]] = np.arange(n)
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    # What is never joined lasts long.
    up = np.where(parents >= 0, cost[parents], 4 * cost[-1])
    perimeter = 2 * sum(labels.shape)
    logs = np.log(area)
    inside = np.sqrt(spread / area)
    around = contrast[:, 1] / np.maximum(contrast[:, 0], 1)
    touch = edge / perimeter
    measures = np.stack(
        [
            np.ones(count),
            logs,
            logs**2,
            area * total / sides.prod(axis=1),
            touch,
            np.log((up + _NOTHING) / (cost + _NOTHING)),
            around,
            inside,
            np.log((around + _LITTLE) / (inside + _LITTLE)),
            touch / np.sqrt(area),
        ],
        axis=1,
    )
    return SegmentTree(
        labels,
        image_shape,
        parents,
        firsts,
        counts,
        pieces,
        area * total,
        middle,
        measures,
        vectors,
        pairs,
    )
