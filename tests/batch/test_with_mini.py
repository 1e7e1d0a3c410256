"""The embedded model on a dozen images by two processes, as the Python API says it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from napari_patchioner import load_model
from napari_patchioner.annotations import read_tidy_csv
from napari_patchioner.cli import main
from napari_patchioner.regions import WholeImage


def test_a_dozen_images_by_two_processes(pictures, tmp_path, capsys):
    # Strips, at which the model looks ten times as fast as at squares.
    folder = pictures(13, height=3, width=64)
    (folder / "0009.png").write_bytes(b"no picture")
    out = tmp_path / "out.csv"
    asked = ["caption", str(folder), "--regions", "whole", "--workers", "2", "--length", "phrase"]
    assert main([*asked, "--beams", "1", "--out", str(out)]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "12 done, 0 skipped, 1 failed" in told.err
    said = read_tidy_csv(out)
    assert [one.image for one in said] == [f"{number:04}.png" for number in range(13)]
    assert [one.image for one in said if not one.caption] == ["0009.png"]
    mini = load_model("mini")
    for one in said[:9:4]:
        grid = mini.encode(np.asarray(Image.open(folder / one.image)))
        [alone] = mini.caption(grid, [WholeImage()], length="phrase", beams=1)
        assert (one.caption, one.score) == (alone.text, round(alone.score, 4))
