"""A scheduler and workers in processes of their own say what one process says."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import colours
import pytest
from dask_processes import Processes

from napari_patchioner.batch import Plan, cluster, find_images, run

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    with Processes(tmp_path_factory.mktemp("dask")) as processes:
        for _ in range(2):
            processes.add_worker("--no-nanny")
        yield processes


@pytest.fixture
def scheduler(tmp_path):
    """A scheduler without workers, of which each image may cost one other."""
    folder = tmp_path / "dask"
    folder.mkdir()
    with Processes(folder, {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}) as processes:
        yield processes


def captions(found):
    """Return what was said, having seen that each image came once."""
    said = {}
    for job, outcome in found:
        assert job.image == outcome.image
        assert job.image not in said
        words = [(one.uid, one.caption, one.score) for one in outcome.annotations]
        said[job.image] = (outcome.status, outcome.why, outcome.height, outcome.width, words)
    return said


def on(processes, jobs, model="colours", load=colours.load, **options):
    return cluster.run(jobs, model, scheduler=processes.address, load=load, **options)


@pytest.mark.parametrize("nanny", ["--nanny", "--no-nanny"])
def test_no_image_of_a_killed_worker_is_lost_and_none_comes_twice(pictures, scheduler, nanny):
    folder = pictures(300)
    (folder / "0123.png").write_bytes(b"no picture")
    plan = Plan(find_images([folder]), "grid:2")
    first, _ = (scheduler.add_worker(nanny) for _ in range(2))
    victim = None

    def disturbed():
        nonlocal victim
        for number, found in enumerate(on(scheduler, plan, load=colours.load_slow)):
            yield found
            if number == 99:
                victim = worker_process(first)
                os.kill(victim, signal.SIGKILL)

    said = captions(disturbed())
    assert len(said) == 300
    assert [name for name, (status, *_) in said.items() if status != "done"] == ["0123.png"]
    assert said == captions(run(plan, "colours", load=colours.load))
    assert victim is not None
    if nanny == "--no-nanny":
        assert first.wait(timeout=20) == -signal.SIGKILL
    else:
        wait_until(lambda: worker_process(first) not in (None, victim))


def worker_process(process):
    """Return the process that works: the newest below a nanny, or else the one itself."""
    nanny = b"--nanny" in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    below = Path(f"/proc/{process.pid}/task").glob("*/children") if nanny else ()
    pids = [int(pid) for one in below for pid in one.read_text().split()]
    spawned = [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return max(spawned, default=None) if nanny else process.pid


def wait_until(true, seconds=60):
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)
