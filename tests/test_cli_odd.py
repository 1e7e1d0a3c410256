"""Odd command lines: each is told in one sentence, with status 2, before anything is captioned."""

from __future__ import annotations

import os

import colours
import numpy as np
import pytest
from PIL import Image

from napari_patchioner.cli import main

HUGE = "9" * 5000
WHOLE = ["caption", "a.png", "--regions", "whole"]
EVALUATE = ["evaluate", "dense", "--data", "d.json", "--images", ".", "--model", "mini"]
ODD = [
    # numbers
    *(
        [*WHOLE, option, value]
        for option in ("--beams", "--max-tokens", "--repetition", "--workers", "--threads")
        for value in ("0", "-1", "1.5", "nan", "", " ", "1e3", "10000000000", HUGE, "٣", "²")
    ),
    *(
        [*WHOLE, "--temperature", value]
        for value in ("0", "-1", "nan", "inf", "-inf", "", "x", "1e-320", "1e999", HUGE)
    ),
    *([*WHOLE, "--pixel-size", value] for value in ("abc", "-1um", "0 um")),
    *(
        ["caption", "a.png", "--regions", f"grid:{value}"]
        for value in ("", "0", "-1", "1.5", "nan", "100000", "257", HUGE, "1 ", "x")
    ),
    *([*EVALUATE, "--out", "o", "--limit", value] for value in ("0", "-3", "x", HUGE)),
    # words that are none of the choices
    [*WHOLE, "--length", "novel"],
    [*WHOLE, "--pooling", ""],
    [*WHOLE, "--format", ""],
    [*WHOLE, "--format", "../tidy"],
    ["evaluate", "video"],
    [*EVALUATE, "--out", "o", "--baseline", "oracle"],
    [*EVALUATE, "--out", "o", "--metrics", "bleu9"],
    ["baseline", "gpt", "a.png"],
    ["paint"],
    [""],
    ["-"],
    ["--"],
    # regions
    ["caption", "a.png", "--regions", ""],
    ["caption", "a.png", "--regions", "."],
    ["caption", "a.png", "--regions", "none.csv"],
    ["caption", "a.png", "--regions", "-"],
    ["caption", "a.png", "--regions", "labels:"],
    ["caption", "a.png", "--regions", "labels:none"],
    ["caption", "a.png", "--regions", "labels:a.png"],
    ["caption", "a.png", "--regions", "labels:empty"],
    ["caption", "a.png", "--regions", "whole\0"],
    ["caption", "a.png", "--regions", "fifo"],
    ["caption", "a.png", "--regions", "/dev/zero"],
    *(
        ["caption", "a.png", "--regions", path]
        for path in ("/proc/self/mem",)
        if os.path.exists(path)
    ),
    ["caption", "a.png", "--regions="],
    ["caption", "a.png", "--regions", "x" * 5000],
    # images
    ["caption", "", "--regions", "whole"],
    ["caption", "none.png", "--regions", "whole"],
    ["caption", "empty", "--regions", "whole"],
    ["caption", "empty", "-r", "--regions", "whole"],
    ["caption", "*.tif", "--regions", "whole"],
    ["caption", "[", "--regions", "whole"],
    ["caption", "\0", "--regions", "whole"],
    ["caption", "\udcff.png", "--regions", "whole"],
    ["caption", "x" * 5000, "--regions", "whole"],
    ["caption", "~nobody/x.png", "--regions", "whole"],
    ["caption", "a\nb.png", "--regions", "whole"],
    [*WHOLE, "--model\n", "x"],
    ["caption", "-", "--regions", "whole"],
    # where the result goes
    *(
        [*WHOLE, "--out", out]
        for out in (
            "",
            ".",
            "..",
            "/",
            "empty/none/x.csv",
            "a.png/x.csv",
            "/proc/x.csv",
            "/dev/full",
            "/dev/null",
            "/dev/stdout",
            "fifo",
            "x.txt",
            "x",
            ".csv.",
            "x.csv\0",
            f"{'x' * 300}.csv",
            "link.csv/",
            "a.png",
        )
    ),
    [*WHOLE, "--out", "/dev/full", "--format", "tidy"],
    [*WHOLE, "--out", "fifo", "--format", "tidy"],
    [*WHOLE, "--out", "x.csv", "--format", "napari"],
    [*WHOLE, "--out", "x.json", "--format", "visual-genome"],
    [*WHOLE, "--out", "x.jsonl"],
    [*WHOLE, "--format", "yolo"],
    ["caption", "a.png", "b.png", "--regions", "whole", "--out", "x.json", "--format", "labelme"],
    [*WHOLE, "--resume"],
    [*WHOLE, "--only-empty", "--overwrite"],
    # clusters and models
    [*WHOLE, "--scheduler", ""],
    [*WHOLE, "--scheduler", "nonsense"],
    [*WHOLE, "--scheduler", "a.png"],
    [*WHOLE, "--scheduler", "tcp://127.0.0.1:1", "--workers", "2"],
    ["models", "get", "none"],
    ["models", "get", ""],
    ["models", "get", "../x"],
    ["models", "get", "mini\0"],
    ["models", "info", "\udcff"],
    ["models", "remove", ".."],
    ["models", "remove", "/"],
    ["models", "remove", "mini"],
    ["models", "add", "none"],
    ["models", "add", ""],
    ["models", "add", "a.png"],
    ["models", "add", "/dev/zero"],
    ["models", "add", "fifo"],
    ["models", "add", "\0"],
    # evaluation
    [*EVALUATE, "--out", "a.png"],
    [*EVALUATE, "--out", ""],
    [*EVALUATE, "--out", "/proc/x"],
    ["evaluate", "dense", "--data", "fifo", *EVALUATE[4:], "--out", "o"],
    ["evaluate", "trace", "--data", "fifo.jsonl", *EVALUATE[4:], "--out", "o"],
    ["evaluate", "--compare", "a.png", "."],
    ["evaluate", "--compare", "", ""],
    ["reproduce", "table9", "--root", ".", "--out", "o"],
    ["reproduce", "table2", "--root", "none", "--out", "o"],
    ["reproduce", "table2", "--root", ".", "--out", "o", "--models", "none"],
    ["reproduce", "a.png", "--root", ".", "--out", "o"],
    ["reproduce", "fifo", "--root", ".", "--out", "o"],
    ["baseline", "magic", "a.png", "--clip", "none", "--gpt2", "none"],
    ["baseline", "magic", "none.png", "--clip", ".", "--gpt2", "."],
    ["demo", "--out", "a.png", "--no-viewer"],
    ["demo", "--out", "/proc/x", "--no-viewer"],
    ["demo", "--out", "\0", "--no-viewer"],
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    for name in ("a.png", "b.png"):
        Image.fromarray(np.full((16, 32, 3), 90, np.uint8)).save(folder / name)
    (folder / "empty").mkdir()
    (folder / "link.csv").symlink_to("a.png")
    (folder / "d.json").write_text('{"annotations": []}')
    os.mkfifo(folder / "fifo")
    (folder / "fifo.jsonl").symlink_to("fifo")
    return folder


def no_model(name):
    raise AssertionError(f"{name} is loaded for a command that cannot work")


@pytest.mark.skipif(os.name == "nt", reason="devices and pipes differ there")
@pytest.mark.parametrize("arguments", ODD, ids=[str(place) for place in range(len(ODD))])
def test_an_odd_command_line_is_one_sentence(folder, tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NAPARI_PATCHIONER_HOME", str(tmp_path / "store"))
    before = sorted(folder.rglob("*"))
    try:
        status = main(arguments, load=no_model)
    except SystemExit as ended:
        status = ended.code
    out, told = capsys.readouterr()
    assert (status, out) == (2, "")
    assert "Traceback" not in told
    # How far it is may stand before the sentence.
    assert sum("%  " not in line for line in told.strip().splitlines()) == 1
    assert len(told) < 2000
    left = set(folder.rglob("*")) - set(before) - {folder / "o"}
    assert not left


@pytest.mark.parametrize(
    "name",
    ["ü ñ 猫.png", "a\nb.png", "100%s.png", "%(x)s{0}.png", "-x.png", "[a].png", "a'b\".png"],
)
def test_odd_names_of_images_are_captioned(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(np.full((16, 32, 3), 90, np.uint8)).save(folder / name)
    (folder / "again").symlink_to(folder)
    for out in ("x.csv", "x.json", "x/"):
        asked = ["caption", "in", str(folder / name), "-r", "--regions", "whole", "--out", out]
        assert main(asked, load=colours.load) == 0
        assert "1 region" in capsys.readouterr().err
