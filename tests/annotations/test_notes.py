"""What a file leaves out, drops or guesses is told, and nothing of it without end."""

from __future__ import annotations

import pytest

from napari_patchioner.annotations import Notes, leaving_out, note, noting
from napari_patchioner.errors import Cancelled, FormatError
from napari_patchioner.limits import BudgetError, Limits, charge_pixels, check_budget, file_budget


def test_a_record_that_cannot_be_read_is_left_out_and_the_next_one_read():
    notes, read = Notes(), []
    with noting(notes):
        for number in range(3):
            with leaving_out("region", f"a.json: region {number}"):
                if number == 1:
                    raise KeyError("bbox")
                read.append(number)
        note("size guessed", "a.json: the size of the image was guessed")
    assert read == [0, 2]
    assert notes.left_out == 1
    assert notes.lines() == [
        "a.json: region 1: holds something unexpected (KeyError: 'bbox'); left out",
        "a.json: the size of the image was guessed",
    ]


def test_where_nobody_takes_notes_the_error_goes_on():
    with pytest.raises(FormatError, match="broken"), leaving_out("region"):
        raise FormatError("broken")
    note("nobody", "hears this")


@pytest.mark.parametrize("error", [Cancelled, KeyboardInterrupt, MemoryError])
def test_an_end_is_no_bad_record(error):
    with noting(Notes()), pytest.raises(error), leaving_out("region"):
        raise error


def _caught_on_the_way():
    with leaving_out("region"):
        try:
            charge_pixels(6)
        except FormatError as error:
            raise FormatError(f"region 1: {error}") from error


def test_too_much_is_no_bad_record_even_if_somebody_caught_it():
    with file_budget("a.json", Limits(pixels=5)), noting(Notes()):
        with pytest.raises(BudgetError, match=r"^a.json: has masks"):
            _caught_on_the_way()
        with pytest.raises(BudgetError, match=r"^a.json: has masks"):
            check_budget()


def test_many_notes_of_one_kind_are_counted_and_long_ones_cut():
    notes, others = Notes(), Notes()
    for number in range(1000):
        others.leave_out("region", FormatError(f"{number}:\n{'x' * 10_000}"))
    notes.merge(others)
    lines = notes.lines()
    assert len(notes) == notes.left_out == 1000
    assert lines[-1] == "and 995 more of this kind"
    assert len(lines) == 6
    assert all(len(line) <= 500 and "\n" not in line for line in lines)
