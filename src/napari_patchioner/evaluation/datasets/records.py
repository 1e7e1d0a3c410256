"""Reading the records of a published file; whatever is wrong is said with the record's name."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Protocol, TypeAlias

from napari_patchioner.annotations.formats.json_arrays import parse_json
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import check_plain_file
from napari_patchioner.regions import Box

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from napari_patchioner.regions import Region

    from .image_folder import ImageFolder

_HALF = 0.5


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    if os.path.exists(path):
        check_plain_file(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise FormatError(f"{path}: there is no such file") from None
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror or error})") from error
    return parse_json(data, path.name)


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

    def text(self, *keys: str) -> str:
        """Return the text under the first of the keys that is there."""
        value = self._first(keys)
        if not isinstance(value, str):
            self.fail(f"{keys[0]!r} must be a text")
        return value

    def identity(self, *keys: str) -> str:
        """Return the whole number or text under the first of the keys that is there, as text."""
        value = self._first(keys)
        if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
            self.fail(f"{keys[0]!r} must be a number or a name")
        return str(value)

    def number(self, key: str) -> float:
        """Return a finite number."""
        return number(self._first((key,)), self, key)

    def records(self, key: str) -> list[Any]:
        """Return the list that must be there."""
        value = self._first((key,))
        if not isinstance(value, list):
            self.fail(f"{key!r} must be a list")
        return value

    def _first(self, keys: tuple[str, ...]) -> Any:
        for key in keys:
            if key in self.values:
                return self.values[key]
        self.fail(f"has no {' or '.join(map(repr, keys))}")


def number(value: Any, record: Record, what: str) -> float:
    """Return a finite number of a record."""
    try:
        if not isinstance(value, bool | str) and math.isfinite(value):
            return float(value)
    except (TypeError, OverflowError):
        pass
    record.fail(f"{what!r} must be a finite number, not {shorten(repr(value), 40)}")


def box_of(corners: Any, record: Record) -> Box:
    """Box from ``[x1, y1, x2, y2]``, pixel corners at integers.

    A side without length is one pixel long, as the paper's evaluation has it.
    """
    if not isinstance(corners, list) or len(corners) != 4:
        record.fail(f"a box must be [x1, y1, x2, y2], not {shorten(repr(corners), 60)}")
    left, top, right, bottom = (number(value, record, "box") for value in corners)
    right += left == right
    bottom += top == bottom
    if right < left or bottom < top:
        record.fail(f"the box {corners!r} ends before it begins; give [x1, y1, x2, y2]")
    return Box(top - _HALF, left - _HALF, bottom - _HALF, right - _HALF)


Task: TypeAlias = Literal["image", "dense", "region-set", "trace"]
TASKS: tuple[Task, ...] = ("image", "dense", "region-set", "trace")


@dataclass(frozen=True, eq=False, slots=True)
class Sample:
    """One region to caption, with the references to compare the caption with.

    Attributes
    ----------
    id : str
        Name of the sample, unique within its data set and the same in every run.
    image : str
        Id or file name of the image.
    region : Region
        ``(row, column)`` image pixels, pixel centres at integers.
    references : tuple of str
        What people wrote, letter by letter; at least one.
    group : str
        A subset that is reported apart, such as ``"disjoint"``; empty where there is none.
    extra : mapping of str to str
        Whatever else the file says of it.
    """

    id: str
    image: str
    region: Region
    references: tuple[str, ...]
    group: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


class Dataset(Protocol):
    """Samples of one of the paper's four tasks, and where their images lie.

    Attributes
    ----------
    name : str
        Name of the published form and of the file.
    task : {"image", "dense", "region-set", "trace"}
    missing : list of str
        Ids of the images that were looked for and not found, filled while samples are drawn.
    """

    name: str
    task: Task

    @property
    def missing(self) -> list[str]:
        """Ids of the images that were looked for and not found so far."""
        ...

    def samples(self) -> Iterator[Sample]:
        """Draw every sample in the order of the file.

        Yields
        ------
        Sample

        Raises
        ------
        FormatError
            One sentence that names the file and the record.
        ImageError
            An image is not in the folder, unless such images are to be left out.
        """
        ...

    def find(self, image: str) -> Path:
        """Path of an image by its id or file name.

        Raises
        ------
        ImageError
            It is not in the folder.
        """
        ...


class FileDataset(ABC):
    """A published JSON file and the folder of its images."""

    form = ""
    task: Task

    def __init__(
        self, path: Path, data: Any, images: ImageFolder, split: str | None = None
    ) -> None:
        self.path, self.data, self.images, self.split = path, data, images, split
        self.name = f"{self.form}:{path.name}"

    @property
    def missing(self) -> list[str]:
        """Ids of the images that were looked for and not found so far."""
        return self.images.missing

    def find(self, image: str) -> Path:
        """Path of an image by its id or file name."""
        return self.images.find(image)

    @classmethod
    @abstractmethod
    def fits(cls, data: Any) -> bool:
        """Whether a file's contents are of this form, judged by their first record."""

    @abstractmethod
    def samples(self) -> Iterator[Sample]:
        """Draw every sample in the order of the file."""


def is_coco(data: Any) -> bool:
    """Whether contents have COCO's layout, with at least one annotation."""
    if not isinstance(data, dict) or not isinstance(data.get("annotations"), list):
        return False
    annotations = data["annotations"]
    return bool(annotations) and isinstance(annotations[0], dict) and "image_id" in annotations[0]


def image_names(data: Any, file: str) -> dict[str, str]:
    """File name of every listed image, by its id."""
    names = {}
    for record in _listed(data, file, "images", "image"):
        if "file_name" in record.values:
            names[record.identity("id")] = record.text("file_name")
    return names


def category_names(data: Any, file: str) -> dict[str, str]:
    """Name of every category that the file lists, by its id."""
    categories = _listed(data, file, "categories", "category")
    return {category.identity("id"): category.text("name") for category in categories}


def _listed(data: Any, file: str, key: str, name: str) -> list[Record]:
    """Return the records of a list that may be missing."""
    if data.get(key) is None:
        return []
    listed = Record(file, "the file", data).records(key)
    return [Record(file, f"{name} {place}", item) for place, item in enumerate(listed, start=1)]
