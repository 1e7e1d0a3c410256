"""A small captioner whose every step can be checked, and a viewer with the dock in it."""

from __future__ import annotations

import contextlib
import gc
import inspect
import threading
import weakref
from typing import ClassVar

import napari
import numpy as np
import pytest
from app_model import Application
from napari._app_model._app import NapariApplication, _napari_names
from napari._qt import qt_main_window
from napari._qt._qapp_model.qactions import init_qactions
from napari._qt.qt_viewer import QtViewer
from napari._qt.threads.status_checker import StatusChecker
from napari._vispy.canvas import VispyCanvas
from napari.plugins import _initialize_plugins
from napari.settings import get_settings
from napari.utils.events import EventEmitter
from npe2 import PluginManager
from qtpy import QtWidgets
from vispy.scene import SceneCanvas

from napari_patchioner.decoders import Caption
from napari_patchioner.errors import ModelError, RegionError
from napari_patchioner.grids import FeatureGrid, GridTransform
from napari_patchioner.models import ModelCard
from napari_patchioner.regions import (
    Box,
    Ellipse,
    Mask,
    Point,
    Polygon,
    RegionSet,
    Trace,
    WholeImage,
)

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 60), "blue": (30, 60, 230)}


def card(name, title, **facts):
    return ModelCard(name, title, "CC0", 3_000_000, "Made for tests.", **facts)


class ColourCaptioner:
    """Names the colour at the middle of a region; slow on demand, and it counts its work."""

    pooling, whole, weighting, convention, variance = "mean", None, "touch", "paper", 0.5
    spread = 0.0

    def __init__(self, steps: int = 3, **extras) -> None:
        self.steps = steps
        self.extras = extras
        self.memory: dict = {}
        self.origin: dict = {}
        self.asked: list[dict] = []
        self.encoded = 0
        self.captioned: list[int] = []
        self.hold = threading.Event()
        self.hold.set()
        self.reached = threading.Event()
        self.hold_captions = threading.Event()
        self.hold_captions.set()
        self.threads: set[int] = set()

    def encode(self, image, *, progress=None, store=None):
        self.threads.add(threading.get_ident())
        image = np.asarray(image)
        for step in range(self.steps):
            self.reached.set()
            while not self.hold.wait(0.01):
                progress(step / self.steps, "looking")
            if progress:
                progress(step / self.steps, "looking")
        self.encoded += 1
        rgb = image if image.ndim == 3 else np.stack([image] * 3, axis=-1)
        height, width = rgb.shape[:2]
        transform = GridTransform((height, width), (height, width))
        return FeatureGrid(rgb[..., :3].astype(np.float32), transform, "colours", **self.extras)

    def caption(
        self,
        grid,
        regions,
        *,
        pooling=None,
        beams=4,
        alternatives=3,
        max_tokens=None,
        progress=None,
    ):
        self.asked.append({"pooling": pooling, "beams": beams, "max_tokens": max_tokens})
        self.threads.add(threading.get_ident())
        self.hold_captions.wait(20)
        if progress is not None:
            progress(0.5, "writing")
        self.captioned.append(len(regions))
        return [self._one(grid, region) for region in regions]

    def familiarity(self, grid, regions):
        return None

    def _one(self, grid, region):
        if isinstance(region, RegionSet):
            parts = [self._one(grid, member) for member in region.members]
            return Caption(" and ".join(part.text for part in parts), 0.5)
        row, column = middle(region, grid.shape)
        if not (0 <= row < grid.shape[0] and 0 <= column < grid.shape[1]):
            raise RegionError("the region lies outside the image; move it inside")
        pixel = grid.embeddings[int(row), int(column)]
        near = {name: float(np.abs(pixel - value).sum()) for name, value in COLOURS.items()}
        ranked = sorted(near, key=near.__getitem__)
        weights = [0.8, 0.15, 0.05]
        return Caption(
            f"something {ranked[0]}",
            0.8,
            alternatives=(f"a {ranked[0]} thing", f"{ranked[0]}, plainly"),
            concepts=tuple(zip(ranked, weights, strict=True)),
        )


