"""MeaCap's filter: what several captions of like pictures agree upon."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from ._scene_graph import SceneGraph

    BoolArray = npt.NDArray[np.bool_]

_NOWHERE = 1.0


class SentenceEncoder(Protocol):
    """Compares words and sentences by their meaning."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embed texts as rows of length one, shape (len(texts), dim)."""


@dataclass(frozen=True, slots=True)
class CaptionConcept:
    """Something that enough captions name.

    Attributes
    ----------
    node : str
        Its name in the scene graphs.
    phrase : str
        The name, after an attribute where enough captions agree on one.
    count : int
        How many captions name it, those that name something alike counted once more each.
    position : float
        Where in a caption it stands, 0 to 1: the mean over the captions in which its name is
        found behind the first letter; 1 if there is none.
    """

    node: str
    phrase: str
    count: int
    position: float


def concepts_of_captions(
    captions: Sequence[str],
    graphs: Sequence[SceneGraph],
    encoder: SentenceEncoder,
    *,
    similarity: float = 0.55,
    more_than: int = 2,
    attribute_count: int = 3,
) -> tuple[CaptionConcept, ...]:
    """Find what captions agree upon: the filter of MeaCap (Zeng et al., CVPR 2024).

    Nodes are ranked by how many captions have them, those mentioned earlier first among equals.
    A node takes in the nodes that are like it, unless a better ranked node is like it already.

    Parameters
    ----------
    captions : sequence of str
        The nearest captions of a memory.
    graphs : sequence of SceneGraph
        One per caption.
    encoder : SentenceEncoder
        Compares the names of nodes.
    similarity : float
        Names whose cosine is above this are alike.
    more_than : int
        A node stays if its count is above this.
    attribute_count : int
        An attribute goes before the name if at least as many captions have it; the first such.

    Returns
    -------
    tuple of CaptionConcept
        By their position in the captions; among equals by rank, a node being followed by those
        it is related to.

    Notes
    -----
    Two particulars of the published code are kept, because they decide which words come out: a
    node that is like others, but like none that took nodes in, stays with its own count; its
    attributes are added up with theirs all the same, in the order of the ranks.
    """
    ranked = Counter(node for graph in graphs for node in graph.nodes).most_common()
    if not ranked:
        return ()
    names = [name for name, _ in ranked]
    alike = _alike(encoder.encode(names), similarity)
    first = alike.any(axis=1) & ~np.tril(alike).any(axis=1)
    taken: BoolArray = np.any(alike[first], axis=0)
    own = np.array([count for _, count in ranked])
    counts = np.where(first, own + alike @ own, own)
    attributes, related = _gathered(names, graphs, alike)
    kept = [place for place in np.flatnonzero(~taken) if counts[place] > more_than]
    home = _homes(names, alike, taken)
    concepts = {
        names[place]: CaptionConcept(
            names[place],
            _phrase(names[place], attributes[place], attribute_count),
            int(counts[place]),
            relative_position(names[place], captions),
        )
        for place in kept
    }
    order = dict.fromkeys(
        name
        for place in kept
        for name in (names[place], *(home.get(other, other) for other in related[place]))
        if name in concepts
    )
    return tuple(sorted((concepts[name] for name in order), key=lambda found: found.position))


def relative_position(name: str, captions: Sequence[str]) -> float:
    """Return where captions name something, 0 to 1; those that begin with it do not count.

    Examples
    --------
    >>> relative_position("dog", ["A dog.", "dog", "A cat and a dog."])
    0.541...
    """
    places = [caption.find(name) / len(caption) for caption in captions if caption]
    found = [place for place in places if place > 0]
    return float(np.mean(found)) if found else _NOWHERE


def _alike(vectors: npt.NDArray[np.float32], similarity: float) -> BoolArray:
    """Which names are alike, shape (n, n); none is like itself."""
    alike = np.asarray(vectors @ vectors.T > similarity)
    np.fill_diagonal(alike, False)
    return alike


def _gathered(
    names: Sequence[str], graphs: Sequence[SceneGraph], alike: BoolArray
) -> tuple[list[Counter[str]], list[dict[str, None]]]:
    """Attributes and related nodes of every node, with those of the nodes like it."""
    rank = {name: place for place, name in enumerate(names)}
    attributes: list[Counter[str]] = [Counter() for _ in names]
    related: list[dict[str, None]] = [{} for _ in names]
    for graph in graphs:
        for node, attribute in graph.attributes:
            attributes[rank[node]][attribute] += 1
        for subject, _, other in graph.relations:
            related[rank[subject]][other] = None
    for place, like in _pairs(alike):
        attributes[place].update(attributes[like])
        related[place].update(related[like])
    return attributes, related


def _homes(names: Sequence[str], alike: BoolArray, taken: BoolArray) -> Mapping[str, str]:
    """For every node taken in, the best ranked one like it that stays."""
    homes: dict[str, str] = {}
    for place, like in _pairs(alike & ~taken):
        if taken[place]:
            homes.setdefault(names[place], names[like])
    return homes


def _pairs(alike: BoolArray) -> Iterator[tuple[int, int]]:
    """Pairs of ranks, row by row."""
    yield from zip(*(places.tolist() for places in np.nonzero(alike)), strict=True)


def _phrase(name: str, attributes: Mapping[str, int], enough: int) -> str:
    """Put the first attribute that enough captions have before the name."""
    agreed = [attribute for attribute, count in attributes.items() if count >= enough]
    return f"{agreed[0]} {name}" if agreed else name
