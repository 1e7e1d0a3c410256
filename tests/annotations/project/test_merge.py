"""Several projects of one image: the newest counts, and no person's text gives way to a model's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_patchioner.annotations import (
    Project,
    ProjectImage,
    ProjectStore,
    Record,
    Seen,
    content_hash,
    project_path,
    projects_folder,
    read_project,
    write_project,
)
from napari_patchioner.annotations.project.records import Plane, merge_projects

BOX = np.array([[0.0, 0.0], [0.0, 9.0], [9.0, 9.0], [9.0, 0.0]])
PIXELS = np.arange(24, dtype=np.uint8).reshape(4, 6)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_PATCHIONER_HOME", str(tmp_path / "home"))


def box(uid, caption="", source="", vertices=BOX, **facts):
    seen = Seen("rectangle", vertices)
    return Record(uid, caption=caption, source=source, layer="regions", seen=seen, **facts)


def project(*records, **facts):
    return Project(ProjectImage("cells.tif"), records, **facts)


def texts(found):
    return {record.uid: record.caption for record in found.records}


def test_what_only_the_other_has_is_added_at_the_end():
    mine = project(box("a", "one", "model"), options={"beams": 4})
    merged = merge_projects(mine, project(box("b", "two", "model"), options={"beams": 1}))
    assert texts(merged.project) == {"a": "one", "b": "two"}
    assert (merged.added, merged.changed, merged.differing) == (("b",), (), ())
    assert merged.project.options == {"beams": 4}


MODEL, PERSON = box("a", "by a model", "model"), box("a", "by a person", "human")


@pytest.mark.parametrize(
    ("mine", "other", "wanted", "differing"),
    [
        (MODEL, PERSON, PERSON, False),
        (PERSON, MODEL, PERSON, False),
        (PERSON, box("a", "by somebody else", "edited"), PERSON, True),
        (MODEL, box("a", "by another model", "model"), MODEL, False),
        (MODEL, replace(MODEL, reviewed=True), replace(MODEL, reviewed=True), False),
        (box("a"), MODEL, MODEL, False),
        (box("a", rejected=True), MODEL, box("a", rejected=True), False),
        (box("a", vertices=BOX + 1), MODEL, box("a"), False),
        (box("a", vertices=BOX + 1), PERSON, PERSON, False),
        (box("a", locked=True), MODEL, box("a", locked=True), False),
        (box("a", locked=True), PERSON, box("a", locked=True), True),
    ],
)
def test_the_text_that_weighs_more_stays(mine, other, wanted, differing):
    merged = merge_projects(project(mine), project(other))
    [record] = merged.project.records
    for name in ("caption", "source", "reviewed", "locked", "rejected"):
        assert getattr(record, name) == getattr(wanted, name)
    assert record.seen is mine.seen
    assert bool(merged.differing) == differing


def test_the_same_thing_under_two_names_is_one_record():
    pixels = Seen("label", BOX[:2], 3, "digest")
    label = Record("l", layer="labels:x", seen=pixels, caption="cell")
    point = Record("p", layer="points:y", seen=Seen("point", BOX[:1]), caption="dot")
    whole = Record("w", plane=Plane(), caption="all")
    group = Record("g", members=("l", "p"), caption="both", source="model")
    theirs = [replace(one, uid=f"{one.uid}2", caption="") for one in (label, point, whole)]
    both = replace(group, uid="g2", members=("l2", "p2"), caption="", locked=True)
    merged = merge_projects(project(label, point, whole, group), project(*theirs, both))
    assert merged.added == ()
    assert merged.changed == ("g",)
    merged = merge_projects(project(*theirs), project(label, point, whole, group))
    assert texts(merged.project) == {"l2": "cell", "p2": "dot", "w2": "all", "g": "both"}
    assert merged.project.records[-1].members == ("l2", "p2")


RECORDS = st.builds(
    box,
    st.sampled_from("abcd"),
    st.sampled_from(["", "one", "two"]),
    st.sampled_from(["", "model", "human", "edited"]),
    reviewed=st.booleans(),
    locked=st.booleans(),
)
PROJECTS = st.lists(RECORDS, max_size=4, unique_by=lambda one: one.uid).map(lambda r: project(*r))


@given(PROJECTS, PROJECTS)
def test_merging_loses_nobodys_words_and_is_done_once(mine, other):
    merged = merge_projects(mine, other)
    after = {record.uid: record for record in merged.project.records}
    assert list(after)[: len(mine.records)] == [record.uid for record in mine.records]
    assert after.keys() == {record.uid for one in (mine, other) for record in one.records}
    for record in mine.records:
        if record.locked or record.reviewed or (record.caption and record.source != "model"):
            assert after[record.uid] is record
    assert merge_projects(merged.project, other).news == 0
    assert merge_projects(mine, mine).news == 0


# on the shelf


@pytest.fixture
def image_file(tmp_path):
    path = tmp_path / "pictures" / "cells.tif"
    path.parent.mkdir()
    path.write_bytes(b"pixels")
    return path


def shelf(image_file):
    return ProjectStore(PIXELS, image_file, "cells.tif")


def write(path, when, *records, image_path=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = ProjectImage("cells.tif", content=content_hash(PIXELS), path=str(image_path))
    write_project(path, Project(image, records, written=f"2026-01-0{when}T00:00:00.000+00:00"))
    return path


@pytest.fixture
def at_home():
    return projects_folder() / f"{content_hash(PIXELS)}.patchioner.json"


@pytest.fixture
def beside(image_file):
    return project_path(image_file, content_hash(PIXELS))


@pytest.mark.parametrize("newest", ["home", "beside"])
def test_the_newest_is_opened_and_the_other_named_and_offered(image_file, at_home, beside, newest):
    late, early = (at_home, beside) if newest == "home" else (beside, at_home)
    write(early, 1, box("a", "mine", "human"), box("b", "old", "model"), image_path=image_file)
    write(late, 2, box("b", "new", "model"), image_path=image_file)
    mine = shelf(image_file)
    found = mine.find()
    assert texts(found) == {"b": "new"}
    assert mine.others == (early,)
    assert str(early) in mine.note
    assert "1 captions" in mine.note
    before = early.read_bytes()
    merged = mine.merge(found, early)
    assert texts(merged.project) == {"b": "new", "a": "mine"}
    assert mine.write(merged.project) == late
    assert early.read_bytes() == before
    # A region deleted after the merge does not come back with the next offer.
    mine.write(replace(merged.project, records=merged.project.records[:1]))
    again = shelf(image_file)
    assert texts(again.find()) == {"b": "new"}
    assert again.others == ()
    assert again.note == ""


def test_what_the_index_knows_is_opened_where_it_is_newer(image_file, beside, tmp_path):
    mine = shelf(image_file)
    mine.write(project(box("a", "elsewhere", "human")))
    mine.move(tmp_path / "shared" / "cells.patchioner.json")
    mine.path.parent.mkdir()
    elsewhere = mine.write(project(box("a", "elsewhere", "human"), box("b", "late", "human")))
    write(beside, 1, box("a", "early", "human"), image_path=image_file)
    again = shelf(image_file)
    assert texts(again.find()) == {"a": "elsewhere", "b": "late"}
    assert again.path == elsewhere


def test_work_that_went_on_elsewhere_is_not_offered_again(image_file, at_home, beside):
    write(at_home, 1, box("a", "one", "human"), box("b", "two", "human"), image_path=image_file)
    mine = shelf(image_file)
    found = mine.find()
    assert mine.write(replace(found, records=found.records[:1], written="")) == beside
    again = shelf(image_file)
    assert texts(again.find()) == {"a": "one"}
    assert again.others == ()
    # Until somebody works on there.
    write(at_home, 2, box("c", "three", "human"), image_path=image_file)
    third = shelf(image_file)
    third.find()
    assert third.others == (at_home,)


def test_what_holds_nothing_new_or_cannot_be_read_is_not_offered(image_file, at_home, beside):
    write(beside, 2, box("a", "one", "human"), box("b", "two", "human"), image_path=image_file)
    write(at_home, 1, box("a", "one", "human"), image_path=image_file)
    broken = write(
        beside.with_name("cells.tif.2.patchioner.json"),
        1,
        box("c", "x", "human"),
        image_path=image_file,
    )
    broken.write_bytes(broken.read_bytes()[:-20])
    mine = shelf(image_file)
    assert texts(mine.find()) == {"a": "one", "b": "two"}
    assert mine.others == ()
    assert mine.note == ""
    assert read_project(at_home).records
