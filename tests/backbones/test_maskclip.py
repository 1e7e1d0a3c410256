from __future__ import annotations

import numpy as np
import pytest
import torch
from published import clip as published
from torch.nn import functional

from napari_patchioner.backbones.clip import ClipDense, Invite, MaskClip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return published.write(tmp_path_factory.mktemp("clip") / "vision", towers=("vision",))


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(2, 3, 40, 24, generator=torch.Generator().manual_seed(5))


def test_the_official_value_path_is_invite_with_one_layer(files, pixels):
    mask, invite = (kind.open(files).tokens(pixels) for kind in (MaskClip, Invite))
    np.testing.assert_allclose(mask[:, 1:], invite[:, 1:], atol=1e-5)
    assert not np.allclose(mask[:, 0], invite[:, 0], atol=1e-2)


def test_the_class_token_is_clip_s_own(files, pixels):
    mask, plain = (kind.open(files).tokens(pixels) for kind in (MaskClip, ClipDense))
    np.testing.assert_allclose(mask[:, 0], plain[:, 0], atol=1e-5)
    assert not np.allclose(mask[:, 1:], plain[:, 1:], atol=1e-2)


def test_without_residual_only_values_are_left(tmp_path, pixels):
    files = published.write(tmp_path, layers=1, layout="openai", towers=("vision",))
    backbone = MaskClip.open(files, residual=False)
    state = published.openai_state(layers=1, towers=("vision",))

    def norm(values, name):
        weight, bias = (state[f"visual.{name}.{part}"] for part in ("weight", "bias"))
        return functional.layer_norm(values, weight.shape, weight, bias)

    block = "transformer.resblocks.0"
    entering = norm(backbone.vision.start(pixels), f"{block}.ln_1")
    values = functional.linear(
        entering,
        state[f"visual.{block}.attn.in_proj_weight"][64:],
        state[f"visual.{block}.attn.in_proj_bias"][64:],
    )
    out = f"visual.{block}.attn.out_proj"
    values = functional.linear(values, state[f"{out}.weight"], state[f"{out}.bias"])
    expected = norm(values, "ln_post") @ state["visual.proj"]
    np.testing.assert_allclose(backbone.tokens(pixels)[:, 1:], expected[:, 1:], atol=1e-5)
