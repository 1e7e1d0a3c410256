from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from annotated import IMAGES, annotations, told
from hypothesis import HealthCheck, given, settings
from PIL import Image

from napari_patchioner.annotations import (
    Annotation,
    ImageInfo,
    Notes,
    read_annotations,
    write_annotations,
)
from napari_patchioner.annotations.formats.yolo import read, write
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import (
    Box,
    Ellipse,
    Mask,
    Point,
    Polygon,
    RegionSet,
    WholeImage,
)

if TYPE_CHECKING:
    from pathlib import Path


def _numbers(text: str) -> list[list[float]]:
    return [[float(number) for number in line.split()] for line in text.splitlines()]


def _check(text: str, classes: int) -> None:
    """Check a text file by the rules Ultralytics has for outlines."""
    for numbers in _numbers(text):
        assert numbers[0] in range(classes)
        assert len(numbers) >= 7
        assert len(numbers) % 2 == 1
        assert 0 <= min(numbers[1:]) <= max(numbers[1:]) <= 1


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(items=annotations())
def test_what_was_written_reads_back(
    tmp_path: Path, same_region: Any, items: list[Annotation]
) -> None:
    path = tmp_path / "out.zip"
    assert write(path, items, IMAGES) == ()
    for one, again in zip(items, read(path), strict=True):
        assert told(again) == told(one)
        assert same_region(one.region, again.region)
    with zipfile.ZipFile(path) as archive:
        names = yaml.safe_load(archive.read("data.yaml"))["names"]
        for name in archive.namelist():
            if name.startswith("labels/"):
                _check(archive.read(name).decode(), len(names))


def test_fractions_count_from_the_corner_of_the_first_pixel(tmp_path: Path) -> None:
    mask = Mask(np.array([[True, False], [True, True]]), (0, 0))
    corners = np.array([[11.5, 15.5], [11.5, 47.5], [35.5, 47.5], [35.5, 15.5]])
    items = [
        Annotation("1", "cat.png", Box(-0.5, -0.5, 23.5, 15.5), extra={"class": "cat"}),
        Annotation("2", "cat.png", Polygon(np.array([[-0.5, -0.5], [-0.5, 31.5], [47.5, 63.5]]))),
        Annotation("3", "cat.png", mask, extra={"class": "cat"}),
        Annotation("4", "cat.png", Box(-24.5, 31.5, 23.5, 200)),
        Annotation("5", "cat.png", Point(3, 3), "a point"),
        Annotation("6", "cat.png", WholeImage(), "all of it"),
        Annotation("7", "cat.png", Ellipse(corners)),
    ]
    write(tmp_path / "out", items, IMAGES)
    data = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())
    assert data["names"] == {0: "cat", 1: "region"}
    box, ring, pixels, cut, whole, oval = _numbers((tmp_path / "out/labels/cat.txt").read_text())
    assert box == [0, 0, 0, 0.25, 0, 0.25, 0.5, 0, 0.5]
    assert ring == [1, 0, 0, 0.5, 0, 1, 1]
    assert len(pixels) == 1 + 2 * 6
    assert (max(pixels[1::2]), max(pixels[2::2])) == (2 / 64, 2 / 48)
    assert sorted(zip(cut[1::2], cut[2::2], strict=True)) == [
        (0.5, 0),
        (0.5, 0.5),
        (1, 0),
        (1, 0.5),
    ]
    assert whole == [1, 0, 0, 1, 0, 1, 1, 0, 1]
    assert (min(oval[1::2]), max(oval[1::2])) == (0.25, 0.75)


