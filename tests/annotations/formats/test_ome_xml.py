from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from annotated import IMAGES, annotations, extras, told
from hypothesis import HealthCheck, given, settings

from napari_patchioner.annotations import Annotation, read_annotations, write_annotations
from napari_patchioner.annotations.formats.ome_xml import read, write
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

SLANTED = Ellipse(np.array([[-0.5, 3.5], [3.5, -0.5], [9.5, 5.5], [5.5, 9.5]]))
OME = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'


def _by_uid(found: list[Annotation]) -> list[Annotation]:
    return sorted(found, key=lambda one: (one.image, one.uid))


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(items=annotations())
def test_what_was_written_reads_back(
    tmp_path: Path, same_region: Any, items: list[Annotation]
) -> None:
    path = tmp_path / "rois.ome.xml"
    assert write(path, items, IMAGES) == ()
    for one, again in zip(_by_uid(items), _by_uid(read(path)), strict=True):
        assert told(again) == told(one)
        assert same_region(one.region, again.region)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(items=annotations())
def test_images_without_sizes_read_back_too(
    tmp_path: Path, same_region: Any, items: list[Annotation]
) -> None:
    path = tmp_path / "rois.ome.xml"
    assert write(path, items, {}) == ()
    for one, again in zip(items, read(path), strict=True):
        assert told(again) == told(one)
        assert same_region(one.region, again.region)


def _other(path: Path) -> Any:
    from ome_types import from_xml

    return from_xml(path.read_text(), validate=True)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(items=annotations())
def test_the_published_schema_holds(tmp_path: Path, items: list[Annotation]) -> None:
    path = tmp_path / "rois.ome.xml"
    write(path, items, IMAGES)
    ome = _other(path)
    assert len(ome.rois) == len(items)
    named = {ref.id: image.name for image in ome.images for ref in image.roi_refs}
    expected = {f"ROI:{place}": IMAGES[one.image].name for place, one in enumerate(items)}
    assert named == expected


def test_another_reader_sees_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.xml"
    pixels = np.array([[True, False, True], [False, True, True], [True, True, True]])
    regions = [
        Box(-0.5, -0.5, 1.5, 3.25),
        Polygon(np.array([[-0.5, -0.5], [-0.5, 3.5], [1.75, 3.5]])),
        Trace(np.array([[0.0, 0], [1, 2]])),
        Point(0, 2),
        Mask(pixels, (5, 7)),
        WholeImage(),
        SLANTED,
    ]
    items = [
        Annotation(str(n), "cat.png", one, f'"{n}"\n\t& so', extra={"plane": "2 5"})
        for n, one in enumerate(regions)
    ]
    write(path, items, IMAGES)
    ome = _other(path)
    assert (ome.images[0].pixels.size_x, ome.images[0].pixels.size_y) == (64, 48)
    shapes = [roi.union[0] for roi in ome.rois]
    assert [shape.text for shape in shapes] == [one.caption for one in items]
    assert {(shape.the_t, shape.the_z, shape.the_c) for shape in shapes} == {(2, 5, None)}
    box, ring, way, dot, mask, whole, oval = shapes
    assert (box.x, box.y, box.width, box.height) == (0, 0, 3.75, 2)
    assert ring.points == "0,0 4,0 4,2.25"
    assert way.points == "0.5,0.5 2.5,1.5"
    assert (dot.x, dot.y) == (2.5, 0.5)
    assert (mask.x, mask.y, mask.width, mask.height) == (7, 5, 3, 3)
    packed = mask.bin_data.value
    assert np.unpackbits(np.frombuffer(packed, np.uint8))[:9].tolist() == pixels.ravel().tolist()
    assert (whole.x, whole.y, whole.width, whole.height) == (0, 0, 64, 48)
    assert (oval.x, oval.y) == (5, 5)
    assert oval.radius_x == pytest.approx(np.sqrt(8))
    # The end of the first axis, as the transform puts it.
    end = np.array([oval.x + oval.radius_x, oval.y, 1])
    move = oval.transform
    matrix = np.array([[move.a00, move.a01, move.a02], [move.a10, move.a11, move.a12]])
    np.testing.assert_allclose(matrix @ end, [3, 7], atol=1e-9)
    pairs = ome.structured_annotations[0].value
    assert dict(pairs)["caption"] == items[0].caption


