"""COCO instances with a caption each: boxes, polygons, and runs of pixels for masks.

COCO has no ellipses (a polygon is drawn), no points and no traces (they are left out). What else
belongs to a record, the exact geometry too, is in its ``attributes``.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_patchioner.annotations._areas import is_area
from napari_patchioner.annotations._carried import (
    CLASS,
    annotation_from,
    carried_with_image,
    unique,
)
from napari_patchioner.annotations._columns import check_unique
from napari_patchioner.annotations._images import ImageInfo, image_name
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import WholeImage

from ._coco_drawing import coco_drawing, coco_region
from ._json_file import as_texts, fields_of, identifier, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_patchioner.annotations._annotation import Annotation
    from napari_patchioner.annotations._fields import Fields
    from napari_patchioner.annotations._images import Images
    from napari_patchioner.regions import Region

    from ._coco_drawing import Size
    from ._head import Head

_ANY_CLASS = "region"


def knows(head: Head) -> bool:
    """Whether a file is COCO's, and not captions alone."""
    return is_coco(head) and not is_captions(head)


def is_coco(head: Head) -> bool:
    """Whether a file holds images, and annotations, categories or licenses of them."""
    others = {"annotations", "categories", "licenses"}
    return not head.is_list and "images" in head.fields and bool(others & set(head.fields))


def is_captions(head: Head) -> bool:
    """Whether a file is COCO's, and there are captions and no outline."""
    found = head.fields.get("annotations") if is_coco(head) else None
    entries = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    outlined = any("bbox" in one or "segmentation" in one for one in entries)
    return not outlined and any("caption" in one for one in entries)


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write COCO instances; return points, traces and sets with such, which COCO cannot hold.

    Raises
    ------
    FormatError
        If a region makes no sense, two of one image share a uid, or the size of an image is
        missing that a mask or the whole image needs.
    """
    check_unique(annotations)
    held = [one for one in annotations if is_area(one.region)]
    ids = image_ids(annotations, images)
    names = dict.fromkeys(one.extra.get(CLASS, "") or _ANY_CLASS for one in held)
    classes = {name: place for place, name in enumerate(names or {_ANY_CLASS: None}, start=1)}
    entries = [
        {
            "id": number,
            "image_id": ids[one.image],
            "category_id": classes[one.extra.get(CLASS, "") or _ANY_CLASS],
            **_entry(one, images),
        }
        for number, one in enumerate(held, start=1)
    ]
    categories = [{"id": n, "name": name, "supercategory": ""} for name, n in classes.items()]
    write_json(path, document(ids, images, entries, categories=categories))
    kept = set(map(id, held))
    return tuple(one for one in annotations if id(one) not in kept)


def image_ids(annotations: Sequence[Annotation], images: Images) -> dict[str, int]:
    """Return a number for each image, from 1, those without annotations included."""
    names = dict.fromkeys([*images, *(one.image for one in annotations)])
    return {name: number for number, name in enumerate(names, start=1)}


def document(
    ids: Mapping[str, int], images: Images, entries: list[dict[str, Any]], **others: Any
) -> dict[str, Any]:
    """Return a whole COCO file."""
    listed = [
        {"id": number, **_size_fields(images.get(name)), "file_name": image_name(images, name)}
        for name, number in ids.items()
    ]
    info = {"description": "Captioned regions", "version": "1.0"}
    return {"info": info, "licenses": [], "images": listed, "annotations": entries, **others}


def _size_fields(info: ImageInfo | None) -> dict[str, int]:
    return {"width": info.width, "height": info.height} if info else {}


def _entry(annotation: Annotation, images: Images) -> dict[str, Any]:
    """Return what COCO says about one region."""
    name = image_name(images, annotation.image)
    attributes = carried_with_image(annotation, name)
    info = images.get(annotation.image)
    size = (info.height, info.width) if info else None
    try:
        drawing = coco_drawing(annotation.region, size)
    except FormatError as error:
        raise FormatError(
            f"region {annotation.uid!r} of image {annotation.image!r}: {error}"
        ) from error
    score = {} if annotation.score is None else {"score": annotation.score}
    said = {"caption": annotation.caption, **score, "attributes": attributes}
    return {**drawing, "iscrowd": 0, **said}


def read(path: Path) -> list[Annotation]:
    """Read COCO instances or captions; an annotation without any outline is of the whole image.

    Raises
    ------
    FormatError
        One sentence that names the file and the annotation.
    """
    whole = fields_of(read_json(path), path.name)
    images = {}
    for place, value in enumerate(whole.items("images", dict)):
        image = fields_of(value, f"{path.name}: image {place + 1}")
        number = identifier(image, "id")
        images[number] = (image.take("file_name", str, str(number)), _size(image))
    classes = {}
    for place, value in enumerate(whole.items("categories", dict, ())):
        category = fields_of(value, f"{path.name}: category {place + 1}")
        classes[identifier(category, "id")] = category.take("name", str)
    entries = whole.items("annotations", dict, ())
    return unique(
        _annotation(fields_of(value, f"{path.name}: annotation {place + 1}"), images, classes)
        for place, value in enumerate(entries)
    )


def _size(image: Fields) -> Size | None:
    """Return ``(height, width)`` of an image, where the file tells."""
    height, width = (image.take(name, float, None) for name in ("height", "width"))
    if height is None or width is None:
        return None
    if not (math.isfinite(height) and math.isfinite(width)) or min(height, width) < 0:
        raise image.error("'height' and 'width' must be numbers of pixels")
    return int(height), int(width)


def _annotation(
    entry: Fields, images: Mapping[Any, tuple[str, Size | None]], classes: Mapping[Any, str]
) -> Annotation:
    number = identifier(entry, "id", "")
    entry.where = f"{entry.where} (id {number!r})"
    image_id = identifier(entry, "image_id")
    if image_id not in images:
        raise entry.error(f"its image {image_id!r} is not among the images")
    image, size = images[image_id]
    attributes = as_texts(entry.take("attributes", dict, {}))
    drawn, caption = coco_region(entry), entry.take("caption", str, None)

    def shown(region: Region) -> Region | None:
        if isinstance(region, WholeImage) and isinstance(drawn, WholeImage):
            return drawn
        return coco_region(fields_of(coco_drawing(region, size), entry.where))

    try:
        found = annotation_from(
            attributes,
            drawn=drawn,
            image=image,
            caption=caption,
            uid=str(number),
            shown=shown,
        )
    except FormatError as error:
        raise entry.error(str(error)) from error
    category = identifier(entry, "category_id", "")
    score = entry.take("score", float, None)
    if "wkt" not in attributes:
        others = {k: v for k, v in entry.rest().items() if k not in ("area", "iscrowd")}
        found = replace(found, score=score, extra={**as_texts(others), **found.extra})
    said = found.extra.get(CLASS) or _ANY_CLASS
    name = said if category == "" else classes.get(category, str(category))
    return found if name == said else replace(found, extra={**found.extra, CLASS: name})
