"""A paragraph about an image, made of its regions."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_patchioner.annotations.paragraph import (
    Link,
    Paragraph,
    as_html,
    as_markdown,
    links_of,
    paragraph_of,
    region_digest,
    regions_digest,
)
from napari_patchioner.annotations.place import Place as Placed
from napari_patchioner.annotations.place import Places, Thing, with_place
from napari_patchioner.regions import Box, RegionSet


def thing(uid, row, column, side, caption, **more):
    return Thing(uid, Box(row, column, row + side, column + side), caption, **more)


def linked(paragraph):
    return {paragraph.text[link.start : link.stop]: link.uids for link in paragraph.links}


def test_counts_the_largest_first_and_relations():
    things = [
        thing("a", 0, 0, 9, "a cat"),
        thing("b", 0, 20, 20, "a black cat on a mat"),
        thing("c", 0, 60, 30, "a tall tree"),
        thing("d", 200, 0, 5, "grass"),
    ]
    paragraph = paragraph_of(things, shape=(400, 400))
    assert paragraph.text.startswith("The image shows a tall tree, two cats and grass.")
    assert "Both cats are left of the tree." in paragraph.text
    assert linked(paragraph)["two cats"] == ("b", "a")
    assert linked(paragraph)["a tall tree"] == ("c",)
    assert linked(paragraph)["Both cats"] == ("b", "a")


@pytest.mark.parametrize("name", ["Eileen Collins", "=SUM(A1)", "n/a", "TODO", "Fig. 3a"])
def test_names_of_people_and_what_is_no_noun_get_no_counting_words(name):
    things = [
        thing("a", 0, 0, 90, name),
        thing("b", 0, 92, 7, name),
        thing("c", 40, 92, 7, "a cat"),
    ]
    paragraph = paragraph_of(things, shape=(100, 100))
    assert paragraph.text.startswith(f"The image shows {name} in two places and a cat.")
    assert linked(paragraph)[f"{name} in two places"] == ("a", "b")
    alone = paragraph_of(things[:1], shape=(100, 100)).text
    assert alone.startswith(f"The image shows {name}.")
    assert alone.endswith(("Eileen Collins fills most of the image.", f"shows {name}."))
    places = Places(things, shape=(100, 100))
    assert [places.place(uid).rank for uid in "abc"] == ["", "", ""]


def test_the_largest_of_several_and_sizes_where_there_is_a_unit():
    things = [thing(str(k), 40 * k, 90 * (k % 2), 10 + 5 * k, "a nucleus") for k in range(4)]
    things.append(thing("v", 0, 50, 30, "a vessel"))
    text = paragraph_of(things, pixel=((0.5, "µm"), (0.5, "µm"))).text
    assert text == (
        "The image shows four nuclei and a vessel. The largest of the four nuclei, 14 µm across, "
        "is below the vessel. The vessel is 17 µm across."
    )
    assert "across" not in paragraph_of(things).text


def test_people_come_first_and_are_quoted_word_for_word():
    things = [
        thing("a", 0, 0, 9, "Mitotic figure, atypical!"),
        thing("b", 0, 20, 9, "nucleus"),
        thing("c", 0, 40, 9, "nucleus"),
        thing("d", 0, 60, 5, "a vessel"),
    ]
    paragraph = paragraph_of(things, {"a", "b", "c"})
    assert paragraph.text.startswith(
        "By hand, two regions are described as “nucleus” and one as “Mitotic figure, atypical!” "
        "The image also shows a vessel."
    )
    assert linked(paragraph)["“nucleus”"] == ("b", "c")


def test_guesses_are_guesses_and_no_neighbours():
    things = [
        thing("a", 0, 0, 9, "a cat"),
        thing("b", 0, 20, 9, "cup, bowl or vase?", doubtful=True),
        thing("c", 0, 40, 9, "umbrella?", doubtful=True),
    ]
    text = paragraph_of(things).text
    assert text == (
        "The image shows a cat. Another region may be a cup, a bowl or a vase. "
        "Another region may be an umbrella."
    )
    things.append(thing("d", 0, 60, 9, "not sure what this is", doubtful=True))
    paragraph = paragraph_of(things)
    assert paragraph.text == "The image shows a cat. Three more regions are uncertain."
    assert linked(paragraph)["Three more regions"] == ("b", "c", "d")
    assert paragraph_of(things[1:2]).text == "One region may be a cup, a bowl or a vase."


def test_scissors_take_the_verb_of_many():
    things = [thing("s", 0, 0, 9, "scissors"), thing("c", 0, 60, 30, "a cup")]
    text = paragraph_of(things, shape=(400, 400)).text
    assert text.startswith("The image shows a cup and scissors.")
    spots = [thing("a", 0, 0, 9, "a spot"), thing("b", 0, 60, 30, "two spots")]
    assert "The group of spots is in" in paragraph_of(spots, shape=(400, 400)).text
    assert "The scissors are " in paragraph_of(things[:1], shape=(400, 400)).text


def test_nothing_said_is_no_paragraph():
    assert paragraph_of([]) == Paragraph()
    assert paragraph_of([thing("a", 0, 0, 9, " ")]) == Paragraph()


def test_a_group_counts_where_a_person_wrote_its_caption():
    both = RegionSet((Box(0, 0, 9, 9), Box(0, 20, 9, 29)))
    assert paragraph_of([Thing("g", both, "a herd")]).text == ""
    assert paragraph_of([Thing("g", both, "a herd")], {"g"}).text == (
        "By hand, one region is described as “a herd”."
    )


def test_many_kinds_are_summed_up():
    things = [thing(str(k), 0, 50 * k, 40 - k, f"thing{k}x") for k in range(9)]
    text = paragraph_of(things).text
    assert (
        "a thing0x, a thing1x, a thing2x, a thing3x, a thing4x, a thing5x and three other" in text
    )
    assert paragraph_of(things[:7]).text.count("thing6x") == 1


def test_place_and_size_behind_a_caption_is_not_said_twice():
    place = Placed("the larger of two cats", "8 µm across", "left of the tree")
    things = [
        thing("a", 0, 0, 9, with_place("a cat", place)),
        thing("c", 0, 60, 30, "a tree"),
    ]
    text = paragraph_of(things).text
    assert text == "The image shows a tree and a cat. The tree is right of the cat."


@given(
    st.lists(
        st.tuples(
            st.integers(0, 90),
            st.integers(0, 90),
            st.integers(1, 40),
            st.sampled_from(
                ["a cat", "grass", "several dogs", "cup?", "Nucleus", "a hat.", "*<b>*", "two men"]
            ),
        ),
        max_size=12,
    ),
    st.booleans(),
)
def test_every_paragraph_is_well_formed(drawn, written):
    things = [thing(str(k), *one) for k, one in enumerate(drawn)]
    things = [Thing(t.uid, t.region, t.caption, doubtful=t.caption.endswith("?")) for t in things]
    people = {t.uid for t in things[::3]} if written else set()
    paragraph = paragraph_of(things, people, pixel=((1, "µm"), (1, "µm")), shape=(130, 130))
    assert bool(paragraph.text) == bool(things)
    for sentence in filter(None, re.split(r"(?<=[.!?”]) (?=[A-Z])", paragraph.text)):
        assert sentence[0].isupper()
        assert sentence.rstrip("”")[-1] in ".!?"
    assert "  " not in paragraph.text
    assert not re.search(r"\ba [aeiou]|\ban [^aeiou]| ,|\.\.|\bis several|\(", paragraph.text)
    known = {t.uid for t in things}
    for link in paragraph.links:
        assert set(link.uids) <= known
        assert paragraph.text[link.start : link.stop].strip()
    assert links_of(paragraph.to_json(), paragraph.text) == paragraph.links


@pytest.mark.parametrize(
    "made",
    [
        None,
        [],
        {"links": 3},
        {"links": [[0, 99, ["a"]]]},
        {"links": [[2, 1, ["a"]]]},
        {"links": [[0, 1, [3]]]},
        {"links": [["0", 1, ["a"]]]},
        {"links": [[0, 1]]},
        {"links": [[True, 2, ["a"]]]},
        {"links": [[0, 1, []]]},
    ],
)
def test_links_of_a_damaged_file_are_left_out(made):
    assert links_of(made, "abc") == ()


def test_links_that_overlap_are_left_out():
    made = {"links": [[0, 2, ["a"]], [1, 3, ["b"]]]}
    assert links_of(made, "abc") == (Link(0, 2, ("a",)),)


def test_markup_in_captions_and_names_is_escaped():
    text, links = '<script>alert("x")</script> & [a](b)', [Link(0, 8, ('"><img>',))]
    page = as_html(text, links, lambda link: f"#{link.uids[0]}")
    assert "<script>" not in page
    assert "<img>" not in page
    lines = as_markdown(text, links, lambda link: f"#{link.uids[0]}")
    assert "](b)" not in lines
    assert "<img>" not in lines
    assert as_html("abc", [Link(0, 1, ("a",))], lambda _: "") == "abc"


def test_the_digest_changes_with_captions_and_outlines_alone():
    def digest(caption="a cat", geometry="g", uid="u"):
        return regions_digest([region_digest(uid, caption, geometry), 7])

    assert digest() == digest("a cat, 8 µm across, left of the tree")
    assert len({digest(), digest("a dog"), digest(geometry="h"), digest(uid="v")}) == 4
    assert regions_digest([]) != regions_digest([0])


def test_the_same_guess_is_made_once():
    guesses = [thing(k, 0, 20 * i, 9, "cup or coffee?", doubtful=True) for i, k in enumerate("ab")]
    assert paragraph_of(guesses).text == "Two regions may each be a cup or coffee."
    text = paragraph_of([*guesses, thing("c", 0, 60, 9, "a cat")]).text
    assert text == "The image shows a cat. Two other regions may each be a cup or coffee."


def test_what_is_drawn_several_times_is_counted_once():
    # Three elephants, and many boxes around each.
    rng = np.random.default_rng(7)
    things = [
        Thing(f"{animal}-{number}", Box(*corners), "an elephant")
        for animal in range(3)
        for number in range(13)
        for corners in [
            np.array([20, 10 + 120 * animal, 100, 100 + 120 * animal]) + rng.integers(-12, 12, 4)
        ]
    ]
    paragraph = paragraph_of(things, shape=(160, 400))
    assert paragraph.text.startswith("The image shows three elephants.")
    places = Places(things, shape=(160, 400))
    assert {places.ranked(index)[1] for index in range(len(things))} <= {"", "of three elephants"}


def test_what_only_touches_is_counted_each():
    things = [Thing(str(n), Box(0, 30 * n, 30, 30 * n + 40), "a cell") for n in range(5)]
    assert paragraph_of(things).text.startswith("The image shows five cells.")


@pytest.mark.parametrize("noun", ["texture", "pattern", "background"])
def test_what_has_no_number_is_not_counted(noun):
    things = [Thing(str(n), Box(0, 30 * n, 20, 30 * n + 20), f"a {noun}") for n in range(4)]
    assert paragraph_of(things).text.startswith(f"The image shows {noun} in four places.")
    assert Places(things).place("0").rank == ""
