"""The models there are, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._text import text_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_FIELDS = ("id", "title", "licence", "size", "note")


def models_table(cards: Sequence[Any]) -> str:
    """Return the models as a table in plain text, one line each."""
    rows = [[_cell(getattr(card, field, "")) for field in _FIELDS] for card in cards]
    return text_table(_FIELDS, rows)


def _cell(value: object) -> str:
    """Return a value as text; a number is a size in bytes."""
    if isinstance(value, (int, float)):
        return f"{value / 1e6:.1f} MB"
    return "" if value is None else str(value)
