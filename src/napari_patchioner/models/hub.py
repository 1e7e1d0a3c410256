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
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.request import getproxies

from napari_patchioner.errors import ModelError

from .preset import size_text
from .store import FILES, HOME, cache_name, fingerprint, fits, is_glob, store_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from .preset import PresetFile

if TYPE_CHECKING:
    from napari_patchioner.progress import Progress

T = TypeVar("T")

# How often progress is reported, and may cancel: seconds.
_PAUSE = 0.1
# Seconds over which the speed is averaged.
_WINDOW = 5.0


class Meter:
    """Counts bytes over several files.

    Parameters
    ----------
    progress : callable, optional
        Given the fraction done and a message such as ``"346 of 604 MB, 4.1 MB/s"``; may raise.
    share : float
        The part of the whole work that the bytes are, 0 to 1.
    """

    def __init__(self, progress: Progress | None, share: float = 1.0) -> None:
        self._progress = progress
        self._share = share
        self._recent: deque[tuple[float, int]] = deque()
        self._reported = float("-inf")
        self.total = 0
        self.done = 0

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
        if self._progress is None or now - self._reported < _PAUSE:
            return
        self._reported = now
        fraction = min(self.done / self.total, 1.0) if self.total else 0.0
        self._progress(fraction * self._share, note or self._message(now))

    @property
    def speed(self) -> float:
        """Bytes per second of late."""
        if len(self._recent) < 2:
            return 0.0
        elapsed = time.monotonic() - self._recent[0][0]
        return sum(count for _, count in self._recent) / max(elapsed, 1e-3)

    def _message(self, now: float) -> str:
        whole = size_text(self.total)
        unit = whole.split()[-1]
        text = f"{size_text(self.done, unit).split()[0]} of {whole}"
        return f"{text}, {size_text(round(self.speed))}/s" if self.speed else text


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
    reason = f"status {status}" if status else _first_line(error)
    return Unreachable(
        f"{what} did not come from {endpoint} ({reason}); check the network and proxy "
        "and get the model again to go on from there, or get it from a folder."
    )


def _first_line(error: BaseException) -> str:
    """Return what an error says, short."""
    lines = str(error).splitlines()
    return lines[0][:120] if lines else type(error).__name__


def is_network(error: Exception) -> bool:
    """Whether an error comes from the network or the server."""
    from huggingface_hub.errors import HfHubHTTPError

    # The base of every error of whichever HTTP client the hub's library is built on.
    client_errors = HfHubHTTPError.__mro__[1]
    # The rest is what the library makes of a page that is no answer of a hub.
    strange = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
    return isinstance(error, (client_errors, OSError, *strange))


def other_file(name: str, results: str, wanted: str, done: str, where: str = "") -> ModelError:
    """Say in one sentence that a file has other contents than it should.

    ``where`` the right one is found is named if that is known.
    """
    advice = f"take the one {where}" if where else "try again later, or get it from another place"
    return ModelError(
        f"{name} is not the file it should be (it has the hash {results[:12]}… instead of "
        f"{wanted[:12]}…); {done}: {advice}."
    )


def disk_error(error: OSError, folder: Path) -> ModelError:
    """Say in one sentence why files of the store cannot be written."""
    return ModelError(
        f"{folder} cannot be written ({error.strerror or error}); make room, or set {HOME} to "
        "a folder on another disk, and get the model again to go on from there."
    )


# Attempts in a row that bring nothing before giving up, and seconds before the next one.
ATTEMPTS, WAIT_S = 5, 1.0
# A server that is silent for so many seconds is asked anew.
SILENCE_S = 20.0
_PAUSE = 0.1
_BUSY = {408, 425, 429, 500, 502, 503, 504}
# Being handed on to what is no web address (file:, ftp:), or in a circle, stays as it is.
_HOPELESS = {"OfflineModeIsEnabled", "UnsupportedProtocol", "TooManyRedirects", "InvalidURL"}


class Dropped(Exception):
    """The bytes did not come.

    Attributes
    ----------
    reason : Exception
        Why.
    response : object, optional
        The server's answer, if it was one that refuses.
    """

    def __init__(self, reason: Exception, response: Any = None) -> None:
        super().__init__(str(reason))
        self.reason = reason
        self.response = response

    @property
    def for_good(self) -> bool:
        """Whether asking again is of no use."""
        status = getattr(self.response, "status_code", None)
        return type(self.reason).__name__ in _HOPELESS or (
            status is not None and status not in _BUSY
        )


