"""Captions in other words: told apart, a brown cat beside a gray one, and in a context."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from skimage import color, data
from superqt import QCollapsible

from .hand import use, wait
from .window import Window

if TYPE_CHECKING:
    from pathlib import Path


def apart(folder: Path) -> None:
    """Draw a box around each of two cats, and press Tell apart."""
    gray = np.repeat((255 * color.rgb2gray(data.cat()[:, ::-1])).astype(np.uint8)[..., None], 3, 2)
    window = Window(np.concatenate([data.cat(), gray], axis=1), "two cats")
    try:
        window.read()
        dock, hand = window.dock, window.hand
        use(dock, "Box")
        hand.drag([(20, 20), (285, 420)])
        hand.drag([(20, 490), (285, 880)])
        window.wait_for_captions(2)
        use(dock, "Select")
        QTest.mouseClick(dock.panel.buttons["set_apart"], Qt.MouseButton.LeftButton)
        wait(lambda: not dock.controller.rewriter.is_busy, 20, needed=True)
        wait(seconds=1.0)
        window.shoot(folder / "apart.png")
    finally:
        window.close()


def wordings(folder: Path) -> None:
    """Rank the wordings of a doubtful region by a context, with the options in sight."""
    window = Window(data.coffee(), "coffee")
    try:
        window.read()
        dock, hand = window.dock, window.hand
        use(dock, "Box")
        hand.drag([(170, 60), (420, 290)])
        window.wait_for_captions(1)
        use(dock, "Select")
        options = dock.panel.findChild(QCollapsible)
        options.expand(animate=False)
        dock.panel.options["context"].value = "a hot drink, coffee"
        dock.panel.options["specificity"].value = 0.5
        wait(seconds=2.0)
        dock.controller.rewriter.rank([])
        wait(lambda: not dock.controller.rewriter.is_busy, 20, needed=True)
        wait(seconds=0.5)
        dock.ensureWidgetVisible(dock.panel.options["layer_names"].native)
        wait(seconds=0.5)
        window.shoot(folder / "wordings.png")
    finally:
        window.close()
