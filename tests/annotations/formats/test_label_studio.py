from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from annotated import IMAGES, annotations, told
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_patchioner.annotations import (
    Annotation,
    ImageInfo,
    Notes,
    forget_files,
    read_annotations,
    write_annotations,
)
from napari_patchioner.annotations.formats.label_studio import read, write
from napari_patchioner.annotations.rle import decode_brush, encode_brush
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


def _by_uid(found: list[Annotation]) -> list[Annotation]:
    return sorted(found, key=lambda one: (one.image, one.uid))


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(items=annotations())
def test_what_was_written_reads_back(
    tmp_path: Path, same_region: Any, items: list[Annotation]
) -> None:
    path = tmp_path / "tasks.json"
    assert write(path, items, IMAGES) == ()
    for one, again in zip(_by_uid(items), _by_uid(read(path)), strict=True):
        assert told(again) == told(one)
        assert same_region(one.region, again.region)


def _only(path: Path, region: Any) -> dict[str, Any]:
    write(path, [Annotation("a", "cat.png", region)], IMAGES)
    [task] = json.loads(path.read_text())
    result: dict[str, Any] = task["annotations"][0]["result"][0]
    assert (result["original_width"], result["original_height"]) == (64, 48)
    return result


def test_percent_count_from_the_corner_of_the_first_pixel(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    box = _only(path, Box(-0.5, -0.5, 23.5, 15.5))
    assert box["type"] == "rectanglelabels"
    assert box["value"] == {
        "x": 0,
        "y": 0,
        "width": 25,
        "height": 50,
        "rotation": 0,
        "rectanglelabels": ["region"],
    }
    ring = _only(path, Polygon(np.array([[-0.5, -0.5], [-0.5, 31.5], [47.5, 63.5]])))
    assert ring["value"]["points"] == [[0, 0], [50, 0], [100, 100]]
    dot = _only(path, Point(11.5, 15.5))
    assert (dot["value"]["x"], dot["value"]["y"]) == (25, 25)
    corners = np.array([[11.5, 15.5], [11.5, 47.5], [35.5, 47.5], [35.5, 15.5]])
    oval = _only(path, Ellipse(corners))["value"]
    assert [oval[name] for name in ("x", "y", "radiusX", "radiusY", "rotation")] == [
        50,
        50,
        25,
        25,
        0,
    ]
    way = _only(path, Trace(np.array([[-0.5, -0.5], [47.5, 63.5]])))
    assert [(one["x"], one["y"]) for one in way["value"]["vertices"]] == [(0, 0), (100, 100)]
    assert way["value"]["closed"] is False


def _task(*results: dict[str, Any], **more: Any) -> dict[str, Any]:
    about = {"original_width": 200, "original_height": 100, "image_rotation": 0, "to_name": "image"}
    full = [about | {"id": f"r{place}"} | one for place, one in enumerate(results)]
    return {"id": 1, "data": {"img": "/data/cat.jpg"}, "annotations": [{"result": full}], **more}


RECTANGLE = {
    "type": "rectanglelabels",
    "from_name": "label",
    "value": {
        "x": 10,
        "y": 20,
        "width": 30,
        "height": 40,
        "rotation": 90,
        "rectanglelabels": ["cat"],
    },
}


def test_tasks_of_label_studio_itself_are_read(tmp_path: Path, same_region: Any) -> None:
    oval = {"x": 50, "y": 50, "radiusX": 10, "radiusY": 5, "rotation": 90, "ellipselabels": ["eye"]}
    task = _task(
        RECTANGLE | {"meta": {"text": ["a note"]}},
        {
            "id": "r0",
            "type": "textarea",
            "from_name": "says",
            "value": {"text": ["a cat,", "asleep"]},
        },
        {"id": "r0", "type": "choices", "from_name": "mood", "value": {"choices": ["calm"]}},
        {"type": "ellipselabels", "from_name": "e", "value": oval},
        {"type": "relation", "from_id": "r0", "to_id": "r3"},
        {"type": "textarea", "from_name": "all", "value": {"text": "the image"}},
    )
    del task["annotations"][0]["result"][5]["original_width"]
    draft = RECTANGLE | {"id": "p", "original_width": 200, "original_height": 100}
    said = {"id": "p", "type": "textarea", "value": {"text": ["a draft"]}}
    task["predictions"] = [{"model_version": "m2", "score": 0.5, "result": [draft, said]}]
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps([task]))
    cat, eye, whole, model = read_annotations(path)
    assert {one.image for one in (cat, eye, whole, model)} == {"/data/cat.jpg"}
    assert (cat.caption, cat.source) == ("a cat,\nasleep", "")
    assert cat.extra.items() >= {"class": "cat", "notes": "a note", "mood": "calm"}.items()
    assert set(cat.extra) == {"class", "notes", "mood", "metadata"}
    # 20 pixels right, 20 down; 60 wide, 40 high; then turned clockwise about that corner.
    turned = Polygon(np.array([[19.5, 19.5], [79.5, 19.5], [79.5, -20.5], [19.5, -20.5]]))
    assert same_region(cat.region, turned)
    assert isinstance(eye.region, Ellipse)
    corners = eye.region.corners
    np.testing.assert_allclose(corners.min(axis=0), [29.5, 94.5])
    np.testing.assert_allclose(corners.max(axis=0), [69.5, 104.5])
    assert (whole.caption, whole.kind) == ("the image", "image")
    assert (model.caption, model.source, model.model) == ("a draft", "model", "m2")


