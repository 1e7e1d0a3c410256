"""Project files: whole or not there, checked byte by byte, with the previous one kept.

The first line of a file is its head: format, version, time, content hash of the image, and a
checksum of all other bytes of the file. The rest is one record per line; together they are JSON.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar, get_args

import numpy as np

from napari_patchioner.annotations.fields import Fields
from napari_patchioner.annotations.files import reading_file, write_bytes
from napari_patchioner.annotations.record import Source
from napari_patchioner.decoders import Caption
from napari_patchioner.errors import FormatError
from napari_patchioner.limits import charge_file, charge_json, check_plain_file, read_file

from .records import (
    OUTLINED,
    Plane,
    Project,
    ProjectImage,
    Record,
    RecordKind,
    Seen,
    is_protected,
)

Result = TypeVar("Result")
HOME = "NAPARI_PATCHIONER_HOME"
FORMAT = "napari-patchioner project"
VERSION = (1, 1)
# Nobody takes so long to write one project; whoever holds the lock longer hangs.
_PATIENCE_S = 20.0
_HEAD = re.compile(
    rb'\{"format": "napari-patchioner project", "version": "(\d{1,6})\.(\d{1,6})", '
    rb'"written": "([-0-9T:.+Z]{1,40})", "content": "([0-9a-f]{0,64})", '
    rb'"checksum": "([0-9a-f]{32})",\n'
)
_LONGEST_HEAD = 400
_BEFORE_RECORDS = b', "records": ['
_VERDICTS = ("sure", "unsure", "appearance")
# JSON has no words for these.
_ODD = "$float"
_TEXTS = ("caption", "source", "model", "problem", "example_name")
_FLAGS = ("reviewed", "locked", "rejected", "wanted")
_DETAILS = [(detail.name, detail.default) for detail in fields(Caption)[2:]]
_encode = json.JSONEncoder(allow_nan=False).encode


class NewerVersion(FormatError):
    """A file that only a newer version of this package can read; it is left alone."""


class ProjectTaken(FormatError):
    """A file that somebody else has written since it was last read or written here."""


@dataclass(frozen=True, slots=True)
class ProjectHead:
    """What the first line of a project file says.

    When it was saved (ISO 8601 in UTC), `content_hash` of the image, and the checksum of all other
    bytes of the file: two files with the same one are the same.
    """

    written: str
    content: str
    checksum: str


@dataclass(frozen=True, slots=True)
class ProjectCounts:
    """What a project holds, in numbers.

    ``regions`` are shapes, points and labels; several captioned together count as well.
    ``captions`` counts whole planes, too; ``to_review`` what nobody has vouched for: neither a
    person's text nor accepted or locked. ``content`` is the `content_hash` of the image,
    ``image_path`` where it lay, and ``warning`` what had to be done to read the file, mostly empty.
    """

    regions: int
    captions: int
    to_review: int
    written: str
    content: str
    image_path: str
    warning: str = ""


def read_head(path: str | os.PathLike[str]) -> ProjectHead | None:
    """Return the head of a project file; None where there is no such file.

    Only the first line is read: whether the rest is whole, `read_project` finds out.
    """
    path = Path(path)
    with reading_file(path):
        if not path.exists():
            return None
        check_plain_file(path)
        with path.open("rb") as file:
            return _head(path.name, file.read(_LONGEST_HEAD))[0]


def checksum_of(path: str | os.PathLike[str]) -> str:
    """Return the checksum in the head of a project file; empty where there is no such file."""
    head = read_head(path)
    return head.checksum if head is not None else ""


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
    project, error = _with_backup(Path(path), decode_project)
    if error is None:
        return project
    warning = f"{error}; the version saved at {project.written}, just before it, is used instead"
    return replace(project, warning=warning)


def read_counts(path: str | os.PathLike[str]) -> ProjectCounts:
    """Count what is in a project, without making records of it; else as `read_project`."""

    def count(data: bytes, name: str) -> ProjectCounts:
        head = _checked(name, data)
        # Line by line: one call for all of a large file would hold up every other thread.
        _, lead, *lines = data.replace(b"\r\n", b"\n").split(b"\n")
        regions = captions = to_review = 0
        for line in lines:
            if line.startswith(b'{"'):
                record = _object(name, line.rstrip(b","))
                regions += record.get("kind") != "image"
                captions += bool(record.get("caption"))
                to_review += not is_protected(
                    record.get("caption", ""),
                    record.get("source", ""),
                    bool(record.get("reviewed") or record.get("locked")),
                )
        where = _image(name, lead).path
        return ProjectCounts(regions, captions, to_review, head.written, head.content, where)

    counts, error = _with_backup(Path(path), count)
    if error is None:
        return counts
    return replace(counts, warning=f"{error}; the version before it is used instead")


def read_image(path: str | os.PathLike[str]) -> ProjectImage:
    """Return name and path of a project's image, from the first lines of the file."""
    path = Path(path)
    with reading_file(path):
        charge_file(check_plain_file(path))
        with path.open("rb") as file:
            lines = [file.readline(), file.readline()]
        return _image(path.name, lines[1])


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
    digest, data = (lines or ProjectLines()).encode(project)
    # Between the check of what is there and the new file in its place, nobody else may come.
    with _alone(path):
        if path.exists():
            try:
                head = _checked(path.name, read_file(path))
            except NewerVersion:
                raise
            except FormatError:
                # A damaged file is kept, too: a person may still find something in it.
                _keep(path, path.with_name(f"{path.name}.damaged"))
            else:
                if replaces is not None and head.checksum != replaces:
                    raise ProjectTaken(f"{path.name}: was written by another window or program")
                _keep(path, backup_path(path))
        write_bytes(path, data)
    # The new name has to survive a power cut, where folders can be opened.
    with suppress(OSError):
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    return digest


