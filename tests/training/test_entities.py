from __future__ import annotations

import pytest

from napari_patchioner.bridges import coco_names
from napari_patchioner.training import EntityFinder

COCO = EntityFinder(coco_names())


@pytest.mark.parametrize(
    ("caption", "names"),
    [
        ("A man riding a wave.", ("person",)),
        ("Two women and a child with three dogs", ("person", "dog")),
        ("A traffic light above the buses", ("traffic light", "bus")),
        ("Sheep, knives; wine glasses!", ("sheep", "knife", "wine glass")),
        ("A hot dog next to a dog", ("hot dog", "dog")),
        ("A catalogue of cartoons", ()),
        ("", ()),
        ("Dog dog DOG dogs", ("dog",)),
    ],
)
def test_names_are_found_as_words(caption, names):
    assert COCO.names_in(caption) == names


def test_no_more_than_ten_are_named():
    finder = EntityFinder(f"thing{number}" for number in range(30))
    caption = " ".join(f"thing{number}" for number in range(30))
    assert len(finder.names_in(caption)) == 10


def test_people_are_persons_only_where_that_is_a_name():
    assert EntityFinder(["man", "cell"]).names_in("a man and a woman see cells") == ("man", "cell")
    assert EntityFinder([]).names_in("anything") == ()
