"""Nothing that was drawn with is deleted in a context that has not made it."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from qtpy.QtGui import QOpenGLContext
from vispy.gloo import glir

BOX = np.array([[10, 10], [10, 50], [40, 50], [40, 10]])


@pytest.fixture
def deleted(monkeypatch, painted):
    """The context that was current at each deletion of something on the graphics card."""
    contexts = []
    for kind in (glir.GlirProgram, glir.GlirBuffer, glir.GlirTexture):

        def delete(self, plainly=kind.delete):
            contexts.append(QOpenGLContext.currentContext())
            plainly(self)

        monkeypatch.setattr(kind, "delete", delete)
    return contexts


def draw(viewer, qtbot):
    canvas = viewer.window._qt_viewer.canvas._scene_canvas
    frames = []
    canvas.events.draw.connect(frames.append)
    canvas.native.update()
    qtbot.waitUntil(lambda: bool(frames), timeout=5000)
    canvas.events.draw.disconnect(frames.append)


def remove_one(viewer):
    viewer.layers.remove("drawn")


def remove_selected(viewer):
    viewer.layers.selection = {viewer.layers["drawn"]}
    viewer.layers.remove_selected()


def remove_all(viewer):
    viewer.layers.clear()


@pytest.mark.parametrize("remove", [remove_one, remove_selected, remove_all])
def test_a_layer_goes_in_the_context_of_its_canvas(dock, viewer, deleted, remove, qtbot):
    viewer.add_shapes([BOX], shape_type="rectangle", text=["a box"], name="drawn")
    draw(viewer, qtbot)
    gc.collect()
    draw(viewer, qtbot)
    deleted.clear()
    remove(viewer)
    own = viewer.window._qt_viewer.canvas.native.context()
    assert deleted
    assert all(context == own for context in deleted)


def test_a_viewer_without_a_window_is_left_alone():
    from napari.components import ViewerModel

    from napari_patchioner.viewer.layers.overlays import delete_in_own_context

    viewer = ViewerModel()
    before = len(viewer.layers.events.removing.callbacks)
    delete_in_own_context(viewer)
    assert len(viewer.layers.events.removing.callbacks) == before
