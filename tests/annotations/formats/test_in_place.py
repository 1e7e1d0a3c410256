"""Captioning a data set of another program gives the same data set back, and captions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from annotated import extras
from colours import Loader
from PIL import Image

from napari_patchioner.annotations import (
    Annotation,
    forget_files,
    read_annotations,
    with_human_caption,
    write_annotations,
)
from napari_patchioner.cli import main
from napari_patchioner.regions import Box

if TYPE_CHECKING:
    from pathlib import Path

OURS = "napari_patchioner"

COCO = {
    "info": {"year": 2017, "contributor": "COCO Consortium"},
    "videos": [{"id": 4}],
    "annotations": [
        {"id": 70, "image_id": 285, "category_id": 18, "iscrowd": 0, "area": 4.5,
         "bbox": [0.1, 2, 3.3, 3], "segmentation": [[0.1, 2, 3.4, 2, 3.4, 5]],
         "keypoints": [1, 2, 2], "attributes": {"occluded": False, "kind": "x"}, "score": 0.25},
        {"id": 8, "image_id": 139, "category_id": 18, "iscrowd": 1, "area": 3,
         "bbox": [1, 0, 1, 3], "segmentation": {"size": [32, 48], "counts": [6, 3, 1527]}},
        {"id": 9, "image_id": 139, "category_id": 1, "bbox": [1.25, 2, 3, 1.5],
         "caption": "a person", "segmentation": []},
        {"id": 10, "image_id": 285, "category_id": 1, "bbox": [0, 0, 8, 6], "iscrowd": 0,
         "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2], [4, 4, 8, 4, 8, 6]]},
        {"id": 11, "image_id": 139, "category_id": 1, "bbox": "nonsense"},
    ],
    "licenses": [{"id": 2, "name": "CC", "url": ""}],
    "images": [
        {"id": 285, "file_name": "b.png", "height": 32, "width": 48, "license": 2, "url": "x"},
        {"id": 139, "file_name": "a.png", "height": 32, "width": 48},
        {"id": 5, "file_name": "without.png", "height": 32, "width": 48},
    ],
    "categories": [
        {"id": 18, "name": "dog", "supercategory": "animal", "keypoints": ["nose"]},
        {"id": 3, "name": "unused"},
        {"id": 1, "name": "person"},
    ],
}  # fmt: skip

FILES = {"coco": ("a.json", COCO)}
# What a caption may change in an entry.
CAPTION = {"coco": {"caption", OURS}}


def _entries(name: str, content: Any) -> list[Any]:
    """Return the entries of a file, in their order, taken out of it."""
    return {"coco": lambda: content.pop("annotations")}[name]()


@pytest.fixture(params=FILES)
def name(request: pytest.FixtureRequest) -> str:
    """Return the name of a format."""
    return str(request.param)


@pytest.fixture
def path(name: str, tmp_path: Path) -> Path:
    """Return a file of another program, beside its pictures."""
    file, content = FILES[name]
    for picture in ("a.png", "b.png"):
        Image.fromarray(np.full((32, 48, 3), (200, 0, 0), np.uint8)).save(tmp_path / picture)
    (tmp_path / file).write_text(json.dumps(content), encoding="utf-8")
    return tmp_path / file


def _content(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_what_nobody_changed_is_written_as_it_was_read(name: str, path: Path) -> None:
    before = _content(path)
    write_annotations(path, read_annotations(path), {}, name)
    assert _content(path) == before


def _check_only_captions_are_new(name: str, before: Any, after: Any, touched: set[int]) -> None:
    old, new = _entries(name, before), _entries(name, after)
    assert before == after
    assert len(old) == len(new)
    for place, (one, other) in enumerate(zip(old, new, strict=True)):
        changed = {key for key in other if key not in one or one[key] != other[key]}
        assert set(one) <= set(other)
        assert changed <= (CAPTION[name] if place in touched else set()), place


def test_a_caption_changes_its_own_entry_and_nothing_else(name: str, path: Path) -> None:
    before, records = _content(path), read_annotations(path)
    records[0] = with_human_caption(records[0], "a bird")
    write_annotations(path, records[:1] + records[1:], {}, name)
    _check_only_captions_are_new(name, before, _content(path), {0})
    again = read_annotations(path)
    assert (again[0].caption, again[0].is_human) == ("a bird", True)
    assert [extras(one) for one in again] == [extras(one) for one in records]
    # A file made from theirs may be written again by who read theirs.
    write_annotations(path, records, {}, name)
    assert [one.caption for one in read_annotations(path)] == [one.caption for one in records]


def test_on_the_command_line(name: str, path: Path) -> None:
    before, records = _content(path), read_annotations(path)
    pictures = [str(path.with_name(one)) for one in ("a.png", "b.png")]
    arguments = ["caption", *pictures, "--regions", str(path), "--out", str(path)]
    assert main(arguments, load=Loader()) == 0
    empty = {place for place, one in enumerate(records) if not one.caption}
    places = {int(json.loads(records[place].extra["metadata"])["place"]) for place in empty}
    after = _content(path)
    _check_only_captions_are_new(name, before, json.loads(json.dumps(after)), places)
    again = read_annotations(path)
    assert {one.source for place, one in enumerate(again) if place in empty} == {"model"}
    # Captions of a model may be made again.
    assert main(arguments, load=Loader()) == 0
    _check_only_captions_are_new(name, _content(path), after, places)


def test_an_image_alone_leaves_the_others_as_they_are(name: str, path: Path) -> None:
    before = _content(path)
    arguments = ["caption", str(path.with_name("b.png")), "--regions", str(path), "--out"]
    assert main([*arguments, str(path)], load=Loader()) == 0
    _check_only_captions_are_new(name, before, _content(path), {0, 3})


def test_entries_outlive_the_file_they_came_from(name: str, path: Path) -> None:
    records = read_annotations(path)
    entries = _entries(name, _content(path))
    path.unlink()
    forget_files()
    write_annotations(path, records, {}, name)
    places = [int(json.loads(one.extra["metadata"])["place"]) for one in records]
    assert _entries(name, _content(path)) == [entries[place] for place in places]


def test_new_regions_come_after_those_that_were_there(name: str, path: Path) -> None:
    before = _content(path)
    new = Annotation("new", "a.png", Box(0.5, 0.5, 3.5, 4.5), "a hat", source="human")
    write_annotations(path, [*read_annotations(path), new], {}, name)
    after = _content(path)
    last = _entries(name, after)
    old = _entries(name, before)
    assert last[: len(old)] == old
    assert len(last) == len(old) + 1
    assert read_annotations(path)[-1].caption == "a hat"
