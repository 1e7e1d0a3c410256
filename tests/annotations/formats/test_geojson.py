from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import pytest
import shapely
from annotated import IMAGES, SINGLE, extras
from hypothesis import HealthCheck, given, settings
from shapely.geometry import mapping, shape

from napari_patchioner.annotations import (
    FORMATS,
    Annotation,
    Notes,
    new_uid,
    read_annotations,
    with_human_caption,
    write_annotations,
)
from napari_patchioner.errors import FormatError
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

if TYPE_CHECKING:
    from pathlib import Path

RING = np.ones((4, 5), bool)
RING[1:3, 1:4] = False


def _features(path: Path, *annotations: Annotation) -> list[dict[str, Any]]:
    FORMATS["geojson"].write(path, annotations, IMAGES)
    data = json.loads(path.read_text(encoding="utf-8"))
    assert data["type"] == "FeatureCollection"
    return data["features"]


def test_the_top_left_pixel_is_the_square_from_0_to_1(tmp_path: Path) -> None:
    regions = [Box(-0.5, -0.5, 9.5, 19.5), Point(0, 0), WholeImage(), Mask(RING, (2, 7))]
    before = [Annotation(f"{n}", "cat.png", one) for n, one in enumerate(regions)]
    box, point, whole, mask = (
        shape(one["geometry"]) for one in _features(tmp_path / "a.geojson", *before)
    )
    assert (box.bounds, box.area) == ((0, 0, 20, 10), 200)
    assert point.coords[0] == (0.5, 0.5)
    assert whole.bounds == (0, 0, 64, 48)
    assert mask.bounds == (7, 2, 12, 6)
    assert mask.area == RING.sum()
    assert len(mask.interiors) == 1


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(region=SINGLE)
def test_shapely_sees_the_same_place(tmp_path: Path, region: Any) -> None:
    [feature] = _features(tmp_path / "a.geojson", Annotation("a", "cat.png", region, "a cat"))
    geometry = shape(feature["geometry"])
    assert feature["properties"]["metadata"]["caption"] == "a cat"
    if isinstance(region, Box):
        assert geometry.bounds == pytest.approx(
            (region.left + 0.5, region.top + 0.5, region.right + 0.5, region.bottom + 0.5)
        )
    elif isinstance(region, Ellipse):
        axes = region.corners[[1, 3]] - region.corners[0]
        area = np.pi / 4 * abs(np.linalg.det(axes))
        assert geometry.area == pytest.approx(area, rel=0.002, abs=1e-6)
    elif isinstance(region, Mask):
        assert geometry.area == region.pixels.sum()
        rows, columns = np.nonzero(region.pixels)
        top, left = region.offset
        assert shapely.contains_xy(geometry, columns + left + 0.5, rows + top + 0.5).all()
    elif isinstance(region, Polygon | Trace):
        points = region.vertices if isinstance(region, Polygon) else region.points
        seen = shapely.get_coordinates(geometry)[: len(points), ::-1] - 0.5
        np.testing.assert_allclose(seen, points, rtol=0, atol=1e-6)


def test_a_set_without_any_area_comes_back(tmp_path: Path, same_region: Any) -> None:
    path, region = tmp_path / "a.geojson", RegionSet((Polygon(np.zeros((3, 2))),))
    _features(path, Annotation("a", "cat.png", region))
    [found] = read_annotations(path)
    assert same_region(found.region, region)


def test_ids_are_uuids_and_no_two_alike(tmp_path: Path) -> None:
    uid = new_uid()
    before = [
        Annotation(uid, "cat.png", Point(1, 1)),
        Annotation("1", "cat.png", Point(1, 1)),
        Annotation("1", "", Point(1, 1)),
    ]
    first = [UUID(one["id"]) for one in _features(tmp_path / "a.geojson", *before)]
    assert first[0].hex == uid
    assert len(set(first)) == 3
    again = [UUID(one["id"]) for one in _features(tmp_path / "a.geojson", *before)]
    assert first == again