def fill(path: Path, url: str, size: int, meter: Meter) -> None:
    """Append to a file what it lacks of the one at an address.

    Parameters
    ----------
    path : Path
        Holds the first bytes, if any, from an earlier attempt. What comes is kept there whatever
        happens.
    meter : Meter
        Counts the bytes; may raise to stop.
    """
    if path.exists() and path.stat().st_size > size:
        path.unlink()
    with path.open("ab") as file:
        meter.add(file.tell(), moved=False)
        left = ATTEMPTS
        while file.tell() < size:
            before = file.tell()
            try:
                _append(file, url, size, meter)
                problem = Dropped(ConnectionError("the connection ended early"))
            except Dropped as error:
                problem = error
            left = ATTEMPTS if file.tell() > before else left - 1
            if problem.for_good or (not left and file.tell() < size):
                raise problem
            if file.tell() < size:
                _rest(meter)


def _append(file: BinaryIO, url: str, size: int, meter: Meter) -> None:
    """Write what one answer of the server brings."""
    start = file.tell()
    with _Reader(url, start) as reader:
        response = reader.take(meter.tick)
        partial = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if response.status_code == 416 or (start and response.is_success and not partial):
            # It cannot send a part: what is here already has to come again.
            file.truncate(0)
            file.seek(0)
            meter.add(-start, moved=False)
        if response.status_code == 416:
            return
        if not response.is_success:
            status = f"status {response.status_code}"
            raise Dropped(ConnectionError(status), response)
        for chunk in reader.chunks(meter.tick):
            wanted = chunk[: size - file.tell()]
            file.write(wanted)
            meter.add(len(wanted))
            if file.tell() >= size:  # whatever else it sends
                return


def _rest(meter: Meter) -> None:
    """Wait before the next attempt, while a person may cancel."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        time.sleep(_PAUSE)
        meter.tick("the connection was lost; trying again")


class _Reader:
    """Reads an answer in a thread of its own, so that a silent server can be left at once."""

    def __init__(self, url: str, start: int) -> None:
        self._items: Queue[Any] = Queue(64)
        self._over = Event()
        Thread(target=self._read, args=(url, start), daemon=True).start()

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def take(self, tick: Callable[[], object]) -> Any:
        """Return what comes next: the answer, then its bytes, then None."""
        while True:
            try:
                item = self._items.get(timeout=_PAUSE)
            except Empty:
                tick()
                continue
            if isinstance(item, Exception):
                raise Dropped(item) from item
            return item

    def chunks(self, tick: Callable[[], object]) -> Iterator[bytes]:
        """Yield the bytes as they come."""
        while (chunk := self.take(tick)) is not None:
            yield chunk

    def _read(self, url: str, start: int) -> None:
        from huggingface_hub import get_session
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

        headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        try:
            with get_session().stream(
                "GET", url, headers=headers, timeout=SILENCE_S, follow_redirects=True
            ) as response:
                self._hand(response)
                # As they come: what is packed may unpack to any length.
                for chunk in response.iter_raw() if response.is_success else ():
                    if not self._hand(chunk):
                        return
            self._hand(None)
        except Exception as error:
            self._hand(error)

    def _hand(self, item: Any) -> bool:
        """Pass something on, unless nobody waits for it any more."""
        while not self._over.is_set():
            try:
                self._items.put(item, timeout=_PAUSE)
            except Full:
                continue
            return True
        return False


# A SHA-256, or git's name of a file; git's name of a version.
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_NAME = re.compile(r"[\w-][\w.-]{0,199}", re.ASCII)
# Of a file on a hub; what has more is no model of ours.
_MOST_BYTES = 2**40
_LONGEST_NAME = 1000
# Names that Windows keeps for devices, whatever their ending; signs it allows in no name.
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"\\|?*]')
_TRUE = {"1", "on", "yes", "true"}
_TIMEOUT = 20.0
_proxies = getproxies()


@dataclass(frozen=True, slots=True)
class Remote:
    """A file on the hub.

    Attributes
    ----------
    repo, path, commit : str
        Where it is; the path is no glob any more.
    etag : str
        The hub's name for its contents: their SHA-256 or their name as a git blob.
    size : int
        Bytes.
    sha256 : str
        What its contents must have; empty if neither the preset nor the hub says.
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
        return store_folder() / FILES / cache_name(self.repo)

    def fits(self, path: Path, tick: Callable[[], object]) -> bool:
        """Whether a file here is this one."""
        if path.stat().st_size != self.size:
            return False
        if not self.sha256 and not _HASH.fullmatch(self.etag):
            # A mirror with names of its own gives nothing that could be compared.
            return True
        sha256, blob = fingerprint(path, tick)
        return sha256 == self.sha256 if self.sha256 else self.etag in (blob, sha256)


