"""Processes of their own: the same results, and what becomes of those that die."""

from __future__ import annotations

import os

import colours
import pytest
from PIL import Image

from napari_patchioner.batch import Plan, find_images, run
from napari_patchioner.errors import ModelError, PatchionerError


def captions(jobs, load=colours.load, **options):
    found = {}
    for job, outcome in run(jobs, "colours", load=load, **options):
        assert job.image == outcome.image
        assert job.image not in found
        said = [(one.uid, one.caption, one.score) for one in outcome.annotations]
        found[job.image] = (outcome.status, outcome.why, outcome.height, outcome.width, said)
    return found


def test_any_number_of_processes_says_the_same(pictures):
    folder = pictures(130)
    (folder / "0123.png").write_bytes(b"no picture")
    plan = Plan(find_images([folder]), "grid:2")
    alone = captions(plan)
    assert len(alone) == 130
    assert [name for name, (status, *_) in alone.items() if status != "done"] == ["0123.png"]
    assert captions(plan, workers=2) == alone


def test_an_image_that_kills_its_process_fails_alone(pictures):
    folder = pictures(9)
    for name in ("0002.png", "0003.png"):
        Image.new("RGB", (32, 16)).save(folder / name)
    found = captions(Plan(find_images([folder]), "whole"), colours.load_deadly, workers=2)
    assert len(found) == 9
    failed = {name: why for name, (status, why, *_) in found.items() if status == "failed"}
    assert sorted(failed) == ["0002.png", "0003.png"]
    assert all("died, twice" in why for why in failed.values())


def test_processes_that_always_die_are_given_up(pictures):
    folder = pictures(9)
    for path in folder.iterdir():
        Image.new("RGB", (32, 16)).save(path)
    with pytest.raises(PatchionerError, match="died at 3 images in a row"):
        captions(Plan(find_images([folder]), "whole"), colours.load_deadly, workers=2)


def test_a_model_that_cannot_be_loaded_is_one_sentence(pictures):
    plan = Plan(find_images([pictures(3)]), "whole")
    for workers in (1, 2):
        with pytest.raises(ModelError, match="there is no model 'colours'"):
            captions(plan, colours.load_nothing, workers=workers)


def test_libraries_of_a_process_take_no_more_threads_than_it_may(pictures, monkeypatch):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "16")
    plan = Plan(find_images([pictures(3)]), "whole")
    with pytest.raises(ModelError, match=r"\['3'\] for 'colours'"):
        captions(plan, colours.load_telling_threads, workers=2, threads=3)
    assert os.environ["OMP_NUM_THREADS"] == "16"
    assert "OPENBLAS_NUM_THREADS" not in os.environ


def test_a_run_that_is_left_ends_its_processes(pictures):
    import multiprocessing

    outcomes = run(
        Plan(find_images([pictures(9)]), "whole"), "x", workers=2, load=colours.load_slow
    )
    next(outcomes)
    assert len(multiprocessing.active_children()) == 2
    outcomes.close()
    assert multiprocessing.active_children() == []


def test_images_with_nothing_to_caption_need_no_process(pictures, tmp_path):
    table = tmp_path / "regions.csv"
    table.write_text("image,uid,kind,wkt,caption\n,a,image,,mine\n")
    plan = Plan(find_images([pictures(3)]), str(table))
    found = captions(plan, colours.load_nothing, workers=2)
    assert [one[0] for one in found.values()] == ["skipped"] * 3
    assert {one[2:4] for one in found.values()} == {(16, 32)}
