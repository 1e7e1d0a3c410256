"""No long search for garbage while a worker is busy.

A window with a model in memory holds some million Python objects. Now and then Python looks
through all of them for unused ones, in whichever thread that happens, and for a quarter of a
second no other thread runs: nothing else makes the window stand still as long. So what is there
when work begins is left out of such searches until it ends; what is made meanwhile is not.
"""

from __future__ import annotations

import gc
from threading import Lock

_lock = Lock()
_busy = 0
_ours = False


def begin() -> None:
    """Leave what is in memory now out of all searches; `end` has to follow."""
    global _busy, _ours
    with _lock:
        # Somebody else's frozen objects are not ours to thaw.
        if not _busy and not gc.get_freeze_count():
            gc.freeze()
            _ours = True
        _busy += 1


def end() -> None:
    """Search everything again, once all work has ended."""
    global _busy, _ours
    with _lock:
        _busy -= 1
        if not _busy and _ours:
            gc.unfreeze()
            _ours = False