FOREIGN = f"""<?xml version="1.0" encoding="UTF-8"?>
{OME}
  <Image ID="Image:0" Name="cells.tif">
    <Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="20" SizeY="10" SizeZ="3"
      SizeC="1" SizeT="1"><MetadataOnly/></Pixels>
    <ROIRef ID="ROI:0"/>
  </Image>
  <StructuredAnnotations>
    <MapAnnotation ID="Annotation:0"><Value><M K="stain">DAPI</M></Value></MapAnnotation>
  </StructuredAnnotations>
  <ROI ID="ROI:0">
    <Union>
      <Rectangle ID="Shape:0" X="2" Y="3" Width="4" Height="5" TheZ="2" Text="a nucleus"/>
      <Ellipse ID="Shape:1" X="5" Y="5" RadiusX="2" RadiusY="1">
        <Transform A00="0" A10="1" A01="-1" A11="0" A02="10" A12="0"/>
      </Ellipse>
    </Union>
    <AnnotationRef ID="Annotation:0"/>
  </ROI>
  <ROI ID="ROI:1" Name="a line">
    <Union><Line ID="Shape:2" X1="1" Y1="2" X2="3" Y2="4"/></Union></ROI>
  <ROI ID="ROI:2"><Union><Label ID="Shape:3" X="1" Y="2" Text="here"/></Union></ROI>
  <ROI ID="ROI:3"><Union><Mask ID="Shape:4" X="3" Y="4" Width="3" Height="2">
    <BinData BigEndian="false" Length="4">sA==</BinData></Mask></Union></ROI>
</OME>"""


def test_files_of_others_are_read(tmp_path: Path, same_region: Any) -> None:
    path = tmp_path / "cells.ome.xml"
    path.write_text(FOREIGN)
    pair, line, label, mask = read_annotations(path)
    assert {one.image for one in (pair, line, label, mask)} == {"cells.tif"}
    assert (pair.caption, pair.source) == ("a nucleus", "")
    assert extras(pair) == {"stain": "DAPI", "plane": "2"}
    assert isinstance(pair.region, RegionSet)
    box, oval = pair.region.members
    assert same_region(box, Box(2.5, 1.5, 7.5, 5.5))
    assert isinstance(oval, Ellipse)
    # A quarter turn about (5, 5): the longer axis now goes down.
    np.testing.assert_allclose(oval.corners.min(axis=0), [2.5, 3.5])
    np.testing.assert_allclose(oval.corners.max(axis=0), [6.5, 5.5])
    assert (line.caption, label.caption) == ("a line", "here")
    assert same_region(line.region, Trace(np.array([[1.5, 0.5], [3.5, 2.5]])))
    assert same_region(label.region, Point(1.5, 0.5))
    assert same_region(mask.region, Mask(np.array([[1, 0, 1], [1, 0, 0]], bool), (4, 3)))


PIXELS = 'DimensionOrder="XYZCT" Type="uint8" SizeX="20" SizeY="10" SizeZ="4" SizeC="1" SizeT="2"'
YEARS = {
    "2003": '<Image><DisplayOptions><ROI X0="2" Y0="3" Z0="1" X1="6" Y1="8" Z1="1"/>'
    "</DisplayOptions></Image>",
    "2008-09": """<Image ID="Image:0" Name="a"><ROI ID="ROI:1"><Description>an old box</Description>
      <Union><Shape ID="Shape:1" theZ="1"><ChannelRef ID="Channel:0"/>
      <Rect x="1" y="2" width="4" height="5" transform="translate(1, 1)"/></Shape></Union></ROI>
      </Image>""",
    "2011-06": """<Image ID="Image:0" Name="a"><ROIRef ID="ROI:1"/></Image><ROI ID="ROI:1"><Union>
      <Shape ID="Shape:1" TheZ="1" Text="an old box"><Polyline Closed="true"
      Points="2,3 6,3, 6,8 2,8"/></Shape></Union></ROI>""",
    "2013-06": """<Image ID="Image:0" Name="a"><ROIRef ID="ROI:1"/></Image><ROI ID="ROI:1"><Union>
      <Shape ID="Shape:1" TheZ="1" Text="an old box">
      <Rectangle X="1" Y="1.5" Width="2" Height="2.5"/>
      <Transform A00="2" A10="0" A01="0" A11="2" A02="0" A12="0"/></Shape></Union></ROI>""",
    "2016-06": """<Image ID="Image:0" Name="a"><ROIRef ID="ROI:1"/></Image><ROI ID="ROI:1"><Union>
      <Polygon ID="Shape:1" Points="2,3, 6,3 6, 8 2,8" TheZ="1" Text="an old box"/></Union>
      </ROI>""",
}


