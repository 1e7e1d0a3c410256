"""Visual Genome's region descriptions: upright boxes in whole pixels, and a phrase each."""

from __future__ import annotations

import math
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_patchioner.annotations.images import Images, image_name, is_image
from napari_patchioner.annotations.metadata import (
    OURS,
    Base,
    base_of,
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
    annotation_from_texts,
    with_unique_uids,
)
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import charge_records
from napari_patchioner.regions import Box, Region, same_drawing

from .entries import known_entries, naming, own_texts, was_deleted, with_ours
from .head import Format, Head
from .json_arrays import (
    as_texts,
    dict_in,
    fields_of,
    list_in,
    next_ids,
    parse_file,
    read_json,
    whole_number,
    write_json,
    write_json_again,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_patchioner.annotations.fields import Fields
    from napari_patchioner.annotations.record import Annotation


_KIND = "visual-genome"
_OUR_FIELDS = {"region_id", "image_id", "x", "y", "width", "height", "phrase", "synsets"}
_OUR_FIELDS |= {"attributes"}


def knows(head: Head) -> bool:
    """Whether a file is a list of images with regions, each with a phrase, or an empty list."""
    if head.text.strip() == "[]":
        return True
    images = head.json if isinstance(head.json, list) else [head.fields]
    listed = [item["regions"] for item in images if isinstance(item, dict) and "regions" in item]
    regions = [item for several in listed if isinstance(several, list) for item in several]
    phrased = any(isinstance(region, dict) and "phrase" in region for region in regions)
    return head.is_list and bool(listed) and (phrased or not regions)


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write region descriptions; return all that is no box, for which there is no place."""
    check_unique(annotations)
    boxes = [annotation for annotation in annotations if isinstance(annotation.region, Box)]
    base = base_of(boxes, _KIND, path, parse_file)
    if base is not None:
        whole, places = _again(base, images)
        write_json_again(path, whole, base, places)
    else:
        names = dict.fromkeys([*images, *(annotation.image for annotation in annotations)])
        numbers = _numbers([image_name(images, name) for name in names])
        count, listed = 0, []
        for name, number in zip(names, numbers, strict=True):
            shown = image_name(images, name)
            regions = [
                {"region_id": n, "image_id": number, **_entry(box, shown)}
                for n, box in enumerate((b for b in boxes if b.image == name), start=count + 1)
            ]
            count += len(regions)
            listed.append({"id": number, "image": shown, "regions": regions})
        write_json(path, listed)
    return tuple(annotation for annotation in annotations if not isinstance(annotation.region, Box))


def _again(base: Base[Any], images: Images) -> tuple[list[Any], dict[str, str]]:
    """Return a file that was read, with records put back into it, and where entries went."""
    content, records = base.content, base.records
    if not isinstance(content, list):
        content, records = _from_entries(records)
    listed = [image for image in content if isinstance(image, dict)]
    names = {*images, *(info.name for info in images.values())}
    meant = {id(image) for image in listed if any(is_image(name, _name(image)) for name in names)}
    ids = next_ids(
        [entry.get("region_id", entry.get("id")) for image in listed for entry in _regions(image)]
    )
    numbers = next_ids([image.get("id", image.get("image_id")) for image in listed])
    whole: list[Any] = []
    places: dict[str, str] = {}
    for at, image in enumerate(content):
        own = [(f"{at}.{n}", entry) for n, entry in enumerate(list_in(image, "regions"))]
        here = any(place in records for place, _ in own)
        if not (here or base.in_place or base.content is None or id(image) in meant):
            continue
        kept: list[Any] = []
        for place, entry in own:
            record = records.get(place)
            if record is None and here and was_deleted(partial(_read_entry, entry)):
                continue
            places[place] = f"{len(whole)}.{len(kept)}"
            kept.append(entry if record is None else _updated(entry, record))
        changed = isinstance(image, dict) and "regions" in image
        whole.append({**image, "regions": kept} if changed else image)
    for record in base.rest:
        name = image_name(images, record.image)
        index = next((n for n, image in enumerate(whole) if is_image(name, _name(image))), None)
        if index is None:
            index = len(whole)
            whole.append({"id": next(numbers), "image": name, "regions": []})
        image = whole[index]
        number = image.get("id", image.get("image_id"))
        entry = {"region_id": next(ids), "image_id": number, **_new_entry(record, name)}
        whole[index] = {**image, "regions": [*_regions(image), entry]}
    return whole, places


def _read_entry(entry: Any, *, ours: bool = True) -> Annotation:
    return _annotation(fields_of(entry, ""), "", ours=ours)


def _from_entries(records: Mapping[str, Annotation]) -> tuple[list[Any], dict[str, Annotation]]:
    """Return what the records still hold of a file that is no longer known."""
    images: dict[str, dict[str, Any]] = {}
    places: dict[str, Annotation] = {}
    for _, record, metadata in known_entries(records, _KIND):
        image = images.setdefault(record.image, {**metadata.about, "regions": []})
        image["regions"].append(metadata.entry)
        places[f"{list(images).index(record.image)}.{len(image['regions']) - 1}"] = record
    return list(images.values()), places


def _regions(image: Any) -> list[Any]:
    return [entry for entry in list_in(image, "regions") if isinstance(entry, dict)]


def _name(image: Any) -> str:
    """Return what an image is called: its name, or the number that stands for one."""
    if not isinstance(image, dict):
        return ""
    number = image.get("id", image.get("image_id", ""))
    name = image.get("image")
    return name if isinstance(name, str) else str(number)


def _updated(entry: dict[str, Any], annotation: Annotation) -> dict[str, Any]:
    """Return an entry with what a record says otherwise; the same where it says the same."""
    was, bare = (_read_entry(entry, ours=ours) for ours in (True, False))
    if same_record(was, annotation):
        return entry
    moved = {} if same_drawing(bare.region, annotation.region) else _box_fields(annotation.region)
    new = {**entry, **moved}
    if "wkt" in dict_in(entry, "attributes"):
        return {**new, **_entry(annotation, annotation.image)}
    if annotation.caption != bare.caption:
        new["phrase"] = annotation.caption
    return with_ours(new, our_texts(bare, annotation))


def _new_entry(annotation: Annotation, image: str) -> dict[str, Any]:
    """Return the entry of a record that is new in a file, whichever file it came from."""
    metadata = metadata_of(annotation, _KIND)
    if metadata is not None and isinstance(metadata.entry, dict):
        with suppress(FormatError):
            entry = _updated(metadata.entry, annotation)
            return {k: value for k, value in entry.items() if k not in ("region_id", "image_id")}
    return _entry(annotation, image)


def _numbers(names: Sequence[str]) -> list[int]:
    """Return the ids of images: the numbers that are their names, or all counted from 1."""
    stems = [name.rpartition(".")[0] or name for name in names]
    own = [number for stem in stems if (number := whole_number(stem)) is not None]
    counted = len(own) < len(names) or len(set(own)) < len(own)
    return list(range(1, len(names) + 1)) if counted else own


def _entry(annotation: Annotation, image: str) -> dict[str, Any]:
    return {
        **_box_fields(annotation.region),
        "phrase": annotation.caption,
        "synsets": [],
        "attributes": own_texts(annotation, image),
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
    whole = read_json(path)
    if not isinstance(whole, list):
        raise FormatError(f"{path.name}: must be a list of images with regions")
    file, records = remember_file(path.read_bytes()), []
    for at, value in enumerate(whole):
        where = f"{path.name}: image {at + 1}"
        with leaving_out("image", where):
            entries = fields_of(value, where).take("regions", list)
            about = {name: field for name, field in value.items() if name != "regions"}
            plain = set(about) <= {"id", "image"}
            name = _name({key: field for key, field in value.items() if field is not None})
            for n, entry in enumerate(entries):
                with leaving_out("region", f"{where}, region {n + 1}"):
                    charge_records()
                    record = _annotation(fields_of(entry, f"{where}, region {n + 1}"), name)
                    if not (plain and _is_plain(entry)):
                        record = with_metadata(record, _KIND, file, f"{at}.{n}", entry, about)
                    records.append(record)
    return with_unique_uids(records)


def _is_plain(entry: dict[str, Any]) -> bool:
    """Whether there is nothing in an entry that we would not write ourselves."""
    return (
        set(entry) <= _OUR_FIELDS
        and entry.get("synsets") == []
        and {"uid", "kind", "wkt"} <= set(dict_in(entry, "attributes"))
    )


def _annotation(entry: Fields, image: str, *, ours: bool = True) -> Annotation:
    """Return what an entry says, with or without what is ours of it."""
    number = entry.take("region_id", object, entry.take("id", object, ""))
    entry.where = f"{entry.where} (id {number!r})"
    attributes = entry.rest().pop("attributes", {})
    texts = entry.rest().pop(OURS, {})

    def shown(region: Region) -> Box:
        return _box(fields_of(_box_fields(region), entry.where))

    drawn, caption = _box(entry), entry.take("phrase", str, "")
    with naming(entry.where):
        record = annotation_from_texts(
            as_texts(attributes) if isinstance(attributes, dict) else {},
            drawn=drawn,
            image=image,
            caption=caption,
            uid=str(number),
            shown=shown,
        )
        return with_our_texts(record, texts, shown) if ours and isinstance(texts, dict) else record


def _box(entry: Fields) -> Box:
    x, y = (float(entry.take(name, float)) for name in ("x", "y"))
    width, height = (float(entry.take(name, float)) for name in ("width", "height"))
    if width < 0 or height < 0:
        raise entry.error("'width' and 'height' may not be negative")
    if not all(map(math.isfinite, (x, y, width, height))):
        raise entry.error("'x', 'y', 'width' and 'height' must be finite numbers")
    return Box(y - 0.5, x - 0.5, y + height - 0.5, x + width - 0.5)


FORMAT = Format("visual-genome", "Visual Genome regions", (".json",), read, write, knows)
