"""How likely each piece of an image belongs to what is clicked: a small network over measures."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, dijkstra

from napari_patchioner.checkpoints import own_file_damaged, read_own_arrays

from .segments import COLOUR, MEASURES, SegmentTree

Scores: TypeAlias = npt.NDArray[np.float64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Pixel: TypeAlias = tuple[int, int]

MEASURED = 21
"""What is measured of a piece beside a click."""

SIZES = (-3, 4)
"""The smallest and the largest size of a region that can be asked for."""

# Of the smallest size to the largest, how likely a piece has to be: most surely are or are not.
_LEAST = (0.9999, 0.998, 0.95, 0.5, 0.05, 0.002, 1e-4, 1e-6)
# How much of a mask that a person drew a segment overlaps, by its measures, and by how far from its
# middle the click is: fitted to half of the development photographs.
_OF_CLICK = (-0.13, -0.121, -0.013, 0.152, -0.2, 0.037, 0.274, -0.084, -0.101, 0.072)
_FROM_MIDDLE = (-0.362, 0.142)
_EDGE, _LIFETIME, _CONTRAST, _SPREAD = map(
    MEASURES.index, ("image_edge", "lifetime", "contrast", "spread")
)
# What is around a click counts less by this distance, in long sides of the image.
_AROUND = 0.04
# Intersection over union with a segment from which what is clicked is taken for it.
_SAME = 0.7
# Segments of photographs last no longer than that.
_PLAIN = 7.5
_LITTLE, _TINY = 0.02, 1e-6
_FILE = Path(__file__).with_name("click.safetensors")


@dataclass(frozen=True, eq=False, slots=True)
class ClickNetwork:
    """Two hidden layers over the measures of `measures_beside`.

    Its inputs are ``(measures - middle) / width``; all arrays are float32.
    """

    middle: npt.NDArray[np.float32]
    width: npt.NDArray[np.float32]
    first: npt.NDArray[np.float32]
    first_bias: npt.NDArray[np.float32]
    second: npt.NDArray[np.float32]
    second_bias: npt.NDArray[np.float32]
    last: npt.NDArray[np.float32]
    last_bias: npt.NDArray[np.float32]

    def probabilities(self, measures: Scores) -> Scores:
        """Return how likely each piece belongs to what is clicked, shape (n,)."""
        units = np.tanh((measures - self.middle) / self.width @ self.first + self.first_bias)
        units = np.tanh(units @ self.second + self.second_bias)
        return np.asarray(1 / (1 + np.exp(-(units @ self.last + self.last_bias)[:, 0])), float)


@cache
def click_network() -> ClickNetwork:
    """Return the network that comes along; a ModelError where its file is damaged."""
    arrays = read_own_arrays(_FILE)
    names = [field.name for field in fields(ClickNetwork)]
    if any(name not in arrays for name in names) or len(arrays["first"]) != MEASURED:
        raise own_file_damaged(_FILE)
    return ClickNetwork(**{name: arrays[name] for name in names})


def belonging(tree: SegmentTree, pixel: Pixel, size: int = 0) -> tuple[Scores, Flags]:
    """Return how likely pieces belong to what is clicked, and which of them are it by that.

    Both of shape (n,); what is it hangs together, and has the piece of the click, which is sure.

    Parameters
    ----------
    tree : SegmentTree
        Of the image.
    pixel : tuple of int
        Row and column in ``labels``.
    size : int
        More than 0 for what is less likely as well, less for only what is likelier; see `SIZES`.
    """
    piece = int(tree.labels[pixel])
    chances = click_network().probabilities(measures_beside(tree, pixel))
    chances[piece] = 1
    least = _LEAST[min(max(size, SIZES[0]), SIZES[1]) - SIZES[0]]
    inside = hanging_together(tree, chances > least, piece)
    if size:
        return chances, inside
    # Nearly a segment, it is that one: its outline goes by what is alike, and not by how far it is.
    path = tree.ancestors(piece)
    sizes = tree.counts_of_pixels
    sums = np.concatenate([[0], np.cumsum((sizes * inside)[tree.order])])
    starts = tree.firsts[path]
    common = sums[starts + tree.counts[path]] - sums[starts]
    overlaps = common / (tree.areas[path] + sums[-1] - common)
    # What nothing in a photograph stands out like is it for certain: photographs are what was
    # learned from.
    plain = np.flatnonzero(tree.measures[path[:-1], _LIFETIME] > _PLAIN)
    meant = int(plain[0]) if len(plain) else int(overlaps.argmax())
    if len(plain) or overlaps[meant] > _SAME:
        inside = np.zeros(len(sizes), bool)
        inside[tree.pieces(path[meant])] = True
    return chances, inside


def hanging_together(tree: SegmentTree, inside: Flags, piece: int) -> Flags:
    """Return which of some pieces hang together with one of them, shape (n,)."""
    first, second = tree.pairs.T
    joined = inside[first] & inside[second]
    graph = _graph(tree, first[joined], second[joined], np.ones(np.count_nonzero(joined)))
    _, parts = connected_components(graph, directed=False)
    return np.asarray((parts == parts[piece]) & inside)


def measures_beside(tree: SegmentTree, pixel: Pixel) -> Scores:
    """Return what tells whether a piece belongs to what is clicked, shape (n, MEASURED).

    How far it is from the click, in place, in embeddings, in colours, and along the way from piece
    to piece; and what the smallest segment is like that holds both.
    """
    count, shape = len(tree.order), tree.labels.shape
    side = max(shape)
    click = np.array(pixel, float)
    piece = int(tree.labels[pixel])
    path = tree.ancestors(piece)
    shared = np.zeros(count, int)
    for place in range(len(path) - 1, -1, -1):
        shared[tree.pieces(path[place])] = place
    meant = likely_meant(tree, path, pixel)
    areas = np.log(tree.areas[path] / tree.labels.size)[shared]
    off = (tree.centres[:count] - click) / side
    far = np.linalg.norm(off, axis=1)
    vectors, colours = tree.vectors[:, :-3], tree.vectors[:, -3:] / COLOUR
    near = tree.counts_of_pixels * np.exp(-((far / _AROUND) ** 2))
    around = near @ vectors / near.sum()
    apart = np.linalg.norm(vectors - vectors[piece], axis=1)
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(around)
    colours_apart = np.linalg.norm(colours - colours[piece], axis=1)
    first, second = tree.pairs.T
    steps = np.linalg.norm(vectors[first] - vectors[second], axis=1)
    steps += COLOUR * np.linalg.norm(colours[first] - colours[second], axis=1)
    way = dijkstra(_graph(tree, first, second, steps + _TINY), directed=False, indices=piece)
    to_edge = min(*pixel, *(np.array(shape) - 1 - pixel)) / side
    columns = [
        far,
        np.log(far + _LITTLE),
        apart,
        np.linalg.norm(vectors - around, axis=1),
        vectors @ around / (lengths + _TINY),
        colours_apart / 50,
        way,
        np.argsort(np.argsort(way, kind="stable")) / count,
        areas,
        meant[shared],
        meant.max() - meant[shared],
        tree.measures[path, _CONTRAST][shared],
        tree.measures[path, _SPREAD][shared],
        tree.measures[:count, _EDGE] * 20,
        off[:, 0],
        np.abs(off[:, 1]),
        np.full(count, to_edge),
        np.full(count, apart.mean()),
        areas * far,
        shared / len(path),
        (colours[:, 0] - colours[piece, 0]) / 100,
    ]
    return np.stack(columns, axis=1)


def likely_meant(tree: SegmentTree, path: list[int], pixel: Pixel) -> Scores:
    """Return how likely each of the segments that hold a pixel is what was meant by it."""
    off = np.linalg.norm(tree.centres[path] - pixel, axis=1) / np.sqrt(tree.areas[path])
    from_middle = np.stack([off, off**2], axis=1) @ np.array(_FROM_MIDDLE)
    return np.asarray(tree.measures[path] @ np.array(_OF_CLICK) + from_middle)


def _graph(
    tree: SegmentTree, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], steps: Scores
) -> csr_array:
    """Return which pieces touch, and how far apart they are."""
    count = len(tree.order)
    return csr_array((steps, (first, second)), shape=(count, count))
