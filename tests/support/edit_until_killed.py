"""Draws and writes captions without end, autosaving like the dock does, until it is killed.

Imports once, then forks for every folder it is told on standard input, and prints the child's
process id: what is killed is the child.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from napari.layers import Image, Shapes
from qtpy.QtCore import QCoreApplication, QTimer

from napari_patchioner.annotations import Project, ProjectImage, ProjectShelf
from napari_patchioner.viewer.canvas import table
from napari_patchioner.viewer.canvas.binding import LayerBinding
from napari_patchioner.viewer.keeping.autosave import Autosave
from napari_patchioner.viewer.keeping.snapshot import Snapshots
from napari_patchioner.viewer.session.session import Session

PIXELS = np.zeros((64, 64), np.uint8)
KEY = "regions"
# Without a rest nothing is saved but by the time limit; with one, the rest is what saves.
EVERY_MS, REST_MS, RESTS = 7, 800, 0.005
MOST_SHAPES = 30


def canvas() -> tuple[Session, Shapes, LayerBinding]:
    """Return a session that follows a layer on an image."""
    session = Session()
    layer = Shapes(ndim=2, features=table.empty_columns(), feature_defaults=table.BLANK)
    return session, layer, LayerBinding(layer, Image(PIXELS), KEY, session, lambda: None)


class Hand:
    """Edits one thing at a time, and writes each edit down before going on."""

    def __init__(self, folder: Path) -> None:
        self.session, self.layer, self.binding = canvas()
        self.log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.random = np.random.default_rng(os.getpid())
        self.count = 0
        shelf = ProjectShelf(PIXELS, folder / "cells.tif", "cells.tif")
        snapshots = Snapshots(self.session)
        self.autosave = Autosave(
            lambda: Project(ProjectImage("cells.tif"), snapshots.take([KEY])), shelf.write
        )
        self.session.changed.append(self.autosave.touch)

    def edit(self) -> None:
        """Draw, move, delete or write."""
        uids = self.session.uids(KEY)
        deed = self.random.integers(10) if uids else 0
        if deed == 0 and len(uids) < MOST_SHAPES:
            corner = self.random.uniform(0, 50, 2)
            self.layer.add_rectangles([[corner, corner + 9]])
        elif deed == 1 and len(uids) > 1:
            self.layer.selected_data = {int(self.random.integers(len(uids)))}
            self.layer.remove_selected()
        uid = str(self.random.choice(self.session.uids(KEY)))
        self.count += 1
        self.session.edit(uid, f"edit {self.count}")
        self.binding.show()
        now = time.clock_gettime(time.CLOCK_MONOTONIC)
        state = ",".join(f"{u}={self.session.records[u].caption}" for u in self.session.uids(KEY))
        os.write(self.log, f"{self.count}\t{now!r}\t{state}\n".encode())


def work(folder: Path) -> None:
    """Edit until killed."""
    app = QCoreApplication([])
    hand = Hand(folder)
    timer = QTimer()

    def go_on() -> None:
        hand.edit()
        timer.start(REST_MS if hand.random.random() < RESTS else EVERY_MS)

    timer.timeout.connect(go_on)
    timer.start(EVERY_MS)
    app.exec()


def main() -> None:
    """Fork for every line."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # The first shape of a process takes a second.
    canvas()[1].add_rectangles([[[1, 1], [9, 9]]])
    print("ready", flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            work(Path(line.strip()))
        print(pid, flush=True)


if __name__ == "__main__":
    main()
