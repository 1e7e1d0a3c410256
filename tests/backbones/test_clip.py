from __future__ import annotations

import numpy as np
import pytest
from published import clip as published

from napari_patchioner.backbones import TextTower
from napari_patchioner.backbones.base import CLIP, Preprocessing
from napari_patchioner.backbones.clip import ClipDense, Invite, MaskClip
from napari_patchioner.errors import Cancelled, ImageError, ModelError

KINDS = [ClipDense, MaskClip, Invite]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return published.write(tmp_path_factory.mktemp("clip") / "whole")


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(3).integers(0, 256, (40, 90, 3), np.uint8)


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.kind)
def backbone(request, files):
    return request.param.open(files)


def test_a_grid_is_the_tokens_of_the_prepared_picture(backbone, picture):
    grid = backbone.encode(picture)
    prepared = Preprocessing(32, 8, "square", CLIP)(picture)
    tokens = backbone.tokens(prepared.pixels)[0].numpy()
    np.testing.assert_array_equal(grid.embeddings.reshape(16, -1), tokens[1:])
    np.testing.assert_array_equal(grid.cls, tokens[0])
    assert grid.embeddings.dtype == np.float32
    assert (grid.shape, grid.dim) == ((4, 4), backbone.dim)
    assert grid.transform == prepared.transform


def test_attention_is_a_share_for_every_patch(backbone, picture):
    attention = backbone.encode(picture).attention
    assert attention.shape == (4, 4)
    assert attention.sum() == pytest.approx(1, abs=1e-5)
    assert attention.min() > 0


@pytest.mark.parametrize(
    ("layout", "size", "shape"),
    [("square", 32, (4, 4)), ("aspect", 72, (4, 9)), ("crop", 40, (5, 5)), ("aspect", 16, (1, 2))],
)
def test_every_layout_has_its_grid(files, picture, layout, size, shape):
    backbone = ClipDense.open(files, layout=layout, size=size)
    grid = backbone.encode(picture)
    assert grid.shape == grid.transform.grid_shape == grid.attention.shape == shape
    assert backbone.input_size == size


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", ["square", "aspect"])
def test_a_change_shows_most_where_it_is(files, picture, kind, layout):
    backbone = kind.open(files, layout=layout, size=48)
    before = backbone.encode(picture)
    changed = picture.copy()
    corner = before.transform.to_image([[0, 1], [1, 2]])
    (top, left), (bottom, right) = np.round(corner + 0.5).astype(int)
    changed[top:bottom, left:right] = 255 - changed[top:bottom, left:right]
    difference = np.abs(backbone.encode(changed).embeddings - before.embeddings).sum(-1)
    assert np.unravel_index(difference.argmax(), before.shape) == (0, 1)


@pytest.mark.parametrize(("patch", "side"), [(32, 7), (16, 14), (14, 16)])
def test_grids_at_the_published_size(tmp_path, picture, patch, side):
    files = published.write(tmp_path, patch=patch, size=224, layers=1, towers=("vision",))
    backbone = ClipDense.open(files)
    assert (backbone.input_size, backbone.patch_size) == (224, patch)
    assert backbone.encode(picture).shape == (side, side)


def test_names_differ_where_grids_do(files, tmp_path):
    other = published.write(tmp_path, seed=1)
    names = [
        ClipDense.open(files).name,
        ClipDense.open(other).name,
        ClipDense.open(files, size=48).name,
        ClipDense.open(files, layout="crop").name,
        ClipDense.open(files, positions="antialias").name,
        MaskClip.open(files).name,
        MaskClip.open(files, residual=False).name,
        Invite.open(files).name,
        Invite.open(files, last=2).name,
    ]
    assert len(set(names)) == len(names)


def test_the_grid_says_who_made_it_and_of_what(backbone, picture):
    grid = backbone.encode(picture)
    assert grid.backbone == backbone.name
    assert backbone.encode(picture).key == grid.key
    assert backbone.encode(255 - picture).key != grid.key
    assert backbone.encode(np.flip(picture, 1)).key != grid.key


def test_openai_s_names_give_the_same_grid(backbone, picture, tmp_path):
    other = type(backbone).open(published.write(tmp_path, layout="openai"))
    np.testing.assert_array_equal(
        other.encode(picture).embeddings, backbone.encode(picture).embeddings
    )
    assert (other.name, other.provenance) == (backbone.name, backbone.provenance)


def test_sentences_share_the_space(backbone):
    assert isinstance(backbone, TextTower)
    vectors = backbone.embed_text(["a dog", "a cat"])
    assert vectors.shape == (2, backbone.dim)
    assert backbone.provenance["text"].startswith(f"clip-text-{backbone.dim}-")


def test_text_is_not_needed_to_look(tmp_path, picture):
    files = published.write(tmp_path)
    (tmp_path / "merges.txt").unlink()
    backbone = ClipDense.open(files)
    assert backbone.encode(picture).shape == (4, 4)
    with pytest.raises(ModelError, match=r"merges\.txt"):
        backbone.embed_text(["a dog"])


def test_a_vision_tower_alone(tmp_path, picture):
    backbone = ClipDense.open(published.write(tmp_path, towers=("vision",)))
    assert backbone.encode(picture).shape == (4, 4)
    assert backbone.provenance == {}
    with pytest.raises(ModelError, match="without a text tower"):
        backbone.embed_text(["a dog"])


def test_progress_rises_to_one_and_may_stop_the_work(backbone, picture):
    told = []
    backbone.encode(picture, progress=lambda share, message: told.append((share, message)))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    assert all(message for _, message in told)

    def stop(share, _message):
        if share > 0:
            raise Cancelled

    with pytest.raises(Cancelled):
        backbone.encode(picture, progress=stop)


def test_no_picture(backbone):
    with pytest.raises(ImageError):
        backbone.encode(np.zeros((4, 4, 13)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_cut_short(tmp_path, kind, name):
    files = published.write(tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=name):
        kind.open(files)


def test_a_missing_weight_is_named(tmp_path):
    files = published.write(tmp_path, layout="openai")
    state = published.openai_state()
    del state["visual.ln_post.bias"]
    published.save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"missing: vision_model\.post_layernorm\.bias"):
        ClipDense.open(files)


def test_too_small_a_size(files):
    with pytest.raises(ModelError, match="no room for a patch of 8"):
        ClipDense.open(files, size=7)
