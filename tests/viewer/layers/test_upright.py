"""Photographs stand upright in the window, as on the command line and in files."""

from __future__ import annotations

import napari
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers._source import layer_source
from napari_builtins.io import napari_get_reader
from PIL import Image

from napari_patchioner.annotations import read_annotations
from napari_patchioner.images import as_stored, read_image, upright_points
from napari_patchioner.regions import Box
from napari_patchioner.viewer.io.plugin_io import read_layers, write_layers
from napari_patchioner.viewer.layers.upright import turn_all
from napari_patchioner.viewer.workers.prefetch import load, show

HEIGHT, WIDTH = 60, 80


@pytest.fixture
def photograph(tmp_path):
    """Return a function that writes an upright picture as a camera held in some way does."""

    def write(orientation, name="a.png", shape=(HEIGHT, WIDTH)):
        rows, columns = np.mgrid[: shape[0], : shape[1]]
        pixels = np.stack([rows * 4, columns * 3, rows + columns], axis=-1).astype(np.uint8)
        exif = Image.Exif()
        exif[274] = orientation
        stored = np.ascontiguousarray(as_stored(pixels, orientation))
        Image.fromarray(stored).save(tmp_path / name, exif=exif)
        return tmp_path / name, pixels

    return write


def open_as_napari_does(viewer, path):
    """Add the pixels that napari's own reader returns."""
    [(pixels, *_)] = napari_get_reader(str(path))([str(path)])
    with layer_source(path=str(path), reader_plugin="napari"):
        return viewer.add_image(pixels, name=path.stem)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH), (HEIGHT, HEIGHT)])
def test_window_and_command_line_have_the_same_pixels(photograph, orientation, shape):
    path, pixels = photograph(orientation, shape=shape)
    viewer = ViewerModel()
    image = open_as_napari_does(viewer, path)
    for _ in range(2):  # what stands upright is left alone
        turn_all(viewer)
        np.testing.assert_array_equal(image.data, pixels)
    np.testing.assert_array_equal(read_image(path), pixels)
    # A picture that another reader turned is not turned again.
    other = ViewerModel()
    with layer_source(path=str(path)):
        other.add_image(pixels)
    assert turn_all(other) == []
    np.testing.assert_array_equal(other.layers[0].data, pixels)


def test_what_was_drawn_by_hand_is_turned_along(photograph):
    path, pixels = photograph(6)
    viewer = ViewerModel()
    image = open_as_napari_does(viewer, path)
    stored = image.data
    corner = np.array([[10, 20], [10, 30], [18, 30], [18, 20]], float)
    shapes = viewer.add_shapes([corner], shape_type="rectangle")
    ellipse = np.array([[30, 5], [30, 15], [44, 15], [44, 5]], float)
    shapes.add([ellipse], shape_type="ellipse")
    points = viewer.add_points([[7, 9]])
    labels = viewer.add_labels((stored[..., 0] > 100).astype(int))
    assert turn_all(viewer) == ["a"]
    assert list(shapes.shape_type) == ["rectangle", "ellipse"]
    for turned, drawn in zip(shapes.data, (corner, ellipse), strict=True):
        np.testing.assert_array_equal(turned, upright_points(drawn, 6, (HEIGHT, WIDTH)))
    row, column = points.data[0].astype(int)
    assert pixels[row, column].tolist() == stored[7, 9].tolist()
    np.testing.assert_array_equal(labels.data, pixels[..., 0] > 100)


def test_files_speak_of_the_upright_picture(photograph, tmp_path, monkeypatch):
    path, _ = photograph(8)
    viewer = ViewerModel()
    monkeypatch.setattr(napari, "current_viewer", lambda: viewer)
    open_as_napari_does(viewer, path)
    shapes = viewer.add_shapes([[[10, 20], [10, 30], [18, 30], [18, 20]]], shape_type="rectangle")
    out = str(tmp_path / "regions.csv")
    with pytest.raises(OSError, match="turned upright"):
        write_layers(out, [shapes.as_layer_data_tuple()], "tidy")
    write_layers(out, [shapes.as_layer_data_tuple()], "tidy")
    [found] = read_annotations(out)
    low, high = upright_points([[10, 20], [18, 30]], 8, (HEIGHT, WIDTH))
    (top, bottom), (left, right) = map(sorted, zip(low, high, strict=True))
    box = found.region
    assert isinstance(box, Box)
    assert [box.top, box.left, box.bottom, box.right] == [top, left, bottom, right]
    # What a file brings is not turned with the picture.
    fresh = ViewerModel()
    monkeypatch.setattr(napari, "current_viewer", lambda: fresh)
    image = open_as_napari_does(fresh, path)
    [(vertices, _, _)] = read_layers(out)
    assert image.data.shape[:2] == (HEIGHT, WIDTH)
    assert np.min(vertices[0], axis=0).tolist() == [top, left]


def test_a_photograph_opened_beside_the_dock_is_turned(dock, viewer, photograph):
    path, pixels = photograph(6)
    [image] = viewer.open(path, plugin="napari")
    np.testing.assert_array_equal(image.data, pixels)
    assert image in dock.panel.image.choices
    # The folder opens it the same way, and it is not looked at twice.
    [layer] = show(viewer, load(path))
    np.testing.assert_array_equal(layer.data, pixels)
    assert turn_all(viewer) == []
