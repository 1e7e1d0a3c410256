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


# A place inside the box that draw_all draws on the cup, and in no other shape.
IN_THE_BOX = (270, 180)


def draw_all(dock, hand) -> None:
    """Draw a box, a polygon, a lasso and a trace on the photograph of the coffee."""
    use(dock, "Box")
    hand.drag([(60, 150), (300, 430)])
    use(dock, "Polygon")
    for corner in [(14, 6), (14, 130), (150, 90)]:
        hand.click(*corner)
    hand.double_click(240, 8)
    use(dock, "Lasso")
    hand.drag(loop(235, 500, 95, 62))
    use(dock, "Trace")
    hand.drag([(95, 215), (125, 250), (140, 300), (115, 350)])


def open_window(library=None):
    """Return a viewer with a photograph and the dock."""
    import napari
    from skimage import data

    from napari_patchioner.viewer import CaptionDock

    viewer = napari.Viewer(show=True)
    viewer.window._qt_window.resize(1280, 800)
    image = viewer.add_image(data.coffee(), name="coffee")
    dock = CaptionDock(viewer, library=library)
    viewer.window.add_dock_widget(dock, name="Patch-ioner: caption regions", area="right")
    wait(seconds=1)
    viewer.reset_view()
    wait(seconds=0.5)
    return viewer, image, dock


def shoot(viewer, path: Path) -> None:
    """Save the window as a picture."""
    wait(seconds=0.6)
    path.parent.mkdir(parents=True, exist_ok=True)
    screen = QApplication.primaryScreen()
    screen.grabWindow(viewer.window._qt_window.winId()).save(str(path))
    print("wrote", path)


def read(dock) -> None:
    """Press Start and wait."""
    dock.panel.progress.button.click()
    wait(lambda: not dock.annotator.reader.active, 120, needed=True)


def describe(dock) -> None:
    """Have the whole image captioned."""
    dock.panel.describe.click()
    wait(lambda: bool(dock.panel.whole.editor.toPlainText()), 60, needed=True)


def photograph(viewer, image, dock, folder: Path) -> None:
    """Draw with every tool on the photograph and correct one caption."""
    read(dock)
    hand = hand_for(viewer, image)
    draw_all(dock, hand)
    wait(lambda: len(captions(dock)) == 4 and all(captions(dock)), 60, needed=True)
    describe(dock)
    use(dock, "Select")
    hand.click(*IN_THE_BOX)
    print(captions(dock))
    dock.panel.caption.editor.setPlainText("a full cup of coffee on a saucer")
    shoot(viewer, folder / "window.png")


def tissue(viewer, dock, folder: Path) -> None:
    """Show what is said where the image is no photograph."""
    from skimage import data

    for layer in viewer.layers:
        layer.visible = False
    image = viewer.add_image(data.immunohistochemistry(), name="tissue")
    viewer.reset_view()
    read(dock)
    hand = hand_for(viewer, image)
    use(dock, "Box")
    hand.drag([(60, 40), (230, 230)])
    use(dock, "Lasso")
    hand.drag(loop(360, 330, 90, 120))
    wait(lambda: len(captions(dock)) == 2 and all(captions(dock)), 60, needed=True)
    describe(dock)
    print(captions(dock))
    shoot(viewer, folder / "tissue.png")


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to put them")
    folder = parser.parse_args().folder
    viewer, image, dock = open_window()
    photograph(viewer, image, dock, folder)
    tissue(viewer, dock, folder)
    dock.shut_down()
    viewer.close()


if __name__ == "__main__":
    main()
