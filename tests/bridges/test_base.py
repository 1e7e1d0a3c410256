from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_patchioner.bridges import clean_context
from napari_patchioner.errors import ModelError


@given(seed=st.integers(0, 999), strength=st.floats(0, 1))
def test_the_share_along_the_context_shrinks_by_the_strength(seed: int, strength: float) -> None:
    vectors, context = np.split(np.random.default_rng(seed).normal(size=(5, 4)), [4])
    cleaned = clean_context(vectors, context[0], strength=strength)
    np.testing.assert_allclose(
        cleaned @ context[0], (1 - strength) * (vectors @ context[0]), atol=1e-4
    )


def test_contrast_damps_each_component() -> None:
    cleaned = clean_context([[2.0, 2.0]], [0.5, -0.5], how="contrastive")
    np.testing.assert_allclose(cleaned, [[1.0, 3.0]])


def test_an_empty_context_changes_nothing() -> None:
    np.testing.assert_allclose(clean_context([[1.0, 2.0]], [0.0, 0.0]), [[1.0, 2.0]])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ModelError, match="same model"):
        clean_context([[1.0, 2.0]], [1.0])
    with pytest.raises(ModelError, match="'sideways'"):
        clean_context([[1.0, 2.0]], [1.0, 1.0], how="sideways")
