"""Captioning a data set of another program gives the same data set back, and captions."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from annotated import ODD, extras
from colours import Loader
from PIL import Image

from napari_patchioner.annotations import (
    Annotation,
    ImageInfo,
    Notes,
    forget_files,
    read_annotations,
    with_human_caption,
    write_annotations,
)
from napari_patchioner.cli import main
from napari_patchioner.regions import Box, Trace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OURS = "napari_patchioner"
SIZES = {name: ImageInfo(name, 32, 48) for name in ("a", "b", "a.png")}

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


def _square(left: int) -> dict[str, Any]:
    ring = [[left, 1.1], [left + 9, 1.1], [left + 9, 12], [left, 1.1]]
    return {"type": "Polygon", "coordinates": [ring]}


GEOJSON = {
    "features": [
        {"type": "Feature", "id": "3b4a7a3c-5a6e-4c3a-9c57-3f1d5a0c7b11", "geometry": _square(2),
         "nucleusGeometry": _square(4), "parentId": "x",
         "properties": {"objectType": "cell", "isLocked": False, "color": [9, 9, 9], "name": "c 1",
                        "classification": {"name": "Tumor", "color": [200, 0, 0]},
                        "measurements": {"Area µm^2": 12.5, "score": 3, "bad": float("nan")}}},
        {"type": "Feature", "id": "PathTile", "geometry": {**_square(6), "isEllipse": True},
         "properties": {"objectType": "tile", "metadata": {"ANNOTATION_DESCRIPTION": "a tile"},
                        "measurements": [{"name": "Area", "value": 1}], "childObjects": [
             {"type": "Feature", "geometry": _square(9), "properties": {"name": "child"}}]}},
        {"type": "Feature", "id": "n", "geometry": None, "properties": {"x": 1}},
        {"type": "Feature", "geometry": _square(20), "properties": {"isMissing": True}},
    ],
    "crs": {"type": "name", "properties": {"name": "pixels"}},
    "type": "FeatureCollection",
}  # fmt: skip


def _coco(content: Any) -> tuple[list[Any], list[Any]]:
    entries = content.pop("annotations")
    return entries, [_without(one, "caption", OURS) for one in entries]


def _without(entry: Any, *names: str) -> Any:
    return {name: one for name, one in entry.items() if name not in names}


def _geojson(content: Any) -> tuple[list[Any], list[Any]]:
    features = content.pop("features")
    return features, [_bare_feature(one) for one in features]


def _bare_feature(feature: Any) -> Any:
    given = {"metadata": {}, **feature["properties"]}
    given["childObjects"] = [_bare_feature(one) for one in given.get("childObjects", [])]
    given["metadata"] = _without(given["metadata"], OURS, "ANNOTATION_DESCRIPTION")
    return {**feature, "properties": dict(sorted(given.items()))}


LABELME = {
    "version": "2.4.4",
    "flags": {"blurred": True},
    "shapes": [
        {"label": "cat", "points": [[10, 10], [30, 10], [30, 20], [10, 20]], "group_id": None,
         "shape_type": "rectangle", "flags": {"occluded": True}, "attributes": {"age": "old"},
         "difficult": False, "kie_linking": []},
        {"label": "tail", "points": [[1, 1], [5, 1], [5, 5]], "group_id": 7, "line_color": None},
        {"label": "bad", "points": "nonsense"},
        {"label": "cat", "points": [[9, 9], [20, 9], [20, 20], [9, 20]], "description": "a cat",
         "shape_type": "rotation", "direction": 0.5},
        {"label": "tail", "points": [[9, 9], [7, 9]], "group_id": 7, "shape_type": "rectangle"},
        {"label": "eye", "points": [[15, 15], [18, 19]], "shape_type": "circle", "score": 0.5},
    ],
    "imagePath": "..\\a.png",
    "imageData": "AAAA",
    "imageHeight": 32,
    "imageWidth": 48,
    "checked": True,
}  # fmt: skip


def _labelme(content: Any) -> tuple[list[Any], list[Any]]:
    shapes = content.pop("shapes")
    return shapes, [_without(one, "description", OURS) for one in shapes]


GENOME = [
    {"id": 5, "regions": []},
    {"url": "https://x.org/a.png", "id": 7, "image": "a.png", "coco_id": None, "regions": [
        {"region_id": 3, "image_id": 7, "x": 4, "y": 5, "width": 9, "height": 9.5, "phrase": "",
         "synsets": [{"name": "clock.n.01"}], "attributes": ["green"], "objects": [1]},
        {"region_id": 9, "image_id": 7, "x": 4, "y": 5, "width": "wide"},
        {"region_id": 4, "image_id": 7, "x": 0, "y": 0, "width": 9, "height": 9, "phrase": "a dog"},
        {"region_id": 8, "image_id": 7, "x": 9, "y": 9, "width": 9, "height": 9},
    ]},
]  # fmt: skip


def _genome(content: Any) -> tuple[list[Any], list[Any]]:
    regions = content[-1].pop("regions")
    return regions, [_without(one, "phrase", OURS) for one in regions]


def _narrative(image: str, caption: str, **others: Any) -> dict[str, Any]:
    traces = [[{"x": 0.2, "y": 0.3, "t": 0.01}, {"x": 1.05, "y": 0.4, "t": 0.3}]]
    said = {"utterance": caption, "start_time": 0.0, "end_time": 0.3}
    known = {"dataset_id": "mscoco_val2017", "image_id": image, "annotator_id": 93, **others}
    known |= {"caption": caption, "timed_caption": [said], "traces": traces}
    return {**known, "voice_recording": f"{image}.ogg"}


NARRATIVES = [
    _narrative("a", ""),
    _narrative("b", "", annotator_id=7),
    {"image_id": "a", "traces": "nonsense"},
    _narrative("a", "a cat"),
]


def _narratives(content: Any) -> tuple[list[Any], list[Any]]:
    lines = list(content)
    content.clear()
    bare = [_without(one, "caption", "timed_caption") for one in lines]
    times = [[_without(said, OURS) for said in one.get("timed_caption", [])] for one in lines]
    return lines, list(zip(bare, times, strict=True))


class Case(NamedTuple):
    """A file of another program.

    Attributes
    ----------
    file, content
        Its name and what it holds.
    entries
        Takes the entries out of what it holds; returns them, and them without what a caption adds.
    pictures
        What it is about.
    second
        The entries about the second picture that have no caption.
    """

    file: str
    content: Any
    entries: Callable[[Any], tuple[list[Any], list[Any]]]
    pictures: tuple[str, ...] = ("a.png", "b.png")
    second: tuple[int, ...] = ()


CASES = {
    "coco": Case("a.json", COCO, _coco, second=(0, 3)),
    "geojson": Case("a.geojson", GEOJSON, _geojson, ("a.png",)),
    "labelme": Case("a.json", LABELME, _labelme, ("a.png",)),
    "visual-genome": Case("a.json", GENOME, _genome, ("a.png",)),
    "localized-narratives": Case("a.jsonl", NARRATIVES, _narratives, second=(1,)),
}


@pytest.fixture(params=CASES)
def name(request: pytest.FixtureRequest) -> str:
    """Return the name of a format."""
    return str(request.param)


@pytest.fixture
def path(name: str, tmp_path: Path) -> Path:
    """Return a file of another program, beside its pictures."""
    case = CASES[name]
    for picture in case.pictures:
        _photo(tmp_path / picture)
    lines = case.content if case.file.endswith(".jsonl") else [case.content]
    text = "\n".join(map(json.dumps, lines))
    (tmp_path / case.file).write_text(text, encoding="utf-8")
    return tmp_path / case.file


def _photo(path: Path) -> None:
    Image.fromarray(np.full((32, 48, 3), (200, 0, 0), np.uint8)).save(path)


def _content(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    return json.loads(text)


def _caption(path: Path, *pictures: str) -> int:
    """Caption a file in place on the command line."""
    shown = [str(path.with_name(one)) for one in pictures]
    return main(["caption", *shown, "--regions", str(path), "--out", str(path)], load=Loader())


def _check_only_captions_are_new(name: str, before: Any, after: Any, touched: set[int]) -> None:
    old, new = CASES[name].entries(before), CASES[name].entries(after)
    # By their texts, in which what is no number is equal to itself.
    assert repr(before) == repr(after)
    assert repr(old[1]) == repr(new[1])
    same = {place for place, one in enumerate(old[0]) if repr(one) == repr(new[0][place])}
    assert same == set(range(len(old[0]))) - touched


def _told(annotation: Annotation) -> dict[str, Any]:
    return dict(json.loads(annotation.extra["metadata"]))


def _places(annotation: Annotation) -> list[int]:
    """Return which entries of its file a record is."""
    place = str(_told(annotation)["place"])
    if _told(annotation)["format"] == "visual-genome":
        place = place.partition(".")[2]
    return [int(one.partition(".")[0]) for one in place.split(",")]


def _region(name: str) -> Any:
    """Return a region that a format holds."""
    box = Box(0.5, 0.5, 3.5, 4.5)
    return Trace(np.array([[1.0, 2], [3, 4]])) if name == "localized-narratives" else box


def test_what_nobody_changed_is_written_as_it_was_read(name: str, path: Path) -> None:
    before = _content(path)
    write_annotations(path, read_annotations(path), SIZES, name)
    assert repr(_content(path)) == repr(before)


TASKS = [
    {
        "id": 1,
        "data": {"image": "a.png"},
        "annotations": [
            {
                "id": 2,
                "result": [
                    {
                        "id": "r",
                        "type": "rectanglelabels",
                        "from_name": "label",
                        "to_name": "image",
                        "original_width": 48,
                        "original_height": 32,
                        "value": {"x": 0, "y": 0, "width": 50, "height": 50,
                                  "rectanglelabels": ["dog"]},
                    }
                ],
            }
        ],
    }
]  # fmt: skip
IN_LINES = {name: case.content for name, case in CASES.items() if case.file.endswith("json")}


@pytest.mark.parametrize("indent", [2, "\t"])
@pytest.mark.parametrize("name", [*IN_LINES, "label-studio"])
def test_a_file_in_lines_stays_so(tmp_path: Path, name: str, indent: Any) -> None:
    path = tmp_path / ("a.geojson" if name == "geojson" else "a.json")
    content = IN_LINES.get(name, TASKS)
    text = json.dumps(content, indent=indent, ensure_ascii=False) + "\n"
    path.write_text(text, encoding="utf-8")
    records = read_annotations(path, SIZES)
    write_annotations(path, records, SIZES, name)
    assert path.read_text(encoding="utf-8") == text
    records[0] = with_human_caption(records[0], "a bird")
    write_annotations(path, records, SIZES, name)
    after = path.read_text(encoding="utf-8")
    assert after == json.dumps(json.loads(after), indent=indent, ensure_ascii=False) + "\n"
    assert "a bird" in after


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", [*IN_LINES, "label-studio"])
def test_the_layout_of_a_file_stays(tmp_path: Path, name: str, encoding: str) -> None:
    path = tmp_path / ("a.geojson" if name == "geojson" else "a.json")
    content = IN_LINES.get(name, TASKS)
    plain = json.dumps(content, ensure_ascii=False)
    lines = json.dumps(content, indent=2, ensure_ascii=False)
    for text in (
        json.dumps(content, separators=(",", ":"), ensure_ascii=False),
        f"# made by hand\r\n// twice\r\n\r\n{lines}\n\n".replace("\r", "").replace("\n", "\r\n"),
        f"# made by hand: é\n{plain} ",
    ):
        path.write_bytes(text.encode(encoding))
        records = read_annotations(path, SIZES)
        write_annotations(path, records, SIZES, name)
        assert path.read_bytes().decode(encoding) == text
        write_annotations(
            path, [with_human_caption(records[0], "ein Häschen"), *records[1:]], SIZES, name
        )
        assert read_annotations(path, SIZES)[0].caption == "ein Häschen"
        assert path.read_bytes()[:2] == text.encode(encoding)[:2]


def test_letters_that_were_escaped_stay_so(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    content = {**COCO, "info": {"contributor": "Käthe"}}
    path.write_text(json.dumps(content))
    records = read_annotations(path)
    write_annotations(path, [with_human_caption(records[0], "né"), *records[1:]], SIZES, "coco")
    assert b"K\\u00e4the" in path.read_bytes()
    assert b"n\\u00e9" in path.read_bytes()


def test_an_outline_too_tangled_to_be_read_stays_in_the_file(tmp_path: Path) -> None:
    points = np.random.default_rng(0).random((450, 2)).round(3) * 32
    images = [{"id": 1, "file_name": "a.png", "width": 48, "height": 32}]
    shared = {"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 9, "iscrowd": 0}
    entries = [{"id": 1, **shared, "segmentation": [points.ravel().tolist()]}]
    entries += [{"id": 2, **shared, "segmentation": [[1, 1, 9, 1, 9, 9]]}]
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"images": images, "annotations": entries, "categories": []}))
    found = read_annotations(path, notes=Notes())
    assert [one.uid for one in found] == ["2"]
    write_annotations(path, found, {"a.png": ImageInfo("a.png", 32, 48)}, "coco")
    assert json.loads(path.read_text())["annotations"] == entries


def test_extras_of_any_name_go_along_with_an_entry_of_another_program(
    name: str, path: Path
) -> None:
    records = read_annotations(path, SIZES)
    new = {odd: f"{place}" for place, odd in enumerate(ODD) if odd not in records[0].extra}
    records[0] = replace(records[0], extra={**records[0].extra, **new})
    write_annotations(path, records, SIZES, name)
    again = read_annotations(path, SIZES)
    assert [extras(one) for one in again] == [extras(one) for one in records]


def test_a_caption_changes_its_own_entry_and_nothing_else(name: str, path: Path) -> None:
    before, records = _content(path), read_annotations(path)
    records[0] = with_human_caption(records[0], "a bird")
    write_annotations(path, records, SIZES, name)
    _check_only_captions_are_new(name, before, _content(path), {0})
    again = read_annotations(path)
    assert (again[0].caption, again[0].is_human) == ("a bird", True)
    assert [extras(one) for one in again] == [extras(one) for one in records]
    # Who read theirs may write again what was made of it.
    write_annotations(path, records, SIZES, name)
    assert [one.caption for one in read_annotations(path)] == [one.caption for one in records]


def test_on_the_command_line(name: str, path: Path) -> None:
    before, records = _content(path), read_annotations(path)
    assert _caption(path, *CASES[name].pictures) == 0
    empty = {place for place, one in enumerate(records) if not one.caption}
    places = {number for place in empty for number in _places(records[place])}
    first = _content(path)
    _check_only_captions_are_new(name, before, _content(path), places)
    again = read_annotations(path)
    assert {one.source for place, one in enumerate(again) if place in empty} == {"model"}
    # Captions of a model may be made again.
    assert _caption(path, *CASES[name].pictures) == 0
    assert repr(_content(path)) == repr(first)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.second])
def test_an_image_alone_leaves_the_others_as_they_are(name: str, path: Path) -> None:
    before = _content(path)
    assert _caption(path, "b.png") == 0
    _check_only_captions_are_new(name, before, _content(path), set(CASES[name].second))


def _two_images(form: str, other: str) -> str:
    """Return a file of another program about a.png, and with a person's caption about another."""
    if form == "coco":
        pictures = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": other}]
        boxes = [{"id": n, "image_id": n, "bbox": [1, 1, 9, 9]} for n in (1, 2)]
        return json.dumps({"images": pictures, "annotations": [boxes[0], boxes[1] | MINE]})
    if form == "geojson":
        ring = [[[1, 1], [9, 1], [9, 9], [1, 9], [1, 1]]]
        told = ({"image": "a.png"}, {"image": other, "ANNOTATION_DESCRIPTION": MINE["caption"]})
        features = [
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": ring},
                "properties": {"objectType": "annotation", "metadata": given},
            }
            for given in told
        ]
        return json.dumps({"type": "FeatureCollection", "features": features})
    trace = [[{"x": 0.1, "y": 0.1, "t": 0.0}, {"x": 0.5, "y": 0.5, "t": 1.0}]]
    lines = [{"image_id": "a.png"}, {"image_id": other} | MINE]
    return "\n".join(json.dumps({"annotator_id": 3, "traces": trace} | line) for line in lines)


