"""GeoJSON as QuPath reads and writes it: full-resolution pixels ``x y``, corners at integers."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, UUID, uuid5

from napari_patchioner.annotations._captioned import with_human_caption
from napari_patchioner.annotations._carried import CLASS, annotation_from, carried, unique
from napari_patchioner.annotations._columns import check_unique
from napari_patchioner.annotations._images import image_size
from napari_patchioner.annotations._plane import PLANE, plane_text, time_and_depth
from napari_patchioner.errors import FormatError

from ._geojson_shapes import has_whole_image, region_of_geometry, shape_of_region
from ._json_file import as_texts, fields_of, read_json, whole_number, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from napari_patchioner.annotations._annotation import Annotation
    from napari_patchioner.annotations._fields import Fields
    from napari_patchioner.annotations._images import Images

    from ._head import Head

COLOR = "color"
LOCKED = "locked"
_IMAGE = "image"
# Of the image, where the whole of it is annotated.
_SIZE = "image.size"
# What tells whether a script changed the caption, of which QuPath shows the beginning as a name.
_SEAL = "caption.sha256"
_HEX = re.compile(r"#[0-9a-fA-F]{6}\Z")
_LONGEST_NAME = 80
# QuPath keeps two decimals.
_ROUNDED = 0.011


def knows(head: Head) -> bool:
    """Whether a file is a FeatureCollection, a Feature, or a list of Features."""
    kind = head.fields.get("type")
    return kind == "FeatureCollection" or (kind == "Feature" and "geometry" in head.fields)


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write GeoJSON; every kind of region has a place, with its exact geometry as metadata.

    Raises
    ------
    FormatError
        If a region makes no sense, two of one image share a uid, or the size of an image is
        missing whose whole is annotated.
    """
    check_unique(annotations)
    used = Counter(one.uid for one in annotations)
    features = [_feature(one, images, used[one.uid] > 1) for one in annotations]
    write_json(path, {"type": "FeatureCollection", "features": features})
    return ()


def _feature(annotation: Annotation, images: Images, shared: bool) -> dict[str, Any]:
    """Return one region as QuPath's Feature."""
    metadata = carried(annotation)
    if annotation.caption:
        metadata[_SEAL] = _seal(annotation.caption)
    if annotation.image:
        metadata[_IMAGE] = annotation.image
    size = None
    if has_whole_image(annotation.region):
        size = image_size(images, annotation.image)
        metadata[_SIZE] = f"{size[0]} {size[1]}"
    geometry = shape_of_region(annotation.region, size)
    t, z = time_and_depth(annotation) or (0, 0)
    if (t, z) != (0, 0):
        geometry["plane"] = {"c": -1, "z": z, "t": t}
    return {
        "type": "Feature",
        "id": _uuid(annotation, shared),
        "geometry": geometry,
        "properties": {"objectType": "annotation", **_looks(annotation), "metadata": metadata},
    }


def _looks(annotation: Annotation) -> dict[str, Any]:
    """Return what QuPath itself shows of a record."""
    looks: dict[str, Any] = {}
    if annotation.caption:
        looks["name"] = short_name(annotation.caption)
    if _HEX.match(annotation.extra.get(COLOR, "")):
        looks["color"] = list(bytes.fromhex(annotation.extra[COLOR][1:]))
    if annotation.extra.get(CLASS):
        looks["classification"] = {"name": annotation.extra[CLASS]}
    if annotation.extra.get(LOCKED, "").lower() in ("true", "1", "yes"):
        looks["isLocked"] = True
    if annotation.score is not None:
        looks["measurements"] = {"score": annotation.score}
    return looks


def short_name(caption: str) -> str:
    r"""Return what fits in a list of objects: one line, cut with an ellipsis.

    >>> short_name("a cat,\nasleep")
    'a cat, asleep'
    """
    line = " ".join(caption.split())
    return line if len(line) <= _LONGEST_NAME else f"{line[: _LONGEST_NAME - 1]}…"


def _uuid(annotation: Annotation, shared: bool) -> str:
    """Return the UUID that a uid is, or one that is always the same for it."""
    try:
        if not shared:
            return str(UUID(annotation.uid))
    except ValueError:
        pass
    text = f"{annotation.image}\0{annotation.uid}".encode("utf-8", "backslashreplace")
    return str(uuid5(NAMESPACE_URL, text.decode("utf-8")))


def read(path: Path) -> list[Annotation]:
    """Read GeoJSON, QuPath's or any other in image pixels.

    Raises
    ------
    FormatError
        One sentence that names the file and the feature.
    """
    return unique(
        _annotation(fields_of(value, f"{path.name}: feature {number}"), f"{number}")
        for number, value in enumerate(_features(read_json(path), path.name), start=1)
    )


