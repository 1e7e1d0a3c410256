from __future__ import annotations

import base64
import io
import json
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from annotated import IMAGES, annotations, extras, told
from hypothesis import HealthCheck, given, settings
from PIL import Image

from napari_patchioner.annotations import (
    Annotation,
    Notes,
    read_annotations,
    with_human_caption,
    write_annotations,
)
from napari_patchioner.annotations.formats.bundle import read_bundle, write_bundle
from napari_patchioner.annotations.formats.labelme import read, write
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import (
    Box,
    Ellipse,
    Mask,
    Point,
    Polygon,
    RegionSet,
    Trace,
    WholeImage,
)

if TYPE_CHECKING:
    from pathlib import Path

SQUARE = np.array([[-0.5, -0.5], [-0.5, 3.5], [1.5, 3.5], [1.5, -0.5]])


def _by_uid(found: list[Annotation]) -> list[Annotation]:
    return sorted(found, key=lambda one: (one.image, one.uid))


def _check(path: Path, data: dict[str, Any]) -> None:
    """Check a file by the rules LabelMe itself has for it."""
    assert set(data) >= {"version", "flags", "shapes", "imagePath", "imageData"}
    assert isinstance(data["imagePath"], str)
    for shape in data["shapes"]:
        assert isinstance(shape["label"], str)
        assert shape["label"]
        assert shape["points"]
        assert all(len(point) == 2 for point in shape["points"])
        assert all(isinstance(xy, float | int) for point in shape["points"] for xy in point)
        assert isinstance(shape["description"], str)
        assert shape["group_id"] is None or type(shape["group_id"]) is int
        assert all(isinstance(value, bool) for value in shape["flags"].values())
        fewest = {"rectangle": 2, "circle": 2, "point": 1, "mask": 2, "polygon": 3, "linestrip": 2}
        assert len(shape["points"]) >= fewest[shape["shape_type"]]
        if shape["shape_type"] == "mask":
            (x1, y1), (x2, y2) = np.asarray(shape["points"]).astype(int)
            pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(shape["mask"]))))
            assert pixels.shape == (y2 - y1 + 1, x2 - x1 + 1), path


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(items=annotations())
def test_what_was_written_reads_back(
    tmp_path: Path, same_region: Any, items: list[Annotation]
) -> None:
    path = tmp_path / "out.zip"
    assert write(path, items, IMAGES) == ()
    found = _by_uid(read(path))
    for one, again in zip(_by_uid(items), found, strict=True):
        assert told(again) == told(one)
        assert same_region(one.region, again.region)
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            _check(path, json.loads(archive.read(name)))


def test_pixel_corners_are_at_integers(tmp_path: Path) -> None:
    path = tmp_path / "cat.json"
    items = [
        Annotation("1", "cat.png", Box(-0.5, -0.5, 1.5, 3.5)),
        Annotation("2", "cat.png", Polygon(SQUARE)),
        Annotation("3", "cat.png", Point(0, 2)),
        Annotation("4", "cat.png", Trace(np.array([[0.0, 0], [1, 2]]))),
        Annotation(
            "5", "cat.png", Ellipse(np.array([[-0.5, -0.5], [-0.5, 3.5], [3.5, 3.5], [3.5, -0.5]]))
        ),
        Annotation("6", "cat.png", Mask(np.array([[True, True], [False, True]]), (5, 7))),
        Annotation("7", "cat.png", WholeImage()),
    ]
    assert write(path, items, IMAGES) == ()
    shapes = json.loads(path.read_text())["shapes"]
    assert [(shape["shape_type"], shape["points"]) for shape in shapes] == [
        ("rectangle", [[0, 0], [4, 2]]),
        ("polygon", [[0, 0], [4, 0], [4, 2], [0, 2]]),
        ("point", [[2.5, 0.5]]),
        ("linestrip", [[0.5, 0.5], [2.5, 1.5]]),
        ("circle", [[2, 2], [4, 2]]),
        ("mask", [[7, 5], [8, 6]]),
        ("rectangle", [[0, 0], [64, 48]]),
    ]


FOREIGN = {
    "version": "5.4.1",
    "flags": {},
    "shapes": [
        {
            "label": "cat",
            "points": [[10, 20], [30, 50]],
            "group_id": None,
            "description": "a cat, asleep",
            "shape_type": "rectangle",
            "flags": {"occluded": True},
            "mask": None,
        },
        {
            "label": "tail",
            "points": [[1, 1], [5, 1], [5, 5]],
            "group_id": 7,
            "shape_type": "polygon",
        },
        {"label": "tail", "points": [[9, 9], [7, 9]], "group_id": 7, "shape_type": "rectangle"},
        {"label": "eye", "points": [[5, 5], [8, 9]], "shape_type": "circle", "flags": None},
    ],
    "imagePath": "..\\cat.png",
    "imageData": None,
    "imageHeight": 60,
    "imageWidth": 40,
}


