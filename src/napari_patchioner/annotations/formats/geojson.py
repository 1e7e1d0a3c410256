"""GeoJSON as QuPath reads and writes it: full-resolution pixels ``x y``, corners at integers."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import numpy as np
import shapely
from shapely.geometry import mapping, shape

from napari_patchioner import regions
from napari_patchioner.annotations import metadata, texts
from napari_patchioner.annotations.fields import Fields
from napari_patchioner.annotations.images import Images, Size, image_size
from napari_patchioner.annotations.napari_shapes import PLANE, plane_text, time_and_depth
from napari_patchioner.annotations.notes import leaving_out, naming, note
from napari_patchioner.annotations.record import Annotation, with_human_caption
from napari_patchioner.annotations.xy import area_of, from_xy, region_of_area, to_xy
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import charge_records, check_depth

from . import json_arrays
from .head import Format, Head
from .json_arrays import as_texts, dict_in, fields_of, list_in, whole_number

COLOR = "color"
LOCKED = "locked"
# A shape that QuPath keeps from being moved is not a caption that is kept from models.
_SHAPE_LOCKED = "shape_locked"
_IMAGE = "image"
# Of the image, where the whole of it is annotated.
_SIZE = "image.size"
# What tells whether a script changed the caption, of which QuPath shows the beginning as a name.
_SEAL = "caption.sha256"
_HEX = re.compile(r"#[0-9a-fA-F]{6}\Z")
# Where QuPath keeps the description of an annotation, which it shows to people.
_DESCRIPTION = "ANNOTATION_DESCRIPTION"
_KIND = "geojson"
_COLLECTION = "FeatureCollection"
_GEOMETRIES = frozenset(
    f"{many}{name}" for many in ("", "Multi") for name in ("Point", "LineString", "Polygon")
) | {"GeometryCollection"}
_ELLIPSE = "isEllipse"
_WITHIN = ("childObjects", "children")
_YES = ("true", "1", "yes")
_OUR_FIELDS = {"objectType", "name", "color", "classification", "isLocked", "measurements"}
_OUR_FIELDS |= {"metadata"}
_LONGEST_NAME = 80
# QuPath keeps two decimals.
_ROUNDED = 0.011


def knows(head: Head) -> bool:
    """Whether a file is a FeatureCollection, a Feature, a geometry, or a list of such."""
    kind = head.fields.get("type")
    if isinstance(kind, str) and kind in _GEOMETRIES:
        return "coordinates" in head.fields or "geometries" in head.fields
    return kind == _COLLECTION or (kind == "Feature" and "geometry" in head.fields)


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write GeoJSON, or objects of other programs back into the file they were read from."""

    def new() -> dict[str, Any]:
        used = Counter(annotation.uid for annotation in annotations)
        features = [_feature(item, images, used[item.uid] > 1) for item in annotations]
        return {"type": _COLLECTION, "features": features}

    base = metadata.base_of(annotations, _KIND, path, json_arrays.parse_json)
    json_arrays.write_json(path, base, new, lambda base: _again(base, images))
    return ()


