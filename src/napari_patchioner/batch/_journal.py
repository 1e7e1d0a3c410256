"""What a run has done so far, beside its result: one line per image, safe against any crash."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from napari_patchioner.errors import FormatError
from napari_patchioner.locking import WriteLock

from ._entries import outcome_from_json, outcome_to_json
from ._sealed import begins_sealed, seal, sealed_entries, unseal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ._job import Job, Outcome

_FORMAT = "napari-patchioner batch 1"
# What a power failure may cost; what a killed process has handed over is never lost.
_SYNC_S = 2.0


class Journal:
    """Outcomes on disk by the key of their image; the last one of an image counts.

    Lines that are cut off or damaged are passed over, wherever they are; their images are then
    captioned again.

    Parameters
    ----------
    path : Path
        The file; it is appended to.
    settings : mapping of str to str
        What the captions depend on besides the image. A journal of other settings is refused.
    resume : bool
        Whether to go on with a file that is there.
    wanted : str, optional
        What a person calls that for which the journal is kept, for messages.

    Raises
    ------
    FormatError
        Another process keeps the journal, there is one and it is not to be resumed, it has other
        settings, or the file cannot be written.
    """

    def __init__(
        self, path: Path, settings: Mapping[str, str], *, resume: bool = False, wanted: str = ""
    ) -> None:
        self.path = path
        self._found: dict[str, tuple[int, str, str, int]] = {}
        self._synced = time.monotonic()
        self._file = -1
        self._lock = WriteLock(path, wanted)
        try:
            self._file = os.open(path, _flags(resume), 0o666)
            self._end = os.fstat(self._file).st_size
            self._begin(dict(settings))
        except FileExistsError:
            self.close()
            raise FormatError(
                f"{path}: holds what an earlier run has done; add --resume to go on with it, or "
                "delete the file to begin anew"
            ) from None
        except OSError as error:
            self.close()
            raise self._trouble(error) from error
        except BaseException:
            self.close()
            raise

    def _begin(self, settings: dict[str, str]) -> None:
        """Read what is there, or write the first line."""
        if self._end:
            self._end_torn_line()
        if not self._end or not self._read(settings):
            self._append({"format": _FORMAT, "settings": settings})

    def _read(self, settings: dict[str, str]) -> bool:
        """Find the outcomes of an earlier run; False if it did not even begin."""
        with self.path.open("rb") as file:
            entries = sealed_entries(file)
            _, head = next(entries, (0, None))
            if head is None and begins_sealed(self.path):
                return False
            if not isinstance(head, dict) or head.get("format") != _FORMAT:
                raise FormatError(
                    f"{self.path}: is no journal of this version, or its first line is damaged; "
                    "delete the file to begin anew"
                )
            for name in {**head["settings"], **settings}:
                before, value = head["settings"].get(name, ""), settings.get(name, "")
                if before != value:
                    raise FormatError(
                        f"{self.path}: was begun with other {name} ({before or 'none'}, now "
                        f"{value or 'none'}); use the same, or delete the file to begin anew"
                    )
            for offset, entry in entries:
                self._note(offset, entry)
        return True

    def _end_torn_line(self) -> None:
        """See to it that the next line begins a line."""
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            torn = file.read(1) != b"\n"
        if torn:
            self._write(b"\n")

    def add(self, job: Job, outcome: Outcome, stamp: str) -> Outcome:
        """Keep an outcome, so that it outlives this process.

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
            A region makes no sense, or the file cannot be written.
        """
        entry = {"key": str(job.path), "stamp": stamp, **outcome_to_json(outcome)}
        self._note(self._append(entry), entry)
        return outcome

    def _note(self, offset: int, entry: dict[str, Any]) -> None:
        """Remember where a line is and what can be asked without reading it."""
        known = entry["stamp"], entry["status"], len(entry["regions"])
        self._found[entry["key"]] = (offset, *known)

    def __len__(self) -> int:
        return len(self._found)

    def knows(self, job: Job, stamp: str) -> bool:
        """Whether the image was captioned, not in vain, and has not changed since."""
        found = self._found.get(str(job.path))
        return found is not None and found[1] == stamp and found[2] != "failed"

    def regions(self, job: Job) -> int:
        """Return how many regions came of a job."""
        return self._found.get(str(job.path), (0, "", "", 0))[3]

    def outcome(self, job: Job) -> Outcome | None:
        """Return what came of a job, read from disk; None if nothing did yet.

        Raises
        ------
        FormatError
            It is no longer there: something else has changed or deleted the file.
        """
        key = str(job.path)
        found = self._found.get(key)
        if found is None:
            return None
        try:
            with self.path.open("rb") as file:
                file.seek(found[0])
                entry = unseal(file.readline())
        except OSError as error:
            raise FormatError(
                f"{self.path}: cannot be read ({error.strerror or error}), so the result cannot "
                "be written; repeat the command with --resume"
            ) from error
        if entry is None or entry.get("key") != key:
            raise FormatError(
                f"{self.path}: was changed by another program, and lacks what came of "
                f"{job.image}; repeat the command with --resume to caption that again"
            )
        return outcome_from_json(entry)

    def _append(self, entry: dict[str, Any]) -> int:
        """Write a line in one go; return where it begins."""
        begin = self._end
        self._write(seal(entry))
        if time.monotonic() - self._synced > _SYNC_S:
            self.sync()
        return begin

    def _write(self, data: bytes) -> None:
        try:
            while data:
                count = os.write(self._file, data)
                self._end += count
                data = data[count:]
        except OSError as error:
            raise self._trouble(error) from error

    def sync(self) -> None:
        """Make sure that all of it is on the disk."""
        os.fsync(self._file)
        self._synced = time.monotonic()

    def close(self) -> None:
        """Keep the file; it may be resumed."""
        self._shut()
        self._lock.release()

    def delete(self) -> None:
        """Close and delete the file."""
        self._shut()
        self.path.unlink(missing_ok=True)
        self._lock.release()

    def _shut(self) -> None:
        """Close the file with all of it on the disk."""
        if self._file >= 0:
            file, self._file = self._file, -1
            with suppress(OSError):  # a pipe or a device, or a disk that has failed meanwhile
                os.fsync(file)
            os.close(file)

    def _trouble(self, error: OSError) -> FormatError:
        return FormatError(f"{self.path}: cannot be written ({error.strerror or error})")


def _flags(resume: bool) -> int:
    """Return how to open the file: only a resumed one may be there already."""
    fresh = 0 if resume else os.O_EXCL
    return os.O_WRONLY | os.O_APPEND | os.O_CREAT | fresh | getattr(os, "O_BINARY", 0)
