"""Keeping two processes from writing into one file or folder at once."""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from .errors import FormatError

# What most file systems allow for a name, less the point, the digest and the ending put around it.
_LONGEST_NAME = 200


class PathTaken(FormatError):
    """Another process is writing to a path."""


class WriteLock:
    """Held by the one process that may write to a path; the system frees it if that process dies.

    The path is locked by a hidden file beside it, or in it if it is a folder beside which nothing
    can be made; that file goes with the lock. ``wanted`` is what a person calls it. A PathTaken
    says that another process holds the lock, a FormatError that the folder cannot be written.
    """

    def __init__(self, path: Path, wanted: str = "") -> None:
        from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

        self._file = lock_file(path)
        if not self._file.parent.is_dir():  # which the lock would make
            raise FormatError(f"{wanted or path}: cannot be written (there is no such folder)")
        self._lock: BaseFileLock = FileLock(self._file, thread_local=False)
        try:
            while not self._lock.is_locked:
                try:
                    self._lock.acquire(timeout=0)
                except NotImplementedError:
                    # Some network drives cannot lock; a file that is there or not has to do.
                    self._file = self._file.with_name(f"{self._file.name}.soft")
                    self._lock = SoftFileLock(self._file, thread_local=False)
                    continue
                if not self._file.exists():
                    # Whoever held it before deleted the file after it was opened here.
                    self._lock.release()
        except Timeout:
            raise PathTaken(
                f"{wanted or path}: another process is writing it; wait until that one has ended, "
                "or name another place with --out"
            ) from None
        except OSError as error:
            raise FormatError(
                f"{wanted or path}: cannot be written ({error.strerror or error})"
            ) from error

    def release(self) -> None:
        """Let others write; may be called again."""
        if self._lock.is_locked:
            # While it is still held, so that nobody's else is deleted. Windows does not let it.
            with suppress(OSError):
                self._file.unlink()
            self._lock.release()
            if os.name == "nt":
                with suppress(OSError):
                    self._file.unlink()


def lock_file(path: Path) -> Path:
    """Return the hidden file that stands for the right to write to a path.

    >>> from pathlib import Path
    >>> lock_file(Path("out.csv")).name
    '.out.csv.lock'
    """
    path = path.resolve()
    if path.is_dir() and not (path.name and os.access(path.parent, os.W_OK)):
        return path / ".lock"
    name = path.name
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = blake2b(os.fsencode(name), digest_size=16).hexdigest()
    return path.parent / f".{name}.lock"
