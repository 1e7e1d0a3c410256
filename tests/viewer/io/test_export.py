from __future__ import annotations

import csv

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_patchioner.annotations import (
    FORMATS,
    Plane,
    read_annotations,
    read_napari_csv,
    read_tidy_csv,
)
from napari_patchioner.decoders import Caption
from napari_patchioner.viewer.io.export import (
    export_csv,
    export_file,
    export_filters,
)
from napari_patchioner.viewer.layers.binding import LayerBinding
from napari_patchioner.viewer.layers.image_layers import ensure_layer
from napari_patchioner.viewer.session.session import Session

SQUARE = np.array([[2.0, 3.0], [2.0, 9.0], [8.0, 9.0], [8.0, 3.0]])


def drawn(shape=(40, 50), plane=None):
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros(shape), name="cells")
    session, bindings = Session(), []
    for key, kind in (("regions", "rectangle"), ("traces", "path")):
        layer = ensure_layer(viewer, image, key)
        bindings.append(LayerBinding(layer, image, key, session, lambda: None))
        outline = SQUARE if plane is None else np.insert(SQUARE, 0, plane, axis=1)
        layer.add([outline, outline + np.r_[[0] * (len(shape) - 2), 20, 20]], shape_type=kind)
    for request in session.take(lambda record: True):
        session.deliver(request, Caption("a cell, stained", 0.25), "mini")
    session.edit(session.uids("regions")[0], 'mine, with "quotes"')
    for binding in bindings:
        binding.show()
    return image, session, bindings


def test_both_files_hold_all_captions(tmp_path):
    image, session, _ = drawn()
    session.group(session.uids("regions"))
    session.whole(Plane())
    shapes, tidy = export_csv(tmp_path / "out.csv", session, image)
    assert (shapes.name, tidy.name) == ("out.csv", "out.regions.csv")
    rows = read_tidy_csv(tidy)
    assert [row.kind for row in rows] == ["box", "box", "trace", "trace", "set", "image"]
    assert {row.image for row in rows} == {"cells"}
    assert (rows[0].caption, rows[0].source, rows[0].score) == (
        'mine, with "quotes"',
        "edited",
        None,
    )
    assert (rows[1].caption, rows[1].source, rows[1].score) == ("a cell, stained", "model", 0.25)
    assert rows[1].model == "mini"
    again = read_napari_csv(shapes)
    assert [row.uid for row in again] == [row.uid for row in rows[:4]]


def test_plain_napari_opens_the_shapes(tmp_path):
    from napari_builtins.io import csv_to_layer_data

    image, session, _ = drawn()
    shapes, _ = export_csv(tmp_path / "out.csv", session, image)
    data, meta, kind = csv_to_layer_data(str(shapes))
    assert kind == "shapes"
    assert meta["shape_type"] == ["rectangle", "rectangle", "path", "path"]
    assert np.array_equal(data[0], SQUARE)


def test_a_stack_keeps_the_plane_of_each_shape(tmp_path):
    from napari_builtins.io import csv_to_layer_data

    image, session, _ = drawn((5, 40, 50), plane=3)
    shapes, tidy = export_csv(tmp_path / "out.csv", session, image)
    data, _, _ = csv_to_layer_data(str(shapes))
    assert data[0][:, 0].tolist() == [3, 3, 3, 3]
    assert read_tidy_csv(tidy)[0].extra["plane"] == "3"
    assert read_napari_csv(shapes)[0].extra["plane"] == "3"


def test_the_writer_keeps_the_features(tmp_path):
    from napari_patchioner.viewer.io.plugin_io import write_layer

    _, _, bindings = drawn()
    path = tmp_path / "layer.csv"
    layer = bindings[0].layer
    data, meta, _ = layer.as_layer_data_tuple()
    assert write_layer(str(path), data, meta) == [str(path)]
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert rows[0]["caption"] == 'mine, with "quotes"'
    assert (rows[0]["score"], rows[4]["score"]) == ("", "0.25")


def test_an_empty_layer_can_be_saved(tmp_path):
    from napari_patchioner.viewer.io.plugin_io import write_layer

    viewer = ViewerModel()
    layer = ensure_layer(viewer, viewer.add_image(np.zeros((9, 9))), "regions")
    data, meta, _ = layer.as_layer_data_tuple()
    write_layer(str(tmp_path / "empty.csv"), data, meta)
    assert (tmp_path / "empty.csv").read_text().startswith("index,shape-type,vertex-index,axis-0")


def test_the_dialog_offers_every_format_once():
    offered = export_filters()
    assert next(iter(offered.values())) == "csv"
    assert {"tidy", "napari", *offered.values()} == {"csv", *FORMATS}
    assert offered["GeoJSON for QuPath (*.geojson)"] == "geojson"


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("tidy", "napari")])
def test_every_format_is_exported_and_says_what_it_left_out(tmp_path, name):
    image, session, _ = drawn((60, 80))
    session.group(session.uids("regions"))
    session.whole(Plane())
    path, left_out = export_file(tmp_path / "out.csv", session, image, name)
    assert path.exists()
    assert not (tmp_path / "out.csv").exists()
    if name == "html":
        assert "a cell, stained" in path.read_text(encoding="utf-8")
        return
    found = read_annotations(path)
    assert len(found) + len(left_out) == 6
    if name in ("geojson", "parquet", "coco"):
        assert {one.caption for one in found} >= {'mine, with "quotes"', "a cell, stained"}
        assert {one.image for one in found} == {"cells"}
