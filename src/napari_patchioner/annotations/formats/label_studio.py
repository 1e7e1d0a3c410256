"""Label Studio: tasks with results in percent of the image.

A caption is a text about a region: a second result with the same ``id``. Captions of a model are
``predictions``, one per model; all others are ``annotations``. The class of a region is its label;
all Label Studio has no place for goes into the ``meta`` of the result, which it keeps.

A file of other people is written again as it was, captions added: as texts with the ids of their
regions, whose ``meta`` says who wrote them. So is the smaller export: a caption is an item of the
control ``caption`` with the drawing of its region, and the item of the region says who wrote it.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import re
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from napari_patchioner.annotations.files import write_bytes
from napari_patchioner.annotations.images import Images, image_name, image_size
from napari_patchioner.annotations.metadata import (
    OURS,
    Base,
    base_of,
    is_deleted,
    our_texts,
    remember_file,
    same_record,
    with_metadata,
    with_our_texts,
)
from napari_patchioner.annotations.notes import Notes, leaving_out, noting
from napari_patchioner.annotations.table import check_unique
from napari_patchioner.annotations.texts import (
    CLASS,
    PART,
    Shape,
    class_of,
    gather,
    record_texts,
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
from napari_patchioner.limits import charge_records
from napari_patchioner.regions import (
    Box,
    Ellipse,
    Mask,
    Point,
    Polygon,
    Region,
    Trace,
    WholeImage,
    same_drawing,
)

from .brush import decode_brush, encode_brush
from .bundle import read_bundle
from .entries import (
    by_image,
    corners_xy,
    known_entries,
    naming,
    with_ours,
    without_metadata,
)
from .head import Format, Head
from .json_arrays import dict_in, json_as_read, list_in, parse_json, write_json_again

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from napari_patchioner.annotations.record import Annotation


_DOT = 0.5
"""Width of a point as Label Studio draws it, in percent."""

_RESULTS = {"annotations", "predictions", "completions"}
_KIND = "label-studio"
# The smaller of the two exports has one object per annotation, results by the names of controls.
_SMALL = {"annotation_id", "annotator"}
_SMALL_ABOUT = ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time")
_SMALL_SIZES = ("original_width", "original_height", "image_rotation", "item_index")
# Where a task made of such an object holds it; no task of Label Studio has that field.
_SMALL_TASK = "napari_patchioner_small"
_GEOMETRY = ("x", "y", "width", "height", "rotation", "points", "radiusX", "radiusY", "rle")
# What our own tasks hold, and nothing else.
_OUR_TASK, _OUR_ITEM = {"data", "annotations", "predictions"}, {"result", "model_version", "score"}


def knows(head: Head) -> bool:
    """Return whether a file holds tasks of Label Studio, or its smaller export."""
    fields = set(head.fields)
    if head.is_list and fields >= _SMALL:
        return True
    # Other programs, too, list annotations beside an image.
    named = "data" in fields or (head.is_list and "image" not in fields)
    return named and bool(_RESULTS & fields)


def read(path: Path, images: Images | None = None) -> list[Annotation]:
    """Read tasks, as Label Studio exports (``JSON`` or ``JSON_MIN``) or imports them."""
    path = Path(path)
    data = read_bundle(path, lambda _: True)[path.name]
    tasks = _tasks(data, path.name)
    file = "" if all(map(_is_ours, tasks)) else remember_file(data)
    records: list[Annotation] = []
    for number, task in enumerate(tasks):
        where = f"{path.name}: task {number + 1}"
        with leaving_out("task", where):
            for record, place, _ in read_task(where, task, images):
                if file:
                    entry, about = _entry(task, place)
                    record = with_metadata(record, _KIND, file, f"{number} {place}", entry, about)
                records.append(record)
    return with_unique_uids(records)


def _tasks(data: bytes, name: str) -> list[Any]:
    """Return the tasks in a file; of the smaller export, those that its objects stand for."""
    whole = parse_json(data, name)
    return [
        _from_small(task) if isinstance(task, dict) and set(task) >= _SMALL else task
        for task in (whole if isinstance(whole, list) else [whole])
    ]


def _from_small(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the task that an object of the smaller export stands for, and the object in it."""
    items = _small_items(value)
    others = {*_SMALL_ABOUT, *(control for control, _, _ in items)}
    data = {name: field for name, field in value.items() if name not in others}
    results = [_small_result(control, uid, item) for control, item, uid in items]
    return {"data": data, "annotations": [{"result": results}], _SMALL_TASK: value}


