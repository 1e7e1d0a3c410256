"""Warnings of libraries that say nothing to a person, ignored in one thread and no other."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


class _Threads(threading.local):
    """How many times each thread has asked for quiet and not ended it yet."""

    depth = 0


_threads = _Threads()


class _OfQuietThread(type):
    """Has every warning of a quiet thread belong to a category."""

    def __subclasscheck__(cls, _category: type) -> bool:
        return _threads.depth > 0


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
    _threads.depth += 1
    try:
        yield
    finally:
        _threads.depth -= 1
