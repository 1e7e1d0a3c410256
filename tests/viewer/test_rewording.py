"""Captions told apart and ranked by a context, in a real window with the model that ships."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from skimage import color, data

from napari_patchioner.decoders import Caption
from napari_patchioner.viewer import CaptionDock
from napari_patchioner.viewer.panels import forms
from napari_patchioner.viewer.workers.models import shared_registry


def box(top, left, bottom, right):
    return np.array([(top, left), (top, right), (bottom, right), (bottom, left)], float)


@pytest.fixture
def registry():
    """The real models, mini loaded but once."""
    return shared_registry()


@pytest.fixture
def dock(viewer, registry):
    """The dock on a picture of a cat, and the same cat in blue on its right."""
    hsv = color.rgb2hsv(data.cat())
    hsv[..., 0], hsv[..., 1] = 0.62, np.maximum(hsv[..., 1], 0.6)
    blue = (255 * color.hsv2rgb(hsv)).astype(np.uint8)
    viewer.add_image(np.concatenate([data.cat(), blue], axis=1), name="cats")
    made = CaptionDock(viewer, registry=registry)
    viewer.window.add_dock_widget(made, name="Patch-ioner")
    yield made
    made.shut_down()


@pytest.fixture
def cats(dock, qtbot):
    """Both cats captioned, and the session."""
    dock.start()
    qtbot.waitUntil(lambda: dock.controller.encoder.ready, timeout=60_000)
    layer = dock.controller.layer("regions")
    layer.add([box(5, 5, 290, 440), box(5, 460, 290, 890)], shape_type="rectangle")
    dock.controller.bindings["regions"].sync()
    dock.controller.settle()
    session = dock.controller.session
    qtbot.waitUntil(
        lambda: len(session.records) == 2 and all(r.caption for r in session.records.values()),
        timeout=60_000,
    )
    with session.step("captions of the test"):
        for uid in list(session.records):
            session._put(plain_cat(session.records[uid]))
    dock.controller.show()
    return session


def plain_cat(record):
    details = Caption("a cat", 0.9, alternatives=("a kitten", "a lynx"))
    return replace(record, caption="a cat", score=0.9, details=details, source="model", origin={})


def texts(session):
    return [record.caption for record in session.records.values()]


def press(dock, name):
    made = dock.panel.buttons[name]
    assert made.isEnabled()
    QTest.mouseClick(made, Qt.MouseButton.LeftButton)


def test_a_button_tells_all_alike_regions_apart_in_one_step(dock, cats, qtbot):
    press(dock, "set_apart")
    qtbot.waitUntil(lambda: texts(cats) != ["a cat", "a cat"], timeout=10_000)
    first, second = cats.records.values()
    assert second.caption == "a blue cat"
    assert second.reworded_by == "told apart from 1 other"
    assert first.caption != second.caption
    assert "told apart" in dock.controller.message
    assert second.alternatives[0] == "a cat"
    dock.controller.undo()
    assert texts(cats) == ["a cat", "a cat"]


def test_the_tables_of_layers_follow_before_anybody_reads_them(dock, cats, qtbot):
    read = []

    def sync(_message):
        dock.controller.bindings["regions"].sync()
        read.append(texts(cats))

    dock.controller.rewriter.messaged.connect(sync)
    dock.controller.rewriter.set_apart([])
    qtbot.waitUntil(lambda: bool(read), timeout=10_000)
    assert read[0] == ["a brown cat", "a blue cat"]
    assert {record.source for record in cats.records.values()} == {"model"}


def test_a_persons_caption_is_compared_and_stays(dock, cats, qtbot):
    uids = list(cats.records)
    dock.controller.edit(uids[1], "my cat")
    dock.controller.rewriter.set_apart(uids)
    qtbot.waitUntil(lambda: not dock.controller.rewriter.is_busy, timeout=10_000)
    assert cats.records[uids[1]].caption == "my cat"
    assert cats.records[uids[1]].source in ("edited", "human")


@pytest.fixture
def herd(viewer, registry, qtbot):
    """The dock on three times the same cat, the left one in a person's words; and the session."""
    viewer.add_image(np.concatenate([data.cat()] * 3, axis=1), name="herd")
    dock = CaptionDock(viewer, registry=registry)
    viewer.window.add_dock_widget(dock, name="Patch-ioner")
    dock.start()
    qtbot.waitUntil(lambda: dock.controller.encoder.ready, timeout=60_000)
    layer = dock.controller.layer("regions")
    lefts = (5, 456, 907)
    layer.add([box(5, left, 290, left + 435) for left in lefts], shape_type="rectangle")
    dock.controller.bindings["regions"].sync()
    session = dock.controller.session
    with session.step("captions of the test"):
        for record in list(session.records.values()):
            session._put(replace(plain_cat(record), wanted=False))
    dock.controller.edit(next(iter(session.records)), "my old moggy")
    yield dock, session
    dock.shut_down()


@pytest.mark.parametrize("chosen", [slice(None), slice(1, 2), slice(0)])
def test_places_are_true_among_what_a_person_called_otherwise(herd, qtbot, chosen):
    dock, session = herd
    for told in ("2 captions told apart: 2 by place", "Every caption here leads to its region"):
        dock.controller.rewriter.set_apart(list(session.records)[chosen])
        qtbot.waitUntil(lambda: not dock.controller.rewriter.is_busy, timeout=10_000)
        assert dock.controller.message.startswith(told)
        assert texts(session) == [
            "my old moggy",
            "the cat, second from the right",
            "the right cat",
        ]


