"""What a run has done so far as a folder of Parquet files, which is its result as well."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from napari_patchioner.annotations.formats.parquet import parquet_modules
from napari_patchioner.errors import FormatError
from napari_patchioner.locking import WriteLock

from ._parts import SUFFIX, Part, entry_of, read_part, rows_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ._job import Job, Outcome
    from ._parts import Entry

# A part is written once it holds so many images or regions, or when its first one is so old.
_IMAGES, _REGIONS, _SECONDS = 500, 20_000, 30.0
# Columns of every part, so that parts look alike to readers that go by the first.
_EXTRAS = ("origin", "problem")


class Dataset:
    """Outcomes in the parts of a Parquet dataset, each image in exactly one; as a `Journal`.

    A part appears whole or not at all. What was added since the last one is written when the
    dataset is closed; a process that is killed loses no more than half a minute of it.

    Parameters
    ----------
    path : Path
        The folder; it is made if it does not exist.
    settings : mapping of str to str
        What the captions depend on besides the image. Parts with other settings are refused.
    resume : bool
        Whether to go on with parts that are there.

    Raises
    ------
    FormatError
        Another process writes into the folder; it holds other files, or parts and they are not to
        be resumed, or are of other settings; it cannot be written; or pyarrow is missing.
    """

    def __init__(self, path: Path, settings: Mapping[str, str], *, resume: bool = False) -> None:
        self.path = path
        self._settings = dict(settings)
        self._parts: dict[Path, Part] = {}
        self._found: dict[str, tuple[Path, Entry]] = {}
        self._pending: dict[str, tuple[str, Outcome]] = {}
        self._begun = 0.0
        self._next = path
        parquet_modules()
        self._lock = WriteLock(path)
        try:
            path.mkdir(exist_ok=True)
            self._begin(resume)
        except OSError as error:
            self._lock.release()
            raise FormatError(f"{path}: cannot be written ({error.strerror or error})") from error
        except BaseException:
            self._lock.release()
            raise

    def _begin(self, resume: bool) -> None:
        """Find the parts of an earlier run."""
        files = self._files()
        self._check(files, resume)
        for file in files:
            self._note(self._own(read_part(file)))

    def _files(self) -> list[Path]:
        """Return all files in the folder but hidden ones."""
        try:
            return sorted(one for one in self.path.iterdir() if not one.name.startswith("."))
        except OSError as error:
            why = error.strerror or error
            raise FormatError(f"{self.path}: cannot be read ({why})") from error

    def _check(self, files: list[Path], resume: bool) -> None:
        """Refuse a folder of something else, and one of an earlier run that is not to go on."""
        other = next((file for file in files if file.suffix != SUFFIX), None)
        if other is not None:
            raise FormatError(
                f"{self.path}: holds other files, such as {other.name}; name a folder of its own"
            )
        if files and not resume:
            raise FormatError(
                f"{self.path}: holds what an earlier run has done; add --resume to go on with "
                "it, or delete the folder to begin anew"
            )

    def _own(self, part: Part) -> Part:
        """Refuse a part that was made otherwise."""
        for name in {**part.settings, **self._settings}:
            before, value = part.settings.get(name, ""), self._settings.get(name, "")
            if before != value:
                raise FormatError(
                    f"{self.path}: was begun with other {name} ({before or 'none'}, now "
                    f"{value or 'none'}); use the same, or delete the folder to begin anew"
                )
        return part

    def _note(self, part: Part) -> None:
        """Remember which images a part holds."""
        self._parts[part.path] = part
        for entry in part.entries:
            if entry.key in self._found:
                first = self._found[entry.key][0]
                raise FormatError(
                    f"{part.path}: {entry.image} is in {first.name} as well; delete one of both, "
                    "and what only that one holds is captioned again"
                )
            self._found[entry.key] = (part.path, entry)

    def __len__(self) -> int:
        return len(self._found.keys() | self._pending.keys())

    def knows(self, job: Job, stamp: str) -> bool:
        """Whether the image was captioned, not in vain, and has not changed since."""
        key = str(job.path)
        if key in self._pending:
            known, outcome = self._pending[key]
            return known == stamp and outcome.status != "failed"
        entry = self._found[key][1] if key in self._found else None
        return entry is not None and entry.stamp == stamp and entry.status != "failed"

    def add(self, job: Job, outcome: Outcome, stamp: str) -> Outcome:
        """Keep an outcome; it is on the disk once its part is.

        Parameters
        ----------
        job : Job
            What was done.
        outcome : Outcome
            What came of it.
        stamp : str
            Tells the image file from later versions of it.

        Returns
        -------
        Outcome
            The same.

        Raises
        ------
        FormatError
            A part cannot be written.
        """
        now = time.monotonic()
        if not self._pending:
            self._begun, self._next = now, self._free()
        self._pending[str(job.path)] = (stamp, outcome)
        regions = sum(len(one.annotations) for _, one in self._pending.values())
        if len(self._pending) >= _IMAGES or regions >= _REGIONS or now - self._begun >= _SECONDS:
            self.flush()
        return outcome

    def flush(self) -> None:
        """Write what was added since the last part as one more part.

        Older parts lose the images in it first: whatever happens meanwhile, no image is in two.
        Where it is interrupted it may be called again.

        Raises
        ------
        FormatError
            It cannot be written.
        """
        if not self._pending:
            return
        self._forget(self._pending.keys() & self._found.keys())
        kept = sorted(self._pending.items())
        rows = [one for _, (_, outcome) in kept for one in outcome.annotations]
        part = Part(
            self._next,
            self._settings,
            tuple(entry_of(key, stamp, outcome) for key, (stamp, outcome) in kept),
            tuple(dict.fromkeys([*_EXTRAS, *(name for row in rows for name in row.extra)])),
        )
        while not part.write_new(rows):
            # Either it was written before an interruption, or another program took the name.
            there = read_part(part.path)
            if {entry.key for entry in there.entries} <= self._pending.keys():
                part.write(rows)
                break
            self._next = self._free()
            part = replace(part, path=self._next)
        self._note(part)
        self._pending.clear()

    def _forget(self, keys: set[str]) -> None:
        """Take images out of the parts that hold them."""
        for path in {self._found[key][0] for key in keys}:
            if path.exists():
                self._parts[path] = read_part(path).without(keys)
            if not path.exists():
                self._parts.pop(path, None)
        for key in keys:
            del self._found[key]

    def _free(self) -> Path:
        """Return a path for one more part."""
        paths = (self.path / f"part-{number:05}{SUFFIX}" for number in count(len(self._parts)))
        return next(path for path in paths if not path.exists())

    def finish(self) -> int:
        """Write the rest, give all parts the same columns, and return how many regions there are.

        Raises
        ------
        FormatError
            A part cannot be read or written, or the parts on the disk are not those of this run.
        """
        self.flush()
        extras = tuple(dict.fromkeys(name for part in self._parts.values() for name in part.extras))
        for path, part in self._parts.items():
            if part.extras != extras:
                alike = Part(path, part.settings, part.entries, extras)
                alike.write(part.rows())
                self._parts[path] = alike
        count = sum(entry.regions for _, entry in self._found.values())
        there = sum(map(rows_of, self._files()))
        if there != count:
            raise FormatError(
                f"{self.path}: holds {there} regions where this run has made {count}; another "
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
