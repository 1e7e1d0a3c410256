from __future__ import annotations

import numpy as np
import pytest
import torch
from openai_networks import ModifiedResNet
from published import clip, regionclip
from scipy.special import softmax
from skimage.data import chelsea

from napari_patchioner.backbones import TextTower
from napari_patchioner.backbones.clip_towers import ClipText
from napari_patchioner.backbones.regionclip import RegionClip, read_resnet
from napari_patchioner.errors import Cancelled, ModelError

TEXTS = ["A cat looks up.", "grey fur"]
BLOCKS, WIDTH, DIM, SIDE = (2, 1, 1, 1), 4, 24, 3


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return regionclip.write(tmp_path_factory.mktemp("regionclip"))


@pytest.fixture(scope="module")
def backbone(files):
    return RegionClip.open(files, size=128)


@pytest.fixture(scope="module")
def picture():
    return chelsea()


@pytest.fixture(scope="module")
def state():
    return regionclip.resnet_state(seed=1, dim=DIM, width=WIDTH, blocks=BLOCKS, side=SIDE)


@pytest.fixture(scope="module")
def network(state):
    return read_resnet(state, source="here")


@pytest.fixture(scope="module")
def pixels():
    shape = (2, 3, 32 * SIDE, 32 * SIDE)
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


@torch.inference_mode()
def test_the_pooled_picture_is_openais(state, network, pixels):
    heads = 32 * WIDTH // 64
    theirs = ModifiedResNet(BLOCKS, DIM, heads, 32 * SIDE, WIDTH).eval()
    theirs.load_state_dict(state)
    torch.testing.assert_close(network(pixels).whole, theirs(pixels), atol=2e-5, rtol=1e-4)


@torch.inference_mode()
def test_a_place_is_the_attention_pool_queried_there(state, network, pixels):
    features = network.cells(pixels)[0].flatten(1).T.numpy().astype(float)
    weights = {
        name.removeprefix("attnpool."): value.numpy().astype(float)
        for name, value in state.items()
        if name.startswith("attnpool.")
    }
    tokens = np.vstack([features.mean(axis=0), features]) + weights["positional_embedding"]

    def project(part, values):
        return values @ weights[f"{part}_proj.weight"].T + weights[f"{part}_proj.bias"]

    place, heads = 5, 2
    query = project("q", tokens[1 + place]).reshape(heads, -1)
    keys, values = (project(part, tokens).reshape(len(tokens), heads, -1) for part in "kv")
    shares = softmax(np.einsum("hd,phd->hp", query, keys) / query.shape[1] ** 0.5, axis=1)
    mixed = np.einsum("hp,phd->hd", shares, values).ravel()
    ours = network(pixels).local[0, place]
    np.testing.assert_allclose(ours, project("c", mixed), atol=2e-5)


def test_a_photograph_becomes_places(backbone, picture):
    grid = backbone.encode(picture)
    assert grid.shape == (4, 4)
    assert grid.dim == backbone.dim == 24
    assert (backbone.input_size, backbone.patch_size) == (128, 32)
    np.testing.assert_allclose(np.linalg.norm(grid.embeddings, axis=2), 1, atol=1e-5)
    assert np.linalg.norm(grid.cls) == pytest.approx(1, abs=1e-5)
    assert grid.attention.sum() == pytest.approx(1, abs=1e-5)
    assert grid.backbone == backbone.name
    np.testing.assert_allclose(grid.transform.to_grid([[299.5, 450.5]]), [[4, 4]])


def test_lengths_may_stay(files, backbone, picture):
    raw = RegionClip.open(files, size=128, normalize=False).encode(picture)
    lengths = np.linalg.norm(raw.embeddings, axis=2, keepdims=True)
    assert np.ptp(lengths) > 1e-3
    grid = backbone.encode(picture)
    np.testing.assert_allclose(raw.embeddings / lengths, grid.embeddings, atol=1e-6)


def test_an_aspect_is_kept(files, picture):
    grid = RegionClip.open(files, size=192, layout="aspect").encode(picture)
    assert grid.shape == (4, 6)


def test_its_own_size_is_the_default(files):
    assert RegionClip.open(files).input_size == 512


def test_openais_names_are_known_too(files, backbone, picture, tmp_path):
    other = RegionClip.open(regionclip.write(tmp_path, layout="openai"), size=128)
    assert other.name == backbone.name
    np.testing.assert_array_equal(
        other.encode(picture).embeddings, backbone.encode(picture).embeddings
    )
    np.testing.assert_array_equal(other.embed_text(TEXTS), backbone.embed_text(TEXTS))


def test_text_is_clips(backbone, tmp_path):
    assert isinstance(backbone, TextTower)
    tower = ClipText.open(clip.write(tmp_path, heads=1, towers=("text",))["clip"])
    np.testing.assert_allclose(backbone.embed_text(TEXTS), tower.embed(TEXTS), atol=1e-6)
    assert backbone.provenance == {"text": tower.name}


def test_without_merges_there_is_no_text(files):
    backbone = RegionClip.open({"weights": files["weights"]})
    assert backbone.provenance == {}
    with pytest.raises(ModelError, match="text"):
        backbone.embed_text(TEXTS)


def test_whatever_changes_a_grid_changes_the_name(files, tmp_path):
    options = [{}, {"size": 96}, {"layout": "aspect"}, {"normalize": False}]
    names = [RegionClip.open(files, **chosen).name for chosen in options]
    names.append(RegionClip.open(regionclip.write(tmp_path, seed=5)).name)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "name", ["backbone.layer1.1.bn2.running_var", "backbone.attnpool.c_proj.weight"]
)
def test_a_missing_weight_is_named(files, tmp_path, name):
    content = torch.load(files["weights"], weights_only=True)
    del content["model"][name]
    torch.save(content, tmp_path / "less.pth")
    with pytest.raises(ModelError, match=name.removeprefix("backbone.")):
        RegionClip.open({"weights": tmp_path / "less.pth"})


def test_a_vision_transformer_is_refused(tmp_path):
    torch.save(clip.openai_state(), tmp_path / "vit.pth")
    with pytest.raises(ModelError, match="attention pool"):
        RegionClip.open({"weights": tmp_path / "vit.pth"})


def test_progress_may_cancel(backbone, picture):
    def cancel(_fraction, _message):
        raise Cancelled

    with pytest.raises(Cancelled):
        backbone.encode(picture, progress=cancel)
