"""One naming of weights told in another."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_patchioner.checkpoints import rename
from napari_patchioner.errors import ModelError

NAMES = st.lists(st.from_regex(r"[a-z]{1,4}(\.[a-z0-9]{1,3}){0,2}", fullmatch=True), unique=True)


def test_the_first_rule_that_matches_a_whole_name_decides():
    state = {"a.weight": torch.ones(1), "a.weight.scale": torch.ones(2), "b": torch.ones(3)}
    rules = [(r"a\.(.*)", r"one.\1"), (r"a\.weight", "never"), (r"eight", "never")]
    assert list(rename(state, rules)) == ["one.weight", "one.weight.scale", "b"]


def test_weights_can_be_dropped():
    assert rename({"a": torch.ones(1), "b": torch.ones(1)}, [("a", None)]).keys() == {"b"}


def test_two_layouts_at_once_are_refused():
    state = {"linear_layer2.bias": torch.ones(1), "hidden_layers.0.bias": torch.zeros(1)}
    with pytest.raises(ModelError, match=r"both hidden_layers\.0\.bias; it mixes two layouts"):
        rename(state, [(r"linear_layer2\.(.*)", r"hidden_layers.0.\1")])


@given(names=NAMES)
def test_without_a_rule_everything_stays(names):
    state = {name: torch.tensor(place) for place, name in enumerate(names)}
    assert rename(state, []) == state


@given(names=NAMES)
def test_there_and_back_again(names):
    state = {name: torch.tensor(place) for place, name in enumerate(names)}
    there = rename(state, [("(.*)", r"net.\1")])
    assert rename(there, [(r"net\.(.*)", r"\1")]) == state
