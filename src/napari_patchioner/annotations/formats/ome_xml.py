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
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np
import numpy.typing as npt

from napari_patchioner import regions
from napari_patchioner.annotations import metadata, texts, xy
from napari_patchioner.annotations.files import encode_text, write_bytes
from napari_patchioner.annotations.images import Images, Size, known_size
from napari_patchioner.annotations.metadata import without_metadata
from napari_patchioner.annotations.names import NAME, is_name, shared_names
from napari_patchioner.annotations.napari_shapes import CHANNEL, PLANE, plane_text, time_and_depth
from napari_patchioner.annotations.notes import Notes, leaving_out, naming, note, noting
from napari_patchioner.annotations.record import Annotation
from napari_patchioner.annotations.texts import by_image
from napari_patchioner.annotations.xy import corners_xy, from_xy, to_xy
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import charge_bytes, charge_pixels

from . import xml
from .bundle import read_bundle
from .head import Format, Head
from .json_arrays import whole_number

_SPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_SCHEMA = f"{_SPACE} {_SPACE}/ome.xsd"
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
_SPACES, _YEARS_AGAIN = "http://www.openmicroscopy.org/Schemas/OME/", ("2015-01", "2016-06")
_OURS = "napari-patchioner"
_KIND = "ome-xml"
_OUR_PIXELS = {"ID", "DimensionOrder", "Type", "SizeX", "SizeY", "SizeZ", "SizeC", "SizeT"}
_IMAGE = "image"
_NOTES = "StructuredAnnotations"
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
_MOST_PIXELS = 2**28
_FARTHEST = 2**31
_TAGS = {"Rect": "Rectangle", "Circle": "Ellipse", "Text": "Label"}
# The elements that are shapes, in any year.
_SHAPES = ("Rectangle", "Mask", "Ellipse", "Point", "Label", "Line", "Polygon", "Polyline", *_TAGS)
_SEPARATORS = re.compile(r"[\s,]+")
_CALL = re.compile(r"(\w*)\s*[(\[]([^)\]]*)[)\]]")
_TRANSFORM = ("A00", "A01", "A02", "A10", "A11", "A12")


def knows(head: Head) -> bool:
    """Return whether a file is OME-XML."""
    return head.text.lstrip().startswith("<") and bool(_ROOT.search(head.text))


def read(path: Path) -> list[Annotation]:
    """Read the regions in an OME-XML file of any year, one per ROI; several shapes are a set."""
    data = read_bundle(path)[path.name]
    root = xml.parse_xml(path.name, data)
    if root.tag != "OME":
        raise FormatError(f"{path.name}: is no OME-XML; its root is {root.tag!r}")
    plain, again = _is_plain(root), False
    if not plain:
        start = data[root.start : root.inner]
        stands = all(item.inner for item in root.iter())
        again = stands and any(f"{_SPACES}{year}".encode() in start for year in _YEARS_AGAIN)
    if not (plain or again):
        note(
            "not kept",
            f"{path.name}: is not of a year or in an encoding of OME-XML that is written again as "
            "it was; of a result over it, keep a copy: only regions would stay",
        )
    rois = _read_rois(path.name, root)
    if again:
        file = metadata.remember_file(data)
        rois = {
            at: metadata.with_metadata(item, _KIND, file, at, None) for at, item in rois.items()
        }
    return texts.with_unique_uids(rois.values())


def _read_rois(name: str, root: Any) -> dict[int, Annotation]:
    """Return the regions of a file by which of its ROIs each is."""
    images = _images_of(name, root)
    notes = {item.get("ID", ""): item for item in root.iter() if item.tag.endswith("Annotation")}
    shared = shared_names(roi.get("Name", "") for roi in root.iter("ROI"))
    results: dict[int, Annotation] = {}
    for place, roi in enumerate(root.iter("ROI")):
        where = f"{name}: ROI {roi.get('ID') or roi.get('Name') or place + 1}"
        with leaving_out("region", where), naming(where):
            record = _read_roi(roi, str(place), images[id(roi)], notes, shared)
            if record is not None:
                results[place] = record
    return results


