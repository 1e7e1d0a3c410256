"""Random work on real Shapes layers, as napari does it, with a model that answers when it likes.

After every step each shape has one row and a uid of its own; what a person wrote, accepted or
locked changes only by a person; and to undo and redo any number of steps changes nothing.

``--hypothesis-profile=thorough`` runs 2,000 sequences of operations; ``PATCHIONER_SEQUENCES=500``
any other number.
"""

from __future__ import annotations

import os
from itertools import count
from types import SimpleNamespace

import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from napari.layers import Image
from shapes_hand import (
    OUTLINES,
    add_corner,
    copy,
    drag_vertex,
    finish,
    insert_vertex,
    move,
    paste,
    remove,
    remove_vertex_of_triangle,
    start_polygon,
)

from napari_patchioner.annotations import Plane
from napari_patchioner.decoders import Caption
from napari_patchioner.viewer.layers.binding import LayerBinding, redo, undo
from napari_patchioner.viewer.layers.image_layers import KEYS, ensure_layer
from napari_patchioner.viewer.layers.table import COLUMNS
from napari_patchioner.viewer.session.session import Request, Session

THOROUGH = settings.get_current_profile_name() == "thorough"
SEQUENCES = int(os.environ.get("PATCHIONER_SEQUENCES", "2000" if THOROUGH else "20"))
STEPS = 24
WHITE = (1.0, 1.0, 1.0, 1.0)
some_layer = st.sampled_from(KEYS)
numbers = st.integers(0, 50)


def still(self):
    return not any(binding.drawing for binding in self.bindings.values())


def drawn(self):
    return still(self) and any(binding.layer.nshapes for binding in self.bindings.values())


