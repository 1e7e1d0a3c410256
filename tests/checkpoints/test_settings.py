"""Settings of networks that cannot be are refused before anything is made of them."""

from __future__ import annotations

import json
import os

import pytest

from napari_patchioner.backbones.clip_towers import tower_config
from napari_patchioner.bridges.language_models import read_config
from napari_patchioner.checkpoints import read_settings
from napari_patchioner.errors import ModelError

GOOD = {
    "model_type": "clip_vision_model",
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "patch_size": 16,
    "image_size": [224, 224],
    "projection_dim": None,
    "vocab_size": 49408,
}


def test_settings_of_real_networks_are_read(tmp_path):
    path = tmp_path / "config.json"
    for settings in (GOOD, {"text_config": GOOD, "vision_config": GOOD}):
        path.write_text(json.dumps(settings))
        assert read_settings(path) == read_config(tmp_path) == settings


@pytest.mark.parametrize(
    "changed",
    [
        {"patch_size": 0},
        {"patch_size": -16},
        {"patch_size": [16, 0]},
        {"patch_size": "16"},
        {"patch_size": True},
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": 1e300},
        {"hidden_size": 10**30},
        {"hidden_size": float("inf")},
        {"image_size": 10**7},
        {"hidden_size": 65536, "num_hidden_layers": 500},
        {"vision_config": {"patch_size": 0}},
        {"vocab_size": 4_000_000, "hidden_size": 60_000},
    ],
)
def test_absurd_sizes_are_told_in_a_sentence(tmp_path, changed):
    (tmp_path / "config.json").write_text(json.dumps(GOOD | changed))
    for read in (read_config, lambda folder: tower_config(folder, "vision")):
        with pytest.raises(ModelError) as caught:
            read(tmp_path)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        "[" * 100_000,
        '{"a":' * 100_000,
        f'{{"patch_size": {"9" * 5000}}}',
        "\ufeff{",
        "{",
    ],
)
def test_what_is_no_settings_is_told(tmp_path, text):
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match=r"config\.json"):
        read_settings(tmp_path / "config.json")


def test_settings_come_from_a_plain_file(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    for path in (tmp_path / "config.json", "/dev/zero", tmp_path / "none.json", tmp_path):
        with pytest.raises(ModelError):
            read_settings(path)
    (tmp_path / "large.json").write_bytes(b" " * 2**23 + b"{}")
    with pytest.raises(ModelError, match="too large"):
        read_settings(tmp_path / "large.json")