def _again(base: metadata.Base[Any], images: Images) -> tuple[Any, dict[str, str]]:
    """Return a file that was read, with records put back into it, and where its objects went."""
    places: dict[str, str] = {}
    update = partial(_updated, images=images)

    def objects(values: Sequence[Any], before: str, now: str, start: int = 0) -> list[Any]:
        """Return objects, and those within them, with what is new."""
        made: list[Any] = []
        for number, value in enumerate(values):
            old, new = f"{before}{number}", f"{now}{start + len(made)}"
            record = base.records.get(old)
            if record is None and metadata.was_deleted(partial(_said_by, value)):
                # What was within an object that was deleted stands by itself.
                for holder, key in _children(value):
                    made += objects(holder[key], f"{old}.{key}.", now, start + len(made))
                continue
            places[old] = new
            value = value if record is None else update(value, record)
            for holder, key in _children(value):
                changed = {**holder, key: objects(holder[key], f"{old}.{key}.", f"{new}.{key}.")}
                value = changed if holder is value else {**value, "properties": changed}
            made.append(value)
        return made

    content, rest = base.content, base.rest
    if content is None:  # all are new in a file that is no longer known
        known = metadata.known_entries(base.records, _KIND)
        about = next((origin.about for _, _, origin in known if origin.about), {})
        content = {"type": _COLLECTION, **about, "features": []}
        rest = [*base.records.values(), *rest]
    features = objects(_listed(content), "", "")
    for record in rest:
        entry = metadata.entry_from_elsewhere(record, _KIND, update)
        features.append(entry or _feature(record, images, shared=True))
    if isinstance(content, dict) and content.get("type") == _COLLECTION:
        return {**content, "features": features}, places
    if isinstance(content, list):
        return features, places
    alone = len(features) == 1
    return (features[0] if alone else {"type": _COLLECTION, "features": features}), places


def _updated(value: Any, annotation: Annotation, images: Images) -> Any:
    """Return an object with what a record says otherwise; the same where it says the same."""
    said = _said_by(value)
    if said is None or metadata.same_record(said.record, annotation):
        return value
    bare, value = said.bare, _as_feature(value)
    old = dict_in(value, "properties")
    drawn = _feature(annotation, images, shared=False)
    looks, kept = drawn["properties"], dict_in(old, "metadata")
    if "wkt" in kept:
        gone = [name for name in ("name", "isLocked") if name not in looks]
        new = {name: text for name, text in old.items() if name not in gone} | looks
        measured = old.get("measurements")
        if isinstance(measured, dict):
            new["measurements"] = {**measured, **looks.get("measurements", {})}
        new["metadata"] = {**kept, **looks["metadata"]}
        return {**value, "geometry": drawn["geometry"], "properties": new}
    new = dict(old)
    ours = metadata.our_texts(bare, annotation)
    if annotation.caption != bare.caption:
        kept = {**kept, _DESCRIPTION: annotation.caption}
    shown = {texts.CLASS: "classification", COLOR: "color", LOCKED: "isLocked"}
    for name in [name for name in shown if name in ours]:
        del ours[name]
        new[shown[name]] = looks.get(shown[name], False if name == LOCKED else None)
    kept = metadata.with_ours(kept, {})
    kept |= {metadata.OURS: json_arrays.to_json(ours)} if ours else {}
    if kept or "metadata" in old:
        new["metadata"] = kept
    if not regions.same_drawing(bare.region, annotation.region) or PLANE in ours:
        value = {**value, "geometry": drawn["geometry"]}
    return {**value, "properties": new}


def _listed(value: Any) -> list[Any]:
    """Return the objects of a file that is a collection, a list, or one object by itself."""
    if isinstance(value, dict) and value.get("type") == _COLLECTION:
        return list_in(value, "features")
    return value if isinstance(value, list) else [value]


def _children(value: Any) -> list[tuple[dict[str, Any], str]]:
    """Return where the objects within an object stand: what holds them, and under which name."""
    holders = [value, value.get("properties")] if isinstance(value, dict) else []
    return [
        (holder, key)
        for holder in holders
        if isinstance(holder, dict)
        for key in _WITHIN
        if isinstance(holder.get(key), list)
    ]


def _as_feature(value: Any) -> Any:
    """Return an object as a Feature, which a geometry by itself is not."""
    if not isinstance(value, dict) or str(value.get("type")) not in _GEOMETRIES:
        return value
    return {"type": "Feature", "geometry": value, "properties": {}}


