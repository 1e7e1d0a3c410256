"""Files from the Hugging Face hub, or from whatever speaks its protocol, into the store.

The hub's own `hf_hub_download` cannot be stopped within a second (it reads 10 MB at a time) and
throws away what came of a file when it is stopped. So the bytes are read here, over the library's
own session: its proxy, certificates, log-in and offline switch.
"""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, wait
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock, Thread
from typing import Any, BinaryIO, TypeVar
from urllib.request import getproxies

from napari_patchioner.errors import ModelError
from napari_patchioner.progress import Progress, no_progress

from . import store
from .preset import PresetFile, size_text

T = TypeVar("T")

# Seconds: how often progress is reported, and may cancel; what the speed is averaged over.
_PAUSE, _WINDOW = 0.1, 5.0
# Attempts in a row that bring nothing before giving up, and seconds before the next one.
ATTEMPTS, WAIT_S = 5, 1.0
# A server that is silent for so many seconds is asked anew.
SILENCE_S = 20.0
_BUSY = {408, 425, 429, 500, 502, 503, 504}
# Being handed on to what is no web address (file:, ftp:), or in a circle, stays as it is.
_HOPELESS = {"OfflineModeIsEnabled", "UnsupportedProtocol", "TooManyRedirects", "InvalidURL"}
# A SHA-256, or git's name of a file; git's name of a version.
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_NAME = re.compile(r"[\w-][\w.-]{0,199}", re.ASCII)
# Of a file on a hub; what has more is no model of ours.
_MOST_BYTES = 2**40
_LONGEST_NAME = 1000
# Names that Windows keeps for devices, whatever their ending; signs it allows in no name.
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"\\|?*]')
_proxies = getproxies()
_DELETED = "it was deleted and nothing was installed"


class Meter:
    """Counts bytes over several files, which are ``share`` of the whole work.

    Progress is like ``"346 of 604 MB, 4.1 MB/s"``.
    """

    def __init__(self, progress: Progress | None, share: float = 1.0) -> None:
        self._progress = progress or no_progress
        self._share = share
        self._recent: deque[tuple[float, int]] = deque()
        self._reported = float("-inf")
        self.total = self.done = 0

    def add(self, count: int, *, moved: bool = True) -> None:
        """Count bytes; those that were here before, not ``moved``, say nothing about the speed."""
        self.done += count
        if moved:
            now = time.monotonic()
            self._recent.append((now, count))
            while self._recent[0][0] < now - _WINDOW:
                self._recent.popleft()
        self.tick()

    def tick(self, note: str = "") -> None:
        """Report how far it is, unless that was just reported."""
        now = time.monotonic()
        if now - self._reported < _PAUSE:
            return
        self._reported = now
        if not note:
            whole = size_text(self.total)
            note = f"{size_text(self.done, whole.split()[-1]).split()[0]} of {whole}"
            if len(self._recent) > 1:
                elapsed = max(now - self._recent[0][0], 1e-3)
                speed = sum(count for _, count in self._recent) / elapsed
                note += f", {size_text(round(speed))}/s"
        fraction = min(self.done / self.total, 1.0) if self.total else 0.0
        self._progress(fraction * self._share, note)


def patiently(work: Callable[[], T], tick: Callable[[], object]) -> T:
    """Do work that may wait for others, such as a server, while a person may still cancel."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    while not wait([future], timeout=_PAUSE).done:
        tick()
    return future.result()


class Unreachable(ModelError):
    """The hub does not answer, so nothing is known of its files."""


def hub_error(error: BaseException, endpoint: str, repo: str, path: str) -> ModelError:
    """Say in one sentence what went wrong at the hub and what to do."""
    what = f"{repo}/{path}" if path else repo
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    hidden = response is not None and response.headers.get("X-Error-Code") == "RepoNotFound"
    if status in (401, 403) and not hidden:
        return ModelError(
            f"{what} is handed out to people who agreed to its licence only: accept it at "
            f"{endpoint}/{repo}, log in with 'hf auth login', then get the model again."
        )
    if status in (404, 410) or hidden:
        return ModelError(
            f"{endpoint} has no {what}; check HF_ENDPOINT, update napari-patchioner, or "
            "get the model from a folder."
        )
    lines = str(error).splitlines() or [type(error).__name__]
    reason = f"status {status}" if status else lines[0][:120]
    return Unreachable(
        f"{what} did not come from {endpoint} ({reason}); check the network and proxy "
        "and get the model again to go on from there, or get it from a folder."
    )


def other_file(name: str, result: str, wanted: str, done: str, where: str = "") -> ModelError:
    """Say in one sentence that a file has other contents, and ``where`` the right one is."""
    advice = f"take the one {where}" if where else "try again later, or get it from another place"
    return ModelError(
        f"{name} is not the file it should be (it has the hash {result[:12]}… instead of "
        f"{wanted[:12]}…); {done}: {advice}."
    )


def disk_error(error: OSError, folder: Path) -> ModelError:
    """Say in one sentence why files of the store cannot be written."""
    return ModelError(
        f"{folder} cannot be written ({error.strerror or error}); make room, or set {store.HOME} "
        "to a folder on another disk, and get the model again to go on from there."
    )


class _Dropped(Exception):
    """The bytes did not come; ``response`` is the server's answer, if it was one that refuses."""

    def __init__(self, reason: Exception, response: Any = None) -> None:
        super().__init__(str(reason) or type(reason).__name__)
        self.response = response
        refused = response is not None and response.status_code not in _BUSY
        self.for_good = refused or type(reason).__name__ in _HOPELESS


