"""The decoder that writes nothing of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_patchioner.errors import ModelError

from ._caption import Caption

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from ._caption import Evidence
    from ._wishes import Wishes


class QuoteDecoder:
    """Says the ready text of the evidence, such as the nearest sentence of a memory."""

    @classmethod
    def open(cls, files: Mapping[str, Path]) -> QuoteDecoder:
        """Return one; it needs no files."""
        return cls()

    def decode(
        self,
        vectors: npt.NDArray[np.float32],
        *,
        max_tokens: int = 30,
        beams: int = 1,
        alternatives: int = 0,
        evidence: Sequence[Evidence] | None = None,
        wishes: Wishes | None = None,
    ) -> list[Caption]:
        """Quote one text per region; only ``alternatives``, ``evidence`` and ``wishes`` matter.

        Of the texts that were retrieved, the nearest that holds what it must and nothing that it
        may not is quoted. Nothing is rewritten: other wishes have no say.

        Raises
        ------
        ModelError
            If a region comes without a text, or without one that grants the wishes.
        """
        if evidence is None or len(evidence) != len(vectors):
            raise ModelError("There is nothing to quote; choose a bridge that retrieves sentences.")
        return [_quote(seen, alternatives, wishes) for seen in evidence]


def _quote(seen: Evidence, alternatives: int, wishes: Wishes | None) -> Caption:
    if seen.text is None:
        raise ModelError("There is nothing to quote; choose a bridge that retrieves sentences.")
    texts = list(dict.fromkeys([seen.text, *(name for name, _ in seen.concepts)]))
    if wishes is not None:
        texts = [text for text in texts if wishes.grants(text)]
    if not texts:
        raise ModelError(
            "No sentence near this region has the words that it must have and none that it may "
            "not; take a word back."
        )
    near = dict(seen.concepts)
    return Caption(
        text=texts[0],
        score=seen.score if texts[0] == seen.text else max(near[texts[0]], 0.0),
        alternatives=tuple(texts[1:])[:alternatives],
        concepts=seen.concepts,
        verdict=seen.verdict,
    )
