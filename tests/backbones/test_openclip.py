"""Models in OpenCLIP's form, beside what OpenCLIP 3.3 itself makes of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from open_clip_reference import TEXTS, load_open_clip, picture, reference
from published import openclip as published
from safetensors.torch import load_file, save_file
from skimage.data import chelsea
from torch.nn import functional

from napari_patchioner.backbones import TextTower
from napari_patchioner.backbones.base import CLIP, Preprocessing, resized_grid
from napari_patchioner.backbones.clip import ClipDense, Invite, MaskClip
from napari_patchioner.errors import ModelError

# The first five numbers of each vector, printed by open_clip_reference.py with OpenCLIP 3.3.0 and
# timm 1.0.31.
GOLDEN = {
    False: (
        [
            [-2.09217, 0.91479, 1.18305, -0.14826, 1.64703],
            [-2.05728, 0.85762, 1.0374, -0.05574, 2.30081],
        ],
        [
            [0.74477, -0.99341, -0.08235, 0.50346, 1.13461],
            [2.15514, -1.14588, 0.52351, 0.49123, 1.19102],
        ],
    ),
    True: (
        [
            [-0.97137, 1.98185, -0.76181, 0.68091, 0.10052],
            [-0.9689, 1.24649, -1.32158, 0.18027, 0.48393],
        ],
        [
            [-0.68973, 0.54225, -0.23758, 1.28797, -0.22277],
            [-0.26739, -0.12264, -0.33535, 1.66055, 0.4467],
        ],
    ),
}


@pytest.fixture(scope="module", params=[False, True], ids=["clip", "bert"])
def bert(request):
    return request.param


@pytest.fixture(scope="module")
def files(bert, tmp_path_factory):
    return published.write(tmp_path_factory.mktemp("openclip") / "model", bert=bert)


@pytest.fixture(scope="module")
def backbone(files):
    return MaskClip.open(files)


def test_pictures_and_texts_are_those_of_open_clip(bert, backbone):
    images, texts = GOLDEN[bert]
    seen = backbone.tokens(torch.from_numpy(picture()))[:, 0, :5]
    np.testing.assert_allclose(seen, images, atol=2e-5)
    np.testing.assert_allclose(backbone.embed_text(TEXTS)[:, :5], texts, atol=2e-5)


def test_beside_open_clip_itself(files, backbone):
    try:
        load_open_clip()
    except ImportError as error:
        pytest.skip(f"OpenCLIP is not installed: {error}")
    images, texts = reference(files["clip"])
    seen = backbone.tokens(torch.from_numpy(picture()))[:, 0]
    np.testing.assert_allclose(seen, images, atol=2e-5)
    np.testing.assert_allclose(backbone.embed_text(TEXTS), texts, atol=2e-5)


def test_texts_alone_and_in_a_batch_are_the_same(backbone):
    assert isinstance(backbone, TextTower)
    together = backbone.embed_text(TEXTS)
    alone = np.concatenate([backbone.embed_text([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert backbone.embed_text([]).shape == (0, backbone.dim)


@torch.inference_mode()
@pytest.mark.parametrize("size", [32, 48])
def test_patches_of_timms_transformer_speak_for_themselves(tmp_path, size):
    """Every step written out on the weights as timm names them."""
    files = published.write(tmp_path, bert=True)
    state = load_file(files["clip"] / "open_clip_model.safetensors")
    weights = {k.removeprefix("visual.trunk."): v for k, v in state.items()}

    def linear(name, x):
        return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(name, x):
        both = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return functional.layer_norm(x, x.shape[-1:], *both, eps=1e-6)

    prepared = Preprocessing(size, 8, "square", CLIP)(chelsea())
    side = size // 8
    stem = [weights[f"patch_embed.proj.{name}"] for name in ("weight", "bias")]
    patches = functional.conv2d(prepared.pixels, *stem, stride=8)[0].flatten(1).T
    positions = resized_grid(weights["pos_embed"][0, 1:], (side, side), "bicubic")
    first = weights["cls_token"][0] + weights["pos_embed"][0, :1]
    x = torch.cat([first, patches + positions])
    for layer in (0, 1):
        block = f"blocks.{layer}"
        q, k, v = linear(f"{block}.attn.qkv", norm(f"{block}.norm1", x)).chunk(3, dim=-1)
        if layer == 0:
            heads = [part.unflatten(1, (2, 64)).transpose(0, 1) for part in (q, k, v)]
            shares = (heads[0] @ heads[1].transpose(1, 2) / 8).softmax(-1)
            v = (shares @ heads[2]).transpose(0, 1).flatten(1)
        x = x + linear(f"{block}.attn.proj", v)
        hidden = functional.gelu(linear(f"{block}.mlp.fc1", norm(f"{block}.norm2", x)))
        x = x + linear(f"{block}.mlp.fc2", hidden)
    expected = norm("norm", x) @ state["visual.head.proj.weight"].T
    grid = MaskClip.open(files, size=size).encode(chelsea())
    assert grid.shape == (side, side)
    np.testing.assert_allclose(grid.embeddings.reshape(-1, 24), expected[1:], atol=5e-5)


def test_the_published_bin_is_the_same(bert, backbone, tmp_path):
    other = MaskClip.open(published.write(tmp_path, bert=bert, form="bin"))
    image = chelsea()
    np.testing.assert_array_equal(other.encode(image).embeddings, backbone.encode(image).embeddings)
    assert (other.name, other.provenance) == (backbone.name, backbone.provenance)


def test_names_differ_where_grids_do(bert, files, tmp_path):
    colours = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    opened = [
        MaskClip.open(files),
        MaskClip.open(files, size=48),
        MaskClip.open(files, residual=False),
        MaskClip.open(published.write(tmp_path / "seed", bert=bert, seed=5)),
        MaskClip.open(published.write(tmp_path / "colours", bert=bert, colours=colours)),
    ]
    assert len({backbone.name for backbone in opened}) == len(opened)
    assert opened[0].provenance["text"] != opened[3].provenance["text"]


def test_activations_are_as_configured(bert, backbone, tmp_path):
    quick = MaskClip.open(published.write(tmp_path, bert=bert, quick_gelu=True))
    difference = quick.encode(chelsea()).embeddings - backbone.encode(chelsea()).embeddings
    assert 1e-4 < np.abs(difference).mean() < 0.1


def test_word_pieces_from_elsewhere(tmp_path):
    files = published.write(tmp_path / "model")
    merges = (files["clip"] / "merges.txt").rename(tmp_path / "merges.txt")
    with pytest.raises(ModelError, match=r"merges\.txt"):
        MaskClip.open(files).embed_text(TEXTS)
    vectors = MaskClip.open(files | {"merges": merges}).embed_text(TEXTS)
    np.testing.assert_allclose(vectors[:, :5], GOLDEN[False][1], atol=2e-5)


@pytest.mark.parametrize(
    ("tower", "change"),
    [
        ("vision_cfg", {"attentional_pool": True}),
        ("vision_cfg", {"timm_model_name": "convnext_base", "timm_pool": "avg"}),
        ("vision_cfg", {"layers": 2, "qk_norm": True}),
        ("text_cfg", {"embed_cls": True}),
        ("text_cfg", {"hf_model_name": "roberta-base", "hf_pooler_type": "mean_pooler"}),
        ("text_cfg", {"tokenizer_kwargs": {"strip_sep_token": True}}),
    ],
)
def test_what_is_not_known_is_refused_and_named(tmp_path, tower, change):
    path = published.write(tmp_path)["clip"] / "open_clip_config.json"
    content = json.loads(path.read_text())
    content["model_cfg"][tower] |= change
    path.write_text(json.dumps(content))
    with pytest.raises(ModelError, match=f"asks for {list(change)[-1]} = "):
        MaskClip.open({"clip": tmp_path})


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "{}", '{"model_cfg": 3}', '{"model_cfg": {}}', '{"model_cfg": {"vision_cfg": 3}}'],
)
def test_a_damaged_configuration_is_named(tmp_path, content):
    (published.write(tmp_path)["clip"] / "open_clip_config.json").write_text(content)
    with pytest.raises(ModelError, match=r"open_clip_config\.json"):
        MaskClip.open({"clip": tmp_path})


@pytest.mark.parametrize("mean", ["red", [0.5, 0.5], [0.1, "a", 0.2], [None] * 3])
def test_damaged_colours_are_named(tmp_path, mean):
    files = published.write(tmp_path, colours={"mean": mean, "std": [0.2, 0.2, 0.2]})
    with pytest.raises(ModelError, match="mean and deviation"):
        MaskClip.open(files)


@pytest.mark.parametrize(
    ("dropped", "named"),
    [
        ("visual.trunk.norm.bias", "post_layernorm.bias"),
        ("visual.trunk.pos_embed", "no vision transformer"),
        ("visual.trunk.blocks.1.attn.qkv.weight", "q_proj.weight"),
        ("visual.head.proj.weight", "visual_projection.weight"),
        ("text.transformer.encoder.layer.1.output.dense.bias", "output.dense.bias"),
        ("text.transformer.embeddings.word_embeddings.weight", "word_embeddings"),
    ],
)
def test_a_missing_weight_is_named(tmp_path, dropped, named):
    files = published.write(tmp_path, bert=True)
    path = files["clip"] / "open_clip_model.safetensors"
    state = load_file(path)
    del state[dropped]
    save_file(state, path)
    with pytest.raises(ModelError, match=named):
        MaskClip.open(files).embed_text(TEXTS)


def test_both_forms_in_a_folder(tmp_path, bert, files, backbone):
    """QuiltNet's repository has a config.json too, without weights of that form."""
    published.write(tmp_path, bert=bert)
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    assert MaskClip.open({"clip": tmp_path}).name == backbone.name


