"""What a metric is given, what it returns, and how it is described."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from napari_patchioner.regions import Region


@dataclass(frozen=True, eq=False, slots=True)
class Captioned:
    """Captions of a test set with everything a metric may compare them with.

    Attributes
    ----------
    candidates : sequence of str, length n
        What the model said.
    references : sequence of sequence of str, length n
        What people said.
    images : sequence of str, length n
        Id of the image of each.
    regions : sequence of Region, length n
        What each is about, ``(row, column)`` image pixels.
    scores : sequence of float, length n
        How sure the model was.
    paths : mapping of str to Path
        Where the images lie, for metrics that read them.
    categories : sequence of str, length n
        What is there, where the data set names it; else empty texts.
    found : sequence of float or None, length n
        Whether each caption found its own region again (`diversity.self_retrieval`).
    tools : mapping of str to object
        Opened helpers by name: ``"meteor"``, ``"clip"``, ``"pac"``.
    """

    candidates: Sequence[str]
    references: Sequence[Sequence[str]]
    images: Sequence[str]
    regions: Sequence[Region] = ()
    scores: Sequence[float] = ()
    paths: Mapping[str, Path] = field(default_factory=dict)
    categories: Sequence[str] = ()
    found: Sequence[float | None] = ()
    tools: Mapping[str, Any] = field(default_factory=dict)

    def take(self, places: Sequence[int]) -> Captioned:
        """Return some of the captions.

        Parameters
        ----------
        places : sequence of int
        """

        def some(values: Sequence[Any]) -> list[Any]:
            return [values[place] for place in places] if values else []

        return replace(
            self,
            candidates=some(self.candidates),
            references=some(self.references),
            images=some(self.images),
            regions=some(self.regions),
            scores=some(self.scores),
            categories=some(self.categories),
            found=some(self.found),
        )


@dataclass(frozen=True, eq=False, slots=True)
class Scored:
    """The score of a test set.

    Attributes
    ----------
    corpus : float
        Of the whole set; nan where it cannot be said.
    items : ndarray of float64, shape (n,), or None
        Of every caption, nan where it cannot be said; None where only the set has a score.
    """

    corpus: float
    items: npt.NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Metric:
    """A way to judge captions; higher is better for all of them.

    Attributes
    ----------
    name : str
        Its key in files and options.
    title : str
        What people call it.
    score : callable
        Turns `Captioned` into `Scored`.
    mean : bool
        Whether the score of a set is the mean of its items.
    tasks : tuple of str
        The tasks it says something about.
    needs : tuple of str
        Tools it looks up in `Captioned.tools`.
    """

    name: str
    title: str
    score: Callable[[Captioned], Scored]
    mean: bool = True
    tasks: tuple[str, ...] = ("image", "dense", "region-set", "trace")
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Places:
    """Where the files of tools lie.

    Attributes
    ----------
    clip : Path or None
        Folder of a CLIP ViT-B/32 in the form of the Hugging Face hub.
    pac : Path or None
        Weights of PAC-S, tuned from that CLIP.
    """

    clip: Path | None = None
    pac: Path | None = None