def _feature(annotation: Annotation, images: Images, shared: bool) -> dict[str, Any]:
    """Return one region as QuPath's Feature."""
    kept = texts.record_texts(metadata.without_metadata(annotation))
    if annotation.caption:
        kept[_SEAL] = _seal(annotation.caption)
        kept[_DESCRIPTION] = annotation.caption
    if annotation.image:
        kept[_IMAGE] = annotation.image
    size = None
    if any(part.kind == "image" for part in annotation.region.parts()):
        size = image_size(images, annotation.image)
        kept[_SIZE] = f"{size[0]} {size[1]}"
    geometry = shape_of_region(annotation.region, size)
    t, z = time_and_depth(annotation) or (0, 0)
    if (t, z) != (0, 0):
        geometry["plane"] = {"c": -1, "z": z, "t": t}
    # The UUID that a uid is, or one that is always the same for it.
    named = f"{annotation.image}\0{annotation.uid}".encode("utf-8", "backslashreplace")
    uid = uuid5(NAMESPACE_URL, named.decode("utf-8"))
    with suppress(ValueError):
        uid = uid if shared else UUID(annotation.uid)
    return {
        "type": "Feature",
        "id": str(uid),
        "geometry": geometry,
        "properties": {"objectType": "annotation", **_looks(annotation), "metadata": kept},
    }


def _looks(annotation: Annotation) -> dict[str, Any]:
    """Return what QuPath itself shows of a record."""
    looks: dict[str, Any] = {}
    extra = annotation.extra
    if annotation.caption:
        looks["name"] = _short_name(annotation.caption)
    if _HEX.match(extra.get(COLOR, "")):
        looks["color"] = list(bytes.fromhex(extra[COLOR][1:]))
    if extra.get(texts.CLASS):
        looks["classification"] = {"name": extra[texts.CLASS]}
    if any(extra.get(name, "").lower() in _YES for name in (LOCKED, _SHAPE_LOCKED)):
        looks["isLocked"] = True
    if annotation.score is not None:
        looks["measurements"] = {"score": annotation.score}
    return looks


def _short_name(caption: str) -> str:
    """Return what fits in a list of objects: one line, cut with an ellipsis."""
    line = " ".join(caption.split())
    return line if len(line) <= _LONGEST_NAME else f"{line[: _LONGEST_NAME - 1]}…"


