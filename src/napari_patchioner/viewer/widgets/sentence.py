"""A text of several lines that fits into any width."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QLabel

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

# A place where a line may be broken, which nobody sees.
_BREAK = "\u200b"
_LONG, _PIECE = 16, 8


class Sentence(QLabel):
    """Breaks names that are longer than a line, where a label would grow as wide as they are.

    Parameters
    ----------
    parent : QWidget, optional
        As for any widget.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWordWrap(True)
        narrow(self)

    def setText(self, text: str) -> None:
        """Show a text, also as the tooltip where part of it may not be readable."""
        broken = re.sub(rf"\S{{{_LONG},}}", _broken, text)
        self.setToolTip(text if broken != text else "")
        super().setText(broken)

    def text(self) -> str:
        """Return the text as it was given."""
        return super().text().replace(_BREAK, "")


def narrow(label: QLabel) -> None:
    """Let a label ask for no width: its longest word would set that of the whole dock."""
    label.setMinimumWidth(1)


def _broken(word: re.Match[str]) -> str:
    text = word.group()
    return _BREAK.join(text[place : place + _PIECE] for place in range(0, len(text), _PIECE))
