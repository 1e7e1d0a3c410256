"""How near a text tower comes to the sentence encoder it was distilled from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Floats = npt.NDArray[np.float32]

_NEAR = 10


def agreement(made: Floats, wanted: Floats) -> dict[str, float]:
    """Compare two sets of vectors of the same texts, each of shape (n, dim).

    Parameters
    ----------
    made, wanted : ndarray of float32
        Of the tower, and of the encoder.

    Returns
    -------
    dict of str to float
        ``cosine`` between both vectors of a text, mean; ``same_nearest``, how often the nearest
        other text is the same; ``overlap_10``, share of the ten nearest others that both have;
        ``rank_correlation``, Spearman's, of the similarities of a text to all others, mean.
    """
    made, wanted = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (made, wanted))
    nearest, shared, ranks = [], [], []
    for row in range(len(made)):
        others = np.arange(len(made)) != row
        ours, theirs = made[others] @ made[row], wanted[others] @ wanted[row]
        best = [np.argsort(-some, kind="stable")[:_NEAR] for some in (ours, theirs)]
        nearest.append(best[0][0] == best[1][0])
        shared.append(len(np.intersect1d(*best)) / _NEAR)
        ranks.append(np.corrcoef(rankdata(ours), rankdata(theirs))[0, 1])
    return {
        "cosine": float((made * wanted).sum(1).mean()),
        "same_nearest": float(np.mean(nearest)),
        "overlap_10": float(np.mean(shared)),
        "rank_correlation": float(np.mean(ranks)),
    }
