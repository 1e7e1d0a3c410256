"""ImageJ: a zip with one region of interest per region, as its ROI Manager saves.

ImageJ keeps coordinates as 32-bit floats and has no captions. The name of a region, which the ROI
Manager lists, is its number and the beginning of its caption; the properties, which ImageJ keeps,
hold caption, exact geometry and all else. Properties are lines of ASCII: all else is written as
percent and two digits per byte of UTF-8, since ImageJ reads properties as Latin-1 and writes what
it has read as UTF-8. The name is ASCII for a like reason.

A region that somebody named keeps its name. Names that are no captions (`names`) are the
extra ``"name"``; QuPath's name and class of an object, which it hands on as properties, and its
measurements are extras, too.

A record of another program's file holds the ROIs it was read from. Written again, one that says the
same is the same bytes under the same name; one that got a caption has other texts in those bytes,
its name and its properties; only one that was drawn anew is made anew.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote

import numpy as np
import shapely

from napari_patchioner import regions
from napari_patchioner.annotations import metadata, texts, xy
from napari_patchioner.annotations.files import encode_text, write_bytes
from napari_patchioner.annotations.images import Images, Size, known_size
from napari_patchioner.annotations.metadata import without_metadata
from napari_patchioner.annotations.names import NAME, is_name, shared_names
from napari_patchioner.annotations.napari_shapes import CHANNEL, PLANE, plane_text, time_and_depth
from napari_patchioner.annotations.notes import Notes, leaving_out, naming, note, noting
from napari_patchioner.annotations.record import Annotation
from napari_patchioner.annotations.xy import corners_xy, from_xy, to_xy
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import read_file

from . import bundle, roi_bytes
from .head import Format, Head
from .roi_bytes import Roi, decode_roi, encode_roi

_KIND = "imagej"
_PREFIX = "patchioner."
# Not about the region: the image, what we called the region, height and width of the image.
_ABOUT = ("patchioner-image", "patchioner-name", "patchioner-size")
# What QuPath says about an object that it sends to ImageJ.
_QUPATH_NAME, _QUPATH_CLASS = "qupath.object.name", "qupath.object.classification"
_COLOR, _FILL, _WIDTH, _GROUP = "color", "fill-color", "line-width", "group"
# The names of those extras that are properties of somebody else.
_PROPERTIES = "imagej-properties"
_ESCAPED = re.compile(r"[^\x21-\x7e]|[:=#!%\\]")
_IN_TEXT = re.compile(r"[^\x20-\x7e]|[%\\]|^[ :=]|[ ]$")
_NO_NAME = re.compile(r'[\x00-\x1f\x7f\x85\u2028\u2029<>:"/\\|?*]+')
_NUMBERED = re.compile(r"\d{4,}( |$)")
_ACCENTS = str.maketrans({"ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "œ": "oe", "ł": "l", "Ł": "L"})
_LONGEST_NAME = 60
_WIDEST = 30_000
# The attributes of a ROI in which an extra stands.
_LOOKS = {
    _COLOR: ("stroke",),
    _FILL: ("fill",),
    _WIDTH: ("width",),
    _GROUP: ("group",),
    CHANNEL: ("channel",),
    PLANE: ("place", "depth", "time"),
}
_AREAS = (roi_bytes.POLYGON, roi_bytes.FREEHAND, roi_bytes.TRACED)
_WAYS = (roi_bytes.POLYLINE, roi_bytes.FREELINE, roi_bytes.ANGLE)
_NO_POINTS = np.zeros((0, 2))

# Numbers of the members of a zip that a record was read from; members by name, and their bytes.
_Places: TypeAlias = tuple[int, ...]
_Members: TypeAlias = Mapping[int, tuple[str, bytes]]
_SizeOf: TypeAlias = "Callable[[str], Size | None]"


def knows(head: Head) -> bool:
    """Return whether a file is one of ImageJ's regions, or a zip of them."""
    if head.start.startswith(b"Iout"):
        return True
    return head.suffix == ".zip" and any(map(_is_roi, bundle.zip_names(head.path)))