@pytest.mark.parametrize("year", YEARS)
def test_files_of_all_years_are_read(tmp_path: Path, same_region: Any, year: str) -> None:
    path = tmp_path / "a.ome.xml"
    space = f"http://www.openmicroscopy.org/Schemas/OME/{year}"
    path.write_text(f'<OME:OME xmlns:OME="{space}" xmlns="{space}">{YEARS[year]}</OME:OME>')
    [found] = read_annotations(path)
    assert found.caption == ("" if year == "2003" else "an old box")
    assert found.extra["plane"] == "1"
    corners = found.region if isinstance(found.region, Box) else None
    ring = np.array([[2.5, 1.5], [2.5, 5.5], [7.5, 5.5], [7.5, 1.5]])
    assert same_region(found.region, Polygon(ring) if corners is None else Box(2.5, 1.5, 7.5, 5.5))


def test_shapes_under_transforms_are_where_they_show(tmp_path: Path, same_region: Any) -> None:
    shapes = {
        '<Circle ID="s" cx="5" cy="4" r="2" transform="matrix(1 0 0 2 0 0)"/>': Ellipse(
            np.array([[3.5, 2.5], [3.5, 6.5], [11.5, 6.5], [11.5, 2.5]])
        ),
        '<Line X1="1" Y1="2" X2="3" Y2="4" Transform="rotate(90)"/>': Trace(
            np.array([[0.5, -2.5], [2.5, -4.5]])
        ),
        '<Point X="1" Y="2" Transform="none"/>': Point(1.5, 0.5),
        """<Mask X="1" Y="1" Width="2" Height="2"><Transform A00="1" A01="0" A02="2" A10="0" A11="1"
          A12="3"/><BinData BigEndian="true" Length="1">YA==</BinData></Mask>""": Mask(
            np.array([[0, 1], [1, 0]], bool), (4, 3)
        ),
        """<Mask X="1" Y="1" Width="1" Height="1"><Transform A00="2" A01="0" A02="0" A10="0" A11="3"
          A12="0"/><BinData Compression="bzip2">QlpoOTFBWSZTWdj7oKUAAAAAQEAAIAAhGEaC7kinChIbH3QUoA==
          </BinData></Mask>""": Mask(np.ones((3, 2), bool), (3, 2)),
    }
    rois = "".join(f"<ROI><Union>{shape}</Union></ROI>" for shape in shapes)
    path = tmp_path / "a.ome.xml"
    path.write_text(f"{OME}{rois}</OME>")
    for one, expected in zip(read_annotations(path), shapes.values(), strict=True):
        assert same_region(one.region, expected)


def test_time_and_depth_are_both_kept(tmp_path: Path) -> None:
    planes = {'TheT="0" TheZ="3"': "0 3", 'TheZ="3"': "3", 'TheT="1"': "1 0", 'TheC="2"': None}
    rois = "".join(f'<ROI><Union><Point X="1" Y="1" {one}/></Union></ROI>' for one in planes)
    path = tmp_path / "a.ome.xml"
    path.write_text(f"{OME}{rois}</OME>")
    found = read_annotations(path)
    assert [one.extra.get("plane") for one in found] == list(planes.values())
    assert extras(found[3]) == {"channel": "2"}
    found = [replace(one, extra=extras(one)) for one in found]
    write(path, found, {})
    assert _other(path).rois[3].union[0].the_c == 2
    assert [told(one) for one in read_annotations(path)] == [told(one) for one in found]


def test_what_is_said_of_shapes_comes_back(tmp_path: Path) -> None:
    looks = 'StrokeColor="-65281" StrokeWidth="2.5" FontStyle="Bold" Locked="true"'
    notes = """<StructuredAnnotations><TagAnnotation ID="A:1"><Value>seen</Value></TagAnnotation>
      <CommentAnnotation ID="A:2"><Value>odd one</Value></CommentAnnotation>
      </StructuredAnnotations>"""
    refs = '<AnnotationRef ID="A:1"/><AnnotationRef ID="A:2"/>'
    names = ["ROI 1", "3b4a7a3c-5a6e-4c3a-9c57-3f1d5a0c7b11", "Cell", "a split cell", "nucleus-7"]
    rois = "".join(
        f'<ROI Name="{name}"><Union><Point X="1" Y="1" {looks}/></Union>{refs}</ROI>'
        for name in names
    )
    path = tmp_path / "a.ome.xml"
    path.write_text(f"{OME}{notes}{rois}</OME>")
    found = read_annotations(path)
    assert [one.caption for one in found] == ["", "", "", "a split cell", ""]
    assert [one.extra.get("name") for one in found] == [*names[:3], None, names[4]]
    assert (found[0].extra["tag"], found[0].extra["comment"]) == ("seen", "odd one")
    said = {"caption": "a cell", "source": "model"}
    captioned = [replace(one, **said, extra=extras(one)) for one in found]
    write(path, captioned, {})
    first = _other(path).rois[0]
    assert (first.name, first.union[0].stroke_width, first.union[0].locked) == ("ROI 1", 2.5, True)
    assert [told(one) for one in read_annotations(path)] == [told(one) for one in captioned]


