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
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import numpy.typing as npt

from napari_patchioner import regions
from napari_patchioner.annotations import metadata, texts, xy
from napari_patchioner.annotations.images import Images, Size, image_name, image_size
from napari_patchioner.annotations.metadata import OURS, Said, without_metadata
from napari_patchioner.annotations.notes import Notes, leaving_out, naming, noting
from napari_patchioner.annotations.record import MACHINES, Annotation, Source
from napari_patchioner.annotations.rle import decode_brush, encode_brush
from napari_patchioner.annotations.xy import from_xy, to_xy
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import charge_records

from . import json_arrays
from .bundle import read_bundle
from .head import Format, Head
from .json_arrays import dict_in, dicts_in, list_in

# Width of a point as Label Studio draws it, in percent.
_DOT = 0.5
_RESULTS = {"annotations", "predictions", "completions"}
_KIND = "label-studio"
# The smaller of the two exports has one object per annotation, results by the names of controls.
_SMALL = {"annotation_id", "annotator"}
_SMALL_ABOUT = ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time")
_SMALL_SIZES = ("original_width", "original_height", "image_rotation", "item_index")
# Where a task made of such an object holds it; no task of Label Studio has that field.
_SMALL_TASK = "napari_patchioner_small"
_GEOMETRY = ("x", "y", "width", "height", "rotation", "points", "radiusX", "radiusY", "rle")
# What tells the kinds of items apart.
_SMALL_KINDS = {"choices": "choices", "rating": "rating", "rle": "brush", "vertices": "vector"}
_SMALL_KINDS |= {"points": "polygon", "radiusX": "ellipse", "height": "rectangle"}
# What our own tasks hold, and nothing else.
_OUR_TASK, _OUR_ITEM = {"data", "annotations", "predictions"}, {"result", "model_version", "score"}
_PLACE = "napari_patchioner_place"
# What names our record in what a result holds of it, or of a part of it.
_OUR_UIDS = ("uid", texts.PART)
_CHOSEN = ("choices", "rating", "number", "datetime", "taxonomy")
# What says something about a region, or about several, and is none itself.
_BESIDE = (*_CHOSEN, "labels", "relation", "pairwise")
_PICTURE = re.compile(r"\.(png|jpe?g|tiff?|bmp|webp|gif|svg|dcm)$", re.IGNORECASE)
_UPLOADED = re.compile(r"/data/upload/(\d+/)?[0-9a-f]{8}-(?P<name>[^/]+)$")
_USUAL = ("image", "img", "image_url", "url", "picture", "photo")
_FARTHEST = 2.0**40
# The types of results that show regions, without ``labels``.
_DRAWN = ("rectangle", "polygon", "ellipse", "keypoint", "vector", "brush")

# All results with one id: a region, its texts, and what else is said about it.
_Item: TypeAlias = "list[dict[str, Any]]"


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
    data = read_bundle(path)[path.name]
    tasks = _tasks(data, path.name)
    file = "" if all(map(_is_ours, tasks)) else metadata.remember_file(data)
    records: list[Annotation] = []
    for number, task in enumerate(tasks):
        where = f"{path.name}: task {number + 1}"
        with leaving_out("task", where):
            for said, place, _, holder, item in read_task(where, task, images):
                record = said.record
                if file:
                    about = {
                        "task": {key: task[key] for key in task if key not in _RESULTS},
                        "annotation": {key: holder[key] for key in holder if key != "result"},
                    }
                    place = f"{number} {place}"
                    record = metadata.with_metadata(record, _KIND, file, place, item, about)
                records.append(record)
    return texts.with_unique_uids(records)


def _tasks(data: bytes, name: str) -> list[Any]:
    """Return the tasks in a file; of the smaller export, those that its objects stand for."""
    whole = json_arrays.parse_json(data, name)
    tasks = []
    for task in whole if isinstance(whole, list) else [whole]:
        if isinstance(task, dict) and set(task) >= _SMALL:
            items = _small_items(task)
            others = {*_SMALL_ABOUT, *(control for control, _, _ in items)}
            data_of_task = {name: field for name, field in task.items() if name not in others}
            results = [_small_result(*item) for item in items]
            small = {"annotations": [{"result": results}], _SMALL_TASK: task}
            tasks.append({"data": data_of_task, **small})
        else:
            tasks.append(task)
    return tasks