def _is_roi(name: str) -> bool:
    return name.lower().endswith(".roi")


def read(path: Path) -> list[Annotation]:
    """Read regions of interest of ImageJ."""
    data = read_file(path)
    # The regions, unread, by their numbers in the zip.
    members = {0: (path.name, data)}
    if bundle.is_zip(path):
        members = bundle.read_zip(path.name, data, _is_roi)
    for name in bundle.zip_names(path):
        if not _is_roi(name) and not name.endswith("/"):
            note("no region", f"{path.name}: {name!r} is no region of ImageJ; it was not read")
    sizes: dict[str, Size] = {}
    records = _records(path.name, members, sizes)
    if _is_as_written(path, data, list(records.values()), members, sizes):
        return list(records.values())
    file, results = metadata.remember_file(data), []
    for places, record in records.items():
        if metadata.source_format(record) in ("", _KIND):  # else it goes back to another program
            own = [(name, b64encode(roi).decode()) for name, roi in (members[n] for n in places)]
            record = metadata.with_metadata(record, _KIND, file, _place(places), own)
        results.append(record)
    return results


def _records(file: str, members: _Members, sizes: dict[str, Size]) -> dict[_Places, Annotation]:
    """Return the records of a file by the numbers of their members, and note sizes of images."""
    rois: dict[int, Roi] = {}
    for number, (name, data) in members.items():
        where = f"{file}: {name!r}"
        with leaving_out("region", where), naming(where):
            rois[number] = decode_roi(data)
    shared = shared_names(_called(roi, members[number][0]) for number, roi in rois.items())
    shapes: dict[int, texts.Shape] = {}
    for number, roi in rois.items():
        name = members[number][0]
        where = f"{file}: {name!r}"
        with leaving_out("region", where), naming(where):
            shapes[number] = _shape(roi, name.removesuffix(".roi"), sizes, shared)

    def show(image: str, region: regions.Region) -> regions.Region | None:
        return shown(region, sizes.get(image))

    numbers = list(shapes)
    gathered = texts.gather(list(shapes.values()), show, where=file)
    return {tuple(numbers[place] for place in places): record for record, places in gathered}


def _is_as_written(
    path: Path, whole: bytes, records: list[Annotation], members: _Members, sizes: dict[str, Size]
) -> bool:
    """Return whether a file holds nothing but what is written for its records."""
    ours = _PREFIX.encode("utf-16-be")
    if not all(ours in data for _, data in members.values()):
        return False
    try:
        made = _rois_of(records, sizes.get, [])
    except FormatError:
        return False
    if bundle.is_zip(path):
        split = bundle.split_zip(whole)
        if split is None or split[1] or [item.name for item in split[0]] != list(made):
            return False
    bodies = [data for _, data in members.values()]
    return len(made) == len(bodies) and all(map(roi_bytes.is_alike, made.values(), bodies))


def _place(numbers: Iterable[int]) -> str:
    return " ".join(map(str, numbers))


def _unread(annotation: Annotation) -> Annotation:
    """Return a record without the ROIs it was read from."""
    own = metadata.source_format(annotation) == _KIND
    return without_metadata(annotation) if own else annotation


def _called(roi: Roi, file: str) -> str:
    """Return what a region is called by itself, else by its file."""
    return _repaired(roi.name or file.removesuffix(".roi"))


