from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from published import talk2dino

from napari_patchioner.backbones.talk2dino import (
    KNOWN_PROJECTIONS,
    Projection,
    describe_projection,
)
from napari_patchioner.checkpoints import tensors_sha256, write_state
from napari_patchioner.errors import ModelError

DIM, TEXT = 32, 24


@pytest.fixture(scope="module")
def projection(tmp_path_factory):
    return Projection.open(talk2dino.write_projection(tmp_path_factory.mktemp("psi") / "psi.pth"))


@given(seed=st.integers(0, 99), length=st.sampled_from([0.0, 0.1, 1.0, 20.0]))
def test_the_formula(projection, seed, length):
    texts = length * np.random.default_rng(seed).normal(size=(3, TEXT))
    w1, b1, w2, b2 = (part.double().numpy() for part in talk2dino.projection_state().values())

    mapped = projection(texts)

    assert mapped.dtype == np.float32
    expected = np.tanh(texts @ w1.T + b1) @ w2.T + b2
    np.testing.assert_allclose(mapped, expected, atol=1e-5, rtol=1e-4)


def test_the_length_of_a_text_matters(projection):
    text = np.random.default_rng(0).normal(size=(1, TEXT))
    short, long = projection(text / 10)[0], projection(text)[0]
    assert short @ long / np.linalg.norm(short) / np.linalg.norm(long) < 0.99


def test_no_texts(projection):
    assert projection(np.empty((0, TEXT))).shape == (0, DIM)


def test_one_hash_in_every_layout(projection, tmp_path):
    state = talk2dino.projection_state()
    legacy = talk2dino.write_projection(tmp_path / "legacy.pth", legacy=True)
    safe = write_state(tmp_path / "psi.safetensors", state)
    whole = talk2dino.write_whole(tmp_path / "whole", dim=64)["vision"]

    assert Projection.open(legacy).hash == Projection.open(safe).hash == projection.hash
    assert projection.hash == tensors_sha256(state)
    assert Projection.open(whole).hash == tensors_sha256(talk2dino.projection_state(dim=64))


def test_two_projections_have_two_hashes(projection, tmp_path):
    other = Projection.open(talk2dino.write_projection(tmp_path / "psi.pth", seed=1))
    assert other.hash != projection.hash


def test_what_people_call_them(projection):
    known, name = next(iter(KNOWN_PROJECTIONS.items()))
    assert describe_projection(known) == name
    assert projection.label == f"an unknown projection ({projection.hash[:8]})"


def test_another_text_tower_is_refused(projection):
    with pytest.raises(ModelError, match="gives 25 numbers where the projection reads 24"):
        projection(np.ones((2, 25)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_layers.0.bias": None}, r"missing: hidden_layers\.0\.bias"),
        ({"linear_layer.weight": None}, "no Talk2DINO projection"),
        ({"linear_layer.weight": torch.ones(3)}, "no Talk2DINO projection"),
        ({"hidden_layers.0.weight": torch.ones(2, 2)}, r"hidden_layers\.0\.weight \(2, 2\)"),
        ({"hidden_layers.1.bias": torch.ones(2)}, r"unexpected: hidden_layers\.1\.bias"),
        ({"linear_layer2.bias": torch.ones(DIM)}, "mixes two layouts"),
        ({"linear_layer.bias": torch.full((DIM,), torch.nan)}, "not finite"),
    ],
)
def test_what_does_not_fit_is_named(changes, message):
    state = talk2dino.projection_state() | changes
    state = {name: value for name, value in state.items() if value is not None}
    with pytest.raises(ModelError, match=message):
        Projection(state, source="psi.pth")
