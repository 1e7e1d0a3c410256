"""The server that a person has set up: what is kept of it, and models that are on it."""

from __future__ import annotations

import json
import stat
import sys
from dataclasses import replace

import pytest
from chat_server import serving

from napari_patchioner.describers import DESCRIBE, Describer
from napari_patchioner.errors import ModelError
from napari_patchioner.models import add_model, available_models, load_model, remove_model
from napari_patchioner.models.catalog import parse_preset, preset_text
from napari_patchioner.models.servers import (
    KEY,
    ServerSettings,
    allow_host,
    forget_settings,
    read_settings,
    revoke_host,
    settings_file,
    write_settings,
)
from napari_patchioner.models.store import HOME

ELSEWHERE = "http://gpu.example:8000"
PRESET = """
id = "beside"
title = "A model beside"
note = "Asked on this machine."
licence = "its own"

[server]
address = "{address}"
model = "tiny-vision"
prompt = "What is {{size}} large?"
"""


@pytest.fixture(autouse=True)
def _own_store(tmp_path, monkeypatch):
    monkeypatch.setenv(HOME, str(tmp_path / "store"))
    monkeypatch.delenv(KEY, raising=False)


def test_nothing_is_set_up_at_first():
    assert read_settings() == ServerSettings()
    assert not read_settings().is_set_up
    assert not settings_file().exists()
    with pytest.raises(ModelError, match="No server is set up"):
        load_model("server:")


def test_settings_are_kept_for_their_owner_alone():
    settings = ServerSettings("http://127.0.0.1:1", "llava", "{size}?", "sk-secret", (ELSEWHERE,))
    write_settings(settings)
    assert read_settings() == replace(settings, address="http://127.0.0.1:1/v1")
    if sys.platform != "win32":
        assert stat.S_IMODE(settings_file().stat().st_mode) == 0o600
    assert "sk-secret" not in repr(settings)
    forget_settings()
    assert read_settings() == ServerSettings()


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"address": 3}', '{"address": "ftp://x"}', '{"prompt": "{a.b}"}']
)
def test_damaged_settings_are_refused_in_one_sentence(text):
    settings_file().parent.mkdir(parents=True)
    settings_file().write_text(text)
    with pytest.raises(ModelError, match=r"is damaged; delete it with .* and set the server up"):
        read_settings()


def test_a_host_is_allowed_and_revoked():
    write_settings(ServerSettings(f"{ELSEWHERE}/v1", "llava"))
    with pytest.raises(ModelError, match="is not this machine"):
        read_settings().endpoint().check()
    assert allow_host(f"{ELSEWHERE}/v1") == ELSEWHERE
    read_settings().endpoint().check()
    with pytest.raises(ModelError, match="is not this machine"):
        read_settings().endpoint("http://gpu.example:9000").check()
    assert revoke_host(ELSEWHERE) == ELSEWHERE
    with pytest.raises(ModelError, match="is not this machine"):
        read_settings().endpoint().check()
    with pytest.raises(ModelError, match="was not allowed"):
        revoke_host(ELSEWHERE)


def test_the_key_goes_to_its_own_host_and_no_other(monkeypatch):
    settings = ServerSettings("http://127.0.0.1:1", key="sk-secret")
    assert settings.endpoint().key == "sk-secret"
    assert settings.endpoint("http://127.0.0.1:1/other").key == "sk-secret"
    assert settings.endpoint("http://127.0.0.1:2").key == ""
    monkeypatch.setenv(KEY, "sk-other")
    assert settings.endpoint().key == "sk-other"
    assert settings.endpoint("http://127.0.0.1:2").key == ""


def test_a_model_on_a_server_is_loaded_by_its_name():
    write_settings(ServerSettings("http://127.0.0.1:1", "llava"))
    assert isinstance(load_model("server:"), Describer)
    assert load_model("server:").server.model == "llava"
    other = load_model("server:qwen:7b@http://127.0.0.1:2").server
    assert (other.model, other.endpoint.address) == ("qwen:7b", "http://127.0.0.1:2/v1")
    assert load_model("server:@http://127.0.0.1:2").server.model == ""
    assert load_model("server:llava@x").server.model == "llava@x"


def test_a_preset_of_a_server_is_a_model_like_others(tmp_path, chat_or_none):
    folder = tmp_path / "beside"
    folder.mkdir()
    text = PRESET.format(address=chat_or_none.url)
    (folder / "preset.toml").write_text(text)
    preset = add_model(folder)
    assert parse_preset(preset_text(preset), source="again").server == preset.server
    [card] = [card for card in available_models() if card.id == "beside"]
    assert card.installed
    assert chat_or_none.paths == []
    model = load_model("beside")
    assert isinstance(model, Describer)
    assert model.server.prompt == "What is {size} large?"
    remove_model("beside")
    assert "beside" not in [card.id for card in available_models()]


@pytest.fixture
def chat_or_none():
    with serving() as chat:
        yield chat


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("{{size}}", "{{size.real}}"), "no field"),
        (("{address}", "ftp://x"), "no address"),
        (('model = "tiny-vision"\n', ""), 'needs model = "some text"'),
        (("[server]", '[files]\nx = {{path = "a", where = "b"}}\n[server]'), "must not have"),
    ],
)
def test_a_preset_that_makes_no_sense_is_refused(change, says):
    text = PRESET.replace(*change).format(address="http://127.0.0.1:1")
    with pytest.raises(ModelError, match=says):
        parse_preset(text, source="preset.toml")


def test_a_preset_of_another_host_is_not_asked_unless_that_is_allowed(tmp_path):
    (tmp_path / "preset.toml").write_text(PRESET.format(address=ELSEWHERE))
    add_model(tmp_path)
    with pytest.raises(ModelError, match="is not this machine"):
        load_model("beside").server.endpoint.check()
    allow_host(ELSEWHERE)
    load_model("beside").server.endpoint.check()


def test_the_default_prompt_stands_where_none_is_given():
    write_settings(ServerSettings("http://127.0.0.1:1", prompt="  "))
    assert read_settings().prompt == DESCRIBE
    assert json.loads(settings_file().read_text())["prompt"] == DESCRIBE
