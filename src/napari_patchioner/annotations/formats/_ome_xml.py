"""OME-XML: regions as OMERO, Bio-Formats and QuPath know them, one ``ROI`` per region.

The caption is the ``Text`` of the first shape; all OME has no place for stands in a map annotation
of the ROI. The plane is ``TheZ`` and ``TheT``. Images stand in the file with their sizes, without
pixels; of an image whose size nobody told, only the regions do.

In files of others, a shape's ``Text`` and the ROI's ``Description`` are captions, and so is its
``Name`` where it reads like one (`_region_names`). What else shapes and ROIs say (colours, widths,
channels, annotations) are extras, and goes back.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from napari_patchioner.annotations._carried import annotation_from, carried, unique
from napari_patchioner.annotations._columns import check_unique
from napari_patchioner.annotations._notes import leaving_out, note
from napari_patchioner.annotations._parts import as_one, members_of, shown_as
from napari_patchioner.annotations._plane import CHANNEL, PLANE, plane_text, time_and_depth
from napari_patchioner.annotations._region_names import NAME, is_name
from napari_patchioner.annotations._table import encode_text, write_bytes
from napari_patchioner.errors import FormatError

from ._bundle import read_bundle
from ._json_file import whole_number
from ._ome_shapes import SHAPES, Size, as_of_today, element_of, region_of, shown
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
# Elements within a ROI that say something about it and are no shapes.
_BESIDE = ("ChannelRef", "Transform", "Description", "AnnotationRef", "PlaneRef", "MaskPixels")
# What a shape of 2016 may say besides its geometry, and how; it goes back as it came.
_NUMBER, _INTEGER = re.compile(r"-?\d{1,9}(\.\d{1,9})?"), re.compile(r"-?\d{1,10}")
_LOOKS = {
    "FillColor": _INTEGER,
    "FillRule": re.compile("EvenOdd|NonZero"),
    "StrokeColor": _INTEGER,
    "StrokeWidth": _NUMBER,
    "StrokeDashArray": re.compile(r"[\d .]{1,200}"),
    "FontFamily": re.compile("serif|sans-serif|cursive|fantasy|monospace"),
    "FontSize": re.compile(r"\d{1,6}"),
    "FontStyle": re.compile("Bold|BoldItalic|Italic|Normal"),
    "Locked": re.compile("true|false"),
}
_LOOK = "ome:"
_ROOT = re.compile(r"<(\w+:)?OME[\s>]")


def knows(head: Head) -> bool:
    """Return whether a file is OME-XML."""
    return head.text.lstrip().startswith("<") and bool(_ROOT.search(head.text))


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
    images = _Images(path.name, root)
    notes = {one.get("ID", ""): one for one in root.iter() if one.tag.endswith("Annotation")}
    found: list[Annotation] = []
    for place, roi in enumerate(root.iter("ROI")):
        name = roi.get("ID") or roi.get("Name") or place + 1
        with leaving_out("region", f"{path.name}: ROI {name}"):
            try:
                found += _read_roi(roi, str(place), images, notes)
            except FormatError as error:
                raise FormatError(f"{path.name}: ROI {name}: {error}") from error
    return unique(found)


class _Images:
    """The images of a file: their names and sizes by the ROIs on them.

    Parameters
    ----------
    file : str
        The file, for messages.
    root : Element
        The root of the file.
    """

    def __init__(self, file: str, root: Element) -> None:
        self._file = file
        self._of: dict[str, tuple[str, Size]] = {}
        self._within: dict[int, tuple[str, Size]] = {}
        images = list(root.iter("Image"))
        for image in images:
            # Where there are several, an image without a name is not any image.
            name = image.get("Name", "") or (image.get("ID", "") if len(images) > 1 else "")
            named = (name, _size(image))
            self._of |= {ref.get("ID", ""): named for ref in image.iter("ROIRef")}
            self._within |= {id(roi): named for roi in image.iter("ROI")}
        # Where nothing tells, and there is but one image, it is that one.
        self._only = (
            (images[0].get("Name", ""), _size(images[0])) if len(images) == 1 else ("", None)
        )
        self._several = len(images) > 1

    def of(self, roi: Element) -> tuple[str, Size]:
        """Return the name and the size of the image a ROI is on."""
        named = self._of.get(roi.get("ID", "")) or self._within.get(id(roi))
        if named is None and self._several:
            note(
                "no image",
                f"{self._file}: ROI {roi.get('ID', '')} is on none of the images in the file; it "
                "counts for any image",
            )
        return named or self._only


def _size(image: Element) -> Size:
    pixels = next(image.iter("Pixels"), None)
    sides = [pixels.get(n, "") if pixels is not None else "" for n in ("SizeY", "SizeX")]
    height, width = (whole_number(side) for side in sides)
    return (height, width) if height and width else None


def _read_roi(
    roi: Element, uid: str, images: _Images, notes: Mapping[str, Element]
) -> Iterator[Annotation]:
    """Yield the annotation of one ROI, if it shows anything."""
    shapes = [as_of_today(shape) for shape in _shapes(roi)]
    texts = _texts(roi, notes)
    named, size = images.of(roi)
    image = texts.pop(_IMAGE, named)
    said = next((shape.get("Text", "") for shape in shapes if shape.get("Text")), "")
    if "wkt" not in texts:
        said = _described(roi, shapes, texts)
        texts |= {**_looks(shapes), **texts}
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


def _described(roi: Element, shapes: Sequence[Element], texts: dict[str, str]) -> str:
    """Return the caption of a ROI of somebody else, and note among the texts what it is called."""
    # What is typed on the picture is a caption whatever it says.
    typed = [one.get("Text", "") for one in shapes if one.tag == "Label" and one.get("Text")]
    written = [text for one in shapes if (text := one.get("Text", "")) and not is_name(text, 1)]
    description = (roi.findtext("Description") or "").strip()
    name = roi.get("Name", "")
    said = [*typed, *written, description, "" if is_name(name) else name, ""]
    found = next((text for text in said if text), "") if any(said) else ""
    others = [name, *(shape.get("Text", "") for shape in shapes)]
    called = next((text for text in others if text and text != found), "")
    if called:
        texts.setdefault(NAME, called)
    return found


def _looks(shapes: Sequence[Element]) -> dict[str, str]:
    """Return what the first shape says besides its geometry."""
    fields = shapes[0].attrib if shapes else {}
    found = {f"{_LOOK}{name}": fields[name] for name in _LOOKS if name in fields}
    channel = fields.get("TheC", "")
    return found | ({CHANNEL: channel} if whole_number(channel) is not None else {})


def _shapes(element: Element, outer: Mapping[str, str] | None = None) -> list[Element]:
    """Return the shapes of a ROI; in older files they stand within ``Shape`` elements."""
    found: list[Element] = []
    if element.tag == "ROI" and {"X0", "Y0", "X1", "Y1"} <= set(element.attrib):
        found.append(_first_rectangle(element))
    for one in element:
        if one.tag in SHAPES:
            one.attrib.update(outer or {})
            found.append(one)
        elif one.tag in ("Union", "ShapeGroup", "Shape"):
            inner = _shapes(one, one.attrib if one.tag == "Shape" else outer)
            moved = [child for child in one if child.tag == "Transform"]
            for shape in inner if one.tag == "Shape" else ():
                shape.extend(moved)
            found += inner
        elif one.tag not in _BESIDE and element.tag != "ROI":
            raise FormatError(f"the shape {one.tag!r} is unknown")
    return found


def _first_rectangle(roi: Element) -> Element:
    """Return the rectangle that a ROI of the first years is."""
    try:
        x, y, right, bottom = (float(roi.attrib[name]) for name in ("X0", "Y0", "X1", "Y1"))
    except ValueError as error:
        raise FormatError("X0, Y0, X1 and Y1 must be numbers") from error
    sides = {"X": x, "Y": y, "Width": right - x, "Height": bottom - y}
    made = Element("Rectangle", {name: repr(number) for name, number in sides.items()})
    for name, first, last in (("TheT", "T0", "T1"), ("TheZ", "Z0", "Z1")):
        if roi.get(first) is not None and roi.get(first) == roi.get(last):
            made.set(name, roi.get(first, ""))
    return made


def _texts(roi: Element, notes: Mapping[str, Element]) -> dict[str, str]:
    """Return the pairs of the map annotations of a ROI, and what other annotations say."""
    found: dict[str, str] = {}
    for ref in roi.iter("AnnotationRef"):
        one = notes.get(ref.get("ID", ""))
        if one is None:
            continue
        value = one.find("Value")
        for pair in one.iter("M"):
            key = pair.get("K") or ""
            name, text = from_pair(key, pair.text or "")
            found |= {name: text} if name else {}
        said = (value.text or "").strip() if value is not None and not len(value) else ""
        if said:
            key = one.tag.removesuffix("Annotation").lower()
            found[key] = f"{found[key]}, {said}" if key in found else said
    return found


def _in_plane(annotation: Annotation, shapes: Sequence[Element]) -> Annotation:
    """Return an annotation in the plane its shapes are in, if that is not the one it holds."""
    fields = next((one.attrib for one in shapes if {"TheZ", "TheT"} & set(one.attrib)), None)
    if fields is None:
        return annotation
    time, depth = (_index(fields.get(name)) for name in ("TheT", "TheZ"))
    if time is None and depth is None:
        return annotation
    if (time or 0, depth or 0) == time_and_depth(annotation):
        return annotation
    if " " not in annotation.extra.get(PLANE, " ") and not time:
        time = None  # the record leaves the time open
    return replace(annotation, extra={**annotation.extra, PLANE: plane_text(time, depth)})


def _index(text: str | None) -> int | None:
    """Return the number of a plane; None where a shape is on all of them."""
    number = whole_number(text or "")
    if text and number is None and text.strip() != "-1":
        raise FormatError("TheZ and TheT must be whole numbers")
    return number


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
    name = legal(annotation.extra.get(NAME, ""))
    if name:
        roi.set("Name", name)
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
        shape.attrib.update(_given_looks(annotation))
    SubElement(roi, "AnnotationRef", ID=f"Annotation:{place}")


def _given_looks(annotation: Annotation) -> dict[str, str]:
    """Return the attributes of shapes that a region came with, as far as OME-XML has them."""
    extra = annotation.extra
    texts = {name: extra.get(f"{_LOOK}{name}", "") for name in _LOOKS}
    found = {name: text for name, text in texts.items() if _LOOKS[name].fullmatch(text)}
    channel = extra.get(CHANNEL, "")
    is_channel = whole_number(channel) is not None and int(channel) < 2**31
    return found | ({"TheC": str(int(channel))} if is_channel else {})
