from __future__ import annotations

import napari
import numpy as np
import pytest
from alike import alike
from annotated import IMAGES, annotations
from hypothesis import HealthCheck, given, settings
from napari.components import ViewerModel
from npe2 import PluginManager
from PIL import Image as PillowImage

from napari_patchioner.annotations import (
    FORMATS,
    Annotation,
    ImageInfo,
    Project,
    ProjectImage,
    read_annotations,
    write_annotations,
    write_project,
)
from napari_patchioner.regions import (
    Box,
    Ellipse,
    Mask,
    Point,
    Polygon,
    RegionSet,
    Trace,
    WholeImage,
)
from napari_patchioner.viewer.io import plugin_io
from napari_patchioner.viewer.io.layer_data import annotation_layers, layer_annotations

OURS = "napari-patchioner"
RING = np.array([[1.0, 2], [3, 9], [9, 7], [7, 0]])
HOLED = np.ones((4, 5), bool)
HOLED[1:3, 1:4] = False
KINDS = [
    Box(1, 2, 3.5, 4),
    Polygon(RING),
    Ellipse(RING),
    Trace(RING),
    Point(3, 4.5),
    Mask(HOLED, (2, 3)),
]


@pytest.fixture
def told(monkeypatch):
    """Collect what is told instead of showing it."""
    lines = []
    monkeypatch.setattr("napari_patchioner.viewer.io.plugin_io.show_warning", lines.append)
    return lines


@pytest.fixture
def manager():
    """Return npe2's plugins, this one among them."""
    manager = PluginManager.instance()
    manager.discover()
    return manager


@pytest.fixture
def viewer(manager):
    return ViewerModel()


def _saved(path, *regions, **extra):
    before = [
        Annotation(f"u{n}", "cat.png", one, f'thing {n}, "so"', 0.5, "model", "mini", extra)
        for n, one in enumerate(regions)
    ]
    write_annotations(path, before, IMAGES)
    return before


def _back(layers):
    return [
        one
        for layer in layers
        for one in layer_annotations(*layer.as_layer_data_tuple()[:2], layer._type_string)
    ]


@pytest.mark.parametrize("name", ["a.geojson", "a.parquet", "a.regions.csv", "a.ome.xml"])
def test_napari_opens_a_file_as_layers_with_captions(tmp_path, viewer, name):
    before = _saved(tmp_path / name, *KINDS, depth="3")
    layers = viewer.open(str(tmp_path / name), plugin=OURS)
    assert [layer.name for layer in layers] == [
        "regions [cat]",
        "traces [cat]",
        "points [cat]",
        "labels [cat]",
    ]
    assert layers[0].features["caption"].tolist() == [one.caption for one in before[:3]]
    assert list(layers[0].shape_type) == ["rectangle", "polygon", "ellipse"]
    after = _back(layers)
    for one, two in zip(before, after, strict=True):
        assert alike(one.region, two.region)
        for field in ("uid", "image", "caption", "score", "source", "model", "extra"):
            assert getattr(two, field) == getattr(one, field)


def test_a_file_that_holds_no_regions_is_left_to_others(tmp_path, viewer, manager):
    path = tmp_path / "settings.json"
    path.write_text('{"a": 1}')
    assert plugin_io.get_reader(str(path)) is None
    assert plugin_io.get_reader(str(tmp_path / "none.json")) is None
    with pytest.raises(ValueError, match="refused the file"):
        viewer.open(str(path), plugin=OURS)


def test_tables_and_pictures_of_napari_stay_its_own(manager):
    for name in ("points.csv", "a.tif", "a.png", "folder"):
        readers = {one.plugin_name for one in manager.iter_compatible_readers([name])}
        assert OURS not in readers


@pytest.mark.parametrize(
    ("name", "kinds", "command"),
    [
        ("out", ["shapes", "shapes"], "napari.write_directory"),
        ("out", ["shapes"], "napari.write_shapes"),
        ("out.csv", ["points"], "napari.write_points"),
        ("out.tif", ["labels"], "napari.write_labels"),
        ("out.json", ["shapes", "labels"], "napari-patchioner.write_coco"),
    ],
)
def test_napari_saves_by_itself_what_it_always_has(manager, name, kinds, command):
    assert manager.get_writer(name, kinds)[0].command == command


def test_every_format_is_in_the_manifest(manager):
    manifest = manager.get_manifest(OURS)
    titles = {one.display_name: one for one in manifest.contributions.writers}
    # napari's own table is written by a command of its own, with all axes.
    for form in [one for one in FORMATS.values() if one.name != "napari"]:
        assert form.title in titles, f"name write_{form.name} in napari.yaml"
        writer = titles[form.title]
        assert writer.command.endswith(f"write_{form.name.replace('-', '_')}")
        assert set(writer.filename_extensions) <= {*form.suffixes, ".zip"}
        assert callable(getattr(plugin_io, f"write_{form.name.replace('-', '_')}"))
        saved = {
            w.layer_types[0] for w in manifest.contributions.writers if w.display_name == form.title
        }
        assert "image+" in saved, "with the images, too"
    patterns = set(manifest.contributions.readers[0].filename_patterns)
    ends = {f"*{end}" for form in FORMATS.values() for end in form.suffixes}
    # Not every table is ours.
    assert patterns == ends - {"*.csv"} | {"*.regions.csv"}


