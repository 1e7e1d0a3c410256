"""Localized Narratives as published: spoken descriptions with the pointer's way, cut by sentence.

The paper's benchmark cuts every narrative into sentences and gives each the part of the trace
that was made while it was spoken (section 4.1). Its sentences were then rewritten by a language
model; here they stay as spoken.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from napari_patchioner.annotations.formats._json_file import parse_json
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import check_plain_file

from ._records import Record, number
from ._sample import Sample, Task
from .traces import trace_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ._image_folder import ImageFolder

_SENTENCE = re.compile(r"[^.!?]+[.!?]*")
# Remarks on the photograph as such: no place in it is meant (the paper leaves them out too).
_ABOUT_THE_PICTURE = re.compile(
    r"\b(?:image|picture|photo|photograph) (?:is|looks|seems|was) (?:\w+ )?"
    r"(?:blur\w*|edited|black and white|taken|captured|unclear|not clear)",
    re.IGNORECASE,
)


class LocalizedNarratives:
    """A JSONL file of narratives; every sentence with a trace is a sample.

    Parameters
    ----------
    path : Path
        The file, read line by line.
    images : ImageFolder
        Where its images are.
    """

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
        """Draw one sample per sentence during which the pointer was on the image.

        Raises
        ------
        FormatError
            Names the line.
        """
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
            if self.path.exists():
                check_plain_file(self.path)
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
    """Sentences of a narrative, with the seconds at which each begins and ends.

    Parameters
    ----------
    record : Record
        With ``caption`` and ``timed_caption`` (utterance, start_time, end_time).

    Returns
    -------
    list of tuple
        Sentence, begin and end; sentences of which no word has a time are left out.

    Raises
    ------
    FormatError
        A part is missing or of the wrong kind.
    """
    caption, cursor = record.text("caption"), 0
    spoken: list[tuple[int, float, float]] = []
    for values in record.records("timed_caption"):
        part = Record(record.file, f"{record.name}, timed_caption", values)
        words = part.text("utterance").strip()
        found = caption.lower().find(words.lower(), cursor)
        place, cursor = (found, found + len(words)) if found >= 0 else (cursor, cursor)
        spoken.append((place, part.number("start_time"), part.number("end_time")))
    cut = []
    for match in _SENTENCE.finditer(caption):
        times = [one for one in spoken if match.start() <= one[0] < match.end()]
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
