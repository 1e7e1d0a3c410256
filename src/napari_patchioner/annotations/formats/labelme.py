"""LabelMe: one JSON per image, shapes in ``x y`` pixels with pixel corners at integers.

A caption is the ``description`` of a shape, its class the ``label``. Whatever LabelMe has no place
for goes into a key of our own beside these, which LabelMe keeps. A folder or a zip holds the files
of several images.

"""

from __future__ import annotations

import base64
import io
import math
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from PIL import Image

from napari_patchioner.annotations.files import encode_text, write_bytes
from napari_patchioner.annotations.images import Images, image_name, is_image
from napari_patchioner.annotations.metadata import (
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
    METADATA,
    PART,
    Shape,
    annotation_from_texts,
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
    RegionSet,
    Trace,
    WholeImage,
    same_drawing,
    upright_box,
)

from .bundle import file_stems, first_files, is_zip, read_bundle, write_bundle
from .head import Format, Head
from .json_arrays import as_texts, json_as_read, parse_file, parse_json, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from napari_patchioner.annotations.record import Annotation


_OURS = "napari_patchioner"
_PICTURE = {"imagePath", "imageData", "imageHeight"}
_KIND = "labelme"
_VERSION = "5.5.0"
_OUR_FIELDS = ("version", "flags", "imagePath", "imageData", "imageHeight", "imageWidth", _OURS)
_SHAPE_KEYS = ("label", "points", "group_id", "shape_type", "flags", "description", "mask", _OURS)


def knows(head: Head) -> bool:
    """Return whether a file is LabelMe's, or a folder or zip holds only such files."""
    if head.path.is_dir() or head.suffix == ".zip":
        return _knows_bundle(head.path)
    return "shapes" in head.fields and bool(_PICTURE & set(head.fields))


def _knows_bundle(path: Path) -> bool:
    try:
        # Other tables may lie in the same folder.
        return any(_is_ours(parse_json(data, "")) for data in first_files(path, _is_json))
    except BudgetError:
        raise
    except FormatError:
        return False


def _is_ours(results: Any) -> bool:
    return isinstance(results, dict) and "shapes" in results and bool(_PICTURE & set(results))


def _is_json(name: str) -> bool:
    return name.lower().endswith(".json")


def read(path: Path) -> list[Annotation]:
    """Read LabelMe's files."""
    files = read_bundle(Path(path), _is_json)
    parsed = {name: parse_json(data, name) for name, data in files.items()}
    if len(parsed) > 1:
        # Other tables may lie in the same folder.
        parsed = {name: results for name, results in parsed.items() if _is_ours(results)} or parsed
    annotations: list[Annotation] = []
    for name, result in parsed.items():
        with leaving_out("file", name) if len(parsed) > 1 else nullcontext():
            annotations += _read_file(name, result, remember_file(files[name]))
    return annotations


