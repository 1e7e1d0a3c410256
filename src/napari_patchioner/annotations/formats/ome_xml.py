"""OME-XML: regions as OMERO, Bio-Formats and QuPath know them, one ``ROI`` per region.

The caption is the ``Text`` of the first shape; all OME has no place for stands in a map annotation
of the ROI. The plane is ``TheZ`` and ``TheT``. Images stand in the file with their sizes, without
pixels; of an image without a known size, only the regions do.

In files of others, a shape's ``Text`` and the ROI's ``Description`` are captions, and so is its
``Name`` where it reads like one (`names`). What else shapes and ROIs say (colours, widths,
channels, annotations) are extras, and goes back. Such a file of 2015 or 2016 is written again byte
for byte, but for the ROIs that changed and what is new in it; of older ones the regions alone.
"""

from __future__ import annotations

import base64
import bz2
import re
import zlib
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from napari_patchioner.annotations.files import encode_text, write_bytes
from napari_patchioner.annotations.metadata import (
    base_of,
    is_deleted,
    remember_file,
    same_record,
    with_metadata,
)
from napari_patchioner.annotations.names import NAME, is_name, shared_names
from napari_patchioner.annotations.napari_shapes import CHANNEL, PLANE, plane_text, time_and_depth
from napari_patchioner.annotations.notes import Notes, leaving_out, note, noting
from napari_patchioner.annotations.table import check_unique
from napari_patchioner.annotations.texts import (
    annotation_from_texts,
    as_one,
    record_texts,
    shown_as,
    with_unique_uids,
)
from napari_patchioner.annotations.xy import (
    ellipse_axes,
    ellipse_from_axes,
    from_xy,
    mask_from_rings,
    to_xy,
)
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import charge_bytes, charge_pixels
from napari_patchioner.regions import (
    Box,
    Ellipse,
    Mask,
    Point,
    Polygon,
    Region,
    Trace,
    WholeImage,
    same_drawing,
)