def test_data_sets_of_others_are_read(tmp_path: Path, same_region: Any) -> None:
    (tmp_path / "labels" / "train").mkdir(parents=True)
    (tmp_path / "images" / "train").mkdir(parents=True)
    Image.new("RGB", (20, 10)).save(tmp_path / "images" / "train" / "cat.jpg")
    (tmp_path / "data.yaml").write_text("path: .\ntrain: images/train\nnames: [cat, dog]\n")
    lines = "1 0.5 0.5 0.2 0.4\n\n0 0.1 0.1 0.5 0.1 0.5 0.9\n"
    (tmp_path / "labels" / "train" / "cat.txt").write_text(lines)
    dog, cat = read_annotations(tmp_path)
    assert (dog.image, dog.caption, dog.extra["class"]) == ("cat.jpg", "", "dog")
    assert same_region(dog.region, Box(2.5, 7.5, 6.5, 11.5))
    assert cat.extra["class"] == "cat"
    assert same_region(cat.region, Polygon(np.array([[0.5, 1.5], [0.5, 9.5], [8.5, 9.5]])))
    (tmp_path / "images" / "train" / "cat.jpg").unlink()
    with pytest.raises(FormatError, match=r"size of its image is missing; put the image"):
        read(tmp_path)
    told_size = {"/data/cat.png": ImageInfo("cat.png", 10, 20)}
    first, _ = read_annotations(tmp_path, told_size)
    assert first.image == "/data/cat.png"
    assert same_region(first.region, Box(2.5, 7.5, 6.5, 11.5))


def _foreign(path: Path, lines: str, yaml_text: str = "names: [cat, dog]\n") -> None:
    (path / "labels" / "train").mkdir(parents=True)
    (path / "images" / "train").mkdir(parents=True)
    Image.new("RGB", (20, 10)).save(path / "images" / "train" / "cat.jpg")
    (path / "data.yaml").write_text(yaml_text)
    (path / "labels" / "train" / "cat.txt").write_bytes(lines.encode())


VAL = "labels/val/cat.txt"
POSE = "1 0.5 0.5 0.2 0.4 0.45 0.4 2 0.5 0.5 1 0 0 0"


@pytest.mark.parametrize(
    ("line", "about", "region", "extra", "score"),
    [
        (POSE, "", Box(2.5, 7.5, 6.5, 11.5), "0.45 0.4 2 0.5 0.5 1 0 0 0", None),
        (f"{POSE} 0.75", "", Box(2.5, 7.5, 6.5, 11.5), "0.45 0.4 2 0.5 0.5 1 0 0 0", 0.75),
        (
            "1 0.5 0.5 0.2 0.4 0.45 0.4 0.55 0.6",
            "kpt_shape: [2, 2]\n",
            Box(2.5, 7.5, 6.5, 11.5),
            "0.45 0.4 0.55 0.6",
            None,
        ),
        ("1 0.5 0.5 0.2 0.4 0.25", "", Box(2.5, 7.5, 6.5, 11.5), None, 0.25),
        (
            "1 0.5 0.1 0.6 0.5 0.5 0.9 0.4 0.5 0.5",
            "",
            Polygon(np.array([[0.5, 9.5], [4.5, 11.5], [8.5, 9.5], [4.5, 7.5]])),
            None,
            0.5,
        ),
    ],
)
def test_poses_and_confidences_are_told_from_outlines(
    tmp_path: Path,
    same_region: Any,
    line: str,
    about: str,
    region: Any,
    extra: str | None,
    score: float | None,
) -> None:
    lines = f"\ufeff{line}\r\n0 0.5 0.5 0.2 0.4\r\n"
    _foreign(tmp_path, lines, f"{about}names: {{0: cat, 1: dog}}\n")
    pose, plain = read_annotations(tmp_path)
    assert same_region(pose.region, region)
    assert (pose.extra["class"], pose.extra.get("keypoints"), pose.score) == ("dog", extra, score)
    assert (plain.extra["class"], plain.score) == ("cat", None)
    captioned = [replace(one, caption="a dog", source="model", score=0.5) for one in (pose, plain)]
    before = {name: (tmp_path / name).read_bytes() for name in ("data.yaml",)}
    for _ in range(2):
        write_annotations(tmp_path, captioned, {"cat.jpg": ImageInfo("cat.jpg", 10, 20)}, "yolo")
        assert (tmp_path / "labels" / "train" / "cat.txt").read_bytes() == lines.encode()
        assert [file.name for file in (tmp_path / "labels").iterdir()] == ["train"]
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert [told(one) for one in read_annotations(tmp_path)] == [told(one) for one in captioned]


