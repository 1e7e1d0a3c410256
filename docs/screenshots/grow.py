"""Regions of a photograph grown from clicks, and proposed ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from skimage import data

from .hand import Hand, use, wait
from .window import Window

if TYPE_CHECKING:
    from pathlib import Path

SHIFT = Qt.KeyboardModifier.ShiftModifier


def grow(folder: Path) -> None:
    """Grow regions from clicks, with the button still held; then propose some."""
    window = Window(data.coffee(), "coffee")
    try:
        window.read()
        dock, hand = window.dock, Hand(window.viewer, window.image)
        use(dock, "Grow")
        hand.click(200, 300)
        hand.click(330, 300, SHIFT)
        hand.click(330, 500)
        window.wait_for_captions(2)
        hand.press(30, 100)
        wait(lambda: dock.controller.grower.outline is not None, 20, needed=True)
        window.shoot(folder / "grow.png")
        hand.release(30, 100)
    finally:
        window.close()


def propose(folder: Path) -> None:
    """Propose regions, and accept one."""
    window = Window(data.coffee(), "coffee")
    try:
        window.read()
        dock = window.dock
        dock.panel.draw.propose.click()
        search = dock.controller.search
        wait(lambda: search.proposals is not None and search.progress is None, 30, needed=True)
        QTest.keyClick(dock.find.list, Qt.Key.Key_Y)
        wait(seconds=0.5)
        dock.verticalScrollBar().setValue(0)
        window.shoot(folder / "propose.png")
    finally:
        window.close()
