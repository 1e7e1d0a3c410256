from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_patchioner.errors import FormatError
from napari_patchioner.regions import WholeImage

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_patchioner.evaluation.datasets import Sample

    Draw = Callable[..., list[Sample]]

KARPATHY = {
    "dataset": "coco",
    "images": [
        {
            "filepath": "val2014",
            "filename": "COCO_val2014_000000483108.jpg",
            "split": "test",
            "sentences": [{"raw": "A train."}, {"raw": "A red train."}],
        },
        {"filename": "1016887272.jpg", "split": "train", "sentences": [{"raw": "Climbers."}]},
    ],
}


def test_captions_are_gathered_by_image(draw: Draw):
    notes = [(391895, "a man"), (483108, "a train"), (391895, "a moped")]
    contents = {"annotations": [{"image_id": i, "caption": c, "id": 1} for i, c in notes]}
    man, train = draw("image", contents)

    assert (man.image, man.references) == ("391895", ("a man", "a moped"))
    assert isinstance(man.region, WholeImage)
    assert train.references == ("a train",)


def test_karpathys_split_is_test_unless_named(draw: Draw):
    (sample,) = draw("image", KARPATHY)
    assert sample.references == ("A train.", "A red train.")
    (sample,) = draw("image", KARPATHY, split="train")
    assert sample.image == "1016887272.jpg"
    with pytest.raises(FormatError, match=r"has no split 'val'; it has test, train"):
        draw("image", KARPATHY, split="val")


def test_a_file_of_another_task_is_told(draw: Draw):
    with pytest.raises(FormatError, match="task 'image', not of 'dense'"):
        draw("dense", KARPATHY)
    with pytest.raises(FormatError, match="without captions"):
        draw("image", {"images": [{"id": 1}], "annotations": []})
    with pytest.raises(FormatError, match=r"no known form; those that are: traces, .*narratives"):
        draw("image", [1, 2])


def test_dense_captions_serve_as_captions_of_images_too(draw: Draw):
    contents = {"annotations": [{"image_id": 391895, "bbox": [1, 2, 3, 4], "caption": "x"}]}
    assert isinstance(draw("image", contents)[0].region, WholeImage)
    assert draw("dense", contents)[0].references == ("x",)
