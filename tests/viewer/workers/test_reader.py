from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from looking import Looking

from napari_patchioner.regions import RegionSet, Trace
from napari_patchioner.viewer.layers.geometry import record_region
from napari_patchioner.viewer.layers.image_layers import KEYS
from napari_patchioner.viewer.workers.encode import shared_store


@pytest.fixture
def registry(captioner, shop):
    from napari_patchioner.viewer.workers.models import ModelRegistry

    looking = Looking(captioner)
    return ModelRegistry(
        lambda name, progress: looking, lambda: list(shop.cards()), shop, {"colours"}
    )


def read(dock, qtbot):
    dock.start()
    qtbot.waitUntil(lambda: dock.controller.encoder.active, timeout=5000)
    qtbot.waitUntil(lambda: not dock.controller.encoder.active, timeout=5000)
    assert dock.controller.encoder.ready


def test_a_picture_is_looked_at_once_even_after_a_restart(dock, captioner, cache, qtbot):
    read(dock, qtbot)
    assert captioner.encoded == 1
    assert any(cache.rglob("*"))
    read(dock, qtbot)
    assert captioner.encoded == 1
    shared_store.cache_clear()
    read(dock, qtbot)
    assert captioner.encoded == 1
    dock.image.data = np.array(dock.image.data[:, ::-1])
    read(dock, qtbot)
    assert captioner.encoded == 2


def test_the_disk_is_left_alone_where_that_is_wanted(dock, captioner, cache, qtbot):
    dock.controller.encoder.keep = False
    read(dock, qtbot)
    assert not [path for path in cache.rglob("*") if path.is_file()]
    read(dock, qtbot)
    assert captioner.encoded == 1
    shared_store.cache_clear()
    read(dock, qtbot)
    assert captioner.encoded == 2


def test_what_was_remembered_captions_at_once(dock, captioner, qtbot):
    read(dock, qtbot)
    shared_store.cache_clear()
    dock.image_actions.caption_whole()
    read(dock, qtbot)
    records = dock.controller.session.records
    qtbot.waitUntil(lambda: all(record.caption for record in records.values()), timeout=5000)
    [record] = records.values()
    assert record.origin["grid"] == dock.controller.encoder.here()[1].key
    assert captioner.encoded == 1


def test_lines_are_traces_on_either_layer(started, hand, qtbot):
    session = started.controller.session
    for count, (key, mode) in enumerate(product(KEYS, ("add_line", "add_polyline")), 1):
        layer = started.controller.layer(key)
        started.viewer.layers.selection.active = layer
        layer.mode = mode
        if mode == "add_line":
            hand.drag([(40, 130), (80, 170)])
        else:
            hand.click(40, 130)
            hand.click(80, 150)
            hand.double_click(60, 170)
        layer.mode = "pan_zoom"

        def captions(count=count):
            said = [record.caption for record in session.records.values()]
            return said if len(said) == count and all(said) else []

        qtbot.waitUntil(lambda: bool(captions()), timeout=5000)
        record = session.records[session.uids(key)[-1]]
        assert record.caption == "something blue", (key, mode)
        assert isinstance(record_region(record, session, (0, 1)), Trace), (key, mode)


def test_shapes_together_are_one_set_united_by_option(started, captioner, qtbot):
    asked = []
    caption = captioner.caption

    def spy(grid, regions, **options):
        asked.extend(region for region in regions if isinstance(region, RegionSet))
        assert "union" not in options
        return caption(grid, regions, **options)

    captioner.caption = spy
    layer = started.controller.layer("regions")
    for left in (10, 20):
        layer.add([[10, left], [10, left + 30], [40, left + 30], [40, left]])
    for union in (False, True):
        asked.clear()
        started.controller.queue.options["union"] = union
        layer.selected_data = {0, 1}
        started.image_actions.caption_together()
        qtbot.waitUntil(lambda: bool(asked), timeout=5000)
        assert [region.union for region in asked] == [union]
        qtbot.waitUntil(lambda: not started.controller.queue.active, timeout=5000)
