"""Warnings of libraries that say nothing to a person, ignored in one thread and no other."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True)
class _Depth:
    """How many times a thread has asked for quiet and not ended it yet."""

    count: int = 0


class _Threads(threading.local):
    """What each thread has of its own."""

    def __init__(self) -> None:
        self.depth = _Depth()


_threads = _Threads()


class _OfQuietThread(type):
    """Has every warning of a quiet thread belong to a category."""

    def __subclasscheck__(cls, _category: type) -> bool:
        return _threads.depth.count > 0


class _Ignored(Warning, metaclass=_OfQuietThread):
    """Every warning, in a thread that is quiet; none in others."""


def add_quiet_filter() -> None:
    """See to it that warnings of quiet threads are ignored; call it before a thread starts.

    ``warnings.catch_warnings`` puts the filters of its beginning back at its end, for all threads,
    and so may end in the middle of another thread's; this filter stays, and asks for the thread.
    """
    if not any(category is _Ignored for _, _, category, *_ in warnings.filters):
        warnings.simplefilter("ignore", _Ignored)


@contextmanager
def ignored_warnings() -> Iterator[None]:
    """Ignore all warnings of this thread inside the ``with``."""
    add_quiet_filter()
    depth = _threads.depth
    depth.count += 1
    try:
        yield
    finally:
        depth.count -= 1
