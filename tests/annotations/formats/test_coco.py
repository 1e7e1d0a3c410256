from __future__ import annotations

import contextlib
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from annotated import IMAGES, SINGLE, extras
from hypothesis import HealthCheck, given, settings
from pycocotools.coco import COCO

from napari_patchioner.annotations import (
    Annotation,
    ImageInfo,
    Notes,
    read_annotations,
    with_human_caption,
    write_annotations,
)
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

RING = np.ones((4, 5), bool)
RING[1:3, 1:4] = False


def _opened(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def _written(path: Path, *regions: Any) -> dict[str, Any]:
    before = [Annotation(f"u{n}", "cat.png", one, f"thing {n}") for n, one in enumerate(regions)]
    write_annotations(path, before, IMAGES, "coco")
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_top_left_pixel_is_the_square_from_0_to_1(tmp_path: Path) -> None:
    box, whole, mask = _written(
        tmp_path / "a.json", Box(-0.5, -0.5, 9.5, 19.5), WholeImage(), Mask(RING, (2, 7))
    )["annotations"]
    assert box["bbox"] == [0, 0, 20, 10]
    assert box["segmentation"] == [[0, 0, 20, 0, 20, 10, 0, 10]]
    assert box["area"] == 200
    assert whole["bbox"] == [0, 0, 64, 48]
    assert mask["bbox"] == [7, 2, 5, 4]
    assert mask["area"] == RING.sum()
    assert mask["segmentation"]["size"] == [48, 64]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(region=SINGLE)
def test_pycocotools_sees_the_same_pixels(tmp_path: Path, region: Any) -> None:
    path = tmp_path / "a.json"
    data = _written(path, region)
    if isinstance(region, Point | Trace):
        assert data["annotations"] == []
        return
    coco = _opened(path)
    [entry] = coco.loadAnns(coco.getAnnIds())
    assert entry["caption"] == "thing 0"
    seen = coco.annToMask(entry).astype(bool)
    assert seen.shape == (48, 64)
    if isinstance(region, Mask):
        expected = np.zeros((100, 100), bool)
        rows, columns = np.nonzero(region.pixels)
        rows, columns = rows + region.offset[0], columns + region.offset[1]
        inside = (rows >= 0) & (columns >= 0)
        expected[rows[inside], columns[inside]] = True
        np.testing.assert_array_equal(seen, expected[:48, :64])
        assert entry["area"] == seen.sum()
    elif isinstance(region, WholeImage):
        assert seen.all()


def test_pycocotools_counts_images_and_finds_classes(tmp_path: Path) -> None:
    box = Box(0, 0, 9, 9)
    before = [
        Annotation("a", "cat.png", box, "a cat", 0.5, "model", "m", {"class": "cat"}),
        Annotation("b", "a folder/Cat.tif", box, "", extra={"class": "dog"}),
        Annotation("c", "cat.png", box),
    ]
    write_annotations(tmp_path / "a.json", before, IMAGES)
    coco = _opened(tmp_path / "a.json")
    assert {one["file_name"] for one in coco.loadImgs(coco.getImgIds())} == {
        "cat.png",
        "Cat.tif",
        "",
    }
    assert [one["name"] for one in coco.loadCats(coco.getCatIds())] == ["cat", "dog", "region"]
    [cat] = coco.loadAnns(coco.getAnnIds(catIds=coco.getCatIds(catNms=["cat"])))
    assert (cat["caption"], cat["score"]) == ("a cat", 0.5)


def test_pycocotools_opens_the_captions(tmp_path: Path) -> None:
    before = [
        Annotation("1", "cat.png", WholeImage(), "ein Häuschen"),
        Annotation("2", "cat.png", WholeImage(), "a house"),
        Annotation("3", "cat.png", Box(0, 0, 1, 1), "a door"),
    ]
    path = tmp_path / "a.json"
    [left] = write_annotations(path, before, {}, "coco-captions")
    assert left is before[2]
    coco = _opened(path)
    captions = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
    assert [one["caption"] for one in captions] == ["ein Häuschen", "a house"]
    assert [one.kind for one in read_annotations(path)] == ["image", "image"]


THEIRS = {
    "info": {"year": 2017},
    "images": [
        {"id": 139, "file_name": "000139.jpg", "height": 6, "width": 8, "license": 2},
        {"id": 285, "file_name": "000285.jpg", "height": 6, "width": 8},
    ],
    "annotations": [
        {"id": 7, "image_id": 139, "category_id": 18, "iscrowd": 0, "area": 4.5,
         "bbox": [1, 2, 3, 3], "segmentation": [[1, 2, 4, 2, 4, 5]],
         "attributes": {"occluded": False, "note": "=1", "kind": "calico"}},
        {"id": 8, "image_id": 139, "category_id": 18, "iscrowd": 1, "area": 3,
         "bbox": [1, 0, 1, 3],
         "segmentation": {"size": [6, 8], "counts": [6, 3, 39]}},
        {"id": 9, "image_id": 285, "category_id": 1, "bbox": [1.25, 2, 3, 1.5],
         "caption": "a person", "score": 0.75, "segmentation": []},
        {"id": 10, "image_id": 285, "category_id": 1, "bbox": [0, 0, 8, 6], "iscrowd": 0,
         "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2], [4, 4, 8, 4, 8, 6]]},
    ],
    "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}],
}  # fmt: skip


def test_files_of_other_tools_are_read(tmp_path: Path, same_region: Any) -> None:
    path = tmp_path / "instances_val2017.json"
    path.write_text(json.dumps(THEIRS), encoding="utf-8")
    dog, crowd, person, parts = read_annotations(path)
    assert (dog.uid, dog.image, dog.caption, dog.source) == ("7", "000139.jpg", "", "")
    assert same_region(dog.region, Polygon(np.array([[1.5, 0.5], [1.5, 3.5], [4.5, 3.5]])))
    assert extras(dog) == {"class": "dog", "occluded": "false", "note": "=1", "kind_": "calico"}
    assert same_region(crowd.region, Mask(np.ones((3, 1), bool), (0, 1)))
    assert same_region(person.region, Box(1.5, 0.75, 3.0, 3.75))
    assert (person.caption, person.score, person.extra["class"]) == ("a person", 0.75, "person")
    assert isinstance(parts.region, RegionSet)
    assert parts.region.union
    assert same_region(parts.region.members[0], Box(-0.5, -0.5, 1.5, 1.5))
    images = {name: ImageInfo(name, 6, 8) for name in ("000139.jpg", "000285.jpg")}
    write_annotations(tmp_path / "again.json", read_annotations(path), images)
    again = read_annotations(tmp_path / "again.json")
    assert [extras(one) for one in again] == [extras(one) for one in read_annotations(path)]


def test_what_another_tool_changed_is_taken_over_and_no_more(
    tmp_path: Path, same_region: Any
) -> None:
    path = tmp_path / "a.json"
    corners = np.array([[1.0, 2], [3, 9], [9, 7], [7, 0]])
    before = [
        Annotation("a", "cat.png", Ellipse(corners), "a cat", 0.5, "model", "mini", {"x": "1"}),
        Annotation("b", "cat.png", Ellipse(corners), "a dog", 0.5, "model", "mini", {"x": "2"}),
    ]
    write_annotations(path, before, IMAGES)
    data = json.loads(path.read_text())
    data["annotations"][0]["caption"] = "a cat, asleep"
    data["annotations"][1]["segmentation"] = [[0, 0, 4, 0, 4, 9]]
    data["annotations"][1]["category_id"] = 2
    data["categories"].append({"id": 2, "name": "pet"})
    data["annotations"].append({**data["annotations"][0], "id": 99})
    path.write_text(json.dumps(data))
    said, moved, copied = read_annotations(path)
    assert same_region(said.region, before[0].region)
    assert (said.caption, said.source, said.score) == ("a cat, asleep", "edited", None)
    assert said.extra == {"x": "1"}
    assert same_region(moved.region, Polygon(np.array([[-0.5, -0.5], [-0.5, 3.5], [8.5, 3.5]])))
    assert (moved.caption, moved.source, moved.extra["class"]) == ("a dog", "model", "pet")
    assert (copied.uid, copied.caption) == ("a-2", "a cat, asleep")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"image_id": 5}, r"annotation 1 \(id 7\): its image 5 is not among the images"),
        ({"segmentation": [[1, 2, 3, 4]], "bbox": []}, r"annotation 1 \(id 7\): a polygon"),
        ({"segmentation": "x", "bbox": None}, r"annotation 1 \(id 7\): 'segmentation' must be"),
        ({"segmentation": {"size": [6, 8]}, "bbox": []}, r"annotation 1 \(id 7\): runs .* need"),
        (
            {"segmentation": {"size": [6, 8], "counts": [1]}, "bbox": []},
            r"\(id 7\): the runs .* do not fill",
        ),
        ({"segmentation": [], "bbox": [1, 2, -3, 4]}, r"\(id 7\): 'bbox' must be"),
        ({"caption": 3}, r"annotation 1 \(id 7\): 'caption' must be a text"),
        ({"attributes": {"uid": "a", "kind": "box", "wkt": "x"}}, r"\(id 7\): is not well-known"),
    ],
)
def test_errors_name_the_file_and_the_annotation(
    tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({**THEIRS, "annotations": [{**THEIRS["annotations"][0], **change}]}))
    with pytest.raises(FormatError, match=f"^bad.json: .*{told}") as caught:
        read_annotations(path)
    assert str(caught.value).count("bad.json") == 1