def _shape(roi: Roi, called: str, sizes: dict[str, Size], shared: Collection[str]) -> texts.Shape:
    """Return one shape, and note the size of its image."""
    lines = (line.partition(":") for line in roi.properties.split("\n") if ":" in line)
    properties = {key.strip(" "): _unescaped(text.removeprefix(" ")) for key, _, text in lines}
    image, named, size = (properties.pop(key, "") for key in _ABOUT)
    if re.fullmatch(r"\d{1,9} \d{1,9}", size):
        height, width = size.split()
        sizes[image] = (int(height), int(width))
    name = _called(roi, called)
    ours = {
        _unescaped(key.removeprefix(_PREFIX)): text
        for key, text in properties.items()
        if key.startswith(_PREFIX)
    }
    if ours:
        bare = _NUMBERED.sub("", name, count=1)
        # Without letters it is the number of the region, or a name that ImageJ gave it anew.
        changed = bare if name != named and any(map(str.isalpha, bare)) else None
        return texts.Shape(image, called, region_of(roi), changed, _with_plane(ours, roi))
    others = {key: text for key, text in properties.items() if key}
    is_qupath = any(key.startswith("qupath.") for key in others)
    caption = roi.text or ("" if is_qupath or is_name(name, shared=shared) else name)
    # How it looks in ImageJ and what group it is in, where somebody chose it.
    looks = {_COLOR: _color(roi.stroke), _FILL: _color(roi.fill)}
    looks |= {_WIDTH: f"{roi.width:g}" if roi.width else "", _GROUP: str(roi.group or "")}
    looks |= {CHANNEL: f"{roi.channel - 1}" if roi.channel > 0 else ""}
    said = {**others, **{key: text for key, text in looks.items() if text}}
    if others:
        said[_PROPERTIES] = " ".join(_escaped(_ESCAPED, key) for key in others)
    kept = others.get(_QUPATH_NAME) or name
    if kept and kept != caption:
        said[NAME] = kept
    label = others.get(_QUPATH_CLASS) or None
    return texts.Shape(image, called, region_of(roi), caption, _with_plane(said, roi), label)


def _color(number: int) -> str:
    """Return a colour as a page of the web writes it; nothing where there is none."""
    if not number:
        return ""
    alpha = f"{number >> 24:02x}" if number >> 24 < 255 else ""
    return f"#{number & 0xFFFFFF:06x}{alpha}"


def _color_number(text: str) -> int:
    """Return the number of a colour; undoes `_color`."""
    match = re.fullmatch(r"#([0-9a-f]{6})([0-9a-f]{2})?", text.lower())
    return (int(match[2] or "ff", 16) << 24 | int(match[1], 16)) if match else 0


def _with_plane(held: dict[str, str], roi: Roi) -> dict[str, str]:
    """Return texts in which the plane is the one that ImageJ shows."""
    depth = roi.depth or roi.place
    if texts.PART in held or not (roi.time or depth):
        return held
    time = roi.time - 1 if roi.time > 0 else None
    at = max(depth, 1) - 1 if depth else None
    # A plane may be written in two ways where the time is the first.
    known = [plane_text(time or 0, at), *([] if time else [plane_text(None, at)])]
    return held if held.get(PLANE) in known else {**held, PLANE: plane_text(time, at)}


def _escaped(pattern: re.Pattern[str], text: str) -> str:
    """Return a text with what properties cannot hold as percent and two digits per byte."""
    encode_text(text)
    return pattern.sub(lambda sign: "".join(f"%{byte:02X}" for byte in sign[0].encode()), text)


def _unescaped(text: str) -> str:
    return unquote(_repaired(text), errors="replace")


def _repaired(text: str) -> str:
    """Return a text that ImageJ took for Latin-1 as the UTF-8 it was; any other as it is."""
    try:
        return text if text.isascii() else text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write a zip that ImageJ's ROI Manager opens."""
    left_out: list[Annotation] = []
    size_of = partial(known_size, images)
    base = metadata.base_of(annotations, _KIND, path, bytes)
    if base is not None:
        again = _Again(path, base, size_of)
        data, places = again.file()
        if data is not None:
            write_bytes(path, data)
            metadata.remember_file(data, base.file, places)
        return tuple(again.left_out)
    files = _rois_of(annotations, size_of, left_out)
    if not annotations or files:
        single = path.suffix.lower() == ".roi"
        whole = _only(path, list(files.values())) if single else None
        write_bytes(path, whole or bundle.zipped({**files, **_others(path)}))
    return tuple(left_out)


