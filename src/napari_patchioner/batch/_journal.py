"""What a run has done so far, beside its result: one line per image, safe against any crash."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

from napari_patchioner.annotations import Annotation, region_from_text, region_to_text
from napari_patchioner.annotations.wkt import members_cell
from napari_patchioner.errors import FormatError, os_errors
from napari_patchioner.locking import WriteLock

from ._job import Job, Outcome

_FORMAT = "napari-patchioner batch 1"
# What a power failure may cost; what a killed process has handed over is never lost.
_SYNC_S = 2.0


def check_settings(
    path: Path, before: Mapping[str, str], settings: Mapping[str, str], kind: str
) -> None:
    """Refuse a file or folder of outcomes that was begun with other settings."""
    for name in {**before, **settings}:
        old, new = before.get(name, ""), settings.get(name, "")
        if old != new:
            raise FormatError(
                f"{path}: was begun with other {name} ({old or 'none'}, now {new or 'none'}); use "
                f"the same, or delete the {kind} to begin anew"
            )


class Journal:
    """Outcomes on disk by the key of their image; the last one of an image counts.

    Lines that are cut off or damaged are passed over, wherever they are; their images are then
    captioned again. The file is appended to; one that is there is gone on with if ``resume``, and
    refused if its ``settings``, what captions depend on besides the image, are others. ``wanted``
    is what a person calls that for which the journal is kept.

    A FormatError where another process keeps the journal, there is one and it is not to be resumed,
    it has other settings, or the file cannot be written.
    """

    def __init__(
        self, path: Path, settings: Mapping[str, str], *, resume: bool = False, wanted: str = ""
    ) -> None:
        self.path = path
        self._lines: dict[str, tuple[int, str, str, int]] = {}
        self._synced = time.monotonic()
        self._file = -1
        self._lock = WriteLock(path, wanted)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
        flags |= 0 if resume else os.O_EXCL
        with ExitStack() as failing, os_errors(path, "written"):
            failing.callback(self.close)
            try:
                self._file = os.open(path, flags, 0o666)
            except FileExistsError:
                raise FormatError(
                    f"{path}: holds what an earlier run has done; add --resume to go on with it, "
                    "or delete the file to begin anew"
                ) from None
            self._end = os.fstat(self._file).st_size
            self._begin(dict(settings))
            failing.pop_all()

    def _begin(self, settings: dict[str, str]) -> None:
        """Find the outcomes of an earlier run, or write the first line."""
        if self._end:
            with self.path.open("rb") as file:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # cut off; the next line has to begin a line
                    self._write(b"\n")
                file.seek(0)
                entries = sealed_entries(file)
                _, head = next(entries, (0, None))
                # Of an earlier run may be there no more than a piece of the first line.
                if head is not None or not begins_sealed(self.path):
                    if not isinstance(head, dict) or head.get("format") != _FORMAT:
                        raise FormatError(
                            f"{self.path}: is no journal of this version, or its first line is "
                            "damaged; delete the file to begin anew"
                        )
                    check_settings(self.path, head["settings"], settings, "file")
                    for offset, entry in entries:
                        self._note(offset, entry)
                    return
        self._append({"format": _FORMAT, "settings": settings})

    def add(self, job: Job, outcome: Outcome, stamp: str) -> None:
        """Keep an outcome, of a file with this stamp, so that it outlives this process.

        A FormatError if a region makes no sense, or the file cannot be written.
        """
        entry = {"key": str(job.path), "stamp": stamp, **outcome_to_json(outcome)}
        self._note(self._append(entry), entry)

    def _note(self, offset: int, entry: dict[str, Any]) -> None:
        """Remember where a line is and what can be asked without reading it."""
        known = entry["stamp"], entry["status"], len(entry["regions"])
        self._lines[entry["key"]] = (offset, *known)

    def __len__(self) -> int:
        return len(self._lines)

    def knows(self, job: Job, stamp: str) -> bool:
        """Whether the image was captioned, not in vain, and has not changed since."""
        line = self._lines.get(str(job.path))
        return line is not None and line[1] == stamp and line[2] != "failed"

    def regions(self, job: Job) -> int:
        """Return how many regions came of a job."""
        return self._lines.get(str(job.path), (0, "", "", 0))[3]

    def outcome(self, job: Job) -> Outcome | None:
        """Return what came of a job, read from disk; None if nothing did yet.

        A FormatError if it is no longer there: something else has changed or deleted the file.
        """
        key = str(job.path)
        line = self._lines.get(key)
        if line is None:
            return None
        try:
            with self.path.open("rb") as file:
                file.seek(line[0])
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
        with os_errors(self.path, "written"):
            while data:
                count = os.write(self._file, data)
                self._end += count
                data = data[count:]

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


_LISTS = ("faults", "left_out")
_TEXTS = ("uid", "image", "caption", "source", "model")


def outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as a JSON object."""
    return {
        "image": outcome.image,
        "status": outcome.status,
        "why": outcome.why,
        "seconds": round(outcome.seconds, 4),
        "size": [outcome.height, outcome.width],
        "regions": [_annotation_to_json(annotation) for annotation in outcome.annotations],
        **({} if outcome.photograph is None else {"photograph": round(outcome.photograph, 4)}),
        **{name: list(getattr(outcome, name)) for name in _LISTS if getattr(outcome, name)},
    }