def _read_file(name: str, results: Any, file: str) -> list[Annotation]:
    """Return the annotations of one image."""
    if not isinstance(results, dict) or not isinstance(results.get("shapes"), list):
        raise FormatError(f"{name}: is no file of LabelMe; it has no list of 'shapes'")
    image, size = _image(results), _size(results)
    around = {key: item for key, item in results.items() if key not in ("shapes", "imageData")}
    about = {"name": name, "fields": around}
    ours: list[Shape] = []
    firsts: dict[str, int] = {}
    records: list[tuple[int, Annotation]] = []
    others: list[int] = []
    for place, shape in enumerate(results["shapes"]):
        where = f"{name}: shape {place + 1}"
        with leaving_out("shape", where), _told(where):
            charge_records()
            if _is_record(shape):
                result = _read_shape(shape, image, str(place))
                ours.append(result)
                firsts.setdefault(result.texts.get("uid", ""), place)
            else:
                _foreign([shape], str(place), image)
                others.append(place)
    for places in _grouped(others, results["shapes"]):
        entries = [results["shapes"][place] for place in places]
        record = _foreign(entries, str(places[0]), image, size)
        key = ",".join(map(str, places))
        records.append((places[0], with_metadata(record, _KIND, file, key, entries, about)))
    with _told(name):
        gathered = gather(ours, lambda _, region: shown(region, size))
    if not _is_plain(results):
        gathered = [with_metadata(item, _KIND, file, "", [], about) for item in gathered]
    records += [(firsts.get(item.uid, len(results["shapes"])), item) for item in gathered]
    return with_unique_uids(item for _, item in sorted(records, key=lambda pair: pair[0]))


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Name the file and the shape in every error within."""
    try:
        yield
    except BudgetError:
        raise
    except (FormatError, TypeError, ValueError, KeyError, AttributeError) as error:
        why = error if isinstance(error, FormatError) else "its fields do not fit its type"
        raise FormatError(f"{where}: {why}") from error


def _is_plain(results: dict[str, Any]) -> bool:
    """Whether there is nothing around the shapes that we would not write ourselves."""
    return set(results) <= {*_OUR_FIELDS, "shapes"} and (
        results.get("version"),
        results.get("flags"),
        results.get("imageData"),
    ) == (_VERSION, {}, None)


def _is_record(shape: Any) -> bool:
    """Whether a shape is of a record of ours, or a part of one."""
    ours = shape.get(_OURS) if isinstance(shape, dict) else None
    return isinstance(ours, dict) and ({"uid", "wkt"} <= set(ours) or PART in ours)


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
    entries: Sequence[Any], uid: str, image: str, size: Size = None, *, ours: bool = True
) -> Annotation:
    """Return what shapes of other people say, with or without what is ours of them.

    Parameters
    ----------
    entries : sequence
        One shape, or all of one label and group: a set, counted once where they overlap.
    """
    shapes = [_read_shape(item, image, uid) for item in entries]
    parts = [part for item in shapes if item.region for part in item.region.parts()]
    region = parts[0] if len(parts) == 1 else RegionSet(tuple(parts), union=True)
    caption = next((item.caption for item in shapes if item.caption), "")
    first = shapes[0]
    record = annotation_from_texts(first.texts, drawn=region, image=image, caption=caption, uid=uid)
    record = with_class(record, first.label)
    texts = entries[0].get(_OURS)
    if not ours or not isinstance(texts, dict):
        return record
    return with_our_texts(
        record, texts, lambda region: shown_as(region, lambda part: shown(part, size))
    )


def _image(results: Mapping[str, Any]) -> str:
    """Return the image a file is about: as we call it, unless somebody renamed it."""
    named = str(results.get("imagePath") or "")
    ours = results.get(_OURS)
    kept = isinstance(ours, dict) and ours.get("imagePath") == named
    return str(ours.get("image", named)) if kept and isinstance(ours, dict) else named


def _size(results: Mapping[str, Any]) -> Size:
    height, width = results.get("imageHeight"), results.get("imageWidth")
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _read_shape(shape: Any, image: str, uid: str) -> Shape:
    """Return one shape of a file."""
    if not isinstance(shape, dict) or not isinstance(shape.get("points"), list):
        raise FormatError("has no list of 'points'")
    ours = shape.get(_OURS)
    texts = _entries(shape)
    if isinstance(ours, dict) and _is_record(shape):
        texts = {str(key): str(text) for key, text in ours.items()}
    caption, label = str(shape.get("description") or ""), str(shape.get("label") or "")
    return Shape(image, uid, region_of(shape), caption, texts, label or None)


def _entries(shape: Mapping[str, Any]) -> dict[str, str]:
    """Return what other people say about a shape beside what LabelMe knows itself."""
    flags, attributes = shape.get("flags"), shape.get("attributes")
    texts = {}
    if isinstance(flags, dict):
        texts = {str(key): str(bool(value)).lower() for key, value in flags.items()}
    rest = {key: value for key, value in shape.items() if key not in _SHAPE_KEYS}
    texts |= {key: str(value) for key, value in rest.items() if _is_plain_value(value)}
    if isinstance(attributes, dict):
        texts |= as_texts(attributes)
    return texts


def _is_plain_value(value: Any) -> bool:
    return isinstance(value, str | int | float)


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write LabelMe's files."""
    path = Path(path)
    check_unique(annotations)
    own = _by_image(annotations)
    left_out: list[Annotation] = []
    if _is_json(path.name):
        if not all(is_image(next(iter(own)), image) for image in own):
            raise FormatError(
                f"{path.name}: LabelMe holds one image per file, but there are {len(own)}; "
                "write to a folder or a .zip instead"
            )
        image = next(iter(own), next(iter(images), ""))
        made = _file(image, annotations, images, left_out, path)
        write_bytes(path, made.data)
        made.remember()
        return tuple(left_out)
    names = _file_names(own, images)
    folder = None if is_zip(path) else path
    files = {
        name: _file(image, own[image], images, left_out, folder and folder / name)
        for image, name in names.items()
    }
    lost = {id(item) for item in left_out}
    # A file without a region would say that somebody has looked and found nothing.
    empty = [image for image in names if all(id(item) in lost for item in own[image])]
    files = {name: item for name, item in files.items() if name not in {names[i] for i in empty}}
    if annotations and not files:
        return tuple(left_out)
    bundle = {name: item.data for name, item in files.items()}
    write_bundle(path, {**_others(path, annotations), **bundle})
    for file in files.values():
        file.remember()
    return tuple(left_out)


