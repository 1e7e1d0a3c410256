"""How long a person waits: for the image to be read, for a caption, and among thousands of shapes.

``python benchmarks/latency.py [--boxes 100] [--shapes 5000] [--model mini] [--json FILE]``

A window is opened with a photograph in it, and the dock. Then, with mouse events as Qt sends them:

- *Start* is pressed some seconds after the dock has opened, or with ``--look 0`` at once: how long
  until the image is read; the model has been used before, in another session;
- boxes are drawn, one at a time: how long from letting the button go until the caption stands in
  the table of the layer, and until it is painted;
- a box is drawn, one is moved and each is undone among thousands that have been captioned.

Beside the clock stand the processor time of all threads and that of the window's own thread, to
which other programs add nothing, and how much of the latter is ours. Needs a display
(``xvfb-run -s "-screen 0 1440x960x24"`` where there is none); see docs/speed.md.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_patchioner.viewer.dock import CaptionDock

SIZE = 1440, 960
# From the opened dock to the button, in which the model is loaded
LOOK_S = 5.0
# An engine converts a model when it is used first, and keeps that beside what was read.
CONVERT = """
from napari_patchioner.models import load_model
load_model({model!r}, device="auto", engine=None)
"""
# Between two looks whether something has come about, and at whose code the thread is in
CHECK_MS, LOOK_MS = 2, 1
# A hand's pause between two boxes, in which everything comes to rest.
PAUSE_S = 0.4


class Spent(NamedTuple):
    """Milliseconds: of the clock, of all threads' processor time, and of the window's thread.

    Of the latter `ours` is what is spent in code of this package, with the libraries it calls, and
    `asked` what napari, vispy and OpenGL do in a call of ours; the rest they do by themselves.
    """

    wall: float
    process: float
    own: float
    ours: float = 0.0
    asked: float = 0.0


class Whose:
    """Finds out whose code the window's thread is in, a thousand times a second.

    What the thread has worked since the last look counts for whoever is found. Python calls the
    handler of a signal in the main thread, which is the window's, between two of its steps.
    """

    def __init__(self) -> None:
        self.spent = {"ours": 0.0, "asked": 0.0, "theirs": 0.0}
        self._known: dict[Any, str] = {}
        self._last = time.thread_time()
        if hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, self._look)
            signal.setitimer(signal.ITIMER_REAL, LOOK_MS / 1000, LOOK_MS / 1000)

    def close(self) -> None:
        """Look no more."""
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def _look(self, _number: int, frame: Any) -> None:
        found = "theirs"
        while frame is not None:
            owner = self._owner(frame.f_code)
            if owner == "ours":
                found = "ours" if found == "theirs" else "asked"
                break
            if owner:
                found = "napari"
            frame = frame.f_back
        now = time.thread_time()
        self.spent["theirs" if found == "napari" else found] += now - self._last
        self._last = now

    def _owner(self, code: Any) -> str:
        """Return who wrote a function: us, whoever draws, or anybody else, who only helps."""
        owner = self._known.get(code)
        if owner is None:
            parts = Path(code.co_filename).parts
            drawing = not {"napari", "vispy", "OpenGL"}.isdisjoint(parts)
            owner = "ours" if "napari_patchioner" in parts else "napari" if drawing else ""
            self._known[code] = owner
        return owner


class Watch:
    """Takes all times at once."""

    whose: Whose | None = None

    def __init__(self) -> None:
        self._start = self._now()

    def spent(self) -> Spent:
        """Return what has been spent since it was made."""
        pairs = zip(self._now(), self._start, strict=True)
        return Spent(*(1e3 * (end - start) for end, start in pairs))

    @classmethod
    def _now(cls) -> tuple[float, ...]:
        spent = cls.whose.spent if cls.whose is not None else {"ours": 0.0, "asked": 0.0}
        clocks = time.perf_counter(), time.process_time(), time.thread_time()
        return *clocks, spent["ours"], spent["asked"]


@contextmanager
def watched() -> Iterator[None]:
    """Have all watches tell whose the work was, too."""
    Watch.whose = Whose()
    try:
        yield
    finally:
        Watch.whose.close()
        Watch.whose = None


class Hand:
    """A mouse over napari's canvas, told where to go in pixels of the image."""

    def __init__(self, dock: CaptionDock) -> None:
        self.viewer = dock.viewer
        self.canvas = self.viewer.window._qt_viewer.canvas.native

    def drag(self, start: tuple[float, float], stop: tuple[float, float]) -> Watch:
        """Press, move and let go; return a watch that was started just before letting go."""
        from qtpy.QtCore import QEvent

        self._send(QEvent.Type.MouseMove, start, held=False)
        self._send(QEvent.Type.MouseButtonPress, start)
        for share in np.linspace(0, 1, 6)[1:]:
            self._send(QEvent.Type.MouseMove, start + share * np.subtract(stop, start))
        watch = Watch()
        self._send(QEvent.Type.MouseButtonRelease, stop, wait=False)
        return watch

    def _send(self, kind: Any, spot: Any, *, held: bool = True, wait: bool = True) -> None:
        from qtpy.QtCore import QEvent, QPointF, Qt
        from qtpy.QtGui import QMouseEvent
        from qtpy.QtWidgets import QApplication

        camera = self.viewer.scene.camera
        size = np.array([self.canvas.height(), self.canvas.width()])
        y, x = (np.asarray(spot) - np.asarray(camera.center)[-2:]) * camera.zoom + size / 2
        none, left = Qt.MouseButton.NoButton, Qt.MouseButton.LeftButton
        released = kind == QEvent.Type.MouseButtonRelease
        local = QPointF(round(float(x)), round(float(y)))
        event = QMouseEvent(
            kind,
            local,
            self.canvas.mapToGlobal(local),
            none if kind == QEvent.Type.MouseMove else left,
            left if held and not released else none,
            Qt.KeyboardModifier.NoModifier,
        )
        QApplication.sendEvent(self.canvas, event)
        if wait:
            # napari takes in the cursor's moves at most every few milliseconds.
            let_run(seconds=0.012)


