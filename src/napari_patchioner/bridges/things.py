"""What a whole picture shows: its windows named, and what is mentioned of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.checkpoints import own_file_damaged, read_own_arrays
from napari_patchioner.decoders import Thing
from napari_patchioner.devices import product
from napari_patchioner.regions import PatchWeights

from .around import AROUND, AROUND_FEATURES, RELATIONS, around_features

FloatArray: TypeAlias = npt.NDArray[np.float32]

# Side of the windows as a share of the picture's, and how many are laid each way.
SCALES = ((1.0, 1), (0.6, 3), (0.35, 5), (0.2, 7))
# Which of the windows is the middle of the picture, of the largest size but the whole.
MIDDLE = 5
# What `ThingHead` reads of a concept; see `thing_features`.
FEATURES = len(SCALES) + 7 + 2 * SCALES[-1][1] + 2
# Windows inside a region, as shares of its sides, and what is read of a concept beside the first.
INSIDE = ((0.55, 2), (0.4, 3))
BESIDE_FEATURES = 5
# A region of fewer patches has no parts; a window needs this share of it inside the region.
FEWEST, COVERED = 16, 0.3
# A concept that no window gives this much is not considered.
CONSIDERED = 0.12
# One that no window in a region gives this much is not beside the first.
BESIDE = 0.15
# Things that evidence lists at most.
LISTED = 12
# Nearly all of the photographs that the regressions were fitted to show people: a person that no
# window gives this much is not there. A head that no region was shown to is less plain about all.
PERSON_PLAIN, PERSON_LIKELY = 0.75, 0.36
# The head was fitted to photographs in which nearly everything is one of its names, so it takes a
# lobster for a zebra. What ImageNet's own classifier finds of a thing is read beside that: the
# logarithm of its largest probability in a window over one that speaks neither for nor against it.
_TRACE, _EVEN = 1e-3, 0.05
# Windows at least this probable, apart from each other, count as one thing each.
_COUNTED = 0.6
# Members of a set show one thing twice where they share more than this of the smaller one.
_TWICE = 0.5
# Share of the best window's probability with which another one belongs to the same thing.
_SAME = 0.6
_CENTRAL = 0.18
_EPSILON = 2e-3


def _nothing() -> FloatArray:
    """Return no numbers."""
    return np.zeros(0, np.float32)


def window_places() -> FloatArray:
    """Return ``(top, left, bottom, right)`` of every window, shape (84, 4), from 0 to 1.

    >>> window_places().shape, window_places()[0].tolist()
    ((84, 4), [0.0, 0.0, 1.0, 1.0])
    """
    return _places().copy()


@lru_cache(maxsize=1)
def _places() -> FloatArray:
    places = []
    for side, steps in SCALES:
        starts = np.linspace(0, 1 - side, steps)
        places += [(top, left, top + side, left + side) for top in starts for left in starts]
    return np.array(places, np.float32)


def _sizes() -> list[slice]:
    """Windows of each size, the largest first."""
    ends = np.cumsum([0, *(steps**2 for _, steps in SCALES)]).tolist()
    return [slice(start, end) for start, end in pairwise(ends)]


def pool_windows(cells: FloatArray, scales: Sequence[tuple[float, int]] = SCALES) -> FloatArray:
    """Mean of a grid, shape (rows, columns, dim), in every window, shape (84, dim).

    Other windows than those of ``SCALES`` are given likewise. First down, then across: a few strips
    serve all windows of a size.
    """
    rows, columns, dim = cells.shape
    down = np.concatenate([_shares(side, steps, rows) for side, steps in scales])
    strips = product(down, cells.reshape(rows, -1)).reshape(-1, columns, dim)
    means, first = [], 0
    for side, steps in scales:
        across = _shares(side, steps, columns)
        means.append(product(across, strips[first : first + steps]).reshape(-1, dim))
        first += steps
    return np.concatenate(means)


@lru_cache(maxsize=64)
def _shares(side: float, steps: int, cells: int) -> FloatArray:
    """Return what each of ``cells`` counts in windows along one side; rows sum to one."""
    starts = np.linspace(0, 1 - side, steps)[:, None]
    edges = np.linspace(0, 1, cells + 1)
    inside = np.minimum(starts + side, edges[1:]) - np.maximum(starts, edges[:-1])
    shares = np.clip(inside, 0, None)
    return np.asarray(shares / shares.sum(1, keepdims=True), np.float32)


def pool_inside(cells: FloatArray, region: PatchWeights) -> FloatArray:
    """Mean of a grid in windows inside a region, shape (n, dim), first of the whole region.

    Windows that hardly hold any of it are left out.
    """
    weights = region.dense().astype(np.float32)
    rows, columns = (np.flatnonzero(weights.any(axis)) for axis in (1, 0))
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    weights = weights[part][..., None]
    scales = ((1.0, 1), *INSIDE)
    covered = pool_windows(weights, scales)
    sums = pool_windows(cells[part] * weights, scales)
    kept = covered[:, 0] >= min(COVERED * weights.max(), covered[0, 0])
    return np.asarray(sums[kept] / covered[kept])


def beside_features(windows: FloatArray) -> FloatArray:
    """Say how the windows in a region support each concept, shape (concepts, BESIDE_FEATURES).

    Of probabilities (1 + n, concepts), the first row of the region itself: the largest of the
    windows, their two largest together, their mean and that of the region as log-odds, and the
    share of windows in which the concept comes first.
    """
    own, inside = windows[0], windows[1:]
    largest = np.sort(inside, axis=0)[::-1][:2].mean(0)
    is_first = inside.argmax(1)[:, None] == np.arange(windows.shape[1])
    odds = [_log_odds(chance) for chance in (inside.max(0), largest, inside.mean(0), own)]
    return np.stack([*odds, is_first.mean(0)], axis=1).astype(np.float32)


def _log_odds(chances: FloatArray) -> FloatArray:
    return np.asarray(np.log(chances + _EPSILON) - np.log(1 - chances + _EPSILON), np.float32)


def thing_features(windows: FloatArray) -> FloatArray:
    """Say how the windows support each concept, shape (concepts, FEATURES).

    Of the probabilities in the windows, (84, concepts): the largest at every size, the means at the
    two smaller sizes and the largest near the middle, as log-odds, and the shares of windows of the
    two smaller sizes in which the concept comes first, and in how many windows apart from each
    other it is likely; means in every row and column of the smallest windows, and how far it is
    spread over them down and across.
    """
    places = _places()
    middle = (places[:, :2] + places[:, 2:]) / 2
    central = np.exp(-((middle - 0.5) ** 2).sum(1) / _CENTRAL)[:, None]
    sizes = _sizes()
    medium, small = sizes[-2:]
    chances = [
        *(windows[size].max(0) for size in sizes),
        windows[medium].mean(0),
        windows[small].mean(0),
        (windows[small] * central[small]).max(0),
    ]
    odds = [_log_odds(chance) for chance in chances]
    is_first = windows.argmax(1)[:, None] == np.arange(windows.shape[1])
    shares = [is_first[medium].mean(0), is_first[small].mean(0)]
    counts = [
        [_count(column, places[size]) for column in windows[size].T] for size in (medium, small)
    ]
    steps = SCALES[-1][1]
    layout = windows[small].reshape(steps, steps, -1)
    lines = [*layout.mean(1), *layout.mean(0)]
    weights = windows[small] ** 2 + _EPSILON
    centres = middle[small][..., None]
    mean = (weights[:, None] * centres).sum(0) / weights.sum(0)
    spread = np.sqrt((weights[:, None] * (centres - mean) ** 2).sum(0) / weights.sum(0))
    features = [*odds, *shares, *counts, *lines, *spread]
    return np.stack(features, axis=1).astype(np.float32)


def known_features(
    windows: FloatArray, has_class: npt.NDArray[np.bool_], groups: Sequence[Sequence[int]]
) -> FloatArray:
    """Say what another classifier finds of each concept in any window, shape (concepts,).

    ``windows`` (n, concepts) are its probabilities and ``has_class`` (concepts,) says what it can
    know of; the members of a group count as one. Zero where it knows nothing.
    """
    chances, knows = windows.copy(), has_class.copy()
    for members in groups:
        chances[:, members] = windows[:, members].sum(1, keepdims=True)
        knows[members] = has_class[members].any()
    odds = np.log(chances.max(0) + _TRACE) - np.log(_EVEN)
    return np.where(knows, odds, 0).astype(np.float32)


@dataclass(frozen=True, eq=False, slots=True)
class ThingHead:
    """Three logistic regressions: is a concept mentioned, is it shown, are there three or more.

    ``weights`` (FEATURES, 3) read `thing_features`, ``offsets`` (concepts, 3) are each concept's
    own: how readily people mention it, how often the windows are right about it and how often it
    comes in numbers; ``known_weights`` (3,), empty where that is not read, read `known_features`. A
    fourth, of ``beside_weights`` (BESIDE_FEATURES,) and ``beside_offsets``
    (concepts,), reads `beside_features`: is a concept in a region beside the first. One for each
    of `RELATIONS`, of ``around_weights`` (AROUND_FEATURES, 3) and ``around_offsets``
    (concepts, 3), reads `around_features`: is a region on, in front of or near a concept. The
    last four are empty where no region was ever labelled.
    """

    weights: FloatArray
    offsets: FloatArray
    known_weights: FloatArray = field(default_factory=_nothing)
    beside_weights: FloatArray = field(default_factory=_nothing)
    beside_offsets: FloatArray = field(default_factory=_nothing)
    around_weights: FloatArray = field(default_factory=_nothing)
    around_offsets: FloatArray = field(default_factory=_nothing)

    @property
    def knows_regions(self) -> bool:
        """Whether it can tell what is beside and around regions."""
        return self.beside_weights.size > 0

    def things(
        self,
        windows: FloatArray,
        names: Sequence[str],
        groups: Sequence[Sequence[int]],
        known: FloatArray | None = None,
    ) -> tuple[Thing, ...]:
        """Things that a picture shows, what is mentioned most readily first.

        ``windows`` (84, len(names)) are probabilities of what is in each; of every group of
        concepts that mean nearly the same only the most probable is a thing, with all of the
        group's share. ``known`` (len(names),) are `known_features`, of which a head without
        weights for them needs none.
        """
        windows = _merged(windows, groups)
        person = PERSON_PLAIN if self.knows_regions else PERSON_LIKELY
        needed = np.where(np.array(names) == "person", person, CONSIDERED)
        kept = np.flatnonzero(windows.max(0) >= needed)
        if not len(kept):
            return ()
        # What comes first in a window is at least so probable, so the others need no features.
        odds = thing_features(windows[:, kept]) @ self.weights + self.offsets[kept]
        if self.known_weights.size and known is not None:
            odds += np.outer(known[kept], self.known_weights)
        chances = 1 / (1 + np.exp(-odds))
        order = np.argsort(-chances[:, 0], kind="stable")[:LISTED]
        return tuple(
            Thing(
                name=names[kept[row]],
                probability=float(chances[row, 1]),
                mention=float(chances[row, 0]),
                place=_place(windows[:, kept[row]]),
                several=float(chances[row, 2]),
            )
            for row in order
        )

    def beside(
        self, windows: FloatArray, names: Sequence[str], groups: Sequence[Sequence[int]]
    ) -> tuple[Thing, ...]:
        """Things in a region beside its first, the likeliest first; windows as `pool_inside` has.

        ``windows`` (1 + n, len(names)) are probabilities; the groups are those of `things`.
        """
        windows = _merged(windows, groups)
        best = int(windows[0].argmax())
        kept = np.flatnonzero(windows[1:].max(0, initial=0.0) >= BESIDE)
        kept = kept[kept != best]
        if not len(kept):
            return ()
        odds = beside_features(windows)[kept] @ self.beside_weights + self.beside_offsets[kept]
        chances = 1 / (1 + np.exp(-odds))
        return tuple(
            Thing(names[kept[row]], float(chances[row]), float(chances[row]))
            for row in np.argsort(-chances, kind="stable")[:LISTED]
        )

    def around(
        self,
        parts: FloatArray,
        shown: npt.NDArray[np.bool_],
        windows: FloatArray,
        names: Sequence[str],
        groups: Sequence[Sequence[int]],
    ) -> tuple[Thing, ...]:
        """Things that a region is on, in front of or near, each relation by itself.

        ``parts`` (1 + len(PARTS), len(names)) are probabilities, first of the region itself, and
        ``shown`` says which parts there are, as `pool_around` has them; ``windows`` and the groups
        are those of `things`.
        """
        merged = _merged(np.concatenate([parts, windows]), groups)
        own, parts, windows = merged[0], merged[1 : len(parts)], merged[len(parts) :]
        kept = np.flatnonzero((parts * shown[:, None]).max(0) >= AROUND)
        kept = kept[kept != own.argmax()]
        if not len(kept):
            return ()
        features = around_features(own, parts, shown, windows)[kept]
        chances = 1 / (1 + np.exp(-(features @ self.around_weights + self.around_offsets[kept])))
        return tuple(
            Thing(names[concept], float(chance), float(chance), relation=relation)
            for concept, row in zip(kept, chances, strict=True)
            for relation, chance in zip(RELATIONS, row, strict=True)
        )


def things_of_members(
    names: Sequence[str],
    best: Sequence[int],
    scores: Sequence[float],
    members: Sequence[PatchWeights],
) -> tuple[Thing, ...]:
    """Things that the members of a region set show, the surest first.

    ``best`` are the concepts of the members among ``names``, ``scores`` how likely these are right.
    Members that show the same are one thing, as many as stand apart.
    """
    # However often a trace passes a patch, it takes it once.
    patches = [np.minimum(member.dense(), 1.0) for member in members]
    things = []
    for concept in dict.fromkeys(best):
        rows = [row for row, other in enumerate(best) if other == concept]
        rows.sort(key=lambda row: -members[row].total)
        apart: list[int] = []
        for row in rows:
            if not any(_shared(patches[row], patches[other]) > _TWICE for other in apart):
                apart.append(row)
        score = max(scores[row] for row in rows)
        place = _bounds(members[rows[0]])
        things.append(Thing(names[concept], score, score, place, number=len(apart)))
    return tuple(sorted(things, key=lambda thing: -thing.probability))


def _bounds(member: PatchWeights) -> tuple[float, float, float, float]:
    """Where a member lies, in shares of the picture."""
    rows, columns = member.grid_shape
    down, across = member.rows, member.columns
    return (
        float(down.min() / rows),
        float(across.min() / columns),
        float((down.max() + 1) / rows),
        float((across.max() + 1) / columns),
    )


def _shared(patches: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Share that two maps of patches have in common of the smaller one."""
    return float(np.minimum(patches, other).sum() / min(patches.sum(), other.sum()))