def _small_items(value: Mapping[str, Any]) -> list[tuple[str, dict[str, Any], str]]:
    """Return the items of an object of the smaller export: control, item and id of its region."""
    ids: dict[str, str] = {}
    items = []
    for control, listed in value.items():
        if control in _SMALL_ABOUT or not isinstance(listed, list):
            continue
        for item in listed:
            if isinstance(item, dict) and "original_width" in item:
                drawn = json.dumps([item.get(name) for name in _GEOMETRY])
                items.append((control, item, ids.setdefault(drawn, f"{len(ids) + 1}")))
    return items


def _to_small(task: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a task as the object of the smaller export it came from, and its new ids by the old.

    Undoes `_from_small`.
    """
    was = task[_SMALL_TASK]
    made: dict[str, list[Any]] = {control: [] for control, _, _ in _small_items(was)}
    items = {id(item) for _, item, _ in _small_items(was)}
    for control in made:
        made[control] += [item for item in was[control] if id(item) not in items]
    drawn: dict[str, dict[str, Any]] = {}
    old_ids: dict[int, str] = {}
    for result in (result for holder in task["annotations"] for result in holder["result"]):
        uid, value = str(result.get("id")), dict(result.get("value") or {})
        texts = dict_in(result, "meta").get(OURS)
        shape = {name: value[name] for name in _GEOMETRY if name in value}
        shape = drawn.setdefault(uid, shape) if result.get("type") == "textarea" else shape
        drawn[uid] = shape
        sizes = {name: result[name] for name in _SMALL_SIZES if name in result}
        item = {**shape, **value, **sizes, **({OURS: texts} if texts else {})}
        made.setdefault(str(result.get("from_name")), []).append(item)
        old_ids[id(item)] = uid
    whole = {**was, **made}
    new_ids = {id(item): uid for _, item, uid in _small_items(whole)}
    return whole, {uid: new_ids[item] for item, uid in old_ids.items() if item in new_ids}


def _small_result(control: str, uid: str, item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result that an item of the smaller export stands for."""
    about: dict[str, Any] = {"id": uid, "from_name": control}
    about |= {name: item[name] for name in _SMALL_SIZES if name in item}
    about |= {"meta": {OURS: item[OURS]}} if OURS in item else {}
    value = {name: field for name, field in item.items() if name not in (*_SMALL_SIZES, OURS)}
    kind = "textarea" if "text" in item else next((n for n in item if n.endswith("labels")), "")
    if not kind:
        # What tells the kinds of items apart.
        fields = {"choices": "choices", "rating": "rating", "rle": "brush", "vertices": "vector"}
        fields |= {"points": "polygon", "radiusX": "ellipse", "height": "rectangle"}
        kind = next((kind for field, kind in fields.items() if field in item), "keypoint")
    return {**about, "type": kind, "value": value}


def _is_ours(task: Any) -> bool:
    """Whether a task holds nothing that we would not write ourselves."""
    if not isinstance(task, dict) or not set(task) <= _OUR_TASK:
        return False
    if not isinstance(task.get("data"), dict) or not set(task["data"]) <= {"image", OURS}:
        return False
    items = [item for name in _RESULTS for item in list_in(task, name)]
    if not all(isinstance(item, dict) and set(item) <= _OUR_ITEM for item in items):
        return False
    results = [result for item in items for result in list_in(item, "result")]
    if not all(isinstance(result, dict) for result in results):
        return False
    ours = {str(result.get("id")) for result in results if _has_ours(result)}
    return all(str(result.get("id")) in ours for result in results)


def _has_ours(result: Mapping[str, Any]) -> bool:
    texts = dict_in(dict_in(result, "meta"), OURS)
    return "uid" in texts or PART in texts


def _entry(task: Mapping[str, Any], place: str) -> tuple[list[Any], dict[str, Any]]:
    """Return the results of a record, and the task and annotation around them."""
    name, number, uid = place.split(" ", 2)
    holder = task[name][int(number)]
    results = [result for at, result in enumerate(holder["result"]) if _id(result, at) == uid]
    around = {key: field for key, field in task.items() if key not in _RESULTS}
    about = {key: field for key, field in holder.items() if key != "result"}
    return results, {"task": around, "annotation": about}


def _id(result: Any, place: int) -> str:
    """Return the id of a result; one without gets that of its place."""
    if not isinstance(result, dict):
        return ""
    return str(result.get("id") or f"result {place + 1}")


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write tasks that Label Studio imports."""
    check_unique(annotations)
    base = base_of(annotations, _KIND, path, lambda data: _tasks(data, path.name))
    if base is None:
        write_bytes(path, json_as_read(_new_tasks(annotations, images)))
    else:
        tasks, places = _Again(base, images).tasks()
        write_json_again(path, tasks, base, places)
    return ()


def _new_tasks(annotations: Sequence[Annotation], images: Images) -> list[dict[str, Any]]:
    """Return tasks of our own, one per image."""
    places = {id(annotation): place for place, annotation in enumerate(annotations)}
    tasks = []
    for image, own in by_image(annotations).items():
        size, name = image_size(images, image), image_name(images, image)
        drafts: dict[str, list[dict[str, Any]]] = {}
        done: list[dict[str, Any]] = []
        for annotation in own:
            results = _results(without_metadata(annotation), size, places[id(annotation)])
            if annotation.source == "model":
                drafts.setdefault(annotation.model, []).extend(results)
            else:
                done.extend(results)
        predictions = []
        for model, results in drafts.items():
            scores = [result["score"] for result in results if "score" in result]
            score = {"score": sum(scores) / len(scores)} if scores else {}
            predictions.append({"model_version": model, **score, "result": results})
        data = {"image": name} if name == image else {"image": name, OURS: image}
        people = [{"result": done}] if done else []
        tasks.append({"data": data, "annotations": people, "predictions": predictions})
    return tasks


class _Again:
    """A file of other people, with records put back into it."""

    def __init__(self, base: Base[Any], images: Images) -> None:
        self._base, self._images = base, images
        self._records = dict(base.records)
        content = base.content if isinstance(base.content, list) else self._from_entries()
        self._tasks: list[Any] = copy.deepcopy(content)

    def _from_entries(self) -> list[Any]:
        """Return what the records still hold of a file that is no longer known."""
        tasks: dict[str, dict[str, Any]] = {}
        indices: dict[tuple[str, str, str], int] = {}
        moved: dict[str, Annotation] = {}
        for place, record, metadata in known_entries(self._records, _KIND):
            if not isinstance(metadata.entry, list):
                continue
            at, name, number, uid = place.split(" ", 3)
            around = metadata.about.get("task") or {"data": {"image": record.image}}
            task = tasks.setdefault(at, {**around, "annotations": []})
            listed = task.setdefault(name, [])
            index = indices.setdefault((at, name, number), len(listed))
            if index == len(listed):
                listed.append({**(metadata.about.get("annotation") or {}), "result": []})
            listed[index]["result"] += metadata.entry
            moved[f"{list(tasks).index(at)} {name} {index} {uid}"] = record
        self._records = moved
        return list(tasks.values())

    def tasks(self) -> tuple[list[Any], dict[str, str]]:
        """Return the tasks of the file, and where its results are by where they were."""
        by_task: dict[int, dict[str, Annotation]] = {}
        for place, record in self._records.items():
            at, _, rest = place.partition(" ")
            by_task.setdefault(int(at), {})[rest] = record
        tasks: list[Any] = []
        places: dict[str, str] = {}
        for number, task in enumerate(self._tasks):
            own = by_task.get(number, {})
            if not own and not self._base.in_place and self._base.content is not None:
                continue
            if own:
                self._put(task, own)
            renamed: dict[str, str] = {}
            if isinstance(task.get(_SMALL_TASK), dict):
                task, renamed = _to_small(task)
            for rest in own:
                start, _, uid = rest.rpartition(" ")
                places[f"{number} {rest}"] = f"{len(tasks)} {start} {renamed.get(uid, uid)}"
            tasks.append(task)
        return [*tasks, *_new_tasks(self._base.rest, self._images)], places

    def _put(self, task: dict[str, Any], own: Mapping[str, Annotation]) -> None:
        """Put the records of a task into it."""
        with noting(Notes()):  # all was noted when the file was read
            was, bare = (
                {place: record for record, place, _ in read_task("", task, self._images, ours=ours)}
                for ours in (True, False)
            )
            holders = {(name, number): holder for name, number, holder in results_of(task, "")}
        # Of images that no record is about, nothing was deleted.
        here = {was[place].image for place in own if place in was}
        for place, before in was.items():
            name, number, uid = place.split(" ", 2)
            results = holders[name, int(number)]["result"]
            now = own.get(place)
            if now is None and before.image in here and is_deleted(before.region):
                results[:] = [result for at, result in enumerate(results) if _id(result, at) != uid]
            elif now is not None and not same_record(before, replace(now, uid=before.uid)):
                mine = [result for at, result in enumerate(results) if _id(result, at) == uid]
                if any(map(_has_ours, mine)):
                    self._renew(results, before.uid, now)
                else:
                    _update(results, mine, bare[place], now)

    def _renew(self, results: list[Any], uid: str, now: Annotation) -> None:
        """Put a record of our own in the place of what stands there."""
        ids = {
            str(result.get("id"))
            for result in results
            if isinstance(result, dict)
            and _has_ours(result)
            and uid in (result["meta"][OURS].get("uid"), result["meta"][OURS].get(PART))
        }
        are_ours = [isinstance(each, dict) and str(each.get("id")) in ids for each in results]
        first = are_ours.index(True)
        size = _stated_size(results[first]) or image_size(self._images, now.image)
        new = _results(without_metadata(replace(now, uid=uid)), size, first)
        kept = [result for result, is_ours in zip(results, are_ours, strict=True) if not is_ours]
        results[:] = [*kept[:first], *new, *kept[first:]]


def _update(
    results: list[Any], mine: Sequence[dict[str, Any]], bare: Annotation, now: Annotation
) -> None:
    """Change the results of somebody else's region to what a record says."""
    drawings = (each for each in mine if each.get("type") not in ("textarea", "choices"))
    region = next(drawings, mine[0])
    size, kind = _stated_size(region), str(region.get("type", ""))
    if size is not None and not same_drawing(bare.region, now.region):
        made = value_of(now.region, size)
        if made is not None:
            old = region.get("value") or {}
            labels = old.get(kind) if kind.endswith("labels") else None
            kind = made[0] if labels is None else f"{made[0]}labels"
            region["type"] = kind
            region["value"] = {**made[1], **({kind: labels} if labels is not None else {})}
    label = now.extra.get(CLASS, "")
    if label and label != bare.extra.get(CLASS, "") and kind.endswith("labels"):
        region["value"] = {**(region.get("value") or {}), kind: [label]}
    texts = our_texts(bare, now)
    texts.pop(CLASS, None)
    if now.caption != bare.caption:
        _set_caption(results, mine, region, now.caption)
    region["meta"] = with_ours(region.get("meta") or {}, texts)
    if not region["meta"]:
        del region["meta"]


def _set_caption(
    results: list[Any],
    mine: Sequence[dict[str, Any]],
    region: Mapping[str, Any],
    caption: str,
) -> None:
    """Let a text with the id of a region hold its caption."""
    written = [result for result in mine if result.get("type") == "textarea"]
    if written:
        text = [caption] if caption else []
        written[0]["value"] = {**(written[0].get("value") or {}), "text": text}
        others = {id(result) for result in written[1:]}
        results[:] = [result for result in results if id(result) not in others]
        return
    new = {"id": mine[0].get("id"), "type": "textarea", "from_name": "caption"}
    new |= {name: region[name] for name in ("to_name", *_SMALL_SIZES) if name in region}
    at = next(place for place, result in enumerate(results) if result is mine[-1])
    results.insert(at + 1, {**new, "value": {"text": [caption]}})


def _results(annotation: Annotation, size: Size, place: int) -> list[dict[str, Any]]:
    """Return the results of one annotation: region and text, for a set those of every member."""
    texts = record_texts(annotation)
    sides = {"original_width": size[1], "original_height": size[0], "image_rotation": 0}
    score = {} if annotation.score is None else {"score": annotation.score}

    def text_result(uid: str, about: Mapping[str, Any], meta: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "id": uid,
            "type": "textarea",
            "from_name": "caption",
            "to_name": "image",
            **about,
            "value": {"text": [annotation.caption] if annotation.caption else []},
            **meta,
            **score,
        }

    results: list[dict[str, Any]] = []
    for member in annotation.region.parts():
        made = value_of(member, size)
        if made is None:
            continue
        kind, value = made
        ours, uid = texts, annotation.uid
        if results:  # an id for a member of a set that no other region has
            part = f"{len(results)} {uid}".encode(errors="replace")
            ours, uid = {PART: uid}, hashlib.sha256(part).hexdigest()[:32]
        results.append(
            {
                "id": uid,
                "type": f"{kind}labels",
                "from_name": kind,
                "to_name": "image",
                **sides,
                "value": {**value, f"{kind}labels": [class_of(annotation)]},
                "meta": {OURS: ours, _PLACE: place},
                **score,
            }
        )
        if annotation.caption:
            results.append(text_result(uid, sides, {}))
    meta = {"meta": {OURS: texts, _PLACE: place}}
    return results or [text_result(annotation.uid, {}, meta)]


_PLACE = "napari_patchioner_place"
# What says something about a region, or about several, and is none itself.
_BESIDE = ("labels", "choices", "rating", "number", "datetime", "taxonomy", "relation", "pairwise")
_PICTURE = re.compile(r"\.(png|jpe?g|tiff?|bmp|webp|gif|svg|dcm)$", re.IGNORECASE)
_UPLOADED = re.compile(r"/data/upload/(\d+/)?[0-9a-f]{8}-(?P<name>[^/]+)$")
_USUAL = ("image", "img", "image_url", "url", "picture", "photo")


# All results with one id: a region, its texts, and what else is said about it.
_Item: TypeAlias = "list[Mapping[str, Any]]"


def read_task(
    where: str, task: Any, images: Images | None = None, *, ours: bool = True
) -> list[tuple[Annotation, str, int]]:
    """Return the records of one task, in the order in which we wrote them.

    With each, its place (the list of the task, which of its items, and the id of the result,
    apart by spaces), and which of our annotations it was when it was written.
    """
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
        raise FormatError(f"{where}: has no 'data'; it is no task of Label Studio")
    pictures = _Pictures(task["data"], images or {})
    records: list[tuple[Annotation, str, int]] = []
    seen: set[str] = set()
    for list_name, number, holder in results_of(task, where):
        is_model = list_name == "predictions"
        known = frozenset(seen) if is_model else frozenset()
        items = _items(holder["result"], where)
        for record, uid, order in _records(items, pictures, where, ours=ours):
            if record.uid in known:
                continue
            item = items.get(uid, [])
            if is_model and not _our_texts(item):
                record = _by(str(holder.get("model_version") or ""), record, item, holder)
            records.append((record, f"{list_name} {number} {uid}", order))
            seen.add(record.uid)
    return sorted(records, key=lambda record: record[2])


def results_of(task: Mapping[str, Any], where: str) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    """Yield each item of a task that holds results: the list it is in, which it is, and itself."""
    people = "annotations" if "annotations" in task else "completions"
    for name in (people, "predictions"):
        for number, entry in enumerate(list_in(task, name)):
            # Exports may name the predictions they leave out by their numbers.
            if isinstance(entry, int):
                continue
            with leaving_out("annotation", where):
                if not isinstance(entry, dict) or not isinstance(entry.get("result"), list):
                    raise FormatError(f"{where}: an item of {name!r} has no list of results")
                if not entry.get("was_cancelled"):
                    yield name, number, entry


class _Pictures:
    """The images of a task, and their sizes as far as they are known."""

    def __init__(self, data: Mapping[str, Any], images: Images) -> None:
        self._images = images
        self.sizes: dict[str, Size] = {}
        self._ours = data.get(OURS)
        texts = {
            name: text for name, text in data.items() if isinstance(text, str) and name != OURS
        }
        usual = {name: texts[name] for name in _USUAL if name in texts}
        shown = {name: text for name, text in texts.items() if _PICTURE.search(_path_of(text))}
        self._single = shown or dict(list((usual or texts).items())[:1])
        if not isinstance(self._ours, str) and len(usual) == 1 and len(shown) < 2:
            self._single = usual
        lists = [
            paths
            for paths in data.values()
            if isinstance(paths, list) and paths and all(isinstance(path, str) for path in paths)
        ]
        self._lists = [paths for paths in lists if _PICTURE.search(_path_of(paths[0]))] or lists

    def of(self, item: _Item) -> str:
        """Return the image that results are about: as one that is known, else by its own name."""
        if isinstance(self._ours, str):
            return self._ours
        written = self._written(item)
        plain = image_of(written)
        names = [written, _path_of(written), plain]
        return next((name for name in names if name and self._info(name) is not None), plain)

    def _written(self, item: _Item) -> str:
        """Return the image as the task writes it."""
        lists, numbers = self._lists, [result.get("item_index") for result in item]
        index = next((n for n in numbers if type(n) is int and n >= 0), None)
        if index is not None and lists:
            if index < len(lists[0]):
                return str(lists[0][index])
            raise FormatError(f"is on image {index + 1} of a task that shows {len(lists[0])}")
        if not self._single and len(lists) == 1 and len(lists[0]) == 1:
            return str(lists[0][0])
        if len(self._single) > 1 or (lists and not self._single):
            return self._named(item)
        return next(iter(self._single.values()), "")

    def _named(self, item: _Item) -> str:
        """Return the one of several images that the results name as their source or target."""
        sources = [str(result.get("source", "")).removeprefix("$") for result in item]
        targets = [str(result.get("to_name", "")) for result in item]
        for name in (*sources, *targets):
            if self._single.get(name):
                return self._single[name]
        for target in targets:
            digits = re.findall(r"\d+", target)
            alike = [
                text for name, text in self._single.items() if re.findall(r"\d+", name) == digits
            ]
            if len(alike) == 1:
                return alike[0]
        raise FormatError(
            "is in a task that shows several images, and nothing tells on which of them it is; "
            "export each image as a task of its own"
        )

    def _info(self, name: str) -> Any:
        try:
            return self._images.get(name)
        except FormatError:  # it may be one of several
            return None

    def size(self, image: str) -> Size | None:
        """Return ``(height, width)`` of an image, as other results or the images say."""
        info = None if image in self.sizes else self._info(image)
        if info is not None and min(info.height, info.width) > 0:
            self.sizes[image] = (info.height, info.width)
        return self.sizes.get(image)


def _path_of(url: str) -> str:
    """Return the path in an address: without what asks, and its signs as they are."""
    if url.startswith("data:"):
        return ""
    try:
        parts = urlsplit(url)
        asked = parse_qs(parts.query)
    except ValueError:
        return url
    if "fileuri" in asked:
        try:
            return _path_of(base64.b64decode(asked["fileuri"][0], validate=True).decode())
        except ValueError:
            return unquote(parts.path)
    if "d" in asked and parts.path.rstrip("/").endswith("local-files"):
        return asked["d"][0]
    if len(parts.scheme) > 1:  # a drive is no scheme
        return unquote(f"{parts.scheme}://{parts.netloc}{parts.path}")
    return unquote(parts.path) if url.startswith("/data/") else url


def image_of(url: str) -> str:
    """Return what the image at an address of Label Studio was called before it came there.

    >>> image_of("/data/upload/7/1b8e0dc9-cat.jpg"), image_of("/data/local-files/?d=a/cat%20b.jpg")
    ('cat.jpg', 'a/cat b.jpg')
    >>> image_of("https://host/a/cat.jpg?token=1"), image_of("cat.jpg")
    ('https://host/a/cat.jpg', 'cat.jpg')
    >>> image_of("data:image/png;base64,iVBORw0K")  # a picture within the file is one of its own
    'data-fc9d5eb7'
    """
    if url.startswith("data:"):
        return f"data-{hashlib.sha256(url.encode(errors='replace')).hexdigest()[:8]}"
    path = _path_of(url)
    uploaded = _UPLOADED.search(path)
    return uploaded["name"] if uploaded else path


def _items(results: list[Any], where: str) -> dict[str, _Item]:
    """Return the results by their ids."""
    items: dict[str, _Item] = {}
    for place, result in enumerate(results):
        with leaving_out("result", where):
            if not isinstance(result, dict):
                raise FormatError(f"{where}: result {place + 1} is no object")
            items.setdefault(_id(result, place), []).append(result)
    return items


def _records(
    items: Mapping[str, _Item], pictures: _Pictures, where: str, *, ours: bool
) -> list[tuple[Annotation, str, int]]:
    """Return the annotations in a list of results, with their ids and places in what we wrote."""
    shapes: list[Shape] = []
    places: dict[str, tuple[str, int]] = {}
    partly: dict[str, Mapping[str, str]] = {}
    # Sizes first: what states none takes them from others on the same image.
    for item in items.values():
        for result in item:
            size = _stated_size(result)
            if size is not None:
                with suppress(FormatError):  # it is noted with the region
                    pictures.sizes.setdefault(pictures.of(item), size)
    for uid, item in items.items():
        at = f"{where}: result {uid!r}"
        with leaving_out("region", at), naming(at):
            charge_records()
            made = _shape(item, pictures, uid)
            if made is not None:
                shapes.append(made)
                metas = [meta for result in item if (meta := dict_in(result, "meta"))]
                order = next((meta[_PLACE] for meta in metas if _PLACE in meta), 0)
                order = order if isinstance(order, int) else 0
                places.setdefault(made.texts.get("uid", uid), (uid, order))
                texts = _our_texts(item)
                if ours and texts and "uid" not in texts and PART not in texts:
                    partly[uid] = texts

    def show(image: str, region: Region) -> Region | None:
        return shown(region, pictures.size(image) or (1, 1))

    with naming(where):
        records = [
            with_our_texts(record, partly[record.uid], partial(show, record.image))
            if record.uid in partly
            else record
            for record in gather(shapes, show)
        ]
    return [(record, *places.get(record.uid, (record.uid, 0))) for record in records]


def _by(version: str, annotation: Annotation, item: _Item, holder: Mapping[str, Any]) -> Annotation:
    """Return an annotation whose caption, if any, a model in Label Studio wrote."""
    if not annotation.caption:
        return replace(annotation, source="", model=version)
    scores = [result.get("score") for result in (*item, holder)]
    known = (float(s) for s in scores if isinstance(s, float | int) and 0 <= s <= 1)
    return replace(annotation, source="model", model=version, score=next(known, None))


def _our_texts(item: _Item) -> dict[str, str]:
    """Return what the results hold of ours."""
    for result in item:
        ours = dict_in(result, "meta").get(OURS)
        if isinstance(ours, dict):
            return {str(key): str(text) for key, text in ours.items()}
    return {}


def _shape(item: _Item, pictures: _Pictures, uid: str) -> Shape | None:
    """Return what the results with one id say; None if it is nothing about a region."""
    drawn: Region | None = None
    label: str | None = None
    said: list[str] = []
    if all(result.get("type") in _BESIDE for result in item) and not _our_texts(item):
        return None
    image = pictures.of(item)
    for result in item:
        kind, value = str(result.get("type", "")), dict_in(result, "value")
        bare = kind.removesuffix("labels")
        if bare in _READERS:
            drawn = region_of(bare, value, _size(result, image, pictures))
        elif kind == "textarea":
            text = value.get("text", [])
            said += map(str, text if isinstance(text, list) else [text or ""])
        elif kind not in _BESIDE:
            raise FormatError(f"the type {kind!r} is about no region of an image")
        labels = list_in(value, kind) if kind.endswith("labels") else []
        label = str(labels[0]) if labels else label
    texts = _texts(item)
    if drawn is None and texts.get("kind", "image") == "image":
        drawn = WholeImage() if said or "wkt" in texts else None
    if drawn is None and "wkt" not in texts:
        return None
    return Shape(image, uid, drawn, "\n".join(said), texts, label)


def _stated_size(result: Mapping[str, Any]) -> Size | None:
    """Return ``(height, width)`` of the image as a result states it; None if it does not."""
    sides = [result.get("original_height"), result.get("original_width")]
    known = [round(side) for side in sides if isinstance(side, int | float) and 1 <= side < 2**31]
    return (known[0], known[1]) if len(known) == 2 else None


def _size(result: Mapping[str, Any], image: str, pictures: _Pictures) -> Size:
    """Return ``(height, width)`` of the image that a result is about."""
    if result.get("image_rotation"):
        raise FormatError("was drawn on a turned image; turn the image back in Label Studio")
    size = _stated_size(result) or pictures.size(image)
    if size is None:
        raise FormatError(
            "lacks 'original_width' and 'original_height', so percent mean nothing; give its image "
            "along"
        )
    return size


def _texts(item: _Item) -> dict[str, str]:
    """Return what the results carry: ours, or choices, ratings and notes of other people."""
    ours = _our_texts(item)
    if "uid" in ours or PART in ours:
        return ours
    texts = {}
    for result in item:
        kind = str(result.get("type"))
        notes = dict_in(result, "meta").get("text")
        if isinstance(notes, list | str) and notes:
            texts["notes"] = notes if isinstance(notes, str) else "\n".join(map(str, notes))
        chosen = dict_in(result, "value").get(kind) if kind in _CHOSEN else None
        if chosen not in (None, [], ""):
            parts = chosen if isinstance(chosen, list) else [chosen]
            texts[str(result.get("from_name") or kind)] = ", ".join(
                " / ".join(map(str, part)) if isinstance(part, list) else str(part)
                for part in parts
            )
    return texts


_CHOSEN = ("choices", "rating", "number", "datetime", "taxonomy")


Size = tuple[int, int]
_FARTHEST = 2.0**40


def value_of(region: Region, size: Size) -> tuple[str, dict[str, Any]] | None:
    """Return the type of the result for a region that is no set, and its value in percent."""
    match region:
        case Box():
            [(x, y), (right, bottom)] = (corners_xy(region) * 100 / size[::-1]).tolist()
            sides = {"x": x, "y": y, "width": right - x, "height": bottom - y}
            return "rectangle", {**sides, "rotation": 0}
        case Ellipse():
            return _ellipse(region, size)
        case Polygon():
            return "polygon", {"points": _percent(region.vertices, size), "closed": True}
        case Point() | Trace():
            points = _percent(region.coords(), size)
            if len(points) > 1:
                return "vector", {"vertices": _vertices(points), "closed": False}
            if points:
                return "keypoint", {**dict(zip("xy", points[0], strict=True)), "width": _DOT}
        case Mask():
            runs = encode_brush(region, *size)
            return ("brush", {"format": "rle", "rle": runs}) if runs else None
    return None


def _vertices(points: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
    """Return the vertices of a line, each naming the one before."""
    return [
        {
            "id": str(place),
            "x": x,
            "y": y,
            "prevPointId": str(place - 1) if place else None,
            "isBezier": False,
        }
        for place, (x, y) in enumerate(points)
    ]


def _percent(points: npt.ArrayLike, size: Size) -> list[list[float]]:
    """Return ``(row, column)`` points as ``x y`` in percent of the image."""
    result: list[list[float]] = (to_xy(points) * 100 / size[::-1]).tolist()
    return result


def _ellipse(ellipse: Ellipse, size: Size) -> tuple[str, dict[str, Any]]:
    """Return an ellipse; Label Studio measures its turn in pixels, its radii in percent."""
    centre, along, across = ellipse_axes(ellipse)
    if is_sheared(along, across):
        return "polygon", {"points": _percent(ellipse.outline(), size), "closed": True}
    x, y = (centre * 100 / size[::-1]).tolist()
    radii = np.array([np.hypot(*along), np.hypot(*across)]) * 100 / size[::-1]
    turn = float(np.degrees(np.arctan2(along[1], along[0]))) % 360
    value = {"x": x, "y": y, "radiusX": float(radii[0]), "radiusY": float(radii[1])}
    return "ellipse", {**value, "rotation": turn}


def region_of(kind: str, value: Mapping[str, Any], size: Size) -> Region:
    """Return the region a result shows; undoes `value_of`."""
    try:
        return _READERS[kind](value, size)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError(f"the value of a {kind} lacks fields, or they are no numbers") from error


def _pixels(points: npt.ArrayLike, size: Size) -> npt.NDArray[np.float64]:
    """Return ``x y`` in percent as ``x y`` in pixels, pixel corners at integers."""
    with np.errstate(over="ignore"):
        result: npt.NDArray[np.float64] = (
            np.asarray(points, float).reshape(-1, 2) * size[::-1] / 100
        )
    if not len(result) or not (abs(result) < _FARTHEST).all():
        raise FormatError("a coordinate is not a finite number, or lies farther out than any image")
    return result


def _read_rectangle(value: Mapping[str, Any], size: Size) -> Region:
    """Return a box, or the polygon it is once turned about its first corner."""
    (corner, extent) = _pixels([[value["x"], value["y"]], [value["width"], value["height"]]], size)
    turn = float(value.get("rotation") or 0)
    steps = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * extent
    if turn % 360 == 0:
        (top, left), (bottom, right) = from_xy([corner, corner + extent]).tolist()
        return Box(top, left, bottom, right)
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    return Polygon(from_xy(corner + steps @ np.array([[cos, sin], [-sin, cos]])))


def _read_polygon(value: Mapping[str, Any], size: Size) -> Region:
    points = from_xy(_pixels(value["points"], size))
    if len(points) < 3:
        raise FormatError(f"a polygon needs at least 3 points, but this one has {len(points)}")
    return Polygon(points)


def _read_ellipse(value: Mapping[str, Any], size: Size) -> Region:
    centre, radii = _pixels([[value["x"], value["y"]], [value["radiusX"], value["radiusY"]]], size)
    turn = np.radians(float(value.get("rotation") or 0))
    along, across = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return ellipse_from_axes(centre, along * radii[0], across * radii[1])


def _read_keypoint(value: Mapping[str, Any], size: Size) -> Region:
    [(row, column)] = from_xy(_pixels([[value["x"], value["y"]]], size)).tolist()
    return Point(row, column)


def _read_vector(value: Mapping[str, Any], size: Size) -> Region:
    points = from_xy(_pixels([[item["x"], item["y"]] for item in value["vertices"]], size))
    return Polygon(points) if value.get("closed") and len(points) > 2 else Trace(points)


def _read_brush(value: Mapping[str, Any], size: Size) -> Region:
    mask = decode_brush(value["rle"], *size)
    if mask is None:
        raise FormatError("nothing is painted; paint at least one pixel")
    return mask


# The types of results that show regions, without ``labels``.
_READERS: dict[str, Callable[[Mapping[str, Any], Size], Region]] = {
    "rectangle": _read_rectangle,
    "polygon": _read_polygon,
    "ellipse": _read_ellipse,
    "keypoint": _read_keypoint,
    "vector": _read_vector,
    "brush": _read_brush,
}


def shown(region: Region, size: Size) -> Region | None:
    """Return what a task shows for a region that is no set, other than the whole image."""
    result = None if isinstance(region, WholeImage) else value_of(region, size)
    return None if result is None else region_of(*result, size)


FORMAT = Format("label-studio", "Label Studio", (".json",), read, write, knows, sized=True)