def _features(value: Any, name: str) -> Iterator[Any]:
    """Yield the features of a collection, a list, or a single one, those within others too."""
    listed: Sequence[Any] = value if isinstance(value, list) else [value]
    if not isinstance(value, list) and fields_of(value, name).take("type", str) != "Feature":
        listed = fields_of(value, name).items("features", dict)
    for one in listed:
        yield one
        inside = one.get("properties") if isinstance(one, dict) else None
        for key in ("childObjects", "children"):
            if isinstance(inside, dict) and isinstance(inside.get(key), list):
                yield from _features(inside[key], name)


def _annotation(feature: Fields, number: str) -> Annotation:
    given = fields_of(feature.take("properties", dict, {}), feature.where)
    metadata = as_texts(given.take("metadata", dict, {}))
    geometry = feature.take("geometry", dict)
    uid = feature.take("id", object, number)
    feature.where = f"{feature.where} (id {uid!r})"
    ours, image = "wkt" in metadata, metadata.pop(_IMAGE, "")
    name = given.take("name", str, None)
    said, seal = metadata.get("caption", ""), metadata.pop(_SEAL, "") if ours else ""
    scripted = bool(seal) and "caption" in metadata and seal != _seal(said)
    size = _size(metadata.pop(_SIZE, "") if ours else "")
    try:
        found = annotation_from(
            metadata,
            drawn=region_of_geometry(geometry),
            image=image,
            caption=None if scripted else name if name is not None or not ours else "",
            uid=str(uid),
            shown=lambda region: region_of_geometry(shape_of_region(region, size)),
            told=short_name,
            tolerance=_ROUNDED,
        )
    except FormatError as error:
        raise feature.error(str(error)) from error
    if scripted:
        found = with_human_caption(replace(found, caption=f"not {said}"), said)
    return _with_looks(_with_plane(found, geometry), given)


def _seal(caption: str) -> str:
    return sha256(caption.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _size(text: str) -> tuple[int, int]:
    """Return ``(height, width)``; an impossible size where there is none."""
    numbers = [whole_number(number) for number in text.split()]
    match numbers:
        case [int(height), int(width)]:
            return height, width
    return 0, 0


def _with_plane(annotation: Annotation, geometry: dict[str, Any]) -> Annotation:
    """Return the record in the plane the file says, where that is not the one it carried."""
    plane = geometry.get("plane")
    index = [plane.get("t"), plane.get("z")] if isinstance(plane, dict) else [0, 0]
    t, z = (axis if isinstance(axis, int) and axis >= 0 else 0 for axis in index)
    if (t, z) == (time_and_depth(annotation) or (0, 0)):
        return annotation
    return replace(annotation, extra={**annotation.extra, PLANE: plane_text(t, z)})


def _with_looks(annotation: Annotation, given: Fields) -> Annotation:
    """Return the record with what QuPath shows of it otherwise than it carries."""
    seen = _looks(annotation)
    extra = dict(annotation.extra)
    name = _class_name(given.take("classification", dict, {}))
    if name != seen.get("classification", {}).get("name", ""):
        extra[CLASS] = name
    color = _color(given.take("color", object, None))
    if color is not None and color != seen.get("color"):
        extra[COLOR] = f"#{bytes(color).hex()}"
    locked = given.take("isLocked", bool, False)
    if locked != seen.get("isLocked", False):
        extra[LOCKED] = str(locked).lower()
    measured = _measurements(given.take("measurements", object, {}))
    extra |= {k: v for k, v in as_texts(measured).items() if k not in (*extra, "score")}
    kind = given.take("objectType", str, "annotation")
    if kind != "annotation":
        extra.setdefault("object_type", kind)
    return annotation if extra == annotation.extra else replace(annotation, extra=extra)


def _class_name(classification: dict[str, Any]) -> str:
    """Return the name of a class, or its several names in one."""
    names = classification.get("names")
    several = ": ".join(map(str, names)) if isinstance(names, list) else ""
    return str(classification.get("name") or several)


def _color(value: Any) -> list[int] | None:
    """Return red, green and blue; older files pack them into one number."""
    if isinstance(value, int):
        return list((value & 0xFFFFFF).to_bytes(3))
    parts = value if isinstance(value, list) else []
    known = len(parts) == 3 and all(isinstance(part, int) and 0 <= part < 256 for part in parts)
    return [int(part) for part in parts] if known else None


def _measurements(value: Any) -> dict[str, Any]:
    """Return measurements by name; older files list them."""
    if isinstance(value, dict):
        return value
    items = value if isinstance(value, list) else []
    return {
        str(one["name"]): one.get("value")
        for one in items
        if isinstance(one, dict) and "name" in one
    }