def test_qupath_finds_everything_where_it_looks_for_it(tmp_path: Path) -> None:
    extra = {"class": "Tumor", "color": "#c80010", "locked": "true", "plane": "2 5"}
    corners = np.array([[0.0, 0], [0, 10], [20, 10], [20, 0]])
    caption = "dense sheets of cells,\n" + "very " * 30 + "dark"
    one = Annotation("a", "cat.png", Ellipse(corners), caption, 0.25, "model", "mini", extra)
    [feature] = _features(tmp_path / "a.geojson", one)
    assert feature["geometry"]["isEllipse"] is True
    assert shape(feature["geometry"]).bounds == (0.5, 0.5, 10.5, 20.5)
    assert feature["geometry"]["plane"] == {"c": -1, "z": 5, "t": 2}
    looks = feature["properties"]
    assert looks["objectType"] == "annotation"
    assert len(looks["name"]) == 80
    assert looks["name"].startswith("dense sheets of cells, very")
    assert looks["color"] == [200, 0, 16]
    assert looks["classification"] == {"name": "Tumor"}
    assert looks["isLocked"] is True
    assert looks["measurements"] == {"score": 0.25}
    assert looks["metadata"]["caption"] == caption
    assert all(isinstance(value, str) for value in looks["metadata"].values())


def _rounded(value: Any) -> Any:
    """Round coordinates as QuPath does."""
    return [_rounded(one) for one in value] if isinstance(value, list) else round(value, 2)


def test_a_file_that_qupath_saved_again_is_still_exact(
    tmp_path: Path, same_region: Any, regions: list[Any]
) -> None:
    path = tmp_path / "a.geojson"
    kinds = [one for one in regions if not isinstance(one, RegionSet)]
    before = [Annotation(f"{n}", "cat.png", one, "a cat") for n, one in enumerate(kinds)]
    features = _features(path, *before)
    for feature in features:
        geometry = feature["geometry"]
        geometry["coordinates"] = _rounded(geometry["coordinates"])
        if geometry["type"] == "Polygon":  # and it may begin a ring elsewhere, or turn it
            ring = geometry["coordinates"][0][::-1][:-1]
            ring = ring[1:] + ring[:1]
            geometry["coordinates"] = [[*ring, ring[0]]]
    path.write_text(json.dumps(features))  # a list of features, as QuPath may write
    after = read_annotations(path)
    assert len(after) == len(before) > 8
    for one, two in zip(before, after, strict=True):
        assert same_region(one.region, two.region), one.region


def test_a_name_or_a_place_changed_in_qupath_is_taken_over(
    tmp_path: Path, same_region: Any
) -> None:
    path = tmp_path / "a.geojson"
    long = "a cat " * 40
    features = _features(
        path,
        Annotation("a", "cat.png", Box(1, 2, 3, 4), long, 0.5, "model", "mini"),
        Annotation("b", "cat.png", Box(1, 2, 3, 4), long, 0.5, "model", "mini"),
    )
    features[0]["properties"]["name"] = "a tiger"
    features[1]["geometry"] = {"type": "Point", "coordinates": [2.5, 1.5]}
    features[1]["properties"]["classification"] = {"names": ["Cat", "Positive"]}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    named, moved = read_annotations(path)
    assert (named.caption, named.source, named.model) == ("a tiger", "edited", "mini")
    assert same_region(named.region, Box(1, 2, 3, 4))
    assert (moved.caption, moved.source) == (long, "model")
    assert same_region(moved.region, Point(1, 2))
    assert moved.extra["class"] == "Cat: Positive"


QUPATH = {
    "type": "FeatureCollection",
    "features": [
        {"type": "Feature", "id": "3b4a7a3c-5a6e-4c3a-9c57-3f1d5a0c7b11",
         "geometry": {"type": "Polygon", "isEllipse": True, "plane": {"c": -1, "z": 4, "t": 0},
                      "coordinates": [[[5, 1], [9, 3], [5, 5], [1, 3], [5, 1]]]},
         "properties": {"objectType": "annotation", "name": "a nest", "isLocked": True,
                        "classification": {"name": "Tumor", "color": [200, 0, 0]},
                        "measurements": [{"name": "Area", "value": 12.5}]}},
        {"type": "Feature", "id": "PathDetectionObject",
         "geometry": {"type": "Polygon", "coordinates": [
             [[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]], [[1, 1], [1, 2], [2, 2], [2, 1], [1, 1]]]},
         "properties": {"objectType": "detection", "color": -16776961, "childObjects": [
             {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1.5, 2.5]}}]}},
        {"type": "Feature",
         "geometry": {"type": "MultiPolygon", "coordinates": [
             [[[0, 0], [4, 0], [4, 4.5], [0, 0]]], [[[9, 9], [12, 9], [12, 12.5], [9, 9]]]]},
         "properties": None},
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [
            [[0, 0], [9.5, 0], [9.5, 9], [0, 9], [0, 0]], [[1, 1], [1, 3], [3, 3], [1, 1]]]}},
    ],
}  # fmt: skip


