from __future__ import annotations

import csv
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_patchioner.annotations import (
    Annotation,
    format_napari_csv,
    read_annotations,
    read_napari_csv,
    write_napari_csv,
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

NAPARI = "index,shape-type,vertex-index,axis-0,axis-1"
RING = np.array([[0.25, 1.75], [0.1, 9.3], [7.7, 8.2], [3.3, -2.5]])
SHAPES = [Box(-0.5, 1 / 3, 10.5, 20.125), Polygon(RING), Ellipse(RING), Trace(RING)]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def _write(folder: Path, text: str) -> Path:
    path = folder / "shapes.csv"
    path.write_bytes(text.encode())
    return path


def _items(caption: str = 'a cat, "asleep"\non a mat') -> list[Annotation]:
    return [
        Annotation(f"u{n}", "c.png", region, caption, 0.5, "model", "mini", {"time": "-1"})
        for n, region in enumerate(SHAPES)
    ]


def test_plain_napari_opens_it(tmp_path: Path) -> None:
    from napari_builtins.io._read import csv_to_layer_data

    write_napari_csv(tmp_path / "a.csv", _items())
    data, options, kind = csv_to_layer_data(str(tmp_path / "a.csv"), require_type="shapes")
    assert kind == "shapes"
    assert options["shape_type"] == ["rectangle", "polygon", "ellipse", "path"]
    np.testing.assert_allclose(data[1], RING, rtol=0, atol=1e-6)
    np.testing.assert_allclose(data[0][:, 0], [-0.5, -0.5, 10.5, 10.5])


def test_what_napari_saves_reads(tmp_path: Path, same_region: Any) -> None:
    from napari_builtins.io._write import napari_write_shapes

    square = np.array([[1, 2], [1, 8], [5, 8], [5, 2]], float)
    path = napari_write_shapes(
        str(tmp_path / "a.csv"),
        [square, RING, RING, RING[:2]],
        {"shape_type": ["rectangle", "rectangle", "path", "line"]},
    )
    items = read_annotations(path)
    expected = [Box(1, 2, 5, 8), Polygon(RING), Trace(RING), Trace(RING[:2])]
    assert all(same_region(a.region, b) for a, b in zip(items, expected, strict=True))
    assert [item.uid for item in items] == ["0", "1", "2", "3"]
    assert {item.image for item in items} == {""}


def test_everything_of_ours_survives(tmp_path: Path, same_region: Any) -> None:
    before = _items()
    assert write_napari_csv(tmp_path / "a.csv", before) == ()
    after = read_annotations(tmp_path / "a.csv")
    for one, two in zip(before, after, strict=True):
        assert same_region(one.region, two.region)
        for name in ("uid", "image", "caption", "score", "source", "model", "extra"):
            assert getattr(one, name) == getattr(two, name)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    TEXT,
    st.integers(3, 8).flatmap(lambda n: arrays(float, (n, 2), elements=st.floats(-1e6, 1e6))),
)
def test_texts_and_vertices_survive(tmp_path: Path, text: str, ring: np.ndarray) -> None:
    before = [
        Annotation("p", text, Polygon(ring), text),
        Annotation("t", text, Trace(ring), text),
    ]
    write_napari_csv(tmp_path / "a.csv", before)
    polygon, trace = read_napari_csv(tmp_path / "a.csv")
    assert (polygon.caption, polygon.image) == (text, text)
    np.testing.assert_array_equal(polygon.region.vertices, ring)
    np.testing.assert_array_equal(trace.region.points, ring)


def test_columns_of_ours_follow_those_of_napari() -> None:
    header, first, *_ = csv.reader(format_napari_csv(_items("=1"))[0].splitlines())
    assert header == [
        *NAPARI.split(","),
        *["uid", "image", "caption", "score", "source", "model", "time"],
    ]
    assert first[:5] == ["0", "rectangle", "0", "-0.5", "0.3333333333333333"]
    assert first[7] == "'=1"


def test_written_over_itself_it_keeps_lines_and_numbers(tmp_path: Path) -> None:
    corners = "0,rectangle,0,5,2\n0,rectangle,1,5,8\n0,rectangle,2,1,8\n0,rectangle,3,1,2\n"
    lines = "1,line,0,1,1\n1,line,1,5,5\n2,path,0,1,1e0\n2,path,1,5,6\n"
    path = _write(tmp_path, f"{NAPARI}\n{corners}{lines}")
    before = path.read_text().splitlines()
    write_napari_csv(path, read_napari_csv(path))
    after = path.read_text().splitlines()
    assert [line.split(",")[:5] for line in after] == [line.split(",") for line in before]
    moved = [replace(one, region=Box(0, 0, 4, 4)) for one in read_napari_csv(path)[:1]]
    write_napari_csv(path, [*moved, *read_napari_csv(path)[1:]])
    after = path.read_text().splitlines()
    assert after[1].startswith("0,rectangle,0,0.0,0.0,")
    assert after[5].startswith("1,line,0,1,1,")


