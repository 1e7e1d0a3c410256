"""The words of a caption and their patches, and a sentence that is checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from skimage import data

from .hand import use, wait
from .window import Window

if TYPE_CHECKING:
    from pathlib import Path


def why(folder: Path) -> None:
    """Write a caption with a wrong word, look at a right one, and have the sentence checked."""
    cup = data.coffee()[50:350, 30:481]
    window = Window(np.concatenate([data.cat(), cup]), "cat and cup")
    try:
        window.read()
        dock, hand = window.dock, window.hand
        use(dock, "Box")
        hand.drag([(8, 8), (290, 440)])
        window.wait_for_captions(1)
        use(dock, "Select")
        hand.click(150, 220)
        box = dock.panel.caption
        box.editor.selectAll()
        QTest.keyClicks(box.editor, "a brown dog beside a red bus, with a cat")
        QTest.mouseClick(dock.panel.buttons["toggle_why"], Qt.MouseButton.LeftButton)
        explainer = dock.controller.why
        wait(lambda: explainer.explained is not None, 20, needed=True)
        wait(seconds=0.5)
        words = box.why.words
        row = next(n for n in range(words.count()) if words.item(n).text() == "cat")
        place = words.visualItemRect(words.item(row)).center()
        QTest.mouseMove(words.viewport(), place - QPoint(3, 0))
        QTest.mouseMove(words.viewport(), place)
        wait(lambda: explainer.chosen == row, 5, needed=True)
        dock.ensureWidgetVisible(box)
        wait(seconds=1.0)
        window.shoot(folder / "why.png")
        _check(window, folder)
    finally:
        window.close()


def _check(window: Window, folder: Path) -> None:
    """Have another sentence checked, a smaller region of which is called Rex."""
    dock, hand = window.dock, window.hand
    QTest.mouseClick(dock.panel.buttons["toggle_why"], Qt.MouseButton.LeftButton)
    use(dock, "Box")
    hand.drag([(60, 60), (280, 330)])
    window.wait_for_captions(2)
    use(dock, "Select")
    box = dock.panel.caption
    hand.click(170, 200)
    box.editor.selectAll()
    QTest.keyClicks(box.editor, "Rex")
    hand.click(20, 30)
    box.editor.selectAll()
    QTest.keyClicks(box.editor, "A dog looks up")
    session, uid = dock.controller.session, dock.controller.selected()[0]
    action = next(a for a in dock.panel.reword.menu().actions() if a.text() == "Check my sentence")
    action.trigger()
    wait(lambda: bool(session.records[uid].alternatives), 20, needed=True)
    wait(lambda: dock.panel.caption.wordings.texts()[:1] == ["Rex looks up"], 20, needed=True)
    dock.ensureWidgetVisible(box)
    wait(seconds=1.0)
    window.shoot(folder / "your-sentence.png")
