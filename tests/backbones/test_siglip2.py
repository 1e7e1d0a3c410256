from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch
from published import siglip2
from safetensors.torch import load_file, save_file
from skimage.data import chelsea

from napari_patchioner.backbones import TextTower
from napari_patchioner.backbones.base import HALF, Preprocessing
from napari_patchioner.backbones.siglip2 import SigLip2, SigLip2Tokenizer
from napari_patchioner.errors import Cancelled, ModelError

TEXTS = ["a cat looks up.", "grey fur"]
END, PADDING = 1, 0


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return siglip2.write(tmp_path_factory.mktemp("siglip2"))


@pytest.fixture(scope="module")
def theirs(files):
    """The model as transformers makes it."""
    from transformers import SiglipConfig, SiglipModel

    folder = files["folder"]
    model = SiglipModel(SiglipConfig(**json.loads((folder / "config.json").read_text())))
    model.load_state_dict(load_file(folder / "model.safetensors"))
    return model.eval()


@pytest.fixture(scope="module")
def backbone(files):
    return SigLip2.open(files)


@pytest.fixture(scope="module")
def picture():
    return chelsea()


@pytest.fixture(scope="module")
def grid(backbone, picture):
    return backbone.encode(picture)


@pytest.fixture(scope="module")
def raw(files, picture):
    """The patch tokens as they are."""
    return SigLip2.open(files, tokens="raw").encode(picture)


def copied(files, folder, drop="", **settings):
    """The same model in another folder, without one weight and with other settings."""
    source = files["folder"]
    state = load_file(source / "model.safetensors")
    state.pop(drop, None)
    save_file(state, folder / "model.safetensors")
    config = json.loads((source / "config.json").read_text()) | settings
    (folder / "config.json").write_text(json.dumps(config))
    return {"folder": folder}


def test_a_photograph_becomes_patches(backbone, grid):
    assert grid.shape == (4, 4)
    assert grid.dim == backbone.dim == 24
    assert (backbone.input_size, backbone.patch_size) == (64, 16)
    assert grid.attention.shape == (4, 4)
    assert grid.attention.sum() == pytest.approx(1, abs=1e-5)
    assert grid.backbone == backbone.name
    np.testing.assert_allclose(grid.transform.to_grid([[299.5, 450.5]]), [[4, 4]])


@torch.inference_mode()
@pytest.mark.parametrize(
    ("options", "shape"), [({}, (4, 4)), ({"size": 96, "layout": "aspect"}, (4, 6))]
)
def test_tokens_and_pooled_picture_are_transformers(files, theirs, picture, options, shape):
    grid = SigLip2.open(files, tokens="raw", **options).encode(picture)
    size, layout = options.get("size", 64), options.get("layout", "square")
    pixels = Preprocessing(size, 16, layout, HALF)(picture).pixels
    seen = theirs.vision_model(pixel_values=pixels, interpolate_pos_encoding=True)
    assert grid.shape == shape
    tokens = seen.last_hidden_state[0]
    np.testing.assert_allclose(grid.embeddings.reshape(-1, 24), tokens, atol=2e-5)
    np.testing.assert_allclose(grid.cls, seen.pooler_output[0], atol=2e-5)


@torch.inference_mode()
def test_through_the_head_a_patch_is_a_picture_of_nothing_else(theirs, grid, raw):
    everywhere = np.broadcast_to(raw.embeddings[2, 3], (16, 24)).copy()
    pooled = theirs.vision_model.head(torch.from_numpy(everywhere)[None])
    np.testing.assert_allclose(grid.embeddings[2, 3], pooled[0], atol=2e-5)
    np.testing.assert_array_equal(grid.cls, raw.cls)


@torch.inference_mode()
def test_through_the_mlp_alone(files, theirs, raw, picture):
    through = SigLip2.open(files, tokens="mlp").encode(picture)
    head, tokens = theirs.vision_model.head, torch.from_numpy(raw.embeddings)
    expected = tokens + head.mlp(head.layernorm(tokens))
    np.testing.assert_allclose(through.embeddings, expected, atol=2e-5)