def test_what_napari_has_no_shape_for_is_returned(tmp_path: Path) -> None:
    rest = [
        Annotation("s", "c", RegionSet((Box(0, 0, 1, 1),))),
        Annotation("w", "c", WholeImage()),
        Annotation("p", "c", Point(1, 2)),
        Annotation("m", "c", Mask(np.ones((2, 2), bool))),
        Annotation("t", "c", Trace(RING[:1])),
    ]
    left_out = write_napari_csv(tmp_path / "a.csv", [rest[0], *_items(), *rest[1:]])
    assert left_out == tuple(rest)
    assert len(read_napari_csv(tmp_path / "a.csv")) == len(SHAPES)


def test_no_shapes_make_a_table_of_none(tmp_path: Path) -> None:
    write_napari_csv(tmp_path / "a.csv", [])
    assert read_annotations(tmp_path / "a.csv") == []


def test_leading_axes_become_the_plane(tmp_path: Path) -> None:
    rows = "".join(f"0,path,{n},2.0,7.0,{n},{n}\n" for n in range(3))
    path = _write(tmp_path, f"index,shape-type,vertex-index,axis-0,axis-1,axis-2,axis-3\n{rows}")
    [item] = read_napari_csv(path)
    assert item.extra == {"plane": "2 7"}
    np.testing.assert_array_equal(item.region.points, [[0, 0], [1, 1], [2, 2]])


def test_corners_in_single_precision_still_make_a_box(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        f"{NAPARI}\n0,rectangle,0,1000.0001,2\n0,rectangle,1,1000,8\n0,rectangle,2,1005,8\n"
        "0,rectangle,3,1005,2\n",
    )
    assert isinstance(read_napari_csv(path)[0].region, Box)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("0,circle,0,1,1\n", "row 2, column 'shape-type': .*'circle' is unknown"),
        ("0,polygon,0,1,1\n", "row 2, column 'shape-type': .* at least 3"),
        ("0,rectangle,0,1,1\n0,rectangle,1,2,2\n", "needs 4 vertices"),
        ("0,path,0,1,x\n", "row 2, column 'axis-1': 'x' is not a number"),
        ("0,path,0,1,1\n0,path,1,nan,1\n", "row 3, column 'axis-0': .* finite"),
        ("x,path,0,1,1\n", "row 2, column 'index'"),
        ("0,path,0,1,1\n0,path,2,1,1\n", "row 2, column 'vertex-index'"),
        ("0,path,0,1\n", "row 2: has 4 cells"),
    ],
)
def test_bad_tables_are_told_in_a_sentence(tmp_path: Path, rows: str, told: str) -> None:
    with pytest.raises(FormatError, match=told):
        read_annotations(_write(tmp_path, f"{NAPARI}\n{rows}"))


def test_a_shape_drawn_in_another_view_of_a_stack_is_read_as_it_lies(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        "index,shape-type,vertex-index,axis-0,axis-1,axis-2\n0,rectangle,0,2,7,10\n"
        "0,rectangle,1,2,7,40\n0,rectangle,2,6,7,40\n0,rectangle,3,6,7,10\n",
    )
    [one] = read_annotations(path)
    assert repr(one.region) == repr(Box(2.0, 10.0, 6.0, 40.0))
    assert dict(one.extra) == {"plane": "7", "axes": "0 2"}


def test_shapes_across_planes_are_refused(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        "index,shape-type,vertex-index,axis-0,axis-1,axis-2\n0,path,0,0,1,1\n0,path,1,1,4,9\n",
    )
    with pytest.raises(FormatError, match="several planes"):
        read_napari_csv(path)


def test_columns_must_stand_where_napari_looks_for_them(tmp_path: Path) -> None:
    path = _write(tmp_path, "shape-type,index,vertex-index,axis-0,axis-1\npath,0,0,1,1\n")
    with pytest.raises(FormatError, match="begins with"):
        read_annotations(path)


def test_a_uid_that_is_used_twice_names_two_regions(tmp_path: Path) -> None:
    items = _items()
    with pytest.raises(FormatError, match="twice"):
        write_napari_csv(tmp_path / "a.csv", [items[0], items[0]])
    rows = "0,path,0,1,1,a\n0,path,1,2,2,a\n1,path,0,1,1,a\n1,path,1,2,2,a\n"
    path = _write(tmp_path, f"{NAPARI},uid\n{rows}")
    assert [one.uid for one in read_napari_csv(path)] == ["a", "a-2"]


def test_points_that_are_not_connected_stay_so(tmp_path: Path) -> None:
    path = tmp_path / "cat.csv"
    points = np.array([[0.0, 1], [5, 6], [2, 3]])
    before = [
        Annotation("a", "", Trace(points, connected=False), extra={"who": "me"}),
        Annotation("b", "", Trace(points), extra={"who": ""}),
    ]
    assert write_napari_csv(path, before) == ()
    loose, line = read_napari_csv(path)
    assert not loose.region.connected
    assert line.region.connected
    assert (loose.extra, line.extra) == ({"who": "me"}, {"who": ""})
    write_napari_csv(path, before[1:])
    assert "trace-connected" not in path.read_text(encoding="utf-8")
