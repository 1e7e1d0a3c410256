"""What captions name, and the plurals of that."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from napari_patchioner.annotations.nouns import (
    is_bare,
    listed,
    noun_of,
    number_words,
    phrase_of,
    plural_of,
    with_article,
    with_the,
)

CONCEPTS = json.loads(
    (files("napari_patchioner") / "models" / "embedded" / "concepts.json").read_text("utf8")
)


def test_plurals_of_all_that_the_embedded_model_counts():
    counted = [c for c in CONCEPTS if not c["mass"]]
    wrong = {
        c["name"]: plural_of(c["name"]) for c in counted if plural_of(c["name"]) != c["plural"]
    }
    assert wrong == {}


def test_names_of_the_embedded_model_are_their_own_nouns_but_for_a_few():
    counted = [c["name"] for c in CONCEPTS if not c["mass"]]
    cut = {name for name in counted if noun_of(f"a {name}") != name}
    assert len(cut) < 0.02 * len(counted)
    # Each is still one of that.
    assert all(name.endswith(noun_of(f"a {name}")) for name in cut)


@pytest.mark.parametrize(
    ("caption", "noun"),
    [
        ("many small purple spots on a red and white background", "group of spots"),
        ("a striped texture of red and white", "texture"),
        ("a black and white cat sitting on a chair", "cat"),
        ("a plate filled with food", "plate"),
        ("CD8+ T cell", "CD8+ T cell"),
        ("the largest airplane", "airplane"),
        ("the middle elephant near a wall", "elephant"),
        ("a top hat", "top hat"),
        ("a close-up of a cat's face", "cat's face"),
        ("This may be a cup or a bowl.", ""),
        ("not sure what this is", ""),
        ("Two people walk their dogs across an open field", "group of people"),
        ("a no nucleus here", ""),
        ("the not a nucleus", ""),
        ("The nucleus isn't visible", ""),
        ("There is no dog.", ""),
        ("a cell without a nucleus", "cell"),
        ("the dog runs are", "dog"),
        ("dogs run on a beach", "group of dogs"),
        ("a dog sniffs the grass", "dog"),
        ("two hard drives", "group of drives"),
        ("bus stops", "group of bus stops"),
        ("a nucleus #3", "nucleus"),
        ("nucleus no. 4", "nucleus"),
        ("nucleus_12", "nucleus"),
        ("Ki-67", "ki-67"),
        ("a pair of glasses on a table", "glasses"),
        ("two pairs of scissors", "group of scissors"),
        ("something red", ""),
        ("一只猫", ""),
        ("β-cell", "β-cell"),
        ("Eileen Collins", "Eileen Collins"),
        ("Eileen Collins smiling in a suit", "Eileen Collins"),
        ("Mr. Smith", "Mr Smith"),
        ("the Eiffel Tower", "Eiffel Tower"),
        ("Big Ben", "Big Ben"),
        # Labels in capitals are kinds of things.
        ("Espresso Cup", "espresso cup"),
        ("Red Car", "car"),
        ("Purkinje Cells", "group of purkinje cells"),
        ("Two Dogs", "group of dogs"),
        ("3D printer", "3D printer"),
        # What is no noun names nothing.
        ("=SUM(A1)", ""),
        ("n/a", ""),
        ("TODO", ""),
        ("unknown", ""),
        ("Fig. 3a", ""),
        ("http://example.org/a.html", ""),
        ("https://example.org", ""),
        ("me@example.org", ""),
        ("C:\\x", ""),
        ("img_a.png", ""),
        ("@user", ""),
        ("U.S. flag", ""),
        ("the", ""),
        ("...", ""),
        ("", ""),
    ],
)
def test_nouns(caption, noun):
    assert noun_of(caption) == noun


@pytest.mark.parametrize(
    ("noun", "plural"),
    [
        ("mitochondrion", "mitochondria"),
        ("red blood cell", "red blood cells"),
        ("human", "humans"),
        ("photo", "photos"),
        ("potato", "potatoes"),
        ("roof", "roofs"),
        ("album", "albums"),
        ("group of people", "groups of people"),
    ],
)
def test_plurals(noun, plural):
    assert plural_of(noun) == plural


def test_articles_numbers_and_lists():
    assert with_article("hourglass") == "an hourglass"
    assert with_article("skis") == "skis"
    assert number_words(11) == "11"
    assert listed(["x", "y", "z"]) == "x, y and z"
    assert not is_bare("two nuclei")


def test_sizes_and_numbers_behind_a_noun_are_no_part_of_it():
    measured = "about 12 light gray round spots 8.2 µm across on a dark background"
    assert noun_of(measured) == "group of spots"
    assert phrase_of(measured) == "about 12 light gray round spots"
    assert phrase_of("one gray round spot 33 µm across") == "one gray round spot"


def test_names_of_people_take_no_article_and_no_plural():
    name = "Eileen Collins"
    assert plural_of(name) == with_article(name) == with_the(name) == phrase_of(name) == name
