"""Captions of painted labels as a table, to be joined with any table of measurements."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from napari_patchioner.annotations import write_bytes
from napari_patchioner.viewer.session.record import SeenMask

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari_patchioner.viewer.session.record import Record

COLUMNS = ("layer", "label", "plane", "top", "left", "bottom", "right", "pixels")
OURS = ("uid", "caption", "score", "source", "model", "reviewed")


def write_labels(path: Path, records: Iterable[Record]) -> None:
    """Write one row per label: where it is, what it says, and who said it.

    The edges are those of its outermost pixels, as napari counts them: pixel centres are integers.

    Parameters
    ----------
    path : Path
        The file; it is written whole or not at all.
    records : iterable of Record
        Those without a mask are left out.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([*COLUMNS, *OURS])
    for record in records:
        if isinstance(record.seen, SeenMask):
            writer.writerow([*_place(record.layer, record.seen), *_words(record)])
    write_bytes(path, text.getvalue().encode("utf-8"))


def _place(layer: str, seen: SeenMask) -> list[object]:
    first, last = seen.vertices
    others = [axis for axis in range(len(first)) if axis not in seen.axes]
    plane = " ".join(str(round(first[axis])) for axis in others)
    edges = [first[list(seen.axes)] - 0.5, last[list(seen.axes)] + 0.5]
    corners = [float(edge) for pair in edges for edge in pair]
    return [layer.partition(":")[2], seen.value, plane, *corners, int(seen.pixels.sum())]


def _words(record: Record) -> list[object]:
    score = record.score if record.score == record.score else ""
    who = record.source, record.model, record.reviewed
    return [record.uid, record.caption, score, *who]
