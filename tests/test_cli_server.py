"""``napari-patchioner server``, and captions of a model that runs beside."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from chat_server import ChatServer, free_port, serving
from PIL import Image

from napari_patchioner.cli import main
from napari_patchioner.describers import NOT_SAID
from napari_patchioner.models.servers import KEY, read_settings, settings_file
from napari_patchioner.models.store import HOME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ELSEWHERE = "http://gpu.example:8000"


@pytest.fixture
def chat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setenv(HOME, str(tmp_path / "store"))
    monkeypatch.delenv(KEY, raising=False)
    with serving() as server:
        yield server


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "bus.png"
    Image.fromarray(np.full((60, 80, 3), (200, 30, 30), np.uint8)).save(path)
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a command of `server`, which gives its status, output and messages."""

    def command(*words: object) -> tuple[int, str, str]:
        try:
            status = main(list(map(str, words)))
        except SystemExit as ended:
            status = int(ended.code or 0)
        out, err = capsys.readouterr()
        return status, out, err

    return command


def test_nothing_is_contacted_until_somebody_sets_it_up(run, chat, photo):
    status, out, _ = run("server")
    assert status == 0
    assert "none: nothing is contacted" in out
    for words in (["models"], ["ask", photo, "What?"]):
        status, _, err = run("server", *words)
        assert status == 2
        assert "No server is set up" in err
    status, _, err = run("caption", photo, "--regions", "whole", "--model", "server:tiny-vision")
    assert status == 2
    assert "No server is set up" in err
    assert chat.paths == []


def test_it_is_set_up_shown_and_forgotten(run, chat, tmp_path):
    key = tmp_path / "key"
    key.write_text("sk-secret\n")
    status, _, err = run(
        *("server", "set", "--address", chat.url, "--model", "tiny-vision", "--key-from", key)
    )
    assert status == 0
    assert "set up" in err
    assert run("server", "set", "--prompt", "{size}?")[0] == 0
    status, out, err = run("server", "show")
    assert chat.url in out
    assert "tiny-vision" in out
    assert "{size}?" in out
    assert "key      yes" in out
    assert "sk-secret" not in out + err
    assert run("server", "models")[1] == "tiny-vision\n"
    assert chat.headers[-1]["Authorization"] == "Bearer sk-secret"
    assert run("server", "forget")[0] == 0
    assert not settings_file().exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["set"], "nothing to set"),
        (["set", "--address", "ftp://x"], "no address"),
        (["set", "--prompt", "{a.b}"], "no field"),
        (["set", "--key-from", "/nowhere/key"], "cannot be read"),
        (["revoke", ELSEWHERE], "was not allowed"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(run, chat, words, says):
    status, _, err = run("server", *words)
    assert status == 2
    assert says in err
    assert err.count("\n") == 1


def test_another_host_is_asked_about_first(run, chat, monkeypatch):
    _, _, err = run("server", "set", "--address", ELSEWHERE)
    assert f"{ELSEWHERE} is not this machine" in err
    status, _, err = run("server", "models")
    assert status == 2
    assert "is not this machine" in err
    # Nobody is at a terminal.
    status, _, err = run("server", "allow", ELSEWHERE)
    assert status == 2
    assert "Crops of your image" in err
    assert "nobody is there" in err

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal("no\n"))
    assert "not allowed" in run("server", "allow", ELSEWHERE)[2]
    assert read_settings().allowed == ()
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert "is allowed" in run("server", "allow", ELSEWHERE)[2]
    assert read_settings().allowed == (ELSEWHERE,)
    assert run("server", "revoke", ELSEWHERE)[0] == 0
    assert read_settings().allowed == ()
    assert "always allowed" in run("server", "allow", chat.url)[2]


def test_a_key_does_not_move_to_another_host(run, chat, tmp_path):
    key = tmp_path / "key"
    key.write_text("sk-secret")
    run("server", "set", "--address", chat.url, "--key-from", key)
    run("server", "set", "--address", ELSEWHERE)
    assert read_settings().key == ""


def test_a_question_is_answered(run, chat, photo):
    run("server", "set", "--address", chat.url)
    chat.pieces = ["Meta", "phase\x1b[31m."]
    status, out, _ = run("server", "ask", photo, "What stage?", "--box", 5, 5, 40, 40)
    assert (status, out) == (0, "Metaphase [31m.\n")
    assert "What stage?" in chat.prompts[0]
    assert chat.pictures[0].startswith("data:image/png;base64,")
    chat.pieces = [" ", "\n"]
    status, _, err = run("server", "ask", photo, "What stage?")
    assert status == 2
    assert NOT_SAID in err


