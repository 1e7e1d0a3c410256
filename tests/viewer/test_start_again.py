"""What pressing Start once more rewrites, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest

from napari_patchioner.errors import ModelError

BOX = np.array([[20, 10], [20, 50], [60, 50], [60, 10]])


def table(dock):
    features = dock.controller.layer("regions").features
    return list(zip(features["caption"], features["source"], strict=True))


def press_start(dock, qtbot, model="colours"):
    dock.models.choice.value = model
    dock.panel.progress.button.click()
    qtbot.waitUntil(lambda: dock.controller.encoder.ready, timeout=5000)
    qtbot.waitUntil(lambda: not dock.controller.encoder.active, timeout=5000)
    settle(dock, qtbot)


def settle(dock, qtbot):
    """Wait longer than it takes to hand out what is wanted."""
    qtbot.wait(200)
    qtbot.waitUntil(lambda: not dock.controller.queue.active, timeout=5000)


def cancel_a_start(dock, captioner, qtbot, model="colours"):
    captioner.hold.clear()
    captioner.reached.clear()
    dock.models.choice.value = model
    dock.panel.progress.button.click()
    qtbot.waitUntil(captioner.reached.is_set, timeout=5000)
    dock.panel.progress.button.click()
    qtbot.waitUntil(lambda: not dock.controller.encoder.active, timeout=5000)
    captioner.hold.set()


@pytest.fixture
def saved(dock, viewer):
    """The dock with work from another day: a model's caption, a person's, and none."""
    viewer.add_shapes(
        [BOX, np.add(BOX, [0, 60]), np.add(BOX, [0, 120])],
        shape_type="rectangle",
        name="regions [stripes]",
        features={
            "uid": ["a", "b", "c"],
            "caption": ["by the model, of old", "my own words", ""],
            "score": [0.4, np.nan, np.nan],
            "source": ["model", "human", ""],
        },
    )
    assert set(dock.controller.session.records) == {"a", "b", "c"}
    return dock


KEPT = [
    ("by the model, of old", "model"),
    ("my own words", "human"),
    ("something blue", "model"),
]


def test_a_first_start_keeps_saved_captions_whatever_was_cancelled_and_failed_before(
    saved, captioner, registry, monkeypatch, qtbot
):
    def broken(_name, _progress):
        raise ModelError("damaged")

    with monkeypatch.context() as patched:
        patched.setattr(registry, "_load", broken)
        saved.panel.progress.button.click()
        qtbot.waitUntil(lambda: saved.panel.status.text() == "Damaged", timeout=5000)
    for _ in range(2):
        cancel_a_start(saved, captioner, qtbot)
    press_start(saved, qtbot)
    assert table(saved) == KEPT
    # Nor does one that is cancelled after the first one change anything of that.
    cancel_a_start(saved, captioner, qtbot)
    assert table(saved) == KEPT
    press_start(saved, qtbot)
    assert table(saved) == [("something red", "model"), *KEPT[1:]]


def test_the_first_start_keeps_saved_captions_and_the_next_one_rewrites_what_models_wrote(
    saved, captioner, qtbot
):
    press_start(saved, qtbot)
    assert table(saved) == KEPT
    press_start(saved, qtbot)
    assert table(saved) == [("something red", "model"), *KEPT[1:]]
    assert sum(captioner.captioned) == 3


def test_another_model_rewrites_what_the_first_one_wrote(started, captioner, qtbot):
    layer = started.controller.layer("regions")
    layer.add([BOX, np.add(BOX, [0, 60])], shape_type="rectangle")
    qtbot.waitUntil(lambda: all(layer.features["caption"]), timeout=5000)
    started.controller.edit(layer.features["uid"][1], "mine")
    before = sum(captioner.captioned)
    press_start(started, qtbot, "other")
    assert sum(captioner.captioned) == before + 1
    records = started.controller.session.records.values()
    assert sorted((r.caption, r.model) for r in records) == [
        ("mine", "colours"),
        ("something red", "other"),
    ]


def test_new_pixels_make_a_model_write_anew(started, picture, qtbot):
    layer = started.controller.layer("regions")
    layer.add(BOX, shape_type="rectangle")
    qtbot.waitUntil(lambda: table(started) == [("something red", "model")], timeout=5000)
    started.image.data = picture[:, ::-1]
    press_start(started, qtbot)
    assert table(started) == [("something blue", "model")]
