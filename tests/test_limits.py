"""One file may take so much and no more, and whatever it takes is charged."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from napari_patchioner.errors import FormatError, ImageError
from napari_patchioner.limits import (
    LIMITS,
    BudgetError,
    Limits,
    charge_bytes,
    charge_json,
    charge_pixels,
    charge_records,
    check_budget,
    check_depth,
    check_plain_file,
    check_time,
    file_budget,
    read_file,
)

SMALL = Limits(file_bytes=8, unpacked_bytes=8, pixels=8, values=8, records=8, depth=8)


@pytest.mark.parametrize(
    ("charge", "told"),
    [
        (charge_bytes, "a.json: unpacks to more than 8 bytes"),
        (charge_pixels, "a.json: has masks of more than 8 pixels"),
        (charge_records, "a.json: holds more than 8 records"),
        (lambda n: charge_json("," * n), "a.json: holds more than 8 values"),
        (lambda n: charge_json(b"[{"[: n % 2 + 1] * n), "a.json: holds more than 8 values"),
    ],
)
def test_charges_add_up_and_the_error_stays(charge, told):
    with file_budget("folder/a.json", SMALL):
        charge(2)
        charge(2)
        for _ in range(2):
            with pytest.raises(BudgetError) as caught:
                charge(9)
            assert str(caught.value).startswith(told)
        with pytest.raises(BudgetError):
            check_budget()
    check_budget()


def test_a_budget_error_is_of_formats_and_of_pictures():
    assert issubclass(BudgetError, FormatError)
    assert issubclass(BudgetError, ImageError)


def test_a_charge_without_a_file_is_held_against_the_limit_alone():
    charge_pixels(LIMITS.pixels)
    charge_pixels(LIMITS.pixels)
    with pytest.raises(BudgetError, match=r"^has masks of more than"):
        charge_pixels(LIMITS.pixels + 1)


def test_a_file_within_a_file_is_named_and_charged_to_the_outer():
    with file_budget("all.zip", SMALL):
        with file_budget("one.json"):
            charge_pixels(5)
            with pytest.raises(BudgetError, match=r"^one.json: is JSON nested"):
                check_depth(9, "JSON")
        with pytest.raises(BudgetError):
            charge_pixels(1)


def test_another_thread_has_a_budget_of_its_own():
    told = []

    def other():
        with file_budget("b.json", SMALL):
            charge_pixels(8)
        told.append("fits")

    with file_budget("a.json", SMALL):
        charge_pixels(8)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert told == ["fits"]


def test_reading_that_takes_too_long_is_stopped():
    with (
        file_budget("a.json", Limits(seconds=-1.0)),
        pytest.raises(BudgetError, match=r"takes more than -1 seconds to read"),
    ):
        check_time()


def test_a_plain_file_is_read_and_too_large_a_one_is_not(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"12345678")
    with file_budget(path, SMALL):
        assert read_file(path) == b"12345678"
        with pytest.raises(BudgetError, match=r"^a.json: is larger than 8 bytes"):
            read_file(path)


def test_only_plain_files_are_read(tmp_path):
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    link = tmp_path / "link.json"
    link.symlink_to("/dev/zero")
    for path, told in (
        (pipe, "is a pipe, socket or device"),
        (link, "is a pipe, socket or device"),
        *(
            (path, "is a pipe, socket or device")
            for path in (Path("/proc/self/mem"),)
            if path.exists()
        ),
        (tmp_path, "it is a folder"),
        (tmp_path / "none", "cannot be read"),
        (Path("a\0b"), "is no path"),
        (tmp_path / ("n" * 300), "cannot be read"),
    ):
        with pytest.raises(FormatError, match=told):
            read_file(path)
        with pytest.raises(ImageError, match=told):
            check_plain_file(path, ImageError)
