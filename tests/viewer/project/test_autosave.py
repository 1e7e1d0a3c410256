from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from napari_patchioner.annotations import Plane, Project, ProjectImage, Record
from napari_patchioner.errors import FormatError
from napari_patchioner.viewer.project import autosave as module
from napari_patchioner.viewer.project.autosave import Autosave
from napari_patchioner.viewer.project.restore import Snapshots
from napari_patchioner.viewer.session.session import Session


class Disk:
    """Writes numbers, as slowly and badly as a test wants."""

    def __init__(self, path):
        self.path = path
        self.written = []
        self.threads = set()
        self.at_once = self.most_at_once = 0
        self.hold = threading.Event()
        self.hold.set()
        self.trouble = None

    def __call__(self, project):
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.threads.add(threading.get_ident())
        self.hold.wait(10)
        self.at_once -= 1
        if self.trouble:
            raise self.trouble
        self.written.append(project.options["number"])
        return self.path


@pytest.fixture
def disk(tmp_path):
    return Disk(tmp_path / "p.json")


class Work:
    number = 0

    def __call__(self):
        return Project(ProjectImage("x"), options={"number": self.number})


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def saver(qtbot, disk, work):
    made = Autosave(work, disk)
    yield made
    disk.hold.set()
    made.drop()


def change(saver, work):
    work.number += 1
    saver.touch()


def test_a_change_is_saved_when_the_hand_rests(saver, work, disk, qtbot):
    change(saver, work)
    assert saver.unsaved
    start = time.perf_counter()
    with qtbot.waitSignal(saver.saved, timeout=20000) as blocker:
        pass
    assert blocker.args == [disk.path]
    assert time.perf_counter() - start > 0.2
    assert disk.written == [1]
    assert not saver.unsaved
    assert disk.threads != {threading.get_ident()}


def test_a_hand_that_never_rests_is_saved_all_the_same(saver, work, disk, qtbot):
    start = time.perf_counter()
    while not disk.written:
        change(saver, work)
        qtbot.wait(20)
    assert time.perf_counter() - start > 0.4


def test_a_program_too_busy_for_timers_saves_at_the_next_change(saver, work, disk, monkeypatch):
    monkeypatch.setattr(module, "LATEST_MS", 0)
    monkeypatch.setattr(module, "SOONEST_MS", 50)
    change(saver, work)
    time.sleep(0.06)
    assert saver._job is None
    change(saver, work)
    saver._job.wait()
    assert disk.written == [2]


def test_the_longer_a_file_takes_the_sooner_the_next_one_is_begun(saver, work, disk, qtbot):
    write = saver._writer
    saver._writer = lambda project: (time.sleep(0.2), write(project))[1]
    change(saver, work)
    assert saver._latest.interval() == module.LATEST_MS
    assert saver.flush()
    change(saver, work)
    assert module.SOONEST_MS <= saver._latest.interval() <= module.LATEST_MS - 200
    saver._took = 60.0
    saver._latest.stop()
    change(saver, work)
    assert saver._latest.interval() == module.SOONEST_MS


def test_nothing_new_is_not_written(qtbot, disk):
    saver = Autosave(lambda: None, disk)
    saver.touch()
    assert saver.flush()
    assert disk.written == []


def test_one_at_a_time_and_the_last_change_is_never_left_out(saver, work, disk, qtbot, monkeypatch):
    monkeypatch.setattr(module, "REST_MS", 20)
    monkeypatch.setattr(module, "LATEST_MS", 60)
    disk.hold.clear()
    for _ in range(20):
        change(saver, work)
        qtbot.wait(10)
    disk.hold.set()
    qtbot.waitUntil(lambda: disk.written[-1:] == [20], timeout=3000)
    assert disk.most_at_once == 1
    assert len(disk.written) == 2


def test_flush_saves_at_once_even_in_the_middle_of_a_save(saver, work, disk, qtbot, monkeypatch):
    monkeypatch.setattr(module, "REST_MS", 1)
    disk.hold.clear()
    change(saver, work)
    qtbot.waitUntil(lambda: disk.at_once == 1)
    change(saver, work)
    threading.Timer(0.1, disk.hold.set).start()
    assert saver.flush()
    assert disk.written == [1, 2]
    assert not saver.unsaved


def test_trouble_is_told_once_and_saving_tried_again(saver, work, disk, qtbot, monkeypatch):
    monkeypatch.setattr(module, "REST_MS", 5)
    monkeypatch.setattr(module, "RETRY_MS", 50)
    told = []
    saver.failed.connect(told.append)
    disk.trouble = FormatError("p.json: cannot be written (No space left on device)")
    for _ in range(3):
        change(saver, work)
        qtbot.wait(60)
    assert told == [str(disk.trouble)]
    assert saver.unsaved
    assert not saver.flush()
    assert saver.problem == told[0]
    disk.trouble = None
    change(saver, work)
    qtbot.waitUntil(lambda: not saver.unsaved, timeout=3000)
    assert disk.written[-1] == 4
    assert saver.problem == ""


def test_it_is_tried_again_without_a_new_change(saver, work, disk, qtbot, monkeypatch):
    monkeypatch.setattr(module, "REST_MS", 5)
    monkeypatch.setattr(module, "RETRY_MS", 50)
    disk.trouble = OSError("gone")
    change(saver, work)
    qtbot.waitUntil(lambda: saver.problem != "", timeout=3000)
    assert "OSError: gone" in saver.problem
    disk.trouble = None
    qtbot.waitUntil(lambda: disk.written == [1], timeout=3000)


def test_a_window_that_goes_during_a_save_breaks_nothing(work, disk, qtbot):
    saver = Autosave(work, disk)
    disk.hold.clear()
    change(saver, work)
    saver._save()
    job = saver._job
    saver.deleteLater()
    qtbot.wait(20)
    disk.hold.set()
    job._thread.join(5)
    assert disk.written == [1]


# what is written


def test_unchanged_records_are_the_very_same_and_changed_ones_are_not():
    session = Session()
    session.records = {
        "a": Record("a", plane=Plane(), extra={"area": 1.5}),
        "b": Record("b", plane=Plane(), caption="b"),
    }
    snapshots = Snapshots(session)
    before = snapshots.take(())
    assert [one is two for one, two in zip(before, snapshots.take(()), strict=True)] == [True] * 2
    session.accept(["b"])
    after = snapshots.take(())
    assert [one is two for one, two in zip(before, after, strict=True)] == [True, False]
    assert after[1].reviewed
    session.records["a"] = replace(session.records["a"], extra={"area": 2.5})
    assert snapshots.take(())[0].extra == {"area": 2.5}


def test_what_a_model_has_in_hand_is_saved_as_wanted():
    session = Session()
    session.records = {"a": Record("a", plane=Plane(), wanted=True)}
    snapshots = Snapshots(session)
    session.take(lambda record: True)
    assert not session.is_open(session.records["a"])
    assert snapshots.take(())[0].wanted