MINE = {"caption": "my own work"}


@pytest.mark.parametrize("other", ["x/b.png", "C:\\x\\b.png", "https://h/x/b.png", "c.png"])
@pytest.mark.parametrize("named", [["a.png"], ["a.png", "b.png"]])
@pytest.mark.parametrize(
    ("form", "ending"),
    [("coco", "json"), ("geojson", "geojson"), ("localized-narratives", "jsonl")],
)
def test_what_is_about_another_image_stays_though_that_is_called_alike(
    tmp_path: Path, form: str, ending: str, other: str, named: list[str]
) -> None:
    for picture in ("a.png", "b.png"):
        _photo(tmp_path / picture)
    path = tmp_path / f"r.{ending}"
    path.write_text(_two_images(form, other), encoding="utf-8")
    sizes = {other: ImageInfo(other, 32, 48), "a.png": ImageInfo("a.png", 32, 48)}
    assert _caption(path, *named) == 0
    first, second = read_annotations(path, sizes)
    assert first.caption == "red, mostly"
    assert (second.image, second.caption) == (other, "my own work")


def test_entries_outlive_the_file_they_came_from(name: str, path: Path) -> None:
    records = read_annotations(path)
    path.unlink()
    forget_files()
    write_annotations(path, records, SIZES, name)
    written = CASES[name].entries(_content(path))[0]
    entries = [_told(one)["entry"] for one in records]
    entries = [one for entry in entries for one in (entry if name == "labelme" else [entry])]
    assert sorted(map(repr, written)) == sorted(map(repr, entries))


