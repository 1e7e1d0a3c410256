"""Label Studio: tasks with results in percent of the image.

A caption is a text about a region: a second result with the same ``id``. Captions of a model are
``predictions``, one per model; all others are ``annotations``. The class of a region is its label;
all Label Studio has no place for goes into the ``meta`` of the result, which it keeps.

A file of other people is written again as it was, captions added: as texts with the ids of their
regions, whose ``meta`` says who wrote them. So is the smaller export: a caption is an item of the
control ``caption`` with the drawing of its region, and the item of the region says who wrote it.
"""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_patchioner.annotations.files import write_bytes
from napari_patchioner.annotations.images import image_name, image_size
from napari_patchioner.annotations.metadata import (
    OURS,
    base_of,
    is_deleted,
    metadata_of,
    our_texts,
    remember_file,
    same_record,
    with_metadata,
)
from napari_patchioner.annotations.notes import Notes, leaving_out, noting
from napari_patchioner.annotations.table import check_unique
from napari_patchioner.annotations.texts import (
    CLASS,
    METADATA,
    PART,
    class_of,
    record_texts,
    with_unique_uids,
)
from napari_patchioner.regions import same_drawing

from ._bundle import read_bundle
from ._json_file import json_as_read, parse_json
from ._label_studio_results import id_of, read_task, results_of
from ._label_studio_shapes import Size, value_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_patchioner.annotations.images import Images
    from napari_patchioner.annotations.metadata import Base
    from napari_patchioner.annotations.record import Annotation

    from ._head import Head

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
    """Read tasks, as Label Studio exports (``JSON`` or ``JSON_MIN``) or imports them.

    Parameters
    ----------
    path : Path
        A JSON with a list of tasks, or one task.
    images : mapping of str to ImageInfo, optional
        The images by any of their names, for results that tell no size.

    Returns
    -------
    list of Annotation
        Coordinates in ``(row, column)``, annotations before predictions. Those of ours come in
        the order in which they were written.

    Raises
    ------
    FormatError
        One sentence that names the file, the task and the result.
    """
    path = Path(path)
    data = read_bundle(path, lambda _: True)[path.name]
    tasks = _tasks(data, path.name)
    file = "" if all(map(_is_ours, tasks)) else remember_file(data)
    found: list[Annotation] = []
    for place, task in enumerate(tasks):
        where = f"{path.name}: task {place + 1}"
        with leaving_out("task", where):
            for one in read_task(where, task, images):
                known = one.annotation
                if file:
                    at = f"{place} {one.place}"
                    entry, about = _entry(task, one.place)
                    known = with_metadata(known, _KIND, file, at, entry, about)
                found.append(known)
    return with_unique_uids(found)


def _tasks(data: bytes, name: str) -> list[Any]:
    """Return the tasks in a file; of the smaller export, those that its objects stand for."""
    found = parse_json(data, name)
    tasks = found if isinstance(found, list) else [found]
    return [
        _from_small(one) if isinstance(one, dict) and set(one) >= _SMALL else one for one in tasks
    ]


