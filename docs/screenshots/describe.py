"""Where regions are and how large, and what they say together, on two cats and two cups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from skimage import data
from skimage.transform import resize

from .hand import use, wait
from .window import Window

if TYPE_CHECKING:
    from pathlib import Path

# Millimetres of the table in a pixel.
SIDE = 0.5
CAT = [(12, 40), (288, 430)]
SMALL_CAT = [(332, 540), (510, 790)]
CUP = [(40, 540), (250, 830)]
SMALL_CUP = [(345, 90), (490, 310)]


def animals_and_cups():
    """Return a picture of two cats and two cups, 600 rows by 900 columns."""
    cat = data.cat()[:, :450]
    cup = _small(data.coffee(), 300, 450)
    smaller = []
    for picture in (cup, cat):
        canvas = np.full((300, 450, 3), 200, np.uint8)
        canvas[20:220, 60:360] = _small(picture[:, ::-1], 200, 300)
        smaller.append(canvas)
    return np.concatenate([np.concatenate([cat, cup], 1), np.concatenate(smaller, 1)])


def _small(picture, height: int, width: int):
    shape = (height, width)
    return resize(picture, shape, anti_aliasing=True, preserve_range=True).astype(np.uint8)


def describe(folder: Path) -> None:
    """Add place and size to four captions, then have a paragraph made of them."""
    window = Window(animals_and_cups(), "table")
    window.image.scale, window.image.units = (SIDE, SIDE), ("mm", "mm")
    window.step_back()
    try:
        window.read()
        dock, hand = window.dock, window.hand
        use(dock, "Box")
        for corners in (CAT, CUP, SMALL_CAT, SMALL_CUP):
            hand.drag(corners)
        window.wait_for_captions(4)
        use(dock, "Select")
        hand.click(CUP[0][0], 700)
        dock.panel.caption.editor.setPlainText("my espresso cup")
        wait(seconds=0.3)
        dock.controller.select([])
        [add, *_] = [a for a in dock.panel.reword.menu().actions() if "place" in a.text()]
        add.trigger()
        wait(lambda: not dock.controller.describer.is_busy, seconds=20, needed=True)
        dock.controller.select(dock.controller.session.uids("regions")[:1])
        dock.region_list.toggle()
        wait(seconds=0.6)
        window.step_back()
        window.shoot(folder / "place.png")
        dock.region_list.toggle()
        dock.panel.buttons["describe_whole"].click()
        wait(lambda: not dock.controller.describer.is_busy, seconds=20, needed=True)
        dock.controller.select([])
        dock.panel.paragraph.linkHovered.emit("0")
        wait(seconds=0.6)
        window.step_back()
        dock.ensureWidgetVisible(dock.panel.whole)
        window.shoot(folder / "paragraph.png")
        print(dock.controller.current_whole().caption)
    finally:
        window.close()