def middle(region, shape):
    if isinstance(region, WholeImage):
        return shape[0] / 2, shape[1] / 2
    if isinstance(region, Box):
        return (region.top + region.bottom) / 2, (region.left + region.right) / 2
    if isinstance(region, Point):
        return region.row, region.column
    if isinstance(region, Mask):
        return np.argwhere(region.pixels).mean(axis=0) + region.offset
    corners = {Polygon: "vertices", Ellipse: "corners", Trace: "points"}[type(region)]
    return np.asarray(getattr(region, corners)).mean(axis=0)


class Shop:
    """A store with one model to get, as slow and as broken as a test wants it."""

    freed = 1_900_000_000

    def __init__(self, place):
        self.place = place
        self.there = set()
        self.calls = []
        self.hold = threading.Event()
        self.hold.set()
        self.reached = threading.Event()
        self.trouble = None
        self.absent = []

    def cards(self):
        ready = "paper" in self.there
        yield card("colours", "Colours")
        yield card("other", "Others")
        yield card("paper", "Patch-ioner: as in the paper", **GETTABLE, **paper_state(ready))
        if "own" in self.there:
            yield card("own", "One of my own")

    def get(self, model, *, folder, progress):
        self.calls.append((model, folder))
        self.reached.set()
        progress(0.25, "150 of 604 MB, 4.1 MB/s")
        while not self.hold.wait(0.01):
            progress(0.5, "302 of 604 MB, 4.1 MB/s")
        if self.trouble:
            raise self.trouble
        self.there.add(model)

    def remove(self, model):
        self.calls.append(("remove", model))
        self.there.discard(model)
        return self.freed

    def add(self, folder, *, progress):
        if not folder.exists():
            raise ModelError(f"{folder} holds no preset; choose another folder.")
        self.there.add("own")
        return "own"

    def folder(self):
        return self.place

    def by_hand(self, model):
        return self.absent


GETTABLE = {"sources": ("owner/weights",), "ram": 2_000_000_000}


def paper_state(ready):
    return {"installed": ready, "to_get": 0 if ready else 604_000_000}


@pytest.fixture(autouse=True)
def small_heap(monkeypatch):
    """Collect what a test leaves, and count the rest as settled.

    napari collects garbage at every viewer and every layer that goes, each time through all there
    is: without this each test makes the next one slower. To count what is frozen takes as long.
    """
    monkeypatch.setattr(gc, "get_freeze_count", lambda: 1)
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def cache(request, tmp_path, encoded, monkeypatch):
    """Keep what tests read out of the person's own cache, and apart from other tests."""
    from napari_patchioner.viewer.workers.encode import shared_store

    folder = encoded if _is_embedded(request) else tmp_path / "cache"
    monkeypatch.setenv("NAPARI_PATCHIONER_CACHE", str(folder))
    shared_store.cache_clear()
    yield folder
    shared_store.cache_clear()


@pytest.fixture(scope="session")
def encoded(tmp_path_factory):
    """A cache for all tests whose pictures the model that ships need not encode once more."""
    return tmp_path_factory.mktemp("encoded")


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    """No test finds what another one, or the person at this machine, has saved."""
    monkeypatch.setenv("NAPARI_PATCHIONER_HOME", str(tmp_path / "home"))


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path / "models")


@pytest.fixture
def captioner():
    return ColourCaptioner()


@pytest.fixture
def loads():
    return []


def _is_embedded(request):
    return request.node.get_closest_marker("embedded") is not None


@pytest.fixture
def registry(request, captioner, shop, loads):
    from napari_patchioner.viewer.workers.models import ModelRegistry, shared_registry

    if _is_embedded(request):
        return shared_registry()

    def load(name, progress):
        loads.append(name)
        return captioner

    return ModelRegistry(load, lambda: list(shop.cards()), shop, {"colours", "other"})


@pytest.fixture
def picture():
    """Three vertical stripes, red, green and blue, 120 x 180 pixels."""
    image = np.zeros((120, 180, 3), np.uint8)
    for place, colour in enumerate(COLOURS.values()):
        image[:, 60 * place : 60 * (place + 1)] = colour
    return image


