"""The door that every file of annotations comes in by: one budget, and every error one sentence."""

from __future__ import annotations

import codecs
import json
import os
import tempfile
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_patchioner.errors import Cancelled, FormatError
from napari_patchioner.limits import BudgetError, check_budget, file_budget

from .notes import error_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_LONGEST = 600
"""Characters of a sentence; what it names may come from the file, and be of any length."""


@contextmanager
def reading_file(path: str | os.PathLike[str]) -> Iterator[None]:
    """Hold reading within to the budget of one file, and tell every error in one sentence.

    Raises
    ------
    FormatError
        Names the file; an error that is none of ours is its cause.
    """
    shown = os.fsdecode(path)
    name = Path(shown).name or shown
    try:
        # Numbers that no float holds are found by looking at them; a warning tells nobody anything.
        with file_budget(path), np.errstate(all="ignore"):
            try:
                yield
            except FormatError:
                check_budget()  # what was too much, rather than where that was met
                raise
    except (Cancelled, BudgetError):
        raise
    except Exception as error:
        told = " ".join(error_message(error).split())
        told = told if len(told) <= _LONGEST else f"{told[: _LONGEST - 1]}…"
        if isinstance(error, FormatError) and name in told and told == str(error):
            raise
        kind = type(error) if isinstance(error, FormatError) else FormatError
        raise kind(told if name in told else f"{name}: {told}") from error


@contextmanager
def writing_file(path: str | os.PathLike[str]) -> Iterator[None]:
    """Tell errors of writing within that are none of ours in one sentence.

    Raises
    ------
    FormatError
        If the drive or the memory is full, or the file may not be written.
    """
    shown = os.fsdecode(path)
    try:
        yield
    except OSError as error:
        raise FormatError(f"{shown}: cannot be written ({error.strerror or error})") from error
    except (MemoryError, RecursionError, OverflowError, UnicodeError) as error:
        raise FormatError(f"{shown}: cannot be written; it {error_message(error)}") from error


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a whole UTF-8 file or nothing: beside it first, then in its place.

    Parameters
    ----------
    path : path-like
        The file; it is replaced if it exists.
    text : str
        Its contents, written as they are (no newline translation).

    Raises
    ------
    FormatError
        If the folder is missing or cannot be written, or the text cannot be stored; the old
        file is left as it was.
    """
    write_bytes(path, encode_text(text))


def encode_text(text: str) -> bytes:
    """Return a text as UTF-8, or say in one sentence why that cannot be."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        near = text[max(0, error.start - 20) : error.start]
        raise FormatError(
            f"the text after {near!r} is no Unicode (half a character, or a file name in another "
            "encoding), so no table can hold it"
        ) from error


def write_bytes(
    path: str | os.PathLike[str],
    data: bytes,
    may_replace: bool = True,
) -> bool:
    """Write a whole file or nothing, as `write_text` does; False where there is one to be kept."""
    try:
        _write_beside(Path(path), [data], os.replace if may_replace else _rename_to_new)
    except FormatError as error:
        if not may_replace and isinstance(error.__cause__, FileExistsError):
            return False
        raise
    return True


def write_chunks(path: str | os.PathLike[str], chunks: Iterable[bytes]) -> None:
    """Write a whole file or nothing, as `write_text` does, from parts that are made on the way."""
    _write_beside(Path(path), chunks, os.replace)


def _rename_to_new(beside: str, path: Path) -> None:
    """Give a file its name unless another has it, in one step where the file system can."""
    try:
        os.link(beside, path)
    except FileExistsError:
        raise
    except OSError:  # no hard links here
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        os.replace(beside, path)
    else:
        os.unlink(beside)


def _write_beside(
    path: Path, chunks: Iterable[bytes], rename: Callable[[str, Path], object]
) -> None:
    """Write a file beside the one that is meant, then give it that one's name."""
    try:
        path = path.resolve()
        handle, beside = tempfile.mkstemp(prefix=f".{short_name(path.name, 80)}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.writelines(chunks)
                file.flush()
                os.fsync(file.fileno())
            _copy_mode(path, beside)
            rename(beside, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(beside)
            raise
    except OSError as error:
        raise FormatError(f"{path}: cannot be written ({error.strerror or error})") from error


def _copy_mode(path: Path, beside: str) -> None:
    """Give the new file the rights of the old one, or those of any new file."""
    try:
        mode = path.stat().st_mode & 0o777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        mode = 0o666 & ~mask
    os.chmod(beside, mode)


# Those of four bytes first: one of them begins like one of two bytes.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def decode_text(data: bytes, where: str) -> str:
    r"""Return the text in the bytes of a file, without a byte order mark.

    Parameters
    ----------
    data : bytes
        UTF-8; or UTF-16 or UTF-32, as spreadsheets and shells of Windows write it.
    where : str
        The file, or the place in it, for messages.

    Raises
    ------
    FormatError
        If it is none of these.

    >>> decode_text(b"\xff\xfea\x00", "a.csv")
    'a'
    """
    encoding, mark = encoding_of(data)
    try:
        return data[mark:].decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, mark + error.start) + 1
        place = f" (line {line})" if encoding == "utf-8" else ""
        advice = "save it as UTF-8 (spreadsheets call it CSV UTF-8)"
        raise FormatError(f"{where}: is not UTF-8 text{place}; {advice}") from error


def encoding_of(data: bytes) -> tuple[str, int]:
    """Return the encoding of a text by its first bytes, and how long its byte order mark is."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding, len(mark)
    # Without a mark, the zeros beside the first letters tell.
    told = json.detect_encoding(data[:4]) if 0 in data[:4] and any(data[:4]) else "utf-8"
    return told, 0


# Most drives allow 255 bytes (or fewer characters). What a project adds to its image's name at
# most: a dot before, ".0123abcd", a number, the ending, ".damaged", and a process id behind.
LONGEST = 200
_DIGITS = 10


def short_name(name: str, most: int = LONGEST) -> str:
    """Return a name of at most so many bytes; one that is longer ends in a hash of all of it.

    Parameters
    ----------
    name : str
        A file name without a folder.
    most : int
        How many bytes it may have, 12 at least.

    Examples
    --------
    >>> short_name("cells.tif")
    'cells.tif'
    >>> short_name("cells" * 100, 20)
    'cellscell~31f68f0344'
    >>> len(os.fsencode(short_name("細胞" * 60)))
    200
    """
    data = os.fsencode(name)
    if len(data) <= most:
        return name
    head = data[: most - _DIGITS - 1].decode("utf-8", "ignore")
    return f"{head}~{blake2b(data, digest_size=_DIGITS // 2).hexdigest()}"
