"""Processes that caption side by side, each with a model of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from napari_patchioner.errors import PatchionerError

from ._job import failure, reason, skipped, work
from ._torch_threads import torch_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from multiprocessing.connection import Connection

    from napari_patchioner.captioner import Captioner

    from ._job import Job, Outcome

    Loader = Callable[[str], Captioner]

# A process that dies may have been unlucky; an image at which a second one dies is at fault.
_TRIES = 2
# So many images in a row at which processes died: it is not the images.
_HOPELESS = 3
_DIED = (
    "the process that captioned it died, twice; the image may need more memory than there is, "
    "so try fewer workers"
)


class Crew:
    """Processes that caption images; a context manager that ends them.

    Parameters
    ----------
    model : str
        Id of the model, loaded once in each process.
    workers : int
        How many processes.
    threads : int
        Threads of each while it computes.
    load : callable
        Loads the model; it pickles.
    """

    def __init__(self, model: str, workers: int, threads: int, load: Loader) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._arguments = (load, model, threads)
        self._workers = workers
        self._hands: dict[Connection, _Hand] = {}
        self._died = 0

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for hand in self._hands.values():
            hand.end()
        self._hands.clear()

    def run(self, jobs: Iterable[Job]) -> Generator[tuple[Job, Outcome], None, None]:
        """Yield each job with what came of it, in the order in which they are finished.

        Raises
        ------
        PatchionerError
            What a process could not go on with, such as a model that cannot be loaded; or
            processes died at several images in a row.
        """
        waiting = iter(jobs)
        again: deque[tuple[Job, int]] = deque()
        while True:
            for job in self._hand_out(waiting, again):
                yield job, skipped(job)
            busy: list[Any] = [pipe for pipe, hand in self._hands.items() if hand.job is not None]
            if not busy:
                return
            for pipe in wait(busy):
                found = self._take(self._hands[pipe], again)  # type: ignore[index]
                if found is not None:
                    yield found

    def _hand_out(self, waiting: Iterator[Job], again: deque[tuple[Job, int]]) -> Iterator[Job]:
        """Give every free process a job; yield the jobs that need none."""
        while len(self._hands) < self._workers or any(h.job is None for h in self._hands.values()):
            job, tries = again.popleft() if again else (next(waiting, None), 0)
            if job is None:
                return
            if not job.is_open:
                yield job
                continue
            self._free().give(job, tries)

    def _free(self) -> _Hand:
        """Return a process that has nothing to do, a new one where there is none."""
        for hand in self._hands.values():
            if hand.job is None:
                return hand
        hand = _Hand(self._context, self._arguments)
        self._hands[hand.pipe] = hand
        return hand

    def _take(self, hand: _Hand, again: deque[tuple[Job, int]]) -> tuple[Job, Outcome] | None:
        """Return what a process has finished; None where it died and the job is tried again."""
        job, tries = hand.job, hand.tries
        if job is None:
            return None
        try:
            answer = hand.pipe.recv()
        except (EOFError, OSError):
            return self._bury(hand, job, tries + 1, again)
        if isinstance(answer, Exception):
            raise answer
        hand.job = None
        self._died = 0
        return job, answer

    def _bury(
        self, hand: _Hand, job: Job, tries: int, again: deque[tuple[Job, int]]
    ) -> tuple[Job, Outcome] | None:
        """Let another process try the job of one that died, once."""
        del self._hands[hand.pipe]
        hand.end()
        if tries < _TRIES:
            again.append((job, tries))
            return None
        self._died += 1
        if self._died == _HOPELESS:
            raise PatchionerError(
                f"processes died at {_HOPELESS} images in a row, exit status "
                f"{hand.process.exitcode}; there may be too little memory for so many workers"
            )
        return job, failure(job, _DIED)


class _Hand:
    """One process and the job it has in hand."""

    def __init__(self, context: Any, arguments: tuple[Any, ...]) -> None:
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, *arguments), daemon=True)
        self.job: Job | None = None
        self.tries = 0
        with _no_interrupts():
            self.process.start()
        theirs.close()

    def give(self, job: Job, tries: int) -> None:
        """Hand over a job; should the process have died, that shows when its answer is taken."""
        self.job, self.tries = job, tries
        with suppress(OSError):
            self.pipe.send(job)

    def end(self) -> None:
        """End the process; what it has in hand is lost."""
        self.pipe.close()
        self.process.terminate()
        self.process.join()


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
    captioner = None
    with suppress(EOFError, OSError), torch_threads(threads) as limit:
        while True:
            job = pipe.recv()
            try:
                if captioner is None:
                    captioner = load(model)
                    limit()
                answer: object = work(captioner, job)
            except PatchionerError as error:
                answer = error
            except Exception as error:
                answer = PatchionerError(reason(error))
            pipe.send(answer)