def test_broken_json_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text('{"images": [],\n "annotations": [}')
    with pytest.raises(FormatError, match=r"bad.json: is broken JSON at line 2, column 18"):
        read_annotations(path)


@pytest.mark.parametrize("region", [WholeImage(), Mask(RING)])
def test_a_size_that_is_needed_and_missing_is_asked_for(tmp_path: Path, region: Any) -> None:
    with pytest.raises(FormatError, match=r"'u' of image 'dog\.png': the size of the image is mis"):
        write_annotations(tmp_path / "a.json", [Annotation("u", "dog.png", region)], IMAGES)


def _theirs(path: Path, **changes: Any) -> tuple[list[Annotation], str]:
    """Return the records of a file with other lists in it, and what is noted of it."""
    path.write_text(json.dumps({**THEIRS, **changes}), encoding="utf-8")
    notes = Notes()
    return read_annotations(path, notes=notes), "\n".join(notes.lines())


BOX = {"image_id": 139, "category_id": 18, "bbox": [1, 2, 3, 3]}


def test_regions_without_an_id_get_one_and_are_written(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    found, _ = _theirs(path, annotations=[BOX, {**BOX, "id": 7}, BOX])
    assert [one.uid for one in found] == ["8", "7", "9"]
    write_annotations(path, [with_human_caption(one, "x") for one in found], {}, "coco")
    entries = json.loads(path.read_text())["annotations"]
    assert [entry["id"] for entry in entries] == [8, 7, 9]


def test_an_id_given_twice_is_told_and_nothing_is_mistaken(tmp_path: Path) -> None:
    images = [*THEIRS["images"], {"id": 285, "file_name": "other.jpg"}]
    classes = [*THEIRS["categories"], {"id": 18, "name": "wolf"}]
    path = tmp_path / "a.json"
    found, told = _theirs(path, images=images, categories=classes)
    assert [one.uid for one in found] == ["7", "8"]  # of 285 nobody knows which is meant
    assert found[0].extra["class"] == "18"
    assert "'000285.jpg' and to 'other.jpg'" in told
    assert "'dog' and to 'wolf'" in told
    assert "left out" in told
    before = json.loads(path.read_text())
    write_annotations(path, found, {}, "coco")
    assert json.loads(path.read_text()) == before


@pytest.mark.parametrize(
    ("change", "region", "told"),
    [
        ({"bbox": ["1", "2.5", 3, 3]}, Box(2, 0.5, 5, 3.5), ""),
        ({"image_id": "139", "category_id": "18"}, Box(1.5, 0.5, 4.5, 3.5), ""),
        ({"segmentation": [[1, 2, 3, 4]]}, Box(1.5, 0.5, 4.5, 3.5), "its box is taken"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, Box(1.5, 0.5, 4.5, 3.5), "its box is taken"),
        ({"segmentation": {"size": [6, 8], "counts": [9]}}, Box(1.5, 0.5, 4.5, 3.5), "its box"),
        (
            {"segmentation": [[0, 0, 2, 0, 2, 2, 0, 2], [1, 2]]},
            Box(-0.5, -0.5, 1.5, 1.5),
            "the other polygons are taken",
        ),
        ({"segmentation": [0, 0, 2, 0, 2, 2, 0, 2]}, Box(-0.5, -0.5, 1.5, 1.5), ""),
        ({"segmentation": {"size": [6, 8], "counts": "63W1"}}, Mask(np.ones((3, 1)), (0, 1)), ""),
        ({"iscrowd": True, "segmentation": None}, Box(1.5, 0.5, 4.5, 3.5), ""),
    ],
)
def test_what_programs_write_otherwise(
    tmp_path: Path, same_region: Any, change: dict[str, Any], region: Any, told: str
) -> None:
    [found], notes = _theirs(tmp_path / "a.json", annotations=[{**BOX, "id": 1, **change}])
    assert same_region(found.region, region)
    assert (found.image, found.extra["class"]) == ("000139.jpg", "dog")
    assert told in notes
    assert bool(notes) == bool(told)


def test_one_bad_record_is_listed_and_the_others_are_read(tmp_path: Path) -> None:
    bad = [{**BOX, "id": 1, "image_id": 4}, "text", {**BOX, "id": 3, "bbox": [1, 2]}]
    found, told = _theirs(tmp_path / "a.json", annotations=[*bad, {**BOX, "id": 4}])
    assert [one.uid for one in found] == ["4"]
    assert told.count("left out") == 3


def test_runs_over_another_size_than_the_image_has_are_told(tmp_path: Path) -> None:
    images = [{"id": 139, "file_name": "139.jpg", "height": 20, "width": 30}]
    runs = [{"size": [side, 30], "counts": [0, 4, 30 * side - 4]} for side in (20, 10)]
    listed = [{**BOX, "id": n, "segmentation": one} for n, one in enumerate(runs)]
    found, told = _theirs(tmp_path / "a.json", images=images, annotations=listed)
    assert [one.kind for one in found] == ["mask", "mask"]
    assert told == (
        "a.json: annotation 2 (id 1): its runs are over 10 by 30 pixels, but its image has 20 by "
        "30; they are taken as they stand"
    )


def test_an_outline_that_crosses_itself_is_read_and_told(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    bow_tie = {**BOX, "id": 1, "segmentation": [[0, 0, 6, 5, 6, 0, 0, 5]]}
    [found], told = _theirs(path, annotations=[bow_tie])
    assert found.kind == "polygon"
    assert "region '1': its outline crosses itself; it is filled" in told
    again = Annotation("1", "cat.png", found.region)
    assert _written(path, again.region)["annotations"][0]["area"] == 15


def test_a_set_with_a_mask_is_painted_whatever_crosses_or_lies_outside(tmp_path: Path) -> None:
    bow_tie = Polygon(np.array([[9.5, 9.5], [19.5, 19.5], [19.5, 9.5], [9.5, 19.5]]))
    parts = (Mask(np.ones((4, 6)), (-2, -3)), bow_tie, Box(29.5, 39.5, 90, 90))
    [entry] = _written(tmp_path / "a.json", RegionSet(parts))["annotations"]
    height, width = entry["segmentation"]["size"]
    inside_image = 2 * 3 + (height - 30) * (width - 40)
    assert 40 <= entry["area"] - inside_image <= 60


def test_a_tangle_is_written_with_about_its_area(tmp_path: Path) -> None:
    tangle = Polygon(np.random.default_rng(0).random((2000, 2)) * 40)
    [entry] = _written(tmp_path / "a.json", tangle)["annotations"]
    assert 0.4 * 1600 < entry["area"] < 0.6 * 1600
