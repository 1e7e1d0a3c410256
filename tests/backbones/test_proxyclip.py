from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from published import clip as published_clip
from published import dino as published_dino

from napari_patchioner.backbones.base import CLIP, IMAGENET, Preprocessing
from napari_patchioner.backbones.clip_towers import ClipVision
from napari_patchioner.backbones.proxyclip import ProxyClip, proxy_attention, to_grid
from napari_patchioner.errors import Cancelled, ModelError

GUIDES = {"vit": 8, "dinov2_with_registers": 14}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return published_clip.write(tmp_path_factory.mktemp("clip") / "whole")


@pytest.fixture(scope="module")
def guides(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guides")
    return {kind: published_dino.write(folder / kind, kind=kind)["vision"] for kind in GUIDES}


@pytest.fixture(scope="module")
def files(clip, guides):
    return clip | {"guide": guides["vit"]}


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(3).integers(0, 256, (40, 90, 3), np.uint8)


def features(seed, count=1, rows=3, columns=4):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 5, rows, columns, generator=generator) + 0.3


@given(st.integers(0, 1000), st.floats(0, 3), st.floats(0.1, 20))
def test_every_patch_shares_out_one(seed, beta, gamma):
    weights = proxy_attention(features(seed, 2), beta=beta, gamma=gamma)
    assert weights.shape == (2, 12, 12)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)


def test_the_formula():
    given_ = features(0)
    unit = torch.nn.functional.normalize(given_.flatten(2)[0], dim=0)
    similarity = (unit.T @ unit).numpy()
    logits = 3.0 * (similarity - 1.2 * similarity.mean())
    weights = np.where(logits < 0, 0, np.exp(logits))
    assert (weights == 0).any()
    expected = weights / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(proxy_attention(given_)[0], expected, atol=1e-5)


@given(st.permutations(range(12)))
def test_the_order_of_patches_carries_no_meaning(order):
    given_ = features(1)
    shuffled = given_.flatten(2)[..., order].unflatten(2, (3, 4))
    weights = proxy_attention(given_)[0]
    np.testing.assert_allclose(proxy_attention(shuffled)[0], weights[order][:, order], atol=1e-5)


def test_a_mean_over_the_batch_lets_pictures_meddle():
    both = torch.cat([features(1), features(2) + 2])
    alone = proxy_attention(both[:1])
    assert torch.equal(proxy_attention(both[:1], over_batch=True), alone)
    np.testing.assert_allclose(proxy_attention(both)[:1], alone, atol=1e-6)
    assert not np.allclose(proxy_attention(both, over_batch=True)[:1], alone, atol=1e-3)


def test_where_all_is_alike_all_counts():
    weights = proxy_attention(torch.ones(1, 5, 3, 4))
    np.testing.assert_allclose(weights, 1 / 12, atol=1e-6)


def test_values_on_the_guide_s_grid():
    values = torch.arange(6.0).reshape(1, 6, 1)
    assert torch.equal(to_grid(values, (2, 3), (2, 3)), values)
    wide = to_grid(values, (2, 3), (2, 6))[0, :, 0].reshape(2, 6)
    np.testing.assert_allclose(wide[0], [0, 0.25, 0.75, 1.25, 1.75, 2])
    np.testing.assert_allclose(wide[1] - wide[0], 3)


@pytest.mark.parametrize("kind", GUIDES)
def test_a_grid_of_37_by_37(clip, guides, picture, kind):
    backbone = ProxyClip.open(clip | {"guide": guides[kind]})
    assert backbone.patch_size == GUIDES[kind]
    assert backbone.input_size == 37 * GUIDES[kind]
    grid = backbone.encode(picture)
    assert grid.shape == grid.attention.shape == (37, 37)
    assert grid.embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(grid.embeddings, axis=-1), 1, atol=1e-5)
    assert grid.attention.sum() == pytest.approx(1, abs=1e-4)
    assert grid.cls is None


@pytest.mark.parametrize("kind", GUIDES)
def test_guided_by_what_the_guide_sees(clip, guides, picture, kind):
    backbone = ProxyClip.open(clip | {"guide": guides[kind]}, size=84, layout="aspect")
    pixels = Preprocessing(84, GUIDES[kind], "aspect", IMAGENET)(picture).pixels
    seen = backbone.guide.encode(pixels).patches.permute(2, 0, 1)[None]
    stretched = torch.nn.functional.interpolate(
        pixels, [round(side / 8) * 8 for side in pixels.shape[2:]], mode="bilinear", antialias=True
    )
    mixed = torch.nn.functional.normalize(backbone.mix(stretched, seen)[0], dim=-1)
    grid = backbone.encode(picture)
    assert grid.shape == grid.transform.grid_shape == tuple(seen.shape[2:])
    assert grid.shape[0] < grid.shape[1]
    np.testing.assert_allclose(grid.embeddings.reshape(mixed.shape), mixed, atol=1e-5)


