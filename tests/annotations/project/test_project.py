from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_patchioner.annotations import (
    NewerVersion,
    Plane,
    Project,
    ProjectImage,
    ProjectLines,
    ProjectStore,
    ProjectTaken,
    Record,
    Seen,
    content_hash,
    find_projects,
    project_of_other_pixels,
    project_path,
    projects_folder,
    read_head,
    read_project,
    write_project,
)
from napari_patchioner.annotations import images as hashing
from napari_patchioner.annotations.project.file import backup_path, decode_project
from napari_patchioner.decoders import Caption
from napari_patchioner.errors import FormatError

CONTENT = "0123456789abcdef0123456789abcdef"
BOX = np.array([[0.1, 0.2], [0.1, 9.0], [9.0, 9.0], [9.0, 0.2]])


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_PATCHIONER_HOME", str(tmp_path / "home"))


@pytest.fixture
def image_file(tmp_path):
    path = tmp_path / "pictures" / "cells.tif"
    path.parent.mkdir()
    path.write_bytes(b"pixels")
    return path


def box(uid="a", **facts):
    return Record(uid, layer="regions", seen=Seen("rectangle", BOX), **facts)


def project(*records, content=CONTENT, **facts):
    return Project(ProjectImage("cells.tif", (20, 30), "uint8", content), records, **facts)


def full():
    said = Caption(
        "a red cell", 0.5, -1.25, (-0.5, -2.0), ("a cell",), (("near", 0.75),), (("cell", 1.0),)
    )
    facts = {
        "caption": 'says "ünd" \ud800\n',
        "score": 0.1 + 0.2,
        "source": "edited",
        "model": "mini",
        "reviewed": True,
        "locked": True,
        "rejected": True,
        "wanted": True,
        "problem": "none",
        "details": said,
        "origin": {"grid": "abc"},
        "outlined": {"clicks": [[1.5, 2.0]], "negative": [[3.0, 4.0]]},
        "extra": {"area": 2, "mean": 1e-300, "name": None},
    }
    return project(
        box("a", **facts),
        box("b"),
        Record("l", layer="labels:n", seen=Seen("label", BOX[:2], 7, "0abc")),
        Record("g", members=("a", "b"), caption="two"),
        Record("w", plane=Plane((1, 2), (4,)), caption="all"),
        options={"beams": 4, "pooling": None},
        provenance={"package": "0.1.0", "memory": "ff"},
        written="2026-11-21T08:00:00.000+00:00",
    )


def same(one, other):
    """Whether two values are equal, arrays to the last bit and NaN to NaN."""
    if isinstance(one, np.ndarray):
        signs = np.signbit(one[one == one]), np.signbit(other[other == other])
        return np.array_equal(one, other, equal_nan=True) and np.array_equal(*signs)
    if hasattr(one, "__dataclass_fields__"):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(other)
    return one == other


def test_everything_comes_back(tmp_path):
    write_project(tmp_path / "p.json", full())
    assert same(read_project(tmp_path / "p.json"), full())


plain_values = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text())


@given(
    points=st.lists(st.tuples(st.floats(), st.floats(), st.floats()), min_size=1),
    caption=st.text(),
    score=st.floats(),
    columns=st.dictionaries(st.text(), plain_values),
)
def test_numbers_and_texts_come_back_exactly(points, caption, score, columns):
    seen = Seen("path", np.array(points))
    record = Record("a", seen=seen, caption=caption, score=score, extra=columns)
    [back] = decode_project(ProjectLines().encode(project(record))[1], "p").records
    # No number is no score.
    score = None if math.isnan(score) else score
    assert same((back.seen.vertices, back.caption, back.score), (seen.vertices, caption, score))
    assert back.extra.keys() == columns.keys()
    assert all(same(back.extra[name], value) for name, value in columns.items())


def test_the_file_is_plain_json_with_a_record_per_line(tmp_path):
    write_project(tmp_path / "p.json", project(box(extra={"worst": math.inf})))
    text = (tmp_path / "p.json").read_text("ascii")
    content = json.loads(text, parse_constant=pytest.fail)
    assert content["format"] == "napari-patchioner project"
    assert len(content["records"]) == 1
    assert text.splitlines()[2].startswith('{"uid": "a"')


