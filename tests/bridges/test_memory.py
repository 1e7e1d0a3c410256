from __future__ import annotations

import json
import os
import shutil
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_patchioner.bridges import (
    MemoryBank,
    MemoryBridge,
    NormalizeBridge,
    RetrievalBridge,
    unit_rows,
)
from napari_patchioner.errors import Cancelled, ModelError
from napari_patchioner.grids import FeatureGrid, GridTransform

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy.typing as npt

DIM = 6


def rows(n: int, seed: int = 0, dim: int = DIM) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def texts(n: int) -> list[str]:
    return [f"sentence {index}" for index in range(n)]


def direct(
    bank: npt.NDArray[np.float32], queries: npt.NDArray[np.float32], temperature: float
) -> npt.NDArray[np.float64]:
    """The projection written out over all rows at once, in double precision."""
    memory, vectors = bank.astype(float), queries.astype(float)
    cosines = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)) @ (
        memory / np.linalg.norm(memory, axis=1, keepdims=True)
    ).T
    weights = np.exp((cosines - cosines.max(axis=1, keepdims=True)) / temperature)
    return (weights / weights.sum(axis=1, keepdims=True)) @ memory


def scene() -> FeatureGrid:
    return FeatureGrid(np.ones((2, 2, DIM), np.float32), GridTransform((20, 20), (2, 2)), "key")


