"""Jobs on a dask.distributed cluster that is running already."""

from __future__ import annotations

import os
import pickle
import queue
import uuid
from collections import deque
from concurrent.futures import CancelledError
from dataclasses import replace
from importlib import import_module
from itertools import count
from typing import TYPE_CHECKING, Any

from napari_patchioner.errors import PatchionerError

from ._cluster_client import connected
from ._cluster_news import News
from ._cluster_work import Call, Order
from ._job import failure, reason, skipped
from .local import load_installed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from ._cluster_work import Answer
    from ._job import Job, Outcome
    from .local import Loader

_TICK_S = 0.5
_FETCH_S = 5.0
# So many images in a row at which workers died: it is not the images.
_HOPELESS = 3


def run(
    jobs: Iterable[Job],
    model: str,
    *,
    scheduler: str,
    threads: int = 1,
    load: Loader = load_installed,
    tell: Callable[[str], object] = lambda _: None,
    patience: float = 300.0,
) -> Generator[tuple[Job, Outcome], None, None]:
    """Caption images on a cluster; yields what came of each as soon as it is known.

    Workers read the images themselves, and the model from their own store, once per process. Of
    all the images no more than a few per worker are on their way at a time. The images of a
    worker that dies go to others.

    Parameters
    ----------
    jobs : iterable of Job
        Taken one at a time, a few ahead of what is done.
    model : str
        Id of the model.
    scheduler : str
        Address of the scheduler, or the file it has written about itself.
    threads : int
        Threads of each worker while it computes. See `local.run`.
    load : callable
        Loads the model by its id; it pickles.
    tell : callable
        Gets, in a sentence, what a person should know meanwhile: versions that differ, workers
        that are waited for.
    patience : float
        Seconds to wait for workers where there are none.

    Yields
    ------
    (Job, Outcome)
        Each job once, in any order; the outcomes are those of `local.run`.

    Raises
    ------
    PatchionerError
        No scheduler answers, or no longer; a worker cannot load the model or has another version
        of this package; there are no workers, or they die again and again.
    """
    with connected(scheduler, tell) as client:
        order = Order(model, threads, _pickled(load))
        flight = _Flight(client, order, News(client, scheduler, model, tell, patience))
        try:
            yield from flight.run(jobs)
        finally:
            flight.cancel()


def _pickled(thing: object) -> bytes:
    """Return what the standard `pickle.loads` undoes, even for a function of a notebook."""
    pickled: bytes = import_module("cloudpickle").dumps(thing)
    return pickled


class _Flight:
    """The images that are on their way to workers and back."""

    def __init__(self, client: Any, order: Order, news: News) -> None:
        self._client, self._order, self._news = client, order, news
        self._keys = map(f"caption-{uuid.uuid4().hex}-{{}}".format, count())
        self._first: Job | None = None
        self._away: dict[str, tuple[Job, Any]] = {}
        self._landed: queue.SimpleQueue[Any] = queue.SimpleQueue()
        # Images at which workers died. Others that were there with them may be at fault, so each
        # is tried once more in the end, when it is on its way alone.
        self._suspects: deque[Job] = deque()
        self._alone = False
        self._most = 0
        self._all_done = False
        self._died = 0

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Yield each job with what came of it."""
        waiting = iter(jobs)
        while True:
            for job in self._take_off(waiting):
                yield job, skipped(job)
            if self._all_done:
                return
            found = self._land()
            if found is not None:
                yield found

    def cancel(self) -> None:
        """Give up all that is on its way."""
        futures = [future for _, future in self._away.values()]
        self._away.clear()
        if futures and self._client.status == "running":
            self._client.cancel(futures, force=True)

    def _take_off(self, waiting: Iterator[Job]) -> Iterator[Job]:
        """Send images while there is room; yield those that need nobody to look at them."""
        while True:
            job = self._first = self._first or self._next(waiting)
            if job is None:
                self._all_done = not self._away
                return
            if job.is_open:
                if len(self._away) >= self._news.window():
                    return
                self._send(job)
            else:
                yield job
            self._first = None

    def _next(self, waiting: Iterator[Job]) -> Job | None:
        job = next(waiting, None)
        if job is None and self._suspects and not self._away:
            if not self._alone:
                self._alone, self._died = True, 0
            return self._suspects.popleft()
        return job

    def _send(self, job: Job) -> None:
        """Let a worker unpickle, and so caption, an image."""
        call = _pickled(Call(self._order, job))
        future = self._client.submit(pickle.loads, call, key=next(self._keys), pure=False)
        self._away[future.key] = (job, future)
        self._most = max(self._most, len(self._away))
        future.add_done_callback(self._landed.put)

    def _land(self) -> tuple[Job, Outcome] | None:
        """Return what the next image that is back has brought; None if that takes a while."""
        self._news.check()
        try:
            future = self._landed.get(timeout=_TICK_S)
        except queue.Empty:
            return None
        job, _ = self._away[future.key]
        try:
            answer = future.result(timeout=_FETCH_S)
        except TimeoutError:  # the worker that held it has died; another makes it again
            future.add_done_callback(self._landed.put)
            return None
        except (ImportError, AttributeError) as error:
            raise PatchionerError(
                f"a worker cannot understand what it is to do ({reason(error)}); install "
                f"napari-patchioner {self._order.version} there"
            ) from error
        except (Exception, CancelledError) as error:
            self._news.check()
            del self._away[future.key]
            return self._suspect(job, error)
        del self._away[future.key]
        return job, self._outcome(job, answer)

    def _outcome(self, job: Job, answer: Answer) -> Outcome:
        """Return what a worker has made of an image."""
        if isinstance(answer.result, PatchionerError):
            raise answer.result
        self._died = 0
        self._news.hear(answer)
        if answer.result.status == "failed" and answer.missing and os.path.exists(answer.missing):
            return replace(
                answer.result,
                why=f"{answer.missing}: worker {answer.worker} cannot see this file; images must "
                "lie on storage that all workers share, under the same path",
            )
        return answer.result

    def _suspect(self, job: Job, error: BaseException) -> tuple[Job, Outcome] | None:
        """Put an image aside to try it alone; if it was alone, it has failed."""
        self._died += 1
        # One image may take along all that were on their way with it, but hardly as many again.
        if self._died >= (_HOPELESS if self._alone else 2 * max(self._most, _HOPELESS)):
            raise PatchionerError(
                f"workers died at {self._died} images in a row; they may have too little memory, "
                "which their logs tell"
            )
        if not self._alone:
            self._suspects.append(job)
            return None
        if type(error).__name__ == "KilledWorker":
            why = "workers died whenever they captioned it; it may need more memory than they have"
        else:
            why = f"the cluster gave it up ({type(error).__name__}: {error})"
        return job, failure(job, why)
