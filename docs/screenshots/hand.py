"""A hand at the mouse and the keyboard, told where to go in pixels of the image."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import time

import numpy as np
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

LEFT, NONE = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
PLAIN = Qt.KeyboardModifier.NoModifier
# napari takes in the cursor's moves at most every few milliseconds.
PACE_S = 0.012


class Hand:
    """A mouse and a keyboard over napari's canvas; Qt is sent what they do."""

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

    def send(self, kind, row, column, button=LEFT, modifiers=None) -> None:
        """Send one mouse event and let napari work."""
        spot = QPointF(self.place(row, column))
        held = NONE if kind == QEvent.Type.MouseButtonRelease else button
        cause = NONE if kind == QEvent.Type.MouseMove else button
        whole = self.canvas.mapToGlobal(spot)
        event = QMouseEvent(kind, spot, whole, cause, held, modifiers or PLAIN)
        QApplication.sendEvent(self.canvas, event)
        QApplication.processEvents()

    def press(self, row, column, modifiers=None) -> None:
        """Press the button and hold it."""
        self.send(QEvent.Type.MouseButtonPress, row, column, modifiers=modifiers)

    def release(self, row, column, modifiers=None) -> None:
        """Let the button go."""
        self.send(QEvent.Type.MouseButtonRelease, row, column, modifiers=modifiers)

    def move(self, row, column) -> None:
        """Move without a button held."""
        self.send(QEvent.Type.MouseMove, row, column, NONE)
        wait(seconds=PACE_S)

    def drag(self, points) -> None:
        """Press at the first point, move over all, release at the last."""
        self.move(*points[0])
        self.press(*points[0])
        for start, stop in itertools.pairwise(points):
            for share in np.linspace(0, 1, 6)[1:]:
                spot = np.asarray(start) + share * (np.asarray(stop) - start)
                self.send(QEvent.Type.MouseMove, *spot)
        wait(seconds=PACE_S)
        self.release(*points[-1])

    def click(self, row, column, modifiers=None) -> None:
        """Press and release in one place."""
        self.move(row, column)
        self.press(row, column, modifiers)
        self.release(row, column, modifiers)

    def double_click(self, row, column) -> None:
        """Click, and click again at once."""
        self.click(row, column)
        self.send(QEvent.Type.MouseButtonDblClick, row, column)
        self.release(row, column)

    def key(self, key, modifiers=PLAIN) -> None:
        """Press a key with the canvas in focus."""
        self.canvas.setFocus()
        QTest.keyClick(self.canvas, key, modifiers)
        QApplication.processEvents()


class RealHand(Hand):
    """The same with the X server's own pointer, by way of xdotool."""

    def send(self, kind, row, column, button=LEFT, modifiers=None) -> None:
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
        self.move(row, column)
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
        time.sleep(0.004)
    # A busy machine sleeps longer than it is told, and what was due meanwhile comes first.
    QApplication.processEvents()
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
