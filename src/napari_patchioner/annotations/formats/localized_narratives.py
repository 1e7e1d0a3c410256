"""Localized Narratives: pointer traces with times, one narrative a line.

Positions are parts of the image's width and height. The published reader takes no other fields
of a narrative than the published ones, so what belongs to a record beside them goes along with
its first timed utterance, which may hold more.
"""

from __future__ import annotations

import json
import math
from codecs import BOM_UTF8
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from napari_patchioner.annotations.files import decode_text, encoding_of, write_bytes, write_text
from napari_patchioner.annotations.images import (
    Images,
    find_image,
    find_info,
    image_name,
    image_size,
)
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
    record_texts_with_image,
    with_unique_uids,
)
from napari_patchioner.annotations.xy import from_xy, to_xy
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import BudgetError, charge_records
from napari_patchioner.regions import Region, RegionSet, Trace, same_drawing

from .entries import Size, known_entries, naming, was_deleted
from .head import Format, Head
from .json_arrays import (
    as_texts,
    fields_of,
    is_comment,
    json_as_read,
    key_of,
    parse_json,
    read_lines,
    to_json,
    whole_number,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from napari_patchioner.annotations.fields import Fields
    from napari_patchioner.annotations.record import Annotation


_ANNOTATOR, _DATASET, _RECORDING, _TIMED = (
    "annotator_id",
    "dataset_id",
    "voice_recording",
    "timed_caption",
)
_ATTRIBUTES, _SIZE = "attributes", "image_size"
_OURS = "napari-patchioner"
_KIND = "localized-narratives"


def knows(head: Head) -> bool:
    """Whether a file is one narrative with traces a line, or an empty file of lines."""
    empty = head.suffix == ".jsonl" and not head.text.strip()
    return empty or (not head.is_list and {"traces", "image_id"} <= set(head.fields))


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write narratives; return all that is no trace, nor a set of traces."""
    check_unique(annotations)
    held = [annotation for annotation in annotations if _strokes(annotation.region) is not None]
    base = base_of(held, _KIND, path, _parse)
    if base is None:
        write_text(path, "".join(f"{to_json(_narrative(item, images))}\n" for item in held))
    else:
        lines, places = _again(base, images)
        encoding, mark = encoding_of(base.data)
        data = b"\n".join(lines)
        if encoding != "utf-8":
            data = base.data[:mark] + data.decode("utf-8", "surrogatepass").encode(encoding)
        write_bytes(path, data)
        remember_file(data, base.file, places)
    return tuple(annotation for annotation in annotations if _strokes(annotation.region) is None)


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a file.

    Attributes
    ----------
    raw : bytes
        The line in UTF-8, without the line feed.
    value : object
        The narrative in it; None where there is none, or a broken one.
    """

    raw: bytes
    value: Any

    @classmethod
    def of(cls, raw: bytes) -> Self:
        try:
            value = None if is_comment(raw) or not raw.strip() else parse_json(raw, "")
        except BudgetError:
            raise
        except FormatError:
            value = None
        return cls(raw, value)


def _parse(data: bytes) -> list[_Line]:
    """Return the lines of a file, blank ones too."""
    if encoding_of(data)[0] != "utf-8":
        data = decode_text(data, "").encode("utf-8", "surrogatepass")
    return [_Line.of(line) for line in data.split(b"\n")]


def _again(base: Base[list[_Line]], images: Images) -> tuple[list[bytes], dict[str, str]]:
    """Return a file that was read, with records put back into it, and where narratives went."""
    content, records = base.content, base.records
    if content is None:
        known = known_entries(records, _KIND)
        content = [*(_Line(b"", metadata.entry) for _, _, metadata in known), _Line(b"", None)]
        records = {f"{n}": record for n, (_, record, _) in enumerate(known)}
    here = {str(content[int(place)].value.get("image_id")) for place in records}
    lines: list[bytes] = []
    places: dict[str, str] = {}
    for n, line in enumerate(content):
        entry = records.get(f"{n}")
        image = str(line.value.get("image_id")) if isinstance(line.value, dict) else ""
        missing = entry is None and (image in here or not base.in_place)
        if missing and was_deleted(partial(_read_line, line.value)):
            continue
        places[f"{n}"] = f"{len(lines)}"
        value = line.value if entry is None else _updated(line.value, entry, images)
        same = value is line.value and line.raw
        lines.append(line.raw if same or value is None else _bytes(value, line.raw))
    model = next((line.raw for line in content if line.value is not None), b"")
    model = model.removeprefix(BOM_UTF8)
    tail = [b""] if base.rest else []
    if content and not content[-1].raw.strip() and content[-1].value is None:
        tail = [lines.pop()]
    elif base.rest and lines and model.endswith(b"\r") and not lines[-1].endswith(b"\r"):
        lines[-1] += b"\r"
    for entry in base.rest:
        metadata = metadata_of(entry, _KIND)
        again = metadata is not None and isinstance(metadata.entry, dict)
        value = _updated(metadata.entry, entry, images) if again else _narrative(entry, images)  # type: ignore[union-attr]
        lines.append(_bytes(value, model))
    return [*lines, *tail], places


def _read_line(line: Any, size: Size = (1, 1), *, ours: bool = True) -> Annotation:
    return _annotation(fields_of(line, ""), 0, lambda _: size, ours=ours)


def _bytes(value: Any, before: bytes) -> bytes:
    """Return a line that says a narrative, laid out as the one before it."""
    return json_as_read(value, before) if before else json_as_read(value).rstrip(b"\n")


def _updated(line: dict[str, Any], annotation: Annotation, images: Images) -> dict[str, Any]:
    """Return a narrative with what a record says otherwise; the same where it says the same."""
    info = find_info(images, annotation.image)
    size = (info.height, info.width) if info is not None else (1, 1)
    was, bare = (_read_line(line, size, ours=ours) for ours in (True, False))
    if info is None:  # without a size nobody can say whether anything was moved
        was, bare = (replace(record, region=annotation.region) for record in (was, bare))
    if same_record(was, annotation):
        return line
    timed = line.get(_TIMED)
    utterances = [dict(first) for first in timed] if isinstance(timed, list) else []
    if _ATTRIBUTES in (utterances[0] if utterances else {}):
        return _narrative(annotation, images)
    texts = our_texts(bare, annotation)
    new = {**line, "caption": annotation.caption}
    if not same_drawing(bare.region, annotation.region):
        points = sum(len(trace.points) for trace in _strokes(annotation.region) or ())
        times = annotation.extra.get(TIMES, "")
        kept = {TIMES: times} if len(times.split()) == points else {}
        new["traces"] = _narrative(replace(annotation, extra=kept), images)["traces"]
    if not utterances and texts:
        drawn = [point for stroke in new["traces"] for point in stroke]
        when = {"start_time": drawn[0].get("t", 0), "end_time": drawn[-1].get("t", 0)}
        utterances = [{"utterance": annotation.caption, **when}]
    if utterances:
        utterances[0].pop(OURS, None)
        utterances[0] |= {OURS: texts} if texts else {}
        new[_TIMED] = utterances
    return new


def _strokes(region: Region) -> tuple[Trace, ...] | None:
    """Return the traces that a region consists of; None if it is anything else."""
    members = region.parts()
    traces = tuple(member for member in members if isinstance(member, Trace))
    return traces if len(traces) == len(members) else None


def _narrative(annotation: Annotation, images: Images) -> dict[str, Any]:
    name = image_name(images, annotation.image)
    attributes = record_texts_with_image(annotation, name)
    size = image_size(images, annotation.image)
    strokes = [to_xy(trace.points) / size[::-1] for trace in _strokes(annotation.region) or ()]
    with naming(f"region {annotation.uid!r}"):
        times, recorded = seconds(attributes.get(TIMES, ""), sum(map(len, strokes)))
    rows = np.column_stack([np.concatenate(strokes), times]).tolist()
    points = iter([dict(zip("xyt", row, strict=True)) for row in rows])
    how = {} if recorded else {TIMES: UNIFORM}
    marks = {_ATTRIBUTES: attributes, _SIZE: list(size), **how}
    extra = annotation.extra
    return {
        _DATASET: extra.get(_DATASET, _OURS),
        "image_id": name,
        _ANNOTATOR: whole_number(extra.get(_ANNOTATOR, "")) or 0,
        "caption": annotation.caption,
        _TIMED: _timed(annotation, float(times[0]), float(times[-1]), marks),
        "traces": [[next(points) for _ in stroke] for stroke in strokes],
        _RECORDING: extra.get(_RECORDING, ""),
    }


def _timed(
    annotation: Annotation, start: float, end: float, marks: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return the utterances of a narrative, the caption at once where nobody recorded them."""
    whole = [{"utterance": annotation.caption, "start_time": start, "end_time": end}]
    try:
        known = json.loads(annotation.extra.get(_TIMED, ""))
    except ValueError:
        known = whole
    known = _finite(known)
    usable = isinstance(known, list) and known and all(isinstance(item, dict) for item in known)
    first, *rest = known if usable else whole
    return [{**first, **marks}, *rest]


def _finite(value: Any) -> Any:
    """Return a JSON value with null for numbers that are none, which JSON cannot hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    return list(map(_finite, value)) if isinstance(value, list) else value


def read(path: Path, images: Images | None = None) -> list[Annotation]:
    """Read narratives."""
    sizes: dict[str, tuple[int, int]] = {}

    def find(image: str) -> tuple[int, int]:
        if image not in sizes:
            known = find_info(images or {}, image) or find_image(path.parent, image)
            sizes[image] = image_size({image: known} if known is not None else {}, image)
        return sizes[image]

    file, result = remember_file(path.read_bytes()), []
    for number, text in read_lines(path):
        where = f"{path.name}: line {number}"
        with leaving_out("narrative", where):
            charge_records()
            value = parse_json(text, where)
            item = _annotation(fields_of(value, where), number, find)
            if not _is_plain(value):
                item = with_metadata(item, _KIND, file, number - 1, value)
            result.append(item)
    return with_unique_uids(result)


def _is_plain(line: dict[str, Any]) -> bool:
    """Whether a narrative is one of ours."""
    timed = line.get(_TIMED)
    first = timed[0] if isinstance(timed, list) and timed else {}
    return isinstance(first, dict) and isinstance(first.get(_ATTRIBUTES), dict)


def _annotation(
    line: Fields, number: int, find: Callable[[str], tuple[int, int]], *, ours: bool = True
) -> Annotation:
    """Return what a line says, with or without what is ours of it."""
    image = key_of(line.take("image_id", object))
    timed = [dict(item) for item in line.items(_TIMED, dict, ())]
    texts = timed[0].pop(OURS, {}) if timed else {}
    marks = fields_of(timed[0] if timed else {}, f"{line.where}: {_TIMED}")
    attributes = as_texts(marks.take(_ATTRIBUTES, dict, {}))
    sides = marks.items(_SIZE, int, ())
    if len(sides) == 2:
        size = (sides[0], sides[1])
    else:
        with naming(line.where):
            size = find(image)
    uniform = marks.take(TIMES, str, "") == UNIFORM
    drawn, times = _drawn(line, size)

    def shown(region: Region) -> Region:
        return _shown(_strokes(region) or ())

    with naming(line.where):
        record = annotation_from_texts(
            attributes,
            drawn=drawn,
            image=image,
            caption=line.take("caption", str, None),
            uid=str(number),
            shown=shown,
        )
        if attributes:
            moved = record.region is drawn and TIMES in record.extra
            return replace(record, extra={**record.extra, TIMES: times}) if moved else record
        extra = {} if uniform else {TIMES: times}
        extra |= {_TIMED: json_as_read(timed).decode().rstrip("\n")} if timed else {}
        others = {name: line.take(name, object, "") for name in (_DATASET, _ANNOTATOR, _RECORDING)}
        extra |= {name: str(value) for name, value in others.items() if value != ""}
        record = replace(record, extra={**record.extra, **extra})
        if not ours or not isinstance(texts, dict):
            return record
        return with_our_texts(record, texts, shown)


_BEYOND_ALL = 1e100


def _drawn(line: Fields, size: tuple[int, int]) -> tuple[Region, str]:
    """Return the traces of a narrative and the times of their points."""
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
    return _shown(strokes), times_text(times)


def _shown(strokes: Sequence[Trace]) -> Region:
    return strokes[0] if len(strokes) == 1 else RegionSet(tuple(strokes))


# Seconds from the first point on, apart by spaces; those of all members of a set in a row.
TIMES = "times"
UNIFORM = "uniform"
# As often as the published narratives have a point.
_STEP = 0.02


def times_text(times: Iterable[float]) -> str:
    """Return times as the text of the extra.

    >>> times_text([0.0, 0.25])
    '0 0.25'
    """
    return " ".join(repr(float(time)).removesuffix(".0") for time in times)


def seconds(text: str, points: int) -> tuple[npt.NDArray[np.float64], bool]:
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