def let_run(
    done: Callable[[], bool] = lambda: False, seconds: float = 60.0, *, needed: bool = False
) -> None:
    """Let the window work until something is true, or for a while."""
    from qtpy.QtCore import QEventLoop, QTimer

    loop, end = QEventLoop(), time.perf_counter() + seconds

    def check() -> None:
        if done() or time.perf_counter() >= end:
            loop.quit()

    # As in napari the loop sleeps where there is nothing to do: one that asks for events again and
    # again holds the interpreter, for which the workers then have to wait.
    timer = QTimer()
    timer.timeout.connect(check)
    timer.start(CHECK_MS)
    loop.exec()
    timer.stop()
    if needed and not done():
        raise SystemExit(f"not done within {seconds:.0f} s")


@contextmanager
def opened(model: str) -> Iterator[tuple[CaptionDock, Spent]]:
    """Open a window with a photograph and the dock; yield the dock and what it took to open."""
    import napari
    import skimage.data

    with TemporaryDirectory() as home:
        # Work saved by an earlier run would be restored and captioned, too.
        os.environ["NAPARI_PATCHIONER_HOME"] = os.environ["NAPARI_PATCHIONER_CACHE"] = home
        subprocess.run([sys.executable, "-c", CONVERT.format(model=model)], check=True)
        viewer = napari.Viewer()
        viewer.window._qt_window.setGeometry(0, 0, *SIZE)
        viewer.add_image(skimage.data.coffee(), name="coffee")
        let_run(seconds=1)
        watch = Watch()
        name = "Patch-ioner: caption regions"
        _, dock = viewer.window.add_plugin_dock_widget("napari-patchioner", name)
        yield dock, watch.spent()
        dock.shut_down()
        viewer.close()


def start(dock: CaptionDock, model: str) -> Spent:
    """Press Start; return what it takes until the image has been read."""
    dock.models.choice.value = model
    watch = Watch()
    dock.panel.progress.button.click()
    let_run(lambda: dock.controller.encoder.ready and not dock.controller.encoder.active, 300)
    return watch.spent()


def draw(dock: CaptionDock, count: int) -> tuple[list[Spent], list[Spent]]:
    """Draw boxes one by one; return what each takes from letting go to its caption.

    First until the caption stands in the table of the layer, then until it is seen on the canvas.
    """
    dock.panel.draw.buttons["Box"].click()
    layer, hand = dock.controller.layer("regions"), Hand(dock)
    drawn = [draw_one(layer, hand, *box) for box in boxes(count)]
    return [written for written, _ in drawn], [seen for _, seen in drawn]


def draw_one(layer: Any, hand: Hand, start: Any, stop: Any) -> tuple[Spent, Spent]:
    """Draw a box; return what it takes until its caption is written, and until it is painted."""
    before = layer.nshapes
    written: list[Spent] = []
    seen: list[Spent] = []

    def on_features() -> None:
        if not written and layer.nshapes > before and layer.features["caption"].iloc[-1]:
            written.append(watch.spent())

    def on_painted() -> None:
        if written and not seen:
            seen.append(watch.spent())

    watch = hand.drag(start, stop)
    layer.events.features.connect(on_features)
    hand.canvas.frameSwapped.connect(on_painted)
    let_run(lambda: bool(seen), 30, needed=True)
    layer.events.features.disconnect(on_features)
    hand.canvas.frameSwapped.disconnect(on_painted)
    let_run(seconds=PAUSE_S)
    return written[0], seen[0]


