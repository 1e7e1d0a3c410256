from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from published import clip as published

from napari_patchioner.backbones.clip_towers import (
    POSITIONS,
    ClipVision,
    hugging_face,
    resample_positions,
)
from napari_patchioner.checkpoints import read_state
from napari_patchioner.errors import ModelError

grids = st.tuples(st.integers(1, 9), st.integers(1, 9))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return published.write(tmp_path_factory.mktemp("clip") / "vision")["clip"]


@pytest.fixture(scope="module")
def tower(folder):
    return ClipVision.open(folder)


@pytest.fixture(scope="module")
def theirs(folder):
    """The same weights in transformers' own model."""
    from transformers import CLIPConfig, CLIPVisionModelWithProjection

    settings = json.loads((folder / "config.json").read_text())
    config = CLIPConfig(**settings).vision_config
    config.projection_dim = settings["projection_dim"]
    model = CLIPVisionModelWithProjection(config).eval()
    state = read_state(folder)
    model.load_state_dict({name: state[name] for name in model.state_dict()})
    return model


def pixels(height, width, seed=0):
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(seed))


def through(tower, picture):
    tokens = tower.start(picture)
    for layer in tower.layers:
        tokens = tower.attend(layer, tokens)
    return tower.finish(tokens)


@pytest.mark.parametrize("shape", [(32, 32), (48, 48), (24, 56), (39, 33)])
@torch.inference_mode()
def test_as_transformers_sees_it(tower, theirs, shape):
    picture = pixels(*shape)
    seen = theirs(pixel_values=picture, interpolate_pos_encoding=True)
    normed = theirs.vision_model.post_layernorm(seen.last_hidden_state)
    own = through(tower, picture)
    np.testing.assert_allclose(own, theirs.visual_projection(normed), atol=1e-5)
    np.testing.assert_allclose(own[:, 0], seen.image_embeds, atol=1e-5)
    rows, columns = tower.grid_shape(picture)
    assert (rows, columns) == (shape[0] // 8, shape[1] // 8)
    assert own.shape == (2, 1 + rows * columns, tower.dim)


@torch.inference_mode()
def test_some_rows_of_a_layer(tower):
    tokens = tower.start(pixels(32, 32))
    layer = tower.layers[0]
    some = tower.attend(layer, tokens, slice(0, 3))
    np.testing.assert_allclose(some, tower.attend(layer, tokens)[:, :3], atol=1e-5)


@torch.inference_mode()
def test_openai_s_names_as_well(tower, tmp_path):
    other = ClipVision.open(published.write(tmp_path, layout="openai")["clip"])
    assert torch.equal(through(other, pixels(32, 32)), through(tower, pixels(32, 32)))
    assert other.name == tower.name


@torch.inference_mode()
def test_sizes_read_off_the_weights(tmp_path):
    folder = published.write(tmp_path, width=128, towers=("vision",))["clip"]
    told, read = ClipVision.open(folder), ClipVision.from_state(read_state(folder), source=folder)
    assert (read.input_size, read.patch_size, read.heads) == (32, 8, 2)
    assert torch.equal(through(read, pixels(32, 32)), through(told, pixels(32, 32)))


def test_a_text_tower_alone_sees_nothing(tmp_path):
    folder = published.write(tmp_path, towers=("text",))["clip"]
    with pytest.raises(ModelError, match="missing: vision_model"):
        ClipVision.open(folder)
    with pytest.raises(ModelError, match="vision tower needs"):
        ClipVision.from_state(read_state(folder), source=folder)


def test_both_layouts_are_one():
    openai = published.openai_state()
    expected = published.hf_state(openai)
    translated = hugging_face(openai)
    assert translated.keys() == expected.keys()
    assert all(torch.equal(translated[name], expected[name]) for name in expected)
    assert hugging_face(expected).keys() == expected.keys()


def test_linear_in_projections_and_file_sizes_of_openai():
    openai = published.openai_state(towers=("vision",))
    expected = hugging_face(openai)
    linear = {name.replace("in_proj_", "in_proj."): value for name, value in openai.items()}
    linear["input_resolution"] = torch.tensor(32)
    linear["visual.conv1_alpha.weight"] = torch.ones(1)
    translated = hugging_face(linear)
    extra = {"vision_model.embeddings.alpha_embedding.weight"}
    assert translated.keys() - expected.keys() == extra
    assert all(torch.equal(translated[name], expected[name]) for name in expected)


def test_a_mixture_of_layouts_is_refused():
    openai = published.openai_state(towers=("vision",))
    both = published.hf_state(openai) | openai
    with pytest.raises(ModelError, match="mixes two layouts"):
        hugging_face(both)


@given(grids, st.sampled_from(POSITIONS), st.floats(-3, 3))
def test_the_same_position_everywhere_stays(grid, way, value):
    table = torch.full((1 + 16, 2), value)
    resampled = resample_positions(table, grid, way)
    assert resampled.shape == (1 + grid[0] * grid[1], 2)
    np.testing.assert_allclose(resampled, value, atol=1e-5)


@given(grids, st.sampled_from(POSITIONS))
def test_rows_and_columns_are_not_mixed_up(grid, way):
    square = torch.randn(4, 4, 3, generator=torch.Generator().manual_seed(1))
    first = torch.zeros(1, 3)
    upright = resample_positions(torch.cat([first, square.flatten(0, 1)]), grid, way)
    turned = torch.cat([first, square.transpose(0, 1).flatten(0, 1)])
    across = resample_positions(turned, grid[::-1], way)[1:].unflatten(0, grid[::-1])
    np.testing.assert_allclose(upright[1:].unflatten(0, grid), across.transpose(0, 1), atol=1e-5)


@pytest.mark.parametrize("way", POSITIONS)
def test_the_own_grid_stays_as_it_is(way):
    table = torch.randn(17, 3)
    assert torch.equal(resample_positions(table, (4, 4), way), table)


def test_the_class_token_s_position_stays_as_it_is():
    table = torch.randn(17, 3)
    assert torch.equal(resample_positions(table, (5, 2))[0], table[0])


@pytest.mark.parametrize("count", [0, 1, 16])
def test_positions_of_no_square(count):
    with pytest.raises(ModelError, match=f"{count} positions"):
        resample_positions(torch.ones(count, 2), (2, 2))


def test_an_unknown_way():
    with pytest.raises(ModelError, match="not 'nearest'"):
        resample_positions(torch.ones(5, 2), (3, 3), "nearest")