def _layers(viewer, image=None):
    shapes = viewer.add_shapes(
        [RING[[0, 1, 2]], RING],
        shape_type=["polygon", "path"],
        name="regions [cells]" if image is not None else "mine",
        features={"caption": ["a cell, stained", "=ein Weg"], "source": ["model", "human"]},
    )
    points = viewer.add_points([[3.0, 4.5]], features={"caption": ["a dot"]}, name="dots")
    pixels = np.zeros((9, 9), int)
    pixels[2:6, 3:8] = HOLED * 7
    labels = viewer.add_labels(pixels, features={"index": [7], "caption": ["a ring"]}, name="rings")
    return [shapes, points, labels]


SAVED = {"tidy": 4, "parquet": 4, "coco": 2, "geojson": 4, "localized-narratives": 1}


@pytest.mark.parametrize("name", SAVED)
def test_napari_saves_layers_in_every_format(tmp_path, viewer, told, name, monkeypatch):
    image = viewer.add_image(np.zeros((40, 50)), name="cells")
    monkeypatch.setattr(napari, "current_viewer", lambda: viewer)
    layers = _layers(viewer, image)
    manifest = PluginManager.instance().get_manifest(OURS)
    writer = next(
        one for one in manifest.contributions.writers if one.display_name == FORMATS[name].title
    )
    path = tmp_path / f"out{FORMATS[name].suffixes[0]}"
    from napari.plugins.io import save_layers

    assert save_layers(str(path), layers, plugin=OURS, _writer=writer) == [str(path)]
    found = read_annotations(path)
    assert len(found) == SAVED[name]
    if name in ("tidy", "geojson"):
        words = {one.caption: one for one in found}
        assert set(words) == {"a cell, stained", "=ein Weg", "a dot", "a ring"}
        assert words["=ein Weg"].source == "human"
        assert words["a cell, stained"].image == "cells"
        assert alike(words["a ring"].region, Mask(HOLED, (2, 3)))
        assert told == []
    elif name == "localized-narratives":
        [words] = told
        assert words == (
            "1 polygon, 1 point, 1 mask left out: Localized Narratives has no place for them."
        )


def test_an_image_is_called_by_its_file_and_folders_where_names_are_alike(
    tmp_path, viewer, monkeypatch
):
    monkeypatch.setattr(napari, "current_viewer", lambda: viewer)
    files = [tmp_path / one / "coffee.png" for one in ("d1", "d2", "a/d2")]
    for path in files:
        path.parent.mkdir(parents=True)
        PillowImage.new("RGB", (50, 40)).save(path)

    def saved():
        viewer.layers.save(str(tmp_path / "out.csv"), plugin=OURS)
        return sorted(one.image for one in read_annotations(tmp_path / "out.csv"))

    viewer.open(str(files[0]), plugin="napari", name="coffee [1]")
    for name in ("regions [coffee [1]]", "regions [coffee [1]] [1]"):
        viewer.add_shapes([RING], shape_type="polygon", name=name)
    assert saved() == ["coffee.png"] * 2
    for path in files[1:]:
        viewer.open(str(path), plugin="napari", name=path.parent.parent.name)
    # A row names the file only; that of its layer is meant.
    table = {"image": ["coffee.png"], "caption": ["a cup"]}
    viewer.add_shapes([RING], name=f"regions [{tmp_path.name}]", features=table)
    viewer.add_shapes([RING], shape_type="polygon", name="regions [a]")
    assert saved() == [
        "a/d2/coffee.png",
        "d1/coffee.png",
        "d1/coffee.png",
        f"{tmp_path.name}/d2/coffee.png",
    ]


@pytest.mark.parametrize("end", [".csv", ".geojson", ".json"])
def test_all_layers_of_a_stack_are_saved_at_once(tmp_path, viewer, monkeypatch, end):
    viewer.add_image(np.zeros((6, 40, 50)), name="cells")
    monkeypatch.setattr(napari, "current_viewer", lambda: viewer)
    for key, kind in (("regions", "polygon"), ("traces", "path")):
        outline = np.insert(RING, 0, 3, axis=1)
        viewer.add_shapes([outline], ndim=3, shape_type=kind, name=f"{key} [cells]")
    path = tmp_path / f"out{end}"
    assert viewer.layers.save(str(path), plugin=OURS) == [str(path)]
    assert len(read_annotations(path)) == (1 if end == ".json" else 2)
    # With nothing but an image there is nothing for these files to hold.
    with pytest.warns(UserWarning, match="not a valid writer"):
        assert viewer.layers[0].save(str(tmp_path / f"none{end}"), plugin=OURS) == []


