"""Fingerprints tell files and weights apart, and only these."""

from __future__ import annotations

import hashlib
import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from napari_patchioner.checkpoints import file_sha256, read_state, tensors_sha256
from napari_patchioner.errors import ModelError

STATE = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(1.0)}


def test_a_file_is_known_by_its_bytes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"some bytes")
    assert file_sha256(path) == hashlib.sha256(b"some bytes").hexdigest()


def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    first = file_sha256(path)
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert file_sha256(path) != first


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(ModelError, match=r"cannot be read .*; check the path\."):
        file_sha256(tmp_path / "nothing")


def test_weights_are_the_same_in_any_file_order_and_layout_in_memory(tmp_path):
    save_file(STATE, tmp_path / "a.safetensors")
    torch.save(dict(reversed(STATE.items())), tmp_path / "a.pt")
    hashes = {
        tensors_sha256(STATE),
        tensors_sha256(read_state(tmp_path / "a.safetensors")),
        tensors_sha256(read_state(tmp_path / "a.pt")),
        tensors_sha256({"b": STATE["b"], "a": STATE["a"].T.contiguous().T}),
        tensors_sha256({name: value.double() for name, value in STATE.items()}),
    }
    assert len(hashes) == 1


@pytest.mark.parametrize(
    "other",
    [
        STATE | {"b": torch.tensor(1.0000001)},
        STATE | {"a": STATE["a"].reshape(3, 2)},
        {"a": STATE["a"]},
        {"a": STATE["a"], "c": STATE["b"]},
        STATE | {"c": torch.empty(0)},
    ],
    ids=["value", "shape", "fewer", "name", "more"],
)
def test_other_weights_have_another_hash(other):
    assert tensors_sha256(other) != tensors_sha256(STATE)


@given(order=st.permutations(["a", "b", "c", "d"]))
def test_order_never_counts(order):
    values = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}
    state = {name: torch.tensor(values[name]) for name in order}
    assert tensors_sha256(state) == tensors_sha256(dict(sorted(state.items())))
