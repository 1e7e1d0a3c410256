"""Fetching files from the Hugging Face hub, or whatever speaks its protocol.

The hub's own `hf_hub_download` cannot be stopped within a second (it reads 10 MB at a time) and
throws away what came of a file when it is stopped. So the bytes are read here, over the library's
own session (its proxy, certificates, log-in and offline switch), into the library's own cache,
where every other program that uses the hub finds them.
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies

from napari_patchioner.errors import ModelError

from ._local import cache_folder, cache_name, fingerprint, fits, is_glob
from ._meter import patiently
from ._store import claim, disclaim
from ._stream import Dropped, fill
from ._trouble import Unreachable, disk_trouble, hub_trouble, is_network, other_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ._meter import Meter
    from ._preset import PresetFile

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
    def blob(self) -> Path:
        """Where the hub's cache keeps the contents."""
        return cache_folder() / cache_name(self.repo) / "blobs" / self.etag

    def fits(self, path: Path, tick: Callable[[], object]) -> bool:
        """Tell whether a file here is this one."""
        if path.stat().st_size != self.size:
            return False
        if not self.sha256 and not _HASH.fullmatch(self.etag):
            # A mirror with names of its own tells nothing that could be compared.
            return True
        sha256, blob = fingerprint(path, tick)
        return sha256 == self.sha256 if self.sha256 else self.etag in (blob, sha256)


def offline() -> bool:
    """Tell whether a person has forbidden to use the network."""
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
        """Ask what a file is: how long, which version, which contents.

        Raises
        ------
        ModelError
            The hub cannot be reached, has no such file, or does not hand it out.
        """
        info = self._info(file.repo)
        listed = [one for one in info.siblings or () if isinstance(one.rfilename, str)]
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

    def _name(self, told: object) -> str:
        """Return what the hub calls contents or a version, which becomes the name of a file."""
        if not isinstance(told, str) or not _NAME.fullmatch(told) or not is_safe(told):
            raise Unreachable(f"{self.endpoint} does not answer like a hub; check HF_ENDPOINT.")
        return told

    def get(self, remote: Remote, meter: Meter) -> Path:
        """Download a file into the hub's cache, from where an earlier attempt stopped.

        Parameters
        ----------
        remote : Remote
            Which file.
        meter : Meter
            Counts its bytes; may raise to stop, which keeps what came so far.

        Raises
        ------
        ModelError
            The connection was lost for good, the disk is full, or the file is not what it
            should be, in which case it is deleted.
        """
        from huggingface_hub import hf_hub_url

        blob = remote.blob
        part = blob.with_name(f"{remote.etag}.incomplete")
        url = hf_hub_url(remote.repo, remote.path, revision=remote.commit, endpoint=self.endpoint)
        try:
            blob.parent.mkdir(parents=True, exist_ok=True)
            with self._alone(remote, meter):
                if blob.is_file() and remote.fits(blob, meter.tick):
                    # Another process has brought it meanwhile.
                    meter.add(remote.size, moved=False)
                    return self.link(remote)
                claim(part)
                fill(part, url, remote.size, meter)
                self._verify(remote, part, meter)
                part.replace(blob)
        except Dropped as error:
            raise hub_trouble(error, self.endpoint, remote.repo, remote.path) from error
        except OSError as error:
            raise disk_trouble(error, blob.parent) from error
        disclaim({part})
        claim(blob)
        return self.link(remote)

    @contextmanager
    def _alone(self, remote: Remote, meter: Meter) -> Iterator[None]:
        """Keep other programs that use the hub's cache from downloading the same file.

        The lock is the one that the hub's library takes.
        """
        from filelock import FileLock, Timeout

        folder = cache_folder() / ".locks" / cache_name(remote.repo)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{remote.etag}.lock"
        lock = FileLock(path)
        while not lock.is_locked:
            try:
                lock.acquire(timeout=0.2)
            except Timeout:
                meter.tick(f"waiting for another program that downloads {remote.path}")
            except NotImplementedError:  # a network drive that cannot lock
                break
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            lock.release()
            with suppress(OSError):  # another file is on its way
                folder.rmdir()

    def link(self, remote: Remote) -> Path:
        """Show contents that the cache holds where the hub's library looks for the file."""
        home = remote.blob.parents[1]
        place = home / "snapshots" / remote.commit / remote.path
        try:
            if os.path.lexists(place) and not (place.exists() and place.samefile(remote.blob)):
                place.unlink()
            if not place.exists():
                claim(place)
                place.parent.mkdir(parents=True, exist_ok=True)
                _show(remote.blob, place)
            (home / "refs").mkdir(exist_ok=True)
            (home / "refs" / "main").write_text(remote.commit, encoding="utf-8")
        except OSError as error:
            raise disk_trouble(error, place.parent) from error
        if not remote.fits(place, self._tick):
            raise ModelError(
                f"{remote.repo} was changed while it was downloaded; get the model again."
            )
        return place

    def _verify(self, remote: Remote, path: Path, meter: Meter) -> None:
        """Delete a file that is not what it should be."""
        check = partial(meter.tick, f"checking {remote.path}")
        if not remote.fits(path, check):
            found, _ = fingerprint(path, check)
            path.unlink()
            disclaim({path})
            wanted = remote.sha256 or remote.etag
            done = "it was deleted and nothing was installed"
            raise other_file(f"{remote.repo}/{remote.path}", found, wanted, done)

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
        """Ask the hub, and tell its errors in one sentence."""
        try:
            return patiently(work, self._tick)
        except Exception as error:
            if isinstance(error, ModelError) or not is_network(error):
                raise
            raise hub_trouble(error, self.endpoint, repo, path) from error


def is_safe(path: str) -> bool:
    """Whether a path that a hub tells leads to a file inside a folder, on any system.

    >>> [is_safe(path) for path in ("a/b.pt", "../b.pt", "/b.pt", "a//b.pt", "c:b.pt", "nul.pt")]
    [True, False, False, False, False, False]
    """
    parts = path.split("/")
    return len(path) <= _LONGEST_NAME and not any(
        not part.strip(" .") or part[-1] in " ." or _UNSAFE.search(part) or _DEVICE.match(part)
        for part in parts
    )


def _show(blob: Path, place: Path) -> None:
    """Let a file appear under another name, by a link where there are links."""
    try:
        place.symlink_to(os.path.relpath(blob, place.parent))
    except OSError:
        shutil.copyfile(blob, place)


def _one(file: PresetFile, names: list[str]) -> str:
    """Return the one file of a repository that fits a glob."""
    fitting = [name for name in names if fits(file.path, name)]
    if len(fitting) != 1:
        found = ", ".join(fitting[:3]) or "none"
        raise ModelError(
            f"{file.repo} should hold one file {file.path} but holds {found}; update "
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
