"""Where images show what a phrase says: by the embedded model, and by patches among sentences."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from skimage import color, data

from napari_patchioner.bridges import NormalizeBridge
from napari_patchioner.captioner import Captioner
from napari_patchioner.errors import ModelError
from napari_patchioner.grids import FeatureGrid, GridTransform
from napari_patchioner.grounding import PhraseScorer
from napari_patchioner.regions import Box, WholeImage
from napari_patchioner.teaching import overlap

CAT, CUP = Box(0, 0, 299, 450), Box(0, 451, 299, 899)


@pytest.fixture(scope="module")
def cat_and_cup():
    """A cat on the left, a cup on the right."""
    cup = data.coffee()[50:350, 30:480]
    return np.concatenate([data.cat(), cup], axis=1)


@pytest.fixture(scope="module")
def grid(mini, cat_and_cup):
    return mini.encode(cat_and_cup)


@pytest.mark.parametrize("phrase", ["a cat", "cats", "the cat", "an animal", "kitten"])
def test_the_region_that_shows_it_comes_first(mini, grid, phrase):
    cat, cup = PhraseScorer(mini, phrase).regions(grid, [CAT, CUP])
    assert cat > 0.3
    assert cat > 3 * cup
    assert PhraseScorer(mini, "a cup").regions(grid, [CAT, CUP]).argmax() == 1


def test_the_heat_map_is_hottest_on_it(mini, grid):
    for phrase, left in (("a cat", True), ("a cup", False)):
        heat = PhraseScorer(mini, phrase).heat(grid)
        assert heat.shape == (2 * grid.shape[0], 2 * grid.shape[1])
        assert 0 <= heat.min() <= heat.max() <= 1
        assert (heat.argmax() % heat.shape[1] < heat.shape[1] / 2) == left


def test_its_box_is_proposed(mini, grid):
    proposals = PhraseScorer(mini, "a cat").proposals(grid)
    scores = [proposal.score for proposal in proposals]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)
    first = proposals[0].box
    corners = np.array([first.top, first.left, first.bottom, first.right])
    assert overlap(corners, np.array([[CAT.top, CAT.left, CAT.bottom, CAT.right]]))[0] > 0.5


def test_what_is_not_wanted_counts_against_it(mini, grid):
    plain = PhraseScorer(mini, "an animal").regions(grid, [CAT])[0]
    for without in (
        PhraseScorer(mini, "an animal, not a cat"),
        PhraseScorer(mini, "an animal", "a cat"),
        PhraseScorer(mini, "an animal -cat"),
    ):
        assert without.negatives[0].endswith("cat")
        assert without.regions(grid, [CAT])[0] < 0.2 * plain
    assert PhraseScorer(mini, "an animal, not a car").regions(grid, [CAT])[0] > 0.9 * plain


def test_the_one_of_that_colour_is_preferred(mini):
    hsv = color.rgb2hsv(data.cat())
    blue = hsv.copy()
    blue[..., 0], blue[..., 1] = 0.62, np.maximum(hsv[..., 1], 0.6)
    both = np.concatenate([data.cat(), (255 * color.hsv2rgb(blue)).astype(np.uint8)], axis=1)
    grid = mini.encode(both)
    regions = [CAT, Box(0, 451, 299, 901)]
    first, second = PhraseScorer(mini, "a blue cat").regions(grid, regions)
    assert second > 2 * first
    first, second = PhraseScorer(mini, "something blue").regions(grid, regions)
    assert second > first


def test_a_whole_image_is_as_likely_as_its_likeliest_part(mini, grid):
    scorer = PhraseScorer(mini, "a cup")
    assert scorer.image(grid) >= scorer.regions(grid, [WholeImage()])[0]


def test_no_regions_have_no_scores(mini, grid):
    assert PhraseScorer(mini, "a cat").regions(grid, []).shape == (0,)


def test_what_the_model_cannot_know_is_said_in_a_sentence(mini, grid):
    scorer = PhraseScorer(mini, "qwrtzp")
    assert scorer.meaning == ()
    assert "mini knows nothing like 'qwrtzp'" in scorer.problem(grid)
    for ask in (scorer.heat, scorer.proposals, scorer.image):
        with pytest.raises(ModelError, match="knows nothing like"):
            ask(grid)
    assert PhraseScorer(mini, "a dog").problem(grid) == ""


def test_a_micrograph_is_asked_for_what_is_measured(mini):
    micrograph = mini.encode(data.immunohistochemistry())
    with pytest.raises(ModelError, match="no photograph"):
        PhraseScorer(mini, "a dog").proposals(micrograph)
    spots = PhraseScorer(mini, "brown spots").proposals(micrograph)
    assert spots
    coins = mini.encode(data.coins())
    [whole] = PhraseScorer(mini, "round spots on a dark background").regions(coins, [WholeImage()])
    [stripes] = PhraseScorer(mini, "blue stripes").regions(coins, [WholeImage()])
    assert whole > stripes


def test_what_is_not_wanted_has_to_be_known_as_well(mini, grid):
    problem = PhraseScorer(mini, "a cat, not a qwrtzp").problem(grid)
    assert problem.startswith("mini knows nothing like 'qwrtzp', which is not wanted")


def test_words_before_a_name_count_for_nothing_and_are_known(mini, grid):
    scorer = PhraseScorer(mini, "two young sleeping cats")
    assert scorer.left_out == ("two", "young", "sleeping")
    assert scorer.meaning == ("cat",)
    both = scorer.regions(grid, [CAT]), PhraseScorer(mini, "cats").regions(grid, [CAT])
    assert np.array_equal(*both)
    assert PhraseScorer(mini, "a hot dog").left_out == ()
    assert PhraseScorer(mini, "a hot dog").meaning == ("hot dog",)
    assert PhraseScorer(mini, "a young woman").meaning == ("person",)


def test_only_what_is_not_wanted_is_nothing_to_look_for(mini):
    with pytest.raises(ModelError, match='such as "a street, not person"'):
        PhraseScorer(mini, "no person")


def test_any_of_several_things_is_found_and_says_which_it_is(mini, grid):
    for phrase in ("a cat, a cup", "a cat or a cup", "a cat and a cup", "a cat / a cup"):
        scorer = PhraseScorer(mini, phrase)
        assert scorer.alternatives == ("a cat", "a cup")
        assert scorer.left_out == ()
        each = [PhraseScorer(mini, text).regions(grid, [CAT, CUP]) for text in ("a cat", "a cup")]
        assert np.allclose(scorer.regions(grid, [CAT, CUP]), np.maximum(*each))
        found = scorer.proposals(grid)
        assert [p.score for p in found] == sorted((p.score for p in found), reverse=True)
        for text, other in (("a cat", "a cup"), ("a cup", "a cat")):
            likeliest = next(p for p in found if p.text == text)
            [alone, *_] = PhraseScorer(mini, text).proposals(grid)
            assert astuple(likeliest.box) == astuple(alone.box)
            assert likeliest.score == pytest.approx(alone.score)
            box = likeliest.box
            assert ((box.left + box.right) / 2 < CUP.left) == (text == "a cat"), other
    heat = PhraseScorer(mini, "a cat, a cup").heat(grid)
    halves = heat[:, : heat.shape[1] // 2], heat[:, heat.shape[1] // 2 :]
    assert min(half.max() for half in halves) > 0.3


def test_each_of_several_things_has_its_own_adjectives_and_negatives_hold_for_all(mini, grid):
    scorer = PhraseScorer(mini, "two cats, a big cup without people and buses")
    assert scorer.left_out == ("two", "big")
    assert scorer.negatives == ("people", "buses")
    without = PhraseScorer(mini, "a cat, a cup, not a cat").regions(grid, [CAT, CUP])
    assert without[0] < 0.1 < 0.3 < without[1]


def test_an_image_shows_all_that_is_joined_by_and(mini, grid):
    assert PhraseScorer(mini, "a cat or a bus").image(grid) > 0.9
    for phrase, least, most in (("a cat and a bus", 0, 0.05), ("a cat and a cup", 0.1, 0.9)):
        scorer = PhraseScorer(mini, phrase)
        assert least <= scorer.image(grid) <= most
        assert least <= scorer.image_score(scorer.proposals(grid)) <= most


def test_of_several_things_only_those_that_are_known_are_looked_for(mini, grid):
    scorer = PhraseScorer(mini, "a cat, a qwrtzp")
    assert scorer.left_out == ("a qwrtzp",)
    assert scorer.problem(grid) == ""
    assert {proposal.text for proposal in scorer.proposals(grid)} == {"a cat"}
    assert "knows nothing like 'qwrtzp' or 'zzxx'" in PhraseScorer(mini, "qwrtzp, zzxx").problem()


def test_a_description_with_commas_is_one_text(mini):
    scorer = PhraseScorer(mini, "round spots, pale lines", whole=True)
    assert scorer.alternatives == (scorer.phrase,) == ("round spots, pale lines",)


def test_a_sign_is_called_by_what_it_forbids(mini):
    scorer = PhraseScorer(mini, "no entry sign")
    assert (scorer.negatives, scorer.meaning) == ((), ("sign",))


def test_what_no_image_can_show_is_known_before_there_is_any(mini):
    assert "knows nothing like 'qwrtzp'" in PhraseScorer(mini, "a qwrtzp").problem()
    assert PhraseScorer(mini, "a cat").problem() == ""
    assert PhraseScorer(mini, "purple spots").problem() == ""


@pytest.mark.parametrize("phrase", ["", "  ", "not a car"])
def test_nothing_to_look_for_is_no_phrase(mini, phrase):
    with pytest.raises(ModelError, match="what to look for"):
        PhraseScorer(mini, phrase)


class SentencePatches:
    """Patches of a tiny image that lie among sentences: every word has an axis."""

    name, dim = "sentences", 8
    words = ("dog", "cat", "grass", "else", "background", "photo", "ground", "sky")

    def embed_text(self, texts, *, progress=None):
        rows = [[float(word in text) for word in self.words] for text in texts]
        return np.array(rows, np.float32) + 0.01

    def image(self, shown):
        """Encode rows of words, a patch each, of ten pixels a side."""
        rows = np.array([[self.embed_text([word])[0] for word in row] for row in shown])
        height, width = rows.shape[:2]
        transform = GridTransform((10 * height, 10 * width), (height, width))
        return FeatureGrid(rows.astype(np.float32), transform, key="tiny", backbone=self.name)


class Speechless:
    name, dim = "speechless", 8


def made(backbone):
    return Captioner(backbone, NormalizeBridge(), None, name=backbone.name)


def test_patches_among_sentences_are_compared_with_the_phrase():
    backbone = SentencePatches()
    field = [["grass"] * 8 for _ in range(8)]
    for row in (2, 3, 4):
        field[row][1:4] = ["dog"] * 3
        field[row][5:8] = ["cat"] * 3
    grid = backbone.image(field)
    scorer = PhraseScorer(made(backbone), "a dog")
    dog, cat = Box(20, 10, 49, 39), Box(20, 50, 49, 79)
    scores = scorer.regions(grid, [cat, dog])
    assert scores[1] > 0.9 > 0.1 > scores[0]
    heat = scorer.heat(grid)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert 4 <= row < 10
    assert 2 <= column < 8
    first = scorer.proposals(grid)[0].box
    corners = np.array([first.top, first.left, first.bottom, first.right])
    assert overlap(corners, np.array([[19.5, 9.5, 49.5, 39.5]]))[0] > 0.4
    # Of several things each is compared with the image by itself.
    both = PhraseScorer(made(backbone), "a dog, a cat")
    assert both.regions(grid, [cat, dog]).min() > 0.9
    assert {proposal.text for proposal in both.proposals(grid)[:2]} == {"a dog", "a cat"}
    # The same patches are nothing when they are what is not wanted.
    [not_cat] = PhraseScorer(made(backbone), "a dog or cat, not a cat").regions(grid, [cat])
    [either] = PhraseScorer(made(backbone), "a dog or cat").regions(grid, [cat])
    assert not_cat < either


def test_a_model_without_a_text_tower_says_so():
    with pytest.raises(ModelError, match="no text tower"):
        PhraseScorer(made(Speechless()), "a dog")


def test_the_heat_map_covers_the_image_where_only_its_middle_was_encoded():
    backbone = SentencePatches()
    whole = backbone.image([["dog" if row < 4 else "grass"] * 8 for row in range(8)])
    transform = GridTransform((80, 160), (8, 8), (0.0, 40.0, 80.0, 80.0))
    grid = FeatureGrid(whole.embeddings, transform, key="middle", backbone=backbone.name)
    heat = PhraseScorer(made(backbone), "a dog").heat(grid)
    assert heat.shape == (16, 32)
    assert not heat[:, :8].any()
    assert not heat[:, 24:].any()
    assert heat[:6, 8:24].min() > heat[10:, 8:24].max()


def test_the_score_of_an_image_says_how_often_it_is_right(mini, grid):
    # Of its many windows the likeliest would nearly always seem to show something.
    scorer = PhraseScorer(mini, "a cat")
    _, chances = scorer.windows(grid)
    assert 0.8 < scorer.image(grid) < chances.max()
    best = scorer.proposals(grid)[0].score
    assert best == pytest.approx(scorer.image(grid), abs=0.02)
    # What has no name has the score of its window.
    assert PhraseScorer(mini, "red").image(grid) == PhraseScorer(mini, "red").windows(grid)[1].max()


@pytest.mark.parametrize(
    ("one", "many"), [("an animal", "animals"), ("a vehicle", "vehicles"), ("a cat", "cats")]
)
def test_the_plural_of_a_wider_word_means_as_much(mini, one, many):
    assert set(PhraseScorer(mini, one).meaning) == set(PhraseScorer(mini, many).meaning)
