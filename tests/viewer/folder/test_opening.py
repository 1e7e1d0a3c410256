"""What is made of a file before it is shown."""

import os

import numpy as np
import pytest
import zarr

from napari_patchioner.errors import ImageError
from napari_patchioner.viewer.workers.prefetch import load, show


def test_a_zarr_folder_is_shown_from_plain_files_within_it(viewer, tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    pixels = np.arange(96 * 96, dtype="u2").reshape(96, 96)
    for name, times in (("0", 1), ("1", 2)):
        level = pixels[::times, ::times]
        array = group.create_array(name, shape=level.shape, chunks=(40, 40), dtype="u2")
        array[...] = level
    group.attrs["multiscales"] = [{"datasets": [{"path": "0"}, {"path": "1"}]}]
    group.create_group("labels")
    (layer,) = show(viewer, load(tmp_path / "a.zarr"))
    assert layer.multiscale
    np.testing.assert_array_equal(layer.data[0][10:90, 95], pixels[10:90, 95])
    np.testing.assert_array_equal(np.asarray(layer.data[1]), pixels[::2, ::2])

    secret = tmp_path / "secret"
    secret.write_bytes(bytes(40 * 40 * 2))
    piece = tmp_path / "a.zarr" / "0" / "0.0"
    piece.unlink()
    piece.symlink_to(secret)
    with pytest.raises(ImageError, match=r"is a link to .*secret"):
        np.asarray(load(tmp_path / "a.zarr").layers[0][0][0])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_zarr_folder_that_would_hang_is_told(viewer, tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / ".zgroup").write_text('{"zarr_format": 2}')
    os.mkfifo(tmp_path / "a.zarr" / ".zattrs")
    with pytest.raises(ImageError, match=r"\.zattrs: is a pipe"):
        load(tmp_path / "a.zarr")
