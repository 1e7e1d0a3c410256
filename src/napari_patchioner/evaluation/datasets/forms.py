r"""Every published form of a data set, in one place; a new one is a function and a line in `FORMS`.

- Traces as published with Patch-ioner: ``{image id: {"captions": [...], "traces": [[{x, y, t},
  ...], ...]}}``, x and y as fractions of the image's width and height; beside them may stand
  ``"categories"``, a name for each sentence, by which captions are also judged.
- Localized Narratives: one narrative a line.
- Sets of boxes: ``{image id: {"caption\\ncaption": [[x1, y1, x2, y2], ...]}}``.
- ControlCap's dense captions (Visual Genome 1.2 and VG-COCO): COCO's layout, but a ``bbox`` is
  ``[x1, y1, x2, y2]``, and every annotation has a ``caption``; where it has a category as well,
  captions are also judged by whether they name it.
- Visual Genome's region descriptions; COCO's captions; Karpathy's splits, Flickr30k in either.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from napari_patchioner.annotations.formats import json_arrays
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import check_plain_file
from napari_patchioner.regions import Box, RegionSet, Trace, WholeImage

from .image_folder import ImageFolder
from .records import Dataset, Form, Record, Sample, Task


def _first(contents: Any, key: str = "") -> dict[str, Any]:
    """Return the first record of a list, of one under a key, or of all keys; empty if none is."""
    if key:
        contents = contents if isinstance(contents, dict) else {}
        contents = list(contents.values()) if key == "*" else contents.get(key)
    first = contents[0] if isinstance(contents, list) and contents else None
    return first if isinstance(first, dict) else {}


def _first_has(names: set[str], key: str = "") -> Callable[[Any], bool]:
    """Return a test of contents, see `_first`."""
    return lambda contents: names <= _first(contents, key).keys()


def _named(data: Dataset, key: str, what: str, name: str) -> dict[str, str]:
    """Return the name of every image or category that a file in COCO's layout lists, by its id."""
    if data.contents.get(key) is None:
        return {}
    # An image may do without a name of its own, a category may not.
    return {
        record.identity("id"): record.text(name)
        for record in data.records(key, what)
        if name in record.values or what == "category"
    }


def _coco_captions(data: Dataset) -> Iterator[Sample]:
    """Every image is a sample, all its captions are its references."""
    captions: dict[str, list[str]] = {}
    for record in data.records("annotations", "annotation"):
        captions.setdefault(record.identity("image_id"), []).append(record.text("caption"))
    names = _named(data, "images", "image", "file_name")
    for identity, references in captions.items():
        image = names.get(identity, identity)
        if data.images.wanted(image):
            yield Sample(identity, image, WholeImage(), tuple(references))


def _dense_captions(data: Dataset) -> Iterator[Sample]:
    """Every box with its phrase is a sample; boxes are given, none is detected."""
    names = _named(data, "images", "image", "file_name")
    categories = _named(data, "categories", "category", "name")
    records = data.records("annotations", "annotation")
    for number, record in enumerate(records, start=1):
        identity = record.identity("image_id")
        image = names.get(identity, identity)
        if not data.images.wanted(image):
            continue
        box, caption = record.box(record.items("bbox")), record.text("caption")
        category = categories.get(str(record.values.get("category_id")))
        extra = {"category": category} if category else {}
        name = f"{image}/{record.values.get('id', number)}"
        yield Sample(name, image, box, (caption,), extra=extra)


def _karpathy(data: Dataset) -> Iterator[Sample]:
    """Every image of the split is a sample; the split is ``test`` unless named."""
    wanted, splits = data.split or "test", set()
    for record in data.records("images", "image"):
        splits.add(record.text("split"))
        image = record.text("filename")
        if record.text("split") == wanted and data.images.wanted(image):
            sentences = record.items("sentences")
            if not sentences:
                record.fail("has no sentence")
            named = (data.record(f"image {image}", sentence) for sentence in sentences)
            references = tuple(sentence.text("raw") for sentence in named)
            yield Sample(image, image, WholeImage(), references)
    if wanted not in splits:
        known = ", ".join(sorted(splits))
        raise FormatError(f"{data.path.name}: has no split {wanted!r}; it has {known}")