def test_files_of_labelme_itself_are_read(tmp_path: Path, same_region: Any) -> None:
    path = tmp_path / "cat.json"
    path.write_text(json.dumps(FOREIGN))
    cat, tail, eye = read_annotations(path)
    assert (cat.image, cat.caption, cat.source) == ("..\\cat.png", "a cat, asleep", "")
    assert extras(cat) == {"class": "cat", "occluded": "true"}
    assert cat.is_human
    assert same_region(cat.region, Box(19.5, 9.5, 49.5, 29.5))
    parts = (Polygon(np.array([[0.5, 0.5], [0.5, 4.5], [4.5, 4.5]])), Box(8.5, 6.5, 8.5, 8.5))
    assert same_region(tail.region, RegionSet(parts, union=True))
    assert same_region(
        eye.region, Ellipse(np.array([[-0.5, -0.5], [-0.5, 9.5], [9.5, 9.5], [9.5, -0.5]]))
    )
    assert len({one.uid for one in (cat, tail, eye)}) == 3


def test_what_labelme_changed_wins(tmp_path: Path, same_region: Any) -> None:
    path = tmp_path / "cat.json"
    turned = Ellipse(np.array([[0.0, 4], [4, 12], [8, 10], [4, 2]]))
    items = [
        Annotation("a", "cat.png", turned, "a draft", 0.5, "model", "m"),
        Annotation("b", "cat.png", RegionSet((Point(1, 1), Point(5, 5))), "two", 0.5, "model", "m"),
        Annotation("c", "cat.png", turned, "as it was", 0.5, "model", "m"),
    ]
    write(path, items, IMAGES)
    data = json.loads(path.read_text())
    data["shapes"][0]["description"] = "a cat"
    data["shapes"][0]["label"] = "cat"
    data["shapes"][0]["points"] = [[1, 1], [4, 1], [4, 4]]
    del data["shapes"][2]
    path.write_text(json.dumps(data))
    first, second, third = read(path)
    assert (first.caption, first.source, first.score) == ("a cat", "edited", None)
    assert first.extra == {"class": "cat"}
    assert same_region(first.region, Polygon(np.array([[0.5, 0.5], [0.5, 3.5], [3.5, 3.5]])))
    assert same_region(second.region, Point(1, 1))
    assert (second.caption, second.source) == ("two", "model")
    assert same_region(third.region, turned)
    assert told(third) == told(items[2])


def test_a_json_holds_one_image_a_folder_many(tmp_path: Path) -> None:
    items = [Annotation("a", name, Point(1, 1)) for name in IMAGES]
    with pytest.raises(FormatError, match="one image per file, but there are 3"):
        write(tmp_path / "out.json", items, IMAGES)
    write(tmp_path / "out", items, IMAGES)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "Cat-2.json",
        "cat.json",
        "image.json",
    ]
    (tmp_path / "out" / "other.json").write_text('{"cat": 1}')
    assert {one.image for one in read_annotations(tmp_path / "out")} == set(IMAGES)


def test_a_whole_image_without_a_size_is_told(tmp_path: Path) -> None:
    item = Annotation("a", "dog.png", WholeImage(), "a dog")
    assert write(tmp_path / "dog.json", [item], {}) == (item,)
    assert read(tmp_path / "dog.json") == []


