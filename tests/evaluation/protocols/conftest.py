"""A small data set of region sets over two photographs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from skimage import data

if TYPE_CHECKING:
    from pathlib import Path


SETS = {
    "1": {
        "a woman in an orange suit\nan astronaut": [[60, 0, 180, 31]],
        "a flag and a rocket": [[0, 0, 60, 15], [190, 3, 250, 18]],
    },
    "2": {
        "a cat": [[20, 2, 200, 20]],
        "the eyes of a cat": [[60, 5, 90, 8], [80, 6, 140, 10]],
    },
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``sets.json`` and ``images/`` with an astronaut and a cat."""
    folder = tmp_path_factory.mktemp("region-sets")
    (folder / "images").mkdir()
    # Strips, which are encoded several times as fast.
    photographs = (data.astronaut()[60:124], (256, 32)), (data.cat()[100:140], (226, 21))
    for number, (pixels, size) in enumerate(photographs, start=1):
        Image.fromarray(pixels).resize(size).save(folder / "images" / f"{number:012}.jpg")
    (folder / "sets.json").write_text(json.dumps(SETS), encoding="utf-8")
    return folder
