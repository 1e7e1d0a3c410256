"""Where the work is saved, in one line, and the way to other projects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_patchioner.viewer.session.session import counted
from napari_patchioner.viewer.widgets.basic import narrow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_patchioner.annotations import CopyProject

CLEAR = "Clear the grid store…"


class ProjectRow(QWidget):
    """Tells whether all work is saved.

    Attributes
    ----------
    offer : CopyOffer
        A question, to be laid out where it is seen at once.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = QElidingLabel("", self)
        self.state.setElideMode(Qt.TextElideMode.ElideMiddle)
        self.open = QPushButton("Open project…", self)
        self.open.setToolTip("Load saved work on this image from a file.")
        self.open.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.menu = QMenu(self)
        self.menu.setToolTipsVisible(True)
        self.save = self.menu.addAction("Save now (Ctrl+S)")
        self.save.setToolTip("Work is saved by itself; this is for peace of mind.")
        self.merge = self.menu.addAction("Merge…")
        self.merge.setToolTip("Take over what another project of this image has.")
        self.menu.addSeparator()
        self.folder = self.menu.addAction("Folder of images…")
        self.folder.setToolTip("List the images of a folder and go through them.")
        self.clear = self.menu.addAction(CLEAR)
        self.clear.setToolTip("Delete what was read of images; it is read again when needed.")
        self.more = QToolButton(self)
        self.more.setText("More")
        # Room for the arrow beside the text
        self.more.setStyleSheet("QToolButton { padding: 2px 14px 2px 4px; }")
        self.more.setToolTip("Save now, merge projects, go through a folder, clear the grid store.")
        self.more.setMenu(self.menu)
        self.more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.more.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.offer = CopyOffer(self)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.state, 1)
        layout.addWidget(self.open)
        layout.addWidget(self.more)

    def show_state(self, state: str, path: Path | None, problem: str = "") -> None:
        """Show a few words; the whole path, or what is wrong, is the tooltip."""
        self.state.setText(state)
        self.state.setToolTip(problem or (str(path) if path is not None else ""))


class CopyOffer(QWidget):
    """Asks whether to take over the work on an image with the same pixels; nothing waits for it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.question = QLabel(self)
        self.question.setWordWrap(True)
        narrow(self.question)
        self.question.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.accept = QPushButton("Take them over", self)
        self.accept.setToolTip("They go on beside this image; the other project stays as it is.")
        self.refuse = QPushButton("Start fresh", self)
        self.refuse.setToolTip("Leave them where they are; More > Merge… offers them still.")
        row = QHBoxLayout()
        for one in (self.accept, self.refuse):
            one.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            row.addWidget(one)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.question)
        layout.addLayout(row)
        self.hide()

    def show_copies(self, copies: Sequence[CopyProject]) -> None:
        """Ask about the first of these, or about nothing."""
        self.setVisible(bool(copies))
        if copies:
            self.question.setText(question(copies))
            self.question.setToolTip(question(copies))


def question(copies: Sequence[CopyProject]) -> str:
    """Return what to ask about the first of some copies."""
    first, more = copies[0], len(copies) - 1
    place = first.image_path or first.path
    where = "at" if first.image_exists or not first.image_path else "that is no longer at"
    others = f" (and of {counted(more, 'other copy', 'other copies')})" if more else ""
    number = counted(first.captions, "caption")
    return f"An identical image {where} {place} has {number}{others}. Take them over?"
