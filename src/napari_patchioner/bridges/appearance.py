"""From measured appearance to words: descriptions of any image, adjectives for photographs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._appearance_adjectives import adjectives
from ._appearance_axes import AXES, INDEX, LONG_SIDE, UNIT
from ._appearance_words import VOCABULARY, describe_one
from ._colour_names import COLOURS
from ._colour_names import shares as colour_shares

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "AXES",
    "COLOURS",
    "INDEX",
    "LONG_SIDE",
    "UNIT",
    "VOCABULARY",
    "attributes",
    "colour_shares",
    "describe",
]


def describe(
    axes: npt.NDArray[np.float32],
    *,
    patches: npt.ArrayLike = 1.0,
    scale: float = 32.0,
) -> list[str]:
    """Describe regions in plain words that only state what was measured.

    Parameters
    ----------
    axes : ndarray, shape (n, len(AXES))
        Appearance axes averaged over each region.
    patches : array_like, shape (n,) or scalar
        Number of patches in each region (the sum of the coverage weights); with the density
        of spots it says how many there are.
    scale : float
        Side of one patch in pixels of an image whose long side is 640: ``640 / max(grid.shape)``.

    Returns
    -------
    list of str
        One noun phrase per region, such as ``"many small dark purple round spots on a pale
        pink background"``. Never the name of an object.
    """
    counts = np.broadcast_to(np.asarray(patches, float), (len(axes),))
    return [describe_one(row, count, scale) for row, count in zip(axes, counts, strict=True)]


def attributes(axes: npt.NDArray[np.float32]) -> list[dict[str, float]]:
    """Adjectives that the pixels of each region vouch for.

    Parameters
    ----------
    axes : ndarray, shape (n, len(AXES))
        Appearance axes averaged over each region.

    Returns
    -------
    list of dict of str to float
        Strength, 0 to 1, of each colour term, ``dark``, ``bright``, ``smooth``, ``striped``,
        ``grainy``, ``textured`` and ``spotted``; adjectives with no support are left out.
    """
    return [adjectives(row) for row in axes]
