"""Project files: whole or not there, checked byte by byte, with the previous one kept.

The first line of a file is its head: format, version, time, content hash of the image, and a
checksum of all other bytes of the file. The rest is one record per line; together they are JSON.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchioner.annotations._door import reading_door
from napari_patchioner.annotations._fields import Fields
from napari_patchioner.annotations._table import write_bytes
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import charge_json, check_plain_file, read_file

from ._project import Project
from ._project_json import check_references, image_from_json, record_from_json, unplain
from ._project_lines import VERSION, ProjectLines, checksum

if TYPE_CHECKING:
    from collections.abc import Iterator

HOME = "NAPARI_PATCHIONER_HOME"
# Nobody takes so long to write one project; whoever holds the lock longer hangs.
_PATIENCE_S = 20.0
_HEAD = re.compile(
    rb'\{"format": "napari-patchioner project", "version": "(\d{1,6})\.(\d{1,6})", '
    rb'"written": "([-0-9T:.+Z]{1,40})", "content": "([0-9a-f]{0,64})", '
    rb'"checksum": "([0-9a-f]{32})",\n'
)
_LONGEST_HEAD = 400


class NewerVersion(FormatError):
    """A file that only a newer version of this package can read; it is left alone."""


class ProjectTaken(FormatError):
    """A file that somebody else has written since it was last read or written here."""


@dataclass(frozen=True, slots=True)
class ProjectHead:
    """What the first line of a project file tells.

    Attributes
    ----------
    version : (int, int)
        Of the format: a reader knows all minor versions of its major one.
    written : str
        When, ISO 8601 in UTC.
    content : str
        `content_hash` of the image.
    checksum : str
        Of all other bytes of the file; two files with the same one are the same.
    """

    version: tuple[int, int]
    written: str
    content: str
    checksum: str


def read_head(path: str | os.PathLike[str]) -> ProjectHead | None:
    """Return the head of a project file; None where there is no such file.

    Only the first line is read: whether the rest is whole, `read_project` tells.

    Raises
    ------
    FormatError
        If the file is no project, or cannot be read.
    """
    path = Path(path)
    with reading_door(path):
        if not path.exists():
            return None
        check_plain_file(path)
        with path.open("rb") as file:
            return _head(path.name, file.read(_LONGEST_HEAD))[0]


def read_project(path: str | os.PathLike[str]) -> Project:
    """Read a project; where the file is damaged, the one before it from ``.bak``.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    Project
        With a `Project.warning` where the file itself could not be read.

    Raises
    ------
    FormatError
        If the file is missing, of a newer version, or damaged with no good ``.bak`` beside it.
    """
    path = Path(path)
    try:
        return _read(path)
    except NewerVersion:
        raise
    except FormatError as error:
        try:
            project = _read(backup_path(path))
        except FormatError:
            raise error from None
        told = f"{error}; the version saved at {project.written}, just before it, is used instead"
        return replace(project, warning=told)


def write_project(
    path: str | os.PathLike[str],
    project: Project,
    *,
    replaces: str | None = None,
    lines: ProjectLines | None = None,
) -> str:
    """Write a project whole or not at all; the previous good one stays beside it as ``.bak``.

    Parameters
    ----------
    path : path-like
        The file.
    project : Project
        What to write; its ``warning`` is not.
    replaces : str, optional
        Checksum of the file that may be replaced, empty for none; any, by default.
    lines : ProjectLines, optional
        What wrote earlier versions of the project, to write this one faster.

    Returns
    -------
    str
        Checksum of the file now there.

    Raises
    ------
    ProjectTaken
        If another file than the one to be replaced is there.
    NewerVersion
        If the file there is of a newer version.
    FormatError
        If the file cannot be written; the old one is left as it was.
    """
    path = Path(path)
    found, data = (lines or ProjectLines()).encode(project)
    # From the look at what is there to the new file in its place, nobody else may come between.
    with _alone(path):
        there = _bytes(path)
        if there is not None:
            whole = _is_whole(path, there, replaces)
            # A damaged file is kept, too: a person may still find something in it.
            _keep(path, backup_path(path) if whole else path.with_name(f"{path.name}.damaged"))
        write_bytes(path, data)
    _sync_folder(path.parent)
    return found


def projects_folder() -> Path:
    """Return the user's own folder of projects, under $NAPARI_PATCHIONER_HOME where that is set."""
    if home := os.environ.get(HOME):
        return Path(home).expanduser().resolve() / "projects"
    from platformdirs import user_data_path

    return user_data_path("napari-patchioner", appauthor=False) / "projects"


