from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_patchioner.annotations import Annotation
from napari_patchioner.batch import Job, Journal, Outcome
from napari_patchioner.batch._journal import outcome_from_json, outcome_to_json, seal, unseal
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Box, Mask, Point, RegionSet, WholeImage

SETTINGS = {"model": "mini", "regions": "whole"}


def job(number: int) -> Job:
    return Job(f"{number}.png", Path(f"/pictures/{number}.png"))


def outcome(number: int, caption: str = "a cat", status: str = "done") -> Outcome:
    said = Annotation("whole", f"{number}.png", WholeImage(), caption, 0.25, "model", "mini")
    return Outcome(f"{number}.png", status, (said,), height=4, width=6)


def captions(journal: Journal, count: int) -> dict[int, str]:
    found = {number: journal.outcome(job(number)) for number in range(count)}
    return {number: one.annotations[0].caption for number, one in found.items() if one}


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damage_anywhere_loses_whole_lines_and_changes_none(tmp_path_factory, data):
    said = data.draw(st.lists(st.text(max_size=12), min_size=1, max_size=6))
    path = tmp_path_factory.mktemp("journal") / "out.csv.part"
    journal = Journal(path, SETTINGS)
    for number, caption in enumerate(said):
        journal.add(job(number), outcome(number, caption), "1")
    journal.close()
    whole = path.read_bytes()
    first = data.draw(st.integers(0, len(whole)))
    last = data.draw(st.integers(first, len(whole)))
    path.write_bytes(whole[:first] + data.draw(st.binary(max_size=9)) + whole[last:])
    untouched = lines_outside(whole, first, last)
    if 0 not in untouched:
        with suppress(FormatError):
            Journal(path, SETTINGS, resume=True).close()
        return
    journal = Journal(path, SETTINGS, resume=True)
    before = captions(journal, len(said))
    assert all(before[number] == said[number] for number in before)
    assert {number - 1 for number in untouched} - {-1} <= before.keys()
    for number, caption in enumerate(said):
        if not journal.knows(job(number), "1"):
            journal.add(job(number), outcome(number, caption), "1")
    journal.close()
    again = Journal(path, SETTINGS, resume=True)
    assert captions(again, len(said)) == dict(enumerate(said))
    again.close()


def lines_outside(whole: bytes, first: int, last: int) -> set[int]:
    """Numbers of the lines that a damage has left alone, and what stands right before them."""
    found, begin = set(), 0
    for number, line in enumerate(whole.splitlines(keepends=True)):
        end = begin + len(line)
        if end <= first or begin > last:
            found.add(number)
        begin = end
    return found


@given(st.recursive(st.none() | st.floats(allow_nan=False) | st.text(), st.lists, max_leaves=5))
def test_a_sealed_entry_is_one_line_and_reads_back(entry):
    line = seal(entry)
    assert line.count(b"\n") == 1
    assert unseal(line) == entry
    assert unseal(line[:-2]) is None


def test_regions_of_every_kind_read_back_letter_by_letter():
    box = Box(-0.5, 1 / 3, 10.1, 20.123456789012345)
    mask = Mask(np.array([[True, False], [True, True]]), (3, 5))
    said = [
        Annotation(
            "a", "x.png", box, "=1+1\n'\ud83d'", None, "human", "", {"kind": "odd", "é": ""}
        ),
        Annotation("b", "y.png", mask, "", 0.5, "model", "mini"),
        Annotation("c", "", RegionSet((box, Point(1, 2), mask), union=True)),
        Annotation("d", "", box, written=(box, "POLYGON((0 0,1 0,1 1,0 1,0 0))")),
    ]
    known = Outcome("x.png", "failed", tuple(said), "why", 1.25, 40, 60)
    found = outcome_from_json(unseal(seal(outcome_to_json(known))))
    assert (found.image, found.status, found.why, found.seconds) == ("x.png", "failed", "why", 1.25)
    assert (found.height, found.width) == (40, 60)
    for one, other in zip(said, found.annotations, strict=True):
        names = ("uid", "image", "caption", "score", "source", "model", "extra", "kind")
        assert [getattr(one, n) for n in names] == [getattr(other, n) for n in names]
    first, second, third, fourth = (one.region for one in found.annotations)
    edges = (box.top, box.left, box.bottom, box.right)
    assert (first.top, first.left, first.bottom, first.right) == pytest.approx(edges, abs=1e-12)
    assert second.pixels.tolist() == mask.pixels.tolist()
    assert second.offset == (3, 5)
    assert third.union
    assert [type(member) for member in third.members] == [Box, Point, Mask]
    assert found.annotations[3].written == (fourth, "POLYGON((0 0,1 0,1 1,0 1,0 0))")


def test_a_journal_is_neither_overwritten_nor_mistaken_for_another(tmp_path):
    path = tmp_path / "out.csv.part"
    Journal(path, SETTINGS).close()
    with pytest.raises(FormatError, match=r"out\.csv\.part: holds .* --resume"):
        Journal(path, SETTINGS)
    with pytest.raises(FormatError, match=r"other model \(mini, now maxi\)"):
        Journal(path, {**SETTINGS, "model": "maxi"}, resume=True)
    for foreign in (b"image,uid\n", seal({"other": "program"})):
        path.write_bytes(foreign)
        with pytest.raises(FormatError, match="no journal of this version"):
            Journal(path, SETTINGS, resume=True)
        assert path.read_bytes() == foreign
    with pytest.raises(FormatError, match="cannot be written"):
        Journal(tmp_path / "none" / "out.csv.part", SETTINGS)


def test_what_failed_or_has_changed_is_not_known(tmp_path):
    journal = Journal(tmp_path / "out.csv.part", SETTINGS)
    journal.add(job(1), outcome(1), "1")
    journal.add(job(2), outcome(2, "", "failed"), "1")
    assert [journal.knows(job(n), "1") for n in (1, 2, 3)] == [True, False, False]
    assert not journal.knows(job(1), "2")
    assert len(journal) == 2
    journal.add(job(2), outcome(2, "better"), "1")
    assert journal.knows(job(2), "1")
    assert captions(journal, 3) == {1: "a cat", 2: "better"}
    journal.delete()
    assert not journal.path.exists()


@pytest.mark.parametrize("length", [0, 5, 40])
def test_a_first_line_that_was_cut_off_begins_anew(tmp_path, length):
    path = tmp_path / "out.csv.part"
    Journal(path, SETTINGS).close()
    path.write_bytes(path.read_bytes()[:length])
    journal = Journal(path, SETTINGS, resume=True)
    journal.add(job(0), outcome(0), "1")
    journal.close()
    again = Journal(path, SETTINGS, resume=True)
    assert captions(again, 1) == {0: "a cat"}
    again.close()


def test_each_outcome_is_on_disk_at_once(tmp_path):
    path = tmp_path / "out.csv.part"
    journal = Journal(path, SETTINGS)
    for number in range(3):
        journal.add(job(number), outcome(number), "1")
        assert len(path.read_bytes().splitlines()) == number + 2
    journal.close()
