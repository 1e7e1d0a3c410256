"""Projects counted without being read, which must come to what reading them tells."""

from __future__ import annotations

import numpy as np
import pytest

from napari_patchioner.annotations import Plane, Project, ProjectImage, Record, Seen, write_project
from napari_patchioner.annotations.project.file import read_counts, read_image
from napari_patchioner.errors import FormatError

BOX = np.array([[0, 0], [0, 9], [9, 9], [9, 0]], float)
# What a record would look like inside a caption.
TRAP = '{"uid": "x", "kind": "image", "caption": "no",\n"reviewed": true}, "records": ['


def shape(uid, caption="", **facts):
    return Record(uid, layer="regions", seen=Seen("polygon", BOX), caption=caption, **facts)


RECORDS = (
    shape("a"),
    shape("b", "by a model", source="model", score=0.5),
    shape("c", "by a model", source="model", reviewed=True),
    shape("d", TRAP, source="human"),
    shape("e", locked=True),
    Record("f", members=("a", "b"), caption="together", source="model"),
    Record("g", plane=Plane(), caption="all of it", source="edited"),
)


@pytest.fixture
def path(tmp_path):
    image = ProjectImage('a "name"', (9, 9), "uint8", "c0ffee", "/data/Bilder/ä.tif")
    write_project(tmp_path / "one.patchioner.json", Project(image, RECORDS, {"must": [TRAP]}))
    return tmp_path / "one.patchioner.json"


def numbers(counts):
    return counts.regions, counts.captions, counts.to_review


def test_regions_captions_and_doubts_are_counted(path):
    counts = read_counts(path)
    assert numbers(counts) == (6, 5, 3)
    assert (counts.content, counts.image_path, counts.warning) == (
        "c0ffee",
        "/data/Bilder/ä.tif",
        "",
    )
    assert read_image(path).path == "/data/Bilder/ä.tif"


def test_an_empty_project_counts_nothing(tmp_path):
    write_project(tmp_path / "p.json", Project(ProjectImage("a")))
    assert numbers(read_counts(tmp_path / "p.json")) == (0, 0, 0)


def test_line_ends_may_have_been_converted(path):
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert numbers(read_counts(path)) == (6, 5, 3)


def test_of_a_damaged_file_the_one_before_counts(path):
    write_project(path, Project(ProjectImage("a"), RECORDS[:1]))
    path.write_bytes(path.read_bytes()[:-40])
    counts = read_counts(path)
    assert numbers(counts) == (6, 5, 3)
    assert "damaged" in counts.warning
    assert "the version before it is used" in counts.warning


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda data: data[: len(data) // 2], "damaged"),
        (lambda data: data.replace(b'"version": "1.', b'"version": "7.'), "update"),
        (lambda data: b"\x00\xff", "no project"),
    ],
)
def test_what_cannot_be_read_is_told(path, change, told):
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(FormatError, match=told):
        read_counts(path)


def test_a_missing_file_and_a_folder_in_its_place_are_told(tmp_path):
    (tmp_path / "folder").mkdir()
    for name in ("none", "folder"):
        with pytest.raises(FormatError, match=name):
            read_counts(tmp_path / name)
        with pytest.raises(FormatError, match=name):
            read_image(tmp_path / name)
