"""Two dozen kills at random moments: every file is whole, and at most two seconds are missing.

With REGIONS=2000 in the environment the same happens to that many regions.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import numpy as np
import pytest
from edit_until_killed import digest

from napari_patchioner.annotations import ProjectStore, read_project

SCRIPT = Path(__file__).parents[2] / "support" / "edit_until_killed.py"
REGIONS = int(os.environ.get("REGIONS", "0"))
KILLS, AT_ONCE, LONGEST_S = 24, 3, 3.2
MOST_LOST_S = 2.0


class Nursery:
    """Starts children that edit until they are killed."""

    def __init__(self):
        environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
        self._lock = Lock()
        self._mother = subprocess.Popen(
            [sys.executable, str(SCRIPT)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._mother.stdout.readline() == "ready\n"

    def child(self, folder):
        with self._lock:
            self._mother.stdin.write(f"{folder}\t{os.environ['NAPARI_PATCHIONER_HOME']}\n")
            self._mother.stdin.flush()
            return int(self._mother.stdout.readline())

    @staticmethod
    def kill(child, folder, path, rest=0.0):
        """Kill a child some seconds after a file is there; return when. It is well until then."""
        while not path.exists():
            check(child, folder)
            time.sleep(0.02)
        time.sleep(rest)
        killed = time.clock_gettime(time.CLOCK_MONOTONIC)
        check(child, folder, signal.SIGKILL)
        return killed

    def close(self):
        self._mother.stdin.close()
        self._mother.wait(10)
        self._mother.stdout.close()


def check(child, folder, sent=0):
    """Fail with a child's own words where something has gone wrong in it."""
    errors = folder / "errors"
    try:
        os.kill(child, sent)
    except ProcessLookupError:
        pytest.fail(f"it ended by itself:\n{errors.read_text()}", pytrace=False)
    # An exception does not end it, but its edits.
    said = errors.read_text() if errors.exists() else ""
    if "Traceback" in said:
        pytest.fail(said, pytrace=False)


@pytest.fixture(scope="module")
def nursery():
    made = Nursery()
    yield made
    made.close()


def edits(folder):
    """Return number, time and a digest after each edit; a torn last line is none."""
    lines = (folder / "log").read_text().split("\n")[:-1] if (folder / "log").exists() else []
    for line in lines:
        count, when, state = line.split("\t")
        yield int(count), float(when), state


def lost_seconds(folder, killed):
    """Return how much work is missing, having checked that what is there is whole and right."""
    done = {}
    for count, when, state in edits(folder):
        done.setdefault(count, (when, set()))[1].add(state)
    path = folder / "cells.tif.patchioner.json"
    saved = 0
    if path.exists():
        project = read_project(path)
        assert not project.warning
        state = {record.uid: record.caption for record in project.records}
        saved = max((int(caption.split()[1]) for caption in state.values() if caption), default=0)
        # An edit may have been saved before it could be written down.
        if saved in done:
            assert digest(state) in done[saved][1]
        back = path.with_name(f"{path.name}.bak")
        assert not back.exists() or not read_project(back).warning
    missing = [when for count, (when, _) in done.items() if count > saved]
    return killed - min(missing) if missing else 0.0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork to start so often in a minute")
@pytest.mark.timeout(180)
def test_kills_lose_at_most_two_seconds_each(tmp_path, nursery, record_property):
    def one(number):
        folder = tmp_path / f"run-{number}"
        folder.mkdir()
        child = nursery.child(folder)
        rest = random.Random(number).uniform(0.05, LONGEST_S)
        killed = nursery.kill(child, folder, folder / "log", rest)
        time.sleep(0.05)
        return folder, killed

    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs = list(pool.map(one, range(KILLS)))
    lost = [lost_seconds(folder, killed) for folder, killed in runs]
    edited = [sum(1 for _ in edits(folder)) for folder, _ in runs]
    there = sum((folder / "cells.tif.patchioner.json").exists() for folder, _ in runs)
    record_property("lost_seconds", f"worst {max(lost):.2f}, mean {np.mean(lost):.2f}")
    print(f"{sum(edited)} edits, {there} files, lost {max(lost):.2f} s at worst")
    assert max(lost) <= MOST_LOST_S
    assert there > KILLS / 4
    assert sum(edited) > (5 if not REGIONS else 2) * KILLS


def test_the_image_is_known_again_after_a_kill(tmp_path, nursery):
    child = nursery.child(tmp_path)
    nursery.kill(child, tmp_path, tmp_path / "cells.tif.patchioner.json")
    shelf = ProjectStore(np.zeros((64, 64), np.uint8), tmp_path / "renamed.tif", "renamed.tif")
    assert shelf.find() is None
    [offered] = shelf.copies
    assert shelf.take(offered.path).records
