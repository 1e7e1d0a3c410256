from __future__ import annotations

import numpy as np
import pytest
import torch
from openai_networks import VisionTransformer
from published import clip

from napari_patchioner.backbones._openai_vit import read_vision
from napari_patchioner.errors import ModelError

WIDTH, DIM, PATCH, SIZE = 32, 24, 8, 32


@pytest.fixture
def state():
    whole = clip.openai_state(width=WIDTH, dim=DIM, patch=PATCH, size=SIZE, towers=("vision",))
    del whole["logit_scale"]
    return {name.removeprefix("visual."): value for name, value in whole.items()}


@pytest.fixture
def pixels():
    return torch.randn((2, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(1))


def theirs(state, heads):
    network = VisionTransformer(SIZE, PATCH, WIDTH, 2, heads, DIM).eval()
    network.load_state_dict(state)
    return network


@torch.inference_mode()
@pytest.mark.parametrize("heads", [1, 2])
def test_the_class_token_is_openais(state, pixels, heads):
    ours = read_vision(state, source="here", heads=heads)(pixels).projected[:, 0]
    torch.testing.assert_close(ours, theirs(state, heads)(pixels), atol=2e-5, rtol=1e-4)


@torch.inference_mode()
def test_a_class_embedding_added_twice_is_part_of_the_first_position(state, pixels):
    twice = read_vision(state, source="here", class_twice=True)(pixels).projected
    state["positional_embedding"][0] += state["class_embedding"]
    once = read_vision(state, source="here")(pixels).projected
    torch.testing.assert_close(twice, once)


@torch.inference_mode()
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_positions_keep_their_place_on_another_grid(state, interpolation):
    # A ramp down and one to the right: at twice the size they still rise, half as steeply.
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
    table = torch.zeros(17, WIDTH)
    table[1:, 0], table[1:, 1] = rows.flatten(), columns.flatten()
    state["positional_embedding"] = table
    network = read_vision(state, source="here", interpolation=interpolation)
    assert torch.equal(network._positions(4, 4), table)
    larger = network._positions(8, 12)[1:].reshape(8, 12, WIDTH)
    down, right = larger[2:-2, :, 0].diff(dim=0), larger[:, 3:-3, 1].diff(dim=1)
    assert min(down.min(), right.min()) > 0
    np.testing.assert_allclose([down.mean(), right.mean()], [1 / 2, 1 / 3], atol=0.06)
    assert larger[..., 2:].abs().max() == 0


@pytest.mark.parametrize(
    "name", ["conv1.weight", "proj", "ln_post.bias", "transformer.resblocks.1.attn.in_proj_weight"]
)
def test_a_missing_weight_is_named(state, name):
    del state[name]
    with pytest.raises(ModelError, match=name.replace("in_proj_", "in_proj.")):
        read_vision(state, source="here")


def test_a_weight_too_many_is_named(state):
    with pytest.raises(ModelError, match="surplus"):
        read_vision(state | {"surplus": torch.zeros(1)}, source="here")


def test_towers_of_other_weights_have_other_names(state):
    one = read_vision(state, source="here")
    state["proj"] = state["proj"] + 1e-3
    assert one.name != read_vision(state, source="here").name
    assert one.name != read_vision(state, source="here", class_twice=True).name
