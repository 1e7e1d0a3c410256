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
from dataclasses import dataclass, replace
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
    metadata_of,
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
    METADATA,
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
from .head import Format, Head
from .json_arrays import json_as_read, parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from napari_patchioner.annotations.record import Annotation


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
    matches: list[Annotation] = []
    for place, task in enumerate(tasks):
        where = f"{path.name}: task {place + 1}"
        with leaving_out("task", where):
            for element in read_task(where, task, images):
                known = element.annotation
                if file:
                    at = f"{place} {element.place}"
                    entry, about = _entry(task, element.place)
                    known = with_metadata(known, _KIND, file, at, entry, about)
                matches.append(known)
    return with_unique_uids(matches)


def _tasks(data: bytes, name: str) -> list[Any]:
    """Return the tasks in a file; of the smaller export, those that its objects stand for."""
    matches = parse_json(data, name)
    tasks = matches if isinstance(matches, list) else [matches]
    return [
        _from_small(element) if isinstance(element, dict) and set(element) >= _SMALL else element
        for element in tasks
    ]


def _from_small(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the task that an object of the smaller export stands for, and the object in it."""
    held = {control for control, _, _ in _small_items(value)}
    about = {name: element for name, element in value.items() if name not in _SMALL_ABOUT}
    data = {name: element for name, element in about.items() if name not in held}
    results = [
        result
        for control, item, uid in _small_items(value)
        for result in _small_results(control, uid, item)
    ]
    return {"data": data, "annotations": [{"result": results}], _SMALL_TASK: value}


def _small_items(value: Mapping[str, Any]) -> list[tuple[str, dict[str, Any], str]]:
    """Return the items of an object of the smaller export: control, item and id of its region."""
    ids: dict[str, str] = {}
    matches = []
    for control, element in value.items():
        if control in _SMALL_ABOUT or not isinstance(element, list):
            continue
        for item in element:
            if isinstance(item, dict) and "original_width" in item:
                drawn = json.dumps([item.get(name) for name in _GEOMETRY])
                matches.append((control, item, ids.setdefault(drawn, f"{len(ids) + 1}")))
    return matches


def _to_small(task: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a task as the object of the smaller export it came from, and its new ids by the old.

    Undoes `_from_small`.
    """
    was = task[_SMALL_TASK]
    made: dict[str, list[Any]] = {control: [] for control, _, _ in _small_items(was)}
    items = {id(item) for _, item, _ in _small_items(was)}
    for control in made:
        made[control] += [element for element in was[control] if id(element) not in items]
    drawn: dict[str, dict[str, Any]] = {}
    told: dict[int, str] = {}
    for result in (element for of in task["annotations"] for element in of["result"]):
        uid, value = str(result.get("id")), dict(result.get("value") or {})
        texts = (result.get("meta") or {}).get(OURS)
        shape = {name: value[name] for name in _GEOMETRY if name in value}
        shape = drawn.setdefault(uid, shape) if result.get("type") == "textarea" else shape
        drawn[uid] = shape
        sizes = {name: result[name] for name in _SMALL_SIZES if name in result}
        item = {**shape, **value, **sizes, **({OURS: texts} if texts else {})}
        made.setdefault(str(result.get("from_name")), []).append(item)
        told[id(item)] = uid
    matches = {**was, **made}
    return matches, {
        told[id(item)]: uid for _, item, uid in _small_items(matches) if id(item) in told
    }


def _small_results(control: str, uid: str, item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the result that an item of the smaller export stands for."""
    about: dict[str, Any] = {"id": uid, "from_name": control}
    about |= {name: item[name] for name in _SMALL_SIZES if name in item}
    about |= {"meta": {OURS: item[OURS]}} if OURS in item else {}
    value = {name: element for name, element in item.items() if name not in (*_SMALL_SIZES, OURS)}
    if "text" in item:
        return [{**about, "type": "textarea", "value": value}]
    named = next((name for name in item if name.endswith("labels")), "")
    if "choices" in item or "rating" in item:
        kind = "choices" if "choices" in item else "rating"
    elif "rle" in item:
        kind = "brush"
    elif "vertices" in item:
        kind = "vector"
    elif "points" in item:
        kind = "polygon"
    elif "radiusX" in item:
        kind = "ellipse"
    else:
        kind = "rectangle" if "height" in item else "keypoint"
    return [{**about, "type": named or kind, "value": value}]


def _is_ours(task: Any) -> bool:
    """Whether a task holds nothing that we would not write ourselves."""
    if not isinstance(task, dict) or not set(task) <= _OUR_TASK:
        return False
    if not isinstance(task.get("data"), dict) or not set(task["data"]) <= {"image", OURS}:
        return False
    items = [element for name in _RESULTS for element in _listed(task.get(name))]
    if not all(isinstance(element, dict) and set(element) <= _OUR_ITEM for element in items):
        return False
    results = [element for item in items for element in _listed(item.get("result"))]
    if not all(isinstance(element, dict) for element in results):
        return False
    ours = {str(element.get("id")) for element in results if _has_ours(element)}
    return all(str(element.get("id")) in ours for element in results)


def _listed(value: Any) -> list[Any]:
    """Return a list; nothing in the place of anything else."""
    return value if isinstance(value, list) else []


def _has_ours(result: Mapping[str, Any]) -> bool:
    meta = result.get("meta")
    texts = meta.get(OURS) if isinstance(meta, dict) else None
    return isinstance(texts, dict) and ("uid" in texts or PART in texts)


def _entry(task: Mapping[str, Any], place: str) -> tuple[list[Any], dict[str, Any]]:
    """Return the results of a record, and the task and annotation around them."""
    name, number, uid = place.split(" ", 2)
    of = task[name][int(number)]
    results = [element for at, element in enumerate(of["result"]) if _id(element, at) == uid]
    around = {key: element for key, element in task.items() if key not in _RESULTS}
    return results, {
        "task": around,
        "annotation": {key: element for key, element in of.items() if key != "result"},
    }


def _id(result: Any, place: int) -> str:
    return id_of(result, place) if isinstance(result, dict) else ""


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write tasks that Label Studio imports."""
    check_unique(annotations)
    base = base_of(annotations, _KIND, path, lambda data: _tasks(data, path.name))
    if base is None:
        _save(path, _new_tasks(annotations, images))
        return ()
    tasks, places = _Again(base, images).tasks()
    remember_file(_save(path, tasks, base.data), base.file, places)
    return ()


def _save(path: Path, tasks: Sequence[Any], before: bytes = b"") -> bytes:
    """Write tasks, and return the bytes of their file."""
    data = json_as_read(tasks, before)
    write_bytes(path, data)
    return data


def _new_tasks(annotations: Sequence[Annotation], images: Images) -> list[dict[str, Any]]:
    """Return tasks of our own."""
    own: dict[str, list[tuple[int, Annotation]]] = {}
    for place, element in enumerate(annotations):
        bare = {name: text for name, text in element.extra.items() if name != METADATA}
        own.setdefault(element.image, []).append((place, replace(element, extra=bare)))
    return [_task(image, mine, images) for image, mine in own.items()]


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
        moved: dict[str, Annotation] = {}
        for place, record in self._records.items():
            metadata = metadata_of(record, _KIND)
            if metadata is None or not isinstance(metadata.entry, list):
                continue
            at, name, number, uid = place.split(" ", 3)
            around = dict(metadata.about.get("task") or {"data": {"image": record.image}})
            task = tasks.setdefault(at, {**around, "annotations": [], "_of": {}})
            listed = task.setdefault(name, [])
            if (name, number) not in task["_of"]:
                task["_of"][name, number] = len(listed)
                listed.append({**(metadata.about.get("annotation") or {}), "result": []})
            index = task["_of"][name, number]
            listed[index]["result"] += metadata.entry
            moved[f"{list(tasks).index(at)} {name} {index} {uid}"] = record
        self._records = moved
        return [
            {key: element for key, element in task.items() if key != "_of"}
            for task in tasks.values()
        ]

    def tasks(self) -> tuple[list[Any], dict[str, str]]:
        """Return the tasks of the file, and where its results are by where they were."""
        by_task: dict[int, dict[str, Annotation]] = {}
        for place, record in self._records.items():
            at, _, rest = place.partition(" ")
            by_task.setdefault(int(at), {})[rest] = record
        matches: list[Any] = []
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
                places[f"{number} {rest}"] = f"{len(matches)} {start} {renamed.get(uid, uid)}"
            matches.append(task)
        return [*matches, *_new_tasks(self._base.rest, self._images)], places

    def _put(self, task: dict[str, Any], own: Mapping[str, Annotation]) -> None:
        """Put the records of a task into it."""
        with noting(Notes()):  # all that was told when the file was read
            read = read_task("", task, self._images)
            without_ours = read_task("", task, self._images, ours=False)
            items = {(name, number): of for name, number, of in results_of(task, "")}
        was = {element.place: element.annotation for element in read}
        bare = {without_our.place: without_our.annotation for without_our in without_ours}
        # Of images that no record is about, nothing was taken out.
        here = {was[place].image for place in own if place in was}
        for place, before in was.items():
            name, number, uid = place.split(" ", 2)
            results = items[name, int(number)]["result"]
            now = own.get(place)
            if now is None and before.image in here and is_deleted(before.region):
                results[:] = [
                    element for at, element in enumerate(results) if _id(element, at) != uid
                ]
            elif now is not None and not same_record(before, replace(now, uid=before.uid)):
                mine = [element for at, element in enumerate(results) if _id(element, at) == uid]
                if any(map(_has_ours, mine)):
                    self._renew(results, before.uid, now)
                else:
                    _update(results, mine, bare[place], now)

    def _renew(self, results: list[Any], uid: str, now: Annotation) -> None:
        """Put a record of our own in the place of what stands there."""
        ids = {
            str(element.get("id"))
            for element in results
            if isinstance(element, dict)
            and _has_ours(element)
            and uid in (element["meta"][OURS].get("uid"), element["meta"][OURS].get(PART))
        }
        of_ours = [
            isinstance(element, dict) and str(element.get("id")) in ids for element in results
        ]
        first = of_ours.index(True)
        size = _size_of(results[first]) or image_size(self._images, now.image)
        extra = {name: text for name, text in now.extra.items() if name != METADATA}
        new = _results(replace(now, uid=uid, extra=extra), size, first)
        kept = [element for element, is_ours in zip(results, of_ours, strict=True) if not is_ours]
        results[:] = [*kept[:first], *new, *kept[first:]]


def _size_of(result: Mapping[str, Any]) -> Size | None:
    sides = [result.get("original_height"), result.get("original_width")]
    whole = [round(side) for side in sides if isinstance(side, int | float) and side >= 1]
    return (whole[0], whole[1]) if len(whole) == 2 else None


def _update(
    results: list[Any], mine: Sequence[dict[str, Any]], bare: Annotation, now: Annotation
) -> None:
    """Change the results of somebody else's region to what a record says."""
    region = next(
        (element for element in mine if element.get("type") not in ("textarea", "choices")), mine[0]
    )
    about: dict[str, Any] = {
        name: region[name]
        for name in ("to_name", "original_width", "original_height", "image_rotation", "item_index")
        if name in region
    }
    size = _size_of(region)
    if size is not None and not same_drawing(bare.region, now.region):
        made = value_of(now.region, size)
        if made is not None:
            old = str(region.get("type", "")), region.get("value") or {}
            labels = old[1].get(old[0]) if old[0].endswith("labels") else None
            kind = f"{made[0]}labels" if labels is not None else made[0]
            region["type"] = kind
            region["value"] = {**made[1], **({kind: labels} if labels is not None else {})}
    label = now.extra.get(CLASS, "")
    kind = str(region.get("type", ""))
    if label and label != bare.extra.get(CLASS, "") and kind.endswith("labels"):
        region["value"] = {**(region.get("value") or {}), kind: [label]}
    texts = our_texts(bare, now)
    texts.pop(CLASS, None)
    if now.caption != bare.caption:
        _say(results, mine, now, about)
    meta = {name: element for name, element in (region.get("meta") or {}).items() if name != OURS}
    region["meta"] = {**meta, **({OURS: texts} if texts else {})}
    if not region["meta"]:
        del region["meta"]


def _say(
    results: list[Any], mine: Sequence[dict[str, Any]], now: Annotation, about: Mapping[str, Any]
) -> None:
    """Let a text with the id of a region hold its caption."""
    written = [element for element in mine if element.get("type") == "textarea"]
    if written:
        written[0]["value"] = {
            **(written[0].get("value") or {}),
            "text": [now.caption] if now.caption else [],
        }
        others = {id(element) for element in written[1:]}
        results[:] = [element for element in results if id(element) not in others]
        return
    uid = mine[0].get("id")
    said = {"id": uid, "type": "textarea", "from_name": "caption", **about}
    at = next(place for place, element in enumerate(results) if element is mine[-1])
    results.insert(at + 1, {**said, "value": {"text": [now.caption]}})


def _task(image: str, own: Sequence[tuple[int, Annotation]], images: Images) -> dict[str, Any]:
    """Return the task of one image."""
    size, name = image_size(images, image), image_name(images, image)
    drafts: dict[str, list[dict[str, Any]]] = {}
    done: list[dict[str, Any]] = []
    for place, annotation in own:
        results = _results(annotation, size, place)
        if annotation.source == "model":
            drafts.setdefault(annotation.model, []).extend(results)
        else:
            done.extend(results)
    predictions = [
        {"model_version": model, **_mean_score(results), "result": results}
        for model, results in drafts.items()
    ]
    data = {"image": name} if name == image else {"image": name, "napari_patchioner": image}
    done_by = [{"result": done}] if done else []
    return {"data": data, "annotations": done_by, "predictions": predictions}


def _mean_score(results: Sequence[dict[str, Any]]) -> dict[str, float]:
    scores = [result["score"] for result in results if "score" in result]
    return {"score": sum(scores) / len(scores)} if scores else {}


def _results(annotation: Annotation, size: Size, place: int) -> list[dict[str, Any]]:
    """Return the results of one annotation: region and text, for a set those of every member."""
    texts = record_texts(annotation)
    results: list[dict[str, Any]] = []
    for member in annotation.region.parts():
        made = value_of(member, size)
        if made is not None:
            ours = {PART: annotation.uid} if results else texts
            meta = {"napari_patchioner": ours, "napari_patchioner_place": place}
            uid = _part_id(annotation.uid, len(results)) if results else annotation.uid
            results += _pair(annotation, uid, made, meta, size)
    if results:
        return results
    meta = {"napari_patchioner": texts, "napari_patchioner_place": place}
    return [_text(annotation, annotation.uid, {}, meta)]


def _part_id(uid: str, place: int) -> str:
    """Return an id for a member of a set that no other region has."""
    return hashlib.sha256(f"{place} {uid}".encode(errors="replace")).hexdigest()[:32]


def _pair(
    annotation: Annotation,
    uid: str,
    made: tuple[str, dict[str, Any]],
    meta: dict[str, Any],
    size: Size,
) -> list[dict[str, Any]]:
    """Return the result of a region, and that of its text if there is one."""
    kind, value = made
    about = {"original_width": size[1], "original_height": size[0], "image_rotation": 0}
    score = {} if annotation.score is None else {"score": annotation.score}
    region = {
        "id": uid,
        "type": f"{kind}labels",
        "from_name": kind,
        "to_name": "image",
        **about,
        "value": {**value, f"{kind}labels": [class_of(annotation)]},
        "meta": meta,
        **score,
    }
    return [region, *([_text(annotation, uid, about, None)] if annotation.caption else [])]


def _text(
    annotation: Annotation, uid: str, about: dict[str, Any], meta: dict[str, Any] | None
) -> dict[str, Any]:
    """Return the result that holds a caption."""
    score = {} if annotation.score is None else {"score": annotation.score}
    return {
        "id": uid,
        "type": "textarea",
        "from_name": "caption",
        "to_name": "image",
        **about,
        "value": {"text": [annotation.caption] if annotation.caption else []},
        **({"meta": meta} if meta else {}),
        **score,
    }


_PLACE = "napari_patchioner_place"
# What says something about a region, or about several, and is none itself.
_BESIDE = ("labels", "choices", "rating", "number", "datetime", "taxonomy", "relation", "pairwise")
_PICTURE = re.compile(r"\.(png|jpe?g|tiff?|bmp|webp|gif|svg|dcm)$", re.IGNORECASE)
_UPLOADED = re.compile(r"/data/upload/(\d+/)?[0-9a-f]{8}-(?P<name>[^/]+)$")
_USUAL = ("image", "img", "image_url", "url", "picture", "photo")


# All results with one id: a region, its texts, and what else is said about it.
_Item: TypeAlias = "list[Mapping[str, Any]]"


@dataclass(frozen=True, slots=True)
class Found:
    """A record in a task, and where it stands there.

    Attributes
    ----------
    annotation : Annotation
        The record.
    place : str
        The list of the task, which of its items, and the id of the result, apart by spaces.
    order : int
        Which of our annotations it was when it was written.
    """

    annotation: Annotation
    place: str
    order: int


def read_task(
    where: str, task: Any, images: Images | None = None, *, ours: bool = True
) -> list[Found]:
    """Return the annotations of one task."""
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
        raise FormatError(f"{where}: has no 'data'; it is no task of Label Studio")
    pictures = _Pictures(task["data"], images or {})
    results: list[Found] = []
    seen: set[str] = set()
    for list_name, number, of in results_of(task, where):
        is_model = list_name == "predictions"
        version = str(of.get("model_version") or "") if is_model else None
        known = seen if is_model else set()
        before = len(results)
        items = _items(of["result"], where)
        made = _records(items, pictures, where, ours=ours)
        for entry, uid, order in made:
            if entry.uid in known:
                continue
            if version is not None and not _holds_ours(items.get(uid, [])):
                entry = _by(version, entry, items.get(uid, []), of)
            results.append(Found(entry, f"{list_name} {number} {uid}", order))
        seen |= {element.annotation.uid for element in results[before:]}
    return sorted(results, key=lambda element: element.order)


def results_of(task: Mapping[str, Any], where: str) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    """Yield each item of a task that holds results: the list it is in, which it is, and itself."""
    people = "annotations" if "annotations" in task else "completions"
    for name in (people, "predictions"):
        listed = task.get(name)
        for number, entry in enumerate(listed if isinstance(listed, list) else []):
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
        self._data, self._images = data, images
        self.sizes: dict[str, Size] = {}
        texts = {
            name: entry for name, entry in data.items() if isinstance(entry, str) and name != OURS
        }
        usual = {name: texts[name] for name in _USUAL if name in texts}
        shown = {name: entry for name, entry in texts.items() if _PICTURE.search(_path_of(entry))}
        self._single = shown or dict(list((usual or texts).items())[:1])
        if not isinstance(data.get(OURS), str) and len(usual) == 1 and len(shown) < 2:
            self._single = usual
        self._lists = {
            name: entry
            for name, entry in data.items()
            if isinstance(entry, list) and entry and all(isinstance(path, str) for path in entry)
        }

    def of(self, item: _Item) -> str:
        """Return the image that results are about."""
        if isinstance(self._data.get(OURS), str):
            return str(self._data[OURS])
        return self._called(self._written(item))

    def _written(self, item: _Item) -> str:
        """Return the image as the task writes it."""
        index = next(
            (entry["item_index"] for entry in item if _is_index(entry.get("item_index"))), None
        )
        lists = [entry for entry in self._lists.values() if _PICTURE.search(_path_of(entry[0]))]
        lists = lists or list(self._lists.values())
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
        """Return the one of several images whose element the results name."""
        sources = [str(entry.get("source", "")).removeprefix("$") for entry in item]
        targets = [str(entry.get("to_name", "")) for entry in item]
        results = next(
            (self._single[source] for source in (*sources, *targets) if source in self._single), ""
        )
        if results:
            return results
        for target in targets:
            digits = re.findall(r"\d+", target)
            alike = [
                entry for name, entry in self._single.items() if re.findall(r"\d+", name) == digits
            ]
            if len(alike) == 1:
                return alike[0]
        raise FormatError(
            "is in a task that shows several images, and nothing tells on which of them it is; "
            "export each image as a task of its own"
        )

    def _called(self, written: str) -> str:
        """Return what an image is called here: as an image that is known, else by its own name."""
        plain = image_of(written)
        names = [written, _path_of(written), plain]
        return next((name for name in names if name and self._info(name) is not None), plain)

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


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


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
            items.setdefault(id_of(result, place), []).append(result)
    return items


def id_of(result: Mapping[str, Any], place: int) -> str:
    """Return the id of a result; one without gets that of its place."""
    return str(result.get("id") or f"result {place + 1}")


def _records(
    items: Mapping[str, _Item], pictures: _Pictures, where: str, *, ours: bool
) -> list[tuple[Annotation, str, int]]:
    """Return the annotations in a list of results, with their ids and places in what we wrote."""
    shapes: list[Shape] = []
    places: dict[str, tuple[str, int]] = {}
    partly: dict[str, Mapping[str, str]] = {}
    # Sizes first: what tells none takes them from others on the same image.
    for item in items.values():
        for result in item:
            size = _told_size(result)
            if size is not None:
                with suppress(FormatError):  # it is told with the region
                    pictures.sizes.setdefault(pictures.of(item), size)
    for uid, item in items.items():
        with leaving_out("region", f"{where}: result {uid!r}"):
            charge_records()
            try:
                made = _shape(item, pictures, uid)
            except FormatError as error:
                raise FormatError(f"{where}: result {uid!r}: {error}") from error
            if made is not None:
                shapes.append(made)
                places.setdefault(made.texts.get("uid", uid), (uid, _place(item)))
                texts = _our_texts(item)
                if ours and texts and "uid" not in texts and PART not in texts:
                    partly[uid] = texts
    try:
        results = gather(
            shapes, lambda image, region: shown(region, pictures.size(image) or (1, 1))
        )
        made_whole = [
            with_our_texts(entry, partly[entry.uid], _shown_on(entry, pictures))
            if entry.uid in partly
            else entry
            for entry in results
        ]
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from error
    return [(entry, *places.get(entry.uid, (entry.uid, 0))) for entry in made_whole]


def _shown_on(annotation: Annotation, pictures: _Pictures) -> Callable[[Region], Region | None]:
    size = pictures.size(annotation.image) or (1, 1)
    return lambda region: shown(region, size)


def _by(version: str, annotation: Annotation, item: _Item, of: Mapping[str, Any]) -> Annotation:
    """Return an annotation whose caption, if any, a model in Label Studio wrote."""
    if not annotation.caption:
        return replace(annotation, source="", model=version)
    score = None
    for value in [entry.get("score") for entry in (*item, of)]:
        if score is None and isinstance(value, float | int) and 0 <= value <= 1:
            score = float(value)
    return replace(annotation, source="model", model=version, score=score)


def _holds_ours(item: _Item) -> bool:
    """Whether we wrote a region."""
    return bool(_our_texts(item))


def _our_texts(item: _Item) -> dict[str, str]:
    """Return what the results hold of ours."""
    for result in item:
        meta = result.get("meta")
        ours = meta.get(OURS) if isinstance(meta, dict) else None
        if isinstance(ours, dict):
            return {str(key): str(text) for key, text in ours.items()}
    return {}


def _place(item: _Item) -> int:
    """Return which of our annotations this was when it was written."""
    metas = [meta for entry in item if isinstance(meta := entry.get("meta"), dict)]
    results = next((meta[_PLACE] for meta in metas if _PLACE in meta), 0)
    return results if isinstance(results, int) else 0


def _shape(item: _Item, pictures: _Pictures, uid: str) -> Shape | None:
    """Return what the results with one id say; None if it is nothing about a region."""
    drawn: Region | None = None
    label: str | None = None
    said: list[str] = []
    if all(result.get("type") in _BESIDE for result in item) and not _our_texts(item):
        return None
    image = pictures.of(item)
    for result in item:
        kind, value = str(result.get("type", "")), result.get("value")
        value = value if isinstance(value, dict) else {}
        bare = kind.removesuffix("labels")
        if bare in TYPES:
            drawn = region_of(bare, value, _size(result, image, pictures))
        elif kind == "textarea":
            text = value.get("text", [])
            said += map(str, text if isinstance(text, list) else [text or ""])
        elif kind not in _BESIDE:
            raise FormatError(f"the type {kind!r} is about no region of an image")
        label = _label(value, kind) or label
    texts = _texts(item)
    if drawn is None and texts.get("kind", "image") == "image":
        drawn = WholeImage() if said or "wkt" in texts else None
    if drawn is None and "wkt" not in texts:
        return None
    return Shape(image, uid, drawn, "\n".join(said), texts, label)


def _label(value: Mapping[str, Any], kind: str) -> str | None:
    """Return the first label of a result."""
    labels = value.get(kind, []) if kind.endswith("labels") else []
    return str(labels[0]) if isinstance(labels, list) and labels else None


def _told_size(result: Mapping[str, Any]) -> Size | None:
    """Return ``(height, width)`` of the image as a result tells it; None if it does not."""
    sides = [result.get("original_height"), result.get("original_width")]
    known = [round(side) for side in sides if isinstance(side, int | float) and 1 <= side < 2**31]
    return (known[0], known[1]) if len(known) == 2 else None


def _size(result: Mapping[str, Any], image: str, pictures: _Pictures) -> Size:
    """Return ``(height, width)`` of the image that a result is about."""
    if result.get("image_rotation"):
        raise FormatError("was drawn on a turned image; turn the image back in Label Studio")
    size = _told_size(result) or pictures.size(image)
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
        kind, meta, value = result.get("type"), result.get("meta"), result.get("value")
        notes = meta.get("text") if isinstance(meta, dict) else None
        if isinstance(notes, list | str) and notes:
            texts["notes"] = notes if isinstance(notes, str) else "\n".join(map(str, notes))
        chosen = value.get(kind) if isinstance(value, dict) and kind in _SAID else None
        if chosen not in (None, [], ""):
            texts[str(result.get("from_name") or kind)] = _told(chosen)
    return texts


_SAID = ("choices", "rating", "number", "datetime", "taxonomy")


def _told(value: Any) -> str:
    """Return what somebody chose as a text."""
    if isinstance(value, list):
        parts = [
            " / ".join(map(str, entry)) if isinstance(entry, list) else str(entry)
            for entry in value
        ]
        return ", ".join(parts)
    return str(value)


Size = tuple[int, int]
_FARTHEST = 2.0**40
_DOT = 0.5
"""Width of a point as Label Studio draws it, in percent."""


def value_of(region: Region, size: Size) -> tuple[str, dict[str, Any]] | None:
    """Return the type of the result for a region that is no set, and its value in percent."""
    if isinstance(region, Box):
        return "rectangle", _rectangle(region, size)
    if isinstance(region, Ellipse):
        return _ellipse(region, size)
    if isinstance(region, Polygon):
        return "polygon", {"points": _percent(region.vertices, size), "closed": True}
    if isinstance(region, Point):
        return "keypoint", _keypoint([[region.row, region.column]], size)
    if isinstance(region, Trace):
        many = len(region.points) > 1
        return ("vector", _vector(region, size)) if many else _point_of(region, size)
    runs = encode_brush(region, *size) if isinstance(region, Mask) else []
    return ("brush", {"format": "rle", "rle": runs}) if runs else None


def _percent(points: npt.ArrayLike, size: Size) -> list[list[float]]:
    """Return ``(row, column)`` points as ``x y`` in percent of the image."""
    result: list[list[float]] = (to_xy(points) * 100 / size[::-1]).tolist()
    return result


def _rectangle(box: Box, size: Size) -> dict[str, Any]:
    low, high = np.sort([[box.top, box.left], [box.bottom, box.right]], axis=0)
    [(x, y), (right, bottom)] = _percent([low, high], size)
    return {"x": x, "y": y, "width": right - x, "height": bottom - y, "rotation": 0}


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


def _keypoint(points: npt.ArrayLike, size: Size) -> dict[str, Any]:
    [(x, y)] = _percent(points, size)
    return {"x": x, "y": y, "width": _DOT}


def _point_of(trace: Trace, size: Size) -> tuple[str, dict[str, Any]] | None:
    return ("keypoint", _keypoint(trace.points, size)) if len(trace.points) else None


def _vector(trace: Trace, size: Size) -> dict[str, Any]:
    vertices = [
        {
            "id": str(place),
            "x": x,
            "y": y,
            "prevPointId": str(place - 1) if place else None,
            "isBezier": False,
        }
        for place, (x, y) in enumerate(_percent(trace.points, size))
    ]
    return {"vertices": vertices, "closed": False}


def region_of(kind: str, value: Mapping[str, Any], size: Size) -> Region:
    """Return the region a result shows; undoes `value_of`."""
    if kind not in _READERS:
        raise FormatError(f"the type {kind!r} is unknown; it may be {', '.join(_READERS)}")
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


_READERS: dict[str, Callable[[Mapping[str, Any], Size], Region]] = {
    "rectangle": _read_rectangle,
    "polygon": _read_polygon,
    "ellipse": _read_ellipse,
    "keypoint": _read_keypoint,
    "vector": _read_vector,
    "brush": _read_brush,
}
TYPES = tuple(_READERS)
"""The types of results that show regions, without ``labels``."""


def shown(region: Region, size: Size) -> Region | None:
    """Return what a task shows for a region that is no set, other than the whole image."""
    result = None if isinstance(region, WholeImage) else value_of(region, size)
    return None if result is None else region_of(*result, size)


FORMAT = Format("label-studio", "Label Studio", (".json",), read, write, knows, sized=True)
