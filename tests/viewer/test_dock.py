from __future__ import annotations

import numpy as np
from npe2 import PluginManifest


def test_a_box_is_captioned(dock, viewer, qtbot):
    dock.start()
    qtbot.waitUntil(lambda: dock.annotator.reader.ready, timeout=5000)
    regions = dock.annotator.layer("regions")
    regions.add(np.array([[10, 10], [10, 50], [50, 50], [50, 10]]), shape_type="rectangle")
    qtbot.waitUntil(lambda: list(regions.features["caption"]) == ["something red"], timeout=5000)


def test_opened_by_the_menu_it_knows_its_layers_and_warns_of_nothing(
    viewer, picture, npe2pm, recwarn
):
    npe2pm.register(PluginManifest.from_distribution("napari-patchioner"))
    viewer.add_image(picture, name="stripes")
    _, dock = viewer.window.add_plugin_dock_widget(
        "napari-patchioner", "Patch-ioner: caption regions"
    )
    dock.panel.draw.buttons["Box"].click()
    regions = viewer.layers["regions [stripes]"]
    assert dock.annotator.bindings["regions"].layer is regions
    assert dock.panel.draw.buttons["Box"].isChecked()
    regions.add(np.array([[10, 10], [10, 50], [50, 50], [50, 10]]), shape_type="rectangle")
    assert not [one for one in recwarn if "Private attribute" in str(one.message)]
    viewer.layers.remove("stripes")
    dock.shut_down()
