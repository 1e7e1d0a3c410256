"""Regions of a photograph grown from clicks, and proposed ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from skimage import data

from .hand import Hand, use, wait
from .window import Window

if TYPE_CHECKING:
    from pathlib import Path

SHIFT, ALT = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.AltModifier


def grow(folder: Path) -> None:
    """Grow a cup from three clicks, one of which takes away, and begin another region."""
    window = Window(data.coffee(), "coffee")
    try:
        window.read()
        dock, hand = window.dock, Hand(window.viewer, window.image)
        use(dock, "Grow")
        hand.click(200, 300)
        window.wait_for_captions(1)
        window.shoot(folder / "grow1.png")
        hand.click(330, 300, SHIFT)
        wait(seconds=0.5)
        window.shoot(folder / "grow2.png")
        hand.click(50, 300, ALT)
        hand.click(330, 500)
        window.wait_for_captions(2)
        hand.press(30, 100)
        wait(seconds=0.5)
        window.shoot(folder / "grow.png")
        hand.release(30, 100)
    finally:
        window.close()