AROUND = f"""<?xml version="1.0" encoding="UTF-8"?>
<!-- from the microscope -->
{OME.replace("xmlns", "xmlns:o").replace("<OME", "<o:OME")}
  <o:Experimenter ID="Experimenter:0" LastName="Dö"/>
  <o:Image ID="Image:5" Name="a">
    <o:AcquisitionDate>2020-01-02T03:04:05</o:AcquisitionDate>
    <o:Pixels ID="Pixels:5" DimensionOrder="XYZCT" Type="uint16" SizeX="20" SizeY="10" SizeZ="3"
      SizeC="2" SizeT="1" PhysicalSizeX="0.5"><o:MetadataOnly/></o:Pixels>
    <o:ROIRef ID="ROI:7"/><o:ROIRef ID="ROI:8"/><o:ROIRef ID="ROI:9"/>
  </o:Image>
  <o:StructuredAnnotations>
    <o:TagAnnotation ID="Annotation:3"><o:Value>seen</o:Value></o:TagAnnotation>
  </o:StructuredAnnotations>
  <o:ROI ID="ROI:7" Name='Text="7"'><o:Union><o:Point ID='Shape:1' TheZ='2' X='1' Y='1'/></o:Union>
    <o:AnnotationRef ID="Annotation:3"/></o:ROI>
  <o:ROI ID="ROI:8"><o:Union><o:Point ID="Shape:8" X="NaN" Y="1"/></o:Union></o:ROI>
  <o:ROI ID="ROI:9"><o:Union><o:Rectangle ID="Shape:2" X="1" Y="1" Width="3" Height="4"
    Text="a cell"/></o:Union></o:ROI>
</o:OME>
"""


def test_a_file_of_others_stays_as_it_is_around_its_regions(
    tmp_path: Path, same_region: Any
) -> None:
    path = tmp_path / "a.ome.xml"
    path.write_text(AROUND, encoding="utf-8")
    dot, box = read_annotations(path)
    write(path, [dot, box], {})
    assert path.read_text(encoding="utf-8") == AROUND
    said = replace(dot, caption='a "dot" – <b>', source="model", model="mini")
    write(path, [said, box], {})
    assert [_without_entry(one) for one in read_annotations(path)] == [
        _without_entry(said),
        _without_entry(box),
    ]
    text = path.read_text(encoding="utf-8")
    # All that stood there stands there, in its order.
    at = 0
    for line in AROUND.replace("/></o:Union>", "\n/></o:Union>").splitlines():
        at = text.index(line.strip().removesuffix("</o:ROI>"), at)
    ome = _other(path)
    assert [roi.id for roi in ome.rois] == ["ROI:7", "ROI:8", "ROI:9"]
    assert (ome.rois[0].union[0].text, ome.rois[0].union[0].the_t) == (said.caption, None)
    # The records of then are of this file still: one moves, one is taken out, one is new.
    new = Annotation("n", "a", Box(1.5, 2.5, 3.5, 4.5), "new")
    write(path, [replace(said, region=Point(4, 5), caption=""), new], {})
    moved, added = read_annotations(path)
    assert (moved.caption, added.caption, added.image) == ("", "new", "a")
    assert same_region(moved.region, Point(4, 5))
    assert same_region(added.region, new.region)
    ome = _other(path)
    assert [roi.id for roi in ome.rois][:2] == ["ROI:7", "ROI:8"]
    assert [ref.id for ref in ome.images[0].roi_refs] == [roi.id for roi in ome.rois]
    assert ome.images[0].pixels.physical_size_x == 0.5
    # In a file of its own stand the regions that were asked for.
    [_, added] = read_annotations(path)
    write(tmp_path / "b.ome.xml", [added], {})
    assert [one.caption for one in read_annotations(tmp_path / "b.ome.xml")] == ["new"]


def _without_entry(annotation: Annotation) -> dict[str, Any]:
    return told(replace(annotation, extra=extras(annotation)))


def test_regions_alone_stay_of_an_older_file_and_that_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.xml"
    path.write_text(AROUND.replace("2016-06", "2011-06"), encoding="utf-8")
    with noting(Notes()) as notes:
        assert len(read(path)) == 2
    assert any("only regions would stay" in line for line in notes.lines())


