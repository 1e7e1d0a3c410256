"""What a whole picture shows: its windows named, and what is mentioned of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.checkpoints import own_file_damaged, read_own_arrays
from napari_patchioner.decoders import Thing

FloatArray: TypeAlias = npt.NDArray[np.float32]

# Side of the windows as a share of the picture's, and how many are laid each way.
SCALES = ((1.0, 1), (0.6, 3), (0.35, 5), (0.2, 7))
# What `ThingHead` reads of a concept; see `thing_features`.
FEATURES = len(SCALES) + 7
# A concept that no window gives this much is not considered.
CONSIDERED = 0.12
# Things that evidence lists at most.
LISTED = 12
# Windows at least this probable, apart from each other, count as one thing each.
_COUNTED = 0.6
# Share of the best window's probability with which another one belongs to the same thing.
_SAME = 0.6
_CENTRAL = 0.18
_EPSILON = 2e-3


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


def pool_windows(cells: FloatArray) -> FloatArray:
    """Mean of a grid, shape (rows, columns, dim), in every window, shape (84, dim).

    First down, then across: a few strips serve all windows of a size.
    """
    rows, columns, dim = cells.shape
    down = np.concatenate([_shares(side, steps, rows) for side, steps in SCALES])
    strips = (down @ cells.reshape(rows, -1)).reshape(-1, columns, dim)
    means, first = [], 0
    for side, steps in SCALES:
        across = _shares(side, steps, columns)
        means.append((across @ strips[first : first + steps]).reshape(-1, dim))
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


def thing_features(windows: FloatArray) -> FloatArray:
    """Say how the windows support each concept, shape (concepts, FEATURES).

    Of the probabilities in the windows, (84, concepts): the largest at every size, the means at the
    two smaller sizes and the largest near the middle, as log-odds, and the shares of windows of the
    two smaller sizes in which the concept comes first, and in how many windows apart from each
    other it is likely.
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
    odds = [np.log(chance + _EPSILON) - np.log(1 - chance + _EPSILON) for chance in chances]
    is_first = windows.argmax(1)[:, None] == np.arange(windows.shape[1])
    shares = [is_first[medium].mean(0), is_first[small].mean(0)]
    counts = [
        [_count(column, places[size]) for column in windows[size].T] for size in (medium, small)
    ]
    return np.stack([*odds, *shares, *counts], axis=1).astype(np.float32)


@dataclass(frozen=True, eq=False, slots=True)
class ThingHead:
    """Three logistic regressions: is a concept mentioned, is it shown, are there three or more.

    ``weights`` (FEATURES, 3) read `thing_features`, ``offsets`` (concepts, 3) are each concept's
    own: how readily people mention it, how often the windows are right about it and how often it
    comes in numbers.
    """

    weights: FloatArray
    offsets: FloatArray

    def things(
        self, windows: FloatArray, names: Sequence[str], groups: Sequence[Sequence[int]]
    ) -> tuple[Thing, ...]:
        """Things that a picture shows, what is mentioned most readily first.

        ``windows`` (84, len(names)) are probabilities of what is in each; of every group of
        concepts that mean nearly the same only the most probable is a thing, with all of the
        group's share.
        """
        windows = windows.copy()
        for members in groups:
            part = windows[:, members]
            windows[:, members] = 0
            windows[:, members[int(part.sum(0).argmax())]] = part.sum(1)
        kept = np.flatnonzero(windows.max(0) >= CONSIDERED)
        # What comes first in a window is at least so probable, so the others need no features.
        odds = thing_features(windows[:, kept]) @ self.weights + self.offsets[kept]
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


def load_thing_head(path: Path, concepts: int) -> ThingHead:
    """Read it from a safetensors file; ModelError where that is damaged."""
    arrays = read_own_arrays(path)
    names = [field.name for field in fields(ThingHead)]
    if any(name not in arrays for name in names):
        raise own_file_damaged(path)
    head = ThingHead(**{name: arrays[name] for name in names})
    if head.weights.shape != (FEATURES, 3) or head.offsets.shape != (concepts, 3):
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
