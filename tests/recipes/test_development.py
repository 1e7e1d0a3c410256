"""The development images as published files, from a tiny folder of the same layout."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from napari_patchioner.evaluation.datasets import open_dataset
from recipes.mini.development import phrase, write_development_files

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """One photograph with a dog in it, its captions and its region sets."""
    data = tmp_path / "data"
    images = data / "coco" / "mini_train" / "images"
    images.mkdir(parents=True)
    Image.new("RGB", (100, 80)).save(images / "000000000007.jpg")
    instances = {
        "images": [{"id": 7, "file_name": "000000000007.jpg", "license": 4}],
        "categories": [{"id": 18, "name": "dog"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 7,
                "category_id": 18,
                "iscrowd": 0,
                "bbox": [10, 20, 40, 30],
                "area": 1200,
                "segmentation": [[10, 20, 50, 20, 50, 50, 10, 50]],
            }
        ],
    }
    captions = {"annotations": [{"image_id": 7, "id": 1, "caption": "A dog."}]}
    write(data / "coco" / "mini_train" / "instances_train2017.json", instances)
    write(data / "coco" / "mini_train" / "captions_train2017.json", captions)
    write(data / "coco" / "captions_of_development_images.json", {"annotations": []})
    sets = {"7": {"a dog": [[10, 20, 50, 50]]}, "8": {"a cat": [[0, 0, 1, 1]]}}
    write(data / "entities" / "coco_entities_test.json", sets)
    return data


def write(path: Path, contents: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(contents), encoding="utf-8")


@pytest.mark.parametrize("folder", ["mini_train"])
def test_all_four_tasks_have_a_file(data, tmp_path, folder, monkeypatch):
    from recipes.mini import development

    found = development.development_images
    monkeypatch.setattr(development, "development_images", lambda data: found(data, [folder]))
    paths = write_development_files(data, tmp_path / "out")

    samples = {
        task: list(open_dataset(task, path, data / "coco").samples())
        for task, path in paths.items()
    }
    assert {task: len(found) for task, found in samples.items()} == {
        "image": 1, "dense": 1, "region-set": 1, "trace": 1
    }  # fmt: skip
    (box,), (trace,) = samples["dense"], samples["trace"]
    assert (box.references, box.extra) == (("a dog",), {"category": "dog"})
    region = box.region
    assert [region.top, region.left, region.bottom, region.right] == [19.5, 9.5, 49.5, 49.5]
    assert trace.extra == {"category": "dog"}
    assert np.all((trace.region.points >= [19.5, 9.5]) & (trace.region.points <= [49.5, 49.5]))


def test_phrases():
    assert [phrase(name) for name in ("dog", "apple")] == ["a dog", "an apple"]
