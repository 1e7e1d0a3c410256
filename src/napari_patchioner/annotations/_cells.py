"""Cells that a spreadsheet shows and does not run, and that read back as they were.

A spreadsheet takes a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return
for a formula. Such a text gets one apostrophe in front. So that no text is mistaken for a guarded
one, a text that itself begins with apostrophes followed by such a sign gets one more; reading
takes exactly one away. Every other text, also one like ``'tis``, stays as it is.
"""

from __future__ import annotations

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z")


def guard_cell(text: str) -> str:
    """Return the text as it is written into a table.

    >>> guard_cell("=1+1"), guard_cell("'=1+1"), guard_cell("'tis a cat")
    ("'=1+1", "''=1+1", "'tis a cat")
    """
    return f"'{text}" if _FORMULA.match(text) else text


def unguard_cell(cell: str) -> str:
    """Return the text that a cell stands for; undoes `guard_cell`.

    >>> unguard_cell("'=1+1"), unguard_cell("''=1+1"), unguard_cell("'tis a cat")
    ('=1+1', "'=1+1", "'tis a cat")
    """
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def guard_extra_cell(text: str) -> str:
    """Guard a cell of somebody else's column: plain numbers stay plain numbers.

    >>> guard_extra_cell("-3.5"), guard_extra_cell("-3.5+A1")
    ('-3.5', "'-3.5+A1")
    """
    return text if _NUMBER.match(text) else guard_cell(text)