def test_one_bad_line_is_left_out(tmp_path: Path) -> None:
    _foreign(tmp_path, "0 0.5 0.5 0.2 0.4\ncat 1 2\n1 0.5 0.5 0.2 0.4\n0 0.5 0.5 0.2 0.4 7\n")
    notes = Notes()
    found = read_annotations(tmp_path, notes=notes)
    assert [one.extra["class"] for one in found] == ["cat", "dog"]
    assert [line.split(": ")[1] for line in notes.lines()] == ["line 2", "line 4"]
    # What is about other images stays beside the new captions, and so does what is damaged.
    others = '{"file": "labels/train/dog.txt"}\n{"file": "labels/tr\n'
    (tmp_path / "captions.jsonl").write_text(others)
    assert len(read_annotations(tmp_path, notes=notes)) == 2
    assert "captions.jsonl: record 2: is broken JSON" in "\n".join(notes.lines())
    write_annotations(tmp_path, found, {"cat.jpg": ImageInfo("cat.jpg", 10, 20)}, "yolo")
    assert (tmp_path / "captions.jsonl").read_text().startswith(others)


def _tangle(seed: int = 0) -> str:
    """Return a line whose outline crosses itself so often that it is left out."""
    points = np.random.default_rng(seed).random(900).round(4)
    return " ".join(["0", *map(str, points.tolist())])


IN_PLACE = (
    "\ufeff0 0.50 0.5 0.2 0.40\r\n\r\ncat 1 2  \r\n1 0.5 0.5 0.2 0.4 \r\n# a comment\n"
    f"0 0.5 0.5 0.2 0.4 7\r\n{_tangle()}\r\n0 0.1 0.1 0.5 0.1 0.5 0.9"
)


@pytest.mark.parametrize("zipped", [False, True])
def test_in_place_the_lines_stay_as_they_are(tmp_path: Path, zipped: bool) -> None:
    folder = tmp_path / "set"
    _foreign(folder, IN_PLACE)
    (folder / "notes.md").write_text("ours")
    path = folder
    if zipped:
        path = tmp_path / "set.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(one for one in folder.rglob("*") if one.is_file()):
                archive.write(file, f"set/{file.relative_to(folder).as_posix()}")

    def files() -> dict[str, bytes]:
        if not zipped:
            every = [one for one in path.rglob("*") if one.is_file()]
            return {one.relative_to(path).as_posix(): one.read_bytes() for one in every}
        with zipfile.ZipFile(path) as archive:
            return {one.removeprefix("set/"): archive.read(one) for one in archive.namelist()}

    before = files()
    sizes = {"cat.jpg": ImageInfo("cat.jpg", 10, 20)}
    found = read_annotations(path, sizes, notes=Notes())
    assert [one.extra["class"] for one in found] == ["cat", "dog", "cat"]
    captioned = [replace(one, caption=f"no. {n}", source="model") for n, one in enumerate(found)]
    for _ in range(2):
        write_annotations(path, captioned, sizes, "yolo")
        now = files()
        assert {name: now[name] for name in before} == before
        captioned = read_annotations(path, sizes, notes=Notes())
        assert [one.caption for one in captioned] == ["no. 0", "no. 1", "no. 2"]
    # What changes, does so at its place; what is new comes last, what is deleted goes.
    changed = replace(captioned[1], region=Box(-0.5, -0.5, 9.5, 9.5))
    new = Annotation("new", captioned[0].image, Box(-0.5, -0.5, 4.5, 19.5), extra={"class": "dog"})
    write_annotations(path, [changed, captioned[2], new], sizes, "yolo")
    lines = files()["labels/train/cat.txt"].decode().split("\r\n")
    assert lines[0:2] == ["\ufeff", "cat 1 2  "]
    assert [float(one) for one in lines[2].split()] == [1, 0, 0, 0.5, 0, 0.5, 1, 0, 1]
    assert lines[3:] == [*IN_PLACE.split("\r\n")[4:], "1 0.0 0.0 1.0 0.0 1.0 0.5 0.0 0.5", ""]


