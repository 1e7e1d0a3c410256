"""LabelMe: one JSON per image, shapes in ``x y`` pixels with pixel corners at integers.

A caption is the ``description`` of a shape, its class the ``label``. Whatever LabelMe has no place
for goes into a key of our own beside these, which LabelMe keeps. A folder or a zip holds the files
of several images.

"""

from __future__ import annotations

import base64
import io
import math
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from napari_patchioner.annotations.files import encode_text, write_bytes
from napari_patchioner.annotations.images import Images, image_name, is_image
from napari_patchioner.annotations.metadata import (
    OURS,
    Base,
    base_of,
    is_deleted,
    is_file,
    metadata_of,
    our_texts,
    remember_file,
    same_record,
    with_metadata,
    with_our_texts,
)
from napari_patchioner.annotations.notes import leaving_out
from napari_patchioner.annotations.table import check_unique
from napari_patchioner.annotations.texts import (
    CLASS,
    PART,
    Shape,
    annotation_from_texts,
    as_one,
    class_of,
    gather,
    record_texts,
    shown_as,
    with_class,
    with_unique_uids,
)
from napari_patchioner.annotations.xy import (
    ellipse_axes,
    ellipse_from_axes,
    from_xy,
    is_sheared,
    to_xy,
)
from napari_patchioner.errors import FormatError
from napari_patchioner.images import picture_size, read_picture
from napari_patchioner.limits import BudgetError, charge_records
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
    upright_box,
)

from .bundle import file_stems, first_files, is_zip, read_bundle, write_bundle
from .entries import Size, by_image, known_entries, known_size, naming, with_ours, without_metadata
from .head import Format, Head
from .json_arrays import as_texts, dict_in, json_as_read, parse_file, parse_json, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from napari_patchioner.annotations.record import Annotation


_PICTURE = {"imagePath", "imageData", "imageHeight"}
_KIND = "labelme"
_VERSION = "5.5.0"
_OUR_FIELDS = ("version", "flags", "imagePath", "imageData", "imageHeight", "imageWidth", OURS)
_SHAPE_KEYS = ("label", "points", "group_id", "shape_type", "flags", "description", "mask", OURS)


def knows(head: Head) -> bool:
    """Return whether a file is LabelMe's, or a folder or zip holds such files."""
    if not head.path.is_dir() and head.suffix != ".zip":
        return _is_ours(head.fields)
    try:
        # Other tables may lie in the same folder.
        return any(_is_ours(parse_json(data, "")) for data in first_files(head.path, _is_json))
    except BudgetError:
        raise
    except FormatError:
        return False


def _is_ours(value: Any) -> bool:
    return isinstance(value, dict) and "shapes" in value and bool(_PICTURE & set(value))


def _is_json(name: str) -> bool:
    return name.lower().endswith(".json")


def read(path: Path) -> list[Annotation]:
    """Read LabelMe's files."""
    files = read_bundle(Path(path), _is_json)
    parsed = {name: parse_json(data, name) for name, data in files.items()}
    if len(parsed) > 1:
        # Other tables may lie in the same folder.
        parsed = {name: value for name, value in parsed.items() if _is_ours(value)} or parsed
    annotations: list[Annotation] = []
    for name, value in parsed.items():
        with leaving_out("file", name) if len(parsed) > 1 else nullcontext():
            annotations += _read_file(name, value, remember_file(files[name]))
    return annotations


def _read_file(name: str, whole: Any, file: str) -> list[Annotation]:
    """Return the annotations of one image."""
    if not isinstance(whole, dict) or not isinstance(whole.get("shapes"), list):
        raise FormatError(f"{name}: is no file of LabelMe; it has no list of 'shapes'")
    image, size = _image(whole), _size(whole)
    around = {key: field for key, field in whole.items() if key not in ("shapes", "imageData")}
    about = {"name": name, "fields": around}
    ours: list[Shape] = []
    firsts: dict[str, int] = {}
    records: list[tuple[int, Annotation]] = []
    others: list[int] = []
    for place, shape in enumerate(whole["shapes"]):
        where = f"{name}: shape {place + 1}"
        with leaving_out("shape", where), naming(where, "its fields do not fit its type"):
            charge_records()
            if _is_record(shape):
                part = _read_shape(shape, image, str(place))
                ours.append(part)
                firsts.setdefault(part.texts.get("uid", ""), place)
            else:
                _foreign([shape], str(place), image)
                others.append(place)
    for places in _grouped(others, whole["shapes"]):
        entries = [whole["shapes"][place] for place in places]
        record = _foreign(entries, str(places[0]), image, size)
        key = ",".join(map(str, places))
        records.append((places[0], with_metadata(record, _KIND, file, key, entries, about)))
    with naming(name, "its fields do not fit its type"):
        gathered = gather(ours, lambda _, region: shown(region, size))
    if not _is_plain(whole):
        gathered = [with_metadata(record, _KIND, file, "", [], about) for record in gathered]
    records += [(firsts.get(record.uid, len(whole["shapes"])), record) for record in gathered]
    return with_unique_uids(record for _, record in sorted(records, key=lambda pair: pair[0]))


