"""Jobs on this machine: in this process, or in several."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

from ._crew import Crew
from ._job import skipped, work
from ._source import read_source
from ._torch_threads import torch_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from concurrent.futures import Future

    from napari_patchioner.captioner import Captioner

    from ._job import Job, Outcome

    Loader = Callable[[str], Captioner]


def load_installed(model: str) -> Captioner:
    """Load a model by its id; torch is imported only now."""
    from napari_patchioner.models import load_model

    return load_model(model)


def run(
    jobs: Iterable[Job],
    model: str,
    *,
    workers: int = 1,
    threads: int = 1,
    load: Loader = load_installed,
) -> Generator[tuple[Job, Outcome], None, None]:
    """Caption images; yields what came of each as soon as it is known.

    Parameters
    ----------
    jobs : iterable of Job
        Taken one at a time, a few ahead of what is done.
    model : str
        Id of the model.
    workers : int
        Processes, each with the model loaded once; with 1 there is no other process than this.
    threads : int
        Threads of each process while it computes. Networks add up their numbers in another order
        with more threads, so scores may differ in their last digits, and captions with them.
    load : callable
        Loads the model by its id; with several processes it must pickle.

    Yields
    ------
    (Job, Outcome)
        In the order of the jobs with one process, in any order with several; the outcomes are the
        same whatever the number of processes, but for the time they took.

    Raises
    ------
    ModelError
        The model cannot be loaded, or cannot do what the options ask.
    PatchionerError
        Processes die again and again.
    """
    if workers == 1:
        with torch_threads(threads) as limit:
            yield from _here(jobs, _Lazy(model, limit, load))
        return
    with Crew(model, workers, threads, load) as crew:
        yield from crew.run(jobs)


class _Lazy:
    """A captioner that is loaded when it is first needed."""

    def __init__(self, model: str, limit: Callable[[], None], load: Loader) -> None:
        self._model, self._limit, self._load = model, limit, load
        self._captioner: Captioner | None = None

    def __call__(self) -> Captioner:
        if self._captioner is None:
            self._captioner = self._load(self._model)
            self._limit()
        return self._captioner


def _here(jobs: Iterable[Job], captioner: _Lazy) -> Generator[tuple[Job, Outcome], None, None]:
    """Caption in this process while the next image is read."""
    with ThreadPoolExecutor(1, "reading") as reader:
        for (job, ahead), _ in pairwise(chain(_reading(jobs, reader), [(None, None)])):
            if job is None:
                return
            if ahead is None:
                yield job, skipped(job)
            else:
                yield job, work(captioner(), job, read=partial(_result, ahead))


def _reading(
    jobs: Iterable[Job], reader: ThreadPoolExecutor
) -> Iterator[tuple[Job | None, Future[Any] | None]]:
    """Yield jobs and the pixels to come of those that need to be looked at."""
    for job in jobs:
        yield job, reader.submit(read_source, job.path, job.big) if job.is_open else None


def _result(ahead: Future[Any], _: object) -> Any:
    """Return what was read ahead of time, or raise what was wrong with it."""
    return ahead.result()
