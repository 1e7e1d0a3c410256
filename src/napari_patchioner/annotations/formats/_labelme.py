"""LabelMe: one JSON per image, shapes in ``x y`` pixels with pixel corners at integers.

A caption is the ``description`` of a shape, its class the ``label``. Whatever LabelMe has no place
for goes into a key of our own beside these, which LabelMe keeps. A folder or a zip holds the files
of several images.

"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_patchioner.annotations._carried import carried
from napari_patchioner.annotations._columns import check_unique
from napari_patchioner.annotations._images import image_name
from napari_patchioner.annotations._parts import PART, Shape, class_of, gather, members_of
from napari_patchioner.annotations._table import encode_text, write_bytes
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import BudgetError
from napari_patchioner.regions import RegionSet

from ._bundle import file_stems, first_files, read_bundle, write_bundle
from ._json_file import parse_json
from ._labelme_shapes import Size, region_of, shape_of, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_patchioner.annotations._annotation import Annotation
    from napari_patchioner.annotations._images import Images

    from ._head import Head

_OURS = "napari_patchioner"
_PICTURE = {"imagePath", "imageData", "imageHeight"}
_VERSION = "5.5.0"
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


def _is_ours(found: Any) -> bool:
    return isinstance(found, dict) and "shapes" in found and bool(_PICTURE & set(found))


def _is_json(name: str) -> bool:
    return name.lower().endswith(".json")


def read(path: Path) -> list[Annotation]:
    """Read LabelMe's files.

    Parameters
    ----------
    path : Path
        A JSON, or a folder or zip of them.

    Returns
    -------
    list of Annotation
        Coordinates in ``(row, column)``. Shapes of other people that share a label and a
        ``group_id`` are one set, counted once where they overlap.

    Raises
    ------
    FormatError
        One sentence that names the file and the shape.
    """
    files = read_bundle(Path(path), _is_json)
    parsed = {name: parse_json(data, name) for name, data in files.items()}
    if len(parsed) > 1:
        # Other tables may lie in the same folder.
        parsed = {name: found for name, found in parsed.items() if _is_ours(found)} or parsed
    return [one for name, found in parsed.items() for one in _read_file(name, found)]


def _read_file(name: str, found: Any) -> list[Annotation]:
    """Return the annotations of one image."""
    if not isinstance(found, dict) or not isinstance(found.get("shapes"), list):
        raise FormatError(f"{name}: is no file of LabelMe; it has no list of 'shapes'")
    image = _image(found)
    shapes = []
    for place, shape in enumerate(found["shapes"]):
        try:
            shapes.append(_read_shape(shape, image, str(place)))
        except (FormatError, TypeError, ValueError, KeyError) as error:
            why = error if isinstance(error, FormatError) else "its fields do not fit its type"
            raise FormatError(f"{name}: shape {place + 1}: {why}") from error
    size = _size(found)
    try:
        return gather(_grouped(shapes, found["shapes"]), lambda _, region: shown(region, size))
    except FormatError as error:
        raise FormatError(f"{name}: {error}") from error


def _image(found: Mapping[str, Any]) -> str:
    """Return the image a file is about: as we call it, unless somebody renamed it."""
    named = str(found.get("imagePath") or "")
    ours = found.get(_OURS)
    kept = isinstance(ours, dict) and ours.get("imagePath") == named
    return str(ours.get("image", named)) if kept and isinstance(ours, dict) else named


def _size(found: Mapping[str, Any]) -> Size:
    height, width = found.get("imageHeight"), found.get("imageWidth")
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _read_shape(shape: Any, image: str, uid: str) -> Shape:
    """Return one shape of a file."""
    if not isinstance(shape, dict) or not isinstance(shape.get("points"), list):
        raise FormatError("has no list of 'points'")
    ours = shape.get(_OURS)
    texts = {str(key): str(text) for key, text in ours.items()} if isinstance(ours, dict) else {}
    if not texts:
        flags = shape.get("flags") or {}
        texts = {str(key): str(bool(value)).lower() for key, value in flags.items()}
        rest = {key: value for key, value in shape.items() if key not in _SHAPE_KEYS}
        texts |= {key: str(value) for key, value in rest.items() if _is_plain(value)}
    caption, label = str(shape.get("description") or ""), str(shape.get("label") or "")
    return Shape(image, uid, region_of(shape), caption, texts, label or None)


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _grouped(shapes: list[Shape], found: Sequence[Mapping[str, Any]]) -> list[Shape]:
    """Return the shapes, those of other people that share label and group made parts of one."""
    firsts: dict[Any, int] = {}
    grouped: list[Shape] = []
    for one, shape in zip(shapes, found, strict=True):
        group = shape.get("group_id")
        key = (one.label, group)
        if one.texts or not isinstance(group, int) or isinstance(group, bool):
            grouped.append(one)
        elif key not in firsts:
            firsts[key] = len(grouped)
            grouped.append(one)
        else:
            at = firsts[key]
            grouped[at] = _joined(grouped[at], one)
    return grouped


def _joined(first: Shape, other: Shape) -> Shape:
    """Return two shapes of one instance as a set, shared patches counted once."""
    parts = [part for one in (first, other) if one.region for part in members_of(one.region)]
    region = RegionSet(tuple(parts), union=True)
    return Shape(first.image, first.uid, region, first.caption or other.caption, {}, first.label)


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write LabelMe's files.

    Parameters
    ----------
    path : Path
        A ``.json`` for one image; a ``.zip`` or a folder (a name without an ending) for one JSON
        per image, named like the image.
    annotations : sequence of Annotation
        Regions of any number of images.
    images : mapping of str to ImageInfo
        The images, by the name annotations give them. LabelMe wants to know their sizes.

    Returns
    -------
    tuple of Annotation
        Whole images whose size nobody told.

    Raises
    ------
    FormatError
        If one JSON is to hold several images, or a region makes no sense.
    """
    path = Path(path)
    check_unique(annotations)
    own: dict[str, list[Annotation]] = {}
    for one in annotations:
        own.setdefault(one.image, []).append(one)
    left_out: list[Annotation] = []
    if _is_json(path.name):
        if len(own) > 1:
            raise FormatError(
                f"{path.name}: LabelMe holds one image per file, but there are {len(own)}; "
                "write to a folder or a .zip instead"
            )
        image = next(iter(own), next(iter(images), ""))
        write_bytes(path, _file(image, annotations, images, left_out))
        return tuple(left_out)
    stems = file_stems({image: image_name(images, image) for image in own})
    files = {
        f"{stems[image]}.json": _file(image, mine, images, left_out) for image, mine in own.items()
    }
    write_bundle(path, files)
    return tuple(left_out)


def _file(
    image: str, annotations: Sequence[Annotation], images: Images, left_out: list[Annotation]
) -> bytes:
    """Return the JSON of one image; what it cannot hold is added to ``left_out``."""
    info = images.get(image)
    size = (info.height, info.width) if info is not None else None
    name = image_name(images, image)
    shapes: list[dict[str, Any]] = []
    for group, annotation in enumerate(annotations):
        made = _shapes(annotation, size, group)
        shapes += made
        if not made:
            left_out.append(annotation)
    found = {
        "version": _VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": name,
        "imageData": None,
        "imageHeight": info.height if info else None,
        "imageWidth": info.width if info else None,
        _OURS: {"image": image, "imagePath": name},
    }
    return encode_text(json.dumps(found, ensure_ascii=False, allow_nan=False) + "\n")


def _shapes(annotation: Annotation, size: Size, group: int) -> list[dict[str, Any]]:
    """Return the shapes of one annotation: one, or one per member of a set."""
    texts = carried(annotation)
    fields = [made for part in members_of(annotation.region) if (made := shape_of(part, size))]
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