def _visual_genome(data: Dataset) -> Iterator[Sample]:
    """Every region with its phrase is a sample; those without one are left out."""
    contents = data.record("the file", {"images": data.contents})
    for record in contents.records("images", "image"):
        image = record.identity("image_id", "id")
        if not data.images.wanted(image):
            continue
        for number, region in enumerate(record.records("regions", f"image {image}, region"), 1):
            left, top = region.number("x"), region.number("y")
            right, bottom = left + region.number("width"), top + region.number("height")
            phrase = region.text("phrase")
            if phrase.strip():
                name = f"{image}/{region.values.get('region_id', number)}"
                yield Sample(name, image, region.box([left, top, right, bottom]), (phrase,))


def _is_region_sets(contents: Any) -> bool:
    if not isinstance(contents, dict):
        return False
    first = next((sets for sets in contents.values() if sets), None)
    return (
        isinstance(first, dict)
        and all(isinstance(boxes, list) for boxes in first.values())
        and "traces" not in first
    )


def _region_sets(data: Dataset) -> Iterator[Sample]:
    """Every set of boxes is a sample, described by one or several sentences."""
    for image, sets in data.contents.items():
        record = data.record(f"image {image}", sets)
        if not data.images.wanted(image):
            continue
        for position, (captions, corners) in enumerate(record.values.items()):
            if not isinstance(corners, list) or not corners:
                record.fail(f"set {position + 1} must be a list of at least one box")
            boxes = tuple(map(record.box, corners))
            references = tuple(line for line in captions.split("\n") if line.strip())
            if not references:
                record.fail(f"set {position + 1} has no caption")
            region, group = RegionSet(boxes), overlap_group(boxes)
            yield Sample(f"{image}/{position}", image, region, references, group)


def overlap_group(boxes: Sequence[Box]) -> str:
    """Whether the members of a set share pixels: ``"single"``, ``"disjoint"`` or ``"overlapping"``.

    >>> overlap_group([Box(0, 0, 2, 2), Box(0, 2, 2, 4)])
    'disjoint'
    """
    if len(boxes) == 1:
        return "single"
    for item, other in combinations(boxes, 2):
        high = min(item.bottom, other.bottom) - max(item.top, other.top)
        wide = min(item.right, other.right) - max(item.left, other.left)
        if high > 0 and wide > 0:
            return "overlapping"
    return "disjoint"


def _traces(data: Dataset) -> Iterator[Sample]:
    """Every sentence with its part of the trace is a sample."""
    for image, values in data.contents.items():
        record = data.record(f"image {image}", values)
        captions, traces = record.items("captions"), record.items("traces")
        categories = values.get("categories") or [""] * len(captions)
        if len(captions) != len(traces):
            record.fail(f"has {len(captions)} captions but {len(traces)} traces")
        if not data.images.wanted(image):
            continue
        size = data.images.size(image)
        if not isinstance(categories, list) or len(categories) != len(captions):
            record.fail(f"has {len(captions)} captions but not as many categories")
        for place, (caption, points) in enumerate(zip(captions, traces, strict=True)):
            if not isinstance(caption, str) or not caption.strip():
                record.fail(f"caption {place + 1} must be a text")
            region = _trace_of(points, size, record)
            if region is not None:
                extra = {"category": str(categories[place])} if categories[place] else {}
                yield Sample(f"{image}/{place}", image, region, (caption,), extra=extra)


def _trace_of(points: Any, size: tuple[int, int], record: Record) -> Trace | None:
    """Return a trace from fractions of width and height; None where all lie outside the image."""
    if not isinstance(points, list):
        record.fail("a trace must be a list of points")
    places = [record.point(point, "x", "y") for point in points]
    inside = [(y, x) for x, y in places if 0 <= x <= 1 and 0 <= y <= 1]
    return Trace(np.array(inside) * size - 0.5, connected=False) if inside else None


_SENTENCE = re.compile(r"[^.!?]+[.!?]*")
# Remarks on the photograph as such: no place in it is meant (the paper leaves them out too).
_ABOUT_THE_PICTURE = re.compile(
    r"\b(?:image|picture|photo|photograph) (?:is|looks|seems|was) (?:\w+ )?"
    r"(?:blur\w*|edited|black and white|taken|captured|unclear|not clear)",
    re.IGNORECASE,
)