def test_a_line_that_another_tool_wrote_anew_stays_as_that_wrote_it(tmp_path: Path) -> None:
    _foreign(tmp_path, "0 0.5 0.5 0.2 0.4\n1 0.5 0.5 0.9 0.9\n")
    sizes = {"cat.jpg": ImageInfo("cat.jpg", 10, 20)}
    write_annotations(tmp_path, read_annotations(tmp_path), sizes, "yolo")
    file = tmp_path / "labels" / "train" / "cat.txt"
    file.write_text("1 0.5 0.5 0.9 0.9\n0 0.510 0.5 0.2 0.4\n")
    write_annotations(tmp_path, read_annotations(tmp_path), sizes, "yolo")
    assert file.read_text() == "1 0.5 0.5 0.9 0.9\n0 0.510 0.5 0.2 0.4\n"


@pytest.mark.parametrize("listed", [False, True])
def test_very_many_classes_keep_their_numbers(tmp_path: Path, listed: bool) -> None:
    names = {number: f"class with a long name {number}" for number in range(1200)}
    _foreign(tmp_path, "1199 0.5 0.5 0.2 0.4\n", yaml.safe_dump({"names": names}))
    before = (tmp_path / "data.yaml").read_bytes()
    if listed:
        (tmp_path / "data.yaml").unlink()
        (tmp_path / "classes.txt").write_text("\n".join(names.values()))
    sizes = {"cat.jpg": ImageInfo("cat.jpg", 10, 20)}
    [one] = read_annotations(tmp_path)
    assert one.extra["class"] == names[1199]
    write_annotations(tmp_path, [one], sizes, "yolo")
    assert (tmp_path / "labels/train/cat.txt").read_text() == "1199 0.5 0.5 0.2 0.4\n"
    assert (tmp_path / "data.yaml").exists() != listed
    assert listed or (tmp_path / "data.yaml").read_bytes() == before
    # Elsewhere, the class has its number, too.
    write_annotations(tmp_path / "new", [one], sizes, "yolo")
    assert (tmp_path / "new/labels/train/cat.txt").read_text() == "1199 0.5 0.5 0.2 0.4\n"


def test_images_of_one_name_are_told_by_their_folders(tmp_path: Path) -> None:
    _foreign(tmp_path, "0 0.5 0.5 0.2 0.4\n")
    for part in ("labels", "images"):
        (tmp_path / part / "val").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "images" / "val" / "cat.jpg")
    (tmp_path / "labels" / "val" / "cat.txt").write_text("1 0.5 0.5 0.2 0.4\n")
    found = read_annotations(tmp_path)
    assert [one.image for one in found] == ["images/train/cat.jpg", "images/val/cat.jpg"]


def test_a_data_set_says_no_place_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, [Annotation("a", "cat.png", Box(0, 0, 9, 9))], IMAGES)
    data = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert set(data) == {"train", "val", "names"}


def test_many_lines_on_one_place_take_little_time(tmp_path: Path) -> None:
    items = [Annotation(str(n), "cat.png", Box(0, 0, 9, 9), str(n)) for n in range(1500)]
    write(tmp_path, items, IMAGES)
    file = tmp_path / "labels" / "cat.txt"
    moved = [
        " ".join(["0", *(f"{float(one) + n / 1e7:.9f}" for one in line.split()[1:])])
        for n, line in enumerate(file.read_text().splitlines())
    ]
    file.write_text("\n".join(moved))
    assert len(read_annotations(tmp_path)) == 1500