def _rois_of(
    annotations: Sequence[Annotation], size_of: _SizeOf, left_out: list[Annotation]
) -> dict[str, bytes]:
    """Return the files of records by their names, and note of which there are none."""
    files: dict[str, bytes] = {}
    for annotation in annotations:
        made = _rois(annotation, size_of(annotation.image), len(files) + 1, files)
        files |= {f"{roi.name}.roi": encode_roi(roi) for roi in made}
        if not made:
            left_out.append(annotation)
    return files


def _only(path: Path, files: Sequence[bytes]) -> bytes:
    """Return the one region of a file that holds one."""
    if len(files) != 1:
        raise FormatError(
            f"{path.name}: a .roi file holds one region, not {len(files)}; write a .zip"
        )
    return files[0]


class _Again:
    """A file that was read, with records put back into it; new members count behind its own."""

    def __init__(self, path: Path, base: metadata.Base[bytes], size_of: _SizeOf) -> None:
        self.left_out: list[Annotation] = []
        self._path, self._in_place, self._size_of = path, base.in_place, size_of
        content = base.content or b""
        # A region by itself stands in its record, with the name of its file.
        known = bool(content) and not content.startswith(b"Iout")
        split = bundle.split_zip(content) if known and bundle.is_zip(path) else None
        # Without a comment, of any length, the zip is laid out in a rare way.
        self._split = split[0] if split is not None else []
        self._comment = split[1] if split is not None else None
        self._rest: list[Annotation] = []
        self._now: dict[_Places, tuple[str, Annotation]] = {}
        with noting(Notes()):  # all was noted when the file was read
            self._members = bundle.read_zip(path.name, content, _is_roi) if known else {}
            self._was = _records(path.name, self._members, {})
            self._end = count = len(self._split) or 1 + max(self._members, default=-1)
            unplaced = []
            for place, record in base.records.items():
                listed = place.split() if known else ()
                numbers = tuple(int(n) for n in listed if n.isascii() and n.isdigit())
                if numbers in self._was:
                    self._now[numbers] = place, record
                else:
                    unplaced.append(("" if known else place, record))
            self._claim(unplaced)
            self._claim([("", item) for item in base.rest])
            added = {n: member for n, member in self._members.items() if n >= count}
            self._was |= _records(path.name, added, {})
        for numbers in [item for item in self._now if item not in self._was]:
            self._rest.append(self._now.pop(numbers)[1])
            for number in numbers:
                self._members.pop(number, None)
        self._names = {number: item.name for number, item in enumerate(self._split)}
        self._names |= {number: name for number, (name, _) in self._members.items()}
        # Which of the regions a member is, from 1.
        counts = itertools.accumulate(map(_is_roi, self._names.values()))
        self._ranks = dict(zip(self._names, counts, strict=True))
        self._taken = set(self._names.values())

    def _claim(self, records: Sequence[tuple[str, Annotation]]) -> None:
        """Find the ROIs of records that do not say where in the file theirs are."""
        free = {places: item for places, item in self._was.items() if places not in self._now}
        same = {tuple(self._members[n][1] for n in places): places for places in free}
        named = {(item.image, item.uid): places for places, item in free.items() if item.image}
        for place, record in records:
            origin = metadata.metadata_of(record, _KIND)
            entry = origin.entry if origin is not None else None
            try:
                own = [(str(name), b64decode(data, validate=True)) for name, data in entry or ()]
            except (TypeError, ValueError):  # somebody spoiled it
                own = []
            numbers = same.get(tuple(data for _, data in own))
            numbers = numbers or named.get((record.image, record.uid))
            if numbers is None or numbers in self._now:
                numbers = tuple(range(self._end, self._end + len(own)))
                self._members |= dict(zip(numbers, own, strict=True))
                self._end += len(own)
            if numbers:
                self._now[numbers] = place, record
            else:
                self._rest.append(record)

    def file(self) -> tuple[bytes | None, dict[str, str]]:
        """Return the whole file, and where its regions are by where they were."""
        # What takes the places of members: new ones, or nothing.
        made: dict[int, list[tuple[str, bytes]]] = {}
        images = {self._was[places].image for places in self._now}
        for places, (_, item) in self._now.items():
            made |= self._replaced(places, item)
        for places, before in self._was.items():
            gone = before.image in images and metadata.is_deleted(before.region)
            if self._in_place and places not in self._now and gone:
                made |= {number: [] for number in places}
        kept = {number for numbers in self._now for number in numbers}
        # Members as they stand there, or names and bytes of others.
        listed: list[tuple[bundle.ZipMember | None, str, bytes | None]] = []
        places_of: dict[int, range] = {}
        for number, name in self._names.items():
            old = self._split[number] if number < len(self._split) else None
            start = len(listed)
            if number in made:
                listed += [(old, *new) for new in made[number]]
            # A member of which nothing is said stays: all do in the file itself.
            elif self._in_place or number in kept:
                listed.append((old, name, None if old is not None else self._members[number][1]))
            places_of[number] = range(start, len(listed))
        for item in self._rest:
            rois = _rois(item, self._size_of(item.image), len(listed) + 1, self._taken)
            self.left_out += [] if rois else [item]
            self._taken |= {f"{roi.name}.roi" for roi in rois}
            listed += [(None, f"{roi.name}.roi", encode_roi(roi)) for roi in rois]
        moved = {
            place: _place(new for number in numbers for new in places_of[number])
            for numbers, (place, _) in self._now.items()
            if place
        }
        return (self._packed(listed) if listed else None), moved

    def _packed(self, listed: Sequence[tuple[bundle.ZipMember | None, str, bytes | None]]) -> bytes:
        """Return the file of members: new bytes, or those that stand there already."""
        if not bundle.is_zip(self._path):
            return _only(self._path, [data for _, _, data in listed if data is not None])
        packed: list[bundle.ZipMember] = []
        used = {item.name for item in self._split}
        for old, name, data in listed:
            if old is not None and data is None:
                packed.append(old)
            elif data is not None:
                # What comes from another file than the rest may be called as something there.
                free = name if old is not None else _free_file(name, used)
                used.add(free)
                packed.append(bundle.zip_member(free, data, old))
        if self._comment is not None and self._in_place:
            return bundle.join_zip(packed, self._comment)
        if self._in_place and self._members:
            note(
                "not kept",
                f"{self._path.name}: the zip is laid out in a rare way; members that cannot be "
                "read are not kept",
            )
        names = {item.name for item in packed}
        others = _others(self._path).items()
        packed += [bundle.zip_member(*other) for other in others if other[0] not in names]
        return bundle.join_zip(packed)

    def _replaced(self, places: _Places, item: Annotation) -> dict[int, list[tuple[str, bytes]]]:
        """Return what takes the places of the ROIs of a record; nothing if it says the same."""
        was, bare = self._was[places], _unread(item)
        if metadata.same_record(was, item) and was.image in ("", item.image):
            return {}
        rois = [decode_roi(self._members[number][1]) for number in places]
        called = [_called(roi, self._members[n][0]) for roi, n in zip(rois, places, strict=True)]
        kept = [name if _is_kept_name(name, was, item) else "" for name in called]
        size, first = self._size_of(item.image), self._ranks[places[0]]
        made: dict[int, list[tuple[str, bytes]]] = {number: [] for number in places}
        if not regions.same_drawing(was.region, item.region):
            new = _rois(bare, size, first, self._taken, kept)
            if not new:
                self.left_out.append(item)
                return {}
            for count, roi in enumerate(new):
                at = min(count, len(places) - 1)
                name = roi.name if count >= len(kept) or not kept[count] else ""
                old_name, old = self._members[places[at]]
                if lost := roi_bytes.own_looks(old):
                    without = f"was drawn anew, without its {', '.join(lost)}"
                    note("not kept", f"{self._path.name}: {old_name!r} {without}")
                data = roi_bytes.like(encode_roi(of_kind(roi, rois[at])), old)
                made[places[at]].append((self._file_name(places[at], name), data))
            return made
        held = texts.record_texts(bare)
        for count, (number, roi) in enumerate(zip(places, rois, strict=True)):
            name = kept[count]
            if not name:
                name = _free_name(_name(bare, first + count), first + count, self._taken)
            own = {texts.PART: item.uid} if count else held
            properties = _properties(own, item.image, name, size) + _kept_lines(roi, was, item)
            new_name = roi.name if kept[count] else name
            data = roi_bytes.with_texts(self._members[number][1], new_name, properties)
            # The looks and the position that somebody changed.
            changed = [key for key in _LOOKS if was.extra.get(key, "") != item.extra.get(key, "")]
            if changed:
                looks = _looking(item, replace(roi, place=0, depth=0, time=0))
                fields = [field for key in changed for field in _LOOKS[key]]
                data = roi_bytes.with_looks(data, looks, fields)
            made[number] = [(self._file_name(number, "" if kept[count] else name), data)]
        return made

    def _file_name(self, number: int, name: str) -> str:
        """Return what the file of a ROI is called that got a new name; as before without one."""
        before, data = self._members[number]
        if not name:
            return before
        # ImageJ writes a name with a slash into the name of the file as it is.
        folder = "" if "/" in decode_roi(data).name else before[: before.rfind("/") + 1]
        new = f"{folder}{name}.roi"
        new = new if new == before else _free_file(new, self._taken)
        self._taken.add(new)
        return new


