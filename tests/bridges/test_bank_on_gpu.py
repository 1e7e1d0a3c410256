"""Memory banks on a GPU: the same answers, whether they fit there or not."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_gpu import SmallGpu

from napari_patchioner.bridges import (
    LinearBridge,
    MemoryBank,
    MemoryBridge,
    MixedBank,
    NormalizeBridge,
    RetrievalBridge,
    ThroughText,
)
from napari_patchioner.bridges.linear import LinearMap
from napari_patchioner.devices import CPU, DeviceWarning
from napari_patchioner.errors import Cancelled

DIM = 16
# More rows than are compared at once where memory is short.
ROWS = 5000


def vectors(count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, DIM), np.float32)


# Their products are exact in whatever order they are summed up.
EXACT = np.eye(DIM, dtype=np.float32)[:2]


def small_bank(count, seed=0):
    return MemoryBank.from_arrays([f"text {row}" for row in range(count)], vectors(count, seed))


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    folder = tmp_path_factory.mktemp("banks") / "bank"
    # Each sentence twice, so that there are ties everywhere.
    rows = np.repeat(vectors(ROWS // 2) + 0.5, 2, axis=0)
    MemoryBank.build(folder, [([f"text {row}" for row in range(ROWS)], rows)])
    return folder


def both(bank, gpu, ask):
    """Ask a bank on the processor, then on the GPU."""
    bank.place(CPU)
    expected = ask(bank)
    bank.place(gpu)
    return expected, ask(bank)


def assert_alike(expected, found):
    np.testing.assert_allclose(found[0], expected[0], atol=1e-4)
    assert_named_alike(expected[1], found[1])


def assert_named_alike(expected, found):
    for theirs, ours in zip(expected, found, strict=True):
        assert [text for text, _ in ours] == [text for text, _ in theirs]
        np.testing.assert_allclose(
            [cosine for _, cosine in ours], [cosine for _, cosine in theirs], atol=1e-5
        )


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(1, 60),
    regions=st.integers(1, 5),
    unit=st.booleans(),
    normalize=st.booleans(),
    top_k=st.none() | st.integers(1, 70),
    neighbours=st.integers(0, 70),
)
def test_a_gpu_recalls_what_the_processor_does(count, regions, unit, normalize, top_k, neighbours):
    how = {"unit": unit, "normalize": normalize, "top_k": top_k, "neighbours": neighbours}
    asked = vectors(regions, 1)
    assert_alike(*both(small_bank(count), SmallGpu(), lambda bank: bank.recall(asked, 0.1, **how)))


@pytest.mark.parametrize("regions", [1, 7])
def test_rows_that_fit_are_brought_once(bank, regions):
    opened, gpu, asked = MemoryBank.open(bank), SmallGpu(), vectors(regions, 1)
    assert_alike(*both(opened, gpu, lambda bank: bank.recall(asked)))
    assert gpu.counts["empty"] == 1
    before = gpu.counts["tensor"]
    opened.recall(asked)
    # Queries and lengths alone
    assert gpu.counts["tensor"] - before == 2
    assert gpu.counts["empty"] == 1


def test_rows_that_do_not_fit_pass_through(bank):
    opened, gpu, asked = MemoryBank.open(bank), SmallGpu(free=2**30), vectors(7, 1)
    assert_alike(*both(opened, gpu, lambda bank: bank.recall(asked)))
    assert gpu.counts["empty"] == 0


def test_rows_are_compared_in_smaller_blocks_where_memory_is_short(bank):
    opened, asked = MemoryBank.open(bank), vectors(7, 1)
    # Room for the single-precision copy of 2,048 rows
    gpu = SmallGpu(room=2048 * DIM * 4)
    assert_alike(*both(opened, gpu, lambda bank: bank.recall(asked)))
    refused = gpu.counts["refused"]
    assert refused
    # That is known from now on.
    assert_alike(*both(opened, gpu, lambda bank: bank.recall(asked)))
    assert gpu.counts["emptied"]


def test_rows_stay_on_the_gpu_where_it_is_their_copies_that_do_not_fit(bank):
    opened, asked = MemoryBank.open(bank), vectors(7, 1)
    # All rows in half precision, and 3,125 in single precision
    gpu = SmallGpu(room=200_000)
    assert_alike(*both(opened, gpu, lambda bank: bank.recall(asked)))
    assert gpu.counts["refused"]
    assert opened.placed()[0].rows.resident


def test_rows_make_room_where_nothing_else_fits(bank):
    opened, asked = MemoryBank.open(bank), vectors(7, 1)
    gpu = SmallGpu()
    assert_alike(*both(opened, gpu, lambda bank: bank.recall(asked)))
    assert opened.placed()[0].rows.resident
    # Blocks of four sizes are tried with the rows in place; each begins with the vectors.
    gpu.failing.update(gpu.counts["moves"] + number for number in (1, 2, 3, 4))
    expected = opened.recall(asked)
    assert not opened.placed()[0].rows.resident
    assert_alike(expected, MemoryBank.open(bank).recall(asked))


def test_where_nothing_fits_the_processor_compares(bank):
    opened, gpu, asked = MemoryBank.open(bank), SmallGpu(room=100), vectors(7, 1)
    expected = opened.recall(asked)
    opened.place(gpu)
    with pytest.warns(DeviceWarning, match="too little memory to compare with the sentences"):
        found = opened.recall(asked)
    np.testing.assert_array_equal(found[0], expected[0])
    assert found[1] == expected[1]


@pytest.mark.parametrize("failing", range(1, 6))
def test_memory_may_run_out_at_any_moment(bank, failing):
    opened, gpu, asked = MemoryBank.open(bank), SmallGpu(failing={failing}), vectors(7, 1)
    assert_alike(*both(opened, gpu, lambda bank: bank.recall(asked)))


@pytest.mark.parametrize("k", [1, 3, ROWS])
@pytest.mark.parametrize("usable", [ROWS, 3000, 3, 0])
@pytest.mark.parametrize("placement", [CPU, SmallGpu()], ids=["cpu", "gpu"])
def test_of_equal_sentences_the_first_comes_first(bank, k, usable, placement):
    among = np.zeros(ROWS, bool)
    among[np.random.default_rng(2).permutation(ROWS)[:usable]] = True
    opened = MemoryBank.open(bank)
    opened.place(placement)
    found = opened.nearest(EXACT, k, among=None if usable == ROWS else among)
    rows = np.asarray(opened.embeddings, np.float32)
    cosines = np.where(among, EXACT @ rows.T / opened.lengths, -np.inf)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, : min(k, usable)]
    expected = [[f"text {row}" for row in query] for query in order]
    assert [[text for text, _ in near] for near in found] == expected


def test_no_regions_are_answered_with_nothing(bank):
    opened, nothing = MemoryBank.open(bank), vectors(0)
    expected, found = both(opened, SmallGpu(), lambda bank: bank.recall(nothing))
    assert found[0].shape == expected[0].shape == (0, DIM)
    assert found[1] == expected[1] == ()


@pytest.mark.parametrize("weights", [(1, 1), (3, 1)])
def test_mixed_banks_are_compared_as_one(weights):
    banks = [small_bank(2000, 3), small_bank(1500, 4)]
    mixed, asked = MixedBank(list(zip(banks, weights, strict=True))), vectors(3, 1)
    assert_alike(*both(mixed, SmallGpu(), lambda bank: bank.recall(asked, 0.1)))
    top = {"top_k": 3, "unit": True}
    assert_alike(*both(mixed, SmallGpu(), lambda bank: bank.recall(asked, 0.1, **top)))


def test_a_bank_that_moves_or_goes_frees_the_gpu(bank):
    opened, asked = MemoryBank.open(bank), vectors(1)
    opened.place(SmallGpu())
    opened.recall(asked)
    rows = weakref.ref(opened.placed()[0].rows)
    opened.place(CPU)
    assert rows() is None
    opened.place(SmallGpu())
    opened.recall(asked)
    rows = weakref.ref(opened.placed()[0].rows)
    gc.disable()
    try:
        del opened
        assert rows() is None
    finally:
        gc.enable()


def test_a_comparison_can_be_cancelled(bank):
    def stop(_fraction, _message):
        raise Cancelled

    opened = MemoryBank.open(bank)
    opened.place(SmallGpu())
    with pytest.raises(Cancelled):
        opened.recall(vectors(1), progress=stop)
    assert len(opened.recall(vectors(1))[1][0]) == 5


@pytest.mark.parametrize(
    "bridge",
    [
        lambda bank: MemoryBridge(bank),
        lambda bank: RetrievalBridge(bank),
        lambda bank: LinearBridge(LinearMap(np.eye(DIM, dtype=np.float32)), bank),
        lambda bank: ThroughText(NormalizeBridge(), RetrievalBridge(bank)),
    ],
)
def test_a_bridge_takes_its_bank_along(bridge):
    bank, gpu = small_bank(5), SmallGpu()
    moved = bridge(bank)
    moved.place(gpu)
    assert bank.placement is gpu
    moved.place(CPU)
    assert bank.placement == CPU
