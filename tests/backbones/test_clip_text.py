from __future__ import annotations

import json
from shutil import copytree

import numpy as np
import pytest
import torch
from published import clip as published

from napari_patchioner.backbones.clip import ClipDense
from napari_patchioner.backbones.clip_towers import ClipText
from napari_patchioner.checkpoints import read_state
from napari_patchioner.decoders import ClipTokenizer
from napari_patchioner.errors import Cancelled, ModelError

TEXTS = ["a dog", "A photo of two cats on a mat, asleep &amp; warm.", "", "naïve café 42"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return published.write(tmp_path_factory.mktemp("clip") / "whole")["clip"]


@pytest.fixture(scope="module")
def tower(folder):
    return ClipText.open(folder)


@pytest.fixture(scope="module")
def vectors(tower):
    return tower.embed(TEXTS)


@pytest.fixture
def copy(folder, tmp_path):
    return copytree(folder, tmp_path / "copy")


def tokenizer(folder):
    return ClipTokenizer(folder / "merges.txt")


def padded(folder, texts, length=77, filler=0):
    rows = [tokenizer(folder).frame(text, length) for text in texts]
    return torch.tensor([row + [filler] * (length - len(row)) for row in rows])


def test_vectors_have_the_shared_length(tower, vectors):
    assert vectors.shape == (len(TEXTS), tower.dim) == (4, 24)
    assert vectors.dtype == np.float32
    assert not np.allclose(np.linalg.norm(vectors, axis=1), 1)


def test_the_hub_s_merges_are_the_published_ones(folder):
    assert (folder / "merges.txt").read_text().startswith("#version: 0.2\n")
    own, theirs = ClipTokenizer(), tokenizer(folder)
    assert [theirs.encode(text) for text in TEXTS] == [own.encode(text) for text in TEXTS]


@pytest.mark.parametrize("end", [2, 49407])
def test_as_transformers_embeds_them(folder, vectors, end):
    """Old configurations name a wrong end token, which transformers has a rule of its own for."""
    from transformers import CLIPConfig, CLIPTextModelWithProjection

    settings = json.loads((folder / "config.json").read_text())
    config = CLIPConfig(**settings).text_config
    config.projection_dim, config.eos_token_id = settings["projection_dim"], end
    model = CLIPTextModelWithProjection(config).eval()
    state = read_state(folder)
    model.load_state_dict({name: state[name].float() for name in model.state_dict()})
    with torch.inference_mode():
        full = model(input_ids=padded(folder, TEXTS, filler=49407)).text_embeds
    np.testing.assert_allclose(vectors, full, atol=1e-5)


@pytest.mark.parametrize("filler", [0, 320])
def test_what_follows_the_end_token_changes_nothing(tower, folder, vectors, filler):
    full = tower.embed_tokens(padded(folder, TEXTS, filler=filler))
    np.testing.assert_allclose(vectors, full, atol=1e-5)


def test_long_texts_are_cut_and_end(tower):
    long = "dog " * 75
    first, more = tower.embed([long, long + "cat " * 90])
    np.testing.assert_array_equal(first, more)
    assert not np.allclose(first, tower.embed(["dog " * 74])[0])


def test_many_texts_as_one_by_one(tower):
    texts = [f"{number} red {'very ' * (number % 5)}old houses" for number in range(70)]
    alone = np.concatenate([tower.embed([text]) for text in texts])
    np.testing.assert_allclose(tower.embed(texts), alone, atol=1e-5)


def test_no_texts_no_vectors(tower):
    assert tower.embed([]).shape == (0, tower.dim)


def test_progress_rises_to_one_and_may_stop_the_work(tower):
    told = []
    tower.embed(["a"] * 130, progress=lambda share, message: told.append((share, message)))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    # Before every batch and after every layer of it, so that nobody waits long to cancel.
    assert len(set(shares)) == 1 + 3 * 2
    assert told[1 + 2 + 1][1] == "64 of 130 sentences"

    def stop(_share, _message):
        raise Cancelled

    with pytest.raises(Cancelled):
        tower.embed(["a"], progress=stop)


def test_openai_s_names_as_well(tower, vectors, tmp_path):
    other = ClipText.open(published.write(tmp_path, layout="openai")["clip"])
    np.testing.assert_array_equal(other.embed(TEXTS), vectors)
    assert other.name == tower.name


def test_a_file_of_torch_as_well(tower, vectors, tmp_path):
    other = ClipText.open(published.write(tmp_path, form="bin")["clip"])
    np.testing.assert_array_equal(other.embed(TEXTS), vectors)
    assert other.name == tower.name


def test_a_text_tower_alone(tower, vectors, tmp_path):
    # Its draws come after those of the vision tower, so the same weights are taken from the whole.
    state = published.hf_state(published.openai_state())
    alone = {name: value for name, value in state.items() if name.startswith("text_")}
    other = published.write(tmp_path)["clip"]
    published.save_file(alone, other / "model.safetensors")
    settings = json.loads((other / "config.json").read_text())
    text = settings["text_config"] | {"projection_dim": settings["projection_dim"]}
    (other / "config.json").write_text(json.dumps(text))
    np.testing.assert_array_equal(ClipText.open(other).embed(TEXTS), vectors)


def test_settings_as_the_first_models_have_them(copy, vectors):
    """Beside sizes they list every default of a text generator, and some sizes twice."""
    settings = json.loads((copy / "config.json").read_text())
    for part in ("text_config", "vision_config"):
        sizes = settings[part]
        settings[f"{part}_dict"] = {
            name: value
            for name, value in sizes.items()
            if name.startswith(("hidden_s", "num_", "i"))
        }
        if part == "vision_config":
            settings[f"{part}_dict"]["patch_size"] = sizes["patch_size"]
        sizes |= {"return_dict": True, "top_k": 50, "temperature": 1.0, "pruned_heads": {}}
        sizes |= {"id2label": {"0": "LABEL_0"}, "torch_dtype": None, "bad_words_ids": None}
    (copy / "config.json").write_text(json.dumps(settings))
    np.testing.assert_array_equal(ClipText.open(copy).embed(TEXTS), vectors)
    assert ClipDense.open({"clip": copy}).patch_size == 8


def test_other_weights_have_another_name(tower, tmp_path):
    assert ClipText.open(published.write(tmp_path, seed=1)["clip"]).name != tower.name


def test_sizes_read_off_the_weights(folder):
    from transformers import CLIPTextConfig

    state = published.openai_state(text_width=128, towers=("text",))
    state["token_embedding.weight"] = state["token_embedding.weight"][-99:]
    config = CLIPTextConfig(
        vocab_size=99,
        hidden_size=128,
        intermediate_size=512,
        projection_dim=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        bos_token_id=97,
        eos_token_id=98,
    )
    tokens = torch.tensor([[97, 3, 5, 98], [97, 98, 0, 0]])
    told = ClipText.from_state(state, tokenizer(folder), source="here", config=config)
    read = ClipText.from_state(state, tokenizer(folder), source="here")
    assert torch.equal(read.embed_tokens(tokens), told.embed_tokens(tokens))


def test_a_missing_weight_is_named(copy):
    state = read_state(copy)
    del state["text_model.encoder.layers.1.mlp.fc1.bias"]
    published.save_file(state, copy / "model.safetensors")
    with pytest.raises(
        ModelError, match=r"missing: text_model\.encoder\.layers\.1\.mlp\.fc1\.bias"
    ):
        ClipText.open(copy)


def test_a_weight_too_many_is_named(copy):
    state = read_state(copy)
    state["text_model.embeddings.prompt"] = torch.ones(3)
    published.save_file(state, copy / "model.safetensors")
    with pytest.raises(ModelError, match=r"unexpected: text_model\.embeddings\.prompt"):
        ClipText.open(copy)


def test_a_vision_tower_alone_has_no_text(tmp_path):
    folder = published.write(tmp_path, towers=("vision",))["clip"]
    with pytest.raises(ModelError, match="missing: text_model"):
        ClipText.open(folder)
    with pytest.raises(ModelError, match="text tower needs"):
        ClipText.from_state(read_state(folder), tokenizer(folder), source=folder)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "merges.txt"])
def test_a_file_cut_short(copy, name):
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=name):
        ClipText.open(copy)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "merges.txt"])
def test_a_file_not_there(copy, name):
    (copy / name).unlink()
    with pytest.raises(ModelError, match=name):
        ClipText.open(copy)


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"model_type": "siglip"}, "kind 'siglip', which has no text tower of CLIP"),
        ({"model_type": "clip_vision_model"}, "has no text tower"),
        (
            {"model_type": "clip", "text_config": {"hidden_size": "big"}},
            "hidden_size is big, which is no size",
        ),
        (
            {"model_type": "clip_text_model", "num_attention_heads": 7},
            "no CLIP configuration|makes no network",
        ),
        ({"model_type": "clip_text_model", "hidden_act": "loud"}, "makes no network"),
        ([], "holds no settings"),
    ],
)
def test_settings_of_something_else(copy, settings, complaint):
    (copy / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match=complaint):
        ClipText.open(copy)


def test_more_tokens_than_there_are_positions(tower):
    with pytest.raises(ModelError, match="78 tokens are more than the 77"):
        tower.embed_tokens(torch.zeros(1, 78, dtype=torch.int64))
