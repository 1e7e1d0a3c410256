"""LabelMe: one JSON per image, shapes in ``x y`` pixels with pixel corners at integers.

A caption is the ``description`` of a shape, its class the ``label``. Whatever LabelMe has no place
for goes into a key of our own beside these, which LabelMe keeps. A folder or a zip holds the files
of several images, each named like its image.
"""

from __future__ import annotations

import base64
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from napari_patchioner import regions
from napari_patchioner.annotations import metadata, texts, xy
from napari_patchioner.annotations.files import encode_text, write_bytes
from napari_patchioner.annotations.images import Images, Size, image_name, is_image, known_size
from napari_patchioner.annotations.metadata import OURS, Said
from napari_patchioner.annotations.notes import leaving_out, naming, note
from napari_patchioner.annotations.record import Annotation
from napari_patchioner.annotations.texts import PART, Shape, class_of
from napari_patchioner.errors import FormatError
from napari_patchioner.images import picture_size, read_picture
from napari_patchioner.limits import BudgetError, charge_records

from .bundle import file_stems, first_files, is_zip, read_bundle, write_bundle
from .head import Format, Head
from .json_arrays import as_texts, dict_in, json_as_read, parse_json, parsed, to_json

_PICTURE = {"imagePath", "imageData", "imageHeight"}
_KIND = "labelme"
_VERSION = "5.5.0"
_OUR_FIELDS = ("version", "flags", "imagePath", "imageData", "imageHeight", "imageWidth", OURS)
_SHAPE_KEYS = ("label", "points", "group_id", "shape_type", "flags", "description", "mask", OURS)
_FEWEST = {"rectangle": 2, "circle": 2, "line": 2, "point": 1, "points": 1, "mask": 2}
_FEWEST |= {"polygon": 3, "linestrip": 2, "oriented_rectangle": 4, "rotation": 4}
_FEWEST |= {"quadrilateral": 4}
# What programs call a turned rectangle.
_TURNED = ("rotation", "oriented_rectangle")
_MOST_PIXELS = 2**28


def knows(head: Head) -> bool:
    """Return whether a file is LabelMe's, or a folder or zip holds such files."""
    if not head.path.is_dir() and head.suffix != ".zip":
        return _is_ours(head.fields)
    try:
        # Other tables, and damaged files, may lie in the same folder.
        return any(_is_ours(parsed(data, "")[0]) for data in first_files(head.path, _is_json))
    except BudgetError:
        raise
    except FormatError:
        return False


def _is_ours(value: Any) -> bool:
    return isinstance(value, dict) and "shapes" in value and bool(_PICTURE & set(value))


def _is_json(name: str) -> bool:
    return name.lower().endswith(".json")


def read(path: Path, images: Images | None = None) -> list[Annotation]:
    """Read LabelMe's files; one that names no image is about the one it is itself named like."""
    files = read_bundle(path, _is_json)
    stems = {name: PurePosixPath(name).stem for name in files}
    counts = Counter(stems.values())
    annotations: list[Annotation] = []
    for name, data in files.items():
        with leaving_out("file", name) if len(files) > 1 else nullcontext():
            value, stem = parse_json(data, name), stems[name]
            if len(files) > 1 and not _is_ours(value):
                note("no region", f"{path.name}: {name!r} is no file of LabelMe; it was not read")
                continue
            if counts[stem] > 1:
                stem = name[: -len(".json")]
            elif len(files) == 1 and not any(is_image(stem, image) for image in images or ()):
                stem = ""
            annotations += _read_file(name, value, metadata.remember_file(data), stem)
    return texts.with_unique_uids(annotations)


def _read_file(name: str, whole: Any, file: str, image: str) -> list[Annotation]:
    """Return the annotations of one image: this one, where the file does not say which."""
    if not isinstance(whole, dict) or not isinstance(whole.get("shapes"), list):
        raise FormatError(f"{name}: is no file of LabelMe; it has no list of 'shapes'")
    shapes, size = whole["shapes"], _size(whole)
    image = _image(whole) if whole.get("imagePath") or OURS in whole else image
    around = {key: field for key, field in whole.items() if key not in ("shapes", "imageData")}
    about = {"name": name, "fields": around}
    why = "its fields do not fit its type"
    ours: list[Shape] = []
    firsts: dict[str, int] = {}
    others: list[int] = []
    for place, shape in enumerate(shapes):
        where = f"{name}: shape {place + 1}"
        with leaving_out("shape", where), naming(where, why):
            charge_records()
            if _is_record(shape):
                ours.append(_read_shape(shape, image, str(place)))
                firsts.setdefault(ours[-1].texts.get("uid", ""), place)
            else:
                _foreign([shape], str(place), image)
                others.append(place)
    records: list[tuple[int, Annotation]] = []
    for places in _grouped(others, shapes):
        listed = [shapes[place] for place in places]
        record = _foreign(listed, str(places[0]), image, size).record
        key = ",".join(map(str, places))
        record = metadata.with_metadata(record, _KIND, file, key, listed, about)
        records.append((places[0], record))
    with naming(name, why):
        pairs = texts.gather(ours, lambda _, region: shown(region, size))
        gathered = [record for record, _ in pairs]
    # There is something around the shapes that we would not write ourselves.
    fields = [whole.get(field) for field in ("version", "flags", "imageData")]
    if not set(whole) <= {*_OUR_FIELDS, "shapes"} or fields != [_VERSION, {}, None]:
        gathered = [metadata.with_metadata(item, _KIND, file, "", [], about) for item in gathered]
    records += [(firsts.get(record.uid, len(shapes)), record) for record in gathered]
    return texts.with_unique_uids(item for _, item in sorted(records, key=lambda pair: pair[0]))