def _free_file(name: str, taken: Collection[str]) -> str:
    """Return the name of a ROI's file, or another where there is one of that name."""
    stem = name.removesuffix(".roi")
    numbered = (f"{stem}-{count}.roi" for count in itertools.count(2))
    return next(item for item in itertools.chain([name], numbered) if item not in taken)


def _is_kept_name(called: str, was: Annotation, now: Annotation) -> bool:
    """Return whether a ROI is called as before: by a name that is no caption, or the same one."""
    name = now.extra.get(NAME, "")
    if now.caption == was.caption and name == was.extra.get(NAME, ""):
        return True
    return called == name and (not now.caption or any(map(str.isalpha, called)))


def _kept_lines(roi: Roi, was: Annotation, now: Annotation) -> str:
    """Return the properties of somebody else, but for those that somebody changed or took out."""
    names = {_unescaped(key): key for key in was.extra.get(_PROPERTIES, "").split()}
    result = ""
    for line in roi.properties.split("\n"):
        name = _unescaped(line.partition(":")[0].strip(" "))
        if not line.strip() or name in _ABOUT or name.startswith(_PREFIX):
            continue
        if name not in names or now.extra.get(name) == was.extra.get(name):
            result += f"{line}\n"
        elif name in now.extra:
            result += f"{names[name]}: {_escaped(_IN_TEXT, now.extra[name])}\n"
    return result


