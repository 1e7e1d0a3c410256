"""What whole pictures show: the embedded model on photographs, and its windows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage import data

from napari_patchioner.bridges.around import PARTS, pool_around
from napari_patchioner.bridges.base import Query
from napari_patchioner.bridges.things import (
    known_features,
    load_thing_head,
    pool_inside,
    pool_windows,
    window_places,
)
from napari_patchioner.captioner import Captioner
from napari_patchioner.decoders import CaptionOptions, Evidence
from napari_patchioner.decoders.grounded import load_concepts
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import FeatureGrid, pool
from napari_patchioner.models.embedded import FOLDER, THINGS, load_embedded
from napari_patchioner.progress import no_progress
from napari_patchioner.regions import (
    Box,
    Ellipse,
    GridTransform,
    Point,
    RegionSet,
    Trace,
    WholeImage,
    cover,
)

PHOTOGRAPHS = ("astronaut", "cat", "coffee", "rocket")


@pytest.fixture(scope="module")
def grids(mini: Captioner) -> dict[str, FeatureGrid]:
    return {name: mini.encode(getattr(data, name)()) for name in PHOTOGRAPHS}


def whole_evidence(mini: Captioner, grid: FeatureGrid) -> Evidence:
    covers = [cover(WholeImage(), grid.transform, weighting="area")]
    query = Query(pool(grid, covers), grid, CaptionOptions(), None, no_progress, covers)
    output = mini.bridge.answer(query)
    assert output.evidence is not None
    return output.evidence[0]


@pytest.mark.parametrize("shape", [(30, 40), (40, 17), (1, 3)])
def test_windows_are_means_of_what_they_cover(shape: tuple[int, int]) -> None:
    cells = np.random.default_rng(0).random((*shape, 3)).astype(np.float32)
    means = pool_windows(cells)
    for place, mean in zip(window_places()[::7], means[::7], strict=True):
        top, left, bottom, right = place
        spans = []
        for low, high, size in ((top, bottom, shape[0]), (left, right, shape[1])):
            edges = np.linspace(0, 1, size + 1)
            spans.append(np.clip(np.minimum(high, edges[1:]) - np.maximum(low, edges[:-1]), 0, 1))
        weights = np.outer(*spans)
        expected = (weights[..., None] * cells).sum((0, 1)) / weights.sum()
        np.testing.assert_allclose(mean, expected, rtol=1e-3)


def test_every_noun_of_a_whole_photograph_has_evidence(
    mini: Captioner, grids: dict[str, FeatureGrid]
) -> None:
    for grid in grids.values():
        evidence = whole_evidence(mini, grid)
        parts = evidence.parts
        if not parts:
            # Nothing in it is plain to see, but all of it together is.
            assert evidence.verdict == "sure"
            continue
        names = {thing.name: thing for thing in parts}
        for thing in parts:
            assert min(thing.mention, thing.probability, thing.several) >= 0
            top, left, bottom, right = thing.place
            assert 0 <= top < bottom <= 1.001
            assert 0 <= left < right <= 1.001
        [caption] = mini.caption(grid, [WholeImage()])
        known = {
            form: concept.name
            for concept in mini.decoder.words.concepts  # type: ignore[attr-defined]
            for form in (concept.name, concept.plural)
        }
        words = caption.text.replace("?", "").replace(",", "").split()
        said = [known[word] for word in words if word in known]
        assert said
        # A hedge has guesses at the middle of the picture.
        guesses = {name for name, _ in evidence.concepts}
        assert set(said) <= (set(names) if caption.verdict == "sure" else guesses)
        if caption.verdict == "sure":
            assert caption.score == pytest.approx(names[said[0]].probability)


def test_what_is_said_of_photographs(mini: Captioner, grids: dict[str, FeatureGrid]) -> None:
    texts = {name: mini.caption(grid, [WholeImage()])[0] for name, grid in grids.items()}
    assert texts["cat"].text == "a cat"
    assert texts["coffee"].text.startswith("a cup of coffee")
    assert "person" in texts["astronaut"].text
    assert {name: caption.text for name, caption in texts.items()} == {
        name: mini.caption(grid, [WholeImage(), Box(0, 0, 50, 50)])[0].text
        for name, grid in grids.items()
    }


@pytest.mark.parametrize(
    ("model", "peak", "seen"),
    [
        ("mini", 0.6, False),
        ("mini", 0.9, True),
        ("mini-zeroshot", 0.3, False),
        ("mini-zeroshot", 0.9, True),
    ],
)
def test_a_person_is_there_only_where_a_window_shows_one(
    model: str, peak: float, seen: bool
) -> None:
    names = [concept.name for concept in load_concepts(FOLDER / "concepts.json")]
    head = load_thing_head(FOLDER / THINGS[model], len(names))
    windows = np.zeros((len(window_places()), len(names)), np.float32)
    windows[:, names.index("person")] = peak
    things = {thing.name: thing for thing in head.things(windows, names, [])}
    assert ("person" in things) == seen


@pytest.mark.parametrize(("found", "sure"), [(1e-4, False), (0.9, True)])
def test_what_no_window_shows_to_imagenet_is_only_guessed_at(found: float, sure: bool) -> None:
    names = [concept.name for concept in load_concepts(FOLDER / "concepts.json")]
    head = load_thing_head(FOLDER / THINGS["mini"], len(names))
    windows = np.zeros((len(window_places()), len(names)), np.float32)
    windows[:, names.index("zebra")] = 0.9
    known = known_features(found * windows / 0.9, np.ones(len(names), bool), [])
    [zebra] = head.things(windows, names, [], known)
    assert (zebra.probability >= 0.7) == sure


def test_members_of_a_group_are_known_together() -> None:
    windows = np.array([[0.1, 0.2, 0.0, 0.3], [0.0, 0.1, 0.0, 0.6]], np.float32)
    has_class = np.array([True, False, False, True])
    found = known_features(windows, has_class, [[0, 1]])
    assert found[0] == found[1] == pytest.approx(np.log(0.301) - np.log(0.05), abs=1e-4)
    assert found[2] == 0
    assert found[3] > found[0]


def test_windows_inside_a_region_see_nothing_else() -> None:
    cells = np.zeros((20, 30, 1), np.float32)
    cells[5:15, 10:20] = 1
    transform = GridTransform((200, 300), (20, 30))
    corners = np.array([[59.5, 109.5], [59.5, 189.5], [139.5, 189.5], [139.5, 109.5]])
    disc = cover(Ellipse(corners), transform, weighting="area")
    means = pool_inside(cells, disc)
    assert 1 < len(means) <= 14
    np.testing.assert_allclose(means, 1, rtol=1e-5)
    half = pool_inside(cells, cover(Box(49.5, 99.5, 149.5, 299.5), transform, weighting="area"))
    assert half.min() < 0.1
    assert half.max() > 0.9


def test_parts_around_a_region_lie_beside_it() -> None:
    rows = np.broadcast_to(np.arange(20.0)[:, None], (20, 30))
    columns = np.broadcast_to(np.arange(30.0), (20, 30))
    cells = np.stack([rows, columns], axis=2).astype(np.float32)
    box = cover(
        Box(94.5, 99.5, 199.5, 199.5), GridTransform((200, 300), (20, 30)), weighting="area"
    )
    means, shown = pool_around(cells, box)
    by_part = dict(zip(PARTS, zip(means, shown, strict=True), strict=True))
    assert not by_part["below"][1]
    assert by_part["above"][0][0] < 9
    assert by_part["left"][0][1] < 9.6 < 19.4 < by_part["low right"][0][1]
    assert by_part["low left"][0][0] > by_part["left"][0][0] + 3
    assert by_part["heel"][0][1] < by_part["foot"][0][1] < by_part["toe"][0][1]


def test_a_region_names_only_what_it_shows(mini: Captioner, grids: dict[str, FeatureGrid]) -> None:
    boxes = [Box(40, 60, 260, 400), Box(0, 0, 30, 30)]
    covers = [cover(box, grids["cat"].transform, weighting="area") for box in boxes]
    query = Query(
        pool(grids["cat"], covers), grids["cat"], CaptionOptions(), None, no_progress, covers
    )
    evidence = mini.bridge.answer(query).evidence
    assert evidence is not None
    for item, caption in zip(evidence, mini.caption(grids["cat"], boxes), strict=True):
        assert item.beside is not None
        assert item.parts == ()
        assert caption.verdict == "unsure" or item.concepts[0][0] in caption.text
    assert "cat" in mini.caption(grids["cat"], boxes)[0].text
    box = Box(40, 120, 360, 500)
    assert mini.caption(grids["coffee"], [box])[0].text == "a cup on a table"
    assert mini.caption(grids["coffee"], [box], must_exclude=["table"])[0].text == "a cup"


def test_every_member_of_a_set_is_named(mini: Captioner) -> None:
    cat, person = data.cat()[:300, :300], data.astronaut()[:300, 80:380]
    grid = mini.encode(np.concatenate([cat, person, cat[:, ::-1]], axis=1))
    left, middle, right = (Box(5, x + 5, 290, x + 290) for x in (0, 300, 600))
    sets = [(left, middle), (left, right), (left, middle, right), (left, left)]
    captions = mini.caption(grid, [RegionSet(members) for members in sets])
    texts = [caption.text for caption in captions]
    assert texts == ["a person with a cat", "two cats", "a person with two cats", "a cat"]
    # What lies on one thing is one thing.
    inside = (
        Box(60, 30, 200, 290),
        Point(150, 150),
        Trace(np.array([[100.0, 100.0], [120.0, 180.0]])),
    )
    (caption,) = mini.caption(grid, [RegionSet((left, *inside))])
    assert caption.text == "a cat"
    (less,) = mini.caption(grid, [RegionSet((left, right))], never=["cat"], plurals=True)
    assert less.verdict == "unsure"
    assert less.text.endswith("?")
    (sentence,) = mini.caption(grid, [RegionSet((left, right))], length="sentence")
    assert sentence.text == "There are two cats."


def test_a_set_is_as_sure_as_its_surest_member(
    mini: Captioner, grids: dict[str, FeatureGrid]
) -> None:
    face, first, second = Box(40, 170, 230, 280), Point(256, 256), Point(511, 511)
    corners = Box(10, 10, 11, 11), Box(50, 50, 60, 60)
    for members in ((face, first), (first, second), corners):
        alone = mini.caption(grids["astronaut"], members)
        (together,) = mini.caption(grids["astronaut"], [RegionSet(members)])
        best, *_ = alone = sorted(alone, key=lambda caption: -caption.score)
        assert (together.verdict, together.score) == (best.verdict, best.score)
        if best.verdict == "sure":
            assert together.text == best.text
        else:
            guesses = [caption.text.split(",")[0] for caption in alone]
            said = re.split(", | or ", together.text.removesuffix("?"))
            assert said[: len(guesses)] == guesses
            # What else the members may be is guessed where their names may not be said.
            for never in (guesses[:1], guesses):
                (less,) = mini.caption(grids["astronaut"], [RegionSet(members)], never=never)
                assert (less.text[-1], less.verdict) == ("?", "unsure")
                assert not any(guess in less.text for guess in never)


def test_options_of_a_whole_photograph(mini: Captioner, grids: dict[str, FeatureGrid]) -> None:
    def say(**options: Any) -> str:
        [caption] = mini.caption(grids["coffee"], [WholeImage()], **options)
        assert (caption.problem is None) == ("dog" not in caption.text)
        return caption.text

    assert say(length="label") == "cup"
    assert say(length="sentence").startswith("There is a cup")
    assert "dog" in say(must_include=["dog"])
    assert "cup" not in say(must_exclude=["cup"])
    assert say(max_tokens=3) == "a cup"
    [caption] = mini.caption(grids["coffee"], [WholeImage()], alternatives=2)
    assert len({caption.text, *caption.alternatives}) == 3


def test_the_other_model_describes_whole_photographs_too(grids: dict[str, FeatureGrid]) -> None:
    model = load_embedded("mini-zeroshot")
    texts = {name: model.caption(grid, [WholeImage()])[0].text for name, grid in grids.items()}
    assert {"cup", "table"} <= {*texts["coffee"].split()}
    assert texts["rocket"].endswith("sky")
    # It was told of no region, so what is beside and around one is not looked for.
    box = cover(Box(60, 150, 340, 460), grids["coffee"].transform, weighting="area")
    grid = grids["coffee"]
    query = Query(pool(grid, [box]), grid, CaptionOptions(), None, no_progress, [box])
    [item] = model.bridge.answer(query).evidence or ()
    assert item.beside is None
    assert item.around == ()


def test_a_damaged_file_of_things_is_one_sentence(tmp_path: Path) -> None:
    for path in FOLDER.iterdir():
        if path.name != THINGS["mini"]:
            (tmp_path / path.name).symlink_to(path)
    with pytest.raises(ModelError, match="things_mini"):
        load_embedded("mini", tmp_path)