def _dot(**more: Any) -> dict[str, Any]:
    about = {"original_width": 200, "original_height": 100, "to_name": "image"}
    return {**about, "type": "keypoint", "value": {"x": 50, "y": 50, "width": 1}, **more}


@pytest.mark.parametrize(
    ("data", "results", "names"),
    [
        ({"pages": ["a.png", "b.png"]}, [{"item_index": 1}, {"item_index": 0}], ["b.png", "a.png"]),
        (
            {"image1": "a.png", "image2": "b.png"},
            [{"to_name": "image2"}, {"to_name": "img-1"}],
            ["b.png", "a.png"],
        ),
        ({"left": "a.png", "right": "b.png"}, [{"source": "$right"}], ["b.png"]),
        ({"image": "a.png", "thumb": "b.png"}, [{}], ["a.png"]),
        ({"one": "a.png", "two": "b.png"}, [{}], None),
        ({"pages": ["a.png", "b.png"]}, [{}], None),
        ({"pages": ["a.png", "b.png"]}, [{"item_index": 5}], None),
        ({"pages": ["a.png"]}, [{}], ["a.png"]),
        ({"text": "a caption", "image": "a.png"}, [{}], ["a.png"]),
    ],
)
def test_regions_are_on_the_image_they_name(
    tmp_path: Path, data: dict[str, Any], results: list[dict[str, Any]], names: list[str] | None
) -> None:
    path = tmp_path / "tasks.json"
    listed = [_dot(id=f"r{place}", **one) for place, one in enumerate(results)]
    path.write_text(json.dumps([{"data": data, "annotations": [{"result": listed}]}]))
    if names is None:
        with pytest.raises(FormatError, match=r"task 1: result 'r0': is (in|on)"):
            read_annotations(path)
    else:
        assert [one.image for one in read_annotations(path)] == names


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("/data/upload/7/1b8e0dc9-cat.jpg", "cat.jpg"),
        ("/data/upload/1b8e0dc9-my%20cat.jpg", "my cat.jpg"),
        ("/data/local-files/?d=path/cat.jpg", "path/cat.jpg"),
        ("s3://bucket/path/cat.jpg", "s3://bucket/path/cat.jpg"),
        ("https://host/a%20b/cat.jpg?X-Amz-Date=1&sig=a%2Fb", "https://host/a b/cat.jpg"),
        ("/tasks/3/resolve/?fileuri=czM6Ly9iL2NhdC5qcGc=", "s3://b/cat.jpg"),
        ("C:/pictures/100%.jpg", "C:/pictures/100%.jpg"),
        ("http://[bad/cat.jpg", "http://[bad/cat.jpg"),
    ],
)
def test_images_are_called_as_before_they_came_to_label_studio(
    tmp_path: Path, url: str, name: str
) -> None:
    path = tmp_path / "tasks.json"
    task = {"data": {"image": url}, "annotations": [{"result": [_dot(id="a")]}]}
    path.write_text(json.dumps([task]))
    [found] = read_annotations(path)
    assert found.image == name
    [found] = read_annotations(path, {url: ImageInfo("cat.jpg", 100, 200)})
    assert found.image == url


