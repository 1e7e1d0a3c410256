"""How words are judged: which wrong nouns are asked for, and where regions lie around things."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_patchioner.grounding import WordGrounder
from napari_patchioner.regions import Box
from recipes.mini.coco_folders import LabelledImage, LabelledRegion
from recipes.mini.why_words import area_under_curve, nouns_of, wider_box, wrong_nouns


@pytest.fixture(scope="module")
def grounder(mini):
    return WordGrounder(mini)


def image(*captions, labelled=()):
    boxes = tuple(LabelledRegion(name, Box(0, 0, 9, 9), 0.5) for name in labelled)
    return LabelledImage("1.jpg", Path("1.jpg"), "", (10, 10), boxes, (), (), captions, None)


def test_wrong_nouns_are_neither_said_nor_labelled_nor_mean_the_same(grounder):
    shown = image("a dog on a sofa", labelled=["cup"])
    others = ["puppy", "dog", "couch", "cup", "animal", "bus", "bus", "train"]
    assert set(wrong_nouns(grounder, shown, others, 9)) == {"bus", "train"}
    assert len(wrong_nouns(grounder, shown, others, 1)) == 1
    assert wrong_nouns(grounder, shown, others, 9) == wrong_nouns(grounder, shown, others, 9)


def test_nouns_of_captions_come_once_each():
    assert nouns_of(["a dog and a cat", "two dogs without a hat"]) == ["dog", "cat"]


def test_a_wider_box_holds_the_thing_and_stays_in_the_image():
    generator = np.random.default_rng(0)
    pixels = np.argwhere(np.pad(np.ones((20, 10), bool), ((5, 75), (80, 10))))
    for _ in range(20):
        box = wider_box(pixels, (100, 100), generator)
        assert box.top >= -0.5
        assert box.left >= -0.5
        assert box.bottom <= 99.5
        assert box.right <= 99.5
        assert box.top <= pixels[:, 0].min()
        assert box.bottom >= pixels[:, 0].max()
        assert box.left <= pixels[:, 1].min()
        assert box.right >= pixels[:, 1].max()


def test_the_area_under_the_curve_counts_ties_as_half():
    assert area_under_curve([1, 1], [True, False]) == 0.5
    assert area_under_curve([2, 3, 1], [True, True, False]) == 1