def test_what_qupath_exports_is_read(tmp_path: Path, same_region: Any) -> None:
    path = tmp_path / "slide.geojson"
    path.write_text(json.dumps(QUPATH), encoding="utf-8")
    nest, ring, point, parts, cut = read_annotations(path)
    assert nest.uid == "3b4a7a3c-5a6e-4c3a-9c57-3f1d5a0c7b11"
    assert (nest.image, nest.caption, nest.source) == ("", "", "")
    corners = np.array([[0.5, 0.5], [0.5, 8.5], [4.5, 8.5], [4.5, 0.5]])
    assert same_region(nest.region, Ellipse(corners))
    looks = {"name": "a nest", "class": "Tumor", "shape_locked": "true"}
    assert extras(nest) == {**looks, "Area": "12.5", "plane": "0 4"}
    hole = np.ones((4, 4), bool)
    hole[1, 1] = False
    assert same_region(ring.region, Mask(hole))
    assert extras(ring) == {"color": "#0000ff", "object_type": "detection"}
    assert same_region(point.region, Point(2.0, 1.0))
    assert [type(one) for one in parts.region.members] == [Polygon, Polygon]
    assert parts.region.union
    area = shapely.make_valid(shapely.Polygon(cut.region.vertices)).area
    assert area == pytest.approx(9.5 * 9 - 2)


@pytest.mark.parametrize(
    ("geometry", "told"),
    [
        ({"type": "Polygon"}, "is no GeoJSON geometry"),
        ({"type": "Blob", "coordinates": []}, "is no GeoJSON geometry"),
        ({"type": "Polygon", "coordinates": []}, "its geometry is empty"),
        ({"type": "Point", "coordinates": ["a", "b"]}, "is no GeoJSON geometry"),
        ({"type": "Point", "coordinates": [float("nan"), 1]}, "not a finite number|is empty"),
        ("x", "'geometry' must be an object"),
    ],
)
def test_errors_name_the_file_and_the_feature(
    tmp_path: Path, geometry: dict[str, Any], told: str
) -> None:
    path = tmp_path / "bad.geojson"
    feature = {"type": "Feature", "id": "x", "geometry": geometry, "properties": {}}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    with pytest.raises(FormatError, match=rf"^bad.geojson: feature 1.*({told})"):
        read_annotations(path)


def test_the_size_of_the_image_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"the size of image 'dog\.png' is missing"):
        write_annotations(tmp_path / "a.geojson", [Annotation("u", "dog.png", WholeImage())])


LONG = "a cat that lies on a sofa, " * 8


@pytest.mark.parametrize("change", ["a dog", f"{LONG} and purrs", ""])
@pytest.mark.parametrize(("source", "then"), [("model", "edited"), ("human", "human")])
def test_a_caption_that_a_script_changed_wins_over_the_name_it_had(
    tmp_path: Path, change: str, source: Any, then: str
) -> None:
    path = tmp_path / "cat.geojson"
    before = Annotation("a", "cat.png", Box(0, 0, 3, 4), LONG, 0.5, source, "mini")
    write_annotations(path, [before])
    document = json.loads(path.read_text(encoding="utf-8"))
    document["features"][0]["properties"]["metadata"]["caption"] = change
    path.write_text(json.dumps(document), encoding="utf-8")
    (after,) = read_annotations(path)
    assert (after.caption, after.source, after.score) == (change, then, None)
    assert "caption.sha256" not in after.extra


def test_a_name_that_a_person_changed_wins_over_the_caption_it_was(tmp_path: Path) -> None:
    path = tmp_path / "cat.geojson"
    write_annotations(path, [Annotation("a", "cat.png", Box(0, 0, 3, 4), LONG, 0.5, "model")])
    document = json.loads(path.read_text(encoding="utf-8"))
    document["features"][0]["properties"]["name"] = "a dog"
    path.write_text(json.dumps(document), encoding="utf-8")
    (after,) = read_annotations(path)
    assert (after.caption, after.source) == ("a dog", "edited")


