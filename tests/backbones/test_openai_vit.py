"""The vision tower with weights by OpenAI's names, against OpenAI's own network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from openai_networks import VisionTransformer
from published import clip

from napari_patchioner.backbones.clip_towers import ClipVision, resample_positions
from napari_patchioner.errors import ModelError

WIDTH, DIM, PATCH, SIZE = 32, 24, 8, 32


@pytest.fixture
def state():
    return clip.openai_state(width=WIDTH, dim=DIM, patch=PATCH, size=SIZE, towers=("vision",))


@pytest.fixture
def pixels():
    return torch.randn((2, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(1))


def theirs(state, heads):
    network = VisionTransformer(SIZE, PATCH, WIDTH, 2, heads, DIM).eval()
    own = {name.removeprefix("visual."): value for name, value in state.items()}
    network.load_state_dict({name: own[name] for name in network.state_dict()})
    return network


def through(tower, pixels):
    tokens = tower.start(pixels)
    for layer in tower.layers:
        tokens = tower.attend(layer, tokens)
    return tower.finish(tokens)


@torch.inference_mode()
@pytest.mark.parametrize("heads", [1, 2])
def test_the_class_token_is_openais(state, pixels, heads):
    ours = through(
        ClipVision.from_state(state, source="here", settings={"num_attention_heads": heads}), pixels
    )[:, 0]
    torch.testing.assert_close(ours, theirs(state, heads)(pixels), atol=2e-5, rtol=1e-4)


@torch.inference_mode()
def test_a_class_embedding_added_twice_is_part_of_the_first_position(state, pixels):
    twice = through(ClipVision.from_state(state, source="here", class_twice=True), pixels)
    state["visual.positional_embedding"][0] += state["visual.class_embedding"]
    once = through(ClipVision.from_state(state, source="here"), pixels)
    torch.testing.assert_close(twice, once)


@pytest.mark.parametrize("way", ["bicubic", "bilinear"])
def test_positions_keep_their_place_on_another_grid(way):
    # A ramp down and one to the right: at twice the size they still rise, half as steeply.
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
    table = torch.zeros(17, WIDTH)
    table[1:, 0], table[1:, 1] = rows.flatten(), columns.flatten()
    larger = resample_positions(table, (8, 12), way)[1:].reshape(8, 12, WIDTH)
    down, right = larger[2:-2, :, 0].diff(dim=0), larger[:, 3:-3, 1].diff(dim=1)
    assert min(down.min(), right.min()) > 0
    np.testing.assert_allclose([down.mean(), right.mean()], [1 / 2, 1 / 3], atol=0.06)
    assert larger[..., 2:].abs().max() == 0


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("conv1.weight", "patch_embedding.weight"),
        ("proj", "visual_projection.weight"),
        ("ln_post.bias", "post_layernorm.bias"),
        ("transformer.resblocks.1.attn.in_proj_weight", r"layers.1.self_attn.k_proj.weight"),
    ],
)
def test_a_missing_weight_is_named(state, name, told):
    del state[f"visual.{name}"]
    with pytest.raises(ModelError, match=told):
        ClipVision.from_state(state, source="here")


def test_a_weight_too_many_is_named(state):
    with pytest.raises(ModelError, match="surplus"):
        ClipVision.from_state(state | {"visual.surplus": torch.zeros(1)}, source="here")


def test_towers_of_other_weights_have_other_names(state):
    first = ClipVision.from_state(state, source="here")
    state["visual.proj"] = state["visual.proj"] + 1e-3
    other = ClipVision.from_state(state, source="here")
    twice = ClipVision.from_state(state, source="here", class_twice=True)
    assert first.name != other.name
    assert len({tower.weights_name for tower in (first, other, twice)}) == 3
