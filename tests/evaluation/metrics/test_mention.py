from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_patchioner.evaluation.metrics.mention import (
    STUFF,
    THINGS,
    head_mentions,
    mentions,
    plain_name,
    plural,
)

CATEGORIES = sorted({*THINGS, *STUFF})


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_category_is_named_by_its_own_name_and_by_its_plural(category: str) -> None:
    assert mentions(f"a {category}", category)
    many = category if category in {"skis", "stairs"} else plural(category)
    assert mentions(f"two {many} on a hill", category)


def test_the_table_holds_the_eighty_objects_and_fifty_three_stuff_classes() -> None:
    assert (len(THINGS), len(STUFF)) == (80, 53)


@pytest.mark.parametrize(
    ("caption", "category"),
    [
        ("a hot dog", "dog"),
        ("a teddy bear", "bear"),
        ("a train station", "train"),
        ("an orange cat", "orange"),
        ("an orange and white cat", "orange"),
        ("a couple of elephants", "person"),
        ("a carpet", "car"),
        ("scatter", "cat"),
        ("", "person"),
        ("a baseball player", "sports ball"),
    ],
)
def test_words_inside_other_names_do_not_count(caption: str, category: str) -> None:
    assert not mentions(caption, category)


@pytest.mark.parametrize(
    ("caption", "category"),
    [
        ("cup, bowl or vase?", "bowl"),
        ("orange, bowl or vase?", "orange"),
        ("two men", "person"),
        ("an orange on a plate", "orange"),
        ("a bunch of oranges", "orange"),
        ("A Wine-Glass.", "wine glass"),
        ("the cat's bed", "bed"),
        ("green leaves", "tree-merged"),
        ("a clear blue sky", "sky-other-merged"),
    ],
)
def test_synonyms_plurals_and_punctuation_count(caption: str, category: str) -> None:
    assert mentions(caption, category)


@pytest.mark.parametrize(
    ("caption", "category", "expected"),
    [
        ("a person riding a horse", "person", True),
        ("a person riding a horse", "horse", False),
        ("a slice of pizza on a plate", "pizza", True),
        ("cup, bowl or vase?", "cup", True),
        ("cup, bowl or vase?", "bowl", False),
        ("a tall building", "building", True),
        ("a dog on a bed", "bed", False),
    ],
)
def test_the_strict_reading_takes_what_the_region_is(
    caption: str, category: str, expected: bool
) -> None:
    assert head_mentions(caption, category) is expected


@given(caption=st.text(max_size=60), category=st.sampled_from(CATEGORIES))
def test_strict_implies_lenient(caption: str, category: str) -> None:
    assert mentions(caption, category) or not head_mentions(caption, category)


def test_plain_names_are_keys_of_the_table() -> None:
    assert plain_name("wall-other-merged") == "wall"
    assert plain_name("rug-merged") in STUFF
    assert plain_name("person") == "person"
