from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_patchioner.decoders import Caption
from napari_patchioner.grids import FeatureGrid, GridTransform
from napari_patchioner.regions import Point
from napari_patchioner.viewer.layers.geometry import record_region
from napari_patchioner.viewer.layers.sources import Sources
from napari_patchioner.viewer.session.session import Session
from napari_patchioner.viewer.workers.encode import RegionPooling


class Desk:
    """A session with followed points, and a writer that counts."""

    def __init__(self, shape=(20, 30), **options):
        self.viewer, self.session = ViewerModel(), Session()
        self.image = self.viewer.add_image(np.zeros(shape), **options)
        self.sources = Sources(self.viewer, self.image, self.session, lambda: None)
        self.count = 0

    def write(self):
        """Bring everything in step and caption what is wanted."""
        for source in self.sources:
            source.sync()
        requests = self.session.take(lambda record: True)
        for request in requests:
            self.session.deliver(request, Caption(f"text {self.count}", 0.5), "tests")
            self.count += 1
        for source in self.sources:
            source.show()
        return len(requests)


@pytest.fixture
def desk():
    made = Desk()
    yield made
    made.sources.close()


@pytest.fixture
def points(desk):
    layer = desk.viewer.add_points([[2, 3], [10, 20]])
    desk.sources.follow(layer)
    return layer


def captions(layer):
    return list(layer.features["caption"])


def test_every_point_is_captioned(desk, points):
    assert desk.write() == 2
    assert captions(points) == ["text 0", "text 1"]
    region = record_region(next(iter(desk.session.records.values())), desk.session, (0, 1))
    assert isinstance(region, Point)
    assert (region.row, region.column) == (2, 3)


def test_a_point_takes_the_patch_it_lies_in(desk, points):
    desk.write()
    grid = FeatureGrid(np.ones((4, 6, 1), np.float32), GridTransform((20, 30), (4, 6)), "k")
    records = desk.session.records.values()
    taken = [RegionPooling().cover(record_region(r, desk.session, (0, 1)), grid) for r in records]
    assert [t.indices.tolist() for t in taken] == [[0], [2 * 6 + 4]]


def test_a_new_point_is_captioned_and_starts_blank(desk, points):
    desk.write()
    points.add([5, 5])
    assert desk.write() == 1
    assert captions(points) == ["text 0", "text 1", "text 2"]
    assert len(set(points.features["uid"])) == 3


def test_a_moved_point_is_captioned_again_and_keeps_its_uid(desk, points):
    desk.write()
    before = list(points.features["uid"])
    points.data = [[2, 3], [11, 20]]
    assert desk.write() == 1
    assert captions(points) == ["text 0", "text 2"]
    assert list(points.features["uid"]) == before


def test_a_deleted_point_takes_only_its_own_caption_along(desk, points):
    desk.write()
    points.selected_data = {0}
    points.remove_selected()
    assert desk.write() == 0
    assert captions(points) == ["text 1"]


def test_a_person_text_is_kept_when_its_point_moves(desk, points):
    desk.write()
    uid = points.features["uid"].iloc[1]
    desk.session.edit(uid, "mine")
    for source in desk.sources:
        source.show()
    points.data = [[2, 3], [12, 20]]
    assert desk.write() == 0
    assert captions(points)[1] == "mine"


def test_a_pasted_point_has_its_own_uid(desk, points):
    desk.write()
    points.selected_data = {0}
    points._copy_data()
    points._paste_data()
    desk.write()
    assert len(points.data) == 3
    assert len(set(points.features["uid"])) == 3


def test_the_points_own_columns_are_kept(desk):
    layer = desk.viewer.add_points([[1, 1], [2, 2]], features={"kind": ["a", "b"]})
    desk.sources.follow(layer)
    desk.write()
    layer.add([3, 3])
    desk.write()
    assert list(layer.features["kind"])[:2] == ["a", "b"]
    assert len(captions(layer)) == 3


def test_selected_points_are_the_selected_regions(desk, points):
    desk.write()
    desk.viewer.layers.selection.active = points
    points.selected_data = {1}
    assert desk.sources.selected() == [points.features["uid"].iloc[1]]
    desk.viewer.layers.selection.active = desk.image
    assert desk.sources.selected() == []


def test_points_of_a_stretched_and_moved_layer_are_where_they_are_seen():
    desk = Desk(scale=(2, 3), translate=(10, 0), rotate=20)
    layer = desk.viewer.add_points([desk.image.data_to_world((7, 11))], scale=(1, 1))
    desk.sources.follow(layer)
    for source in desk.sources:
        source.sync()
    [record] = desk.session.records.values()
    region = record_region(record, desk.session, (0, 1))
    assert np.allclose((region.row, region.column), (7, 11))
    desk.sources.close()


def test_two_layers_of_one_name_do_not_mix(desk, points):
    other = desk.viewer.add_points([[4, 4]], name="elsewhere")
    other.name = points.name
    desk.sources.follow(other)
    assert desk.write() == 3
    assert len({source.key for source in desk.sources.following.values()}) == 2


def test_several_points_are_one_region_with_counts(desk, points):
    from napari_patchioner.regions import RegionSet

    desk.write()
    points.add([2.4, 3.4])
    for source in desk.sources:
        source.sync()
    group = desk.session.group(desk.session.uids(desk.sources.following[points].key))
    grid = FeatureGrid(np.ones((4, 6, 1), np.float32), GridTransform((20, 30), (4, 6)), "k")
    together = record_region(group, desk.session, (0, 1))
    assert isinstance(together, RegionSet)
    assert RegionPooling().cover(together, grid).dense()[0, 0] == 2
    once = record_region(group, desk.session, (0, 1), union=True)
    assert RegionPooling().cover(once, grid).dense()[0, 0] == 1


# in the window


def test_click_to_caption(started, hand, qtbot):
    started.inspect.new_points()
    layer = started.viewer.layers.selection.active
    hand.click(60, 30)
    hand.click(60, 150)
    qtbot.waitUntil(lambda: len(layer.data) == 2, timeout=5000)
    qtbot.waitUntil(lambda: captions(layer) == ["something red", "something blue"], timeout=5000)
    assert list(layer.text.values) == ["something red", "something blue"]
    started.controller.edit(started.controller.selected()[0], "word " * 40)
    assert list(layer.text.values)[-1].endswith("…")


def test_labels_and_points_are_in_the_menu_and_are_captioned(started, viewer, qtbot):
    pixels = np.zeros((120, 180), int)
    pixels[40:60, 70:90] = 3
    labels = viewer.add_labels(pixels, name="cells")
    started.inspect.fill_menu()
    actions = {action.text(): action for action in started.inspect.menu.actions()}
    actions["cells"].toggle()
    qtbot.waitUntil(
        lambda: (
            "caption" in labels.features and list(labels.features["caption"]) == ["something green"]
        ),
        timeout=5000,
    )
    viewer.layers.selection.active = labels
    labels.selected_label = 3
    qtbot.waitUntil(
        lambda: started.panel.caption.editor.toPlainText() == "something green", timeout=5000
    )
    viewer.layers.remove(labels)
    qtbot.waitUntil(lambda: not started.controller.session.records, timeout=5000)
