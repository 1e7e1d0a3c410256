from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel

from napari_patchioner.annotations import Plane, Seen
from napari_patchioner.regions import Box, Ellipse, Polygon, RegionSet, Trace
from napari_patchioner.viewer.layers.captions import ON_BRIGHT, ON_DARK, CaptionText, shortened
from napari_patchioner.viewer.layers.geometry import plane_of, shape_region, untangled
from napari_patchioner.viewer.layers.image_layers import ensure_layer, line_colour

SQUARE = np.array([[0.0, 0.0], [0.0, 9.0], [9.0, 9.0], [9.0, 0.0]])


def test_a_layer_lies_on_its_image_in_every_respect():
    viewer = ViewerModel()
    image = viewer.add_image(
        np.zeros((3, 20, 30)),
        scale=(5, 2, 2),
        translate=(1, 2, 3),
        rotate=20,
        units=("um", "um", "um"),
        axis_labels=("z", "y", "x"),
    )
    layer = ensure_layer(viewer, image, "regions")
    assert layer.ndim == 3
    for name in ("scale", "translate", "rotate", "shear"):
        assert np.allclose(getattr(layer, name), getattr(image, name))
    assert layer.units == image.units
    assert layer.axis_labels == image.axis_labels
    assert layer.locked


def test_a_layer_is_made_once_and_stays_with_a_renamed_image():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((20, 30)), name="cells")
    layer = ensure_layer(viewer, image, "regions")
    assert layer.name == "regions [cells]"
    assert ensure_layer(viewer, image, "regions") is layer
    assert ensure_layer(viewer, image, "traces") is not layer


def test_a_saved_layer_is_taken_over():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((20, 30)), name="cells")
    saved = viewer.add_shapes([SQUARE], name="regions [cells]", features={"caption": ["a cell"]})
    assert ensure_layer(viewer, image, "regions") is saved
    assert list(saved.features["caption"]) == ["a cell"]
    assert list(saved.features["uid"]) == [""]
    assert list(saved.text.values) == ["a cell"]


def test_the_next_shape_has_an_empty_caption():
    viewer = ViewerModel()
    layer = ensure_layer(viewer, viewer.add_image(np.zeros((20, 30))), "regions")
    layer.add(SQUARE, shape_type="rectangle")
    assert list(layer.features["caption"]) == [""]
    assert list(layer.text.values) == [""]


@pytest.mark.parametrize("caption", [None, float("nan"), ""])
def test_missing_captions_draw_nothing(caption):
    assert CaptionText()(pd.DataFrame({"caption": [caption]})).tolist() == [""]


def test_long_captions_are_drawn_short():
    lines = shortened("a very long caption that goes on " * 5).split("\n")
    assert len(lines) == 3
    assert lines[-1].endswith("…")
    assert max(map(len, lines)) <= 24


@pytest.mark.parametrize(
    ("shape_type", "vertices", "kind"),
    [
        ("rectangle", SQUARE, Box),
        ("rectangle", np.array([[0, 5], [5, 10], [10, 5], [5, 0]]), Polygon),
        ("ellipse", SQUARE, Ellipse),
        ("polygon", SQUARE, Polygon),
        ("path", SQUARE, Trace),
        ("line", SQUARE[:2], Trace),
    ],
)
def test_shapes_become_regions(shape_type, vertices, kind):
    region = shape_region(Seen(shape_type, np.asarray(vertices, float)), (0, 1))
    assert isinstance(region, kind)
    if kind is Trace:
        assert region.connected


def test_a_shape_in_a_stack_is_cut_to_its_plane():
    seen = Seen("rectangle", np.insert(SQUARE, 0, 4, axis=1))
    assert plane_of(seen, (1, 2)) == Plane((1, 2), (4,))
    assert plane_of(seen, (0, 1)) is None
    region = shape_region(seen, (1, 2))
    assert (region.top, region.left, region.bottom, region.right) == (0, 0, 9, 9)


def test_a_lasso_that_crosses_its_beginning_is_untangled():
    lasso = np.array([[0, 0], [0, 9.0], [9, 9], [9, 0.2], [8.9, -0.1], [9, -0.1]])
    assert len(untangled(Polygon(lasso)).vertices) == 5
    members = untangled(RegionSet((Polygon(lasso), Box(0, 0, 1, 1)))).members
    assert len(members[0].vertices) == 5


@pytest.mark.parametrize(("level", "palette"), [(20, ON_DARK), (230, ON_BRIGHT)])
def test_lines_show_on_dark_images_and_bright_ones(level, palette):
    image = ViewerModel().add_image(np.full((40, 90, 3), level, np.uint8))
    assert line_colour(image, "regions") == palette["regions"]
