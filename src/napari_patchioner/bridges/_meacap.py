"""MeaCap's bridge: retrieve captions, keep what they agree upon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_patchioner.decoders import Evidence
from napari_patchioner.errors import ModelError

from ._bridge import Crossing
from ._concepts_of_captions import concepts_of_captions
from ._memory import MemoryBank
from ._normalize import unit_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from ._bridge import Neighbours, Scene
    from ._concepts_of_captions import SentenceEncoder
    from ._scene_graph import SceneGraph, SceneGraphParser

_WANTED = {
    "parser": ("scene graph parser", "lizhuang144/flan-t5-base-VG-factual-sg, 1 GB"),
    "sentences": ("sentence model", "sentence-transformers/all-MiniLM-L6-v2, 90 MB"),
}
# A few MB; more than a session's captions, fewer than a memory's.
_REMEMBERED = 16384
# Captions read between two reports of progress, some seconds' work.
_AT_ONCE = 4


class MeaCapBridge:
    """Names the concepts that a region's nearest captions agree upon (MeaCap, the InvLM variant).

    The nearest captions of the memory are read as scene graphs; nodes that mean the same are
    counted together, those that more than two captions name stay, with an attribute if three
    captions agree on it, in the order in which the captions say them (Zeng et al., "MeaCap:
    Memory-Augmented Zero-shot Image Captioning", CVPR 2024). A ``ViECapDecoder`` writes the
    sentence: it reads the concepts as its hard prompt and the vector, scaled to length one, as
    its soft prompt.

    Retrieval is one pass over the memory. The parser, a T5 of 250 million parameters, writes
    some tens of tokens for every caption it has not read yet, up to five per region: about a
    second per caption on one processor core, and most of the time taken. A caption is parsed
    once for as long as the bridge remembers it, thousands of others later.

    Parameters
    ----------
    bank : MemoryBank
        The captions.
    parser : SceneGraphParser
        Reads captions.
    sentences : SentenceEncoder
        Compares the names of nodes.
    captions : int
        How many of the nearest captions to read.
    concepts : int
        How many concepts to name at most.
    similarity : float
        Nodes whose cosine is above this mean the same.

    Raises
    ------
    ModelError
        If there would be nothing to read or to name.
    """

    def __init__(
        self,
        bank: MemoryBank,
        parser: SceneGraphParser,
        sentences: SentenceEncoder,
        *,
        captions: int = 5,
        concepts: int = 4,
        similarity: float = 0.55,
    ) -> None:
        if captions < 1 or concepts < 1:
            raise ModelError("MeaCap must read at least one caption and name at least one concept.")
        self.bank = bank
        self.parser = parser
        self.sentences = sentences
        self.captions, self.concepts, self.similarity = captions, concepts, similarity
        self._graphs: dict[str, SceneGraph] = {}

    @classmethod
    def open(
        cls,
        files: Mapping[str, Path],
        *,
        captions: int = 5,
        concepts: int = 4,
        similarity: float = 0.55,
    ) -> MeaCapBridge:
        """Open the memory and the two language models.

        Parameters
        ----------
        files : mapping of str to Path
            ``bank``, the folder of a memory; ``parser`` and ``sentences``, folders in the form
            of the Hugging Face hub with a ``tokenizer.json``.
        captions, concepts, similarity
            See the class.

        Raises
        ------
        ModelError
            A folder is missing (the message names what to get), damaged, or of another model.
        """
        for role in _WANTED:
            _check_there(role, files.get(role))
        bank = MemoryBank.open(files["bank"])
        from ._factual_parser import FactualParser
        from ._sentences import BertSentences

        return cls(
            bank,
            FactualParser.open(files["parser"]),
            BertSentences.open(files["sentences"]),
            captions=captions,
            concepts=concepts,
            similarity=similarity,
        )

    def cross(
        self,
        vectors: npt.NDArray[np.float32],
        grid: Scene,
        *,
        patches: npt.NDArray[np.float64] | None = None,
        progress: Callable[[float, str], None] | None = None,
    ) -> Crossing:
        """Scale each row of ``vectors``, shape (n, dim), to length one and name its concepts.

        A concept's weight is the share of the captions read that name it.
        """
        scaled = unit_rows(vectors)
        tell = progress or (lambda _fraction, _message: None)
        neighbours = self.bank.nearest(
            scaled, self.captions, progress=lambda done, message: tell(done / 10, message)
        )
        self._read([caption for near in neighbours for caption, _ in near], tell)
        return Crossing(scaled, tuple(self._evidence(near) for near in neighbours), neighbours)

    def _read(self, captions: list[str], tell: Callable[[float, str], None]) -> None:
        """Parse the captions that were not parsed before."""
        if len(self._graphs) > _REMEMBERED:
            self._graphs.clear()
        new = [caption for caption in dict.fromkeys(captions) if caption not in self._graphs]
        for first in range(0, len(new), _AT_ONCE):
            tell(0.1 + 0.9 * first / len(new), f"reading {len(new)} captions")
            some = new[first : first + _AT_ONCE]
            self._graphs.update(zip(some, self.parser.parse(some), strict=True))

    def _evidence(self, near: Neighbours) -> Evidence:
        """Find what the captions of one region agree upon."""
        captions = [caption for caption, _ in near]
        found = concepts_of_captions(
            captions,
            [self._graphs[caption] for caption in captions],
            self.sentences,
            similarity=self.similarity,
        )
        shares = [(one.phrase, min(one.count / len(captions), 1.0)) for one in found]
        return Evidence(concepts=tuple(shares[: self.concepts]))


def _check_there(role: str, folder: Path | None) -> None:
    """Say what to get where a language model is missing."""
    if folder is None or not folder.is_dir():
        name, source = _WANTED[role]
        where = "" if folder is None else f" in {folder}"
        raise ModelError(
            f"MeaCap needs a {name}, which is not there{where}: "
            f"get {source}, and give its folder as '{role}'."
        )