def test_new_regions_come_after_those_that_were_there(name: str, path: Path) -> None:
    before = _content(path)
    new = Annotation("new", "a.png", _region(name), "a hat", source="human")
    write_annotations(path, [*read_annotations(path), new], SIZES, name)
    old, now = (CASES[name].entries(content)[0] for content in (before, _content(path)))
    assert repr(now[: len(old)]) == repr(old)
    assert len(now) == len(old) + 1
    assert read_annotations(path)[-1].caption == "a hat"


def test_a_region_that_was_deleted_or_moved_is_so_in_the_file(name: str, path: Path) -> None:
    before, records = _content(path), read_annotations(path)
    moved = replace(records[-1], region=_region(name))
    write_annotations(path, [*records[1:-1], moved], SIZES, name)
    old, now = (CASES[name].entries(content)[0] for content in (before, _content(path)))
    assert len(now) == len(old) - 1
    assert repr(now[0]) == repr(old[1])
    last = read_annotations(path)[-1]
    assert last.kind == ("trace" if name == "localized-narratives" else "box")
    assert extras(last) == extras(records[-1])


@pytest.mark.parametrize("name", ["coco", "labelme"])
def test_a_size_that_is_not_the_pictures_is_told(
    name: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.full((48, 64, 3), (200, 0, 0), np.uint8)).save(path.with_name("a.png"))
    assert _caption(path, "a.png") == 0
    told = capsys.readouterr().err
    assert "a.png has 32 by 48 pixels, but it has 48 by 64" in told