def test_numbers_of_other_libraries_are_plain(tmp_path):
    columns = {"area": np.float32(0.5), "count": np.int64(7), "when": np.datetime64("NaT")}
    write_project(tmp_path / "p.json", project(box(extra=columns)))
    [back] = read_project(tmp_path / "p.json").records
    assert back.extra == {"area": 0.5, "count": 7, "when": None}


@given(data=st.data())
def test_no_damage_goes_unnoticed(data):
    _, whole = ProjectLines().encode(full())
    place = data.draw(st.integers(0, len(whole) - 1))
    cut = data.draw(st.booleans())
    value = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[place]))
    damaged = whole[:place] if cut else whole[:place] + bytes([value]) + whole[place + 1 :]
    with pytest.raises(FormatError):
        decode_project(damaged, "p.json")


def test_converted_line_ends_are_no_damage(tmp_path):
    _, whole = ProjectLines().encode(full())
    (tmp_path / "p.json").write_bytes(whole.replace(b"\n", b"\r\n"))
    assert same(read_project(tmp_path / "p.json"), full())


def test_the_previous_version_is_kept_and_used_when_the_file_is_damaged(tmp_path):
    path = tmp_path / "p.json"
    write_project(path, project(box(caption="one")))
    write_project(path, project(box(caption="two")))
    path.write_bytes(path.read_bytes()[:-40])
    back = read_project(path)
    assert [record.caption for record in back.records] == ["one"]
    assert "p.json" in back.warning
    assert "damaged" in back.warning


def test_a_damaged_file_never_becomes_the_previous_version(tmp_path):
    path = tmp_path / "p.json"
    write_project(path, project(box(caption="one")))
    write_project(path, project(box(caption="two")))
    path.write_bytes(b"garbage")
    write_project(path, project(box(caption="three")))
    assert [r.caption for r in read_project(backup_path(path)).records] == ["one"]
    assert (tmp_path / "p.json.damaged").read_bytes() == b"garbage"


def test_a_failed_write_leaves_everything_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "p.json"
    write_project(path, project(box(caption="one")))

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(FormatError, match="No space left"):
        write_project(path, project(box(caption="two")))
    assert [r.caption for r in read_project(path).records] == ["one"]
    assert {p.name for p in tmp_path.glob("*p.json*")} <= {"p.json", "p.json.bak"}


def with_version(path, version):
    data = path.read_bytes().replace(b'"version": "1.1"', f'"version": "{version}"'.encode())
    start, rest = data.split(b'"checksum": "')
    start += b'"checksum": "'
    from napari_patchioner.annotations.project.file import checksum

    path.write_bytes(start + checksum(start, rest[32:]).encode() + rest[32:])


def test_a_newer_version_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "p.json"
    write_project(path, project(box(caption="old")))
    write_project(path, project(box()))
    with_version(path, "2.0")
    before = path.read_bytes()
    with pytest.raises(NewerVersion, match="update napari-patchioner"):
        read_project(path)
    with pytest.raises(NewerVersion):
        write_project(path, project())
    assert path.read_bytes() == before


def test_fields_of_a_newer_minor_version_are_carried_along(tmp_path):
    path = tmp_path / "p.json"
    newer = project(box(newer={"depth": 3}), extra={"palette": ["a"]})
    newer = replace(newer, image=replace(newer.image, extra={"lens": "20x"}))
    write_project(path, newer)
    with_version(path, "1.7")
    back = read_project(path)
    assert back.extra == {"palette": ["a"]}
    assert back.image.extra == {"lens": "20x"}
    assert back.records[0].newer == {"depth": 3}
    write_project(path, back)
    assert same(replace(read_project(path), written=""), replace(back, written=""))


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"kind": "shape"}, "record 1: the field 'uid' is missing"),
        ({"uid": "a", "kind": "star"}, r"record 1 \('a'\): 'kind' must be one of"),
        ({"uid": "a", "shape": "path"}, "the field 'vertices' is missing"),
        ({"uid": "a", "shape": "path", "vertices": [[1, 2], [3]]}, "'vertices' must be points"),
        ({"uid": "a", "shape": "path", "vertices": [[1, True]]}, "'vertices' must be points"),
        ({"uid": "a", "kind": "group", "members": ["x"]}, "'x' is no shape of this project"),
        ({"uid": "a", "kind": "group"}, "it has no members"),
        ({"uid": "a", "kind": "image"}, "the field 'plane' is missing"),
        ({"uid": "a", "kind": "image", "plane": {"axes": [0]}}, "'axes' must name two axes"),
        ({"uid": 3}, "'uid' must be a text, but is a whole number"),
        ([], "record 1: must be an object, but is a list"),
    ],
)
def test_what_makes_no_sense_is_told_with_its_place(tmp_path, monkeypatch, record, problem):
    module = "napari_patchioner.annotations.project.file.record_to_json"
    monkeypatch.setattr(module, lambda _: record)
    write_project(tmp_path / "p.json", project(box()))
    with pytest.raises(FormatError, match=f"^p.json: .*{problem}") as caught:
        read_project(tmp_path / "p.json")
    assert "\n" not in str(caught.value)


