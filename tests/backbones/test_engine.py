"""Backbones on ONNX Runtime: the same answers, converted once, torch wherever it cannot be."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from families import FAMILIES
from skimage import data

from napari_patchioner import load_model
from napari_patchioner.backbones import engine
from napari_patchioner.cli import main
from napari_patchioner.devices import CPU, ENGINE, choose
from napari_patchioner.errors import Cancelled, ModelError
from napari_patchioner.regions import Box, WholeImage

COFFEE = data.coffee()
REGIONS = [WholeImage(), Box(100, 150, 300, 400), Box(20, 20, 60, 70)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return where engines are kept, and let how busy this computer is decide nothing."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    monkeypatch.setenv("NAPARI_PATCHIONER_CACHE", str(tmp_path))
    monkeypatch.setattr(engine, "MOST_TIME", float("inf"))
    return engine.engine_folder()


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_embedded_model_says_the_same_and_is_converted_once(folder, mini, capsys):
    heard = []
    captioner = load_model("mini", lambda _, message: heard.append(message), engine="auto")
    assert captioner.backbone.engine is not None
    assert any("once" in message for message in heard)
    grid, expected = captioner.encode(COFFEE), mini.encode(COFFEE)
    # A grid of one may come out of the cache for the other.
    assert grid.key == expected.key
    np.testing.assert_allclose(grid.embeddings, expected.embeddings, atol=2e-3)
    network = captioner.backbone.engine
    pixels = captioner.backbone.preprocessing(COFFEE).pixels
    for copied in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert all(map(torch.equal, copied(pixels), network(pixels)))
    said, usual = captioner.caption(grid, REGIONS), mini.caption(expected, REGIONS)
    assert [caption.text for caption in said] == [caption.text for caption in usual]
    assert [caption.score for caption in said] == pytest.approx([c.score for c in usual], abs=1e-4)
    for shape in ((20, 600), (500, 90), (33, 33)):
        picture = np.resize(COFFEE, (*shape, 3))
        cells = [model.encode(picture).embeddings for model in (captioner, mini)]
        np.testing.assert_allclose(*cells, atol=2e-3)

    kept = contents(folder)
    assert sorted(name.rpartition(".")[2] for name in kept) == ["json", "onnx"]
    heard.clear()
    again = load_model("mini", lambda _, message: heard.append(message), engine="auto")
    assert not any("once" in message for message in heard)
    assert contents(folder) == kept
    assert np.array_equal(again.encode(COFFEE).embeddings, grid.embeddings)
    # As many threads as torch has; what comes out does not depend on them.
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        pixels = torch.zeros(1, 3, 64, 96)
        wide = again.backbone.engine(pixels)
    finally:
        torch.set_num_threads(before)
    for output, other in zip(again.backbone.engine(pixels), wide, strict=True):
        assert torch.equal(output, other)

    # What is cut off, or was changed, is made anew.
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    assert load_model("mini", engine="auto").backbone.engine is not None
    assert contents(folder)[path.name] == kept[path.name]

    assert main(["cache"]) == 0
    assert str(folder) in capsys.readouterr().out
    assert main(["cache", "clear"]) == 0
    assert not contents(folder)


def test_an_engine_that_is_no_quicker_is_left_alone_from_then_on(folder, monkeypatch):
    monkeypatch.setattr(engine, "MOST_TIME", 0)
    assert load_model("mini", engine="auto").backbone.engine is None
    [name] = contents(folder)
    assert name.endswith(".json")
    monkeypatch.undo()
    monkeypatch.setenv("NAPARI_PATCHIONER_CACHE", str(folder.parent))
    assert load_model("mini", engine="auto").backbone.engine is None


def test_whoever_waits_can_cancel_and_nothing_is_left(folder):
    def progress(_, message):
        if "once" in message:
            raise Cancelled

    with pytest.raises(Cancelled):
        load_model("mini", progress, engine="auto")
    assert not contents(folder)


def test_torch_stays_where_nothing_can_be_kept_or_it_is_asked_for(folder, monkeypatch):
    folder.parent.mkdir(exist_ok=True)
    folder.write_bytes(b"no folder")
    assert load_model("mini", engine="auto").backbone.engine is None
    folder.unlink()
    assert load_model("mini", engine="torch").backbone.engine is None
    monkeypatch.setenv(ENGINE, "torch")
    assert load_model("mini").backbone.engine is None
    assert not folder.exists()
    with pytest.raises(ModelError, match="must be auto, torch, not 'fastest'"):
        load_model("mini", engine="fastest")


def test_a_gpu_and_half_precision_are_torchs(folder, monkeypatch):
    assert choose(engine="auto").engine == "onnxruntime"
    assert choose("cpu", "bfloat16", "auto").engine == "torch"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose("cuda", engine="auto").engine == "torch"


def test_without_onnx_runtime_it_is_torch(monkeypatch):
    monkeypatch.setattr("napari_patchioner.devices.find_spec", lambda _: None)
    assert choose(engine="auto") == choose()


@pytest.mark.parametrize("name", ["dino", "dino-v1", "talk2dino-dinov3", "dinotxt"])
def test_a_dino_in_8_bits_is_alike_and_its_grids_are_its_own(name, folder, tmp_path, monkeypatch):
    kind = FAMILIES[name]
    files = kind.write(tmp_path / "weights", 2)
    backbone, usual = (kind.open(files, size=5 * kind.patch) for _ in range(2))
    # Tiny networks of random weights keep less of what is rounded.
    monkeypatch.setitem(engine.LEAST_COSINE, True, 0.9)
    backbone.use_engine()
    assert backbone.engine is not None
    grid, expected = backbone.encode(COFFEE), usual.encode(COFFEE)
    assert backbone.name == f"{usual.name}/int8"
    assert grid.key != expected.key
    rows, others = (part.embeddings.reshape(-1, part.dim) for part in (grid, expected))
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(others, axis=1)
    assert ((rows * others).sum(1) / lengths).min() > 0.9
    assert np.array_equal(backbone.encode(COFFEE).embeddings, grid.embeddings)
    backbone.place(CPU)
    assert (backbone.engine, backbone.name) == (None, usual.name)
    assert np.array_equal(backbone.encode(COFFEE).embeddings, expected.embeddings)
    # One that is not alike enough stays with torch, and so does one for pictures of any shape.
    engine.delete_kept()
    monkeypatch.setitem(engine.LEAST_COSINE, True, 1.1)
    backbone.use_engine()
    assert backbone.engine is None
    backbone = kind.open(files, size=5 * kind.patch, layout="aspect")
    backbone.use_engine()
    assert backbone.engine is None