def test_sizes_that_are_not_told_are_those_of_the_image(tmp_path: Path, same_region: Any) -> None:
    path = tmp_path / "tasks.json"
    bare = {"type": "keypoint", "value": {"x": 50, "y": 50, "width": 1}}
    tasks = [
        {"data": {"image": "/data/upload/1/0123abcd-cat.png"}, "predictions": [{"result": [bare]}]},
        {"data": {"image": "dog.png"}, "predictions": [{"result": [bare | {"id": "b"}, _dot()]}]},
        {"data": {"image": "cow.png"}, "predictions": [{"result": [bare | {"id": "c"}]}]},
        {"data": {"image": "ant.png"}, "predictions": [{"result": "spoiled"}]},
        "no task",
    ]
    path.write_text(json.dumps(tasks))
    notes = Notes()
    found = read_annotations(path, {"cat.png": ImageInfo("cat.png", 30, 40)}, notes=notes)
    assert [one.image for one in found] == ["cat.png", "dog.png", "dog.png"]
    assert same_region(found[0].region, Point(14.5, 19.5))
    assert same_region(found[1].region, Point(49.5, 99.5))
    told_of = [line.split(": ")[1] for line in notes.lines()]
    assert told_of == ["task 3", "task 4", "task 5"]


FOREIGN = {
    "id": 31,
    "data": {"image": "/data/upload/1/0123abcd-cat.png", "ticket": 7},
    "annotations": [
        {
            "id": 5,
            "completed_by": 2,
            "lead_time": 3.5,
            "result": [
                {**_dot(id="a"), "type": "keypointlabels", "meta": {"text": ["blurred"]}},
                {"id": "a", "type": "rating", "from_name": "stars", "value": {"rating": 4}},
                {**_dot(id="b"), "value": {"x": 10, "y": 10, "width": 3}},
                {"id": "b", "type": "textarea", "from_name": "says", "value": {"text": ["mine"]}},
                {"type": "choices", "from_name": "kind", "value": {"choices": ["indoor"]}},
                {"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"},
            ],
        },
        {"id": 6, "was_cancelled": True, "result": [_dot(id="z")]},
        {"id": 7, "result": [_dot(id="c")]},
    ],
    "predictions": [{"id": 8, "model_version": "v1", "score": 0.25, "result": [_dot(id="d")]}],
}
FOREIGN["annotations"][0]["result"][0]["value"]["keypointlabels"] = ["eye"]  # type: ignore[index]


@pytest.mark.parametrize("remembered", [True, False])
def test_a_file_of_others_is_the_same_again_with_captions(tmp_path: Path, remembered: bool) -> None:
    path, new = tmp_path / "tasks.json", tmp_path / "captioned.json"
    path.write_text(json.dumps([FOREIGN]))
    found = read_annotations(path)
    assert [(one.uid, one.caption, one.is_human) for one in found] == [
        ("a", "", False),
        ("b", "mine", True),
        ("c", "", False),
        ("d", "", False),
    ]
    assert (found[0].extra["class"], found[0].extra["stars"]) == ("eye", "4")
    captioned = [
        one if one.caption else replace(one, caption="an eye", source="model", model="m", score=0.5)
        for one in found
    ]
    if not remembered:
        forget_files()
    write_annotations(new, captioned, {}, "label-studio")
    [task] = json.loads(new.read_text())
    again = read_annotations(new)
    assert [told(one) | {"extra": 0} for one in again] == [
        told(one) | {"extra": 0} for one in captioned
    ]
    kept = json.loads(json.dumps(FOREIGN))
    if remembered:
        # Nothing but the captions is new.
        for item in (*task["annotations"], *task["predictions"]):
            item["result"] = [
                one
                for one in item["result"]
                if one["type"] != "textarea" or one["value"]["text"] == ["mine"]
            ]
            for one in item["result"]:
                meta = one.get("meta", {})
                meta.pop("napari_patchioner", None)
                if not meta:
                    one.pop("meta", None)
        assert task == kept
    else:
        assert (task["id"], task["data"]) == (kept["id"], kept["data"])
        assert task["annotations"][0]["completed_by"] == 2
        assert task["annotations"][0]["result"][1]["value"] == {"rating": 4}


