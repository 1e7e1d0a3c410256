"""A folder of small pictures that tell which one they are, and waiting for one to be read."""

from __future__ import annotations

import numpy as np
from PIL import Image

# No more than a limit: on a busy machine the first reading imports for half a minute.
PATIENCE_MS = 60_000


def paint(path, shade):
    """Write a picture whose first pixel tells which one it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((40, 60, 3), (30, 200, 60), np.uint8)
    pixels[0, 0] = shade
    Image.fromarray(pixels).save(path)


def settle(browser, qtbot, name):
    """Wait until an image is in the window, its work restored, and it is read."""
    qtbot.waitUntil(
        lambda: browser.opened is not None and browser.opened.file.name == name, timeout=PATIENCE_MS
    )
    opened = browser.opened
    qtbot.waitUntil(
        lambda: opened.project_file.searched and opened.controller.encoder.ready,
        timeout=PATIENCE_MS,
    )
    return opened
