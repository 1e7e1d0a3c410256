"""How far the work on an image is, from its project file, without making records of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_patchioner.annotations._door import reading_door
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import charge_file, check_plain_file

from ._project_file import NewerVersion, ProjectHead, _bytes, _checked, backup_path

if TYPE_CHECKING:
    import os

_LEAD_END = b', "records": ['


@dataclass(frozen=True, slots=True)
class ProjectCounts:
    """What a project holds, in numbers.

    Attributes
    ----------
    regions : int
        Shapes, points and labels; several captioned together count as well.
    captions : int
        Regions and whole planes that have one.
    to_review : int
        Those nobody has vouched for: neither a person's text nor accepted or locked.
    written : str
        When it was saved, ISO 8601 in UTC.
    content : str
        `content_hash` of the image.
    image_path : str
        Where the image lay; empty where it is not known.
    warning : str
        What had to be done to read it, in one sentence; mostly empty.
    """

    regions: int
    captions: int
    to_review: int
    written: str
    content: str
    image_path: str
    warning: str = ""


def read_counts(path: str | os.PathLike[str]) -> ProjectCounts:
    """Count what is in a project; where the file is damaged, in the one before it from ``.bak``.

    Raises
    ------
    FormatError
        If the file is missing, of a newer version, or damaged with no good ``.bak`` beside it.
    """
    path = Path(path)
    try:
        return _count(path)
    except NewerVersion:
        raise
    except FormatError as error:
        try:
            return _count(backup_path(path), f"{error}; the version before it is used instead")
        except FormatError:
            raise error from None


def read_image_path(path: str | os.PathLike[str]) -> str:
    """Return where the image of a project lay, from the first lines of the file.

    Raises
    ------
    FormatError
        If the file is no project.
    """
    path = Path(path)
    with reading_door(path):
        charge_file(check_plain_file(path))
        with path.open("rb") as file:
            lines = [file.readline(), file.readline()]
        return _image_path(path.name, lines[1])


def _count(path: Path, warning: str = "") -> ProjectCounts:
    with reading_door(path):
        return _counted(path, warning)


def _counted(path: Path, warning: str) -> ProjectCounts:
    data = _bytes(path)
    if data is None:
        raise FormatError(f"{path}: there is no such project")
    head = _checked(path.name, data)
    # Line by line: one call for all of a large file would hold up every other thread.
    _, lead, *lines = data.replace(b"\r\n", b"\n").split(b"\n")
    regions = captions = to_review = 0
    for line in lines:
        if line.startswith(b'{"'):
            record = _object(path.name, line.rstrip(b","))
            caption = bool(record.get("caption"))
            regions += record.get("kind") != "image"
            captions += caption
            to_review += not _is_vouched_for(record, caption)
    return _counts(head, (regions, captions, to_review), _image_path(path.name, lead), warning)


def _counts(
    head: ProjectHead, numbers: tuple[int, int, int], image_path: str, warning: str
) -> ProjectCounts:
    return ProjectCounts(*numbers, head.written, head.content, image_path, warning)


def _is_vouched_for(record: dict[str, Any], caption: bool) -> bool:
    """Whether no model may touch its text: a person's, an accepted or a locked one."""
    persons = caption and record.get("source", "") != "model"
    return bool(record.get("locked") or record.get("reviewed") or persons)


def _image_path(name: str, lead: bytes) -> str:
    """Return the path in the line between the head and the records."""
    found = _object(name, b"{" + lead.rstrip().removesuffix(_LEAD_END) + b"}").get("image")
    path = found.get("path", "") if isinstance(found, dict) else ""
    return path if isinstance(path, str) else ""


def _object(name: str, line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{name}: is no project of napari-patchioner, or is damaged") from error
    if not isinstance(value, dict):
        raise FormatError(f"{name}: is no project of napari-patchioner, or is damaged")
    return value
