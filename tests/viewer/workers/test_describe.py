"""What a description goes by: shapes, points, traces, labels and groups, on any plane."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image

from napari_patchioner.annotations import Plane
from napari_patchioner.annotations.project.records import Seen, SeenMask
from napari_patchioner.viewer.session.session import Row, Session
from napari_patchioner.viewer.workers.describe import Survey, compose, find_places


def ignore(fraction, message):
    pass


def box(row, column, side):
    low, high = (row, column), (row + side, column + side)
    return Seen("rectangle", np.array([low, (low[0], high[1]), high, (high[0], low[1])], float))


def survey_of(session, shape, scale):
    image = Image(np.zeros(shape, np.uint8), scale=scale, units=("µm",) * len(shape))
    return Survey.of(session, image, {})


@pytest.fixture
def session():
    session = Session()
    rows = [Row(caption="a cell", source="model"), Row(caption="a vessel", source="model")]
    session.observe("regions", [box(0, 0, 20), box(0, 60, 30)], rows)
    line = Seen("path", np.array([(50.0, 0), (50, 40)]))
    session.observe("traces", [line], [Row(caption="an axon", source="model")])
    point = Seen("point", np.array([[5.0, 5.0]]))
    session.observe("points", [point], [Row(caption="a bouton", source="model")])
    disc = np.hypot(*(np.mgrid[:11, :11] - 5)) <= 5
    label = SeenMask.of(disc, np.array([70.0, 62.0]), (0, 1), 3)
    session.observe("labels:mine", [label], [Row(caption="a nucleus", source="model")])
    return session


def test_every_kind_of_region_has_its_place(session):
    survey = survey_of(session, (100, 100), (0.5, 0.5))
    uids = {r.caption: r.uid for r in survey.records.values()}
    places = find_places(survey, uids.values(), ignore)
    said = {caption: places[uid].text for caption, uid in uids.items()}
    assert said["a bouton"] == "inside the cell"
    assert said["an axon"].startswith("20 µm long, ")
    assert said["a nucleus"] == "5.1 µm across, below the vessel"
    assert said["a cell"].startswith("11 µm across, ")


def test_a_group_is_placed_and_counts_only_by_its_members(session):
    cell, vessel = session.uids("regions")
    group = session.group([cell, vessel])
    survey = survey_of(session, (100, 100), (0.5, 0.5))
    place = find_places(survey, [group.uid], ignore)[group.uid]
    assert place.rank == ""
    assert "cell" not in place.text
    composed = compose(survey, Plane(), ignore)
    assert group.uid not in composed.digests
    assert "a cell" in composed.paragraph.text


def test_pixels_of_another_view_of_a_stack_are_as_large_as_they_are_there():
    session = Session()
    # Rows along the first axis, columns along the third: 40 by 10 µm.
    corners = np.array([(0, 5, 0), (0, 5, 20), (20, 5, 20), (20, 5, 0)], float)
    flat = Seen("rectangle", corners[:, [1, 0, 2]])
    rows = [Row(caption="a cell", source="model")] * 2
    session.observe("regions", [Seen("rectangle", corners), flat], rows)
    survey = survey_of(session, (30, 30, 30), (2.0, 1.0, 0.5))
    first, second = (find_places(survey, survey.records, ignore)[uid] for uid in survey.records)
    assert first.size == "40 µm long"
    assert second.size == "16 µm across"
    # They lie on planes of different axes.
    assert not first.rank
    assert not second.rank


def test_what_is_known_is_found_out_once_and_anew_where_it_changed(session):
    known = {}
    image = Image(np.zeros((100, 100), np.uint8))
    Survey.of(session, image, known).things()
    before = dict(known)
    cell, vessel = session.uids("regions")
    session.edit(cell, "my cell")
    [things] = Survey.of(session, image, known).things().values()
    assert known[vessel] is before[vessel]
    assert known[cell].thing.region is before[cell].thing.region
    assert next(thing for thing in things if thing.uid == cell).caption == "my cell"
    assert known[cell].digest != before[cell].digest
