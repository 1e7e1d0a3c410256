"""A scheduler and workers in processes of their own, as somebody starts them in a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from distributed import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SUPPORT = Path(__file__).parent
PATIENCE_S = 120


class Processes:
    """A scheduler on a port of the system's choice; a context manager that ends all it began.

    Parameters
    ----------
    folder : Path
        For logs, and what workers keep on disk.
    env : mapping of str to str, optional
        Variables for every process.
    """

    def __init__(self, folder: Path, env: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.file = folder / "scheduler.json"
        self._env = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            # It would look a hundred times a second at what a worker does.
            "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
            "PYTHONPATH": os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")]),
            **(env or {}),
        }
        self.scheduler = self._start(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", self.file
        )
        self.workers: list[subprocess.Popen[bytes]] = []
        self.address = self._address()

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self.workers, self.scheduler):
            end(process)

    def add_worker(
        self, *options: object, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a worker of one thread; it is not waited for."""
        usual = ("--nthreads", "1", "--memory-limit", "0", "--local-directory", self.folder)
        worker = self._start("worker", self.address, *usual, *options, env=env)
        self.workers.append(worker)
        return worker

    def dismiss(self) -> None:
        """End all workers, and wait until the scheduler knows."""
        for worker in self.workers:
            end(worker)
        self.workers.clear()
        with Client(self.address, set_as_default=False) as client:
            wait_until(lambda: not client.nthreads())

    def _start(
        self, kind: str, *options: object, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        with (self.folder / f"{kind}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_" + kind, "--no-dashboard"]
                + [str(one) for one in options],
                env={**self._env, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _address(self) -> str:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and self.scheduler.poll() is None:
            try:
                return json.loads(self.file.read_text())["address"]
            except (OSError, ValueError):
                time.sleep(0.05)
        raise AssertionError((self.folder / "scheduler.log").read_text())


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that is the first of its group, and all others of the group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for something, but not for ever."""
    until = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)
