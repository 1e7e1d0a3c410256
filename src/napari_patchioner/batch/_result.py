"""The result of a run, read from its journal and written as one file."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, overload

from napari_patchioner.annotations import (
    Annotation,
    ImageInfo,
    Notes,
    format_named,
    write_annotations,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from ._job import Job, Outcome
    from ._journal import Journal

# Formats that go through the regions and hold none of them.
_STREAMED = ("tidy", "parquet")


class Result(Sequence[Annotation]):
    """Every region of a run, in the order of its images.

    Nothing is held: whoever goes through it reads it from disk, image by image. It is meant for
    that; a single region is found by going through all before it.

    Parameters
    ----------
    jobs : iterable of Job
        All jobs of the run; gone through each time.
    journal : Journal
        What came of them.
    """

    def __init__(self, jobs: Iterable[Job], journal: Journal) -> None:
        self._jobs, self._journal = jobs, journal

    def outcomes(self) -> Iterator[tuple[Job, Outcome]]:
        """Yield what came of each job, in the order of the jobs."""
        for job in self._jobs:
            outcome = self._journal.outcome(job)
            if outcome is not None:
                yield job, outcome

    def __iter__(self) -> Iterator[Annotation]:
        for _, outcome in self.outcomes():
            yield from outcome.annotations

    def __len__(self) -> int:
        return sum(map(self._journal.regions, self._jobs))

    @overload
    def __getitem__(self, place: int) -> Annotation: ...
    @overload
    def __getitem__(self, place: slice) -> list[Annotation]: ...
    def __getitem__(self, place: int | slice) -> Annotation | list[Annotation]:
        if isinstance(place, slice):
            return list(self)[place]
        place += len(self) if place < 0 else 0
        found = list(islice(self, place, place + 1)) if place >= 0 else []
        if not found:
            raise IndexError("there are not so many regions")
        return found[0]

    def images(self) -> dict[str, ImageInfo]:
        """Return all images of known size, by every name that regions give them."""
        found: dict[str, ImageInfo] = {}
        for job, outcome in self.outcomes():
            if outcome.height and outcome.width:
                for name in {job.image, *(one.image for one in outcome.annotations)}:
                    found[name] = ImageInfo(name, outcome.height, outcome.width, job.path)
        return found

    def write(
        self, path: Path, format_name: str | None = None, *, notes: Notes | None = None
    ) -> tuple[int, tuple[Annotation, ...]]:
        """Write all regions into one file, whole or not at all.

        Parameters
        ----------
        path, format_name, notes
            As `write_annotations`.

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
        form = format_named(path, format_name)
        if form.name in _STREAMED:
            return len(self), write_annotations(path, self, {}, form.name, notes=notes)
        held = list(self)
        left_out = write_annotations(path, held, self.images(), form.name, notes=notes)
        return len(held) - len(left_out), left_out
