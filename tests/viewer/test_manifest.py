"""The manifest, and what napari makes of it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from npe2 import PluginManager, PluginManifest


def test_the_manifest_and_all_it_names_can_be_imported():
    manifest = PluginManifest.from_distribution("napari-patchioner")
    manifest.validate_imports()


def test_npe2_validates_it():
    result = subprocess.run(
        [sys.executable, "-m", "npe2", "validate", "--imports", "napari-patchioner"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("key", "shape"), [("coffee", (400, 600, 3)), ("immunohistochemistry", (512, 512, 3))]
)
def test_samples_ship_with_scikit_image(key, shape):
    from napari_patchioner.viewer import plugin

    [(pixels, meta, kind)] = getattr(plugin, key)()
    assert kind == "image"
    assert meta["name"] == key
    assert np.asarray(pixels).shape == shape


@pytest.fixture
def plugin(npe2pm):
    npe2pm.register(PluginManifest.from_distribution("napari-patchioner"))
    return PluginManager.instance()


def test_the_menu_opens_the_dock(plugin, make_napari_viewer):
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget(
        "napari-patchioner", "Patch-ioner: caption regions"
    )
    assert type(widget).__name__ == "CaptionDock"
    assert "region" in widget.models.choice.currentText().lower()
    widget.shut_down()


def test_the_docks_menu_opens_a_folder(plugin, make_napari_viewer):
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget(
        "napari-patchioner", "Patch-ioner: caption regions"
    )
    widget.projects.folder.trigger()
    docked = viewer.window.dock_widgets.values()
    [made] = [one for one in docked if type(one).__name__ == "FolderDock"]
    assert made.captions() is widget
    made.shut_down()
    widget.shut_down()


def test_new_layers_lie_on_the_selected_image(make_napari_viewer):
    from napari_patchioner.viewer.plugin import new_layers

    viewer = make_napari_viewer()
    new_layers()
    assert len(viewer.layers) == 0
    viewer.add_image(np.zeros((20, 30)), name="cells")
    new_layers()
    assert [layer.name for layer in viewer.layers] == ["cells", "regions [cells]", "traces [cells]"]
