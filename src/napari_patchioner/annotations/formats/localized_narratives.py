"""Localized Narratives: pointer traces with times, one narrative a line.

Positions are parts of the image's width and height. The published reader takes no other fields
of a narrative than the published ones, so what belongs to a record beside them goes along with
its first timed utterance, which may hold more.
"""

from __future__ import annotations

import json
import math
from codecs import BOM_UTF8
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_patchioner.annotations import files, metadata, texts
from napari_patchioner.annotations.images import Images, Size, find_info, image_name, image_size
from napari_patchioner.annotations.metadata import OURS
from napari_patchioner.annotations.notes import leaving_out, naming
from napari_patchioner.annotations.record import Annotation
from napari_patchioner.annotations.xy import FloatArray, from_xy, to_xy
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import charge_records
from napari_patchioner.regions import Region, RegionSet, Trace, same_drawing

from . import json_arrays
from .head import Format, Head
from .json_arrays import as_texts, dicts_in, fields_of, json_as_read, parse_json, parsed, to_json

_ANNOTATOR, _DATASET, _RECORDING = "annotator_id", "dataset_id", "voice_recording"
_TIMED, _ATTRIBUTES, _SIZE = "timed_caption", "attributes", "image_size"
_OURS = "napari-patchioner"
_KIND = "localized-narratives"
# Seconds from the first point on, apart by spaces; those of all members of a set in a row.
TIMES = "times"
_UNIFORM = "uniform"
# As often as the published narratives have a point.
_STEP = 0.02
_BEYOND_ALL = 1e100


