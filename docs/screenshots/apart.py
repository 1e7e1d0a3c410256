"""Regions that are called the same are told apart: a brown cat beside a gray one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from skimage import color, data

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