def _is_plain(root: Element) -> bool:
    """Whether a file holds nothing that we would not write ourselves."""
    notes = [item for part in root.iter(_NOTES) for item in part]
    images = [
        (image, next(image.iter("Pixels"), Element("Pixels"))) for image in root.iter("Image")
    ]
    return (
        {item.tag for item in root} <= {"Image", _NOTES, "ROI"}
        and all(item.get("Namespace") == _OURS for item in notes)
        and all(
            set(image.attrib) <= {"ID", "Name"}
            and {item.tag for item in image} <= {"Pixels", "ROIRef"}
            and set(pixels.attrib) <= _OUR_PIXELS
            and {item.tag for item in pixels} <= {"MetadataOnly"}
            and (pixels.get("Type"), pixels.get("SizeC")) == ("uint8", "1")
            for image, pixels in images
        )
        and all(
            len(list(roi.iter("AnnotationRef"))) == 1 and set(roi.attrib) <= {"ID", "Name"}
            for roi in root.iter("ROI")
        )
    )


def _images_of(file: str, root: Element) -> dict[int, tuple[str, Size | None]]:
    """Return the name and the size of the image that each ROI is on, by the ids of elements."""
    known: dict[str | int, tuple[str, Size | None]] = {}
    images = list(root.iter("Image"))
    # Where nothing tells, and there is but one image, it is that one.
    only: tuple[str, Size | None] = ("", None)
    for image in images:
        # Where there are several, an image without a name is not any image.
        name = image.get("Name", "") or (image.get("ID", "") if len(images) > 1 else "")
        pixels = next(image.iter("Pixels"), Element("Pixels"))
        height, width = (whole_number(pixels.get(side, "")) for side in ("SizeY", "SizeX"))
        named = (name, (height, width) if height and width else None)
        for ref in image.iter("ROIRef"):
            uid = ref.get("ID", "")
            if known.get(uid, named) != named:
                note("images", f"{file}: ROI {uid} is on several images; it counts for {name!r}")
            known[uid] = named
        known |= {id(roi): named for roi in image.iter("ROI")}
        only = named if len(images) == 1 else only
    results: dict[int, tuple[str, Size | None]] = {}
    for roi in root.iter("ROI"):
        uid = roi.get("ID", "")
        results[id(roi)] = known.get(uid) or known.get(id(roi)) or only
        if len(images) > 1 and results[id(roi)] is only:
            note(
                "no image",
                f"{file}: ROI {uid} is on none of the images in the file; it counts for any image",
            )
    return results


def _read_roi(
    roi: Element,
    uid: str,
    on: tuple[str, Size | None],
    notes: Mapping[str, Element],
    shared: Collection[str],
) -> Annotation | None:
    """Return the annotation of one ROI, if it shows anything."""
    shapes = [as_of_today(shape) for shape in _shapes(roi)]
    held = _texts(roi, notes)
    image, size = held.pop(_IMAGE, on[0]), on[1]
    said = next((shape.get("Text", "") for shape in shapes if shape.get("Text")), "")
    if "wkt" not in held:
        said = _described(roi, shapes, held, shared)
        fields = shapes[0].attrib if shapes else {}
        styles = {f"{_STYLE}{name}": fields[name] for name in _STYLES if name in fields}
        channel = fields.get("TheC", "")
        styles |= {CHANNEL: channel} if whole_number(channel) is not None else {}
        held |= {**styles, **held}
    union = not held.get("members", "").startswith("sum")
    drawn = texts.as_one([region_of(shape) for shape in shapes], union)
    if drawn is None and "wkt" not in held:
        return None

    def show(region: regions.Region) -> regions.Region | None:
        return texts.shown_as(region, lambda part: shown(part, size), union)

    record = texts.annotation_from_texts(
        held, drawn=drawn, image=image, caption=said, uid=uid, shown=show, shown_caption=xml.legal
    )
    return _in_plane(record, shapes)


