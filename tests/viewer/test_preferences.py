"""What napari's preferences offer is what the code goes by."""

from __future__ import annotations

import pytest
from npe2 import PluginManifest

from napari_patchioner.viewer import CaptionDock
from napari_patchioner.viewer.preferences import DEFAULTS, NAME, preference


@pytest.fixture
def settings(npe2pm, plugin_settings):
    from napari.settings import get_plugin_settings

    npe2pm.register(PluginManifest.from_distribution(NAME))
    return get_plugin_settings(NAME)


def test_the_manifest_and_the_code_have_the_same_defaults():
    offered = PluginManifest.from_distribution(NAME).contributions.configurations
    found = {
        group: {name: one.default for name, one in contribution.properties.items()}
        for group, contribution in offered.items()
    }
    assert found == DEFAULTS


def test_a_script_gets_the_defaults(npe2pm, plugin_settings):
    assert preference("captions", "lines") == DEFAULTS["captions"]["lines"]


def test_what_is_set_is_what_the_dock_begins_with(settings, viewer, registry, picture):
    settings.captions.lines = 1
    settings.captions.visible = False
    settings.models.first = "other"
    viewer.add_image(picture, name="stripes")
    dock = CaptionDock(viewer, registry=registry)
    viewer.window.add_dock_widget(dock)
    assert dock.panel.canvas["lines"].value == 1
    assert dock.models.choice.value == "other"
    dock.panel.draw.buttons["Box"].click()
    text = dock.controller.layer("regions").text
    assert (text.visible, text.string.lines) == (False, 1)
    dock.shut_down()


def test_a_template_that_makes_no_sense_is_left_out(settings, viewer, registry, picture):
    settings.captions.template = "{caption"
    viewer.add_image(picture, name="stripes")
    dock = CaptionDock(viewer, registry=registry)
    dock.panel.draw.buttons["Box"].click()
    dock.captions.thin_out()
    assert dock.controller.layer("regions").text.string.format == DEFAULTS["captions"]["template"]
    dock.shut_down()