@settings(deadline=None, max_examples=30)
@given(
    n=st.integers(1, 40),
    chunk=st.integers(1, 17),
    temperature=st.sampled_from([0.01, 0.1, 1.0]),
    seed=st.integers(0, 99),
)
def test_chunks_give_the_softmax_over_all_rows(
    n: int, chunk: int, temperature: float, seed: int
) -> None:
    bank, queries = rows(n, seed), rows(4, seed + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_patchioner.bridges.memory._CHUNK", chunk)
        projected = MemoryBank.from_arrays(texts(n), bank).project(
            queries, temperature, normalize=False
        )
    np.testing.assert_allclose(projected, direct(bank, queries, temperature), rtol=2e-4, atol=2e-5)


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 40), chunk=st.integers(1, 17), k=st.integers(1, 9))
def test_nearest_sentences_do_not_depend_on_the_chunks(n: int, chunk: int, k: int) -> None:
    bank, queries = rows(n), rows(3, 1)
    cosines = unit_rows(queries) @ unit_rows(bank).T
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_patchioner.bridges.memory._CHUNK", chunk)
        found = MemoryBank.from_arrays(texts(n), bank).nearest(queries, k)
    for near, row in zip(found, cosines, strict=True):
        best = np.argsort(-row)[:k]
        assert [text for text, _ in near] == [f"sentence {index}" for index in best]
        assert [cosine for _, cosine in near] == pytest.approx(row[best].tolist(), abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(
    spread=st.sampled_from([0.02, 0.1, 0.3, 1.0]),
    temperature=st.sampled_from([0.003, 0.01, 0.1]),
    length=st.sampled_from([2**-7, 0.5, 1.0, 40.0]),
    unit=st.booleans(),
    shortlist=st.sampled_from([300, 3000]),
    seed=st.integers(0, 99),
)
def test_what_only_an_estimate_has_seen_changes_nothing(
    spread: float, temperature: float, length: float, unit: bool, shortlist: int, seed: int
) -> None:
    """One or two regions read half precision first, and exactly what weighs most."""
    generator = np.random.default_rng(seed)
    lengths = length * generator.uniform(0.7, 1.4, (3000, 1))
    near = (np.eye(1, 32) + spread * generator.normal(size=(3000, 32))) * lengths
    halves = near.astype(np.float16)
    exact = halves.astype(np.float32)
    queries = np.eye(2, 32, dtype=np.float32) + 0.1
    bank = MemoryBank(halves, texts(3000), {}, "", np.linalg.norm(exact, axis=1))
    expected = direct(unit_rows(exact) if unit else exact, queries, temperature)
    for n in (1, 2, 3):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("napari_patchioner.bridges.memory._SHORTLIST", shortlist)
            projected, named = bank.recall(
                queries[[0, 1, 0]][:n], temperature, unit=unit, normalize=False, neighbours=7
            )
        scale = 1 if unit else length
        np.testing.assert_allclose(projected, expected[[0, 1, 0]][:n], atol=5e-5 * scale)
        assert [text for text, _ in named[0]] == [text for text, _ in bank.nearest(queries, 7)[0]]


def test_the_length_of_a_query_does_not_matter() -> None:
    bank = MemoryBank.from_arrays(texts(30), rows(30))
    np.testing.assert_allclose(bank.project(rows(3) * 7), bank.project(rows(3)), atol=1e-5)


def test_top_k_averages_the_nearest_only() -> None:
    stored, queries = rows(30), rows(3, 1)
    bank = MemoryBank.from_arrays(texts(30), stored)
    one = bank.project(queries, top_k=1, normalize=False)
    best = (unit_rows(queries) @ unit_rows(stored).T).argmax(axis=1)
    np.testing.assert_allclose(one, stored[best], rtol=1e-6)
    everything = bank.project(queries, 0.1, top_k=30)
    np.testing.assert_allclose(everything, bank.project(queries, 0.1), atol=1e-6)


def test_a_region_of_zeros_gets_the_plain_mean() -> None:
    stored = rows(9)
    bank = MemoryBank.from_arrays(texts(9), stored)
    projected = bank.project(np.zeros((1, DIM)), normalize=False)
    np.testing.assert_allclose(projected[0], stored.mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("wrong", [np.ones((2, DIM + 1)), np.ones(DIM), np.full((1, DIM), np.nan)])
def test_vectors_that_cannot_be_compared_are_refused(wrong: npt.NDArray[np.float64]) -> None:
    with pytest.raises(ModelError, match=r"use the backbone|not finite"):
        MemoryBank.from_arrays(texts(3), rows(3)).project(wrong)


def test_a_built_bank_reads_back(tmp_path: Path) -> None:
    stored = rows(10)
    captions = [*texts(8), "two\nlines", "ünïcode 🐈"]
    chunks = [(captions[:4], stored[:4]), (captions[4:], stored[4:])]
    built = MemoryBank.build(
        tmp_path / "bank", chunks, provenance={"projection": "abc"}, dtype="float32"
    )
    again = MemoryBank.open(tmp_path / "bank")
    assert isinstance(again.embeddings, np.memmap)
    assert again.embeddings.dtype == np.float32
    np.testing.assert_array_equal(again.embeddings, stored)
    assert list(again.captions) == [*texts(8), "two lines", "ünïcode 🐈"]
    assert again.captions[-1] == "ünïcode 🐈"
    assert again.captions[2:4] == ["sentence 2", "sentence 3"]
    assert again.provenance == {"projection": "abc"}
    assert again.hash == built.hash
    assert len(again.hash) == 64
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bank"]


def test_half_precision_stays_close(tmp_path: Path) -> None:
    stored, queries = rows(200), rows(5, 1)
    half = MemoryBank.build(tmp_path / "bank", [(texts(200), stored)])
    assert half.embeddings.dtype == np.float16
    exact = MemoryBank.from_arrays(texts(200), stored)
    np.testing.assert_allclose(half.project(queries, 0.05), exact.project(queries, 0.05), atol=0.01)


@pytest.mark.parametrize("on_disk", [False, True])
def test_rows_of_zeros_go_with_their_texts(tmp_path: Path, on_disk: bool) -> None:
    stored = rows(6)
    stored[[0, 3]] = 0
    bank = (
        MemoryBank.build(tmp_path / "bank", [(texts(6), stored)])
        if on_disk
        else MemoryBank.from_arrays(texts(6), stored)
    )
    assert list(bank.captions) == ["sentence 1", "sentence 2", "sentence 4", "sentence 5"]
    assert bank.nearest(stored[4:5], 1)[0][0][0] == "sentence 4"


def test_a_bank_of_zeros_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no captions"):
        MemoryBank.from_arrays(texts(2), np.zeros((2, DIM)))
    with pytest.raises(ModelError, match="no captions"):
        MemoryBank.build(tmp_path / "bank", [(texts(2), np.zeros((2, DIM)))])
    assert not list(tmp_path.iterdir())


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def chunks() -> Iterator[tuple[list[str], npt.NDArray[np.float32]]]:
        yield texts(3), rows(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        MemoryBank.build(tmp_path / "bank", chunks())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        ((texts(3), rows(2)), "one row per caption"),
        ((texts(2), rows(2, dim=DIM + 1)), "with one model"),
        ((texts(1), np.full((1, DIM), 1e6)), "store float32"),
        ((texts(1), np.full((1, DIM), np.nan)), "not finite"),
    ],
)
def test_chunks_that_do_not_fit_are_refused(
    tmp_path: Path, chunk: tuple[list[str], npt.NDArray[np.float32]], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        MemoryBank.build(tmp_path / "bank", [(texts(2), rows(2)), chunk])
    assert not list(tmp_path.iterdir())


def test_an_existing_bank_is_not_overwritten(tmp_path: Path) -> None:
    MemoryBank.build(tmp_path / "bank", [(texts(2), rows(2))])
    with pytest.raises(ModelError, match="already exists"):
        MemoryBank.build(tmp_path / "bank", [(texts(3), rows(3))])
    assert len(MemoryBank.open(tmp_path / "bank")) == 2


@pytest.mark.parametrize(
    "name", ["embeddings.npy", "captions.txt", "offsets.npy", "lengths.npy", "meta.json"]
)
@pytest.mark.parametrize("harm", ["missing", "cut", "empty"])
def test_a_damaged_bank_is_refused(tmp_path: Path, name: str, harm: str) -> None:
    MemoryBank.build(tmp_path / "bank", [(texts(50), rows(50))])
    path = tmp_path / "bank" / name
    content = path.read_bytes()
    path.unlink()
    if harm != "missing":
        path.write_bytes(content[: len(content) // 2] if harm == "cut" else b"")
    with pytest.raises(ModelError, match="bank"):
        MemoryBank.open(tmp_path / "bank")


@pytest.mark.parametrize(
    "name", ["embeddings.npy", "captions.txt", "offsets.npy", "lengths.npy", "meta.json"]
)
@pytest.mark.parametrize("harm", ["claim", "nested", "texts", "pipe"])
def test_a_bank_that_would_take_all_memory_or_hang_is_refused(
    tmp_path: Path, name: str, harm: str
) -> None:
    MemoryBank.build(tmp_path / "bank", [(texts(50), rows(50))])
    path = tmp_path / "bank" / name
    path.unlink()
    if harm == "pipe":
        os.mkfifo(path)
    elif harm == "nested":
        path.write_text("[" * 100_000)
    elif harm == "texts":
        np.save(path.with_suffix(".npy"), np.array(["a"] * 51))
        path.with_suffix(".npy").replace(path)
    else:
        with path.open("wb") as file:
            header = {"descr": "<i8", "fortran_order": False, "shape": (10**13,)}
            np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(ModelError, match="bank") as caught:
        MemoryBank.open(tmp_path / "bank")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["embeddings.npy", "meta.json"])
def test_files_of_two_banks_are_refused(tmp_path: Path, name: str) -> None:
    MemoryBank.build(tmp_path / "one", [(texts(4), rows(4))])
    MemoryBank.build(tmp_path / "two", [(texts(5), rows(5))])
    shutil.copy(tmp_path / "two" / name, tmp_path / "one" / name)
    with pytest.raises(ModelError, match="do not belong together"):
        MemoryBank.open(tmp_path / "one")


def test_a_bank_of_another_format_is_refused(tmp_path: Path) -> None:
    MemoryBank.build(tmp_path / "bank", [(texts(4), rows(4))])
    path = tmp_path / "bank" / "meta.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": "other"}))
    with pytest.raises(ModelError, match="do not belong together"):
        MemoryBank.open(tmp_path / "bank")


