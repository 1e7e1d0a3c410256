"""A scheduler and workers in processes of their own say what one process says."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import colours
import pytest
from dask_processes import end, wait_until
from PIL import Image

from napari_patchioner.batch import Plan, cluster, find_images, run
from napari_patchioner.errors import PatchionerError

pytestmark = pytest.mark.timeout(300)


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


def test_few_images_are_on_their_way_at_a_time(pictures, two_workers):
    plan = Plan(find_images([pictures(60)]), "whole")
    taken = back = most = 0

    def jobs():
        nonlocal taken
        for job in plan:
            taken += 1
            yield job

    for _ in on(two_workers, jobs(), load=colours.load_slow):
        back += 1
        most = max(most, taken - back)
    assert back == 60
    assert 2 <= most <= 9


def test_a_run_that_is_left_leaves_nothing_on_the_cluster(pictures, two_workers):
    import distributed

    outcomes = on(two_workers, Plan(find_images([pictures(60)]), "whole"), load=colours.load_slow)
    next(outcomes)
    outcomes.close()

    def tasks(dask_scheduler):
        return len(dask_scheduler.tasks)

    with distributed.Client(two_workers.address, set_as_default=False) as client:
        wait_until(lambda: client.run_on_scheduler(tasks) == 0)


def test_a_model_is_loaded_once_by_each_worker(pictures, two_workers, tmp_path):
    log = tmp_path / "loads.log"
    plan = Plan(find_images([pictures(40)]), "whole", options={"beams": 2})
    for model in ("one", "other", "one"):
        load = colours.LoudLoader(log)
        assert len(captions(on(two_workers, plan, model, load))) == 40
    lines = log.read_text().splitlines()
    assert sorted(set(lines)) == sorted(lines)
    assert {line.split()[0] for line in lines} == {"one", "other"}
    assert 1 <= len({line.split()[1] for line in lines}) <= 2


def test_images_with_nothing_to_caption_need_no_worker(pictures, scheduler, tmp_path):
    table = tmp_path / "regions.csv"
    table.write_text("image,uid,kind,wkt,caption\n,a,image,,mine\n")
    plan = Plan(find_images([pictures(3)]), str(table))
    found = captions(on(scheduler, plan, load=colours.load_nothing))
    assert [one[0] for one in found.values()] == ["skipped"] * 3


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="no folder differs by process")
def test_an_image_that_workers_cannot_see_tells_of_shared_storage(
    pictures, two_workers, tmp_path, monkeypatch
):
    from napari_patchioner.batch import Job

    [real] = pictures(1).iterdir()
    [regions] = [job.regions for job in Plan([real], "whole")]
    monkeypatch.chdir(real.parent)
    here = Job("here", Path("/proc/self/cwd", real.name), regions)
    nowhere = Job("nowhere", tmp_path / "gone.png", regions)
    found = captions(on(two_workers, [here, nowhere]))
    status, why, *_ = found["here"]
    assert (status, why.startswith(f"{here.path}: worker tcp://127.0.0.1:")) == ("failed", True)
    assert why.endswith("images must lie on storage that all workers share, under the same path")
    assert found["nowhere"] == captions(run([nowhere], "x", load=colours.load))["nowhere"]


def test_a_model_that_a_worker_cannot_load_is_one_sentence(pictures, two_workers):
    plan = Plan(find_images([pictures(3)]), "whole")
    with pytest.raises(PatchionerError, match=r"^worker tcp://.* on .*: there is no model 'x'$"):
        captions(on(two_workers, plan, "x", colours.load_nothing))


@pytest.mark.parametrize("scheduler", [0], indirect=True)
def test_an_image_that_kills_its_worker_fails_alone(pictures, scheduler):
    folder = pictures(12)
    Image.new("RGB", (32, 16)).save(folder / "0002.png")
    scheduler.add_worker("--nanny")
    plan = Plan(find_images([folder]), "whole")
    found = captions(on(scheduler, plan, load=colours.load_deadly))
    assert len(found) == 12
    failed = {name: why for name, (status, why, *_) in found.items() if status == "failed"}
    assert list(failed) == ["0002.png"]
    assert failed["0002.png"].startswith("workers died whenever they captioned it")


@pytest.mark.parametrize("scheduler", [0], indirect=True)
def test_workers_that_always_die_are_given_up(pictures, scheduler):
    folder = pictures(20)
    for path in folder.iterdir():
        Image.new("RGB", (32, 16)).save(path)
    scheduler.add_worker("--nanny")
    with pytest.raises(PatchionerError, match="workers died at 8 images in a row"):
        captions(on(scheduler, Plan(find_images([folder]), "whole"), load=colours.load_deadly))


def test_captions_lost_with_their_worker_are_made_again(pictures, scheduler):
    import distributed

    def in_memory(dask_scheduler):
        return sum(task.state == "memory" for task in dask_scheduler.tasks.values())

    plan = Plan(find_images([pictures(4)]), "whole")
    worker = scheduler.add_worker("--no-nanny")
    outcomes = on(scheduler, plan)
    found = [next(outcomes)]
    with distributed.Client(scheduler.address, set_as_default=False) as client:
        wait_until(lambda: client.run_on_scheduler(in_memory) == 3)
    end(worker)
    scheduler.add_worker("--no-nanny")
    assert captions([*found, *outcomes]) == captions(run(plan, "colours", load=colours.load))


def test_a_scheduler_that_is_gone_is_told(pictures, scheduler):
    scheduler.add_worker("--no-nanny")
    outcomes = on(scheduler, Plan(find_images([pictures(60)]), "whole"), load=colours.load_slow)
    next(outcomes)
    scheduler.scheduler.kill()
    with pytest.raises(PatchionerError, match=r"scheduler tcp://.*, then go on with --resume"):
        captions(outcomes)


def test_workers_that_never_come_are_waited_for_and_told(pictures, scheduler, monkeypatch):
    from napari_patchioner.batch import _cluster_news

    monkeypatch.setattr(_cluster_news, "_TELL_AFTER_S", 0.1)
    told = []
    plan = Plan(find_images([pictures(3)]), "whole")
    with pytest.raises(PatchionerError, match=r"there were no workers at tcp.* for 2 s; start"):
        captions(on(scheduler, plan, tell=told.append, patience=2))
    assert [one.split(" at ")[0] for one in told] == ["there are no workers"]


def test_workers_that_come_late_are_given_work(pictures, scheduler):
    def jobs():
        scheduler.add_worker("--no-nanny")
        yield from Plan(find_images([pictures(3)]), "whole")

    assert len(captions(on(scheduler, jobs()))) == 3
