"""A scheduler and workers in processes of their own say what one process says."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import colours
import pytest
from dask_processes import Processes, end, wait_until
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


def test_no_image_of_a_killed_worker_is_lost_and_none_comes_twice(pictures, tmp_path):
    """One worker is replaced by its nanny when it is killed, the other is not."""
    folder = pictures(300)
    (folder / "0123.png").write_bytes(b"no picture")
    plan = Plan(find_images([folder]), "grid:2")
    with Processes(tmp_path) as processes:
        minded, alone = (processes.add_worker(one) for one in ("--nanny", "--no-nanny"))
        victims = []

        def disturbed():
            for number, found in enumerate(on(processes, plan, load=colours.load_slow)):
                yield found
                if number == 99:
                    victims.append(worker_below(minded))
                    os.kill(victims[0], signal.SIGKILL)
                    wait_until(lambda: worker_below(minded) not in (None, victims[0]))
                if number == 199:
                    alone.kill()

        said = captions(disturbed())
        assert alone.poll() == -signal.SIGKILL
    assert len(said) == 300
    assert [name for name, (status, *_) in said.items() if status != "done"] == ["0123.png"]
    assert said == captions(run(plan, "colours", load=colours.load))


def worker_below(nanny):
    """Return the process of the worker that a nanny minds; None while there is none."""
    for children in Path(f"/proc/{nanny.pid}/task").glob("*/children"):
        for pid in children.read_text().split():
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return int(pid)
    return None


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


def test_images_with_nothing_to_caption_need_no_worker(pictures, no_workers, tmp_path):
    table = tmp_path / "regions.csv"
    table.write_text("image,uid,kind,wkt,caption\n,a,image,,mine\n")
    plan = Plan(find_images([pictures(3)]), str(table))
    found = captions(on(no_workers, plan, load=colours.load_nothing))
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


def test_an_image_that_kills_its_worker_fails_alone(pictures, no_workers):
    folder = pictures(20)
    Image.new("RGB", (32, 16)).save(folder / "0002.png")
    no_workers.add_worker("--nanny")
    plan = Plan(find_images([folder]), "whole")
    found = captions(on(no_workers, plan, load=colours.load_deadly))
    assert len(found) == 20
    failed = {name: why for name, (status, why, *_) in found.items() if status == "failed"}
    assert list(failed) == ["0002.png"]
    assert failed["0002.png"].startswith("workers died whenever they captioned it")
    for path in folder.iterdir():
        Image.new("RGB", (32, 16)).save(path)
    with pytest.raises(PatchionerError, match="workers died at 8 images in a row"):
        captions(on(no_workers, plan, load=colours.load_deadly))


def test_captions_lost_with_their_worker_are_made_again(pictures, no_workers):
    import distributed

    def in_memory(dask_scheduler):
        return sum(task.state == "memory" for task in dask_scheduler.tasks.values())

    plan = Plan(find_images([pictures(4)]), "whole")
    worker = no_workers.add_worker("--no-nanny")
    outcomes = on(no_workers, plan)
    found = [next(outcomes)]
    with distributed.Client(no_workers.address, set_as_default=False) as client:
        wait_until(lambda: client.run_on_scheduler(in_memory) == 3)
    end(worker)
    no_workers.add_worker("--no-nanny")
    assert captions([*found, *outcomes]) == captions(run(plan, "colours", load=colours.load))


def test_workers_that_never_come_are_waited_for_and_told(pictures, no_workers, monkeypatch):
    monkeypatch.setattr(cluster, "_NOTIFY_AFTER_S", 0.1)
    told = []
    plan = Plan(find_images([pictures(3)]), "whole")
    with pytest.raises(PatchionerError, match=r"there were no workers at tcp.* for 2 s; start"):
        captions(on(no_workers, plan, notify=told.append, patience=2))
    assert [one.split(" at ")[0] for one in told] == ["there are no workers"]


def test_workers_that_come_late_get_work_until_the_scheduler_is_gone(pictures, tmp_path):
    plan = Plan(find_images([pictures(60)]), "whole")

    def jobs():
        processes.add_worker("--no-nanny")
        yield from plan

    with Processes(tmp_path) as processes:
        outcomes = on(processes, jobs(), load=colours.load_slow)
        assert next(outcomes)[1].status == "done"
        processes.scheduler.kill()
        with pytest.raises(PatchionerError, match=r"scheduler tcp://.*, then go on with --resume"):
            captions(outcomes)