def test_a_large_bank_needs_little_memory(tmp_path: Path) -> None:
    dim, parts = 256, 8
    MemoryBank.build(
        tmp_path / "bank", ((texts(8192), rows(8192, part, dim)) for part in range(parts))
    )
    queries = rows(4, 9, dim)
    bank = MemoryBank.open(tmp_path / "bank")
    tracemalloc.start()
    try:
        bank.recall(queries)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # In single precision the bank is 67 MB; a chunk of it is 8 MB.
    assert peak < 40e6


def test_a_memory_bridge_projects_and_names_its_neighbours() -> None:
    bank = MemoryBank.from_arrays(texts(30), rows(30))
    output = MemoryBridge(bank, neighbours=3).project(rows(4, 1), scene())
    np.testing.assert_allclose(output.vectors, bank.project(rows(4, 1)), atol=1e-6)
    assert output.neighbours == bank.nearest(rows(4, 1), 3)
    assert output.evidence is None


def test_a_bridge_without_neighbours_names_none() -> None:
    bank = MemoryBank.from_arrays(texts(3), rows(3))
    assert MemoryBridge(bank, neighbours=0).project(rows(2), scene()).neighbours is None


def test_a_retrieving_bridge_answers_with_the_nearest_sentence() -> None:
    bank = MemoryBank.from_arrays(texts(30), rows(30))
    output = RetrievalBridge(bank, neighbours=4).project(rows(30)[7:8] * 3, scene())
    assert output.evidence is not None
    (seen,) = output.evidence
    assert seen.text == "sentence 7"
    assert seen.score == pytest.approx(1.0, abs=1e-6)
    assert len(seen.concepts) == 4


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_must_be_above_zero(temperature: float) -> None:
    with pytest.raises(ModelError, match="above 0"):
        MemoryBridge(MemoryBank.from_arrays(texts(3), rows(3)), temperature=temperature)