def test_rois_are_on_the_images_that_name_them(tmp_path: Path) -> None:
    images = "".join(
        f'<Image ID="Image:{n}" {name}><Pixels ID="Pixels:{n}" {PIXELS}/>'
        f'<ROIRef ID="ROI:{n}"/></Image>'
        for n, name in enumerate(['Name="a"', 'Name="b"', ""])
    )
    rois = "".join(f'<ROI ID="ROI:{n}"><Union><Point X="1" Y="1"/></Union></ROI>' for n in range(4))
    path = tmp_path / "a.ome.xml"
    path.write_text(f"{OME}{images}{rois}</OME>")
    with noting(Notes()) as notes:
        found = read(path)
    assert [one.image for one in found] == ["a", "b", "Image:2", ""]
    assert [line.split(" is on ")[0] for line in notes.lines()] == ["a.ome.xml: ROI ROI:3"]
    shared = f"{OME}{images}{rois}</OME>".replace("ROI:1", "ROI:0")
    path.write_text(shared)
    with noting(Notes()) as notes:
        assert read(path)[0].image == "b"
    assert "a.ome.xml: ROI ROI:0 is on several images; it counts for 'b'" in notes.lines()


def test_one_bad_roi_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.xml"
    path.write_text(FOREIGN.replace("<Line ", "<Cube ").replace("sA==", "?"))
    with noting(Notes()) as notes:
        assert [one.caption for one in read(path)] == ["a nucleus", "here"]
    assert [line.split(": ")[1] for line in notes.lines()] == ["ROI ROI:1", "ROI ROI:3"]


@pytest.mark.parametrize("encoding", ["nonsense", "utf-7", "idna", "hex"])
def test_encodings_that_there_are_not_are_told(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.ome.xml"
    path.write_text(FOREIGN.replace("UTF-8", encoding))
    with pytest.raises(FormatError, match=r"a\.ome\.xml: "):
        read(path)


def test_what_other_tools_changed_wins(tmp_path: Path, same_region: Any) -> None:
    path = tmp_path / "a.ome.xml"
    items = [
        Annotation("a", "cat.png", Box(0, 0, 9, 9), "a draft", 0.5, "model", "m"),
        Annotation("b", "cat.png", SLANTED, "kept\x00", None, "human", extra={"plane": "3"}),
    ]
    write(path, items, IMAGES)
    text = path.read_text().replace('Text="a draft"', 'Text="a cat"')
    path.write_text(text.replace('X="0.5"', 'X="1.5"').replace('TheZ="3"', 'TheZ="4"'))
    first, second = read(path)
    assert (first.caption, first.source, first.score) == ("a cat", "edited", None)
    assert same_region(first.region, Box(0, 1, 9, 10))
    assert (second.caption, second.source, second.extra) == ("kept\x00", "human", {"plane": "4"})
    assert same_region(second.region, SLANTED)


def test_entities_and_document_types_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    path = tmp_path / "a.ome.xml"
    for declared in (
        f'<!DOCTYPE OME [<!ENTITY x SYSTEM "file://{tmp_path}/secret">]>',
        '<!DOCTYPE OME [<!ENTITY a "aa"><!ENTITY x "&a;&a;&a;&a;">]>',
        '<!DOCTYPE OME SYSTEM "http://localhost/a.dtd">',
    ):
        path.write_text(FOREIGN.replace(OME, declared + OME).replace("DAPI", "&x;"))
        with pytest.raises(FormatError, match="document type"):
            read_annotations(path)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("</OME>", "", "line 2[0-9]: is no well-formed XML"),
        ('Width="4"', "", "ROI ROI:0: a Rectangle lacks numbers"),
        ('Width="4"', 'Width="nan"', "not a finite number"),
        ("<Line ", "<Cube ", "the shape 'Cube' is unknown"),
        ("sA==", "", "empty or cut off"),
        ("sA==", "?", "a Mask lacks numbers"),
        ('Width="3"', 'Width="999999999"', "too many"),
        ('TheZ="2"', 'TheZ="two"', "whole numbers"),
        ("OME", "OMG", "is no OME-XML"),
    ],
)
def test_broken_files_are_told(tmp_path: Path, old: str, new: str, why: str) -> None:
    path = tmp_path / "a.ome.xml"
    path.write_text(FOREIGN.replace(old, new))
    with pytest.raises(FormatError, match=why):
        read(path)


def test_no_annotations_are_a_file_too(tmp_path: Path) -> None:
    write_annotations(tmp_path / "a.ome.xml", [], IMAGES)
    assert read_annotations(tmp_path / "a.ome.xml") == []
    assert _other(tmp_path / "a.ome.xml").rois == []