def _small_items(value: Mapping[str, Any]) -> list[tuple[str, dict[str, Any], str]]:
    """Return the items of an object of the smaller export: control, item and id of its region."""
    ids: dict[str, str] = {}
    items = []
    for control in value:
        for item in dicts_in(value, control) if control not in _SMALL_ABOUT else ():
            if "original_width" in item:
                drawn = json.dumps([item.get(name) for name in _GEOMETRY])
                items.append((control, item, ids.setdefault(drawn, f"{len(ids) + 1}")))
    return items


def _to_small(task: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the object of the smaller export that a task came from, and its new ids by the old."""
    was = task[_SMALL_TASK]
    known = _small_items(was)
    items = {id(item) for _, item, _ in known}
    made: dict[str, list[Any]] = {
        control: [item for item in was[control] if id(item) not in items] for control, _, _ in known
    }
    drawn: dict[str, dict[str, Any]] = {}
    old_ids: dict[int, str] = {}
    for result in (result for holder in task["annotations"] for result in holder["result"]):
        uid, value = str(result.get("id")), dict(result.get("value") or {})
        ours = dict_in(result, "meta").get(OURS)
        shape = {name: value[name] for name in _GEOMETRY if name in value}
        shape = drawn.setdefault(uid, shape) if result.get("type") == "textarea" else shape
        drawn[uid] = shape
        sizes = {name: result[name] for name in _SMALL_SIZES if name in result}
        item = {**shape, **value, **sizes, **({OURS: ours} if ours else {})}
        made.setdefault(str(result.get("from_name")), []).append(item)
        old_ids[id(item)] = uid
    whole = {**was, **made}
    new_ids = {id(item): uid for _, item, uid in _small_items(whole)}
    return whole, {uid: new_ids[item] for item, uid in old_ids.items() if item in new_ids}


def _small_result(control: str, item: Mapping[str, Any], uid: str) -> dict[str, Any]:
    """Return the result that an item of the smaller export stands for."""
    about: dict[str, Any] = {"id": uid, "from_name": control}
    about |= {name: item[name] for name in _SMALL_SIZES if name in item}
    about |= {"meta": {OURS: item[OURS]}} if OURS in item else {}
    value = {name: field for name, field in item.items() if name not in (*_SMALL_SIZES, OURS)}
    kind = "textarea" if "text" in item else next((n for n in item if n.endswith("labels")), "")
    if not kind:
        kind = next((kind for field, kind in _SMALL_KINDS.items() if field in item), "keypoint")
    return {**about, "type": kind, "value": value}


def _is_ours(task: Any) -> bool:
    """Whether a task holds nothing that we would not write ourselves."""
    items = [item for name in _RESULTS for item in list_in(task, name)]
    results = [result for item in items for result in list_in(item, "result")]
    ours = {_id(result) for result in results if _is_record(_our_texts([result]))}
    return (
        isinstance(task, dict)
        and set(task) <= _OUR_TASK
        and isinstance(task.get("data"), dict)
        and set(task["data"]) <= {"image", OURS}
        and all(isinstance(item, dict) and set(item) <= _OUR_ITEM for item in items)
        and all(isinstance(result, dict) and _id(result) in ours for result in results)
    )


def _our_texts(item: _Item) -> dict[str, str]:
    """Return what the results hold of ours."""
    held = (dict_in(result, "meta").get(OURS) for result in item)
    ours = next((each for each in held if isinstance(each, dict)), {})
    return {str(key): str(text) for key, text in ours.items()}


def _is_record(ours: Mapping[str, str]) -> bool:
    """Whether texts of ours are those of a record of ours, or of a part of one."""
    return not ours.keys().isdisjoint(_OUR_UIDS)


def _id(result: Mapping[str, Any], place: int = -1) -> str:
    """Return the id of a result; one without gets that of its place."""
    return str(result.get("id") or f"result {place + 1}")


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write tasks that Label Studio imports."""
    base = metadata.base_of(annotations, _KIND, path, lambda data: _tasks(data, path.name))
    new = partial(_new_tasks, annotations, images)
    json_arrays.write_json(path, base, new, lambda base: _Again(base, images).tasks())
    return ()


def _new_tasks(annotations: Sequence[Annotation], images: Images) -> list[dict[str, Any]]:
    """Return tasks of our own, one per image."""
    places = {id(annotation): place for place, annotation in enumerate(annotations)}
    tasks = []
    for image, own in texts.by_image(annotations).items():
        size, name = image_size(images, image), image_name(images, image)
        drafts: dict[str, list[dict[str, Any]]] = {}
        done: list[dict[str, Any]] = []
        for annotation in own:
            is_draft = annotation.source in MACHINES
            target = drafts.setdefault(annotation.model, []) if is_draft else done
            target += _results(without_metadata(annotation), size, places[id(annotation)])
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

    def __init__(self, base: metadata.Base[Any], images: Images) -> None:
        self._base, self._images = base, images
        self._records = dict(base.records)
        content = base.content if isinstance(base.content, list) else self._from_entries()
        self._tasks: list[Any] = copy.deepcopy(content)

    def _from_entries(self) -> list[Any]:
        """Return what the records still hold of a file that is no longer known."""
        tasks: dict[str, dict[str, Any]] = {}
        indices: dict[tuple[str, str, str], int] = {}
        moved: dict[str, Annotation] = {}
        for place, record, origin in metadata.known_entries(self._records, _KIND):
            if not isinstance(origin.entry, list):
                continue
            at, name, number, uid = place.split(" ", 3)
            around = origin.about.get("task") or {"data": {"image": record.image}}
            task = tasks.setdefault(at, {**around, "annotations": []})
            listed = task.setdefault(name, [])
            index = indices.setdefault((at, name, number), len(listed))
            if index == len(listed):
                listed.append({**(origin.about.get("annotation") or {}), "result": []})
            listed[index]["result"] += origin.entry
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
            was = {read.place: read for read in read_task("", task, self._images)}
        # Of images that no record is about, nothing was deleted.
        here = {was[place].said.record.image for place in own if place in was}
        for place, ((bare, before), _, _, holder, item) in was.items():
            results, now = holder["result"], own.get(place)
            if now is None:
                if before.image in here and metadata.is_deleted(before.region):
                    _take_out(results, item)
                continue
            now = replace(now, uid=before.uid)
            if metadata.same_record(before, now):
                continue
            if not any(_is_record(_our_texts([result])) for result in item):
                _update(results, item, bare, now)
                continue
            # A record of ours takes the place of its results, those of its members among them.
            held = [(each, _our_texts([each])) for each in results if isinstance(each, dict)]
            ids = {_id(each) for each, ours in held if now.uid in map(ours.get, _OUR_UIDS)}
            old = [each for each, _ in held if _id(each) in ids]
            first = next(at for at, each in enumerate(results) if each is old[0])
            size = _stated_size(old[0]) or image_size(self._images, now.image)
            _take_out(results, old)
            results[first:first] = _results(without_metadata(now), size, first)


def _take_out(results: list[Any], gone: Sequence[Mapping[str, Any]]) -> None:
    ids = set(map(id, gone))
    results[:] = [result for result in results if id(result) not in ids]


def _update(results: list[Any], mine: _Item, bare: Annotation, now: Annotation) -> None:
    """Change the results of somebody else's region to what a record says."""
    drawings = (each for each in mine if each.get("type") not in ("textarea", "choices"))
    region = next(drawings, mine[0])
    size, kind = _stated_size(region), str(region.get("type", ""))
    if size is not None and not regions.same_drawing(bare.region, now.region):
        made = value_of(now.region, size)
        if made is not None:
            labels = dict_in(region, "value").get(kind) if kind.endswith("labels") else None
            kind = made[0] if labels is None else f"{made[0]}labels"
            region["type"] = kind
            region["value"] = {**made[1], **({kind: labels} if labels is not None else {})}
    label = now.extra.get(texts.CLASS, "")
    if label and label != bare.extra.get(texts.CLASS, "") and kind.endswith("labels"):
        region["value"] = {**dict_in(region, "value"), kind: [label]}
    ours = metadata.our_texts(bare, now)
    ours.pop(texts.CLASS, None)
    written = [result for result in mine if result.get("type") == "textarea"]
    if now.caption != bare.caption and written:
        text = [now.caption] if now.caption else []
        written[0]["value"] = {**dict_in(written[0], "value"), "text": text}
        _take_out(results, written[1:])
    elif now.caption != bare.caption:  # a text with the id of the region holds it
        new = {"id": mine[0].get("id"), "type": "textarea", "from_name": "caption"}
        new |= {name: region[name] for name in ("to_name", *_SMALL_SIZES) if name in region}
        at = next(place for place, result in enumerate(results) if result is mine[-1])
        results.insert(at + 1, {**new, "value": {"text": [now.caption]}})
    region["meta"] = metadata.with_ours(dict_in(region, "meta"), ours)
    if not region["meta"]:
        del region["meta"]


def _results(annotation: Annotation, size: Size, place: int) -> list[dict[str, Any]]:
    """Return the results of one annotation: region and text, for a set those of every member."""
    caption, uid = annotation.caption, annotation.uid
    ours = {OURS: texts.record_texts(annotation), _PLACE: place}
    sides = {"original_width": size[1], "original_height": size[0], "image_rotation": 0}
    score = {} if annotation.score is None else {"score": annotation.score}
    said = {"type": "textarea", "from_name": "caption", "to_name": "image"}
    text = {"value": {"text": [caption] if caption else []}}
    results: list[dict[str, Any]] = []
    for made in (value_of(member, size) for member in annotation.region.parts()):
        if made is None:
            continue
        kind, value = made
        if results:  # an id for a member of a set that no other region has
            ours = {OURS: {texts.PART: annotation.uid}, _PLACE: place}
            part = f"{len(results)} {annotation.uid}".encode(errors="replace")
            uid = hashlib.sha256(part).hexdigest()[:32]
        drawn = {"type": f"{kind}labels", "from_name": kind, "to_name": "image"}
        value = {**value, f"{kind}labels": [texts.class_of(annotation)]}
        results.append({"id": uid, **drawn, **sides, "value": value, "meta": ours, **score})
        if caption:
            results.append({"id": uid, **said, **sides, **text, **score})
    return results or [{"id": uid, **said, **text, "meta": ours, **score}]


class _Read(NamedTuple):
    """A record of a task, its place in it, which of our annotations it was, and where it stands.

    The place is the list of the task, which of its items, and the id of the result, apart by
    spaces; the holder is that item, and ``item`` are the results of that id.
    """

    said: Said
    place: str
    order: int
    holder: dict[str, Any]
    item: _Item


def read_task(where: str, task: Any, images: Images | None = None) -> list[_Read]:
    """Return the records of one task, in the order in which we wrote them."""
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
        raise FormatError(f"{where}: has no 'data'; it is no task of Label Studio")
    pictures = _Pictures(task["data"], images or {})
    people = "annotations" if "annotations" in task else "completions"
    holders: list[tuple[str, int, dict[str, Any]]] = []
    for name in (people, "predictions"):
        for number, entry in enumerate(list_in(task, name)):
            # Exports may name the predictions they leave out by their numbers.
            if isinstance(entry, int):
                continue
            with leaving_out("annotation", where):
                if not isinstance(entry, dict) or not isinstance(entry.get("result"), list):
                    raise FormatError(f"{where}: an item of {name!r} has no list of results")
                if not entry.get("was_cancelled"):
                    holders.append((name, number, entry))
    records: list[_Read] = []
    seen: set[str] = set()
    for name, number, holder in holders:
        is_model = name == "predictions"
        known = frozenset(seen) if is_model else frozenset()
        items: dict[str, _Item] = {}
        for at, result in enumerate(holder["result"]):
            with leaving_out("result", where):
                if not isinstance(result, dict):
                    raise FormatError(f"{where}: result {at + 1} is no object")
                items.setdefault(_id(result, at), []).append(result)
        for said, uid, order in _records(items, pictures, where):
            record = said.record
            if record.uid in known:
                continue
            item = items.get(uid, [])
            if is_model and not _our_texts(item):
                # Its caption, if any, a model in Label Studio wrote.
                scores = [result.get("score") for result in (*item, holder)]
                known_scores = (s for s in scores if isinstance(s, float | int) and 0 <= s <= 1)
                score = next(map(float, known_scores), None) if record.caption else record.score
                model = str(holder.get("model_version") or "")
                source: Source = "model" if record.caption else ""
                record = replace(record, source=source, model=model, score=score)
                said = Said(record, record)
            records.append(_Read(said, f"{name} {number} {uid}", order, holder, item))
            seen.add(record.uid)
    return sorted(records, key=lambda read: read.order)


class _Pictures:
    """The images of a task, and their sizes as far as they are known."""

    def __init__(self, data: Mapping[str, Any], images: Images) -> None:
        self._images = images
        self.sizes: dict[str, Size] = {}
        self._ours = data.get(OURS)
        written = {k: text for k, text in data.items() if isinstance(text, str) and k != OURS}
        usual = {name: written[name] for name in _USUAL if name in written}
        shown = {name: text for name, text in written.items() if _PICTURE.search(_path_of(text))}
        self._single = shown or dict(list((usual or written).items())[:1])
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
        if len(self._single) < 2 and (self._single or not lists):
            return next(iter(self._single.values()), "")
        # Of several, the one that the results name as their source or target.
        sources = [str(result.get("source", "")).removeprefix("$") for result in item]
        targets = [str(result.get("to_name", "")) for result in item]
        for name in (*sources, *targets):
            if self._single.get(name):
                return self._single[name]
        for target in targets:
            digits = re.findall(r"\d+", target)
            alike = [t for name, t in self._single.items() if re.findall(r"\d+", name) == digits]
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


def _records(
    items: Mapping[str, _Item], pictures: _Pictures, where: str
) -> list[tuple[Said, str, int]]:
    """Return the records in a list of results, with their ids and places in what we wrote."""
    shapes: list[texts.Shape] = []
    places: dict[str, tuple[str, int]] = {}
    partly: dict[str, Mapping[str, str]] = {}
    # Sizes first: what states none takes them from others on the same image.
    for item in items.values():
        for size in map(_stated_size, item):
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
                metas = [dict_in(result, "meta") for result in item]
                order = next((meta[_PLACE] for meta in metas if _PLACE in meta), 0)
                order = order if isinstance(order, int) else 0
                places.setdefault(made.texts.get("uid", uid), (uid, order))
                ours = _our_texts(item)
                if ours and not _is_record(ours):
                    partly[uid] = ours

    def show(image: str, region: regions.Region) -> regions.Region | None:
        return shown(region, pictures.size(image) or (1, 1))

    with naming(where):
        said = [
            metadata.said(record, partly.get(record.uid), partial(show, record.image))
            for record, _ in texts.gather(shapes, show)
        ]
    return [(each, *places.get(each.record.uid, (each.record.uid, 0))) for each in said]


def _shape(item: _Item, pictures: _Pictures, uid: str) -> texts.Shape | None:
    """Return what the results with one id say; None if it is nothing about a region."""
    drawn: regions.Region | None = None
    label: str | None = None
    said: list[str] = []
    ours = _our_texts(item)
    if all(result.get("type") in _BESIDE for result in item) and not ours:
        return None
    image = pictures.of(item)
    for result in item:
        kind, value = str(result.get("type", "")), dict_in(result, "value")
        bare = kind.removesuffix("labels")
        if bare in _DRAWN:
            if result.get("image_rotation"):
                turned = "was drawn on a turned image; turn the image back in Label Studio"
                raise FormatError(turned)
            size = _stated_size(result) or pictures.size(image)
            if size is None:
                raise FormatError(
                    "lacks 'original_width' and 'original_height', so percent mean nothing; give "
                    "its image along"
                )
            with naming(why=f"the value of a {bare} lacks fields, or they are no numbers"):
                drawn = region_of(bare, value, size)
        elif kind == "textarea":
            text = value.get("text", [])
            said += map(str, text if isinstance(text, list) else [text or ""])
        elif kind not in _BESIDE:
            raise FormatError(f"the type {kind!r} is about no region of an image")
        labels = list_in(value, kind) if kind.endswith("labels") else []
        label = str(labels[0]) if labels else label
    held = ours if _is_record(ours) else _notes(item)
    if drawn is None and held.get("kind", "image") == "image":
        drawn = regions.WholeImage() if said or "wkt" in held else None
    if drawn is None and "wkt" not in held:
        return None
    return texts.Shape(image, uid, drawn, "\n".join(said), held, label)


def _stated_size(result: Mapping[str, Any]) -> Size | None:
    """Return ``(height, width)`` of the image as a result states it; None if it does not."""
    sides = [result.get("original_height"), result.get("original_width")]
    known = [round(side) for side in sides if isinstance(side, int | float) and 1 <= side < 2**31]
    return (known[0], known[1]) if len(known) == 2 else None


def _notes(item: _Item) -> dict[str, str]:
    """Return choices, ratings and notes of other people."""
    said = {}
    for result in item:
        kind = str(result.get("type"))
        notes = dict_in(result, "meta").get("text")
        if isinstance(notes, list | str) and notes:
            said["notes"] = notes if isinstance(notes, str) else "\n".join(map(str, notes))
        chosen = dict_in(result, "value").get(kind) if kind in _CHOSEN else None
        if chosen not in (None, [], ""):
            parts = chosen if isinstance(chosen, list) else [chosen]
            said[str(result.get("from_name") or kind)] = ", ".join(
                " / ".join(map(str, part)) if isinstance(part, list) else str(part)
                for part in parts
            )
    return said


def value_of(region: regions.Region, size: Size) -> tuple[str, dict[str, Any]] | None:
    """Return the type of the result for a region that is no set, and its value in percent."""
    match region:
        case regions.Box():
            [(x, y), (right, bottom)] = (xy.corners_xy(region) * 100 / size[::-1]).tolist()
            sides = {"x": x, "y": y, "width": right - x, "height": bottom - y}
            return "rectangle", {**sides, "rotation": 0}
        case regions.Ellipse() if not xy.is_sheared(*xy.ellipse_axes(region)[1:]):
            # Label Studio measures its turn in pixels, its radii in percent.
            centre, along, across = xy.ellipse_axes(region)
            lengths = np.array([np.hypot(*along), np.hypot(*across)])
            x, y, wide, high = (np.array([*centre, *lengths]) * 100 / (size[::-1] * 2)).tolist()
            turn = float(np.degrees(np.arctan2(along[1], along[0]))) % 360
            return "ellipse", {"x": x, "y": y, "radiusX": wide, "radiusY": high, "rotation": turn}
        case regions.Ellipse() | regions.Polygon():
            return "polygon", {"points": _percent(region.outline(), size), "closed": True}
        case regions.Point() | regions.Trace():
            points = _percent(region.coords(), size)
            if len(points) > 1:
                vertices = [
                    {
                        "id": str(place),
                        "x": x,
                        "y": y,
                        "prevPointId": str(place - 1) if place else None,
                        "isBezier": False,
                    }
                    for place, (x, y) in enumerate(points)
                ]
                return "vector", {"vertices": vertices, "closed": False}
            if points:
                return "keypoint", {**dict(zip("xy", points[0], strict=True)), "width": _DOT}
        case regions.Mask():
            runs = encode_brush(region, *size)
            return ("brush", {"format": "rle", "rle": runs}) if runs else None
    return None


def _percent(points: Any, size: Size) -> list[list[float]]:
    """Return ``(row, column)`` points as ``x y`` in percent of the image."""
    result: list[list[float]] = (to_xy(points) * 100 / size[::-1]).tolist()
    return result


def region_of(kind: str, value: Mapping[str, Any], size: Size) -> regions.Region:
    """Return the region a result shows; undoes `value_of`."""
    if kind == "brush":
        mask = decode_brush(value["rle"], *size)
        if mask is None:
            raise FormatError("nothing is painted; paint at least one pixel")
        return mask
    if kind == "vector":
        points = from_xy(_pixels([[item["x"], item["y"]] for item in value["vertices"]], size))
        closed = value.get("closed") and len(points) > 2
        return regions.Polygon(points) if closed else regions.Trace(points)
    if kind == "polygon":
        points = from_xy(_pixels(value["points"], size))
        if len(points) < 3:
            raise FormatError(f"a polygon needs at least 3 points, but this one has {len(points)}")
        return regions.Polygon(points)
    if kind == "keypoint":
        return regions.Point(*from_xy(_pixels([[value["x"], value["y"]]], size))[0].tolist())
    sides = ("radiusX", "radiusY") if kind == "ellipse" else ("width", "height")
    place, extent = _pixels([[value["x"], value["y"]], [value[side] for side in sides]], size)
    degrees = float(value.get("rotation") or 0)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[cos, sin], [-sin, cos]])
    if kind == "ellipse":
        return xy.ellipse_from_axes(place, turn[0] * extent[0], turn[1] * extent[1])
    if degrees % 360 == 0:
        (top, left), (bottom, right) = from_xy([place, place + extent]).tolist()
        return regions.Box(top, left, bottom, right)
    # Turned about its first corner.
    steps = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * extent
    return regions.Polygon(from_xy(place + steps @ turn))


def _pixels(points: npt.ArrayLike, size: Size) -> xy.FloatArray:
    """Return ``x y`` in percent as ``x y`` in pixels, pixel corners at integers."""
    with np.errstate(over="ignore"):
        result = np.asarray(points, float).reshape(-1, 2) * size[::-1] / 100
    if not len(result) or not (abs(result) < _FARTHEST).all():
        raise FormatError("a coordinate is not a finite number, or lies farther out than any image")
    return np.asarray(result)


def shown(region: regions.Region, size: Size) -> regions.Region | None:
    """Return what a task shows for a region that is no set, other than the whole image."""
    result = None if isinstance(region, regions.WholeImage) else value_of(region, size)
    return None if result is None else region_of(*result, size)


FORMAT = Format("label-studio", "Label Studio", (".json",), read, write, knows, sized=True)