class Desk(RuleBasedStateMachine):
    """One image, its two layers, one session, and whoever works on them."""

    def __init__(self):
        super().__init__()
        there = []
        bench = SimpleNamespace(layers=there, add_layer=lambda one: there.append(one) or one)
        self.image = Image(np.zeros((200, 200)), name="image")
        self.session = Session()
        self.bindings = {}
        for key in KEYS:
            layer = ensure_layer(bench, self.image, key)
            # Nobody looks at them, and they take half of the time.
            layer._allow_thumbnail_update = False
            binding = LayerBinding(layer, self.image, key, self.session, lambda: None)
            self.bindings[key] = binding
        self.count = count(1)
        self.requests = []
        self.clipboard = set()
        self.safe = {}
        self.excused = set()
        self.by_person = set()
        self.uids = {key: [] for key in KEYS}

    # what stands where

    def layer(self, key):
        return self.bindings[key].layer

    def place(self, number):
        """Return a layer and a shape on it; there must be one."""
        there = [(key, i) for key in KEYS for i in range(self.layer(key).nshapes)]
        return there[number % len(there)]

    def uid(self, number):
        """Return some record's uid, of shapes, groups and planes; there must be one."""
        uids = list(self.session.records)
        return uids[number % len(uids)]

    def some(self, numbers):
        uids = list(self.session.records)
        return {uids[number % len(uids)] for number in numbers} if uids else set()

    def sync(self):
        for binding in self.bindings.values():
            binding.sync()

    def show(self):
        for binding in self.bindings.values():
            binding.show()

    # a person draws

    @precondition(still)
    @rule(key=some_layer, kind=st.sampled_from(sorted(OUTLINES)), many=st.integers(1, 3))
    def draw(self, key, kind, many):
        shapes = [OUTLINES[kind] + 1.5 * next(self.count) for _ in range(many)]
        self.layer(key).add(shapes, shape_type=kind)

    @precondition(still)
    @rule(key=some_layer)
    def begin_a_polygon(self, key):
        start_polygon(self.layer(key), OUTLINES["line"][0] + 100 + next(self.count))

    @precondition(lambda self: not still(self))
    @rule(corners=st.integers(0, 4))
    def end_the_polygon(self, corners):
        for binding in self.bindings.values():
            if binding.drawing:
                for _ in range(corners):
                    turn = next(self.count)
                    add_corner(binding.layer, 100 + 80 * np.array([np.sin(turn), np.cos(turn)]))
                finish(binding.layer)
                binding.sync()

    @precondition(still)
    @rule(key=some_layer)
    def abort_a_polygon(self, key):
        start_polygon(self.layer(key), OUTLINES["line"][0] + 100)
        self.layer(key).mode = "select"
        self.sync()

    @precondition(drawn)
    @rule(numbers=st.lists(numbers, min_size=1, max_size=3))
    def delete(self, numbers):
        key, _ = self.place(numbers[0])
        indices = {number % self.layer(key).nshapes for number in numbers}
        gone = {self.session.uids(key)[index] for index in indices}
        remove(self.layer(key), indices)
        assert gone.isdisjoint(self.session.records)

    @precondition(drawn)
    @rule(number=numbers)
    def remove_vertex(self, number):
        triangles = [
            (key, index)
            for key in KEYS
            for index, kind in enumerate(self.layer(key).shape_type)
            if kind == "polygon" and len(self.layer(key).data[index]) == 3
        ]
        if triangles:
            key, index = triangles[number % len(triangles)]
            remove_vertex_of_triangle(self.layer(key), index)

    @precondition(drawn)
    @rule(numbers=st.lists(numbers, min_size=1, max_size=3))
    def move(self, numbers):
        key, _ = self.place(numbers[0])
        indices = sorted({number % self.layer(key).nshapes for number in numbers})
        move(self.layer(key), indices, (0.25, 1.5 * next(self.count)))

    @precondition(drawn)
    @rule(number=numbers, vertex=st.integers(0, 5), insert=st.booleans())
    def edit_vertices(self, number, vertex, insert):
        key, index = self.place(number)
        turn = next(self.count)
        layer, place = self.layer(key), 100 + 80 * np.array([np.sin(turn), np.cos(1.7 * turn)])
        if layer.shape_type[index] == "ellipse":
            return
        if insert and layer.shape_type[index] != "line":
            insert_vertex(layer, index, place)
        else:
            drag_vertex(layer, index, vertex % len(layer.data[index]), place)

    @precondition(drawn)
    @rule(numbers=st.lists(numbers, min_size=1, max_size=2))
    def copy(self, numbers):
        key, _ = self.place(numbers[0])
        copy(self.layer(key), {number % self.layer(key).nshapes for number in numbers})
        self.clipboard.add(key)

    @precondition(lambda self: still(self) and self.clipboard)
    @rule(number=numbers)
    def paste(self, number):
        key = sorted(self.clipboard)[number % len(self.clipboard)]
        before = self.session.uids(key)
        paste(self.layer(key))
        assert self.session.uids(key)[: len(before)] == before

    @precondition(drawn)
    @rule(number=numbers, front=st.booleans())
    def restack(self, number, front):
        key, index = self.place(number)
        self.layer(key).selected_data = {index}
        getattr(self.layer(key), "move_to_front" if front else "move_to_back")()

    @precondition(drawn)
    @rule(number=numbers)
    def paint(self, number):
        key, index = self.place(number)
        self.layer(key).selected_data = {index}
        self.layer(key).current_edge_color = "red"

    @precondition(drawn)
    @rule(data=st.data(), number=numbers)
    def replace_all(self, data, number):
        """``layer.data = ...``: fewer, in another order, changed, more."""
        key, _ = self.place(number)
        layer = self.layer(key)
        shapes = list(zip(map(np.array, layer.data), layer.shape_type, strict=True))
        kept = data.draw(st.lists(st.sampled_from(range(len(shapes))), unique=True, min_size=1))
        chosen = [shapes[index] for index in kept]
        if data.draw(st.booleans()):
            chosen.append((OUTLINES["polygon"] + 1.5 * next(self.count), "polygon"))
        before = self.session.uids(key)
        layer.data = chosen
        if len({outline.tobytes() for outline, _ in shapes}) == len(shapes):
            assert self.session.uids(key)[: len(kept)] == [before[index] for index in kept]

    # other people's tables

    @precondition(drawn)
    @rule(number=numbers, whole=st.booleans())
    def edit_the_table(self, number, whole):
        key, index = self.place(number)
        layer, text = self.layer(key), f"typed {next(self.count)}"
        self.by_person.add(self.session.uids(key)[index])
        if whole:
            captions = list(layer.features["caption"])
            captions[index] = text
            layer.features = layer.features.assign(caption=captions)
        else:
            layer.features.loc[index, "caption"] = text
            layer.events.features()
        assert self.session.records[self.session.uids(key)[index]].caption == text

    @precondition(drawn)
    @rule(number=numbers, how=st.sampled_from(["few", "many", "none", "shuffled", "blank", "own"]))
    def replace_the_table(self, number, how):
        key, index = self.place(number)
        layer = self.layer(key)
        table = layer.features.copy()
        if how == "few":
            layer.features = table.iloc[:index]
        elif how == "many":
            layer.features = table.iloc[[*range(len(table)), index]]
        elif how == "none":
            layer.features = table[[name for name in table if name not in COLUMNS]]
        elif how == "shuffled":
            layer.features = table.iloc[::-1]
        elif how == "blank":
            layer.features = table.assign(caption=None, reviewed=None)
        else:
            layer.features = table.assign(kind=[f"kind {uid}" for uid in table["uid"]])

    # a person judges

    @precondition(lambda self: self.session.records)
    @rule(number=numbers, text=st.sampled_from(["", "a", "b", "a b"]))
    def edit(self, number, text):
        uid = self.uid(number)
        self.by_person.add(uid)
        self.session.edit(uid, text)
        self.show()

    @rule(numbers=st.lists(numbers, max_size=3))
    def accept(self, numbers):
        self.session.accept(self.some(numbers))
        self.show()

    @rule(numbers=st.lists(numbers, max_size=3))
    def reject(self, numbers):
        uids = self.some(numbers)
        self.by_person |= uids
        self.session.reject(uids)
        self.show()

    @rule(numbers=st.lists(numbers, max_size=3), on=st.booleans())
    def lock(self, numbers, on):
        uids = self.some(numbers)
        self.by_person |= set() if on else uids
        self.session.lock(uids, on)

    @precondition(lambda self: self.session.records)
    @rule(number=numbers, place=st.integers(0, 2))
    def choose(self, number, place):
        uid = self.uid(number)
        self.by_person.add(uid)
        self.session.choose(uid, place)
        self.show()

    @rule(numbers=st.lists(numbers, max_size=3))
    def again(self, numbers):
        self.session.again(self.some(numbers))
        self.show()

    @rule(numbers=st.lists(numbers, max_size=4))
    def group(self, numbers):
        with self.session.step("group"):
            record = self.session.group(self.some(numbers))
            if record is not None:
                self.session.again([record.uid])

    @rule(index=st.integers(0, 1))
    def whole(self, index):
        with self.session.step("whole"):
            self.session.again([self.session.whole(Plane((0, 1), (index,))).uid])

    @precondition(lambda self: any(r.subject != "shape" for r in self.session.records.values()))
    @rule(number=numbers)
    def drop(self, number):
        others = [uid for uid, record in self.session.records.items() if record.subject != "shape"]
        self.session.drop([others[number % len(others)]])

    # the models

    @rule(every=st.integers(1, 2))
    def take(self, every):
        fits = count()
        self.requests += self.session.take(lambda record: next(fits) % every == 0)

    @precondition(lambda self: self.requests)
    @rule(number=numbers, how=st.sampled_from(["right", "right", "twice", "wrong", "fail", "back"]))
    def answer(self, number, how):
        request = self.requests.pop(number % len(self.requests))
        text = f"{next(self.count)} about {request.fingerprint}"
        others = tuple(f"{text}, {place}" for place in range(2))
        caption = Caption(text, 0.5, alternatives=others)
        if how == "fail":
            self.session.fail(request, "no")
        elif how == "back":
            self.session.give_back([request])
        elif how == "wrong":
            late = Request(request.uid, request.fingerprint, request.generation - 1)
            strange = Request(request.uid, "elsewhere", request.generation)
            assert not self.session.deliver(late, caption, "m")
            assert not self.session.deliver(strange, caption, "m")
        else:
            self.session.deliver(request, caption, "m")
        if how == "twice":
            assert not self.session.deliver(request, caption, "m")
        self.show()

    @rule(rewrite=st.booleans())
    def restart(self, rewrite):
        self.session.give_back(self.requests)
        self.session.restart(rewrite=rewrite)

    # time

    @rule()
    def settle(self):
        self.sync()
        self.show()

    @rule(steps=st.integers(1, 3))
    def undo(self, steps):
        self.travel(undo, steps)

    @rule(steps=st.integers(1, 3))
    def redo(self, steps):
        self.travel(redo, steps)

    def travel(self, way, steps):
        self.by_person |= self.session.records.keys()
        for _ in range(steps):
            drawing = not still(self)
            before = self.state() if drawing else None
            said = way(self.session, self.bindings.values())
            assert not drawing or (said.startswith("Finish") and self.state() == before)
        self.by_person |= self.session.records.keys()

    @precondition(still)
    @rule()
    def undo_and_redo(self):
        self.sync()
        before = self.state()
        if undo(self.session, self.bindings.values()).startswith("Undid"):
            assert self.state() != before
            assert redo(self.session, self.bindings.values()).startswith("Redid")
        assert self.state() == before

    def teardown(self):
        """All the way back and all the way forth."""
        self.end_the_polygon(4)
        while redo(self.session, self.bindings.values()).startswith("Redid"):
            pass
        states = [self.state()]
        while undo(self.session, self.bindings.values()).startswith("Undid"):
            self.every_shape_has_one_row_and_a_uid_of_its_own()
            states.append(self.state())
        assert states[-1]["shapes"] == {key: [] for key in KEYS}
        while redo(self.session, self.bindings.values()).startswith("Redid"):
            states.pop()
            assert self.state() == states[-1]
        assert len(states) == 1

    def state(self):
        """Return everything that a person could miss."""
        return {
            "shapes": {
                key: [
                    (uid, kind, outline.tobytes(), outline.dtype)
                    for uid, kind, outline in zip(
                        self.session.uids(key),
                        self.layer(key).shape_type,
                        self.layer(key).data,
                        strict=False,
                    )
                ]
                for key in KEYS
            },
            "tables": {key: self.rows(key) for key in KEYS},
            "records": {
                uid: (
                    (r.subject, r.fingerprint, r.caption, str(r.score), r.source, r.model),
                    (r.problem, r.layer, r.members, r.plane, r.wanted),
                    (r.reviewed, r.locked, r.rejected, id(r.details)),
                )
                for uid, r in self.session.records.items()
            },
        }

    def rows(self, key):
        table = self.layer(key).features
        return [tuple(map(str, row)) for row in table[list(COLUMNS)].to_numpy()]

    # what always holds

    @invariant()
    def every_shape_has_one_row_and_a_uid_of_its_own(self):
        uids = [uid for key in KEYS for uid in self.session.uids(key)]
        assert len(set(uids)) == len(uids)
        for key, binding in self.bindings.items():
            layer = binding.layer
            if not binding.drawing:
                assert layer.nshapes == len(layer.features)
                assert list(layer.features["uid"]) == self.session.uids(key)
                assert list(layer.features["caption"]) == [
                    self.session.records[uid].caption for uid in self.session.uids(key)
                ]
            for uid, outline in zip(self.session.uids(key), layer.data, strict=False):
                assert np.array_equal(self.session.records[uid].seen.vertices, outline)
            assert all(index < layer.nshapes for index in layer.selected_data)

    @invariant()
    def what_is_a_persons_changes_only_by_a_person(self):
        records = self.session.records
        for uid, text in self.safe.items():
            if uid in records and uid not in self.by_person:
                assert (records[uid].caption, records[uid].protected) == (text, True)
        self.safe = {uid: record.caption for uid, record in records.items() if record.protected}
        self.excused |= self.safe.keys()
        self.by_person = set()

    @invariant()
    def groups_are_of_living_shapes(self):
        for record in self.session.records.values():
            assert all(self.session.records[uid].subject == "shape" for uid in record.members)

    @invariant()
    def a_models_caption_speaks_of_its_own_place(self):
        for uid, record in self.session.records.items():
            if record.source == "model" and uid not in self.excused:
                assert record.fingerprint in record.caption

    @invariant()
    def no_shape_turns_white_and_the_next_one_starts_blank(self):
        for binding in self.bindings.values():
            colours = binding.layer.edge_color
            if not binding.drawing:
                assert len(colours) == binding.layer.nshapes
                assert list(binding.layer.feature_defaults["caption"]) == [""]
            assert WHITE not in {tuple(colour.tolist()) for colour in colours}


