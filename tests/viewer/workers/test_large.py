from __future__ import annotations

import threading

import dask.array
import numpy as np
import pytest
from napari.layers import Image
from near_sighted import TILE, near_sighted

from napari_patchioner.annotations import Plane
from napari_patchioner.regions import Box, WholeImage
from napari_patchioner.viewer.layers.overlays import NAME
from napari_patchioner.viewer.workers.encode import Overview
from napari_patchioner.viewer.workers.plane import plane_source

HEIGHT, WIDTH = 300, 4200


def slide():
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def halved(image):
    height, width = (side // 2 * 2 for side in image.shape[:2])
    return image[:height, :width].reshape(height // 2, 2, width // 2, 2, 3).mean((1, 3))


class Counted:
    """A dask array over an image, and which windows of it were computed."""

    def __init__(self, image):
        self.read = []
        self._image = image
        self.lazy = dask.array.map_blocks(
            self._block, chunks=dask.array.core.normalize_chunks((100, 300, 3), image.shape),
            dtype=image.dtype, meta=image[:0, :0],
        )  # fmt: skip

    def _block(self, block_info=None):
        window = tuple(slice(*edges) for edges in block_info[None]["array-location"])
        self.read.append(window)
        return self._image[window]


@pytest.fixture
def captioner():
    return near_sighted()


@pytest.fixture
def counted():
    return Counted(slide())


@pytest.fixture
def picture(counted):
    return counted.lazy


def draw(dock, box):
    layer = dock.controller.layer("regions")
    layer.add([[box.top, box.left], [box.bottom, box.right]], shape_type="rectangle")


def captioned(dock, qtbot):
    qtbot.waitUntil(
        lambda: all(record.caption for record in dock.controller.session.records.values()),
        timeout=20000,
    )
    return list(dock.controller.session.records.values())


BOXES = [Box(20, 1000, 55, 1040), Box(200, 3000, 212, 3014), Box(10, 100, 290, 2900)]


def test_a_region_of_a_lazy_image_is_captioned_from_close_and_only_its_surroundings_are_read(
    started, counted, captioner, qtbot
):
    reader = started.controller.encoder
    [grid] = reader.grids.values()
    assert isinstance(grid, Overview)
    assert max(captioner.backbone.seen[0][:2]) < 2 * TILE
    counted.read.clear()
    draw(started, BOXES[1])
    [record] = captioned(started, qtbot)
    columns = {window[1].start for window in counted.read}
    assert columns <= {2700, 3000}
    [expected] = near_sighted().pyramid(slide()).caption([BOXES[1]])
    assert record.caption == expected.text
    assert record.origin["looked"] == near_sighted().pyramid(slide()).plan(BOXES[1]).notes
    patches_on_show_are_those_that_were_looked_at(started, qtbot)


def test_every_region_is_captioned_as_without_napari_and_looked_at_once(started, captioner, qtbot):
    for box in BOXES:
        draw(started, box)
    started.controller.whole_image()
    records = captioned(started, qtbot)
    expected = near_sighted().pyramid(slide()).caption([*BOXES, WholeImage()])
    assert [record.caption for record in records] == [caption.text for caption in expected]
    # What was seen is not looked at again.
    before = len(captioner.backbone.seen)
    draw(started, Box(21, 1001, 54, 1039))
    captioned(started, qtbot)
    assert len(captioner.backbone.seen) == before
    # What is tiny is enlarged if wanted, and says so.
    started.controller.queue.options["zoom"] = True
    draw(started, Box(100, 500, 101, 501))
    record = captioned(started, qtbot)[-1]
    assert "zoomed" in record.origin["looked"]
    assert max(captioner.backbone.seen[-1][:2]) < TILE


def patches_on_show_are_those_that_were_looked_at(started, qtbot):
    layer = started.controller.layer("regions")
    layer.selected_data = {0}
    started.inspect.patches.click()
    plan = near_sighted().pyramid(slide()).plan(BOXES[1])
    overlays = started.image._overlays
    qtbot.waitUntil(lambda: NAME in overlays and overlays[NAME].sheet.heat is not None)
    sheet = overlays[NAME].sheet
    assert sheet.transform.patch_size == pytest.approx(plan.patch)
    corners, _ = sheet.squares()
    assert corners.min((0, 1)) == pytest.approx([200, 3000], abs=plan.patch[0])
    assert corners.max((0, 1)) == pytest.approx([212, 3014], abs=plan.patch[0])


def test_looking_closer_can_be_watched_and_cancelled(started, captioner, qtbot, monkeypatch):
    reached, go_on = threading.Event(), threading.Event()
    encode = captioner.backbone.encode

    def slow(image, **options):
        reached.set()
        go_on.wait(20)
        return encode(image, **options)

    monkeypatch.setattr(captioner.backbone, "encode", slow)
    draw(started, BOXES[0])
    qtbot.waitUntil(reached.is_set, timeout=10000)
    queue = started.controller.queue
    assert "looking" in queue.progress.message or "captioning" in queue.progress.message
    queue.cancel()
    go_on.set()
    [record] = started.controller.session.records.values()
    assert not record.caption
    assert "cancelled" in record.problem
    monkeypatch.setattr(captioner.backbone, "encode", encode)
    started.controller.again([record.uid])
    captioned(started, qtbot)


def test_a_region_that_moves_meanwhile_gets_the_caption_of_its_new_place(
    started, captioner, qtbot, monkeypatch
):
    reached, go_on = threading.Event(), threading.Event()
    encode = captioner.backbone.encode

    def slow(image, **options):
        reached.set()
        go_on.wait(20)
        return encode(image, **options)

    monkeypatch.setattr(captioner.backbone, "encode", slow)
    draw(started, BOXES[0])
    qtbot.waitUntil(reached.is_set, timeout=10000)
    layer = started.controller.layer("regions")
    layer.data = [np.add(layer.data[0], [100, 2000])]
    go_on.set()
    moved = Box(120, 3000, 155, 3040)
    [expected] = near_sighted().pyramid(slide()).caption([moved])
    qtbot.waitUntil(
        lambda: [r.caption for r in started.controller.session.records.values()] == [expected.text],
        timeout=20000,
    )


class TestMultiscale:
    @pytest.fixture
    def picture(self):
        levels = [slide()]
        while max(levels[-1].shape) > 60:
            levels.append(halved(levels[-1]).astype(np.uint8))
        return [dask.array.from_array(level) for level in levels]

    def test_levels_at_hand_are_used(self, started, picture, qtbot):
        assert started.image.multiscale
        for box in BOXES:
            draw(started, box)
        records = captioned(started, qtbot)
        expected = near_sighted().pyramid(picture).caption(BOXES)
        assert [record.caption for record in records] == [caption.text for caption in expected]


class TestSmall:
    @pytest.fixture
    def picture(self):
        return dask.array.from_array(slide()[:, :4096], chunks=(100, 300, 3))

    def test_up_to_the_limit_an_image_is_read_in_one_pass_as_ever(self, started, captioner, qtbot):
        [grid] = started.controller.encoder.grids.values()
        assert type(grid) is not Overview
        assert grid.key == near_sighted().encode(slide()[:, :4096]).key
        draw(started, BOXES[0])
        [record] = captioned(started, qtbot)
        assert len(captioner.backbone.seen) == 1
        [expected] = near_sighted().caption(near_sighted().encode(slide()[:, :4096]), BOXES[:1])
        assert record.caption == expected.text
        assert "looked" not in record.origin


# windows of what is displayed


def gray():
    return np.random.default_rng(1).integers(0, 4000, (12, 5000), dtype=np.uint16)


LAYERS = {
    "gray": lambda: [Image(gray(), contrast_limits=(100, 3000), gamma=0.7)],
    "palette": lambda: [Image(gray(), contrast_limits=(100, 3000), colormap="magma")],
    "rgb": lambda: [Image(slide()[:9, :5000], rgb=True)],
    "rgba": lambda: [Image(np.zeros((9, 5000, 4), np.uint8), rgb=True)],
    "channels": lambda: [
        Image(gray(), contrast_limits=(0, 4000), colormap="red"),
        Image(gray()[::-1], contrast_limits=(0, 4000), colormap="green"),
    ],
    "booleans": lambda: [Image(gray() > 2000, contrast_limits=(0, 1))],
    "big-endian": lambda: [Image(gray().astype(">u2"), contrast_limits=(0, 4000))],
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("axes", [(0, 1), (1, 0)])
def test_a_window_is_a_part_of_the_picture(kind, axes):
    first, *others = LAYERS[kind]()
    source = plane_source(first, Plane(axes, ()), others)
    [size] = source.sizes
    whole = source.read()
    assert size.shape == whole.shape
    window = (slice(2, 7), slice(1, 8))
    np.testing.assert_array_equal(size[window], whole[window])


def test_channels_are_seen_in_the_sizes_that_all_of_them_have():
    one = Image([gray(), gray()[::2, ::2], gray()[::4, ::4]], multiscale=True)
    other = Image([gray(), gray()[::2, ::2]], multiscale=True)
    sizes = plane_source(one, Plane((0, 1), ()), [other]).sizes
    assert [size.shape for size in sizes] == [(12, 5000, 3), (6, 2500, 3)]
