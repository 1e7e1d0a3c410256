from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING

import pytest

from napari_patchioner.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_patchioner.evaluation.datasets import Sample

    Draw = Callable[..., list[Sample]]


def test_boxes_of_controlcap_are_corners_not_sizes(draw: Draw):
    contents = {
        "images": [{"id": 7, "file_name": "2407890.jpg", "width": 80, "height": 40}],
        "annotations": [
            {"id": 1, "image_id": 7, "bbox": [10, 5, 30, 20], "caption": "a red car"},
            {"id": 2, "image_id": 7, "bbox": [10, 5, 10, 20], "caption": "a pole"},
        ],
    }
    car, pole = draw("dense", contents)

    assert (car.image, car.references) == ("2407890.jpg", ("a red car",))
    assert astuple(car.region) == (4.5, 9.5, 19.5, 29.5)
    assert astuple(pole.region) == (4.5, 9.5, 19.5, 10.5)


def test_visual_genome_has_sizes_not_corners(draw: Draw):
    region = {"region_id": 11, "image_id": 2407890, "x": 10, "y": 5, "width": 20, "height": 15}
    contents = [
        {
            "id": 2407890,
            "regions": [{**region, "phrase": "a red car"}, {**region, "phrase": " "}],
        }
    ]
    (car,) = draw("dense", contents)

    assert (car.id, car.image) == ("2407890/11", "2407890")
    assert astuple(car.region) == (4.5, 9.5, 19.5, 29.5)


def test_wrong_records_are_told(draw: Draw):
    good = {"image_id": 391895, "bbox": [1, 2, 3, 4], "caption": "x"}
    with pytest.raises(FormatError, match=r"data\.json: annotation 2: has no 'caption'"):
        draw("dense", {"annotations": [good, {"image_id": 391895, "bbox": [1, 2, 3, 4]}]})
    with pytest.raises(FormatError, match=r"data\.json: annotation 2: must be an object"):
        draw("dense", {"annotations": [good, 5]})
    with pytest.raises(FormatError, match=r"image 2407890, region 1: 'x' must be a finite number"):
        draw("dense", [{"id": 2407890, "regions": [{"x": "a", "y": 1}]}])
