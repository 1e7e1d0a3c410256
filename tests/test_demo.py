from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import napari_patchioner.viewer
from napari_patchioner.annotations import (
    Annotation,
    read_annotations,
    read_tidy_csv,
    shape_from_region,
)
from napari_patchioner.captioner import Captioner
from napari_patchioner.cli import main
from napari_patchioner.cli.demo import has_display
from napari_patchioner.cli.samples import SAMPLES, overlay_png
from napari_patchioner.cli.shared import text_table
from napari_patchioner.decoders import Caption
from napari_patchioner.grids import FeatureGrid, GridTransform
from napari_patchioner.regions import RegionSet, Trace, cover

if TYPE_CHECKING:
    from pathlib import Path


class Parrot(Captioner):
    """Says the same of everything; stands in where only the demonstration is tested."""

    def __init__(self, _: str = "") -> None:
        backbone: Any = SimpleNamespace(name="parrot", dim=1, patch_size=10, input_size=80)
        nothing: Any = None
        super().__init__(backbone, nothing, nothing, name="parrot")

    def encode(self, image: Any, **_: Any) -> FeatureGrid:
        transform = GridTransform(np.shape(image)[:2], (8, 8))
        return FeatureGrid(np.zeros((8, 8, 1), np.float32), transform, "parrot")

    def caption(self, grid: FeatureGrid, regions: Any, *_: Any, **__: Any) -> list[Caption]:
        return [Caption("a thing, I think", 0.25) for _ in regions]


def test_the_samples_hold_every_kind_of_region_inside_the_picture() -> None:
    kinds = set()
    for sample in SAMPLES:
        picture = sample.picture()
        assert picture.ndim == 3
        transform = GridTransform(picture.shape[:2], (16, 16))
        for drawn in sample.drawn():
            assert len(cover(drawn.region, transform).indices)
            kinds.add(drawn.kind)
    assert kinds == {"box", "polygon", "ellipse", "trace", "point", "set", "image"}


def test_the_demonstration_writes_tables_and_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "demo"
    assert main(["demo", "--no-viewer", "--out", str(folder)], load=Parrot) == 0  # type: ignore[arg-type]
    out = capsys.readouterr().out
    total = sum(len(sample.drawn()) for sample in SAMPLES)
    assert len(out.splitlines()) == total + 2
    captions = read_tidy_csv(folder / "captions.csv")
    assert len(captions) == total
    by_source = {item.source: item for item in captions}
    assert set(by_source) == {"model", "human", "taught"}
    assert (by_source["model"].caption, by_source["model"].model) == ("a thing, I think", "parrot")
    shown = sum(len(read_annotations(folder / f"shapes-{s.name}.csv")) for s in SAMPLES)
    assert shown == sum(shape_from_region(item.region) is not None for item in captions)
    with Image.open(folder / "overlay.png") as overlay:
        assert overlay.width > 600
        assert overlay.height > sum(len(s.picture()) for s in SAMPLES)


def test_napari_opens_with_everything_where_there_is_a_display(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    monkeypatch.setattr(
        napari_patchioner.viewer, "open_demo", lambda *given: opened.append(given), raising=False
    )
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    assert main(["demo", "--out", str(tmp_path)], load=Parrot) == 0  # type: ignore[arg-type]
    [(images, annotations)] = opened
    assert list(images) == [sample.name for sample in SAMPLES]
    assert {item.image for item in annotations} == set(images)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="there is always a display")
def test_without_a_display_napari_stays_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    assert not has_display()
    assert main(["demo", "--out", str(tmp_path)], load=Parrot) == 0  # type: ignore[arg-type]
    assert "no display" in capsys.readouterr().err
    monkeypatch.setenv("DISPLAY", ":99")
    assert has_display()
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    assert not has_display()


def test_without_qt_one_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "qtpy.QtWidgets", None)
    assert main(["demo", "--out", str(tmp_path)], load=Parrot) == 2  # type: ignore[arg-type]
    *_, last = capsys.readouterr().err.splitlines()
    assert "pip install PyQt6" in last
    assert "--no-viewer" in last
    assert (tmp_path / "captions.csv").exists()
    assert main(["demo", "--no-viewer", "--out", str(tmp_path)], load=Parrot) == 0  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_made_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["demo", "--no-viewer", "--out", str(tmp_path / "file")], load=Parrot) == 2  # type: ignore[arg-type]
    assert "cannot be made" in capsys.readouterr().err


def test_the_overlay_marks_each_region_in_its_colour() -> None:
    picture = np.zeros((60, 80, 3), np.uint8)
    stroke = Trace(np.array([[30.0, 5], [30, 75]]))
    page = overlay_png({"a": picture}, [Annotation("t", "a", RegionSet((stroke,)), "a line")])
    assert page.startswith(b"\x89PNG")


def test_wide_letters_count_double_in_a_table() -> None:
    lines = text_table(["a", "b"], [["猫", "x"], ["cat", "y"]]).splitlines()
    assert lines[2:] == ["猫   x", "cat  y"]


_OFFLINE = """
import json, socket, sys
def refuse(*args, **kwargs):
    raise OSError("no network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from napari_patchioner.cli import main
status = main(["demo", "--no-viewer", "--out", sys.argv[1]])
print(json.dumps([status, [m for m in ("napari", "qtpy") if m in sys.modules]]))
"""


def test_the_real_model_needs_neither_network_nor_napari(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", _OFFLINE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [0, []]
    captions = read_tidy_csv(tmp_path / "captions.csv")
    assert all(item.caption for item in captions)
    said = {item.uid: item.caption for item in captions}
    assert said["coffee-1"] == "a cup on a table"
    assert "spoon" in said["coffee-3"]
    # What is said first convinces: nothing twice, and no guesses.
    own = [item.caption for item in captions if item.source == "model"]
    assert len(set(own)) == len(own)
    assert not any(caption.endswith("?") for caption in own)
    named = [item for item in captions if item.source == "taught"]
    assert [item.caption for item in named] == ["gland", "gland", "stroma", "stroma"]