def test_a_file_of_others_is_written_over_in_place(tmp_path: Path, same_region: Any) -> None:
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps([FOREIGN, {**FOREIGN, "data": {"image": "dog.png"}}]))
    for caption in ("an eye", "the eye"):
        found = read_annotations(path)
        changed = [
            replace(found[0], region=Point(1, 2), caption=caption, source="human"),
            *(one for one in found if one.image == "cat.png" and one.uid in ("b", "d")),
            *(one for one in found if one.image == "dog.png"),
        ]
        write_annotations(path, changed, {}, "label-studio")
    first, second, third, *others = read_annotations(path)
    assert (first.caption, first.source, first.extra["stars"]) == ("the eye", "human", "4")
    assert same_region(first.region, Point(1, 2))
    assert [one.uid for one in (second, third)] == ["b", "d"] or third.uid == "c"
    assert len(others) >= 4
    assert json.loads(path.read_text())[1] == {**FOREIGN, "data": {"image": "dog.png"}}


def test_what_is_about_another_image_of_a_task_stays(tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    results = [_dot(id="a", item_index=0), _dot(id="b", item_index=1), _dot(id="c", item_index=0)]
    path.write_text(
        json.dumps([{"data": {"pages": ["a.png", "b.png"]}, "annotations": [{"result": results}]}])
    )
    found = [one for one in read_annotations(path) if one.uid == "a"]
    write_annotations(path, [replace(found[0], caption="an a")], {}, "label-studio")
    assert [(one.uid, one.caption) for one in read_annotations(path)] == [("a", "an a"), ("b", "")]


def test_the_smaller_export_is_read(tmp_path: Path, same_region: Any) -> None:
    size = {"original_width": 200, "original_height": 100}
    box = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, **size}
    small = {
        "image": "/data/upload/1/0123abcd-cat.png",
        "id": 1,
        "label": [{**box, "rectanglelabels": ["cat"]}],
        "says": [{**box, "text": ["a cat"]}],
        "dots": [{"x": 50, "y": 50, "width": 1, **size}],
        "kind": "indoor",
        "annotator": 1,
        "annotation_id": 2,
        "created_at": "2024-01-01T00:00:00Z",
    }
    path = tmp_path / "min.json"
    path.write_text(json.dumps([small]))
    cat, dot = read_annotations(path)
    assert (cat.image, cat.caption, cat.extra["class"]) == ("cat.png", "a cat", "cat")
    assert same_region(cat.region, Box(19.5, 19.5, 59.5, 79.5))
    assert same_region(dot.region, Point(49.5, 99.5))