def _others(path: Path) -> dict[str, bytes]:
    """Return the members of a zip of regions that are none, which stay in it."""
    if not any(map(_is_roi, bundle.zip_names(path))):
        return {}
    try:
        return bundle.read_bundle(path, lambda name: not _is_roi(name))
    except FormatError:
        return {}


def _rois(
    annotation: Annotation,
    size: Size | None,
    number: int,
    taken: Collection[str],
    names: Sequence[str] = (),
) -> list[Roi]:
    """Return the regions of interest of an annotation: one, or one per member of a set."""
    annotation = _unread(annotation)
    held, extra = texts.record_texts(annotation), annotation.extra
    # The properties of somebody else that it came with.
    foreign = "".join(
        f"{key}: {_escaped(_IN_TEXT, extra[name])}\n"
        for key in extra.get(_PROPERTIES, "").split()
        if (name := _unescaped(key)) in extra
    )
    results: list[Roi] = []
    made = (roi_of(part, size) for part in annotation.region.parts())
    for place, roi in enumerate(roi for roi in made if roi is not None):
        name = names[place] if place < len(names) else ""
        if not name:
            used = {*(f"{item.name}.roi" for item in results)}
            name = _free_name(_name(annotation, number + place), number + place, taken, used)
        own = {texts.PART: annotation.uid} if place else held
        properties = _properties(own, annotation.image, name, size) + foreign
        results.append(_looking(annotation, replace(roi, name=name, properties=properties)))
    return results


