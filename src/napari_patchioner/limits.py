"""What reading one file may take: bytes, pixels, values, records and time, stated once.

A door (`annotations.read_annotations`, the picture door, the reader of project files) enters
`file_budget` with the file; whatever is called within it charges what it is about to take, before
it takes it:

- `read_file` returns the bytes of a plain file, and charges them; `check_plain_file` alone refuses
  pipes, sockets, devices and folders;
- `charge_bytes` for what is unpacked (members of archives, base64, compressed columns);
- `charge_pixels` for masks, before they are decoded;
- `charge_json` for a JSON text, before it is parsed;
- `charge_records` for each record, which also looks at the clock; `check_time` alone does so in
  other loops;
- `check_depth` for whatever is nested.

Each raises a `BudgetError` of one sentence that names the file, what was too much and the limit.
It is a `FormatError` as well as an `ImageError`. A budget that was exceeded once stays so: every
later charge raises the same error again, so that no handler of single records can pass it over.

Budgets nest: within one, another for the same thread changes nothing but the name of the file, and
what is taken goes to the outer one (a folder of files is one thing to read). Outside any, a charge
is only held against the limit by itself.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from .errors import FormatError, ImageError, PatchionerError, os_errors

_CHUNK = 2**20


class BudgetError(FormatError, ImageError):
    """A file that would take more memory or time than one file may."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one file may take."""

    # Of a file as it lies on the disk, or of all files of a folder read together.
    file_bytes: int = 2**30
    # What comes out of what is compressed or encoded, all together.
    unpacked_bytes: int = 2**29
    # Of all masks together, each cut to its own frame, one byte each; and so many more for each
    # byte of the file, as long runs of pixels take a few bytes each.
    pixels: int = 2**28
    pixels_per_byte: int = 128
    # Of all JSON texts together.
    values: int = 100_000_000
    # Regions, rows or lines.
    records: int = 10_000_000
    # Levels of whatever is nested: JSON, geometries, XML.
    depth: int = 100
    # Computing time of the thread that reads, whatever the size; and one more for so many bytes.
    seconds: float = 20.0
    bytes_per_second: float = 50_000.0


LIMITS = Limits()
"""The limits of every file that is read."""


class _Budget:
    """What one file has taken so far."""

    def __init__(self, name: str, limits: Limits) -> None:
        self.name, self.limits = name, limits
        self.taken: dict[str, int] = {}
        self.error: BudgetError | None = None
        # Not the clock on the wall: a busy machine is no reason to refuse a file.
        self.started = time.thread_time()

    def charge(self, kind: str, count: int, what: str, advice: str) -> None:
        """Take some of a kind; an error if that is too much."""
        self.check()
        taken = self.taken.get(kind, 0) + count
        most = getattr(self.limits, kind)
        if kind == "pixels":
            most += self.limits.pixels_per_byte * self.taken.get("file_bytes", 0)
        if taken > most:
            self.fail(f"{what.format(f'{most:,}')}; {advice}")
        self.taken[kind] = taken

    def check_time(self) -> None:
        """Raise if reading has taken too long."""
        self.check()
        size = self.taken.get("file_bytes", 0)
        allowed = self.limits.seconds + size / self.limits.bytes_per_second
        if time.thread_time() - self.started > allowed:
            self.fail(f"takes more than {allowed:.0f} seconds to read; split it")

    def check(self) -> None:
        """Raise again what was raised before."""
        if self.error is not None:
            raise self.error

    def fail(self, problem: str) -> None:
        """Raise the error that names the file, now and ever after."""
        self.error = BudgetError(f"{self.name}: {problem}" if self.name else problem)
        raise self.error


_current: ContextVar[_Budget | None] = ContextVar("budget", default=None)


@contextmanager
def file_budget(file: str | os.PathLike[str], limits: Limits | None = None) -> Iterator[None]:
    """Let everything within be charged to one file or folder, by default up to `LIMITS`.

    >>> with file_budget("cat.json", Limits(pixels=100)):
    ...     charge_pixels(64)
    ...     charge_pixels(64)
    Traceback (most recent call last):
    napari_patchioner.limits.BudgetError: cat.json: has masks of more than 100 pixels; split the \
file, or make its masks smaller
    """
    outer = _current.get()
    name = Path(os.fsdecode(file)).name or os.fsdecode(file)
    if outer is not None:
        before, outer.name = outer.name, name
        try:
            yield
        finally:
            outer.name = before
        return
    token = _current.set(_Budget(name, limits or LIMITS))
    try:
        yield
    finally:
        _current.reset(token)