def projects_folder() -> Path:
    """Return the user's own folder of projects, under $NAPARI_PATCHIONER_HOME where that is set."""
    if home := os.environ.get(HOME):
        return Path(home).expanduser().resolve() / "projects"
    from platformdirs import user_data_path

    return user_data_path("napari-patchioner", appauthor=False) / "projects"


def backup_path(path: Path) -> Path:
    """Return where the previous version of a project is kept."""
    return path.parent / f"{path.name}.bak"


def _with_backup(
    path: Path, decode: Callable[[bytes, str], Result]
) -> tuple[Result, FormatError | None]:
    """Read a file, or, where it is damaged, its ``.bak``; return the error of the file as well."""

    def read(path: Path) -> Result:
        with reading_file(path):
            if not path.exists():
                raise FormatError(f"{path}: there is no such project; choose another file")
            return decode(read_file(path), path.name)

    try:
        return read(path), None
    except NewerVersion:
        raise
    except FormatError as error:
        try:
            return read(backup_path(path)), error
        except FormatError:
            raise error from None


def _image(name: str, lead: bytes) -> ProjectImage:
    """Return what the line between the head and the records says of the image: name and path."""
    image = _object(name, b"{" + lead.rstrip().removesuffix(_BEFORE_RECORDS) + b"}").get("image")
    given = image if isinstance(image, dict) else {}
    texts = [given.get(field, "") for field in ("name", "path")]
    known, path = (text if isinstance(text, str) else "" for text in texts)
    return ProjectImage(known, path=path)


def _object(name: str, line: bytes) -> dict[str, Any]:
    """Return the JSON object in a line."""
    with suppress(ValueError, RecursionError):
        value = json.loads(line)
        if isinstance(value, dict):
            return value
    raise FormatError(f"{name}: is no project of napari-patchioner, or is damaged")


def decode_project(data: bytes, name: str) -> Project:
    """Return the project in the bytes of a file; `name` is the file's, for messages."""
    head = _checked(name, data)
    charge_json(data)
    try:
        content = json.loads(data, object_hook=unplain)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{name}: is no JSON although its checksum is right") from error
    given = Fields(content, name)
    for field in ("format", "version", "written", "content", "checksum"):
        given.take(field, str)
    image = Fields(given.take("image", dict), f"{name}: image")
    records = [
        _record_from_json(value, f"{name}: record {number}")
        for number, value in enumerate(given.take("records", list), start=1)
    ]
    by_uid = {record.uid: record for record in records}
    if len(by_uid) < len(records):
        raise given.error("two records have the same uid")
    for record in records:
        where = f"{name}: group {record.uid!r}"
        for member in record.members:
            if member not in by_uid or by_uid[member].seen is None:
                raise FormatError(f"{where}: its member {member!r} is no shape of this project")
    return Project(
        ProjectImage(
            image.take("name", str),
            image.items("shape", int, []),
            image.take("dtype", str, ""),
            head.content,
            image.take("path", str, ""),
            image.rest(),
        ),
        tuple(records),
        given.take("options", dict, {}),
        given.take("provenance", dict, {}),
        head.written,
        given.rest(),
    )


