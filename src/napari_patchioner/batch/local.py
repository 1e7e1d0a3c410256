"""Jobs on this machine: in this process, or in a pool of worker processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache, partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from queue import Queue
from typing import Any, NamedTuple, TypeAlias

from napari_patchioner.captioner import Captioner
from napari_patchioner.devices import noticed, once
from napari_patchioner.errors import PatchionerError

from ._job import Job, Outcome, failure, read_source, reason, skipped, work

Loader: TypeAlias = Callable[[str], Captioner]

# A process that dies may have been unlucky; an image at which a second one dies is at fault.
_TRIES = 2
# So many images in a row at which processes died: it is not the images.
_HOPELESS = 3
# Read by libraries when they are loaded
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_DIED = (
    "the process that captioned it died, twice; the image may need more memory than there is, "
    "so try fewer workers"
)


def load_installed(model: str, device: str = "cpu", engine: str | None = None) -> Captioner:
    """Load a model by its id to a device, see `devices.choose`; torch is imported only now."""
    from napari_patchioner.models import load_model

    return load_model(model, device=device, engine=engine)


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
        Taken one at a time, a few more than are done.
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
        The model cannot be loaded, or cannot do what the options say.
    PatchionerError
        Processes die again and again.
    """
    if workers == 1:
        with torch_threads(threads) as limit:
            yield from _run_here(jobs, _lazily(load, model, limit))
        return
    with _Pool(model, workers, threads, load) as pool:
        yield from pool.run(jobs)


@contextmanager
def torch_threads(count: int) -> Iterator[Callable[[], None]]:
    """Yield what limits torch once a model has loaded it; the limit ends with the block."""
    before = []

    def limit() -> None:
        if "torch" in sys.modules:
            import torch

            before.append(torch.get_num_threads())
            torch.set_num_threads(count)

    try:
        yield limit
    finally:
        if before:
            import torch

            torch.set_num_threads(before[0])


def _lazily(load: Loader, model: str, limit: Callable[[], None]) -> Callable[[], Captioner]:
    """Return what loads a model when it is first called, and limits torch then."""

    @cache
    def captioner() -> Captioner:
        loaded = load(model)
        limit()
        return loaded

    return captioner


def _run_here(
    jobs: Iterable[Job], captioner: Callable[[], Captioner]
) -> Generator[tuple[Job, Outcome], None, None]:
    """Caption in this process while the next image is read."""
    with ThreadPoolExecutor(1, "reading") as reader:

        def begun() -> Iterator[tuple[Job, Future[Any] | None]]:
            for job in jobs:
                yield job, reader.submit(read_source, job.path, job.big) if job.is_open else None

        # One is begun before the one before it is captioned.
        items = begun()
        item = next(items, None)
        while item is not None:
            (job, source), item = item, next(items, None)
            if source is None:
                yield job, skipped(job)
            else:
                yield job, work(captioner(), job, read=partial(_result, source))


def _result(source: Future[Any], _: Path) -> Any:
    return source.result()


class _Worker:
    """A process, the job that it captions and the one that it reads meanwhile, in this order."""

    def __init__(self, context: Any, arguments: tuple[Any, ...]) -> None:
        self.pipe, other_end = context.Pipe()
        self.process = context.Process(target=_serve, args=(other_end, *arguments), daemon=True)
        self.jobs: deque[_Try] = deque()
        with _no_interrupts(), _cores_of_libraries(arguments[-1]):
            self.process.start()
        other_end.close()

    @property
    def may_read_ahead(self) -> bool:
        """Whether it captions a job beside which another may be read."""
        return len(self.jobs) == 1 and not self.jobs[0].deaths

    def send(self, job: _Try) -> None:
        """Send a job; should the process have died, that shows when its answer is received."""
        self.jobs.append(job)
        with suppress(OSError):
            self.pipe.send(job.job)

    def end(self) -> None:
        """End the process; the jobs that it holds are lost."""
        self.pipe.close()
        self.process.terminate()
        self.process.join()


class _Try(NamedTuple):
    """A job and how many processes have died that held it; after the first it is held alone."""

    job: Job
    deaths: int = 0


