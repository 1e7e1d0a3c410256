from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_patchioner.viewer.layers.overlays import add_halo

BOX = np.array([[20, 20], [20, 80], [60, 80], [60, 20]])


@pytest.mark.parametrize(("colour", "ground"), [("#f0e442", 255), ("#0072b2", 0)])
def test_captions_have_a_rim_that_tells_them_from_the_image(viewer, colour, ground):
    viewer.add_image(np.full((100, 100), ground, np.uint8), contrast_limits=(0, 255))
    text = {"string": "{caption}", "color": colour, "size": 20, "anchor": "center"}
    layer = viewer.add_shapes(
        [BOX], features={"caption": ["mmmm"]}, text=text, edge_width=0, face_color="transparent"
    )

    def opposite():
        """Count pixels near the other end from the ground."""
        middle = viewer.screenshot(flash=False)[..., :3].astype(int)
        rows, columns = (np.array(middle.shape[:2]) * 0.4).astype(int)
        middle = middle[rows:-rows, columns:-columns]
        return (np.abs(middle - ground).min(axis=-1) > 170).sum()

    before = opposite()
    assert add_halo(viewer, layer)
    draw = viewer.window._qt_viewer.canvas.layer_to_visual[layer].node.text.draw
    assert opposite() > before + 20
    layer.text.visible = False
    assert opposite() == 0
    layer.text.visible = True
    assert opposite() > before + 20
    assert add_halo(viewer, layer)
    assert viewer.window._qt_viewer.canvas.layer_to_visual[layer].node.text.draw is draw


def test_without_a_window_nothing_is_done():
    viewer = ViewerModel()
    assert not add_halo(viewer, viewer.add_shapes([BOX]))