def _free_name(name: str, number: int, *taken: Collection[str]) -> str:
    """Return a name of which there is no file yet."""
    return f"{number:04d} {name}" if any(f"{name}.roi" in item for item in taken) else name


def _looking(annotation: Annotation, roi: Roi) -> Roi:
    """Return a ROI that looks as it did, in its group, at its place in a stack or hyperstack."""
    extra, plane = annotation.extra, time_and_depth(annotation)
    if plane is not None and " " in extra[PLANE]:
        roi = replace(roi, time=plane[0] + 1, depth=plane[1] + 1)
    elif plane is not None:
        roi = replace(roi, place=plane[1] + 1)
    channel, group = extra.get(CHANNEL, ""), extra.get(_GROUP, "")
    width = texts.parse_score(extra.get(_WIDTH, "")) or 0.0
    return replace(
        roi,
        channel=int(channel) + 1 if re.fullmatch(r"\d{1,9}", channel) else 0,
        stroke=_color_number(extra.get(_COLOR, "")),
        fill=_color_number(extra.get(_FILL, "")),
        width=width if 0 < width < _WIDEST else 0.0,
        group=int(group) if re.fullmatch(r"\d{1,5}", group) and int(group) < 65536 else 0,
    )


def _name(annotation: Annotation, number: int) -> str:
    """Return what the ROI Manager lists: the name it had, or a number and the caption, in ASCII."""
    given = _NO_NAME.sub(" ", annotation.extra.get(NAME, ""))[:_LONGEST_NAME].strip(" .")
    if given and (not annotation.caption or any(map(str.isalpha, given))):
        return given
    text = annotation.caption or annotation.extra.get(texts.CLASS, "") or annotation.uid
    # Without accents; nothing of a script that has no Latin letters.
    plain = unicodedata.normalize("NFKD", text.translate(_ACCENTS))
    plain = plain.encode("ascii", "ignore").decode("ascii")
    plain = plain if 2 * sum(map(str.isalpha, plain)) >= sum(map(str.isalpha, text)) else ""
    return f"{number:04d} {_NO_NAME.sub(' ', plain)[:_LONGEST_NAME]}".rstrip(" .")


def _properties(held: Mapping[str, str], image: str, name: str, size: Size | None) -> str:
    """Return texts as the lines of properties that ImageJ keeps."""
    sides = f"{size[0]} {size[1]}" if size else ""
    about = dict(zip(_ABOUT, (image, name, sides), strict=True))
    lines = {f"{_PREFIX}{_escaped(_ESCAPED, key)}": text for key, text in held.items()}
    return "".join(f"{key}: {_escaped(_IN_TEXT, text)}\n" for key, text in (about | lines).items())


def roi_of(region: regions.Region, size: Size | None) -> Roi | None:
    """Return the region of interest for a region that is no set; None where there is none."""
    match region:
        case regions.WholeImage():
            corners = np.array([[0, 0], size[::-1]], float) if size else None
            return None if corners is None else Roi(roi_bytes.RECTANGLE, corners)
        case regions.Box():
            return Roi(roi_bytes.RECTANGLE, corners_xy(region))
        case regions.Ellipse():
            # An oval, an ellipse by the ends of its longer axis, or a polygon.
            centre, along, across = xy.ellipse_axes(region)
            if xy.is_sheared(along, across):
                return _polygon(to_xy(region.outline()))
            if not (along * across).any():
                half = np.maximum(abs(along), abs(across))
                return Roi(roi_bytes.OVAL, np.array([centre - half, centre + half]))
            longer, shorter = sorted((along, across), key=lambda axis: -float(np.hypot(*axis)))
            ends = np.array([centre - longer, centre + longer])
            ratio = float(np.hypot(*shorter) / np.hypot(*longer))
            ring = (to_xy(region.outline()),)
            return Roi(roi_bytes.FREEHAND, ends, ring, roi_bytes.ELLIPSE, ratio)
        case regions.Polygon():
            return _polygon(to_xy(region.vertices))
        case regions.Mask():
            return Roi(roi_bytes.RECTANGLE, _NO_POINTS, tuple(map(to_xy, region.rings())))
        case regions.Point() | regions.Trace():
            points = region.coords()[:, ::-1]
            many = isinstance(region, regions.Trace) and region.connected and len(points) > 1
            kind = roi_bytes.POLYLINE if many else roi_bytes.POINT
            return Roi(kind, points) if len(points) else None
    return None