def _is_plain(whole: dict[str, Any]) -> bool:
    """Whether there is nothing around the shapes that we would not write ourselves."""
    fields = [whole.get(name) for name in ("version", "flags", "imageData")]
    return set(whole) <= {*_OUR_FIELDS, "shapes"} and fields == [_VERSION, {}, None]


def _is_record(shape: Any) -> bool:
    """Whether a shape is of a record of ours, or a part of one."""
    ours = dict_in(shape, OURS)
    return {"uid", "wkt"} <= set(ours) or PART in ours


def _grouped(places: Sequence[int], shapes: Sequence[Any]) -> list[list[int]]:
    """Return the shapes of other people, those of one label and group together."""
    firsts: dict[Any, list[int]] = {}
    grouped: list[list[int]] = []
    for place in places:
        group, label = shapes[place].get("group_id"), str(shapes[place].get("label") or "")
        alone = not isinstance(group, int) or isinstance(group, bool)
        if alone or _entries(shapes[place]):
            grouped.append([place])
        elif (label, group) in firsts:
            firsts[label, group].append(place)
        else:
            firsts[label, group] = [place]
            grouped.append(firsts[label, group])
    return grouped


def _foreign(
    entries: Sequence[Any], uid: str, image: str, size: Size | None = None, *, ours: bool = True
) -> Annotation:
    """Return what shapes of other people say, with or without what is ours of them.

    One shape, or all of one label and group: a set, counted once where they overlap.
    """
    shapes = [_read_shape(entry, image, uid) for entry in entries]
    parts = [part for shape in shapes if shape.region for part in shape.region.parts()]
    caption = next((shape.caption for shape in shapes if shape.caption), "")
    record = annotation_from_texts(
        shapes[0].texts, drawn=as_one(parts, union=True), image=image, caption=caption, uid=uid
    )
    record = with_class(record, shapes[0].label)
    texts = entries[0].get(OURS)
    if not ours or not isinstance(texts, dict):
        return record
    return with_our_texts(
        record, texts, lambda region: shown_as(region, lambda part: shown(part, size))
    )


def _image(whole: Mapping[str, Any]) -> str:
    """Return the image a file is about: as we call it, unless somebody renamed it."""
    named, ours = str(whole.get("imagePath") or ""), dict_in(whole, OURS)
    return str(ours.get("image", named)) if ours.get("imagePath") == named else named


def _size(whole: Mapping[str, Any]) -> Size | None:
    height, width = whole.get("imageHeight"), whole.get("imageWidth")
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _read_shape(shape: Any, image: str, uid: str) -> Shape:
    """Return one shape of a file."""
    if not isinstance(shape, dict) or not isinstance(shape.get("points"), list):
        raise FormatError("has no list of 'points'")
    texts = _entries(shape)
    if _is_record(shape):
        texts = {str(key): str(text) for key, text in shape[OURS].items()}
    caption, label = str(shape.get("description") or ""), str(shape.get("label") or "")
    return Shape(image, uid, region_of(shape), caption, texts, label or None)


