"""The command line on a cluster: the same files, stopped and gone on with, and what it says."""

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
from PIL import Image

from napari_patchioner import __version__, load_model
from napari_patchioner.annotations import Annotation, read_annotations, write_annotations
from napari_patchioner.cli import main
from napari_patchioner.regions import Box, WholeImage

CODE = (
    "import sys, colours\n"
    "from napari_patchioner.batch import _dataset\n"
    "from napari_patchioner.cli import main\n"
    "_dataset._IMAGES = 10\n"
    "if __name__ == '__main__': sys.exit(main(sys.argv[1:], load=colours.load_slow))"
)


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