def test_each_network_its_own_colours(files, picture):
    backbone = ProxyClip.open(files, size=32, convention="paper")
    pixels, own = (
        Preprocessing(32, 8, "square", statistics)(picture).pixels
        for statistics in (IMAGENET, CLIP)
    )
    seen = backbone.guide.encode(pixels).patches.permute(2, 0, 1)[None]
    mixed = torch.nn.functional.normalize(backbone.mix(own, seen)[0], dim=-1)
    grid = backbone.encode(picture)
    np.testing.assert_allclose(grid.embeddings.reshape(mixed.shape), mixed, atol=1e-4)
    published = ProxyClip.open(files, size=32).encode(picture)
    assert not np.allclose(published.embeddings, grid.embeddings, atol=1e-2)


@pytest.fixture
def clip_sees(monkeypatch):
    """Heights and widths of what CLIP looked at."""
    seen = []
    start = ClipVision.start
    monkeypatch.setattr(
        ClipVision,
        "start",
        lambda self, pixels, *more: (
            seen.append(tuple(pixels.shape[2:])) or start(self, pixels, *more)
        ),
    )
    return seen


@pytest.mark.parametrize("shape", [(2, 300), (300, 2), (50, 91)])
@pytest.mark.parametrize(
    ("layout", "convention"), [("aspect", "reference"), ("crop", "reference"), ("square", "paper")]
)
def test_both_networks_see_the_same(clip, guides, clip_sees, shape, layout, convention):
    guided = clip | {"guide": guides["dinov2_with_registers"]}
    backbone = ProxyClip.open(guided, size=70, layout=layout, convention=convention)
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    grid = backbone.encode(picture)
    assert np.isfinite(grid.embeddings).all()
    [(height, width)] = clip_sees
    assert height % 8 == width % 8 == 0
    rows, columns = grid.shape
    assert abs(height - 14 * rows) <= 4
    assert abs(width - 14 * columns) <= 4


def test_squares_are_seen_as_published(clip, guides, clip_sees, picture):
    guided = clip | {"guide": guides["dinov2_with_registers"]}
    ProxyClip.open(guided, size=70).encode(picture)
    assert clip_sees == [(70, 70)]


def test_a_strip_too_narrow_for_a_patch_of_clip(tmp_path, files):
    coarse = published_clip.write(tmp_path, patch=16, towers=("vision",))
    backbone = ProxyClip.open(files | coarse, size=64, layout="aspect")
    grid = backbone.encode(np.random.default_rng(0).integers(0, 256, (3, 90, 3), np.uint8))
    assert grid.shape == (1, 8)
    assert np.isfinite(grid.embeddings).all()


def test_a_blank_picture_has_numbers_too(files):
    grid = ProxyClip.open(files, size=32).encode(np.full((20, 20, 3), 255, np.uint8))
    assert np.isfinite(grid.embeddings).all()


def test_names_differ_where_grids_do(files, clip, guides):
    other = clip | {"guide": guides["dinov2_with_registers"]}
    names = [
        ProxyClip.open(files, size=56).name,
        ProxyClip.open(other, size=56).name,
        ProxyClip.open(files, size=64).name,
        ProxyClip.open(files, size=56, layout="crop").name,
        ProxyClip.open(files, size=56, beta=1.0).name,
        ProxyClip.open(files, size=56, gamma=5).name,
        ProxyClip.open(files, size=56, convention="paper").name,
    ]
    assert len(set(names)) == len(names)


def test_progress_rises_to_one_and_may_stop_the_work(files, picture):
    backbone = ProxyClip.open(files, size=32)
    told = []
    backbone.encode(picture, progress=lambda share, message: told.append((share, message)))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)

    def stop(share, _message):
        if share > 0.6:
            raise Cancelled

    with pytest.raises(Cancelled):
        backbone.encode(picture, progress=stop)


def test_sentences_share_the_space(files):
    backbone = ProxyClip.open(files, size=32)
    assert backbone.embed_text(["a dog"]).shape == (1, backbone.dim)


def test_a_size_without_a_patch_of_clip(tmp_path, files):
    coarse = published_clip.write(tmp_path, patch=16, towers=("vision",))
    with pytest.raises(ModelError, match="no room for a patch of 16"):
        ProxyClip.open(files | coarse, size=8)


def test_an_unknown_convention(files):
    with pytest.raises(ModelError, match="not 'mine'"):
        ProxyClip.open(files, convention="mine")