def _entries(shape: Mapping[str, Any]) -> dict[str, str]:
    """Return what other people say about a shape beside what LabelMe knows itself."""
    texts = {str(key): str(bool(value)).lower() for key, value in dict_in(shape, "flags").items()}
    rest = {key: value for key, value in shape.items() if key not in _SHAPE_KEYS}
    texts |= {
        key: str(value) for key, value in rest.items() if isinstance(value, str | int | float)
    }
    return texts | as_texts(dict_in(shape, "attributes"))


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write LabelMe's files."""
    path = Path(path)
    check_unique(annotations)
    own = by_image(annotations)
    left_out: list[Annotation] = []
    if _is_json(path.name):
        if not all(is_image(next(iter(own)), image) for image in own):
            raise FormatError(
                f"{path.name}: LabelMe holds one image per file, but there are {len(own)}; "
                "write to a folder or a .zip instead"
            )
        image = next(iter(own), next(iter(images), ""))
        data, remember = _file(image, annotations, images, left_out, path)
        write_bytes(path, data)
        remember()
        return tuple(left_out)
    folder = None if is_zip(path) else path
    files = {}
    for image, name in _file_names(own, images).items():
        count = len(left_out)
        made = _file(image, own[image], images, left_out, folder and folder / name)
        # A file without a region would say that somebody has looked and seen nothing.
        if len(left_out) - count < len(own[image]):
            files[name] = made
    if annotations and not files:
        return tuple(left_out)
    bundle = {name: data for name, (data, _) in files.items()}
    write_bundle(path, {**_others(path, annotations), **bundle})
    for _, remember in files.values():
        remember()
    return tuple(left_out)


def file_names(path: Path, annotations: Sequence[Annotation], images: Images) -> list[str]:
    """Return the names of the files that `write` makes in a folder; none where it makes one."""
    if _is_json(path.name) or is_zip(path):
        return []
    return list(_file_names(by_image(annotations), images).values())


def _file_names(own: Mapping[str, Sequence[Annotation]], images: Images) -> dict[str, str]:
    """Return the name of the file of each image: the one it was read from, or one like its own."""
    stems = file_stems({image: image_name(images, image) for image in own})
    names = {image: f"{stem}.json" for image, stem in stems.items()}
    for image, records in own.items():
        known = [metadata for record in records if (metadata := metadata_of(record, _KIND))]
        read = {str(metadata.about.get("name", "")) for metadata in known}
        name = read.pop() if len(read) == 1 else ""
        inside = _is_json(name) and ".." not in name.split("/") and not name.startswith("/")
        if inside and name not in names.values():
            names[image] = name
    return names


def _others(path: Path, annotations: Sequence[Annotation]) -> dict[str, bytes]:
    """Return the files of a zip that the records were read from, to be written again with them."""
    if not is_zip(path) or not path.is_file():
        return {}
    try:
        files = read_bundle(path, lambda _: True)
    except FormatError:
        return {}
    known = {metadata.file for record in annotations if (metadata := metadata_of(record, _KIND))}
    return files if any(is_file(data, known) for data in files.values()) else {}


def _file(
    image: str,
    annotations: Sequence[Annotation],
    images: Images,
    left_out: list[Annotation],
    path: Path | None,
) -> tuple[bytes, Callable[[], object]]:
    """Return the JSON of one image, and what to call once it is written.

    What it cannot hold is added to ``left_out``.
    """
    size, name = known_size(images, image), image_name(images, image)
    base = base_of(annotations, _KIND, path, parse_file)
    kept = set() if base is None else {id(item) for place, item in base.records.items() if place}
    places: dict[str, str] = {}
    if base is None:
        whole: dict[str, Any] = {
            "version": _VERSION,
            "flags": {},
            "shapes": [],
            "imagePath": name,
            "imageData": None,
            "imageHeight": size[0] if size else None,
            "imageWidth": size[1] if size else None,
            OURS: {"image": image, "imagePath": name},
        }
    else:
        whole = base.content if isinstance(base.content, dict) else _from_entries(base)
        whole = {**whole, "shapes": _again(base, whole, size or _size(whole), places)}
    shapes = whole["shapes"]
    groups = [
        shape["group_id"]
        for shape in shapes
        if isinstance(shape, dict) and isinstance(shape.get("group_id"), int)
    ]
    new = [annotation for annotation in annotations if id(annotation) not in kept]
    for group, annotation in enumerate(new, start=max(groups, default=-1) + 1):
        made = _shapes(annotation, size or _size(whole), group)
        shapes += made
        if not made:
            left_out.append(annotation)
    if base is None:
        return encode_text(to_json(whole) + "\n"), lambda: None
    data = json_as_read(whole, base.data)
    return data, partial(remember_file, data, base.file, places)


def _from_entries(base: Base[Any]) -> dict[str, Any]:
    """Return what the records still hold of a file that is no longer known."""
    known = [(place, metadata) for place, _, metadata in known_entries(base.records, _KIND)]
    about = next((dict_in(metadata.about, "fields") for _, metadata in known), {})
    last = max((int(n) for place, _ in known if place for n in place.split(",")), default=-1)
    shapes: list[Any] = [None] * (last + 1)
    for place, metadata in known:
        for n, entry in zip(place.split(","), metadata.entry, strict=False):
            if place:
                shapes[int(n)] = entry
    return {**about, "shapes": shapes}


