"""Writing a project as lines of JSON: those of records that have not changed are kept."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from ._project_json import image_to_json, plain, record_to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._project import Project, ProjectRecord

FORMAT = "napari-patchioner project"
VERSION = (1, 1)
_encode = json.JSONEncoder(allow_nan=False).encode


class ProjectLines:
    """Turns the projects of one image into bytes, one after the other.

    A record that is the very same object as last time is not written out again, so that a save
    costs as much as has changed.
    """

    def __init__(self) -> None:
        self._lines: dict[str, tuple[ProjectRecord, str]] = {}

    def encode(self, project: Project) -> tuple[str, bytes]:
        """Return the checksum and the bytes of a project file."""
        written = project.written or datetime.now(UTC).isoformat(timespec="milliseconds")
        start = (
            f'{{"format": "{FORMAT}", "version": "{VERSION[0]}.{VERSION[1]}", '
            f'"written": "{written}", "content": "{project.image.content}", "checksum": "'
        ).encode()
        end = f'",\n{self.body(project)}'.encode("ascii")
        found = checksum(start, end)
        return found, start + found.encode() + end

    def body(self, project: Project) -> str:
        """Return all but the head: the same for the same work, whenever it is saved."""
        body = {
            **project.extra,
            "image": image_to_json(project.image),
            "options": project.options,
            "provenance": project.provenance,
        }
        lead = _encode(plain(body))[1:-1]
        return f'{lead}, "records": [\n' + ",\n".join(self._records(project)) + "\n]}\n"

    def _records(self, project: Project) -> Iterator[str]:
        """Yield the line of each record, and forget those that are gone."""
        before, self._lines = self._lines, {}
        for record in project.records:
            known = before.get(record.uid)
            line = known[1] if known is not None and known[0] is record else _line(record)
            self._lines[record.uid] = record, line
            yield line


def checksum(start: bytes, end: bytes) -> str:
    """Return the checksum of the bytes before and after it."""
    digest = blake2b(start, digest_size=16)
    digest.update(end)
    return digest.hexdigest()


def _line(record: ProjectRecord) -> str:
    """Return one record as JSON; most need no help to be plain."""
    value: dict[str, Any] = record_to_json(record)
    try:
        return _encode(value)
    except (TypeError, ValueError):
        return _encode(plain(value))
