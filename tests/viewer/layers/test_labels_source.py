from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from napari.components import ViewerModel

from napari_patchioner.annotations import Plane
from napari_patchioner.decoders import Caption
from napari_patchioner.errors import RegionError
from napari_patchioner.regions import Mask
from napari_patchioner.viewer.layers.geometry import record_plane, record_region
from napari_patchioner.viewer.layers.labels import LabelPlane, label_boxes, seen_labels
from napari_patchioner.viewer.layers.sources import Sources
from napari_patchioner.viewer.session.session import Session


def flat(labels, matrix=None, origin=(0, 0)):
    matrix = np.eye(2) if matrix is None else np.asarray(matrix, float)
    index = (slice(None), slice(None))
    return LabelPlane(labels, index, Plane(), 2, matrix, np.asarray(origin, float))


def painted(mask, shape):
    """Return a mask on its plane."""
    plane = np.zeros(shape, bool)
    top, left = mask.offset
    plane[top : top + mask.pixels.shape[0], left : left + mask.pixels.shape[1]] = mask.pixels
    return plane


@given(arrays(np.uint8, (9, 12), elements=st.integers(0, 4)))
def test_every_label_is_a_mask_of_exactly_its_pixels(labels):
    found = seen_labels(flat(labels), {})
    assert set(found) == set(np.unique(labels)) - {0}
    for value, seen in found.items():
        assert np.array_equal(painted(seen.mask((0, 1)), labels.shape), labels == value)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, np.uint32, np.int64, np.uint64])
def test_labels_of_any_kind_and_size_are_found(dtype):
    labels = np.zeros((5, 6), dtype)
    value = 1 if dtype is bool else np.iinfo(dtype).max
    labels[1:3, 2:4] = value
    assert label_boxes(labels) == {int(value): (slice(1, 3, None), slice(2, 4, None))}


def test_no_labels_are_no_regions():
    assert seen_labels(flat(np.zeros((4, 4), int)), {}) == {}
    assert seen_labels(flat(np.zeros((0, 4), int)), {}) == {}


@settings(max_examples=50)
@given(arrays(np.uint8, (8, 8), elements=st.integers(0, 3)), st.integers(0, 7), st.integers(0, 7))
def test_only_what_was_painted_over_is_new(labels, row, column):
    before = seen_labels(flat(labels), {})
    after = labels.copy()
    after[row, column] = 3
    found = seen_labels(flat(after), before)
    changed = {int(labels[row, column]), 3} if labels[row, column] != 3 else set()
    for value, seen in found.items():
        assert (seen is before.get(value)) == (value not in changed)


@pytest.mark.parametrize("step", [2, 3])
def test_labels_with_finer_pixels_lie_where_they_are_seen(step):
    labels = np.zeros((10 * step, 12 * step), int)
    labels[2 * step : 5 * step, 3 * step : 7 * step] = 1
    matrix, origin = np.eye(2) / step, np.full(2, (1 - step) / (2 * step))
    [seen] = seen_labels(flat(labels, matrix, origin), {}).values()
    wanted = np.zeros((10, 12), bool)
    wanted[2:5, 3:7] = True
    assert np.array_equal(painted(seen.mask((0, 1)), (10, 12)), wanted)


def test_labels_with_coarser_pixels_fill_theirs():
    labels = np.zeros((5, 6), int)
    labels[1, 2] = 1
    [seen] = seen_labels(flat(labels, 2 * np.eye(2), (0.5, 0.5)), {}).values()
    wanted = np.zeros((10, 12), bool)
    wanted[2:4, 4:6] = True
    assert np.array_equal(painted(seen.mask((0, 1)), (10, 12)), wanted)


def test_a_label_too_small_for_any_pixel_still_has_one():
    labels = np.zeros((40, 40), int)
    labels[17, 23] = 1
    [seen] = seen_labels(flat(labels, np.eye(2) / 4, np.full(2, -0.375)), {}).values()
    assert (seen.pixels.sum(), seen.mask((0, 1)).offset) == (1, (4, 5))


