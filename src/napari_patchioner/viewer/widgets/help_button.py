"""What keys there are, and where to read more."""

from __future__ import annotations

from html import escape
from importlib.metadata import metadata
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QLabel, QPushButton, QScrollArea, QVBoxLayout, QWidget

from napari_patchioner.viewer.canvas.keys import (
    IN_THE_FOLDER,
    IN_THE_LIST,
    INSPECTING,
    KEYS,
    NAPARI,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

_TITLES = ("Documentation", "Homepage", "Repository", "Source")


class HelpButton(QPushButton):
    """Opens the table of keys; the window beside it can stay open."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("?", parent)
        self.setToolTip("Keys, and where to read more.")
        self.setAccessibleName("Help")
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setFixedWidth(30)
        self.dialog: QDialog | None = None
        self.clicked.connect(self.open)

    def open(self, *_: object) -> None:
        """Show the help, or bring it to the front."""
        if self.dialog is None:
            self.dialog = _dialog(self)
        self.dialog.show()
        self.dialog.raise_()


def help_text() -> str:
    """Return the help as rich text."""
    parts = [
        _table("With the canvas", _lines()),
        _table("While inspecting", INSPECTING),
        _table("With the list of regions", IN_THE_LIST),
        _table("With a folder of images", IN_THE_FOLDER),
        _table("napari's own, with a layer of shapes", NAPARI),
    ]
    link = documentation()
    if link:
        parts.append(f'<p><a href="{escape(link)}">Guide</a></p>')
    return "".join(parts)


def _lines() -> list[tuple[str, str]]:
    """Return the keys with their purposes; those of one purpose share a line."""
    lines: dict[str, list[str]] = {}
    for key in KEYS:
        lines.setdefault(key.purpose, []).append(_name(key.key))
    return [
        (names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}", purpose)
        for purpose, names in lines.items()
    ]


def documentation() -> str:
    """Return where the guide is, as the package itself says; empty where it does not."""
    lines = metadata("napari-patchioner").get_all("Project-URL") or []
    places = dict(line.split(", ", 1) for line in lines if ", " in line)
    return next((places[title] for title in _TITLES if title in places), "")


def _dialog(parent: QWidget) -> QDialog:
    dialog = QDialog(parent)
    dialog.setWindowTitle("Patch-ioner: keys")
    text = QLabel(help_text())
    text.setTextFormat(Qt.TextFormat.RichText)
    text.setOpenExternalLinks(True)
    text.setContentsMargins(12, 8, 12, 8)
    scroll = QScrollArea(dialog)
    scroll.setWidget(text)
    scroll.setWidgetResizable(True)
    layout = QVBoxLayout(dialog)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(scroll)
    dialog.resize(text.sizeHint().width() + 40, 560)
    return dialog


def _table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(
        f'<tr><td style="padding-right: 16px"><b>{escape(key)}</b></td><td>{escape(what)}</td></tr>'
        for key, what in rows
    )
    return f"<h4>{escape(title)}</h4><table>{cells}</table>"


def _name(key: str) -> str:
    """Write a key as it is printed on keyboards."""
    return key.replace("Control-", "Ctrl+").replace("Shift-", "Shift+")
