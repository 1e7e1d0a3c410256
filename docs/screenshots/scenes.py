"""The scenes, one for each picture: what is done in the window before it is taken."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from skimage import data

from .apart import apart, wordings
from .coffee import IN_THE_BOX, draw_all, draw_kinds, paint_saucer
from .compare import differences, slices
from .describe import describe
from .describer import describer
from .familiarity import familiarity
from .folder import folder
from .grow import grow, propose
from .hand import loop, use, wait
from .phrase import phrase
from .teaching import teaching
from .why import why
from .window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SENTENCES = """A nucleus stained blue
Cytoplasm stained brown by the antibody
a nucleus  stained BLUE

42
A gland with a clear lumen
A fold in the section
"""


@contextmanager
def opened(pixels, name: str, theme: str = "dark") -> Iterator[Window]:
    """Open a window with an image that has been read."""
    window = Window(pixels, name, theme)
    try:
        window.read()
        yield window
    finally:
        window.close()


def photograph(folder: Path) -> None:
    """Draw, correct, list, review: one window after another as a person goes on."""
    with opened(data.coffee(), "coffee") as window:
        dock, hand = window.dock, window.hand
        draw_all(dock, hand)
        window.wait_for_captions(4)
        window.describe()
        use(dock, "Select")
        hand.click(*IN_THE_BOX)
        dock.panel.caption.editor.setPlainText("a full cup of coffee on a saucer")
        window.shoot(folder / "window.png")
        draw_kinds(dock, hand)
        window.wait_for_captions(8)
        use(dock, "Select")
        hand.click(10, 590)
        window.shoot(folder / "kinds.png")
        patches(window, folder)
        inspected(window, folder)
        listed(window, folder)
        models(window, folder)


def patches(window: Window, folder: Path) -> None:
    """Show the patch grid, and the patches of the lasso with their weights."""
    window.hand.click(335, 500)
    for switch in (window.dock.inspect.grid, window.dock.inspect.patches):
        switch.click()
    window.shoot(folder / "patches.png")
    for switch in (window.dock.inspect.grid, window.dock.inspect.patches):
        switch.click()


def inspected(window: Window, folder: Path) -> None:
    """Hold the cursor still over the spoon, with a brush."""
    bar = window.dock.inspect
    for switch in (bar.inspect, bar.patches):
        switch.click()
    bar.brush.setValue(1)
    for step in range(5):
        window.hand.move(300 - 2 * step, 350 + 2 * step)
    wait(lambda: bar.text.text() not in ("…", "Move over the image."), 20, needed=True)
    window.shoot(folder / "inspect.png")
    for switch in (bar.inspect, bar.patches):
        switch.click()


def listed(window: Window, folder: Path) -> None:
    """List what holds a word, then review the doubtful ones."""
    dock = window.dock
    dock.image_actions.toggle_list()
    wait(seconds=0.5)
    window.step_back()
    dock.region_list.search.setText("cup")
    wait(seconds=0.3)
    dock.region_list.step(1)
    window.shoot(folder / "list.png")
    dock.region_list.search.clear()
    dock.panel.buttons["start_review"].click()
    window.shoot(folder / "review.png")
    dock.image_actions.stop_review()
    dock.image_actions.toggle_list()
    wait(seconds=0.3)


def models(window: Window, folder: Path) -> None:
    """Open the list of models."""
    window.dock.models.choice.showPopup()
    window.shoot(folder / "models.png", (640, 0, 1280, 520))
    window.dock.models.choice.hidePopup()


def vocabulary(folder: Path) -> None:
    """Paste sentences, some of which are of no use."""
    with opened(data.immunohistochemistry(), "tissue") as window:
        panel = window.dock.vocabulary
        panel.ask()
        dialog = panel.dialog
        dialog.name.setText("tissue")
        dialog.text.setPlainText(SENTENCES)
        wait(lambda: dialog.build.isEnabled(), seconds=20, needed=True)
        dialog.grab().save(str(folder / "vocabulary.png"))
        dialog.reject()


def points_and_labels(folder: Path) -> None:
    """Click to caption, and paint labels, one with a hole; in the light theme."""
    with opened(data.coffee(), "coffee", "light") as window:
        viewer, dock, hand = window.viewer, window.dock, window.hand
        labels = viewer.add_labels(np.zeros(window.image.data.shape[:2], int), name="painted")
        dock.controller.sources.follow(labels)
        viewer.layers.selection.active = labels
        paint_saucer(labels, hand)
        labels.opacity = 0.45
        dock.inspect.new_points()
        for place in ((60, 70), (150, 280), (370, 40)):
            hand.click(*place)
        window.wait_for_captions(5)
        dock.image_actions.toggle_list()
        wait(seconds=0.5)
        window.step_back()
        dock.region_list.step(1)
        window.shoot(folder / "points-and-labels.png")


def tissue(folder: Path) -> None:
    """Show what is said where the image is no photograph."""
    with opened(data.immunohistochemistry(), "tissue") as window:
        use(window.dock, "Box")
        window.hand.drag([(90, 40), (250, 230)])
        use(window.dock, "Lasso")
        window.hand.drag(loop(390, 330, 80, 120))
        window.describe()
        window.wait_for_captions(3)
        window.shoot(folder / "tissue.png")


def find(folder: Path) -> None:
    """Find more coins like two of them."""
    with opened(data.coins(), "coins") as window:
        dock = window.dock
        use(dock, "Box")
        for corners in COINS:
            window.hand.drag(corners)
        wait(lambda: len(dock.controller.session.records) == len(COINS), 5, needed=True)
        for uid in list(dock.controller.session.records):
            dock.controller.edit(uid, "coin")
        dock.controller.select(dock.controller.session.uids("regions"))
        dock.panel.buttons["find_like"].click()
        search = dock.controller.search
        wait(lambda: search.proposals is not None, 60, needed=True)
        dock.find.list.setCurrentRow(2)
        window.shoot(folder / "find.png")


# Corners of boxes around two coins
COINS = [[(28, 129), (74, 179)], [(170, 189), (216, 237)]]
SCENES: dict[str, Callable[[Path], None]] = {
    "photograph": photograph,
    "points": points_and_labels,
    "tissue": tissue,
    "vocabulary": vocabulary,
    "folder": folder,
    "teaching": teaching,
    "find": find,
    "phrase": phrase,
    "why": why,
    "apart": apart,
    "wordings": wordings,
    "grow": grow,
    "describe": describe,
    "describer": describer,
    "propose": propose,
    "familiarity": familiarity,
    "differences": differences,
    "slices": slices,
}