def file_names(path: Path, annotations: Sequence[Annotation], images: Images) -> list[str]:
    """Return the names of the files that `write` makes in a folder; none where it makes one."""
    if _is_json(path.name) or is_zip(path):
        return []
    return list(_file_names(_by_image(annotations), images).values())


def _by_image(annotations: Sequence[Annotation]) -> dict[str, list[Annotation]]:
    own: dict[str, list[Annotation]] = {}
    for item in annotations:
        own.setdefault(item.image, []).append(item)
    return own


def _file_names(own: Mapping[str, Sequence[Annotation]], images: Images) -> dict[str, str]:
    """Return the name of the file of each image: the one it was read from, or one like its own."""
    stems = file_stems({image: image_name(images, image) for image in own})
    names = {image: f"{stem}.json" for image, stem in stems.items()}
    for image, mine in own.items():
        known = [metadata for item in mine if (metadata := metadata_of(item, _KIND)) is not None]
        read = {str(results.about.get("name", "")) for results in known}
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
        files = read_bundle(path, lambda name: True)
    except FormatError:
        return {}
    known = {
        metadata.file for item in annotations if (metadata := metadata_of(item, _KIND)) is not None
    }
    return files if any(is_file(data, known) for data in files.values()) else {}


class _Made(NamedTuple):
    """The bytes of a file, and what it was made from."""

    data: bytes
    base: str = ""
    places: Mapping[str, str] | None = None

    def remember(self) -> None:
        """Keep it for being written again, if it is of other people."""
        if self.base:
            remember_file(self.data, self.base, self.places)


