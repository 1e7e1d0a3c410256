"""The closed-form map between two text spaces."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from napari_patchioner.bridges import (
    LinearBridge,
    LinearMap,
    MemoryBank,
    NormalEquations,
    unit_rows,
)
from napari_patchioner.errors import ModelError


def pairs(seed, count=400, source=12, target=9, offset=0.3):
    draw = np.random.default_rng(seed)
    matrix = draw.normal(size=(source, target))
    shift = offset * draw.normal(size=target)
    x = unit_rows(draw.normal(size=(count, source)) + 0.5)
    return x, x @ matrix + shift, matrix, shift


def rotation(seed, source, target):
    draw = np.random.default_rng(seed)
    return np.linalg.qr(draw.normal(size=(max(source, target),) * 2))[0][:source, :target]


def solved(x, y, method="least-squares", pieces=5, **options):
    sums = NormalEquations(x.shape[1], y.shape[1])
    for rows in np.array_split(np.arange(len(x)), pieces):
        sums.add(x[rows], y[rows])
    return sums.solve(method, **options)


def test_a_known_map_is_found_again():
    x, y, matrix, shift = pairs(0)
    found, offset = solved(x, y)
    np.testing.assert_allclose(found, matrix, atol=1e-5)
    np.testing.assert_allclose(offset, shift, atol=1e-5)
    np.testing.assert_allclose(LinearMap(found, offset)(3 * x), y, atol=1e-5)


def test_without_an_intercept():
    x, y, matrix, _ = pairs(1, offset=0)
    found, offset = solved(x, y, intercept=False)
    np.testing.assert_allclose(found, matrix, atol=1e-5)
    np.testing.assert_array_equal(offset, 0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), source=st.integers(2, 8), target=st.integers(2, 8))
def test_a_rotation_is_found_again_and_is_orthogonal_when_asked(seed, source, target):
    wide = max(source, target)
    turn = rotation(seed, source, wide)
    x = np.random.default_rng(seed).normal(size=(60, source))
    found, _ = solved(x, x @ turn + 0.2, "orthogonal")
    np.testing.assert_allclose(found, turn, atol=1e-5)
    noisy = np.random.default_rng(seed + 1).normal(size=(60, target))
    found, _ = solved(x, noisy, "orthogonal")
    small = found.T @ found if source >= target else found @ found.T
    np.testing.assert_allclose(small, np.eye(min(source, target)), atol=1e-9)


def test_ridge_is_that_of_the_formula():
    x, y, _, _ = pairs(2, count=50)
    y = y + np.random.default_rng(3).normal(size=y.shape)
    for ridge in (1e-3, 0.1):
        found, offset = solved(x, y, ridge=ridge)
        cx, cy = x - x.mean(0), y - y.mean(0)
        expected = np.linalg.solve(cx.T @ cx / 50 + ridge * np.eye(12), cx.T @ cy / 50)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        np.testing.assert_allclose(offset, y.mean(0) - x.mean(0) @ expected, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), pieces=st.integers(1, 30))
def test_no_other_map_is_better_in_whatever_pieces_it_came(seed, pieces):
    x, y, _, _ = pairs(seed, count=40, source=4, target=3)
    draw = np.random.default_rng(seed)
    y = y + draw.normal(size=y.shape)
    matrix, offset = solved(x, y, pieces=pieces)
    error = np.square(x @ matrix + offset - y).sum()
    for _ in range(5):
        other = matrix + 0.05 * draw.normal(size=matrix.shape)
        shift = offset + 0.05 * draw.normal(size=offset.shape)
        assert np.square(x @ other + shift - y).sum() > error


def test_directions_that_no_sentence_has_stay_out():
    x, _, matrix, _ = pairs(4, offset=0)
    x[:, 3:] = 0
    found, _ = solved(x, x @ matrix, intercept=False)
    np.testing.assert_allclose(found[:3], matrix[:3], atol=1e-5)
    np.testing.assert_allclose(found[3:], 0, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"method": "magic"}, "least-squares or orthogonal"),
        ({"ridge": -1.0}, "0 or more"),
        ({"ridge": float("nan")}, "0 or more"),
    ],
)
def test_what_makes_no_sense_is_refused(change, problem):
    x, y, _, _ = pairs(5)
    with pytest.raises(ModelError, match=problem):
        solved(x, y, **change)
    with pytest.raises(ModelError, match="no sentences"):
        NormalEquations(2, 2).solve()
    with pytest.raises(ModelError, match="same sentences"):
        NormalEquations(12, 9).add(x[:3], y[:2])


def test_it_is_kept_with_both_towers(tmp_path):
    x, y, matrix, shift = pairs(6)
    stamps = {"source": {"text": "clip-text-12-abc"}, "target": {"projection": "f" * 64}}
    made = LinearMap(matrix, shift, **stamps)
    again = LinearMap.open(made.save(tmp_path / "map.safetensors"))
    np.testing.assert_array_equal(again(x), made(x))
    assert (again.source, again.target, again.hash) == (made.source, made.target, made.hash)
    assert (again.source_dim, again.target_dim) == (12, 9)
    with pytest.raises(ModelError, match="length 12"):
        again(y)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "map.safetensors"
    with pytest.raises(ModelError, match="does not exist"):
        LinearMap.open(path)
    tensors = {"matrix": torch.eye(2), "offset": torch.zeros(2)}
    save_file(tensors, path)
    with pytest.raises(ModelError, match="no linear map"):
        LinearMap.open(path)
    notes = {"format": "napari-patchioner linear map 1", "source": "{}", "target": "[1]"}
    save_file(tensors, path, metadata=notes)
    with pytest.raises(ModelError, match="damaged"):
        LinearMap.open(path)
    with pytest.raises(ModelError, match="not finite"):
        LinearMap(np.full((2, 2), np.nan))


def test_regions_are_mapped_and_brought_to_text_first_where_there_is_a_bank(tmp_path):
    x, _, _, _ = pairs(7)
    turn = rotation(8, 12, 12)
    LinearMap(turn).save(tmp_path / "map.safetensors")
    MemoryBank.build(tmp_path / "bank", [([f"sentence {n}" for n in range(9)], x[:9])])
    files = {"map": tmp_path / "map.safetensors", "bank": tmp_path / "bank"}
    regions = 5 * x[:3] + 0.01
    plain = LinearBridge.open({"map": files["map"]}).project(regions, SimpleNamespace())
    np.testing.assert_allclose(plain.vectors, unit_rows(regions) @ turn, atol=1e-5)
    assert plain.neighbours is None
    banked = LinearBridge.open(files, top_k=1).project(regions, SimpleNamespace())
    np.testing.assert_allclose(banked.vectors, unit_rows(x[:3] @ turn), atol=2e-3)
    assert [near[0][0] for near in banked.neighbours] == ["sentence 0", "sentence 1", "sentence 2"]


def test_sentences_of_another_length_are_refused(tmp_path):
    bank = MemoryBank.from_arrays(["a", "b"], np.eye(3)[:2])
    with pytest.raises(ModelError, match="length 12 but the sentences have 3"):
        LinearBridge(LinearMap(rotation(1, 12, 4)), bank)
