from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_patchioner.evaluation.metrics.statistics import mean_interval

SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@given(values=SHARES, images=st.integers(1, 5))
def test_the_interval_surrounds_the_values_and_holds_the_mean(
    values: list[float], images: int
) -> None:
    files = [str(number % images) for number in range(len(values))]

    found = mean_interval(values, files, draws=50)

    assert found.count == len(values)
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9


def test_regions_of_one_image_do_not_count_as_independent() -> None:
    values = [1.0] * 50 + [0.0] * 50
    together = mean_interval(values, ["a"] * 50 + ["b"] * 50)
    apart = mean_interval(values, [str(number) for number in range(100)])

    assert (together.low, together.high) == (0.0, 1.0)
    assert apart.high - apart.low < 0.25


def test_no_values_give_no_number() -> None:
    assert np.isnan(mean_interval([], []).mean)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    held = 0
    for trial in range(200):
        values = generator.random(80) < 0.3
        found = mean_interval(values.astype(float), [str(n) for n in range(80)], seed=trial)
        held += found.low <= 0.3 <= found.high
    assert 0.88 <= held / 200 <= 1.0
