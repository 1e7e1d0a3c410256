from __future__ import annotations

import struct
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import roifile
from annotated import IMAGES, annotations, extras, told
from hypothesis import HealthCheck, given, settings

from napari_patchioner.annotations import (
    Annotation,
    ImageInfo,
    forget_files,
    read_annotations,
    write_annotations,
)
from napari_patchioner.annotations.formats.imagej import read, region_of, roi_of, write
from napari_patchioner.annotations.formats.roi_bytes import decode_roi, encode_roi
from napari_patchioner.annotations.notes import Notes, noting
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


def _said(annotation: Annotation) -> dict[str, Any]:
    """Return everything a record says but its geometry and the ROIs it was read from."""
    return {**told(annotation), "extra": extras(annotation)}


def _by_uid(found: list[Annotation]) -> list[Annotation]:
    return sorted(found, key=lambda one: (one.image, one.uid))


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(items=annotations())
def test_what_was_written_reads_back(
    tmp_path: Path, same_region: Any, items: list[Annotation]
) -> None:
    path = tmp_path / "rois.zip"
    assert write(path, items, IMAGES) == ()
    for one, again in zip(_by_uid(items), _by_uid(read(path)), strict=True):
        assert _said(again) == told(one)
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


TITLES = {
    "Brown dog": "Brown dog",
    "Cell 12": "",
    "Nucleus": "",
    "Tumor region": "",
    "Invasive carcinoma": "",
    "Left ventricle": "",
    "A cat": "A cat",
    "Red fox": "",
    "Red fox 2": "",
    "two people on a bench": "two people on a bench",
}