def test_what_other_tools_changed_wins(tmp_path: Path, same_region: Any) -> None:
    pair = RegionSet((Box(2, 40, 9, 49), Box(20, 20, 29, 29)))
    oval = Ellipse(np.array([[11.5, 15.5], [11.5, 47.5], [35.5, 47.5], [35.5, 15.5]]))
    items = [
        Annotation("a", "cat.png", Box(0, 0, 9, 9), "moved", 0.5, "model", "m"),
        Annotation("b", "cat.png", Box(30, 40, 39, 49), "gone", None, "human"),
        Annotation("c", "cat.png", pair, "two", None, "human"),
        Annotation("d", "cat.png", Point(5, 5), "a point", None, "human"),
        Annotation("e", "cat.png", oval, "rounded", None, "human", extra={"class": "cat"}),
    ]
    write(tmp_path, items, IMAGES)
    file = tmp_path / "labels" / "cat.txt"
    moved, _, first, second, rounded = file.read_text().splitlines()
    shift = " ".join(["0", *(f"{float(one) + 0.01}" for one in moved.split()[1:])])
    short = " ".join(["0", *(f"{float(one):.6f}" for one in rounded.split()[1:])])
    new = "1 0.5 0.9 0.6 0.9 0.6 0.99"
    file.write_text("\n".join([short, new, second, first, shift]) + "\n")
    found = {one.caption: one for one in read(tmp_path)}
    assert set(found) == {"moved", "two", "a point", "rounded", ""}
    assert same_region(found["moved"].region, Box(0.48, 0.64, 9.48, 9.64))
    assert (found["moved"].source, found["moved"].score) == ("model", 0.5)
    assert same_region(found["two"].region, pair)
    assert same_region(found["rounded"].region, oval)
    assert found["rounded"].extra == {"class": "region"}
    assert found[""].extra["class"] == "cat"
    assert found[""].image == "cat.png"


def test_a_new_export_leaves_nothing_of_the_old(tmp_path: Path) -> None:
    items = [Annotation("a", name, Box(0, 0, 9, 9)) for name in IMAGES]
    write(tmp_path, items, IMAGES)
    (tmp_path / "labels" / "mine.txt").write_text("")
    assert len(list((tmp_path / "labels").iterdir())) == 4
    record = json.loads((tmp_path / "captions.jsonl").read_text().splitlines()[0])
    outside = tmp_path.parent / "labels.txt"
    outside.write_text("kept")
    for file in ("../labels.txt", str(outside), "labels/../../labels.txt"):
        with (tmp_path / "captions.jsonl").open("a") as captions:
            captions.write(json.dumps({**record, "file": file}) + "\n")
    write(tmp_path, items[:1], IMAGES)
    assert sorted(file.name for file in (tmp_path / "labels").iterdir()) == ["cat.txt", "mine.txt"]
    assert outside.read_text() == "kept"
    assert [one.image for one in read(tmp_path)] == ["cat.png"]


def test_the_size_of_the_image_is_needed(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"size of image 'dog\.png' is missing"):
        write(tmp_path / "a.zip", [Annotation("a", "dog.png", WholeImage())], IMAGES)
    assert not (tmp_path / "a.zip").exists()


def test_no_annotations_are_a_data_set_too(tmp_path: Path) -> None:
    write_annotations(tmp_path / "a.zip", [], IMAGES, format="yolo")
    assert read_annotations(tmp_path / "a.zip") == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("0 0.1 0.2 0.3", "line 1: must be a class and an outline"),
        ("cat 0.1 0.2 0.3 0.4", "line 1: must be"),
        ("0 0.1 0.2 0.3 nan", "line 1: must be"),
    ],
)
def test_broken_lines_are_told(tmp_path: Path, line: str, why: str) -> None:
    write(tmp_path, [Annotation("a", "cat.png", Box(0, 0, 9, 9))], IMAGES)
    (tmp_path / "labels" / "cat.txt").write_text(line)
    with pytest.raises(FormatError, match=why):
        read(tmp_path)


@pytest.mark.parametrize("text", ["{}", "[]", '{"lines": 3}', "x", '"lines"'])
def test_broken_captions_are_told(tmp_path: Path, text: str) -> None:
    write(tmp_path, [Annotation("a", "cat.png", Box(0, 0, 9, 9))], IMAGES)
    (tmp_path / "captions.jsonl").write_text(f"{text}\n")
    with pytest.raises(FormatError, match=r"captions.jsonl: record 1"):
        read(tmp_path)


