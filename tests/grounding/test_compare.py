"""What regions have in common and what not, and where slices of a stack change."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from napari_patchioner.decoders import Caption
from napari_patchioner.errors import Cancelled, ModelError
from napari_patchioner.grounding import compare_regions, compare_slices
from napari_patchioner.regions import Box

CUP, CAT, HEAD = Box(60, 150, 330, 450), Box(20, 60, 280, 400), Box(20, 150, 240, 300)


@pytest.fixture(scope="module")
def cup(mini):
    return mini.encode(data.coffee()), CUP


@pytest.fixture(scope="module")
def cat(mini):
    return mini.encode(data.chelsea()), CAT


def test_two_regions_differ_in_what_they_show(mini, cup, cat):
    compared = compare_regions(mini, [cup, cat])
    assert "cup" in compared.own[0]
    assert "cat" in compared.own[1]
    assert compared.concepts[0].spread == max(row.spread for row in compared.concepts)
    values = {row.name: row.values for row in compared.concepts}
    assert values["cat"][1] > 0.9 > 0.1 > values["cat"][0]
    assert values["red"][0] > 0.5 > values["red"][1]
    assert compared.sentence().startswith("left: cup")
    assert "; right: cat" in compared.sentence()
    assert compared.sentence(["a", "b"]).startswith("a: cup")
    assert compared.likeness < 0.6


def test_a_region_differs_in_nothing_from_itself(mini, cat):
    placed = [
        Caption("a cat, the larger of two, 170 µm across, left of the table", 0.9),
        Caption("cat or dog? (the smaller of two cats, 160 µm across, left of the person)", 0.9),
    ]
    compared = compare_regions(mini, [cat, cat], captions=placed)
    # Place and size were measured: nothing of them is compared.
    assert compared.own == ((), ())
    assert not {"table", "person", "across", "left"}.intersection(compared.shared)
    assert compared.sentence() == "no difference in words: a cat / cat or dog?"
    # What they show is told all the same.
    values = {row.name: row.values for row in compared.concepts}
    assert min(values["cat"]) > 0.9
    assert all(row.spread == pytest.approx(0, abs=1e-4) for row in compared.concepts)
    compared = compare_regions(mini, [cat, cat], captions=[Caption("Tom", 0.9)] * 2)
    assert "cat" in {row.name for row in compared.concepts}
    compared = compare_regions(mini, [cat, cat])
    assert compared.likeness == pytest.approx(1)
    assert compared.sentence().startswith("no difference in words: a cat")


def test_three_regions_are_numbered(mini, cup, cat):
    face = mini.encode(data.astronaut()), HEAD
    compared = compare_regions(mini, [face, cat, cup])
    assert "person" in compared.own[0]
    assert compared.sentence().split("; ")[1].startswith("2: cat")


def test_what_is_said_already_is_not_asked_for_again(mini, cup, cat):
    said = [Caption("a blue cup on a table", 0.9), Caption("a table", 0.9)]
    compared = compare_regions(mini, [cup, cat], captions=said)
    assert compared.captions == tuple(said)
    assert "table" in compared.shared
    assert "blue cup" in compared.own[0]


def test_words_that_say_nothing_are_no_difference(mini, cat):
    said = [
        Caption("the left dog s in front of a wall", 0.9),
        Caption("the second dog, a part of a wall", 0.9),
    ]
    assert compare_regions(mini, [cat, cat], captions=said).own == ((), ())


def test_a_colour_that_others_have_nearly_as_much_of_is_no_difference(mini):
    picture = data.coffee().copy()
    picture[100:300, 100:320] = (40, 60, 180)
    picture[100:300, 100:150] = (200, 30, 30)
    grid = mini.encode(picture)
    places = [(grid, Box(100, left, 299, left + 199)) for left in (100, 110)]
    said = [Caption("a red thing", 0.9), Caption("a thing", 0.9)]
    compared = compare_regions(mini, places, captions=said)
    values = {row.name: row.values for row in compared.concepts}
    assert 0.75 > values["red"][0] > 0.5 > values["red"][1] > 0.3
    assert not any("red" in word.split() for words in compared.own for word in words)


def test_a_guess_that_is_wrong_is_no_difference(mini, cat):
    said = [Caption("cat or bus?", 0.4), Caption("a cat", 0.9)]
    compared = compare_regions(mini, [cat, cat], captions=said)
    assert compared.own == ((), ())


def test_micrographs_are_compared_by_what_is_measured(mini):
    grid = mini.encode(data.immunohistochemistry())
    places = [(grid, Box(10, 10, 150, 150)), (grid, Box(250, 250, 450, 450))]
    compared = compare_regions(mini, places)
    assert {row.name for row in compared.concepts} <= {"brown", "gray", "white", "blue", "purple"}
    assert compared.sentence()


def test_one_region_has_nothing_to_be_compared_with(mini, cat):
    with pytest.raises(ModelError, match="two regions or more"):
        compare_regions(mini, [cat])


def test_it_can_be_cancelled(mini, cup, cat):
    def stop(fraction: float, message: str) -> None:
        if message.startswith("comparing"):
            raise Cancelled

    with pytest.raises(Cancelled):
        compare_regions(mini, [cup, cat], progress=stop)


def vectors(kinds: str, noise: float = 0.05) -> np.ndarray:
    """One vector a slice, near the axis of its letter."""
    random = np.random.default_rng(3)
    axes = np.eye(16)[[ord(kind) - ord("a") for kind in kinds]]
    return (axes + noise * random.standard_normal(axes.shape)).astype(np.float32)


def said(*texts: str) -> list[Caption]:
    return [Caption(text, 0.5) for text in texts]


def test_slices_that_agree_are_one_stretch():
    compared = compare_slices(said(*["a nucleus"] * 9), vectors("a" * 9))
    assert compared.changes == ()
    assert compared.sentence() == "9 slices: a nucleus"


def test_a_single_odd_caption_changes_nothing():
    texts = ["a cell", "a cell", "a ball", "a cell", "a cell", "a cell"]
    compared = compare_slices(said(*texts), vectors("a" * 6))
    assert compared.consensus == "a cell"
    assert compared.changes == ()
    assert compared.sentence() == "6 slices, mostly 'a cell' (5 of 6)"


def test_where_the_slices_change_the_caption_does():
    texts = ["a cell"] * 4 + ["two cells"] * 5 + ["a cell"] * 3
    compared = compare_slices(said(*texts), vectors("a" * 4 + "b" * 5 + "a" * 3))
    assert compared.changes == (4, 9)
    assert compared.consensus == "a cell"
    assert compared.text_at(6) == "two cells"
    assert compared.sentence(range(10, 22)) == (
        "12 slices, mostly 'a cell' (7 of 12); "
        "10 to 13: a cell; 14 to 18: two cells; 19 to 21: a cell"
    )
    assert compared.score == pytest.approx(0.5)
    assert compared.agreeing == 7


def test_without_a_majority_there_is_no_consensus():
    texts = ["a cat"] * 3 + ["sky"] * 3 + ["a cup"] * 2
    compared = compare_slices(said(*texts), vectors("aaabbbcc"))
    assert (compared.consensus, compared.agreeing, compared.changes) == ("", 0, (3, 6))
    assert compared.division == "3 of 8 'a cat', 3 of 8 'sky', 2 of 8 'a cup'"
    assert compared.sentence() == (
        f"8 slices, no majority: {compared.division}; 0 to 2: a cat; 3 to 5: sky; 6 to 7: a cup"
    )
    # As many slices that look alike and are called by as many names agree on none of them.
    two = compare_slices(said("a cell", "a dog"), vectors("aa"))
    assert two.consensus == ""
    assert two.sentence() == "2 slices, no majority: 1 of 2 'a cell', 1 of 2 'a dog'"


def test_slices_that_look_different_but_are_called_the_same_are_one_stretch():
    compared = compare_slices(said(*["a cell"] * 8), vectors("aaaabbbb"))
    assert compared.changes == ()


def test_the_slice_that_is_odd_is_least_like_the_others():
    compared = compare_slices(said(*["a cell"] * 7), vectors("aaabaaa"))
    assert int(np.argmin(compared.likeness)) == 3


def test_few_slices_are_compared_as_well():
    one = compare_slices(said("a cell"), vectors("a"))
    assert (one.consensus, one.changes, len(one.likeness)) == ("a cell", (), 1)
    two = compare_slices(said("a cell", "a dog"), vectors("ab"))
    assert two.changes == (1,)
    same = compare_slices(said("a cell", "a dog"), vectors("aa"))
    assert same.changes == ()


def test_captions_of_noisy_slices_do_not_flicker():
    texts = ["a cell", "a ball", "a cell", "a spot", "a cell", "a cell", "a ball", "a cell"]
    compared = compare_slices(said(*texts), vectors("a" * 8, noise=0.1))
    assert (compared.consensus, compared.changes) == ("a cell", ())


def test_no_slices_are_refused():
    with pytest.raises(ModelError, match="slices"):
        compare_slices([], np.zeros((0, 4), np.float32))