def of_kind(roi: Roi, old: Roi) -> Roi:
    """Return a region of interest as one of the kind of another, where that may have its points."""
    for kinds in (_AREAS, _WAYS):
        if roi.kind in kinds and old.kind in kinds and not (roi.rings or old.rings or old.subtype):
            three = old.kind != roi_bytes.ANGLE or len(roi.points) == 3
            return replace(roi, kind=old.kind) if three else roi
    return roi


def _polygon(vertices: xy.FloatArray) -> Roi:
    if len(vertices) > roi_bytes.MOST_POINTS:
        return Roi(roi_bytes.RECTANGLE, _NO_POINTS, (vertices,))
    return Roi(roi_bytes.POLYGON, vertices)


def region_of(roi: Roi) -> regions.Region:
    """Return the region that a region of interest shows."""
    if not (roi.rings or len(roi.points)):
        raise FormatError("shows nothing")
    if not all(np.isfinite(ring).all() for ring in roi.rings or (roi.points,)):
        raise FormatError("a coordinate is not a finite number")
    if roi.rings:
        # A mask where outlines run along pixels or lie in each other, else polygons.
        shells = [shapely.Polygon(ring) for ring in roi.rings]
        nested = shapely.STRtree(shells).query(shells, predicate="contains_properly").size > 0
        mask = xy.mask_from_rings(roi.rings) if nested or xy.along_pixels(roi.rings) else None
        parts = [regions.Polygon(from_xy(ring)) for ring in roi.rings]
        return mask or texts.as_one(parts, union=True) or parts[0]
    if roi.kind in (roi_bytes.RECTANGLE, roi_bytes.OVAL) or roi.subtype:
        return _area(roi)
    if roi.kind in _AREAS:
        if len(roi.points) < 3:
            raise FormatError("is a polygon of fewer than 3 vertices")
        return regions.Polygon(from_xy(roi.points))
    points = np.ascontiguousarray(roi.points[:, ::-1])
    if roi.kind == roi_bytes.POINT and len(points) == 1:
        return regions.Point(*points[0].tolist())
    return regions.Trace(points, connected=roi.kind != roi_bytes.POINT)


def _area(roi: Roi) -> regions.Region:
    """Return the box or ellipse that two points span."""
    first, second = roi.points
    centre, half = (first + second) / 2, (second - first) / 2
    if roi.subtype == roi_bytes.ELLIPSE:
        return xy.ellipse_from_axes(centre, half, half[::-1] * [-roi.ratio, roi.ratio])
    if roi.subtype == roi_bytes.TURNED_RECTANGLE:
        length = float(np.hypot(*(second - first))) or 1.0
        aside = (second - first)[::-1] * [-1, 1] * (roi.ratio / 2 / length)
        corners = [first - aside, second - aside, second + aside, first + aside]
        return regions.Polygon(from_xy(corners))
    if roi.kind == roi_bytes.OVAL:
        return xy.ellipse_from_axes(centre, [half[0], 0], [0, half[1]])
    (top, left), (bottom, right) = from_xy(roi.points).tolist()
    return regions.Box(top, left, bottom, right)


def shown(region: regions.Region, size: Size | None) -> regions.Region | None:
    """Return what a region of interest shows for a region that is no set, in single precision."""
    roi = roi_of(region, size)
    return None if roi is None else region_of(decode_roi(encode_roi(roi)))


FORMAT = Format(
    "imagej", "ImageJ regions of interest", (".zip", ".roi"), read, write, knows, single=True
)