def knows(head: Head) -> bool:
    """Whether a file is one narrative with traces a line, or an empty file of lines."""
    empty = head.suffix == ".jsonl" and not head.text.strip()
    return empty or (not head.is_list and {"traces", "image_id"} <= set(head.fields))


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write narratives; return all that is no trace, nor a set of traces."""
    held = [annotation for annotation in annotations if _strokes(annotation.region) is not None]
    base = metadata.base_of(held, _KIND, path, _parse)
    if base is None:
        files.write_text(path, "".join(f"{to_json(_narrative(item, images))}\n" for item in held))
    else:
        lines, places = _again(base, images)
        encoding, mark = files.encoding_of(base.data)
        data = b"\n".join(lines)
        if encoding != "utf-8":
            data = base.data[:mark] + data.decode("utf-8", "surrogatepass").encode(encoding)
        files.write_bytes(path, data)
        metadata.remember_file(data, base.file, places)
    return tuple(annotation for annotation in annotations if _strokes(annotation.region) is None)


def _parse(data: bytes) -> list[tuple[bytes, Any]]:
    """Return the lines of a file, blank ones too, each with the narrative in it, if it is sound."""
    if files.encoding_of(data)[0] != "utf-8":
        data = files.decode_text(data, "").encode("utf-8", "surrogatepass")
    raws = data.split(b"\n")
    return [(raw, None if json_arrays.is_blank(raw) else parsed(raw, "")[0]) for raw in raws]


def _again(
    base: metadata.Base[list[tuple[bytes, Any]]], images: Images
) -> tuple[list[bytes], dict[str, str]]:
    """Return a file that was read, with records put back into it, and where narratives went."""
    content, records, rest = base.content or [], base.records, base.rest
    if base.content is None:  # all are new in a file that is no longer known
        records, rest = {}, [*base.records.values(), *rest]
    here = {str(content[int(place)][1].get("image_id")) for place in records}
    lines: list[bytes] = []
    places: dict[str, str] = {}
    for n, (raw, before) in enumerate(content):
        now = records.get(f"{n}")
        image = str(before.get("image_id")) if isinstance(before, dict) else ""
        missing = now is None and (image in here or not base.in_place)
        if missing and metadata.was_deleted(partial(_said_by, before)):
            continue
        places[f"{n}"] = f"{len(lines)}"
        value = before if now is None else _updated(before, now, images)
        lines.append(raw if value is before else _bytes(value, raw))
    model = next((raw for raw, value in content if value is not None), b"").removeprefix(BOM_UTF8)
    tail = [b""] if rest else []
    if content and not content[-1][0].strip() and content[-1][1] is None:
        tail = [lines.pop()]
    elif rest and lines and model.endswith(b"\r") and not lines[-1].endswith(b"\r"):
        lines[-1] += b"\r"
    for record in rest:
        origin = metadata.metadata_of(record, _KIND)
        entry = origin.entry if origin is not None else None
        made = _updated(entry, record, images) if isinstance(entry, dict) else None
        lines.append(_bytes(made or _narrative(record, images), model))
    return [*lines, *tail], places


def _bytes(value: Any, before: bytes) -> bytes:
    """Return a line that says a narrative, laid out as the one before it."""
    return json_as_read(value, before) if before else json_as_read(value).rstrip(b"\n")


def _updated(line: dict[str, Any], annotation: Annotation, images: Images) -> dict[str, Any]:
    """Return a narrative with what a record says otherwise; the same where it says the same."""
    info = find_info(images, annotation.image)
    bare, was = _said_by(line, size=(info.height, info.width) if info is not None else (1, 1))
    if info is None:  # without a size nobody can say whether anything was moved
        was, bare = (replace(record, region=annotation.region) for record in (was, bare))
    if metadata.same_record(was, annotation):
        return line
    utterances = [dict(item) for item in line.get(_TIMED) or ()]
    if utterances and _ATTRIBUTES in utterances[0]:
        return _narrative(annotation, images)
    ours = metadata.our_texts(bare, annotation)
    new = {**line, "caption": annotation.caption}
    if not same_drawing(bare.region, annotation.region):
        points = sum(len(trace.points) for trace in _strokes(annotation.region) or ())
        times = annotation.extra.get(TIMES, "")
        kept = {TIMES: times} if len(times.split()) == points else {}
        new["traces"] = _narrative(replace(annotation, extra=kept), images)["traces"]
    if not utterances and ours:
        drawn = [point for stroke in new["traces"] for point in stroke]
        when = {"start_time": drawn[0].get("t", 0), "end_time": drawn[-1].get("t", 0)}
        utterances = [{"utterance": annotation.caption, **when}]
    if utterances:
        new[_TIMED] = [metadata.with_ours(utterances[0], ours), *utterances[1:]]
    return new


def _strokes(region: Region) -> tuple[Trace, ...] | None:
    """Return the traces that a region consists of; None if it is anything else."""
    members = region.parts()
    traces = tuple(member for member in members if isinstance(member, Trace))
    return traces if len(traces) == len(members) else None


def _narrative(annotation: Annotation, images: Images) -> dict[str, Any]:
    name, extra = image_name(images, annotation.image), annotation.extra
    size = image_size(images, annotation.image)
    strokes = [to_xy(trace.points) / size[::-1] for trace in _strokes(annotation.region) or ()]
    attributes = texts.record_texts_with_image(annotation, name)
    with naming(f"region {annotation.uid!r}"):
        times, recorded = seconds(extra.get(TIMES, ""), sum(map(len, strokes)))
    rows = np.column_stack([np.concatenate(strokes), times]).tolist()
    points = iter([dict(zip("xyt", row, strict=True)) for row in rows])
    # The utterances as they were recorded, or the caption at once.
    start, end = float(times[0]), float(times[-1])
    said = {"utterance": annotation.caption, "start_time": start, "end_time": end}
    known: Any = None
    with suppress(ValueError):
        known = _finite(json.loads(extra.get(_TIMED, "")))
    usable = isinstance(known, list) and known and all(isinstance(item, dict) for item in known)
    first, *rest = known if usable else [said]
    how = {} if recorded else {TIMES: _UNIFORM}
    return {
        _DATASET: extra.get(_DATASET, _OURS),
        "image_id": name,
        _ANNOTATOR: json_arrays.whole_number(extra.get(_ANNOTATOR, "")) or 0,
        "caption": annotation.caption,
        _TIMED: [{**first, _ATTRIBUTES: attributes, _SIZE: list(size), **how}, *rest],
        "traces": [[next(points) for _ in stroke] for stroke in strokes],
        _RECORDING: extra.get(_RECORDING, ""),
    }


def _finite(value: Any) -> Any:
    """Return a JSON value with null for numbers that are none, which JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    return list(map(_finite, value)) if isinstance(value, list) else value


