from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_patchioner.teaching import Classifier, Confusion, Descriptions

WIDTHS = {"grid": 40, "profile": 54, "colour": 27, "size": 1}
KINDS = ["a", "b", "c"]


def made(kinds: list[str], seed: int, spread: float = 0.3) -> Descriptions:
    """Regions around a middle of their kind; those of one seed are always the same."""
    rng = np.random.default_rng(seed)
    blocks = {}
    for name, width in WIDTHS.items():
        middles = {
            kind: np.random.default_rng(ord(kind)).standard_normal(width)
            for kind in sorted(set(kinds))
        }
        rows = [middles[kind] + spread * rng.standard_normal(width) for kind in kinds]
        blocks[name] = np.array(rows, np.float32).reshape(len(kinds), width)
    return Descriptions(blocks)


BACKGROUND = made(["x", "y", "z"] * 10, 9, 1.0)


@pytest.mark.parametrize("count", [1, 2, 5, 300])
def test_regions_get_the_name_of_the_examples_they_are_like(count: int) -> None:
    names = KINDS * count
    classifier = Classifier.fit(made(names, 1), names, BACKGROUND)
    namings = classifier(made(KINDS, 2))
    assert [naming.name for naming in namings] == KINDS
    assert [names[naming.example] for naming in namings] == KINDS
    assert all(0.5 < naming.score <= 1 for naming in namings)


@pytest.mark.parametrize("count", [1, 5])
def test_what_is_like_no_example_has_no_name(count: int) -> None:
    names = KINDS * count
    classifier = Classifier.fit(made(names, 1), names, BACKGROUND)
    least = min(naming.score for naming in classifier(made(KINDS, 2)))
    for naming in classifier(made(["q", "r", "s"], 3)):
        assert naming.name is None
        assert naming.closest in KINDS
        assert naming.score < least


def test_one_example_of_one_name_is_enough() -> None:
    classifier = Classifier.fit(made(["a"], 1), ["a"], BACKGROUND)
    near, far = classifier(made(["a", "b"], 2))
    assert (near.name, far.name) == ("a", None)
    assert classifier.confusion.accuracy is None


@pytest.mark.parametrize("more", [1, 2])
def test_another_example_that_is_much_the_same_takes_no_name_away(more: int) -> None:
    regions, few = made(["a"] * 60, 20, 1.0), made(["a"] * (1 + more), 1, 1.0)
    drawn = [few.blocks[name][:1] + 0.05 * few.blocks[name] for name in WIDTHS]
    alike = Descriptions(dict(zip(WIDTHS, drawn, strict=True)))
    known = [
        [naming.name is not None for naming in classifier(regions)]
        for classifier in (
            Classifier.fit(alike.take(range(count)), ["a"] * count, BACKGROUND, groups=[0] * count)
            for count in (1, 1 + more)
        )
    ]
    assert sum(known[0]) > 50
    assert all(after for before, after in zip(*known, strict=True) if before)


def test_each_name_ends_by_itself() -> None:
    parts = made(["a"] * 6, 1, 0.2), made(["b"] * 6, 1, 1.2)
    classifier = Classifier.fit(Descriptions.joined(parts), ["a"] * 6 + ["b"] * 6, BACKGROUND)
    assert 0 < classifier.limits["a"] < classifier.limits["b"] < 1


def test_nothing_at_hand_but_the_example_itself() -> None:
    example = made(["a"], 1)
    classifier = Classifier.fit(example, ["a"], example.take([]))
    [same] = classifier(example)
    assert same.name == "a"
    assert classifier(example.take([])) == []


