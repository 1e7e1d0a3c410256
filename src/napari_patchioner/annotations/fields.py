"""Taking a JSON object apart field by field, with errors that say where."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from napari_patchioner.errors import FormatError

_MISSING = object()
_NAMES = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "an object",
    type(None): "null",
    object: "a text or a number",
}


class Fields:
    """The fields of one JSON object; each is taken once, and what is left is somebody else's.

    ``where`` names the file and the place in it, for messages.
    """

    def __init__(self, value: object, where: str) -> None:
        self.where = where
        if not isinstance(value, dict):
            raise self.error(f"must be an object, but is {described(value)}")
        self._left: dict[str, Any] = dict(value)

    def error(self, problem: str) -> FormatError:
        """Return the error that says where the problem is."""
        return FormatError(f"{self.where}: {problem}")

    def take(self, name: str, kind: type, default: object = _MISSING) -> Any:
        """Return a field of a type; the default, or an error, where it is not there."""
        value = self._left.pop(name, default)
        if value is _MISSING:
            raise self.error(f"the field {name!r} is missing")
        if value is default or _is(value, kind):
            return value
        raise self.error(f"{name!r} must be {_NAMES[kind]}, but is {described(value)}")

    def choice(self, name: str, allowed: Collection[str], default: str) -> Any:
        """Return a text that is one of a few."""
        value = self.take(name, str, default)
        if value not in allowed:
            words = ", ".join(map(repr, allowed))
            raise self.error(f"{name!r} must be one of {words}, but is {value!r}")
        return value

    def items(self, name: str, kind: type, default: object = _MISSING) -> tuple[Any, ...]:
        """Return a list whose items are all of one type."""
        values = self.take(name, list, default)
        if all(_is(value, kind) for value in values):
            return tuple(values)
        raise self.error(f"every item of {name!r} must be {_NAMES[kind]}")

    def rest(self) -> dict[str, Any]:
        """Return the fields that nobody has taken."""
        return self._left


def described(value: object) -> str:
    """Return what a JSON value is, in words.

    >>> described(2.5)
    'a number'
    """
    return _NAMES.get(type(value), type(value).__name__)


def _is(value: object, kind: type) -> bool:
    """Whether a JSON value is of a type; whole numbers are numbers, truth values are not."""
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)
