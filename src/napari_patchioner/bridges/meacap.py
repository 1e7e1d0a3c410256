"""MeaCap's bridge: retrieve captions, keep the concepts that they agree upon."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.decoders import Evidence
from napari_patchioner.devices import Placement
from napari_patchioner.errors import ModelError
from napari_patchioner.progress import part

from .base import Bridge, BridgeOutput, Query, unit_rows
from .memory import MemoryBank

if TYPE_CHECKING:
    from .language_models import BertSentences, FactualParser, SceneGraph

BoolArray: TypeAlias = npt.NDArray[np.bool_]

_MODELS = {
    "parser": ("scene graph parser", "lizhuang144/flan-t5-base-VG-factual-sg, 1 GB"),
    "sentences": ("sentence model", "sentence-transformers/all-MiniLM-L6-v2, 90 MB"),
}
# A few MB; more than a session's captions, fewer than a memory's.
_CACHED = 16384
# Captions parsed between two calls of progress, some seconds' work.
_BATCH = 4


@dataclass(frozen=True, slots=True)
class CaptionConcept:
    """Something that enough captions name.

    ``node`` is its name in the scene graphs; ``phrase`` the name, after an attribute where enough
    captions agree on it; ``count`` how many captions name it, those that name something alike
    counted once more each; ``position`` where in a caption it stands, see `relative_position`.
    """

    node: str
    phrase: str
    count: int
    position: float


class MeaCapBridge(Bridge):
    """Names the concepts that a region's nearest captions agree upon (MeaCap, the InvLM variant).

    The nearest captions of the memory are parsed to scene graphs; nodes that mean the same are
    counted together, those that more than two captions name stay, with an attribute if three
    captions agree on it, in the order in which the captions name them (Zeng et al., "MeaCap:
    Memory-Augmented Zero-shot Image Captioning", CVPR 2024). A ``ViECapDecoder`` generates the
    sentence: it reads the concepts as its hard prompt and the vector, scaled to length one, as
    its soft prompt.

    Retrieval is one pass over the memory. The parser, a T5 of 250 million parameters, generates
    some tens of tokens for every caption it has not parsed yet, up to five per region: about a
    second per caption on one processor core, and most of the time taken. A caption is parsed
    once for as long as the bridge caches it, thousands of others later.

    So many of the nearest ``captions`` are parsed, and so many ``concepts`` named at most; nodes
    whose cosine is above ``similarity`` mean the same.
    """

    def __init__(
        self,
        bank: MemoryBank,
        parser: FactualParser,
        sentences: BertSentences,
        *,
        captions: int = 5,
        concepts: int = 4,
        similarity: float = 0.55,
    ) -> None:
        if captions < 1 or concepts < 1:
            raise ModelError("MeaCap must read at least one caption and name at least one concept.")
        self.bank, self.parser, self.sentences = bank, parser, sentences
        self.captions, self.concepts, self.similarity = captions, concepts, similarity
        self._graphs: dict[str, SceneGraph] = {}

    @classmethod
    def read(cls, files: Mapping[str, Path]) -> tuple[Any, ...]:
        """Open the memory and the two language models.

        ``bank`` is the folder of a memory; ``parser`` and ``sentences`` are folders in the form of
        the Hugging Face hub with a ``tokenizer.json``; the message of the ModelError names what to
        get.
        """
        for role, (name, source) in _MODELS.items():
            folder = files.get(role)
            if folder is None or not folder.is_dir():
                where = "" if folder is None else f" in {folder}"
                raise ModelError(
                    f"MeaCap needs a {name}, which is not there{where}: "
                    f"get {source}, and give its folder as '{role}'."
                )
        bank = MemoryBank.open(files["bank"])
        from .language_models import BertSentences, FactualParser

        parser = FactualParser.open(files["parser"])
        return bank, parser, BertSentences.open(files["sentences"])

    def place(self, placement: Placement) -> None:
        """Have the bank compared there; the language models stay on the processor."""
        self.bank.place(placement)

    def answer(self, query: Query) -> BridgeOutput:
        """Scale each vector to length one and name its concepts.

        A concept's weight is the share of the captions parsed that name it.
        """
        unit, progress = unit_rows(query.vectors), query.progress
        neighbours = self.bank.nearest(unit, self.captions, progress=part(progress, 0.0, 0.1))
        if len(self._graphs) > _CACHED:
            self._graphs.clear()
        captions = dict.fromkeys(caption for near in neighbours for caption, _ in near)
        new = [caption for caption in captions if caption not in self._graphs]
        for start in range(0, len(new), _BATCH):
            progress(0.1 + 0.9 * start / len(new), f"parsing {len(new)} captions")
            batch = new[start : start + _BATCH]
            self._graphs.update(zip(batch, self.parser.parse(batch), strict=True))
        evidence = []
        for near in neighbours:
            texts = [caption for caption, _ in near]
            graphs = [self._graphs[caption] for caption in texts]
            concepts = concepts_of_captions(
                texts, graphs, self.sentences, similarity=self.similarity
            )
            shares = [(item.phrase, min(item.count / len(texts), 1.0)) for item in concepts]
            evidence.append(Evidence(concepts=tuple(shares[: self.concepts])))
        return BridgeOutput(unit, tuple(evidence), neighbours)


def concepts_of_captions(
    captions: Sequence[str],
    graphs: Sequence[SceneGraph],
    encoder: BertSentences,
    *,
    similarity: float = 0.55,
    more_than: int = 2,
    attribute_count: int = 3,
) -> tuple[CaptionConcept, ...]:
    """Find what captions agree upon: the filter of MeaCap (Zeng et al., CVPR 2024).

    Nodes are ranked by how many captions have them, those mentioned earlier first among equals.
    A node takes in the nodes that are like it, unless a better ranked node is like it already.

    There is one graph per caption. Names whose cosine is above ``similarity`` are alike; a node
    stays if its count is above ``more_than``; the first attribute that ``attribute_count`` captions
    have goes before the name. Concepts come by their position in the captions; among equals by
    rank, a node being followed by those it is related to.

    Two particulars of the published code are kept, because they decide which words come out: a
    node that is like others, but like none that took nodes in, stays with its own count; its
    attributes are added up with theirs all the same, in the order of the ranks.
    """
    ranked = Counter(node for graph in graphs for node in graph.nodes).most_common()
    if not ranked:
        return ()
    names = [name for name, _ in ranked]
    vectors = encoder.encode(names)
    # Which names are alike, shape (n, n); none is like itself.
    alike = np.asarray(vectors @ vectors.T > similarity)
    np.fill_diagonal(alike, False)
    first = alike.any(axis=1) & ~np.tril(alike).any(axis=1)
    taken: BoolArray = np.any(alike[first], axis=0)
    own = np.array([count for _, count in ranked])
    counts = np.where(first, own + alike @ own, own)
    attributes, related = _gathered(names, graphs, alike)
    kept = [rank for rank in np.flatnonzero(~taken).tolist() if counts[rank] > more_than]
    # For every node taken in, the best ranked node like it that stays.
    homes: dict[str, str] = {}
    for rank, like in np.argwhere(alike & ~taken).tolist():
        if taken[rank]:
            homes.setdefault(names[rank], names[like])
    concepts: dict[str, CaptionConcept] = {}
    for rank in kept:
        name = names[rank]
        agreed = [word for word, count in attributes[rank].items() if count >= attribute_count]
        phrase = f"{agreed[0]} {name}" if agreed else name
        position = relative_position(name, captions)
        concepts[name] = CaptionConcept(name, phrase, int(counts[rank]), position)
    order = dict.fromkeys(
        name
        for rank in kept
        for name in (names[rank], *(homes.get(other, other) for other in related[rank]))
        if name in concepts
    )
    return tuple(sorted((concepts[name] for name in order), key=lambda concept: concept.position))


def relative_position(name: str, captions: Sequence[str]) -> float:
    """Return where captions name something, 0 to 1: the mean over those that do not begin with it.

    1 where there is none.

    >>> relative_position("dog", ["A dog.", "dog", "A cat and a dog."])
    0.541...
    """
    positions = [caption.find(name) / len(caption) for caption in captions if caption]
    inside = [position for position in positions if position > 0]
    return float(np.mean(inside)) if inside else 1.0


def _gathered(
    names: Sequence[str], graphs: Sequence[SceneGraph], alike: BoolArray
) -> tuple[list[Counter[str]], list[dict[str, None]]]:
    """Attributes and related nodes of every node, with those of the nodes like it."""
    rank_of = {name: rank for rank, name in enumerate(names)}
    attributes: list[Counter[str]] = [Counter() for _ in names]
    related: list[dict[str, None]] = [{} for _ in names]
    for graph in graphs:
        for node, attribute in graph.attributes:
            attributes[rank_of[node]][attribute] += 1
        for subject, _, other in graph.relations:
            related[rank_of[subject]][other] = None
    for rank, like in np.argwhere(alike).tolist():
        attributes[rank].update(attributes[like])
        related[rank].update(related[like])
    return attributes, related
