"""Which regions of an image to list, and in which words to describe them; knows no Qt."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari_patchioner.viewer.session.record import Record

Only = Literal["all", "empty", "person", "model", "low", "open", "locked"]
ONLY: dict[str, Only] = {
    "All regions": "all",
    "Without a caption": "empty",
    "Written by a person": "person",
    "Written by the model": "model",
    "Low score": "low",
    "Not reviewed": "open",
    "Locked": "locked",
}
# A model's score is comparable only with its own: the lowest quarter is what is called low.
LOW_SHARE = 0.25
KINDS = {
    "rectangle": "box",
    "ellipse": "ellipse",
    "polygon": "polygon",
    "path": "trace",
    "line": "line",
}
AUTHORS = {"": "", "model": "model", "edited": "you, from a draft", "human": "you"}


class FilterError(ValueError):
    """What was typed is no regular expression; the message says where it goes wrong."""


@dataclass(frozen=True)
class RegionFilter:
    """Which regions to list.

    Parameters
    ----------
    text : str
        What the caption must hold; upper and lower case are the same.
    pattern : bool
        Whether the text is a regular expression.
    only : str
        One of the values of `ONLY`.

    Raises
    ------
    FilterError
        If the text is to be a regular expression and is none.

    Examples
    --------
    >>> from napari_patchioner.viewer.session.record import Record
    >>> RegionFilter("CAT").keep([Record("a", caption="a cat"), Record("b")])
    ['a']
    """

    text: str = ""
    pattern: bool = False
    only: Only = "all"
    _search: Callable[[str], object] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_search", _searcher(self.text, self.pattern))

    def keep(self, records: Iterable[Record]) -> list[str]:
        """Return the uids of the records to list, in the order given."""
        records = list(records)
        bar = low_bar(records) if self.only == "low" else math.nan
        return [one.uid for one in records if self._is_kept(one, bar)]

    def _is_kept(self, record: Record, bar: float) -> bool:
        if self.text and not self._search(record.caption):
            return False
        if self.only == "low":
            return record.source == "model" and record.score <= bar
        return self.only == "all" or _TESTS[self.only](record)


_TESTS: dict[str, Callable[[Record], bool]] = {
    "empty": lambda record: not record.caption,
    "person": lambda record: record.source in ("human", "edited"),
    "model": lambda record: record.source == "model",
    "open": lambda record: not record.reviewed,
    "locked": lambda record: record.locked,
}


def low_bar(records: Iterable[Record]) -> float:
    """Return the score up to which the lowest quarter of the model's captions lies.

    NaN, which no score is below, where the model has written none.
    """
    scores = sorted(r.score for r in records if r.source == "model" and r.score == r.score)
    return scores[math.ceil(LOW_SHARE * len(scores)) - 1] if scores else math.nan


class Line(NamedTuple):
    """One region in words, as a table shows it."""

    uid: str
    kind: str
    caption: str
    score: float
    author: str
    reviewed: bool
    locked: bool
    plane: str
    model: str
    problem: str
    owed: bool


def line_of(record: Record, plane: str = "") -> Line:
    """Describe a record.

    Parameters
    ----------
    record : Record
        A shape, several together, or a whole image.
    plane : str
        Where in a stack it lies.
    """
    return Line(
        record.uid,
        kind_of(record),
        record.caption,
        record.score,
        AUTHORS.get(record.source, record.source),
        record.reviewed,
        record.locked,
        plane,
        record.model,
        record.problem,
        record.owed,
    )


def kind_of(record: Record) -> str:
    """Return what a record describes, in a word or two."""
    if record.kind == "group":
        return f"{len(record.members)} together"
    if record.kind == "image":
        return "whole image"
    return KINDS.get(record.seen.shape_type, record.seen.shape_type) if record.seen else "region"


def ordered(lines: list[Line], column: str, *, descending: bool = False) -> list[Line]:
    """Sort lines by one of their fields; those that say nothing there come last either way.

    Parameters
    ----------
    lines : list of Line
        In the order of drawing, which decides between equals.
    column : str
        Name of a field; empty for the order of drawing.
    descending : bool
        Whether to begin with the greatest.
    """
    if not column:
        return lines
    silent = [line for line in lines if _is_silent(getattr(line, column))]
    spoken = [line for line in lines if not _is_silent(getattr(line, column))]
    spoken.sort(key=lambda line: _rank(getattr(line, column)), reverse=descending)
    return spoken + silent


def _is_silent(value: str | float) -> bool:
    return value == "" or value is False or value != value


def _rank(value: str | float) -> tuple[object, ...]:
    """Sort numbers within texts by their size: "z 2" before "z 10"."""
    if not isinstance(value, str):
        return (value,)
    parts = re.split(r"(\d+)", value.casefold())
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in parts)


def _searcher(text: str, pattern: bool) -> Callable[[str], object]:
    if not pattern:
        wanted = text.casefold()
        return lambda caption: wanted in caption.casefold()
    try:
        return re.compile(text, re.IGNORECASE).search
    except re.error as error:
        where = "" if error.pos is None else f" at character {error.pos + 1}"
        raise FilterError(f"No regular expression: {error.msg}{where}.") from error
