"""A run that is killed or interrupted goes on where it was, and ends as an undisturbed one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import colours
import pytest

from napari_patchioner.annotations import read_annotations
from napari_patchioner.cli import main

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals differ there")
CODE = (
    "import sys, colours; from napari_patchioner.cli import main\n"
    "if __name__ == '__main__': sys.exit(main(sys.argv[1:], load=colours.load_slow))"
)


def start(folder, out, *options, home=None):
    """Caption a folder in a process of its own, the first of its group, as in a terminal."""
    program = (home or out.parent) / "program.py"
    paths = [str(Path(colours.__file__).parent), os.environ.get("PYTHONPATH", "")]
    program.write_text(CODE)
    return subprocess.Popen(
        [sys.executable, program, "caption", folder, "--regions", "grid:2", "--out", out, *options],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def until_some_are_done(process, out, count=8):
    part = Path(f"{out}.part")
    while process.poll() is None:
        if part.exists() and part.read_bytes().count(b"\n") > count:
            return
        time.sleep(0.01)
    raise AssertionError(process.communicate())


def children(process):
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in listed.read_text().split()] if listed.exists() else []


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize(
    ("stop", "workers"), [("kill", "2"), ("interrupt", "1"), ("interrupt", "2")]
)
def test_what_is_stopped_goes_on(pictures, tmp_path, capsys, stop, workers):
    folder, out = pictures(60), tmp_path / "out.csv"
    process = start(folder, out, "--workers", workers)
    until_some_are_done(process, out)
    helpers = children(process)
    if stop == "kill":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGINT)
    stdout, told = process.communicate(timeout=20)
    assert (stdout, "Traceback" in told) == ("", False)
    assert not out.exists()
    if stop == "interrupt":
        assert process.returncode == 130
        assert "out.csv.part; the same command with --resume goes on" in told
    kept = Path(f"{out}.part").read_bytes().count(b"\n") - 1
    asked = ["caption", str(folder), "--regions", "grid:2", "--out"]
    assert main([*asked, str(out), "--resume"], load=colours.load) == 0
    assert f"{60 - kept} done, {kept} from before" in capsys.readouterr().err
    whole = tmp_path / "whole.csv"
    assert main([*asked, str(whole)], load=colours.load) == 0
    assert out.read_bytes() == whole.read_bytes()
    assert len(out.read_bytes().splitlines()) == 241
    assert [pid for pid in helpers if not gone(pid)] == []


@pytest.mark.parametrize("out", ["out.csv", "out"], ids=["file", "dataset"])
def test_a_second_process_is_refused_and_the_first_loses_nothing(pictures, tmp_path, capsys, out):
    """The lock is the system's: it goes with a process that is killed."""
    folder, options = pictures(40), ["--resume"]
    target = tmp_path / out
    shown = str(target) if target.suffix else f"{target}{os.sep}"
    process = start(folder, shown, *options, home=tmp_path)
    lock = tmp_path / f".{out}{'.part' if target.suffix else ''}.lock"
    while not lock.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    asked = ["caption", str(folder), "--regions", "grid:2", "--out", shown, *options]
    assert main(asked, load=colours.load) == 2
    told = capsys.readouterr().err
    assert (told.count("\n"), "another process is writing it" in told) == (1, True)
    process.kill()
    process.communicate(timeout=20)
    assert main(asked, load=colours.load) == 0
    assert "160 regions" in capsys.readouterr().err
    assert len(read_annotations(target)) == 160
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted([out, "pictures", "program.py"])