def read(path: Path, images: Images | None = None) -> list[Annotation]:
    """Read narratives."""
    sizes: dict[str, Size] = {}

    def find(image: str) -> Size:
        if image not in sizes:
            known = find_info(images or {}, image, path.parent)
            sizes[image] = image_size({image: known} if known is not None else {}, image)
        return sizes[image]

    file, records = metadata.remember_file(path.read_bytes()), []
    for number, text in json_arrays.read_lines(path):
        where = f"{path.name}: line {number}"
        with leaving_out("narrative", where):
            charge_records()
            value = parse_json(text, where)
            record = _said_by(value, where, number, find).record
            timed = dicts_in(value, _TIMED)
            if not (timed and isinstance(timed[0].get(_ATTRIBUTES), dict)):  # it is none of ours
                record = metadata.with_metadata(record, _KIND, file, number - 1, value)
            records.append(record)
    return texts.with_unique_uids(records)


def _said_by(
    value: Any,
    where: str = "",
    number: int = 0,
    find: Callable[[str], Size] | None = None,
    size: Size = (1, 1),
) -> metadata.Said:
    """Return what a line says; without ``find`` of an image of this size if it states none."""
    line = fields_of(value, where)
    image = json_arrays.key_of(line.take("image_id", object))
    timed = [dict(item) for item in line.items(_TIMED, dict, ())]
    ours = timed[0].pop(OURS, {}) if timed else {}
    marks = fields_of(timed[0] if timed else {}, f"{where}: {_TIMED}")
    attributes = as_texts(marks.take(_ATTRIBUTES, dict, {}))
    sides = marks.items(_SIZE, int, ())
    if len(sides) == 2:
        size = (sides[0], sides[1])
    elif find is not None:
        with naming(where):
            size = find(image)
    uniform = marks.take(TIMES, str, "") == _UNIFORM
    strokes, times = [], []
    for stroke in line.items("traces", list):
        try:
            points = np.array([[p["x"], p["y"], p["t"]] for p in stroke], float)
        except (TypeError, KeyError, ValueError) as error:
            raise line.error("a point in 'traces' must have the numbers x, y and t") from error
        # Not a number either way: what is that large overflows as soon as it is counted in pixels.
        if len(points) and not (np.abs(points) < _BEYOND_ALL).all():
            raise line.error("a point in 'traces' is not finite")
        if len(points):
            strokes.append(Trace(from_xy(points[:, :2] * size[::-1])))
            times += points[:, 2].tolist()
    if not strokes:
        raise line.error("'traces' holds no point")
    drawn = _shown(strokes)
    recorded = " ".join(repr(float(time)).removesuffix(".0") for time in times)

    def shown(region: Region) -> Region:
        return _shown(_strokes(region) or ())

    with naming(where):
        record = texts.annotation_from_texts(
            attributes,
            drawn=drawn,
            image=image,
            caption=line.take("caption", str, None),
            uid=str(number),
            shown=shown,
        )
        extra = dict(record.extra)
        if attributes:
            if record.region is drawn and TIMES in extra:
                extra[TIMES] = recorded
            record = replace(record, extra=extra)
            return metadata.Said(record, record)
        extra |= {} if uniform else {TIMES: recorded}
        extra |= {_TIMED: json_as_read(timed).decode().rstrip("\n")} if timed else {}
        others = {name: line.take(name, object, "") for name in (_DATASET, _ANNOTATOR, _RECORDING)}
        extra |= {name: str(value) for name, value in others.items() if value != ""}
        return metadata.said(replace(record, extra=extra), ours, shown)


def _shown(strokes: Sequence[Trace]) -> Region:
    return strokes[0] if len(strokes) == 1 else RegionSet(tuple(strokes))


def seconds(text: str, points: int) -> tuple[FloatArray, bool]:
    """Return a time for each point and whether they were recorded; evenly spaced if not."""
    if not text.strip():
        return np.array([place * _STEP for place in range(points)]), False
    try:
        times = np.array([float(time) for time in text.split()])
    except ValueError:
        times = np.zeros(0)
    if len(times) != points or not np.isfinite(times).all():
        raise FormatError(
            f"the extra {TIMES!r} must be one number of seconds for each of its {points} points"
        )
    return times, True


FORMAT = Format(
    "localized-narratives", "Localized Narratives", (".jsonl",), read, write, knows, sized=True
)
