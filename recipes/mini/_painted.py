"""Pictures that are no photographs, painted from random numbers: one function per family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _painted_papers as papers
from . import _painted_scopes as scopes
from . import _painted_stains as stains

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

    Random = np.random.Generator
    Picture = npt.NDArray[np.uint8]

FAMILIES: dict[str, Callable[[Random], Picture]] = {
    painter.__name__: painter
    for painter in (
        stains.tissue,
        stains.glowing_nuclei,
        stains.filaments,
        scopes.phase_contrast,
        scopes.electron_micrograph,
        scopes.fundus,
        scopes.rods,
        scopes.honeycomb,
        papers.drawing,
        papers.chart,
        papers.page,
        papers.bands,
        papers.noise,
        stains.two_stains,
    )
}
"""Painters by name; each takes a random generator and returns (height, width, 3) uint8."""
