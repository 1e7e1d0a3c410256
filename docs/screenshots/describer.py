"""A question about a region, answered by a server of this machine.

The server is one of the tests' own: it says what it is told to, and nothing of the picture is
understood. What the window does with an answer is the same with any other.
"""

from __future__ import annotations

import sys
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from skimage import data

from napari_patchioner.models.servers import ServerSettings, write_settings

from .hand import use, wait
from .window import Window

SUPPORT = Path(__file__).parents[2] / "tests" / "support"
QUESTION = "what is she wearing?"
ANSWER = [
    "An orange ",
    "flight suit ",
    "with a mission ",
    "patch on its ",
    "chest and a ",
    "white ",
]
ANSWER += ["ring at ", "the neck."]


def describer(folder: Path) -> None:
    """Draw a region, ask about it, and see the answer come."""
    sys.path.insert(0, str(SUPPORT))
    from chat_server import serving

    # In the place for models of this scene, which is empty
    with serving() as chat:
        chat.models, chat.pieces, chat.pause = ["demo-answers"], ANSWER, 0.1
        write_settings(ServerSettings(chat.url, "demo-answers"))
        window = Window(data.astronaut(), "astronaut")
        try:
            window.read()
            dock = window.dock
            use(dock, "Box")
            window.hand.drag([(170, 60), (505, 400)])
            window.wait_for_captions(1)
            use(dock, "Select")
            window.hand.click(400, 80)
            wait(seconds=0.5)
            field = dock.ask.text
            QTest.mouseClick(field, Qt.MouseButton.LeftButton)
            QTest.keyClicks(field, QUESTION)
            QTest.keyClick(field, Qt.Key.Key_Return)
            describing = dock.controller.describing
            wait(lambda: not describing.running, 30, needed=True)
            dock.ensureWidgetVisible(dock.ask)
            wait(seconds=0.5)
            window.shoot(folder / "describer.png")
            dock.ask.use.click()
            wait(seconds=0.5)
            print(dock.panel.caption.verdict.text())
        finally:
            window.close()
