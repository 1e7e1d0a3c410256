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
    ) -> list[Caption]:
        """Quote one text per region; only ``alternatives`` and ``evidence`` matter.

        Raises
        ------
        ModelError
            If a region comes without a text.
        """
        if evidence is None or len(evidence) != len(vectors):
            raise ModelError("There is nothing to quote; choose a bridge that retrieves sentences.")
        return [_quote(seen, alternatives) for seen in evidence]


def _quote(seen: Evidence, alternatives: int) -> Caption:
    if seen.text is None:
        raise ModelError("There is nothing to quote; choose a bridge that retrieves sentences.")
    others = dict.fromkeys(name for name, _ in seen.concepts if name != seen.text)
    return Caption(
        text=seen.text,
        score=seen.score,
        alternatives=tuple(others)[:alternatives],
        concepts=seen.concepts,
        verdict=seen.verdict,
    )
