"""How captions are written: what the form asks for, and what a model has nothing for."""

from __future__ import annotations

import numpy as np
import pytest

from napari_patchioner.viewer import forms

BOX = np.array([[20, 10], [20, 50], [60, 50], [60, 10]])


def captioned(dock, captioner, qtbot):
    """Draw a box and return what the captioner was asked for it."""
    layer = dock.annotator.layer("regions")
    layer.add(BOX, shape_type="rectangle")
    qtbot.waitUntil(lambda: all(layer.features["caption"]), timeout=5000)
    return captioner.asked[-1]


def test_left_alone_the_model_decides(started, captioner, qtbot):
    asked = captioned(started, captioner, qtbot)
    assert (asked["pooling"], asked["max_tokens"]) == (None, None)


def test_what_is_chosen_is_asked_for(started, captioner, qtbot):
    started.panel.options["pooling"].value = "centre counts more"
    started.panel.options["max_tokens"].value = 30
    assert captioned(started, captioner, qtbot) == {
        "pooling": "gaussian",
        "beams": 4,
        "max_tokens": 30,
    }


@pytest.mark.parametrize("choice", ["attention", "class token"])
def test_a_model_that_lacks_something_goes_its_own_way_and_says_so(
    started, captioner, choice, qtbot
):
    started.panel.options["pooling"].value = choice
    assert captioned(started, captioner, qtbot)["pooling"] is None
    assert f"This model has no {choice}" in started.panel.status.text()


@pytest.mark.parametrize(("choice", "how"), [("attention", "attention"), ("class token", "cls")])
def test_a_model_that_has_it_is_asked_for_it(dock, captioner, choice, how, qtbot):
    captioner.extras = {
        "attention": np.ones((120, 180), np.float32),
        "cls": np.ones(3, np.float32),
    }
    dock.panel.options["pooling"].value = choice
    dock.panel.progress.button.click()
    qtbot.waitUntil(lambda: dock.annotator.reader.ready, timeout=5000)
    assert captioned(dock, captioner, qtbot)["pooling"] == how
    assert "no" not in dock.panel.status.text().split()


def test_every_pooling_of_the_form_is_one_the_captioner_knows():
    from typing import get_args

    from napari_patchioner.captioner import Pooling

    assert set(forms.POOLINGS.values()) == {None, *get_args(Pooling)}
