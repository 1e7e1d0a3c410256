"""``memory build``, ``list``, ``info``, ``remove``, and captioning with a memory."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict

import pytest
from PIL import Image
from skimage.data import cat

from napari_patchioner.annotations import Project, ProjectImage, write_project
from napari_patchioner.annotations.project.records import Plane, Record
from napari_patchioner.cli import main
from napari_patchioner.models.memories import MemoryChoice


@pytest.fixture
def run(mini, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NAPARI_PATCHIONER_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    Image.fromarray(cat()[80:140]).save(tmp_path / "cat.png")
    capsys.readouterr()

    def command(*arguments):
        status = main(list(arguments), load=lambda model: mini)
        told = capsys.readouterr()
        return status, told.out, told.err

    return command


def captions(out):
    return [row["caption"] for row in csv.DictReader(io.StringIO(out))]


def test_a_vocabulary_from_a_table_to_captions(run, tmp_path):
    table = 'Name,n\n"a tabby cat, looking",1\na red bus,2\n,3\n42,4\nA  red BUS,5\n'
    (tmp_path / "pets.csv").write_text(table)
    (tmp_path / "nothing.csv").write_text("")
    said = run("memory", "build", "nothing.csv", "--name", "pets")[2]
    assert "No text is left of nothing.csv: there is nothing to read" in said
    said = run("memory", "build", "pets.csv", "--name", "pets two")[2]
    assert "pets.csv: texts are taken from the column 'Name'" in said
    assert "--memory 'pets two' ..." in said
    assert run("memory", "remove", "pets two")[0] == 0
    status, _, said = run("memory", "build", "pets.csv", "--name", "pets", "--column", "name")
    assert status == 0
    for line in (
        "2 of 5 texts kept",
        "1 empty, such as line 4 of pets.csv",
        "1 without words, such as line 5 of pets.csv: '42'",
        "1 there already, such as line 6 of pets.csv: 'A red BUS'",
        "pets: 2 sentences for mini",
        "napari-patchioner caption --model mini --memory pets",
    ):
        assert line in said
    _, listed, _ = run("memory", "list")
    assert [line.split()[:3] for line in listed.splitlines()[2:]] == [
        ["microscopy", "built", "when"],
        ["photographs", "built", "when"],
        ["pets", "2", "mini"],
    ]
    _, shown, _ = run("memory", "info", "pets")
    assert "sources        pets.csv" in shown
    whole = ("caption", "cat.png", "--regions", "whole")
    [row] = csv.DictReader(io.StringIO(run(*whole, "--memory", "pets")[1]))
    assert row["caption"] == "a tabby cat, looking"
    made_with = json.loads(row["origin"])["options"]["memory"]
    assert {name: made_with[name] for name in ("memory", "weight", "quote")} == asdict(
        MemoryChoice("pets")
    )
    assert f"sha256         {made_with['sha256']}" in shown
    mixed = captions(run(*whole, "--memory", "pets", "--memory-weight", "0.01")[1])
    assert mixed
    assert mixed != ["a tabby cat, looking"]
    assert run("memory", "remove", "pets")[0] == 0
    assert run("memory", "remove", "pets")[0] == 2


def test_a_memory_as_a_folder(run, tmp_path):
    (tmp_path / "lines.txt").write_text("a tabby cat\n")
    assert "bank: 1 sentence for mini" in run("memory", "build", "lines.txt", "--out", "bank")[2]
    assert "a folder of yours" in run("memory", "remove", "bank")[2]
    assert captions(run("caption", "cat.png", "--regions", "whole", "--memory", "bank")[1])
    # Its sentences can be embedded once more.
    assert run("memory", "build", "bank", "lines.txt", "--name", "again")[0] == 0
    status, _, said = run("memory", "build", "lines.txt", "--out", "bank")
    assert (status, "is there already" in said) == (2, True)


def test_what_people_wrote_in_a_project(run, tmp_path):
    plane = Plane((0, 1), ())
    records = (
        Record("a", plane=plane, caption="a purple cell", source="human"),
        Record("b", plane=plane, caption="a red cell", source="edited"),
        Record("c", plane=plane, caption="a blur", source="model", model="mini"),
        Record("d", plane=plane, caption="a platelet", source="model", reviewed=True),
    )
    write_project(tmp_path / "cells.patchioner.json", Project(ProjectImage("cells"), records))
    assert run("memory", "build", "cells.patchioner.json", "--out", "bank")[0] == 0
    kept = (tmp_path / "bank" / "captions.txt").read_text().splitlines()
    assert kept == ["a purple cell", "a red cell", "a platelet"]


WHOLE = ("caption", "cat.png", "--regions", "whole")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("memory", "build", "none.txt", "--name", "x"), "none.txt: cannot be read"),
        (("memory", "build", "cat.png", "--name", "x"), "cat.png: is not a text file"),
        (("memory", "build", ".", "--name", "x"), "is a folder and no memory"),
        (("memory", "build", "a.csv", "--name", "x", "--column", "y"), "has no column 'y'"),
        (("memory", "build", "a.csv", "--name", "a/b"), "A memory cannot be called 'a/b'"),
        (("memory", "info", "nothing"), "There is no memory 'nothing'"),
        (("memory", "build", "boxes.csv", "--name", "x"), "a table of regions without captions"),
        (("memory", "remove", "microscopy"), "comes with the package"),
        (
            ("caption", "cat.png", "--regions", "whole", "--memory", "nothing"),
            "no memory 'nothing'",
        ),
        ((*WHOLE, "--quote"), "name --memory"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(run, tmp_path, arguments, sentence):
    (tmp_path / "a.csv").write_text("caption,n\na cell,1\n")
    (tmp_path / "boxes.csv").write_text('uid,kind,wkt\n1,box,"POLYGON ((0 0, 0 9, 9 9, 0 0))"\n')
    status, out, said = run(*arguments)
    assert (status, out) == (2, "")
    assert sentence in said.splitlines()[-1]
    assert "Traceback" not in said


def test_a_run_that_built_what_comes_along_is_gone_on_with(run, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    files = ("caption", "cat.png", "bad.png", "--regions", "whole", "--out", "out.csv")
    assert run(*files, "--memory", "microscopy")[0] == 1
    (tmp_path / "bad.png").write_bytes((tmp_path / "cat.png").read_bytes())
    assert run(*files, "--memory", "microscopy", "--resume")[0] == 0


def test_a_run_with_another_memory_is_not_gone_on_with(run, tmp_path):
    for name, text in (("one", "a tabby cat"), ("two", "a red bus")):
        (tmp_path / f"{name}.txt").write_text(text)
        assert run("memory", "build", f"{name}.txt", "--name", name)[0] == 0
    (tmp_path / "bad.png").write_bytes(b"no picture")
    files = ("caption", "cat.png", "bad.png", "--regions", "whole", "--out", "out.csv")
    assert run(*files, "--memory", "one")[0] == 1
    status, _, said = run(*files, "--memory", "two", "--resume")
    assert status == 2
    assert "memory" in said
