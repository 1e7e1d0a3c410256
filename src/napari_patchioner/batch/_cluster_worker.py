"""What happens on a worker of a cluster: one image, with the model that its process holds."""

from __future__ import annotations

import os
import pickle
import platform
import sys
import threading
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from importlib import metadata
from typing import TYPE_CHECKING, Any

from napari_patchioner import __version__
from napari_patchioner.errors import PatchionerError

from ._job import read_source, reason, work
from .local import torch_threads

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_patchioner.captioner import Captioner

    from ._job import Job, Outcome

# What captions depend on besides the model, the image and this package.
_SOFTWARE = ("torch", "transformers", "numpy", "pillow", "tifffile", "distributed")
# A worker may serve several runs at a time; more models than that would fill its memory.
_MOST_MODELS = 2


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What all images of a run have in common.

    Attributes
    ----------
    model : str
        Id of the model.
    threads : int
        Threads while it computes.
    load : bytes
        What loads the model by its id, pickled.
    version : str
        Of this package where the run was begun.
    """

    model: str
    threads: int
    load: bytes
    version: str = __version__


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker says of one image.

    Attributes
    ----------
    result : Outcome or PatchionerError
        What came of it, or why nothing can come of any image here.
    missing : Path or None
        A file that the worker cannot see.
    worker : str
        The worker's address and the name of its machine.
    software : mapping of str to str
        Versions of what captions depend on, and a digest of the model's files.
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
    where = _place()
    if settings.version != __version__:
        return Answer(
            PatchionerError(
                f"worker {where} has napari-patchioner {__version__} but this computer "
                f"{settings.version}; install the same version on both"
            )
        )
    try:
        result: Outcome | PatchionerError = _captioned(settings, job)
    except PatchionerError as error:
        result = PatchionerError(f"worker {where}: {error}")
    except Exception as error:  # a model may fail to load in any way
        result = PatchionerError(f"worker {where}: {reason(error)}")
    missing = None if isinstance(result, PatchionerError) else _missing(job)
    return Answer(result, missing, where, software(settings.model))


_computing = threading.Lock()
_models: OrderedDict[tuple[RunSettings, str], Captioner] = OrderedDict()


def _captioned(settings: RunSettings, job: Job) -> Outcome:
    """Read an image, then wait for the model: a process computes one image at a time."""
    source: Future[Any] = Future()
    try:
        source.set_result(read_source(job.path, job.big))
    except Exception as error:
        source.set_exception(error)
    with _computing, torch_threads(settings.threads) as limit:
        captioner = _captioner(settings)
        limit()
        return work(captioner, job, read=lambda _: source.result())


def _captioner(settings: RunSettings) -> Captioner:
    """Return the model of a run, loaded once; the least recently used one goes."""
    key = (settings, model_digest(settings.model))
    if key not in _models:
        while len(_models) >= _MOST_MODELS:
            _models.popitem(last=False)
        _models[key] = pickle.loads(settings.load)(settings.model)  # noqa: S301
    _models.move_to_end(key)
    return _models[key]


def _missing(job: Job) -> Path | None:
    """Return a file of a job that cannot be seen from here, or not by whom the worker runs as."""
    needed = (job.path, *getattr(job.drawing, "paths", ()))
    return next((path for path in needed if not os.path.exists(path)), None)


def software(model: str) -> dict[str, str]:
    """Return versions of what captions depend on here, and a digest of the model's files."""
    return {**_versions(), files_of(model): model_digest(model)}


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


def model_digest(model: str) -> str:
    """Return a digest of what an installed model was made from; empty for an embedded one."""
    from napari_patchioner.models.store import read_record

    record = read_record(model)
    if record is None:
        return ""
    hashes = sorted(file.sha256 for file in record.files)
    return blake2b("".join(hashes).encode(), digest_size=6).hexdigest()


def _place() -> str:
    """Return the address of this worker and the name of its machine."""
    from importlib import import_module

    address = import_module("distributed").get_worker().address
    return f"{address} on {platform.node()}"
