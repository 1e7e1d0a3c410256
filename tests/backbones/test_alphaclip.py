from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from published import alphaclip, clip
from skimage.data import chelsea

from napari_patchioner.backbones import RegionEncoder, TextTower
from napari_patchioner.backbones.alphaclip import AlphaClip, normalised, pixel_masks
from napari_patchioner.backbones.clip_towers import ClipText
from napari_patchioner.errors import Cancelled, ImageError, ModelError
from napari_patchioner.grids import GridTransform
from napari_patchioner.regions import Box, PatchWeights, Point, RegionSet, Trace, WholeImage, cover

TEXTS = ["A cat looks up.", "grey fur"]
REGIONS = [
    Box(20, 30, 150, 200),
    Box(200, 300, 280, 440),
    Point(100, 225),
    Trace(np.array([[50.0, 60.0], [250.0, 400.0]])),
    RegionSet((Box(0, 0, 60, 60), Box(40, 40, 120, 100))),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return alphaclip.write(tmp_path_factory.mktemp("alphaclip"))


@pytest.fixture(scope="module")
def backbone(files):
    return AlphaClip.open(files)


@pytest.fixture(scope="module")
def picture():
    return chelsea()


@pytest.fixture(scope="module")
def grid(backbone, picture):
    return backbone.encode(picture)


@pytest.fixture(scope="module")
def weights(grid):
    return [cover(region, grid.transform) for region in REGIONS]


@pytest.fixture
def passes(backbone):
    """Pictures in every pass of the network."""
    counted = []
    hook = backbone.blocks[0].register_forward_pre_hook(
        lambda _module, inputs: counted.append(len(inputs[0]))
    )
    yield counted
    hook.remove()


def test_a_photograph_becomes_cells_of_patches(backbone, grid, picture):
    assert grid.shape == (16, 16)
    assert grid.dim == backbone.dim == 24
    assert (backbone.input_size, backbone.patch_size) == (64, 4)
    assert grid.transform == GridTransform(picture.shape[:2], (16, 16))
    cells = grid.embeddings.reshape(4, 4, 4, 4, 24)
    assert (cells == cells[:, :1, :, :1]).all()
    assert len(np.unique(grid.embeddings.reshape(-1, 24), axis=0)) == 16
    assert grid.attention.shape == (16, 16)
    assert grid.attention.sum() == pytest.approx(1, abs=1e-5)
    assert grid.backbone == backbone.name
    assert grid.picture.shape == (3, 64, 64)


def test_names_with_and_without_their_prefix(files, grid, picture, tmp_path):
    prefixed = alphaclip.write(tmp_path, prefix="visual.")
    other = AlphaClip.open(prefixed).encode(picture)
    np.testing.assert_array_equal(other.embeddings, grid.embeddings)
    assert other.key == grid.key


def test_one_pass_per_picture_and_one_per_region(backbone, picture, passes):
    grid = backbone.encode(picture)
    assert passes == [1]
    weights = [cover(Point(row, 100), grid.transform) for row in range(19)]
    vectors = backbone.embed_regions(grid, weights)
    assert sum(passes) == 1 + 19
    assert max(passes) <= 8
    assert vectors.shape == (19, 24)
    assert vectors.dtype == np.float32


def test_every_mask_gives_another_vector(backbone, grid, weights):
    vectors = backbone.embed_regions(grid, weights)
    apart = np.abs(vectors[:, None] - vectors[None]).max(axis=2)
    assert apart[~np.eye(len(weights), dtype=bool)].min() > 1e-3


def test_company_and_order_change_nothing(backbone, grid, weights):
    together = backbone.embed_regions(grid, weights)
    alone = [backbone.embed_regions(grid, [region])[0] for region in reversed(weights)]
    np.testing.assert_allclose(together, np.stack(alone[::-1]), atol=1e-5)


def test_the_whole_image_is_the_class_token(backbone, grid):
    whole = backbone.embed_regions(grid, [cover(WholeImage(), grid.transform)])
    np.testing.assert_allclose(whole[0], grid.cls, atol=1e-6)


@torch.inference_mode()
def test_a_region_is_what_the_network_sees_inside_its_mask(backbone, grid, weights):
    mask = torch.zeros(1, 1, 64, 64)
    cells = weights[0].dense()
    for row, column in np.argwhere(cells):
        mask[..., 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 1
    tower = backbone.vision
    tokens = tower.start(torch.from_numpy(grid.picture)[None], masks=(mask - 0.5) / 0.26)
    for layer in tower.layers:
        tokens = tower.attend(layer, tokens)
    ours = backbone.embed_regions(grid, weights[:1])
    np.testing.assert_allclose(ours, tower.finish(tokens[:, 0]), atol=1e-5)


def test_masks_left_as_they_are(files, picture):
    reference = AlphaClip.open(files, alpha="reference")
    official = AlphaClip.open(files)
    grids = [backbone.encode(picture) for backbone in (reference, official)]
    assert np.abs(grids[0].cls - grids[1].cls).max() > 1e-3
    mask = np.array([0, 1], np.float32)
    np.testing.assert_array_equal(normalised(mask, "reference"), mask)
    np.testing.assert_allclose(normalised(mask, "official"), [-0.5 / 0.26, 0.5 / 0.26])


@given(
    arrays(float, (4, 6), elements=st.sampled_from([0.0, 0.25, 1.0, 3.0])).filter(np.any),
    st.integers(1, 3),
)
def test_a_mask_is_its_region_in_pixels(weights, cell):
    [[mask]] = pixel_masks([PatchWeights.from_dense(weights)], (4 * cell, 6 * cell))
    blocks = mask.reshape(4, cell, 6, cell)
    np.testing.assert_array_equal(blocks.min(axis=(1, 3)), weights.clip(0, 1))
    np.testing.assert_array_equal(blocks.max(axis=(1, 3)), weights.clip(0, 1))


def test_an_aspect_is_kept(files, picture):
    backbone = AlphaClip.open(files, size=96, layout="aspect", detail=2)
    grid = backbone.encode(picture)
    assert grid.shape == (8, 12)
    assert grid.picture.shape == (3, 64, 96)
    np.testing.assert_allclose(grid.transform.to_grid([[299.5, 450.5]]), [[8, 12]])
    [vector] = backbone.embed_regions(grid, [cover(REGIONS[0], grid.transform)])
    assert np.isfinite(vector).all()


def test_patches_of_14_pixels_have_cells_of_7(picture, tmp_path):
    files = alphaclip.write(tmp_path, patch=14, size=56)
    backbone = AlphaClip.open(files)
    assert backbone.patch_size == 7
    assert backbone.encode(picture).shape == (8, 8)


def test_text_is_clips(files, backbone):
    assert isinstance(backbone, TextTower)
    assert isinstance(backbone, RegionEncoder)
    tower = ClipText.open(files["clip"])
    np.testing.assert_array_equal(backbone.embed_text(TEXTS), tower.embed(TEXTS))
    assert backbone.provenance == {"text": tower.name}


def test_without_a_clip_there_is_no_text(files, picture):
    backbone = AlphaClip.open({"alpha": files["alpha"]})
    assert backbone.provenance == {}
    assert backbone.encode(picture).dim == 24
    with pytest.raises(ModelError, match="text"):
        backbone.embed_text(TEXTS)


def test_a_clip_of_another_size_is_refused(files, tmp_path):
    other = clip.write(tmp_path, dim=20, towers=("text",))
    with pytest.raises(ModelError, match="20 numbers"):
        AlphaClip.open(files | other)


def test_whatever_changes_a_grid_changes_the_name(files, tmp_path):
    options = [{}, {"size": 96}, {"layout": "aspect"}, {"alpha": "reference"}, {"detail": 1}]
    names = [AlphaClip.open(files, **chosen).name for chosen in options]
    names.append(AlphaClip.open(alphaclip.write(tmp_path, seed=5)).name)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("conv1_alpha.weight", "conv1_alpha.weight"),
        ("ln_pre.bias", "pre_layrnorm.bias"),
        ("conv1.weight", "patch_embedding.weight"),
    ],
)
def test_a_missing_weight_is_named(files, tmp_path, name, told):
    state = torch.load(files["alpha"], weights_only=True)
    del state[name]
    torch.save(state, tmp_path / "alpha.pth")
    with pytest.raises(ModelError, match=told):
        AlphaClip.open({"alpha": tmp_path / "alpha.pth"})