def test_a_quarter_turn_is_followed():
    labels = np.zeros((4, 4), int)
    labels[0, :3] = 1
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    [seen] = seen_labels(flat(labels, turn, (3, 0)), {}).values()
    assert np.array_equal(np.argwhere(painted(seen.mask((0, 1)), (4, 4))), [[1, 0], [2, 0], [3, 0]])


def test_looking_can_be_stopped():
    class StopError(Exception):
        pass

    def stop(done, _message):
        if done:
            raise StopError

    labels = np.arange(1, 401).reshape(20, 20)
    with pytest.raises(StopError):
        seen_labels(flat(labels), {}, stop)


# followed


class Desk:
    """A session with a followed layer, and a writer that says where each region is."""

    def __init__(self, image, qtbot, **options):
        self.viewer, self.session, self.qtbot = ViewerModel(), Session(), qtbot
        self.image = self.viewer.add_image(image, **options)
        self.sources = Sources(self.viewer, self.image, self.session, self.work)
        self.written = []

    def work(self):
        for source in self.sources:
            source.sync()

    def settle(self):
        sources = self.sources.following.values()
        self.qtbot.waitUntil(lambda: not any(s.busy for s in sources), timeout=5000)

    def write(self):
        """Caption what is wanted."""
        requests = self.session.take(lambda record: True)
        for request in requests:
            self.session.deliver(request, Caption(f"text {len(self.written)}", 0.5), "tests")
            self.written.append(request.uid)
        for source in self.sources.following.values():
            source._write()
        return len(requests)

    def captions(self, layer):
        table = layer.features
        return dict(zip(table["index"], table["caption"], strict=True)) if len(table) else {}


@pytest.fixture
def desk(qtbot):
    made = Desk(np.zeros((20, 30)), qtbot)
    yield made
    made.sources.close()


@pytest.fixture
def labels(desk):
    pixels = np.zeros((20, 30), np.int32)
    pixels[2:8, 2:8], pixels[4:6, 4:6] = 1, 0
    pixels[10:14, 3:6] = pixels[10:14, 20:24] = 5
    layer = desk.viewer.add_labels(pixels)
    desk.sources.follow(layer)
    desk.settle()
    return layer


def test_labels_that_are_moved_by_themselves_are_read_where_they_are_then(desk):
    values = np.zeros((20, 30), np.uint8)
    values[2:6, 3:9] = 1
    layer = desk.viewer.add_labels(values)
    desk.sources.follow(layer)
    desk.settle()
    layer.translate = (10, 4)
    desk.work()
    desk.settle()
    [record] = desk.session.records.values()
    assert np.array_equal(record.seen.vertices, [[12, 7], [15, 12]])


def test_every_label_is_captioned_with_its_holes_and_parts(desk, labels):
    assert desk.write() == 2
    assert desk.captions(labels) == {1: "text 0", 5: "text 1"}
    regions = [record_region(r, desk.session, (0, 1)) for r in desk.session.records.values()]
    assert all(isinstance(region, Mask) for region in regions)
    assert [region.pixels.sum() for region in regions] == [32, 28]


def test_painting_has_only_the_painted_label_captioned_again(desk, labels):
    desk.write()
    before = desk.session.uids(desk.sources.following[labels].key)
    labels.brush_size = 1
    labels.paint((12, 21), 5)
    labels.paint((4, 4), 1)
    desk.settle()
    assert desk.write() == 1
    assert desk.captions(labels)[5] == "text 1"
    labels.data_setitem((np.array([0]), np.array([0])), 9)
    desk.settle()
    assert desk.write() == 1
    assert desk.session.uids(desk.sources.following[labels].key)[:2] == before
    assert set(desk.captions(labels)) == {1, 5, 9}


def test_a_person_text_survives_painting_and_nothing_is_asked(desk, labels):
    desk.write()
    [first, _] = desk.session.records.values()
    desk.session.edit(first.uid, "mine")
    labels.data_setitem((np.array([2]), np.array([2])), 0)
    desk.settle()
    assert desk.write() == 0
    assert desk.captions(labels)[1] == "mine"