def _file(
    image: str,
    annotations: Sequence[Annotation],
    images: Images,
    left_out: list[Annotation],
    path: Path | None,
) -> _Made:
    """Return the JSON of one image; what it cannot hold is added to ``left_out``."""
    info = images.get(image)
    size = (info.height, info.width) if info is not None else None
    name = image_name(images, image)
    base = base_of(annotations, _KIND, path, parse_file)
    kept = set() if base is None else {id(item) for place, item in base.records.items() if place}
    new = [item for item in annotations if id(item) not in kept]
    shapes: list[dict[str, Any]] = []
    places: dict[str, str] = {}
    results: dict[str, Any] = {
        "version": _VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": name,
        "imageData": None,
        "imageHeight": info.height if info else None,
        "imageWidth": info.width if info else None,
        _OURS: {"image": image, "imagePath": name},
    }
    if base is not None:
        whole = base.content if isinstance(base.content, dict) else None
        if whole is None:
            whole = _from_entries(base)
        shapes += _again(base, whole, size or _size(whole), places)
        results = {**whole, "shapes": shapes}
    groups = [
        item["group_id"]
        for item in shapes
        if isinstance(item, dict) and isinstance(item.get("group_id"), int)
    ]
    for group, annotation in enumerate(new, start=max(groups, default=-1) + 1):
        made = _shapes(annotation, size or _size(results), group)
        shapes += made
        if not made:
            left_out.append(annotation)
    if base is None:
        return _Made(encode_text(to_json(results) + "\n"), "", places)
    return _Made(json_as_read(results, base.data), base.file, places)


def _from_entries(base: Base[Any]) -> dict[str, Any]:
    """Return what the records still hold of a file that is no longer known."""
    known = {place: metadata_of(item, _KIND) for place, item in base.records.items()}
    told = {place: results for place, results in known.items() if results is not None}
    about = next((results.about.get("fields") for results in told.values()), None)
    last = max((int(n) for place in told if place for n in place.split(",")), default=-1)
    shapes: list[Any] = [None] * (last + 1)
    for place, result in told.items():
        for n, entry in zip(place.split(","), result.entry, strict=False):
            if place:
                shapes[int(n)] = entry
    return {**(about if isinstance(about, dict) else {}), "shapes": shapes}


def _again(
    base: Base[Any], whole: Mapping[str, Any], size: Size, places: dict[str, str]
) -> list[Any]:
    """Return the shapes of a file that was read, with what its records say otherwise.

    Where they went is added to ``places``. Records of ours are left to be written anew.
    """
    shapes = whole["shapes"]
    image = _image(whole)
    made: list[Any] = []
    of_records = {int(place.split(",")[0]): place for place in base.records if place}
    members = {int(n) for place in base.records if place for n in place.split(",")}
    new: dict[int, Any] = {}
    for place in of_records.values():
        numbers = [int(n) for n in place.split(",")]
        entries = _updated([shapes[n] for n in numbers], base.records[place], image, size)
        spread = len(entries) == len(numbers)
        for position, n in enumerate(numbers):
            new[n] = entries[position : position + 1] if spread else entries * (position == 0)
    sound = [n for n, item in enumerate(shapes) if n not in members and _is_sound(item, image)]
    gone = {n for group in _grouped(sound, shapes) if _is_gone(group, shapes, image) for n in group}
    went: dict[int, int] = {}
    for n, shape in enumerate(shapes):
        if shape is None or n in gone or (n not in members and _is_record(shape)):
            continue
        went[n] = len(made)
        made += new.get(n, [shape])
    for place in of_records.values():
        numbers = [int(n) for n in place.split(",")]
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


def _is_gone(group: Sequence[int], shapes: Sequence[Any], image: str) -> bool:
    """Whether shapes without a record were taken out by a person."""
    return is_deleted(_foreign([shapes[n] for n in group], "", image).region)


def _updated(
    entries: Sequence[dict[str, Any]], item: Annotation, image: str, size: Size
) -> list[dict[str, Any]]:
    """Return shapes with what a record says otherwise; the same where it says the same."""
    was, bare = (_foreign(entries, "", image, size, ours=ours) for ours in (True, False))
    if same_record(was, item):
        return list(entries)
    new = [dict(entry) for entry in entries]
    if item.caption != bare.caption:
        new = [{**entry, "description": item.caption} for entry in new]
    if class_of(item) != class_of(bare):
        new = [{**entry, "label": class_of(item)} for entry in new]
    if not same_drawing(bare.region, item.region):
        drawn = [made for part in item.region.parts() if (made := shape_of(part, size))]
        if len(drawn) == len(new) == 1 and _still_turned(new[0], drawn[0]):
            drawn[0]["shape_type"] = new[0]["shape_type"]
        rest = [new[n] if n < len(new) else dict(new[0]) for n in range(len(drawn))]
        new = [{**entry, **made} for entry, made in zip(rest, drawn, strict=True)] or new
    texts = our_texts(bare, item)
    texts.pop("class", None)
    new[0].pop(_OURS, None)
    new[0] |= {_OURS: texts} if texts else {}
    return new