def _is_record(shape: Any) -> bool:
    """Whether a shape is of a record of ours, or a part of one."""
    ours = dict_in(shape, OURS)
    return {"uid", "wkt"} <= set(ours) or PART in ours


def _grouped(places: Sequence[int], shapes: Sequence[Any]) -> list[list[int]]:
    """Return the shapes of other people, those of one label and group together."""
    groups: dict[Any, list[int]] = {}
    for place in places:
        group, label = shapes[place].get("group_id"), str(shapes[place].get("label") or "")
        alone = not isinstance(group, int) or isinstance(group, bool)
        key = place if alone or _entries(shapes[place]) else (label, group)
        groups.setdefault(key, []).append(place)
    return list(groups.values())


def _foreign(listed: Sequence[Any], uid: str, image: str, size: Size | None = None) -> Said:
    """Return what one shape of other people says, or all of one label and group as a set."""
    shapes = [_read_shape(entry, image, uid) for entry in listed]
    parts = [part for shape in shapes if shape.region for part in shape.region.parts()]
    drawn = texts.as_one(parts, union=True)
    caption = next((shape.caption for shape in shapes if shape.caption), "")
    record = texts.annotation_from_texts(
        shapes[0].texts, drawn=drawn, image=image, caption=caption, uid=uid
    )
    record = texts.with_class(record, shapes[0].label)

    def show(region: regions.Region) -> regions.Region | None:
        return texts.shown_as(region, lambda part: shown(part, size))

    return metadata.said(record, listed[0].get(OURS), show)


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
    said = _entries(shape)
    if _is_record(shape):
        said = {str(key): str(text) for key, text in shape[OURS].items()}
    caption, label = str(shape.get("description") or ""), str(shape.get("label") or "")
    return Shape(image, uid, region_of(shape), caption, said, label or None)


def _entries(shape: Mapping[str, Any]) -> dict[str, str]:
    """Return what other people say about a shape beside what LabelMe knows itself."""
    flags = {str(key): str(bool(value)).lower() for key, value in dict_in(shape, "flags").items()}
    rest = {
        key: str(value)
        for key, value in shape.items()
        if key not in _SHAPE_KEYS and isinstance(value, str | int | float)
    }
    return flags | rest | as_texts(shape.get("attributes"))


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write LabelMe's files."""
    own = texts.by_image(annotations)
    left_out: list[Annotation] = []
    if _is_json(path.name):
        if not all(is_image(next(iter(own)), image) for image in own):
            raise FormatError(
                f"{path.name}: LabelMe holds one image per file, but there are {len(own)}; "
                "write to a folder or a .zip instead"
            )
        image = next(iter(own), next(iter(images), ""))
        write_bytes(path, _file(image, annotations, images, left_out, path))
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
    # The other files of a zip that the records were read from are written again with them.
    others: dict[str, bytes] = {}
    if is_zip(path) and path.is_file():
        known = {origin.file for origin in metadata.origins(annotations, _KIND)}
        with suppress(FormatError):
            others = read_bundle(path)
        others = others if any(metadata.is_file(data, known) for data in others.values()) else {}
    write_bundle(path, {**others, **files})
    return tuple(left_out)


def file_names(path: Path, annotations: Sequence[Annotation], images: Images) -> list[str]:
    """Return the names of the files that `write` makes in a folder; none where it makes one."""
    if _is_json(path.name) or is_zip(path):
        return []
    return list(_file_names(texts.by_image(annotations), images).values())


def _file_names(own: Mapping[str, Sequence[Annotation]], images: Images) -> dict[str, str]:
    """Return the name of the file of each image: the one it was read from, or one like its own."""
    stems = file_stems({image: image_name(images, image) for image in own})
    names = {image: f"{stem}.json" for image, stem in stems.items()}
    for image, records in own.items():
        known = {str(o.about.get("name", "")) for o in metadata.origins(records, _KIND)}
        name = known.pop() if len(known) == 1 else ""
        inside = _is_json(name) and ".." not in name.split("/") and not name.startswith("/")
        if inside and name not in names.values():
            names[image] = name
    return names