def _again(
    base: Base[Any], whole: Mapping[str, Any], size: Size | None, places: dict[str, str]
) -> list[Any]:
    """Return the shapes of a file that was read, with what its records say otherwise.

    Where they went is added to ``places``. Records of ours are left to be written anew.
    """
    shapes = whole["shapes"]
    image = _image(whole)
    made: list[Any] = []
    numbers_at = {place: [int(n) for n in place.split(",")] for place in base.records if place}
    members = {n for numbers in numbers_at.values() for n in numbers}
    new: dict[int, Any] = {}
    for place, numbers in numbers_at.items():
        entries = _updated([shapes[n] for n in numbers], base.records[place], image, size)
        spread = len(entries) == len(numbers)
        for position, n in enumerate(numbers):
            new[n] = entries[position : position + 1] if spread else entries * (position == 0)
    sound = [n for n, shape in enumerate(shapes) if n not in members and _is_sound(shape, image)]
    gone: set[int] = set()
    for group in _grouped(sound, shapes):
        if is_deleted(_foreign([shapes[n] for n in group], "", image).region):
            gone.update(group)
    went: dict[int, int] = {}
    for n, shape in enumerate(shapes):
        if shape is None or n in gone or (n not in members and _is_record(shape)):
            continue
        went[n] = len(made)
        made += new.get(n, [shape])
    for place, numbers in numbers_at.items():
        start, count = went[numbers[0]], sum(len(new[n]) for n in numbers)
        apart = [went[n] for n in numbers] if count == len(numbers) else range(start, start + count)
        places[place] = ",".join(map(str, apart))
    return made


def _is_sound(shape: Any, image: str) -> bool:
    """Whether a shape of other people can be read."""
    if shape is None or _is_record(shape):
        return False
    try:
        _foreign([shape], "", image)
    except (FormatError, TypeError, ValueError, KeyError, AttributeError):
        return False
    return True


def _updated(
    entries: Sequence[dict[str, Any]], record: Annotation, image: str, size: Size | None
) -> list[dict[str, Any]]:
    """Return shapes with what a record says otherwise; the same where it says the same."""
    was, bare = (_foreign(entries, "", image, size, ours=ours) for ours in (True, False))
    if same_record(was, record):
        return list(entries)
    new = [dict(entry) for entry in entries]
    if record.caption != bare.caption:
        new = [{**entry, "description": record.caption} for entry in new]
    if class_of(record) != class_of(bare):
        new = [{**entry, "label": class_of(record)} for entry in new]
    if not same_drawing(bare.region, record.region):
        drawn = [made for part in record.region.parts() if (made := shape_of(part, size))]
        if len(drawn) == len(new) == 1 and _still_turned(new[0], drawn[0]):
            drawn[0]["shape_type"] = new[0]["shape_type"]
        rest = [new[n] if n < len(new) else dict(new[0]) for n in range(len(drawn))]
        new = [{**entry, **made} for entry, made in zip(rest, drawn, strict=True)] or new
    texts = our_texts(bare, record)
    texts.pop(CLASS, None)
    return [with_ours(new[0], texts), *new[1:]]


def _still_turned(entry: Mapping[str, Any], drawn: Mapping[str, Any]) -> bool:
    """Whether a turned rectangle that was moved is one."""
    points = drawn["points"]
    if entry.get("shape_type") not in TURNED or len(points) != 4:
        return False
    return bool(np.allclose(np.add(points[0], points[2]), np.add(points[1], points[3]), atol=1e-3))


def _shapes(annotation: Annotation, size: Size | None, group: int) -> list[dict[str, Any]]:
    """Return the shapes of one annotation: one, or one per member of a set."""
    texts = record_texts(without_metadata(annotation))
    fields = [made for part in annotation.region.parts() if (made := shape_of(part, size))]
    return [
        {
            "label": class_of(annotation),
            "points": made["points"],
            "group_id": group if len(fields) > 1 else None,
            "description": annotation.caption,
            "shape_type": made["shape_type"],
            "flags": {},
            "mask": made.get("mask"),
            OURS: {PART: annotation.uid} if place else texts,
        }
        for place, made in enumerate(fields)
    ]


