from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_patchioner.evaluation.metrics.overlap import longest_common, rouge_l

WORDS = st.lists(st.sampled_from(["a", "dog", "cat", "runs"]), max_size=6)


@given(left=WORDS, right=WORDS)
def test_the_longest_common_subsequence(left: list[str], right: list[str]) -> None:
    """Against the definition, by trying every subsequence."""
    runs = {()}
    for word in left:
        runs |= {(*run, word) for run in runs}

    def inside(run: tuple[str, ...]) -> bool:
        rest = iter(right)
        return all(word in rest for word in run)

    assert longest_common(left, right) == max(len(run) for run in runs if inside(run))


@given(caption=WORDS.filter(bool), other=WORDS)
def test_a_reference_said_again_is_perfect_whatever_else_was_said(
    caption: list[str], other: list[str]
) -> None:
    text = " ".join(caption)
    assert rouge_l([text], [[" ".join(other), text]])[0] == pytest.approx(1.0)


def test_recall_weighs_more_than_precision() -> None:
    long, short = "a dog runs over the green lawn", "a dog runs"
    more, less = rouge_l([long, short], [[short], [long]])
    assert more > less


def test_nothing_said_is_worth_nothing() -> None:
    assert rouge_l(["", "..."], [["a dog"], ["a dog"]]).tolist() == [0.0, 0.0]