def _still_turned(entry: Mapping[str, Any], drawn: Mapping[str, Any]) -> bool:
    """Whether a turned rectangle that was moved is one."""
    points = drawn["points"]
    if entry.get("shape_type") not in TURNED or len(points) != 4:
        return False
    return bool(np.allclose(np.add(points[0], points[2]), np.add(points[1], points[3]), atol=1e-3))


def _shapes(annotation: Annotation, size: Size, group: int) -> list[dict[str, Any]]:
    """Return the shapes of one annotation: one, or one per member of a set."""
    texts = record_texts(annotation)
    texts.pop(METADATA, None)
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
            _OURS: {PART: annotation.uid} if place else texts,
        }
        for place, made in enumerate(fields)
    ]


Size: TypeAlias = "tuple[int, int] | None"

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


def shape_of(region: Region, size: Size) -> dict[str, Any] | None:
    """Return ``shape_type``, ``points`` and, for masks, ``mask``; None where there is no shape."""
    if isinstance(region, WholeImage):
        corner = [size[1], size[0]] if size else None
        return {"shape_type": "rectangle", "points": [[0, 0], corner]} if corner else None
    if isinstance(region, Mask):
        return _mask_shape(region)
    if isinstance(region, Ellipse):
        return _ellipse_shape(region)
    if isinstance(region, Box):
        corners = [[region.top, region.left], [region.bottom, region.right]]
        return {"shape_type": "rectangle", "points": to_xy(corners).tolist()}
    if isinstance(region, Point):
        return {"shape_type": "point", "points": to_xy([[region.row, region.column]]).tolist()}
    if isinstance(region, Trace):
        kind = "linestrip" if len(region.points) > 1 else "point"
        return {"shape_type": kind, "points": to_xy(region.points).tolist()}
    if isinstance(region, Polygon):
        return {"shape_type": "polygon", "points": to_xy(region.vertices).tolist()}
    return None


def _ellipse_shape(ellipse: Ellipse) -> dict[str, Any]:
    """Return a circle, or the polygon that stands for an ellipse."""
    centre, along, across = ellipse_axes(ellipse)
    lengths = np.hypot(*along), np.hypot(*across)
    if not is_sheared(along, across) and abs(lengths[0] - lengths[1]) <= 1e-9 * lengths[0]:
        return {"shape_type": "circle", "points": [centre.tolist(), (centre + along).tolist()]}
    return {"shape_type": "polygon", "points": to_xy(ellipse.outline()).tolist()}


def _mask_shape(mask: Mask) -> dict[str, Any]:
    """Return the PNG of a mask with the first and the last pixel it spans."""
    pixels = np.asarray(mask.pixels, bool)
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    (row, column), (height, width) = mask.offset, pixels.shape
    corners = [[column, row], [column + width - 1, row + height - 1]]
    png = base64.b64encode(buffer.getvalue()).decode("ascii")
    points = [[float(x), float(y)] for x, y in corners]
    return {"shape_type": "mask", "points": points, "mask": png}


def shown(region: Region, size: Size) -> Region | None:
    """Return what a file shows for a region that is no set."""
    shape = shape_of(region, size)
    return None if shape is None else region_of(shape)


FORMAT = Format("labelme", "LabelMe", (".json",), read, write, knows, file_names=file_names)
