"""Reading and writing whole files: one budget, every error one sentence, all or nothing written."""

from __future__ import annotations

import codecs
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path

import numpy as np

from napari_patchioner.errors import Cancelled, FormatError
from napari_patchioner.limits import BudgetError, check_budget, file_budget

from .notes import error_message

# Characters of a message; what it names may come from the file, and be of any length.
_LONGEST = 600
# Most drives allow 255 bytes (or fewer characters). What a project adds to its image's name at
# most: a dot before, ".0123abcd", a number, the ending, ".damaged", and a process id behind.
_LONGEST_NAME = 200
_DIGITS = 10
# Those of four bytes first: one of them begins like one of two bytes.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@contextmanager
def reading_file(path: str | os.PathLike[str]) -> Iterator[None]:
    """Hold reading within to the budget of one file; every error is a FormatError that names it."""
    shown = os.fsdecode(path)
    name = Path(shown).name or shown
    try:
        # Numbers that no float holds are checked for; a warning helps nobody.
        with file_budget(path), np.errstate(all="ignore"):
            try:
                yield
            except FormatError:
                check_budget()  # what was too much, rather than where that was met
                raise
    except (Cancelled, BudgetError):
        raise
    except Exception as error:
        message = " ".join(error_message(error).split())
        message = message if len(message) <= _LONGEST else f"{message[: _LONGEST - 1]}…"
        if isinstance(error, FormatError) and name in message and message == str(error):
            raise
        kind = type(error) if isinstance(error, FormatError) else FormatError
        raise kind(message if name in message else f"{name}: {message}") from error


@contextmanager
def writing_file(path: str | os.PathLike[str]) -> Iterator[None]:
    """Make one sentence of an error of writing: a full drive or memory, missing rights."""
    shown = os.fsdecode(path)
    try:
        yield
    except OSError as error:
        raise FormatError(f"{shown}: cannot be written ({error.strerror or error})") from error
    except (MemoryError, RecursionError, OverflowError, UnicodeError) as error:
        raise FormatError(f"{shown}: cannot be written; it {error_message(error)}") from error


def decode_text(data: bytes, where: str) -> str:
    r"""Return the text in the bytes of a file, without a byte order mark.

    UTF-8; or UTF-16 or UTF-32, as spreadsheets and shells of Windows write it. Anything else is a
    FormatError, whose message names ``where``: the file, or the place in it.

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
    # Without a mark, the zeros beside the first letters show the encoding.
    known = 0 in data[:4] and any(data[:4])
    return json.detect_encoding(data[:4]) if known else "utf-8", 0


def encode_text(text: str, encoding: str = "utf-8") -> bytes:
    """Return a text in an encoding of Unicode, or say in one sentence why that cannot be."""
    try:
        return text.encode(encoding)
    except UnicodeEncodeError as error:
        near = text[max(0, error.start - 20) : error.start]
        raise FormatError(
            f"the text after {near!r} is no Unicode (half a character, or a file name in another "
            "encoding), so no table can hold it"
        ) from error


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a whole UTF-8 file or nothing, without newline translation; see `write_bytes`."""
    write_bytes(path, encode_text(text))


def write_bytes(path: str | os.PathLike[str], data: bytes, may_replace: bool = True) -> bool:
    """Write a whole file or nothing: beside it first, then in its place.

    False where there is a file that may not be replaced. Where it cannot be written, the old one
    is left as it was and a FormatError raised.
    """
    try:
        _write_beside(Path(path), [data], os.replace if may_replace else _rename_to_new)
    except FormatError as error:
        if not may_replace and isinstance(error.__cause__, FileExistsError):
            return False
        raise
    return True


def write_chunks(path: str | os.PathLike[str], chunks: Iterable[bytes]) -> None:
    """Write a whole file or nothing, as `write_bytes`, from parts that are made on the way."""
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
            try:
                mode = path.stat().st_mode & 0o777
            except FileNotFoundError:
                mask = os.umask(0)
                os.umask(mask)
                mode = 0o666 & ~mask
            os.chmod(beside, mode)
            rename(beside, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(beside)
            raise
    except OSError as error:
        raise FormatError(f"{path}: cannot be written ({error.strerror or error})") from error


def short_name(name: str, most: int = _LONGEST_NAME) -> str:
    """Return a file name of at most so many bytes; a longer one ends in a hash of all of it.

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
