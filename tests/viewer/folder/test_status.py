"""How far images are, as files tell: ticks, notes and saved work."""

from __future__ import annotations

import os

import numpy as np
import pytest

from napari_patchioner.annotations import (
    Project,
    ProjectImage,
    Record,
    Seen,
    projects_folder,
    write_project,
)
from napari_patchioner.errors import FormatError
from napari_patchioner.viewer.folder import files as module
from napari_patchioner.viewer.folder.files import (
    ImageFile,
    Marks,
    Status,
    StatusReader,
    list_images,
    seen_marks,
    tick,
    ticks,
)

BOX = np.array([[0, 0], [0, 9], [9, 9], [9, 0]], float)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.png", "b.png", "sub/a.png"):
        (folder / name).write_bytes(name.encode())
    return folder


def save(place, captions, written="2026-01-01T10:00", content="c0", image_path=""):
    records = [
        Record(
            f"u{n}",
            layer="regions",
            seen=Seen("rectangle", BOX),
            caption=text,
            source="model" if text else "",
        )
        for n, text in enumerate(captions)
    ]
    image = ProjectImage("a", content=content, path=image_path)
    write_project(place, Project(image, tuple(records), written=written))


def statuses(root, kept=(), reader=None):
    files = [file for found in list_images(root, {".png"}) for file in found]
    reader = reader or StatusReader(lambda key: key in kept)
    return {name: one for found in reader.read(files) for name, one in found.items()}


def test_nothing_is_known_of_new_images(root):
    assert statuses(root) == dict.fromkeys(["a.png", "b.png", "sub/a.png"], Status())
    assert Status().text == "not opened"


def test_a_narrow_column_does_not_count_twice():
    status = Status(opened=True, regions=3, captions=3, to_review=1)
    assert status.text == "3 regions, 3 captions, 1 to review"
    assert status.brief == "3 regions, 1 to review"


def test_saved_work_is_counted_beside_its_own_image(root):
    save(root / "a.png.patchioner.json", ["one", "two", ""])
    save(root / "sub" / "a.png.patchioner.json", [""])
    found = statuses(root)
    assert found["a.png"].text == "3 regions, 2 captions, 3 to review"
    assert found["sub/a.png"].text == "1 region, 1 to review"
    assert found["b.png"] == Status()


def test_the_project_written_last_counts(root):
    save(root / "a.png.patchioner.json", ["one"], written="2026-01-01T10:00")
    save(root / "a.png.2.patchioner.json", ["one", "two"], written="2026-01-02T10:00")
    save(root / "a.png.png.patchioner.json", 3 * ["one"], written="2026-01-03T10:00")
    (root / "a.png.png").write_bytes(b"")
    assert statuses(root)["a.png"].regions == 2
    assert statuses(root)["a.png.png"].regions == 3


def test_work_saved_at_home_is_found_by_where_the_image_lies(root):
    projects_folder().mkdir(parents=True)
    home = projects_folder() / "c0.patchioner.json"
    save(home, ["one"], image_path=str(root / "sub" / "a.png"))
    (projects_folder() / "bad.patchioner.json").write_bytes(b"no project")
    assert {name: one.regions for name, one in statuses(root).items()} == {
        "a.png": 0,
        "b.png": 0,
        "sub/a.png": 1,
    }


def test_work_on_other_pixels_does_not_count_once_the_pixels_are_known(root):
    save(root / "a.png.patchioner.json", ["one"], content="c0")
    file = ImageFile(root / "a.png", "a.png")
    seen_marks(root).note("a.png", stamp=file.stamp, content="c1")
    assert statuses(root)["a.png"].text == "opened"


def test_damaged_work_is_told_and_its_backup_counted(root):
    path = root / "a.png.patchioner.json"
    save(path, ["one"])
    save(path, ["one", "two"])
    path.write_bytes(path.read_bytes()[:-20])
    status = statuses(root)["a.png"]
    assert status.text == "1 region, 1 caption, 1 to review"
    assert "the version before it" in status.note
    path.with_name(f"{path.name}.bak").unlink()
    status = statuses(root)["a.png"]
    assert status.text == "saved work cannot be read"
    assert "damaged" in status.note