WITHOUT_REGIONS = {
    "tasks.json": '[{"id": 1, "data": {"image": "a.png"}, "annotations": [], "meta": {"k": 1}}]',
    "unread.json": '[{"id": 1, "data": {"image": "a.png"}, "annotations": [{"result": '
    '[{"id": "x", "type": "choices", "value": {"choices": ["cat"]}}]}]}]',
    "coco.json": '{"info": {"year": 2017}, "images": [{"id": 1, "file_name": "a.png"}], '
    '"annotations": [], "categories": [{"id": 3, "name": "cat"}]}',
    "labelme.json": '{"version": "5.5.0", "flags": {"blurred": true}, "shapes": [], '
    '"imagePath": "a.png", "imageData": null, "imageHeight": 32, "imageWidth": 48}',
    "a.geojson": '{"type": "FeatureCollection", "name": "slide 7", "features": []}',
    "a.ome.xml": '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Experimenter '
    'ID="Experimenter:0" LastName="Doe"/></OME>',
    "a.csv": "uid,image,kind,wkt,caption,score,source,model,notes\n",
}


@pytest.mark.parametrize("file", WITHOUT_REGIONS)
def test_a_file_without_regions_stays_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    path, picture = tmp_path / file, tmp_path / "a.png"
    path.write_text(WITHOUT_REGIONS[file])
    Image.new("RGB", (48, 32)).save(picture)
    assert _caption(path, "a.png") == 0
    assert path.read_text() == WITHOUT_REGIONS[file]
    assert "stays as it is" in capsys.readouterr().err