def _fill(path: Path, url: str, size: int, meter: Meter) -> None:
    """Append to a file what it lacks of the one at an address.

    It holds the first bytes, if any, from an earlier attempt, and keeps what comes whatever
    happens; ``meter`` counts them and may raise to stop.
    """
    if path.exists() and path.stat().st_size > size:
        path.unlink()
    with path.open("ab") as file:
        counted = file.tell()
        meter.add(counted, moved=False)

        def count() -> None:
            nonlocal counted
            before, counted = counted, file.tell()
            meter.add(counted - before, moved=counted > before)

        left = ATTEMPTS
        while (before := file.tell()) < size:
            target = _Target(file, size)
            try:
                patiently(partial(_append, target, url), count)
                problem = _Dropped(ConnectionError("the connection ended early"))
            except _Dropped as error:
                problem = error
            finally:
                target.close()
            count()
            left = ATTEMPTS if file.tell() > before else left - 1
            if file.tell() >= size:
                return
            if problem.for_good or not left:
                raise problem
            until = time.monotonic() + WAIT_S
            while time.monotonic() < until:
                time.sleep(_PAUSE)
                meter.tick("the connection was lost; trying again")


class _Target:
    """A file that a thread writes for as long as somebody waits for it."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.start, self.size = file.tell(), size
        self._file = file
        self._lock, self._open = Lock(), True

    def restart(self) -> None:
        """Throw away what is there."""
        with self._lock:
            if self._open:
                self._file.truncate(0)
                self._file.seek(0)

    def write(self, chunk: bytes) -> bool:
        """Write what is still wanted; return whether there is more to come."""
        with self._lock:
            if self._open:
                self._file.write(chunk[: self.size - self._file.tell()])
            return self._open and self._file.tell() < self.size

    def close(self) -> None:
        """Take no more."""
        with self._lock:
            self._open = False


def _append(target: _Target, url: str) -> None:
    """Write what one answer of the server brings."""
    with closing(_receive(url, target.start)) as answer:
        response: Any = next(answer)
        partial = response.headers.get("Content-Range", "").startswith(f"bytes {target.start}-")
        if response.status_code == 416 or (target.start and response.is_success and not partial):
            target.restart()  # It cannot send a part: what is here already has to come again.
        if response.is_success:
            while (chunk := next(answer, None)) is not None and target.write(chunk):
                pass
        elif response.status_code != 416:
            raise _Dropped(ConnectionError(f"status {response.status_code}"), response)


def _receive(url: str, start: int) -> Generator[Any, None, None]:
    """Yield what a server answers, then its bytes as they come."""
    from huggingface_hub import get_session
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        with get_session().stream(
            "GET", url, headers=headers, timeout=SILENCE_S, follow_redirects=True
        ) as response:
            yield response
            # As they come: what is packed may unpack to any length.
            yield from response.iter_raw()
    except Exception as error:
        raise _Dropped(error) from error


@dataclass(frozen=True, slots=True)
class Remote:
    """A file on the hub.

    ``path`` is no glob any more, ``etag`` the hub's name for the contents (their SHA-256 or their
    name as a git blob), ``sha256`` what these must have, empty if nobody says.
    """

    repo: str
    path: str
    commit: str
    etag: str
    size: int
    sha256: str

    @property
    def target(self) -> Path:
        """Where it is downloaded to: as in the hub's own cache, each version in a folder."""
        return self._home / "snapshots" / self.commit / self.path

    @property
    def unfinished(self) -> Path:
        """Where its bytes lie until all are there, whatever version they were asked of."""
        return self._home / f"{self.etag}.incomplete"

    @property
    def _home(self) -> Path:
        return store.store_folder() / store.FILES / store.cache_name(self.repo)

    def fits(self, path: Path, tick: Callable[[], object]) -> bool:
        """Whether a file here is this one."""
        if path.stat().st_size != self.size:
            return False
        if not self.sha256 and not _HASH.fullmatch(self.etag):
            # A mirror with names of its own gives nothing that could be compared.
            return True
        sha256, blob = store.fingerprint(path, tick)
        return sha256 == self.sha256 if self.sha256 else self.etag in (blob, sha256)


