"""Tables of the paper as run configurations: models, tasks, and the numbers that were published."""

from __future__ import annotations

from .published import Column, Row, Table, known_tables, open_table
from .reproduce import Bench, Cell, print_table, reproduce

__all__ = [
    "Bench",
    "Cell",
    "Column",
    "Row",
    "Table",
    "known_tables",
    "open_table",
    "print_table",
    "reproduce",
]