def _noted(path: Path, content: Any) -> tuple[list[Annotation], str]:
    path.write_text(json.dumps(content), encoding="utf-8")
    notes = Notes()
    return read_annotations(path, notes=notes), "\n".join(notes.lines())


SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [4, 2], [0, 2], [0, 0]]]}


@pytest.mark.parametrize("kind", ["geometry", "geometries", "feature"])
def test_a_geometry_by_itself_is_read_and_captioned(
    tmp_path: Path, same_region: Any, kind: str
) -> None:
    feature = {"type": "Feature", "geometry": SQUARE}
    content = {"geometry": SQUARE, "geometries": [SQUARE], "feature": feature}[kind]
    path = tmp_path / "a.geojson"
    [found], _ = _noted(path, content)
    assert same_region(found.region, Box(-0.5, -0.5, 1.5, 3.5))
    write_annotations(path, [found], {})
    assert json.loads(path.read_text()) == content
    write_annotations(path, [with_human_caption(found, "a cell")], {})
    [again] = read_annotations(path)
    assert again.caption == "a cell"
    assert same_region(again.region, found.region)


@pytest.mark.parametrize(
    ("geometry", "kind"),
    [
        ({"type": "MultiPoint", "coordinates": [[1, 2], [3, 4]]}, "trace"),
        ({"type": "MultiLineString", "coordinates": [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]}, "set"),
        ({"type": "GeometryCollection", "geometries": [SQUARE]}, "set"),
    ],
)
def test_every_geometry_is_a_region(tmp_path: Path, geometry: Any, kind: str) -> None:
    [found], _ = _noted(tmp_path / "a.geojson", geometry)
    assert found.kind == kind


def test_a_polygon_may_have_very_many_holes(tmp_path: Path) -> None:
    corners = [(1.3, 1.3), (7.3, 1.3), (7.3, 7.3), (1.3, 7.3)]
    grid = [(10 * x, 10 * y) for x in range(20) for y in range(20)]
    holes = [[(x + left, y + top) for x, y in corners] for left, top in grid]
    tissue = shapely.Polygon([(0, 0), (200, 0), (200, 200), (0, 200)], holes)
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps(mapping(tissue)))
    notes = Notes()
    [one] = read_annotations(path, notes=notes)
    assert not notes
    assert one.region.inside().area == pytest.approx(tissue.area)


def test_a_feature_with_an_empty_id_gets_its_number(tmp_path: Path) -> None:
    feature = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}}
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps([{**feature, "id": uid, "properties": {}} for uid in ("", "a", "")]))
    assert [one.uid for one in read_annotations(path)] == ["1", "a", "3"]


def test_what_is_not_drawn_or_broken_is_listed(tmp_path: Path) -> None:
    nothing = {"type": "Feature", "geometry": None, "properties": {}}
    broken = {"type": "Feature", "geometry": {"type": "Blob"}, "properties": {}}
    sound = {"type": "Feature", "geometry": SQUARE, "properties": {}}
    features = [nothing, broken, "text", sound]
    content = {"type": "FeatureCollection", "features": features}
    path = tmp_path / "a.geojson"
    found, told = _noted(path, content)
    assert len(found) == 1
    assert "feature 1: has no geometry; left out" in told
    assert "feature 2: its geometry is no GeoJSON geometry; left out" in told.replace(
        " (id '2')", ""
    )
    assert "feature 3" in told
    write_annotations(path, found, {})
    assert json.loads(path.read_text()) == content


def test_the_description_of_qupath_is_the_caption_and_a_name_is_not(tmp_path: Path) -> None:
    metadata = {"ANNOTATION_DESCRIPTION": "a nest of cells", "note": "x"}
    given = {"objectType": "annotation", "name": "ROI 1", "metadata": metadata}
    path = tmp_path / "a.geojson"
    [found], _ = _noted(path, [{"type": "Feature", "geometry": SQUARE, "properties": given}])
    assert (found.caption, extras(found)) == ("a nest of cells", {"name": "ROI 1", "note": "x"})
    one = Annotation("a", "", Box(0, 0, 3, 4), "a cat", 0.5, "model", "mini")
    [feature] = _features(path, one)
    assert feature["properties"]["metadata"]["ANNOTATION_DESCRIPTION"] == "a cat"
    feature["properties"]["metadata"]["ANNOTATION_DESCRIPTION"] = "a dog"
    [found], _ = _noted(path, [feature])
    assert (found.caption, found.source) == ("a dog", "edited")
