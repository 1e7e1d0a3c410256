"""Jobs on a dask.distributed cluster that is running already."""

from __future__ import annotations

import json
import logging
import os
import pickle
import platform
import queue
import sys
import threading
import time
import uuid
import warnings
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import blake2b
from importlib import import_module, metadata
from itertools import count
from pathlib import Path
from typing import Any

from napari_patchioner import __version__
from napari_patchioner.captioner import Captioner
from napari_patchioner.errors import PatchionerError, pip_install

from . import _job
from ._job import Job, Outcome
from .local import Loader, load_installed, torch_threads

_ANSWERS_WITHIN_S = 5
# What these log of lost connections is said in a sentence of our own.
_LOGGERS = ("distributed", "distributed.client")
# Enough that no worker waits for the next image, and few enough to hold.
_PREFETCH = 4
_ASK_AGAIN_S = 1.0
_NOTIFY_AFTER_S = 3.0
_TICK_S = 0.5
_FETCH_S = 5.0
# So many images in a row at which workers died: it is not the images.
_HOPELESS = 3
# What captions depend on besides the model, the image and this package.
_SOFTWARE = ("torch", "transformers", "numpy", "pillow", "tifffile", "distributed")
# A worker may serve several runs at a time; more models than that would fill its memory.
_MOST_MODELS = 2


def run(
    jobs: Iterable[Job],
    model: str,
    *,
    scheduler: str,
    threads: int = 1,
    load: Loader = load_installed,
    notify: Callable[[str], object] = lambda _: None,
    patience: float = 300.0,
) -> Generator[tuple[Job, Outcome], None, None]:
    """Caption images on a cluster; yields what came of each as soon as it is known, in any order.

    Workers read the images themselves, and the model from their own store, once per process. Of
    all the images no more than a few per worker are on their way at a time. The images of a
    worker that dies go to others.

    Arguments and outcomes are those of `local.run`, ``threads`` those of each worker;
    ``scheduler`` is the address of the scheduler, or the file it has written about itself,
    ``patience`` how many seconds to wait for workers where there are none. ``notify`` is called
    with a sentence that a person should read meanwhile: versions that differ, no workers.

    A PatchionerError where no scheduler answers, or no longer; a worker cannot load the model or
    has another version of this package; there are no workers, or they die again and again.
    """
    with _connected(scheduler, notify) as client:
        settings = RunSettings(model, threads, _pickled(load))
        monitor = _Monitor(client, scheduler, model, notify, patience)
        submissions = _Submissions(client, settings, monitor)
        try:
            yield from submissions.run(jobs)
        finally:
            submissions.cancel()


def _pickled(thing: object) -> bytes:
    """Return what the standard `pickle.loads` undoes, even for a function of a notebook."""
    pickled: bytes = import_module("cloudpickle").dumps(thing)
    return pickled


