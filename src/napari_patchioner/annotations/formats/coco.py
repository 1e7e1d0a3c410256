"""COCO instances with a caption each: boxes, polygons, and runs of pixels for masks.

COCO has no ellipses (a polygon is drawn), no points and no traces (they are left out). What else
belongs to a record, the exact geometry too, is in its ``attributes``. Records of other programs
stay as they were: what is ours of them has a key of its own, and the file around them is kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from napari_patchioner import regions
from napari_patchioner.annotations import metadata, rle, texts
from napari_patchioner.annotations.fields import Fields
from napari_patchioner.annotations.images import Images, Size, image_name, is_image, known_size
from napari_patchioner.annotations.notes import Notes, leaving_out, naming, note, noting
from napari_patchioner.annotations.record import Annotation
from napari_patchioner.annotations.xy import area_of, filled, polygon_of, to_xy
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import charge_records

from . import json_arrays
from .head import Format, Head
from .json_arrays import as_texts, dict_in, dicts_in, fields_of, identifier, key_of, list_in

# Pixels along the sides of a picture in which a tangled outline is filled.
_TANGLED = 2048
_KIND = "coco"
_INFO = {"description": "Captioned regions", "version": "1.0"}
_OUR_FIELDS = {"id", "image_id", "category_id", "segmentation", "bbox", "area", "iscrowd"}
_OUR_FIELDS |= {"caption", "score", "attributes"}
_OUR_LISTS = {
    "images": {"id", "width", "height", "file_name"},
    "categories": {"id", "name", "supercategory"},
}


def knows(head: Head) -> bool:
    """Whether a file is COCO's, and not captions alone."""
    return _is_coco(head) and not knows_captions(head)


def _is_coco(head: Head) -> bool:
    """Whether a file holds images, and annotations, categories or licenses of them."""
    others = {"annotations", "categories", "licenses"}
    return not head.is_list and "images" in head.fields and bool(others & set(head.fields))


def knows_captions(head: Head) -> bool:
    """Whether a file is COCO's, and holds captions and no outline."""
    listed = dicts_in(head.fields, "annotations") if _is_coco(head) else []
    outlined = any("bbox" in entry or "segmentation" in entry for entry in listed)
    return not outlined and any("caption" in entry for entry in listed)


def write(
    path: Path, annotations: Sequence[Annotation], images: Images, *, classed: bool = True
) -> tuple[Annotation, ...]:
    """Write COCO instances; return points, traces and sets with such, which COCO cannot hold.

    Or, not ``classed``, the captions of whole images; then all other regions have no place. Records
    of other programs' files go back into the file they were read from, in which nothing else
    changes.
    """
    held = [
        annotation
        for annotation in annotations
        if (annotation.region.is_area if classed else annotation.kind == "image")
    ]

    def new() -> dict[str, Any]:
        names = dict.fromkeys([*images, *(annotation.image for annotation in annotations)])
        ids = {name: number for number, name in enumerate(names, start=1)}
        listed = dict.fromkeys(map(texts.class_of, held)) or (texts.UNSORTED,)
        classes = {name: number for number, name in enumerate(listed, start=1)}
        made = []
        for number, annotation in enumerate(held, start=1):
            entry: dict[str, Any] = {"id": number, "image_id": ids[annotation.image]}
            if classed:
                entry["category_id"] = classes[texts.class_of(annotation)]
            name, size = image_name(images, annotation.image), known_size(images, annotation.image)
            made.append(entry | _entry(annotation, name, size, classed=classed))
        shown = [{"id": number, **_image_fields(name, images)} for name, number in ids.items()]
        whole = {"info": _INFO, "licenses": [], "images": shown, "annotations": made}
        categories = [_category(number, name) for name, number in classes.items()]
        return {**whole, "categories": categories} if classed else whole

    base = metadata.base_of(held, _KIND, path, json_arrays.parse_json)
    with noting(Notes()):  # all was noted when the file was read
        json_arrays.write_json(
            path, base, new, lambda base: _Again(base, images, classed).file(held)
        )
    kept = set(map(id, held))
    return tuple(annotation for annotation in annotations if id(annotation) not in kept)


