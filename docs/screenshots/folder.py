"""A folder of photographs that somebody is in the middle of."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from skimage import data

from .hand import hand_for, loop, use, wait
from .window import Window

if TYPE_CHECKING:
    from napari_patchioner.viewer.folder.dock import Browser

NAMES = {
    "kitchen/coffee.png": data.coffee,
    "pets/cat.png": data.chelsea,
    "people/astronaut.png": data.astronaut,
    "rockets/launch.png": data.rocket,
    "tissue/slide 2.png": data.immunohistochemistry,
    "tissue/slide 10.png": data.retina,
}


def folder(pictures: Path, theme: str = "dark") -> None:
    """Work on some of them, tick one, come to one that is damaged."""
    window = Window(np.zeros((8, 8)), "nothing", theme)
    try:
        with tempfile.TemporaryDirectory() as place:
            root = Path(place) / "Photographs"
            write(root)
            gone_through(window, root, pictures)
    finally:
        window.close()


def write(root: Path) -> None:
    """Write photographs, and a file that is none."""
    for name, take in NAMES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.asarray(take())
        Image.fromarray(pixels[::2, ::2] if max(pixels.shape) > 1000 else pixels).save(path)
    (root / "people" / "torn.png").write_bytes(b"no picture")


def gone_through(window: Window, root: Path, pictures: Path) -> None:
    """Draw on two images, and go on to the next."""
    from napari_patchioner.viewer import FolderDock

    viewer = window.viewer
    viewer.layers.clear()
    dock = FolderDock(viewer)
    viewer.window.add_dock_widget(dock, name="Patch-ioner: folder of images", area="left")
    browser = dock.browser
    dock.open_folder(root)
    wait(lambda: len(browser.listing.statuses) == len(NAMES) + 1, 20, needed=True)
    come(browser, "kitchen/coffee.png")
    draw(window, [loop(200, 300, 120, 130), loop(60, 80, 40, 60)])
    browser.done()
    come(browser, "people/astronaut.png")
    browser.step(1)
    come(browser, "pets/cat.png")
    draw(window, [loop(160, 230, 110, 130)])
    wait(lambda: browser.prefetcher.ready, 60, needed=True)
    wait(seconds=1)
    window.shoot(pictures / "folder.png")
    dock.shut_down()


def come(browser: Browser, name: str) -> None:
    """Wait until an image is in the window and read; open it if nobody did."""
    if browser.opened is None:
        browser.go(browser.listing.find(name))
    wait(lambda: browser.opened is not None and browser.opened.file.name == name, 20, needed=True)
    wait(lambda: browser.opened.controller.encoder.ready, 120, needed=True)


def draw(window: Window, loops: list) -> None:
    """Draw with the lasso, and wait for what is said of it."""
    controller = window.dock.controller
    window.image = controller.image
    window.step_back()
    hand = hand_for(window.viewer, controller.image)
    for places in loops:
        use(window.dock, "Lasso")
        hand.drag(places)
    window.wait_for_captions(len(loops))
