from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from napari_patchioner.annotations.table import guard_cell, guard_extra_cell, unguard_cell

TRICKY = st.text(st.sampled_from("'=+-@\t\r\n a1"), max_size=6)


@given(st.text() | TRICKY)
@example("'=1")
@example("''")
def test_texts_read_back_unchanged(text: str) -> None:
    assert unguard_cell(guard_cell(text)) == text
    assert unguard_cell(guard_extra_cell(text)) == text


@given(st.text() | TRICKY)
def test_no_cell_begins_like_a_formula(text: str) -> None:
    assert not guard_cell(text).startswith(("=", "+", "-", "@", "\t", "\r"))


@given(TRICKY, TRICKY)
def test_no_two_texts_share_a_cell(one: str, other: str) -> None:
    assert (guard_cell(one) == guard_cell(other)) == (one == other)


@pytest.mark.parametrize("text", ["'", "'tis a cat", "''quoted''", "a = b", "1-2", " =1", ""])
def test_harmless_texts_stay_as_they_are(text: str) -> None:
    assert guard_cell(text) == text


@pytest.mark.parametrize("number", ["-3", "+2.5", "-1e-7", "-.5"])
def test_numbers_in_extra_columns_stay_numbers(number: str) -> None:
    assert guard_extra_cell(number) == number
    assert guard_cell(number) == f"'{number}"
