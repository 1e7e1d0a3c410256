"""Searching images for what a phrase says: what a job looks for, and how it is done."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchioner.annotations import Annotation
from napari_patchioner.captioner import Captioner
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import GridStore
from napari_patchioner.images import StoredImage
from napari_patchioner.progress import Progress, no_progress, part

from ._job import Job, Outcome
from ._search import jobs_of, planes_of

if TYPE_CHECKING:
    from napari_patchioner.grounding import PhraseScorer

FOUND_BY = "found_by"
"""Extra that holds the phrase by which a region was found."""


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
    in_parts : bool
        Whether large images are searched part by part as well, which takes longer.
    progress : callable
        Called with how far all images are while one is searched; nothing that pickles.
    """

    phrase: str
    negative: str = ""
    least: float = 0.2
    every_plane: bool = False
    in_parts: bool = True
    progress: Progress = no_progress

    @property
    def is_name(self) -> bool:
        """Whether it asks for what has a name, which embedded models see in photographs only."""
        # It loads torch, which nobody needs who only makes jobs.
        from napari_patchioner.grounding import read_phrase

        return not read_phrase(self.phrase).is_measurable

    @property
    def together(self) -> tuple[str, ...]:
        """Things joined by "and", all of which an image is to show; empty where any one does."""
        # It loads torch, which nobody needs who only makes jobs.
        from napari_patchioner.grounding import alternatives, split_negative

        listed = alternatives(split_negative(self.phrase)[0])
        return listed.texts if listed.together else ()

    @property
    def settings(self) -> dict[str, str]:
        """What proposals depend on besides the images and the model, as texts."""
        every = {"every_plane": "true"} if self.every_plane else {}
        negative = {"not": self.negative} if self.negative else {}
        whole = {} if self.in_parts else {"in_parts": "false"}
        return {"phrase": self.phrase, **negative, "least": f"{self.least:g}", **every, **whole}

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

        The ``store`` is asked for grids before anything is encoded, and given the new ones. None
        where the model names nothing in such an image. A ModelError where it has no text tower, or
        knows nothing like the phrase.
        """
        # It loads torch, as the captioner has done already.
        from napari_patchioner.grounding import find_in_levels

        scorer = scorer_of(captioner, self.phrase, self.negative)
        by = ", not ".join((scorer.phrase, *scorer.negatives))
        # What is not known can be missed on no image.
        if self.together and (unknown := set(self.together).difference(scorer.alternatives)):
            what = " or ".join(sorted(map(repr, unknown)))
            raise ModelError(
                f"{captioner.name} knows nothing like {what}: leave that out, since an image has "
                'to show all that is joined by "and".'
            )
        proposals: list[Annotation] = []
        likely: list[float] = []
        planes = list(planes_of(image, every=self.every_plane))
        for row, index in enumerate(planes):
            within = part(self.progress, row / len(planes), (row + 1) / len(planes))
            within(0.0, f"{name}: looking for {self.phrase!r}")
            result = find_in_levels(
                captioner,
                scorer,
                image.levels(dict(index)),
                in_parts=self.in_parts,
                least=self.least,
                store=store,
                progress=within,
            )
            likely += [] if result.photograph is None else [result.photograph]
            extra = {"plane": " ".join(str(place) for _, place in index)} if index else {}
            extra[FOUND_BY] = by
            start = len(proposals) + 1
            for number, proposal in enumerate(result.proposals, start):
                score = round(proposal.score, 4)
                made = Annotation(
                    f"phrase{number}",
                    name,
                    proposal.box,
                    proposal.text or scorer.phrase,
                    score,
                    "model",
                )
                proposals.append(replace(made, model=captioner.name, extra=extra))
            within(1.0, f"{name}: done")
        return proposals, sum(likely) / len(likely) if likely else None

    def left_out(self, captioner: Captioner) -> tuple[str, ...]:
        """Return words of the phrase that count for nothing with this model."""
        return scorer_of(captioner, self.phrase, self.negative).left_out


def ranked(
    outcomes: Iterable[Outcome], together: Collection[str] = ()
) -> list[tuple[str, float, int]]:
    """Return images by the score of their likeliest region, and how many regions they have.

    The likeliest first; images of which nothing scored enough are left out. Where things are wanted
    `together`, that of which the likeliest region is least likely counts, and images that lack one
    are left out.
    """
    scored = [
        (outcome.image, score, len(outcome.annotations))
        for outcome in outcomes
        if (score := likeliest(outcome.annotations, together)) > 0
    ]
    return sorted(scored, key=lambda row: (-row[1], row[0]))


def likeliest(annotations: Iterable[Annotation], together: Collection[str] = ()) -> float:
    """Return the score of the likeliest region of an image, see `ranked`; 0 for none."""
    best = dict.fromkeys(together, 0.0)
    for annotation in annotations:
        name = annotation.caption if together else ""
        best[name] = max(best.get(name, 0.0), annotation.score or 0.0)
    return min(best.values(), default=0.0)


@lru_cache(maxsize=1)
def scorer_of(captioner: Captioner, phrase: str, negative: str) -> PhraseScorer:
    """Return what says where images show a phrase; a ModelError where none can."""
    # It loads torch, as the captioner has done already.
    from napari_patchioner.grounding import PhraseScorer

    scorer = PhraseScorer(captioner, phrase, negative)
    if problem := scorer.problem():
        raise ModelError(problem)
    return scorer
