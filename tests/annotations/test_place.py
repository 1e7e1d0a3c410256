"""Place and size of regions in words, and captions with them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_patchioner.annotations.place import (
    Place,
    Places,
    Thing,
    length_words,
    usual_sides,
    with_place,
    without_place,
)
from napari_patchioner.regions import Box, Mask, Point, RegionSet, Trace, WholeImage

NOUNS = ("a nucleus", "a blood vessel", "one dark cell", "grass", "several dogs", "", "cup?")


def square(row, column, side):
    return Box(row, column, row + side, column + side)


things = st.lists(
    st.builds(
        lambda row, column, side, noun: (square(row, column, side), noun),
        *(st.integers(0, 200), st.integers(0, 200), st.integers(1, 60), st.sampled_from(NOUNS)),
    ),
    min_size=1,
    max_size=9,
).map(lambda drawn: [Thing(str(k), *one) for k, one in enumerate(drawn)])


def test_the_sentence_of_the_nuclei():
    sides = [30, 26, 22, 18, 15, 13, 11, 9, 7, 5.5, 4, 2.5]
    nuclei = [Thing(str(k), square(40 * k, 0, s), "a nucleus") for k, s in enumerate(sides)]
    vessel = Thing("v", square(0, 300, 200), "a vessel")
    places = Places([*nuclei, vessel], pixel=((0.5, "um"), (0.5, "micrometer")))
    third = places.place("2")
    assert third.text == "the third largest of 12 nuclei, 12 µm across, left of the vessel"
    assert third.about == ("v",)
    assert places.place("11").rank == "the smallest of 12 nuclei"
    assert places.place("v").rank == ""


@given(things)
def test_ranks_are_consistent(drawn):
    places = Places(drawn)
    for members in places.alike.values():
        sizes = places.layout.diameters
        ranks = {member: places.rank(member) for member in members}
        largest = [m for m in members if ranks[m].startswith(("the largest", "the larger"))]
        assert len(largest) < 2
        for member in largest:
            others = [sizes[other] for other in members if other != member]
            assert sizes[member] > 1.04 * max(others)
        smallest = [m for m in members if ranks[m].startswith(("the smallest", "the smaller"))]
        assert len(smallest) < 2
        for member in smallest:
            assert sizes[member] == min(sizes[other] for other in members)
        if len(members) == 1:
            assert list(ranks.values()) == [""]


@given(things)
def test_a_mirrored_image_swaps_left_and_right(drawn):
    turned = [
        Thing(t.uid, Box(t.region.top, -t.region.right, t.region.bottom, -t.region.left), t.caption)
        for t in drawn
    ]
    here, there = Places(drawn), Places(turned)
    swap = {"left": "right", "right": "left"}
    for thing in drawn:
        words = here.place(thing.uid).text.split(" ")
        assert there.place(thing.uid).text.split(" ") == [swap.get(word, word) for word in words]


@given(things, st.sampled_from([("µm", 1), ("nm", 1000), ("mm", 0.001)]))
def test_another_unit_says_the_same(drawn, other):
    unit, factor = other
    here = Places(drawn, pixel=((0.5, "µm"), (0.5, "µm")))
    there = Places(drawn, pixel=((0.5 * factor, unit), (0.5 * factor, unit)))
    for thing in drawn:
        assert there.place(thing.uid).text == here.place(thing.uid).text


@given(things)
def test_twice_appends_once_and_what_was_appended_comes_off(drawn):
    places = Places(drawn, pixel=((0.5, "µm"), (0.25, "µm")), shape=(300, 300))
    for thing in drawn:
        place = places.place(thing.uid)
        for caption in (thing.caption, f"There is {thing.caption}." if thing.caption else ""):
            said = with_place(caption, place)
            assert with_place(said, place) == said
            assert without_place(said) == caption


@given(things)
def test_saying_it_changes_no_count(drawn):
    places = Places(drawn)
    said = [
        Thing(t.uid, t.region, with_place(t.caption, places.place(t.uid)) if t.caption else "")
        for t in drawn
    ]
    again = Places(said)
    for thing in drawn:
        assert again.place(thing.uid).text == places.place(thing.uid).text


def test_sizes_that_hardly_differ_have_no_rank():
    cells = [Thing(str(k), square(0, 100 * k, 40 + k), "a cell") for k in range(2)]
    assert Places(cells).place("0").rank == "one of two cells"
    cells += [Thing("2", square(0, 300, 20), "a cell")]
    places = Places(cells)
    assert places.place("0").rank == "one of the two largest of three cells"
    assert places.place("2").rank == "the smallest of three cells"


def test_a_difference_of_less_than_a_pixel_is_none():
    dots = [Thing("a", square(0, 0, 3), "a dot"), Thing("b", square(0, 20, 3.5), "a dot")]
    assert Places(dots).place("b").rank == "one of two dots"


def test_lines_are_long_and_points_have_no_size():
    lines = [
        Thing(str(k), Trace(np.array([(0.0, 9 * k), (10.0 + 20 * k, 9 * k)])), "an axon")
        for k in range(3)
    ]
    places = Places([*lines, Thing("p", Point(500, 3), "a bouton")])
    assert places.place("2").text.startswith("the longest of three axons, 50 pixels long")
    assert places.place("p").size == ""
    mixed = Places([*lines, Thing("p", Point(5, 3), "an axon")])
    assert mixed.place("2").rank == "one of four axons"


def test_what_lies_on_another_plane_is_no_neighbour():
    cells = [Thing(str(z), square(0, 50 * z, 20 + 10 * z), "a cell", plane=(z,)) for z in range(2)]
    other = Thing("v", square(0, 200, 20), "a vessel", plane=(0,))
    places = Places([*cells, other])
    assert places.place("0").text == "23 pixels across, left of the vessel"
    assert places.place("1").text == "34 pixels across"


def test_a_group_is_placed_by_what_is_no_part_of_it_and_counted_by_nobody():
    first, second = square(0, 0, 20), square(0, 40, 20)
    things = [
        Thing("a", first, "a dog"),
        Thing("b", second, "a cat"),
        Thing("g", RegionSet((first, second)), "a dog"),
        Thing("t", square(0, 90, 30), "a tree"),
    ]
    places = Places(things)
    assert places.place("a").rank == ""
    assert places.place("g").relation == "left of the tree"
    assert places.place("t").about == ("b",)


def test_a_guess_names_nothing_and_is_no_neighbour():
    things = [Thing("a", square(0, 0, 20), "cup or bowl?"), Thing("b", square(0, 50, 20), "a cup")]
    places = Places(things, shape=(100, 100))
    assert places.place("b").relation == "in the top right quarter of the image"
    assert places.place("a").relation == "left of the cup"
    doubtful = Thing("a", square(0, 0, 20), "a cup", doubtful=True)
    assert Places([doubtful, things[1]]).place("b").rank == ""


def test_the_smallest_that_holds_it_and_what_it_holds():
    things = [
        Thing("n", square(40, 40, 10), "a nucleus"),
        Thing("c", square(30, 30, 30), "a cell"),
        Thing("t", square(0, 0, 100), "tissue"),
    ]
    places = Places(things)
    assert places.place("n").relation == "inside the cell"
    assert places.place("c").relation == "inside the tissue"
    assert places.place("t").relation.startswith("around ")


def test_between_two():
    walls = [Thing(k, square(0, at, 30), "a wall") for k, at in (("l", 0), ("r", 100))]
    door = Thing("d", square(5, 55, 20), "a door")
    assert Places([*walls, door]).place("d").relation == "between the two walls"
    window = Thing("r", square(0, 100, 30), "a window")
    between = Places([walls[0], window, door]).place("d")
    assert between.relation == "between the wall and the window"
    assert set(between.about) == {"l", "r"}


def test_the_whole_image_and_empty_masks_have_no_place():
    things = [Thing("w", WholeImage(), "a street"), Thing("e", Mask(np.zeros((2, 2), bool)), "")]
    places = Places(things, shape=(10, 10))
    assert places.place("w") == Place()
    assert places.place("e").text == ""


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (8.0, "µm", "8 µm"),
        (0.65, "µm", "650 nm"),
        (12345.0, "µm", "12 mm"),
        (25, "cm", "25 cm"),
        (0.00001, "nm", "1e-05 nm"),
        (2500, "m", "2.5 km"),
        (7.0, "pixel", "7 pixels"),
    ],
)
def test_lengths_are_said_as_they_are_best_read(value, unit, words):
    assert length_words(value, unit) == words


def test_what_lies_beyond_the_image_is_cut_off():
    line = Trace(np.array([(50.0, -100.0), (50.0, 49.5)]))
    things = [
        Thing("a", Box(-9999, -0.5, 9999, 99.5), "a cat"),
        Thing("b", Box(-5, 200, 20, 220), "a cat"),
        Thing("c", Box(-0.5, -0.5, 99.5, 99.5), "a dog"),
        Thing("l", line, "an axon"),
        Thing("p", Point(-20, 3), "a bouton"),
    ]
    places = Places(things, shape=(100, 100))
    assert places.place("a").text.startswith(f"{places.place('c').size}, ")
    assert places.place("a").rank == ""
    assert places.place("l").size == "50 pixels long"
    assert places.layout.outside == {1, 4}
    assert places.place("b") == places.place("p") == Place()


def test_units_that_are_no_lengths_are_pixels():
    assert usual_sides(((2.0, "pixel"), (2.0, "pixel"))) == ((1.0, 1.0), "pixel")
    assert usual_sides(((2.0, "mm"), (2.0, "s"))) == ((1.0, 1.0), "pixel")
    assert usual_sides(None)[1] == "pixel"


def test_what_somebody_wrote_stays_letter_by_letter():
    for caption in ("a cat, a dog", "a nucleus, 8 µm, maybe", "a (small) cell", "x, .", "left of"):
        assert without_place(caption) == caption


def test_what_lies_in_another_of_its_noun_is_a_part_of_that():
    cats = [
        Thing("a", square(0, 0, 60), "a cat"),
        Thing("b", square(5, 5, 20), "a cat"),
        Thing("c", square(0, 90, 40), "a cat"),
        Thing("p", Point(8, 8), "a cat"),
    ]
    places = Places(cats)
    assert [places.place(cat.uid).rank for cat in cats] == [
        "the larger of two cats",
        "",
        "the smaller of two cats",
        "",
    ]


def test_a_compound_a_number_and_a_name_for_many_count_with_the_noun():
    names = ("nucleus", "a cell nucleus", "Nuclei", "nucleus #3", "a group of nuclei")
    things = [Thing(name, square(0, 90 * k, 60 - 9 * k), name) for k, name in enumerate(names)]
    places = Places(things)
    assert places.place("nucleus").rank == "the largest of four nuclei"
    assert places.place("nucleus #3").rank == "the smallest of four nuclei"
    assert places.place("a group of nuclei").rank == ""
    assert Places(things[1:2]).noun(0) == "cell nucleus"
    # A group of the same is no other thing to lie by, and another thing lies by the group.
    assert places.place("nucleus").relation == ""
    pen = Thing("p", square(0, 460, 20), "a pen")
    beside = Places([things[0], things[4], pen]).place("p").relation
    assert beside == "right of the group of nuclei"
    assert Places([things[4], pen]).place("p").relation == "right of the nuclei"
    dogs = [Thing(name, square(0, 0, 9), name) for name in ("a hot dog", "a dog")]
    assert Places(dogs).noun(0) == "hot dog"


def test_between_two_of_what_has_one_name_only():
    scissors = [Thing("l", square(0, 0, 30), "scissors")]
    scissors += [Thing("r", square(0, 100, 30), "a pair of scissors")]
    pen = Thing("p", square(5, 55, 20), "a pen")
    assert Places([*scissors, pen]).place("p").relation == "between the two scissors"
    grass = [Thing(k, square(0, at, 30), "grass") for k, at in (("l", 0), ("r", 100))]
    assert Places([*grass, pen]).place("p").relation in ("left of the grass", "right of the grass")


def test_what_is_not_counted_has_no_rank():
    sky = [Thing(str(k), square(0, 90 * k, 30 + 20 * k), "blue sky") for k in range(3)]
    plane = Thing("p", square(200, 0, 20), "a plane")
    places = Places([*sky, plane])
    assert places.place("0").rank == ""
    assert places.place("p").relation.endswith("of the sky")
