"""What a second look at a layer takes over from the first: by value, and only where it is true."""

from __future__ import annotations

from copy import deepcopy
from itertools import product

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from napari.layers import Image, Shapes
from shapes_hand import OUTLINES, SQUARE, copy, drag_vertex, move, paste, remove

from napari_patchioner.viewer.layers.shapes import LayerReader
from napari_patchioner.viewer.layers.table import empty_columns, read_rows

IMAGE = Image(np.zeros((200, 200)))


def layer_of(*places, kind="rectangle"):
    layer = Shapes(ndim=2, features=empty_columns())
    layer._allow_thumbnail_update = False
    if places:
        layer.add([OUTLINES[kind] + place for place in places], shape_type=kind)
    return layer


def reader_of(layer):
    return LayerReader(layer, IMAGE)


def anew(layer):
    return LayerReader(layer, IMAGE).shapes()


def told(shapes):
    """All there is to know of shapes, zeros of both signs alike."""
    return [
        (s.shape_type, s.fingerprint, (s.outline + 0.0).tobytes(), s.appearance) for s in shapes
    ]


def test_what_has_not_changed_is_the_very_same():
    layer = layer_of(0, 20, 40)
    reader = reader_of(layer)
    first, rows = reader.shapes(), reader.rows()
    assert [one is two for one, two in zip(first, reader.shapes(), strict=True)] == [True] * 3
    assert [one is two for one, two in zip(rows, reader.rows(), strict=True)] == [True] * 3


def test_only_what_was_moved_is_seen_anew():
    layer = layer_of(0, 20, 40)
    reader = reader_of(layer)
    first = reader.shapes()
    move(layer, [1], (3, 4))
    second = reader.shapes()
    assert [one is two for one, two in zip(first, second, strict=True)] == [True, False, True]
    assert told(second) == told(anew(layer))


def test_numbers_written_into_the_array_of_a_shape_are_noticed():
    layer = layer_of(0, 20)
    reader = reader_of(layer)
    first = reader.shapes()
    layer.data[1][2, 0] += 0.5
    second = reader.shapes()
    assert (second[0] is first[0], second[1] is first[1]) == (True, False)
    assert second[1].outline[2, 0] == first[1].outline[2, 0] + 0.5


def test_what_was_seen_stays_as_it_was_when_an_array_is_written_into():
    layer = layer_of(0)
    [seen] = reader_of(layer).shapes()
    layer.data[0][:] = -7
    assert np.array_equal(seen.outline, SQUARE)
    assert np.array_equal(seen.vertices, SQUARE)


def test_a_zero_of_the_other_sign_is_the_same_place():
    layer = layer_of(0)
    reader = reader_of(layer)
    [first] = reader.shapes()
    layer.data[0][layer.data[0] == 0] = -0.0
    assert np.signbit(layer.data[0]).any()
    assert reader.shapes() == [first]
    [other] = anew(layer)
    assert other.same(first)
    assert other.fingerprint == first.fingerprint


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_corner_that_is_nowhere_stays_nowhere():
    layer = layer_of(20)
    layer.add(np.array([[0, 0], [np.nan, 5], [5, 5.0]]), shape_type="path")
    reader = reader_of(layer)
    first = reader.shapes()
    assert reader.shapes() == first
    assert all(one.same(two) for one, two in zip(anew(layer), first, strict=True))
    layer.data[1][1, 0] = 3
    assert not reader.shapes()[1].same(first[1])
    layer.data[1][1, 0] = np.nan
    assert reader.shapes()[1].same(first[1])


def test_a_new_place_in_the_order_is_not_a_new_shape():
    layer = layer_of(0, 20, 40)
    reader = reader_of(layer)
    first = reader.shapes()
    layer.selected_data = {0}
    layer.move_to_front()
    remove(layer, {1})
    left = reader.shapes()
    assert told(left) == told(anew(layer))
    assert left[0] is first[2] or left[1] is first[2]


def test_a_paste_is_a_shape_more_and_a_deletion_one_less():
    layer = layer_of(0, 20)
    reader = reader_of(layer)
    first = reader.shapes()
    copy(layer, {0})
    paste(layer)
    second = reader.shapes()
    assert told(second) == told(anew(layer))
    assert second[:2] == first
    remove(layer, {0})
    assert [one is two for one, two in zip(reader.shapes(), second[1:], strict=True)] == [True] * 2
    remove(layer, {0, 1})
    assert (reader.shapes(), reader.rows()) == ([], [])


@pytest.mark.parametrize("name", ["edge_width", "edge_color", "face_color", "z_index"])
def test_another_look_is_seen(name):
    layer = layer_of(0, 20)
    reader = reader_of(layer)
    first = reader.shapes()
    values = list(getattr(layer, name))
    values[1] = "red" if name.endswith("color") else 5
    setattr(layer, name, values)
    second = reader.shapes()
    assert (second[0] is first[0], second[1] is first[1]) == (True, False)
    assert second[1].same_outline(first[1])
    assert second[1].appearance != first[1].appearance