def test_a_label_that_is_gone_is_forgotten_and_comes_back_as_it_was(desk, labels):
    desk.write()
    [first, _] = desk.session.records.values()
    desk.session.edit(first.uid, "mine")
    where = np.nonzero(labels.data == 1)
    labels.data_setitem(where, 0)
    desk.settle()
    assert desk.write() == 0
    assert set(desk.captions(labels)) == {5}
    labels.data_setitem(where, 1)
    desk.settle()
    assert desk.write() == 0
    assert desk.captions(labels)[1] == "mine"
    assert first.uid in desk.session.records


def test_labels_whose_records_are_gone_for_a_while_are_written_when_they_are_back(desk, labels):
    desk.write()
    before = desk.captions(labels)
    [source] = desk.sources.following.values()
    labels.selected_label = 5
    [chosen] = source.selected()
    desk.session.drop_layer(source.key)
    assert desk.write() == 0
    assert desk.captions(labels) == {}
    assert not source.select({"another"})
    desk.session.undo()
    desk.write()
    assert desk.captions(labels) == before
    assert source.selected() == [chosen]


def test_an_edit_in_the_table_is_a_person_text(desk, labels):
    desk.write()
    table = labels.features.copy()
    table.loc[table["index"] == 5, "caption"] = "typed in the table"
    labels.features = table
    desk.settle()
    record = next(r for r in desk.session.records.values() if r.caption == "typed in the table")
    assert record.source == "edited"
    assert record.seen.value == 5


def test_a_caption_that_is_not_yet_in_the_table_is_not_lost(desk, labels):
    for request in desk.session.take(lambda record: True):
        desk.session.deliver(request, Caption("written just now", 0.5), "tests")
    labels.data_setitem((np.array([19]), np.array([29])), 3)
    desk.settle()
    captions = sorted(record.caption for record in desk.session.records.values())
    assert captions == ["", "written just now", "written just now"]


def test_other_columns_and_rows_of_the_table_are_kept(desk, labels):
    desk.write()
    table = labels.features.assign(area=[32.0, 28.0])
    labels.features = table
    desk.settle()
    labels.data_setitem((np.array([19]), np.array([29])), 3)
    desk.settle()
    desk.write()
    areas = dict(zip(labels.features["index"], labels.features["area"], strict=True))
    assert (areas[1], areas[5]) == (32.0, 28.0)
    assert np.isnan(areas[3])


def test_saved_captions_are_taken_over(desk):
    pixels = np.zeros((20, 30), int)
    pixels[3:6, 3:6] = 4
    row = {"index": [4], "uid": ["u4"], "caption": ["kept"], "source": ["human"]}
    layer = desk.viewer.add_labels(pixels, features=row)
    desk.sources.follow(layer)
    desk.settle()
    assert desk.write() == 0
    assert desk.session.records["u4"].caption == "kept"
    assert desk.session.records["u4"].protected


def test_the_selected_label_is_the_selected_region(desk, labels):
    desk.viewer.layers.selection.active = labels
    labels.selected_label = 5
    [uid] = desk.sources.selected()
    assert desk.session.records[uid].seen.value == 5
    labels.selected_label = 77
    assert desk.sources.selected() == []


def test_a_stack_is_followed_plane_by_plane_and_remembers_them(qtbot):
    desk = Desk(np.zeros((3, 10, 12)), qtbot)
    stack = np.zeros((3, 10, 12), int)
    stack[0, 1:3, 1:3], stack[1, 5:8, 5:8], stack[1, 0, 0] = 7, 7, 2
    layer = desk.viewer.add_labels(stack)
    desk.viewer.dims.set_point(0, 0)
    desk.sources.follow(layer)
    desk.settle()
    assert desk.write() == 1
    desk.viewer.dims.set_point(0, 1)
    desk.work()
    desk.settle()
    assert desk.write() == 2
    planes = [record_plane(r, desk.session, (1, 2)).index for r in desk.session.records.values()]
    assert planes == [(0,), (1,), (1,)]
    table = layer.features
    assert sorted(zip(table["plane"], table["index"], strict=True)) == [
        ("0", 7),
        ("1", 2),
        ("1", 7),
    ]
    desk.sources.close()