def _category(number: object, name: str) -> dict[str, Any]:
    return {"id": number, "name": name, "supercategory": ""}


def _image_fields(name: str, images: Images) -> dict[str, Any]:
    info = images.get(name)
    size = {"width": info.width, "height": info.height} if info else {}
    return {**size, "file_name": image_name(images, name)}


def _entry(
    annotation: Annotation, name: str, size: Size | None, *, classed: bool
) -> dict[str, Any]:
    """Return what COCO says about one region, or about the whole image."""
    drawn = {**_drawing(annotation, size), "iscrowd": 0} if classed else {}
    score = {"score": annotation.score} if classed and annotation.score is not None else {}
    attributes = texts.record_texts_with_image(metadata.without_metadata(annotation), name)
    return {**drawn, "caption": annotation.caption, **score, "attributes": attributes}


def _drawing(annotation: Annotation, size: Size | None) -> dict[str, Any]:
    with naming(f"region {annotation.uid!r} of image {annotation.image!r}"):
        return coco_drawing(annotation.region, size)


class _Again:
    """A file that was read, with records put back into it."""

    def __init__(self, base: metadata.Base[Any], images: Images, classed: bool) -> None:
        self._base, self._sizes, self._classed = base, images, classed
        self._records = base.records
        content = base.content if isinstance(base.content, dict) else self._from_entries()
        self._whole: dict[str, Any] = dict(content)
        self._known = _Known(self._whole, "")
        self._images = list(list_in(self._whole, "images"))
        self._categories = list(list_in(self._whole, "categories"))
        self._ids, self._image_ids, self._category_ids = (
            _next_ids(self._whole, name) for name in ("annotations", "images", "categories")
        )

    def _from_entries(self) -> dict[str, Any]:
        """Return what the records still hold of a file that is no longer known."""
        in_order = dict(sorted(self._records.items(), key=lambda pair: (len(pair[0]), pair[0])))
        known = metadata.known_entries(in_order, _KIND)
        self._records = {str(n): record for n, (_, record, _) in enumerate(known)}
        lists: dict[str, dict[str, Any]] = {"image": {}, "category": {}}
        for _, _, origin in known:
            for name, fields in lists.items():
                if about := origin.about.get(name):
                    fields[key_of(about["id"])] = about
        return {
            "images": list(lists["image"].values()),
            "annotations": [origin.entry for _, _, origin in known],
            "categories": list(lists["category"].values()),
        }

    def file(self, held: Sequence[Annotation]) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the whole file, and where its entries are by where they were."""
        listed = list_in(self._whole, "annotations")
        numbers = [int(place) for place in self._records if int(place) < len(listed)]
        here = {key_of(listed[number].get("image_id")) for number in numbers}
        names = {*self._sizes, *(info.name for info in self._sizes.values())}
        # The ids of the images meant, for certain and perhaps.
        sure: set[str] = set()
        perhaps: set[str] = set()
        known = self._known.images.items()
        for name in names | {annotation.image for annotation in held}:
            alike = [key for key, (other, _) in known if other == name]
            alike = alike or [key for key, (other, _) in known if is_image(name, other)]
            perhaps.update(alike)
            sure.update(alike if len(alike) == 1 else [])
        places: dict[str, str] = {}
        made: list[Any] = []
        for place, value in enumerate(listed):
            record = self._records.get(str(place))
            if record is not None:
                value = self._updated(value, record, self._known)
            elif self._is_gone(value, here | sure, perhaps):
                continue
            places[str(place)] = str(len(made))
            made.append(value)
        old = list_in(self._whole, "images")
        count = len(old)
        if not self._base.in_place and self._base.content is not None:
            meant = here | perhaps
            old = [i for i in old if not isinstance(i, dict) or key_of(i.get("id")) in meant]
        made += map(self._new, self._base.rest)
        whole = {**self._whole, "images": [*old, *self._images[count:]], "annotations": made}
        if self._categories or "categories" in self._whole:
            whole["categories"] = self._categories
        return whole, places

    def _is_gone(self, value: Any, here: set[str], perhaps: set[str]) -> bool:
        """Whether an entry without a record was taken out, or is of no image that is meant."""
        try:
            was = _said(fields_of(value, ""), self._known).record
        except FormatError:
            return False
        image = key_of(value.get("image_id"))
        if image in here:
            return metadata.is_deleted(was.region)
        return not self._base.in_place and image not in perhaps

    def _updated(
        self, value: dict[str, Any], annotation: Annotation, known: _Known
    ) -> dict[str, Any]:
        """Return an entry with what a record says otherwise; the same where it says the same."""
        new = dict(value) if "id" in value else {"id": next(self._ids), **value}
        bare, was = _said(fields_of(value, ""), known)
        if metadata.same_record(was, annotation):
            return new
        size = known.size_of(value) or known_size(self._sizes, annotation.image)
        if "wkt" in as_texts(value.get("attributes")):
            new.pop("score", None)
            new |= _entry(annotation, annotation.image, size, classed=self._classed)
            if "iscrowd" in value:
                new["iscrowd"] = value["iscrowd"]
        else:
            if annotation.caption != bare.caption:
                new["caption"] = annotation.caption
            if not regions.same_drawing(bare.region, annotation.region):
                new |= _drawing(annotation, size)
            ours = metadata.our_texts(bare, annotation)
            ours.pop(texts.CLASS, None)
            new = metadata.with_ours(new, ours)
        if self._classed and texts.class_of(annotation) != texts.class_of(was):
            new["category_id"] = self._category_of(annotation)
        return new

    def _new(self, annotation: Annotation) -> dict[str, Any]:
        """Return the entry of a record that is new in the file."""
        name = image_name(self._sizes, annotation.image)
        ids = {"id": next(self._ids), "image_id": self._image_of(annotation, name)}
        if self._classed:
            ids["category_id"] = self._category_of(annotation)

        origin = metadata.metadata_of(annotation, _KIND)
        about = origin.about if origin is not None else {}
        lists = {"images": about.get("image"), "categories": about.get("category")}
        around = _Known({name: [item] for name, item in lists.items() if item}, "")
        entry = metadata.entry_from_elsewhere(
            annotation, _KIND, partial(self._updated, known=around)
        )
        if entry is not None:
            return {**entry, **ids}
        size = known_size(self._sizes, annotation.image) or next(
            (size for other, size in self._known.images.values() if other == name), None
        )
        return {**ids, **_entry(annotation, name, size, classed=self._classed)}

    def _image_of(self, annotation: Annotation, name: str) -> Any:
        """Return the id of the image of a record, which is listed if it was not."""
        known = [image for image in self._images if isinstance(image, dict)]
        alike = [image for image in known if image.get("file_name") in (annotation.image, name)]
        alike = alike or [i for i in known if is_image(name, str(i.get("file_name", "")))]
        if alike and "id" in alike[0]:
            return alike[0]["id"]
        number = next(self._image_ids)
        origin = metadata.metadata_of(annotation, _KIND)
        fields = dict_in(origin.about, "image") if origin is not None else {}
        fields = fields or _image_fields(annotation.image, self._sizes)
        self._images.append({**fields, "id": number})
        return number

    def _category_of(self, annotation: Annotation) -> Any:
        """Return the id of the class of a record, which is listed if it was not."""
        name = texts.class_of(annotation)
        for category in self._categories:
            if isinstance(category, dict) and category.get("name") == name and "id" in category:
                return category["id"]
        number = next(self._category_ids)
        self._categories.append(_category(number, name))
        return number


def _next_ids(whole: Any, name: str) -> Iterator[int]:
    """Yield ids that no object of a list has."""
    return json_arrays.next_ids([entry.get("id") for entry in dicts_in(whole, name)])


class _Known:
    """The images and categories that the annotations of a file refer to, by their ids as texts.

    ``images`` holds names and sizes, ``classes`` names, ``raw`` both as they stand there;
    ``doubtful`` the ids that several images have, and why that is a problem; ``problems`` all that
    is wrong with the lists.
    """

    def __init__(self, whole: dict[str, Any], where: str) -> None:
        self.images: dict[str, tuple[str, Size | None]] = {}
        self.classes: dict[str, str] = {}
        self.doubtful: dict[str, str] = {}
        self.problems: list[str] = []
        self.raw: dict[str, dict[str, Any]] = {"image": {}, "category": {}}
        readers = {"image": ("images", self._image), "category": ("categories", self._category)}
        for kind, (name, read) in readers.items():
            for place, value in enumerate(list_in(whole, name), start=1):
                try:
                    fields = fields_of(value, f"{where}: {kind} {place}")
                    read(fields, key_of(identifier(fields, "id")), value)
                except FormatError as error:
                    self.problems.append(str(error))

    def _image(self, image: Fields, key: str, value: Any) -> None:
        name = image.take("file_name", str, key)
        known = self.images.get(key)
        if known is not None and known[0] != name:
            why = f"the image id {key} is given to {known[0]!r} and to {name!r}"
            self.doubtful[key] = f"{why}, so that nobody can tell which one is meant"
            self.problems.append(f"{image.where}: {why}; give each image an id of its own")
            return
        self.images[key], self.raw["image"][key] = (name, None), value
        height, width = (image.take(side, float, None) for side in ("height", "width"))
        if height is None or width is None:
            return
        if not (math.isfinite(height) and math.isfinite(width)) or min(height, width) < 0:
            raise image.error("'height' and 'width' must be numbers of pixels")
        self.images[key] = (name, (int(height), int(width)))

    def _category(self, category: Fields, key: str, value: Any) -> None:
        name = category.take("name", str)
        known = self.classes.get(key)
        if known is not None and known != name:
            self.problems.append(
                f"{category.where}: the category id {key} is given to {known!r} and to {name!r}; "
                f"its regions are called {key!r}, since nobody can tell which one is meant"
            )
            name = key
        self.classes[key], self.raw["category"][key] = name, value

    def size_of(self, entry: dict[str, Any]) -> Size | None:
        """Return ``(height, width)`` of the image of an entry, where the file states it."""
        return self.images.get(key_of(entry.get("image_id")), ("", None))[1]


def read(path: Path) -> list[Annotation]:
    """Read COCO instances or captions; an annotation without any outline is of the whole image."""
    raw = json_arrays.read_json(path)
    whole = fields_of(raw, path.name)
    for name in ("images", "annotations", "categories"):
        whole.take(name, list, [])
    known = _Known(raw, path.name)
    plain, file = _is_plain(raw), metadata.remember_file(path.read_bytes())
    numbers = _next_ids(raw, "annotations")
    records = []
    for problem in known.problems:
        note("lists", problem)
    for place, value in enumerate(list_in(raw, "annotations")):
        where = f"{path.name}: annotation {place + 1}"
        with leaving_out("annotation", where):
            charge_records()
            record = _said(fields_of(value, where), known).record
            if not (plain and _is_plain_entry(value)):
                keys = {name: key_of(value.get(f"{name}_id")) for name in known.raw}
                about = {name: known.raw[name].get(key) for name, key in keys.items()}
                record = metadata.with_metadata(record, _KIND, file, place, value, about)
            records.append(record if record.uid else replace(record, uid=str(next(numbers))))
    return texts.with_unique_uids(records)


def _is_plain(whole: dict[str, Any]) -> bool:
    """Whether there is nothing around the annotations that we would not write ourselves."""
    return (
        whole.get("info") == _INFO
        and whole.get("licenses") == []
        and set(whole) <= {"info", "licenses", "annotations", *_OUR_LISTS}
        and all(
            isinstance(item, dict) and set(item) <= fields and item.get("id") == number
            for name, fields in _OUR_LISTS.items()
            for number, item in enumerate(list_in(whole, name), start=1)
        )
        and not any(item.get("supercategory") for item in list_in(whole, "categories"))
    )


def _is_plain_entry(value: dict[str, Any]) -> bool:
    """Whether there is nothing in an annotation that we would not write ourselves."""
    attributes = dict_in(value, "attributes")
    return (
        {"uid", "kind", "wkt"} <= set(attributes)
        and set(value) <= _OUR_FIELDS
        and value.get("iscrowd", 0) == 0
        and all(isinstance(attribute, str) for attribute in attributes.values())
    )


def _said(entry: Fields, known: _Known) -> metadata.Said:
    """Return what an annotation says."""
    number = identifier(entry, "id", "")
    entry.where = f"{entry.where} (id {number!r})"
    image_id = identifier(entry, "image_id")
    key = key_of(image_id)
    if key in known.doubtful:
        raise entry.error(known.doubtful[key])
    if key not in known.images:
        raise entry.error(f"its image {image_id!r} is not among the images")
    image, size = known.images[key]
    attributes = as_texts(entry.take("attributes", object, {}))
    ours = entry.take(metadata.OURS, object, {})
    drawn, caption = coco_region(entry, size), entry.take("caption", str, None)

    def shown(region: regions.Region) -> regions.Region | None:
        if isinstance(region, regions.WholeImage) and isinstance(drawn, regions.WholeImage):
            return drawn
        return coco_region(fields_of(coco_drawing(region, size), entry.where))

    with naming(entry.where):
        record = texts.annotation_from_texts(
            attributes,
            drawn=drawn,
            image=image,
            caption=caption,
            uid="" if number == "" else key_of(number),
            shown=shown,
        )
        category = identifier(entry, "category_id", "")
        score = entry.take("score", float, None)
        if "wkt" not in attributes:
            others = {k: v for k, v in entry.rest().items() if k not in ("area", "iscrowd")}
            extra = {**texts.as_extras(as_texts(others)), **record.extra}
            record = replace(record, score=score, extra=extra)
        if category != "":
            label = known.classes.get(key_of(category), str(category))
            record = texts.with_class(record, label)
        return metadata.said(record, ours, shown)


def coco_drawing(region: regions.Region, size: Size | None) -> dict[str, Any]:
    """Return ``segmentation, bbox, area`` of a region in ``x y``, pixel corners at integers."""
    kinds = {part.kind for part in region.parts()}
    if kinds & {"mask", "image"}:
        if size is None:
            raise FormatError(
                "the size of the image is missing, which a mask or the whole image needs here; "
                "give the image along with its regions"
            )
        if "mask" in kinds:  # as runs of the whole image
            mask = region if isinstance(region, regions.Mask) else _painted(region, size)
            runs = rle.runs_in_image(mask, *size)
            within = rle.mask_in_image(runs, *size)
            rows, columns = within.pixels.shape if within else (0, 0)
            top, left = within.offset if within else (0, 0)
            return {
                "segmentation": {"size": list(size), "counts": rle.encode_runs(runs)},
                "bbox": [float(left), float(top), float(columns), float(rows)],
                "area": float(runs[1::2].sum()),
            }
        region = region.for_image(*size)
    rings = [to_xy(ring) for ring in region.rings()]
    points = np.concatenate(rings)
    low, high = points.min(axis=0), points.max(axis=0)
    if any(map(regions.is_tangled, rings)):  # too often to be sorted out: about what is filled
        area = 0.0
        for ring in rings:
            scale = _TANGLED / max(float(np.ptp(ring, axis=0).max()), 1e-9)
            pixels = filled([(ring - ring.min(axis=0)) * scale], (_TANGLED, _TANGLED))
            area += float(np.count_nonzero(pixels)) / scale**2
    else:
        # An outline that crosses itself counts as pycocotools fills it.
        area = float(shapely.area(area_of(regions.RegionSet(region.parts()))))
    return {
        "segmentation": [ring.ravel().tolist() for ring in rings],
        "bbox": [*low.tolist(), *(high - low).tolist()],
        "area": area,
    }


def _painted(region: regions.Region, size: Size) -> regions.Mask:
    """Return the pixels whose centres lie within any area of a set."""
    region = region.for_image(*size)
    (low, _, high, _) = region.bounds().coords()
    top, left = np.floor(low).clip(0, size).astype(int).tolist()
    bottom, right = np.ceil(high + 1).clip(0, size).astype(int).tolist()
    if bottom <= top or right <= left:
        return regions.Mask(np.zeros((1, 1), bool))
    pixels = np.zeros((bottom - top, right - left), bool)
    for part in region.parts():
        if not part.is_area:
            raise FormatError("a set with a mask may hold areas only")
        pixels |= filled([to_xy(ring) - (left, top) for ring in part.rings()], pixels.shape)
    return regions.Mask(pixels, (top, left))


def coco_region(entry: Fields, size: Size | None = None) -> regions.Region | None:
    """Return the region of an annotation; the whole image where there is no outline at all.

    None for runs without a single pixel. Of an outline that makes no sense, which is noted, the
    rest or the box is taken; runs over another size than that of the image are noted.
    """
    given = entry.take("bbox", object, [])
    outlined = entry.take("segmentation", object, [])
    try:
        drawn = _outlined(outlined, entry, size)
    except FormatError as error:
        if given == []:
            raise
        drawn = _box(given, entry)
        note("outline", f"{error}; its box is taken")
        return drawn
    if drawn is not None or isinstance(outlined, dict):
        return drawn
    return _box(given, entry) if given != [] else regions.WholeImage()


def _outlined(outlined: Any, entry: Fields, size: Size | None) -> regions.Region | None:
    """Return the region that a segmentation shows; None if it is empty."""
    if isinstance(outlined, dict):
        with naming(entry.where, "runs in 'segmentation' need 'size' and 'counts'"):
            height, width = (int(edge) for edge in outlined["size"])
            counts = outlined["counts"]
            packed = isinstance(counts, str)
            lengths = rle.decode_runs(counts) if packed else np.array(counts, np.int64)
            drawn = rle.mask_in_image(lengths, height, width)
        if size is not None and all(size) and (height, width) != size:
            note(
                "other size",
                f"{entry.where}: its runs are over {height} by {width} pixels, but its image has "
                f"{size[0]} by {size[1]}; they are taken as they stand",
            )
        return drawn
    if not isinstance(outlined, list):
        raise entry.error("'segmentation' must be a list of polygons, or runs of pixels")
    if outlined and all(isinstance(number, int | float) for number in outlined):
        outlined = [outlined]
    rings = [_ring(ring) for ring in outlined if ring]
    sound = [points for points in rings if points is not None]
    if len(sound) < len(rings):
        problem = "a polygon in 'segmentation' must be x1, y1, x2, y2, x3, y3, ..."
        if not sound:
            raise entry.error(problem)
        note("outline", f"{entry.where}: {problem}; the other polygons are taken")
    return texts.as_one([polygon_of(points) for points in sound], union=True)


def _box(given: Any, entry: Fields) -> regions.Box:
    """Return a box from its edges, which may be numbers or texts of numbers."""
    with naming(entry.where, "'bbox' must be x, y, width and height"):
        x, y, width, height = (float(edge) for edge in given)
        if not np.isfinite([x, y, width, height]).all() or min(width, height) < 0:
            raise ValueError
    return regions.Box(y - 0.5, x - 0.5, y + height - 0.5, x + width - 0.5)


def _ring(ring: Any) -> Any:
    """Return a ring in ``x y``, shape (n, 2); None if it is none."""
    try:
        points = np.array(ring, float)
    except (TypeError, ValueError, OverflowError):
        return None
    flat = points.ndim == 1 and len(points) % 2 == 0
    pairs = points.ndim == 2 and points.shape[1] == 2
    if not (flat or pairs) or points.size < 6 or not np.isfinite(points).all():
        return None
    return points.reshape(-1, 2)


FORMAT = Format("coco", "COCO instances with captions", (".json",), read, write, knows)
CAPTIONS_FORMAT = Format(
    "coco-captions",
    "COCO captions of whole images",
    (".json",),
    read,
    partial(write, classed=False),
    knows_captions,
)