def test_an_accepted_caption_is_offered_what_tells_it_apart(dock, cats, qtbot):
    first, second = cats.records
    dock.controller.select([first, second])
    cats.accept([first, second])
    dock.controller.show()
    dock.image_actions.set_apart()
    qtbot.waitUntil(lambda: not dock.controller.rewriter.is_busy, timeout=10_000)
    assert texts(cats) == ["a cat", "a cat"]
    assert dock.controller.message.startswith("2 captions you accepted kept")
    assert cats.records[second].alternatives[0] == "a blue cat"
    # Where several are selected, each takes its own; nothing that was not offered.
    dock.image_actions.choose(1)
    assert "There is no wording 2" in dock.controller.message
    assert texts(cats) == ["a cat", "a cat"]
    dock.image_actions.choose(0)
    assert texts(cats) == ["a brown cat", "a blue cat"]
    assert cats.records[second].reviewed
    assert cats.records[second].distinguished_by == "told apart from 1 other"
    dock.image_actions.set_apart()
    qtbot.waitUntil(lambda: not dock.controller.rewriter.is_busy, timeout=10_000)
    assert texts(cats) == ["a brown cat", "a blue cat"]
    dock.controller.undo()
    assert texts(cats) == ["a cat", "a cat"]
    dock.controller.undo()
    assert "a blue cat" not in cats.records[second].alternatives


def test_nothing_is_told_apart_before_all_captions_are_there(dock, cats, qtbot):
    first, second = cats.records
    rewriter = dock.controller.rewriter
    for uids in ([], [first], [first, second]):
        cats.again([second])
        rewriter.set_apart(uids)
        assert "1 caption is still to come: wait until it is there" in dock.controller.message
        assert not rewriter.is_busy
        dock.controller.show_message("")
    dock.controller.edit(second, "")
    layer = dock.controller.layer("regions")
    layer.add([box(150, 5, 290, 440)], shape_type="rectangle")
    dock.controller.bindings["regions"].sync()
    third = cats.uids("regions")[-1]
    with cats.step("caption of the test"):
        cats._put(replace(plain_cat(cats.records[third]), wanted=False))
    dock.controller.show()
    rewriter.set_apart([first, second, third])
    qtbot.waitUntil(lambda: not rewriter.is_busy, timeout=10_000)
    assert "1 region without a caption left out" in dock.controller.message


def test_told_apart_again_nothing_changes(dock, cats, qtbot):
    for _ in range(2):
        dock.controller.rewriter.set_apart([])
        qtbot.waitUntil(lambda: not dock.controller.rewriter.is_busy, timeout=10_000)
    second = list(cats.records.values())[1]
    assert second.caption == "a blue cat"
    assert second.alternatives.count("a cat") == 1


def test_a_late_answer_is_dropped(dock, cats, qtbot):
    uids = list(cats.records)
    dock.controller.rewriter.set_apart(uids)
    dock.controller.edit(uids[0], "somebody's cat")
    dock.controller.edit(uids[1], "somebody else's cat")
    qtbot.waitUntil(lambda: not dock.controller.rewriter.is_busy, timeout=10_000)
    assert texts(cats) == ["somebody's cat", "somebody else's cat"]
    assert "others by now" in dock.controller.message


def test_what_is_missing_is_said(dock, cats, qtbot):
    rewriter = dock.controller.rewriter
    rewriter.rank([])
    assert "Context" in dock.controller.message
    uids = list(cats.records)
    dock.controller.edit(uids[0], "a dog")
    rewriter.set_apart(uids[:1])
    assert "nothing to tell apart" in dock.controller.message


def test_wordings_are_ranked_by_the_context_of_the_options(dock, cats, qtbot):
    first, second = cats.records
    dock.controller.edit(first, "mine")
    # What is selected is captioned anew where an option has changed.
    dock.controller.select([])
    dock.panel.options["context"].value = "wild animals, a lynx in the forest"
    assert dock.controller.queue.options["context"] == "wild animals, a lynx in the forest"
    action = next(a for a in dock.panel.reword.menu().actions() if "context" in a.text())
    action.trigger()
    qtbot.waitUntil(lambda: not dock.controller.rewriter.is_busy, timeout=10_000)
    ranked = cats.records[second]
    assert ranked.caption == "a lynx"
    assert ranked.reworded_by.startswith("ranked by the context 'wild animals")
    assert {ranked.caption, *ranked.alternatives} == {"a cat", "a kitten", "a lynx"}
    # A person's text stays; wordings below it are in the new order.
    assert cats.records[first].caption == "mine"
    dock.controller.undo()
    assert cats.records[second].caption == "a cat"


def test_names_of_layers_belong_to_the_context_where_that_is_ticked(dock, cats):
    dock.panel.options["layer_names"].value = True
    queue = dock.controller.queue
    assert queue.options_for([])["context"] == "cats"
    dock.viewer.add_points(name="lynx")
    dock.panel.options["context"].value = "forest"
    assert queue.options_for([])["context"] == "forest, cats, lynx"
    dock.panel.options["layer_names"].value = False
    dock.panel.options["context"].value = ""
    assert "context" not in queue.options_for([])


def test_specificity_is_an_option_that_is_off_at_first(dock):
    assert "specificity" not in forms.options(dock.panel.options)
    dock.panel.options["specificity"].value = 1.5
    assert forms.options(dock.panel.options)["specificity"] == 1.5
