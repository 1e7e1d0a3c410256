from __future__ import annotations

import struct
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import roifile
from annotated import IMAGES, annotations, told
from hypothesis import HealthCheck, given, settings

from napari_patchioner.annotations import Annotation, read_annotations, write_annotations
from napari_patchioner.annotations.formats._imagej import read, write
from napari_patchioner.annotations.formats._imagej_shapes import region_of, roi_of
from napari_patchioner.annotations.formats._roi_bytes import decode_roi, encode_roi
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

SLANTED = Ellipse(np.array([[0.0, 4], [4, 12], [8, 10], [4, 2]]))
OBLIQUE = Ellipse(np.array([[-0.5, 3.5], [3.5, -0.5], [9.5, 5.5], [5.5, 9.5]]))


def _by_uid(found: list[Annotation]) -> list[Annotation]:
    return sorted(found, key=lambda one: (one.image, one.uid))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(items=annotations())
def test_what_was_written_reads_back(
    tmp_path: Path, same_region: Any, items: list[Annotation]
) -> None:
    path = tmp_path / "rois.zip"
    assert write(path, items, IMAGES) == ()
    for one, again in zip(_by_uid(items), _by_uid(read(path)), strict=True):
        assert told(again) == told(one)
        assert same_region(one.region, again.region)


def _only(path: Path, region: Any) -> roifile.ImagejRoi:
    write(path, [Annotation("a", "cat.png", region, "a cat")], IMAGES)
    [roi] = roifile.roiread(path)
    return roi


