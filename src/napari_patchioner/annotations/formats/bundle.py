"""The files of one export: a folder, a zip, or a single file."""

from __future__ import annotations

import io
import itertools
import os
import re
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple, NoReturn

from napari_patchioner import limits
from napari_patchioner.annotations.files import write_bytes
from napari_patchioner.annotations.notes import Notes, leaving_out, noting
from napari_patchioner.errors import FormatError

MOST_MEMBERS = 200_000
"""Files in one zip; more are no export of regions."""

MOST_FIRST = 10
"""Files of a folder or zip that are looked at, to tell what it holds."""

_CHUNK = 2**20
# Every member gets the first moment a zip can tell, so that the same regions give the same file.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
# How a record of the directory begins, and where it says where its member is.
_CENTRAL, _OFFSET_AT = b"PK\1\2", 42
_MOST_SPLIT = 60_000
_DRIVE = re.compile(r"[A-Za-z]:")
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')


def is_zip(path: Path) -> bool:
    """Return whether a path names a zip, by its suffix."""
    return path.suffix.lower() == ".zip"


def is_debris(name: str) -> bool:
    """Return whether a file is what a Mac or a folder's window leaves beside the real ones.

    >>> is_debris("__MACOSX/a/._cat.roi"), is_debris("a/._cat.roi"), is_debris("a/cat.roi")
    (True, True, False)
    """
    first, last = name.partition("/")[0], name.rstrip("/").rpartition("/")[2]
    return first == "__MACOSX" or last.startswith("._") or last in (".DS_Store", "Thumbs.db")


def read_bundle(path: Path, wanted: Callable[[str], bool] = bool) -> dict[str, bytes]:
    """Read the files of a folder (with those within), of a zip, or one file by itself."""
    if path.is_dir():
        # The plain files, in the order of their names.
        files: dict[str, Path] = {}
        for place, folders, names in os.walk(path, onerror=_refuse):
            folders.sort()
            limits.charge_records(len(names))
            paths = [Path(place, name) for name in names if not is_debris(name)]
            files |= {file.relative_to(path).as_posix(): file for file in paths if file.is_file()}
        return {name: limits.read_file(files[name]) for name in sorted(files) if wanted(name)}
    if is_zip(path):
        limits.charge_file(limits.check_plain_file(path))
        return dict(read_zip(path.name, path, wanted).values())
    return {path.name: limits.read_file(path)}


def _refuse(error: OSError) -> NoReturn:
    raise FormatError(f"{error.filename}: cannot be read ({error.strerror or error})") from error


def files_in(folder: Path, wanted: Callable[[str], bool]) -> list[Path]:
    """Return the plain files of a folder, not of those within, that are wanted, by their names."""
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        _refuse(error)
    limits.charge_records(len(files))
    named = (file for file in files if wanted(file.name) and not is_debris(file.name))
    return [file for file in named if file.is_file()]


def first_files(path: Path, wanted: Callable[[str], bool]) -> Iterator[bytes]:
    """Yield the first few files of a folder (not of those within) or zip."""
    if path.is_dir():
        yield from map(limits.read_file, files_in(path, wanted)[:MOST_FIRST])
        return
    for name in sorted(filter(wanted, zip_names(path)))[:MOST_FIRST]:
        with noting(Notes()):  # it is noted when all are read
            members = read_zip(path.name, path, name.__eq__)
        yield from dict(members.values()).values()


def zip_names(path: Path) -> list[str]:
    """Return the names of the members of a zip; none if it is no zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [name for name in archive.namelist() if not is_debris(name)]
    except Exception:  # a damaged directory shows in many ways; reading it says what is wrong
        return []


def read_zip(
    name: str, file: Path | bytes, wanted: Callable[[str], bool]
) -> dict[int, tuple[str, bytes]]:
    """Return the wanted members by their numbers in a zip; what cannot be read is left out."""
    results: dict[int, tuple[str, bytes]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(file) if isinstance(file, bytes) else file) as archive:
            listed = archive.infolist()
            count = sum(not item.is_dir() for item in listed)
            if count > MOST_MEMBERS:
                raise FormatError(
                    f"{name}: holds {count} files, more than {MOST_MEMBERS}; split it"
                )
            for number, entry in enumerate(listed):
                called = entry.filename
                if not (entry.is_dir() or is_debris(called)) and wanted(called):
                    with leaving_out("file"):
                        results[number] = (called, _member(name, archive, entry))
    except (FormatError, MemoryError):
        raise
    except Exception as error:  # zipfile tells damage by a dozen kinds of errors
        why = str(error) or type(error).__name__
        raise FormatError(f"{name}: is no zip that can be read ({why})") from error
    return results


def _member(name: str, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Return one member, charged as it is unpacked: what a zip says of its sizes may be wrong."""
    where = f"{name}: the member {entry.filename!r}"
    inside = PurePosixPath(entry.filename.replace("\\", "/"))
    outside = inside.is_absolute() or ".." in inside.parts or not inside.parts
    if outside or _DRIVE.match(entry.filename):
        raise FormatError(f"{where} lies outside the zip")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FormatError(
            f"{where} is compressed in a way that is not read; zip it again the usual way"
        )
    parts = []
    try:
        with archive.open(entry) as file:
            while part := file.read(_CHUNK):
                limits.charge_bytes(len(part))
                parts.append(part)
    except (FormatError, MemoryError):
        raise
    except Exception as error:
        why = str(error) or type(error).__name__
        raise FormatError(f"{where} cannot be read ({why})") from error
    return b"".join(parts)


