from __future__ import annotations

import numpy as np
import pytest
import torch
from openai_networks import VisionTransformer
from published import clip, denseclip
from skimage.data import chelsea

from napari_patchioner.backbones import TextTower
from napari_patchioner.backbones.base import CLIP, Preprocessing
from napari_patchioner.backbones.clip import DenseClip
from napari_patchioner.backbones.clip_towers import ClipText
from napari_patchioner.errors import Cancelled, ModelError

TEXTS = ["A cat looks up.", "grey fur"]
LONG = "a small grey cat with long white whiskers lies on a rug and looks at you"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return denseclip.write(tmp_path_factory.mktemp("denseclip"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The CLIP that the checkpoint's text tower comes from."""
    sizes = {"dim": 24, "width": 32, "patch": 16, "size": 64, "heads": 1}
    return clip.write(tmp_path_factory.mktemp("clip"), **sizes)["clip"]


@pytest.fixture(scope="module")
def backbone(files):
    return DenseClip.open(files, size=96)


@pytest.fixture(scope="module")
def picture():
    return chelsea()


def test_a_photograph_becomes_patches(backbone, picture):
    grid = backbone.encode(picture)
    assert grid.shape == (6, 6)
    assert grid.dim == backbone.dim == 24
    assert (backbone.input_size, backbone.patch_size) == (96, 16)
    assert grid.attention.shape == (6, 6)
    assert grid.attention.sum() == pytest.approx(1, abs=1e-5)
    assert grid.cls.shape == (24,)
    assert grid.backbone == backbone.name
    np.testing.assert_allclose(grid.transform.to_grid([[299.5, 450.5]]), [[6, 6]])


def test_its_own_size_is_the_default(files):
    assert DenseClip.open(files).input_size == 640


def test_an_aspect_is_kept(files, picture):
    grid = DenseClip.open(files, size=96, layout="aspect").encode(picture)
    assert grid.shape == (4, 6)
    np.testing.assert_allclose(grid.transform.to_grid([[299.5, 450.5]]), [[4, 6]])


@torch.inference_mode()
@pytest.mark.parametrize(("convention", "times"), [("paper", 2), ("reference", 1)])
def test_tokens_are_openais_but_for_the_class_embedding(files, picture, convention, times):
    state = torch.load(files["weights"], weights_only=True)["state_dict"]
    theirs = VisionTransformer(64, 16, 32, 2, 1, 24).eval()
    wanted = theirs.state_dict()
    own = {name: state[f"backbone.{name}"] for name in wanted}
    own["positional_embedding"][0] += (times - 1) * own["class_embedding"]
    theirs.load_state_dict(own)
    pixels = Preprocessing(64, 16, normalisation=CLIP)(picture).pixels
    grid = DenseClip.open(files, size=64, convention=convention).encode(picture)
    np.testing.assert_allclose(grid.cls, theirs(pixels)[0], atol=2e-5)
    # OpenAI's code projects the class token alone; the other tokens are caught before.
    caught = []
    theirs.transformer.register_forward_hook(lambda *call: caught.append(call[2]))
    theirs(pixels)
    patches = theirs.ln_post(caught[0][1:, 0]) @ theirs.proj
    np.testing.assert_allclose(grid.embeddings.reshape(-1, 24), patches, atol=2e-5)


def test_text_is_clips_cut_to_the_checkpoints_positions(backbone, folder):
    assert isinstance(backbone, TextTower)
    tower = ClipText.open(folder)
    np.testing.assert_allclose(backbone.embed_text(TEXTS), tower.embed(TEXTS), atol=1e-6)
    assert backbone.provenance == {"text": tower.name}
    longer, same = backbone.embed_text([LONG, LONG + " and yawns"])
    np.testing.assert_array_equal(longer, same)


@pytest.mark.parametrize("form", ["folder", "file"])
def test_clips_positions_make_room_for_longer_texts(files, folder, form):
    given = folder if form == "folder" else folder / "model.safetensors"
    backbone = DenseClip.open(files | {"clip": given}, size=96)
    expected = ClipText.open(folder).embed([LONG, LONG + " and yawns"])
    np.testing.assert_allclose(
        backbone.embed_text([LONG, LONG + " and yawns"]), expected, atol=1e-6
    )
    assert np.abs(expected[0] - expected[1]).max() > 1e-3


def test_a_clip_that_does_not_go_on_is_refused(files, tmp_path):
    other = clip.write(tmp_path, seed=3, text_width=16, towers=("text",))
    with pytest.raises(ModelError, match="do not go on"):
        DenseClip.open(files | other)


def test_a_clip_without_text_makes_no_room(files, tmp_path):
    other = clip.write(tmp_path, towers=("vision",))
    with pytest.raises(ModelError, match="positions"):
        DenseClip.open(files | other)


def test_without_merges_there_is_no_text(files):
    backbone = DenseClip.open({"weights": files["weights"]})
    assert backbone.provenance == {}
    with pytest.raises(ModelError, match="text"):
        backbone.embed_text(TEXTS)


def test_whatever_changes_a_grid_changes_the_name(files, tmp_path):
    options = [{}, {"size": 96}, {"layout": "aspect"}, {"convention": "reference"}]
    names = [DenseClip.open(files, **chosen).name for chosen in options]
    names.append(DenseClip.open(denseclip.write(tmp_path, seed=5)).name)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("backbone.ln_post.weight", "post_layernorm.weight"),
        ("backbone.proj", "visual_projection.weight"),
    ],
)
def test_a_missing_weight_is_named(files, tmp_path, name, told):
    content = torch.load(files["weights"], weights_only=True)
    del content["state_dict"][name]
    torch.save(content, tmp_path / "less.pth")
    with pytest.raises(ModelError, match=told):
        DenseClip.open({"weights": tmp_path / "less.pth"})


def test_a_missing_weight_of_the_text_tower_is_named(files, tmp_path):
    content = torch.load(files["weights"], weights_only=True)
    del content["state_dict"]["text_encoder.ln_final.bias"]
    torch.save(content, tmp_path / "less.pth")
    backbone = DenseClip.open(files | {"weights": tmp_path / "less.pth"})
    with pytest.raises(ModelError, match=r"final_layer_norm\.bias"):
        backbone.embed_text(TEXTS)


def test_an_unknown_convention_is_refused(files):
    with pytest.raises(ModelError, match="convention"):
        DenseClip.open(files, convention="mine")


def test_progress_may_cancel(backbone, picture):
    def cancel(_fraction, _message):
        raise Cancelled

    with pytest.raises(Cancelled):
        backbone.encode(picture, progress=cancel)
