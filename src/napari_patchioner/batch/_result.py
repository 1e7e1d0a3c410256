"""The result of a run, read from its journal and written as one file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_patchioner.annotations import Annotation, ImageInfo, write_annotations

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from ._job import Job, Outcome
    from ._journal import Journal


@dataclass(frozen=True, slots=True)
class Result:
    """Every region of a run, in the order of its images; it is read anew each time it is asked.

    Attributes
    ----------
    jobs : iterable of Job
        All jobs of the run.
    journal : Journal
        What came of them.
    """

    jobs: Iterable[Job]
    journal: Journal

    def outcomes(self) -> Iterator[tuple[Job, Outcome]]:
        """Yield what came of each job, in the order of the jobs."""
        for job in self.jobs:
            outcome = self.journal.outcome(job)
            if outcome is not None:
                yield job, outcome

    def annotations(self) -> Iterator[Annotation]:
        """Yield every region, image by image."""
        for _, outcome in self.outcomes():
            yield from outcome.annotations

    def write(
        self, path: Path, format_name: str | None = None
    ) -> tuple[int, tuple[Annotation, ...]]:
        """Write all regions into one file, whole or not at all.

        Returns
        -------
        count : int
            Regions in the file.
        left_out : tuple of Annotation
            What the format cannot hold.

        Raises
        ------
        FormatError
            As `write_annotations`.
        """
        images: dict[str, ImageInfo] = {}
        found: list[Annotation] = []
        for job, outcome in self.outcomes():
            found += outcome.annotations
            if outcome.height and outcome.width:
                for name in {one.image for one in outcome.annotations} | {job.image}:
                    images[name] = ImageInfo(name, outcome.height, outcome.width, job.path)
        left_out = write_annotations(path, found, images, format_name)
        return len(found) - len(left_out), left_out