def _head(name: str, data: bytes) -> tuple[ProjectHead, re.Match[bytes]]:
    """Return the head of a file and where it is in it."""
    match = _HEAD.match(data.replace(b"\r\n", b"\n")) if data else None
    if match is None:
        raise FormatError(f"{name}: is no project of napari-patchioner, or is damaged")
    major, minor, *texts = (text.decode() for text in match.groups())
    if int(major) != VERSION[0]:
        raise NewerVersion(
            f"{name}: is of version {major}.{minor}, but this program reads version "
            f"{VERSION[0]}; update napari-patchioner to open it"
        )
    return ProjectHead(*texts), match


def _checked(name: str, data: bytes) -> ProjectHead:
    """Return the head of a whole file."""
    head, match = _head(name, data)
    # Line ends may have been converted on the way, by mail or version control.
    data = data.replace(b"\r\n", b"\n")
    start, end = match.span(5)
    if checksum(data[:start], data[end:]) != head.checksum:
        raise FormatError(f"{name}: is damaged, or was edited by hand")
    return head


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


class ProjectLines:
    """Turns the projects of one image into bytes, one after the other.

    A record that is the very same object as last time is not written out again, so that a save
    costs as much as has changed.
    """

    def __init__(self) -> None:
        self._lines: dict[str, tuple[Record, str]] = {}

    def encode(self, project: Project) -> tuple[str, bytes]:
        """Return the checksum and the bytes of a project file."""
        written = project.written or datetime.now(UTC).isoformat(timespec="milliseconds")
        start = (
            f'{{"format": "{FORMAT}", "version": "{VERSION[0]}.{VERSION[1]}", '
            f'"written": "{written}", "content": "{project.image.content}", "checksum": "'
        ).encode()
        end = f'",\n{self.body(project)}'.encode("ascii")
        digest = checksum(start, end)
        return digest, start + digest.encode() + end

    def body(self, project: Project) -> str:
        """Return all but the head: the same for the same work, whenever it is saved."""
        image = project.image
        body = {
            **project.extra,
            "image": {
                **image.extra,
                "name": image.name,
                "shape": image.shape,
                "dtype": image.dtype,
                "path": image.path,
            },
            "options": project.options,
            "provenance": project.provenance,
        }
        before, self._lines = self._lines, {}
        lines = []
        for record in project.records:
            known, line = before.get(record.uid, (None, ""))
            if known is not record:
                value = record_to_json(record)
                try:
                    line = _encode(value)  # most need no help to be plain
                except (TypeError, ValueError):
                    line = _encode(plain(value))
            self._lines[record.uid] = record, line
            lines.append(line)
        return f'{_encode(plain(body))[1:-1]}, "records": [\n' + ",\n".join(lines) + "\n]}\n"


def checksum(start: bytes, end: bytes) -> str:
    """Return the checksum of the bytes before and after it."""
    digest = blake2b(start, digest_size=16)
    digest.update(end)
    return digest.hexdigest()


