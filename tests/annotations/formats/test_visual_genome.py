from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from napari_patchioner.annotations import Annotation, read_annotations, write_annotations
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Box, Point, WholeImage

if TYPE_CHECKING:
    from pathlib import Path

THEIRS = [
    {"id": 2407890, "regions": [
        {"region_id": 1382, "image_id": 2407890, "x": 421, "y": 57, "width": 82, "height": 139,
         "phrase": "the clock is green", "synsets": []},
        {"region_id": 1383, "image_id": 2407890, "x": 0, "y": 0, "width": 1, "height": 1,
         "phrase": "a pixel"}]},
    {"id": 1, "regions": []},
]  # fmt: skip


def test_the_published_form_is_read(tmp_path: Path, same_region: Any) -> None:
    path = tmp_path / "region_descriptions.json"
    path.write_text(json.dumps(THEIRS), encoding="utf-8")
    clock, pixel = read_annotations(path)
    assert (clock.uid, clock.image, clock.caption) == ("1382", "2407890", "the clock is green")
    assert same_region(clock.region, Box(56.5, 420.5, 195.5, 502.5))
    assert same_region(pixel.region, Box(-0.5, -0.5, 0.5, 0.5))


@pytest.mark.parametrize("number", [{}, {"region_id": ""}, {"region_id": None}])
def test_regions_without_a_phrase_or_a_number_of_their_own_are_read(
    tmp_path: Path, number: dict[str, Any]
) -> None:
    box = {"x": 0, "y": 0, "width": 9, "height": 9}
    regions = [box | number, {"region_id": 1} | box]
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"id": 139, "regions": regions}]))
    records = read_annotations(path)
    assert [one.uid for one in records] == ["1-2", "1"]
    captioned = [replace(one, caption="a cat") for one in records]
    write_annotations(path, captioned, format="visual-genome")
    [image] = json.loads(path.read_text())
    ours = {"phrase": "a cat", "napari_patchioner": {"caption": "a cat"}}
    assert image["regions"] == [region | ours for region in regions]


def test_boxes_are_whole_pixels_and_all_else_is_refused_by_name(
    tmp_path: Path, same_region: Any
) -> None:
    path = tmp_path / "a.json"
    box = Box(0.2, 0.8, 9.4, 19.6)
    before = [
        Annotation("a", "2407890.jpg", box, "a cat"),
        Annotation("b", "2407890.jpg", Point(1, 2)),
        Annotation("c", "1.jpg", WholeImage()),
    ]
    left_out = write_annotations(path, before, format="visual-genome")
    assert [one.uid for one in left_out] == ["b", "c"]
    first, second = json.loads(path.read_text())
    assert (first["id"], second["id"], second["regions"]) == (2407890, 1, [])
    [entry] = first["regions"]
    sides = {name: entry[name] for name in ("x", "y", "width", "height")}
    assert sides == {"x": 1, "y": 1, "width": 19, "height": 9}
    assert entry["phrase"] == "a cat"
    [again] = read_annotations(path)
    assert same_region(again.region, box)  # exact, since nobody touched it
    entry["x"] = 7
    path.write_text(json.dumps([first]))
    [moved] = read_annotations(path)
    assert same_region(moved.region, Box(0.5, 6.5, 9.5, 25.5))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"x": "1"}, "'x' must be a number"),
        ({"width": -1}, "may not be negative"),
        ({"phrase": 5}, "'phrase' must be a text"),
    ],
)
def test_errors_name_the_file_the_image_and_the_region(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps([{"id": 5, "regions": [{**THEIRS[0]["regions"][0], **change}]}]))
    with pytest.raises(FormatError, match=rf"^bad.json: image 1, region 1 \(id 1382\): .*{told}"):
        read_annotations(path)
