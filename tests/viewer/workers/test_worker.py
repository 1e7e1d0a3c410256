"""What a worker answers, region by region; no thread is needed to know."""

from __future__ import annotations

import threading
import warnings
from threading import get_ident
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from napari.components import ViewerModel

from napari_patchioner.devices import available_cores, notify, torch_cores
from napari_patchioner.errors import Cancelled, RegionError
from napari_patchioner.regions import Box, Polygon
from napari_patchioner.viewer.session.session import Request
from napari_patchioner.viewer.workers import hand as hand_module
from napari_patchioner.viewer.workers import job as job_module
from napari_patchioner.viewer.workers.caption import BATCH, caption_tasks
from napari_patchioner.viewer.workers.job import Job, JobProgress


def outline(column):
    return lambda: Box(10, column, 20, column + 10)


def bad(message="a line is no region; draw at least three corners"):
    def fail():
        raise RegionError(message)

    return fail


@pytest.fixture
def grid(captioner, picture):
    return captioner.encode(picture)


def answers(registry, tasks, progress=None):
    """Return all answers by name."""
    batches = caption_tasks(registry, "colours", tasks, {}, progress or JobProgress())
    return {request.uid: answer for batch, _ in batches for request, answer in batch}


def tasks_of(outlines, grid):
    return [(Request(str(place), "", 1), one, grid) for place, one in enumerate(outlines)]


def test_what_outlines_no_region_is_told_and_all_others_are_captioned(registry, grid, captioner):
    said = answers(registry, tasks_of([outline(10), bad(), outline(70), outline(130)], grid))
    assert [said[uid].text for uid in "023"] == [f"something {c}" for c in ("red", "green", "blue")]
    assert str(said["1"]) == "a line is no region; draw at least three corners"
    assert captioner.captioned == [1, 2], "somebody waits for the first"


def test_a_region_the_model_refuses_is_told_and_all_others_are_captioned(registry, grid):
    said = answers(registry, tasks_of([outline(10), outline(500), bad("no"), outline(130)], grid))
    assert (said["0"].text, said["3"].text) == ("something red", "something blue")
    assert str(said["1"]) == "the region lies outside the image; move it inside"
    assert str(said["2"]) == "no"


def test_where_nothing_is_a_region_no_model_is_asked(registry, grid, captioner):
    said = answers(registry, tasks_of([bad(), bad()], grid))
    assert all(isinstance(one, RegionError) for one in said.values())
    assert len(said) == 2
    assert captioner.captioned == []


def test_every_request_is_answered_once_however_many_batches_there_are(registry, grid):
    many = 2 * BATCH + 3
    outlines = [bad() if place % 5 == 0 else outline(place) for place in range(many)]
    said = answers(registry, tasks_of(outlines, grid))
    assert sorted(said, key=int) == [str(place) for place in range(many)]
    assert [uid for uid, one in said.items() if isinstance(one, RegionError)] == [
        str(place) for place in range(0, many, 5)
    ]


def test_outlines_are_drawn_batch_by_batch_and_none_after_a_cancel(registry, grid):
    drawn, progress = [], JobProgress()

    def counting(column):
        return lambda: drawn.append(column) or outline(column)()

    tasks = tasks_of([counting(place) for place in range(2 * BATCH)], grid)
    work = caption_tasks(registry, "colours", tasks, {}, progress)
    next(work)
    next(work)
    assert len(drawn) == 1 + BATCH
    progress.cancelled.set()
    with pytest.raises(Cancelled):
        next(work)
    assert len(drawn) == 1 + BATCH


def test_a_lasso_that_crosses_itself_is_untangled_by_the_worker(registry, grid, captioner):
    asked = []
    caption = captioner.caption
    captioner.caption = lambda grid, regions, **options: (
        asked.extend(regions) or caption(grid, regions, **options)
    )
    bow = np.array([[10, 10], [10, 50], [50, 50], [50, 12], [5, 12.0]])
    [said] = answers(registry, tasks_of([lambda: Polygon(bow)], grid)).values()
    assert said.text == "something red"
    assert not np.array_equal(asked[0].vertices, bow)


def test_a_core_is_left_to_the_window_while_a_person_draws(qtbot, monkeypatch):
    threads, now, viewer = [], [100.0], ViewerModel()
    usual = list(viewer.mouse_drag_callbacks)
    monkeypatch.setattr(hand_module.time, "monotonic", lambda: now[0])
    hand = hand_module.hand
    monkeypatch.setattr(hand, "_seen", 0.0)
    hand.follow(viewer)
    drag = viewer.mouse_drag_callbacks[-1](viewer, SimpleNamespace(type="mouse_move"))

    def count(progress):
        with torch_cores():
            for step in (lambda: next(drag), lambda: now.__setitem__(0, 110.0)):
                threads.append(torch.get_num_threads())
                step()
                progress(0.5, "between two layers")
            threads.append(torch.get_num_threads())

    job = Job(count)
    with qtbot.waitSignal(job.ended):
        job.start()
    everything = min(torch.get_num_threads(), available_cores())
    assert threads == [everything, max(1, min(everything, available_cores() - 1)), everything]
    hand.leave(viewer)
    assert list(viewer.mouse_drag_callbacks) == usual


def test_a_job_ignores_its_own_warnings_and_leaves_those_of_other_threads_alone(qtbot):
    begun, go, results = threading.Event(), threading.Event(), []

    def work(progress):
        begun.set()
        go.wait(60)
        warnings.warn("of the job", UserWarning, stacklevel=1)
        return "done"

    job = Job(work)
    job.delivered.connect(results.append)
    job.start()
    assert begun.wait(60)
    with pytest.raises(UserWarning):
        warnings.warn("of the window", UserWarning, stacklevel=1)
    # What others silence meanwhile stays silent until they end it, and no longer.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        go.set()
        job.wait()
        warnings.warn("of the window", UserWarning, stacklevel=1)
    with pytest.raises(UserWarning):
        warnings.warn("of the window", UserWarning, stacklevel=1)
    assert results == ["done"]


def test_a_job_shows_its_notices_in_the_window_but_not_each_time(qtbot, monkeypatch):
    shown, results = [], []
    monkeypatch.setattr(job_module, "show_warning", lambda text: shown.append((text, get_ident())))

    def work(progress):
        for number in (1, 2, 1):
            notify(f"notice {number} of {monkeypatch!r}")
        return "done"

    for _ in range(2):
        job = Job(work)
        job.delivered.connect(results.append)
        with qtbot.waitSignal(job.ended):
            job.start()
    assert [(text[:8], thread) for text, thread in shown] == [
        ("notice 1", get_ident()),
        ("notice 2", get_ident()),
    ]
    assert results == ["done"] * 2


def test_a_job_that_is_stopped_gives_back_what_it_has_borrowed(qtbot):
    begun, go, returned = threading.Event(), threading.Event(), threading.Event()

    def work(progress):
        try:
            yield "first"
            begun.set()
            go.wait(60)
            yield "second"
        finally:
            returned.set()

    job, errors = Job(work), []
    job.ended.connect(errors.append)
    job.start()
    assert begun.wait(60)
    job.cancel()
    go.set()
    job.wait()
    assert returned.is_set()
    assert [type(error) for error in errors] == [Cancelled]
