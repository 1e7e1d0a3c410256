"""COCO instances with a caption each: boxes, polygons, and runs of pixels for masks.

COCO has no ellipses (a polygon is drawn), no points and no traces (they are left out). What else
belongs to a record, the exact geometry too, is in its ``attributes``. Records of other programs
stay as they were: what is ours of them has a key of its own, and the file around them is kept.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_patchioner.annotations.images import ImageInfo, image_name, is_image
from napari_patchioner.annotations.metadata import (
    OURS,
    base_of,
    is_deleted,
    metadata_of,
    our_texts,
    remember_file,
    same_record,
    with_metadata,
    with_our_texts,
)
from napari_patchioner.annotations.notes import leaving_out, note
from napari_patchioner.annotations.table import check_unique
from napari_patchioner.annotations.texts import (
    CLASS,
    METADATA,
    annotation_from_texts,
    as_extras,
    record_texts_with_image,
    with_unique_uids,
)
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import charge_records
from napari_patchioner.regions import WholeImage, same_drawing

from ._coco_drawing import coco_drawing, coco_region
from ._json_file import (
    as_texts,
    fields_of,
    identifier,
    key_of,
    next_ids,
    parse_file,
    read_json,
    write_json,
    write_json_as_read,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari_patchioner.annotations.fields import Fields
    from napari_patchioner.annotations.images import Images
    from napari_patchioner.annotations.metadata import Base
    from napari_patchioner.annotations.record import Annotation
    from napari_patchioner.regions import Region

    from ._coco_drawing import Size
    from ._head import Head

_ANY_CLASS = "region"
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

    Records of other programs' files go back into the file they were read from, in which nothing
    else changes.

    Raises
    ------
    FormatError
        If a region makes no sense, two of one image share a uid, or the size of an image is
        missing that a mask or the whole image needs.
    """
    check_unique(annotations)
    held = [one for one in annotations if one.region.is_area]
    write_held(path, held, annotations, images, _entry, classed=True)
    kept = set(map(id, held))
    return tuple(one for one in annotations if id(one) not in kept)


def write_held(
    path: Path,
    held: Sequence[Annotation],
    annotations: Sequence[Annotation],
    images: Images,
    entry_of: Callable[[Annotation, str, Size | None], dict[str, Any]],
    *,
    classed: bool,
) -> None:
    """Write a COCO file.

    Parameters
    ----------
    path : Path
        The file.
    held, annotations : sequence of Annotation
        What goes into the file, and all that there is, whose images are listed.
    images : mapping of str to ImageInfo
        The images by the names annotations give them.
    entry_of : callable
        Returns what the file says about a record, an image's name and its size.
    classed : bool
        Whether records have classes.
    """
    base = base_of(held, _KIND, path, parse_file)
    if base is None:
        write_json(path, _new_file(held, annotations, images, entry_of, classed=classed))
        return
    whole, places = _Again(base, images, entry_of, classed).file(held)
    data = write_json_as_read(path, whole, base.data)
    remember_file(data, base.file, places)


def _new_file(
    held: Sequence[Annotation],
    annotations: Sequence[Annotation],
    images: Images,
    entry_of: Callable[[Annotation, str, Size | None], dict[str, Any]],
    *,
    classed: bool,
) -> dict[str, Any]:
    """Return a whole COCO file of our own."""
    names = dict.fromkeys([*images, *(one.image for one in annotations)])
    ids = {name: number for number, name in enumerate(names, start=1)}
    classes = {name: n for n, name in enumerate(dict.fromkeys(map(_class, held)), start=1)}
    classes = classes or {_ANY_CLASS: 1}
    entries = [
        {
            "id": number,
            "image_id": ids[one.image],
            **({"category_id": classes[_class(one)]} if classed else {}),
            **entry_of(one, image_name(images, one.image), _info_size(images.get(one.image))),
        }
        for number, one in enumerate(held, start=1)
    ]
    listed = [{"id": number, **_image_fields(name, images)} for name, number in ids.items()]
    whole = {"info": _INFO, "licenses": [], "images": listed, "annotations": entries}
    if classed:
        whole["categories"] = [_category(number, name) for name, number in classes.items()]
    return whole


def _class(annotation: Annotation) -> str:
    return annotation.extra.get(CLASS, "") or _ANY_CLASS


def _category(number: object, name: str) -> dict[str, Any]:
    return {"id": number, "name": name, "supercategory": ""}


def _image_fields(name: str, images: Images) -> dict[str, Any]:
    info = images.get(name)
    size = {"width": info.width, "height": info.height} if info else {}
    return {**size, "file_name": image_name(images, name)}


def _info_size(info: ImageInfo | None) -> Size | None:
    return (info.height, info.width) if info else None