def offline() -> bool:
    """Whether a person has forbidden to use the network."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").lower() in _TRUE for name in names)


def endpoint() -> str:
    """Return the address of the hub or of its mirror, from HF_ENDPOINT."""
    from huggingface_hub import constants

    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


class Hub:
    """The hub as it is now; asked once for each repository."""

    def __init__(self, tick: Callable[[], object]) -> None:
        self.endpoint = endpoint()
        self._tick = tick
        self._known: dict[str, Any] = {}
        _use_current_proxy()

    def find(self, file: PresetFile) -> Remote:
        """Ask what a file is: how long, which version, which contents."""
        info = self._info(file.repo)
        listed = [entry for entry in info.siblings or () if isinstance(entry.rfilename, str)]
        names = [sibling.rfilename for sibling in listed]
        path = _one(file, names) if is_glob(file.path) else file.path
        if not is_safe(path):
            raise ModelError(
                f"{self.endpoint} calls a file of {file.repo} {path[:80]!r}, which is no name of a "
                "file inside a folder; nothing was downloaded."
            )
        if path not in names:
            raise ModelError(
                f"{file.repo} has no file {path} any more; update napari-patchioner, or get the "
                "model from a folder that holds an older copy."
            )
        sibling = next(item for item in listed if item.rfilename == path)
        commit = self._name(info.sha)
        sha256 = self._name(sibling.lfs.sha256) if sibling.lfs and sibling.lfs.sha256 else ""
        size, etag = sibling.size, sha256 or sibling.blob_id
        if size is None or not etag:
            size, etag = self._head(file.repo, path, commit)
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
        url = hf_hub_url(remote.repo, remote.path, revision=remote.commit, endpoint=self.endpoint)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            fill(part, url, remote.size, meter)
            self._verify(remote, part, meter)
            part.replace(target)
        except Dropped as error:
            raise hub_error(error, self.endpoint, remote.repo, remote.path) from error
        except OSError as error:
            raise disk_error(error, target.parent) from error
        return target

    def _verify(self, remote: Remote, path: Path, meter: Meter) -> None:
        """Delete a file that is not what it should be."""
        check = partial(meter.tick, f"checking {remote.path}")
        if not remote.fits(path, check):
            result, _ = fingerprint(path, check)
            path.unlink()
            wanted = remote.sha256 or remote.etag
            done = "it was deleted and nothing was installed"
            raise other_file(f"{remote.repo}/{remote.path}", result, wanted, done)

    def _info(self, repo: str) -> Any:
        """Return what the hub says of a repository and its files."""
        from huggingface_hub import HfApi

        if repo not in self._known:
            ask = partial(
                HfApi(endpoint=self.endpoint).model_info,
                repo,
                files_metadata=True,
                timeout=_TIMEOUT,
            )
            self._known[repo] = self._ask(ask, repo)
        return self._known[repo]

    def _head(self, repo: str, path: str, commit: str) -> tuple[int, str]:
        """Ask for one file's size and etag, for mirrors that list only names."""
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        url = hf_hub_url(repo, path, revision=commit, endpoint=self.endpoint)
        metadata = self._ask(partial(get_hf_file_metadata, url, timeout=_TIMEOUT), repo, path)
        return metadata.size or 0, metadata.etag or ""

    def _ask(self, work: Callable[[], Any], repo: str, path: str = "") -> Any:
        """Ask the hub, and say its errors in one sentence."""
        try:
            return patiently(work, self._tick)
        except Exception as error:
            if isinstance(error, ModelError) or not is_network(error):
                raise
            raise hub_error(error, self.endpoint, repo, path) from error


def is_safe(path: str) -> bool:
    """Whether a path that a hub names leads to a file inside a folder, on any system.

    >>> [is_safe(path) for path in ("a/b.pt", "../b.pt", "/b.pt", "a//b.pt", "c:b.pt", "nul.pt")]
    [True, False, False, False, False, False]
    """
    parts = path.split("/")
    return len(path) <= _LONGEST_NAME and not any(
        not part.strip(" .") or part[-1] in " ." or _UNSAFE.search(part) or _DEVICE.match(part)
        for part in parts
    )


def _one(file: PresetFile, names: list[str]) -> str:
    """Return the one file of a repository that fits a glob."""
    fitting = [name for name in names if fits(file.path, name)]
    if len(fitting) != 1:
        result = ", ".join(fitting[:3]) or "none"
        raise ModelError(
            f"{file.repo} should hold one file {file.path} but holds {result}; update "
            "napari-patchioner, or get the model from a folder."
        )
    return fitting[0]


def _use_current_proxy() -> None:
    """Make the library open a new session if the proxy was changed since the last one."""
    global _proxies
    if getproxies() != _proxies:
        from huggingface_hub import close_session

        close_session()
        _proxies = getproxies()
