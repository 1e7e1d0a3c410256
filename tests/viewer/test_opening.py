"""Pictures and their captions, loaded into a viewer."""

from __future__ import annotations

import numpy as np
from napari.components import ViewerModel
from npe2 import PluginManifest
from qtpy.QtWidgets import QApplication

from napari_patchioner.annotations import Annotation
from napari_patchioner.regions import Box, Trace, WholeImage
from napari_patchioner.viewer.plugin import load, show_demo


def test_every_shape_gets_its_caption_on_its_layer() -> None:
    images = {"one": np.zeros((20, 30, 3), np.uint8), "two": np.zeros((10, 10), np.uint8)}
    drawn = [
        Annotation("a", "one", Box(1, 2, 9, 8), "a box", 0.5, "model"),
        Annotation("b", "one", Trace(np.array([[1.0, 1], [5, 5]])), "a trace", 0.25, "model"),
        Annotation("c", "one", WholeImage(), "everything", 0.5, "model"),
        Annotation("d", "two", Box(0, 0, 3, 3), "mine", None, "human"),
    ]
    viewer = ViewerModel()
    load(viewer, images, drawn)
    regions, traces = viewer.layers["regions [one]"], viewer.layers["traces [one]"]
    assert list(regions.features["caption"]) == ["a box"]
    assert list(regions.features["uid"]) == ["a"]
    np.testing.assert_allclose(regions.data[0].min(0), [1, 2])
    assert list(traces.features["caption"]) == ["a trace"]
    assert traces.shape_type == ["path"]
    other = viewer.layers["regions [two]"]
    assert list(other.features["source"]) == ["human"]
    assert np.isnan(other.features["score"][0])
    assert not other.visible
    assert regions.visible


def test_the_picture_is_not_cut_off_by_the_dock(make_napari_viewer, npe2pm) -> None:
    npe2pm.register(PluginManifest.from_distribution("napari-patchioner"))
    viewer = make_napari_viewer(show=True)
    show_demo(viewer, {"one": np.zeros((300, 300), np.uint8)}, [])
    canvas = viewer.window._qt_viewer.canvas.native
    for _ in range(5):
        QApplication.processEvents()
    assert 300 * viewer.scene.camera.zoom <= min(canvas.width(), canvas.height())
