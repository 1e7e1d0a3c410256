from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_patchioner.annotations import Plane, Record
from napari_patchioner.annotations.project.records import Seen, SeenMask
from napari_patchioner.regions import Box
from napari_patchioner.teaching import Proposal
from napari_patchioner.viewer.session.proposals import Proposals, bounds_of, corners_of, is_area

NOTHING = corners_of(())


def proposals(count: int = 4, *, rejected=NOTHING, regions=NOTHING) -> Proposals:
    """Boxes of 10 x 10 pixels in a row, 20 apart, with scores 0.9, 0.8, ..."""
    boxes = [Box(0, 20 * place, 10, 20 * place + 10) for place in range(count)]
    of = [Proposal(box, 0.9 - 0.1 * place) for place, box in enumerate(boxes)]
    return Proposals(Plane(), ["a"], "cell", of, rejected, regions)


def numbers(items) -> list[int]:
    return [item.number for item in items]


def test_the_threshold_shows_and_hides():
    made = proposals(7)
    assert numbers(made.shown()) == [1, 2, 3, 4, 5]
    made.threshold = 0.75
    assert numbers(made.shown()) == [1, 2]
    assert len(made.open()) == 7


def test_what_is_rejected_stays_away_until_it_is_brought_back():
    made = proposals()
    assert made.leave_out([2, 2, 9], NOTHING)
    assert not made.leave_out([2], NOTHING)
    assert numbers(made.open()) == [1, 3, 4]
    # In the next search of the same it is left out from the start, though it moved a little.
    after = proposals(rejected=made.rejected + 1.0)
    assert numbers(after.open()) == [1, 3, 4]
    assert after.leave_out([], NOTHING)
    assert numbers(after.open()) == [1, 2, 3, 4]


def test_a_region_in_the_same_place_takes_a_proposal():
    made = proposals()
    lying_there = corners_of([Box(0, 22, 10, 32), Box(0, 46, 10, 56)])
    assert made.meet(lying_there, {"b"})
    assert numbers(made.open()) == [1, 3, 4]
    assert not made.meet(lying_there, {"b"})
    # Two that cover most of it together do, and one around all of them does not.
    around = [Box(0, 57, 10, 63), Box(0, 66, 10, 73), Box(-5, -5, 30, 90)]
    assert made.meet(corners_of(around), {"b"})
    assert numbers(made.open()) == [1, 2, 3]
    assert made.meet(NOTHING, set())
    assert numbers(made.open()) == [1, 2, 3, 4]


def test_what_is_no_region_yet_is_numbered_from_1():
    example = corners_of([Box(0, 0, 10, 10)])
    made = proposals(3, regions=example)
    assert [(item.number, item.box.left) for item in made.open()] == [(1, 20), (2, 40)]
    assert made.meet(NOTHING, set())
    # The likeliest first, whatever its number is
    assert [(item.number, item.box.left) for item in made.open()] == [(3, 0), (1, 20), (2, 40)]


def test_what_was_accepted_is_open_again_where_its_region_is_gone():
    made = proposals()
    made.accept({3: "new"})
    assert numbers(made.open()) == [1, 2, 4]
    assert not made.meet(NOTHING, {"new"})
    assert made.accepted == ("new",)
    # Moved elsewhere, it still is what has become of the proposal.
    assert numbers(made.chosen([3, 4])) == [4]
    assert made.meet(NOTHING, set())
    assert (made.accepted, numbers(made.open())) == ((), [1, 2, 3, 4])
    # And none any more where Redo has brought it back.
    assert made.meet(NOTHING, {"new"})
    assert (made.accepted, numbers(made.open())) == (("new",), [1, 2, 4])


def test_a_click_meets_the_smallest_box_that_is_shown():
    of = [Proposal(Box(0, 0, 50, 50), 0.9), Proposal(Box(10, 10, 20, 20), 0.8)]
    made = Proposals(Plane(), ["a"], "", of, NOTHING, NOTHING)
    assert [made.at(15, 15), made.at(40, 40), made.at(60, 60)] == [2, 1, 0]
    made.threshold = 0.85
    assert made.at(15, 15) == 1


@given(
    scores=st.lists(st.floats(0, 1), max_size=8),
    least=st.floats(0, 1),
    rejected=st.sets(st.integers(1, 9)),
)
def test_what_is_shown_is_open_and_scores_enough(scores, least, rejected):
    of = [Proposal(Box(0, 20 * i, 10, 20 * i + 10), s) for i, s in enumerate(scores)]
    made = Proposals(Plane(), ["a"], "", of, NOTHING, NOTHING)
    made.threshold = least
    assert made.leave_out(rejected, NOTHING) == bool(rejected & set(range(1, len(of) + 1)))
    shown, left = made.shown(), made.open()
    assert set(numbers(shown)) <= set(numbers(left))
    assert set(numbers(left)) == set(range(1, len(of) + 1)) - rejected
    assert all((item.score >= least) == (item in shown) for item in left)
    assert len(made.rejected) == len(of) - len(left)


def test_bounds_are_those_of_pixels():
    box = Seen("rectangle", np.array([(0, -0.5, -0.5), (0, -0.5, 3.5), (0, 1.5, 3.5)]))
    mask = SeenMask.of(np.ones((2, 4), bool), np.array([5.0, 0, 0]), (1, 2), 1)
    assert bounds_of([box, mask], (1, 2)).tolist() == [[0, 0, 2, 4], [0, 0, 2, 4]]
    assert bounds_of([], (0, 1)).shape == (0, 4)
    kinds = {kind: is_area(Record("a", seen=Seen(kind, box.vertices))) for kind in KINDS}
    assert kinds == KINDS
    assert not is_area(Record("a", plane=Plane()))


KINDS = {"rectangle": True, "ellipse": True, "polygon": True, "path": False, "line": False}
KINDS |= {"point": False}
