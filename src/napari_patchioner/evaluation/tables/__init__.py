"""Tables of the paper as run configurations: models, tasks, and the numbers that were published."""

from __future__ import annotations

from .reproduce import Bench, known_tables, open_table, print_table, reproduce

__all__ = ["Bench", "known_tables", "open_table", "print_table", "reproduce"]