class Brush:
    """Whether napari's canvases are painted: for screenshots, and where a test leaves a new sight.

    Painted at every step of the mouse, without a graphics card, they would take half of the time
    of all these tests; at the end of every test, a tenth.
    """

    busy = False
    seen: ClassVar[set] = set()

    @classmethod
    @contextlib.contextmanager
    def at_work(cls):
        before, cls.busy = cls.busy, True
        yield
        cls.busy = before

    @classmethod
    def paint(cls, viewer):
        """Paint a viewer that is shown, unless all in it has been painted in the same state."""
        for made in QtViewer._instances:
            if made.viewer is viewer and made.canvas.native.isVisible():
                sights = {cls.sight(layer) for layer in viewer.layers}
                if not sights <= cls.seen:
                    with cls.at_work():
                        QtWidgets.QApplication.processEvents()
                        made.canvas.screenshot()
                    cls.seen |= sights

    @staticmethod
    def sight(layer):
        """Return what makes a layer look like no other: its kind, what is in it and how it is."""
        picked, text = getattr(layer, "selected_data", ()), getattr(layer, "text", None)
        kinds = frozenset(getattr(layer, "shape_type", ()))
        return (
            (type(layer), layer.ndim, layer.multiscale, len(layer.data) > 0, kinds, bool(picked)),
            (layer.visible, str(layer.mode), layer.blending, bool(text and text.visible)),
        )


@pytest.fixture(scope="session", autouse=True)
def brush():
    draw, screenshot = SceneCanvas._draw_scene, VispyCanvas.screenshot

    def draw_scene(canvas, bgcolor=None):
        if Brush.busy:
            draw(canvas, bgcolor)

    def painted(canvas):
        with Brush.at_work():
            return screenshot(canvas)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SceneCanvas, "_draw_scene", draw_scene)
        patch.setattr(VispyCanvas, "screenshot", painted)
        yield


@pytest.fixture(scope="session", autouse=True)
def signatures_read_once():
    """napari reads the signature of each callback it connects or lets go: of a method, once.

    Otherwise that would take a twelfth of the time of all these tests.
    """
    read, known = EventEmitter._check_signature, weakref.WeakKeyDictionary()

    def takes_event(callback):
        if not inspect.ismethod(callback):
            return read(callback)
        function = callback.__func__
        if function not in known:
            known[function] = read(callback)
        return known[function]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EventEmitter, "_check_signature", staticmethod(takes_event))
        yield


@pytest.fixture
def painted():
    """The canvas is painted as it is for a person."""
    with Brush.at_work():
        yield


class SharedWindow:
    """One shown window for all tests; opened when first asked for.

    It stands in for `make_napari_viewer`, which opens and closes a window for every test.
    """

    SIZE = 1280, 800

    def __init__(self) -> None:
        self.viewer = None
        self._stack = contextlib.ExitStack()

    def open(self):
        if self.viewer is None:
            self._set_up()
            with pytest.MonkeyPatch.context() as patch:
                plugins = PluginManager.instance()
                if any(manifest.name == "napari" for manifest in plugins.iter_manifests()):
                    # All are known from the window before this one.
                    patch.setattr(PluginManager, "discover", lambda *_, **__: 0)
                self.viewer = napari.Viewer(show=True, show_welcome_screen=False)
            self.viewer.window._qt_window.resize(*self.SIZE)
        return self.viewer

    def _set_up(self) -> None:
        """Give the window menus and actions of its own, and no console and no status thread."""
        get_settings().reset()
        app = NapariApplication("shared_window")
        app.injection_store.namespace = _napari_names
        for cached in (_initialize_plugins, init_qactions):
            cached.cache_clear()
            self._stack.callback(cached.cache_clear)
        self._stack.callback(self._destroy, app)
        patch = self._stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(NapariApplication, "get_app_model", lambda: app)
        patch.setattr(qt_main_window, "SHOW_QT_WARNING", False)
        patch.setattr(StatusChecker, "start", lambda *_: None)
        patch.setattr(QtViewer, "_get_console", lambda *_: QtWidgets.QWidget())

    @staticmethod
    def _destroy(app) -> None:
        """End the menus and actions; no menu is drawn anew for each action that goes."""
        with app.menus.menus_changed.blocked():
            Application.destroy("shared_window")

    def clear(self) -> None:
        """Take out of it whatever a test has left there."""
        viewer = self.viewer
        if viewer is None or not hasattr(viewer.window, "_qt_window"):
            self.close()
            return
        viewer.window.remove_dock_widget("all")
        viewer.layers.clear()
        viewer.dims.reset()
        viewer.title = "napari"
        viewer.window._qt_window.resize(*self.SIZE)
        get_settings().reset()
        QtWidgets.QApplication.processEvents()

    def close(self) -> None:
        if self.viewer is not None:
            window = getattr(self.viewer.window, "_qt_window", None)
            if window is not None:
                window._save_current_window_settings = lambda: None
                self.viewer.close()
            self.viewer = None
            self._stack.close()
            gc.collect()
            QtViewer._instances.clear()


