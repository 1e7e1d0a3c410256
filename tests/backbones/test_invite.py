from __future__ import annotations

import numpy as np
import pytest
import torch
from published import clip as published

from napari_patchioner.backbones.clip import ClipDense, Invite
from napari_patchioner.errors import ModelError


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return published.write(tmp_path_factory.mktemp("clip") / "vision", towers=("vision",))


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(1, 3, 32, 48, generator=torch.Generator().manual_seed(7))


def changed_tokens(backbone, pixels):
    """Which patches notice that the one in row 1 and column 2 of 4 x 6 is another."""
    other = pixels.clone()
    other[..., 8:16, 16:24] *= -1
    return (backbone.tokens(other) != backbone.tokens(pixels)).any(-1)[0]


def test_where_no_layer_mixes_a_patch_is_nobody_else_s_business(files, pixels):
    noticed = changed_tokens(Invite.open(files, last=2), pixels)
    assert noticed.nonzero().flatten().tolist() == [1 + 1 * 6 + 2]


def test_layers_before_still_mix(files, pixels):
    assert changed_tokens(Invite.open(files, last=1), pixels).all()


@pytest.mark.parametrize("last", [1, 2])
def test_as_tokens_that_pass_the_last_layers_alone(files, pixels, last):
    plain, invite = ClipDense.open(files), Invite.open(files, last=last)
    tower = plain.vision
    tokens = tower.start(pixels)
    for place, layer in enumerate(tower.layers):
        if place < len(tower.layers) - last:
            tokens = tower.attend(layer, tokens)
            continue
        one_by_one = [tower.attend(layer, token) for token in tokens.split(1, dim=1)]
        tokens = torch.cat(one_by_one, dim=1)
    np.testing.assert_allclose(invite.tokens(pixels), tower.finish(tokens), atol=1e-5)


@pytest.mark.parametrize("last", [0, -1, 3])
def test_as_many_layers_as_there_are(files, last):
    with pytest.raises(ModelError, match=f"1 to 2 layers of this CLIP, not {last}"):
        Invite.open(files, last=last)
