"""Lines that tell by themselves whether they are whole, for files that a crash may cut anywhere.

Each line is a JSON object, ``{"seal": "<16 hex digits>", "entry": ...}``; the seal is BLAKE2b of
the text of the entry.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

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
