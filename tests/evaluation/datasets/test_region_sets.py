from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING

import pytest

from napari_patchioner.errors import FormatError, ImageError
from napari_patchioner.evaluation.datasets import overlap_group
from napari_patchioner.regions import Box, RegionSet

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_patchioner.evaluation.datasets import Sample

    Draw = Callable[..., list[Sample]]


def test_every_set_of_boxes_is_a_sample_with_all_its_captions(draw: Draw):
    first, second = draw(
        "region-set",
        {
            "391895": {"a man on a moped": [[0.0, 10.5, 20, 30]]},
            "483108": {"a train\na red train": [[0, 0, 10, 10], [20, 0, 30, 10]]},
        },
    )

    assert (first.id, first.image, first.references) == (
        "391895/0",
        "391895",
        ("a man on a moped",),
    )
    assert isinstance(first.region, RegionSet)
    assert astuple(first.region.members[0]) == (10.0, -0.5, 29.5, 19.5)
    assert second.references == ("a train", "a red train")
    assert (first.group, second.group) == ("single", "disjoint")


def test_boxes_that_share_an_area_are_told_apart_from_those_that_touch():
    left = Box(0, 0, 10, 10)
    assert overlap_group([left, Box(0, 10, 10, 20)]) == "disjoint"
    assert overlap_group([left, Box(20, 0, 30, 10)]) == "disjoint"
    assert overlap_group([left, Box(40, 40, 50, 50), Box(9, 9, 20, 20)]) == "overlapping"
    assert overlap_group([left]) == "single"


def test_a_side_without_length_is_one_pixel_long(draw: Draw):
    (sample,) = draw("region-set", {"391895": {"a line": [[5, 6, 5, 9]]}})
    assert astuple(sample.region.members[0]) == (5.5, 4.5, 8.5, 5.5)


@pytest.mark.parametrize(
    ("corners", "words"),
    [
        ([[1, 2, 3]], "a box must be"),
        ([[1, 2, "x", 4]], "finite number"),
        ([[1, 2, None, 4]], "finite number"),
        ([[1, 2, True, 4]], "finite number"),
        ([[9, 2, 3, 4]], "ends before it begins"),
        ([], "at least one box"),
    ],
)
def test_a_wrong_box_is_told_with_its_image(draw: Draw, corners: object, words: str):
    with pytest.raises(FormatError, match=rf"data\.json: image 391895: .*{words}"):
        draw("region-set", {"391895": {"a caption": corners}})


def test_a_missing_image_is_an_error_unless_left_out(draw: Draw):
    contents = {"1": {"gone": [[0, 0, 1, 1]]}, "391895": {"there": [[0, 0, 1, 1]]}}
    with pytest.raises(ImageError, match="no such image"):
        draw("region-set", contents)
    assert [one.image for one in draw("region-set", contents, skip_missing=True)] == ["391895"]