def plain(value: object) -> Any:
    """Return a value as JSON can hold it; other people's objects become texts.

    >>> plain({"area": np.float32(0.5), "worst": float("-inf")})
    {'area': 0.5, 'worst': {'$float': '-inf'}}
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {_ODD: repr(float(value))}
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item) for item in value]
    text = str(value)
    return None if text in ("NaT", "<NA>") else text


def unplain(value: dict[str, Any]) -> Any:
    """Undo what `plain` did to odd numbers; for ``json.loads(object_hook=...)``."""
    odd = value.get(_ODD) if len(value) == 1 else None
    return float(odd) if odd in ("nan", "inf", "-inf") else value


def record_to_json(record: Record) -> dict[str, Any]:
    """Return a record as a JSON object, but for `plain`; fields that say nothing are left out."""
    seen, details = record.seen, record.details
    texts = {"layer": record.layer, "digest": seen.digest if seen is not None else ""}
    texts |= {name: getattr(record, name) for name in (*_TEXTS, *_FLAGS)}
    known: dict[str, Any] = {"uid": record.uid, "kind": record.subject}
    known |= {name: value for name, value in texts.items() if value}
    if record.score is not None:
        known["score"] = float(record.score)
    if record.example is not None:
        known["example"] = record.example
    if seen is not None:
        known["shape"], known["vertices"] = seen.shape_type, seen.vertices.tolist()
        if seen.value is not None:
            known["label"] = seen.value
    if record.members:
        known["members"] = list(record.members)
    if record.plane is not None:
        known["plane"] = {name: list(numbers) for name, numbers in record.plane._asdict().items()}
    if details is not None:
        given = {name: getattr(details, name) for name, _ in _DETAILS}
        known["details"] = {"text": details.text, "score": float(details.score)} | {
            name: given[name] for name, default in _DETAILS if given[name] != default
        }
    objects = {"origin": record.origin, OUTLINED: record.outlined, "columns": record.extra}
    known |= {name: dict(value) for name, value in objects.items() if value}
    return {**record.newer, **known} if record.newer else known


def _record_from_json(value: object, where: str) -> Record:
    """Return a record."""
    given = Fields(value, where)
    uid = given.take("uid", str)
    given.where = f"{where} ({uid!r})"
    kind: RecordKind = given.choice("kind", get_args(RecordKind), "shape")
    members: tuple[str, ...] = ()
    seen: Seen | None = None
    plane: Plane | None = None
    if kind == "group":
        members = given.items("members", str, [])
        if not members:
            raise given.error("it has no members")
    elif kind == "shape":
        points = given.items("vertices", list)  # shape (n, ndim)
        sizes = {len(point) for point in points}
        sound = all(type(number) in (float, int) for point in points for number in point)
        if len(sizes) != 1 or min(sizes) < 2 or not sound:
            raise given.error(
                "'vertices' must be points with the same two or more coordinates each"
            )
        seen = Seen(
            given.take("shape", str),
            np.array(points, float),
            given.take("label", int, None),
            given.take("digest", str, ""),
        )
    else:
        shown = Fields(given.take("plane", dict), f"{given.where}: plane")
        axes = shown.items("axes", int)
        if len(axes) != 2:
            raise shown.error("'axes' must name two axes")
        plane = Plane((axes[0], axes[1]), shown.items("index", int, []))
    score = given.take("score", float, None)
    return Record(
        uid,
        layer=given.take("layer", str, ""),
        seen=seen,
        members=members,
        plane=plane,
        score=None if score is None or math.isnan(score) else float(score),
        source=given.choice("source", get_args(Source), ""),
        **{name: given.take(name, str, "") for name in _TEXTS if name != "source"},
        **{name: given.take(name, bool, False) for name in _FLAGS},
        details=_details(given),
        origin=given.take("origin", dict, {}),
        outlined=given.take(OUTLINED, dict, {}),
        example=given.take("example", bool, None),
        extra=given.take("columns", dict, {}),
        newer=given.rest(),
    )


def _details(given: Fields) -> Caption | None:
    """Return what else a model said."""
    value = given.take("details", dict, None)
    if value is None:
        return None
    details = Fields(value, f"{given.where}: details")
    return Caption(
        details.take("text", str),
        float(details.take("score", float)),
        float(details.take("log_probability", float, 0.0)),
        details.items("token_log_probabilities", float, []),
        details.items("alternatives", str, []),
        _weighted(details, "neighbours"),
        _weighted(details, "concepts"),
        details.choice("verdict", _VERDICTS, "sure"),
        details.take("problem", str, None),
        details.take("familiarity", float, None),
    )


def _weighted(details: Fields, name: str) -> tuple[tuple[str, float], ...]:
    """Return pairs of a text and a number."""
    pairs = details.items(name, list, [])
    for pair in pairs:
        if [type(item) for item in pair] not in ([str, float], [str, int]):
            raise details.error(f"every item of {name!r} must be a text and a number")
    return tuple((text, float(weight)) for text, weight in pairs)