@pytest.mark.parametrize("options", [{"alpha": "soft"}, {"detail": 3}, {"detail": 0}])
def test_unknown_options_are_refused(files, options):
    with pytest.raises(ModelError, match=next(iter(options))):
        AlphaClip.open(files, **options)


def test_regions_of_another_grid_are_refused(backbone, grid):
    elsewhere = GridTransform(grid.transform.image_shape, (4, 4))
    with pytest.raises(ModelError, match=r"\(4, 4\)"):
        backbone.embed_regions(grid, [cover(REGIONS[0], elsewhere)])
    with pytest.raises(ModelError, match="no picture"):
        backbone.embed_regions(replace(grid, picture=None), [])


def test_no_regions_no_vectors(backbone, grid, passes):
    assert backbone.embed_regions(grid, []).shape == (0, 24)
    assert passes == []


def test_what_is_no_picture_is_refused(backbone):
    with pytest.raises(ImageError):
        backbone.encode(np.zeros((5, 5, 13)))


def test_progress_may_cancel(backbone, picture):
    def cancel(_fraction, _message):
        raise Cancelled

    with pytest.raises(Cancelled):
        backbone.encode(picture, progress=cancel)


def test_progress_may_stop_the_second_look(backbone, grid, weights, passes):
    told = []
    many = weights * 4
    backbone.embed_regions(
        grid, many, progress=lambda share, message: told.append((share, message))
    )
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert (min(shares) > 0, shares[-1]) == (True, 1)
    # After every layer of every batch.
    assert len(shares) == 2 * len(passes)
    assert {message for _, message in told} == {"encoding 20 regions"}
    before = len(passes)

    def cancel(_fraction, _message):
        raise Cancelled

    with pytest.raises(Cancelled):
        backbone.embed_regions(grid, many, progress=cancel)
    assert len(passes) == before + 1
