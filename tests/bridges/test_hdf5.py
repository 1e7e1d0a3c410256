from __future__ import annotations

import os

import h5py
import numpy as np
import pytest

from napari_patchioner.bridges import MemoryBank, convert_hdf5
from napari_patchioner.bridges import hdf5 as module
from napari_patchioner.errors import Cancelled, ModelError

NOTES = {"projection": "abc"}


def bank(path, vectors, texts, name="coco_captions"):
    with h5py.File(path, "w") as file:
        file[f"{name}-embeddings"] = np.asarray(vectors, np.float32)
        file.create_dataset(f"{name}-text", data=texts, dtype=h5py.string_dtype("utf-8"))
    return path


@pytest.fixture
def published(tmp_path):
    vectors = np.random.default_rng(4).normal(size=(10, 6))
    return bank(tmp_path / "bank.h5", vectors, [f"caption {n} é" for n in range(10)]), vectors


@pytest.mark.parametrize(("dtype", "error"), [("float16", 2e-3), ("float32", 1e-6)])
@pytest.mark.parametrize("rows", [1, 3, 10, 4096])
def test_every_row_and_text_arrives(published, tmp_path, monkeypatch, dtype, error, rows):
    monkeypatch.setattr(module, "_CHUNK", rows)
    source, vectors = published
    made = convert_hdf5(source, tmp_path / "out", provenance=NOTES, dtype=dtype)
    assert made.embeddings.dtype == dtype
    np.testing.assert_allclose(made.embeddings, vectors, atol=error)
    assert list(made.captions) == [f"caption {n} é" for n in range(10)]
    assert MemoryBank.open(tmp_path / "out").provenance == NOTES


def test_rows_of_zeros_leave_with_their_own_texts(tmp_path):
    vectors = np.eye(5)
    vectors[[0, 3]] = 0
    source = bank(tmp_path / "bank.h5", vectors, list("abcde"))
    made = convert_hdf5(source, tmp_path / "out", provenance={})
    assert list(made.captions) == ["b", "c", "e"]
    assert made.nearest([[0, 0, 1, 0, 0]], 1)[0][0][0] == "c"


@pytest.mark.parametrize("kind", ["fixed", "other name", "second pair"])
def test_other_ways_of_writing_a_bank(tmp_path, kind):
    source = tmp_path / "bank.h5"
    name = "vg" if kind == "other name" else "coco_captions"
    with h5py.File(source, "w") as file:
        file[f"{name}-embeddings"] = np.eye(2, dtype=np.float32)
        file[f"{name}-text"] = np.array([b"one", b"two"]) if kind == "fixed" else ["one", "two"]
        if kind == "second pair":
            file["aaa-embeddings"], file["aaa-text"] = np.ones((1, 2), "f4"), ["three"]
    assert list(convert_hdf5(source, tmp_path / "out", provenance={}).captions) == ["one", "two"]


def _damaged(path, kind):
    vectors, texts = np.ones((300, 8), np.float32), [f"text {n}" for n in range(300)]
    if kind == "lengths":
        return bank(path, vectors, texts[:-1])
    if kind == "flat":
        return bank(path, vectors[0], texts[:8])
    if kind == "empty":
        return bank(path, np.ones((0, 8)), [])
    if kind == "not finite":
        vectors[7, 7] = np.nan
    bank(path, vectors, texts)
    if kind == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "cut short":
        path.write_bytes(path.read_bytes()[:5])
    elif kind == "text":
        path.write_text("<html>not found</html>")
    elif kind in ("no texts", "two pairs"):
        with h5py.File(path, "a") as file:
            file.move("coco_captions-text", "a-text" if kind == "two pairs" else "captions")
            if kind == "two pairs":
                file.move("coco_captions-embeddings", "a-embeddings")
                file["b-text"], file["b-embeddings"] = file["a-text"], file["a-embeddings"]
    elif kind == "numbers as texts":
        with h5py.File(path, "a") as file:
            del file["coco_captions-text"]
            file["coco_captions-text"] = np.arange(300)
    return path


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("cut", "cut short"),
        ("cut short", "not an HDF5 file"),
        ("text", "not an HDF5 file"),
        ("no texts", "holds captions, coco_captions-embeddings"),
        ("two pairs", "one pair"),
        ("lengths", "300 embeddings came with texts of shape \\(299,\\)"),
        ("numbers as texts", "300 embeddings"),
        ("flat", "shape \\(8,\\)"),
        ("empty", "shape \\(0, 8\\)"),
        ("not finite", "not finite"),
    ],
)
def test_damage_is_one_sentence_and_leaves_nothing(tmp_path, kind, told):
    source = _damaged(tmp_path / "bank.h5", kind)
    with pytest.raises(ModelError, match=told) as caught:
        convert_hdf5(source, tmp_path / "out", provenance={})
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["bank.h5"]


def test_text_that_is_not_utf8_is_refused(tmp_path):
    source = tmp_path / "bank.h5"
    with h5py.File(source, "w") as file:
        file["a-embeddings"], file["a-text"] = np.eye(1, dtype="f4"), np.array([b"\xff"])
    with pytest.raises(ModelError, match="damaged"):
        convert_hdf5(source, tmp_path / "out", provenance={})


