from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_patchioner.evaluation.metrics.diversity import distinct, self_retrieval


def test_distinct_counts_ngrams_over_all_captions() -> None:
    captions = ["a red dog", "a red cat"]
    assert distinct(captions, 1) == pytest.approx(4 / 6)
    assert distinct(captions, 2) == pytest.approx(3 / 4)
    assert math.isnan(distinct(["dog"], 2))
    assert math.isnan(distinct([], 1))


def test_a_caption_that_fits_its_own_region_best_is_found() -> None:
    regions = np.eye(3)
    texts = np.array([[2.0, 0, 0], [0, 0, 1], [0.1, 0.2, 0.9]])
    assert self_retrieval(texts, regions, ["a", "a", "a"]).tolist() == [1.0, 0.0, 1.0]


def test_only_regions_of_the_same_image_compete() -> None:
    texts = np.array([[0.0, 1.0], [1.0, 0.2], [0.0, 1.0]])
    regions = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
    found = self_retrieval(texts, regions, ["a", "b", "b"])
    assert math.isnan(found[0])
    assert found[1:].tolist() == [1.0, 1.0]


@given(count=st.integers(2, 6))
def test_one_caption_for_everything_is_worth_no_more_than_chance(count: int) -> None:
    rng = np.random.default_rng(count)
    texts = np.tile(rng.normal(size=4), (count, 1))
    same = np.tile(rng.normal(size=4), (count, 1))
    different = rng.normal(size=(count, 4))

    assert self_retrieval(texts, same, ["a"] * count) == pytest.approx(1 / count)
    assert self_retrieval(texts, different, ["a"] * count).sum() == pytest.approx(1.0)


def test_vectors_without_a_direction_divide_nothing_by_zero() -> None:
    found = self_retrieval(np.zeros((2, 3)), np.eye(2, 3), ["a", "a"])
    assert found == pytest.approx(0.5)
