"""Trace captioning as published with Patch-ioner: sentences and the pointer's way during each.

``{image id: {"captions": [...], "traces": [[{x, y, t}, ...], ...]}}``, x and y as fractions of the
image's width and height. Beside them may stand ``"categories"``, a name for each sentence, by which
captions are also judged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchioner.regions import Trace

from ._file import FileDataset
from ._records import Record, number
from ._sample import Sample, Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


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
    record : Record
        Named in errors.

    Returns
    -------
    Trace or None
        The recorded points and nothing between them; None where none lies in the image.

    Raises
    ------
    FormatError
        A point is none.
    """
    if not isinstance(points, list):
        record.fail("a trace must be a list of points")
    places: Sequence[tuple[float, float]] = [_place(one, record) for one in points]
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
