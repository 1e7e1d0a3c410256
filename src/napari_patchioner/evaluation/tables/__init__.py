"""Tables of the paper as run configurations: models, tasks, and the numbers that were published."""

from __future__ import annotations

from ._reproduce import Bench, Cell, print_table, reproduce
from ._table import Column, Row, Table, known_tables, open_table

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