def test_texts_are_framed_as_in_training(files):
    tokenizer = SigLip2Tokenizer(files["folder"] / "tokenizer.json", 64)
    short = tokenizer.frame("a cat")
    assert len(short) == 64
    assert short[5] == END
    assert short[6:] == [PADDING] * 58
    assert tokenizer.frame("A CAT") == short
    long = tokenizer.frame("a cat " * 40)
    assert len(long) == 64
    assert long[:5] == short[:5]
    assert long[-1] == END
    assert END not in long[:-1]
    assert tokenizer.frame("") == [END] + [PADDING] * 63


@torch.inference_mode()
def test_text_is_transformers(files, backbone, theirs):
    assert isinstance(backbone, TextTower)
    tokenizer = SigLip2Tokenizer(files["folder"] / "tokenizer.json", 64)
    tokens = torch.tensor([tokenizer.frame(text) for text in TEXTS])
    expected = theirs.text_model(input_ids=tokens).pooler_output
    np.testing.assert_allclose(backbone.embed_text(TEXTS), expected, atol=2e-5)
    assert backbone.embed_text([]).shape == (0, 24)


def test_many_texts_come_in_order_and_tell(backbone):
    texts = [f"{number} cats" for number in range(40)]
    told = []
    vectors = backbone.embed_text(texts, progress=lambda share, _message: told.append(share))
    np.testing.assert_allclose(vectors[35], backbone.embed_text([texts[35]])[0], atol=1e-5)
    assert told == sorted(told)
    assert told[-1] == 1


def test_whatever_changes_a_grid_changes_the_name(files, tmp_path):
    options = [{}, {"size": 96}, {"layout": "aspect"}, {"tokens": "mlp"}, {"tokens": "raw"}]
    names = [SigLip2.open(files, **chosen).name for chosen in options]
    other = SigLip2.open(siglip2.write(tmp_path, seed=5))
    names.append(other.name)
    assert len(set(names)) == len(names)
    assert other.provenance["text"] != SigLip2.open(files).provenance["text"]


@pytest.mark.parametrize(
    "name",
    ["vision_model.head.probe", "vision_model.post_layernorm.bias", "text_model.head.weight"],
)
def test_a_missing_weight_is_named(files, tmp_path, name):
    with pytest.raises(ModelError, match=name.removeprefix("vision_model.")):
        SigLip2.open(copied(files, tmp_path, drop=name))


def test_a_missing_weight_of_the_text_tower_is_named(files, tmp_path):
    backbone = SigLip2.open(copied(files, tmp_path, drop="text_model.final_layer_norm.bias"))
    tokenizer = (files["folder"] / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(tokenizer)
    with pytest.raises(ModelError, match=r"final_layer_norm\.bias"):
        backbone.embed_text(TEXTS)


def test_a_model_of_any_size_is_refused(files, tmp_path):
    with pytest.raises(ModelError, match="fixed size"):
        SigLip2.open(copied(files, tmp_path, model_type="siglip2"))


@pytest.mark.parametrize("content", [None, "{", '{"model": {"type": "BPE"}}'])
def test_a_damaged_tokenizer_is_named(files, tmp_path, picture, content):
    backbone = SigLip2.open(copied(files, tmp_path))
    assert backbone.encode(picture).dim == 24
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        backbone.embed_text(TEXTS)


def test_an_unknown_way_is_refused(files):
    with pytest.raises(ModelError, match="tokens"):
        SigLip2.open(files, tokens="mean")


def test_progress_may_cancel(backbone, picture):
    def cancel(_fraction, _message):
        raise Cancelled

    with pytest.raises(Cancelled):
        backbone.encode(picture, progress=cancel)


def test_a_tokenizer_that_is_a_pipe_or_too_large_is_told(tmp_path):
    os.mkfifo(tmp_path / "tokenizer.json")
    with pytest.raises(ModelError, match="is a pipe"):
        SigLip2Tokenizer(tmp_path / "tokenizer.json", 64)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer.json").touch()
    os.truncate(tmp_path / "tokenizer.json", 2**28)
    with pytest.raises(ModelError, match="too large"):
        SigLip2Tokenizer(tmp_path / "tokenizer.json", 64)