@pytest.fixture(scope="session")
def shared_window():
    window = SharedWindow()
    yield window
    window.close()


@pytest.fixture
def alone(shared_window):
    """No other window is open."""
    shared_window.close()


@pytest.fixture
def make_napari_viewer(alone, make_napari_viewer):
    return make_napari_viewer


@pytest.fixture
def viewer(qtbot, shared_window, request):
    viewer = shared_window.open()
    qtbot.wait_exposed(viewer.window._qt_window, timeout=5000)
    yield viewer
    if "dock" not in request.fixturenames:
        Brush.paint(viewer)
    shared_window.clear()


@pytest.fixture
def quiet(qtbot):
    """Fail where a person would have seen an error, or a worker or a box is left behind."""
    from napari.utils.notifications import notification_manager
    from qtpy.QtWidgets import QApplication, QMessageBox

    before = len(notification_manager.records), set(threading.enumerate())
    yield

    def working():
        # Those of Qt's pool wait for more to do; Python calls them dummies.
        new = (t for t in threading.enumerate() if t not in before[1])
        return [t.name for t in new if not isinstance(t, threading._DummyThread)]

    # A thread that has done its work may still have to end.
    qtbot.waitUntil(lambda: not working(), timeout=10000)
    boxes = [box for box in QApplication.topLevelWidgets() if isinstance(box, QMessageBox)]
    assert not [box.text() for box in boxes if box.isVisible()]
    notes = notification_manager.records[before[0] :]
    assert [note.message for note in notes if note.severity >= "warning"] == []


@pytest.fixture
def dock(viewer, registry, picture, qtbot):
    from napari_patchioner.viewer import CaptionDock

    viewer.add_image(picture, name="stripes")
    made = CaptionDock(viewer, registry=registry)
    viewer.window.add_dock_widget(made, name="Patch-ioner")
    yield made
    Brush.paint(viewer)
    # A closed window has taken the dock along.
    with contextlib.suppress(RuntimeError):
        made.shut_down()


@pytest.fixture(scope="session")
def guide():
    """What makes the guide's pictures: its hand draws for the tests, too."""
    import importlib.util
    import sys
    from pathlib import Path

    path = Path(__file__).parents[2] / "docs" / "screenshots" / "__init__.py"
    spec = importlib.util.spec_from_file_location("screenshots", path)
    sys.modules["screenshots"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def hand(dock, viewer, guide, qtbot):
    viewer.window._qt_window.resize(*SharedWindow.SIZE)
    qtbot.wait(200)
    viewer.reset_view()
    qtbot.wait(100)
    return guide.Hand(viewer, dock.image)


@pytest.fixture
def started(dock, qtbot):
    """The dock with its image read."""
    dock.panel.progress.button.click()
    qtbot.waitUntil(lambda: dock.controller.encoder.ready, timeout=10000)
    qtbot.waitUntil(lambda: not dock.controller.encoder.active, timeout=10000)
    return dock
