"""What was found or proposed on an image: which of it is shown, accepted and rejected.

Knows no Qt, napari or model.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import shapely

from napari_patchioner.annotations import Plane, Record
from napari_patchioner.annotations.project.records import Seen, SeenMask
from napari_patchioner.decoders import Caption
from napari_patchioner.regions import Box
from napari_patchioner.teaching import Proposal, overlap
from napari_patchioner.teaching.find import areas_of, common_areas
from napari_patchioner.teaching.measures import Boxes

FloatArray: TypeAlias = npt.NDArray[np.float64]

THRESHOLD = 0.5
"""The score from which the method itself takes something for the thing."""

PHRASE_THRESHOLD = 0.1
"""The same for a phrase: who asks where something is on an image mostly sees that it is there."""

SAME = 0.55
"""A box shows what regions show by which more than this share of it is covered.

Or one region with which it shares as much of their union."""

# Regions of another size, so many times as large or small, show something else.
_ALIKE = 3.0
# The same of what has an outline, of which others may lie in the same box.
SAME_OUTLINED, _ALIKE_OUTLINED = 0.85, 1.3

# Shapes that enclose pixels, as napari calls them, and painted labels.
_AREAS = ("rectangle", "ellipse", "polygon", "label")


@dataclass(frozen=True, slots=True)
class Outlined(Proposal):
    """A region that is proposed by its outline, shape (n, 2), with the box around it."""

    outline: FloatArray = field(compare=False)


@dataclass(frozen=True, slots=True)
class Proposed:
    """One proposal, by the number it keeps: 1 for the likeliest that was no region yet.

    Its outline, shape (n, 2), and what the model says of it, where it is more than a box; its text
    is that, or which of several things it is that were looked for.
    """

    number: int
    box: Box
    score: float
    outline: FloatArray | None = field(default=None, compare=False)
    caption: Caption | None = field(default=None, compare=False)
    text: str = ""

    @property
    def area(self) -> float:
        """How many pixels it encloses."""
        if self.outline is not None:
            return float(shapely.Polygon(self.outline).area)
        return (self.box.bottom - self.box.top) * (self.box.right - self.box.left)

    def holds(self, row: float, column: float) -> bool:
        """Whether a pixel lies in it."""
        box = self.box
        in_box = box.top <= row <= box.bottom and box.left <= column <= box.right
        if self.outline is None or not in_box:
            return in_box
        # Where it is gone around an odd number of times: not in its holes
        starts, ends = self.outline, np.roll(self.outline, -1, axis=0)
        crossed = (starts[:, 0] <= row) != (ends[:, 0] <= row)
        (down, along), (down_to, along_to) = starts[crossed].T, ends[crossed].T
        meets = along + (row - down) / (down_to - down) * (along_to - along)
        return bool(np.count_nonzero(meets > column) % 2)


class Proposals:
    """The proposals on one plane, the likeliest first.

    Parameters
    ----------
    plane : Plane
        Where they lie.
    examples : sequence of str
        Uids of the regions they are like.
    name : str
        What people call the examples; empty where they do not, or not all the same.
    proposals : sequence of Proposal
        The likeliest first.
    rejected : ndarray, shape (n, 4)
        Corners of boxes, see `corners_of`, that were rejected before and do not come back.
    regions : ndarray, shape (n, 4)
        Corners of the regions there are.
    one_by_one : bool
        Whether a region takes the place of a proposal only where both are much the same box, as
        where things of any size are looked for; else several regions on it together do as well.
    """

    def __init__(
        self,
        plane: Plane,
        examples: Sequence[str],
        name: str,
        proposals: Sequence[Proposal],
        rejected: Boxes,
        regions: Boxes,
        *,
        one_by_one: bool = False,
    ) -> None:
        self.plane, self.examples, self.name = plane, tuple(examples), name
        self.threshold = THRESHOLD
        self._one_by_one = one_by_one
        self._accepted: dict[int, str] = {}
        # Of the accepted, those that are regions no more, because of Undo for instance
        self._withdrawn: frozenset[int] = frozenset()
        self._corners = corners_of(proposal.box for proposal in proposals)
        self._are_boxes = not any(isinstance(proposal, Outlined) for proposal in proposals)
        taken = self._covered_by(regions)
        # Regions are mostly the examples themselves: the numbers of others begin with 1.
        order = sorted(range(len(proposals)), key=lambda row: row + 1 in taken)
        self._corners = self._corners[order]
        self._items = [
            _proposed(number, proposals[row]) for number, row in enumerate(order, start=1)
        ]
        self._numbers = {row: number for number, row in enumerate(order, start=1)}
        self._rejected = self._covered_by(rejected)
        # Where a person's region lies already
        self._taken = frozenset(self._covered_by(regions))

    def open(self) -> list[Proposed]:
        """Return what is neither accepted nor rejected, and no region yet, the likeliest first."""
        closed = self._rejected | self._taken | (self._accepted.keys() - self._withdrawn)
        items = (item for item in self._items if item.number not in closed)
        return sorted(items, key=lambda item: -item.score)

    def shown(self) -> list[Proposed]:
        """Return what of it scores as much as the threshold."""
        return [item for item in self.open() if item.score >= self.threshold]

    def are_taken(self) -> bool:
        """Whether what scores as much as the threshold is a region, accepted or rejected."""
        scores = [item.score for item in self._items]
        return max(scores, default=0.0) >= self.threshold

    def chosen(self, numbers: Iterable[int]) -> list[Proposed]:
        """Return those of some numbers that are still open."""
        wanted = set(numbers)
        return [item for item in self.open() if item.number in wanted]

    def at(self, row: float, column: float) -> int:
        """Return the number of what is shown at a pixel, the smallest box there; 0 for none."""
        around = [item for item in self.shown() if item.holds(row, column)]
        return min(around, key=lambda item: item.area).number if around else 0

    def say(self, captions: Mapping[int, Caption]) -> None:
        """Take what the model says of proposals, by their places among those that were given."""
        for place, caption in captions.items():
            index = self._numbers[place] - 1
            self._items[index] = replace(self._items[index], caption=caption, text=caption.text)

    def accept(self, uids: Mapping[int, str]) -> None:
        """Note which regions proposals have become."""
        self._accepted |= uids
        self._withdrawn -= uids.keys()

    @property
    def accepted(self) -> tuple[str, ...]:
        """Uids of the regions that proposals have become, and that are there."""
        return tuple(uid for n, uid in self._accepted.items() if n not in self._withdrawn)

    @property
    def rejected(self) -> Boxes:
        """Corners of what was rejected, shape (n, 4)."""
        return self.corners(self._rejected)

    def corners(self, numbers: Iterable[int]) -> Boxes:
        """Return the corners of some proposals, by their numbers, shape (n, 4)."""
        return self._corners[[number - 1 for number in sorted(numbers)]]

    def leave_out(self, numbers: Iterable[int], boxes: Boxes) -> bool:
        """Let just these be rejected, and what shows the same as boxes; whether that is new."""
        known = set(self._numbers.values())
        rejected = self._covered_by(boxes).union(known & set(numbers))
        changed, self._rejected = rejected != self._rejected, rejected
        return changed

    def meet(self, regions: Boxes, uids: Collection[str]) -> bool:
        """Take note of the regions there are, by corners and uids; whether that changes anything.

        What was accepted and is a region no more is open again, until Redo brings that back.
        """
        taken = frozenset(self._covered_by(regions))
        withdrawn = frozenset(n for n, uid in self._accepted.items() if uid not in uids)
        changed = (taken, withdrawn) != (self._taken, self._withdrawn)
        self._taken, self._withdrawn = taken, withdrawn
        return changed

    def _covered_by(self, boxes: Boxes) -> set[int]:
        """Return the numbers of what shows the same as one of some boxes."""
        areas, covered = areas_of(boxes), set()
        for number, corners in enumerate(self._corners, start=1):
            if self._one_by_one:
                if (overlap(corners, boxes) > SAME).any():
                    covered.add(number)
                continue
            [area] = areas_of(corners[None])
            times, same = (_ALIKE, SAME) if self._are_boxes else (_ALIKE_OUTLINED, SAME_OUTLINED)
            alike = (areas < times * area) & (areas > area / times)
            if common_areas(corners, boxes[alike]).sum() > same * area:
                covered.add(number)
        return covered


@dataclass(frozen=True, eq=False, slots=True)
class Rejection:
    """What a person has left out of proposals: no other example of what they were asked for."""

    proposals: Proposals
    numbers: frozenset[int]
    # Whether regions were proposed, and no examples or phrase looked for
    proposed: bool = False

    @property
    def corners(self) -> Boxes:
        """Corners of what it is about, shape (n, 4)."""
        return self.proposals.corners(self.numbers)

    def is_about(self, plane: Plane, name: str, examples: Iterable[str], *, proposed: bool) -> bool:
        """Whether a search on a plane is for the same thing as the one it was made in."""
        before = self.proposals
        if plane != before.plane or proposed or self.proposed:
            return plane == before.plane and proposed and self.proposed
        same_name = bool(name) and name == before.name
        return same_name or not {*before.examples, *before.accepted}.isdisjoint(examples)


def _proposed(number: int, proposal: Proposal) -> Proposed:
    outline = proposal.outline if isinstance(proposal, Outlined) else None
    return Proposed(number, proposal.box, proposal.score, outline, text=proposal.text)


def corners_of(boxes: Iterable[Box]) -> Boxes:
    """Return the corners of boxes, shape (n, 4), pixel corners at integers."""
    return np.array([astuple(box) for box in boxes], float).reshape(-1, 4) + 0.5


def is_area(record: Record) -> bool:
    """Whether a record is one shape that encloses pixels."""
    return record.seen is not None and record.seen.shape_type in _AREAS


def bounds_of(shapes: Iterable[Seen], axes: tuple[int, int]) -> Boxes:
    """Return the boxes around shapes, shape (n, 4), along two axes; pixel corners at integers."""
    boxes = []
    for seen in shapes:
        vertices = seen.vertices[:, list(axes)]
        half = 0.5 if isinstance(seen, SeenMask) else 0.0
        low, high = vertices.min(axis=0) - half, vertices.max(axis=0) + half
        boxes.append(np.concatenate([low, high]) + 0.5)
    return np.array(boxes, float).reshape(-1, 4)
