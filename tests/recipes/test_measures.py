from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.mini.measures import calibration_error, score_bins


def test_scores_that_mean_what_they_say_have_no_calibration_error() -> None:
    assert calibration_error([0.25] * 4, [1, 0, 0, 0]) == 0.0
    assert calibration_error([0.95] * 4, [1, 0, 0, 0]) == pytest.approx(0.7)


@given(scores=st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_every_score_falls_into_one_bin(scores: list[float]) -> None:
    bins = score_bins(scores, [1.0] * len(scores))

    assert sum(one.count for one in bins) == len(scores)
