"""Templates: names in braces and nothing else."""

from __future__ import annotations

import pytest

from napari_patchioner.describers import DESCRIBE, check_template, fill
from napari_patchioner.errors import ModelError

FIELDS = {"caption": "a cell", "layer": "nuclei", "image": "a.tif", "size": "3 by 4 µm"}


def test_fields_are_filled_in():
    text = fill("{caption} on {layer} of {image}, {size}: {{ok}}?", FIELDS)
    assert text == "a cell on nuclei of a.tif, 3 by 4 µm: {ok}?"


def test_what_a_field_holds_is_no_template():
    assert fill("{caption}", {**FIELDS, "caption": "{layer}"}) == "{layer}"


@pytest.mark.parametrize(
    "template",
    [
        "{caption.__class__}",
        "{caption[0]}",
        "{caption!r}",
        "{caption:>100000000}",
        "{}",
        "{0}",
        "{other}",
        "{",
        "}",
        "x" * 5000,
    ],
)
def test_all_else_in_braces_is_refused_in_one_sentence(template):
    with pytest.raises(ModelError, match=r"^[^\n]+\.$"):
        check_template(template)


def test_the_default_is_a_template():
    check_template(DESCRIBE)
