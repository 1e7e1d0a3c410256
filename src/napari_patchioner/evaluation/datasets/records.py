"""Reading the records of a published file; whatever is wrong is said with the record's name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import Any, Literal, NoReturn, TypeAlias

from napari_patchioner.errors import FormatError
from napari_patchioner.regions import Box, Region

from .image_folder import ImageFolder

Task: TypeAlias = Literal["image", "dense", "region-set", "trace"]
TASKS: tuple[Task, ...] = ("image", "dense", "region-set", "trace")


class Record:
    """One record of a file, read field by field."""

    def __init__(self, file: str, name: str, values: object) -> None:
        self.file, self.name = file, name
        if not isinstance(values, dict):
            self.fail("must be an object with named fields")
        self.values: Mapping[str, Any] = values

    def fail(self, problem: str) -> NoReturn:
        """Raise a `FormatError` about this record."""
        raise FormatError(f"{self.file}: {self.name}: {problem}")

    def value(self, *keys: str) -> Any:
        """Return what is under the first of the keys that is there."""
        for key in keys:
            if key in self.values:
                return self.values[key]
        self.fail(f"has no {' or '.join(map(repr, keys))}")

    def text(self, key: str) -> str:
        """Return a text."""
        value = self.value(key)
        if not isinstance(value, str):
            self.fail(f"{key!r} must be a text")
        return value

    def identity(self, *keys: str) -> str:
        """Return a whole number or text, as text."""
        value = self.value(*keys)
        if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
            self.fail(f"{keys[0]!r} must be a number or a name")
        return str(value)

    def items(self, key: str) -> list[Any]:
        """Return a list."""
        value = self.value(key)
        if not isinstance(value, list):
            self.fail(f"{key!r} must be a list")
        return value

    def records(self, key: str, name: str) -> Iterator[Record]:
        """Yield the objects of a list, named by their number from 1."""
        for number, values in enumerate(self.items(key), start=1):
            yield Record(self.file, f"{name} {number}", values)

    def number(self, key: str) -> float:
        """Return a finite number."""
        return self.finite(self.value(key), key)

    def finite(self, value: Any, what: str) -> float:
        """Return a value of the record that must be a finite number."""
        try:
            if not isinstance(value, bool | str) and math.isfinite(value):
                return float(value)
        except (TypeError, OverflowError):
            pass
        self.fail(f"{what!r} must be a finite number, not {shorten(repr(value), 40)}")

    def box(self, corners: Any) -> Box:
        """Return a box from ``[x1, y1, x2, y2]``, pixel corners at integers.

        A side without length is one pixel long, as the paper's evaluation has it.
        """
        if not isinstance(corners, list) or len(corners) != 4:
            self.fail(f"a box must be [x1, y1, x2, y2], not {shorten(repr(corners), 60)}")
        left, top, right, bottom = (self.finite(value, "box") for value in corners)
        right += left == right
        bottom += top == bottom
        if right < left or bottom < top:
            self.fail(f"the box {corners!r} ends before it begins; give [x1, y1, x2, y2]")
        return Box(top - 0.5, left - 0.5, bottom - 0.5, right - 0.5)

    def point(self, point: Any, *axes: str) -> list[float]:
        """Return the coordinates of a point of a trace."""
        if not isinstance(point, dict) or not set(axes) <= point.keys():
            self.fail(f"a point of a trace must have {' and '.join(axes)}, not {point!r}")
        return [self.finite(point[axis], axis) for axis in axes]


@dataclass(frozen=True, eq=False, slots=True)
class Sample:
    """One region to caption, with the references to compare the caption with."""

    id: str  # unique within its data set and the same in every run
    image: str  # id or file name
    region: Region  # ``(row, column)`` image pixels, pixel centres at integers
    references: tuple[str, ...]  # what people wrote, letter by letter; at least one
    group: str = ""  # a subset that is reported apart, such as ``"disjoint"``
    extra: Mapping[str, str] = field(default_factory=dict)  # whatever else the file says of it


@dataclass(frozen=True, slots=True)
class Form:
    """A published form of a data set: whether contents are of it, and how samples are drawn."""

    name: str
    task: Task
    fits: Callable[[Any], bool]
    draw: Callable[[Dataset], Iterable[Sample]]


@dataclass(eq=False, slots=True)
class Dataset:
    """Samples of one of the paper's four tasks, and where their images lie; see `open_dataset`.

    ``contents`` is what the file holds; None for a file that is read line by line.
    """

    form: Form
    path: Path
    contents: Any
    images: ImageFolder
    split: str | None = None

    @property
    def name(self) -> str:
        """Name of the published form and of the file."""
        return f"{self.form.name}:{self.path.name}"

    @property
    def task(self) -> str:
        """Which of the paper's four tasks its samples are of."""
        return self.form.task

    @property
    def missing(self) -> list[str]:
        """Images that were left out so far, as they are not there."""
        return list(self.images.missing)

    def samples(self) -> Iterator[Sample]:
        """Draw every sample in the order of the file.

        A FormatError names the file and the record; an ImageError an image that is not in the
        folder, unless such images are to be left out.
        """
        yield from self.form.draw(self)

    def find(self, image: str) -> Path:
        """Return the path of an image by its id or file name; an ImageError if it is not there."""
        return self.images.find(image)

    def record(self, name: str, values: object) -> Record:
        """Return something in the file as a record."""
        return Record(self.path.name, name, values)

    def records(self, key: str, name: str) -> Iterator[Record]:
        """Yield the objects of a list in the file, named by their number from 1."""
        return self.record("the file", self.contents).records(key, name)
