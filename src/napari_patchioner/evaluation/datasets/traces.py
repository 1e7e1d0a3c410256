"""Trace captioning as published with Patch-ioner: sentences and the pointer's way during each.

``{image id: {"captions": [...], "traces": [[{x, y, t}, ...], ...]}}``, x and y as fractions of the
image's width and height. Beside them may stand ``"categories"``, a name for each sentence, by which
captions are also judged.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.annotations.formats.json_arrays import parse_json
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import check_plain_file
from napari_patchioner.regions import Trace

from .records import FileDataset, Record, Sample, Task, number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from .image_folder import ImageFolder


class Traces(FileDataset):
    """Every sentence with its part of the trace is a sample of its own."""

    form = "traces"
    task: Task = "trace"

    @classmethod
    def fits(cls, data: Any) -> bool:
        """Whether a file's contents are of this form, judged by their first record."""
        if not isinstance(data, dict) or not data:
            return False
        first = next(iter(data.values()))
        return isinstance(first, dict) and {"captions", "traces"} <= first.keys()

    def samples(self) -> Iterator[Sample]:
        """Draw one sample per sentence."""
        for image, values in self.data.items():
            record = Record(self.path.name, f"image {image}", values)
            captions, traces = record.records("captions"), record.records("traces")
            categories = values.get("categories") or [""] * len(captions)
            if len(captions) != len(traces):
                record.fail(f"has {len(captions)} captions but {len(traces)} traces")
            if not self.images.wanted(image):
                continue
            size = self.images.size(image)
            if not isinstance(categories, list) or len(categories) != len(captions):
                record.fail(f"has {len(captions)} captions but not as many categories")
            for place, (caption, points) in enumerate(zip(captions, traces, strict=True)):
                if not isinstance(caption, str) or not caption.strip():
                    record.fail(f"caption {place + 1} must be a text")
                region = trace_of(points, size, record)
                if region is not None:
                    extra = {"category": str(categories[place])} if categories[place] else {}
                    yield Sample(f"{image}/{place}", image, region, (caption,), extra=extra)


def trace_of(points: Any, size: tuple[int, int], record: Record) -> Trace | None:
    """Trace from points given as fractions of the image; those outside the image are left out.

    Parameters
    ----------
    points : list of mapping
        Each with ``x`` and ``y``, fractions of width and height; pointers do leave the image.
    size : tuple of int
        ``(height, width)`` in pixels.
    """
    if not isinstance(points, list):
        record.fail("a trace must be a list of points")
    places: Sequence[tuple[float, float]] = [_place(item, record) for item in points]
    inside = [(x, y) for x, y in places if 0 <= x <= 1 and 0 <= y <= 1]
    if not inside:
        return None
    height, width = size
    columns, rows = np.array(inside).T
    return Trace(np.column_stack([rows * height, columns * width]) - 0.5, connected=False)


def _place(point: Any, record: Record) -> tuple[float, float]:
    if not isinstance(point, dict) or not {"x", "y"} <= point.keys():
        record.fail(f"a point of a trace must have x and y, not {point!r}")
    return number(point["x"], record, "x"), number(point["y"], record, "y")


_SENTENCE = re.compile(r"[^.!?]+[.!?]*")
# Remarks on the photograph as such: no place in it is meant (the paper leaves them out too).
_ABOUT_THE_PICTURE = re.compile(
    r"\b(?:image|picture|photo|photograph) (?:is|looks|seems|was) (?:\w+ )?"
    r"(?:blur\w*|edited|black and white|taken|captured|unclear|not clear)",
    re.IGNORECASE,
)


class LocalizedNarratives:
    """A JSONL file of narratives; every sentence with a trace is a sample."""

    form = "localized-narratives"
    task: Task = "trace"

    def __init__(self, path: Path, images: ImageFolder) -> None:
        self.path, self.images = path, images
        self.name = f"{self.form}:{path.name}"

    @property
    def missing(self) -> list[str]:
        """Ids of the images that were looked for and not found so far."""
        return self.images.missing

    def find(self, image: str) -> Path:
        """Path of an image by its id."""
        return self.images.find(image)

    def samples(self) -> Iterator[Sample]:
        """Draw one sample per sentence during which the pointer was on the image."""
        for place, record in enumerate(self._records()):
            image = record.identity("image_id")
            if not self.images.wanted(image):
                continue
            size = self.images.size(image)
            points = [point for stroke in _strokes(record) for point in stroke]
            for count, (sentence, start, end) in enumerate(sentences(record)):
                during = [point for point in points if start <= _time(point, record) <= end]
                region = trace_of(during, size, record) if during else None
                if region is not None and not _ABOUT_THE_PICTURE.search(sentence):
                    yield Sample(f"{image}/{place}/{count}", image, region, (sentence,))

    def _records(self) -> Iterator[Record]:
        if os.path.exists(self.path):
            check_plain_file(self.path)
        try:
            with self.path.open("rb") as lines:
                for place, line in enumerate(lines, start=1):
                    if line.strip():
                        values = parse_json(line.strip(), f"{self.path.name}: line {place}")
                        yield Record(self.path.name, f"line {place}", values)
        except FileNotFoundError:
            raise FormatError(f"{self.path}: there is no such file") from None
        except OSError as error:
            why = error.strerror or error
            raise FormatError(f"{self.path}: cannot be read ({why})") from error


def sentences(record: Record) -> list[tuple[str, float, float]]:
    """Sentences of a narrative, with the seconds at which each begins and ends."""
    caption, cursor = record.text("caption"), 0
    spoken: list[tuple[int, float, float]] = []
    for values in record.records("timed_caption"):
        part = Record(record.file, f"{record.name}, timed_caption", values)
        words = part.text("utterance").strip()
        result = caption.lower().find(words.lower(), cursor)
        place, cursor = (result, result + len(words)) if result >= 0 else (cursor, cursor)
        spoken.append((place, part.number("start_time"), part.number("end_time")))
    cut = []
    for match in _SENTENCE.finditer(caption):
        times = [item for item in spoken if match.start() <= item[0] < match.end()]
        if match[0].strip() and times:
            cut.append((match[0].strip(), min(t[1] for t in times), max(t[2] for t in times)))
    return cut


def _strokes(record: Record) -> list[list[Any]]:
    strokes = record.records("traces")
    if not all(isinstance(stroke, list) for stroke in strokes):
        record.fail("every item of 'traces' must be a list of points")
    return strokes


def _time(point: Any, record: Record) -> float:
    if not isinstance(point, dict) or "t" not in point:
        record.fail(f"a point of a trace must have x, y and t, not {point!r}")
    return number(point["t"], record, "t")
