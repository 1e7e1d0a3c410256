"""What a phrase says is looked for on a photograph of a cat beside a cup."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from skimage import data

from .hand import use, wait
from .window import Window

if TYPE_CHECKING:
    from pathlib import Path


def phrase(folder: Path) -> None:
    """Draw two shapes, type a phrase, and see where it is and which shape shows it."""
    cup = data.coffee()[50:350, 30:481]
    window = Window(np.concatenate([data.cat(), cup]), "cat and cup")
    try:
        window.read()
        dock, hand = window.dock, window.hand
        use(dock, "Box")
        hand.drag([(320, 20), (540, 410)])
        hand.drag([(60, 20), (290, 200)])
        window.wait_for_captions(2)
        use(dock, "Select")
        field = dock.panel.phrase.text
        QTest.mouseClick(field, Qt.MouseButton.LeftButton)
        QTest.keyClicks(field, "a brown cat, not a dog")
        QTest.keyClick(field, Qt.Key.Key_Return)
        search = dock.controller.search
        wait(lambda: search.proposals is not None and search.progress is None, 20, needed=True)
        wait(seconds=1.0)
        dock.verticalScrollBar().setValue(0)
        wait(seconds=0.3)
        window.shoot(folder / "phrase.png")
    finally:
        window.close()
