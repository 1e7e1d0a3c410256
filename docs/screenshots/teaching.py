"""A stained tissue whose parts are taught by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from skimage import data

from .hand import use, wait
from .window import Window

if TYPE_CHECKING:
    from pathlib import Path

# Boxes as (top, left, bottom, right); the first ones of each are taught, the others named.
GLAND = ((60, 30, 120, 100), (340, 80, 390, 140), (380, 270, 440, 350), (20, 330, 80, 420))
STROMA = ((250, 230, 300, 300), (380, 160, 440, 220), (300, 400, 360, 450), (150, 460, 220, 506))
LUMEN = ((330, 4, 380, 38),)
TAUGHT = {"gland": GLAND[:2], "stroma": STROMA[:2], "lumen": LUMEN}


def teaching(folder: Path) -> None:
    """Teach three names with five boxes, and have four others named."""
    window = Window(data.immunohistochemistry(), "tissue")
    try:
        window.read()
        dock, hand = window.dock, window.hand
        boxes = (*GLAND, *STROMA, *LUMEN)
        for top, left, bottom, right in boxes:
            use(dock, "Box")
            hand.drag([(top, left), (bottom, right)])
        window.wait_for_captions(len(boxes))
        use(dock, "Select")
        session = dock.controller.session
        uids = dict(zip(boxes, session.uids("regions"), strict=True))
        for name, taught in TAUGHT.items():
            for box in taught:
                select(dock, hand, box, uids[box])
                teach(dock, hand, name)
        wait(
            lambda: sum(r.source == "taught" for r in session.records.values()) >= 4,
            20,
            needed=True,
        )
        dock.teach.fold.expand(animate=False)
        dock.teach.coloured.click()
        select(dock, hand, GLAND[2], uids[GLAND[2]])
        wait(seconds=0.5)
        dock.verticalScrollBar().setValue(dock.teach.y() - 120)
        window.shoot(folder / "teaching.png")
    finally:
        window.close()


def select(dock, hand, box: tuple[int, int, int, int], uid: str) -> None:
    """Click into a box, and wait until it is selected."""
    top, left, bottom, right = box
    hand.click((top + bottom) / 2, (left + right) / 2)
    wait(lambda: dock.controller.selected() == [uid], 5, needed=True)
    wait(seconds=0.2)


def teach(dock, hand, name: str) -> None:
    """Type a name for what is selected."""
    hand.key(Qt.Key.Key_T, Qt.KeyboardModifier.ShiftModifier)
    QTest.keyClicks(dock.teach.name, name)
    QTest.keyClick(dock.teach.name, Qt.Key.Key_Return)
    wait(seconds=0.2)
