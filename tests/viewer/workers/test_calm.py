"""While a worker is busy nothing that was there is searched for garbage; afterwards everything."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

from napari_patchioner.errors import Cancelled, PatchionerError
from napari_patchioner.viewer.workers import job as module
from napari_patchioner.viewer.workers.job import Job, pause_gc, resume_gc


@pytest.fixture(autouse=True)
def small_heap():
    """Begin as a program does, instead of the other tests: nothing is frozen yet."""
    gc.unfreeze()
    yield
    assert module._gc_pauses == 0
    assert gc.get_freeze_count() == 0


def run(function, qtbot, meanwhile=lambda job: None):
    """Return how a job ended."""
    ends = []
    job = Job(function)
    job.ended.connect(ends.append)
    job.start()
    meanwhile(job)
    qtbot.waitUntil(lambda: bool(ends), timeout=5000)
    qtbot.waitUntil(lambda: module._gc_pauses == 0, timeout=5000)
    return ends[0]


def frozen():
    return gc.get_freeze_count() > 0


def test_what_is_there_is_left_out_until_the_work_ends(qtbot):
    counts = []

    def work(progress):
        counts.append(gc.get_freeze_count())
        yield 1

    assert run(work, qtbot) is None
    assert counts[0] > 0
    assert not frozen()


@pytest.mark.parametrize(
    "error", [PatchionerError("no"), ValueError("no"), MemoryError(), RecursionError(), Cancelled()]
)
def test_everything_is_searched_again_whatever_happens_in_the_worker(error, qtbot):
    def work(progress):
        yield 1
        raise error

    assert run(work, qtbot) is error
    assert not frozen()


def test_everything_is_searched_again_after_a_cancel(qtbot):
    reached = threading.Event()

    def work(progress):
        reached.set()
        while True:
            progress(0.5, "busy")
            yield 1

    def cancel(job):
        assert reached.wait(5)
        assert frozen()
        job.cancel()

    assert isinstance(run(work, qtbot, cancel), Cancelled)
    assert not frozen()


def test_everything_is_searched_again_where_nobody_waits_for_the_end_any_more(qtbot):
    go = threading.Event()

    def work(progress):
        go.wait(5)
        yield 1

    job = Job(work)
    job.start()
    job.cancel()
    job.deleteLater()
    del job
    go.set()
    qtbot.waitUntil(lambda: module._gc_pauses == 0, timeout=5000)
    assert not frozen()


@pytest.mark.parametrize("dropped", [False, True])
def test_what_announces_results_is_deleted_in_the_gui_thread(dropped, qtbot, monkeypatch):
    """Qt may be delivering just then: a process that deleted it in the job's thread crashed."""
    go, deleted, announce = threading.Event(), [], module._Notifier.announce

    def slowly(notifier):
        announce(notifier)
        go.wait(5)

    monkeypatch.setattr(module._Notifier, "announce", slowly)
    before = set(threading.enumerate())
    job = Job(lambda progress: iter(()))
    weakref.finalize(job._mailbox.notifier, lambda: deleted.append(threading.current_thread().name))
    with qtbot.waitSignal(job.destroyed, timeout=5000):
        job.start()
        if dropped:
            job.deleteLater()
    del job
    [thread] = set(threading.enumerate()) - before
    go.set()
    thread.join(5)
    assert deleted == []
    run(lambda progress: iter(()), qtbot)
    assert deleted == [threading.main_thread().name]


def test_of_several_workers_the_last_one_ends_it():
    pause_gc()
    pause_gc()
    resume_gc()
    assert frozen()
    pause_gc()
    resume_gc()
    assert frozen()
    resume_gc()
    assert not frozen()


def test_what_others_have_frozen_stays_frozen():
    gc.freeze()
    try:
        pause_gc()
        resume_gc()
        assert frozen()
    finally:
        gc.unfreeze()


def test_garbage_made_meanwhile_is_found_meanwhile():
    class Ring:
        pass

    pause_gc()
    ring = Ring()
    ring.itself = ring
    there = weakref.ref(ring)
    del ring
    gc.collect()
    assert there() is None
    resume_gc()


def test_workers_of_many_threads_leave_nothing_frozen():
    def work():
        for _ in range(20):
            pause_gc()
            resume_gc()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not frozen()