def test_yaml_makes_no_objects(tmp_path: Path) -> None:
    write(tmp_path, [Annotation("a", "cat.png", Box(0, 0, 9, 9))], IMAGES)
    (tmp_path / "data.yaml").write_text('names: !!python/object/apply:os.system ["false"]\n')
    with pytest.raises(FormatError, match="no YAML"):
        read(tmp_path)


def test_a_list_of_classes_is_one_whatever_ends_its_lines(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "classes.txt").write_bytes(b"cat\r\ndog 1 2 3\r\n")
    (tmp_path / "labels" / "cat.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    notes = Notes()
    [found] = read_annotations(tmp_path, IMAGES, notes=notes)
    assert (found.extra["class"], list(notes.lines())) == ("dog 1 2 3", [])
    told_of = json.loads(found.extra["metadata"])["about"]
    assert told_of["names"] == {"0": "cat", "1": "dog 1 2 3"}


@pytest.mark.parametrize("named", ["x/train/cat.png", "train/cat.png"])
@pytest.mark.parametrize("zipped", [False, True])
def test_of_two_splits_the_image_given_along_is_in_the_one_it_lies_in(
    tmp_path: Path, same_region: Any, named: str, zipped: bool
) -> None:
    path = tmp_path / "set"
    _foreign(path, "0 .5 .5 .4 .4\n")
    (path / "images/train/cat.jpg").unlink()
    (path / "labels/val").mkdir()
    (path / "labels/val/cat.txt").write_text("0 .5 .5 .2 .2\n")
    if zipped:
        path = tmp_path / "set.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted((tmp_path / "set/labels").rglob("*.txt")):
                archive.write(file, file.relative_to(tmp_path).as_posix())
    sizes = {named: ImageInfo("cat.png", 10, 20)}
    [one] = read_annotations(path, sizes, notes=Notes())
    assert one.image == named
    assert same_region(one.region, Box(2.5, 5.5, 6.5, 13.5))
    write_annotations(path, [replace(one, caption="a cat")], sizes, "yolo")
    if zipped:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            files = {name.removeprefix("set/"): archive.read(name).decode() for name in names}
    else:
        files = {name: (path / name).read_text() for name in ("labels/train/cat.txt", VAL)}
    assert files["labels/train/cat.txt"] == "0 .5 .5 .4 .4\n"
    assert files[VAL] == "0 .5 .5 .2 .2\n"


@pytest.mark.parametrize("number", [-1, 1, 7])
def test_classes_without_a_name_of_their_own_keep_their_numbers(
    tmp_path: Path, number: int
) -> None:
    """In place, also where two classes share a name."""
    told = "# of mine\nnames: ['cat', \"cat\"]\n"
    lines = f"{number} .5 .5 .4 .4\n{number} .5 .5 .2 .2\n"
    _foreign(tmp_path, lines, told)
    label = tmp_path / "labels/train/cat.TXT"
    (tmp_path / "labels/train/cat.txt").rename(label)
    one, two = read_annotations(tmp_path)
    sizes = {one.image: ImageInfo("cat.jpg", 10, 20)}
    write_annotations(tmp_path, [one, replace(two, caption="a cat")], sizes, "yolo")
    assert (tmp_path / "data.yaml").read_text() == told
    assert label.read_text() == lines
    assert [file.name for file in label.parent.iterdir()] == [label.name]
    one, two = read_annotations(tmp_path)
    new = Annotation("new", one.image, Box(1, 1, 5, 5), extra={"class": "dog"})
    write_annotations(tmp_path, [one, replace(two, region=Box(1, 1, 5, 5)), new], sizes, "yolo")
    first, moved, dog = label.read_text().splitlines()
    assert f"{first}\n" == lines.splitlines(keepends=True)[0]
    assert moved.split()[0] == f"{number}"
    assert int(dog.split()[0]) == max(number, 1) + 1