def _seal(caption: str) -> str:
    return sha256(caption.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def read(path: Path) -> list[Annotation]:
    """Read GeoJSON in image pixels; objects without a geometry are passed over, and noted."""
    raw = json_arrays.read_json(path)
    around: dict[str, Any] = {}
    if isinstance(raw, dict) and str(raw.get("type")) not in _GEOMETRIES | {"Feature"}:
        fields_of(raw, path.name).take("features", list)
        if raw.get("type") == _COLLECTION:
            around = {name: it for name, it in raw.items() if name not in ("type", "features")}
    plain, file = _is_plain(raw), metadata.remember_file(path.read_bytes())
    records: list[Annotation] = []
    for number, (place, value) in enumerate(_all_objects(_listed(raw), "", 0), start=1):
        where = f"{path.name}: feature {number}"
        with leaving_out("feature", where):
            charge_records()
            said = _said_by(value, where, f"{number}")
            if said is None:
                note("without geometry", f"{where}: has no geometry; left out")
                continue
            record = said.record
            if not plain:
                entry = value
                for holder, key in _children(value):
                    left = {name: field for name, field in holder.items() if name != key}
                    entry = left if holder is entry else {**entry, "properties": left}
                record = metadata.with_metadata(record, _KIND, file, place, entry, around)
            records.append(record)
    return texts.with_unique_uids(records)


def _all_objects(values: Sequence[Any], before: str, depth: int) -> Iterator[tuple[str, Any]]:
    """Yield objects, and those within them, each with its place."""
    check_depth(depth, "GeoJSON")
    for number, value in enumerate(values):
        yield f"{before}{number}", value
        for holder, key in _children(value):
            yield from _all_objects(holder[key], f"{before}{number}.{key}.", depth + 1)


def _is_plain(raw: Any) -> bool:
    """Whether there is nothing in a file that we would not write ourselves."""
    if not isinstance(raw, dict) or set(raw) != {"type", "features"} or raw["type"] != _COLLECTION:
        return False
    return all(
        isinstance(item, dict)
        and set(item) == {"type", "id", "geometry", "properties"}
        and isinstance(given := item["properties"], dict)
        and set(given) <= _OUR_FIELDS
        and given.get("objectType") == "annotation"
        and {"uid", "kind", "wkt"} <= set(dict_in(given, "metadata"))
        and isinstance(measured := given.get("measurements", {}), dict)
        and set(measured) <= {"score"}
        for item in raw["features"]
    )


def _said_by(value: Any, where: str = "", number: str = "") -> metadata.Said | None:
    """Return what an object says; None if it shows nothing."""
    feature = fields_of(_as_feature(value), where)
    given = fields_of(feature.take("properties", dict, {}), where)
    kept = as_texts(given.rest().pop("metadata", {}))
    uid = feature.take("id", object, number)
    feature.where = f"{where} (id {uid!r})"
    kind = feature.take("type", str)
    if kind != "Feature":
        raise feature.error(f"is a {kind}, but must be a Feature")
    geometry = feature.take("geometry", dict, None)
    if geometry is None:
        return None
    ours: Any = {}
    with suppress(ValueError, RecursionError):
        ours = json.loads(kept.pop(metadata.OURS, "{}"))
    is_ours, image = "wkt" in kept, kept.pop(_IMAGE, "")
    name = given.rest().pop("name", None)
    described = kept.pop(_DESCRIPTION, None)
    changed, size = None, (0, 0)  # an impossible size where there is none
    if is_ours:
        changed = _changed(kept.get("caption", ""), name, described, kept.pop(_SEAL, ""))
        sides = [whole_number(side) for side in kept.pop(_SIZE, "").split()]
        size = (sides[0] or 0, sides[1] or 0) if len(sides) == 2 and None not in sides else size

    def shown(region: regions.Region) -> regions.Region | None:
        return region_of_geometry(shape_of_region(region, size))

    with naming(feature.where):
        record = texts.annotation_from_texts(
            kept,
            drawn=region_of_geometry(geometry),
            image=image,
            caption=None if is_ours else described,
            uid=str(uid),
            shown=shown,
            tolerance=_ROUNDED,
        )
        if changed is not None:
            record = with_human_caption(replace(record, caption=f"not {changed}"), changed)
        if not is_ours and name is not None:
            record = replace(record, extra={**record.extra, "name": str(name)})
        plane = dict_in(geometry, "plane")
        index = (plane.get("t"), plane.get("z"))
        t, z = (axis if isinstance(axis, int) and axis >= 0 else 0 for axis in index)
        if (t, z) != (time_and_depth(record) or (0, 0)):
            record = replace(record, extra={**record.extra, PLANE: plane_text(t, z)})
        return metadata.said(_with_looks(record, given, is_ours=is_ours), ours, shown)


def _changed(said: str, name: Any, described: str | None, seal: str) -> str | None:
    """Return the caption that somebody wrote over ours, in any of its places, or None."""
    if not seal:
        return described or None
    if seal != _seal(said):
        return said
    if described is not None and described != said:
        return described
    return str(name) if name is not None and name != _short_name(said) else None


def _with_looks(annotation: Annotation, given: Fields, *, is_ours: bool) -> Annotation:
    """Return the record with what QuPath shows of it otherwise than it carries."""
    seen, shown = _looks(annotation), given.rest()
    extra = dict(annotation.extra)
    name = shown.pop("classification", {})
    if isinstance(name, dict):  # a class, or several in one
        name = name.get("name") or ": ".join(map(str, list_in(name, "names")))
    name = str(name)
    if name != seen.get("classification", {}).get("name", ""):
        extra[texts.CLASS] = name
    color = shown.pop("color", None)
    if isinstance(color, int):  # as older files have it
        color = list((color & 0xFFFFFF).to_bytes(3))
    with suppress(TypeError, ValueError):
        if color != seen.get("color") and len(color) == 3:
            extra[COLOR] = f"#{bytes(color).hex()}"
    locked = shown.pop("isLocked", False) is True
    if locked != seen.get("isLocked", False):
        extra[LOCKED if is_ours else _SHAPE_LOCKED] = str(locked).lower()
    measured = shown.pop("measurements", {})
    if isinstance(measured, list):  # as older files have them
        listed = [item for item in measured if isinstance(item, dict) and "name" in item]
        measured = {str(item["name"]): item.get("value") for item in listed}
    numbers = texts.as_extras({k: v for k, v in as_texts(measured).items() if k != "score"})
    extra |= {k: v for k, v in numbers.items() if k not in extra}
    kind = str(shown.pop("objectType", "annotation"))
    if kind != "annotation":
        extra.setdefault("object_type", kind)
    return annotation if extra == annotation.extra else replace(annotation, extra=extra)


def shape_of_region(region: regions.Region, size: Size | None) -> dict[str, Any]:
    """Return a region as a GeoJSON geometry.

    An ellipse is a polygon around it, marked as one where it stands upright; a mask is the edges
    of its pixels; a set of areas is all they cover.
    """
    if isinstance(region, regions.Ellipse) and regions.upright_box(region.corners) is not None:
        return {**mapping(area_of(region)), _ELLIPSE: True}
    return dict(mapping(_geometry(region, size)))


def _geometry(region: regions.Region, size: Size | None) -> Any:
    """Return a region as a shapely geometry: of a set lines, what they cover, or a collection."""
    match region:
        case regions.WholeImage():
            return area_of(region.for_image(*(size or (0, 0))))
        case regions.Point():
            return shapely.Point(to_xy(region.coords())[0])
        case regions.Trace():
            points = to_xy(region.points)
            if not region.connected:
                return shapely.MultiPoint(points)
            return shapely.Point(points[0]) if len(points) == 1 else shapely.LineString(points)
        case regions.RegionSet():
            sized = any(isinstance(member, regions.WholeImage) for member in region.members)
            if region.is_area and not sized and not (area := area_of(region)).is_empty:
                return area
            made = [_geometry(member, size) for member in region.members]
            lines = all(part.geom_type == "LineString" for part in made)
            return shapely.MultiLineString(made) if lines else shapely.GeometryCollection(made)
    return area_of(region)


def region_of_geometry(geometry: dict[str, Any]) -> regions.Region:
    """Return the region that a GeoJSON geometry shows."""
    broken = (ValueError, TypeError, KeyError, AttributeError, IndexError)
    try:
        drawn = shape(geometry)
    except (*broken, shapely.errors.ShapelyError) as error:
        raise FormatError("its geometry is no GeoJSON geometry") from error
    points = shapely.get_coordinates(drawn)
    if not len(points):
        raise FormatError("its geometry is empty")
    if not np.isfinite(points).all():
        raise FormatError("a coordinate of its geometry is not a finite number")
    if geometry.get(_ELLIPSE) is True:
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
        return regions.Ellipse(from_xy(corners))
    return _region(drawn)


def _region(geometry: Any) -> regions.Region:
    kind = geometry.geom_type
    points = from_xy(shapely.get_coordinates(geometry))
    if kind == "Point":
        return regions.Point(float(points[0, 0]), float(points[0, 1]))
    if kind in ("LineString", "LinearRing"):
        return regions.Trace(points)
    if kind == "MultiPoint":
        return regions.Trace(points, connected=False)
    if kind in ("Polygon", "MultiPolygon"):
        return region_of_area(geometry)
    members = [_region(part) for part in shapely.get_parts(geometry) if not part.is_empty]
    return regions.RegionSet(tuple(part for member in members for part in member.parts()))


FORMAT = Format("geojson", "GeoJSON for QuPath", (".geojson",), read, write, knows, single=True)
