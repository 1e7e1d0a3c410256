"""Whatever file a command takes: a pipe or a device is refused at once, in one sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from napari_patchioner.bridges import convert_hdf5, read_names
from napari_patchioner.checkpoints import read_settings, read_state
from napari_patchioner.errors import PatchionerError
from napari_patchioner.evaluation.datasets import open_dataset
from napari_patchioner.evaluation.protocols.predictions import read_predictions
from napari_patchioner.evaluation.protocols.scoring import read_scores
from napari_patchioner.images import open_image, read_image
from napari_patchioner.models.catalog import read_preset
from napari_patchioner.texts import TextFile

READERS = [
    read_names,
    read_settings,
    read_state,
    lambda path: open_dataset("dense", path, path.parent),
    read_predictions,
    read_scores,
    read_image,
    lambda path: list(TextFile(path).lines()),
    read_preset,
    open_image,
    lambda path: convert_hdf5(path, path.with_name("out"), provenance={}),
]


@pytest.mark.parametrize("read", READERS)
def test_pipes_and_devices_are_refused(read, tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    names = ["pipe.json", "none.json", "", "x" * 300]
    for path in [Path("/dev/zero"), *(tmp_path / name for name in names)]:
        with pytest.raises(PatchionerError) as caught:
            read(path)
        assert "\n" not in str(caught.value)
