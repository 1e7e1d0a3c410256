"""A folder of Parquet files as the result of a run: whole, each image once, and gone on with."""

from __future__ import annotations

import json
import sys

import colours
import pyarrow.dataset
import pyarrow.parquet
import pytest

from napari_patchioner.annotations import Annotation, read_annotations
from napari_patchioner.batch import Dataset, Job, Outcome
from napari_patchioner.cli import main
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Point, WholeImage

SETTINGS = {"model": "mini"}


@pytest.fixture
def caption(pictures, tmp_path, monkeypatch, capsys):
    """Return what runs the command line in an empty folder and gives status and words."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, load=colours.load):
        status = main(["caption", "pictures", *map(str, arguments)], load=load)
        out, told = capsys.readouterr()
        assert out == ""
        return status, told

    return run


MODULE = "napari_patchioner.batch._dataset"


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(f"{MODULE}._IMAGES", 4)


def job(folder, name, caption="a cat", status="done", **extra):
    """Return a job of an image and an outcome with two regions."""
    regions = (
        Annotation("a", name, WholeImage(), caption, extra=extra),
        Annotation("b", name, Point(1, 2), caption[::-1]),
    )
    return Job(name, folder / name), Outcome(name, status, regions, "", 0.5, 7, 9)


def captions(path):
    return {(one.image, one.uid): one.caption for one in read_annotations(path)}


def parts(path):
    return sorted(one.name for one in path.iterdir())


def test_it_holds_what_a_file_holds(pictures, tmp_path, caption, small_parts):
    pictures(10)
    for out in ("one.parquet", "many/"):
        status, told = caption("--regions", "grid:2", "--out", out)
        assert (status, f"{out.strip('/')}: 40 regions" in told) == (0, True)
    one, many = (read_annotations(tmp_path / name) for name in ("one.parquet", "many"))
    assert sorted(map(repr, many)) == sorted(map(repr, one))
    assert parts(tmp_path / "many") == [f"part-{number:05}.parquet" for number in range(3)]
    table = pyarrow.dataset.dataset(tmp_path / "many", format="parquet").to_table()
    assert table.num_rows == 40
    assert table["caption"].to_pylist() == [a.caption for a in many]


def test_what_failed_or_changed_is_replaced_where_it_was(pictures, tmp_path, caption, small_parts):
    folder = pictures(10)
    good = (folder / "0001.png").read_bytes()
    (folder / "0001.png").write_bytes(b"bad")
    asked = ("--regions", "whole", "--out", "out/")
    status, told = caption(*asked)
    assert (status, "1 failed" in told, "all else is kept in out" in told) == (1, True, True)
    first = captions(tmp_path / "out")
    assert (len(first), first["0001.png", "whole"]) == (10, "")
    (folder / "0001.png").write_bytes(good)
    (folder / "0008.png").write_bytes(good)
    status, told = caption(*asked, "--resume")
    assert (status, "2 done, 8 from before" in told) == (0, True)
    second = captions(tmp_path / "out")
    assert len(second) == len(read_annotations(tmp_path / "out")) == 10
    assert second["0001.png", "whole"] == second["0008.png", "whole"] != ""
    others = [key for key in first if key[0] not in ("0001.png", "0008.png")]
    assert [first[key] for key in others] == [second[key] for key in others]
    status, told = caption(*asked, "--resume")
    assert (status, "0 done, 10 from before" in told) == (0, True)


def test_a_folder_of_something_else_is_left_alone(pictures, tmp_path, caption):
    folder = pictures(2)
    before = sorted(folder.iterdir())
    status, told = caption("--regions", "whole", "--out", "pictures")
    assert (status, told.count("\n")) == (2, 1)
    assert "pictures: holds other files, such as 0000.png" in told
    assert sorted(folder.iterdir()) == before


def test_an_earlier_run_is_neither_overwritten_nor_mixed(pictures, tmp_path, caption):
    pictures(2)
    asked = ("--regions", "whole", "--out", "out/")
    assert caption(*asked)[0] == 0
    status, told = caption(*asked)
    assert (status, "out: holds what an earlier run has done; add --resume" in told) == (2, True)
    status, told = caption(*asked, "--beams", "2", "--resume")
    assert (status, "out: was begun with other options" in told) == (2, True)
    assert len(captions(tmp_path / "out")) == 2


def test_nothing_is_left_where_nothing_was_done(pictures, tmp_path, caption):
    pictures(2)
    status, told = caption("--regions", "whole", "--out", "out/", load=colours.load_nothing)
    assert (status, "there is no model" in told) == (2, True)
    assert not (tmp_path / "out").exists()


def test_a_damaged_part_is_named(tmp_path):
    dataset = Dataset(tmp_path / "out", SETTINGS)
    dataset.add(*job(tmp_path, "x.png"), "1")
    dataset.close()
    [part] = (tmp_path / "out").iterdir()
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(FormatError, match=r"part-00000.parquet: is damaged"):
        Dataset(tmp_path / "out", SETTINGS, resume=True)
    pyarrow.parquet.write_table(pyarrow.table({"x": [1]}), part)
    with pytest.raises(FormatError, match="or no part of a run"):
        Dataset(tmp_path / "out", SETTINGS, resume=True)


def test_an_image_in_two_parts_is_told(tmp_path):
    dataset = Dataset(tmp_path / "out", SETTINGS)
    dataset.add(*job(tmp_path, "x.png"), "1")
    dataset.close()
    [part] = (tmp_path / "out").iterdir()
    (tmp_path / "out" / "copy.parquet").write_bytes(part.read_bytes())
    with pytest.raises(FormatError, match=r"x.png is in copy.parquet as well"):
        Dataset(tmp_path / "out", SETTINGS, resume=True)


def test_what_was_added_is_known_before_and_after_it_is_written(tmp_path):
    dataset = Dataset(tmp_path / "out", SETTINGS)
    done, outcome = job(tmp_path, "x.png")
    bad, failed = job(tmp_path, "y.png", status="failed")
    for flush in (lambda: None, dataset.flush):
        dataset.add(done, outcome, "1")
        dataset.add(bad, failed, "1")
        flush()
        assert (dataset.knows(done, "1"), dataset.knows(done, "2")) == (True, False)
        assert (dataset.knows(bad, "1"), len(dataset)) == (False, 2)
    dataset.close()
    again = Dataset(tmp_path / "out", SETTINGS, resume=True)
    assert (again.knows(done, "1"), again.knows(bad, "1"), len(again)) == (True, False, 2)


def test_parts_are_written_in_time(tmp_path, monkeypatch):
    dataset = Dataset(tmp_path / "out", SETTINGS)
    dataset.add(*job(tmp_path, "x.png"), "1")
    assert parts(tmp_path / "out") == []
    monkeypatch.setattr(f"{MODULE}._SECONDS", 0.0)
    dataset.add(*job(tmp_path, "y.png"), "1")
    assert parts(tmp_path / "out") == ["part-00000.parquet"]
    monkeypatch.setattr(f"{MODULE}._SECONDS", 1e9)
    monkeypatch.setattr(f"{MODULE}._REGIONS", 4)
    dataset.add(*job(tmp_path, "z.png"), "1")
    assert len(parts(tmp_path / "out")) == 1
    dataset.add(*job(tmp_path, "w.png"), "1")
    assert len(parts(tmp_path / "out")) == 2


def test_all_parts_get_the_same_columns_in_the_end(tmp_path):
    dataset = Dataset(tmp_path / "out", SETTINGS)
    for name, extra in (("x.png", {"site": "a"}), ("y.png", {}), ("z.png", {"x": "ünder\n"})):
        dataset.add(*job(tmp_path, name, **extra), "1")
        dataset.flush()
    before = captions(tmp_path / "out")
    assert dataset.finish() == 6
    schemas = [pyarrow.parquet.read_schema(one) for one in (tmp_path / "out").iterdir()]
    assert len(schemas) == 3
    assert all(schema.equals(schemas[0], check_metadata=False) for schema in schemas)
    found = {(one.image, one.uid): one for one in read_annotations(tmp_path / "out")}
    assert {key: one.caption for key, one in found.items()} == before
    assert found["z.png", "a"].extra == {"x": "ünder\n"}
    dataset.close()
    again = Dataset(tmp_path / "out", SETTINGS, resume=True)
    assert (again.finish(), len(again)) == (6, 3)


@pytest.mark.parametrize("at", ["write_bytes", "check_unique", "table_of"])
def test_an_interruption_at_any_point_loses_nothing_and_doubles_nothing(tmp_path, monkeypatch, at):
    """The second write, of the new part, or the first, of the old one, may be cut off."""
    for when in (1, 2):
        out = tmp_path / f"{at}{when}"
        dataset = Dataset(out, SETTINGS)
        for name in ("x.png", "y.png"):
            dataset.add(*job(tmp_path, name, "old"), "1")
        dataset.flush()
        dataset.add(*job(tmp_path, "x.png", "new"), "2")
        dataset.add(*job(tmp_path, "z.png", "new"), "1")
        interrupt_after(monkeypatch, sys.modules[MODULE], at, when)
        with pytest.raises(KeyboardInterrupt):
            dataset.flush()
        monkeypatch.undo()
        seen = [one.image for one in read_annotations(out)]
        assert len(seen) == 2 * len(set(seen))
        dataset.close()
        said = {image: text for (image, uid), text in captions(out).items() if uid == "a"}
        assert said == {"x.png": "new", "y.png": "old", "z.png": "new"}
        assert len(Dataset(out, SETTINGS, resume=True)) == 3


def interrupt_after(monkeypatch, module, name, when):
    """Let a function raise KeyboardInterrupt once it has done its work for the nth time."""
    real, calls = getattr(module, name), []

    def cut(*arguments):
        answer = real(*arguments)
        calls.append(arguments)
        if len(calls) == when:
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(module, name, cut)


def test_footers_tell_of_images_without_regions(tmp_path):
    dataset = Dataset(tmp_path / "out", SETTINGS)
    dataset.add(Job("x.png", tmp_path / "x.png"), Outcome("x.png", "skipped"), "1")
    dataset.close()
    [part] = (tmp_path / "out").iterdir()
    note = json.loads(pyarrow.parquet.read_schema(part).metadata[b"napari-patchioner part"])
    assert [one["image"] for one in note["images"]] == ["x.png"]
    again = Dataset(tmp_path / "out", SETTINGS, resume=True)
    assert again.knows(Job("x.png", tmp_path / "x.png"), "1")
    assert read_annotations(part) == []
