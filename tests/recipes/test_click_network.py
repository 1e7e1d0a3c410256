"""The network of clicks learns what goes with a click."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from napari_patchioner.checkpoints import arrays_as_bytes, read_arrays
from napari_patchioner.grounding.membership import MEASURED, ClickNetwork
from recipes.mini.click_network import ClickSample, fit_network


def samples(count, seed):
    """Pieces that belong to what is clicked where the first thing measured is small."""
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        measures = generator.normal(size=(40, MEASURED)).astype(np.float32)
        shares = (measures[:, 0] < 0).astype(np.float32)
        sizes = generator.uniform(50, 150, 40).astype(np.float32)
        made.append(ClickSample(measures, shares, sizes, float((shares * sizes).sum())))
    return made


def test_it_learns_what_decides_and_comes_back_from_a_file(tmp_path):
    arrays = fit_network(samples(640, 0))
    assert arrays.keys() == {field.name for field in fields(ClickNetwork)}
    path = tmp_path / "click.safetensors"
    path.write_bytes(arrays_as_bytes(arrays))
    network = ClickNetwork(**read_arrays(path))
    for sample in samples(8, 1):
        chances = network.probabilities(sample.measures)
        assert ((chances > 0.5) == (sample.shares > 0.5)).mean() > 0.85


def test_the_same_samples_give_the_same_network():
    first, again = (fit_network(samples(8, 0)) for _ in range(2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
