"""Parts of a Parquet dataset that tell in their footers which images they hold."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_patchioner.annotations import FORMATS
from napari_patchioner.annotations.files import write_bytes
from napari_patchioner.annotations.formats.parquet import parquet_modules, table_of
from napari_patchioner.annotations.table import check_unique
from napari_patchioner.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_patchioner.annotations import Annotation

    from ._job import Outcome, Status

_FORMAT = "napari-patchioner part 1"
_NOTE = b"napari-patchioner part"
SUFFIX = ".parquet"


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of a part.

    Attributes
    ----------
    key : str
        Tells the image from all others: its path.
    stamp : str
        Tells the image file from later versions of it.
    image, status, why, seconds, height, width
        See `Outcome`.
    regions : int
        How many rows are of this image.
    """

    key: str
    stamp: str
    image: str
    status: Status
    why: str
    seconds: float
    height: int
    width: int
    regions: int


def entry_of(key: str, stamp: str, outcome: Outcome) -> Entry:
    """Return what a footer says of an outcome."""
    return Entry(
        key,
        stamp,
        outcome.image,
        outcome.status,
        outcome.why,
        round(outcome.seconds, 4),
        outcome.height,
        outcome.width,
        len(outcome.annotations),
    )


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a dataset: its rows are those of its images, one after the other.

    Attributes
    ----------
    path : Path
        The file.
    settings : mapping of str to str
        What the captions depend on besides the images.
    entries : tuple of Entry
        The images, in the order of the rows.
    extras : tuple of str
        Names of the columns of extras.
    """

    path: Path
    settings: Mapping[str, str]
    entries: tuple[Entry, ...]
    extras: tuple[str, ...]

    def write(self, rows: Sequence[Annotation]) -> None:
        """Write the file, whole or not at all, in the place of an older one.

        Raises
        ------
        FormatError
            It cannot be written, a text is no Unicode, or two regions of an image share a uid.
        """
        write_bytes(self.path, self._bytes(rows))

    def write_new(self, rows: Sequence[Annotation]) -> bool:
        """Write the file, whole or not at all, unless there is one; return whether it was written.

        Raises
        ------
        FormatError
            As `write`.
        """
        return write_bytes(self.path, self._bytes(rows), False)

    def _bytes(self, rows: Sequence[Annotation]) -> bytes:
        check_unique(rows)
        note = {
            "format": _FORMAT,
            "settings": dict(self.settings),
            "extras": list(self.extras),
            "images": [_to_json(entry) for entry in self.entries],
        }
        data = io.BytesIO()
        try:
            table = table_of(rows, self.extras)
            table = table.replace_schema_metadata(
                {**table.schema.metadata, _NOTE: json.dumps(note)}
            )
            parquet_modules()[1].write_table(table, data, compression="zstd")
        except UnicodeEncodeError as error:
            raise FormatError(f"a text is no Unicode, so no table can hold it ({error})") from error
        return data.getvalue()

    def rows(self) -> list[Annotation]:
        """Read all regions."""
        return FORMATS["parquet"].read(self.path)

    def without(self, keys: set[str]) -> Part:
        """Write the file anew without these images; delete it where no other is left."""
        kept, rows, place = [], [], 0
        all_rows = self.rows()
        for entry in self.entries:
            if entry.key not in keys:
                kept.append(entry)
                rows += all_rows[place : place + entry.regions]
            place += entry.regions
        left = replace(self, entries=tuple(kept))
        if kept:
            left.write(rows)
        else:
            self.path.unlink(missing_ok=True)
        return left


def read_part(path: Path) -> Part:
    """Read which images a part holds, and nothing of its rows.

    Raises
    ------
    FormatError
        It is damaged, or no part of ours.
    """
    arrow, parquet = parquet_modules()
    try:
        schema = parquet.read_schema(path)
        note = json.loads(schema.metadata[_NOTE])
        if note["format"] != _FORMAT:
            raise ValueError(note["format"])
        entries = tuple(Entry(**one) for one in note["images"])
        extras = tuple(note["extras"])
    except (OSError, ValueError, KeyError, TypeError, arrow.ArrowException) as error:
        raise FormatError(
            f"{path}: is damaged, or no part of a run; move it elsewhere and its images are "
            "captioned again"
        ) from error
    return Part(path, note["settings"], entries, extras)


def rows_of(path: Path) -> int:
    """Return how many rows a part has, told by its footer.

    Raises
    ------
    FormatError
        It cannot be read.
    """
    arrow, parquet = parquet_modules()
    try:
        return int(parquet.read_metadata(path).num_rows)
    except (OSError, ValueError, arrow.ArrowException) as error:
        raise FormatError(f"{path}: is damaged, or no part of a run") from error


def _to_json(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in Entry.__slots__}