def _file(
    image: str,
    annotations: Sequence[Annotation],
    images: Images,
    left_out: list[Annotation],
    path: Path | None,
) -> bytes:
    """Return the JSON of one image; what it cannot hold is added to ``left_out``."""
    size, name = known_size(images, image), image_name(images, image)
    base = metadata.base_of(annotations, _KIND, path, parse_json)
    kept: set[int] = set()
    places: dict[str, str] = {}
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
    if base is not None:
        kept = {id(item) for place, item in base.records.items() if place}
        whole = base.content if isinstance(base.content, dict) else _from_entries(base)
        whole = {**whole, "shapes": _again(base, whole, size or _size(whole), places)}
    shapes = whole["shapes"]
    groups = [shape.get("group_id") for shape in shapes if isinstance(shape, dict)]
    group = max((number for number in groups if isinstance(number, int)), default=-1)
    for annotation in (item for item in annotations if id(item) not in kept):
        group += 1
        sides = size or _size(whole)
        drawn = [made for part in annotation.region.parts() if (made := shape_of(part, sides))]
        held = texts.record_texts(metadata.without_metadata(annotation))
        left_out += [] if drawn else [annotation]
        shapes += [
            {
                "label": class_of(annotation),
                "points": made["points"],
                "group_id": group if len(drawn) > 1 else None,
                "description": annotation.caption,
                "shape_type": made["shape_type"],
                "flags": {},
                "mask": made.get("mask"),
                OURS: {PART: annotation.uid} if place else held,
            }
            for place, made in enumerate(drawn)
        ]
    if base is None:
        return encode_text(to_json(whole) + "\n")
    data = json_as_read(whole, base.data)
    metadata.remember_file(data, base.file, places)
    return data


def _from_entries(base: metadata.Base[Any]) -> dict[str, Any]:
    """Return what the records still hold of a file that is no longer known."""
    known = metadata.known_entries(base.records, _KIND)
    about = next((dict_in(origin.about, "fields") for _, _, origin in known), {})
    listed = {
        int(n): entry
        for place, _, origin in known
        if place
        for n, entry in zip(place.split(","), origin.entry, strict=False)
    }
    numbers = [int(n) for place, _, _ in known if place for n in place.split(",")]
    return {**about, "shapes": [listed.get(n) for n in range(max(numbers, default=-1) + 1)]}


def _again(
    base: metadata.Base[Any], whole: Mapping[str, Any], size: Size | None, places: dict[str, str]
) -> list[Any]:
    """Return the shapes of a file with what its records say otherwise; add where they went."""
    shapes, image = whole["shapes"], _image(whole)
    numbers_at = {place: [int(n) for n in place.split(",")] for place in base.records if place}
    # What stands in the place of each shape of a record.
    new: dict[int, list[Any]] = {}
    for place, numbers in numbers_at.items():
        listed = _updated([shapes[n] for n in numbers], base.records[place], image, size)
        spread = len(listed) == len(numbers)
        for position, n in enumerate(numbers):
            new[n] = listed[position : position + 1] if spread else listed * (position == 0)
    # Shapes of other people that can be read, and of which there is no record any more.
    sound = []
    for n, shape in enumerate(shapes):
        if n not in new and shape is not None and not _is_record(shape):
            with suppress(TypeError, ValueError, LookupError, AttributeError):
                _foreign([shape], "", image)
                sound.append(n)
    gone: set[int] = set()
    for group in _grouped(sound, shapes):
        if metadata.is_deleted(_foreign([shapes[n] for n in group], "", image).record.region):
            gone.update(group)
    made: list[Any] = []
    went: dict[int, int] = {}
    for n, shape in enumerate(shapes):
        if shape is not None and n not in gone and (n in new or not _is_record(shape)):
            went[n] = len(made)
            made += new.get(n, [shape])
    for place, numbers in numbers_at.items():
        start, count = went[numbers[0]], sum(len(new[n]) for n in numbers)
        apart = [went[n] for n in numbers] if count == len(numbers) else range(start, start + count)
        places[place] = ",".join(map(str, apart))
    return made


