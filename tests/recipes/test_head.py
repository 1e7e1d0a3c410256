from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_patchioner.regions import Box, Mask
from recipes.mini.crossval import FOLDS, fold_head, fold_of, folds_of
from recipes.mini.head import DEEP, find_basis, fit_reading, one_hot, region_weights
from recipes.mini.pooled import Pooled, Tags
from recipes.mini.regions import coverage, windows
from recipes.mini.zeroshot import UNMENTIONED, UNMENTIONED_STUFF, allowed, share_out

DIM = DEEP + 4


def make_pooled(rows, categories, **changes):
    count = len(rows)
    parts = {
        "features": rows,
        "images": np.array(["a.jpg"] * count),
        "categories": np.array(categories),
        "kinds": np.array(["mask"] * count),
        "areas": np.full(count, 0.1, np.float32),
        "copies": np.zeros(count, int),
        "clean": np.ones(count, bool),
    }
    return Pooled(**(parts | changes))


def test_a_reading_tells_apart_what_differs():
    generator = np.random.default_rng(0)
    rows = np.zeros((120, DIM), np.float32)
    rows[:, DEEP:] = generator.normal(size=(120, 4))
    categories = np.array(["cat", "dog"])[(rows[:, DEEP] > 0).astype(int)]
    pooled = make_pooled(rows, categories)
    targets = one_hot(pooled.categories, ("cat", "dog"))
    basis = find_basis(rows, 4)
    inputs = basis(pooled.features)
    readings = [fit_reading(inputs, targets, region_weights(pooled), basis) for _ in range(2)]
    logits = readings[0].logits(rows)
    assert (np.array(["cat", "dog"])[logits.argmax(1)] == categories).mean() > 0.9
    assert np.array_equal(readings[0].weights, readings[1].weights)


def test_a_box_and_its_jittered_copies_weigh_as_much_as_one_mask():
    pooled = make_pooled(
        np.zeros((5, 1), np.float32),
        ["cat"] * 5,
        kinds=np.array(["box"] * 4 + ["mask"]),
        copies=np.array([0, 1, 2, 3, 0]),
    )
    weights = region_weights(pooled)
    assert weights[:4].sum() == pytest.approx(weights[4])


def test_masks_and_boxes_cover_the_same():
    pixels = np.ones((20, 30), bool)
    mask = Mask(pixels, offset=(10, 15))
    box = Box(9.5, 14.5, 29.5, 44.5)
    assert np.allclose(coverage(mask, (60, 80), (7, 9)), coverage(box, (60, 80), (7, 9)), atol=1e-5)


def test_cover_is_the_share_of_the_cell():
    assert coverage(Box(-0.5, -0.5, 4.5, 9.5), (10, 10), (1, 2)).tolist() == [0.5, 0.5]


def test_windows_are_weighted_means():
    for window in windows("a.jpg", (30, 40)):
        assert window.weights.sum() == pytest.approx(1, abs=1e-5)
        assert window.category == ""


@given(st.text())
def test_folds_are_fixed_by_the_name(name):
    assert 0 <= fold_of(name) < FOLDS
    assert fold_of(name) == fold_of(name)


def test_folds_are_of_similar_size(tmp_path):
    counts = np.bincount(folds_of([f"{number:012d}.jpg" for number in range(500)]), minlength=FOLDS)
    assert counts.min() > 60
    assert (
        fold_head(tmp_path, "mini", "7.jpg").name == f"head_mini_fold{fold_of('7.jpg')}.safetensors"
    )


def test_only_what_was_said_is_allowed():
    outputs = ("cat", "dog", "sky", "grass")
    told = Tags(frozenset({"cat"}), False, ("a cat under a blue sky",))
    assert allowed(told, outputs).tolist() == pytest.approx([1, 0, 1, UNMENTIONED_STUFF])
    complete = Tags(frozenset({"cat", "grass"}), True, ("a cat under a blue sky",))
    assert allowed(complete, outputs).tolist() == [1, 0, 0, 1]
    some = Tags(frozenset({"cat"}), False, (), things_known=False)
    assert allowed(some, outputs[:2]).tolist() == pytest.approx([1, UNMENTIONED])


def test_every_tag_gets_a_share_and_nothing_else_any():
    may = np.array([[1, 1, 0]], np.float32)
    scores = np.tile(np.array([5, 0, 9], np.float32), (20, 1))
    shares = share_out(scores, may, np.zeros(20, int))
    assert np.allclose(shares.sum(1), 1)
    assert shares[:, 2].max() < 1e-6
    assert shares[:, 1].sum() > 1


def test_pooled_fields_are_all_per_example():
    pooled = make_pooled(np.zeros((3, 1), np.float32), ["cat"] * 3)
    assert {len(getattr(pooled, field.name)) for field in fields(Pooled)} == {len(pooled)}