def test_a_layer_that_is_moved_as_a_whole_is_seen_anew():
    layer = layer_of(0, 20)
    reader = reader_of(layer)
    before = reader.shapes()
    layer.translate = (5, 0)
    after = reader.shapes()
    for one, two in zip(before, after, strict=True):
        assert two.same_outline(one)
        assert np.allclose(two.vertices - one.vertices, (5, 0))


CELLS = [0.0, -0.0, 0.5, 1, True, float("nan"), None, "", "a", [1, 2], [2, 1], np.array([1, 2])]
PLAIN = (float, int, bool, str, list, type(None))


def test_cells_of_other_people_are_followed_whatever_is_in_them():
    layer = layer_of(0)
    reader = reader_of(layer)
    layer.features = layer.features.assign(theirs=np.array([None], object))
    for old, new in product(range(len(CELLS)), repeat=2):
        layer.features.iat[0, -1] = deepcopy(CELLS[old])
        [first] = reader.rows()
        layer.features.iat[0, -1] = deepcopy(CELLS[new])
        [second] = reader.rows()
        said = second.extra["theirs"]
        assert type(said) is type(CELLS[new])
        assert repr(said) == repr(CELLS[new]) or said == CELLS[new] == 0
        assert second is first or old != new or not isinstance(CELLS[new], PLAIN)


def test_rows_are_followed_cell_by_cell():
    layer = layer_of(0, 20, 40)
    reader = reader_of(layer)
    first = reader.rows()
    layer.features.loc[1, "caption"] = "typed"
    second = reader.rows()
    assert [one is two for one, two in zip(first, second, strict=True)] == [True, False, True]
    assert second[1].caption == "typed"
    layer.features = layer.features.iloc[[1, 0, 2]]
    assert reader.rows()[0].caption == "typed"
    assert list(map(repr, reader.rows())) == list(map(repr, read_rows(layer)))
    layer.features = layer.features.assign(kind=["x", "y", "z"])
    assert [row.extra for row in reader.rows()] == [{"kind": one} for one in "xyz"]


class Looks(RuleBasedStateMachine):
    """Whatever happens to a layer, a look is worth as much as the first one."""

    def __init__(self):
        super().__init__()
        self.layer = layer_of()
        self.encoder = reader_of(self.layer)
        self.count = 0

    @rule(kind=st.sampled_from(sorted(OUTLINES)), many=st.integers(1, 2))
    def draw(self, kind, many):
        self.count += 1
        self.layer.add([OUTLINES[kind] + self.count] * many, shape_type=kind)

    @precondition(lambda self: self.layer.nshapes)
    @rule(number=st.integers(0, 50), value=st.sampled_from([0.0, -0.0, 1.5]))
    def write_into_an_array(self, number, value):
        outline = self.layer.data[number % self.layer.nshapes]
        outline[number % len(outline), number % 2] = value

    @precondition(lambda self: self.layer.nshapes)
    @rule(number=st.integers(0, 50))
    def drag(self, number):
        index = number % self.layer.nshapes
        if self.layer.shape_type[index] != "ellipse":
            self.count += 1
            vertices = len(self.layer.data[index])
            drag_vertex(self.layer, index, number % vertices, (50 + self.count, 60))

    @precondition(lambda self: self.layer.nshapes)
    @rule(number=st.integers(0, 50), front=st.booleans())
    def restack(self, number, front):
        self.layer.selected_data = {number % self.layer.nshapes}
        getattr(self.layer, "move_to_front" if front else "move_to_back")()

    @precondition(lambda self: self.layer.nshapes)
    @rule(order=st.randoms(use_true_random=False))
    def shuffle(self, order):
        shapes = list(zip(map(np.array, self.layer.data), self.layer.shape_type, strict=True))
        order.shuffle(shapes)
        self.layer.data = shapes

    @precondition(lambda self: self.layer.nshapes)
    @rule(number=st.integers(0, 50))
    def delete(self, number):
        remove(self.layer, {number % self.layer.nshapes})

    @precondition(lambda self: self.layer.nshapes)
    @rule(number=st.integers(0, 50))
    def copy_and_paste(self, number):
        copy(self.layer, {number % self.layer.nshapes})
        paste(self.layer)

    @precondition(lambda self: self.layer.nshapes)
    @rule(number=st.integers(0, 50), colour=st.sampled_from(["red", "blue"]))
    def paint(self, number, colour):
        self.layer.selected_data = {number % self.layer.nshapes}
        self.layer.current_edge_color = colour

    @precondition(lambda self: len(self.layer.features))
    @rule(number=st.integers(0, 50), text=st.sampled_from(["", "a", "b"]))
    def write_a_cell(self, number, text):
        place = number % len(self.layer.features)
        self.layer.features.iloc[place, self.layer.features.columns.get_loc("caption")] = text

    @rule(scale=st.sampled_from([1.0, 2.0]))
    def scale(self, scale):
        self.layer.scale = (scale, scale)

    @invariant()
    def a_look_is_worth_as_much_as_the_first_one(self):
        assert told(self.encoder.shapes()) == told(anew(self.layer))
        assert list(map(repr, self.encoder.rows())) == list(map(repr, read_rows(self.layer)))


TestLooks = Looks.TestCase
TestLooks.settings = settings(
    max_examples=20,
    stateful_step_count=20,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
