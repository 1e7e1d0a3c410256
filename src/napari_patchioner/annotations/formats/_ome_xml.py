"""OME-XML: regions as OMERO, Bio-Formats and QuPath know them, one ``ROI`` per region.

The caption is the ``Text`` of the first shape; all OME has no place for stands in a map annotation
of the ROI. The plane is ``TheZ`` and ``TheT``. Images stand in the file with their sizes, without
pixels; of an image whose size nobody told, only the regions do.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from napari_patchioner.annotations._carried import annotation_from, carried, unique
from napari_patchioner.annotations._columns import check_unique
from napari_patchioner.annotations._parts import as_one, members_of, shown_as
from napari_patchioner.annotations._plane import PLANE, plane_text, time_and_depth
from napari_patchioner.annotations._table import encode_text, write_bytes
from napari_patchioner.errors import FormatError

from ._bundle import read_bundle
from ._json_file import whole_number
from ._ome_shapes import Size, element_of, region_of, shown
from ._xml import from_pair, legal, parse_xml, to_pair

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from napari_patchioner.annotations._annotation import Annotation
    from napari_patchioner.annotations._images import Images
    from napari_patchioner.regions import Region

    from ._head import Head

_SPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_SCHEMA = f"{_SPACE} {_SPACE}/ome.xsd"
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
_OURS = "napari-patchioner"
_IMAGE = "image"


def knows(head: Head) -> bool:
    """Return whether a file is OME-XML."""
    return head.text.lstrip().startswith("<") and "<OME" in head.text.replace("<ome:OME", "<OME")


def read(path: Path) -> list[Annotation]:
    """Read the regions of interest in an OME-XML file of any year.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    list of Annotation
        One per ROI, coordinates in ``(row, column)``; several shapes are a set, counted once
        where they overlap.

    Raises
    ------
    FormatError
        One sentence that names the file and the ROI.
    """
    path = Path(path)
    root = parse_xml(path.name, read_bundle(path, lambda _: True)[path.name])
    if root.tag != "OME":
        raise FormatError(f"{path.name}: is no OME-XML; its root is {root.tag!r}")
    images = _Images(root)
    maps = {one.get("ID", ""): one for one in root.iter("MapAnnotation")}
    found: list[Annotation] = []
    for place, roi in enumerate(root.iter("ROI")):
        try:
            found += _read_roi(roi, str(place), images, maps)
        except FormatError as error:
            name = roi.get("ID") or roi.get("Name") or place + 1
            raise FormatError(f"{path.name}: ROI {name}: {error}") from error
    return unique(found)


class _Images:
    """The images of a file: their names and sizes by the ROIs on them.

    Parameters
    ----------
    root : Element
        The root of the file.
    """

    def __init__(self, root: Element) -> None:
        self._of: dict[str, tuple[str, Size]] = {}
        images = [one for one in root if one.tag == "Image"]
        for image in images:
            named = (image.get("Name", ""), _size(image))
            for ref in image.iter("ROIRef"):
                self._of[ref.get("ID", "")] = named
        # Where nothing tells, and there is but one image, it is that one.
        self._only = (
            (images[0].get("Name", ""), _size(images[0])) if len(images) == 1 else ("", None)
        )

    def of(self, roi: Element) -> tuple[str, Size]:
        """Return the name and the size of the image a ROI is on."""
        return self._of.get(roi.get("ID", ""), self._only)


def _size(image: Element) -> Size:
    pixels = image.find("Pixels")
    sides = [pixels.get(n, "") if pixels is not None else "" for n in ("SizeY", "SizeX")]
    height, width = (whole_number(side) for side in sides)
    return None if height is None or width is None else (height, width)


def _read_roi(
    roi: Element, uid: str, images: _Images, maps: Mapping[str, Element]
) -> Iterator[Annotation]:
    """Yield the annotation of one ROI, if it shows anything."""
    shapes = [shape for union in roi.iter("Union") for shape in _shapes(union)]
    texts = _texts(roi, maps)
    named, size = images.of(roi)
    image = texts.pop(_IMAGE, named)
    said = next((shape.get("Text", "") for shape in shapes if shape.get("Text")), "")
    if "wkt" not in texts:
        said = said or roi.findtext("Description", "") or roi.get("Name", "")
    union = not texts.get("members", "").startswith("sum")
    drawn = as_one([region_of(shape) for shape in shapes], union)
    if drawn is None and "wkt" not in texts:
        return

    def show(region: Region) -> Region | None:
        return shown_as(region, lambda part: shown(part, size), union)

    found = annotation_from(
        texts, drawn=drawn, image=image, caption=said, uid=uid, shown=show, told=legal
    )
    yield _in_plane(found, shapes)


def _shapes(union: Element) -> list[Element]:
    """Return the shapes of a ROI; in older files they stand within ``Shape`` elements."""
    older = [(inner, one) for one in union if one.tag == "Shape" for inner in one]
    for inner, outer in older:
        inner.attrib.update(outer.attrib)
    return [inner for inner, _ in older] or [one for one in union if one.tag != "Shape"]


def _texts(roi: Element, maps: Mapping[str, Element]) -> dict[str, str]:
    """Return the pairs of the map annotations of a ROI."""
    pairs = [
        (one.get("K", ""), one.text or "")
        for ref in roi.iter("AnnotationRef")
        if ref.get("ID", "") in maps
        for one in maps[ref.get("ID", "")].iter("M")
    ]
    return dict(from_pair(name, text) for name, text in pairs if name)


def _in_plane(annotation: Annotation, shapes: Sequence[Element]) -> Annotation:
    """Return an annotation in the plane its shapes are in, if that is not the one it holds."""
    fields = next((one.attrib for one in shapes if {"TheZ", "TheT"} & set(one.attrib)), None)
    if fields is None:
        return annotation
    try:
        at = int(fields.get("TheT", 0)), int(fields.get("TheZ", 0))
    except ValueError as error:
        raise FormatError("TheZ and TheT must be whole numbers") from error
    if at == time_and_depth(annotation):
        return annotation
    return replace(annotation, extra={**annotation.extra, PLANE: plane_text(*at)})


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write an OME-XML file.

    Parameters
    ----------
    path : Path
        The file; it is replaced if it exists.
    annotations : sequence of Annotation
        Regions of any number of images.
    images : mapping of str to ImageInfo
        The images by the name annotations give them.

    Returns
    -------
    tuple of Annotation
        Always empty.

    Raises
    ------
    FormatError
        If a region makes no sense.
    """
    check_unique(annotations)
    root = Element("OME", {"xmlns": _SPACE, "xmlns:xsi": _INSTANCE, "xsi:schemaLocation": _SCHEMA})
    _add_images(root, annotations, images)
    if annotations:
        notes = SubElement(root, "StructuredAnnotations")
        for place, one in enumerate(annotations):
            _add_map(notes, place, one)
    for place, one in enumerate(annotations):
        info = images.get(one.image)
        _add_roi(root, place, one, (info.height, info.width) if info else None)
    ElementTree.indent(root, " ")
    text = ElementTree.tostring(root, "unicode")
    write_bytes(path, encode_text(f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'))
    return ()


def _add_images(root: Element, annotations: Sequence[Annotation], images: Images) -> None:
    """Add the images whose sizes are known, with the ROIs on them."""
    own: dict[str, list[int]] = {}
    for place, one in enumerate(annotations):
        own.setdefault(one.image, []).append(place)
    for number, image in enumerate(name for name in own if name in images):
        info = images[image]
        planes = [time_and_depth(annotations[place]) or (0, 0) for place in own[image]]
        made = SubElement(root, "Image", ID=f"Image:{number}", Name=legal(info.name))
        sizes = {"SizeX": info.width, "SizeY": info.height, "SizeC": 1}
        sizes |= {"SizeT": 1 + max(t for t, _ in planes), "SizeZ": 1 + max(z for _, z in planes)}
        about = {"ID": f"Pixels:{number}", "DimensionOrder": "XYZCT", "Type": "uint8"}
        pixels = SubElement(made, "Pixels", about | {name: str(n) for name, n in sizes.items()})
        SubElement(pixels, "MetadataOnly")
        for place in own[image]:
            SubElement(made, "ROIRef", ID=f"ROI:{place}")


def _add_map(notes: Element, place: int, annotation: Annotation) -> None:
    """Add what a region carries."""
    made = SubElement(notes, "MapAnnotation", ID=f"Annotation:{place}", Namespace=_OURS)
    value = SubElement(made, "Value")
    for name, text in {**carried(annotation), _IMAGE: annotation.image}.items():
        key, held = to_pair(name, text)
        SubElement(value, "M", K=key).text = held


def _add_roi(root: Element, place: int, annotation: Annotation, size: Size) -> None:
    """Add the shapes of a region."""
    roi = SubElement(root, "ROI", ID=f"ROI:{place}")
    made = [element_of(one, size) for one in members_of(annotation.region)]
    shapes = [one for one in made if one is not None]
    plane = time_and_depth(annotation)
    if shapes:
        SubElement(roi, "Union").extend(shapes)
    for number, shape in enumerate(shapes):
        shape.set("ID", f"Shape:{place}:{number}")
        if annotation.caption and number == 0:
            shape.set("Text", legal(annotation.caption))
        if plane is not None:
            shape.attrib.update({"TheT": str(plane[0]), "TheZ": str(plane[1])})
    SubElement(roi, "AnnotationRef", ID=f"Annotation:{place}")