def test_the_bridge_of_noise_trained_decoders_only_scales() -> None:
    output = NormalizeBridge().project(np.array([[3, 4], [0, 0]], np.float32), scene())
    np.testing.assert_allclose(output.vectors, [[0.6, 0.8], [0, 0]])
    assert output.vectors.dtype == np.float32
    assert output.neighbours is None


def test_neighbours_far_off_change_nothing(tmp_path: Path) -> None:
    """Rows too far away to count may be left out of the average, and it stays the same."""
    generator = np.random.default_rng(3)
    near = np.eye(1, 16) + 0.02 * generator.standard_normal((20, 16))
    far = -np.eye(1, 16) + 0.3 * generator.standard_normal((4000, 16))
    rows = np.concatenate([far, near, far]).astype(np.float32)
    texts = [str(row) for row in range(len(rows))]
    query = np.eye(1, 16, dtype=np.float32)
    cosines = unit_rows(rows) @ query[0]
    weights = np.exp((cosines.astype(np.float64) - cosines.max()) / 0.01)
    expected = unit_rows(weights @ rows / weights.sum())
    bank = MemoryBank.build(tmp_path / "bank", [(texts, rows)], dtype="float32")
    np.testing.assert_allclose(bank.project(query)[0], expected, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("queries", [1, 3])
def test_long_rows_count_by_their_length(tmp_path: Path, queries: int, dtype: str) -> None:
    """Of rows as they are stored long ones move an average that they weigh little in."""
    far = np.zeros((9000, 16), np.float32)
    far[:, :2] = 100 * np.array([0.785, (1 - 0.785**2) ** 0.5])
    rows = np.concatenate([np.eye(1, 16, dtype=np.float32), far])
    texts = [str(row) for row in range(len(rows))]
    bank = MemoryBank.build(tmp_path / "bank", [(texts, rows)], dtype=dtype)
    query = np.eye(1, 16, dtype=np.float32).repeat(queries, axis=0)
    expected = unit_rows(direct(np.asarray(bank.embeddings, np.float32), query, 0.01))
    assert expected[0, 1] > 2e-4
    np.testing.assert_allclose(bank.project(query), expected, atol=2e-5)


def test_every_chunk_is_told_of_and_may_be_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_patchioner.bridges.memory._CHUNK", 4)
    bridge = MemoryBridge(MemoryBank.from_arrays(texts(10), rows(10)))
    told: list[tuple[float, str]] = []
    bridge.project(rows(2, 1), scene(), progress=lambda done, what: told.append((done, what)))
    assert told == [(done, "comparing with 10 sentences") for done in (0, 0.4, 0.8)]

    def stop(done: float, _what: str) -> None:
        if done > 0.3:
            raise Cancelled

    with pytest.raises(Cancelled):
        bridge.project(rows(2, 1), scene(), progress=stop)
