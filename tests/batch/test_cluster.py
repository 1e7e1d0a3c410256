"""A scheduler and workers in processes of their own say what one process says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import colours
import numpy as np
import pytest
from dask_processes import Processes, end, wait_until
from PIL import Image

from napari_patchioner import __version__, load_model
from napari_patchioner.annotations import Annotation, read_annotations, write_annotations
from napari_patchioner.batch import Plan, cluster, find_images, run
from napari_patchioner.cli import main
from napari_patchioner.errors import PatchionerError
from napari_patchioner.regions import Box, WholeImage

pytestmark = pytest.mark.timeout(300)
CODE = (
    "import sys, colours\n"
    "from napari_patchioner.batch import _dataset\n"
    "from napari_patchioner.cli import main\n"
    "_dataset._IMAGES = 10\n"
    "if __name__ == '__main__': sys.exit(main(sys.argv[1:], load=colours.load_slow))"
)


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
    folder = pictures(120)
    (folder / "0095.png").write_bytes(b"no picture")
    plan = Plan(find_images([folder]), "grid:2")
    with Processes(tmp_path) as processes:
        minded, alone = (processes.add_worker(one) for one in ("--nanny", "--no-nanny"))
        victims = []

        def disturbed():
            for number, found in enumerate(on(processes, plan, load=colours.load_slow)):
                yield found
                if number == 39:
                    victims.append(worker_below(minded))
                    os.kill(victims[0], signal.SIGKILL)
                    wait_until(lambda: worker_below(minded) not in (None, victims[0]))
                if number == 79:
                    alone.kill()

        said = captions(disturbed())
        assert alone.poll() == -signal.SIGKILL
    assert len(said) == 120
    assert [name for name, (status, *_) in said.items() if status != "done"] == ["0095.png"]
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


def test_an_image_that_kills_its_worker_fails_alone(pictures, no_workers, monkeypatch):
    monkeypatch.setattr(cluster, "_HOPELESS", 2)
    monkeypatch.setattr(cluster, "_PREFETCH", 2)
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
    with pytest.raises(PatchionerError, match="workers died at 4 images in a row"):
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


# The command line on a cluster: the same files, stopped and gone on with, and what it says.


@pytest.fixture
def caption(capsys):
    """Return what runs the command line and gives status and words."""

    def run(*arguments, load=colours.load):
        status = main(["caption", *map(str, arguments)], load=load)
        out, told = capsys.readouterr()
        assert out == ""
        return status, told

    return run


def start(folder, out, *options):
    """Caption a folder in a process of its own, the first of its group, as in a terminal."""
    asked = ("caption", folder, "--regions", "grid:2", "--out", out, *options)
    paths = [str(Path(colours.__file__).parent), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, "-c", CODE, *asked],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def until_some_are_done(process, out):
    part = Path(f"{out}.part")
    while process.poll() is None:
        if part.exists() and part.read_bytes().count(b"\n") > 8:
            return
        if Path(out).is_dir() and any(Path(out).glob("*.parquet")):
            return
        time.sleep(0.01)
    raise AssertionError(process.communicate())


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ there")
@pytest.mark.parametrize("name", ["out.csv", "out.parquet/"])
def test_what_is_interrupted_goes_on(pictures, tmp_path, two_workers, caption, name):
    folder, out = pictures(120), f"{tmp_path}/{name}"
    process = start(folder, out, "--scheduler", two_workers.address)
    until_some_are_done(process, out)
    os.killpg(process.pid, signal.SIGINT)
    stdout, told = process.communicate(timeout=60)
    assert (process.returncode, stdout, "Traceback" in told) == (130, "", False)
    kept = int(told.partition("stopped: ")[2].split()[0])
    assert 8 <= kept < 120
    assert "the same command with --resume goes on from there" in told
    on_cluster = ("--scheduler", two_workers.file, "--resume")
    status, told = caption(folder, "--regions", "grid:2", "--out", out, *on_cluster)
    assert (status, f"{120 - kept} done, {kept} from before" in told) == (0, True)
    alone = tmp_path / "alone.csv"
    assert caption(folder, "--regions", "grid:2", "--out", alone)[0] == 0
    if name.endswith("/"):
        found, same = read_annotations(out), read_annotations(alone)
        assert len(found) == 480
        assert sorted(map(repr, found)) == sorted(map(repr, same))
        assert not list(Path(out).glob(".*"))
    else:
        assert Path(out).read_bytes() == alone.read_bytes()
        assert not Path(f"{out}.part").exists()


def test_the_embedded_model_says_the_same_there(pictures, tmp_path, no_workers, capsys):
    # Strips, at which the model looks ten times as fast as at squares.
    folder = pictures(6, height=3, width=64)
    asked = ["caption", str(folder), "--regions", "whole", "--length", "phrase", "--beams", "1"]
    scheduler = ["--scheduler", no_workers.address]
    no_workers.add_worker("--no-nanny")
    assert main([*asked, *scheduler, "--out", str(tmp_path / "out.csv")]) == 0
    assert "differ" not in capsys.readouterr().err
    said = read_annotations(tmp_path / "out.csv")
    assert [one.image for one in said] == [f"{number:04}.png" for number in range(6)]
    mini = load_model("mini")
    for one in said[::3]:
        grid = mini.encode(np.asarray(Image.open(folder / one.image)))
        [alone] = mini.caption(grid, [WholeImage()], length="phrase", beams=1)
        assert (one.caption, one.score) == (alone.text, round(alone.score, 4))


def test_names_that_were_taught_are_the_same_everywhere(
    pictures, tmp_path, two_workers, caption, capsys
):
    folder = pictures(8, height=32)
    named = [
        Annotation("1", f"{number:04}.png", Box(0.0, 0.0, 15.0, 15.0), name, None, "human")
        for number, name in enumerate(("one", "two", "three"))
    ]
    write_annotations(tmp_path / "names.csv", named, {})
    lexicon = str(tmp_path / "lexicon")
    taught = ["teach", str(folder), "--regions", str(tmp_path / "names.csv"), "--out", lexicon]
    assert main(taught, load=colours.load) == 0
    capsys.readouterr()
    asked = (folder, "--regions", "grid:2", "--lexicon", lexicon, "--join", "--out")
    assert caption(*asked, tmp_path / "alone.csv", load=colours.load)[0] == 0
    for name, how in (("pool", ("--workers", 2)), ("there", ("--scheduler", two_workers.address))):
        assert caption(*asked, tmp_path / f"{name}.csv", *how)[0] == 0, name
        assert (tmp_path / f"{name}.csv").read_bytes() == (tmp_path / "alone.csv").read_bytes()
    said = read_annotations(tmp_path / "alone.csv")
    assert {"taught"} <= {one.source for one in said} <= {"taught", "model"}
    for one in said:
        assert bool(one.extra.get("model_caption")) == (one.source == "taught")
    # Workers that have read it read it again when it is another one.
    assert main(["lexicon", "rename", lexicon, "one", "first"]) == 0
    capsys.readouterr()
    assert caption(*asked, tmp_path / "there.csv", "--scheduler", two_workers.address)[0] == 0
    renamed = {one.caption.partition(":")[0] for one in read_annotations(tmp_path / "there.csv")}
    assert "one" not in renamed


def test_workers_with_other_software_are_told_or_refused(pictures, tmp_path, no_workers, caption):
    folder = pictures(3)
    asked = (folder, "--regions", "whole", "--scheduler", no_workers.address, "--out")
    info = tmp_path / "other" / "tifffile-9.9.9.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tifffile\nVersion: 9.9.9\n")
    with_worker(no_workers, tmp_path / "other")
    status, told = caption(*asked, tmp_path / "a.csv")
    differs = f"tifffile 9.9.9 (here {metadata.version('tifffile')}); captions may differ"
    assert (status, told.count(differs)) == (0, 1)
    no_workers.dismiss()
    programs = {
        "old": "import napari_patchioner\nnapari_patchioner.__version__ = '0.0.1'\n",
        "none": "import sys\nsys.modules['napari_patchioner'] = None\n",
    }
    problems = {
        "old": f"has napari-patchioner 0.0.1 but this computer {__version__}; install the same",
        "none": f"install napari-patchioner {__version__} there",
    }
    for name, program in programs.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "sitecustomize.py").write_text(program)
        with_worker(no_workers, tmp_path / name)
        status, told = caption(*asked, tmp_path / "b.csv")
        assert status == 2
        assert problems[name] in sentence(told)
        no_workers.dismiss()
        assert not list(tmp_path.glob("b.csv*"))


def sentence(told):
    """Return the one sentence that is told after the line that says that nothing is done yet."""
    [progress, said] = told.splitlines()
    assert progress.startswith("  0%")
    return said


def with_worker(no_workers, first_on_path):
    """Start a worker that looks into a folder before any other for what it imports."""
    path = f"{first_on_path}{os.pathsep}{Path(colours.__file__).parent}"
    no_workers.add_worker("--no-nanny", env={"PYTHONPATH": path})


def test_a_scheduler_that_is_not_there_is_one_sentence_soon(pictures, tmp_path, caption):
    folder = pictures(1)
    (tmp_path / "scheduler.json").write_text("{}")
    for scheduler, problem in {
        "tcp://127.0.0.1:1": "no dask scheduler answers at tcp://127.0.0.1:1 (",
        "carrier-pigeon://x": "no dask scheduler answers at carrier-pigeon://x (",
        str(tmp_path / "scheduler.json"): "scheduler.json: does not hold a scheduler's address",
    }.items():
        asked = ("--regions", "whole", "--scheduler", scheduler, "--out", tmp_path / "out.csv")
        began = time.monotonic()
        status, told = caption(folder, *asked)
        assert time.monotonic() - began < 30
        assert (status, problem in sentence(told)) == (2, True)
        assert not list(tmp_path.glob("out.csv*"))


def test_what_is_missing_is_told_before_any_work(pictures, tmp_path, caption, monkeypatch):
    asked = (pictures(1), "--regions", "whole", "--scheduler", "x:1", "--out", tmp_path / "o.csv")
    status, told = caption(*asked, "--workers", "2")
    assert (status, "--workers are processes here; with --scheduler" in told) == (2, True)
    monkeypatch.setitem(sys.modules, "distributed", None)
    status, told = caption(*asked)
    assert status == 2
    assert "not installed; run: pip install distributed" in sentence(told)


def test_the_library_is_loaded_only_for_a_cluster():
    code = (
        "import sys; import napari_patchioner.cli, napari_patchioner.batch.cluster\n"
        "print(sorted({'dask', 'distributed', 'pyarrow', 'tornado', 'torch'} & {*sys.modules}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