def test_what_the_model_thinks_is_not_printed(run, chat, photo):
    run("server", "set", "--address", chat.url)
    chat.pieces = ["<thi", "nk>A bus", "? <", "/think", ">\n\nA red ", "bus < a tram."]
    status, out, _ = run("server", "ask", photo, "What is it?")
    assert (status, out) == (0, "A red bus < a tram.\n")


@pytest.mark.parametrize(
    "option", [["--tell-apart"], ["--specificity", "1"], ["--context", "traffic"]]
)
def test_what_a_server_cannot_do_is_refused(run, chat, photo, option):
    run("server", "set", "--address", chat.url)
    words = ["caption", photo, "--regions", "grid:2", "--model", "server:tiny-vision", *option]
    status, out, err = run(*words)
    assert (status, out, chat.asked) == (2, "", [])
    assert option[0] in err


@pytest.mark.parametrize("options", [[], ["--zoom"]])
def test_an_empty_answer_counts_as_failed(run, chat, photo, tmp_path, options):
    run("server", "set", "--address", chat.url)
    chat.pieces, table = [""], tmp_path / "out.csv"
    words = ["caption", photo, "--regions", "whole", "--model", "server:", "--out", table, *options]
    status, _, err = run(*words)
    assert status == 1
    assert "0 done, 0 skipped, 1 failed" in err
    assert NOT_SAID in err
    chat.pieces = ["A bus."]
    status, _, err = run(*words, "--resume")
    assert status == 0, err
    with table.open(newline="") as file:
        assert [row["caption"] for row in csv.DictReader(file)] == ["A bus."]


def test_a_folder_is_captioned_by_a_model_beside(run, chat, photo, tmp_path):
    run("server", "set", "--address", chat.url)
    table = tmp_path / "out.csv"
    status, _, err = run(
        *("caption", photo, "--regions", "grid:2", "--out", table),
        *("--model", "server:tiny-vision", "--prompt", "What is {size} large?"),
    )
    assert status == 0, err
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["caption"] for row in rows] == ["A red bus in a street."] * 4
    assert {(row["source"], row["model"]) for row in rows} == {("model", "tiny-vision")}
    assert chat.prompts == ["What is 40 by 30 pixels large?"] * 4
    origin = json.loads(rows[0]["origin"])
    assert origin["server"]["host"] == chat.url[7:-3]
    assert origin["server"]["prompt"] == "What is {size} large?"
    assert origin["options"]["prompt"] == "What is {size} large?"


def test_a_server_that_does_not_run_is_one_sentence(run, chat, photo):
    name = f"server:x@http://127.0.0.1:{free_port()}"
    status, _, err = run("caption", photo, "--regions", "whole", "--model", name)
    assert status == 2
    assert "Nothing answers at" in err


def test_other_models_read_no_prompt(run, chat, photo):
    status, _, err = run("caption", photo, "--regions", "whole", "--prompt", "What?")
    assert status == 2
    assert "mini reads no prompt" in err


def test_the_key_is_in_no_result(run, chat, photo, tmp_path, monkeypatch):
    monkeypatch.setenv(KEY, "sk-secret")
    run("server", "set", "--address", chat.url)
    for name in ("out.csv", "out.json", "out.geojson"):
        run(
            *("caption", photo, "--regions", "whole", "--out", tmp_path / name),
            *("--model", "server:tiny-vision"),
        )
    assert chat.headers[-1]["Authorization"] == "Bearer sk-secret"
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"sk-secret" not in path.read_bytes()


def test_a_preset_is_added_listed_and_used(run, chat, photo, tmp_path):
    folder = tmp_path / "beside"
    folder.mkdir()
    (folder / "preset.toml").write_text(
        'id = "beside"\ntitle = "A model beside"\nnote = "Asked here."\nlicence = "its own"\n'
        f'[server]\naddress = "{chat.url}"\nmodel = "tiny-vision"\n'
    )
    assert run("models", "add", folder)[0] == 0
    status, out, _ = run("models", "info", "beside")
    assert status == 0
    assert "A model beside" in out
    assert chat.paths == []
    status, out, err = run("caption", photo, "--regions", "whole", "--model", "beside")
    assert status == 0, err
    assert "A red bus in a street." in out
    words = tmp_path / "words.txt"
    words.write_text("a cell\na nucleus\n")
    assert run("memory", "build", words, "--name", "mine")[0] == 0
    status, _, err = run(
        *("caption", photo, "--regions", "whole", "--model", "beside", "--memory", "mine")
    )
    assert status == 2
    assert err.splitlines()[-1].endswith(".")
