from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from annotated import IMAGES, annotations, told
from hypothesis import HealthCheck, given, settings

from napari_patchioner.annotations import Annotation, read_annotations, write_annotations
from napari_patchioner.annotations.formats._ome_xml import read, write
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
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
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
    assert pair.extra == {"stain": "DAPI", "plane": "2"}
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


def test_ten_thousand_regions_come_back(tmp_path: Path) -> None:
    ring = np.random.default_rng(0).uniform(0, 1000, (12, 2))
    items = [Annotation(str(n), "cat.png", Polygon(ring + n), "a, cat") for n in range(10_000)]
    write(tmp_path / "a.ome.xml", items, IMAGES)
    assert [told(one) for one in read(tmp_path / "a.ome.xml")] == [told(one) for one in items]