def backup_path(path: Path) -> Path:
    """Return where the previous version of a project is kept."""
    return path.parent / f"{path.name}.bak"


def _read(path: Path) -> Project:
    """Read one file."""
    with reading_door(path):
        data = _bytes(path)
        if data is None:
            raise FormatError(f"{path}: there is no such project; choose another file")
        return decode_project(data, path.name)


def decode_project(data: bytes, name: str) -> Project:
    """Return the project in the bytes of a file; `name` is the file's, for messages.

    Raises
    ------
    FormatError
        If they are no whole project of a version this program reads.
    """
    head = _checked(name, data)
    charge_json(data)
    try:
        content = json.loads(data, object_hook=unplain)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{name}: is no JSON although its checksum is right") from error
    given = Fields(content, name)
    for field in ("format", "version", "written", "content", "checksum"):
        given.take(field, str)
    image = image_from_json(given.take("image", dict), head.content, f"{name}: image")
    records = [
        record_from_json(value, f"{name}: record {number}")
        for number, value in enumerate(given.take("records", list), start=1)
    ]
    by_uid = {record.uid: record for record in records}
    if len(by_uid) < len(records):
        raise given.error("two records have the same uid")
    check_references(by_uid, name)
    options, provenance = given.take("options", dict, {}), given.take("provenance", dict, {})
    return Project(image, tuple(records), options, provenance, head.written, given.rest())


def _head(name: str, data: bytes) -> tuple[ProjectHead, re.Match[bytes]]:
    """Return the head of a file and where it is in it."""
    found = _HEAD.match(data.replace(b"\r\n", b"\n")) if data else None
    if found is None:
        raise FormatError(f"{name}: is no project of napari-patchioner, or is damaged")
    major, minor, *texts = (text.decode() for text in found.groups())
    version = int(major), int(minor)
    if version[0] != VERSION[0]:
        raise NewerVersion(
            f"{name}: is of version {major}.{minor}, but this program reads version "
            f"{VERSION[0]}; update napari-patchioner to open it"
        )
    return ProjectHead(version, texts[0], texts[1], texts[2]), found


def _checked(name: str, data: bytes) -> ProjectHead:
    """Return the head of a whole file."""
    head, found = _head(name, data)
    # Line ends may have been converted on the way, by mail or version control.
    data = data.replace(b"\r\n", b"\n")
    start, end = found.span(5)
    if checksum(data[:start], data[end:]) != head.checksum:
        raise FormatError(f"{name}: is damaged, or was edited by hand")
    return head


def _bytes(path: Path) -> bytes | None:
    """Return what is in a file; None where there is none."""
    return read_file(path) if path.exists() else None


def _is_whole(path: Path, data: bytes, replaces: str | None) -> bool:
    """Whether the file to be replaced is whole; refuse to replace what is not ours."""
    try:
        head = _checked(path.name, data)
    except NewerVersion:
        raise
    except FormatError:
        return False
    if replaces is not None and head.checksum != replaces:
        raise ProjectTaken(f"{path.name}: was written by another window or program")
    return True


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other windows and programs of this person from writing the same file meanwhile.

    The lock lies in the user's own folder, not to litter the image's. Where nothing can be locked,
    the check of what is there has to do alone.
    """
    from filelock import FileLock, Timeout

    with ExitStack() as held:
        with suppress(OSError, NotImplementedError):
            folder = projects_folder() / "locks"
            folder.mkdir(parents=True, exist_ok=True)
            name = blake2b(os.fsencode(path.resolve()), digest_size=12).hexdigest()
            try:
                held.enter_context(FileLock(folder / f"{name}.lock", timeout=_PATIENCE_S))
            except Timeout:
                raise FormatError(
                    f"{path.name}: another program has been writing it for "
                    f"{_PATIENCE_S:.0f} seconds; end that program, then save again"
                ) from None
        yield


def _keep(path: Path, as_: Path) -> None:
    """Give a file a second name; where the drive knows no links, a copy."""
    beside = as_.with_name(f".{as_.name}.{os.getpid()}")
    try:
        try:
            os.link(path, beside)
        except (OSError, NotImplementedError):
            beside.write_bytes(path.read_bytes())
        os.replace(beside, as_)
    except OSError as error:
        raise FormatError(f"{as_}: cannot be written ({error.strerror or error})") from error
    finally:
        # Two names of one file are not told apart by rename, which then leaves both.
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Have the new name survive a power cut, where folders can be opened."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
