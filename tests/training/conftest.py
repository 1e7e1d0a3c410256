from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from napari_patchioner.models.preset import Part, Preset
from napari_patchioner.texts import TextList
from napari_patchioner.training import Tower

DIM = 24
THINGS = ("dog", "cat", "bus", "boat", "horse", "kite", "clock", "pizza")
COLOURS = ("red", "blue", "green", "small", "large")
PLACES = ("on the grass", "in a park", "near the water", "on a table")
CAPTIONS = tuple(
    f"A {colour} {thing} {place}." for thing in THINGS for colour in COLOURS for place in PLACES
)


def embed(texts: Sequence[str]) -> np.ndarray:
    """Sums of a random vector for each word: a text tower that knows what a text says."""
    rows = []
    for text in texts:
        words = text.lower().strip(" .").split()
        vectors = [np.random.default_rng(list(word.encode())).normal(size=DIM) for word in words]
        rows.append(np.sum(vectors, axis=0))
    return np.array(rows, np.float32)


@pytest.fixture(scope="session")
def texts() -> TextList:
    return TextList("captions.txt", CAPTIONS)


@pytest.fixture(scope="session")
def tower() -> Tower:
    return Tower("words", embed, {"text": "words-0123"}, "MIT")


@pytest.fixture(scope="session")
def mini_preset() -> Preset:
    return Preset("mini", "mini", "", "", Part("mini"), Part("normalize"), Part("quote"))
