from __future__ import annotations

import numpy as np

from napari_patchioner.grids import grid_key

IMAGE = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)


def test_everything_that_changes_embeddings_changes_the_key():
    other = IMAGE.copy()
    other[0, 0, 0] = 9
    keys = {
        grid_key(IMAGE, "mini"),
        grid_key(other, "mini"),
        grid_key(IMAGE.reshape(4, 2, 3), "mini"),
        grid_key(IMAGE.astype(np.int16), "mini"),
        grid_key(IMAGE, "clip"),
        grid_key(IMAGE, "mini", size=518),
        grid_key(IMAGE[:0], "mini"),
    }
    assert len(keys) == 7


def test_memory_layout_and_order_of_options_do_not():
    assert grid_key(IMAGE[:, ::-1], "mini") == grid_key(IMAGE[:, ::-1].copy(), "mini")
    assert grid_key(IMAGE, "mini", a=1, b=2) == grid_key(IMAGE, "mini", b=2, a=1)
