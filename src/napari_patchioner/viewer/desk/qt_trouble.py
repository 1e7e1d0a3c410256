"""A Qt binding that would take the person's work along."""

from __future__ import annotations

import sys

import qtpy


def qt_trouble() -> str:
    """Return a warning where the Qt binding is known to end the process, else nothing.

    PySide6 6.12.0 loses a reference to None at every call that returns nothing. Since Python
    3.12 None counts no references; before, the interpreter ends once they are used up.
    """
    broken = qtpy.PYSIDE6 and qtpy.PYSIDE_VERSION == "6.12.0"
    if not broken or sys.version_info >= (3, 12):
        return ""
    return (
        "PySide6 6.12.0 ends napari after some minutes on Python 3.11: save often, and install "
        "PySide6 6.11 or PyQt6 instead"
    )
