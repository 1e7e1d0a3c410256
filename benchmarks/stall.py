"""How long the window stands still while an image is read and hundreds of regions are captioned.

``python benchmarks/stall.py [--regions 500] [--shapes 5000] [--threads 1] [--list]``

A timer of the event loop is asked for every two milliseconds; the longest time between two of its
ticks is what a person feels as a stall. On a machine that is busy otherwise that says little, so
beside it stands the processor time that the window's own thread has spent between two ticks, which
nobody else's work adds to, and the same with nothing going on, in the same run. With ``--shapes``
it also tells how long one more shape, a move and an undo take among so many.

Needs a display (``xvfb-run -s "-screen 0 1440x960x24"`` where there is none); see docs/speed.md.
"""

from __future__ import annotations

import argparse
import os
import time
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import napari
import numpy as np
import skimage.data
from qtpy.QtCore import QEventLoop, QTimer

from napari_patchioner.viewer.dock import CaptionDock

if TYPE_CHECKING:
    from collections.abc import Callable

FELT_S = 0.05


class Gap(NamedTuple):
    """The time between two ticks, and how much of it the window's thread was at work; seconds."""

    wall: float
    cpu: float


class Probe:
    """Measures the gaps between ticks of a timer; it has to be used in the window's thread."""

    def __init__(self) -> None:
        self.gaps: list[Gap] = []
        self._last = _now()
        self._timer = QTimer()
        self._timer.setInterval(2)
        self._timer.timeout.connect(self._tick)

    def during(self, done: Callable[[], bool], limit: float) -> list[Gap]:
        """Collect gaps until something is done; it must be within so many seconds."""
        loop, end = QEventLoop(), time.perf_counter() + limit

        def check() -> None:
            if done() or time.perf_counter() > end:
                loop.quit()

        self.gaps, self._last = [], _now()
        self._timer.timeout.connect(check)
        self._timer.start()
        # It sleeps where there is nothing to do, as napari's does.
        loop.exec()
        self._timer.stop()
        self._timer.timeout.disconnect(check)
        if not done():
            raise SystemExit(f"not done within {limit:.0f} s")
        return self.gaps

    def rest(self, seconds: float) -> list[Gap]:
        """Collect gaps for a while with nothing going on."""
        end = time.perf_counter() + seconds
        return self.during(lambda: time.perf_counter() > end, seconds + 10)

    def _tick(self) -> None:
        now = _now()
        self.gaps.append(Gap(now.wall - self._last.wall, now.cpu - self._last.cpu))
        self._last = now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--regions", type=int, default=500)
    parser.add_argument("--shapes", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--list", action="store_true", help="with the list of regions open")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    # Work saved by an earlier run would be restored and captioned, too.
    with TemporaryDirectory() as home:
        os.environ["NAPARI_PATCHIONER_HOME"] = os.environ["NAPARI_PATCHIONER_CACHE"] = home
        viewer = napari.Viewer()
        viewer.add_image(skimage.data.coffee(), name="coffee")
        dock = CaptionDock(viewer)
        viewer.window.add_dock_widget(dock)
        if options.list:
            dock.region_list.toggle()
        try:
            captioning(dock, options.regions)
            if options.shapes:
                editing(dock, options.shapes)
        finally:
            viewer.close()


def captioning(dock: CaptionDock, regions: int) -> None:
    """Read the image and caption regions strewn over it."""
    probe = Probe()
    probe.rest(3)
    idle = probe.rest(3)
    report("nothing", idle, idle)
    dock.start()
    controller = dock.controller
    report("reading the image", probe.during(lambda: not controller.encoder.active, 300), idle)
    probe.rest(1)
    records = controller.session.records
    controller.layer("regions").add_rectangles(boxes(regions))
    done = lambda: len(records) >= regions and all(r.caption for r in records.values())  # noqa: E731
    before = time.process_time()
    gaps = probe.during(done, 600)
    work, took = time.process_time() - before, sum(gap.wall for gap in gaps)
    report(f"captioning {regions} regions", gaps, idle)
    print(
        f"{regions / took:.1f} captions per second of the clock, "
        f"{regions / work:.1f} per second of processor time (all threads)",
        flush=True,
    )


def editing(dock: CaptionDock, shapes: int) -> None:
    """Draw one more shape among many, move one, and take both back."""
    controller = dock.controller
    controller.forget_grids()
    layer = controller.layer("regions")
    layer.add_rectangles(boxes(shapes)[layer.nshapes :])
    Probe().rest(3)
    report_work(f"drawing 1 of {shapes}", lambda: layer.add_rectangles(boxes(1)))
    report_work(f"moving 1 of {shapes}", lambda: move(layer))
    report_work("undoing the move", controller.undo)
    report_work("undoing the drawing", controller.undo)


def move(layer: napari.layers.Shapes) -> None:
    """Move a shape as a drag does, which tells of it at its end."""
    layer._data_view.shift(7, np.array([1.0, 2.0]))
    layer.events.data(
        value=layer.data, action="changed", data_indices=(7,), vertex_indices=((0, 1, 2, 3),)
    )


def boxes(count: int) -> list[np.ndarray]:
    """Boxes strewn over the picture, the same ones every time."""
    generator = np.random.default_rng(0)
    corners = generator.uniform((0, 0), (330, 510), (count, 2))
    sides = generator.uniform(20, 60, (count, 2))
    return [np.stack([low, low + side]) for low, side in zip(corners, sides, strict=True)]


def report(what: str, gaps: list[Gap], idle: list[Gap]) -> None:
    """Print the longest gap and how many were felt, on the clock and of the thread's own time."""
    longest, usual = max(gap.wall for gap in gaps), max(gap.wall for gap in idle)
    own = max(gap.cpu for gap in gaps)
    felt = [sum(getattr(gap, name) > FELT_S for gap in gaps) for name in Gap._fields]
    print(
        f"{what:26s} longest {1e3 * longest:6.0f} ms ({longest / usual:5.1f} x idle), "
        f"{felt[0]} over 50 ms; own time: longest {1e3 * own:5.0f} ms, {felt[1]} over 50 ms, "
        f"{sum(gap.cpu for gap in gaps):.2f} of {sum(gap.wall for gap in gaps):.1f} s",
        flush=True,
    )


def report_work(what: str, work: Callable[[], object]) -> None:
    """Print how long something takes that is done at once."""
    start = _now()
    work()
    end = _now()
    wall, own = 1e3 * (end.wall - start.wall), 1e3 * (end.cpu - start.cpu)
    print(f"{what:26s} {wall:6.0f} ms; own time {own:5.0f} ms", flush=True)


def _now() -> Gap:
    return Gap(time.perf_counter(), time.thread_time())


if __name__ == "__main__":
    main()
