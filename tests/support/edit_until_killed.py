"""Draws and writes captions without end, autosaving like the dock does, until it is killed.

Imports once, then forks for every folder and home it is told on standard input, with a tab
between them, and prints the child's process id: what is killed is the child. What goes wrong in it
stands in `errors` in its folder.
With REGIONS in the environment there are that many regions from the start.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import time
from hashlib import blake2b
from pathlib import Path

import numpy as np
from napari.layers import Image, Shapes
from qtpy.QtCore import QCoreApplication, QTimer

from napari_patchioner.annotations import Project, ProjectImage, ProjectStore
from napari_patchioner.viewer.layers import table
from napari_patchioner.viewer.layers.binding import LayerBinding
from napari_patchioner.viewer.project.autosave import Autosave
from napari_patchioner.viewer.project.restore import Snapshots
from napari_patchioner.viewer.session.session import Session

PIXELS = np.zeros((64, 64), np.uint8)
KEY = "regions"
# Without a rest nothing is saved but by the time limit; with one, the rest is what saves.
EVERY_MS, REST_MS, RESTS = 20, 800, 0.015
REGIONS = int(os.environ.get("REGIONS", "0"))
MOST_SHAPES = REGIONS + 30


def digest(captions: dict[str, str]) -> str:
    """Return a short name for what all regions say that say anything."""
    state = "\n".join(sorted(f"{uid}={text}" for uid, text in captions.items() if text))
    return blake2b(state.encode(), digest_size=8).hexdigest()


def canvas() -> tuple[Session, Shapes, LayerBinding]:
    """Return a session that follows a layer on an image."""
    session = Session()
    layer = Shapes(ndim=2, features=table.empty_columns(), feature_defaults=table.BLANK)
    if REGIONS:
        places = np.random.default_rng(0).uniform(0, 50, (REGIONS, 2))
        layer.add_rectangles([[place, place + 9] for place in places])
    return session, layer, LayerBinding(layer, Image(PIXELS), KEY, session, lambda: None)


class Hand:
    """Edits one thing at a time, and writes each edit down before going on."""

    def __init__(self, folder: Path, desk: tuple[Session, Shapes, LayerBinding]) -> None:
        self.session, self.layer, self.binding = desk
        self.log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.random = np.random.default_rng(os.getpid())
        self.count, self.last = 0, ""
        shelf = ProjectStore(PIXELS, folder / "cells.tif", "cells.tif")
        snapshots = Snapshots(self.session)
        self.autosave = Autosave(
            lambda: Project(ProjectImage("cells.tif"), snapshots.take([KEY])), shelf.write
        )
        self.session.changed.append(self.autosave.touch)

    def edit(self) -> None:
        """Draw, move, delete or write."""
        uids = self.session.uids(KEY)
        action = self.random.integers(10) if uids else 0
        if action == 0 and len(uids) < MOST_SHAPES:
            corner = self.random.uniform(0, 50, 2)
            self.layer.add_rectangles([[corner, corner + 9]])
        elif action == 1 and len(uids) > 1:
            # Not the one written last: its text tells how far a file has come.
            place = int(self.random.choice([p for p, u in enumerate(uids) if u != self.last]))
            # It may be saved before the text below is there.
            self.write_down(without=uids[place])
            self.layer.selected_data = {place}
            self.layer.remove_selected()
        uid = str(self.random.choice(self.session.uids(KEY)))
        self.count, self.last = self.count + 1, uid
        self.session.edit(uid, f"edit {self.count}")
        self.binding.show()
        self.write_down()

    def write_down(self, without: str = "") -> None:
        """Note what all regions say at this edit."""
        now = time.clock_gettime(time.CLOCK_MONOTONIC)
        records = self.session.records
        said = {uid: records[uid].caption for uid in self.session.uids(KEY) if uid != without}
        os.write(self.log, f"{self.count}\t{now!r}\t{digest(said)}\n".encode())


def work(folder: Path, desk: tuple[Session, Shapes, LayerBinding]) -> None:
    """Edit until killed."""
    app = QCoreApplication([])
    hand = Hand(folder, desk)
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
    Shapes(ndim=2).add_rectangles([[[1, 1], [9, 9]]])
    desk = canvas()
    print("ready", flush=True)
    for line in sys.stdin:
        folder, home = line.rstrip("\n").split("\t")
        pid = os.fork()
        if pid == 0:
            os.environ["NAPARI_PATCHIONER_HOME"] = home
            errors = os.open(Path(folder, "errors"), os.O_WRONLY | os.O_CREAT)
            os.dup2(errors, sys.stderr.fileno())
            faulthandler.enable()
            work(Path(folder), desk)
        print(pid, flush=True)


if __name__ == "__main__":
    main()