from .bundle import read_bundle
from .entries import Size, by_image, corners_xy, known_size, naming, without_metadata
from .head import Format, Head
from .json_arrays import whole_number
from .xml import (
    XmlPlace,
    from_pair,
    legal,
    parse_xml,
    spliced,
    to_pair,
    with_field,
    xml_bytes,
    xml_places,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy.typing as npt

    from napari_patchioner.annotations.images import Images
    from napari_patchioner.annotations.record import Annotation


_SPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_SCHEMA = f"{_SPACE} {_SPACE}/ome.xsd"
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
_SPACES, _YEARS_AGAIN = "http://www.openmicroscopy.org/Schemas/OME/", ("2015-01", "2016-06")
_OURS = "napari-patchioner"
_KIND = "ome-xml"
_OUR_PIXELS = {"ID", "DimensionOrder", "Type", "SizeX", "SizeY", "SizeZ", "SizeC", "SizeT"}
_IMAGE = "image"
# Elements within a ROI that say something about it and are no shapes.
_BESIDE = ("ChannelRef", "Transform", "Description", "AnnotationRef", "PlaneRef", "MaskPixels")
# What a shape of 2016 may say besides its geometry, and how; it goes back as it came.
_NUMBER, _INTEGER = re.compile(r"-?\d{1,9}(\.\d{1,9})?"), re.compile(r"-?\d{1,10}")
_STYLES = {
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
_STYLE = "ome:"
_ROOT = re.compile(r"<(\w+:)?OME[\s>]")


def knows(head: Head) -> bool:
    """Return whether a file is OME-XML."""
    return head.text.lstrip().startswith("<") and bool(_ROOT.search(head.text))


def read(path: Path) -> list[Annotation]:
    """Read the regions in an OME-XML file of any year, one per ROI; several shapes are a set."""
    path = Path(path)
    data = read_bundle(path, lambda _: True)[path.name]
    root = parse_xml(path.name, data)
    if root.tag != "OME":
        raise FormatError(f"{path.name}: is no OME-XML; its root is {root.tag!r}")
    again = not _is_ours(root) and _is_written_again(data)
    if not again and not _is_ours(root):
        note(
            "not kept",
            f"{path.name}: is not of a year or in an encoding of OME-XML that is written again as "
            "it was; of a result over it, keep a copy: only regions would stay",
        )
    rois = _read_rois(path.name, root)
    if again:
        file = remember_file(data)
        rois = [(at, with_metadata(item, _KIND, file, at, None)) for at, item in rois]
    return with_unique_uids(item for _, item in rois)


def _read_rois(name: str, root: Element) -> list[tuple[int, Annotation]]:
    """Return the regions of a file, and which of its ROIs each is."""
    images = _Images(name, root)
    notes = {item.get("ID", ""): item for item in root.iter() if item.tag.endswith("Annotation")}
    shared = shared_names(roi.get("Name", "") for roi in root.iter("ROI"))
    results: list[tuple[int, Annotation]] = []
    for place, roi in enumerate(root.iter("ROI")):
        called = roi.get("ID") or roi.get("Name") or place + 1
        where = f"{name}: ROI {called}"
        with leaving_out("region", where), naming(where):
            record = _read_roi(roi, str(place), images, notes, shared)
            results += [(place, record)] if record is not None else []
    return results


def _is_ours(root: Element) -> bool:
    """Whether a file holds nothing that we would not write ourselves."""
    notes = [item for part in root.iter("StructuredAnnotations") for item in part]
    if {item.tag for item in root} - {"Image", "StructuredAnnotations", "ROI"}:
        return False
    if any(item.get("Namespace") != _OURS for item in notes):
        return False
    for image in root.iter("Image"):
        pixels = next(image.iter("Pixels"), Element("Pixels"))
        if set(image.attrib) - {"ID", "Name"} or {item.tag for item in image} - {
            "Pixels",
            "ROIRef",
        }:
            return False
        if set(pixels.attrib) - _OUR_PIXELS or {pixel.tag for pixel in pixels} - {"MetadataOnly"}:
            return False
        if (pixels.get("Type"), pixels.get("SizeC")) != ("uint8", "1"):
            return False
    return all(
        len(list(roi.iter("AnnotationRef"))) == 1 and not set(roi.attrib) - {"ID", "Name"}
        for roi in root.iter("ROI")
    )


def _is_written_again(data: bytes) -> bool:
    """Whether regions can be put into a file that stays as it is around them."""
    try:
        root = xml_places(data)
    except FormatError:
        return False
    return any(
        f"{_SPACES}{year}".encode() in data[root.start : root.inner] for year in _YEARS_AGAIN
    )


class _Images:
    """The images of a file: their names and sizes by the ROIs on them."""

    def __init__(self, file: str, root: Element) -> None:
        self._file = file
        self._of: dict[str, tuple[str, Size | None]] = {}
        self._within: dict[int, tuple[str, Size | None]] = {}
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

    def of(self, roi: Element) -> tuple[str, Size | None]:
        """Return the name and the size of the image a ROI is on."""
        named = self._of.get(roi.get("ID", "")) or self._within.get(id(roi))
        if named is None and self._several:
            note(
                "no image",
                f"{self._file}: ROI {roi.get('ID', '')} is on none of the images in the file; it "
                "counts for any image",
            )
        return named or self._only


def _size(image: Element) -> Size | None:
    pixels = next(image.iter("Pixels"), None)
    sides = [pixels.get(n, "") if pixels is not None else "" for n in ("SizeY", "SizeX")]
    height, width = (whole_number(side) for side in sides)
    return (height, width) if height and width else None


def _read_roi(
    roi: Element,
    uid: str,
    images: _Images,
    notes: Mapping[str, Element],
    shared: Collection[str],
) -> Annotation | None:
    """Return the annotation of one ROI, if it shows anything."""
    shapes = [as_of_today(shape) for shape in _shapes(roi)]
    texts = _texts(roi, notes)
    named, size = images.of(roi)
    image = texts.pop(_IMAGE, named)
    said = next((shape.get("Text", "") for shape in shapes if shape.get("Text")), "")
    if "wkt" not in texts:
        said = _described(roi, shapes, texts, shared)
        fields = shapes[0].attrib if shapes else {}
        styles = {f"{_STYLE}{name}": fields[name] for name in _STYLES if name in fields}
        channel = fields.get("TheC", "")
        styles |= {CHANNEL: channel} if whole_number(channel) is not None else {}
        texts |= {**styles, **texts}
    union = not texts.get("members", "").startswith("sum")
    drawn = as_one([region_of(shape) for shape in shapes], union)
    if drawn is None and "wkt" not in texts:
        return None

    def show(region: Region) -> Region | None:
        return shown_as(region, lambda part: shown(part, size), union)

    result = annotation_from_texts(
        texts, drawn=drawn, image=image, caption=said, uid=uid, shown=show, shown_caption=legal
    )
    return _in_plane(result, shapes)


def _described(
    roi: Element, shapes: Sequence[Element], texts: dict[str, str], shared: Collection[str]
) -> str:
    """Return the caption of a ROI of somebody else, and note among the texts what it is called."""
    # What is typed on the picture is a caption whatever it says.
    typed = [item.get("Text", "") for item in shapes if item.tag == "Label" and item.get("Text")]
    written = [text for item in shapes if (text := item.get("Text", "")) and not is_name(text, 1)]
    description = (roi.findtext("Description") or "").strip()
    name = roi.get("Name", "")
    said = [*typed, *written, description, "" if is_name(name, shared=shared) else name, ""]
    result = next((text for text in said if text), "") if any(said) else ""
    others = [name, *(shape.get("Text", "") for shape in shapes)]
    called = next((text for text in others if text and text != result), "")
    if called:
        texts.setdefault(NAME, called)
    return result


def _shapes(element: Element, outer: Mapping[str, str] | None = None) -> list[Element]:
    """Return the shapes of a ROI; in older files they stand within ``Shape`` elements."""
    results: list[Element] = []
    if element.tag == "ROI" and {"X0", "Y0", "X1", "Y1"} <= set(element.attrib):
        results.append(_first_rectangle(element))
    for item in element:
        if item.tag in SHAPES:
            item.attrib.update(outer or {})
            results.append(item)
        elif item.tag in ("Union", "ShapeGroup", "Shape"):
            inner = _shapes(item, item.attrib if item.tag == "Shape" else outer)
            moved = [child for child in item if child.tag == "Transform"]
            for shape in inner if item.tag == "Shape" else ():
                shape.extend(moved)
            results += inner
        elif item.tag not in _BESIDE and element.tag != "ROI":
            raise FormatError(f"the shape {item.tag!r} is unknown")
    return results


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
    results: dict[str, str] = {}
    for ref in roi.iter("AnnotationRef"):
        result = notes.get(ref.get("ID", ""))
        if result is None:
            continue
        value = result.find("Value")
        for pair in result.iter("M"):
            key = pair.get("K") or ""
            name, text = from_pair(key, pair.text or "")
            results |= {name: text} if name else {}
        said = (value.text or "").strip() if value is not None and not len(value) else ""
        if said:
            key = result.tag.removesuffix("Annotation").lower()
            results[key] = f"{results[key]}, {said}" if key in results else said
    return results


def _in_plane(annotation: Annotation, shapes: Sequence[Element]) -> Annotation:
    """Return an annotation in the plane its shapes are in, if that is not the one it holds."""
    fields = next((item.attrib for item in shapes if {"TheZ", "TheT"} & set(item.attrib)), None)
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
    """Write an OME-XML file."""
    check_unique(annotations)
    base = base_of(annotations, _KIND, path, lambda data: data)
    if base is not None and base.content is not None:
        data, places = _Again(base.content, base.in_place, images).write(base.records, base.rest)
        write_bytes(path, data)
        remember_file(data, base.file, places)
        return ()
    annotations = [without_metadata(annotation) for annotation in annotations]
    root = Element("OME", {"xmlns": _SPACE, "xmlns:xsi": _INSTANCE, "xsi:schemaLocation": _SCHEMA})
    _add_images(root, annotations, images)
    if annotations:
        notes = SubElement(root, "StructuredAnnotations")
        for place, item in enumerate(annotations):
            _add_map(notes, f"{place}", item)
    for place, item in enumerate(annotations):
        _add_roi(root, f"{place}", item, known_size(images, item.image))
    ElementTree.indent(root, " ")
    text = ElementTree.tostring(root, "unicode")
    write_bytes(path, encode_text(f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'))
    return ()


class _Again:
    """A file of another program, whose bytes stay but for what changed in its regions."""

    def __init__(self, data: bytes, in_place: bool, images: Images) -> None:
        self._data, self._in_place, self._images = data, in_place, images
        self._root = xml_places(data)
        self._rois = list(self._root.iter("ROI"))
        self._shown = list(self._root.iter("Image"))
        named = re.match(rb"<([^\s:>]+:)?OME", data[self._root.start : self._root.inner])
        self._prefix = (named[1] or b"").decode("ascii", "replace") if named else ""
        kept = [item for part in self._root.iter("StructuredAnnotations") for item in part.children]
        self._notes = {item.fields.get("ID", ""): item for item in kept}
        # A number behind which nothing of ours stands in the file yet.
        self._free = count(data.count(_OURS.encode()))
        self._edits: list[tuple[int, int, bytes]] = []
        self._new_notes: list[bytes] = []
        self._new_rois: list[bytes] = []

    def write(
        self, records: Mapping[str, Annotation], rest: Sequence[Annotation]
    ) -> tuple[bytes, dict[str, str]]:
        """Return the file with the records in it, and where its ROIs are by where they were."""
        with noting(Notes()):  # all was noted when the file was read
            was = dict(_read_rois("", parse_xml("", self._data)))
        here = {was[int(place)].image for place in records if int(place) in was}
        gone = set()
        for place, before in was.items():
            now = records.get(f"{place}")
            if now is not None:
                if not same_record(before, replace(now, uid=before.uid)):
                    self._update(
                        self._rois[place], before, without_metadata(replace(now, uid=before.uid))
                    )
            elif not self._in_place or (before.image in here and is_deleted(before.region)):
                gone.add(place)
        self._take_out(gone)
        for item in rest:
            self._add(without_metadata(item))
        self._place_new()
        left = [place for place in range(len(self._rois)) if place not in gone]
        return spliced(self._data, self._edits), {f"{at}": f"{n}" for n, at in enumerate(left)}

    def _bytes(self, element: Element) -> bytes:
        for item in element.iter():
            item.tag = f"{self._prefix}{item.tag}"
        return xml_bytes(element)

    def _insert(self, at: int, new: bytes) -> None:
        self._edits.append((at, at, new))

    def _update(self, roi: XmlPlace, was: Annotation, now: Annotation) -> None:
        """Let a ROI say what a record says."""
        shapes = list(roi.iter(*SHAPES))
        moved = not same_drawing(was.region, now.region)
        if moved or was.extra.get(PLANE) != now.extra.get(PLANE) or not shapes:
            self._draw(roi, now)
        else:
            for number, shape in enumerate(shapes):
                if number == 0 or not now.caption:
                    tag = self._data[shape.start : shape.inner]
                    new = with_field(tag, "Text", "" if number else now.caption)
                    self._edits.append((shape.start, shape.inner, new))
        refs = [item for item in roi.children if item.tag == "AnnotationRef"]
        notes = [self._notes.get(item.fields.get("ID", "")) for item in refs]
        ours = [
            item for item in notes if item is not None and item.fields.get("Namespace") == _OURS
        ]
        if ours:
            holder = Element("StructuredAnnotations")
            _add_map(holder, ours[0].fields["ID"].partition(":")[2], now)
            self._edits.append((ours[0].start, ours[0].end, self._bytes(holder[0])))
            return
        uid = self._note(now)
        unions = [item for item in roi.children if item.tag == "Union"]
        behind = (refs or unions)[-1].end if refs or unions else roi.close
        self._insert(behind, self._bytes(Element("AnnotationRef", ID=f"Annotation:{uid}")))

    def _note(self, annotation: Annotation) -> str:
        """Add what a record carries, and return what that is called."""
        uid = f"{_OURS}:{next(self._free)}"
        holder = Element("StructuredAnnotations")
        _add_map(holder, uid, annotation)
        self._new_notes.append(self._bytes(holder[0]))
        return uid

    def _draw(self, roi: XmlPlace, now: Annotation) -> None:
        """Let the shapes of a ROI be those of a record."""
        holder = Element("OME")
        _add_roi(holder, f"{_OURS}:{next(self._free)}", now, known_size(self._images, now.image))
        union = holder[0].find("Union")
        new = b"" if union is None else self._bytes(union)
        old = [item for item in roi.children if item.tag == "Union"]
        self._edits += [(item.start, item.end, b"") for item in old]
        self._insert(old[0].start if old else roi.inner, new)

    def _take_out(self, gone: Collection[int]) -> None:
        """Take ROIs out, and what names them."""
        ids = {self._rois[place].fields.get("ID", "") for place in gone} - {""}
        refs = [item for item in self._root.iter("ROIRef") if item.fields.get("ID") in ids]
        for entry in [*(self._rois[place] for place in gone), *refs]:
            self._edits.append((entry.start, entry.end, b""))

    def _add(self, annotation: Annotation) -> None:
        """Add a region that is new in the file."""
        holder, uid = Element("OME"), self._note(annotation)
        _add_roi(holder, uid, annotation, known_size(self._images, annotation.image))
        self._new_rois.append(self._bytes(holder[0]))
        info = self._images.get(annotation.image)
        names = {annotation.image, *([info.name] if info else [])}
        shown = [item for item in self._shown if item.fields.get("Name") in names]
        shown = shown or (self._shown if len(self._shown) == 1 else [])
        if shown and not shown[0].is_bare:
            inside = [item for item in shown[0].children if item.tag in ("ROIRef", "Pixels")]
            at = inside[-1].end if inside else shown[0].close
            self._insert(at, self._bytes(Element("ROIRef", ID=f"ROI:{uid}")))

    def _place_new(self) -> None:
        """Put what is new where the schema wants it."""
        root = self._root
        parts = [item for item in root.children if item.tag == "StructuredAnnotations"]
        notes = b"".join(self._new_notes)
        if notes and parts and not parts[-1].is_bare:
            self._insert(parts[-1].close, notes)
        elif notes:
            name = f"{self._prefix}StructuredAnnotations".encode()
            made = b"<" + name + b">" + notes + b"</" + name + b">"
            first = next((item.start for item in root.children if item.tag == "ROI"), root.close)
            start, end = (parts[-1].start, parts[-1].end) if parts else (first, first)
            self._edits.append((start, end, made))
        self._insert(root.close, b"".join(self._new_rois))


def _add_images(root: Element, annotations: Sequence[Annotation], images: Images) -> None:
    """Add the images whose sizes are known, with the ROIs on them."""
    places = {id(annotation): place for place, annotation in enumerate(annotations)}
    own = by_image(annotations)
    for number, image in enumerate(name for name in own if name in images):
        info = images[image]
        planes = [time_and_depth(annotation) or (0, 0) for annotation in own[image]]
        made = SubElement(root, "Image", ID=f"Image:{number}", Name=legal(info.name))
        sizes = {"SizeX": info.width, "SizeY": info.height, "SizeC": 1}
        sizes |= {"SizeT": 1 + max(t for t, _ in planes), "SizeZ": 1 + max(z for _, z in planes)}
        about = {"ID": f"Pixels:{number}", "DimensionOrder": "XYZCT", "Type": "uint8"}
        pixels = SubElement(made, "Pixels", about | {name: str(n) for name, n in sizes.items()})
        SubElement(pixels, "MetadataOnly")
        for annotation in own[image]:
            SubElement(made, "ROIRef", ID=f"ROI:{places[id(annotation)]}")


def _add_map(notes: Element, place: str, annotation: Annotation) -> None:
    """Add what a region carries."""
    made = SubElement(notes, "MapAnnotation", ID=f"Annotation:{place}", Namespace=_OURS)
    value = SubElement(made, "Value")
    for name, text in {**record_texts(annotation), _IMAGE: annotation.image}.items():
        key, held = to_pair(name, text)
        SubElement(value, "M", K=key).text = held


def _add_roi(root: Element, place: str, annotation: Annotation, size: Size | None) -> None:
    """Add the shapes of a region."""
    roi = SubElement(root, "ROI", ID=f"ROI:{place}")
    name = legal(annotation.extra.get(NAME, ""))
    if name:
        roi.set("Name", name)
    made = [element_of(item, size) for item in annotation.region.parts()]
    shapes = [item for item in made if item is not None]
    plane = time_and_depth(annotation)
    if shapes:
        SubElement(roi, "Union").extend(shapes)
    for number, shape in enumerate(shapes):
        shape.set("ID", f"Shape:{place}:{number}")
        if annotation.caption and number == 0:
            shape.set("Text", legal(annotation.caption))
        if plane is not None:
            time = {"TheT": str(plane[0])} if " " in annotation.extra[PLANE] else {}
            shape.attrib.update({**time, "TheZ": str(plane[1])})
        shape.attrib.update(_given_looks(annotation))
    SubElement(roi, "AnnotationRef", ID=f"Annotation:{place}")


def _given_looks(annotation: Annotation) -> dict[str, str]:
    """Return the attributes of shapes that a region came with, as far as OME-XML has them."""
    extra = annotation.extra
    texts = {name: extra.get(f"{_STYLE}{name}", "") for name in _STYLES}
    results = {name: text for name, text in texts.items() if _STYLES[name].fullmatch(text)}
    channel = extra.get(CHANNEL, "")
    is_channel = whole_number(channel) is not None and int(channel) < 2**31
    return results | ({"TheC": str(int(channel))} if is_channel else {})


_MOST_PIXELS = 2**28
_FARTHEST = 2**31
_TAGS = {"Rect": "Rectangle", "Circle": "Ellipse", "Text": "Label"}
_ROUND = ("Ellipse", "Point")
SHAPES = (
    *("Rectangle", "Mask", "Ellipse", "Point", "Label", "Line", "Polygon", "Polyline"),
    *_TAGS,
)
"""The elements that are shapes, in any year."""

_SEPARATORS = re.compile(r"[\s,]+")
_CALL = re.compile(r"(\w*)\s*[(\[]([^)\]]*)[)\]]")
_TRANSFORM = ("A00", "A01", "A02", "A10", "A11", "A12")


def element_of(region: Region, size: Size | None) -> Element | None:
    """Return the shape for a region that is no set, without ``ID``; None if it shows nothing."""
    match region:
        case WholeImage():
            if size is None:
                return _element("Label", X=0.0, Y=0.0)
            return _element("Rectangle", X=0.0, Y=0.0, Width=float(size[1]), Height=float(size[0]))
        case Box():
            (x, y), (right, bottom) = corners_xy(region).tolist()
            return _element("Rectangle", X=x, Y=y, Width=right - x, Height=bottom - y)
        case Ellipse():
            return _ellipse(region)
        case Mask():
            return _mask(region)
        case Polygon():
            return Element("Polygon", Points=_points(region.vertices))
        case Point() | Trace():
            if len(region.coords()) > 1:
                return Element("Polyline", Points=_points(region.coords()))
            return _element(
                "Point", **dict(zip("XY", to_xy(region.coords()).ravel(), strict=False))
            )
    return None


def _element(tag: str, **numbers: float) -> Element:
    """Return an element whose attributes are numbers in full precision."""
    return Element(tag, {name: _exact(number) for name, number in numbers.items()})


def _exact(number: float) -> str:
    return repr(float(number)).removesuffix(".0")


def _points(points: npt.ArrayLike) -> str:
    return " ".join(f"{_exact(x)},{_exact(y)}" for x, y in to_xy(points).tolist())


def _ellipse(ellipse: Ellipse) -> Element:
    """Return an ellipse about its centre, turned (and sheared) by a transform."""
    centre, along, across = ellipse_axes(ellipse)
    radii = np.array([np.hypot(*along), np.hypot(*across)])
    turned = np.stack([along, across], axis=1) / np.where(radii > 0, radii, 1)
    x, y = centre.tolist()
    made = _element("Ellipse", X=x, Y=y, RadiusX=float(radii[0]), RadiusY=float(radii[1]))
    if not np.array_equal(abs(turned), np.eye(2)):
        numbers = np.column_stack([turned, centre - turned @ centre]).ravel().tolist()
        made.append(_element("Transform", **dict(zip(_TRANSFORM, numbers, strict=True))))
    return made


def _mask(mask: Mask) -> Element:
    pixels = np.asarray(mask.pixels, bool)
    (row, column), (height, width) = mask.offset, pixels.shape
    made = _element("Mask", X=column, Y=row, Width=width, Height=height)
    text = base64.b64encode(np.packbits(pixels).tobytes()).decode("ascii")
    SubElement(made, "BinData", BigEndian="true", Length=str(len(text))).text = text
    return made


def as_of_today(shape: Element) -> Element:
    """Return a shape of any year with the names and attributes of 2016.

    >>> made = as_of_today(Element("Circle", cx="4", cy="5", r="2", theT="1"))
    >>> made.tag, made.get("X"), made.get("RadiusY"), made.get("TheT")
    ('Ellipse', '4', '2', '1')
    """
    tag = _TAGS.get(shape.tag, shape.tag)
    fields = {name[:1].upper() + name[1:]: text for name, text in shape.attrib.items()}
    for old, new in {"Cx": "X", "Cy": "Y", "Rx": "RadiusX", "Ry": "RadiusY"}.items():
        if tag in _ROUND and old in fields:
            fields.setdefault(new, fields.pop(old))
    if shape.tag == "Circle" and "R" in fields:
        radius = fields.pop("R")
        fields |= {"RadiusX": radius, "RadiusY": radius}
    if tag == "Polyline" and fields.pop("Closed", "").lower() in ("true", "1"):
        tag = "Polygon"
    made = Element(tag, fields)
    made.text = shape.text
    made.extend(shape)
    return made


def region_of(shape: Element) -> Region:
    """Return the region a shape shows; see `as_of_today` for those of earlier years."""
    try:
        region = _upright(shape)
        transform = shape.find("Transform")
        if transform is not None:
            numbers = [float(transform.attrib[name]) for name in _TRANSFORM]
            return _moved(region, np.array(numbers).reshape(2, 3))
        written = shape.get("Transform", "none").strip()
        return region if written in ("", "none") else _moved(region, _matrix_from(written))
    except (KeyError, ValueError, OverflowError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"a {shape.tag} lacks numbers, or they are none") from error


def _numbers(shape: Element, *names: str) -> list[float]:
    numbers = [float(shape.attrib[name]) for name in names]
    _check_places(numbers)
    return numbers


def _check_places(numbers: npt.ArrayLike) -> None:
    """Refuse coordinates that are none, or that no image reaches."""
    if not np.isfinite(numbers).all():
        raise FormatError("a coordinate is not a finite number")
    if (abs(np.asarray(numbers, float)) > _FARTHEST).any():
        raise FormatError("a coordinate lies farther out than any image reaches")


def _upright(shape: Element) -> Region:
    """Return what a shape shows but for its transform."""
    if shape.tag in ("Rectangle", "Mask"):
        x, y, width, height = _numbers(shape, "X", "Y", "Width", "Height")
        if shape.tag == "Mask":
            return _read_mask(shape, (round(x), round(y)), (round(height), round(width)))
        (top, left), (bottom, right) = from_xy([[x, y], [x + width, y + height]]).tolist()
        return Box(top, left, bottom, right)
    if shape.tag == "Ellipse":
        x, y, along, across = _numbers(shape, "X", "Y", "RadiusX", "RadiusY")
        return ellipse_from_axes([x, y], [along, 0], [0, across])
    if shape.tag in ("Point", "Label"):
        return Point(*from_xy(_numbers(shape, "X", "Y"))[0].tolist())
    if shape.tag == "Line":
        return Trace(from_xy(_numbers(shape, "X1", "Y1", "X2", "Y2")))
    if shape.tag in ("Polygon", "Polyline"):
        # Older files say it thrice: points[1,2 3,4] points1[1,2 3,4] points2[1,2 3,4].
        listed = shape.attrib["Points"]
        within = re.match(r"\s*points\[([^\]]*)\]", listed)
        texts = [text for text in _SEPARATORS.split(within[1] if within else listed) if text]
        fewest = 3 if shape.tag == "Polygon" else 1
        if len(texts) % 2 or len(texts) < 2 * fewest:
            raise FormatError(f"a {shape.tag} needs at least {fewest} points of two numbers each")
        points = np.array(texts, float).reshape(-1, 2)
        _check_places(points)
        return Polygon(from_xy(points)) if fewest == 3 else Trace(from_xy(points))
    raise FormatError(f"the shape {shape.tag!r} is unknown")


def _read_mask(shape: Element, corner: tuple[int, int], size: tuple[int, int]) -> Mask:
    """Return the pixels of a mask: a bit each or, as some tools write them, a byte each."""
    count = size[0] * size[1]
    data = next(shape.iter("BinData"), None)
    if data is None or min(size) < 1 or not 0 < count <= _MOST_PIXELS:
        raise FormatError("a Mask has no pixels, or too many")
    charge_pixels(count)
    packed = base64.b64decode("".join((data.text or "").split()), validate=True)
    compression = data.get("Compression", "none")
    if compression != "none":
        packed = _unpacked(packed, compression, count)
    numbers = np.frombuffer(packed, np.uint8)[:count]
    bits = numbers if len(numbers) == count > 1 else np.unpackbits(numbers, count=count)
    if len(numbers) < (count + 7) // 8 or not bits.any():
        raise FormatError("a Mask is empty or cut off")
    return Mask(bits.reshape(size).astype(bool), corner[::-1])


def _unpacked(packed: bytes, compression: str, count: int) -> bytes:
    """Return at most so many bytes of what is compressed."""
    charge_bytes(count)
    try:
        if compression == "zlib":
            return zlib.decompressobj().decompress(packed, count)
        if compression == "bzip2":
            return bz2.BZ2Decompressor().decompress(packed, count)
    except (zlib.error, OSError) as error:
        raise FormatError("a Mask is cut off or damaged") from error
    raise FormatError("a Mask is compressed in a way that is not read; save it uncompressed")


def _matrix_from(text: str) -> npt.NDArray[np.float64]:
    """Return the matrix that a transform as SVG writes it stands for, shape (2, 3)."""
    matrix = np.eye(3)
    for name, inner in _CALL.findall(text):
        numbers = [float(item) for item in _SEPARATORS.split(inner.strip())]
        matrix = matrix @ _step(name, numbers)
    return matrix[:2]


def _step(name: str, numbers: list[float]) -> npt.NDArray[np.float64]:
    """Return the matrix of one step of a transform, shape (3, 3)."""
    match name, numbers:
        case "matrix" | "", [a, b, c, d, e, f]:
            return np.array([[a, c, e], [b, d, f], [0, 0, 1]])
        case "translate", [x, *rest]:
            return np.array([[1, 0, x], [0, 1, rest[0] if rest else 0], [0, 0, 1]])
        case "scale", [x, *rest]:
            return np.diag([x, rest[0] if rest else x, 1])
        case "rotate", [degrees, *centre] if len(centre) in (0, 2):
            x, y = centre or (0.0, 0.0)
            cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
            turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
            result, back = np.eye(3), np.eye(3)
            result[:2, 2], back[:2, 2] = (x, y), (-x, -y)
            return np.asarray(result @ turn @ back)
    raise FormatError(f"the transform {name[:40]!r} is not read")


def _moved(region: Region, matrix: npt.NDArray[np.float64]) -> Region:
    """Return a region under an affine transform of ``x y``."""
    if not np.isfinite(matrix).all():
        raise FormatError("a transform is not finite")
    if np.array_equal(matrix, [[1, 0, 0], [0, 1, 0]]):
        return region

    def move(points: npt.ArrayLike) -> npt.NDArray[np.float64]:
        moved = to_xy(points) @ matrix[:, :2].T + matrix[:, 2]
        _check_places(moved)
        return from_xy(moved)

    match region:
        case Box() if not matrix[[0, 1], [1, 0]].any():
            low, high = np.sort(move(region.coords()[[0, 2]]), axis=0).tolist()
            return Box(*low, *high)
        case Box() | Polygon():
            return Polygon(move(region.coords()))
        case Ellipse():
            return Ellipse(move(region.corners))
        case Point():
            return Point(*move(region.coords())[0].tolist())
        case Trace():
            return Trace(move(region.points))
        case Mask():
            return _moved_mask(region, matrix)
    raise FormatError("a shape with such a transform cannot be read")


def _moved_mask(mask: Mask, matrix: npt.NDArray[np.float64]) -> Mask:
    """Return a mask elsewhere; its outline is moved unless it stays upright in whole pixels."""
    whole = np.rint(matrix)
    if np.array_equal(matrix[:, :2], np.eye(2)) and np.array_equal(matrix, whole):
        right, down = (int(step) for step in whole[:, 2])
        return Mask(mask.pixels, (mask.offset[0] + down, mask.offset[1] + right))
    rings = [to_xy(ring) @ matrix[:, :2].T + matrix[:, 2] for ring in mask.rings()]
    result = mask_from_rings(rings)
    if result is None:
        raise FormatError("a Mask has no pixels, or too many, once its transform moves it")
    return result


def shown(region: Region, size: Size | None) -> Region | None:
    """Return what a file shows for a region that is no set."""
    shape = element_of(region, size)
    return None if shape is None else region_of(shape)


FORMAT = Format("ome-xml", "OME-XML regions of interest", (".ome.xml",), read, write, knows)