def test_the_smaller_export_is_written_again(tmp_path: Path) -> None:
    size = {"original_width": 200, "original_height": 100}
    box = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0, **size}
    small = {
        "image": "/data/upload/1/0123abcd-cat.png",
        "id": 7,
        "label": [{**box, "rectanglelabels": ["cat"]}],
        "says": [{**box, "text": ["a cat"]}],
        "dots": [{"x": 50, "y": 50, "width": 1, **size}],
        "kind": {"choices": ["in", "out"]},
        "annotator": 1,
        "annotation_id": 2,
        "created_at": "2024-01-01T00:00:00Z",
    }
    path = tmp_path / "min.json"
    path.write_text(json.dumps([small]))
    cat, dot = read_annotations(path)
    write_annotations(path, [cat, dot], {}, "label-studio")
    assert json.loads(path.read_text()) == [small]
    said = replace(dot, caption="an eye", source="model", model="mini", score=0.5)
    write_annotations(path, [cat, said], {}, "label-studio")
    [task] = json.loads(path.read_text())
    assert task["caption"] == [{"x": 50, "y": 50, "width": 1, **size, "text": ["an eye"]}]
    [dots] = task["dots"]
    assert dots.pop("napari_patchioner")["model"] == "mini"
    assert {**task, "dots": [dots]} == {**small, "caption": task["caption"]}
    again = read_annotations(path)
    assert [(one.caption, one.source, one.model) for one in again] == [
        (cat.caption, cat.source, ""),
        ("an eye", "model", "mini"),
    ]
    # The records of before and of now are those of this file still, and one may be taken out.
    write_annotations(path, [said], {}, "label-studio")
    [task] = json.loads(path.read_text())
    assert (task["label"], task["says"], len(task["dots"])) == ([], [], 1)
    write_annotations(path, [replace(said, caption="two eyes")], {}, "label-studio")
    assert [one.caption for one in read_annotations(path)] == ["two eyes"]


def test_model_captions_are_predictions_and_others_annotations(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    items = [
        Annotation("a", "cat.png", Point(1, 1), "one", 0.5, "model", "m1"),
        Annotation("b", "cat.png", Point(2, 2), "two", None, "human"),
        Annotation("c", "cat.png", Point(3, 3), "three", 0.7, "model", "m1"),
        Annotation("d", "cat.png", Point(4, 4), "four", None, "model", "m2"),
        Annotation("e", "cat.png", Point(4, 4)),
    ]
    write(path, items, IMAGES)
    [task] = json.loads(path.read_text())
    ids = [one["id"] for one in task["annotations"][0]["result"] if one["type"] != "textarea"]
    assert ids == ["b", "e"]
    first, second = task["predictions"]
    assert (first["model_version"], first["score"]) == ("m1", pytest.approx(0.6))
    assert (second["model_version"], "score" in second) == ("m2", False)
    texts = [one["value"]["text"] for one in first["result"] if one["type"] == "textarea"]
    assert texts == [["one"], ["three"]]
    assert [told(one) for one in read(path)] == [told(one) for one in items]


def test_what_label_studio_changed_wins(tmp_path: Path, same_region: Any) -> None:
    path = tmp_path / "a.json"
    turned = Ellipse(np.array([[0.0, 4], [4, 12], [8, 10], [4, 2]]))
    items = [
        Annotation("a", "cat.png", turned, "a draft", 0.5, "model", "m"),
        Annotation("b", "cat.png", RegionSet((Point(1, 1), turned)), "two", None, "human"),
        Annotation("c", "cat.png", turned, "gone", None, "human"),
    ]
    write(path, items, IMAGES)
    [task] = json.loads(path.read_text())
    draft = json.loads(json.dumps(task["predictions"][0]["result"]))
    draft[0]["value"]["x"] += 100 / 64
    draft[1]["value"]["text"] = ["a cat"]
    results = task["annotations"][0]["result"]
    results[:] = [*draft, *(one for one in results if one["value"].get("text") != ["gone"])]
    path.write_text(json.dumps([task]))
    first, second, third = read(path)
    assert (first.uid, first.caption, first.source) == ("a", "a cat", "edited")
    assert same_region(first.region, Ellipse(turned.corners + np.array([0.0, 1.0])))
    assert same_region(second.region, items[1].region)
    assert (third.caption, third.source) == ("", "human")
    assert same_region(third.region, turned)


PIXELS = arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))


@given(PIXELS, st.integers(-4, 12), st.integers(-4, 12))
def test_painted_pixels_read_back(pixels: np.ndarray, row: int, column: int) -> None:
    canvas = np.zeros((40, 40), bool)
    canvas[row + 10 : row + 10 + len(pixels), column + 10 : column + 10 + len(pixels[0])] = pixels
    expected = canvas[10:20, 10:18]
    data = encode_brush(Mask(pixels, (row, column)), 10, 8)
    assert bool(data) is bool(expected.any())
    if data:
        mask = decode_brush(data, 10, 8)
        assert mask is not None
        again = np.zeros((10, 8), bool)
        (top, left), (height, width) = mask.offset, mask.pixels.shape
        again[top : top + height, left : left + width] = mask.pixels
        np.testing.assert_array_equal(again, expected)


