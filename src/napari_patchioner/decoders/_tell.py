"""From token sequences to a caption."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ._caption import Caption

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._language_model import Hypothesis


def tell(
    hypotheses: Sequence[Hypothesis],
    text_of: Callable[[Sequence[int]], str],
    *,
    alternatives: int = 0,
) -> Caption:
    """Make a caption of what was written for one region.

    Parameters
    ----------
    hypotheses : sequence of Hypothesis
        Best first, at least one.
    text_of : callable
        Token ids, end token included, to clean text.
    alternatives : int
        How many of the others to give; texts that read the same count once, empty ones never.

    Returns
    -------
    Caption
        Scored by the geometric mean of its token probabilities.
    """
    best = hypotheses[0]
    mean = sum(best.log_probabilities) / len(best.log_probabilities)
    text, *others = dict.fromkeys(text_of(hypothesis.tokens) for hypothesis in hypotheses)
    return Caption(
        text=text,
        score=math.exp(mean),
        log_probability=mean,
        token_log_probabilities=best.log_probabilities,
        alternatives=tuple(other for other in others if other)[:alternatives],
    )
