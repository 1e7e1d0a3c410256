"""Localized Narratives: pointer traces with times, one narrative a line.

Positions are parts of the image's width and height. The published reader takes no other fields
of a narrative than the published ones, so what belongs to a record beside them goes along with
its first timed utterance, which may hold more.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.annotations._carried import annotation_from, carried_with_image, unique
from napari_patchioner.annotations._columns import check_unique
from napari_patchioner.annotations._images import find_image, image_name, image_size
from napari_patchioner.annotations._outlines import from_xy, to_xy
from napari_patchioner.annotations._table import write_text
from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Region, RegionSet, Trace

from ._json_file import as_texts, fields_of, read_lines, to_json, whole_number
from ._trace_times import TIMES, UNIFORM, seconds, times_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari_patchioner.annotations._annotation import Annotation
    from napari_patchioner.annotations._fields import Fields
    from napari_patchioner.annotations._images import Images

    from ._head import Head

_ANNOTATOR, _DATASET, _RECORDING, _TIMED = (
    "annotator_id",
    "dataset_id",
    "voice_recording",
    "timed_caption",
)
_ATTRIBUTES, _SIZE = "attributes", "image_size"
_OURS = "napari-patchioner"


def knows(head: Head) -> bool:
    """Whether a file is one narrative with traces a line, or an empty file of lines."""
    empty = head.suffix == ".jsonl" and not head.text.strip()
    return empty or (not head.is_list and {"traces", "image_id"} <= set(head.fields))


def write(path: Path, annotations: Sequence[Annotation], images: Images) -> tuple[Annotation, ...]:
    """Write narratives; return all that is no trace, nor a set of traces.

    Raises
    ------
    FormatError
        If the size of an image with traces is missing, two regions of one image share a uid, or
        the times of a trace do not fit its points.
    """
    check_unique(annotations)
    held = [one for one in annotations if _strokes(one.region) is not None]
    write_text(path, "".join(f"{to_json(_narrative(one, images))}\n" for one in held))
    return tuple(one for one in annotations if _strokes(one.region) is None)


def _strokes(region: Region) -> tuple[Trace, ...] | None:
    """Return the traces that a region consists of; None if it is anything else."""
    members = region.members if isinstance(region, RegionSet) else (region,)
    traces = tuple(one for one in members if isinstance(one, Trace))
    return traces if len(traces) == len(members) else None


def _narrative(annotation: Annotation, images: Images) -> dict[str, Any]:
    name = image_name(images, annotation.image)
    attributes = carried_with_image(annotation, name)
    size = image_size(images, annotation.image)
    strokes = [to_xy(trace.points) / size[::-1] for trace in _strokes(annotation.region) or ()]
    try:
        times, recorded = seconds(attributes.get(TIMES, ""), sum(map(len, strokes)))
    except FormatError as error:
        raise FormatError(f"region {annotation.uid!r}: {error}") from error
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
    usable = isinstance(known, list) and known and all(isinstance(one, dict) for one in known)
    first, *rest = known if usable else whole
    return [{**first, **marks}, *rest]


def read(path: Path, images: Images | None = None) -> list[Annotation]:
    """Read narratives.

    Parameters
    ----------
    path : Path
        The file.
    images : mapping of str to ImageInfo, optional
        The images by ``image_id``, for narratives that do not tell the size of theirs; else it
        is read from an image of that name beside the file.

    Raises
    ------
    FormatError
        One sentence that names the file and the line; also where the size of an image is not
        known.
    """
    sizes: dict[str, tuple[int, int]] = {}

    def find(image: str) -> tuple[int, int]:
        if image not in sizes:
            near = {} if image in (images or {}) else {image: find_image(path.parent, image)}
            known = {name: info for name, info in near.items() if info is not None}
            sizes[image] = image_size({**(images or {}), **known}, image)
        return sizes[image]

    return unique(
        _annotation(fields_of(value, f"{path.name}: line {number}"), number, find)
        for number, value in read_lines(path)
    )


def _annotation(line: Fields, number: int, find: Callable[[str], tuple[int, int]]) -> Annotation:
    image = str(line.take("image_id", object))
    timed = [dict(one) for one in line.items(_TIMED, dict, ())]
    marks = fields_of(timed[0] if timed else {}, f"{line.where}: {_TIMED}")
    attributes = as_texts(marks.take(_ATTRIBUTES, dict, {}))
    told = marks.items(_SIZE, int, ())
    size = (told[0], told[1]) if len(told) == 2 else _size(line, find, image)
    uniform = marks.take(TIMES, str, "") == UNIFORM
    drawn, times = _drawn(line, size)
    try:
        found = annotation_from(
            attributes,
            drawn=drawn,
            image=image,
            caption=line.take("caption", str, None),
            uid=str(number),
            shown=lambda region: _shown(_strokes(region) or ()),
        )
    except FormatError as error:
        raise line.error(str(error)) from error
    if attributes:
        moved = found.region is drawn and TIMES in found.extra
        return replace(found, extra={**found.extra, TIMES: times}) if moved else found
    extra = {} if uniform else {TIMES: times}
    extra |= {_TIMED: to_json(timed)} if timed else {}
    others = {name: line.take(name, object, "") for name in (_DATASET, _ANNOTATOR, _RECORDING)}
    extra |= {name: str(value) for name, value in others.items() if value != ""}
    return replace(found, extra={**found.extra, **extra})


def _size(line: Fields, find: Callable[[str], tuple[int, int]], image: str) -> tuple[int, int]:
    try:
        return find(image)
    except FormatError as error:
        raise line.error(str(error)) from error


def _drawn(line: Fields, size: tuple[int, int]) -> tuple[Region, str]:
    """Return the traces of a narrative and the times of their points."""
    strokes, times = [], []
    for stroke in line.items("traces", list):
        try:
            points = np.array([[p["x"], p["y"], p["t"]] for p in stroke], float)
        except (TypeError, KeyError, ValueError) as error:
            raise line.error("a point in 'traces' must have the numbers x, y and t") from error
        if len(points) and not np.isfinite(points).all():
            raise line.error("a point in 'traces' is not finite")
        if len(points):
            strokes.append(Trace(from_xy(points[:, :2] * size[::-1])))
            times += points[:, 2].tolist()
    if not strokes:
        raise line.error("'traces' holds no point")
    return _shown(strokes), times_text(times)


def _shown(strokes: Sequence[Trace]) -> Region:
    return strokes[0] if len(strokes) == 1 else RegionSet(tuple(strokes))
