"""Grids of known keys to put into a store."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_patchioner.grids import (
    FeatureGrid,
    GridTransform,
    grid_key,
)

ARRAYS = ("embeddings", "attention", "cls", "picture")


def make(number: int = 0, dim: int = 8, **fields: Any) -> FeatureGrid:
    """Return a grid of a known key with 24 values per ``dim``."""
    embeddings = np.random.default_rng(number).normal(size=(4, 6, dim)).astype(np.float32)
    transform = GridTransform((480, 640), (4, 6))
    return FeatureGrid(embeddings, transform, key_of(number), backbone="none", **fields)


def key_of(number: int) -> str:
    return grid_key(np.full((2, 2), number), "none")


def assert_same(one: FeatureGrid | None, other: FeatureGrid) -> None:
    assert one is not None
    for name in ARRAYS:
        left, right = getattr(one, name), getattr(other, name)
        assert (left is None) == (right is None), name
        if left is not None:
            assert (left.dtype, left.shape) == (right.dtype, right.shape)
            assert left.tobytes() == right.tobytes(), name
            assert left.flags.writeable
    # By repr: NaN is not equal to itself, and tuples are not lists.
    for name in ("transform", "key", "backbone"):
        assert repr(getattr(one, name)) == repr(getattr(other, name))
    assert repr(dict(one.measures)) == repr(dict(other.measures))
