"""How long the window stands still while an image is read and hundreds of regions are captioned.

``python benchmarks/stall.py [--regions 500] [--threads 1]``

A timer of the event loop is asked for every two milliseconds; the longest time between two of its
ticks is what a person feels as a stall. Beside each line stands the same with nothing going on,
in the same run. Needs a display (``xvfb-run -s "-screen 0 1440x960x24"`` where there is none).
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import napari
import numpy as np
import skimage.data
from qtpy.QtCore import QEventLoop, QTimer

from napari_patchioner.viewer.desk.dock import CaptionDock

if TYPE_CHECKING:
    from collections.abc import Callable


class Probe:
    """Measures the gaps between ticks of a timer."""

    def __init__(self) -> None:
        self.gaps: list[float] = []
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.setInterval(2)
        self._timer.timeout.connect(self._tick)

    def during(self, done: Callable[[], bool], limit: float) -> list[float]:
        """Collect gaps until something is done; it must be within so many seconds."""
        self.gaps, self._last = [], time.perf_counter()
        self._timer.start()
        loop, end = QEventLoop(), time.perf_counter() + limit
        while not done():
            if time.perf_counter() > end:
                raise SystemExit(f"not done within {limit:.0f} s")
            loop.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents, 20)
        self._timer.stop()
        return self.gaps

    def _tick(self) -> None:
        now = time.perf_counter()
        self.gaps.append(now - self._last)
        self._last = now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--regions", type=int, default=500)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    viewer = napari.Viewer()
    viewer.add_image(skimage.data.coffee(), name="coffee")
    dock = CaptionDock(viewer)
    viewer.window.add_dock_widget(dock)
    probe = Probe()
    settle = time.perf_counter() + 2
    probe.during(lambda: time.perf_counter() > settle, 10)
    until = time.perf_counter() + 2
    idle = probe.during(lambda: time.perf_counter() > until, 10)
    tell("nothing", idle, idle)
    dock.start()
    annotator = dock.annotator
    tell("reading the image", probe.during(lambda: not annotator.reader.active, 300), idle)
    records = annotator.session.records
    annotator.layer("regions").add_rectangles(boxes(options.regions))
    done = lambda: len(records) >= options.regions and all(r.caption for r in records.values())  # noqa: E731
    tell(f"captioning {options.regions} regions", probe.during(done, 600), idle)
    viewer.close()


def boxes(count: int) -> list[np.ndarray]:
    """Boxes strewn over the picture, the same ones every time."""
    generator = np.random.default_rng(0)
    corners = generator.uniform((0, 0), (330, 510), (count, 2))
    sides = generator.uniform(20, 60, (count, 2))
    return [np.stack([low, low + side]) for low, side in zip(corners, sides, strict=True)]


def tell(what: str, gaps: list[float], idle: list[float]) -> None:
    """Print the longest gap, how many were felt, and the ratio to an idle window."""
    felt = sum(gap > 0.05 for gap in gaps)
    print(
        f"{what:26s} longest {1e3 * max(gaps):7.0f} ms  ({max(gaps) / max(idle):5.1f} x idle)  "
        f"{felt} over 50 ms  in {sum(gaps):.1f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