def _described(
    roi: Element, shapes: Sequence[Element], held: dict[str, str], shared: Collection[str]
) -> str:
    """Return the caption of a ROI of somebody else, and note among the texts what it is called."""
    written = [(shape.tag, shape.get("Text", "")) for shape in shapes]
    name = roi.get("Name", "")
    said = [
        # What is typed on the picture is a caption whatever it says.
        *(text for tag, text in written if tag == "Label"),
        *(text for _, text in written if not is_name(text, 1)),
        (roi.findtext("Description") or "").strip(),
        "" if is_name(name, shared=shared) else name,
    ]
    caption = next(filter(None, said), "")
    others = [name, *(text for _, text in written)]
    called = next((text for text in others if text and text != caption), "")
    if called:
        held.setdefault(NAME, called)
    return caption


def _shapes(element: Element, outer: Mapping[str, str] | None = None) -> list[Element]:
    """Return the shapes of a ROI; in older files they stand within ``Shape`` elements."""
    results: list[Element] = []
    if element.tag == "ROI" and {"X0", "Y0", "X1", "Y1"} <= set(element.attrib):
        # The rectangle that a ROI of the first years is.
        with naming(why="X0, Y0, X1 and Y1 must be numbers"):
            x, y, right, bottom = (float(element.attrib[name]) for name in ("X0", "Y0", "X1", "Y1"))
        sides = {"X": x, "Y": y, "Width": right - x, "Height": bottom - y}
        made = Element("Rectangle", {name: repr(number) for name, number in sides.items()})
        for axis in "TZ":
            first = element.get(f"{axis}0")
            if first is not None and first == element.get(f"{axis}1"):
                made.set(f"The{axis}", first)
        results.append(made)
    for item in element:
        if item.tag in _SHAPES:
            item.attrib.update(outer or {})
            results.append(item)
        elif item.tag in ("Union", "ShapeGroup", "Shape"):
            inner = _shapes(item, item.attrib if item.tag == "Shape" else outer)
            for shape in inner if item.tag == "Shape" else ():
                shape.extend(child for child in item if child.tag == "Transform")
            results += inner
        elif item.tag not in _BESIDE and element.tag != "ROI":
            raise FormatError(f"the shape {item.tag!r} is unknown")
    return results


def _texts(roi: Element, notes: Mapping[str, Element]) -> dict[str, str]:
    """Return the pairs of the map annotations of a ROI, and what other annotations say."""
    results: dict[str, str] = {}
    for ref in roi.iter("AnnotationRef"):
        held = notes.get(ref.get("ID", ""), Element("Annotation"))
        pairs = (xml.from_pair(pair.get("K") or "", pair.text or "") for pair in held.iter("M"))
        results |= {name: text for name, text in pairs if name}
        value = held.find("Value")
        said = (value.text or "").strip() if value is not None and not len(value) else ""
        if said:
            key = held.tag.removesuffix("Annotation").lower()
            results[key] = f"{results[key]}, {said}" if key in results else said
    return results


