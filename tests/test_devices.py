"""Devices and precisions: what there is, and models that move there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from families import FAMILIES

from napari_patchioner import load_model
from napari_patchioner.cli import main
from napari_patchioner.devices import (
    CPU,
    DEVICES,
    Placement,
    available_cores,
    choose,
    follow_spared_cores,
    product,
    spared_cores,
    torch_cores,
)
from napari_patchioner.errors import ModelError
from napari_patchioner.regions import Box

IMAGE = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
HALF = Placement("cpu", "bfloat16")


@pytest.fixture
def gpus(monkeypatch):
    """Say which GPUs this computer has."""

    def have(*names):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in names)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in names)

    return have


def test_the_processor_is_the_default():
    assert choose() == choose("cpu") == CPU == Placement("cpu", "float32")


@pytest.mark.parametrize(
    ("available", "device"),
    [([], "cpu"), (["cuda"], "cuda"), (["mps"], "mps"), (["cuda", "mps"], "cuda")],
)
def test_auto_takes_the_gpu_there_is(gpus, available, device):
    gpus(*available)
    assert choose("auto").device == device
    for name in available:
        assert choose(name, "float16") == Placement(name, "float16")


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_gpu_that_is_not_there_is_named_in_a_sentence(gpus, device):
    gpus()
    with pytest.raises(ModelError, match=f"cannot run on {device}; choose the device cpu"):
        load_model("mini", device=device)


@pytest.mark.parametrize(
    ("device", "dtype", "message"),
    [
        ("gpu", "float32", "must be auto, cpu, cuda, mps, not 'gpu'"),
        ("cpu", "int8", "dtype must be float32"),
        ("cpu", "float16", "cpu does not compute in float16"),
    ],
)
def test_what_there_is_not_is_refused(device, dtype, message):
    with pytest.raises(ModelError, match=message):
        choose(device, dtype)


def test_whole_numbers_keep_their_type():
    assert HALF.put(torch.ones(2)).dtype == torch.bfloat16
    assert HALF.put(torch.arange(2)).dtype == torch.int64
    ones = torch.ones(2)
    assert CPU.put(ones) is ones


@pytest.mark.parametrize("name", FAMILIES)
def test_every_backbone_runs_in_half_precision(name, tmp_path):
    kind = FAMILIES[name]
    files = kind.write(tmp_path, 2)
    backbone = kind.open(files, size=3 * kind.patch)
    full = backbone.encode(IMAGE)
    backbone.place(HALF)
    half = backbone.encode(IMAGE)
    assert half.embeddings.dtype == np.float32
    assert backbone.name.endswith("/bfloat16")
    assert half.key != full.key
    vectors = [grid.embeddings.reshape(-1, grid.dim) for grid in (full, half)]
    lengths = [np.linalg.norm(rows, axis=1) for rows in vectors]
    cosines = (vectors[0] * vectors[1]).sum(1) / (lengths[0] * lengths[1])
    assert np.median(cosines) > 0.9
    if "dino" not in name or "talk" in name or "txt" in name:
        assert np.isfinite(backbone.embed_text(["a cat"])).all()


def test_a_captioner_moves_as_a_whole():
    captioner = load_model("mini", dtype="bfloat16")
    assert captioner.placement == HALF
    [caption] = captioner.caption(captioner.encode(IMAGE), [Box(0, 0, 30, 30)])
    assert caption.text


@pytest.mark.parametrize("command", ["caption", "evaluate", "reproduce"])
def test_the_command_line_knows_the_devices(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert f"--device {{{','.join(DEVICES)}}}" in capsys.readouterr().out


def test_the_command_line_says_what_is_not_there(gpus, capsys, tmp_path):
    gpus()
    image = str(tmp_path / "no.png")
    assert main(["caption", image, "--regions", "whole", "--device", "cuda"]) == 2
    assert "PyTorch finds no Nvidia GPU in this computer" in capsys.readouterr().err


def test_cores_that_are_needed_no_longer_are_used_at_once():
    before, spared = torch.get_num_threads(), 1000
    torch.set_num_threads(64)
    follow_spared_cores()
    assert torch.get_num_threads() == 64
    try:
        with spared_cores(lambda: spared), torch_cores():
            assert torch.get_num_threads() == 1
            spared = 0
            assert torch.get_num_threads() == 1
            follow_spared_cores()
            assert torch.get_num_threads() == available_cores()
            spared = 1
            follow_spared_cores()
            assert torch.get_num_threads() == max(1, available_cores() - 1)
        assert torch.get_num_threads() == 64
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("limit", "spared"), [(64, 0), (64, 1), (64, 1000), (1, 0)])
def test_a_network_uses_the_cores_that_are_not_spared(limit, spared):
    before = torch.get_num_threads()
    torch.set_num_threads(limit)
    try:
        with spared_cores(spared), torch_cores():
            assert torch.get_num_threads() == max(1, min(limit, available_cores() - spared))
        with torch_cores():
            assert torch.get_num_threads() == min(limit, available_cores())
        assert torch.get_num_threads() == limit
    finally:
        torch.set_num_threads(before)


def test_products_need_one_core_and_give_back_the_others(monkeypatch) -> None:
    random = np.random.default_rng(0)
    first, second = random.normal(size=(2, 5, 70)), random.normal(size=(70, 9))
    second.setflags(write=False)
    taken, matmul, before = [], torch.matmul, torch.get_num_threads()

    def counted(*tensors):
        taken.append(torch.get_num_threads())
        return matmul(*tensors)

    monkeypatch.setattr(torch, "matmul", counted)
    torch.set_num_threads(2)
    try:
        np.testing.assert_allclose(product(first, second[:, ::2]), first @ second[:, ::2])
        assert taken == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