@settings(max_examples=15)
@given(st.permutations(range(12)))
def test_the_order_of_examples_does_not_matter(order: list[int]) -> None:
    names = KINDS * 4
    examples, groups = made(names, 1), [row // 5 for row in range(12)]
    regions = made(KINDS * 3, 4, 0.8)
    first = Classifier.fit(examples, names, BACKGROUND, groups=groups)
    again = Classifier.fit(
        examples.take(order),
        [names[row] for row in order],
        BACKGROUND.take(list(reversed(range(len(BACKGROUND))))),
        groups=[groups[row] for row in order],
    )
    assert (again.weights, again.rule, again.limits) == (first.weights, first.rule, first.limits)
    for before, after in zip(first(regions), again(regions), strict=True):
        assert (before.name, before.score) == (after.name, after.score)
        assert order[after.example] == before.example


def test_regions_are_named_each_by_itself() -> None:
    names = KINDS * 3
    classifier = Classifier.fit(made(names, 1), names, BACKGROUND)
    regions = made(KINDS * 2, 5)
    alone = [classifier(regions.take([row]))[0] for row in range(len(regions))]
    together = classifier(regions)
    assert [naming.name for naming in alone] == [naming.name for naming in together]
    scores = [[naming.score for naming in namings] for namings in (alone, together)]
    np.testing.assert_allclose(*scores, rtol=1e-4)


def test_examples_left_out_show_what_is_taken_for_what() -> None:
    names = ["a"] * 5 + ["b"] * 5
    regions = made(["a"] * 4 + ["b"] * 6, 1)  # one of them is called what it is not
    confusion = Classifier.fit(regions, names, BACKGROUND).confusion
    assert confusion.counts["b"] == {"b": 5}
    assert confusion.counts["a"] == {"a": 4, "b": 1}
    assert confusion.sentences() == ["a taken for b 1 of 5"]
    assert confusion.accuracy == pytest.approx(0.9)
    assert Confusion({"a": {}}).accuracy is None


def test_thousands_of_examples_say_the_same_as_few() -> None:
    names = KINDS * 1000
    classifier = Classifier.fit(made(names, 1), names, BACKGROUND)
    assert [naming.name for naming in classifier(made(KINDS, 2))] == KINDS
    assert [naming.name for naming in classifier(made(["q", "r"], 3))] == [None, None]


@pytest.mark.parametrize(("count", "each"), [(500, 1), (60, 4)])
def test_hundreds_of_names_are_told_apart(count: int, each: int) -> None:
    names = [chr(0x4E00 + number) for number in range(count)] * each
    classifier = Classifier.fit(made(names, 1), names, BACKGROUND)
    wanted = names[: count : count // 10]
    assert [naming.closest for naming in classifier(made(wanted, 2))] == wanted
    assert len(classifier.names) == count


def test_the_same_example_with_two_names_is_a_toss_up() -> None:
    twice = made(["a", "a", "b"], 1, 0.0)
    classifier = Classifier.fit(twice, ["one", "two", "b"], BACKGROUND)
    [naming] = classifier(twice.take([0]))
    assert naming.closest in ("one", "two")
    assert naming.score <= 0.5


def test_in_photographs_a_name_is_likelier_right_than_wrong() -> None:
    twice = made(["a", "a", "b"], 1, 0.0)
    names = ["one", "two", "b"]
    for photograph, has_name in ((0.0, True), (1.0, False)):
        classifier = Classifier.fit(twice, names, BACKGROUND, photograph=photograph)
        doubtful, sure = classifier(twice.take([0, 2]))
        assert (doubtful.name is not None) == has_name
        assert sure.name == "b"


def test_what_the_model_says_of_a_name_counts_beside_examples() -> None:
    classifier = Classifier.fit(made(KINDS, 1), KINDS, BACKGROUND, photograph=1.0)
    regions = made([*KINDS, "q"], 2)
    plain = classifier(regions)
    unknown = np.full((4, 3), np.nan)
    known = [naming.name for naming in classifier(regions, unknown)]
    assert known == [naming.name for naming in plain]
    assert known[:3] == KINDS
    # It would have said so, had it been one of them.
    refused = classifier(regions, np.zeros((4, 3)))
    assert [naming.name for naming in refused] == [None] * 4
    scores = []
    for said in (0.0, 0.01, 0.1, 0.9):
        naming = classifier(regions, np.where(np.eye(4, 3, dtype=bool), said, 0.0))[0]
        assert naming.closest == "a"
        scores.append(naming.score)
    assert scores == sorted(scores)
    assert scores[-1] > 0.9
    # A name that it does not know goes by the examples, beside others that it knows.
    mixed = np.array([[np.nan, 0.001, 0.001]] * 4)
    assert [naming.name for naming in classifier(regions, mixed)] == ["a", None, None, None]
    assert plain[0].example == refused[0].example
