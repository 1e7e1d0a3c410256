"""How captions are written: what the form asks for, and what a model has nothing for."""

from __future__ import annotations

import numpy as np

from napari_patchioner.decoders import CaptionOptions
from napari_patchioner.viewer.panels import forms

BOX = np.array([[20, 10], [20, 50], [60, 50], [60, 10]])


def captioned(dock, captioner, qtbot):
    """Draw a box and return what the captioner was asked for it."""
    layer = dock.controller.layer("regions")
    layer.add(BOX, shape_type="rectangle")
    qtbot.waitUntil(lambda: all(layer.features["caption"]), timeout=5000)
    return captioner.asked[-1]


def test_what_is_chosen_is_asked_for_and_left_alone_the_model_decides(started, captioner, qtbot):
    asked = captioned(started, captioner, qtbot)
    assert (asked["pooling"], asked["max_tokens"]) == (None, None)
    a_model_that_lacks_something_goes_its_own_way_and_says_so(started, captioner, qtbot)
    started.panel.options["pooling"].value = "centre counts more"
    started.panel.options["max_tokens"].value = 30
    assert captioned(started, captioner, qtbot) == {
        "pooling": "gaussian",
        "beams": 4,
        "max_tokens": 30,
    }


def a_model_that_lacks_something_goes_its_own_way_and_says_so(started, captioner, qtbot):
    for choice in ("attention", "class token"):
        started.panel.options["pooling"].value = choice
        assert captioned(started, captioner, qtbot)["pooling"] is None
        assert f"This model has no {choice}" in started.panel.status.text()


def test_a_model_that_has_it_is_asked_for_it(dock, captioner, qtbot):
    captioner.extras = {
        "attention": np.ones((120, 180), np.float32),
        "cls": np.ones(3, np.float32),
    }
    dock.panel.options["pooling"].value = "attention"
    dock.panel.progress.button.click()
    qtbot.waitUntil(lambda: dock.controller.encoder.ready, timeout=5000)
    for choice, how in (("attention", "attention"), ("class token", "cls")):
        dock.panel.options["pooling"].value = choice
        assert captioned(dock, captioner, qtbot)["pooling"] == how
        assert "no" not in dock.panel.status.text().split()


def test_every_pooling_of_the_form_is_one_the_captioner_knows():
    from typing import get_args

    from napari_patchioner.decoders import Pooling

    assert set(forms.POOLINGS.values()) == {None, *get_args(Pooling)}


def test_what_is_chosen_shows_at_once_at_the_selected_shapes_but_never_at_a_persons(
    started, captioner, qtbot
):
    layer = started.controller.layer("regions")
    layer.add([BOX, BOX + np.array([0, 60]), BOX + np.array([0, 120])], shape_type="rectangle")
    qtbot.waitUntil(lambda: all(layer.features["caption"]), timeout=5000)
    _, mine, _ = started.controller.session.uids("regions")
    started.controller.edit(mine, "my own words")
    layer.selected_data = {0, 1}
    asked = len(captioner.asked)
    started.panel.options["beams"].value = 2
    qtbot.waitUntil(lambda: len(captioner.asked) > asked, timeout=5000)
    assert captioner.asked[-1]["beams"] == 2
    assert captioner.captioned[-1] == 1, "only the selected one that no person wrote"
    qtbot.waitUntil(lambda: all(layer.features["caption"]), timeout=5000)
    assert started.controller.session.records[mine].caption == "my own words"


def test_wishes_are_asked_for_only_where_there_are_any():
    form = forms.options_form()
    assert set(forms.options(form)) == {"pooling", "beams", "alternatives", "max_tokens"}
    form["length"].value = "label"
    form["must"].value = "cat,  on a sofa ,, cat"
    form["never"].value = " "
    form["temperature"].value = 0.02
    form["repetition"].value = 2
    form["union"].value = True
    asked = forms.options(form)
    assert {name: asked[name] for name in asked if name not in ("pooling", "beams")} == {
        "alternatives": 3,
        "max_tokens": None,
        "length": "label",
        "must": ("cat", "on a sofa"),
        "temperature": 0.02,
        "repetition": 2,
        "union": True,
    }


def test_every_option_of_the_form_is_one_the_captioner_takes():
    form = forms.options_form()
    form["length"].value, form["must"].value, form["never"].value = "phrase", "a", "b"
    form["temperature"].value, form["repetition"].value, form["union"].value = 0.5, 3, True
    options = CaptionOptions().changed(forms.options(form))
    assert (options.must_include, options.must_exclude) == (("a",), ("b",))
    assert (options.length, options.temperature, options.repetition) == ("phrase", 0.5, 3)
