"""An image is calibrated after people have drawn on it: what they drew stays on its pixels."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_patchioner.viewer.layers.binding import LayerBinding
from napari_patchioner.viewer.layers.geometry import lies_on, pixel_size
from napari_patchioner.viewer.layers.image_layers import ensure_layer
from napari_patchioner.viewer.layers.sources import Sources
from napari_patchioner.viewer.session.session import Session

BOX = np.array([[20.0, 30], [20, 50], [35, 50], [35, 30]])
CALIBRATIONS = {
    "scale": {"scale": (0.5, 0.5)},
    "anisotropic": {"scale": (0.2, 3), "translate": (7, -4)},
    "mirrored": {"scale": (-1, 1), "translate": (100, 0)},
    "units": {"units": ("um", "um"), "scale": (0.3, 0.3)},
    "turned": {"rotate": 30, "translate": (3, 4)},
    "sheared": {"shear": [0.3]},
    "affine": {"affine": [[0.5, 0.2, 3], [-0.3, 2, 1], [0, 0, 1]]},
}


def followed(depth=0):
    """Return an image with our two layers, points and labels, all followed."""
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((*[4] * depth, 60, 80)), name="cells")
    session = Session()
    bindings = {
        key: LayerBinding(ensure_layer(viewer, image, key), image, key, session, lambda: None)
        for key in ("regions", "traces")
    }
    sources = Sources(viewer, image, session, lambda: None)
    return viewer, image, session, bindings, sources


def places(session):
    return [record.seen.vertices.tolist() for record in session.records.values()]


def full(points, depth):
    return np.hstack([np.full((len(points), depth), 2.0), points])


@pytest.mark.parametrize(
    ("place", "depth"),
    [(place, 0) for place in CALIBRATIONS.values()]
    + [(CALIBRATIONS[name], 1) for name in ("anisotropic", "mirrored", "units")],
)
def test_what_is_drawn_stays_on_its_pixels(place, depth):
    viewer, image, session, bindings, sources = followed(depth)
    for binding in bindings.values():
        binding.layer.add(full(BOX, depth), shape_type="polygon")
        binding.sync()
    points = viewer.add_points(full(BOX[:2], depth))
    sources.follow(points)
    coarse = np.array([*[1.0] * depth, 2, 2])
    own = viewer.add_points(full(BOX[2:], depth) / coarse, scale=coarse)
    sources.follow(own)
    before, marks = places(session), [r.fingerprint for r in session.records.values()]
    lead = [1.0] * depth
    for name, value in place.items():
        if depth:
            value = (*(["pixel"] * depth if name == "units" else lead), *value)
        setattr(image, name, value)
    for binding in bindings.values():
        binding.sync()
        assert lies_on(binding.layer, image)
        assert binding.layer.units == image.units
    for source in sources:
        source.sync()
    assert places(session) == before
    assert [record.fingerprint for record in session.records.values()] == marks


@pytest.mark.parametrize("first", ["image", "layers"])
def test_somebody_who_calibrates_every_layer_gets_what_they_ask_for(first):
    viewer, image, session, bindings, _sources = followed()
    layer = bindings["regions"].layer
    layer.add(BOX, shape_type="polygon")
    bindings["regions"].sync()
    before = places(session)
    for one in viewer.layers if first == "image" else reversed(viewer.layers):
        one.scale = (0.5, 0.5)
    for one in viewer.layers:
        one.translate = (3, 5)
    bindings["regions"].sync()
    assert all(np.array_equal(one.scale, (0.5, 0.5)) for one in viewer.layers)
    assert lies_on(layer, image)
    assert places(session) == before


def test_a_layer_that_is_let_go_stays_where_it_is():
    _viewer, image, _session, bindings, _sources = followed()
    binding = bindings["regions"]
    binding.close()
    image.scale = (0.5, 0.5)
    assert binding.layer.scale.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("calibration", "size"),
    [
        ({"units": ("um", "um"), "scale": (0.3, 0.3)}, "0.3 micrometer"),
        ({"units": ("um", "um"), "scale": (0.3, 0.312)}, "0.305941 micrometer"),
        ({"units": ("um", "um"), "scale": (0.3, 0.4)}, None),
        ({"units": ("s", "s")}, None),
        ({}, None),
    ],
)
def test_square_pixels_have_a_size_where_their_unit_is_a_length(calibration, size):
    image = ViewerModel().add_image(np.zeros((6, 8)), **calibration)
    assert pixel_size(image) == size
