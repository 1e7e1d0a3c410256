"""A small data set of region sets over two photographs, and the model that ships."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from skimage import data

from napari_patchioner.models import load_model

if TYPE_CHECKING:
    from pathlib import Path

    from napari_patchioner.captioner import Captioner

SETS = {
    "1": {
        "a woman in an orange suit\nan astronaut": [[60, 0, 180, 250]],
        "a flag and a rocket": [[0, 0, 60, 120], [190, 20, 250, 140]],
    },
    "2": {
        "a cat": [[20, 20, 200, 160]],
        "the eyes of a cat": [[60, 40, 90, 60], [80, 50, 140, 80]],
    },
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``sets.json`` and ``images/`` with an astronaut and a cat."""
    folder = tmp_path_factory.mktemp("region-sets")
    (folder / "images").mkdir()
    Image.fromarray(data.astronaut()).resize((256, 256)).save(
        folder / "images" / "000000000001.jpg"
    )
    Image.fromarray(data.cat()).resize((226, 170)).save(folder / "images" / "000000000002.jpg")
    (folder / "sets.json").write_text(json.dumps(SETS), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def mini() -> Captioner:
    """The model that ships."""
    return load_model("mini")