def _merged(windows: FloatArray, groups: Sequence[Sequence[int]]) -> FloatArray:
    """Give the share of a group of concepts to the most probable of all windows together."""
    windows = windows.copy()
    for members in groups:
        part = windows[:, members]
        windows[:, members] = 0
        windows[:, members[int(part.sum(0).argmax())]] = part.sum(1)
    return windows


def load_thing_head(path: Path, concepts: int) -> ThingHead:
    """Read it from a safetensors file; ModelError where that is damaged."""
    arrays = read_own_arrays(path)
    names = [part.name for part in fields(ThingHead)]
    if any(name not in arrays for name in names[:2]):
        raise own_file_damaged(path)
    head = ThingHead(**{name: arrays[name] for name in names if name in arrays})
    if head.known_weights.shape not in ((3,), (0,)):
        raise own_file_damaged(path)
    shapes = [getattr(head, name).shape for name in names if name != "known_weights"]
    expected: list[tuple[int, ...]] = [(FEATURES, 3), (concepts, 3)]
    of_regions = [(BESIDE_FEATURES,), (concepts,), (AROUND_FEATURES, 3), (concepts, 3)]
    if shapes not in ([*expected, *of_regions], [*expected, *[(0,)] * len(of_regions)]):
        raise own_file_damaged(path)
    return head


def _place(chances: FloatArray) -> tuple[float, float, float, float]:
    """Where a concept is: its best window, and those as probable that overlap it."""
    places = _places()
    # The whole picture says nothing of a place.
    best = 1 + int(chances[1:].argmax())
    size = next(size for size in _sizes() if size.start <= best < size.stop)
    near = places[size][
        (chances[size] >= _SAME * chances[best]) & _overlaps(places[size], places[best])
    ]
    top, left = near[:, :2].min(0)
    bottom, right = near[:, 2:].max(0)
    return float(top), float(left), float(bottom), float(right)


def _count(chances: FloatArray, places: FloatArray) -> int:
    """How many windows that share no ground are likely to show a concept."""
    left, number = chances.copy(), 0
    while left.max() >= _COUNTED:
        number += 1
        left[_overlaps(places, places[int(left.argmax())])] = 0
    return number


def _overlaps(places: FloatArray, place: FloatArray) -> npt.NDArray[np.bool_]:
    """Which windows share ground with another."""
    low = np.maximum(places[:, :2], place[:2])
    high = np.minimum(places[:, 2:], place[2:])
    return np.asarray((high - low > 1e-6).all(1))