def _from_small(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the task that an object of the smaller export stands for, and the object in it."""
    held = {control for control, _, _ in _small_items(value)}
    about = {name: one for name, one in value.items() if name not in _SMALL_ABOUT}
    data = {name: one for name, one in about.items() if name not in held}
    results = [
        result
        for control, item, uid in _small_items(value)
        for result in _small_results(control, uid, item)
    ]
    return {"data": data, "annotations": [{"result": results}], _SMALL_TASK: value}


def _small_items(value: Mapping[str, Any]) -> list[tuple[str, dict[str, Any], str]]:
    """Return the items of an object of the smaller export: control, item and id of its region."""
    ids: dict[str, str] = {}
    found = []
    for control, one in value.items():
        if control in _SMALL_ABOUT or not isinstance(one, list):
            continue
        for item in one:
            if isinstance(item, dict) and "original_width" in item:
                drawn = json.dumps([item.get(name) for name in _GEOMETRY])
                found.append((control, item, ids.setdefault(drawn, f"{len(ids) + 1}")))
    return found


def _to_small(task: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a task as the object of the smaller export it came from, and its new ids by the old.

    Undoes `_from_small`.
    """
    was = task[_SMALL_TASK]
    made: dict[str, list[Any]] = {control: [] for control, _, _ in _small_items(was)}
    items = {id(item) for _, item, _ in _small_items(was)}
    for control in made:
        made[control] += [one for one in was[control] if id(one) not in items]
    drawn: dict[str, dict[str, Any]] = {}
    told: dict[int, str] = {}
    for result in (one for of in task["annotations"] for one in of["result"]):
        uid, value = str(result.get("id")), dict(result.get("value") or {})
        texts = (result.get("meta") or {}).get(OURS)
        shape = {name: value[name] for name in _GEOMETRY if name in value}
        shape = drawn.setdefault(uid, shape) if result.get("type") == "textarea" else shape
        drawn[uid] = shape
        sizes = {name: result[name] for name in _SMALL_SIZES if name in result}
        item = {**shape, **value, **sizes, **({OURS: texts} if texts else {})}
        made.setdefault(str(result.get("from_name")), []).append(item)
        told[id(item)] = uid
    found = {**was, **made}
    return found, {told[id(item)]: uid for _, item, uid in _small_items(found) if id(item) in told}


def _small_results(control: str, uid: str, item: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the result that an item of the smaller export stands for."""
    about: dict[str, Any] = {"id": uid, "from_name": control}
    about |= {name: item[name] for name in _SMALL_SIZES if name in item}
    about |= {"meta": {OURS: item[OURS]}} if OURS in item else {}
    value = {name: one for name, one in item.items() if name not in (*_SMALL_SIZES, OURS)}
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
    items = [one for name in _RESULTS for one in _listed(task.get(name))]
    if not all(isinstance(one, dict) and set(one) <= _OUR_ITEM for one in items):
        return False
    results = [one for item in items for one in _listed(item.get("result"))]
    if not all(isinstance(one, dict) for one in results):
        return False
    ours = {str(one.get("id")) for one in results if _has_ours(one)}
    return all(str(one.get("id")) in ours for one in results)


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
    results = [one for at, one in enumerate(of["result"]) if _id(one, at) == uid]
    around = {key: one for key, one in task.items() if key not in _RESULTS}
    return results, {
        "task": around,
        "annotation": {key: one for key, one in of.items() if key != "result"},
    }


def _id(result: Any, place: int) -> str:
    return id_of(result, place) if isinstance(result, dict) else ""


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write tasks that Label Studio imports.

    Parameters
    ----------
    path : Path
        The JSON; it is replaced if it exists.
    annotations : sequence of Annotation
        Regions of any number of images; every image is a task.
    images : mapping of str to ImageInfo
        The images by the name annotations give them; their sizes are needed, but for regions that
        go back into the file they were read from.

    Returns
    -------
    tuple of Annotation
        Always empty. What Label Studio cannot show (a mask beside the image, the whole image as a
        member of a set) is carried by a text about the image.

    Raises
    ------
    FormatError
        If the size of an image is missing, or a region makes no sense.
    """
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
    for place, one in enumerate(annotations):
        bare = {name: text for name, text in one.extra.items() if name != METADATA}
        own.setdefault(one.image, []).append((place, replace(one, extra=bare)))
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
        for place, one in self._records.items():
            found = metadata_of(one, _KIND)
            if found is None or not isinstance(found.entry, list):
                continue
            at, name, number, uid = place.split(" ", 3)
            around = dict(found.about.get("task") or {"data": {"image": one.image}})
            task = tasks.setdefault(at, {**around, "annotations": [], "_of": {}})
            listed = task.setdefault(name, [])
            if (name, number) not in task["_of"]:
                task["_of"][name, number] = len(listed)
                listed.append({**(found.about.get("annotation") or {}), "result": []})
            index = task["_of"][name, number]
            listed[index]["result"] += found.entry
            moved[f"{list(tasks).index(at)} {name} {index} {uid}"] = one
        self._records = moved
        return [{key: one for key, one in task.items() if key != "_of"} for task in tasks.values()]

    def tasks(self) -> tuple[list[Any], dict[str, str]]:
        """Return the tasks of the file, and where its results are by where they were."""
        by_task: dict[int, dict[str, Annotation]] = {}
        for place, one in self._records.items():
            at, _, rest = place.partition(" ")
            by_task.setdefault(int(at), {})[rest] = one
        found: list[Any] = []
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
                places[f"{number} {rest}"] = f"{len(found)} {start} {renamed.get(uid, uid)}"
            found.append(task)
        return [*found, *_new_tasks(self._base.rest, self._images)], places

    def _put(self, task: dict[str, Any], own: Mapping[str, Annotation]) -> None:
        """Put the records of a task into it."""
        with noting(Notes()):  # all that was told when the file was read
            read = read_task("", task, self._images)
            without_ours = read_task("", task, self._images, ours=False)
            items = {(name, number): of for name, number, of in results_of(task, "")}
        was = {one.place: one.annotation for one in read}
        bare = {one.place: one.annotation for one in without_ours}
        # Of images that no record is about, nothing was taken out.
        here = {was[place].image for place in own if place in was}
        for place, before in was.items():
            name, number, uid = place.split(" ", 2)
            results = items[name, int(number)]["result"]
            now = own.get(place)
            if now is None and before.image in here and is_deleted(before.region):
                results[:] = [one for at, one in enumerate(results) if _id(one, at) != uid]
            elif now is not None and not same_record(before, replace(now, uid=before.uid)):
                mine = [one for at, one in enumerate(results) if _id(one, at) == uid]
                if any(map(_has_ours, mine)):
                    self._renew(results, before.uid, now)
                else:
                    _update(results, mine, bare[place], now)

    def _renew(self, results: list[Any], uid: str, now: Annotation) -> None:
        """Put a record of our own in the place of what stands there."""
        ids = {
            str(one.get("id"))
            for one in results
            if isinstance(one, dict)
            and _has_ours(one)
            and uid in (one["meta"][OURS].get("uid"), one["meta"][OURS].get(PART))
        }
        of_ours = [isinstance(one, dict) and str(one.get("id")) in ids for one in results]
        first = of_ours.index(True)
        size = _size_of(results[first]) or image_size(self._images, now.image)
        extra = {name: text for name, text in now.extra.items() if name != METADATA}
        new = _results(replace(now, uid=uid, extra=extra), size, first)
        kept = [one for one, is_ours in zip(results, of_ours, strict=True) if not is_ours]
        results[:] = [*kept[:first], *new, *kept[first:]]


def _size_of(result: Mapping[str, Any]) -> Size | None:
    sides = [result.get("original_height"), result.get("original_width")]
    whole = [round(one) for one in sides if isinstance(one, int | float) and one >= 1]
    return (whole[0], whole[1]) if len(whole) == 2 else None


def _update(
    results: list[Any], mine: Sequence[dict[str, Any]], bare: Annotation, now: Annotation
) -> None:
    """Change the results of somebody else's region to what a record says."""
    region = next((one for one in mine if one.get("type") not in ("textarea", "choices")), mine[0])
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
    meta = {name: one for name, one in (region.get("meta") or {}).items() if name != OURS}
    region["meta"] = {**meta, **({OURS: texts} if texts else {})}
    if not region["meta"]:
        del region["meta"]


def _say(
    results: list[Any], mine: Sequence[dict[str, Any]], now: Annotation, about: Mapping[str, Any]
) -> None:
    """Let a text with the id of a region hold its caption."""
    written = [one for one in mine if one.get("type") == "textarea"]
    if written:
        written[0]["value"] = {
            **(written[0].get("value") or {}),
            "text": [now.caption] if now.caption else [],
        }
        others = {id(one) for one in written[1:]}
        results[:] = [one for one in results if id(one) not in others]
        return
    uid = mine[0].get("id")
    said = {"id": uid, "type": "textarea", "from_name": "caption", **about}
    at = next(place for place, one in enumerate(results) if one is mine[-1])
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
