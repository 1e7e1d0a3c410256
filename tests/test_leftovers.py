"""A run of the tests that is interrupted or killed leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import leftovers
import pytest
from dask_processes import wait_until

SUPPORT = str(Path(leftovers.__file__).parent)
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals differ there")

# All is in sessions of its own, where no signal of a terminal arrives.
STARTS_A_PROCESS = """
import subprocess, sys, time
from pathlib import Path

def test_that_takes_long(tmp_path):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(900)"], start_new_session=True)
    Path(__file__).with_name("started").touch()
    time.sleep(900)
"""
STARTS_A_CLUSTER = """
import time
from pathlib import Path
from dask_processes import Processes

def test_that_takes_long(tmp_path):
    with Processes(tmp_path) as processes:
        processes.add_worker()
        Path(__file__).with_name("started").touch()
        time.sleep(900)
"""


def to_the_process(process: subprocess.Popen[bytes]) -> None:
    process.terminate()


def to_the_group(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGINT)


def without_warning(process: subprocess.Popen[bytes]) -> None:
    process.kill()


@pytest.mark.parametrize(
    ("stop", "code"),
    [
        (to_the_group, STARTS_A_PROCESS),
        (to_the_process, STARTS_A_PROCESS),
        (without_warning, STARTS_A_CLUSTER),
    ],
)
def test_nothing_that_a_test_started_outlives_the_run(stop, code, tmp_path):
    (tmp_path / "test_it.py").write_text(code)
    mark = uuid.uuid4().hex
    marks = f"{os.environ.get(leftovers.MARK, '')} {mark}"
    # No others: napari's would load all of napari.
    plugins = ["leftovers", "xdist.plugin", "pytest_xvfb", "no:cacheprovider"]
    options = [part for plugin in plugins for part in ("-p", plugin)]
    # Not as a worker of the run that this test may be part of
    alone = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")}
    with (tmp_path / "log").open("wb") as log:
        run = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-c", os.devnull, *options, "-n1", tmp_path],
            env={
                **alone,
                leftovers.MARK: marks,
                "PYTHONPATH": SUPPORT,
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            },
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    started = tmp_path / "started"
    wait_until(lambda: started.exists() or run.poll() is not None)
    assert started.exists(), (tmp_path / "log").read_text()
    # The run, its worker, what watches over it, and what the test started
    assert len(leftovers.marked(mark)) >= 4
    stop(run)
    run.wait(60)
    wait_until(lambda: not leftovers.marked(mark))
