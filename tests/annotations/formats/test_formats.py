"""What every format owes: nothing is lost without a word, whoever opens the file."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from annotated import FLAT, IMAGES, annotations, told
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_patchioner.annotations import (
    FORMATS,
    Annotation,
    ImageInfo,
    Notes,
    format_named,
    format_of,
    head_of,
    read_annotations,
    write_annotations,
)
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Box, Point, Polygon, RegionSet, Trace, WholeImage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_patchioner.regions import Region

EXACT = ("tidy", "parquet", "coco", "coco-captions", "geojson", "visual-genome")
EXACT = (*EXACT, "localized-narratives")


def _everything(annotation: Annotation) -> bool:
    return True


def _has_a_shape(annotation: Annotation) -> bool:
    """Whether napari has a shape for a region."""
    lonely = isinstance(annotation.region, Trace) and len(annotation.region.points) == 1
    return annotation.kind in ("box", "polygon", "ellipse", "trace") and not lonely


# Which regions each format holds; all others it must name.
HOLDS: dict[str, Callable[[Annotation], bool]] = dict.fromkeys(FORMATS, _everything) | {
    "napari": _has_a_shape,
    "coco": lambda one: not {"point", "trace"} & _kinds(one),
    "coco-captions": lambda one: one.kind == "image",
    "visual-genome": lambda one: one.kind == "box",
    "localized-narratives": lambda one: _kinds(one) <= {"trace", "set"},
}


def _kinds(one: Annotation) -> set[str]:
    if not isinstance(one.region, RegionSet):
        return {one.kind}
    return {"set", *(Annotation("", "", member).kind for member in one.region.members)}


def _path(folder: Path, name: str) -> Path:
    many = {"labelme": ".zip", "yolo": ".zip"}
    return folder / f"regions{many.get(name) or FORMATS[name].suffixes[0]}"


def _read(path: Path, name: str) -> list[Annotation]:
    form = FORMATS[name]
    # Several images may be several files.
    found = [path] if path.exists() else sorted(path.parent.glob(f"{path.stem}-*{path.suffix}"))
    paths = {one: (one, IMAGES) if form.sized else (one,) for one in found}
    return [one for arguments in paths.values() for one in form.read(*arguments)]


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(before=annotations(), flat=st.lists(FLAT, max_size=2))
def test_what_is_written_comes_back_or_is_named(
    tmp_path: Path, same_region: Any, name: str, before: list[Annotation], flat: list[Region]
) -> None:
    before += [Annotation(f"flat {place}", "cat.png", one) for place, one in enumerate(flat)]
    path = _path(tmp_path, name)
    for old in path.parent.glob(f"{path.stem}*{path.suffix}"):
        old.unlink()
    left_out = write_annotations(path, before, IMAGES, name)
    held = [one for one in before if HOLDS[name](one)]
    assert [id(one) for one in left_out] == [id(one) for one in before if one not in held]
    after = {(one.image, one.uid): one for one in _read(path, name)}
    assert len(after) == len(held)
    for one in held:
        two = after[one.image, one.uid]
        ours, theirs = told(one), told(two)
        if name in ("tidy", "napari"):  # a table has one column for all
            theirs["extra"] = {k: v for k, v in theirs["extra"].items() if v or k in one.extra}
        assert theirs == ours
        assert same_region(one.region, two.region)


# Names of fields of every format, and such as would be taken for an escaped one.
FIELDS = ["image", "uid", "Kind", "wkt", "members", "caption", "score", "source", "model", "index"]
FIELDS += ["shape-type", "axis-0", "trace-connected", "plane", "x", "extra:uid", "extra:extra:note"]
FIELDS += ["bbox", "iscrowd", "label", "points", "value", "properties", "classification", "Name"]


@pytest.mark.parametrize("name", FORMATS)
def test_an_extra_may_have_the_name_of_any_field(tmp_path: Path, name: str) -> None:
    region = REGION.get(name, lambda n: Polygon(np.array([[1, 2], [30, 4], [20, 40]]) + n))(0.0)
    extra = {field: f"the {field}" for field in FIELDS}
    before = Annotation("a", "cat.png", region, "an ear", 0.5, "model", "mini", extra=extra)
    assert write_annotations(_path(tmp_path, name), [before], IMAGES, name) == ()
    [after] = _read(_path(tmp_path, name), name)
    assert told(after) == told(before)


def test_an_entry_without_a_name_is_no_extra(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_annotations(path, [Annotation("a", "cat.png", Box(0, 0, 4, 4))], IMAGES, "visual-genome")
    whole = json.loads(path.read_text())
    whole[0]["regions"][0]["attributes"][""] = "x"
    path.write_text(json.dumps(whole))
    [found] = read_annotations(path)
    assert "" not in found.extra
    write_annotations(path, [found], IMAGES, "coco")


@pytest.mark.parametrize("nowhere", [float("nan"), float("inf")])
def test_what_a_reader_finds_nowhere_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nowhere: float
) -> None:
    found = [Annotation(str(n), "cat.png", Point(row, 1)) for n, row in enumerate((2, nowhere))]
    monkeypatch.setitem(FORMATS, "tidy", replace(FORMATS["tidy"], read=lambda path: found))
    write_annotations(tmp_path / "a.csv", found[:1], IMAGES, "tidy")
    notes = Notes()
    assert read_annotations(tmp_path / "a.csv", notes=notes) == found[:1]
    assert "region '1': its coordinates must be finite numbers" in "".join(notes.lines())


@pytest.mark.parametrize("name", EXACT)
def test_nothing_at_all_comes_back_as_nothing(tmp_path: Path, name: str) -> None:
    path = _path(tmp_path, name)
    assert write_annotations(path, [], {}, name) == ()
    assert read_annotations(path) == []


REGION = {
    "coco-captions": lambda n: WholeImage(),
    "visual-genome": lambda n: Box(n, n + 0.5, n + 9, n + 20),
    "localized-narratives": lambda n: Trace(np.arange(4.0).reshape(2, 2) + n),
}


@pytest.mark.parametrize("name", FORMATS)
def test_hundreds_of_regions_of_many_images_come_back(tmp_path: Path, name: str) -> None:
    turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    ring = 30 + 25 * np.column_stack([np.sin(turn), np.cos(turn)])
    region = REGION.get(name, lambda n: Polygon(ring + n))
    images = {f"{n}.png": ImageInfo(f"{n}.png", 480, 640) for n in range(100)}
    if FORMATS[name].single or FORMATS[name].sized:
        images = {"cat.png": IMAGES["cat.png"]}
    places = [*images] * (400 // len(images))
    before = [
        Annotation(f"r{n}", place, region(n % 97), f"a, cat {n}") for n, place in enumerate(places)
    ]
    path = _path(tmp_path, name)
    assert write_annotations(path, before, images, name) == ()
    after = {(item.image, item.uid): told(item) for item in _read(path, name)}
    assert after == {(item.image, item.uid): told(item) for item in before}


@pytest.mark.parametrize("name", EXACT)
def test_a_file_is_known_by_what_it_holds_and_by_one_format_only(tmp_path: Path, name: str) -> None:
    region = REGION.get(name, lambda n: Box(1, 2, 3, 4))(1)
    path = tmp_path / "file.bin"
    write_annotations(path, [Annotation("a", "cat.png", region, "a cat")], IMAGES, name)
    assert [form.name for form in FORMATS.values() if form.knows(head_of(path))] == [name]


@pytest.mark.parametrize("name", EXACT)
def test_two_regions_of_one_name_are_refused_and_the_old_file_stays(
    tmp_path: Path, name: str
) -> None:
    path = _path(tmp_path, name)
    path.write_bytes(b"old")
    one = Annotation("a", "cat.png", REGION.get(name, lambda n: Box(1, 2, 3, 4))(1))
    with pytest.raises(FormatError, match="appears twice"):
        write_annotations(path, [one, one], IMAGES, name)
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("ending", "name"),
    [
        (".csv", "tidy"),
        (".parquet", "parquet"),
        (".json", "coco"),
        (".GeoJSON", "geojson"),
        (".jsonl", "localized-narratives"),
    ],
)
def test_an_ending_stands_for_a_format(tmp_path: Path, ending: str, name: str) -> None:
    assert format_named(tmp_path / f"a{ending}").name == name


def test_an_unknown_ending_or_format_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"'a\.docx' is unknown; .*coco \(\.json\)"):
        write_annotations(tmp_path / "a.docx", [])
    with pytest.raises(FormatError, match=r"the format 'word' is unknown; .*geojson"):
        write_annotations(tmp_path / "a.csv", [], format="word")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.json", '{"a": 1}', "a.json: holds no regions in a known format"),
        ("a.json", "[1]", "a.json: holds no regions in a known format"),
        ("a.geojson", '{"type": "Topology"}', "a.geojson: is no file of the format 'GeoJSON"),
        ("a.png", "\x89PNG", "a.png: holds no regions in a known format"),
        ("a.png.patchioner.json", "{}", "a.png.patchioner.json: is a project; open its image"),
    ],
)
def test_a_strange_file_is_told_in_a_sentence(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert format_of(head_of(path)) is None
    with pytest.raises(FormatError) as caught:
        read_annotations(path)
    assert str(caught.value).startswith(told)


def _many(kind: str, count: int) -> list[Annotation]:
    region = REGION.get(kind, lambda n: Box(n, n, n + 9, n + 20))
    return [Annotation(f"r{n}", "cat.png", region(n % 40), f"a cat {n} " * 9) for n in range(count)]


def _reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _reversed_keys(value[name]) for name in reversed(value)}
    return list(map(_reversed_keys, value)) if isinstance(value, list) else value


JSON = [*EXACT[2:], "labelme", "label-studio"]


@pytest.mark.parametrize("name", JSON)
@pytest.mark.parametrize("indent", [None, 1])
def test_a_large_file_is_known_whatever_the_order_of_its_keys(
    tmp_path: Path, name: str, indent: int | None
) -> None:
    path = tmp_path / f"file{FORMATS[name].suffixes[0]}"
    before = _many(name, 300)
    write_annotations(path, before, IMAGES, name)
    texts = path.read_text(encoding="utf-8").splitlines()
    lined = name == "localized-narratives"
    again = [json.dumps(_reversed_keys(json.loads(one)), indent=indent) for one in texts]
    path = tmp_path / "file.json"
    path.write_text("\n".join(again if not lined or not indent else texts), encoding="utf-8")
    assert path.stat().st_size > 65536
    assert [form.name for form in FORMATS.values() if form.knows(head_of(path))] == [name]
    assert len(read_annotations(path)) == len(before)


@pytest.mark.parametrize("name", [*JSON, "tidy", "napari"])
@pytest.mark.parametrize(
    ("encoding", "ends", "before"),
    [
        ("utf-8-sig", "\r\n", ""),
        ("utf-16", "\r\n", "\n"),
        ("utf-16-be", "\n", ""),
        ("utf-32", "\n", ""),
    ],
)
def test_a_file_of_another_program_is_read_in_its_encoding(
    tmp_path: Path, name: str, encoding: str, ends: str, before: str
) -> None:
    path = tmp_path / f"file{FORMATS[name].suffixes[0]}"
    region = REGION.get(name, lambda n: Box(1, 2, 3, 4))(1)
    write_annotations(path, [Annotation("a", "cat.png", region, "ein Kätzchen")], IMAGES, name)
    text = path.read_text(encoding="utf-8")
    path.write_bytes((before + text.replace("\n", ends)).encode(encoding))
    [found] = read_annotations(path)
    assert found.caption == "ein Kätzchen"


def test_broken_json_and_names_that_come_twice_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for text, start in [
        ('{"a": [1, 2', "a.json: is broken JSON at line 1, column 12"),
        ('{"images": [], "annotations": [', "a.json: is broken JSON at line 1, column 32"),
        ("[" * 100_000, "a.json: is JSON nested too deeply"),
        ('{"images": [{"id": ' + "9" * 5000 + "}]", "a.json: is broken JSON"),
    ]:
        path.write_text(text, encoding="utf-8")
        with pytest.raises(FormatError) as caught:
            read_annotations(path)
        assert str(caught.value).startswith(start)
    path.write_text('{"images": [], "annotations": [], "annotations": []}', encoding="utf-8")
    notes = Notes()
    assert read_annotations(path, notes=notes) == []
    [line] = notes.lines()
    assert line == "a.json: names 'annotations' twice in one object; the last one counts"


@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if form.single])
def test_several_images_are_several_files_where_a_file_is_about_one(
    tmp_path: Path, name: str
) -> None:
    end = FORMATS[name].suffixes[0]
    before = [Annotation("u", image, Box(1, 2, 3, 4)) for image in ("d/cat.png", "dog.png")]
    notes = Notes()
    write_annotations(tmp_path / f"a{end}", before, {}, name, notes=notes)
    assert sorted(one.name for one in tmp_path.iterdir()) == [f"a-cat{end}", f"a-dog{end}"]
    assert f"a-cat{end}, a-dog{end}" in "\n".join(notes.lines())
    assert [one.image for one in read_annotations(tmp_path / f"a-cat{end}")] == ["d/cat.png"]
    write_annotations(tmp_path / "folder", before, {}, name)
    assert sorted(one.name for one in (tmp_path / "folder").iterdir()) == [f"cat{end}", f"dog{end}"]
    # A damaged file, be it the first, is listed; it does not tell what the folder is.
    (tmp_path / "folder" / f"a{end}").write_bytes(b"")
    notes = Notes()
    found = read_annotations(tmp_path / "folder", notes=notes)
    assert [one.image for one in found] == ["d/cat.png", "dog.png"]
    assert (notes.left_out, f"a{end}: is no file of the format" in notes.lines()[0]) == (1, True)


def test_a_folder_without_regions_is_told_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"")
    with pytest.raises(FormatError, match=r"holds no regions in a known format \(Table"):
        read_annotations(tmp_path)