def _updated(
    listed: Sequence[dict[str, Any]], record: Annotation, image: str, size: Size | None
) -> list[dict[str, Any]]:
    """Return shapes with what a record says otherwise; the same where it says the same."""
    bare, was = _foreign(listed, "", image, size)
    if metadata.same_record(was, record):
        return list(listed)
    new = [dict(entry) for entry in listed]
    if record.caption != bare.caption:
        new = [{**entry, "description": record.caption} for entry in new]
    if class_of(record) != class_of(bare):
        new = [{**entry, "label": class_of(record)} for entry in new]
    if not regions.same_drawing(bare.region, record.region):
        drawn = [made for part in record.region.parts() if (made := shape_of(part, size))]
        points = drawn[0]["points"] if len(drawn) == len(new) == 1 else []
        if new[0].get("shape_type") in _TURNED and len(points) == 4:
            ends, others = np.array(points).reshape(2, 2, 2).sum(axis=0)
            if np.allclose(ends, others, atol=1e-3):  # a turned rectangle that was moved is one
                drawn[0]["shape_type"] = new[0]["shape_type"]
        rest = [new[n] if n < len(new) else dict(new[0]) for n in range(len(drawn))]
        new = [{**entry, **made} for entry, made in zip(rest, drawn, strict=True)] or new
    ours = metadata.our_texts(bare, record)
    ours.pop(texts.CLASS, None)
    return [metadata.with_ours(new[0], ours), *new[1:]]


def region_of(shape: Mapping[str, Any]) -> regions.Region:
    """Return what a shape shows."""
    kind = shape.get("shape_type") or "polygon"
    with naming(why="its 'points' must be pairs of numbers"):
        points = np.asarray(shape["points"], float).reshape(-1, 2)
    if kind not in _FEWEST:
        raise FormatError(f"the shape type {kind!r} is unknown; LabelMe has {', '.join(_FEWEST)}")
    if len(points) < _FEWEST[kind]:
        raise FormatError(f"a {kind} needs {_FEWEST[kind]} points, but this one has {len(points)}")
    if not np.isfinite(points).all():
        raise FormatError("a coordinate is not a finite number")
    if kind == "mask":  # its first pixel at the first of the points
        with naming(why="its mask is no picture in base64"):
            data = base64.b64decode(shape["mask"], validate=True)
            height, width = picture_size(data)
            if height * width > _MOST_PIXELS:
                raise FormatError("the mask is too large to be read")
            pixels = np.asarray(read_picture(data).convert("L")).astype(bool)
        if not pixels.any():
            raise FormatError("its mask is empty; paint at least one pixel")
        return regions.Mask(pixels, (int(points[0][1]), int(points[0][0])))
    if kind == "circle":
        radius = math.dist(*points.tolist()[:2])
        if not math.isfinite(radius):
            raise FormatError("a circle is larger than any number")
        return xy.ellipse_from_axes(points[0], [radius, 0], [0, radius])
    vertices = xy.from_xy(points)
    if kind == "rectangle":
        # Two opposite corners, or all four of them.
        if len(vertices) == 4 and regions.upright_box(vertices, tolerance=1e-6) is None:
            return regions.Polygon(vertices)
        return regions.Box(*vertices.min(axis=0).tolist(), *vertices.max(axis=0).tolist())
    if kind in ("polygon", "quadrilateral", *_TURNED):
        return regions.Polygon(vertices)
    if kind == "point":
        return regions.Point(*vertices[0].tolist())
    return regions.Trace(vertices, connected=kind != "points")


def shape_of(region: regions.Region, size: Size | None) -> dict[str, Any] | None:
    """Return ``shape_type``, ``points`` and, for masks, ``mask``; None where there is no shape."""
    kind, points = "polygon", region.outline()
    match region:
        case regions.WholeImage():
            corners = [[0, 0], [size[1], size[0]]] if size else None
            return {"shape_type": "rectangle", "points": corners} if corners else None
        case regions.Mask():
            pixels = np.asarray(region.pixels, bool)
            buffer = io.BytesIO()
            Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
            # The first and the last pixel it spans.
            first = np.array(region.offset[::-1], float)
            last = first + pixels.shape[::-1] - 1
            png = base64.b64encode(buffer.getvalue()).decode("ascii")
            ends = [first.tolist(), last.tolist()]
            return {"shape_type": "mask", "points": ends, "mask": png}
        case regions.Ellipse():
            centre, along, across = xy.ellipse_axes(region)
            lengths = np.hypot(*along), np.hypot(*across)
            if not xy.is_sheared(along, across) and abs(np.subtract(*lengths)) <= 1e-9 * lengths[0]:
                ends = [centre.tolist(), (centre + along).tolist()]
                return {"shape_type": "circle", "points": ends}
        case regions.Box():
            kind, points = "rectangle", region.coords()[[0, 2]]
        case regions.Point() | regions.Trace():
            points = region.coords()
            kind = "linestrip" if len(points) > 1 else "point"
    return None if points is None else {"shape_type": kind, "points": xy.to_xy(points).tolist()}


def shown(region: regions.Region, size: Size | None) -> regions.Region | None:
    """Return what a file shows for a region that is no set."""
    shape = shape_of(region, size)
    return None if shape is None else region_of(shape)


FORMAT = Format(
    "labelme", "LabelMe", (".json",), read, write, knows, sized=True, file_names=file_names
)
