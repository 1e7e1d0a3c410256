"""OME-XML: regions as OMERO, Bio-Formats and QuPath know them, one ``ROI`` per region.

The caption is the ``Text`` of the first shape; all OME has no place for stands in a map annotation
of the ROI. The plane is ``TheZ`` and ``TheT``. Images stand in the file with their sizes, without
pixels; of an image whose size nobody told, only the regions do.

In files of others, a shape's ``Text`` and the ROI's ``Description`` are captions, and so is its
``Name`` where it reads like one (`_region_names`). What else shapes and ROIs say (colours, widths,
channels, annotations) are extras, and goes back. Such a file of 2015 or 2016 is written again byte
for byte, but for the ROIs that changed and what is new in it; of older ones the regions alone.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

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
    METADATA,
    annotation_from_texts,
    as_one,
    record_texts,
    shown_as,
    with_unique_uids,
)
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import same_drawing

from ._bundle import read_bundle
from ._json_file import whole_number
from ._ome_shapes import SHAPES, Size, as_of_today, element_of, region_of, shown
from ._xml import (
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
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from napari_patchioner.annotations.images import Images
    from napari_patchioner.annotations.record import Annotation
    from napari_patchioner.regions import Region

    from ._head import Head

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
    found = _read_rois(path.name, root)
    if again:
        file = remember_file(data)
        found = [(at, with_metadata(one, _KIND, file, at, None)) for at, one in found]
    return with_unique_uids(one for _, one in found)


def _read_rois(name: str, root: Element) -> list[tuple[int, Annotation]]:
    """Return the regions of a file, and which of its ROIs each is."""
    images = _Images(name, root)
    notes = {one.get("ID", ""): one for one in root.iter() if one.tag.endswith("Annotation")}
    shared = shared_names(roi.get("Name", "") for roi in root.iter("ROI"))
    found: list[tuple[int, Annotation]] = []
    for place, roi in enumerate(root.iter("ROI")):
        called = roi.get("ID") or roi.get("Name") or place + 1
        with leaving_out("region", f"{name}: ROI {called}"):
            try:
                read = _read_roi(roi, str(place), images, notes, shared)
                found += [(place, one) for one in read]
            except FormatError as error:
                raise FormatError(f"{name}: ROI {called}: {error}") from error
    return found


def _is_ours(root: Element) -> bool:
    """Whether a file holds nothing that we would not write ourselves."""
    notes = [one for part in root.iter("StructuredAnnotations") for one in part]
    if {one.tag for one in root} - {"Image", "StructuredAnnotations", "ROI"}:
        return False
    if any(one.get("Namespace") != _OURS for one in notes):
        return False
    for image in root.iter("Image"):
        pixels = next(image.iter("Pixels"), Element("Pixels"))
        if set(image.attrib) - {"ID", "Name"} or {one.tag for one in image} - {"Pixels", "ROIRef"}:
            return False
        if set(pixels.attrib) - _OUR_PIXELS or {one.tag for one in pixels} - {"MetadataOnly"}:
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
    roi: Element,
    uid: str,
    images: _Images,
    notes: Mapping[str, Element],
    shared: Collection[str],
) -> Iterator[Annotation]:
    """Yield the annotation of one ROI, if it shows anything."""
    shapes = [as_of_today(shape) for shape in _shapes(roi)]
    texts = _texts(roi, notes)
    named, size = images.of(roi)
    image = texts.pop(_IMAGE, named)
    said = next((shape.get("Text", "") for shape in shapes if shape.get("Text")), "")
    if "wkt" not in texts:
        said = _described(roi, shapes, texts, shared)
        texts |= {**_looks(shapes), **texts}
    union = not texts.get("members", "").startswith("sum")
    drawn = as_one([region_of(shape) for shape in shapes], union)
    if drawn is None and "wkt" not in texts:
        return

    def show(region: Region) -> Region | None:
        return shown_as(region, lambda part: shown(part, size), union)

    found = annotation_from_texts(
        texts, drawn=drawn, image=image, caption=said, uid=uid, shown=show, told=legal
    )
    yield _in_plane(found, shapes)


def _described(
    roi: Element, shapes: Sequence[Element], texts: dict[str, str], shared: Collection[str]
) -> str:
    """Return the caption of a ROI of somebody else, and note among the texts what it is called."""
    # What is typed on the picture is a caption whatever it says.
    typed = [one.get("Text", "") for one in shapes if one.tag == "Label" and one.get("Text")]
    written = [text for one in shapes if (text := one.get("Text", "")) and not is_name(text, 1)]
    description = (roi.findtext("Description") or "").strip()
    name = roi.get("Name", "")
    said = [*typed, *written, description, "" if is_name(name, shared=shared) else name, ""]
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
    base = base_of(annotations, _KIND, path, lambda data: data)
    if base is not None and base.content is not None:
        data, places = _Again(base.content, base.in_place, images).write(base.records, base.rest)
        write_bytes(path, data)
        remember_file(data, base.file, places)
        return ()
    annotations = [_bare(one) for one in annotations]
    root = Element("OME", {"xmlns": _SPACE, "xmlns:xsi": _INSTANCE, "xsi:schemaLocation": _SCHEMA})
    _add_images(root, annotations, images)
    if annotations:
        notes = SubElement(root, "StructuredAnnotations")
        for place, one in enumerate(annotations):
            _add_map(notes, f"{place}", one)
    for place, one in enumerate(annotations):
        info = images.get(one.image)
        _add_roi(root, f"{place}", one, (info.height, info.width) if info else None)
    ElementTree.indent(root, " ")
    text = ElementTree.tostring(root, "unicode")
    write_bytes(path, encode_text(f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'))
    return ()


def _bare(annotation: Annotation) -> Annotation:
    """Return a record without the entry it was read from."""
    extra = {name: text for name, text in annotation.extra.items() if name != METADATA}
    return replace(annotation, extra=extra)


class _Again:
    """A file of another program, whose bytes stay but for what changed in its regions.

    Parameters
    ----------
    data : bytes
        The file.
    in_place : bool
        Whether it is the file to be written over.
    images : mapping of str to ImageInfo
        The images by the names annotations give them.
    """

    def __init__(self, data: bytes, in_place: bool, images: Images) -> None:
        self._data, self._in_place, self._images = data, in_place, images
        self._root = xml_places(data)
        self._rois = list(self._root.iter("ROI"))
        self._shown = list(self._root.iter("Image"))
        named = re.match(rb"<([^\s:>]+:)?OME", data[self._root.start : self._root.inner])
        self._prefix = (named[1] or b"").decode("ascii", "replace") if named else ""
        kept = [one for part in self._root.iter("StructuredAnnotations") for one in part.children]
        self._notes = {one.fields.get("ID", ""): one for one in kept}
        # A number behind which nothing of ours stands in the file yet.
        self._free = count(data.count(_OURS.encode()))
        self._edits: list[tuple[int, int, bytes]] = []
        self._new_notes: list[bytes] = []
        self._new_rois: list[bytes] = []

    def write(
        self, records: Mapping[str, Annotation], rest: Sequence[Annotation]
    ) -> tuple[bytes, dict[str, str]]:
        """Return the file with the records in it, and where its ROIs are by where they were."""
        with noting(Notes()):  # all that was told when the file was read
            was = dict(_read_rois("", parse_xml("", self._data)))
        here = {was[int(place)].image for place in records if int(place) in was}
        gone = set()
        for place, before in was.items():
            now = records.get(f"{place}")
            if now is not None:
                if not same_record(before, replace(now, uid=before.uid)):
                    self._update(self._rois[place], before, _bare(replace(now, uid=before.uid)))
            elif not self._in_place or (before.image in here and is_deleted(before.region)):
                gone.add(place)
        self._take_out(gone)
        for one in rest:
            self._add(_bare(one))
        self._place_new()
        left = [place for place in range(len(self._rois)) if place not in gone]
        return spliced(self._data, self._edits), {f"{at}": f"{n}" for n, at in enumerate(left)}

    def _bytes(self, element: Element) -> bytes:
        for one in element.iter():
            one.tag = f"{self._prefix}{one.tag}"
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
        refs = [one for one in roi.children if one.tag == "AnnotationRef"]
        notes = [self._notes.get(one.fields.get("ID", "")) for one in refs]
        ours = [one for one in notes if one is not None and one.fields.get("Namespace") == _OURS]
        if ours:
            holder = Element("StructuredAnnotations")
            _add_map(holder, ours[0].fields["ID"].partition(":")[2], now)
            self._edits.append((ours[0].start, ours[0].end, self._bytes(holder[0])))
            return
        uid = self._note(now)
        unions = [one for one in roi.children if one.tag == "Union"]
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
        _add_roi(holder, f"{_OURS}:{next(self._free)}", now, self._size(now))
        union = holder[0].find("Union")
        new = b"" if union is None else self._bytes(union)
        old = [one for one in roi.children if one.tag == "Union"]
        self._edits += [(one.start, one.end, b"") for one in old]
        self._insert(old[0].start if old else roi.inner, new)

    def _size(self, annotation: Annotation) -> Size:
        info = self._images.get(annotation.image)
        return (info.height, info.width) if info else None

    def _take_out(self, gone: Collection[int]) -> None:
        """Take ROIs out, and what names them."""
        ids = {self._rois[place].fields.get("ID", "") for place in gone} - {""}
        refs = [one for one in self._root.iter("ROIRef") if one.fields.get("ID") in ids]
        for one in [*(self._rois[place] for place in gone), *refs]:
            self._edits.append((one.start, one.end, b""))

    def _add(self, annotation: Annotation) -> None:
        """Add a region that is new in the file."""
        holder, uid = Element("OME"), self._note(annotation)
        _add_roi(holder, uid, annotation, self._size(annotation))
        self._new_rois.append(self._bytes(holder[0]))
        info = self._images.get(annotation.image)
        names = {annotation.image, *([info.name] if info else [])}
        shown = [one for one in self._shown if one.fields.get("Name") in names]
        shown = shown or (self._shown if len(self._shown) == 1 else [])
        if shown and not shown[0].is_bare:
            inside = [one for one in shown[0].children if one.tag in ("ROIRef", "Pixels")]
            at = inside[-1].end if inside else shown[0].close
            self._insert(at, self._bytes(Element("ROIRef", ID=f"ROI:{uid}")))

    def _place_new(self) -> None:
        """Put what is new where the schema wants it."""
        root = self._root
        parts = [one for one in root.children if one.tag == "StructuredAnnotations"]
        notes = b"".join(self._new_notes)
        if notes and parts and not parts[-1].is_bare:
            self._insert(parts[-1].close, notes)
        elif notes:
            name = f"{self._prefix}StructuredAnnotations".encode()
            made = b"<" + name + b">" + notes + b"</" + name + b">"
            first = next((one.start for one in root.children if one.tag == "ROI"), root.close)
            start, end = (parts[-1].start, parts[-1].end) if parts else (first, first)
            self._edits.append((start, end, made))
        self._insert(root.close, b"".join(self._new_rois))


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


def _add_map(notes: Element, place: str, annotation: Annotation) -> None:
    """Add what a region carries."""
    made = SubElement(notes, "MapAnnotation", ID=f"Annotation:{place}", Namespace=_OURS)
    value = SubElement(made, "Value")
    for name, text in {**record_texts(annotation), _IMAGE: annotation.image}.items():
        key, held = to_pair(name, text)
        SubElement(value, "M", K=key).text = held


def _add_roi(root: Element, place: str, annotation: Annotation, size: Size) -> None:
    """Add the shapes of a region."""
    roi = SubElement(root, "ROI", ID=f"ROI:{place}")
    name = legal(annotation.extra.get(NAME, ""))
    if name:
        roi.set("Name", name)
    made = [element_of(one, size) for one in annotation.region.parts()]
    shapes = [one for one in made if one is not None]
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
    texts = {name: extra.get(f"{_LOOK}{name}", "") for name in _LOOKS}
    found = {name: text for name, text in texts.items() if _LOOKS[name].fullmatch(text)}
    channel = extra.get(CHANNEL, "")
    is_channel = whole_number(channel) is not None and int(channel) < 2**31
    return found | ({"TheC": str(int(channel))} if is_channel else {})
