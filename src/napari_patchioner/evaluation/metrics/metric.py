"""What a metric is given, what it returns, and how it is described."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_patchioner.regions import Region


@dataclass(frozen=True, eq=False, slots=True)
class Captioned:
    """Captions of a test set with everything a metric may compare them with, one of each for n."""

    candidates: Sequence[str]  # what the model said
    references: Sequence[Sequence[str]]  # what people said
    images: Sequence[str]  # ids
    regions: Sequence[Region] = ()  # ``(row, column)`` image pixels
    scores: Sequence[float] = ()  # how sure the model was
    # Where the images lie, for metrics that read them.
    paths: Mapping[str, Path] = field(default_factory=dict)
    categories: Sequence[str] = ()  # what is there, where the data set names it; else empty
    found: Sequence[float | None] = ()  # whether each found its own region; see `self_retrieval`
    # Opened helpers by name: ``"meteor"``, ``"clip"``, ``"pac"``.
    tools: Mapping[str, Any] = field(default_factory=dict)

    def take(self, places: Sequence[int]) -> Captioned:
        """Return the captions at some places."""
        names = ("candidates", "references", "images", "regions", "scores", "categories", "found")
        parts: dict[str, Any] = {}
        for name in names:
            column = getattr(self, name)
            parts[name] = [column[place] for place in places] if column else []
        return replace(self, **parts)


@dataclass(frozen=True, eq=False, slots=True)
class Scored:
    """The score of a test set."""

    corpus: float  # of the whole set; nan where it cannot be said
    # Of every caption, (n,), nan where it cannot be said; None where only the set has a score.
    items: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """A way to judge captions; higher is better for all of them."""

    name: str  # key in files and options
    title: str  # what people call it
    score: Callable[[Captioned], Scored]
    mean: bool = True  # whether the score of a set is the mean of its items
    tasks: tuple[str, ...] = ("image", "dense", "region-set", "trace")  # it says something about
    needs: tuple[str, ...] = ()  # tools it looks up in `Captioned.tools`