def test_a_layer_is_saved_by_its_ending(tmp_path, viewer, told):
    shapes = _layers(viewer)[0]
    path = tmp_path / "out.geojson"
    assert shapes.save(str(path), plugin=OURS) == [str(path)]
    assert [one.caption for one in read_annotations(path)] == ["a cell, stained", "=ein Weg"]


@pytest.mark.parametrize("name", ["out.geojson", "out.csv"])
def test_napari_shows_why_a_file_cannot_be_written(tmp_path, viewer, name):
    shapes = _layers(viewer)[0]
    with pytest.raises(OSError, match=rf"{name}: cannot be written \(No such file or directory\)"):
        shapes.save(str(tmp_path / "missing" / name), plugin=OURS)


def test_regions_without_a_shape_are_named(tmp_path, viewer, told):
    path = tmp_path / "a.geojson"
    _saved(path, Box(1, 2, 3, 4), WholeImage(), RegionSet((Point(1, 2), Box(1, 2, 3, 4))))
    assert len(viewer.open(str(path), plugin=OURS)) == 1
    assert told == ["1 image, 1 set left out: napari has no shape for them."]


@pytest.mark.parametrize(
    ("plane", "depths", "found"),
    [
        ("0 3", {}, [0, 3]),
        ("0 3", {"cat": 1}, [3]),
        ("0 3", {"other.tif": 2}, [0, 3]),
        ("2 0", {"cat.png": 1}, [2]),
        ("0 0", {"cat": 0}, []),
        ("0 0", {}, []),
        ("3", {"cat": 2}, [0, 3]),
        ("2 3", {"cat": 1}, [2, 3]),
    ],
)
def test_planes_are_those_of_the_open_image(plane, depths, found):
    one = Annotation("a", "cat.png", Box(1, 2, 3, 4), extra={"plane": plane})
    [(shapes, _, _)], _ = annotation_layers([one], "x", depths)
    assert shapes[0][0, :-2].tolist() == found


def test_planes_and_images_come_apart(tmp_path):
    box = Box(1, 2, 3, 4)
    before = [
        Annotation("a", "cat.png", box, extra={"plane": "2 5"}),
        Annotation("b", "cat.png", box, extra={"plane": "7"}),
        Annotation("c", "dog.png", box),
        Annotation("d", "dog.png", Mask(HOLED, (0, 0))),
        Annotation("e", "dog.png", Mask(HOLED, (1, 1))),
    ]
    layers, left_out = annotation_layers(before, "file")
    assert left_out == []
    assert [meta["name"] for _, meta, _ in layers] == [
        "regions [cat]",
        "regions [dog]",
        "labels [dog]",
        "labels [dog] [1]",
    ]
    planes = [shape[0, :2].tolist() for shape in layers[0][0]]
    assert planes == [[2, 5], [0, 7]]
    assert layers[1][0][0].shape == (4, 2)
    many = [Annotation(f"{n}", f"{n}.png", box) for n in range(300)]
    [(data, meta, _)], _ = annotation_layers(many, "file")
    assert len(data) == 300
    assert meta["name"] == "regions [file]"
    assert meta["features"]["image"][299] == "299.png"


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=annotations(images=("cat.png",)))
def test_what_becomes_layers_becomes_the_same_annotations(before):
    layers, left_out = annotation_layers(before, "file")
    after = {one.uid: one for layer in layers for one in layer_annotations(*layer)}
    shown = [one for one in before if one not in left_out]
    assert set(after) == {one.uid for one in shown}
    for one in shown:
        two = after[one.uid]
        if isinstance(one.region, Trace):
            assert np.allclose(one.region.points, two.region.points)
        elif not isinstance(one.region, Mask):
            assert alike(one.region, two.region)
        else:
            rows = np.argwhere(one.region.pixels) + one.region.offset
            assert np.array_equal(rows, np.argwhere(two.region.pixels) + two.region.offset)
        assert (two.caption, two.source, two.model) == (one.caption, one.source, one.model)


def test_an_image_in_napari_tells_its_size(viewer, monkeypatch):
    viewer.add_image(np.zeros((3, 40, 50)), name="cells")
    monkeypatch.setattr(napari, "current_viewer", lambda: viewer)
    assert plugin_io.viewer_images() == {"cells": ImageInfo("cells", 40, 50)}


def test_a_project_is_no_file_of_annotations(tmp_path):
    path = tmp_path / "cat.patchioner.json"
    write_project(path, Project(ProjectImage("cat", content="0"), ()))
    assert plugin_io.get_reader(str(path)) is None
