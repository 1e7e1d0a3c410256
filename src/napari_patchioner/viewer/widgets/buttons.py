"""The buttons of the dock: none of them takes the keyboard away from the canvas."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton


def button(title: str, tip: str, *, checkable: bool = False) -> QPushButton:
    """Return a button.

    Parameters
    ----------
    title : str
        What it says.
    tip : str
        What it does, and the key that does the same.
    checkable : bool
        Whether it stays pressed.
    """
    made = QPushButton(title)
    made.setToolTip(tip)
    made.setCheckable(checkable)
    made.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return made