def test_two_records_never_share_a_uid(tmp_path):
    write_project(tmp_path / "p.json", project(box(), box()))
    with pytest.raises(FormatError, match="same uid"):
        read_project(tmp_path / "p.json")


def test_only_the_file_that_is_known_is_replaced(tmp_path):
    path = tmp_path / "p.json"
    first = write_project(path, project(box(caption="one")), replaces="")
    second = write_project(path, project(box(caption="two")), replaces=first)
    assert read_head(path).checksum == second
    with pytest.raises(ProjectTaken):
        write_project(path, project(), replaces=first)
    with pytest.raises(ProjectTaken):
        write_project(path, project(), replaces="")
    assert [r.caption for r in read_project(path).records] == ["two"]


def test_lines_of_unchanged_records_are_kept_and_those_gone_forgotten():
    lines = ProjectLines()
    one, two = box("a", caption="one"), box("b", caption="two")
    when = {"written": "2026-11-21T08:00:00.000+00:00"}
    for records in [(one, two), (one,), (box("a", caption="new"), two), ()]:
        assert lines.encode(project(*records, **when)) == ProjectLines().encode(
            project(*records, **when)
        )


# which image


def test_the_pixels_alone_name_an_image():
    pixels = np.arange(600, dtype=np.uint16).reshape(20, 30)
    changed = pixels.copy()
    changed[19, 29] += 1
    names = [content_hash(x) for x in (pixels, changed, pixels.T, pixels.astype(np.int16))]
    assert len(set(names)) == 4
    assert content_hash(pixels.astype(">u2")) == names[0]
    assert content_hash(np.asfortranarray(pixels)) == names[0]
    assert content_hash(pixels[::-1][::-1]) == names[0]


@pytest.mark.parametrize("shape", [(), (0, 5), (1,), (3, 40, 50, 3)])
def test_arrays_of_every_shape_have_a_name(shape):
    assert content_hash(np.zeros(shape)) != content_hash(np.zeros((7, 7)))


class Lazy:
    """An array that notes how much of it was read."""

    def __init__(self, pixels):
        self._pixels = pixels
        self.shape, self.dtype = pixels.shape, pixels.dtype
        self.largest = self.read = 0

    def __getitem__(self, key):
        part = self._pixels[key]
        self.largest, self.read = max(self.largest, part.nbytes), self.read + part.nbytes
        return part