def _entry(annotation: Annotation, name: str, size: Size | None) -> dict[str, Any]:
    """Return what COCO says about one region."""
    score = {} if annotation.score is None else {"score": annotation.score}
    attributes = record_texts_with_image(annotation, name)
    attributes.pop(METADATA, None)
    said = {"caption": annotation.caption, **score, "attributes": attributes}
    return {**_drawing(annotation, size), "iscrowd": 0, **said}


def _drawing(annotation: Annotation, size: Size | None) -> dict[str, Any]:
    try:
        return coco_drawing(annotation.region, size)
    except FormatError as error:
        raise FormatError(
            f"region {annotation.uid!r} of image {annotation.image!r}: {error}"
        ) from error


class _Again:
    """A file that was read, with records put back into it."""

    def __init__(
        self,
        base: Base[Any],
        images: Images,
        entry_of: Callable[[Annotation, str, Size | None], dict[str, Any]],
        classed: bool,
    ) -> None:
        self._base, self._sizes = base, images
        self._entry_of, self._classed = entry_of, classed
        self._records = base.records
        content = base.content if isinstance(base.content, dict) else self._from_entries()
        self._whole: dict[str, Any] = dict(content)
        self._known = _Known(self._whole, "")
        self._images = _listed(self._whole, "images")
        self._categories = _listed(self._whole, "categories")
        self._entries = _listed(self._whole, "annotations")
        self._ids = next_ids(_ids(self._entries))
        self._image_ids = next_ids(_ids(self._images))
        self._category_ids = next_ids(_ids(self._categories))

    def _from_entries(self) -> dict[str, Any]:
        """Return what the records still hold of a file that is no longer known."""
        in_order = sorted(self._records.items(), key=lambda pair: (len(pair[0]), pair[0]))
        told = [(one, metadata_of(one, _KIND)) for _, one in in_order]
        known = [(one, found) for one, found in told if found is not None]
        self._records = {str(n): one for n, (one, _) in enumerate(known)}
        around = {
            name: {key_of(one["id"]): one for _, found in known if (one := found.about.get(name))}
            for name in ("image", "category")
        }
        return {
            "images": list(around["image"].values()),
            "annotations": [found.entry for _, found in known],
            "categories": list(around["category"].values()),
        }

    def file(self, held: Sequence[Annotation]) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the whole file, and where its entries are by where they were."""
        here = {
            key_of(self._entries[int(place)].get("image_id"))
            for place in self._records
            if int(place) < len(self._entries)
        }
        about = self._images_of(held)
        places: dict[str, str] = {}
        entries: list[Any] = []
        for place, value in enumerate(self._entries):
            one = self._records.get(str(place))
            if one is not None:
                value = self._updated(value, one, self._known)
            elif self._is_gone(value, here | about[0], about[1]):
                continue
            places[str(place)] = str(len(entries))
            entries.append(value)
        entries += [self._new(one) for one in self._base.rest]
        whole = {**self._whole, "images": self._kept_images(here, about[1]), "annotations": entries}
        if self._categories or "categories" in self._whole:
            whole["categories"] = self._categories
        return whole, places

    def _images_of(self, held: Sequence[Annotation]) -> tuple[set[str], set[str]]:
        """Return the ids of the images meant, for certain and perhaps."""
        names = {*self._sizes, *(info.name for info in self._sizes.values())}
        names |= {one.image for one in held}
        named = [(key, name) for key, (name, _) in self._known.images.items()]
        sure: set[str] = set()
        perhaps: set[str] = set()
        for name in names:
            exact = [key for key, one in named if one == name]
            alike = exact or [key for key, one in named if is_image(name, one)]
            perhaps.update(alike)
            sure.update(alike if len(alike) == 1 else [])
        return sure, perhaps

    def _kept_images(self, here: set[str], perhaps: set[str]) -> list[Any]:
        """Return the images of the file: those that the records are about, or all in place."""
        added = self._images[len(_listed(self._whole, "images")) :]
        old = _listed(self._whole, "images")
        if not self._base.in_place and self._base.content is not None:
            meant = here | perhaps
            old = [
                one for one in old if not isinstance(one, dict) or key_of(one.get("id")) in meant
            ]
        return [*old, *added]

    def _is_gone(self, value: Any, here: set[str], perhaps: set[str]) -> bool:
        """Whether an entry without a record was taken out, or is of no image that is meant."""
        try:
            was = _annotation(fields_of(value, ""), self._known)
        except FormatError:
            return False
        image = key_of(value.get("image_id"))
        if image in here:
            return is_deleted(was.region)
        return not self._base.in_place and image not in perhaps

    def _updated(self, value: dict[str, Any], one: Annotation, known: _Known) -> dict[str, Any]:
        """Return an entry with what a record says otherwise; the same where it says the same."""
        has_id = value if "id" in value else {"id": next(self._ids), **value}
        was = _annotation(fields_of(value, ""), known)
        if same_record(was, one):
            return has_id
        name = one.image
        size = known.size_of(value) or _info_size(self._sizes.get(name))
        if "wkt" in as_texts(_free(value, "attributes")):
            kept = {key: text for key, text in has_id.items() if key != "score"}
            new = {**kept, **self._entry_of(one, name, size)}
            if "iscrowd" in value:
                new["iscrowd"] = value["iscrowd"]
        else:
            bare = _annotation(fields_of(value, ""), known, ours=False)
            new = dict(has_id)
            if one.caption != bare.caption:
                new["caption"] = one.caption
            if not same_drawing(bare.region, one.region):
                new |= _drawing(one, size)
            texts = our_texts(bare, one)
            texts.pop(CLASS, None)
            new.pop(OURS, None)
            new |= {OURS: texts} if texts else {}
        if self._classed and _class(one) != _class(was):
            new["category_id"] = self._category_of(one)
        return new

    def _new(self, one: Annotation) -> dict[str, Any]:
        """Return the entry of a record that is new in the file."""
        name = image_name(self._sizes, one.image)
        ids = {"id": next(self._ids), "image_id": self._image_of(one, name)}
        if self._classed:
            ids["category_id"] = self._category_of(one)
        found = metadata_of(one, _KIND)
        if found is not None and isinstance(found.entry, dict):
            around = {
                "images": [found.about.get("image")],
                "categories": [found.about.get("category")],
            }
            known = _Known({key: [v for v in value if v] for key, value in around.items()}, "")
            try:
                return {**self._updated(found.entry, one, known), **ids}
            except FormatError:
                pass
        info = self._sizes.get(one.image)
        return {
            **ids,
            **self._entry_of(one, name, _info_size(info) or self._known.size_by_name(name)),
        }

    def _image_of(self, one: Annotation, name: str) -> Any:
        """Return the id of the image of a record, which is listed if it was not."""
        known = [image for image in self._images if isinstance(image, dict)]
        exact = [image for image in known if image.get("file_name") in (one.image, name)]
        found = exact or [
            image for image in known if is_image(name, str(image.get("file_name", "")))
        ]
        if found and "id" in found[0]:
            return found[0]["id"]
        number = next(self._image_ids)
        about = metadata_of(one, _KIND)
        fields = about.about.get("image") if about is not None else None
        listed = fields if isinstance(fields, dict) else _image_fields(one.image, self._sizes)
        self._images = [*self._images, {**listed, "id": number}]
        return number

    def _category_of(self, one: Annotation) -> Any:
        """Return the id of the class of a record, which is listed if it was not."""
        name = _class(one)
        for category in self._categories:
            if isinstance(category, dict) and category.get("name") == name and "id" in category:
                return category["id"]
        number = next(self._category_ids)
        self._categories = [*self._categories, _category(number, name)]
        return number


def _listed(whole: dict[str, Any], name: str) -> list[Any]:
    found = whole.get(name)
    return found if isinstance(found, list) else []


def _ids(entries: Sequence[Any]) -> list[Any]:
    return [one.get("id") for one in entries if isinstance(one, dict)]


def _free(value: dict[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


class _Known:
    """The images and categories that the annotations of a file refer to.

    Attributes
    ----------
    images : dict of str to (str, (height, width) or None)
        By the texts of their ids.
    classes : dict of str to str
        Names by the texts of their ids.
    doubtful : dict of str to str
        Ids that several images have, and why that is a problem.
    problems : list of str
        What is wrong with the lists.
    """

    def __init__(self, whole: dict[str, Any], where: str) -> None:
        self.images: dict[str, tuple[str, Size | None]] = {}
        self.classes: dict[str, str] = {}
        self.doubtful: dict[str, str] = {}
        self.problems: list[str] = []
        self.raw: dict[str, dict[str, Any]] = {"image": {}, "category": {}}
        for place, value in enumerate(_listed(whole, "images"), start=1):
            self._read(self._image, value, f"{where}: image {place}")
        for place, value in enumerate(_listed(whole, "categories"), start=1):
            self._read(self._category, value, f"{where}: category {place}")

    def _read(self, read: Callable[[Fields, Any], None], value: Any, where: str) -> None:
        try:
            read(fields_of(value, where), value)
        except FormatError as error:
            self.problems.append(str(error))

    def _image(self, image: Fields, value: Any) -> None:
        key = key_of(identifier(image, "id"))
        name = image.take("file_name", str, key)
        known = self.images.get(key)
        if known is not None and known[0] != name:
            why = f"the image id {key} is given to {known[0]!r} and to {name!r}"
            self.doubtful[key] = f"{why}, so that nobody can tell which one is meant"
            self.problems.append(f"{image.where}: {why}; give each image an id of its own")
            return
        self.images[key] = (name, None)
        self.raw["image"][key] = value
        self.images[key] = (name, _size(image))

    def _category(self, category: Fields, value: Any) -> None:
        key = key_of(identifier(category, "id"))
        name = category.take("name", str)
        known = self.classes.get(key)
        if known is not None and known != name:
            self.problems.append(
                f"{category.where}: the category id {key} is given to {known!r} and to {name!r}; "
                f"its regions are called {key!r}, since nobody can tell which one is meant"
            )
            name = key
        self.classes[key] = name
        self.raw["category"][key] = value

    def size_of(self, entry: dict[str, Any]) -> Size | None:
        """Return ``(height, width)`` of the image of an entry, where the file tells."""
        return self.images.get(key_of(entry.get("image_id")), ("", None))[1]

    def size_by_name(self, name: str) -> Size | None:
        """Return ``(height, width)`` of an image by its name, where the file tells."""
        return next((size for one, size in self.images.values() if one == name), None)


def read(path: Path) -> list[Annotation]:
    """Read COCO instances or captions; an annotation without any outline is of the whole image.

    Raises
    ------
    FormatError
        One sentence that names the file and the annotation.
    """
    raw = read_json(path)
    whole = fields_of(raw, path.name)
    for name in ("images", "annotations", "categories"):
        whole.take(name, list, [])
    known = _Known(raw, path.name)
    entries = _listed(raw, "annotations")
    plain, file = _is_plain(raw), remember_file(path.read_bytes())
    numbers = next_ids(_ids(entries))
    found = []
    for problem in known.problems:
        note("lists", problem)
    for place, value in enumerate(entries):
        where = f"{path.name}: annotation {place + 1}"
        with leaving_out("annotation", where):
            charge_records()
            one = _annotation(fields_of(value, where), known, tell=partial(note, "outline"))
            if not (plain and _is_plain_entry(value)):
                keys = {name: key_of(value.get(f"{name}_id")) for name in known.raw}
                about = {name: known.raw[name].get(key) for name, key in keys.items()}
                one = with_metadata(one, _KIND, file, place, value, about)
            found.append(one if one.uid else replace(one, uid=str(next(numbers))))
    return with_unique_uids(found)


def _is_plain(whole: dict[str, Any]) -> bool:
    """Whether there is nothing around the annotations that we would not write ourselves."""
    lists = {name: _listed(whole, name) for name in _OUR_LISTS}
    return (
        whole.get("info") == _INFO
        and whole.get("licenses") == []
        and set(whole) <= {"info", "licenses", "annotations", *_OUR_LISTS}
        and all(
            isinstance(one, dict) and set(one) <= _OUR_LISTS[name] and one.get("id") == number
            for name, ones in lists.items()
            for number, one in enumerate(ones, start=1)
        )
        and not any(one.get("supercategory") for one in lists["categories"])
    )


def _is_plain_entry(value: dict[str, Any]) -> bool:
    """Whether there is nothing in an annotation that we would not write ourselves."""
    attributes = _free(value, "attributes")
    return (
        {"uid", "kind", "wkt"} <= set(attributes)
        and set(value) <= _OUR_FIELDS
        and value.get("iscrowd", 0) == 0
        and all(isinstance(one, str) for one in attributes.values())
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
    entry: Fields,
    known: _Known,
    *,
    ours: bool = True,
    tell: Callable[[str], None] = lambda _: None,
) -> Annotation:
    """Return what an entry says, with or without what it holds of ours."""
    number = identifier(entry, "id", "")
    entry.where = f"{entry.where} (id {number!r})"
    image_id = identifier(entry, "image_id")
    key = key_of(image_id)
    if key in known.doubtful:
        raise entry.error(known.doubtful[key])
    if key not in known.images:
        raise entry.error(f"its image {image_id!r} is not among the images")
    image, size = known.images[key]
    free = entry.take("attributes", object, {})
    attributes = as_texts(free) if isinstance(free, dict) else {}
    texts = entry.take(OURS, object, {})
    drawn, caption = coco_region(entry, tell), entry.take("caption", str, None)

    def shown(region: Region) -> Region | None:
        if isinstance(region, WholeImage) and isinstance(drawn, WholeImage):
            return drawn
        return coco_region(fields_of(coco_drawing(region, size), entry.where))

    try:
        found = annotation_from_texts(
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
            found = replace(
                found, score=score, extra={**as_extras(as_texts(others)), **found.extra}
            )
        said = found.extra.get(CLASS) or _ANY_CLASS
        name = said if category == "" else known.classes.get(key_of(category), str(category))
        found = found if name == said else replace(found, extra={**found.extra, CLASS: name})
        if ours and isinstance(texts, dict):
            found = with_our_texts(found, texts, shown)
    except FormatError as error:
        raise entry.error(str(error)) from error
    return found
