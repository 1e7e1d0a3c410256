"""Whatever a command writes: no file is lost that nobody named, and that is said before the work.

One case for every command that has ``--out``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from colours import Loader
from PIL import Image

from napari_patchioner.annotations import Annotation, write_annotations, write_tidy_csv
from napari_patchioner.cli import main
from napari_patchioner.regions import Box

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Commands whose --out is a folder that has to be new, each with tests of its own.
NEW_FOLDERS = {"teach", "lexicon", "memory", "train"}
FOLDERS = {"demo", "evaluate", "reproduce"}
FILES = {
    "caption": ["caption", "scans/a.png", "scans/b.png", "--regions", "boxes.csv"],
    "baseline": [
        *("baseline", "magic", "scans/a.png", "scans/b.png", "--regions", "boxes.csv"),
        *("--clip", "none", "--gpt2", "none"),
    ],
    "find": ["find", "scans/a.png", "scans/b.png", "--phrase", "a cat"],
    "like": ["find", "scans/a.png", "scans/b.png", "--like", "boxes.csv"],
    "check": ["check", "scans/a.png", "scans/b.png", "--regions", "boxes.csv"],
    "compare": ["compare", "scans/a.png", "--regions", "boxes.csv"],
}
CAPTIONS = {"caption", "baseline"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder to work in: two pictures, a table of boxes drawn by hand, other files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").mkdir()
    for name in "ab":
        Image.fromarray(np.full((32, 64, 3), 90, np.uint8)).save(tmp_path / "scans" / f"{name}.png")
    Image.fromarray(np.full((32, 64, 3), 9, np.uint8)).save(tmp_path / "other.png")
    boxes = [
        Annotation(uid, f"{image}.png", Box(2, 2, 30, 30), "a cat", None, "human")
        for uid, image in (("1", "a"), ("2", "a"), ("3", "b"))
    ]
    write_tidy_csv(tmp_path / "boxes.csv", boxes)
    (tmp_path / "ages.csv").write_text("name,age\nAda,36\n", encoding="utf-8")
    (tmp_path / "settings.json").write_text('{"theme": "dark"}', encoding="utf-8")
    (tmp_path / "page.html").write_text("<html><p>mine</p></html>", encoding="utf-8")
    drawn = [Annotation("u1", "other.png", Box(2, 2, 30, 30))]
    write_tidy_csv(tmp_path / "drawn.csv", drawn)
    return tmp_path


@pytest.fixture
def untouched(folder: Path) -> Callable[[], None]:
    """Return what asserts that no file has changed, gone or come."""

    def state() -> dict[str, bytes]:
        paths = (path for path in folder.rglob("*") if path.is_file())
        return {str(path): path.read_bytes() for path in paths}

    before = state()

    def check() -> None:
        assert state() == before

    return check


def never(name: str) -> Any:
    raise AssertionError(f"{name} is loaded before the file was refused")


def refused(capsys: Any, asked: list[str]) -> str:
    """Return the one sentence with which a command refuses what was asked."""
    capsys.readouterr()
    assert main(asked, load=never) == 2
    [said] = capsys.readouterr().err.splitlines()
    return str(said)


def test_every_command_that_writes_a_file_has_a_case(capsys):
    def help_of(*command: str) -> str:
        with pytest.raises(SystemExit):
            main([*command, "--help"])
        return capsys.readouterr().out

    commands = re.findall(r"^    ([a-z]+)", help_of(), re.MULTILINE)
    writing = {name for name in commands if "--out" in help_of(name)}
    assert writing - FOLDERS - NEW_FOLDERS == FILES.keys() - {"like"}
    for name in writing - NEW_FOLDERS - {"reproduce"}:
        assert "--overwrite" in help_of(name)


@pytest.mark.parametrize("name", ["ages.csv", "drawn.csv"])
@pytest.mark.parametrize("command", FILES)
def test_what_is_there_is_replaced_only_if_asked(folder, untouched, capsys, command, name):
    said = refused(capsys, [*FILES[command], "--out", name])
    assert said.startswith(f"napari-patchioner: {name}: is there")
    assert "--overwrite" in said
    untouched()


@pytest.mark.parametrize("name", ["settings.json", "page.html"])
@pytest.mark.parametrize("command", [name for name in FILES if name != "compare"])
def test_so_it_is_whatever_the_format(folder, untouched, capsys, command, name):
    assert "--overwrite" in refused(capsys, [*FILES[command], "--out", name])
    untouched()


@pytest.mark.parametrize("more", [[], ["--overwrite"]])
@pytest.mark.parametrize("command", FILES)
def test_an_image_is_never_replaced(folder, untouched, capsys, command, more):
    for name in ("scans/a.png", "other.png"):
        assert name[-5:] in refused(capsys, [*FILES[command], "--out", name, *more])
    # A picture under the name of a table is one as well.
    picture = folder / "picture.csv"
    picture.write_bytes((folder / "other.png").read_bytes())
    assert "is an image" in refused(capsys, [*FILES[command], "--out", "picture.csv", *more])
    picture.unlink()
    untouched()


@pytest.mark.parametrize("command", ["like", "check", "compare"])
def test_what_is_read_is_never_replaced(folder, untouched, capsys, command):
    (folder / "link.csv").symlink_to(folder / "boxes.csv")
    for name in ("boxes.csv", "link.csv"):
        said = refused(capsys, [*FILES[command], "--out", name, "--overwrite"])
        assert "is read by this very run" in said
    (folder / "link.csv").unlink()
    untouched()


@pytest.mark.parametrize("more", [[], ["--overwrite"]])
@pytest.mark.parametrize("name", ["new.xyz", "new", "new.txt"])
@pytest.mark.parametrize("command", FILES)
def test_an_unknown_ending_is_refused_before_the_work(
    folder, untouched, capsys, command, name, more
):
    assert name in refused(capsys, [*FILES[command], "--out", name, *more])
    untouched()


def test_a_table_is_no_parquet(folder, untouched, capsys):
    said = refused(capsys, [*FILES["compare"], "--out", "new.parquet"])
    assert "is written as .csv" in said
    untouched()


@pytest.mark.parametrize("form", ["new.geojson", "new.zip"])
@pytest.mark.parametrize("command", [name for name in FILES if name != "compare"])
def test_files_of_one_image_each_are_looked_at_one_by_one(folder, untouched, capsys, command, form):
    stem, ending = form.split(".")
    words = [Annotation("9", "b.png", Box(1, 1, 9, 9), "by a person", None, "human")]
    there = folder / f"{stem}-b.{ending}"
    write_annotations(there, words)
    before = there.read_bytes()
    assert there.name in refused(capsys, [*FILES[command], "--out", form])
    assert there.read_bytes() == before
    there.unlink()
    untouched()


def test_a_result_is_replaced_and_so_is_what_was_asked_for(folder, capsys):
    load = Loader()
    asked = [*FILES["caption"][:-1], "whole", "--out"]
    assert [main([*asked, "new.csv"], load=load) for _ in range(2)] == [0, 0]
    assert main([*asked, "ages.csv"], load=load) == 2
    assert main([*asked, "ages.csv", "--overwrite"], load=load) == 0
    assert "ages" not in (folder / "ages.csv").read_text(encoding="utf-8")
    (folder / "empty.csv").touch()
    assert main([*asked, "empty.csv"], load=load) == 0
    # The file that the regions are from holds their captions afterwards, as documented.
    assert main([*FILES["caption"], "--out", "boxes.csv"], load=load) == 0


def test_a_run_that_is_gone_on_with_writes_its_own_file(folder):
    load = Loader()
    (folder / "scans" / "b.png").write_bytes(b"no picture")
    write_tidy_csv(
        folder / "boxes.csv",
        [Annotation(uid, f"{uid}.png", Box(2, 2, 30, 30)) for uid in ("a", "b")],
    )
    asked = [*FILES["caption"], "--out", "new.csv"]
    assert main(asked, load=load) == 1
    Image.fromarray(np.full((32, 64, 3), 90, np.uint8)).save(folder / "scans" / "b.png")
    assert main([*asked, "--resume"], load=load) == 0


@pytest.mark.parametrize("name", ["captions.csv", "overlay.png", "shapes-coffee.csv"])
def test_a_demo_replaces_only_a_demo(folder, untouched, capsys, name):
    there = folder / "demo" / name
    there.parent.mkdir()
    source = "other.png" if name.endswith(".png") else "ages.csv"
    there.write_bytes((folder / source).read_bytes())
    assert name in refused(capsys, ["demo", "--no-viewer"])
    assert there.read_bytes() == (folder / source).read_bytes()
    there.unlink()
    untouched()


def test_a_demo_may_be_seen_twice(folder, mini):
    assert [main(["demo", "--no-viewer"], load=lambda _: mini) for _ in range(2)] == [0, 0]


@pytest.mark.parametrize("name", ["scores.json", "index.html", "scores.csv"])
def test_an_evaluation_replaces_only_what_one_has_written(folder, untouched, capsys, name):
    (folder / "site").mkdir()
    (folder / "site" / name).write_text("mine", encoding="utf-8")
    asked = ["evaluate", "dense", "--data", "settings.json", "--images", "scans", "--model", "mini"]
    assert name in refused(capsys, [*asked, "--out", "site"])
    assert (folder / "site" / name).read_text(encoding="utf-8") == "mine"
    said = refused(capsys, [*asked, "--out", "new", "--table", "ages.csv"])
    assert "ages.csv" in said
    assert "run" in said
