"""What is written beside a shape."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from napari.layers import Shapes

from napari_patchioner.viewer.layers.captions import (
    ON_BRIGHT,
    ON_DARK,
    CaptionText,
    TemplateError,
    checked,
    show_on,
    write_on,
)

OKABE_ITO = {
    *("#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"),
}
TABLE = pd.DataFrame(
    {
        "caption": ["a cat", "", None, "a dog"],
        "score": [0.314, 0.5, math.nan, math.nan],
        "source": ["model", "", "", "human"],
        "caption_model": ["mini", "", "", ""],
    }
)


def test_the_colours_are_of_the_palette_for_all_eyes():
    assert {*ON_DARK.values(), *ON_BRIGHT.values()} <= OKABE_ITO


@pytest.mark.parametrize(
    ("template", "texts"),
    [
        ("{caption}", ["a cat", "", "", "a dog"]),
        ("{caption} ({score:.2f})", ["a cat (0.31)", "", "", "a dog"]),
        ("{source}: {caption} [{caption_model}]", ["model: a cat [mini]", "", "", "human: a dog"]),
    ],
)
def test_a_template_is_filled_in_as_far_as_there_is_something(template, texts):
    assert CaptionText(format=template)(TABLE).tolist() == texts


def test_long_captions_are_cut_to_the_lines_asked_for():
    table = pd.DataFrame({"caption": ["a very long caption that goes on " * 5]})
    for lines in (1, 2, 5):
        found = CaptionText(lines=lines)(table)[0].split("\n")
        assert len(found) == lines
        assert found[-1].endswith("…")


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{uid}", r"There is no {uid} to show; there is {caption}, "),
        ("{caption", "cannot be read"),
        ("{score:.2f", "cannot be read"),
        ("{score:zz}", "cannot be read"),
        ("{}", "There is no {} to show"),
        ("{caption.__class__}", "There is no"),
    ],
)
def test_a_bad_template_is_told(template, says):
    with pytest.raises(TemplateError, match=says):
        checked(template)


def test_it_is_drawn_and_hidden():
    layer = Shapes(np.array([[0, 0], [5, 5]]), shape_type="line", features={"caption": ["a cat"]})
    layer.text = {"color": "red"}
    write_on(layer, template="{caption}!", lines=2)
    assert layer.text.values.tolist() == ["a cat!"]
    assert layer.text.visible
    write_on(layer, visible=False)
    assert not layer.text.visible


def test_a_crowd_of_captions_is_not_drawn_until_it_thins_out():
    layer = Shapes(
        [np.array([[0, 0], [5, 5]])] * 3,
        shape_type="rectangle",
        features={"caption": ["a cat", "a dog", ""]},
    )
    write_on(layer, crowd=2)
    assert not layer.text.visible
    assert show_on(layer, True, 2)
    layer.features["caption"] = ["a cat", "a cow", ""]
    assert not show_on(layer, True, 3)
    assert layer.text.visible
    assert list(layer.text.values) == ["a cat", "a cow", ""]
    assert not show_on(layer, False, 2)