class _Pool:
    """Processes that caption side by side, each with a model of its own; ends them on leaving."""

    def __init__(self, model: str, size: int, threads: int, load: Loader) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._arguments = (load, model, threads)
        self._size = size
        self._workers: dict[Connection, _Worker] = {}
        self._next: deque[_Try] = deque()
        self._died = 0

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers.values():
            worker.end()
        self._workers.clear()

    def run(self, jobs: Iterable[Job]) -> Generator[tuple[Job, Outcome], None, None]:
        """Yield each job with what came of it, in the order in which they are finished."""
        rest = iter(jobs)
        while True:
            yield from self._submit(rest)
            busy: list[Any] = [pipe for pipe, worker in self._workers.items() if worker.jobs]
            if not busy:
                return
            for pipe in wait(busy):
                result = self._receive(self._workers[pipe])  # type: ignore[index]
                if result is not None:
                    yield result

    def _submit(self, jobs: Iterator[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Give every process a job, and one to read ahead; yield the jobs that need none."""
        while True:
            # More than there are processes, so that in the end none waits for what another holds.
            while len(self._next) <= self._size and (job := next(jobs, None)) is not None:
                if job.is_open:
                    self._next.append(_Try(job))
                else:
                    yield job, skipped(job)
            worker = self._free_worker() if self._next else None
            if worker is None:
                return
            worker.send(self._next.popleft())

    def _free_worker(self) -> _Worker | None:
        """Return a process for the next job, a new one if need be; None if that has to wait."""
        idle = next((worker for worker in self._workers.values() if not worker.jobs), None)
        if idle is not None:
            return idle
        if len(self._workers) < self._size:
            worker = _Worker(self._context, self._arguments)
            self._workers[worker.pipe] = worker
            return worker
        if self._next[0].deaths or len(self._next) <= self._size:
            return None
        return next((worker for worker in self._workers.values() if worker.may_read_ahead), None)

    def _receive(self, worker: _Worker) -> tuple[Job, Outcome] | None:
        """Return what a process has finished; None where it died and its jobs are tried again."""
        try:
            answer = worker.pipe.recv()
        except (EOFError, OSError):
            answer = None
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            self._died = 0
            return worker.jobs.popleft().job, answer
        # The process has died, of the image that it captioned or the one that it read.
        del self._workers[worker.pipe]
        worker.end()
        job, deaths = worker.jobs[0]
        if len(worker.jobs) > 1 or deaths + 1 < _TRIES:
            self._next.extendleft(_Try(job, deaths + 1) for job, deaths in reversed(worker.jobs))
            return None
        self._died += 1
        if self._died == _HOPELESS:
            raise PatchionerError(
                f"processes died at {_HOPELESS} images in a row, exit status "
                f"{worker.process.exitcode}; there may be too little memory for so many workers"
            )
        return job, failure(job, _DIED)


@contextmanager
def _cores_of_libraries(count: int) -> Iterator[None]:
    """Let processes begun meanwhile compute in so many threads, whatever library they do it with.

    NumPy's takes all cores in each process otherwise, and they wait for one another.
    """
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Let processes begun meanwhile ignore Ctrl+C, which goes to all of a terminal's processes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _serve(pipe: Connection, load: Loader, model: str, threads: int) -> None:
    """Caption what comes through the pipe until it is closed; runs in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Nothing but the parent writes to standard output.
    with suppress(OSError, ValueError):
        os.dup2(sys.stderr.fileno(), 1)
    read: Queue[tuple[Job, Any] | None] = Queue(1)
    threading.Thread(target=_read_ahead, args=(pipe, read), name="reading", daemon=True).start()
    notice = noticed(once(partial(print, file=sys.stderr, flush=True)))
    with suppress(EOFError, OSError), notice, torch_threads(threads) as limit:
        captioner = _lazily(load, model, limit)
        while (item := read.get()) is not None:
            job, source = item
            try:
                answer: object = work(captioner(), job, read=partial(_result, source))
            except PatchionerError as error:
                answer = error
            except Exception as error:
                answer = PatchionerError(reason(error))
            # Not kept until the next one is there
            del item, source
            pipe.send(answer)


def _read_ahead(pipe: Connection, read: Queue[tuple[Job, Any] | None]) -> None:
    """Read the images of the jobs that come through a pipe, each while another is captioned."""
    with suppress(EOFError, OSError):
        while True:
            job = pipe.recv()
            source: Future[Any] = Future()
            try:
                source.set_result(read_source(job.path, job.big))
            except Exception as error:  # raised where the image is captioned
                source.set_exception(error)
            read.put((job, source))
    read.put(None)