@pytest.mark.parametrize("shape", [(700, 900), (5, 700, 900), (700, 900, 3), (2, 5, 64, 2000)])
def test_large_arrays_are_named_by_a_sample_that_reaches_the_corners(monkeypatch, shape):
    monkeypatch.setattr(hashing, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(hashing, "WINDOW", 32)
    pixels = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    lazy = Lazy(pixels)
    name = content_hash(lazy)
    assert name == content_hash(pixels)
    assert lazy.read < pixels.nbytes / 4
    for corner in (
        (0,) * len(shape),
        tuple(s - 1 if s in sorted(shape)[-2:] else 0 for s in shape),
    ):
        other = pixels.copy()
        other[corner] ^= 1
        assert content_hash(other) != name


def test_a_whole_array_is_read_in_pieces(monkeypatch):
    monkeypatch.setattr(hashing, "_PIECE", 500)
    lazy = Lazy(np.ones((100, 50), np.uint8))
    assert content_hash(lazy) == content_hash(np.ones((100, 50), np.uint8))
    assert lazy.largest <= 500
    assert lazy.read == 5000


# where it lies


def test_a_project_lies_beside_its_image(image_file):
    assert project_path(image_file, CONTENT).name == "cells.tif.patchioner.json"
    assert project_path(image_file, CONTENT).parent == image_file.parent
    for nowhere in (None, "", "https://example.org/a.tif", "/proc/nothing/a.tif"):
        assert project_path(nowhere, CONTENT) == projects_folder() / f"{CONTENT}.patchioner.json"


def test_a_name_taken_by_other_pixels_is_left_to_them(image_file):
    write_project(project_path(image_file, CONTENT), project())
    assert project_path(image_file, CONTENT).name == "cells.tif.patchioner.json"
    other = "f" * 32
    assert project_path(image_file, other).name == "cells.tif.ffffffff.patchioner.json"
    assert find_projects(image_file, other) == []
    assert project_of_other_pixels(image_file, other) == project_path(image_file, CONTENT)
    assert project_of_other_pixels(image_file, CONTENT) is None


PIXELS = np.arange(24, dtype=np.uint8).reshape(4, 6)


def shelf(image_file, pixels=PIXELS):
    return ProjectStore(pixels, image_file, str(image_file or "noise").rpartition("/")[2])


def captions(project):
    return [record.caption for record in project.records]


def test_a_renamed_or_moved_image_is_known_again(image_file, tmp_path):
    first = shelf(image_file).write(project(box(caption="one")))
    moved = tmp_path / "elsewhere" / "renamed.tif"
    moved.parent.mkdir()
    image_file.rename(moved)
    again = shelf(moved)
    assert again.find() is None
    [offered] = again.copies
    assert (offered.image_path, offered.image_exists) == (str(image_file), False)
    assert captions(again.take(offered.path)) == ["one"]
    second = again.write(project(box(caption="two")))
    assert second == moved.parent / "renamed.tif.patchioner.json"
    assert captions(read_project(first)) == ["one"]
    assert captions(shelf(moved).find()) == ["two"]


def test_where_the_work_lies_is_told_once_if_it_is_not_beside_the_image(image_file, monkeypatch):
    from napari_patchioner.annotations.project import places

    monkeypatch.setattr(places.os, "access", lambda *_: False)
    mine = shelf(image_file)
    path = mine.write(project(box(caption="one")))
    assert path.parent == projects_folder()
    assert str(path) in mine.note
    mine.write(project(box(caption="two")))
    assert mine.note == ""
    far = shelf("https://example.org/cells.tif")
    assert str(far.write(project(box(caption="far")))) in far.note
    assert captions(shelf("https://example.org/cells.tif").find()) == ["far"]
    assert captions(shelf(image_file).find()) == ["two"]


def test_an_image_without_a_file_is_known_again():
    place = shelf(None).write(project(box(caption="one")))
    assert place.parent == projects_folder()
    assert captions(shelf(None).find()) == ["one"]
    assert shelf(None, PIXELS + 1).find() is None


def test_an_image_without_a_file_and_of_another_name_asks_first():
    first = ProjectStore(PIXELS, None, "day one")
    place = first.write(project(box(caption="one")))
    second = ProjectStore(PIXELS, None, "day two")
    assert second.find() is None
    [offered] = second.copies
    assert (offered.path, offered.image_name, offered.image_path) == (place, "day one", "")
    other = second.write(project(box(caption="two")))
    assert other != place
    for name, caption in (("day one", "one"), ("day two", "two")):
        again = ProjectStore(PIXELS, None, name)
        assert captions(again.find()) == [caption]
        assert (again.others, again.copies) == ((), ())


def test_a_file_and_an_image_without_one_are_two_images(image_file, monkeypatch):
    from napari_patchioner.annotations.project import places

    monkeypatch.setattr(places.os, "access", lambda *_: False)
    mine = shelf(image_file).write(project(box(caption="file")))
    loose = ProjectStore(PIXELS, None, image_file.name)
    assert loose.find() is None
    assert [copy.path for copy in loose.copies] == [mine]
    assert loose.write(project(box(caption="loose"))) != mine


def test_the_shelf_notes_the_image_it_is_about(image_file):
    shelf(image_file).write(project(content=""))
    image = read_project(project_path(image_file, content_hash(PIXELS))).image
    assert (image.name, image.shape, image.dtype) == ("cells.tif", (4, 6), "uint8")
    assert (image.content, image.path) == (content_hash(PIXELS), str(image_file))


def test_two_shelves_never_overwrite_each_other(image_file):
    one, two = shelf(image_file), shelf(image_file)
    first = one.write(project(box(caption="one")))
    second = two.write(project(box(caption="two")))
    assert second.name == "cells.tif.2.patchioner.json"
    assert "open twice" in two.note
    assert one.write(project(box(caption="one more"))) == first
    assert two.write(project(box(caption="two more"))) == second
    assert captions(read_project(first)) == ["one more"]
    assert captions(read_project(second)) == ["two more"]


def test_the_work_saved_last_is_found_first(image_file):
    one, two = shelf(image_file), shelf(image_file)
    one.write(
        project(box(caption="early", source="human"), written="2026-01-01T00:00:00.000+00:00")
    )
    two.write(project(box("b", caption="late"), written="2026-01-02T00:00:00.000+00:00"))
    third = shelf(image_file)
    assert captions(third.find()) == ["late"]
    assert "older work" in third.note
    assert third.write(project(box(caption="later"))).name == "cells.tif.2.patchioner.json"


def test_work_on_other_pixels_is_offered_and_never_overwritten(image_file):
    old = shelf(image_file).write(project(box(caption="old")))
    changed = shelf(image_file, PIXELS + 1)
    assert changed.find() is None
    assert "other pixels" in changed.note
    assert captions(changed.take(old)) == ["old"]
    assert changed.write(project(box(caption="new"))) != old
    assert captions(read_project(old)) == ["old"]


def test_where_the_image_lies_on_a_full_or_read_only_drive_the_own_folder_is_used(
    image_file, monkeypatch
):
    from napari_patchioner.annotations.project import file as project_file

    writing = project_file.write_bytes

    def refuse(path, data):
        if path.parent == image_file.parent:
            raise FormatError(f"{path}: cannot be written (Read-only file system)")
        writing(path, data)

    monkeypatch.setattr(project_file, "write_bytes", refuse)
    mine = shelf(image_file)
    assert mine.write(project(box(caption="one"))).parent == projects_folder()
    assert "Read-only" in mine.note
    assert captions(shelf(image_file).find()) == ["one"]


def test_a_damaged_file_is_found_through_the_one_before_it(image_file):
    mine = shelf(image_file)
    mine.write(project(box(caption="one")))
    path = mine.write(project(box(caption="two")))
    path.write_bytes(b"")
    again = shelf(image_file)
    assert captions(again.find()) == ["one"]
    assert "damaged" in again.note
    assert again.write(project(box(caption="three"))) == path


def test_five_thousand_regions_come_back(tmp_path):
    records = tuple(box(f"{n}", caption="a cell", source="model") for n in range(5000))
    lines = ProjectLines()
    for _ in range(2):  # the second time from the lines written before
        write_project(tmp_path / "p.json", project(*records), lines=lines)
        found = read_project(tmp_path / "p.json").records
        assert [record.uid for record in found] == [record.uid for record in records]


def copied(image_file, tmp_path, name="cells.tif"):
    """Return the same image once more, in another folder."""
    other = tmp_path / "copies" / name
    other.parent.mkdir(exist_ok=True)
    other.write_bytes(image_file.read_bytes())
    return other


@pytest.mark.parametrize("at_home", [False, True])
def test_a_copy_of_an_image_goes_on_beside_itself_and_takes_nothing_over_by_itself(
    image_file, tmp_path, monkeypatch, at_home
):
    from napari_patchioner.annotations.project import places

    if at_home:
        monkeypatch.setattr(places.os, "access", lambda *_: False)
    first = shelf(image_file).write(project(box(caption="one")))
    saved, other = first.read_bytes(), copied(image_file, tmp_path)
    copy = shelf(other)
    assert copy.find() is None
    [offered] = copy.copies
    assert (offered.path, offered.captions, offered.image_exists) == (first.resolve(), 1, True)
    assert offered.image_path == str(image_file)
    assert captions(copy.take(offered.path, go_on=True)) == ["one"]
    mine = copy.write(project(box(caption="two")))
    assert mine != first
    assert mine.parent == (projects_folder() if at_home else other.parent)
    assert first.read_bytes() == saved
    assert captions(shelf(other).find()) == ["two"]
    original = shelf(image_file)
    assert captions(original.find()) == ["one"]
    assert original.others == ()
    assert original.write(project(box(caption="three"))) == first


def test_of_all_copies_none_is_forgotten_and_the_newest_is_offered_first(image_file, tmp_path):
    places = [copied(image_file, tmp_path, f"{name}.tif") for name in "abc"]
    for day, place in enumerate(places, start=1):
        when = f"2026-01-0{day}T00:00:00.000+00:00"
        shelf(place).write(project(box(caption=place.name), written=when))
    found = shelf(image_file)
    assert found.find() is None
    assert [one.path.name[0] for one in found.copies] == ["c", "b", "a"]


def test_a_project_that_was_copied_along_with_its_image_belongs_to_the_copy(image_file, tmp_path):
    first = shelf(image_file).write(project(box(caption="one")))
    other = copied(image_file, tmp_path)
    (other.parent / first.name).write_bytes(first.read_bytes())
    again = shelf(other)
    assert captions(again.find()) == ["one"]
    assert again.write(project(box(caption="two"))).parent == other.parent
    assert captions(read_project(first)) == ["one"]


def test_an_image_whose_name_begins_with_anothers_is_not_taken_for_it(image_file):
    longer = image_file.with_name("cells.tif.tif")
    longer.write_bytes(b"pixels")
    saved = shelf(longer).write(project(box(caption="one")))
    mine = shelf(image_file)
    assert mine.find() is None
    assert mine.write(project(box(caption="two"))) != saved
    assert captions(read_project(saved)) == ["one"]


@pytest.mark.parametrize("name", ["n" * 236 + ".tif", "細胞" * 40 + ".tif", "🔬" * 62 + ".tif"])
@pytest.mark.parametrize("writable", [True, False])
def test_names_as_long_as_the_drive_allows_are_saved_beside_and_at_home(
    image_file, monkeypatch, name, writable
):
    from napari_patchioner.annotations.project import file as project_file

    long = image_file.with_name(name)
    image_file.rename(long)
    writing = project_file.write_bytes

    def refuse(path, data):
        if path.parent == long.parent and not writable:
            raise FormatError(f"{path}: cannot be written (Read-only file system)")
        writing(path, data)

    monkeypatch.setattr(project_file, "write_bytes", refuse)
    for caption in ("one", "two"):
        mine = shelf(long)
        mine.find()
        path = mine.write(project(box(caption=caption)))
        assert path.parent == (long.parent if writable else projects_folder())
    assert captions(shelf(long).find()) == ["two"]
    second = shelf(long)
    spare = second.write(project(box("b", caption="three")))
    assert spare != path
    assert captions(read_project(path)) == ["two"]


def test_names_that_differ_only_at_their_ends_stay_apart(image_file):
    long = [image_file.with_name(f"{'x' * 230}{end}.tif") for end in "ab"]
    paths = [
        shelf(one, PIXELS + place).write(project(box(caption=one.name[-5])))
        for place, one in enumerate(long)
    ]
    assert len({path.name for path in paths}) == 2
    assert captions(shelf(long[0], PIXELS).find()) == ["a"]


TOGETHER = """
import sys, time
import numpy as np
from napari_patchioner.annotations import Project, ProjectImage, ProjectStore, Record, Seen

who, image, start = sys.argv[1:]
shelf = ProjectStore(np.arange(24, dtype=np.uint8).reshape(4, 6), image, "cells.tif")
found = shelf.find()
records = list(found.records) if found else []
while time.time() < float(start):
    time.sleep(0.001)
for number in range(30):
    box = np.array([[0, 0], [0, 9], [9, 9], [9, 0]], float)
    said = {"caption": f"{who} {number}", "source": "human"}
    records.append(Record(f"{who}{number}", layer="regions", seen=Seen("rectangle", box), **said))
    shelf.write(Project(ProjectImage("cells.tif"), tuple(records)))
    if shelf.note:
        print(shelf.note)
"""


def test_of_programs_that_save_at_once_none_loses_work_and_all_but_one_are_told(image_file):
    shelf(image_file).write(project(box(caption="before", source="human")))
    start = str(time.time() + 3)
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER, who, str(image_file), start],
            stdout=subprocess.PIPE,
            text=True,
        )
        for who in "abc"
    ]
    told = [program.communicate(timeout=60)[0] for program in programs]
    assert [program.returncode for program in programs] == [0, 0, 0]
    assert sum("another program" in one for one in told) == 2
    files = find_projects(image_file, content_hash(PIXELS))
    assert len(files) == 3
    kept = {record.uid for path in files for record in read_project(path).records}
    assert kept == {"a", *(f"{who}{number}" for who in "abc" for number in range(30))}
    again = shelf(image_file)
    again.find()
    assert len(again.others) == 2
