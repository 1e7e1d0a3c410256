"""What is taken out of the window is let go: nothing grows with the number of images."""

from __future__ import annotations

import gc
import weakref

import numpy as np

BOX = np.array([[2.0, 2], [2, 9], [9, 9], [9, 2]])
IMAGES = 5


def test_images_that_are_gone_leave_no_grid_layer_or_session(dock, viewer, picture, qtbot):
    kept: dict[str, list[weakref.ref]] = {}

    def watch(**things):
        for name, thing in things.items():
            kept.setdefault(name, []).append(weakref.ref(thing))

    def go_through(number):
        image = viewer.add_image(picture[:40, :60].copy(), name=f"image {number}")
        controller = dock.controller
        assert controller.image is image
        dock.start()
        layer = controller.layer("regions")
        layer.add(BOX, shape_type="rectangle")
        qtbot.waitUntil(lambda: all(layer.features["caption"]), timeout=10000)
        [grid] = controller.encoder.grids.values()
        watch(controller=controller, session=controller.session, reader=controller.encoder)
        watch(grid=grid.embeddings, image=image, layer=layer)
        for one in [image, *(binding.layer for binding in controller.bindings.values())]:
            viewer.layers.remove(one)

    for number in range(IMAGES):
        go_through(number)
    viewer.layers.selection.active = viewer.layers["stripes"]

    def left():
        gc.collect()
        return {name: sum(one() is not None for one in ones) for name, ones in kept.items()}

    # napari itself looks back at the last ones for a while.
    qtbot.waitUntil(lambda: max(left().values()) <= 2, timeout=10000)
    assert left()["grid"] == 0
