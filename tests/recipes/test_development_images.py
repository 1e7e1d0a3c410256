from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from napari_patchioner.errors import FormatError
from recipes.mini.coco_folders import development_images

if TYPE_CHECKING:
    from pathlib import Path

SIZE = (40, 60)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two folders laid out like the development data; ``2.jpg`` lies in both."""
    coco = tmp_path / "coco"
    for folder, names in (("mini_train", ("1", "2")), ("coco128_val", ("2", "3"))):
        (coco / folder / "images").mkdir(parents=True)
        for name in names:
            Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(
                coco / folder / "images" / f"{name}.jpg"
            )
    (tmp_path / "vocab").mkdir()
    _write(tmp_path / "vocab" / "coco_categories.json", ["person", "bicycle"])
    _write(coco / "captions_of_development_images.json", _captions(3, "three"))
    _write(coco / "mini_train" / "captions_train2017.json", _captions(1, "one\n of them"))
    _write(coco / "mini_train" / "instances_train2017.json", _instances())
    _panoptic(coco / "coco128_val")
    return tmp_path


def _write(path: Path, document: object) -> None:
    path.write_text(json.dumps(document), encoding="utf-8")


def _captions(image: int, text: str) -> dict[str, object]:
    return {"annotations": [{"image_id": image, "caption": text}]}


def _instances() -> dict[str, object]:
    ring = [10, 5, 30, 5, 30, 25, 10, 25]
    whole = {"counts": [0, 2400], "size": SIZE}
    objects = [
        {"segmentation": [ring], "bbox": [10, 5, 20, 20], "iscrowd": 0},
        {"segmentation": whole, "bbox": [0, 0, 60, 40], "iscrowd": 1},
        {"segmentation": [[0, 0, 2, 0, 2, 2]], "bbox": [0, 0, 2, 2], "iscrowd": 0},
    ]
    return {
        "images": [{"id": number, "file_name": f"{number}.jpg", "license": 4} for number in (1, 2)],
        "categories": [{"id": 17, "name": "cat"}],
        "annotations": [{"image_id": 1, "category_id": 17, **one} for one in objects],
    }


def _panoptic(root: Path) -> None:
    (root / "yolo_labels").mkdir()
    (root / "yolo_labels" / "3.txt").write_text("1 0.5 0.5 0.5 1.0\n")
    (root / "panoptic_masks").mkdir()
    colours = np.zeros((*SIZE, 3), np.uint8)
    colours[:20] = (1, 2, 0)
    colours[20:] = (0, 0, 1)
    Image.fromarray(colours).save(root / "panoptic_masks" / "3.png")
    segments = [
        {"id": 1 + 2 * 256, "category_id": 187, "iscrowd": 0},
        {"id": 65536, "category_id": 2, "iscrowd": 0},
    ]
    _write(
        root / "panoptic_val2017.json",
        {
            "images": [{"id": 3, "file_name": "3.jpg", "license": 1}],
            "categories": [
                {"id": 187, "name": "sky-other-merged", "isthing": 0},
                {"id": 2, "name": "bicycle", "isthing": 1},
            ],
            "annotations": [{"image_id": 3, "segments_info": segments}],
        },
    )


def test_each_file_name_comes_once(data: Path) -> None:
    found = list(development_images(data, ["mini_train", "coco128_val"]))

    assert [(one.file_name, one.folder) for one in found] == [
        ("1.jpg", "mini_train"),
        ("2.jpg", "mini_train"),
        ("3.jpg", "coco128_val"),
    ]
    assert [one.captions for one in found] == [("one of them",), (), ("three",)]
    assert [one.licence for one in found] == [4, 4, 1]


def test_coco_boxes_end_between_pixels_and_masks_lie_in_them(data: Path) -> None:
    (image, _) = development_images(data, ["mini_train"])
    (box,), (mask,) = image.boxes, image.masks

    assert box.category == "cat"
    assert (box.region.top, box.region.left) == (4.5, 9.5)
    assert (box.region.bottom, box.region.right) == (24.5, 29.5)
    assert mask.region.pixels.sum() == 400
    assert mask.region.pixels[5:25, 10:30].all()


def test_panoptic_colours_become_masks_of_things_and_stuff(data: Path) -> None:
    (_, image) = development_images(data, ["coco128_val"])
    (sky,), (bicycle,), (box,) = image.stuff, image.masks, image.boxes

    assert (sky.category, bicycle.category, box.category) == ("sky", "bicycle", "bicycle")
    assert sky.region.pixels[:20].all()
    assert not sky.region.pixels[20:].any()
    assert (box.region.left, box.region.right) == (14.5, 44.5)


def test_photographs_with_boxes_only_are_read_wherever_they_lie(data: Path) -> None:
    for root, name, is_crowd in (("coco_more/val2017_extra", "000042", 1), ("voc2012", "2_7", 0)):
        folder = data / root
        (folder / "images").mkdir(parents=True)
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(folder / "images" / f"{name}.jpg")
        boxes = [
            {"image_id": 42, "category_id": 17, "bbox": [9.0, 5.0, 20.0, 20.0], "iscrowd": crowd}
            for crowd in (0, is_crowd)
        ]
        instances = {
            "images": [{"id": 42, "file_name": f"{name}.jpg"}],
            "categories": [{"id": 17, "name": "cat"}],
            "annotations": boxes,
        }
        _write(folder / "instances.json", instances)
    _write(data / "coco_more" / "val2017_extra" / "captions.json", _captions(42, "a cat"))

    first, second = development_images(data, ["val2017_extra", "voc2012"])

    assert [len(image.boxes) for image in (first, second)] == [1, 2]
    assert (first.masks, first.licence, first.captions) == ((), None, ("a cat",))
    assert (second.file_name, second.captions) == ("2_7.jpg", ())
    assert [image.complete for image in (first, second)] == [True, False]


def test_a_damaged_file_is_named(data: Path) -> None:
    (data / "coco" / "mini_train" / "instances_train2017.json").write_text("{")

    with pytest.raises(FormatError, match="instances_train2017"):
        next(development_images(data, ["mini_train"]))