def write_bundle(path: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a zip (whole or not at all) or a folder (each file whole or not at all)."""
    if is_zip(path):
        write_bytes(path, zipped(files))
        return
    for name, data in files.items():
        target = path / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = error.strerror or error
            raise FormatError(f"{target.parent}: no folder can be made there ({why})") from error
        write_bytes(target, data)


def _info(name: str) -> zipfile.ZipInfo:
    """Return what a zip says of a member of ours."""
    info = zipfile.ZipInfo(name, _NO_TIME)
    info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
    return info


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return files as a zip; the same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(_info(name), data)
    return buffer.getvalue()


class ZipMember(NamedTuple):
    """A member of a zip as it stands there, packed.

    ``local`` is its head, its packed bytes and what stands up to the next member; ``central`` what
    the directory says of it.
    """

    name: str
    local: bytes
    central: bytes


def split_zip(data: bytes) -> tuple[list[ZipMember], bytes] | None:
    """Return the members of a zip by its directory, and its comment; None if its layout is rare."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos, at, comment = archive.infolist(), archive.start_dir, archive.comment
    except Exception:  # zipfile tells damage by a dozen kinds of errors
        return None
    starts = sorted(item.header_offset for item in infos)
    ends = dict(itertools.pairwise([*starts, at]))
    if len(infos) >= _MOST_SPLIT or len(ends) < len(infos) or (infos and starts[0] != 0):
        return None
    members = []
    for info in infos:
        if data[at : at + 4] != _CENTRAL or len(data) < at + 46:
            return None
        size = 46 + sum(struct.unpack_from("<3H", data, at + 28))
        central = data[at : at + size]
        if struct.unpack_from("<I", central, _OFFSET_AT)[0] != info.header_offset:
            return None
        local = data[info.header_offset : ends[info.header_offset]]
        members.append(ZipMember(info.filename, local, central))
        at += size
    return members, comment


def join_zip(members: Sequence[ZipMember], comment: bytes = b"") -> bytes:
    """Return a zip of members as they stand; undoes `split_zip`."""
    start = sum(len(item.local) for item in members)
    if len(members) >= 2**16 or start >= 2**32:
        raise FormatError("a zip holds fewer than 65,536 regions and 4 GB; split it")
    directory, at = bytearray(), 0
    for entry in members:
        central = bytearray(entry.central)
        struct.pack_into("<I", central, _OFFSET_AT, at)
        directory += central
        at += len(entry.local)
    counts = (len(members), len(members), len(directory), start, len(comment))
    end = struct.pack("<4s4x2H2IH", b"PK\5\6", *counts) + comment
    return b"".join([*(item.local for item in members), bytes(directory), end])


def zip_member(name: str, data: bytes, like: ZipMember | None = None) -> ZipMember:
    """Return a member for a zip; with ``like``, its rights, date and way of packing are kept."""
    info = _info(name)
    if like is not None:
        [old] = zipfile.ZipFile(io.BytesIO(join_zip([like]))).infolist()
        info.date_time, info.external_attr = old.date_time, old.external_attr
        info.create_system = old.create_system
        if old.compress_type == zipfile.ZIP_STORED:
            info.compress_type = zipfile.ZIP_STORED
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, data)
    made = split_zip(buffer.getvalue())
    assert made is not None, "a zip of one member is of the usual kind"
    return made[0][0]


def file_stems(names: Mapping[str, str]) -> dict[str, str]:
    """Return a file name without suffix for each image by its name, no two alike on any system.

    >>> file_stems({"1": "a/cat.png", "2": "b/Cat.png", "3": ""})
    {'1': 'cat', '2': 'Cat-2', '3': 'image'}
    """
    stems: dict[str, str] = {}
    used: set[str] = set()
    for key, name in names.items():
        last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
        stem = _UNSAFE.sub("_", os.path.splitext(last)[0])[:120].strip(" .") or "image"
        numbered = itertools.chain([stem], (f"{stem}-{n}" for n in itertools.count(2)))
        stems[key] = next(free for free in numbered if free.lower() not in used)
        used.add(stems[key].lower())
    return stems
