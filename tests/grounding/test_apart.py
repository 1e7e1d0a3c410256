"""Captions that tell regions apart: by what they show, by where they are, and by any decoder."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import color, data

from napari_patchioner.decoders import Caption, CaptionOptions
from napari_patchioner.grids import FeatureGrid
from napari_patchioner.grounding import DistinctCaption, PhraseScorer, alike, distinct_captions
from napari_patchioner.grounding.places import place_words, placed
from napari_patchioner.regions import Box, Point, WholeImage

CATS = [Box(0, 0, 299, 450), Box(0, 451, 299, 901)]


@pytest.fixture(scope="module")
def cats():
    """A cat, and the same cat in blue on its right."""
    hsv = color.rgb2hsv(data.cat())
    hsv[..., 0], hsv[..., 1] = 0.62, np.maximum(hsv[..., 1], 0.6)
    blue = (255 * color.hsv2rgb(hsv)).astype(np.uint8)
    return np.concatenate([data.cat(), blue], axis=1)


@pytest.fixture(scope="module")
def twins():
    """Twice the same picture of a cat."""
    return np.concatenate([data.cat(), data.cat()], axis=1)


def test_each_caption_leads_back_to_its_region(mini, cats):
    grid = mini.encode(cats)
    plain = [Caption("a cat", 0.9), Caption("a cat", 0.9)]
    first, second = distinct_captions(mini, grid, CATS, plain)
    assert second.text == "a blue cat"
    assert second.way == "looks"
    assert second.by == "told apart from 1 other"
    assert 0 < second.score <= 0.9
    assert PhraseScorer(mini, second.text).regions(grid, CATS).argmax() == 1
    assert first.text != second.text
    assert first.way in ("looks", "place")


def test_what_looks_alike_is_distinguished_by_its_place(mini, twins):
    grid = mini.encode(twins)
    said = mini.caption(grid, CATS)
    assert said[0].text == said[1].text
    found = distinct_captions(mini, grid, CATS, said)
    assert [item.text.split()[1] for item in found] == ["left", "right"]
    assert {item.by for item in found} == {"told apart from 1 other by place"}
    unplaced = distinct_captions(mini, grid, CATS, said, place=False)
    assert [item.text for item in unplaced] == [item.text for item in said]
    assert {item.by for item in unplaced} == {""}


def test_a_caption_that_tells_apart_stays(mini, cats):
    grid = mini.encode(cats)
    said = [Caption("a cat", 0.9), Caption("a blue cat", 0.8)]
    assert distinct_captions(mini, grid, CATS, said)[1] == DistinctCaption(
        "a blue cat", 0.8, "as it was", 1
    )


def test_what_another_region_says_too_tells_none_apart(mini, cats):
    said = [Caption("a blue cat", 0.9), Caption("a blue cat", 0.9)]
    second = distinct_captions(mini, mini.encode(cats), CATS, said)[1]
    assert (second.text, second.way) == ("the right blue cat", "place")


def test_the_colour_of_skin_is_no_colour_of_clothes(mini):
    astronaut = data.astronaut()
    dim = (0.6 * astronaut).astype(np.uint8)
    regions = [Box(60, 175, 190, 275), Box(60, 687, 190, 787), Box(280, 60, 500, 220)]
    grid = mini.encode(np.concatenate([astronaut, dim], axis=1))
    said = [Caption("a person", 0.9)] * 3
    face, dim_face, suit = distinct_captions(mini, grid, regions, said)
    assert " in " not in face.text
    assert " in " not in dim_face.text
    assert suit.text == "a person in red"


def test_a_wall_is_no_colour_of_clothes(mini):
    astronaut = data.astronaut().copy()
    astronaut[0:250, 0:140] = 128
    said = [Caption("a person", 0.9)] * 2
    regions = [Box(20, 40, 220, 240), Box(280, 60, 500, 220)]
    beside_wall, suit = distinct_captions(mini, mini.encode(astronaut), regions, said)
    assert " in " not in beside_wall.text
    assert suit.text == "a person in red"


def test_places_are_those_among_what_is_called_the_same(mini):
    picture = np.concatenate([data.cat()] * 3, axis=1)
    width = data.cat().shape[1]
    cats = [Box(0, width * n, 299, width * (n + 1) - 1) for n in range(3)]
    guess = Box(200, 0, 299, 100)
    names = ["a cat", "a cat", "a cat", "rug, rocks or cat?"]
    verdicts = ["sure", "sure", "sure", "unsure"]
    said = [Caption(n, 0.9, verdict=v) for n, v in zip(names, verdicts, strict=True)]
    found = distinct_captions(mini, mini.encode(picture), [*cats, guess], said)
    assert [item.text for item in found[:3]] == ["the left cat", "the middle cat", "the right cat"]


@pytest.fixture(scope="module")
def herd():
    """Four times the same picture of a cat, and a box of each."""
    width = data.cat().shape[1]
    boxes = [Box(0, width * n, 299, width * (n + 1) - 1) for n in range(4)]
    return np.concatenate([data.cat()] * 4, axis=1), boxes


COUNTED_FROM_THE_RIGHT = [
    "the cat, third from the right",
    "the cat, second from the right",
    "the right cat",
]


@pytest.mark.parametrize(
    ("words", "others"),
    [
        ("my old moggy", COUNTED_FROM_THE_RIGHT),
        ("Minka", COUNTED_FROM_THE_RIGHT),
        ("Minka beside a wall", COUNTED_FROM_THE_RIGHT),
        ("my favourite animal", COUNTED_FROM_THE_RIGHT),
        ("the old sofa", ["the left cat", "the middle cat", "the right cat"]),
    ],
)
def test_places_are_true_among_what_a_person_called_otherwise(mini, herd, words, others):
    picture, boxes = herd
    said = [Caption(words, 0.9), *[Caption("a cat", 0.9)] * 3]
    vouched = [True, False, False, False]
    found = distinct_captions(mini, mini.encode(picture), boxes, said, vouched=vouched)
    assert [item.text for item in found[1:]] == others


def test_a_persons_words_on_a_guess_of_a_model_are_no_guess(mini, herd):
    picture, boxes = herd
    said = [Caption("Minka", 0.4, verdict="unsure"), *[Caption("a cat", 0.9)] * 3]
    grid, vouched = mini.encode(picture), [True, False, False, False]
    found = distinct_captions(mini, grid, boxes, said, vouched=vouched)
    assert [item.text for item in found[1:]] == COUNTED_FROM_THE_RIGHT


def test_what_is_a_likely_other_name_of_a_region_counts_for_places(mini, herd):
    picture, boxes = herd
    likely = Caption("a lynx", 0.6, concepts=(("lynx", 0.6), ("cat", 0.35)))
    unlikely = Caption("a lynx", 0.9, concepts=(("lynx", 0.9), ("cat", 0.05)))
    grid, cats = mini.encode(picture), [Caption("a cat", 0.9)] * 3
    found = distinct_captions(mini, grid, boxes, [likely, *cats])
    assert [item.text for item in found[1:]] == COUNTED_FROM_THE_RIGHT
    found = distinct_captions(mini, grid, boxes, [unlikely, *cats])
    assert [item.text for item in found[1:]] == ["the left cat", "the middle cat", "the right cat"]


def test_options_hold_for_what_is_said(mini, cats):
    grid = mini.encode(cats)
    said = [Caption("a cat", 0.9), Caption("a cat", 0.9)]
    found = distinct_captions(mini, grid, CATS, said, CaptionOptions(must_exclude=["blue"]))
    assert all("blue" not in item.text for item in found)
    found = distinct_captions(mini, grid, CATS, said, CaptionOptions(length="sentence"))
    assert found[1].text == "There is a blue cat."


def test_micrographs_are_distinguished_by_place(mini):
    picture = np.full((240, 480, 3), 235, np.uint8)
    yy, xx = np.mgrid[:240, :480]
    for middle in (120, 360):
        picture[(yy - 120) ** 2 + (xx - middle) ** 2 < 30**2] = (120, 40, 130)
    grid = mini.encode(picture)
    regions = [Box(80, 80, 160, 160), Box(80, 320, 160, 400)]
    said = mini.caption(grid, regions)
    found = distinct_captions(mini, grid, regions, [said[0], said[0]])
    assert {item.way for item in found} == {"place"}
    assert "left" in found[0].text
    assert "right" in found[1].text
    assert said[0].text.split()[-1] in found[0].text


def test_a_description_of_one_region_alone_stays(mini):
    grid = mini.encode(data.coins())
    regions = [Box(28, 129, 74, 179), Box(170, 189, 216, 237), Box(170, 30, 216, 80)]
    said = mini.caption(grid, regions)
    assert len({caption.text for caption in said}) == 3
    found = distinct_captions(mini, grid, regions, said)
    assert [item.text for item in found] == [caption.text for caption in said]
    assert {item.way for item in found} == {"as it was"}


class TwoWordings:
    """A decoder that says of a vector which of its numbers is largest, or something vague."""

    WORDS = ("a thing", "a red thing", "a green thing")

    def decode(self, vectors, options=None, *, evidence=None, **changes):
        best = [self.WORDS[1 + int(v.argmax())] for v in vectors]
        return [Caption("a thing", 0.5, alternatives=(word,)) for word in best]

    def log_likelihoods(self, vectors, texts, *, evidence=None):
        rows = [
            [0.0 if text == "a thing" else 9 * v[self.WORDS.index(text) - 1] for text in texts]
            for v in np.asarray(vectors)
        ]
        return np.log1p(np.array(rows)) - 1


def test_any_decoder_that_rates_texts_is_asked(stub_captioner):
    captioner, grid, regions = stub_captioner(TwoWordings())
    found = distinct_captions(captioner, grid, regions)
    assert [item.text for item in found] == ["a red thing", "a green thing"]
    assert {item.way for item in found} == {"looks"}


class Mute(TwoWordings):
    """A decoder that says one thing and rates nothing."""

    log_likelihoods = None

    def decode(self, vectors, options=None, *, evidence=None, **changes):
        return [Caption("a thing", 0.5) for _ in vectors]


@pytest.fixture
def stub_captioner():
    """Two patches, red and green, a captioner around a decoder of them, and a box of each."""
    from napari_patchioner.bridges import NormalizeBridge
    from napari_patchioner.captioner import Captioner
    from napari_patchioner.grids import GridTransform

    class Backbone:
        name, dim = "colours", 2

    def made(decoder):
        patches = np.eye(2, dtype=np.float32).reshape(1, 2, 2)
        grid = FeatureGrid(patches, GridTransform((10, 20), (1, 2)), "key", backbone="colours")
        captioner = Captioner(Backbone(), NormalizeBridge(), decoder, name="stub")
        return captioner, grid, [Box(0, 0, 9, 9), Box(0, 10, 9, 19)]

    return made


def test_a_model_that_rates_nothing_says_places(stub_captioner):
    found = distinct_captions(*stub_captioner(Mute()))
    assert [item.text for item in found] == ["the left thing", "the right thing"]


def test_one_region_is_told_apart_from_none(mini, cats):
    [found] = distinct_captions(mini, mini.encode(cats), CATS[:1], [Caption("a cat", 0.9)])
    assert found == DistinctCaption("a cat", 0.9, "as it was", 0)


def test_alike_captions_name_the_same_thing():
    assert alike(["a cup", "cup or bowl?", "a red cup", "", "a bowl"]) == [[0, 2]]
    assert alike(["A man surfs.", "A man surfs."]) == [[0, 1]]


def test_words_of_places_are_true_of_one_region_alone():
    row = [Box(10, left, 30, left + 20) for left in (0, 40, 80, 120)]
    words = place_words(row)
    assert words == ["left", "second from the left", "third from the left", "right"]
    column = [Box(top, 0, top + 20, 20) for top in (0, 40, 80)]
    assert place_words(column) == ["top", "middle", "bottom"]
    inside = [Box(0, 0, 99, 99), Box(40, 40, 59, 59)]
    assert place_words(inside) == ["larger", "smaller"]
    assert place_words([Box(0, 0, 9, 9), Box(0, 0, 9, 9)]) == ["", ""]
    assert place_words([Point(5, 5), Point(5, 50)]) == ["left", "right"]
    assert place_words([WholeImage().for_image(9, 9)]) == [""]


def test_words_of_places_are_true_with_what_is_in_doubt_and_without():
    row = [Box(10, left, 30, left + 20) for left in (0, 40, 80, 120)]
    words = place_words(row, [True, False, False, False])
    assert words == ["left", "third from the right", "second from the right", "right"]
    words = place_words(row, [False, False, False, True])
    assert words == ["left", "second from the left", "third from the left", "right"]
    assert place_words(row[:3], [True, False, False]) == ["left", "second from the right", "right"]


def test_places_are_said_in_any_kind_of_caption():
    assert placed("several cups", "left") == "several cups, on the left"
    assert placed("a group of people", "top") == "a group of people, at the top"
    assert placed("an apple on a table", "largest") == "the largest apple on a table"