def _in_plane(annotation: Annotation, shapes: Sequence[Element]) -> Annotation:
    """Return an annotation in the plane its shapes are in, if that is not the one it holds."""
    fields = next((item.attrib for item in shapes if {"TheZ", "TheT"} & set(item.attrib)), {})
    numbers: list[int | None] = []
    for text in (fields.get("TheT", ""), fields.get("TheZ", "")):
        number = whole_number(text)
        if text and number is None and text.strip() != "-1":  # which is on all planes
            raise FormatError("TheZ and TheT must be whole numbers")
        numbers.append(number)
    time, depth = numbers
    same = (time or 0, depth or 0) == time_and_depth(annotation)
    if same or (time is None and depth is None):
        return annotation
    if " " not in annotation.extra.get(PLANE, " ") and not time:
        time = None  # the record leaves the time open
    return replace(annotation, extra={**annotation.extra, PLANE: plane_text(time, depth)})


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write an OME-XML file."""
    base = metadata.base_of(annotations, _KIND, path, bytes)
    if base is not None and base.content is not None:
        data, places = _Again(base.content, base.in_place, images).write(base.records, base.rest)
        write_bytes(path, data)
        metadata.remember_file(data, base.file, places)
        return ()
    annotations = [without_metadata(annotation) for annotation in annotations]
    root = Element("OME", {"xmlns": _SPACE, "xmlns:xsi": _INSTANCE, "xsi:schemaLocation": _SCHEMA})
    # The images whose sizes are known, with the ROIs on them.
    numbers = {id(annotation): number for number, annotation in enumerate(annotations)}
    listed = [(image, own) for image, own in by_image(annotations).items() if image in images]
    for number, (image, own) in enumerate(listed):
        info = images[image]
        planes = [time_and_depth(annotation) or (0, 0) for annotation in own]
        made = SubElement(root, "Image", ID=f"Image:{number}", Name=xml.legal(info.name))
        sizes = {"SizeX": info.width, "SizeY": info.height, "SizeC": 1}
        sizes |= {"SizeT": 1 + max(t for t, _ in planes), "SizeZ": 1 + max(z for _, z in planes)}
        about = {"ID": f"Pixels:{number}", "DimensionOrder": "XYZCT", "Type": "uint8"}
        pixels = SubElement(made, "Pixels", about | {name: str(n) for name, n in sizes.items()})
        SubElement(pixels, "MetadataOnly")
        for annotation in own:
            SubElement(made, "ROIRef", ID=f"ROI:{numbers[id(annotation)]}")
    if annotations:
        notes = SubElement(root, _NOTES)
        notes.extend(_map_of(f"{place}", item) for place, item in enumerate(annotations))
    for place, item in enumerate(annotations):
        root.append(_roi_of(f"{place}", item, known_size(images, item.image)))
    ElementTree.indent(root, " ")
    text = ElementTree.tostring(root, "unicode")
    write_bytes(path, encode_text(f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'))
    return ()


class _Again:
    """A file of another program, whose bytes stay but for what changed in its regions."""

    def __init__(self, data: bytes, in_place: bool, images: Images) -> None:
        self._data, self._in_place, self._images = data, in_place, images
        self._root: Any = xml.parse_xml("", data)
        self._rois = list(self._root.iter("ROI"))
        named = re.match(rb"<([^\s:>]+:)?OME", data[self._root.start : self._root.inner])
        self._prefix = (named[1] or b"").decode("ascii", "replace") if named else ""
        self._notes = {
            item.get("ID", ""): item for part in self._root.iter(_NOTES) for item in part
        }
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
            was = _read_rois("", xml.parse_xml("", self._data))
        here = {was[int(place)].image for place in records if int(place) in was}
        gone = set()
        for place, before in was.items():
            now = records.get(f"{place}")
            if now is not None:
                now = replace(now, uid=before.uid)
                if not metadata.same_record(before, now):
                    self._update(self._rois[place], before, without_metadata(now))
            elif not self._in_place or (
                before.image in here and metadata.is_deleted(before.region)
            ):
                gone.add(place)
        # ROIs that are gone, and what names them.
        taken_out = [self._rois[place] for place in gone]
        ids = {roi.get("ID", "") for roi in taken_out} - {""}
        taken_out += [item for item in self._root.iter("ROIRef") if item.get("ID") in ids]
        self._edits += [(item.start, item.end, b"") for item in taken_out]
        for item in rest:
            self._add(without_metadata(item))
        # What is new stands where the schema wants it.
        root = self._root
        parts = [item for item in root if item.tag == _NOTES]
        notes = b"".join(self._new_notes)
        if notes and parts and not parts[-1].is_bare:
            self._insert(parts[-1].close, notes)
        elif notes:
            name = f"{self._prefix}{_NOTES}".encode()
            made = b"<" + name + b">" + notes + b"</" + name + b">"
            first = next((item.start for item in root if item.tag == "ROI"), root.close)
            start, end = (parts[-1].start, parts[-1].end) if parts else (first, first)
            self._edits.append((start, end, made))
        self._insert(root.close, b"".join(self._new_rois))
        left = [place for place in range(len(self._rois)) if place not in gone]
        return xml.spliced(self._data, self._edits), {f"{at}": f"{n}" for n, at in enumerate(left)}

    def _bytes(self, element: Element) -> bytes:
        for item in element.iter():
            item.tag = f"{self._prefix}{item.tag}"
        return xml.xml_bytes(element)

    def _insert(self, at: int, new: bytes) -> None:
        self._edits.append((at, at, new))

    def _update(self, roi: Any, was: Annotation, now: Annotation) -> None:
        """Let a ROI say what a record says."""
        shapes = [item for item in roi.iter() if item.tag in _SHAPES]
        old = [item for item in roi if item.tag == "Union"]
        moved = not regions.same_drawing(was.region, now.region)
        if moved or was.extra.get(PLANE) != now.extra.get(PLANE) or not shapes:
            uid = f"{_OURS}:{next(self._free)}"
            union = _roi_of(uid, now, known_size(self._images, now.image)).find("Union")
            self._edits += [(item.start, item.end, b"") for item in old]
            new = b"" if union is None else self._bytes(union)
            self._insert(old[0].start if old else roi.inner, new)
        else:
            for number, shape in enumerate(shapes):
                if number == 0 or not now.caption:
                    tag = self._data[shape.start : shape.inner]
                    new = xml.with_field(tag, "Text", "" if number else now.caption)
                    self._edits.append((shape.start, shape.inner, new))
        refs = [item for item in roi if item.tag == "AnnotationRef"]
        for note_of in (self._notes.get(item.get("ID", "")) for item in refs):
            if note_of is not None and note_of.get("Namespace") == _OURS:
                new = self._bytes(_map_of(note_of.attrib["ID"].partition(":")[2], now))
                self._edits.append((note_of.start, note_of.end, new))
                return
        behind = (refs or old)[-1].end if refs or old else roi.close
        ref = Element("AnnotationRef", ID=f"Annotation:{self._note(now)}")
        self._insert(behind, self._bytes(ref))

    def _note(self, annotation: Annotation) -> str:
        """Add what a record carries, and return what that is called."""
        uid = f"{_OURS}:{next(self._free)}"
        self._new_notes.append(self._bytes(_map_of(uid, annotation)))
        return uid

    def _add(self, annotation: Annotation) -> None:
        """Add a region that is new in the file."""
        uid = self._note(annotation)
        size = known_size(self._images, annotation.image)
        self._new_rois.append(self._bytes(_roi_of(uid, annotation, size)))
        info = self._images.get(annotation.image)
        names = {annotation.image, *([info.name] if info else [])}
        images = list(self._root.iter("Image"))
        shown = [item for item in images if item.get("Name") in names]
        shown = shown or (images if len(images) == 1 else [])
        if shown and not shown[0].is_bare:
            inside = [item for item in shown[0] if item.tag in ("ROIRef", "Pixels")]
            at = inside[-1].end if inside else shown[0].close
            self._insert(at, self._bytes(Element("ROIRef", ID=f"ROI:{uid}")))


def _map_of(place: str, annotation: Annotation) -> Element:
    """Return what a region carries."""
    made = Element("MapAnnotation", ID=f"Annotation:{place}", Namespace=_OURS)
    value = SubElement(made, "Value")
    for pair in {**texts.record_texts(annotation), _IMAGE: annotation.image}.items():
        key, held = xml.to_pair(*pair)
        SubElement(value, "M", K=key).text = held
    return made


def _roi_of(place: str, annotation: Annotation, size: Size | None) -> Element:
    """Return a region with its shapes."""
    extra = annotation.extra
    roi = Element("ROI", ID=f"ROI:{place}")
    if name := xml.legal(extra.get(NAME, "")):
        roi.set("Name", name)
    made = [element_of(item, size) for item in annotation.region.parts()]
    shapes = [item for item in made if item is not None]
    # What all shapes say: the plane, and the looks they came with, as far as OME-XML has them.
    plane = time_and_depth(annotation)
    fields = {} if plane is None else {"TheZ": str(plane[1])}
    if plane is not None and " " in extra[PLANE]:
        fields = {"TheT": str(plane[0]), **fields}
    styles = {name: extra.get(f"{_STYLE}{name}", "") for name in _STYLES}
    fields |= {name: text for name, text in styles.items() if _STYLES[name].fullmatch(text)}
    channel = whole_number(extra.get(CHANNEL, ""))
    fields |= {"TheC": str(channel)} if channel is not None and channel < 2**31 else {}
    if shapes:
        SubElement(roi, "Union").extend(shapes)
    for number, shape in enumerate(shapes):
        shape.set("ID", f"Shape:{place}:{number}")
        if annotation.caption and number == 0:
            shape.set("Text", xml.legal(annotation.caption))
        shape.attrib.update(fields)
    SubElement(roi, "AnnotationRef", ID=f"Annotation:{place}")
    return roi


def element_of(region: regions.Region, size: Size | None) -> Element | None:
    """Return the shape for a region that is no set, without ``ID``; None if it shows nothing."""
    match region:
        case regions.WholeImage():
            if size is None:
                return _element("Label", X=0.0, Y=0.0)
            return _element("Rectangle", X=0.0, Y=0.0, Width=float(size[1]), Height=float(size[0]))
        case regions.Box():
            (x, y), (right, bottom) = corners_xy(region).tolist()
            return _element("Rectangle", X=x, Y=y, Width=right - x, Height=bottom - y)
        case regions.Ellipse():
            # About its centre, turned (and sheared) by a transform.
            centre, along, across = xy.ellipse_axes(region)
            radii = np.array([np.hypot(*along), np.hypot(*across)])
            turned = np.stack([along, across], axis=1) / np.where(radii > 0, radii, 1)
            (x, y), (wide, high) = centre.tolist(), radii.tolist()
            made = _element("Ellipse", X=x, Y=y, RadiusX=wide, RadiusY=high)
            if not np.array_equal(abs(turned), np.eye(2)):
                numbers = np.column_stack([turned, centre - turned @ centre]).ravel().tolist()
                made.append(_element("Transform", **dict(zip(_TRANSFORM, numbers, strict=True))))
            return made
        case regions.Mask():
            pixels = np.asarray(region.pixels, bool)
            (row, column), (height, width) = region.offset, pixels.shape
            made = _element("Mask", X=column, Y=row, Width=width, Height=height)
            text = base64.b64encode(np.packbits(pixels).tobytes()).decode("ascii")
            SubElement(made, "BinData", BigEndian="true", Length=str(len(text))).text = text
            return made
        case regions.Polygon() | regions.Point() | regions.Trace():
            points = to_xy(region.coords())
            listed = " ".join(f"{_exact(x)},{_exact(y)}" for x, y in points.tolist())
            if isinstance(region, regions.Polygon) or len(points) > 1:
                return Element(
                    "Polygon" if isinstance(region, regions.Polygon) else "Polyline", Points=listed
                )
            return _element("Point", **dict(zip("XY", points.ravel(), strict=False)))
    return None


def _element(tag: str, **numbers: float) -> Element:
    """Return an element whose attributes are numbers in full precision."""
    return Element(tag, {name: _exact(number) for name, number in numbers.items()})


def _exact(number: float) -> str:
    return repr(float(number)).removesuffix(".0")


def as_of_today(shape: Element) -> Element:
    """Return a shape of any year with the names and attributes of 2016.

    >>> made = as_of_today(Element("Circle", cx="4", cy="5", r="2", theT="1"))
    >>> made.tag, made.get("X"), made.get("RadiusY"), made.get("TheT")
    ('Ellipse', '4', '2', '1')
    """
    tag = _TAGS.get(shape.tag, shape.tag)
    fields = {name[:1].upper() + name[1:]: text for name, text in shape.attrib.items()}
    for old, new in {"Cx": "X", "Cy": "Y", "Rx": "RadiusX", "Ry": "RadiusY"}.items():
        if tag in ("Ellipse", "Point") and old in fields:
            fields.setdefault(new, fields.pop(old))
    if shape.tag == "Circle" and "R" in fields:
        fields["RadiusX"] = fields["RadiusY"] = fields.pop("R")
    if tag == "Polyline" and fields.pop("Closed", "").lower() in ("true", "1"):
        tag = "Polygon"
    made = Element(tag, fields)
    made.text = shape.text
    made.extend(shape)
    return made


def region_of(shape: Element) -> regions.Region:
    """Return the region a shape shows; see `as_of_today` for those of earlier years."""
    with naming(why=f"a {shape.tag} lacks numbers, or they are none"):
        region = _upright(shape)
        transform = shape.find("Transform")
        if transform is not None:
            numbers = [float(transform.attrib[name]) for name in _TRANSFORM]
            return _moved(region, np.array(numbers).reshape(2, 3))
        written = shape.get("Transform", "none").strip()
        return region if written in ("", "none") else _moved(region, _matrix_from(written))


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


def _upright(shape: Element) -> regions.Region:
    """Return what a shape shows but for its transform."""
    if shape.tag in ("Rectangle", "Mask"):
        x, y, width, height = _numbers(shape, "X", "Y", "Width", "Height")
        if shape.tag == "Mask":
            return _read_mask(shape, (round(x), round(y)), (round(height), round(width)))
        (top, left), (bottom, right) = from_xy([[x, y], [x + width, y + height]]).tolist()
        return regions.Box(top, left, bottom, right)
    if shape.tag == "Ellipse":
        x, y, along, across = _numbers(shape, "X", "Y", "RadiusX", "RadiusY")
        return xy.ellipse_from_axes([x, y], [along, 0], [0, across])
    if shape.tag in ("Point", "Label"):
        return regions.Point(*from_xy(_numbers(shape, "X", "Y"))[0].tolist())
    if shape.tag == "Line":
        return regions.Trace(from_xy(_numbers(shape, "X1", "Y1", "X2", "Y2")))
    if shape.tag in ("Polygon", "Polyline"):
        # Older files say it thrice: points[1,2 3,4] points1[1,2 3,4] points2[1,2 3,4].
        listed = shape.attrib["Points"]
        within = re.match(r"\s*points\[([^\]]*)\]", listed)
        numbers = [text for text in _SEPARATORS.split(within[1] if within else listed) if text]
        fewest = 3 if shape.tag == "Polygon" else 1
        if len(numbers) % 2 or len(numbers) < 2 * fewest:
            raise FormatError(f"a {shape.tag} needs at least {fewest} points of two numbers each")
        points = np.array(numbers, float).reshape(-1, 2)
        _check_places(points)
        return regions.Polygon(from_xy(points)) if fewest == 3 else regions.Trace(from_xy(points))
    raise FormatError(f"the shape {shape.tag!r} is unknown")


def _read_mask(shape: Element, corner: tuple[int, int], size: Size) -> regions.Mask:
    """Return the pixels of a mask: a bit each or, as some tools write them, a byte each."""
    number = size[0] * size[1]
    data = next(shape.iter("BinData"), None)
    if data is None or min(size) < 1 or not 0 < number <= _MOST_PIXELS:
        raise FormatError("a Mask has no pixels, or too many")
    charge_pixels(number)
    packed = base64.b64decode("".join((data.text or "").split()), validate=True)
    compression = data.get("Compression", "none")
    if compression != "none":
        charge_bytes(number)
        unpackers: dict[str, Any] = {"zlib": zlib.decompressobj, "bzip2": bz2.BZ2Decompressor}
        if compression not in unpackers:
            raise FormatError(
                "a Mask is compressed in a way that is not read; save it uncompressed"
            )
        try:
            packed = unpackers[compression]().decompress(packed, number)
        except (zlib.error, OSError) as error:
            raise FormatError("a Mask is cut off or damaged") from error
    listed = np.frombuffer(packed, np.uint8)[:number]
    bits = listed if len(listed) == number > 1 else np.unpackbits(listed, count=number)
    if len(listed) < (number + 7) // 8 or not bits.any():
        raise FormatError("a Mask is empty or cut off")
    return regions.Mask(bits.reshape(size).astype(bool), corner[::-1])


def _matrix_from(text: str) -> xy.FloatArray:
    """Return the matrix that a transform as SVG writes it stands for, shape (2, 3)."""
    matrix = np.eye(3)
    for name, inner in _CALL.findall(text):
        match name, [float(item) for item in _SEPARATORS.split(inner.strip())]:
            case "matrix" | "", [a, b, c, d, e, f]:
                step = np.array([[a, c, e], [b, d, f], [0, 0, 1]])
            case "translate", [x, *rest]:
                step = np.array([[1, 0, x], [0, 1, rest[0] if rest else 0], [0, 0, 1]])
            case "scale", [x, *rest]:
                step = np.diag([x, rest[0] if rest else x, 1])
            case "rotate", [degrees, *centre] if len(centre) in (0, 2):
                x, y = centre or (0.0, 0.0)
                cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
                turn = np.array([[cos, -sin], [sin, cos]])
                step = np.vstack([np.column_stack([turn, [x, y] - turn @ [x, y]]), [0, 0, 1]])
            case _:
                raise FormatError(f"the transform {name[:40]!r} is not read")
        matrix = matrix @ step
    return matrix[:2]


def _moved(region: regions.Region, matrix: npt.NDArray[np.float64]) -> regions.Region:
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
        case regions.Box() if not matrix[[0, 1], [1, 0]].any():
            low, high = np.sort(move(region.coords()[[0, 2]]), axis=0).tolist()
            return regions.Box(*low, *high)
        case regions.Box() | regions.Polygon():
            return regions.Polygon(move(region.coords()))
        case regions.Ellipse():
            return regions.Ellipse(move(region.corners))
        case regions.Point():
            return regions.Point(*move(region.coords())[0].tolist())
        case regions.Trace():
            return regions.Trace(move(region.points))
        case regions.Mask():
            whole = np.rint(matrix)
            if np.array_equal(matrix[:, :2], np.eye(2)) and np.array_equal(matrix, whole):
                right, down = (int(step) for step in whole[:, 2])
                return regions.Mask(
                    region.pixels, (region.offset[0] + down, region.offset[1] + right)
                )
            # Its outline is moved unless it stays upright in whole pixels.
            rings = [to_xy(ring) @ matrix[:, :2].T + matrix[:, 2] for ring in region.rings()]
            moved_mask = xy.mask_from_rings(rings)
            if moved_mask is None:
                raise FormatError("a Mask has no pixels, or too many, once its transform moves it")
            return moved_mask
    raise FormatError("a shape with such a transform cannot be read")


def shown(region: regions.Region, size: Size | None) -> regions.Region | None:
    """Return what a file shows for a region that is no set."""
    shape = element_of(region, size)
    return None if shape is None else region_of(shape)


FORMAT = Format("ome-xml", "OME-XML regions of interest", (".ome.xml",), read, write, knows)
