"""JSON read item by item, so that a file of any length takes the memory of one item."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any, TextIO

from napari_patchioner.errors import FormatError, reason

_PIECE = 2**16
# Characters of one item; a list of captions has items of a few hundred.
_LONGEST_ITEM = 4_000_000
_SPACE = " \t\n\r"
_NUMBER = "+-.0123456789eE"


class JsonStream:
    """The items of the arrays of a JSON file; ``name`` is what messages call the file."""

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream, self._name = stream, name
        self._buffer, self._at, self._ended = "", 0, False
        self._decoder = json.JSONDecoder()

    def items(self, wanted: Collection[str] | None = None) -> Iterator[Any]:
        """Yield the items of a list, or of the lists of an object that have one of these names.

        By default all its lists count. A FormatError where it is no JSON, or holds an item of
        millions of characters.
        """
        start = self._peek()
        if start == "[":
            yield from self._array()
        elif start == "{":
            for key in self._keys():
                if self._peek() != "[":
                    self._value()
                    continue
                for item in self._array():
                    if wanted is None or key in wanted:
                        yield item
        else:
            raise self._error("it is neither a list nor an object")
        if self._peek():
            raise self._error("something follows its end")

    def _keys(self) -> Iterator[str]:
        """Yield the keys of an object; the value of each is read before the next is asked for."""
        self._take("{")
        if self._peek() == "}":
            self._take("}")
            return
        while True:
            key = self._value()
            if not isinstance(key, str):
                raise self._error("a name is missing")
            self._take(":")
            yield key
            if self._peek() != ",":
                self._take("}")
                return
            self._take(",")

    def _array(self) -> Iterator[Any]:
        """Yield the items of an array."""
        self._take("[")
        if self._peek() == "]":
            self._take("]")
            return
        while True:
            yield self._value()
            if self._peek() != ",":
                self._take("]")
                return
            self._take(",")

    def _value(self) -> Any:
        """Read one value whole."""
        self._peek()
        step = _PIECE
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._at)
                # The rest of a number may be still to come.
                if self._ended or self._buffer[end : end + 1] not in _NUMBER:
                    self._at = end
                    return value
            except RecursionError as error:
                raise self._error("it is nested too deeply") from error
            except ValueError as error:
                if self._ended:
                    raise self._error(reason(error)) from error
            if len(self._buffer) - self._at > _LONGEST_ITEM:
                raise FormatError(
                    f"{self._name}: holds an item of more than {_LONGEST_ITEM:,} characters; "
                    "give a list of captions"
                )
            self._more(step)
            step *= 2

    def _peek(self) -> str:
        """Return the next character that is no white space, empty at the end."""
        while True:
            while self._at < len(self._buffer) and self._buffer[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            if self._ended:
                return ""
            self._more(_PIECE)

    def _take(self, sign: str) -> None:
        if self._peek() != sign:
            raise self._error(f"{sign!r} is missing")
        self._at += 1

    def _more(self, count: int) -> None:
        """Read on, and forget what was used."""
        piece = self._stream.read(count)
        self._ended = not piece
        self._buffer, self._at = self._buffer[self._at :] + piece, 0

    def _error(self, why: str) -> FormatError:
        return FormatError(f"{self._name}: is no JSON that can be read ({why})")
