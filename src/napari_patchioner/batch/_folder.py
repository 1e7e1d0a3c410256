"""Captioning many images: what was done before is kept, what comes is kept at once."""

from __future__ import annotations

import os
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from . import cluster
from .local import load_installed, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_patchioner.captioner import Captioner

    from ._job import Job, Outcome
    from ._plan import Plan


class Keeper(Protocol):
    """Keeps outcomes, and knows those of earlier runs: a `Journal` or a `Dataset`."""

    def knows(self, job: Job, stamp: str) -> bool:
        """Whether the image was captioned, not in vain, and has not changed since."""

    def add(self, job: Job, outcome: Outcome, stamp: str) -> Outcome:
        """Keep an outcome."""


@dataclass(slots=True)
class Tally:
    """How far a run is.

    Attributes
    ----------
    total : int
        Images of the run.
    kept : int
        Images that an earlier run had done.
    done, skipped, failed : int
        Images of this run, by what came of them.
    regions : int
        Regions of the images of this run.
    trouble : list of (str, str)
        The first images that failed, and why.
    """

    total: int
    kept: int = 0
    done: int = 0
    skipped: int = 0
    failed: int = 0
    regions: int = 0
    trouble: list[tuple[str, str]] = field(default_factory=list)
    _started: float = field(default_factory=time.monotonic)

    @property
    def finished(self) -> int:
        """How many images are behind us."""
        return self.kept + self.done + self.skipped + self.failed

    @property
    def seconds(self) -> float:
        """How long this run takes so far."""
        return time.monotonic() - self._started

    @property
    def rate(self) -> float:
        """Images a second that were looked at."""
        return (self.done + self.failed) / max(self.seconds, 1e-9)

    def count(self, outcome: Outcome) -> None:
        """Count one more image."""
        setattr(self, outcome.status, getattr(self, outcome.status) + 1)
        self.regions += len(outcome.annotations)
        if outcome.status == "failed" and len(self.trouble) < MOST_TROUBLE:
            self.trouble.append((outcome.image, outcome.why))


MOST_TROUBLE = 20


def caption_folder(
    plan: Plan,
    journal: Keeper,
    model: str,
    *,
    workers: int = 1,
    threads: int = 1,
    load: Callable[[str], Captioner] = load_installed,
    scheduler: str | None = None,
    tell: Callable[[str], object] = lambda _: None,
) -> Iterator[Tally]:
    """Caption the images of a plan that a journal does not know yet.

    Parameters
    ----------
    plan : Plan
        What to caption.
    journal : Journal or Dataset
        Gets every outcome as it comes.
    model, workers, threads, load
        As for `local.run`.
    scheduler, tell
        As for `cluster.run`, which captions in its place where a scheduler is named.

    Yields
    ------
    Tally
        How far it is, the same object each time.

    Raises
    ------
    PatchionerError
        The model cannot be used, or the journal cannot be written. What is in the journal stays.
    """
    tally = Tally(len(plan))
    stamps: dict[Path, str] = {}

    def left() -> Iterator[Job]:
        for job in plan:
            stamp = file_stamp(job.path)
            if journal.knows(job, stamp):
                tally.kept += 1
            else:
                stamps[job.path] = stamp
                yield job

    yield tally
    found = (
        run(left(), model, workers=workers, threads=threads, load=load)
        if scheduler is None
        else cluster.run(left(), model, scheduler=scheduler, threads=threads, load=load, tell=tell)
    )
    with closing(found) as outcomes:
        for job, outcome in outcomes:
            journal.add(job, outcome, stamps.pop(job.path))
            tally.count(outcome)
            yield tally
    yield tally


def file_stamp(path: Path) -> str:
    """Return what tells an image from its later versions; empty where it cannot be seen."""
    try:
        states = [one.stat() for one in _files(path)]
    except OSError:
        return ""
    size, newest = sum(one.st_size for one in states), max(one.st_mtime_ns for one in states)
    return f"{size} {newest}" + (f" {len(states)}" if len(states) > 1 else "")


def _files(path: Path) -> list[Path]:
    """Return the file an image is in; of a folder that is an image, all files in it."""
    if not path.is_dir():
        return [path]
    return [path, *(Path(place, name) for place, _, names in os.walk(path) for name in names)]
