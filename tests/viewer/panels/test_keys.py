"""The keys clash with nothing of napari's, do what they say, and are all in the help."""

from __future__ import annotations

from pathlib import Path

import pytest
from napari.components import ViewerModel
from napari.layers import Shapes
from napari.utils.key_bindings import coerce_keybinding
from napari.utils.shortcuts import default_shortcuts

from napari_patchioner.viewer.actions import Actions
from napari_patchioner.viewer.panels import keys
from napari_patchioner.viewer.panels.keys import canvas_keys, documentation, help_text

# What napari offers with other layers only.
OTHERS = (
    *("label", "points", "image", "vectors", "tracks", "surface", "polygon", "contrast", "brush"),
    *("orient_plane",),
)
NAMES = [key.key for key in keys.KEYS]
FREE = [*NAMES, *keys.FOLDER]


def taken():
    """Return the keys that mean something to napari with a layer of shapes or with any."""
    shortcuts = {
        str(coerce_keybinding(binding))
        for name, bindings in default_shortcuts.items()
        if "shape" in name or "add_polygon" in name or not any(one in name for one in OTHERS)
        for binding in bindings
    }
    bound = [*Shapes.class_keymap, *ViewerModel.class_keymap]
    return shortcuts | {str(coerce_keybinding(binding)) for binding in bound}


def test_napari_is_asked_for_what_it_takes():
    assert {"P", "V", "1", "7", "A"} <= taken()


@pytest.mark.parametrize("key", FREE)
def test_our_keys_are_free_in_napari(key):
    assert str(coerce_keybinding(key)) not in taken()


def test_no_key_is_given_twice():
    assert len({str(coerce_keybinding(key)) for key in FREE}) == len(FREE)


@pytest.mark.parametrize("key", keys.KEYS, ids=NAMES)
def test_every_key_does_a_deed_and_stands_in_the_help(key):
    assert callable(getattr(Actions, key.action))
    assert key.purpose in help_text()


@pytest.mark.every_qt
def test_keys_are_given_and_given_back():
    class Counter:
        def __init__(self):
            self.calls = []

        def __getattr__(self, name):
            return lambda *given: self.calls.append((name, *given))

    layer, actions = Shapes(), Counter()
    keys.bind_keys(layer, actions)
    for binding in list(layer.keymap):
        layer.keymap[binding](layer)
    assert set(actions.calls) == {(key.action, *key.arguments) for key in keys.KEYS}
    keys.free_keys(layer)
    assert not layer.keymap


def test_the_help_says_where_to_read_more():
    assert documentation() == "" or documentation().startswith("https://")


def test_the_guide_has_every_key():
    guide = (Path(__file__).parents[3] / "docs" / "guide.md").read_text(encoding="utf-8")
    for key, purpose in [*canvas_keys(), *keys.INSPECTING, *keys.IN_THE_LIST, *keys.IN_THE_FOLDER]:
        assert f"| {key} | {purpose} |" in guide