def test_no_annotations_are_a_file_too(tmp_path: Path) -> None:
    assert write_annotations(tmp_path / "a.json", [], IMAGES, format="labelme") == ()
    assert read_annotations(tmp_path / "a.json") == []
    assert json.loads((tmp_path / "a.json").read_text())["imagePath"] == "cat.png"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"shape_type": "cube"}, "shape 1: the shape type 'cube' is unknown"),
        ({"points": [[1, 1]]}, "shape 1: a rectangle needs 2 points"),
        ({"points": [[1, 1], [1, "x"]]}, "shape 1: its 'points' must be pairs of numbers"),
        ({"points": [[1, 1], [1, float("nan")]]}, "not a finite number"),
        ({"points": None}, "no list of 'points'"),
        ({"shape_type": "mask", "mask": "cat"}, "no picture in base64"),
    ],
)
def test_broken_shapes_are_told(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    path = tmp_path / "cat.json"
    shapes = [FOREIGN["shapes"][0] | change]
    path.write_text(json.dumps(FOREIGN | {"shapes": shapes}))
    with pytest.raises(FormatError, match=why):
        read(path)


@pytest.mark.parametrize(
    ("change", "region"),
    [
        ({"points": [[40, 30], [90, 30], [90, 70], [40, 70]]}, Box(29.5, 39.5, 69.5, 89.5)),
        ({"points": [[90, 70], [40, 30]], "flags": [1]}, Box(29.5, 39.5, 69.5, 89.5)),
        (
            {"shape_type": "rotation", "points": [[5, 1], [9, 5], [5, 9], [1, 5]], "direction": 1},
            Polygon(np.array([[0.5, 4.5], [4.5, 8.5], [8.5, 4.5], [4.5, 0.5]])),
        ),
    ],
)
def test_shapes_of_other_programs(
    tmp_path: Path, same_region: Any, change: dict[str, Any], region: Any
) -> None:
    path = tmp_path / "cat.json"
    bad = {"label": "x", "points": 7}
    content = FOREIGN | {"shapes": [FOREIGN["shapes"][0] | change, bad, "text"]}
    path.write_text(json.dumps(content))
    notes = Notes()
    [found] = read_annotations(path, notes=notes)
    assert same_region(found.region, region)
    assert len(notes) == 2
    moved = replace(found, region=Polygon(np.array([[0.0, 4], [4, 8], [8, 4], [4, 0]])))
    write(path, [moved], IMAGES)
    kind = change.get("shape_type", "polygon")
    assert json.loads(path.read_text())["shapes"][0]["shape_type"] == kind


@pytest.mark.parametrize("target", ["labels", "labels.zip"])
def test_a_folder_of_files_is_captioned_in_place(tmp_path: Path, target: str) -> None:
    files = {
        f"{name}_labels.json": {**FOREIGN, "imagePath": f"{name}.png", "imageData": "AAAA"}
        for name in ("cat", "dog")
    }
    path = tmp_path / target
    write_bundle(path, {name: json.dumps(one).encode() for name, one in files.items()})
    found = [one for one in read_annotations(path) if one.image == "cat.png"]
    found[2] = with_human_caption(found[2], "an eye")
    write(path, found, {})
    written = read_bundle(path, lambda name: True)
    assert {name: json.loads(data)["imageData"] for name, data in written.items()} == {
        "cat_labels.json": "AAAA",
        "dog_labels.json": "AAAA",
    }
    shapes = {name: json.loads(data)["shapes"] for name, data in written.items()}
    assert shapes["dog_labels.json"] == FOREIGN["shapes"]
    assert shapes["cat_labels.json"][:3] == FOREIGN["shapes"][:3]
    assert shapes["cat_labels.json"][3]["description"] == "an eye"


@pytest.mark.parametrize("target", ["labels", "labels.zip"])
@pytest.mark.parametrize("nothing", [{"imagePath": None}, {"imagePath": ""}, {}])
def test_a_file_that_names_no_image_is_about_the_one_it_is_named_like(
    tmp_path: Path, target: str, nothing: dict[str, Any]
) -> None:
    unnamed = {name: field for name, field in FOREIGN.items() if name != "imagePath"} | nothing
    named = ["cat.json", "more/dog.json", "a/1.json", "b/1.json"]
    files = {name: json.dumps(unnamed).encode() for name in named}
    write_bundle(tmp_path / target, {**files, "fox.json": json.dumps(FOREIGN).encode()})
    found = read_annotations(tmp_path / target)
    assert {one.image for one in found} == {"cat", "dog", "a/1", "b/1", "..\\cat.png"}
    write(tmp_path / target, [with_human_caption(one, "new") for one in found], {})
    again = read_bundle(tmp_path / target, lambda name: True)
    assert set(again) == {*named, "fox.json"}
    assert json.loads(again["a/1.json"]).get("imagePath") == nothing.get("imagePath")
    # Alone, it may be called anything.
    alone = tmp_path / "cat.json"
    alone.write_bytes(files["cat.json"])
    assert {one.image for one in read_annotations(alone)} == {""}
    assert {one.image for one in read_annotations(alone, {"dog.png": IMAGES["cat.png"]})} == {""}
    assert {one.image for one in read_annotations(alone, IMAGES)} == {"cat"}


@pytest.mark.parametrize("target", ["labels", "labels.zip"])
@pytest.mark.parametrize("damaged", [b"", b'{"version":"5.4.1","imagePath":"a.png","shapes":[{"la'])
@pytest.mark.parametrize("name", ["a.json", "zz.json"])
def test_a_damaged_file_is_listed_and_the_others_are_read(
    tmp_path: Path, target: str, damaged: bytes, name: str
) -> None:
    other = {name: damaged, "classes.json": b'["cat"]'}
    write_bundle(tmp_path / target, {**other, "cat.json": json.dumps(FOREIGN).encode()})
    notes = Notes()
    found = read_annotations(tmp_path / target, notes=notes)
    assert (len(found), notes.left_out, len(notes)) == (3, 1, 2)
    told = "\n".join(notes.lines())
    assert f"{name}: is broken JSON" in told
    assert "'classes.json' is no file of LabelMe; it was not read" in told
    write(tmp_path / target, [with_human_caption(found[0], "new"), *found[1:]], {})
    again = read_bundle(tmp_path / target, lambda name: True)
    assert {name: again[name] for name in other} == other
    assert set(again) == {*other, "cat.json"}


def test_a_circle_beyond_all_numbers_is_told_without_a_warning(tmp_path: Path) -> None:
    points = [[1e308, 1e308], [-1e308, -1e308]]
    shape = {"label": "a", "points": points, "shape_type": "circle"}
    path = tmp_path / "cat.json"
    path.write_text(json.dumps({"version": "5", "imagePath": "cat.png", "shapes": [shape]}))
    with pytest.raises(FormatError, match="a circle is larger than any number"):
        read_annotations(path)