TestDesk = Desk.TestCase
TestDesk.settings = settings(
    max_examples=SEQUENCES,
    print_blob=True,
    stateful_step_count=STEPS,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


# found by the machine, made as short as they get


def test_a_colour_between_two_starts_is_no_step():
    desk = Desk()
    desk.draw(key="traces", kind="line", many=1)
    desk.paint(number=0)
    desk.restart(rewrite=True)
    desk.restart(rewrite=True)
    desk.teardown()


def test_columns_of_other_people_between_two_wishes_are_no_step():
    desk = Desk()
    desk.draw(key="regions", kind="path", many=2)
    desk.again(numbers=[0, 1])
    desk.replace_the_table(how="own", number=0)
    desk.whole(index=1)
    desk.again(numbers=[0])
    desk.teardown()


def test_starts_with_requests_in_hand_are_walked_alike_both_ways():
    desk = Desk()
    desk.draw(key="traces", kind="line", many=1)
    desk.move(numbers=[0])
    desk.paint(number=0)
    desk.take(every=1)
    desk.again(numbers=[0])
    desk.take(every=1)
    desk.restart(rewrite=True)
    desk.take(every=1)
    desk.whole(index=1)
    desk.drop(number=0)
    desk.lock(numbers=[0], on=True)
    desk.restart(rewrite=True)
    desk.teardown()