def edit(dock: CaptionDock, shapes: int, repeats: int = 5) -> dict[str, Any]:
    """Change one of so many captioned shapes; return what each takes until all is at rest.

    Captions are written into the table, as by hand: here it is not the model that counts.
    """
    controller = dock.controller
    controller.forget_grids()
    layer = controller.layer("regions")
    layer.add_rectangles([np.array(box) for box in boxes(shapes)][layer.nshapes :])
    captions = [f"something, number {number}" for number in range(layer.nshapes)]
    layer.features = layer.features.assign(caption=captions)
    let_run(seconds=3)
    kinds = {
        "nothing": lambda: None,
        "a look": controller.settle,
        "draw": lambda: layer.add_rectangles([np.array(boxes(1)[0])]),
        "move": lambda: move(layer),
        "undo": controller.undo,
        "redo": controller.redo,
        "delete": lambda: delete(layer),
    }
    times: dict[str, list[Spent]] = {kind: [] for kind in kinds}
    for _ in range(repeats):
        # In this order: each undoes what was done before it.
        for kind, change in kinds.items():
            watch = Watch()
            change()
            let_run(seconds=0.4)
            times[kind].append(watch.spent())
    return {kind: summary(spent) for kind, spent in times.items()}


def move(layer: Any) -> None:
    """Move a shape as a drag does, which tells of it at its end."""
    layer._data_view.shift(7, np.array([1.0, 2.0]))
    layer.events.data(
        value=layer.data, action="changed", data_indices=(7,), vertex_indices=((0, 1, 2, 3),)
    )


def delete(layer: Any) -> None:
    """Delete the first shape as the key does."""
    layer.selected_data = {0}
    layer.remove_selected()


def boxes(count: int) -> list[tuple[Any, Any]]:
    """Return opposite corners strewn over the picture, the same ones every time.

    Of the first hundred a quarter is below 2 % of the picture, where `mini` looks once more.
    """
    generator = np.random.default_rng(0)
    corners = generator.uniform((10, 10), (200, 400), (count, 2))
    sides = generator.uniform(20, 180, (count, 2))
    return list(zip(corners, corners + sides, strict=True))


def summary(times: list[Spent]) -> dict[str, dict[str, float]]:
    """Return median and worst of each of the three times."""
    columns = zip(Spent._fields, zip(*times, strict=True), strict=True)
    return {
        name: {"median": round(statistics.median(values), 1), "worst": round(max(values), 1)}
        for name, values in columns
    }


def measure(
    model: str = "mini", boxes: int = 100, shapes: int = 5000, look: float = LOOK_S
) -> dict[str, Any]:
    """Measure everything in a window of its own; milliseconds.

    Parameters
    ----------
    model : str
        Which model captions; it has to be installed.
    boxes : int
        How many are drawn by hand.
    shapes : int
        Among how many one is changed; 0 leaves that out.
    look : float
        How many seconds a person needs to find the button.
    """
    results: dict[str, Any] = {"model": model, "load": os.getloadavg()[0]}
    with watched(), opened(model) as (dock, dock_opened):
        results["dock"] = summary([dock_opened])
        let_run(seconds=look)
        results["start to ready"] = summary([start(dock, model)])
        let_run(seconds=3)
        if boxes:
            written, seen = draw(dock, boxes)
            results["release to caption"] = summary(written)
            results["release to caption seen"] = summary(seen)
        if shapes:
            results[f"among {shapes}"] = edit(dock, shapes)
    return results


def show(results: dict[str, Any], indent: str = "") -> None:
    """Print results as a table."""
    for name, value in results.items():
        if not isinstance(value, dict):
            print(f"{indent}{name}: {value}")
        elif "wall" in value:
            cells = (f"{k} {v['median']:7.1f} / {v['worst']:7.1f}" for k, v in value.items())
            print(f"{indent}{name:24s} {'   '.join(cells)}", flush=True)
        else:
            print(f"{indent}{name} (median / worst, ms)")
            show(value, indent + "  ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--boxes", type=int, default=100)
    parser.add_argument("--shapes", type=int, default=5000)
    parser.add_argument("--look", type=float, default=LOOK_S, help="seconds before Start")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args()
    results = measure(options.model, options.boxes, options.shapes, options.look)
    show(results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
