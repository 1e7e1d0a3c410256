"""Weights are written whole or not at all, with what is known of them."""

from __future__ import annotations

import pytest
import torch
from safetensors import SafetensorError

from napari_patchioner.checkpoints import read_notes, read_state, write_state
from napari_patchioner.errors import ModelError


def test_weights_and_notes_come_back(tmp_path):
    weights = {"a": torch.arange(3.0), "b": torch.ones(2, 2).half()}
    path = write_state(tmp_path / "made.safetensors", weights, projection="abc", text="clip")
    assert read_notes(path) == {"projection": "abc", "text": "clip"}
    found = read_state(path)
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], value) for name, value in weights.items())


def test_the_same_content_is_the_same_bytes(tmp_path):
    notes = {f"note {number}": 'ünot "quoted"' for number in range(9)}
    made = [
        write_state(tmp_path / f"{n}.safetensors", {"b": torch.ones(3), "a": torch.eye(2)}, **notes)
        for n in range(4)
    ]
    assert len({path.read_bytes() for path in made}) == 1
    assert read_notes(made[0]) == notes
    assert torch.equal(read_state(made[0])["a"], torch.eye(2))


def test_no_notes_are_no_notes(tmp_path):
    assert read_notes(write_state(tmp_path / "made.safetensors", {"a": torch.ones(1)})) == {}


def test_shared_and_turned_weights_can_be_written(tmp_path):
    table = torch.arange(6.0).reshape(2, 3)
    path = write_state(
        tmp_path / "made.safetensors", {"tokens": table, "head": table, "t": table.T}
    )
    found = read_state(path)
    assert torch.equal(found["tokens"], found["head"])
    assert torch.equal(found["t"], table.T)


def test_a_failure_leaves_the_older_file_and_nothing_else(tmp_path):
    path = write_state(tmp_path / "made.safetensors", {"a": torch.ones(1)})
    with pytest.raises((SafetensorError, TypeError, ValueError)):
        write_state(path, {"a": torch.zeros(1)}, note=3)
    assert torch.equal(read_state(path)["a"], torch.ones(1))
    assert list(tmp_path.iterdir()) == [path]


def test_notes_of_what_is_no_safetensors_file(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"garbage")
    with pytest.raises(ModelError, match="missing or damaged"):
        read_notes(tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match="missing or damaged"):
        read_notes(tmp_path / "b.safetensors")


def test_a_full_disk_is_what_the_system_says(tmp_path, monkeypatch):
    def full(*_, **__):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("napari_patchioner.checkpoints.weights.save_file", full)
    with pytest.raises(OSError, match="No space left") as error:
        write_state(tmp_path / "a.safetensors", {"w": torch.zeros(2)})
    assert error.value.errno == 28
    assert list(tmp_path.iterdir()) == []
