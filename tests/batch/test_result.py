from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from napari_patchioner.annotations import Annotation, read_annotations, write_annotations
from napari_patchioner.annotations.formats import tidy_csv
from napari_patchioner.batch import Job, Journal, Outcome, Result
from napari_patchioner.regions import Box, Point, RegionSet


def outcome(number: int, count: int) -> Outcome:
    said = tuple(
        Annotation(
            str(place),
            f"{number}.png",
            Box(0.0, float(place), 7.25, place + 3.5),
            f"a cat on chair {place}",
            0.5,
            "model",
            "mini",
            {"origin": f"{number}", **({"odd": "=1"} if number == 3 else {})},
        )
        for place in range(count)
    )
    return Outcome(f"{number}.png", "done", said, height=8, width=9)


@pytest.fixture
def journaled(tmp_path):
    """Return what makes a journal of so many images, in a mixed order, and their result."""

    def make(images: int, regions: int) -> tuple[Result, list[Outcome]]:
        jobs = [Job(f"{number}.png", Path(f"/p/{number}.png")) for number in range(images)]
        outcomes = [outcome(number, regions) for number in range(images)]
        journal = Journal(tmp_path / "out.part", {})
        for number in sorted(range(images), key=lambda n: (n * 7) % images):
            journal.add(jobs[number], outcomes[number], "")
        return Result(jobs, journal), outcomes

    return make


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", "out.json"])
def test_a_file_from_disk_is_the_file_from_memory(journaled, tmp_path, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    result, outcomes = journaled(5, 4)
    held = [one for found in outcomes for one in found.annotations]
    assert result.write(tmp_path / name) == (20, ())
    write_annotations(tmp_path / f"held-{name}", held, result.images())
    assert (tmp_path / name).read_bytes() == (tmp_path / f"held-{name}").read_bytes()
    assert len(read_annotations(tmp_path / name)) == 20


def test_a_result_is_a_sequence(journaled):
    result, _ = journaled(4, 3)
    uids = [f"{one.image}/{one.uid}" for one in result]
    assert uids == [f"{number}.png/{place}" for number in range(4) for place in range(3)]
    assert len(result) == 12
    assert (result[4].uid, result[-1].image, [one.uid for one in result[1:3]]) == (
        "1",
        "3.png",
        ["1", "2"],
    )
    with pytest.raises(IndexError):
        result[12]
    with pytest.raises(IndexError):
        result[-13]
    assert {(one.height, one.width) for one in result.images().values()} == {(8, 9)}


def test_sets_bring_their_column_along(tmp_path):
    members = (Box(0, 0, 4, 4), Point(1.0, 2.0))
    journal = Journal(tmp_path / "sets.part", {})
    job = Job("x.png", Path("/p/x.png"))
    said = Annotation("s", "x.png", RegionSet(members, union=True), "both")
    journal.add(job, Outcome("x.png", "done", (said,)), "")
    assert Result([job], journal).write(tmp_path / "sets.csv") == (1, ())
    [found] = read_annotations(tmp_path / "sets.csv")
    assert found.region.union
    assert len(found.region.members) == 2


def test_each_line_is_written_before_the_next_region_is_read(journaled, tmp_path, monkeypatch):
    result, _ = journaled(3, 5)
    read, at_lines = [], []

    class Watched(Sequence):
        __len__, __getitem__ = result.__len__, result.__getitem__

        def __iter__(self):
            read.clear()
            for annotation in result:
                read.append(annotation.uid)
                yield annotation

    encode = tidy_csv.encode_text
    monkeypatch.setattr(
        tidy_csv, "encode_text", lambda *args: (at_lines.append(len(read)), encode(*args))[1]
    )
    tidy_csv.write_tidy_csv(tmp_path / "out.csv", Watched())
    assert at_lines[-15:] == list(range(1, 16))