def test_another_reader_sees_the_same_areas(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    box = _only(path, Box(-0.5, -0.5, 1.5, 3.25))
    assert (box.roitype.name, box.xd, box.yd, box.widthd, box.heightd) == ("RECT", 0, 0, 3.75, 2)
    assert (box.top, box.left, box.bottom, box.right) == (0, 0, 2, 4)
    assert box.name == "0001 a cat"
    ring = _only(path, Polygon(np.array([[-0.5, -0.5], [-0.5, 3.5], [1.75, 3.5]])))
    assert ring.coordinates().tolist() == [[0, 0], [4, 0], [4, 2.25]]
    corners = np.array([[-0.5, -0.5], [-0.5, 3.5], [1.5, 3.5], [1.5, -0.5]])
    oval = _only(path, Ellipse(corners))
    assert (oval.roitype.name, oval.xd, oval.yd, oval.widthd, oval.heightd) == ("OVAL", 0, 0, 4, 2)
    whole = _only(path, WholeImage())
    assert (whole.left, whole.top, whole.right, whole.bottom) == (0, 0, 64, 48)
    turned = _only(path, OBLIQUE)
    assert turned.subtype.name == "ELLIPSE"
    middle = np.array([turned.x1 + turned.x2, turned.y1 + turned.y2]) / 2
    np.testing.assert_allclose(middle, [5, 5])
    assert np.hypot(turned.x2 - turned.x1, turned.y2 - turned.y1) == pytest.approx(np.sqrt(72))
    np.testing.assert_allclose(turned.coordinates().mean(axis=0), [5, 5], atol=1e-5)


def test_another_reader_sees_lines_and_points_at_pixel_centres(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    assert _only(path, Point(1, 2.5)).coordinates().tolist() == [[2.5, 1]]
    way = _only(path, Trace(np.array([[0.0, 0], [1, 2.25]])))
    assert (way.roitype.name, way.coordinates().tolist()) == ("POLYLINE", [[0, 0], [2.25, 1]])
    dots = _only(path, Trace(np.array([[0.0, 0], [1, 2]]), connected=False))
    assert (dots.roitype.name, dots.coordinates().tolist()) == ("POINT", [[0, 0], [2, 1]])


def test_another_reader_sees_the_outlines_of_a_mask(tmp_path: Path) -> None:
    pixels = np.ones((3, 3), bool)
    pixels[1, 1] = False
    roi = _only(tmp_path / "a.zip", Mask(pixels, (5, 7)))
    outer, inner = sorted(roi.coordinates(multi=True), key=lambda ring: -np.ptp(ring))
    assert {tuple(one) for one in outer.tolist()} == {(7, 5), (10, 5), (10, 8), (7, 8)}
    assert {tuple(one) for one in inner.tolist()} == {(8, 6), (9, 6), (9, 7), (8, 7)}


def test_what_another_writer_writes_is_read(tmp_path: Path, same_region: Any) -> None:
    path = tmp_path / "other.zip"
    ring = roifile.ImagejRoi.frompoints([[1.5, 2.5], [9.5, 2.5], [9.5, 8.5]], name="a cat", z=2)
    whole = roifile.ImagejRoi.frompoints(np.array([[1, 2], [9, 2], [9, 8]]), name="0005-0004")
    roifile.roiwrite(path, [ring, whole], mode="w")
    cat, plain = read_annotations(path)
    assert (cat.caption, cat.source, cat.image) == ("a cat", "", "")
    assert cat.extra["plane"] == "2"
    assert same_region(cat.region, Polygon(np.array([[2.0, 1], [2, 9], [8, 9]])))
    assert plain.caption == ""
    assert same_region(plain.region, Polygon(np.array([[1.5, 0.5], [1.5, 8.5], [7.5, 8.5]])))


def _head(kind: int, box: tuple[int, int, int, int], **fields: Any) -> bytearray:
    data = bytearray(64)
    struct.pack_into(">4sHBx4h", data, 0, b"Iout", 227, kind, *box)
    for at, (form, values) in fields.items():
        struct.pack_into(">" + form, data, int(at[1:]), *values)
    return data


def test_regions_written_by_hand_are_read(tmp_path: Path, same_region: Any) -> None:
    path = tmp_path / "one.roi"
    rectangle = _head(1, (2, 3, 10, 20))
    path.write_bytes(rectangle)
    [box] = read_annotations(path)
    assert same_region(box.region, Box(1.5, 2.5, 9.5, 19.5))
    path.write_bytes(_head(2, (2, 3, 10, 20)))
    [oval] = read_annotations(path)
    corners = np.array([[1.5, 2.5], [1.5, 19.5], [9.5, 19.5], [9.5, 2.5]])
    assert same_region(oval.region, Ellipse(corners))
    path.write_bytes(_head(3, (0, 0, 0, 0), _18=("4f", (1, 2, 3, 4))))
    [line] = read_annotations(path)
    assert same_region(line.region, Trace(np.array([[2.0, 1], [4, 3]])))
    turned = _head(7, (0, 0, 9, 9), _18=("4f", (2, 5, 8, 5)), _48=("H", (5,)), _52=("f", (4,)))
    path.write_bytes(turned)
    [rect] = read_annotations(path)
    expected = Polygon(np.array([[2.5, 1.5], [2.5, 7.5], [6.5, 7.5], [6.5, 1.5]]))
    assert same_region(rect.region, expected)
    points = _head(10, (7, 5, 9, 9), _16=("H", (2,)))
    path.write_bytes(points + struct.pack(">4H", 0, 3, 0, 1))
    [dots] = read_annotations(path)
    assert same_region(dots.region, Trace(np.array([[7.0, 5], [8, 8]]), connected=False))


def test_slices_and_times_are_planes(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    items = [
        Annotation("a", "c", Point(1, 1), extra={"plane": "3"}),
        Annotation("b", "c", Point(1, 1), extra={"plane": "2 5"}),
        Annotation("c", "c", Point(1, 1), extra={"plane": "2 5 7"}),
    ]
    write(path, items, {})
    first, second, third = roifile.roiread(path)
    assert (first.position, first.z_position, first.t_position) == (4, 0, 0)
    assert (second.position, second.z_position, second.t_position) == (0, 6, 3)
    assert (third.position, third.z_position, third.t_position) == (0, 0, 0)
    second.z_position = 1
    second.t_position = 1
    roifile.roiwrite(path, [first, second, third], mode="w")
    assert [one.extra["plane"] for one in read(path)] == ["3", "0", "2 5 7"]


def test_what_imagej_changed_wins(tmp_path: Path, same_region: Any) -> None:
    path = tmp_path / "a.zip"
    items = [
        Annotation("a", "cat.png", SLANTED, "a draft", 0.5, "model", "m"),
        Annotation("b", "cat.png", RegionSet((Box(0, 0, 9, 9), SLANTED)), "two", None, "human"),
        Annotation("c", "cat.png", Box(0, 0, 9, 9), "a box\nof two lines", None, "human"),
    ]
    write(path, items, IMAGES)
    rois = roifile.roiread(path)
    rois[0].name = "0001 a cat"
    rois[3].xd += 1
    roifile.roiwrite(path, rois, name=[roi.name for roi in rois], mode="w")
    first, second, third = read(path)
    assert (first.caption, first.source) == ("a cat", "edited")
    assert same_region(first.region, SLANTED)
    assert told(second) == told(items[1])
    assert same_region(second.region, items[1].region)
    assert same_region(third.region, Box(0, 1, 9, 10))
    assert told(third) == told(items[2])


def test_names_are_short_and_no_paths(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    write(path, [Annotation("a", "c", Point(1, 1), "../../etc/passwd\n" * 20)], {})
    with zipfile.ZipFile(path) as archive:
        [name] = archive.namelist()
    assert "/" not in name
    assert len(name) < 80


@pytest.mark.parametrize("name", ["../out.roi", "/out.roi", "a/../../out.roi", "C:/out.roi"])
def test_members_outside_the_zip_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, b"Iout")
    with pytest.raises(FormatError, match="lies outside the zip"):
        read(path)


def test_damaged_regions_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    write(path, [Annotation("a", "c", SLANTED)], {})
    with zipfile.ZipFile(path) as archive:
        [(name, data)] = [(one, archive.read(one)) for one in archive.namelist()]
    for length in range(4, 64 + 64 * 12, 7):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, data[:length])
        with pytest.raises(FormatError, match=r"cut off|shows nothing"):
            read(path)
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04 and nothing")
    with pytest.raises(FormatError, match="no zip"):
        read(tmp_path / "b.zip")


def test_a_whole_image_without_a_size_is_told(tmp_path: Path) -> None:
    item = Annotation("a", "dog.png", WholeImage(), "a dog")
    assert write(tmp_path / "a.zip", [item], {}) == (item,)
    assert read(tmp_path / "a.zip") == []


def test_no_annotations_are_a_file_too(tmp_path: Path) -> None:
    write_annotations(tmp_path / "a.zip", [], IMAGES, format="imagej")
    assert read(tmp_path / "a.zip") == []


def test_large_polygons_are_composite(same_region: Any) -> None:
    ring = np.random.default_rng(0).uniform(0, 1000, (70_000, 2))
    roi = roi_of(Polygon(ring), None)
    assert roi is not None
    assert len(roi.rings) == 1
    again = region_of(decode_roi(encode_roi(roi)))
    assert isinstance(again, Polygon)
    np.testing.assert_allclose(again.vertices, ring, atol=1e-4)


def test_ten_thousand_regions_come_back(tmp_path: Path) -> None:
    ring = np.random.default_rng(0).uniform(0, 1000, (12, 2))
    items = [Annotation(str(n), "cat.png", Polygon(ring + n), "a, cat") for n in range(10_000)]
    write(tmp_path / "a.zip", items, IMAGES)
    assert [told(one) for one in read(tmp_path / "a.zip")] == [told(one) for one in items]


def test_a_zip_whose_bytes_are_broken_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    write(path, [Annotation(str(n), "c", SLANTED) for n in range(9)], {})
    data = path.read_bytes()
    sentences = []
    for at in range(30, 400, 3):
        path.write_bytes(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])
        try:
            assert len(read(path)) == 9
        except FormatError as error:
            sentences.append(str(error))
    assert sentences
    assert not any("\n" in sentence for sentence in sentences)


def test_composites_that_are_not_finite_are_told() -> None:
    mask = Mask(np.array([[True, False], [True, True]]))
    roi = roi_of(mask, None)
    assert roi is not None
    data = bytearray(encode_roi(roi))
    struct.pack_into(">f", data, 68, float("nan"))
    with pytest.raises(FormatError, match="finite"):
        region_of(decode_roi(bytes(data)))