def test_a_bank_of_another_encoder_is_refused(published, tmp_path):
    with pytest.raises(ModelError, match="length 6, not 768"):
        convert_hdf5(published[0], tmp_path / "out", provenance={}, dim=768)
    assert len(convert_hdf5(published[0], tmp_path / "out", provenance={}, dim=6)) == 10


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(ModelError, match="does not exist"):
        convert_hdf5(tmp_path / "none.h5", tmp_path / "out", provenance={})


def test_progress_is_told_and_may_cancel(published, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 4)
    told = []
    convert_hdf5(published[0], tmp_path / "one", provenance={}, progress=lambda *a: told.append(a))
    assert [fraction for fraction, _ in told] == [0, 0.4, 0.8, 1]
    assert told[1][1] == "4 of 10 captions"

    def cancel(fraction, _):
        if fraction > 0.5:
            raise Cancelled

    with pytest.raises(Cancelled):
        convert_hdf5(published[0], tmp_path / "two", provenance={}, progress=cancel)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bank.h5", "one"]


@pytest.mark.parametrize(
    "kind", ["external link", "soft link", "external storage", "virtual", "filter", "claim", "pipe"]
)
def test_only_what_is_in_the_file_itself_is_read(published, tmp_path, kind):
    other, vectors = published
    source = tmp_path / "b.h5"
    name = "coco_captions-embeddings"
    if kind == "pipe":
        os.mkfifo(source)
    else:
        with h5py.File(source, "w") as file:
            texts = [str(n) for n in range(10)]
            file.create_dataset("coco_captions-text", data=texts, dtype=h5py.string_dtype())
            if kind == "external link":
                file[name] = h5py.ExternalLink(other.name, name)
            elif kind == "soft link":
                file["real"] = vectors
                file[name] = h5py.SoftLink("/real")
            elif kind == "external storage":
                (tmp_path / "raw").write_bytes(vectors.tobytes())
                external = [(str(tmp_path / "raw"), 0, vectors.nbytes)]
                file.create_dataset(name, vectors.shape, vectors.dtype, external=external)
            elif kind == "virtual":
                layout = h5py.VirtualLayout(vectors.shape, "f4")
                layout[:] = h5py.VirtualSource(other, name, vectors.shape)
                file.create_virtual_dataset(name, layout)
            elif kind == "filter":
                plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
                plist.set_chunk((10, 6))
                plist.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())
                space = h5py.h5s.create_simple(vectors.shape)
                kept = h5py.h5t.IEEE_F32LE
                h5py.h5d.create(file.id, name.encode(), kept, space, plist)
            else:
                file.create_dataset(name, (10, 10**9), "f4", chunks=(1, 2**20))
    with pytest.raises(ModelError) as caught:
        convert_hdf5(source, tmp_path / "out", provenance={})
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_links_to_pipes_are_not_followed_to_find_out_what_is_there(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    source = tmp_path / "b.h5"
    with h5py.File(source, "w") as file:
        file["coco_captions-embeddings"] = np.eye(2, dtype="f4")
        file["coco_captions-text"] = h5py.ExternalLink("pipe", "x")
    with pytest.raises(ModelError, match="only points to another place"):
        convert_hdf5(source, tmp_path / "out", provenance={})


def test_rows_that_share_one_long_text_are_refused(tmp_path):
    source = bank(tmp_path / "b.h5", np.ones((4096, 2)), ["a" * 2**20] + ["b"] * 4095)
    with h5py.File(source, "r") as file:
        first = file["coco_captions-text"].id.get_offset()
    with source.open("r+b") as raw:
        raw.seek(first)
        place = raw.read(16)
        raw.seek(first)
        raw.write(place * 4096)
    with pytest.raises(ModelError, match="its texts are no captions"):
        convert_hdf5(source, tmp_path / "out", provenance={})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["wide rows", "long texts", "references", "lists", "a group"])
def test_what_is_no_bank_is_told_before_it_is_read(tmp_path, kind):
    source = tmp_path / "b.h5"
    with h5py.File(source, "w") as file:
        vectors, texts = np.ones((3, 2), "f4"), ["a", "b", "c"]
        if kind == "wide rows":
            chunks = {"chunks": (1, 2**20), "compression": "gzip"}
            file.create_dataset("a-embeddings", (3, 2**27), "f4", **chunks)[0, : 2**21] = 1
        else:
            file["a-embeddings"] = vectors
        if kind == "long texts":
            texts = file.create_dataset("a-text", 3, "S268435457", chunks=(1,), compression="gzip")
        elif kind == "references":
            file.create_dataset("a-text", 3, h5py.ref_dtype)
        elif kind == "lists":
            file.create_dataset("a-text", 3, h5py.vlen_dtype("i4"))
        elif kind == "a group":
            file.create_group("a-text")
        else:
            file["a-text"] = texts
    with pytest.raises(ModelError) as caught:
        convert_hdf5(source, tmp_path / "out", provenance={})
    assert "\n" not in str(caught.value)


def test_a_few_of_many_names_are_told(tmp_path):
    with h5py.File(tmp_path / "b.h5", "w") as file:
        for number in range(30):
            file[f"{number:02}\n{'x' * 100}"] = 1
    with pytest.raises(ModelError, match="and 25 more") as caught:
        convert_hdf5(tmp_path / "b.h5", tmp_path / "out", provenance={})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