_FEWEST = {"rectangle": 2, "circle": 2, "line": 2, "point": 1, "points": 1, "mask": 2}
_FEWEST |= {"polygon": 3, "linestrip": 2, "oriented_rectangle": 4, "rotation": 4}
_FEWEST |= {"quadrilateral": 4}
TURNED = ("rotation", "oriented_rectangle")
"""What programs call a turned rectangle."""
_MOST_PIXELS = 2**28


def region_of(shape: Mapping[str, Any]) -> Region:
    """Return what a shape shows."""
    kind = shape.get("shape_type") or "polygon"
    try:
        points = np.asarray(shape["points"], float).reshape(-1, 2)
    except (TypeError, ValueError, OverflowError) as error:
        raise FormatError("its 'points' must be pairs of numbers") from error
    if kind not in _FEWEST:
        raise FormatError(f"the shape type {kind!r} is unknown; LabelMe has {', '.join(_FEWEST)}")
    if len(points) < _FEWEST[kind]:
        raise FormatError(f"a {kind} needs {_FEWEST[kind]} points, but this one has {len(points)}")
    if not np.isfinite(points).all():
        raise FormatError("a coordinate is not a finite number")
    if kind == "mask":
        return _mask(shape.get("mask"), points)
    return _outlined(kind, points)


def _outlined(kind: str, points: Any) -> Region:
    """Return the region that points outline, ``x y``."""
    if kind == "circle":
        radius = math.dist(*points.tolist()[:2])
        if not math.isfinite(radius):
            raise FormatError("a circle is larger than any number")
        return ellipse_from_axes(points[0], [radius, 0], [0, radius])
    vertices = from_xy(points)
    if kind == "rectangle":
        # Two opposite corners, or all four of them.
        if len(vertices) == 4 and upright_box(vertices, tolerance=1e-6) is None:
            return Polygon(vertices)
        low, high = vertices.min(axis=0).tolist(), vertices.max(axis=0).tolist()
        return Box(*low, *high)
    if kind in ("polygon", "quadrilateral", *TURNED):
        return Polygon(vertices)
    if kind == "point":
        return Point(*vertices[0].tolist())
    return Trace(vertices, connected=kind != "points")


def _mask(png: Any, points: Any) -> Mask:
    """Return the mask in a PNG, its first pixel at the first of the points."""
    try:
        data = base64.b64decode(png, validate=True)
        height, width = picture_size(data)
        if height * width > _MOST_PIXELS:
            raise FormatError("the mask is too large to be read")
        pixels = np.asarray(read_picture(data).convert("L")).astype(bool)
    except FormatError:
        raise
    except (TypeError, ValueError) as error:
        raise FormatError("its mask is no picture in base64") from error
    if not pixels.any():
        raise FormatError("its mask is empty; paint at least one pixel")
    return Mask(pixels, (int(points[0][1]), int(points[0][0])))


def shape_of(region: Region, size: Size | None) -> dict[str, Any] | None:
    """Return ``shape_type``, ``points`` and, for masks, ``mask``; None where there is no shape."""
    kind, points = "polygon", region.outline()
    match region:
        case WholeImage():
            corners = [[0, 0], [size[1], size[0]]] if size else None
            return {"shape_type": "rectangle", "points": corners} if corners else None
        case Mask():
            pixels = np.asarray(region.pixels, bool)
            buffer = io.BytesIO()
            Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
            # The first and the last pixel it spans.
            first = np.array(region.offset[::-1], float)
            last = first + pixels.shape[::-1] - 1
            png = base64.b64encode(buffer.getvalue()).decode("ascii")
            ends = [first.tolist(), last.tolist()]
            return {"shape_type": "mask", "points": ends, "mask": png}
        case Ellipse():
            centre, along, across = ellipse_axes(region)
            lengths = np.hypot(*along), np.hypot(*across)
            if not is_sheared(along, across) and abs(np.subtract(*lengths)) <= 1e-9 * lengths[0]:
                ends = [centre.tolist(), (centre + along).tolist()]
                return {"shape_type": "circle", "points": ends}
        case Box():
            kind, points = "rectangle", region.coords()[[0, 2]]
        case Point() | Trace():
            points = region.coords()
            kind = "linestrip" if len(points) > 1 else "point"
    return None if points is None else {"shape_type": kind, "points": to_xy(points).tolist()}


def shown(region: Region, size: Size | None) -> Region | None:
    """Return what a file shows for a region that is no set."""
    shape = shape_of(region, size)
    return None if shape is None else region_of(shape)


FORMAT = Format("labelme", "LabelMe", (".json",), read, write, knows, file_names=file_names)
