"""Captioning many images: outcomes of earlier runs are kept, new ones are kept at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from napari_patchioner.annotations.record import is_unfamiliar
from napari_patchioner.captioner import Captioner

from . import cluster
from ._dataset import Dataset
from ._job import Job, Outcome
from ._journal import Journal
from .local import load_installed, run

_MOST_FAILURES = 20


@dataclass(slots=True)
class Tally:
    """How far a run is."""

    total: int  # images of the run
    kept: int = 0  # images that an earlier run had done
    # Images of this run, by what came of them, and their regions.
    done: int = 0
    skipped: int = 0
    failed: int = 0
    regions: int = 0
    # Those of them that have names of examples.
    taught: int = 0
    # Those of them that are unlike all that the model knows.
    unfamiliar: int = 0
    # Those of them that can never be captioned.
    left_out: int = 0
    # Pages that are no part of a stack with the first, and were not read, and such a file.
    pages_left_out: int = 0
    with_pages: str = ""
    # The first images that failed, and why.
    failures: list[tuple[str, str]] = field(default_factory=list)
    # The first regions that can never be captioned: their images, and why.
    faults: list[tuple[str, str]] = field(default_factory=list)
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
        """Images a second that were encoded."""
        return (self.done + self.failed) / max(self.seconds, 1e-9)

    def count(self, outcome: Outcome) -> None:
        """Count one more image."""
        setattr(self, outcome.status, getattr(self, outcome.status) + 1)
        self.regions += len(outcome.annotations)
        self.taught += sum(region.source == "taught" for region in outcome.annotations)
        self.unfamiliar += sum(map(is_unfamiliar, outcome.annotations))
        self.left_out += len(outcome.faults)
        self.pages_left_out += outcome.pages_left_out
        if outcome.pages_left_out and not self.with_pages:
            self.with_pages = outcome.image
        room = max(_MOST_FAILURES - len(self.faults), 0)
        self.faults += [(outcome.image, text) for text in outcome.faults[:room]]
        if outcome.status == "failed" and len(self.failures) < _MOST_FAILURES:
            self.failures.append((outcome.image, outcome.why))


class Jobs(Protocol):
    """The jobs of a run, as many as it says; gone through as often as is asked."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Job]: ...


def caption_folder(
    plan: Jobs,
    journal: Journal | Dataset,
    model: str,
    *,
    workers: int = 1,
    threads: int = 1,
    load: Callable[[str], Captioner] = load_installed,
    scheduler: str | None = None,
    notify: Callable[[str], object] = lambda _: None,
) -> Iterator[Tally]:
    """Caption or search the images that a journal does not know yet; it gets each outcome at once.

    The other arguments are those of `local.run`, or of `cluster.run`, which captions in its place
    where a ``scheduler`` is named. Yields how far it is, the same object each time.

    A PatchionerError where the model cannot be used, or the journal cannot be written. What is in
    the journal stays.
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
    if scheduler is None:
        results = run(left(), model, workers=workers, threads=threads, load=load)
    else:
        results = cluster.run(
            left(), model, scheduler=scheduler, threads=threads, load=load, notify=notify
        )
    with closing(results) as outcomes:
        for job, outcome in outcomes:
            journal.add(job, outcome, stamps.pop(job.path))
            tally.count(outcome)
            yield tally
    yield tally


def file_stamp(path: Path) -> str:
    """Return what tells an image from its later versions; empty where it cannot be read."""
    paths = [path]
    if path.is_dir():  # a folder that is an image: all files in it
        paths += [Path(parent, name) for parent, _, names in os.walk(path) for name in names]
    try:
        states = [file.stat() for file in paths]
    except OSError:
        return ""
    size = sum(state.st_size for state in states)
    newest = max(state.st_mtime_ns for state in states)
    return f"{size} {newest}" + (f" {len(states)}" if len(states) > 1 else "")