def offline() -> bool:
    """Whether a person has forbidden to use the network."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").lower() in {"1", "on", "yes", "true"} for name in names)


class Hub:
    """The hub or its mirror (HF_ENDPOINT) as it is now; asked once for each repository."""

    def __init__(self, tick: Callable[[], object]) -> None:
        from huggingface_hub import close_session, constants

        global _proxies
        self.endpoint = (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")
        self._tick = tick
        self._known: dict[str, Any] = {}
        if getproxies() != _proxies:
            # The library opens a new session, with the present proxy.
            close_session()
            _proxies = getproxies()

    def find(self, file: PresetFile) -> Remote:
        """Ask what a file is: how long, which version, which contents."""
        from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url

        repo = file.repo
        if repo not in self._known:
            ask = HfApi(endpoint=self.endpoint).model_info
            ask = partial(ask, repo, files_metadata=True, timeout=SILENCE_S)
            self._known[repo] = self._ask(ask, repo)
        info, path = self._known[repo], file.path
        listed = {e.rfilename: e for e in info.siblings or () if isinstance(e.rfilename, str)}
        if store.is_glob(path):
            fitting = [name for name in listed if store.fits(path, name)]
            if len(fitting) != 1:
                raise ModelError(
                    f"{repo} should hold one file {path} but holds "
                    f"{', '.join(fitting[:3]) or 'none'}; update napari-patchioner, or get the "
                    "model from a folder."
                )
            path = fitting[0]
        if not is_safe(path):
            raise ModelError(
                f"{self.endpoint} calls a file of {file.repo} {path[:80]!r}, which is no name of a "
                "file inside a folder; nothing was downloaded."
            )
        if path not in listed:
            raise ModelError(
                f"{file.repo} has no file {path} any more; update napari-patchioner, or get the "
                "model from a folder that holds an older copy."
            )
        entry, commit = listed[path], self._name(info.sha)
        sha256 = self._name(entry.lfs.sha256) if entry.lfs and entry.lfs.sha256 else ""
        size, etag = entry.size, sha256 or entry.blob_id
        if size is None or not etag:  # a mirror that lists only names
            url = hf_hub_url(repo, path, revision=commit, endpoint=self.endpoint)
            head = self._ask(partial(get_hf_file_metadata, url, timeout=SILENCE_S), repo, path)
            size, etag = head.size or 0, head.etag or ""
        if type(size) is not int or not 0 <= size <= _MOST_BYTES:
            raise Unreachable(
                f"{self.endpoint} says that {file.repo}/{path} has {str(size)[:40]!r} bytes, which "
                "cannot be; check HF_ENDPOINT."
            )
        etag = self._name(etag)
        if file.sha256 and sha256 not in ("", file.sha256):
            raise other_file(f"{file.repo}/{path}", sha256, file.sha256, "nothing was downloaded")
        if file.size and size != file.size:
            raise ModelError(
                f"{file.repo}/{path} has {size} bytes now instead of {file.size}; nothing was "
                "downloaded: update napari-patchioner, or get the model from a folder."
            )
        return Remote(file.repo, path, commit, etag, size, file.sha256 or sha256)

    def _name(self, name: object) -> str:
        """Return what the hub calls contents or a version, which becomes the name of a file."""
        if not isinstance(name, str) or not _NAME.fullmatch(name) or not is_safe(name):
            raise Unreachable(f"{self.endpoint} does not answer like a hub; check HF_ENDPOINT.")
        return name

    def get(self, remote: Remote, meter: Meter) -> Path:
        """Download a file into the store, from where an earlier attempt stopped.

        The meter may raise to stop, which keeps what came so far.
        """
        from huggingface_hub import hf_hub_url

        part, target = remote.unfinished, remote.target
        check = partial(meter.tick, f"checking {remote.path}")
        url = hf_hub_url(remote.repo, remote.path, revision=remote.commit, endpoint=self.endpoint)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _fill(part, url, remote.size, meter)
            if not remote.fits(part, check):
                result, _ = store.fingerprint(part, check)
                part.unlink()
                name, done = f"{remote.repo}/{remote.path}", _DELETED
                raise other_file(name, result, remote.sha256 or remote.etag, done)
            part.replace(target)
        except _Dropped as error:
            raise hub_error(error, self.endpoint, remote.repo, remote.path) from error
        except OSError as error:
            raise disk_error(error, target.parent) from error
        return target

    def _ask(self, work: Callable[[], Any], repo: str, path: str = "") -> Any:
        """Ask the hub, and say its errors in one sentence."""
        from huggingface_hub.errors import HfHubHTTPError

        try:
            return patiently(work, self._tick)
        except Exception as error:
            # The base of every error of whichever HTTP client the hub's library is built on, and
            # what the library makes of a page that is no answer of a hub.
            network = (HfHubHTTPError.__mro__[1], OSError)
            strange = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
            if isinstance(error, ModelError) or not isinstance(error, (*network, *strange)):
                raise
            raise hub_error(error, self.endpoint, repo, path) from error


def is_safe(path: str) -> bool:
    """Whether a path that a hub names leads to a file inside a folder, on any system.

    >>> [is_safe(path) for path in ("a/b.pt", "../b.pt", "/b.pt", "a//b.pt", "c:b.pt", "nul.pt")]
    [True, False, False, False, False, False]
    """
    return len(path) <= _LONGEST_NAME and not any(
        not part.strip(" .") or part[-1] in " ." or _UNSAFE.search(part) or _DEVICE.match(part)
        for part in path.split("/")
    )
