"""``napari-patchioner models``: what it prints, asks and returns."""

from __future__ import annotations

import io
import re
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hub_server import HubServer, serve
from PIL import Image
from small_presets import WEIGHTS, contents, prepare, preset

from napari_patchioner.cli import main
from napari_patchioner.cli.shared import Bar
from napari_patchioner.models.familiar import familiar_path
from napari_patchioner.models.store import installed, store_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_patchioner.models.preset import Preset


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """Run a hub with the small model, which is the only one of the catalog."""
    from huggingface_hub import close_session

    for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("NAPARI_PATCHIONER_HOME", str(tmp_path / "store"))
    monkeypatch.setattr("napari_patchioner.models.hub.WAIT_S", 0.01)
    monkeypatch.setattr("napari_patchioner.models.catalog.presets", _catalog)
    monkeypatch.setattr("napari_patchioner.models.prepare.prepare", prepare)
    with serve(contents()) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server
        close_session()


def _catalog() -> dict[str, Preset]:
    from dataclasses import replace

    files = {
        role: tuple(replace(file, about=1_900_000_000) for file in group)
        for role, group in preset().files.items()
        if role == "published"
    }
    return {"small": preset(files={**preset().files, **files}, row="Table 7", ram=4_000_000_000)}


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a switch that lets a person type an answer."""

    def type_in(text: str) -> None:
        stdin = io.StringIO(text)
        stdin.isatty = lambda: True
        monkeypatch.setattr("sys.stdin", stdin)

    return type_in


def test_models_are_listed(hub: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    table = capsys.readouterr().out
    lines = table.splitlines()
    assert lines[0].split() == ["id", "what", "licence", "size", "state"]
    names = ["mini", "mini-zeroshot", "small", "sam2-tiny", "sam2-base"]
    assert [line.split()[0] for line in lines[2:]] == names
    assert lines[2].endswith("installed")
    assert " ".join(lines[4].split()) == "small small model MIT 1.9 GB 1.9 GB to get"
    assert main(["models", "list"]) == 0
    assert capsys.readouterr().out == table
    assert hub.requests == []


def test_a_model_is_got_told_of_and_removed(
    hub: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "get", "small", "--yes"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "1.9 GB to get from some/backbone, some/decoder; licence: MIT" in err
    assert err.splitlines()[-2] == "150 kB of published files were converted and are free again"
    assert err.splitlines()[-1].startswith("small is installed; caption with:")
    assert main(["models", "get", "small"]) == 0
    assert capsys.readouterr().err == "small is installed already\n"
    assert main(["models", "info", "small"]) == 0
    told = capsys.readouterr().out
    for line in ("memory   4.0 GB", "paper    Table 7", "state    installed", "licence  MIT"):
        assert line in told.splitlines()
    assert str(installed(_catalog()["small"])["bank"]) in told
    assert "converted, then deleted" in told
    assert "to be downloaded" not in told
    assert "knows    nobody has shown it: " in told
    assert "models familiar small FOLDER" in told
    learned = familiar_path("small")
    learned.parent.mkdir()
    learned.write_bytes(b"")
    assert main(["models", "remove", "small"]) == 0
    assert not learned.exists()
    assert re.fullmatch(r"small is removed; 45\d kB are free again\n", capsys.readouterr().err)
    assert main(["models", "remove", "small"]) == 2
    assert "is not installed; nothing was removed" in capsys.readouterr().err


def test_what_a_model_would_need_is_told_before(
    hub: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "info", "small"]) == 0
    told = capsys.readouterr().out
    assert "state    1.9 GB to get" in told
    assert "published  some/decoder/bank-*.h5" in told
    assert told.count("to be downloaded") == 3
    assert main(["models", "info", "mini"]) == 0
    assert "head_mini.safetensors" in capsys.readouterr().out


@pytest.mark.parametrize(("answer", "comes"), [("y\n", True), ("n\n", False), ("", False)])
def test_a_person_is_asked_first(
    hub: HubServer, terminal: Any, capsys: pytest.CaptureFixture[str], answer: str, comes: bool
) -> None:
    terminal(answer)
    assert main(["models", "get", "small"]) == 0
    assert "Go on? [y/N]" in capsys.readouterr().err
    assert bool(hub.fetched()) == comes
    assert (installed(_catalog()["small"]) is not None) == comes


@pytest.mark.parametrize("closed", [True, False])
def test_without_a_terminal_nothing_is_downloaded_unless_agreed_to_before(
    hub: HubServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    closed: bool,
) -> None:
    stdin = io.StringIO("y\n")
    if closed:
        stdin.close()
    for nobody in (stdin, None):
        monkeypatch.setattr("sys.stdin", nobody)
        assert main(["models", "get", "small"]) == 2
        assert "models get small --yes" in capsys.readouterr().err.splitlines()[-1]
    assert hub.fetched() == []
    assert installed(_catalog()["small"]) is None


def test_nobody_is_asked_twice_or_when_all_is_said(hub: HubServer, terminal: Any) -> None:
    terminal("")
    assert main(["models", "get", "small", "--yes"]) == 0
    assert installed(_catalog()["small"]) is not None


def test_a_folder_will_do(
    hub: HubServer, tmp_path: Path, terminal: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    stick = tmp_path / "stick"
    for repo, files in hub.repos.items():
        for path, data in files.items():
            (stick / repo / path).parent.mkdir(parents=True, exist_ok=True)
            (stick / repo / path).write_bytes(data)
    terminal("")
    assert main(["models", "get", "small", "--from", str(stick)]) == 0
    shutil.rmtree(stick)
    assert installed(_catalog()["small"]) is not None
    assert hub.requests == []


def test_published_files_are_kept_if_a_person_says_so(
    hub: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "get", "small", "--keep", "--yes"]) == 0
    assert "converted" not in capsys.readouterr().err
    assert main(["models", "remove", "small"]) == 0
    assert re.fullmatch(r"small is removed; 60\d kB are free again\n", capsys.readouterr().err)


def test_an_error_is_one_sentence(hub: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    hub.wrong.add(WEIGHTS)
    assert main(["models", "get", "small", "--yes"]) == 2
    assert "is not the file it should be" in capsys.readouterr().err.splitlines()[-1]
    for command in (["get", "maxi"], ["info", "maxi"], ["remove", "maxi"], ["remove", "mini"]):
        assert main(["models", *command]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    for wrong in (["get"], ["add"], ["paint"], ["get", "small", "--from"]):
        with pytest.raises(SystemExit) as caught:
            main(["models", *wrong])
        assert caught.value.code == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_an_interruption_keeps_what_came_and_installs_nothing(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.pause, hub.piece = 0.02, 10_000

    def interrupt(self: Bar, fraction: float, message: str) -> None:
        if fraction > 0.2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Bar, "__call__", interrupt)
        assert main(["models", "get", "small", "--yes"]) == 130
    assert capsys.readouterr().err.endswith("napari-patchioner: interrupted\n")
    assert not (store_folder() / "small").exists()
    hub.pause = 0
    hub.requests.clear()
    assert main(["models", "get", "small", "--yes"]) == 0
    assert hub.fetched(WEIGHTS)[0].startswith("bytes=")


def test_captioning_with_a_model_that_is_not_installed_says_how_to_get_it(
    hub: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / "a.png")
    arguments = ["caption", str(tmp_path / "a.png"), "--regions", "whole", "--model", "small"]
    assert main(arguments) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == (
        "napari-patchioner: The model 'small' is not installed (1.9 GB to get); run "
        "'napari-patchioner models get small' or choose it in the dock."
    )


def test_a_model_of_ones_own_is_added(
    hub: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own").mkdir()
    assert main(["models", "add", str(tmp_path / "own")]) == 2
    assert "preset.toml" in capsys.readouterr().err
    (tmp_path / "own" / "preset.toml").write_text(
        'id = "mine"\ntitle = "my own"\nnote = "x"\nlicence = "MIT"\n'
        '[backbone]\nkind = "clip"\nfiles = { clip = "clip" }\n[bridge]\nkind = "normalize"\n'
        '[decoder]\nkind = "quote"\n[files]\n'
        f'clip = {{ repo = "some/backbone", path = "{WEIGHTS}" }}\n'
    )
    assert main(["models", "add", str(tmp_path / "own")]) == 0
    assert "napari-patchioner models get mine" in capsys.readouterr().err
    assert main(["models"]) == 0
    assert "my own" in capsys.readouterr().out
    assert main(["models", "get", "mine", "--yes"]) == 0
    assert main(["models", "remove", "mine"]) == 0
    assert main(["models"]) == 0
    assert "my own" not in capsys.readouterr().out


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_draws_over_its_own_line_in_a_terminal() -> None:
    out = _Terminal()
    with Bar(out) as bar:
        bar(0.0, "a long message about this")
        bar(0.5, "302 of 604 MB, 4.1 MB/s")
    first, last = out.getvalue().removeprefix("\r").split("\r")
    assert first == "[........................]   0%  a long message about this"
    assert last.rstrip() == "[############............]  50%  302 of 604 MB, 4.1 MB/s"
    assert len(last.removesuffix("\n")) == len(first)
    assert last.endswith("\n")


def test_the_bar_says_little_in_a_log() -> None:
    out = io.StringIO()
    with Bar(out) as bar:
        for step in range(100):
            bar(step / 100, f"{step} MB")
    assert out.getvalue() == "  0%  0 MB\n"
