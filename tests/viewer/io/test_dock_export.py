"""The way out of the window and back into it."""

from __future__ import annotations

import numpy as np
import pytest
from npe2 import PluginManager
from qtpy.QtWidgets import QFileDialog

from napari_patchioner.annotations import read_annotations

BOX = np.array([[10.0, 10.0], [10.0, 50.0], [40.0, 50.0], [40.0, 10.0]])


@pytest.mark.every_qt
def test_a_file_for_qupath_comes_back_to_the_dock(dock, viewer, tmp_path, monkeypatch):
    PluginManager.instance().discover()
    controller = dock.controller
    dock.images.bind(("regions", "traces"))
    controller.layer("regions").add([BOX, BOX + 60], shape_type=["rectangle", "ellipse"])
    uids = list(controller.session.records)
    controller.session.edit(uids[0], "a nest, =dense")
    asked = []

    def choose(parent, title, suggestion, filters):
        asked.append(filters)
        return str(tmp_path / "stripes.csv"), "GeoJSON for QuPath (*.geojson)"

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    dock.panel.buttons["ask_where_to_export"].click()
    assert ";;COCO instances with captions (*.json);;" in asked[0]
    path = tmp_path / "stripes.geojson"
    found = {one.uid: one for one in read_annotations(path)}
    assert set(found) == set(uids)
    assert (found[uids[0]].caption, found[uids[0]].source) == ("a nest, =dense", "human")
    for layer in list(viewer.layers):
        if layer.name.startswith(("regions", "traces")):
            layer.locked = False
            viewer.layers.remove(layer)
    [layer] = viewer.open(str(path), plugin="napari-patchioner")
    assert layer.name == "regions [stripes]"
    assert layer.features["caption"].tolist() == ["a nest, =dense", ""]
    np.testing.assert_allclose(layer.data[0], BOX)
    assert list(layer.shape_type) == ["rectangle", "ellipse"]


def test_what_a_format_has_no_place_for_is_told(dock, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(type(dock.controller), "show_message", lambda self, text: said.append(text))
    dock.images.bind(("regions", "traces"))
    dock.controller.layer("traces").add([BOX], shape_type="path")
    dock.image_actions.export(tmp_path / "out", "visual-genome")
    assert said[-1] == "Saved out.json. It has no place for 1 trace."
    dock.image_actions.export(tmp_path / "none" / "out", "visual-genome")
    assert said[-1].startswith("Nothing was exported: ")