def test_only_what_has_changed_is_read_again(root, monkeypatch):
    save(root / "a.png.patchioner.json", ["one"])
    save(root / "b.png.patchioner.json", ["one"])
    read, count = [], module.read_counts
    monkeypatch.setattr(module, "read_counts", lambda path: read.append(path.name) or count(path))
    reader = StatusReader(lambda _: False)
    statuses(root, reader=reader)
    save(root / "b.png.patchioner.json", ["one", "two"])
    assert statuses(root, reader=reader)["b.png"].regions == 2
    assert read == ["a.png.patchioner.json"] + 2 * ["b.png.patchioner.json"]


def test_read_is_what_is_still_kept_of_the_same_file(root):
    file = ImageFile(root / "a.png", "a.png")
    seen_marks(root).note("a.png", stamp=file.stamp, content="c0", grid="key")
    assert statuses(root, kept={"key"})["a.png"].text == "read"
    assert statuses(root)["a.png"].text == "opened"
    file.path.write_bytes(b"another picture")
    assert statuses(root, kept={"key"})["a.png"].text == "not opened"


def test_ticks_lie_beside_the_images_and_the_last_one_counts(root):
    tick(root / "a.png", True)
    tick(root / "b.png", True)
    tick(root / "a.png", False)
    tick(root / "sub" / "a.png", True)
    assert (ticks(root), ticks(root / "sub")) == ({"b.png"}, {"a.png"})
    assert {name for name, one in statuses(root).items() if one.done} == {"b.png", "sub/a.png"}


def test_a_folder_that_cannot_be_written_to_has_its_ticks_at_home(root, monkeypatch):
    refused = []
    note = Marks.note

    def refuse(self, image, **facts):
        if self.path.is_relative_to(root):
            refused.append(image)
            raise PermissionError(13, "Permission denied")
        note(self, image, **facts)

    monkeypatch.setattr(Marks, "note", refuse)
    tick(root / "a.png", True)
    assert (ticks(root), refused) == ({"a.png"}, ["a.png"])
    monkeypatch.setattr(Marks, "note", note)
    # The drive can be written to again.
    tick(root / "a.png", False)
    assert ticks(root) == set()


def test_a_tick_that_can_be_noted_nowhere_is_told(root, monkeypatch):
    def full(self, image, **facts):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Marks, "note", full)
    with pytest.raises(FormatError, match="No space left"):
        tick(root / "a.png", True)


def test_torn_lines_are_passed_over_and_written_after(tmp_path):
    marks = Marks(tmp_path / "marks.jsonl")
    marks.note("a", done=True)
    with marks.path.open("ab") as file:
        file.write(b'{"image": "b", "do')
    marks.note("c", done=True)
    with marks.path.open("ab") as file:
        file.write(b'[1]\n{"image": 3}\n\xff\n')
    assert set(marks.read()) == {"a", "c"}


def test_a_long_file_of_old_news_is_shortened(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_LONG", 10)
    marks = Marks(tmp_path / "marks.jsonl")
    for number in range(30):
        marks.note("ab"[number % 2], number=number)
    expected = {"a": {"image": "a", "number": 28}, "b": {"image": "b", "number": 29}}
    assert marks.read() == expected
    assert len(marks.path.read_bytes().splitlines()) == 2
    assert marks.read() == expected


@pytest.mark.parametrize(
    ("status", "parts"),
    [
        (Status(), {"All", "Not done", "Not opened"}),
        (Status(opened=True, done=True), {"All"}),
        (Status(regions=1, to_review=1), {"All", "Not done", "To review"}),
        (Status(problem="torn"), {"All", "Not done", "With a problem"}),
    ],
)
def test_the_parts_of_the_list(status, parts):
    assert {name for name, lists in module.ONLY.items() if lists(status)} == parts


def test_the_last_folder_is_remembered_as_long_as_it_is_there(root):
    assert module.last() is None
    module.remember(root, "sub/a.png")
    assert module.last() == (root, "sub/a.png")
    os.rename(root, root.with_name("moved"))
    assert module.last() is None
