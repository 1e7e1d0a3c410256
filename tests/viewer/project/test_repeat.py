"""What a project and an export say of a caption is enough to look at the same picture again."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from looking import Looking
from napari.components import ViewerModel
from napari.utils.colormaps import Colormap

from napari_patchioner.annotations import read_project
from napari_patchioner.viewer.controller import Controller
from napari_patchioner.viewer.io.export import export_csv
from napari_patchioner.viewer.project.project_file import ProjectFile

OWN = Colormap([[0, 0, 0, 1], [0.9, 0.1, 0.4, 1], [1, 1, 0.5, 1]], name="mine")


@pytest.fixture
def registry(captioner, shop):
    from napari_patchioner.viewer.workers.models import ModelRegistry

    looking = Looking(captioner)
    return ModelRegistry(
        lambda name, progress: looking, lambda: list(shop.cards()), shop, {"colours"}
    )


@pytest.fixture
def stacks():
    random = np.random.default_rng(0)
    return [random.integers(0, 4000, (3, 40, 60)).astype(np.uint16) for _ in range(2)]


@pytest.fixture
def opened(registry, qtbot):
    made = []

    def open_channels(stacks):
        viewer = ViewerModel()
        names = ("actin", "nuclei")
        for name, stack in zip(names, stacks, strict=True):
            viewer.add_image(stack, name=name, blending="additive")
        controller = Controller(viewer, viewer.layers["actin"], registry)
        made.append(controller)
        return controller

    yield open_channels
    for controller in made:
        controller.close()


def key_of(controller, model, qtbot):
    """Look at the displayed plane and return the key of what was seen."""
    reader = controller.encoder
    reader.start(model)
    qtbot.waitUntil(lambda: reader.ready and not reader.active, timeout=10000)
    return reader.here()[1].key


def show_as(controller, display):
    """Set the display as it was recorded."""
    viewer = controller.viewer
    axes, others = display["axes"], iter(display["index"])
    for axis in range(viewer.dims.ndim):
        if axis not in axes:
            viewer.dims.set_current_step(axis, next(others))
    for facts in display["layers"]:
        layer = viewer.layers[facts["layer"]]
        layer.contrast_limits = facts["contrast_limits"]
        layer.gamma, layer.opacity = facts["gamma"], facts["opacity"]
        if "colors" in facts:
            layer.colormap = Colormap(
                facts["colors"],
                name=facts["colormap"],
                controls=facts["controls"],
                interpolation=facts["interpolation"],
            )
        else:
            layer.colormap = facts["colormap"]
    controller.encoder.composite = len(display["layers"]) > 1


def test_what_is_recorded_leads_to_the_same_grid_key(opened, stacks, tmp_path, qtbot):
    first = opened(stacks)
    project_file = ProjectFile(first)
    qtbot.waitUntil(lambda: project_file.searched, timeout=5000)
    actin, nuclei = first.viewer.layers[:2]
    actin.contrast_limits, actin.gamma, actin.colormap = (100, 3000), 0.7, OWN
    nuclei.contrast_limits, nuclei.opacity, nuclei.colormap = (5, 3500), 0.6, "bop blue"
    first.viewer.dims.set_current_step(0, 2)
    first.encoder.composite = True
    first.queue.options = {"beams": 2, "pooling": None}
    first.whole_image()
    key = key_of(first, "colours", qtbot)
    records = first.session.records
    qtbot.waitUntil(lambda: all(r.caption for r in records.values()), timeout=5000)
    export_csv(tmp_path / "out.csv", first.session, first.image)
    assert project_file.close()

    [record] = read_project(project_file.path).records
    with (tmp_path / "out.regions.csv").open(newline="", encoding="utf-8") as file:
        [row] = csv.DictReader(file)
    assert json.loads(row["origin"]) == record.origin
    origin = record.origin
    assert (origin["model"], origin["grid"], origin["options"]) == ("colours", key, {"beams": 2})

    again = opened(stacks)
    assert key_of(again, origin["model"], qtbot) != key, "as it is displayed at first"
    show_as(again, origin["display"])
    assert key_of(again, origin["model"], qtbot) == key
    # Every part of it counts.
    for change in ("gamma", "opacity"):
        other = json.loads(json.dumps(origin["display"]))
        other["layers"][1][change] = 0.5
        show_as(again, other)
        assert key_of(again, origin["model"], qtbot) != key
