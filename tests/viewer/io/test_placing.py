"""Files hold pixels of the image, wherever the layers lie in the world."""

from __future__ import annotations

import napari
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Points, Shapes
from napari.layers._source import layer_source

from napari_patchioner.annotations import (
    Annotation,
    read_annotations,
    shape_from_region,
    write_annotations,
)
from napari_patchioner.regions import Box, Mask, Point
from napari_patchioner.viewer.io import placement, plugin_io
from napari_patchioner.viewer.layers.geometry import lies_on

WORLD = np.array([[20.0, 30], [20, 50], [35, 50], [35, 30]])
PLACES = {
    "halved": {"scale": (0.5, 0.5)},
    "anisotropic": {"scale": (0.2, 3), "translate": (7, -4)},
    "mirrored": {"scale": (-1, 1), "translate": (100, 0)},
    "microns": {"scale": (0.3, 0.3), "units": ("um", "um")},
    "turned": {"rotate": 90, "translate": (3, 4)},
    "affine": {"affine": [[0, 2, 3], [-0.5, 0, 1], [0, 0, 1]]},
}


@pytest.fixture
def viewer(monkeypatch):
    made = ViewerModel()
    monkeypatch.setattr(napari, "current_viewer", lambda: made)
    return made


def stacked(place, depth):
    """Return a placement with so many axes before rows and columns."""
    lead = {"scale": 5.0, "translate": 0.0, "units": "pixel"}
    return {
        name: (*[lead[name]] * depth, *value) if name in lead else value
        for name, value in place.items()
        if not depth or name in lead
    }


def saved(tmp_path, viewer, layers, name="tidy"):
    path = tmp_path / "out.csv"
    tuples = [layer.as_layer_data_tuple() for layer in layers]
    plugin_io.write_layers(str(path), tuples, name)
    return read_annotations(path)


def corners(region):
    return sorted(shape_from_region(region)[1].round(4).tolist())


@pytest.mark.parametrize(
    ("name", "depth"),
    [*((name, 0) for name in PLACES), ("halved", 1), ("anisotropic", 1), ("mirrored", 1)],
)
def test_a_layer_of_somebodys_own_is_saved_in_pixels_of_the_image(tmp_path, viewer, name, depth):
    place = PLACES[name]
    image = viewer.add_image(
        np.zeros((*[4] * depth, 200, 300)), name="cells", **stacked(place, depth)
    )
    units = place.get("units", ("pixel",) * 2)
    world = np.hstack([np.full((4, depth), 10.0), WORLD])
    wanted = np.array([image.world_to_data(corner) for corner in world]).round(4)[:, -2:].tolist()
    coarse = (*[1.0] * depth, 4.0, 2.0)
    own = {"scale": coarse, "units": (*["pixel"] * depth, *units)}
    shapes = viewer.add_shapes([world / coarse], shape_type="polygon", **own)
    points = viewer.add_points(world / coarse, **own)
    found = saved(tmp_path, viewer, [shapes, points])
    assert corners(found[0].region) == sorted(wanted)
    assert [[one.region.row, one.region.column] for one in found[1:]] == [
        pytest.approx(place, abs=1e-4) for place in wanted
    ]
    assert {one.extra.get("plane", "") for one in found} == ({"2"} if depth else {""})
    path = tmp_path / "shapes.csv"
    plugin_io.write_layer(str(path), *shapes.as_layer_data_tuple()[:2])
    assert corners(read_annotations(path)[0].region) == sorted(wanted)


def test_labels_are_saved_pixel_by_pixel_of_the_image(tmp_path, viewer):
    viewer.add_image(np.zeros((3, 60, 80)), name="cells", scale=(2, 0.5, 0.5))
    painted = np.zeros((3, 30, 40), int)
    painted[1, 10:12, 20:23] = 5
    labels = viewer.add_labels(painted, scale=(2, 1, 1), translate=(0, 0.25, 0.25))
    [one] = saved(tmp_path, viewer, [labels])
    assert one.extra["plane"] == "1"
    places = np.argwhere(one.region.pixels) + one.region.offset
    assert places.min(axis=0).tolist() == [20, 40]
    assert places.max(axis=0).tolist() == [23, 45]
    assert len(places) == 24


def test_of_several_images_it_is_the_one_named_or_the_one_below(tmp_path, viewer):
    viewer.add_image(np.zeros((60, 80)), name="left", scale=(0.5, 0.5))
    viewer.add_image(np.zeros((60, 80)), name="right", scale=(2, 2), translate=(0, 200))
    named = Shapes([WORLD], shape_type="polygon", name="regions [left]", scale=(0.5, 0.5))
    assert corners(saved(tmp_path, viewer, [named])[0].region) == sorted(WORLD.tolist())
    near = Shapes([WORLD + np.array([0, 200])], shape_type="polygon", name="mine")
    assert corners(saved(tmp_path, viewer, [near])[0].region) == sorted((WORLD / 2).tolist())
    dots = Points([[10.0, 210]], features={"image": ["right"]})
    assert repr(saved(tmp_path, viewer, [dots])[0].region) == repr(Point(5.0, 5.0))


