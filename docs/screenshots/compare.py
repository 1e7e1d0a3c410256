"""Two shapes compared with each other, and one over the slices of a stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from skimage import data

from .hand import use, wait
from .window import SIZE, Window

if TYPE_CHECKING:
    from pathlib import Path

WIDTH, HEIGHT = 560, 250


def differences(folder: Path) -> None:
    """Select a cat and a cup, and press Compare."""
    cup = data.coffee()[50:350, 30:480]
    window = Window(np.concatenate([data.cat(), cup], axis=1), "cat and cup")
    try:
        window.read()
        dock, hand = window.dock, window.hand
        use(dock, "Box")
        hand.drag([(20, 60), (280, 400)])
        hand.drag([(40, 571), (290, 881)])
        window.wait_for_captions(2)
        use(dock, "Select")
        dock.controller.select(list(dock.controller.session.records))
        _compare(dock)
        dock.ensureWidgetVisible(dock.panel.buttons["compare"])
        window.shoot(folder / "differences.png")
    finally:
        window.close()


def slices(folder: Path) -> None:
    """Draw a box on a slice of a stack, and compare its slices."""
    cup, cat = data.coffee()[50:350, 30:430], data.cat()[:300, :400]
    window = Window(np.stack([cup] * 2 + [cat] * 3), "stack")
    try:
        window.viewer.dims.set_point(0, 3)
        window.read()
        dock, hand = window.dock, window.hand
        use(dock, "Box")
        hand.drag([(20, 60), (280, 380)])
        window.wait_for_captions(1)
        use(dock, "Select")
        dock.controller.select(list(dock.controller.session.records))
        _compare(dock)
        window.shoot(folder / "slices.png")
    finally:
        window.close()


def _compare(dock) -> None:
    """Press Compare, and put its window where the image leaves room."""
    dock.panel.buttons["compare"].click()
    comparer = dock.controller.comparer
    wait(lambda: comparer.progress is None, 60, needed=True)
    dock.compare.setGeometry(30, SIZE[1] - HEIGHT - 40, WIDTH, HEIGHT)
    wait(seconds=0.5)