def test_without_weights_or_tokenizer(tmp_path):
    files = published.write(tmp_path, bert=True)
    (tmp_path / "tokenizer.json").unlink()
    backbone = MaskClip.open(files)
    assert backbone.encode(chelsea()).shape == (4, 4)
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        backbone.embed_text(TEXTS)
    (tmp_path / "open_clip_model.safetensors").unlink()
    with pytest.raises(ModelError, match="open_clip_pytorch_model"):
        MaskClip.open(files)


def test_a_clip_without_its_word_pieces_takes_others(tmp_path):
    from published import clip

    files = clip.write(tmp_path / "clip")
    expected = ClipDense.open(files).embed_text(TEXTS)
    merges = (files["clip"] / "merges.txt").rename(tmp_path / "merges.txt")
    vectors = ClipDense.open(files | {"merges": merges}).embed_text(TEXTS)
    np.testing.assert_array_equal(vectors, expected)


def test_other_ways_through_the_last_layer(files, backbone):
    images = [kind.open(files).encode(chelsea()) for kind in (ClipDense, Invite)]
    own = backbone.encode(chelsea())
    np.testing.assert_allclose(images[0].cls, own.cls, atol=1e-5)
    np.testing.assert_allclose(images[1].embeddings, own.embeddings, atol=1e-5)
    assert np.abs(images[0].embeddings - own.embeddings).max() > 0.01
