"""Make the pictures of the guide from the real window, drawn in with a real mouse.

Run it where there is a display, or under Xvfb::

    xvfb-run -a -s "-screen 0 1440x900x24" python docs/screenshots.py

Where ``xdotool`` is installed it moves the real pointer; elsewhere Qt is sent the same presses,
moves and releases.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication

FOLDER = Path(__file__).parent / "images"


class Hand:
    """A mouse over napari's canvas that is told where to go in image pixels."""

    def __init__(self, viewer, image) -> None:
        self.viewer, self.image = viewer, image
        self.canvas = viewer.window._qt_viewer.canvas.native

    def place(self, row: float, column: float) -> QPoint:
        """Return where a pixel of the image lies on the canvas."""
        world = np.asarray(self.image.data_to_world((row, column)))
        camera = self.viewer.scene.camera
        size = np.array([self.canvas.height(), self.canvas.width()])
        at = (world[-2:] - np.asarray(camera.center)[-2:]) * camera.zoom + size / 2
        return QPoint(round(float(at[1])), round(float(at[0])))

    def send(self, kind, row, column, button=Qt.MouseButton.LeftButton, modifiers=None) -> None:
        """Send one mouse event and let napari work."""
        spot = QPointF(self.place(row, column))
        held = Qt.MouseButton.NoButton if kind == QEvent.Type.MouseButtonRelease else button
        cause = Qt.MouseButton.NoButton if kind == QEvent.Type.MouseMove else button
        whole = self.canvas.mapToGlobal(spot)
        keys = modifiers or Qt.KeyboardModifier.NoModifier
        QApplication.sendEvent(self.canvas, QMouseEvent(kind, spot, whole, cause, held, keys))
        QApplication.processEvents()

    def drag(self, points) -> None:
        """Press at the first point, move over all, release at the last."""
        self.send(QEvent.Type.MouseButtonPress, *points[0])
        for start, stop in itertools.pairwise(points):
            for share in np.linspace(0, 1, 6)[1:]:
                spot = np.asarray(start) + share * (np.asarray(stop) - start)
                self.send(QEvent.Type.MouseMove, *spot)
        self.send(QEvent.Type.MouseButtonRelease, *points[-1])

    def click(self, row, column, modifiers=None) -> None:
        """Press and release in one place."""
        self.send(QEvent.Type.MouseMove, row, column, Qt.MouseButton.NoButton)
        for kind in (QEvent.Type.MouseButtonPress, QEvent.Type.MouseButtonRelease):
            self.send(kind, row, column, modifiers=modifiers)

    def double_click(self, row, column) -> None:
        """Click, and click again at once."""
        self.click(row, column)
        self.send(QEvent.Type.MouseButtonDblClick, row, column)
        self.send(QEvent.Type.MouseButtonRelease, row, column)


class RealHand(Hand):
    """The same with the X server's own pointer, by way of xdotool."""

    def send(self, kind, row, column, button=Qt.MouseButton.LeftButton, modifiers=None) -> None:
        """Move the pointer there, then press or release."""
        spot = self.canvas.mapToGlobal(self.place(row, column))
        self.tool("mousemove", str(spot.x()), str(spot.y()))
        if kind == QEvent.Type.MouseButtonRelease:
            self.tool("mouseup", "1")
        elif kind != QEvent.Type.MouseMove:
            self.tool("mousedown", "1")
        wait(seconds=0.03)

    def double_click(self, row, column) -> None:
        """Click twice, fast enough to count as one double click."""
        self.send(QEvent.Type.MouseMove, row, column)
        self.tool("click", "--repeat", "2", "--delay", "60", "1")
        wait(seconds=0.2)

    @staticmethod
    def tool(*arguments: str) -> None:
        """Run xdotool."""
        subprocess.run(["xdotool", *arguments], check=True)


def hand_for(viewer, image) -> Hand:
    """Return a hand with the real pointer where that is possible."""
    real = shutil.which("xdotool") and QApplication.platformName() == "xcb"
    return (RealHand if real else Hand)(viewer, image)


def wait(condition=lambda: False, seconds: float = 0.3, *, needed: bool = False) -> None:
    """Let the window work until something is true, or for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not condition():
        QApplication.processEvents()
        time.sleep(0.01)
    if needed and not condition():
        raise TimeoutError("the window did not get there in time")


def loop(row, column, height, width, steps=24):
    """Return points around a place."""
    angles = np.linspace(0, 1.94 * np.pi, steps)
    return [(row + height * np.sin(a), column + width * np.cos(a)) for a in angles]


def use(dock, title: str) -> None:
    """Press one of the dock's drawing buttons."""
    dock.panel.draw.buttons[title].click()
    wait(seconds=0.1)


def captions(dock) -> list[str]:
    """Return the captions of all shapes."""
    records = dock.annotator.session.records.values()
    return [record.caption for record in records if record.kind == "shape"]


def draw_all(dock, hand) -> None:
    """Draw a box, a polygon, a lasso and a trace on the astronaut."""
    use(dock, "Box")
    hand.drag([(45, 155), (200, 290)])
    use(dock, "Polygon")
    for corner in [(20, 15), (20, 140), (230, 110)]:
        hand.click(*corner)
    hand.double_click(300, 30)
    use(dock, "Lasso")
    hand.drag(loop(130, 405, 105, 60))
    use(dock, "Trace")
    hand.drag([(330, 130), (390, 190), (420, 260), (470, 330)])


def open_window(library=None):
    """Return a viewer with the photograph and the dock."""
    import napari
    from skimage import data

    from napari_patchioner.viewer import CaptionDock

    viewer = napari.Viewer(show=True)
    viewer.window._qt_window.resize(1280, 800)
    image = viewer.add_image(data.astronaut(), name="astronaut")
    dock = CaptionDock(viewer, library=library)
    viewer.window.add_dock_widget(dock, name="Patch-ioner: caption regions", area="right")
    wait(seconds=1)
    viewer.reset_view()
    wait(seconds=0.5)
    return viewer, image, dock


def shoot(viewer, name: str) -> None:
    """Save the window as a picture."""
    wait(seconds=0.4)
    FOLDER.mkdir(parents=True, exist_ok=True)
    viewer.window._qt_window.grab()
    screen = QApplication.primaryScreen()
    screen.grabWindow(viewer.window._qt_window.winId()).save(str(FOLDER / name))
    print("wrote", FOLDER / name)


def main(library=None) -> None:
    """Draw, wait for the captions, correct one, and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    globals()["FOLDER"] = parser.parse_args().folder
    viewer, image, dock = open_window(library)
    dock.panel.progress.button.click()
    wait(lambda: dock.annotator.reader.captioner is not None, 120, needed=True)
    hand = hand_for(viewer, image)
    draw_all(dock, hand)
    wait(lambda: len(captions(dock)) == 4 and all(captions(dock)), 60, needed=True)
    dock.panel.describe.click()
    wait(lambda: bool(dock.panel.whole.editor.toPlainText()), 60, needed=True)
    use(dock, "Select")
    viewer.layers.selection.active = dock.annotator.layer("regions")
    hand.click(60, 170)
    shoot(viewer, "window.png")
    print(captions(dock))
    dock.shut_down()
    viewer.close()


if __name__ == "__main__":
    main()
