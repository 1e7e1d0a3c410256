"""Find more like this: boxes over an image that show what a few examples show."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from napari_patchioner.errors import ImageError, RegionError
from napari_patchioner.progress import Progress, no_progress
from napari_patchioner.regions import Box, Region

from .classifier import Likeness
from .describe import Descriptions, ImageMeasures, box_of, describe
from .measures import (
    AROUND,
    CELLS,
    PLANES,
    PROFILE,
    RINGS,
    SIDE,
    Boxes,
    BoxMeans,
    FloatArray,
    ring_profile,
    ring_shares,
)

if TYPE_CHECKING:
    from napari_patchioner.captioner import Captioner
    from napari_patchioner.grids import FeatureGrid

Scores: TypeAlias = npt.NDArray[np.float64]

LONGEST = 2048
"""Long side, in pixels, of the largest image that is searched."""
HEAT_CELLS = 512
"""Cells of a heat map along a side, at most."""

# Steps, in sides of an example, onto what is still the thing and onto what no longer is.
_NUDGES = [(down, across) for down in (-0.07, 0.0, 0.07) for across in (-0.07, 0.0, 0.07)]
_ON_THE_SPOT = len(_NUDGES) // 2
_FAR = (-0.6, -0.4, 0.0, 0.4, 0.6)
_SHIFTS = [(down, across) for down in _FAR for across in _FAR if down or across]
# Random cosines that let the rule curve, how wide they are, and what keeps weights small.
_COSINES, _WIDTH, _RIDGE = 300, 0.5, 0.1
# Windows of the examples' images, of all together.
_WINDOWS = 2500
# How much all examples count beside them: things take some of the area.
_SHARE = 0.05
# Peaks below this share of what one more thing would score are surely something else, and count
# so much more the second time.
_SURELY_NOT, _HARD, _MOST_HARD = 0.4, 4.0, 40
# One more thing scores this share of an example, before a second example shows it.
_UNSEEN = 0.6
# From one example, larger and smaller things are looked for as well, a little less gladly.
_OTHER_SIZE, _FADE = 1.4, 0.7
_MOST_WINDOWS, _LEAST_SIDE = 20_000, 4.0
# Windows of an image that are kept, some 200 bytes each.
_MOST_KEPT = 50_000
_OVERLAP, _MOST = 0.2, 300
# Peaks that non-maximum suppression goes through.
_MOST_PEAKS = 3000
# Windows that are scored at a time: each has hundreds of cosines.
_AT_ONCE = 2**15
# Likeness to the examples counts so much beside the root of the score, which tells little beyond
# what one more thing would get.
_ALIKE = 0.5
# What is found comes to this share of what one more thing would, and to so much more as that which
# is something else comes to in the same image: the quarter of the first peaks that comes to least
# ends there, or lower where things fill the image. And how gradual that is.
_FOUND, _ABOVE, _SOFT = 0.6, 0.75, 0.12
_LEAST_QUARTER, _FIRST_PEAKS, _MOST_ELSE = 0.25, 120, 0.5
# From one example, what one more thing would come to is a guess, which the best of an image mends;
# what comes to more is the example itself.
_MENDED, _BEST = 0.15, (0.8, 1.5)
# Where more than a few peaks come as close to the limit as this and take a good share of the image,
# of which such a part counts as all, it shows many things, which differ more than one example
# tells: the limit is lower by up to so much.
_CLOSE, _FEW, _FILLED, _LOWERED = 0.2, 3, 1 / 3, 0.2
# A box that shares more than this of the smaller of both with a likelier one shows part of the
# same thing.
_PART = 0.25
_MOST_LEFT_OUT = 12
_TINY = 1e-9
# Where no number of any window differs by more, all of the image looks the same.
_FLAT = 1e-2


@dataclass(frozen=True, slots=True)
class Proposal:
    """A box that may show the same thing, and how likely it does, 0 to 1.

    Of several things that were looked for at once, `text` says which.
    """

    box: Box
    score: float
    text: str = field(default="", kw_only=True)


@dataclass(frozen=True, eq=False, slots=True)
class Sample:
    """Examples in one image, which is encoded: its grid, its pixels, and regions of any kind."""

    grid: FeatureGrid
    measures: ImageMeasures
    regions: Sequence[Region]

    def boxes(self) -> Boxes:
        """Return the boxes around the regions, shape (n, 4), pixel corners at integers."""
        shape = self.measures.shape
        return np.stack([box_of(region, self.grid, shape) for region in self.regions])


class Finder:
    """Finds more of the same thing, from one example on; asked about any number of images.

    A window's ring profile, and random cosines of it, are regressed on 1 for the examples and on 0
    for all windows of their images and for windows beside the examples: most windows show something
    else, so nobody has to name them. What comes out best is compared with the examples once more,
    by its vector, rings and colours; how much of that it takes depends on what comes out of the
    rest of the same image. The same examples in the same order give the same proposals.

    Parameters
    ----------
    captioner : Captioner
        What encoded the images.
    samples : sequence of Sample
        At least one box in all of them; a RegionError otherwise. An image has no side longer than
        `LONGEST`; an ImageError otherwise, and where all images are blank.
    """

    def __init__(self, captioner: Captioner, samples: Sequence[Sample]) -> None:
        self._captioner = captioner
        samples = [sample for sample in samples if sample.regions]
        if not samples:
            raise RegionError("There is no example to look for: draw a box around one.")
        boxes = [sample.boxes() for sample in samples]
        images = [WindowedImage(sample.measures) for sample in samples]
        joined = np.concatenate(boxes)
        self._count = len(joined)
        self._size = np.exp(np.log(joined[:, 2:] - joined[:, :2]).mean(axis=0))
        share = _WINDOWS // len(images) + 1
        pool = np.concatenate([_thinned(image.windows(*self._size)[1], share) for image in images])
        if pool.std(axis=0).max() < _FLAT:
            raise ImageError(
                "the image looks the same everywhere, so that nothing can be found in it; choose "
                "examples in another image or channel"
            )
        # The more examples, the more the rule may curve.
        self._rule = _Rule(pool, 2 * self._count / (self._count + 1))
        pairs = list(zip(images, boxes, strict=True))
        near, beside = (
            np.concatenate([image.profiles(moved(some, steps)) for image, some in pairs])
            for steps in (_NUDGES, _SHIFTS)
        )
        self._rule.learn(near, beside, self._count)
        hard = []
        for image in images:
            corners, profiles = image.windows(*self._size)
            scores = self._rule(profiles)
            top = peaks(corners, scores, most=_MOST_HARD)
            hard.append(profiles[top[scores[top] < _SURELY_NOT * self._rule.expected]])
        self._rule.learn(near, beside, self._count, np.concatenate(hard))
        # Windows and scores of the image that was asked about last
        self._scores: list[tuple[Boxes, Scores]] = []
        self._scores_of: Callable[[], ImageMeasures | None] = _nothing
        examples, usual = [], []
        for sample, image in zip(samples, images, strict=True):
            examples.append(self._described(sample.grid, sample.measures, sample.regions))
            corners, _ = self._first(image, 40)
            usual.append(self._described(sample.grid, sample.measures, _as_boxes(corners)))
        self._likeness = Likeness(Descriptions.joined(examples), Descriptions.joined(usual))
        self._usual = 1.0 + _ALIKE * self._likeness.among_examples

    @property
    def size(self) -> tuple[float, float]:
        """``(height, width)`` of what is looked for, in pixels."""
        height, width = self._size.tolist()
        return height, width

    def find(
        self,
        grid: FeatureGrid,
        image: ImageMeasures,
        *,
        least: float = 0.5,
        progress: Progress | None = None,
    ) -> list[Proposal]:
        """Return boxes that are at least so likely to show the thing, the likeliest first.

        No two share more than a quarter of the smaller one; an ImageError where a side of the image
        is longer than `LONGEST`.
        """
        progress = progress or no_progress
        corners, scores = self._first(WindowedImage(image), _MOST)
        if not len(corners):
            return []
        progress(0.7, "comparing with the examples")
        boxes = _as_boxes(corners)
        roots = np.sqrt(np.maximum(scores, 0) / self._rule.expected)
        # As if nothing were closer: of peaks that even so are too unlikely no more has to be known.
        shares = (roots + _ALIKE) / self._usual

        def compare(rows: npt.NDArray[np.intp]) -> None:
            alike = self._likeness(self._described(grid, image, [boxes[row] for row in rows]))
            shares[rows] = (roots[rows] + _ALIKE * alike) / self._usual

        first = np.arange(min(_FIRST_PEAKS, len(boxes)))
        compare(first)
        limit = self._limit(shares[first], float(np.prod(image.shape) / np.prod(self._size)))
        hopeful = np.flatnonzero(_chances(shares, limit) >= least)
        if len(hopeful := hopeful[hopeful >= len(first)]):
            compare(hopeful)
        chances = _chances(shares, limit)
        likely = np.flatnonzero(chances >= least)
        order = likely[_apart(corners[likely], chances[likely])]
        progress(1.0, "done")
        return [Proposal(boxes[row], float(chances[row])) for row in order]

    def heat(self, image: ImageMeasures) -> FloatArray:
        """Return how much each place of an image looks like the middle of the thing.

        Cells of equal size that cover the image exactly, shape (rows, columns), about an eighth of
        an example high and wide, but no more than `HEAT_CELLS` along a side: 1 for what one more
        thing would score, 0 for what is surely something else. ImageErrors as in `find`.
        """
        counts = self.heat_shape(image.shape)
        heat = np.zeros(counts)
        for boxes, scores in self._scored(WindowedImage(image)):
            middles = [np.unique((boxes[:, axis] + boxes[:, axis + 2]) / 2) for axis in (0, 1)]
            shares = np.clip(scores / self._rule.expected, 0, 1)
            shares = shares.reshape([len(along) for along in middles])
            for axis, (along, end) in enumerate(zip(middles, image.shape, strict=True)):
                cells = (np.arange(counts[axis]) + 0.5) * end / counts[axis]
                shares = _interpolated(shares, along, cells, axis)
            heat = np.maximum(heat, shares)
        return heat.astype(np.float32)

    def heat_shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return rows and columns of the heat map of an image of this size."""
        counts = np.clip(np.round(np.array(shape) * CELLS / self._size), 1, HEAT_CELLS)
        rows, columns = np.minimum(counts, shape).astype(int).tolist()
        return rows, columns

    def _limit(self, shares: Scores, places: float) -> float:
        """Return where things end among the first peaks, in shares of what one more comes to.

        The image has room for so many things as there are ``places``.
        """
        other = np.quantile(shares, _LEAST_QUARTER).clip(0, _MOST_ELSE)
        limit = float(_FOUND + _ABOVE * other)
        if self._count == 1:
            others = shares[shares < _BEST[1]]
            limit += _MENDED * (float(others.max(initial=_BEST[0])) - 1)
            close = int((others > limit - _CLOSE).sum())
            filled = min(close / places / _FILLED, 1.0)
            limit -= _LOWERED * filled * max(close - _FEW, 0) / (close + 1)
        return limit

    def _described(
        self, grid: FeatureGrid, measures: ImageMeasures, regions: Sequence[Region]
    ) -> Descriptions:
        return describe(self._captioner, grid, measures, regions)

    def _first(self, image: WindowedImage, most: int) -> tuple[Boxes, Scores]:
        """Return the peaks among all windows of an image, and their scores."""
        corners, scores = [], []
        for windows, own in self._scored(image):
            boxes = np.clip(windows, 0, np.tile(image.shape, 2))
            top = peaks(boxes, own, most=most)
            corners.append(boxes[top])
            scores.append(own[top])
        boxes, own = np.concatenate(corners), np.concatenate(scores)
        top = peaks(boxes, own, most=most)
        return boxes[top], own[top]

    def _scored(self, image: WindowedImage) -> list[tuple[Boxes, Scores]]:
        """Return all windows of each size that is looked for, and their scores."""
        if self._scores_of() is image.measures:
            return self._scores
        scored = []
        for scale in (1.0,) if self._count > 1 else (1.0, _OTHER_SIZE, 1 / _OTHER_SIZE):
            sides = np.maximum(self._size * scale, _LEAST_SIDE)
            windows = np.prod(image.shape) * CELLS**2 / np.prod(sides)
            if scale < 1 and windows > _MOST_WINDOWS:
                continue
            boxes, profiles = image.windows(*sides)
            scored.append((boxes, self._rule(profiles) * (1.0 if scale == 1 else _FADE)))
        self._scores, self._scores_of = scored, weakref.ref(image.measures)
        return scored


