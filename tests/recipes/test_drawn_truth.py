from __future__ import annotations

import numpy as np

from recipes.mini.drawn_truth import KINDS, described, judge, measure


def test_every_kind_is_drawn_the_same_way_again() -> None:
    for painter in (KINDS["tiny_spots"], KINDS["branching"], KINDS["stripes"]):
        first, second = (painter(np.random.default_rng(5))[0] for _ in range(2))
        np.testing.assert_array_equal(first, second)


def test_wrong_statements_are_found() -> None:
    picture, truth = KINDS["rods"](np.random.default_rng(9))
    text = described(picture, truth)
    assert all(judge(text, truth).values())
    for wrong in (text.replace("rods", "branching lines"), text.replace("about", "about 30 and")):
        assert not all(judge(wrong, truth).values())
    assert not judge(text.replace(f" {truth.ground} ", " orange "), truth)["ground"]


def test_most_statements_about_fresh_pictures_are_right() -> None:
    right = measure((777,))
    assert np.mean(right["all statements"]) >= 0.85
    assert np.mean(right["whole descriptions"]) >= 0.7


def test_groups_of_colours_are_judged_one_by_one() -> None:
    picture, truth = KINDS["colour_groups"](np.random.default_rng(12))
    text = described(picture, truth)
    assert all(judge(text, truth).values())
    first, second, *_ = truth.inks
    swapped = text.replace(first, "?").replace(second, first).replace("?", second)
    assert not judge(swapped, truth)["groups"]