def _narratives(data: Dataset) -> Iterator[Sample]:
    """Every sentence during which the pointer was on the image is a sample."""
    for place, record in enumerate(_lines(data)):
        image = record.identity("image_id")
        if not data.images.wanted(image):
            continue
        size = data.images.size(image)
        strokes = record.items("traces")
        if not all(isinstance(stroke, list) for stroke in strokes):
            record.fail("every item of 'traces' must be a list of points")
        points = [point for stroke in strokes for point in stroke]
        for count, (sentence, start, end) in enumerate(_sentences(record)):
            during = [point for point in points if start <= record.point(point, "t")[0] <= end]
            region = _trace_of(during, size, record)
            if region is not None and not _ABOUT_THE_PICTURE.search(sentence):
                yield Sample(f"{image}/{place}/{count}", image, region, (sentence,))


def _lines(data: Dataset) -> Iterator[Record]:
    """Yield a record for each line of a file; no more than one is held at a time."""
    try:
        with data.path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    name = f"line {number}"
                    values = json_arrays.parse_json(line.strip(), f"{data.path.name}: {name}")
                    yield data.record(name, values)
    except OSError as error:
        raise FormatError(f"{data.path}: cannot be read ({error.strerror or error})") from error


def _sentences(record: Record) -> list[tuple[str, float, float]]:
    """Return the sentences of a narrative, with the seconds at which each begins and ends."""
    caption, cursor = record.text("caption"), 0
    spoken: list[tuple[int, float, float]] = []
    for values in record.items("timed_caption"):
        part = Record(record.file, f"{record.name}, timed_caption", values)
        words = part.text("utterance").strip()
        place = caption.lower().find(words.lower(), cursor)
        cursor, place = (place + len(words), place) if place >= 0 else (cursor, cursor)
        spoken.append((place, part.number("start_time"), part.number("end_time")))
    cut = []
    for match in _SENTENCE.finditer(caption):
        times = [times for place, *times in spoken if match.start() <= place < match.end()]
        if match[0].strip() and times:
            starts, ends = zip(*times, strict=True)
            cut.append((match[0].strip(), min(starts), max(ends)))
    return cut


FORMS: tuple[Form, ...] = (
    Form("traces", "trace", _first_has({"captions", "traces"}, "*"), _traces),
    Form("region-sets", "region-set", _is_region_sets, _region_sets),
    Form(
        "controlcap",
        "dense",
        _first_has({"image_id", "caption", "bbox"}, "annotations"),
        _dense_captions,
    ),
    Form("visual-genome", "dense", _first_has({"regions"}), _visual_genome),
    Form("karpathy", "image", _first_has({"sentences"}, "images"), _karpathy),
    Form(
        "coco-captions", "image", _first_has({"image_id", "caption"}, "annotations"), _coco_captions
    ),
)
"""What a file can be; the first that fits is taken, so the one that asks for more stands first."""

_NARRATIVES = Form("localized-narratives", "trace", lambda contents: contents is None, _narratives)


def open_dataset(
    task: Task, data: Path, images: Path, *, split: str | None = None, skip_missing: bool = False
) -> Dataset:
    """Open a published data set for one of the paper's tasks.

    ``data`` is the file: traces or region sets as published with Patch-ioner, Localized Narratives
    (``.jsonl``), ControlCap's dense captions, Visual Genome's region descriptions, COCO's captions
    or a split of Karpathy's; ``split`` says which part of one that has parts. The ``images`` are
    searched in sub-folders too; ``skip_missing`` leaves out samples of those that are not there.

    A FormatError where the file is of no known form, or not of this task; an ImageError where there
    is no such folder.
    """
    folder = ImageFolder(images, skip_missing=skip_missing)
    if not os.path.exists(data):
        raise FormatError(f"{data}: there is no such file")
    contents: Any = None
    if data.suffix.lower() in (".jsonl", ".ndjson"):
        check_plain_file(data)
        fitting = [_NARRATIVES]
    else:
        contents = json_arrays.read_json(data)
        # The same file may serve two tasks: boxes with captions, and captions of images.
        fitting = [form for form in FORMS if form.fits(contents)]
    if not fitting:
        names = ", ".join(form.name for form in (*FORMS, _NARRATIVES))
        problem = f"is of no known form; those that are: {names}"
        if _first(contents, "images") and not contents.get("annotations"):
            problem = "lists images without captions; give the file that holds their captions"
        raise FormatError(f"{data.name}: {problem}")
    form = next((form for form in fitting if form.task == task), None)
    if form is None:
        own = fitting[0].task
        raise FormatError(f"{data.name}: holds samples of the task {own!r}, not of {task!r}")
    return Dataset(form, data, contents, folder, split)