@contextmanager
def _connected(scheduler: str, notify: Callable[[str], object]) -> Iterator[Any]:
    """Yield a client of a scheduler; all that it submitted is forgotten in the end."""
    try:
        library = import_module("distributed")
    except ImportError as error:
        raise PatchionerError(
            "a cluster needs dask.distributed, which is not installed; run: "
            f"{pip_install('distributed')}"
        ) from error
    address, path = scheduler, Path(scheduler)
    if path.is_file():
        try:
            address = str(json.loads(path.read_text("utf-8"))["address"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PatchionerError(
                f"{scheduler}: does not hold a scheduler's address; name the file that "
                "'dask scheduler --scheduler-file' writes, or an address"
            ) from error
    mismatch = import_module("distributed.versions").VersionMismatchWarning
    loggers = [(logger, logger.level) for logger in map(logging.getLogger, _LOGGERS)]
    for logger, _ in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", mismatch)
            try:
                # A client of a name that cannot be understood complains again when it is collected.
                import_module("distributed.comm").resolve_address(address)
                options = {"set_as_default": False, "name": "napari-patchioner"}
                client = library.Client(address, timeout=_ANSWERS_WITHIN_S, **options)
            except Exception as error:
                why = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
                raise PatchionerError(
                    f"no dask scheduler answers at {address} ({why}); start one with "
                    "'dask scheduler' and name the address that it prints"
                ) from error
        with closing(client):
            for warning in caught:
                if issubclass(warning.category, mismatch):
                    notify(f"the cluster has other versions than this computer:\n{warning.message}")
            yield client
    finally:
        for logger, level in loggers:
            logger.setLevel(level)


@dataclass
class _Monitor:
    """Asks a scheduler how it is, and notifies of what is unusual."""

    client: Any
    scheduler: str
    model: str
    notify: Callable[[str], object]
    patience: float

    def __post_init__(self) -> None:
        self._files, self._here = files_of(self.model), software(self.model)
        self._notified: set[str] = set()
        self._window = 0
        self._asked = float("-inf")
        self._last_workers = time.monotonic()

    def check(self) -> None:
        """Raise a PatchionerError if the scheduler is gone."""
        if self.client.status != "running":
            raise PatchionerError(
                f"the connection to the scheduler {self.scheduler} was lost; see whether it "
                "still runs, then go on with --resume"
            )

    def window(self) -> int:
        """Return how many images may be on their way; notify of no workers, and give up in the end.

        The scheduler is asked now and then.
        """
        now = time.monotonic()
        if now - self._asked < _ASK_AGAIN_S:
            return self._window
        self._asked = now
        self.check()
        try:
            threads = self.client.nthreads().values()
        except Exception as error:
            raise PatchionerError(
                f"the scheduler {self.scheduler} answers no longer ({error}); go on with --resume"
            ) from error
        self._window = sum(max(_PREFETCH, 2 * count) for count in threads)
        if self._window:
            self._last_workers = now
        waited = now - self._last_workers
        if waited > _NOTIFY_AFTER_S:
            self._notify_once(
                f"there are no workers at {self.scheduler}; waiting for them, up to "
                f"{self.patience:g} s"
            )
        if waited > self.patience:
            raise PatchionerError(
                f"there were no workers at {self.scheduler} for {self.patience:g} s; start "
                f"some with 'dask worker {self.scheduler}', then go on with --resume"
            )
        return self._window

    def compare(self, answer: Answer) -> None:
        """Notify of how a worker's software differs from this computer's."""
        versions = answer.software
        # The model need not be installed here: then all workers have to be alike.
        if not self._here[self._files]:
            self._here[self._files] = versions[self._files]
        elif versions[self._files] != self._here[self._files]:
            raise PatchionerError(
                f"worker {answer.worker}: the {self._files} are others than elsewhere; get the "
                "model again there ('napari-patchioner models remove', then 'get')"
            )
        other = [
            f"{name} {versions[name]} (here {version})"
            for name, version in self._here.items()
            if versions[name] != version
        ]
        if other:
            machine = answer.worker.rpartition(" ")[2]
            self._notify_once(
                f"workers on {machine} have {', '.join(other)}; captions may differ from those "
                "made here"
            )

    def _notify_once(self, text: str) -> None:
        if text not in self._notified:
            self._notified.add(text)
            self.notify(text)


class _Submissions:
    """The images that are on their way to workers and back."""

    def __init__(self, client: Any, settings: RunSettings, monitor: _Monitor) -> None:
        self._client, self._settings, self._monitor = client, settings, monitor
        self._keys = map(f"caption-{uuid.uuid4().hex}-{{}}".format, count())
        self._first: Job | None = None
        self._submitted: dict[str, tuple[Job, Any]] = {}
        self._finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
        # Images at which workers died. Others that were there with them may be at fault, so each
        # is tried once more in the end, when it is on its way alone.
        self._suspects: deque[Job] = deque()
        self._alone = False
        self._most = 0
        self._died = 0

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Yield each job with what came of it."""
        rest = iter(jobs)
        while True:
            yield from self._submit(rest)
            if not (self._first or self._submitted):
                return
            result = self._receive()
            if result is not None:
                yield result

    def cancel(self) -> None:
        """Give up all that is on its way."""
        futures = [future for _, future in self._submitted.values()]
        self._submitted.clear()
        if futures and self._client.status == "running":
            self._client.cancel(futures, force=True)

    def _submit(self, rest: Iterator[Job]) -> Iterator[tuple[Job, Outcome]]:
        """Send images while there is room; yield those that need no work."""
        while True:
            job = self._first = self._first or next(rest, None)
            if job is None and self._suspects and not self._submitted:
                if not self._alone:
                    self._alone, self._died = True, 0
                job = self._first = self._suspects.popleft()
            if job is None:
                return
            if not job.is_open:
                yield job, _job.skipped(job)
            elif len(self._submitted) >= self._monitor.window():
                return
            else:
                # Whoever unpickles the call captions the image.
                call = _pickled(Call(self._settings, job))
                future = self._client.submit(pickle.loads, call, key=next(self._keys), pure=False)
                self._submitted[future.key] = (job, future)
                self._most = max(self._most, len(self._submitted))
                future.add_done_callback(self._finished.put)
            self._first = None

    def _receive(self) -> tuple[Job, Outcome] | None:
        """Return what came of the next image; None if that takes a while."""
        self._monitor.check()
        try:
            future = self._finished.get(timeout=_TICK_S)
        except queue.Empty:
            return None
        job, _ = self._submitted[future.key]
        try:
            answer = future.result(timeout=_FETCH_S)
        except TimeoutError:  # the worker that held it has died; another makes it again
            future.add_done_callback(self._finished.put)
            return None
        except (ImportError, AttributeError) as error:
            raise PatchionerError(
                f"a worker cannot understand what it is to do ({_job.reason(error)}); install "
                f"napari-patchioner {self._settings.version} there"
            ) from error
        except (Exception, CancelledError) as error:
            self._monitor.check()
            del self._submitted[future.key]
            return self._suspect(job, error)
        del self._submitted[future.key]
        if isinstance(answer.result, PatchionerError):
            raise answer.result
        self._died = 0
        self._monitor.compare(answer)
        outcome: Outcome = answer.result
        if outcome.status == "failed" and answer.missing and os.path.exists(answer.missing):
            why = (
                f"{answer.missing}: worker {answer.worker} cannot see this file; images must lie "
                "on storage that all workers share, under the same path"
            )
            outcome = replace(outcome, why=why)
        return job, outcome

    def _suspect(self, job: Job, error: BaseException) -> tuple[Job, Outcome] | None:
        """Put an image aside to try it alone; if it was alone, it has failed."""
        self._died += 1
        # One image may take along all that were on their way with it, but hardly as many again.
        if self._died >= (_HOPELESS if self._alone else 2 * max(self._most, _HOPELESS)):
            raise PatchionerError(
                f"workers died at {self._died} images in a row; they may have too little memory, "
                "which their logs say"
            )
        if not self._alone:
            self._suspects.append(job)
            return None
        if type(error).__name__ == "KilledWorker":
            why = "workers died whenever they captioned it; it may need more memory than they have"
        else:
            why = f"the cluster gave it up ({type(error).__name__}: {error})"
        return job, _job.failure(job, why)


# What happens on a worker: one image, with the model that its process holds.


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What all images of a run have in common; ``load``, pickled, loads the model by its id."""

    model: str
    threads: int
    load: bytes
    version: str = __version__


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker, by its address and machine, says of one image.

    ``result`` is an error where nothing can come of any image here; ``missing`` is a file that the
    worker cannot see; ``software`` are versions of what captions depend on, and a digest of the
    model's files.
    """

    result: Outcome | PatchionerError
    missing: Path | None = None
    worker: str = ""
    software: Mapping[str, str] = field(default_factory=dict)


class Call:
    """Is captioned where it is unpickled.

    A scheduler passes its pickle on unread, so it needs neither this package nor the job's parts.
    """

    def __init__(self, settings: RunSettings, job: Job) -> None:
        self._settings, self._job = settings, job

    def __reduce__(self) -> tuple[Any, tuple[RunSettings, Job]]:
        return answer, (self._settings, self._job)


def answer(settings: RunSettings, job: Job) -> Answer:
    """Caption one image with the model of this process; nothing is ever raised."""
    where = f"{import_module('distributed').get_worker().address} on {platform.node()}"
    if settings.version != __version__:
        return Answer(
            PatchionerError(
                f"worker {where} has napari-patchioner {__version__} but this computer "
                f"{settings.version}; install the same version on both"
            )
        )
    try:
        outcome = _captioned(settings, job)
    except Exception as error:  # a model may fail to load in any way
        failed = PatchionerError(f"worker {where}: {_job.reason(error)}")
        return Answer(failed, None, where, software(settings.model))
    needed = (job.path, *getattr(job.drawing, "paths", ()))
    missing = next((path for path in needed if not os.path.exists(path)), None)
    return Answer(outcome, missing, where, software(settings.model))


_computing = threading.Lock()
_models: OrderedDict[tuple[RunSettings, str], Captioner] = OrderedDict()


def _captioned(settings: RunSettings, job: Job) -> Outcome:
    """Read an image, then wait for the model: a process computes one image at a time."""
    source: Future[Any] = Future()
    try:
        source.set_result(_job.read_source(job.path, job.big))
    except Exception as error:
        source.set_exception(error)
    with _computing, torch_threads(settings.threads) as limit:
        # Loaded once; the least recently used one goes.
        key = (settings, _model_digest(settings.model))
        if key not in _models:
            while len(_models) >= _MOST_MODELS:
                _models.popitem(last=False)
            _models[key] = pickle.loads(settings.load)(settings.model)  # noqa: S301
        _models.move_to_end(key)
        limit()
        return _job.work(_models[key], job, read=lambda _: source.result())


def software(model: str) -> dict[str, str]:
    """Return versions of what captions depend on here, and a digest of the model's files."""
    return {**_versions(), files_of(model): _model_digest(model)}


def files_of(model: str) -> str:
    """Return under which name `software` gives the digest of a model's files."""
    return f"files of the model {model!r}"


@cache
def _versions() -> dict[str, str]:
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in _SOFTWARE:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "none"
    return versions


def _model_digest(model: str) -> str:
    """Return a digest of what an installed model was made from; empty for an embedded one."""
    from napari_patchioner.models.store import read_record

    record = read_record(model)
    if record is None:
        return ""
    hashes = sorted(file.sha256 for file in record.files)
    return blake2b("".join(hashes).encode(), digest_size=6).hexdigest()
