"""The session on real Shapes layers, without a display, through napari's own ways."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from napari.components import ViewerModel
from napari.layers import Image, Shapes, _layer_actions

from napari_patchioner.decoders import Caption
from napari_patchioner.viewer.layers import image_layers
from napari_patchioner.viewer.layers.binding import LayerBinding
from napari_patchioner.viewer.layers.image_layers import ensure_layer
from napari_patchioner.viewer.layers.table import COLUMNS
from napari_patchioner.viewer.session.session import Session

SQUARE = np.array([[0.0, 0.0], [0.0, 9.0], [9.0, 9.0], [9.0, 0.0]])
TRIANGLE = SQUARE[:3]


def bound(image=None):
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((200, 200)) if image is None else image)
    layer = ensure_layer(viewer, image, "regions")
    session = Session()
    binding = LayerBinding(layer, image, "regions", session, lambda: None)
    return layer, session, binding


def answer(session, binding):
    for request in session.take(lambda record: True):
        place = session.records[request.uid].seen.vertices.mean()
        session.deliver(request, Caption(f"at {place:.2f}", 0.5))
    binding.show()


def test_captions_are_written_into_the_table_and_onto_the_canvas():
    layer, session, binding = bound()
    layer.add([SQUARE, SQUARE + 20], shape_type="rectangle")
    answer(session, binding)
    assert list(layer.features["caption"]) == ["at 4.50", "at 24.50"]
    assert list(layer.text.values) == ["at 4.50", "at 24.50"]
    assert list(layer.features["source"]) == ["model", "model"]


def test_the_next_shape_starts_blank():
    layer, session, binding = bound()
    layer.add(SQUARE, shape_type="rectangle")
    answer(session, binding)
    layer.add(SQUARE + 20, shape_type="rectangle")
    assert list(layer.features["caption"]) == ["at 4.50", ""]


def test_an_aborted_polygon_leaves_nothing_behind():
    layer, session, binding = bound()
    layer.add(SQUARE, shape_type="rectangle")
    answer(session, binding)
    layer.mode = "add_polygon"
    start_polygon(layer, SQUARE[0] + 50)
    layer._finish_drawing()
    binding.sync()
    assert (layer.nshapes, len(layer.features)) == (1, 1)
    layer.mode = "add_rectangle"
    layer.add(SQUARE + 20, shape_type="rectangle")
    binding.sync()
    assert list(layer.features["caption"]) == ["at 4.50", ""]
    assert layer.features["uid"].is_unique


def test_a_table_is_left_alone_while_a_shape_is_drawn_but_captions_still_arrive():
    layer, session, binding = bound()
    layer.add(SQUARE, shape_type="rectangle")
    layer.mode = "add_polygon"
    start_polygon(layer, SQUARE[0] + 50)
    binding.sync()
    answer(session, binding)
    assert list(layer.features["caption"]) == ["at 4.50", ""]
    assert layer._is_creating
    layer._finish_drawing()
    binding.sync()
    assert len(layer.features) == 1


def test_a_triangle_that_loses_a_vertex_takes_only_its_own_row_along():
    layer, session, binding = bound()
    layer.add([TRIANGLE, TRIANGLE + 20, TRIANGLE + 40], shape_type="polygon")
    answer(session, binding)
    kept = list(layer.features["caption"])[1:]
    remove_vertex_of_triangle(layer, 0)
    assert list(layer.features["caption"]) == kept
    assert list(layer.text.values) == kept


def test_a_paste_gets_a_uid_of_its_own():
    layer, session, binding = bound()
    layer.add(SQUARE, shape_type="rectangle")
    session.edit(session.uids("regions")[0], "mine")
    binding.show()
    layer.selected_data = {0}
    layer._copy_data()
    layer._paste_data()
    assert layer.features["uid"].is_unique
    assert list(layer.features["caption"]) == ["mine", ""]


def test_fewer_shapes_at_once_keep_the_right_captions():
    layer, session, binding = bound()
    layer.add([SQUARE, SQUARE + 20, SQUARE + 40], shape_type="rectangle")
    answer(session, binding)
    layer.data = [SQUARE + 40, SQUARE]
    assert list(layer.features["caption"]) == ["at 44.50", "at 4.50"]


def test_other_peoples_columns_stay():
    layer, _session, _binding = bound()
    layer.add([SQUARE, SQUARE + 20], shape_type="rectangle")
    layer.features = layer.features.assign(kind=["cat", "dog"])
    remove_row(layer, 0)
    layer.add(SQUARE + 50, shape_type="rectangle")
    assert next(iter(layer.features["kind"])) == "dog"
    assert list(layer.features.columns)[:6] == list(COLUMNS)


def test_layers_from_before_reviews_are_opened():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((200, 200)), name="cells")
    old = {"uid": ["a"], "caption": ["mine"], "score": [np.nan], "source": ["human"]}
    layer = viewer.add_shapes([SQUARE], name="regions [cells]", features=old | {"kind": ["cat"]})
    session = Session()
    LayerBinding(ensure_layer(viewer, image, "regions"), image, "regions", session, lambda: None)
    assert session.records["a"].caption == "mine"
    assert list(layer.features["reviewed"]) == [False]
    assert list(layer.features["caption_model"]) == [""]
    assert list(layer.features["kind"]) == ["cat"]


def put(table):
    """Return what replaces the features table, whatever its length."""

    def replace(layer):
        layer.features = table(layer.nshapes)

    return replace


def blocked(layer):
    with layer.events.blocker_all():
        layer.features = pd.DataFrame({"foo": [1, 2]})
        layer.data = [shape + 1 for shape in layer.data]


def retold(layer):
    layer.features = pd.DataFrame({"foo": ["a", "b"]})
    layer.text = "{foo}"


def renumbered(layer):
    layer.features = layer.features.set_index(np.array([7, 3]))


MEDDLING = {
    "one column": put(lambda count: pd.DataFrame({"foo": range(count)})),
    "fewer rows": put(lambda count: pd.DataFrame({"foo": range(count - 1)})),
    "more rows": put(lambda count: pd.DataFrame({"foo": range(count + 2)})),
    "one of ours": put(lambda count: pd.DataFrame({"score": [0.1] * count, "foo": 1})),
    "wrong kinds": put(lambda count: pd.DataFrame({"caption": [1.5] * count, "uid": None})),
    "numbers for names": put(lambda count: pd.DataFrame({0: range(count), "0": 7})),
    "tuples for names": put(lambda count: pd.DataFrame({("a", "b"): range(count)})),
    "ours under numbers": lambda layer: setattr(
        layer, "features", layer.features.rename(columns={"caption": 0})
    ),
    "nothing": put(lambda count: {}),
    "empty": put(lambda count: None),
    "another index": renumbered,
    "while told of nothing": blocked,
    "another text": retold,
    "no text": lambda layer: setattr(layer, "text", None),
    "a column dropped": lambda layer: setattr(
        layer, "features", layer.features.drop(columns="caption")
    ),
    "colours": lambda layer: (
        setattr(layer, "features", layer.features.assign(foo=[0.5, 2])),
        setattr(layer, "edge_color", "foo"),
        setattr(layer, "face_color", ["red", "blue"]),
    ),
    "other shapes": lambda layer: setattr(layer, "data", [shape + 1 for shape in layer.data]),
}


@pytest.mark.parametrize("meddle", MEDDLING.values(), ids=MEDDLING)
def test_whatever_other_code_does_to_the_layer_nothing_is_lost(meddle):
    layer, session, binding = bound()
    layer.add([SQUARE, SQUARE + 20], shape_type="rectangle")
    session.edit(session.uids("regions")[0], "mine")
    answer(session, binding)
    uids = session.uids("regions")
    meddle(layer)
    binding.sync()
    layer.add(SQUARE + 50, shape_type="rectangle")
    binding.sync()
    binding.show()
    assert session.uids("regions")[:2] == uids
    assert list(layer.features["uid"]) == session.uids("regions")
    assert list(layer.features.columns[: len(COLUMNS)]) == list(COLUMNS)
    assert layer.features["caption"].tolist()[0] == "mine"
    assert session.records[uids[0]].source == "human"
    assert [record.caption for record in map(session.records.get, uids)] == (
        layer.features["caption"].tolist()[:2]
    )
    if "foo" in layer.features:
        assert len(layer.features["foo"]) == 3
    # What napari does at every drawing.
    assert len(layer._view_text) == 3


def test_columns_of_other_code_named_by_numbers_keep_their_values():
    layer, _, binding = bound()
    layer.add([SQUARE, SQUARE + 20], shape_type="rectangle")
    binding.sync()
    layer.features = pd.DataFrame({0: [1, 2], "0": [3, 4]})
    binding.sync()
    layer.add(SQUARE + 50, shape_type="rectangle")
    binding.sync()
    assert layer.features["0"].tolist()[:2] == [1, 2]
    assert layer.features["0 (2)"].tolist()[:2] == [3, 4]


def test_a_duplicate_is_made_and_is_nobodys_business_but_its_owners():
    layer, session, binding = bound()
    layer.add([SQUARE, SQUARE + 20], shape_type="rectangle")
    answer(session, binding)
    viewer = ViewerModel()
    viewer.layers.append(layer)
    viewer.layers.selection = {layer}
    _layer_actions._duplicate_layer(viewer.layers)
    copy = viewer.layers[-1]
    assert image_layers.is_copy(copy, layer)
    assert not image_layers.is_copy(layer, layer)
    image_layers.disown(copy)
    assert not image_layers.is_copy(copy, layer)
    assert list(copy.features["caption"]) == list(layer.features["caption"])
    assert list(copy.text.values) == list(layer.text.values)


def test_a_table_without_our_columns_gets_them_back():
    layer, session, binding = bound()
    layer.features = {}
    layer.add(SQUARE, shape_type="rectangle")
    answer(session, binding)
    layer.features = {"kind": np.array(["cat"])}
    assert list(layer.features["caption"]) == ["at 4.50"]
    assert list(layer.features["kind"]) == ["cat"]


def test_what_a_model_wrote_and_whether_it_was_reviewed_is_in_the_table():
    layer, session, binding = bound()
    layer.add([SQUARE, SQUARE + 20], shape_type="rectangle")
    for request in session.take(lambda record: True):
        session.deliver(request, Caption("a cat", 0.5), "mini")
    session.accept(session.uids("regions")[:1])
    binding.show()
    assert list(layer.features["caption_model"]) == ["mini", "mini"]
    assert list(layer.features["reviewed"]) == [True, False]
    assert layer.features["reviewed"].dtype == bool


def test_a_layer_that_lies_askew_is_captioned_where_it_is_seen():
    layer, session, _binding = bound()
    layer.scale = (2, 2)
    layer.translate = (10, 0)
    layer.add(SQUARE, shape_type="rectangle")
    [record] = session.records.values()
    assert np.allclose(record.seen.vertices, SQUARE * 2 + (10, 0))


def test_a_layer_that_is_moved_by_itself_is_looked_at_again_and_not_after_its_image():
    image = Image(np.zeros((200, 200)))
    calls = []
    layer = Shapes([SQUARE], shape_type="rectangle")
    binding = LayerBinding(layer, image, "regions", Session(), lambda: calls.append(layer.scale))
    image.scale = (2, 2)
    assert not calls
    layer.translate = (50, 100)
    assert calls
    binding.close()


@pytest.mark.parametrize("turn", [0.0, 30.0])
def test_new_layers_lie_exactly_on_a_turned_image(turn):
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((50, 60)), scale=(0.5, 0.25), rotate=turn, translate=(3, 4))
    layer = ensure_layer(viewer, image, "traces")
    session = Session()
    binding = LayerBinding(layer, image, "traces", session, lambda: None)
    layer.add(SQUARE, shape_type="path")
    [record] = session.records.values()
    assert np.array_equal(record.seen.vertices, SQUARE)
    binding.close()


def test_closing_stops_following():
    layer, session, binding = bound()
    binding.close()
    layer.add(SQUARE, shape_type="rectangle")
    assert session.records == {}


def requested(layer, session):
    """Three boxes, and what a model was asked about them."""
    layer.add([SQUARE, SQUARE + 20, SQUARE + 40], shape_type="rectangle")
    return session.take(lambda record: True)


def deliver(session, requests):
    return [session.deliver(one, Caption(f"about {one.uid}", 0.5)) for one in requests]


def test_a_look_at_what_has_not_changed_compares_nothing(monkeypatch):
    layer, session, binding = bound()
    layer.add([SQUARE, SQUARE + 20], shape_type="rectangle")
    answer(session, binding)
    binding.sync()
    looks, observe = [], session.observe

    def noted(*arguments, **options):
        looks.append(arguments)
        return observe(*arguments, **options)

    monkeypatch.setattr(session, "observe", noted)
    binding.sync()
    layer.events.features()
    assert looks == []
    layer.features.loc[0, "caption"] = "mine"
    layer.events.features()
    assert len(looks) == 1
    assert [record.caption for record in session.table("regions")] == ["mine", "at 24.50"]


def test_captions_come_without_another_look_at_the_layer(monkeypatch):
    layer, session, binding = bound()
    requests = requested(layer, session)
    looks = []
    monkeypatch.setattr(binding._reader, "shapes", lambda: looks.append("shapes"))
    monkeypatch.setattr(binding._reader, "rows", lambda: looks.append("rows"))
    assert deliver(session, requests) == [True] * 3
    binding.show()
    assert looks == []
    assert list(layer.features["caption"]) == [f"about {one.uid}" for one in requests]
    shown = [str(text).replace("\n", "") for text in layer.text.values]
    assert shown == list(layer.features["caption"])


def test_a_caption_for_a_shape_that_is_gone_goes_nowhere():
    layer, session, binding = bound()
    requests = requested(layer, session)
    remove_row(layer, 1)
    assert deliver(session, requests) == [True, False, True]
    binding.show()
    assert list(layer.features["uid"]) == [requests[0].uid, requests[2].uid]
    assert list(layer.features["caption"]) == [f"about {requests[i].uid}" for i in (0, 2)]


def test_a_caption_for_a_shape_that_was_moved_goes_nowhere():
    layer, session, binding = bound()
    requests = requested(layer, session)
    layer._data_view.shift(1, (3, 3))
    layer.events.data(value=layer.data, action="changed", data_indices=(1,), vertex_indices=((),))
    assert deliver(session, requests) == [True, False, True]
    binding.show()
    assert list(layer.features["caption"])[1] == ""
    assert [one.uid for one in session.take(lambda record: True)] == [requests[1].uid]


def test_a_caption_of_a_shape_whose_move_nobody_told_of_does_not_outlive_the_next_look():
    layer, session, binding = bound()
    requests = requested(layer, session)
    layer.data[1][:] += 3
    assert deliver(session, requests) == [True] * 3
    binding.show()
    binding.sync()
    assert list(layer.features["caption"])[1] == ""
    assert session.records[requests[1].uid].wanted


def test_captions_find_their_rows_in_another_order():
    layer, session, binding = bound()
    requests = requested(layer, session)
    layer.selected_data = {0}
    layer.move_to_front()
    layer.data = [np.array(one) for one in layer.data[::-1]]
    deliver(session, requests)
    binding.show()
    for uid, caption in zip(layer.features["uid"], layer.features["caption"], strict=True):
        assert caption == f"about {uid}"


def test_captions_for_rows_that_were_taken_away_and_come_back_are_there():
    layer, session, binding = bound()
    requests = requested(layer, session)
    binding._writing = True
    layer.features = layer.features.iloc[[2]]
    binding._writing = False
    deliver(session, requests)
    binding.show()
    binding.sync()
    assert list(layer.features["caption"]) == [f"about {one.uid}" for one in requests]


def start_polygon(layer, corner):
    """What napari does on the first click of a polygon."""
    from napari.layers.shapes._shapes_mouse_bindings import initiate_polygon_draw

    initiate_polygon_draw(layer, corner)
    layer._moving_value = (layer.nshapes - 1, 1)


def remove_vertex_of_triangle(layer, index):
    """What napari does when a triangle loses a vertex: no row is removed from the table."""
    layer.selected_data.discard(index)
    layer._data_view.remove(index)
    layer.events.data(
        value=layer.data, action="changed", data_indices=(index,), vertex_indices=((0,),)
    )
    layer.refresh()


def remove_row(layer, index):
    layer.selected_data = {index}
    layer.remove_selected()


class Rows(RuleBasedStateMachine):
    """Random work on a layer; what is told about each place must stay with that place."""

    def __init__(self):
        super().__init__()
        self.layer, self.session, self.binding = bound()
        self.count = 0
        self.written: dict[tuple[float, ...], str] = {}

    def at(self, index):
        return tuple(np.round(self.layer.data[index].mean(axis=0), 3))

    @rule(kind=st.sampled_from(["rectangle", "polygon"]))
    def draw(self, kind):
        self.count += 1
        outline = SQUARE if kind == "rectangle" else TRIANGLE
        self.layer.add(outline + 1.5 * self.count, shape_type=kind)

    @rule()
    def abort_a_polygon(self):
        self.layer.mode = "add_polygon"
        start_polygon(self.layer, SQUARE[0] + 100 + self.count)
        self.layer._finish_drawing()
        self.binding.sync()

    @precondition(lambda self: self.layer.nshapes)
    @rule(data=st.data())
    def delete(self, data):
        self.written.pop(self.at(index := self.pick(data)), None)
        remove_row(self.layer, index)

    @precondition(lambda self: "polygon" in self.layer.shape_type)
    @rule(data=st.data())
    def remove_vertex(self, data):
        triangles = [i for i, kind in enumerate(self.layer.shape_type) if kind == "polygon"]
        index = data.draw(st.sampled_from(triangles))
        self.written.pop(self.at(index), None)
        remove_vertex_of_triangle(self.layer, index)

    @precondition(lambda self: self.layer.nshapes)
    @rule(data=st.data())
    def move(self, data):
        index = self.pick(data)
        before = self.at(index)
        self.count += 1
        self.layer._data_view.shift(index, (0.25, 1.5 * self.count))
        self.layer.events.data(
            value=self.layer.data, action="changed", data_indices=(index,), vertex_indices=((),)
        )
        if before in self.written:
            self.written[self.at(index)] = self.written.pop(before)

    @precondition(lambda self: self.layer.nshapes)
    @rule(data=st.data())
    def copy_and_paste(self, data):
        index = self.pick(data)
        self.layer.selected_data = {index}
        self.layer._copy_data()
        self.layer._paste_data()
        # Two shapes in one place would make places ambiguous for this test: move the copy.
        self.count += 1
        copy = self.layer.nshapes - 1
        self.layer._data_view.shift(copy, (0.5, 1.5 * self.count))
        self.layer.events.data(
            value=self.layer.data, action="changed", data_indices=(copy,), vertex_indices=((),)
        )

    @precondition(lambda self: self.layer.nshapes > 1)
    @rule(data=st.data())
    def replace_by_fewer(self, data):
        indices = range(self.layer.nshapes)
        kept = data.draw(st.lists(st.sampled_from(indices), unique=True, min_size=1))
        places = {self.at(index) for index in kept}
        kinds = [self.layer.shape_type[index] for index in kept]
        shapes = [(self.layer.data[i], kind) for i, kind in zip(kept, kinds, strict=True)]
        self.layer.data = shapes
        self.written = {place: text for place, text in self.written.items() if place in places}

    @precondition(lambda self: self.layer.nshapes)
    @rule(data=st.data())
    def write(self, data):
        index = self.pick(data)
        self.count += 1
        text = f"written {self.count}"
        self.session.edit(self.session.uids("regions")[index], text)
        self.binding.show()
        self.written[self.at(index)] = text

    @rule(late=st.booleans())
    def caption(self, late):
        requests = self.session.take(lambda record: True)
        if late and self.layer.nshapes:
            self.written.pop(self.at(0), None)
            remove_row(self.layer, 0)
        for request in requests:
            record = self.session.records.get(request.uid)
            place = record.seen.vertices.mean(axis=0) if record else None
            self.session.deliver(request, Caption(f"model {place}", 0.5))
        self.binding.show()

    def pick(self, data):
        return data.draw(st.integers(0, self.layer.nshapes - 1))

    @invariant()
    def every_shape_has_one_row_and_a_uid_of_its_own(self):
        features = self.layer.features
        assert len(features) == self.layer.nshapes
        assert features["uid"].is_unique
        assert all(features["uid"])
        assert list(features["uid"]) == self.session.uids("regions")

    @invariant()
    def what_a_person_wrote_stays_in_its_place(self):
        shown = {
            self.at(index): caption
            for index, caption in enumerate(self.layer.features["caption"])
            if self.layer.features["source"][index] == "human"
            or self.layer.features["source"][index] == "edited"
        }
        assert shown == self.written

    @invariant()
    def a_models_caption_speaks_of_its_own_place(self):
        features = self.layer.features
        for index, caption in enumerate(features["caption"]):
            if features["source"][index] == "model":
                assert caption == f"model {self.layer.data[index].mean(axis=0)}"

    @invariant()
    def the_next_shape_will_start_blank(self):
        assert list(self.layer.feature_defaults["caption"]) == [""]


TestRows = Rows.TestCase
TestRows.settings = settings(
    max_examples=15,
    stateful_step_count=20,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