def test_a_layer_with_other_axes_is_refused(desk):
    layer = desk.viewer.add_labels(np.zeros((2, 20, 30), int))
    assert layer not in desk.sources.offers()
    with pytest.raises(RegionError, match="3 axes"):
        desk.sources.follow(layer)
    with pytest.raises(RegionError, match="neither"):
        desk.sources.follow(desk.image)


def test_leaving_keeps_the_table_and_forgets_the_records(desk, labels):
    desk.write()
    desk.sources.leave(labels)
    assert not desk.session.records
    assert desk.captions(labels) == {1: "text 0", 5: "text 1"}
    labels.data_setitem((np.array([0]), np.array([0])), 9)
    desk.qtbot.wait(50)
    assert not desk.session.records


def test_labels_that_cannot_be_read_are_told_of_and_not_tried_for_ever(desk, labels, monkeypatch):
    from napari_patchioner.viewer.layers import labels as labels_module

    tried, told = [], []

    def broken(*_):
        tried.append(1)
        raise OSError("the disk is gone")

    monkeypatch.setattr(labels_module, "seen_labels", broken)
    monkeypatch.setattr(labels_module, "show_warning", told.append)
    labels.data_setitem((np.array([0]), np.array([0])), 9)
    desk.settle()
    desk.qtbot.wait(300)
    assert len(tried) == len(told) == 1
    assert "the disk is gone" in told[0]
    assert len(desk.session.records) == 2


def test_labels_are_exported_to_a_table_of_their_own(qtbot, tmp_path):
    import pandas as pd

    from napari_patchioner.annotations import read_tidy_csv
    from napari_patchioner.viewer.io.export import export_csv

    desk = Desk(np.zeros((2, 10, 12)), qtbot)
    stack = np.zeros((2, 10, 12), int)
    stack[1, 2:4, 3:7] = 8
    desk.viewer.dims.set_point(0, 1)
    desk.sources.follow(desk.viewer.add_labels(stack, name="cells"))
    desk.settle()
    desk.write()
    shapes, tidy, labels = export_csv(tmp_path / "x.csv", desk.session, desk.image)
    assert len(shapes.read_text().splitlines()) == 1
    [painted] = read_tidy_csv(tidy)
    assert (painted.kind, painted.caption, painted.region.pixels.sum()) == ("mask", "text 0", 8)
    [row] = pd.read_csv(labels).to_dict("records")
    assert (row["layer"], row["label"], row["plane"], row["pixels"]) == ("cells", 8, 1, 8)
    assert [row[edge] for edge in ("top", "left", "bottom", "right")] == [1.5, 2.5, 3.5, 6.5]
    assert (row["caption"], row["source"], row["model"]) == ("text 0", "model", "tests")
    desk.sources.close()


def test_thousands_of_labels_are_found_and_known_again(qtbot):
    labels = np.kron(np.arange(1, 2501).reshape(50, 50), np.ones((20, 20), int))
    found = seen_labels(flat(labels), {})
    assert len(found) == 2500
    again = seen_labels(flat(labels), found)
    assert all(again[value] is seen for value, seen in found.items())


# in the window


def test_many_labels_are_captioned_with_progress_and_can_be_stopped(started, captioner, qtbot):
    pixels = np.kron(np.arange(1, 101).reshape(10, 10), np.ones((12, 18), int))
    layer = started.viewer.add_labels(pixels, name="cells")
    captioner.hold_captions.clear()
    controller = started.controller
    controller.sources.follow(layer)
    qtbot.waitUntil(lambda: controller.queue.progress is not None, timeout=5000)
    progress = controller.progress
    qtbot.waitUntil(lambda: "of 100" in progress.message, timeout=5000)
    started.image_actions.cancel()
    captioner.hold_captions.set()
    assert controller.progress is None
    qtbot.wait(300)
    records = controller.session.records.values()
    assert not any(record.caption for record in records)
    assert all("cancelled" in record.problem for record in records)
    layer.brush_size = 1
    layer.paint((0, 0), 77)
    qtbot.waitUntil(lambda: sum(bool(r.caption) for r in records) == 2, timeout=5000)