def _budget() -> _Budget:
    """Return the budget of the file that is read, or one for this charge alone."""
    return _current.get() or _Budget("", LIMITS)


def check_budget() -> None:
    """Raise again the error of a budget that was exceeded within, whoever caught it."""
    _budget().check()


def check_time() -> None:
    """Raise a BudgetError if reading the file has taken too long."""
    _budget().check_time()


def charge_bytes(count: int) -> None:
    """Charge bytes that something compressed or encoded unpacks to."""
    what = "unpacks to more than {} bytes"
    _budget().charge("unpacked_bytes", count, what, "unpack it to a folder, or split it")


def charge_pixels(count: int) -> None:
    """Charge the pixels of a mask, before it is made."""
    what = "has masks of more than {} pixels"
    _budget().charge("pixels", count, what, "split the file, or make its masks smaller")


def charge_records(count: int = 1) -> None:
    """Charge records, and look at the clock."""
    budget = _budget()
    budget.charge("records", count, "holds more than {} records", "split it")
    budget.check_time()


def check_depth(depth: int, what: str) -> None:
    """Raise a BudgetError if something is nested too deeply.

    >>> check_depth(101, "JSON")
    Traceback (most recent call last):
    napari_patchioner.limits.BudgetError: is JSON nested more than 100 levels deep, which is too \
deep to be read
    """
    budget = _budget()
    most = budget.limits.depth
    if depth > most:
        budget.fail(f"is {what} nested more than {most} levels deep, which is too deep to be read")


def check_plain_file(
    path: str | os.PathLike[str], error: type[PatchionerError] = FormatError
) -> int:
    """Return the size in bytes of a plain file that is there, or that a link leads to.

    All else is refused with an ``error``: nothing, a folder, what is no path, and a pipe, a socket
    or a device, which may never end.
    """
    shown = os.fsdecode(path)
    try:
        status = os.stat(path)
    except OSError as why:
        raise error(f"{shown}: cannot be read ({why.strerror or why})") from why
    except ValueError as why:
        raise error(f"{shown!r}: is no path of a file ({why})") from why
    if stat.S_ISDIR(status.st_mode):
        raise error(f"{shown}: cannot be read (it is a folder, not a file)")
    if not stat.S_ISREG(status.st_mode) or (not status.st_size and _is_of_the_kernel(path)):
        raise error(f"{shown}: is a pipe, socket or device; save its contents to a plain file")
    return status.st_size


def _is_of_the_kernel(path: str | os.PathLike[str]) -> bool:
    """Whether a file is on a file system without any space, as `/proc`: reading it may not end."""
    return hasattr(os, "statvfs") and not os.statvfs(path).f_blocks


def read_file(path: str | os.PathLike[str], error: type[PatchionerError] = FormatError) -> bytes:
    """Return all bytes of a plain file, charged to the budget; see `check_plain_file`."""
    size = check_plain_file(path, error)
    charge_file(size)
    with os_errors(os.fsdecode(path), kind=error), open(path, "rb") as file:
        parts = [file.read(size)]
        # A file may grow meanwhile, and those in /proc say nothing of their size.
        while more := file.read(_CHUNK):
            charge_file(len(more))
            parts.append(more)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def charge_file(count: int) -> None:
    """Charge bytes of the file as it lies on the disk, for readers that open it themselves."""
    what = "is larger than {} bytes"
    _budget().charge("file_bytes", count, what, "split it into several files")


def charge_json(data: str | bytes) -> None:
    """Charge the values that a JSON text holds, before it is parsed."""
    if isinstance(data, str):
        count = sum(map(data.count, ",[{"))
    else:
        count = sum(map(data.count, (b",", b"[", b"{")))
    _budget().charge("values", count, "holds more than {} values", "split it")
