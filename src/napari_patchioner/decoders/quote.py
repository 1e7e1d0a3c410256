"""The decoder that generates nothing of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import ModelError
from napari_patchioner.parts import Part

from .caption import Caption, Evidence
from .options import CaptionOptions


class QuoteDecoder(Part):
    """Quotes the ready text of the evidence, such as the nearest sentence of a memory."""

    def decode(
        self,
        vectors: npt.NDArray[np.float32],
        options: CaptionOptions | None = None,
        *,
        evidence: Sequence[Evidence] | None = None,
        **changes: Any,
    ) -> list[Caption]:
        """Quote a text per region; see :class:`Decoder`.

        Of the texts that were retrieved, the nearest that satisfies the options is quoted, and it
        is a ModelError if none does. Nothing is rewritten: only words and ``alternatives`` matter.
        """
        options = (options or CaptionOptions(alternatives=0)).changed(changes)
        if evidence is None or len(evidence) != len(vectors):
            raise ModelError("There is nothing to quote; choose a bridge that retrieves sentences.")
        return [_quote(item, options) for item in evidence]


def _quote(evidence: Evidence, options: CaptionOptions) -> Caption:
    if evidence.text is None:
        raise ModelError("There is nothing to quote; choose a bridge that retrieves sentences.")
    texts = list(dict.fromkeys([evidence.text, *(name for name, _ in evidence.concepts)]))
    texts = [text for text in texts if options.satisfied_by(text)]
    if not texts:
        raise ModelError(
            "No sentence near this region has the words that it must have and none that it may "
            "not; take a word back."
        )
    cosines = dict(evidence.concepts)
    return Caption(
        text=texts[0],
        score=evidence.score if texts[0] == evidence.text else max(cosines[texts[0]], 0.0),
        alternatives=tuple(texts[1:])[: options.alternatives],
        concepts=evidence.concepts,
        verdict=evidence.verdict,
    )
