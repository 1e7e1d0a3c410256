"""Visual Genome's region descriptions: upright boxes in whole pixels, and a phrase each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from napari_patchioner.annotations._carried import annotation_from, carried_with_image, unique
from napari_patchioner.annotations._columns import check_unique
from napari_patchioner.annotations._images import image_name
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Box, Region

from ._json_file import as_texts, fields_of, read_json, whole_number, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from napari_patchioner.annotations._annotation import Annotation
    from napari_patchioner.annotations._fields import Fields
    from napari_patchioner.annotations._images import Images

    from ._head import Head


def knows(head: Head) -> bool:
    """Whether a file is a list of images with regions, each with a phrase, or an empty list."""
    if head.text.strip() == "[]":
        return True
    images = head.json if isinstance(head.json, list) else [head.fields]
    listed = [one["regions"] for one in images if isinstance(one, dict) and "regions" in one]
    regions = [one for several in listed if isinstance(several, list) for one in several]
    phrased = any(isinstance(one, dict) and "phrase" in one for one in regions)
    return head.is_list and bool(listed) and (phrased or not regions)


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write region descriptions; return all that is no box, for which there is no place.

    Raises
    ------
    FormatError
        If two regions of one image share a uid, or a region makes no sense.
    """
    check_unique(annotations)
    names = dict.fromkeys([*images, *(one.image for one in annotations)])
    groups: dict[str, list[Annotation]] = {name: [] for name in names}
    for one in annotations:
        if isinstance(one.region, Box):
            groups[one.image].append(one)
    numbers = _numbers([image_name(images, name) for name in names])
    count, listed = 0, []
    for (name, held), number in zip(groups.items(), numbers, strict=True):
        shown = image_name(images, name)
        regions = [
            {"region_id": count + n, "image_id": number, **_entry(one, shown)}
            for n, one in enumerate(held, start=1)
        ]
        count += len(held)
        listed.append({"id": number, "image": shown, "regions": regions})
    write_json(path, listed)
    return tuple(one for one in annotations if not isinstance(one.region, Box))


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
        "attributes": carried_with_image(annotation, image),
    }


def _box_fields(region: Region) -> dict[str, int]:
    """Return a box in whole pixels, at least one wide and high."""
    if not isinstance(region, Box):
        raise FormatError("Visual Genome holds boxes only")
    x, y = round(region.left + 0.5), round(region.top + 0.5)
    right, bottom = round(region.right + 0.5), round(region.bottom + 0.5)
    return {"x": x, "y": y, "width": max(1, right - x), "height": max(1, bottom - y)}


def read(path: Path) -> list[Annotation]:
    """Read region descriptions; an image without a name is called by its number.

    Raises
    ------
    FormatError
        One sentence that names the file, the image and the region.
    """
    whole = read_json(path)
    if not isinstance(whole, list):
        raise FormatError(f"{path.name}: must be a list of images with regions")
    return unique(
        annotation
        for place, value in enumerate(whole, start=1)
        for annotation in _annotations(fields_of(value, f"{path.name}: image {place}"))
    )


def _annotations(image: Fields) -> Iterator[Annotation]:
    number = image.take("id", object, None)
    number = image.take("image_id", object, "") if number is None else number
    name = image.take("image", str, str(number))
    for place, value in enumerate(image.items("regions", dict), start=1):
        yield _annotation(fields_of(value, f"{image.where}, region {place}"), name)


def _annotation(entry: Fields, image: str) -> Annotation:
    number = entry.take("region_id", object, entry.take("id", object, ""))
    entry.where = f"{entry.where} (id {number!r})"
    attributes = entry.take("attributes", object, {})
    try:
        return annotation_from(
            as_texts(attributes) if isinstance(attributes, dict) else {},
            drawn=_box(entry),
            image=image,
            caption=entry.take("phrase", str, ""),
            uid=str(number),
            shown=lambda region: _box(fields_of(_box_fields(region), entry.where)),
        )
    except FormatError as error:
        told = str(error)
        raise error if told.startswith(entry.where) else entry.error(told) from error


def _box(entry: Fields) -> Box:
    x, y = (float(entry.take(name, float)) for name in ("x", "y"))
    width, height = (float(entry.take(name, float)) for name in ("width", "height"))
    if width < 0 or height < 0:
        raise entry.error("'width' and 'height' may not be negative")
    if not all(map(math.isfinite, (x, y, width, height))):
        raise entry.error("'x', 'y', 'width' and 'height' must be finite numbers")
    return Box(y - 0.5, x - 0.5, y + height - 0.5, x + width - 0.5)
