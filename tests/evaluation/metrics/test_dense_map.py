from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_patchioner.evaluation.metrics.dense_map import (
    DenseImage,
    dense_map,
    iou_matrix,
    merge_boxes,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

BOX = np.array([[0.0, 0.0, 10.0, 10.0]])
FAR = np.array([[50.0, 50.0, 60.0, 60.0]])


def same_words(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """A stand-in for METEOR: all or nothing."""
    pairs = zip(candidates, references, strict=True)
    return np.array([float(caption in others) for caption, others in pairs])


def image(boxes: np.ndarray, captions: list[str], scores: list[float]) -> DenseImage:
    return DenseImage(np.vstack([BOX, FAR]), ["a dog", "a tree"], boxes, captions, scores)


@pytest.mark.parametrize("protocol", ["paper", "reference"])
def test_all_found_and_said_is_one(protocol):
    found = dense_map(
        [image(np.vstack([BOX, FAR]), ["a dog", "a tree"], [0.5, 0.9])],
        same_words,
        protocol=protocol,
    )
    assert found.mean == found.detection == 1.0


def test_boxes_without_the_words_count_for_detection_alone():
    found = dense_map([image(np.vstack([BOX, FAR]), ["a cat", "a house"], [0.5, 0.9])], same_words)
    assert (found.mean, found.detection) == (0.0, 1.0)


def test_a_sure_mistake_costs_more_than_an_unsure_one():
    boxes = np.vstack([BOX, FAR])
    sure = dense_map([image(boxes, ["a dog", "a house"], [0.1, 0.9])], same_words)
    unsure = dense_map([image(boxes, ["a dog", "a house"], [0.9, 0.1])], same_words)
    assert sure.mean < unsure.mean


def test_saying_it_twice_is_a_mistake_the_second_time():
    once = dense_map([image(BOX, ["a dog"], [0.9])], same_words)
    twice = dense_map(
        [image(np.vstack([BOX, BOX, FAR]), ["a dog", "a dog", "a tree"], [0.9, 0.8, 0.7])],
        same_words,
    )
    assert once.mean == pytest.approx(51 / 101)
    assert twice.mean == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_a_box_that_touches_nothing_is_a_mistake():
    away = np.array([[80.0, 0.0, 90.0, 10.0]])
    found = dense_map([image(away, ["a dog"], [1.0])], same_words)
    assert (found.mean, found.detection) == (0.0, 0.0)


def test_nothing_predicted_and_nothing_to_find():
    none = np.empty((0, 4))
    assert dense_map([image(none, [], [])], same_words).mean == 0.0
    assert math.isnan(dense_map([DenseImage(none, [], BOX, ["x"], [1.0])], same_words).mean)
    assert math.isnan(dense_map([], same_words).mean)


def test_boxes_of_one_thing_are_merged_with_all_that_was_said():
    near = np.add(BOX, [[0.0, 0.0, 1.0, 0.0]])
    boxes, texts = merge_boxes(np.vstack([BOX, FAR, near]), ["a dog", "a tree", "a puppy"])
    assert boxes.tolist() == [[0, 0, 10.5, 10], [50, 50, 60, 60]]
    assert texts == [("a dog", "a puppy"), ("a tree",)]


BOXES = hnp.arrays(np.float64, (4, 4), elements=st.integers(0, 30)).map(
    lambda corners: np.hstack(
        [np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:]) + 1]
    )
)


@given(boxes=BOXES)
def test_overlap_is_a_share_and_the_same_both_ways(boxes):
    for edge in (0.0, 1.0):
        found = iou_matrix(boxes, boxes, edge)
        assert np.all((found >= 0) & (found <= 1 + 1e-12))
        np.testing.assert_allclose(found, found.T)
        np.testing.assert_allclose(np.diag(found), 1)


@given(boxes=BOXES)
def test_merging_keeps_every_word_once(boxes):
    _, texts = merge_boxes(boxes, list("abcd"))
    assert sorted("".join("".join(group) for group in texts)) == list("abcd")
