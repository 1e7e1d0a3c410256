"""What a run has done so far as a folder of Parquet files, which is its result as well."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import count, islice
from pathlib import Path

from napari_patchioner.annotations import FORMATS, Annotation
from napari_patchioner.annotations.files import write_bytes
from napari_patchioner.annotations.formats.parquet import parquet_modules, table_of
from napari_patchioner.annotations.table import check_unique
from napari_patchioner.errors import FormatError, os_errors
from napari_patchioner.locking import WriteLock

from ._job import Job, Outcome, Status
from ._journal import check_settings

_FORMAT = "napari-patchioner part 1"
_NOTE = b"napari-patchioner part"
_SUFFIX = ".parquet"
# A part is written once it holds so many images or regions, or when its first one is so old.
_IMAGES, _REGIONS, _SECONDS = 500, 20_000, 30.0
# Columns of every part, so that parts are alike to readers that go by the first.
_EXTRAS = ("origin", "problem")


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of a part: its path, the stamp of its file, its outcome, its number of rows."""

    key: str
    stamp: str
    image: str
    status: Status
    why: str
    seconds: float
    height: int
    width: int
    regions: int


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a dataset: its rows are those of its entries, one after the other."""

    path: Path
    settings: Mapping[str, str]
    entries: tuple[Entry, ...]
    extras: tuple[str, ...]

    def write(self, rows: Sequence[Annotation], *, replacing: bool = True) -> bool:
        """Write the file, whole or not at all; False where there is one that is to stay."""
        check_unique(rows)
        note = {
            "format": _FORMAT,
            "settings": dict(self.settings),
            "extras": list(self.extras),
            "images": [asdict(entry) for entry in self.entries],
        }
        data = io.BytesIO()
        try:
            table = table_of(rows, self.extras)
            metadata = {**table.schema.metadata, _NOTE: json.dumps(note)}
            table = table.replace_schema_metadata(metadata)
            parquet_modules()[1].write_table(table, data, compression="zstd")
        except UnicodeEncodeError as error:
            raise FormatError(f"a text is no Unicode, so no table can hold it ({error})") from error
        return write_bytes(self.path, data.getvalue(), replacing)

    def rows(self) -> list[Annotation]:
        """Read all regions."""
        return FORMATS["parquet"].read(self.path)

    def without(self, keys: set[str]) -> Part:
        """Write the file anew without these images; delete it where no other is left."""
        kept, rows, left = [], [], iter(self.rows())
        for entry in self.entries:
            own = list(islice(left, entry.regions))
            if entry.key not in keys:
                kept.append(entry)
                rows += own
        part = replace(self, entries=tuple(kept))
        if kept:
            part.write(rows)
        else:
            self.path.unlink(missing_ok=True)
        return part


def read_part(path: Path) -> tuple[Part, int]:
    """Read which images a part holds, and how many rows, from its footer alone."""
    arrow, parquet = parquet_modules()
    try:
        footer = parquet.read_metadata(path)
        note = json.loads(footer.metadata[_NOTE])
        if note["format"] != _FORMAT:
            raise ValueError(note["format"])
        entries = tuple(Entry(**image) for image in note["images"])
        extras = tuple(note["extras"])
        return Part(path, note["settings"], entries, extras), int(footer.num_rows)
    except (OSError, ValueError, KeyError, TypeError, arrow.ArrowException) as error:
        raise FormatError(
            f"{path}: is damaged, or no part of a run; move it elsewhere and its images are "
            "captioned again"
        ) from error


class Dataset:
    """Outcomes in the parts of a Parquet dataset, each image in exactly one; as a `Journal`.

    A part appears whole or not at all. What was added since the last one is written when the
    dataset is closed; a process that is killed loses no more than half a minute of it. The folder
    is made if it does not exist. Parts that are there are gone on with if ``resume``, and refused
    if their ``settings``, what captions depend on besides the image, are others.

    A FormatError where another process writes into the folder, it holds other files, or parts that
    are not to be resumed or are of other settings, it cannot be written, or pyarrow is missing.
    """

    def __init__(self, path: Path, settings: Mapping[str, str], *, resume: bool = False) -> None:
        self.path = path
        self._settings = dict(settings)
        self._parts: dict[Path, Part] = {}
        self._entries: dict[str, tuple[Path, Entry]] = {}
        self._pending: dict[str, tuple[str, Outcome]] = {}
        self._begun = 0.0
        self._next = path
        parquet_modules()
        self._lock = WriteLock(path)
        with ExitStack() as failing, os_errors(path, "written"):
            failing.callback(self._lock.release)
            path.mkdir(exist_ok=True)
            files = self._files()
            if other := [file.name for file in files if file.suffix != _SUFFIX]:
                raise FormatError(
                    f"{path}: holds other files, such as {other[0]}; name a folder of its own"
                )
            if files and not resume:
                raise FormatError(
                    f"{path}: holds what an earlier run has done; add --resume to go on with it, "
                    "or delete the folder to begin anew"
                )
            for file in files:
                part, _ = read_part(file)
                check_settings(path, part.settings, self._settings, "folder")
                self._note(part)
            failing.pop_all()

    def _files(self) -> list[Path]:
        """Return all files in the folder but hidden ones."""
        with os_errors(self.path):
            return sorted(path for path in self.path.iterdir() if not path.name.startswith("."))

    def _note(self, part: Part) -> None:
        """Remember which images a part holds."""
        self._parts[part.path] = part
        for entry in part.entries:
            if entry.key in self._entries:
                first = self._entries[entry.key][0]
                raise FormatError(
                    f"{part.path}: {entry.image} is in {first.name} as well; delete one of both, "
                    "and what only that one holds is captioned again"
                )
            self._entries[entry.key] = (part.path, entry)

    def __len__(self) -> int:
        return len(self._entries.keys() | self._pending.keys())

    def knows(self, job: Job, stamp: str) -> bool:
        """Whether the image was captioned, not in vain, and has not changed since."""
        key = str(job.path)
        if key in self._pending:
            known, outcome = self._pending[key]
            return known == stamp and outcome.status != "failed"
        entry = self._entries[key][1] if key in self._entries else None
        return entry is not None and entry.stamp == stamp and entry.status != "failed"

    def add(self, job: Job, outcome: Outcome, stamp: str) -> None:
        """Keep an outcome, of a file with this stamp; it is on the disk once its part is."""
        now = time.monotonic()
        if not self._pending:
            self._begun, self._next = now, self._free()
        self._pending[str(job.path)] = (stamp, outcome)
        regions = sum(len(pending.annotations) for _, pending in self._pending.values())
        if len(self._pending) >= _IMAGES or regions >= _REGIONS or now - self._begun >= _SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was added since the last part as one more part.

        Older parts lose the images in it first: whatever happens meanwhile, no image is in two.
        Where it is interrupted it may be called again.
        """
        if not self._pending:
            return
        again = self._pending.keys() & self._entries.keys()
        for path in {self._entries[key][0] for key in again}:
            if path.exists():
                self._parts[path] = read_part(path)[0].without(again)
            if not path.exists():
                self._parts.pop(path, None)
        for key in again:
            del self._entries[key]
        entries: list[Entry] = []
        rows: list[Annotation] = []
        for key, (stamp, it) in sorted(self._pending.items()):
            about = (key, stamp, it.image, it.status, it.why, round(it.seconds, 4))
            entries.append(Entry(*about, it.height, it.width, len(it.annotations)))
            rows += it.annotations
        extras = dict.fromkeys([*_EXTRAS, *(name for row in rows for name in row.extra)])
        part = Part(self._next, self._settings, tuple(entries), tuple(extras))
        while not part.write(rows, replacing=False):
            # Either it was written before an interruption, or another program took the name.
            written, _ = read_part(part.path)
            if {entry.key for entry in written.entries} <= self._pending.keys():
                part.write(rows)
                break
            self._next = self._free()
            part = replace(part, path=self._next)
        self._note(part)
        self._pending.clear()

    def _free(self) -> Path:
        """Return a path for one more part."""
        paths = (self.path / f"part-{number:05}{_SUFFIX}" for number in count(len(self._parts)))
        return next(path for path in paths if not path.exists())

    def finish(self) -> int:
        """Write the rest, give all parts the same columns, and return how many regions there are.

        A FormatError where a part cannot be read or written, or the parts are not those of this
        run.
        """
        self.flush()
        extras = tuple(dict.fromkeys(name for part in self._parts.values() for name in part.extras))
        for path, part in self._parts.items():
            if part.extras != extras:
                alike = replace(part, extras=extras)
                alike.write(part.rows())
                self._parts[path] = alike
        count = sum(entry.regions for _, entry in self._entries.values())
        rows = sum(read_part(file)[1] for file in self._files())
        if rows != count:
            raise FormatError(
                f"{self.path}: holds {rows} regions where this run has made {count}; another "
                "program has changed it, so repeat the command with --resume, which adds what is "
                "missing"
            )
        return count

    def close(self) -> None:
        """Write the rest; the dataset may be resumed."""
        try:
            self.flush()
        finally:
            self._lock.release()

    def delete(self) -> None:
        """Delete the folder where nothing was done."""
        if not len(self) and not any(self.path.iterdir()):
            self.path.rmdir()
        self._lock.release()