def test_a_flat_layer_lies_on_the_rows_and_columns_of_a_stack(tmp_path, viewer):
    viewer.add_image(np.zeros((3, 200, 300)), scale=(9, 0.5, 0.5))
    flat = Shapes([WORLD], shape_type="rectangle")
    [one] = saved(tmp_path, viewer, [flat])
    assert corners(one.region) == sorted((WORLD * 2).tolist())


def test_without_an_image_the_layer_speaks_for_itself(tmp_path, viewer):
    shapes = Shapes([WORLD], shape_type="polygon", scale=(0.5, 0.5))
    labels = Labels(np.ones((2, 2), int), translate=(3, 4))
    one, two = saved(tmp_path, viewer, [shapes, labels])
    assert corners(one.region) == sorted(WORLD.tolist())
    assert tuple(two.region.offset) == (3, 4)


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_opened_layers_come_to_lie_on_their_image(tmp_path, viewer, place):
    viewer.add_image(np.zeros((9, 9)), name="another", scale=(7, 7))
    image = viewer.add_image(np.zeros((60, 80)), name="cat", **place)
    before = [
        Annotation("a", "cat.png", Box(4.0, 6.0, 10.0, 12.0)),
        Annotation("b", "cat.png", Point(3.0, 5.0)),
        Annotation("c", "cat.png", Mask(np.ones((3, 2), bool), (7, 9))),
    ]
    write_annotations(tmp_path / "a.regions.csv", before)
    read = plugin_io.read_layers(str(tmp_path / "a.regions.csv"))
    made = [viewer._add_layer_from_data(*one)[0] for one in read]
    assert all(lies_on(layer, image) for layer in made[:2])
    found = saved(tmp_path, viewer, made)
    assert [repr(one.region) for one in found[:2]] == [repr(one.region) for one in before[:2]]
    assert tuple(found[2].region.offset) == (7, 9)


def test_a_file_that_names_no_image_is_about_the_only_one(tmp_path, viewer):
    image = viewer.add_image(np.zeros((3, 60, 80)), scale=(5, 0.5, 0.5))
    write_annotations(
        tmp_path / "a.regions.csv", [Annotation("a", "", Box(4, 6, 10, 12), extra={"plane": "2"})]
    )
    [(data, meta, _)] = plugin_io.read_layers(str(tmp_path / "a.regions.csv"))
    assert lies_on(Shapes(data, **meta), image)
    viewer.layers.append(Image(np.zeros((60, 80))))
    [(_, meta, _)] = plugin_io.read_layers(str(tmp_path / "a.regions.csv"))
    assert "scale" not in meta


def test_a_region_of_another_view_goes_to_tables_and_is_named_elsewhere(tmp_path, viewer):
    viewer.add_image(np.zeros((20, 60, 80)), name="cells")
    xz = np.array([[2.0, 7, 10], [2, 7, 40], [9, 7, 40], [9, 7, 10]])
    shapes = Shapes([xz], shape_type="rectangle", name="regions [cells]")
    [one] = saved(tmp_path, viewer, [shapes])
    assert repr(one.region) == repr(Box(2.0, 10.0, 9.0, 40.0))
    assert (one.extra["plane"], one.extra["axes"]) == ("7", "0 2")
    left_out = write_annotations(tmp_path / "a.geojson", [one])
    assert [each.uid for each in left_out] == [one.uid]
    [(data, meta, _)] = plugin_io.read_layers(str(tmp_path / "out.csv"))
    assert np.array_equal(data[0], xz)
    assert "axes" not in meta["features"]


def test_a_file_about_an_image_of_another_folder_is_not_laid_on_this_one(tmp_path, viewer):
    with layer_source(path=str(tmp_path / "d1" / "a.png")):
        image = viewer.add_image(np.zeros((60, 80)), name="a", scale=(0.5, 0.5))
    (tmp_path / "d2").mkdir()
    rows = [Annotation(folder, f"{folder}/a.png", Box(2, 3, 9, 9)) for folder in ("d1", "d2")]
    write_annotations(tmp_path / "r.csv", rows, format="tidy")
    opened = plugin_io.read_layers(str(tmp_path / "r.csv"))
    assert [meta["name"] for _, meta, _ in opened] == ["regions [a]", "regions [d2/a]"]
    images = placement.open_images()
    assert placement.image_named("d1/a.png", images) is image
    assert placement.image_named("a.png", images) is image
    for name in ("d2/a.png", "d2\\a.png", "d2/a", str(tmp_path / "d2" / "a.png")):
        assert placement.image_named(name, images) is None