def test_painted_pixels_are_packed_bit_by_bit() -> None:
    # 2 x 1 pixels, the second painted: 8 bytes, words of 8 bits, lengths of 3, 4, 8 or 16 bits;
    # then twice "alike, size 0, 4 words", a word of zeros and a word of ones.
    bits = f"{8:032b}00111001000110111111110001100000000100011"
    bits += "11111111"
    bits += "0" * (-len(bits) % 8)
    expected = [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]
    assert encode_brush(Mask(np.array([[True]]), (0, 1)), 1, 2) == expected
    # Nothing is counted piece by piece, nor beyond what 32 bits can count.
    dot = Mask(np.array([[True]]), (30_000, 30_000))
    assert decode_brush(encode_brush(dot, 32_000, 32_000), 32_000, 32_000).offset == dot.offset
    assert encode_brush(dot, 10**6, 10**6) == []
    # Words that are not alike stand one by one.
    mixed = f"{8:032b}001110010001101111111000111" + "00000000" * 3
    mixed += "11111111" + "00000000" * 4
    mixed += "0" * (-len(mixed) % 8)
    mask = decode_brush([int(mixed[at : at + 8], 2) for at in range(0, len(mixed), 8)], 1, 2)
    assert mask is not None
    assert (mask.offset, mask.pixels.tolist()) == ((0, 0), [[True]])


def test_a_mask_beside_the_image_is_carried_by_a_text(tmp_path: Path, same_region: Any) -> None:
    item = Annotation("a", "cat.png", Mask(np.ones((2, 2), bool), (500, 500)), "off")
    assert write(tmp_path / "a.json", [item], IMAGES) == ()
    [again] = read(tmp_path / "a.json")
    assert same_region(item.region, again.region)
    assert told(again) == told(item)


def test_the_size_of_the_image_is_needed(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"size of image 'dog\.png' is missing"):
        write(tmp_path / "a.json", [Annotation("a", "dog.png", WholeImage())], IMAGES)


def test_no_annotations_are_a_file_too(tmp_path: Path) -> None:
    write_annotations(tmp_path / "a.json", [], IMAGES, format="label-studio")
    assert read(tmp_path / "a.json") == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"type": "videorectangle"}, "task 1: result 'r0': the type 'videorectangle'"),
        ({"original_width": None}, "lacks 'original_width'"),
        ({"image_rotation": 90}, "turn the image back"),
        ({"value": {"x": 1, "y": 1}}, "lacks fields"),
        ({"value": {"x": 1, "y": "a", "width": 1, "height": 1}}, "no numbers"),
        ({"type": "brushlabels", "value": {"rle": [0, 0, 0, 1]}}, "no runs"),
        ({"value": {"x": 1e308, "y": 1, "width": 1, "height": 1}}, "not a finite number"),
        ({"type": "polygonlabels", "value": {"points": [[1, 1]]}}, "at least 3"),
    ],
)
def test_broken_results_are_told(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([_task(RECTANGLE | change)]))
    with pytest.raises(FormatError, match=why):
        read(path)


def test_a_picture_within_the_file_is_no_other_image(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    tasks = [
        {"data": {"image": f"data:image/png;base64,{text}"}, "annotations": [{"result": [_dot()]}]}
        for text in ("AAAA", "BBBB")
    ]
    path.write_text(json.dumps(tasks))
    first, second = (one.image for one in read_annotations(path))
    assert first
    assert second
    assert first != second


def test_annotations_of_another_program_are_no_tasks(tmp_path: Path) -> None:
    path = tmp_path / "createml.json"
    box = {"x": 5, "y": 6, "width": 3, "height": 4}
    path.write_text(
        json.dumps([{"image": "a.png", "annotations": [{"label": "cat", "coordinates": box}]}])
    )
    with pytest.raises(FormatError, match="holds no regions in a known format"):
        read_annotations(path)