class WindowedImage:
    """All windows of one size over an image, an eighth of it apart, and their ring profiles."""

    def __init__(self, measures: ImageMeasures) -> None:
        self.measures = measures
        self._means: BoxMeans = measures.whole(LONGEST)
        self.shape = measures.shape
        self._windows: tuple[tuple[float, float], Boxes, FloatArray] | None = None

    def profiles(self, boxes: Boxes) -> FloatArray:
        """Return the ring profiles of boxes, shape (n, PROFILE)."""
        return ring_profile(self._means.cells(boxes))

    def windows(self, height: float, width: float) -> tuple[Boxes, FloatArray]:
        """Return windows, shape (n, 4), and their ring profiles, shape (n, PROFILE).

        They reach half of their size beyond the image, which is mirrored there. Those of the size
        that was asked for first are kept, if they are not very many.
        """
        known = self._windows
        if known is not None and known[0] == (height, width):
            return known[1:]
        boxes, profiles = self._made(height, width)
        if known is None and len(boxes) <= _MOST_KEPT:
            self._windows = (height, width), boxes, profiles
        return boxes, profiles

    def _made(self, height: float, width: float) -> tuple[Boxes, FloatArray]:
        """Return the windows of a size and their profiles."""
        counts = [
            max(CELLS // 2, round(end * CELLS / side))
            for end, side in zip(self.shape, (height, width), strict=True)
        ]
        edges = [np.linspace(0, end, n + 1) for end, n in zip(self.shape, counts, strict=True)]
        cells = self._means.lattice(*edges)
        beyond = CELLS // 2 + AROUND - 1
        cells = np.pad(cells, ((beyond, beyond), (beyond, beyond), (0, 0)), "symmetric")
        view = np.lib.stride_tricks.sliding_window_view(cells, (SIDE, SIDE), (0, 1))
        down, across = view.shape[:2]
        profiles = np.empty((down * across, PROFILE), np.float32)
        for plane in range(PLANES):
            flat = view[:, :, plane].reshape(-1, SIDE * SIDE)
            means = flat @ ring_shares()
            profiles[:, plane * RINGS : (plane + 1) * RINGS] = means
            if plane < PROFILE // RINGS - PLANES:
                variance = (flat * flat) @ ring_shares() - means * means
                start = (PLANES + plane) * RINGS
                profiles[:, start : start + RINGS] = np.sqrt(np.maximum(variance, 0))
        rows = (np.arange(down) + AROUND - beyond) * self.shape[0] / counts[0]
        columns = (np.arange(across) + AROUND - beyond) * self.shape[1] / counts[1]
        first, second = (part.ravel() for part in np.meshgrid(rows, columns, indexing="ij"))
        return np.stack([first, second, first + height, second + width], axis=1), profiles


class _Rule:
    """Scores ring profiles: about 1 for the thing, 0 for anything else.

    ``pool``, shape (n, PROFILE), are windows that mostly show something else; ``amplitude`` is how
    much the rule may curve.
    """

    def __init__(self, pool: FloatArray, amplitude: float) -> None:
        self._mean, self._spread = pool.mean(axis=0), pool.std(axis=0) + np.float32(1e-3)
        self._amplitude = np.float32(amplitude)
        rng = np.random.default_rng(0)
        turns = rng.standard_normal((PROFILE, _COSINES)) * _WIDTH / np.sqrt(2 * PROFILE)
        self._turns = turns.astype(np.float32)
        self._phases = rng.uniform(0, 2 * np.pi, _COSINES).astype(np.float32)
        lifted = self._lifted(pool)
        self._ground = (lifted.T @ lifted / len(lifted)).astype(np.float64)
        self._weights = np.zeros(lifted.shape[1], np.float32)
        self.expected = 1.0

    def learn(
        self, near: FloatArray, beside: FloatArray, count: int, hard: FloatArray | None = None
    ) -> None:
        """Learn from windows on and beside so many examples, and some that are surely neither."""
        on, off = (
            self._lifted(part).reshape(count, -1, len(self._weights)) for part in (near, beside)
        )
        gram = self._ground
        if hard is not None and len(hard):
            lifted = self._lifted(hard)
            gram = gram + _SHARE * _HARD * (lifted.T @ lifted) / len(lifted)
        everyone = np.arange(count)
        self._weights = _solved(gram, on, off, everyone)
        own = float(np.median(on[:, _ON_THE_SPOT] @ self._weights))
        usual = _UNSEEN * own
        if count > 1:
            rest = [np.delete(everyone, row) for row in range(min(count, _MOST_LEFT_OUT))]
            scores = [(on[row] @ _solved(gram, on, off, r)).max() for row, r in enumerate(rest)]
            usual = float(np.mean(scores))
        self.expected = max(usual, 0.05 * abs(own) + 1e-6)

    def __call__(self, profiles: FloatArray) -> Scores:
        """Return the scores of windows, shape (n,)."""
        straight, bent = self._weights[:PROFILE], self._amplitude * self._weights[PROFILE:-1]
        scores = np.empty(len(profiles))
        for start in range(0, len(profiles), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            scaled = (profiles[some] - self._mean) / self._spread
            curved = np.cos(scaled @ self._turns + self._phases)
            scores[some] = scaled @ straight + curved @ bent + self._weights[-1]
        return scores

    def _lifted(self, profiles: FloatArray) -> FloatArray:
        """Return scaled profiles, their cosines and a one, shape (n, PROFILE + cosines + 1)."""
        scaled = (profiles - self._mean) / self._spread
        curved = self._amplitude * np.cos(scaled @ self._turns + self._phases)
        return np.concatenate([scaled, curved, np.ones((len(scaled), 1), np.float32)], axis=1)


def _solved(
    gram: Scores, on: FloatArray, off: FloatArray, rows: npt.NDArray[np.intp]
) -> FloatArray:
    """Return ridge weights that give 1 on some examples and 0 beside them and on the ground."""
    dim = len(gram)
    total = gram.copy()
    near, beside = (part[rows].reshape(-1, dim) for part in (on, off))
    for part in (near, beside):
        total += _SHARE * (part.T @ part) / len(part)
    total[np.arange(dim - 1), np.arange(dim - 1)] += _RIDGE
    return np.linalg.solve(total, _SHARE * near.mean(axis=0, dtype=np.float64)).astype(np.float32)


def moved(boxes: Boxes, steps: Sequence[tuple[float, float]]) -> Boxes:
    """Return each box moved by each step, in units of its sides, shape (n * steps, 4).

    >>> moved(np.array([[0.0, 0, 10, 20]]), [(0.5, 0), (0, 1)]).tolist()
    [[5.0, 0.0, 15.0, 20.0], [0.0, 20.0, 10.0, 40.0]]
    """
    by = (boxes[:, 2:] - boxes[:, :2])[:, None] * np.array(steps)[None]
    return np.asarray((boxes[:, None] + np.concatenate([by, by], axis=2)).reshape(-1, 4))


def overlap(box: Boxes, boxes: Boxes) -> Scores:
    """Return intersection over union of a box with others, shape (n,).

    >>> overlap(np.array([0.0, 0, 2, 2]), np.array([[0.0, 0, 2, 1], [5, 5, 6, 6]])).tolist()
    [0.5, 0.0]
    """
    common = common_areas(box, boxes)
    both = areas_of(box[None]) + areas_of(boxes) - common
    return np.asarray(common / np.maximum(both, _TINY))


def common_areas(box: Boxes, boxes: Boxes) -> Scores:
    """Return the area that a box shares with each of others."""
    top, left, bottom, right = boxes.T
    down = np.minimum(bottom, box[2]) - np.maximum(top, box[0])
    across = np.minimum(right, box[3]) - np.maximum(left, box[1])
    return np.asarray(np.maximum(down, 0) * np.maximum(across, 0))


def areas_of(boxes: Boxes) -> Scores:
    """Return the area of each box, shape (n,)."""
    top, left, bottom, right = boxes.T
    return np.asarray((bottom - top) * (right - left))


def peaks(
    boxes: Boxes,
    scores: Scores,
    *,
    most: int = _MOST,
    overlapping: float = _OVERLAP,
    candidates: int = _MOST_PEAKS,
) -> npt.NDArray[np.intp]:
    """Return the rows of the best boxes that overlap no better one by more than this.

    At most so many, of so many candidates with the highest scores.
    """
    order = np.argsort(-scores, kind="stable")[:candidates]
    left, areas = np.asfortranarray(boxes[order]), areas_of(boxes[order])
    kept: list[int] = []
    while len(order) and len(kept) < most:
        kept.append(int(order[0]))
        common = common_areas(left[0], left)
        free = common <= overlapping * np.maximum(areas[0] + areas - common, _TINY)
        free[0] = False
        order, left, areas = order[free], np.asfortranarray(left[free]), areas[free]
    return np.array(kept, np.intp)


def _apart(boxes: Boxes, scores: Scores) -> npt.NDArray[np.intp]:
    """Return the rows, the best first, of boxes that lie not much over or in a better one."""
    areas = areas_of(boxes)
    kept: list[int] = []
    for row in np.argsort(-scores, kind="stable").tolist():
        common = common_areas(boxes[row], boxes[kept])
        if (common <= _PART * np.minimum(areas[row], areas[kept])).all():
            kept.append(row)
    return np.array(kept, np.intp)


def _interpolated(values: Scores, places: Scores, wanted: Scores, axis: int) -> Scores:
    """Return values at other places along an axis; beyond the ends those of the ends."""
    if len(places) == 1:
        return values.take(np.zeros(len(wanted), int), axis)
    after = np.clip(np.searchsorted(places, wanted), 1, len(places) - 1)
    share = np.clip((wanted - places[after - 1]) / (places[after] - places[after - 1]), 0, 1)
    share = share[:, None] if axis == 0 else share
    lower, upper = values.take(after - 1, axis), values.take(after, axis)
    return np.asarray(lower + share * (upper - lower))


def _chances(shares: Scores, limit: float) -> Scores:
    """Return how likely peaks show the thing, which ends at this limit."""
    return np.asarray(1 / (1 + np.exp(-np.clip((shares - limit) / _SOFT, -30, 30))))


def _nothing() -> None:
    """Stand for an image that is gone."""


def _as_boxes(corners: Boxes) -> list[Box]:
    return [Box(*row) for row in (corners - 0.5).tolist()]


def _thinned(rows: FloatArray, most: int) -> FloatArray:
    return rows[:: max(1, len(rows) // most)]
