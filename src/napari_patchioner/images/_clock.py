"""How long reading a picture may take."""

from __future__ import annotations

import io
import os
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from napari_patchioner.limits import BudgetError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import WriteableBuffer

# Computing time to read any picture; and for each so many pixels and bytes one second more.
_SECONDS = 4.0
_PIXELS_PER_SECOND = 40e6
_BYTES_PER_SECOND = 25e6


class Clock:
    """The computing time that one picture has left, in the thread that made the clock."""

    def __init__(self, name: str, count: int) -> None:
        self._name = name
        self._allowed = _SECONDS + count / _BYTES_PER_SECOND
        # Not the clock on the wall: a busy machine is no reason to refuse a picture.
        self._started = time.thread_time()

    def allow(self, pixels: int) -> None:
        """Allow for so many pixels."""
        self._allowed += pixels / _PIXELS_PER_SECOND

    @property
    def is_up(self) -> bool:
        """Whether reading took too long."""
        return time.thread_time() - self._started > self._allowed

    def error(self) -> BudgetError:
        """Return what to raise when reading took too long."""
        return BudgetError(
            f"{self._name}: takes more than {self._allowed:.0f} seconds to read; "
            "save it anew, as PNG or TIFF"
        )

    def check(self) -> None:
        """Raise a BudgetError if reading took too long."""
        if self.is_up:
            raise self.error()


_current: ContextVar[Clock | None] = ContextVar("clock", default=None)


@contextmanager
def timed(source: str | os.PathLike[str] | bytes, name: str = "") -> Iterator[Clock]:
    """Limit the time of reading one picture, with files that look at the clock; for ``with``.

    Parameters
    ----------
    source : path-like or bytes
        A plain file, or its contents.
    name : str
        What to call it in messages; by default the path.

    Yields
    ------
    Clock
        Of the picture; within another ``with`` for the same thread, it takes its place.

    Raises
    ------
    BudgetError
        Reading took too long, even if the decoder made another error of that, or none.
    """
    if isinstance(source, bytes):
        clock = Clock(name or "picture", len(source))
    else:
        clock = Clock(name or os.fsdecode(source), os.stat(source).st_size)
    token = _current.set(clock)
    try:
        yield clock
    except Exception as error:
        if clock.is_up:
            raise clock.error() from error
        raise
    finally:
        _current.reset(token)


def _look() -> None:
    """Raise a BudgetError if there is a clock, and the time is up."""
    clock = _current.get()
    if clock is not None:
        clock.check()


class TimedFile(io.BufferedReader):
    """A plain file whose readers are stopped when reading it takes too long.

    Decoders ask for a file piece by piece, so that each piece is the moment to look at the clock.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(io.FileIO(path))

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as any file."""
        _look()
        return super().read(size)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read as any file."""
        _look()
        return super().readinto(buffer)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move as in any file."""
        _look()
        return super().seek(offset, whence)


class TimedBytes(io.BytesIO):
    """The contents of a file, as `TimedFile`."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as any file."""
        _look()
        return super().read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move as in any file."""
        _look()
        return super().seek(offset, whence)


class Reopened:
    """A path that tifffile opens, and opens again, as a `TimedFile`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path, self.mode = os.path.realpath(os.fsdecode(path)), "rb"

    def open(self) -> TimedFile:
        """Return the open file."""
        return TimedFile(self.path)
