"""Whatever tests start ends with them, however they end.

A test that is interrupted, and a run that is killed, cannot clean up: what they started (a
scheduler, workers, an X server) would go on for days. So everything a run starts inherits a mark
in its environment, and a process beside the run waits for its end and kills what bears the mark.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid

import psutil
import pytest

MARK = "NAPARI_PATCHIONER_TESTS"
# What is being started while others are killed is found by the next look.
LOOKS, PAUSE_S = 5, 0.05


@pytest.hookimpl(tryfirst=True)
def pytest_configure() -> None:
    """Mark this run and watch over it; tryfirst, for pytest-xvfb starts a server at this hook."""
    # What a shell starts in the background ignores Ctrl-C, and so would all that tests start.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "PYTEST_XDIST_WORKER" not in os.environ:
        watch()


def watch() -> None:
    """Give what this process starts from now on a mark, and start the one who kills it."""
    # A run inside a test of another run bears the marks of both.
    outer, mark = os.environ.get(MARK, ""), uuid.uuid4().hex
    guard = subprocess.Popen(
        [sys.executable, __file__, str(os.getpid()), mark],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    guard.returncode = 0  # Python warns of processes that are not waited for
    os.environ[MARK] = f"{outer} {mark}"


def marked(mark: str) -> list[psutil.Process]:
    """Return the processes that bear a mark."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if mark in process.environ().get(MARK, "").split():
                found.append(process)
    return found


def end_with(process_id: int, mark: str) -> None:
    """Wait for the end of a process, then kill all that bear the mark."""
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(process_id).wait()
    for _ in range(LOOKS):
        for process in marked(mark):
            with contextlib.suppress(psutil.Error):
                process.kill()
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    end_with(int(sys.argv[1]), sys.argv[2])
