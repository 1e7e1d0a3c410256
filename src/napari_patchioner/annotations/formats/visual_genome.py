"""Visual Genome's region descriptions: upright boxes in whole pixels, and a phrase each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from napari_patchioner.annotations import metadata, texts
from napari_patchioner.annotations.fields import Fields
from napari_patchioner.annotations.images import Images, image_name, is_image
from napari_patchioner.annotations.notes import leaving_out, naming
from napari_patchioner.annotations.record import Annotation
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import charge_records
from napari_patchioner.regions import Box, Region, same_drawing

from . import json_arrays
from .head import Format, Head
from .json_arrays import as_texts, dict_in, dicts_in, fields_of, list_in, next_ids

_KIND = "visual-genome"
_SIDES = {"x", "y", "width", "height"}
_OUR_FIELDS = _SIDES | {"region_id", "image_id", "phrase", "synsets", "attributes"}


def knows(head: Head) -> bool:
    """Whether a file is a list of images with regions, phrases or boxes, or an empty list."""
    if head.text.strip() == "[]":
        return True
    images = head.json if isinstance(head.json, list) else [head.fields]
    listed = [item for item in images if isinstance(item, dict) and "regions" in item]
    phrased = any(
        "phrase" in region or set(region) >= _SIDES
        for item in listed
        for region in dicts_in(item, "regions")
    )
    empty = not any(list_in(item, "regions") for item in listed)
    return head.is_list and bool(listed) and (phrased or empty)


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write region descriptions; return all that is no box, for which there is no place."""
    boxes = [annotation for annotation in annotations if isinstance(annotation.region, Box)]

    def new() -> list[Any]:
        names = dict.fromkeys([*images, *(annotation.image for annotation in annotations)])
        shown = [image_name(images, name) for name in names]
        # The ids of images: the numbers that are their names, or all counted from 1.
        stems = [name.rpartition(".")[0] or name for name in shown]
        numbers = [n for stem in stems if (n := json_arrays.whole_number(stem)) is not None]
        if len(set(numbers)) < len(shown):
            numbers = list(range(1, len(shown) + 1))
        count, listed = 0, []
        for name, called, number in zip(names, shown, numbers, strict=True):
            regions = [
                {"region_id": n, "image_id": number, **_entry(box, called)}
                for n, box in enumerate((b for b in boxes if b.image == name), start=count + 1)
            ]
            count += len(regions)
            listed.append({"id": number, "image": called, "regions": regions})
        return listed

    base = metadata.base_of(boxes, _KIND, path, json_arrays.parse_json)
    json_arrays.write_json(path, base, new, lambda base: _again(base, images))
    return tuple(annotation for annotation in annotations if not isinstance(annotation.region, Box))


def _again(base: metadata.Base[Any], images: Images) -> tuple[list[Any], dict[str, str]]:
    """Return a file that was read, with records put back into it, and where entries went."""
    content, records = base.content, base.records
    if not isinstance(content, list):  # what the records still hold of it
        known: dict[str, dict[str, Any]] = {}
        records = {}
        for _, record, origin in metadata.known_entries(base.records, _KIND):
            image = known.setdefault(record.image, {**origin.about, "regions": []})
            records[f"{list(known).index(record.image)}.{len(image['regions'])}"] = record
            image["regions"].append(origin.entry)
        content = list(known.values())
    listed = [image for image in content if isinstance(image, dict)]
    names = {*images, *(info.name for info in images.values())}
    all_entries = [entry for image in listed for entry in dicts_in(image, "regions")]
    ids = next_ids([entry.get("region_id", entry.get("id")) for entry in all_entries])
    numbers = next_ids([_number(image) for image in listed])
    whole: list[Any] = []
    places: dict[str, str] = {}
    for at, image in enumerate(content):
        own = [(f"{at}.{n}", entry) for n, entry in enumerate(list_in(image, "regions"))]
        here = any(place in records for place, _ in own)
        stays = here or base.in_place or base.content is None
        if not (stays or any(is_image(name, _name(image)) for name in names)):
            continue
        kept: list[Any] = []
        for place, entry in own:
            now = records.get(place)
            if now is None and here and metadata.was_deleted(partial(_said_by, entry)):
                continue
            places[place] = f"{len(whole)}.{len(kept)}"
            kept.append(entry if now is None else _updated(entry, now))
        changed = isinstance(image, dict) and "regions" in image
        whole.append({**image, "regions": kept} if changed else image)
    for record in base.rest:
        name = image_name(images, record.image)
        index = next((n for n, image in enumerate(whole) if is_image(name, _name(image))), None)
        if index is None:
            index = len(whole)
            whole.append({"id": next(numbers), "image": name, "regions": []})
        image = whole[index]
        said = metadata.entry_from_elsewhere(record, _KIND, _updated) or _entry(record, name)
        entry = {"region_id": 0, "image_id": 0, **said}
        entry |= {"region_id": next(ids), "image_id": _number(image)}
        whole[index] = {**image, "regions": [*dicts_in(image, "regions"), entry]}
    return whole, places


