"""Sizes of pixels, as programs write them into files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_patchioner.images import pixel_sides

PIXELS = np.zeros((20, 30), np.uint8)


@pytest.mark.parametrize(
    ("how", "sides"),
    [
        (
            {"ome": True, "metadata": {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}},
            ((0.25, "µm"), (0.5, "µm")),
        ),
        (
            {
                "ome": True,
                "metadata": {
                    **{"PhysicalSizeX": 3, "PhysicalSizeXUnit": "nm"},
                    **{"PhysicalSizeY": 3, "PhysicalSizeYUnit": "nm"},
                },
            },
            ((3, "nm"), (3, "nm")),
        ),
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.5}}, None),
        (
            {"imagej": True, "resolution": (4, 2), "metadata": {"unit": "um"}},
            ((0.5, "um"), (0.25, "um")),
        ),
        (
            {"imagej": True, "resolution": (4, 4), "metadata": {"unit": "\\u00B5m"}},
            ((0.25, "µm"), (0.25, "µm")),
        ),
        ({"imagej": True, "resolution": (4, 4)}, None),
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, None),
    ],
)
def test_a_tiff_says_how_large_its_pixels_are(
    tmp_path: Path, how: dict[str, Any], sides: object
) -> None:
    tifffile.imwrite(tmp_path / "image.tif", PIXELS, **how)
    assert pixel_sides(tmp_path / "image.tif") == sides


def test_an_ome_zarr_says_how_large_its_pixels_are(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "image.zarr", mode="w")
    group.create_array("0", shape=PIXELS.shape, dtype=PIXELS.dtype)
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    steps = [{"type": "scale", "scale": [0.5, 0.25]}]
    twice = [{"type": "scale", "scale": [2.0, 2.0]}]
    datasets = [{"path": "0", "coordinateTransformations": steps}]
    scales = {"axes": axes, "datasets": datasets, "coordinateTransformations": twice}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [scales]}
    assert pixel_sides(tmp_path / "image.zarr") == ((1.0, "micrometer"), (0.5, "micrometer"))
    del axes[0]["unit"]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [scales]}
    assert pixel_sides(tmp_path / "image.zarr") is None


def test_of_what_says_nothing_or_is_damaged_no_size_is_known(tmp_path: Path) -> None:
    (tmp_path / "image.tif").write_bytes(b"II*\0damaged")
    assert pixel_sides(tmp_path / "image.tif") is None
    assert pixel_sides(tmp_path / "nothing.png") is None
    assert pixel_sides(tmp_path) is None