def outcome_from_json(entry: dict[str, Any]) -> Outcome:
    """Return the outcome that `outcome_to_json` wrote."""
    annotations = tuple(map(_annotation_from_json, entry["regions"]))
    about = (entry["image"], entry["status"], annotations, entry["why"], entry["seconds"])
    height, width = entry["size"]
    lists: dict[str, Any] = {name: tuple(entry.get(name, ())) for name in _LISTS}
    return Outcome(*about, height, width, entry.get("photograph"), **lists)


def _annotation_to_json(annotation: Annotation) -> dict[str, Any]:
    """Return a record as a JSON object; fields that say nothing are left out."""
    region, written = annotation.region, annotation.written
    known: dict[str, Any] = {
        **{name: getattr(annotation, name) for name in _TEXTS},
        "members": members_cell(region),
        "score": annotation.score,
        "extra": dict(annotation.extra),
    }
    known = {name: value for name, value in known.items() if value not in ("", None, {})}
    if written is not None and written[0] is region:
        return {**known, "wkt": written[1], "written": True, "kind": annotation.kind}
    return {**known, "wkt": region_to_text(region), "kind": annotation.kind}


def _annotation_from_json(known: dict[str, Any]) -> Annotation:
    region = region_from_text(known["wkt"], known["kind"], known.get("members", ""))
    return Annotation(
        **{name: known.get(name, "") for name in _TEXTS},
        region=region,
        score=known.get("score"),
        extra=known.get("extra", {}),
        written=(region, known["wkt"]) if known.get("written") else None,
    )


_BEFORE, _BETWEEN, _AFTER = b'{"seal": "', b'", "entry": ', b"}"
_DIGITS = 16
_HEAD = len(_BEFORE) + _DIGITS + len(_BETWEEN)


def seal(entry: object) -> bytes:
    r"""Return an entry as one line, its end included; `unseal` undoes it.

    >>> seal({"a": 1})
    b'{"seal": "165b44bb3d3e0923", "entry": {"a": 1}}\n'
    """
    text = json.dumps(entry).encode("ascii")
    return _BEFORE + _digest(text) + _BETWEEN + text + _AFTER + b"\n"


def unseal(line: bytes) -> Any:
    """Return the entry of a line; None where the line is not whole or not ours.

    >>> unseal(seal([1, 2])), unseal(seal([1, 2])[:-3])
    ([1, 2], None)
    """
    line = line.rstrip(b"\r\n")
    text = line[_HEAD : -len(_AFTER)]
    if line != _BEFORE + _digest(text) + _BETWEEN + text + _AFTER:
        return None
    return json.loads(text)


def sealed_entries(file: BinaryIO) -> Iterator[tuple[int, Any]]:
    """Yield the offset and the entry of every whole line from the file's position on."""
    offset = file.tell()
    for line in file:
        entry = unseal(line)
        if entry is not None:
            yield offset, entry
        offset += len(line)


def begins_sealed(path: Path) -> bool:
    """Whether a file begins as a sealed line does, be it cut off."""
    with path.open("rb") as file:
        start = file.read(len(_BEFORE))
    return _BEFORE.startswith(start.rstrip(b"\n"))


def _digest(text: bytes) -> bytes:
    return blake2b(text, digest_size=_DIGITS // 2).hexdigest().encode("ascii")
