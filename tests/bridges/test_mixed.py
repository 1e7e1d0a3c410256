"""Banks mixed by weight are compared as one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_patchioner.bridges import MemoryBank, MemoryBridge, MixedBank, RetrievalBridge
from napari_patchioner.bridges.mixed import SHIFT
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import FeatureGrid, GridTransform

DIM = 6


def bank(count: int, seed: int, name: str) -> MemoryBank:
    rows = np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)
    return MemoryBank.from_arrays([f"{name} {row}" for row in range(count)], rows)


@settings(deadline=None, max_examples=40)
@given(counts=st.lists(st.integers(1, 12), min_size=1, max_size=3), top=st.integers(1, 40))
def test_equal_weights_are_one_bank_of_all_sentences(counts, top):
    banks = [bank(count, seed, f"bank {seed}:") for seed, count in enumerate(counts)]
    mixed = MixedBank([(one, 2.0) for one in banks])
    whole = MemoryBank.from_arrays(
        [text for one in banks for text in one.captions],
        np.concatenate([one.embeddings for one in banks]),
    )
    queries = np.random.default_rng(9).normal(size=(3, DIM))
    assert len(mixed) == len(whole)
    assert list(mixed.captions) == whole.captions
    for options in ({}, {"top_k": top}, {"unit": True}, {"top_k": top, "unit": True}):
        ours, named = mixed.recall(queries, 0.1, **options)
        theirs, others = whole.recall(queries, 0.1, **options)
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
        assert [[text for text, _ in near] for near in named] == [
            [text for text, _ in near] for near in others
        ]


def test_a_weight_decides_between_sentences_that_fit_alike():
    mine = MemoryBank.from_arrays(["mine"], [[1.0, 0.1]])
    shipped = MemoryBank.from_arrays(["shipped"], [[1.0, -0.1], [0.0, 1.0]][:1])
    query = [[1.0, 0.0]]
    for weights, first in (((0.8, 0.2), "mine"), ((0.2, 0.8), "shipped")):
        mixed = MixedBank(list(zip((mine, shipped), weights, strict=True)))
        [near] = mixed.nearest(query, 2)
        assert near[0][0] == first
        # What is named is the true cosine.
        assert near[0][1] == pytest.approx(near[1][1]) == pytest.approx(1 / np.hypot(1, 0.1))


def test_a_sentence_that_fits_much_better_wins_against_the_weight():
    mine = MemoryBank.from_arrays(["mine"], [[1.0, 1.0]])
    shipped = MemoryBank.from_arrays(["shipped"], [[1.0, 0.0]])
    weight = 0.9
    assert SHIFT * np.log(9) < 1 - 2**-0.5
    [near] = MixedBank([(mine, weight), (shipped, 1 - weight)]).nearest([[1.0, 0.0]], 1)
    assert near[0][0] == "shipped"


def test_a_weight_of_nothing_leaves_a_bank_out():
    mine, shipped = bank(3, 0, "mine"), bank(4, 1, "shipped")
    mixed = MixedBank([(mine, 0.0), (shipped, 1.0)])
    assert list(mixed.captions) == shipped.captions
    with pytest.raises(ModelError, match="a weight above 0"):
        MixedBank([(mine, 0.0)])


def test_banks_of_two_models_are_not_mixed():
    other = MemoryBank.from_arrays(["other"], np.ones((1, DIM + 1)))
    with pytest.raises(ModelError, match="lengths 6 and 7 cannot be mixed"):
        MixedBank([(bank(2, 0, "a"), 1), (other, 1)])


def test_bridges_read_a_mixed_bank():
    mixed = MixedBank([(bank(3, 0, "mine"), 0.7), (bank(4, 1, "shipped"), 0.3)])
    grid = FeatureGrid(np.ones((2, 2, DIM), np.float32), GridTransform((20, 20), (2, 2)), "key")
    queries = np.random.default_rng(2).normal(size=(2, DIM)).astype(np.float32)
    assert MemoryBridge(mixed).project(queries, grid).vectors.shape == (2, DIM)
    answer = RetrievalBridge(mixed, neighbours=9).project(queries, grid)
    assert [len(near) for near in answer.neighbours] == [7, 7]
    assert answer.evidence[0].text == answer.neighbours[0][0][0]
    assert mixed.hash != MixedBank([(bank(3, 0, "mine"), 0.5), (bank(4, 1, "shipped"), 0.5)]).hash
