"""A drawing that is taken for a photograph: its caption comes with a warning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from skimage import data

from .hand import use, wait
from .window import Window

if TYPE_CHECKING:
    from pathlib import Path


def familiarity(folder: Path) -> None:
    """Draw boxes on the outline of a horse, and see what the window says of their captions."""
    outline = np.where(data.horse(), np.uint8(255), np.uint8(0))
    window = Window(outline, "horse")
    try:
        window.read()
        dock, hand = window.dock, window.hand
        use(dock, "Box")
        hand.drag([(10, 180), (310, 380)])
        hand.drag([(60, 20), (320, 200)])
        window.wait_for_captions(2)
        dock.panel.buttons["toggle_list"].click()
        wait(seconds=0.5)
        use(dock, "Select")
        dock.controller.select(list(dock.controller.session.records)[:1])
        wait(seconds=0.5)
        window.shoot(folder / "familiarity.png")
    finally:
        window.close()