@pytest.mark.parametrize("ending", [".zip", ".ome.xml"])
def test_names_of_parts_and_of_several_regions_are_no_captions(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"other{ending}"
    if ending == ".zip":
        points = [[1.5, 2.5], [9.5, 2.5], [9.5, 8.5]]
        rois = [roifile.ImagejRoi.frompoints(points, name=name) for name in TITLES]
        roifile.roiwrite(path, rois, mode="w")
    else:
        shape = '<Union><Rectangle ID="S:{0}" X="0" Y="0" Width="4" Height="2"/></Union>'
        rois = [
            f'<ROI ID="ROI:{n}" Name="{name}">{shape.format(n)}</ROI>'
            for n, name in enumerate(TITLES)
        ]
        space = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
        path.write_text(f'<OME xmlns="{space}">{"".join(rois)}</OME>')
    found = read_annotations(path)
    # What stands there is a person's word or stays what the region is called; it is never lost.
    assert {one.caption or one.extra["name"]: one.caption for one in found} == TITLES
    captioned = [one if one.caption else replace(one, caption="a mouse") for one in found]
    for _ in range(2):
        write_annotations(path, captioned, {"": ImageInfo("", 20, 20)})
        again = read_annotations(path)
        assert [one.caption for one in again] == [one.caption for one in captioned]
        assert [one.extra.get("name") for one in again] == [one.extra.get("name") for one in found]


def test_channels_and_other_files_stay_in_a_zip_written_again(tmp_path: Path) -> None:
    path = tmp_path / "other.zip"
    ring = roifile.ImagejRoi.frompoints([[1.5, 2.5], [9.5, 2.5], [9.5, 8.5]], name="T cell", c=1)
    assert ring.c_position == 2
    roifile.roiwrite(path, [ring], mode="w")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("notes.txt", "mind the gap")
    [found] = read_annotations(path)
    assert (found.caption, found.extra["name"], found.extra["channel"]) == ("", "T cell", "1")
    write_annotations(path, [replace(found, caption="a cell", source="model")], {}, "imagej")
    with zipfile.ZipFile(path) as archive:
        assert archive.read("notes.txt") == b"mind the gap"
        [name] = [name for name in archive.namelist() if name.endswith(".roi")]
        assert roifile.ImagejRoi.frombytes(archive.read(name)).c_position == 2
    assert read_annotations(path)[0].extra["channel"] == "1"


def _foreign(kind: str, **fields: Any) -> roifile.ImagejRoi:
    """Return a region of a kind as ImageJ saves it, with all that may stand in its file."""
    name, _, where = kind.partition(".")
    roi = roifile.ImagejRoi()
    if where:
        points = np.array([[12.25, 10.5], [50.5, 12], [40, 35.75], [20, 30]])
        roi = roifile.ImagejRoi.frompoints(points if where == "exact" else points.astype(int))
    roi.roitype, roi.version = roifile.ROI_TYPE[name], 228
    if not where:
        roi.top, roi.left, roi.bottom, roi.right = 10, 12, 40, 60
    roi.stroke_width, roi.float_stroke_width = 3, 2.5
    roi.stroke_color, roi.fill_color = b"\xff\x01\x02\x03", b"\x40\x01\x02\x03"
    roi.c_position, roi.z_position, roi.t_position = 2, 3, 4
    roi.overlay_label_color, roi.overlay_font_size = b"\xff\x00\x00\x01", 11
    roi.options |= roifile.ROI_OPTIONS.OVERLAY_LABELS
    for key, value in fields.items():
        setattr(roi, key, value)
    return roi


def _all_kinds() -> list[roifile.ImagejRoi]:
    line = {"x1": 10, "y1": 20, "x2": 50, "y2": 30.5}
    few = {"integer_coordinates": np.array([[0, 0], [9, 0], [9, 9]], np.int32), "n_coordinates": 3}
    half = dict(
        zip(
            ("arrow_style_or_aspect_ratio", "arrow_head_size", "rounded_rect_arc_size"),
            struct.unpack(">BBh", struct.pack(">f", 0.5)),
            strict=True,
        )
    )
    kinds, options = roifile.ROI_SUBTYPE, roifile.ROI_OPTIONS
    path = np.array([0, 10, 10, 1, 50, 10, 1, 50, 40, 4, 0, 70, 10, 1, 90, 10, 1, 90, 40, 4], "f4")
    exact = {"xd": 12.25, "yd": 10.5, "widthd": 20.5, "heightd": 8.25}
    counts = {
        "counters": np.arange(4, dtype=np.uint8),
        "counter_positions": np.arange(4, dtype="u4"),
    }
    text = {"text": "two words\n", "text_name": "SansSerif", "text_size": 18}
    listed = ("FREELINE", "POLYLINE", "POLYGON", "FREEHAND", "TRACED", "ANGLE", "POINT")
    rois = [
        _foreign("RECT", name="roi_1"),
        _foreign("RECT", name="a brown box", rounded_rect_arc_size=9),
        _foreign("RECT", options=options.SUB_PIXEL_RESOLUTION, **exact),
        _foreign("RECT", subtype=kinds.TEXT, name="T cell", **text),
        _foreign("RECT", multi_coordinates=path, shape_roi_size=len(path)),
        _foreign("OVAL", group=300, version=229),
        _foreign("LINE", **line),
        _foreign("LINE", subtype=kinds.ARROW, arrow_head_size=12, **line),
        _foreign("FREEHAND", subtype=kinds.ELLIPSE, **line, **few, **half),
        _foreign("FREEHAND", subtype=kinds.ROTATED_RECT, **line, **few, **half),
        _foreign("POINT.exact", props="Foo: bar\nzed: é %41\n", group=7, **counts),
        *(_foreign(f"{name}.{where}") for name in listed for where in ("whole", "exact")),
    ]
    rois[-1].props = "qupath.object.classification: Tumor\nFoo: bar\n"
    return rois


def _write_foreign(path: Path) -> dict[str, bytes]:
    """Write a zip that holds all kinds of regions, and what is none; return what it holds."""
    members = {"notes.txt": b"mind the gap"}
    for number, roi in enumerate(_all_kinds()):
        members[f"{roi.name or f'{number:04d}-0{number}'}.roi"] = roi.tobytes()
    members |= {"bad.roi": b"Iout and no more", "../out.roi": b"Iout"}
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = b"of a microscope"
        for number, (name, data) in enumerate(members.items()):
            info = zipfile.ZipInfo(name, (2019, 5, 4, 3, 2, 0))
            archive.writestr(info, data, zipfile.ZIP_DEFLATED if number % 2 else None)
    return members


def _fields(data: bytes) -> dict[str, Any]:
    """Return all that another reader finds in a region but its name and properties."""
    found = vars(roifile.ImagejRoi.frombytes(data))
    return {key: np.asarray(value).tolist() for key, value in found.items() if key not in _TEXTS}


_TEXTS = ("name", "props")


@pytest.mark.parametrize("known", [True, False])
def test_captions_come_into_the_regions_of_imagej_as_they_are(tmp_path: Path, known: bool) -> None:
    path, sizes = tmp_path / "a.zip", {"cat.png": ImageInfo("cat.png", 100, 120)}
    members = _write_foreign(path)
    data, notes = path.read_bytes(), Notes()
    found = [replace(one, image="cat.png") for one in read_annotations(path, notes=notes)]
    assert len(found) == len(members) - 3 == len(_all_kinds())
    assert notes.left_out == 2
    if not known:
        forget_files()
    write_annotations(path, found, sizes, "imagej")
    assert path.read_bytes() == data  # nothing was captioned
    for chosen in (3, len(found)):
        captioned = [
            replace(one, caption="a dög on a mat", source="model", model="m", score=0.5)
            if number % chosen != 1
            else one
            for number, one in enumerate(found)
        ]
        path.write_bytes(data)
        write_annotations(path, captioned, sizes, "imagej")
        with zipfile.ZipFile(path) as archive:
            assert archive.comment == b"of a microscope"
            infos = archive.infolist()
            again = [(info.filename, archive.read(info)) for info in infos]
        assert {info.date_time[0] for info in infos} == {2019}
        for number, ((was, old), (name, new)) in enumerate(
            zip(members.items(), again, strict=True)
        ):
            place = number - 1
            if not 0 <= place < len(found) or place % chosen == 1:
                assert (name, new) == (was, old)
                continue
            assert _fields(new) == _fields(old)
            before, roi = map(roifile.ImagejRoi.frombytes, (old, new))
            assert before.props in roi.props
            assert roi.name == before.name if before.name else roi.name.endswith("a dog on a mat")
            assert name == (was if before.name else f"{place + 1:04d} a dog on a mat.roi")
        seen = read_annotations(path, notes=Notes())
        for one, there in zip(captioned, seen, strict=True):
            if one.source:
                assert _said(there) == {**_said(one), "uid": there.uid}
        whole = path.read_bytes()
        write_annotations(path, seen, sizes, "imagej")
        assert path.read_bytes() == whole


def test_what_was_drawn_anew_is_written_anew_and_what_is_lost_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    members = _write_foreign(path)
    found = read_annotations(path, notes=Notes())
    by_kind = {roi.name or str(number): number for number, roi in enumerate(_all_kinds())}
    rounded = by_kind["a brown box"]
    traced = next(n for n, roi in enumerate(_all_kinds()) if roi.roitype.name == "TRACED")
    drawn = list(found)
    drawn[rounded] = replace(found[rounded], region=Box(1, 2, 30, 40))
    drawn[traced] = replace(found[traced], region=Polygon(found[traced].region.vertices + 1))
    gone = drawn.pop(0)
    notes = Notes()
    write_annotations(path, drawn, {}, "imagej", notes=notes)
    assert notes.lines() == ["a.zip: 'a brown box.roi' was drawn anew, without its rounded corners"]
    with zipfile.ZipFile(path) as archive:
        again = {name: archive.read(name) for name in archive.namelist()}
    assert gone.extra["name"] == "roi_1"
    assert list(again) == [name for name in members if name != "roi_1.roi"]
    changed = [name for name in again if again[name] != members[name]]
    assert changed[0] == "a brown box.roi"
    box, way = (roifile.ImagejRoi.frombytes(again[name]) for name in changed)
    assert (box.name, box.yd, box.xd, box.stroke_color[1], box.z_position) == (
        ("a brown box", 1.5, 2.5, 1, 3)
    )
    assert (way.roitype.name, way.overlay_font_size, way.c_position) == ("TRACED", 11, 2)
    assert way.options & roifile.ROI_OPTIONS.OVERLAY_LABELS
    seen = read_annotations(path, notes=Notes())
    assert [one.caption for one in seen] == [one.caption for one in drawn]
    kept = replace(seen[3], extra={**seen[3].extra, "group": "400", "color": "#ff0000"})
    write_annotations(path, [*seen[:3], kept, *seen[4:]], {}, "imagej")
    with zipfile.ZipFile(path) as archive:
        roi = roifile.ImagejRoi.frombytes(archive.read(archive.namelist()[4]))
    assert (roi.group, roi.stroke_color) == (400, b"\xff\xff\x00\x00")


@pytest.mark.parametrize("change", ["AAAA", "place", "!"])
def test_a_region_whose_origin_somebody_spoiled_is_written_anew(
    tmp_path: Path, change: str
) -> None:
    path = tmp_path / "a.zip"
    _write_foreign(path)
    found = read_annotations(path, notes=Notes())
    told_of = found[0].extra["metadata"]
    if change == "place":
        spoiled = told_of.replace('"place":"1"', '"place":"one"')
    else:
        start, _, rest = told_of.partition("SW91d")
        spoiled = f"{start}{change}{rest[: -len(change)]}"[: len(start) + 8] + '"]]}'
    assert spoiled != told_of
    found[0] = replace(found[0], extra={**found[0].extra, "metadata": spoiled}, caption="a box")
    forget_files()
    for target in (tmp_path / "b.zip", path):
        write_annotations(target, found, {}, "imagej")
        again = read_annotations(target, notes=Notes())
        assert sorted(one.caption for one in again) == sorted(one.caption for one in found)


def test_regions_of_two_zips_go_into_one_as_they_are(tmp_path: Path) -> None:
    ring, rois = [[1.5, 2.5], [9.5, 2.5], [9.5, 8.5]], {}
    for name in ("a.zip", "b.zip"):
        rois[name] = roifile.ImagejRoi.frompoints(ring, name=f"roi_{len(rois)}")
        roifile.roiwrite(tmp_path / name, [rois[name]], name=["x.roi"], mode="w")
    both = [replace(one, uid=name) for name in rois for one in read_annotations(tmp_path / name)]
    for _ in range(2):
        write_annotations(tmp_path / "a.zip", both, {}, "imagej")
        with zipfile.ZipFile(tmp_path / "a.zip") as archive:
            held = {name: archive.read(name) for name in archive.namelist()}
        assert list(held) == ["x.roi", "x-2.roi"]
        assert list(held.values()) == [roi.tobytes() for roi in rois.values()]


def test_a_region_by_itself_and_regions_without_a_second_head_keep_their_bytes(
    tmp_path: Path,
) -> None:
    path = tmp_path / "one.roi"
    old = bytes(_head(7, (2, 3, 10, 20), _16=("H", (3,)))) + struct.pack(">6H", 0, 5, 9, 0, 2, 7)
    path.write_bytes(old)
    [found] = read_annotations(path)
    write_annotations(path, [replace(found, image="cat.png")], {}, "imagej")
    assert path.read_bytes() == old
    write_annotations(path, [replace(found, caption="a cat", source="model")], {}, "imagej")
    new = path.read_bytes()
    assert (new[:60], new[64 : len(old)]) == (old[:60], old[64:])
    assert roifile.roiread(path).name == ""  # it is called by its file
    [again] = read_annotations(path)
    assert (again.caption, again.source) == ("a cat", "model")


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
    path.write_bytes(_head(9, (0, 0, 9, 9), _16=("H", (3,))) + struct.pack(">6H", 1, 5, 9, 2, 2, 7))
    [angle] = read_annotations(path)
    assert same_region(angle.region, Trace(np.array([[2.0, 1], [2, 5], [7, 9]])))
    texts = [text.encode("utf-16-be") for text in ("Sans", "a black cat\n")]
    lengths = struct.pack(">4i", 18, 0, *(len(text) // 2 for text in texts))
    path.write_bytes(_head(1, (2, 3, 10, 20), _48=("H", (1,))) + lengths + b"".join(texts))
    [text] = read_annotations(path)
    assert (text.caption, text.kind, text.is_human) == ("a black cat", "box", True)
    numbers = [0, 0, 0, 1, 8, 0, 2, 8, 8, 0, 8, 4]
    curved = _head(1, (0, 0, 8, 8), _36=("i", (len(numbers),)))
    path.write_bytes(curved + np.array(numbers, ">f4").tobytes())
    [curve] = read_annotations(path)
    # A quarter of a parabola from (8, 0) by way of (8, 8) to (0, 8).
    assert [3.5, 5.5] not in curve.region.vertices.round(9).tolist()
    np.testing.assert_allclose(curve.region.vertices[7], [5.5, 5.5], atol=1e-6)
    path.write_bytes(curved + np.array([*numbers[:1], np.inf, *numbers[2:]], ">f4").tobytes())
    with pytest.raises(FormatError, match="finite"):
        read_annotations(path)
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
    assert [one.extra["plane"] for one in read(path)] == ["3", "0 0", "2 5 7"]


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
    assert _said(second) == told(items[1])
    assert same_region(second.region, items[1].region)
    assert same_region(third.region, Box(0, 1, 9, 10))
    assert _said(third) == told(items[2])


def _through_imagej(path: Path) -> None:
    """Rewrite a zip as ImageJ does: it reads properties as Latin-1, and sorts them."""
    rois = roifile.roiread(path)
    for roi in rois:
        lines = roi.props.encode("utf-8").decode("latin-1").splitlines(keepends=True)
        roi.props = "".join(sorted(lines))
    roifile.roiwrite(path, rois, name=[roi.name for roi in rois], mode="w")


def test_captions_in_any_language_come_back_through_imagej(
    tmp_path: Path, same_region: Any
) -> None:
    path = tmp_path / "a.zip"
    captions = [
        "un café noir à côté",
        "黒い猫",
        "a\nb\\c %41",
        "Ärger mit Straßen, " * 9,
        "🐈",
        "x",
    ]
    items = [
        Annotation(f"{n}", "Zoë.png", SLANTED, caption, 0.5, "model", "m", {"ort": "Zürich"})
        for n, caption in enumerate(captions)
    ]
    write(path, items, IMAGES)
    assert [roi.name for roi in roifile.roiread(path)][:2] == ["0001 un cafe noir a cote", "0002"]
    _through_imagej(path)
    found = read(path)
    assert [_said(one) for one in found] == [told(one) for one in items]
    assert same_region(found[0].region, SLANTED)
    rois = roifile.roiread(path)
    rois[1].name = "0002 a black cat"
    rois[2].name = "0005-0004"
    rois[3].name = "été"
    # An older export had the caption as it is in name and properties, which ImageJ then mangled.
    rois[0].name = "0001 un café noir à côté"
    rois[0].props = rois[0].props.replace("0001 un cafe noir a cote", rois[0].name)
    roifile.roiwrite(path, rois, name=[roi.name for roi in rois], mode="w")
    _through_imagej(path)
    first, second, third, fourth, *_ = read(path)
    assert (first.caption, first.source, first.score) == (captions[0], "model", 0.5)
    assert (second.caption, second.source, second.score) == ("a black cat", "edited", None)
    assert (third.caption, third.source, third.score) == (captions[2], "model", 0.5)
    assert (fourth.caption, fourth.source) == ("été", "edited")


NAMES = [
    "3b4a7a3c-5a6e-4c3a-9c57-3f1d5a0c7b11",
    "roi_1",
    "0001-0045",
    "0123-0456-0789",
    "Annotation (Tumor)",
    "Cell",
    "Tumor: Positive",
    "ROI 12",
    "Nerve cell 7",
    "nucleus-3",
]


def test_names_that_programs_make_up_are_no_captions_and_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    ring = [[1.5, 2.5], [9.5, 2.5], [9.5, 8.5]]
    said = ["a cat", "deux chats noirs", "黒い猫が寝ている"]
    rois = [roifile.ImagejRoi.frompoints(ring, name=name) for name in [*NAMES, *said]]
    qupath = roifile.ImagejRoi.frompoints(ring, name="a small nest (2)")
    qupath.props = "qupath.object.classification: Tumor\nqupath.object.name: nest\n"
    rois.append(qupath)
    roifile.roiwrite(path, rois, name=[roi.name for roi in rois], mode="w")
    found = read(path)
    assert [one.caption for one in found] == ["" for _ in NAMES] + said + [""]
    assert not any(one.is_human for one in found[: len(NAMES)])
    assert all(one.is_human for one in found[len(NAMES) : -1])
    assert [one.extra["name"] for one in found[: len(NAMES)]] == NAMES
    assert (found[-1].extra["class"], found[-1].extra["name"]) == ("Tumor", "nest")
    captioned = [replace(one, caption="a nest", source="model") for one in found]
    write(path, captioned, {})
    names = [roi.name for roi in roifile.roiread(path)]
    assert names[1:3] == ["roi_1", "0003 a nest"]
    assert names[0] == NAMES[0]
    last = roifile.roiread(path)[-1]
    assert "\nqupath.object.classification: Tumor\nqupath.object.name: nest\n" in last.props
    assert [_said(one) for one in read(path)] == [_said(one) for one in captioned]


def test_one_region_is_a_file_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.roi"
    items = [Annotation(name, "cat.png", Box(0, 0, 9, 9), "a cat") for name in "ab"]
    write_annotations(path, items[:1], IMAGES)
    assert roifile.roiread(path).name == "0001 a cat"
    assert [told(one) for one in read_annotations(path)] == [told(items[0])]
    with pytest.raises(FormatError, match="holds one region, not 2"):
        write_annotations(path, items, IMAGES)


def test_groups_and_colours_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    roi = roifile.ImagejRoi.frompoints([[1.5, 2.5], [9.5, 2.5], [9.5, 8.5]], name="roi_1")
    roi.stroke_color, roi.fill_color = b"\xff\x00\xff\x80", b"\x40\x01\x02\x03"
    roi.stroke_width, roi.group = 3, 7
    roifile.roiwrite(path, [roi], name=["roi_1"], mode="w")
    [found] = read(path)
    looks = {"color": "#00ff80", "fill-color": "#01020340", "line-width": "3", "group": "7"}
    assert looks.items() <= found.extra.items()
    write(path, [replace(found, caption="a cat", source="model")], {})
    again = roifile.roiread(path)[0]
    for name in ("stroke_color", "fill_color", "stroke_width", "group"):
        assert getattr(again, name) == getattr(roi, name), name


def test_what_is_no_region_is_passed_over_and_told(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    write(path, [Annotation("a", "c", SLANTED, "a cat"), Annotation("b", "c", SLANTED)], {})
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    first, second = members
    members |= {f"__MACOSX/._{first}": b"\0\5\x16\7", f"._{first}": b"x", ".DS_Store": b"x"}
    members |= {second: members[second][:100], "notes.txt": b"hello"}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with noting(Notes()) as notes:
        [found] = read(path)
    assert found.caption == "a cat"
    unread, cut = notes.lines()
    assert unread == "a.zip: 'notes.txt' is no region of ImageJ; it was not read"
    assert cut.startswith(f"a.zip: {second!r}: the file is cut off")


def test_names_are_short_and_no_paths(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    write(path, [Annotation("a", "c", Point(1, 1), "../../etc/passwd\n" * 20)], {})
    with zipfile.ZipFile(path) as archive:
        [name] = archive.namelist()
    assert "/" not in name
    assert len(name) < 80


@pytest.mark.parametrize("name", ["../out.roi", "/out.roi", "a/../../out.roi", "C:/out.roi"])
def test_members_outside_the_zip_are_listed(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, b"Iout")
    with pytest.raises(FormatError, match="lies outside the zip"):
        read_annotations(path)
    write(path, [Annotation("a", "c", SLANTED, "a cat")], {})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"Iout")
        archive.writestr("torn.roi", b"Iout and what is torn")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"what is torn", b"what is worn", 1))
    notes = Notes()
    [found] = read_annotations(path, notes=notes)
    assert found.caption == "a cat"
    outside, torn = notes.lines()
    assert f"{name!r} lies outside the zip; left out" in outside
    assert "'torn.roi' cannot be read (Bad CRC-32" in torn


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
    assert not (tmp_path / "a.zip").exists()  # an empty file would say that there are none


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
