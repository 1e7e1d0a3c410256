"""Bytes of files as text, whichever program wrote them."""

from __future__ import annotations

import codecs
import json

from napari_patchioner.errors import FormatError

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