def _number(image: dict[str, Any]) -> Any:
    return image.get("id", image.get("image_id"))


def _name(image: Any) -> str:
    """Return what an image is called: its name, or the number that stands for one."""
    if not isinstance(image, dict):
        return ""
    name = image.get("image")
    return name if isinstance(name, str) else str(image.get("id", image.get("image_id", "")))


def _updated(entry: dict[str, Any], annotation: Annotation) -> dict[str, Any]:
    """Return an entry with what a record says otherwise; the same where it says the same."""
    bare, was = _said_by(entry)
    if metadata.same_record(was, annotation):
        return entry
    moved = {} if same_drawing(bare.region, annotation.region) else _box_fields(annotation.region)
    new = {**entry, **moved}
    if "wkt" in dict_in(entry, "attributes"):
        return {**new, **_entry(annotation, annotation.image)}
    if annotation.caption != bare.caption:
        new["phrase"] = annotation.caption
    return metadata.with_ours(new, metadata.our_texts(bare, annotation))


def _entry(annotation: Annotation, image: str) -> dict[str, Any]:
    return {
        **_box_fields(annotation.region),
        "phrase": annotation.caption,
        "synsets": [],
        "attributes": texts.record_texts_with_image(metadata.without_metadata(annotation), image),
    }


def _box_fields(region: Region) -> dict[str, int]:
    """Return a box in whole pixels, at least one wide and high."""
    if not isinstance(region, Box):
        raise FormatError("Visual Genome holds boxes only")
    x, y = round(region.left + 0.5), round(region.top + 0.5)
    right, bottom = round(region.right + 0.5), round(region.bottom + 0.5)
    return {"x": x, "y": y, "width": max(1, right - x), "height": max(1, bottom - y)}


def read(path: Path) -> list[Annotation]:
    """Read region descriptions; an image without a name is called by its number."""
    whole = json_arrays.read_json(path)
    if not isinstance(whole, list):
        raise FormatError(f"{path.name}: must be a list of images with regions")
    file, records = metadata.remember_file(path.read_bytes()), []
    for at, value in enumerate(whole):
        where = f"{path.name}: image {at + 1}"
        with leaving_out("image", where):
            listed = fields_of(value, where).take("regions", list)
            about = {name: field for name, field in value.items() if name != "regions"}
            name = _name({key: field for key, field in value.items() if field is not None})
            for n, entry in enumerate(listed):
                with leaving_out("region", f"{where}, region {n + 1}"):
                    charge_records()
                    record = _said_by(entry, f"{where}, region {n + 1}", name).record
                    # There is something that we would not write ourselves.
                    if not (
                        set(about) <= {"id", "image"}
                        and set(entry) <= _OUR_FIELDS
                        and entry.get("synsets") == []
                        and {"uid", "kind", "wkt"} <= set(dict_in(entry, "attributes"))
                    ):
                        place = f"{at}.{n}"
                        record = metadata.with_metadata(record, _KIND, file, place, entry, about)
                    records.append(record)
    return texts.with_unique_uids(records)


def _said_by(value: Any, where: str = "", image: str = "") -> metadata.Said:
    """Return what an entry says."""
    entry = fields_of(value, where)
    number = entry.take("region_id", object, entry.take("id", object, ""))
    entry.where = f"{where} (id {number!r})"
    attributes = as_texts(entry.rest().pop("attributes", {}))
    ours = entry.rest().pop(metadata.OURS, {})

    def shown(region: Region) -> Box:
        return _box(fields_of(_box_fields(region), entry.where))

    drawn, caption = _box(entry), entry.take("phrase", str, "")
    with naming(entry.where):
        record = texts.annotation_from_texts(
            attributes, drawn=drawn, image=image, caption=caption, uid=str(number), shown=shown
        )
        return metadata.said(record, ours, shown)


def _box(entry: Fields) -> Box:
    x, y, width, height = (float(entry.take(name, float)) for name in ("x", "y", "width", "height"))
    if width < 0 or height < 0:
        raise entry.error("'width' and 'height' may not be negative")
    if not all(map(math.isfinite, (x, y, width, height))):
        raise entry.error("'x', 'y', 'width' and 'height' must be finite numbers")
    return Box(y - 0.5, x - 0.5, y + height - 0.5, x + width - 0.5)


FORMAT = Format("visual-genome", "Visual Genome regions", (".json",), read, write, knows)
