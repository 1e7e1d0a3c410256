"""Searching images for what a phrase says: what a job looks for, and how it is done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchioner.annotations import Annotation
from napari_patchioner.captioner import Captioner
from napari_patchioner.errors import ImageError
from napari_patchioner.grids import GridStore
from napari_patchioner.images import StoredImage
from napari_patchioner.progress import Progress, no_progress, part
from napari_patchioner.regions import Box

from ._job import Job, Outcome
from ._search import jobs_of, planes_of

if TYPE_CHECKING:
    from napari_patchioner.grounding import PhraseScorer

FOUND_BY = "found_by"
"""Extra that holds the phrase by which a region was found."""

# Long side, in pixels, that is more than enough for one pass of a model.
_SIDE = 1024


@dataclass(frozen=True, slots=True)
class PhraseSearch:
    """What a phrase says is looked for, in place of captions; it pickles.

    Attributes
    ----------
    phrase, negative : str
        What is looked for, and what is not wanted.
    least : float
        The score that a proposal has at least.
    every_plane : bool
        Whether every plane of a stack is searched, not the first only.
    progress : callable
        Called with how far all images are while one is searched; nothing that pickles.
    """

    phrase: str
    negative: str = ""
    least: float = 0.5
    every_plane: bool = False
    progress: Progress = no_progress

    @property
    def settings(self) -> dict[str, str]:
        """What proposals depend on besides the images and the model, as texts."""
        every = {"every_plane": "true"} if self.every_plane else {}
        negative = {"not": self.negative} if self.negative else {}
        return {"phrase": self.phrase, **negative, "least": f"{self.least:g}", **every}

    def jobs(self, paths: Sequence[Path]) -> list[Job]:
        """Return a job for each image."""
        return jobs_of(paths, self.progress, lambda progress: replace(self, progress=progress))

    def find(
        self,
        captioner: Captioner,
        image: StoredImage,
        path: Path,
        name: str,
        *,
        store: GridStore | None = None,
    ) -> tuple[list[Annotation], float | None]:
        """Return proposals on an image, and how likely it is a photograph.

        The ``store`` is asked for grids before anything is encoded, and given the new ones.
        A ModelError where the model has no text tower, an ImageError where the phrase cannot be
        found in such an image.
        """
        scorer = _scorer(captioner, self.phrase, self.negative)
        by = ", not ".join((scorer.phrase, *scorer.negatives))
        proposals: list[Annotation] = []
        likely: list[float] = []
        planes = list(planes_of(image, every=self.every_plane))
        for row, index in enumerate(planes):
            within = part(self.progress, row / len(planes), (row + 1) / len(planes))
            within(0.0, f"{name}: looking for {self.phrase!r}")
            levels = image.levels(dict(index))
            # Of a large image a small size will do: all of it is encoded in one pass.
            level = levels.down_to(_SIDE)[-1]
            grid = captioner.encode(levels.rgb(level.read(0, 0, *level.shape)), store=store)
            down, across = (
                full / side for full, side in zip(levels.shape, level.shape, strict=True)
            )
            if problem := scorer.problem(grid):
                raise ImageError(problem)
            likely += [grid.measures["photograph"]] if "photograph" in grid.measures else []
            extra = {"plane": " ".join(str(place) for _, place in index)} if index else {}
            extra[FOUND_BY] = by
            start = len(proposals) + 1
            for number, proposal in enumerate(scorer.proposals(grid, least=self.least), start):
                box, score = _enlarged(proposal.box, down, across), round(proposal.score, 4)
                made = Annotation(f"phrase{number}", name, box, scorer.phrase, score, "model")
                proposals.append(replace(made, model=captioner.name, extra=extra))
            within(1.0, f"{name}: done")
        return proposals, sum(likely) / len(likely) if likely else None


def _enlarged(box: Box, down: float, across: float) -> Box:
    """Return a box on a smaller size of an image as one on all of it."""
    rows = ((edge + 0.5) * down - 0.5 for edge in (box.top, box.bottom))
    columns = ((edge + 0.5) * across - 0.5 for edge in (box.left, box.right))
    (top, bottom), (left, right) = rows, columns
    return Box(top, left, bottom, right)


def ranked(outcomes: Iterable[Outcome]) -> list[tuple[str, float, int]]:
    """Return images by the score of their likeliest region, and how many regions they have.

    The likeliest first; images of which nothing scored enough are left out.
    """
    scored = [
        (outcome.image, max(a.score or 0.0 for a in annotations), len(annotations))
        for outcome in outcomes
        if (annotations := outcome.annotations)
    ]
    return sorted(scored, key=lambda row: (-row[1], row[0]))


@lru_cache(maxsize=1)
def _scorer(captioner: Captioner, phrase: str, negative: str) -> PhraseScorer:
    """Return what says where images show a phrase; a ModelError where there can be nothing."""
    # It loads torch, as the captioner has done already.
    from napari_patchioner.grounding import PhraseScorer

    return PhraseScorer(captioner, phrase, negative)
