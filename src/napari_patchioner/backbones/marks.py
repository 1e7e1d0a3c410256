"""Marks on a ground: what stands out of a picture, counted and measured one by one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.morphology import reconstruction, skeletonize

from napari_patchioner.devices import product

from .curvature import faint_lines, prevailing_spots
from .filters import blur, depths, least_around, most_around, patch_means

Plane: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.int32]
Columns: TypeAlias = npt.NDArray[np.float64]

# Blur before anything is sought, in pixels.
_SIGMA = 0.8
# Every so many pixels take part in the fit of the ground.
_STRIDE = 4
# Cells, in units of Oklab times 100, in which the commonest colour is sought.
_CELL = 4.0
# How far from the ground its own pixels lie at least and at most, and in deviations of the noise,
# which a quarter of the differences between neighbours stays below by so many times.
_NEAREST, _FARTHEST, _NEAR = 3.0, 9.0, 3.5
_QUARTER = 0.45
_FITS = 8
# A ground makes up so much of the picture at least.
_LEAST_GROUND = 0.2
# Marks differ from the ground by so much, and by so many deviations of it.
_CONTRAST, _DEVIATIONS = 5.0, 4.0
# Of the typical contrast of a mark, what its outline still has.
_OUTLINE, _TYPICAL = 0.55, 0.8
_LEAST_PIXELS = 4
# More than any two colours differ.
_FARAWAY = 1024
# How much narrower a neck is than what it joins, as a logarithm, for two marks to be there.
_NECK = 0.3
_SPLIT_RADIUS = 3.0
# Holes up to so many times wider than what is around them are the middles of rings that touch.
_HOLLOW = 3.0
# Lines are so many times longer than wide.
_LINE = 9.0
_RING_HOLE = 0.12
# Holes that are so much smaller than the largest of a mark do not count.
_TINY_HOLE = 0.05
# What is missing at most at a ring; the corners of a circle miss half as much. In a broad one, with
# the slenderness of lines in company, something else may lie.
_RING_CORNERS, _BROAD_CORNERS = 0.4, 0.6
# Directions in which marks are measured, what is missing in the corners of those with straight
# sides, and how deep these are at least, in pixels.
_DIRECTIONS = np.linspace(0, np.pi / 2, 45, endpoint=False)
_CORNERS, _LEAST_DEPTH = 0.11, 4.5
_ROUNDED = 1 - np.pi / 4
# Of a picture that only brightens, or changes colour, one way: the lightness below which steps of
# single bytes, which are larger in Oklab, are made smaller; a blur in pixels; how far a pixel is
# from the mean of those as far along that way; how many times farther than from end to end the
# colour goes; the steepest share of it within so much of the way.
_DIM, _SLOPE_SIGMA, _ASTRAY, _DETOUR = 10.0, 2.0, 3.0, 1.2
_SUDDEN, _STRETCH = 0.3, 0.05
# How many times farther astray a picture of averaged blocks is surely none, and how many of them
# each way it needs.
_COARSE, _FEWEST = 2.0, 16
# How steeply a mark rises at its outline, over its contrast: per radius, and per pixel.
_STEEP, _STEEPEST = 0.5, 0.04
# How many times steeper outlines are than the ground itself, how many times its slope marks
# differ from it, and how far from them it begins.
_STEEPER, _STRONGER, _AWAY = 2.0, 7.5, 4
# Root of the mean square over the median, of slopes of noise; edges nobody found count less so.
_RMS = 1.2
# What share of the marks, or of their area, must have an outline for any to be one.
_OUTLINED = 0.3
# A texture: more marks than this on less ground than this, which deviates by more than this.
_MANY, _PLAIN, _RESTLESS = 200, 0.7, 4.0
# A frame around the picture takes up such a share of its border.
_FRAME = 0.08
# Lines are so long at least, in pixels, and no deeper than so much of their mean width and more,
# which is less for wide ones, nor than this.
_LONG, _DEEP, _DEEPER, _LESS, _DEEPEST = 60.0, 0.75, 6.0, 0.25, 24.0
# What is less slender than this is no line, but marks that touch or one that is open, among so many
# others as broad, whose colour is no farther from its own, and which take so many times the area.
_SLIM, _COMPANY, _KIN, _OUTWEIGHED = 30.0, 4, 12.0, 2.0
# Faint lines may cross marks of less contrast than this; those of which so much of the outline lies
# along such lines, so near, are only what lies between these.
_WEAK, _BESIDE, _BETWEEN = 14.0, 8, 0.15
# What is so wide, and so full, is no line; what is no deeper than so much of its mean width, and
# more, is not split.
_WIDE, _FULL, _STEADY = 0.5, 0.5, (0.65, 1.6)
# What is so many times smaller than the marks that make up most of the area is dust.
_DUST = 7.0


@dataclass(frozen=True, eq=False, slots=True)
class Marks:
    """What stands out of the ground of a picture.

    Attributes
    ----------
    labels : ndarray of int32, shape (height, width)
        0 on the ground, else one more than the mark's row in all columns.
    row, column : ndarray of float, shape (n,)
        Centres, in pixels.
    area : ndarray of float, shape (n,)
        Square pixels, without holes.
    colour : ndarray of float, shape (n, 3)
        Oklab times 100 of their stronger pixels.
    contrast, rise : ndarray of float, shape (n,)
        Mean distance from the ground in the same units, and how much lighter than it they are.
    elongation : ndarray of float, shape (n,)
        Shorter axis over longer one, 1 for discs.
    fill : ndarray of float, shape (n,)
        Area over that of the ellipse with the same moments: 1 for ellipses, less for branches.
    angle : ndarray of float, shape (n,)
        Direction of the longer axis, in radians.
    width, slender : ndarray of float, shape (n,)
        Mean width in pixels, and how many times longer the mark is along its way.
    depth : ndarray of float, shape (n,)
        Radius of the largest disc inside, in pixels.
    holes, hole_area : ndarray of float, shape (n,)
        How many holes, without tiny ones beside others, and the square pixels of all.
    missing : ndarray of float, shape (n,)
        Area of the smallest rectangle around the mark that the mark, with its holes, does not
        take, over the square of the shorter side: 0 for rectangles, 0.21 for discs and rods with
        round ends.
    sharp : bool
        Whether the marks have outlines, so that they can be counted; others are only estimated.
    """

    labels: Labels
    row: Columns
    column: Columns
    area: Columns
    colour: Columns
    contrast: Columns
    rise: Columns
    elongation: Columns
    fill: Columns
    angle: Columns
    width: Columns
    slender: Columns
    depth: Columns
    holes: Columns
    hole_area: Columns
    missing: Columns
    sharp: bool = True

    @property
    def hollow(self) -> npt.NDArray[np.bool_]:
        """Which marks have one large hole."""
        whole = self.area + self.hole_area
        return np.asarray((self.hole_area > _RING_HOLE * whole) & (self.holes == 1))

    @property
    def straight(self) -> npt.NDArray[np.bool_]:
        """Which marks are squares or rectangles, or outlines of them, and large enough to tell."""
        deep = np.where(self.hollow, np.sqrt(self.area + self.hole_area) / 2, self.depth)
        return np.asarray((self.missing < _CORNERS) & (deep > _LEAST_DEPTH))

    @property
    def ring(self) -> npt.NDArray[np.bool_]:
        """Which marks are rings: one large hole in something round."""
        # Of a tree with a loop most of the rectangle around it is missing.
        most = np.where(self.slender < _SLIM, _BROAD_CORNERS, _RING_CORNERS)
        full = self.missing * self.elongation < most
        return np.asarray(self.hollow & (self.elongation > 0.5) & full & ~self.straight)

    @property
    def frame(self) -> npt.NDArray[np.bool_]:
        """Which marks are no marks but a frame around the picture, or large corners of it."""
        edges = (self.labels[0], self.labels[-1], self.labels[:, 0], self.labels[:, -1])
        border = np.concatenate(edges)
        along = np.bincount(border, minlength=len(self.area) + 1)[1:]
        return np.asarray((along > _FRAME * len(border)) & ~self.line)

    @property
    def line(self) -> npt.NDArray[np.bool_]:
        """Which marks are lines, straight or not, or nets of lines."""
        long = self.sharp & (self.slender > _LINE) & (self.area > _LONG * self.width)
        more = np.maximum(_DEEPER - _LESS * self.width, 0)
        narrow = self.depth < np.minimum(_DEEP * self.width + more, _DEEPEST)
        # Something broad with many small holes is none.
        compact = (self.elongation > _WIDE) & (self.fill > _FULL)
        outline = self.hollow & self.straight
        line = long & narrow & ~compact & ~self.ring & ~outline
        return np.asarray(line & ~self._in_company(line))

    def _in_company(self, line: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which lines are rather some of the many broad marks around them, that touch or are open.

        Such as the cells of a smear, of which one pale in the middle may be no closed ring.
        """
        result = np.zeros_like(line)
        for index in np.flatnonzero(line & (self.slender < _SLIM)):
            away = np.linalg.norm(self.colour - self.colour[index], axis=1)
            kin = ~line & (away < _KIN) & (2 * self.depth > self.width[index])
            outweighed = self.area[kin].sum() > _OUTWEIGHED * self.area[line].sum()
            result[index] = outweighed and kin.sum() >= _COMPANY
        return result

    @property
    def dust(self) -> npt.NDArray[np.bool_]:
        """Which marks are no lines but tiny beside others, and not the most of them either."""
        size = np.sqrt(self.area + self.hole_area) * ~self.line
        typical = np.sum(size**3) / max(float(np.sum(size**2)), 1e-9)
        tiny = ~self.line & (size < typical / _DUST)
        return np.asarray(tiny & (2 * tiny.sum() < np.sum(~self.line)))

    def spacing(self, chosen: npt.NDArray[np.bool_]) -> Columns:
        """Distance of each chosen mark to the next one, in pixels; 0 where it is alone."""
        centres = np.stack([self.row[chosen], self.column[chosen]], 1)
        if len(centres) < 2:
            return np.zeros(len(centres))
        distances, _ = cKDTree(centres).query(centres, k=2)
        return np.asarray(distances[:, 1], np.float64)


def find_marks(lab: Plane) -> Marks:
    """Find what stands out of the ground of a picture.

    Parameters
    ----------
    lab : ndarray of float32, shape (3, height, width)
        Oklab times 100. Its ground is the commonest colour, and may change slowly over the
        picture. A picture without one, such as a texture, has no marks.
    """
    if _is_slope(lab):
        return measure_marks(np.zeros(lab.shape[1:], np.int32), lab, lab[0])
    smooth = blur(lab, _SIGMA)
    ground, deviation, share = _ground(smooth)
    smooth -= ground
    rise = smooth[0].copy()
    distance: Plane = np.sqrt(np.square(smooth, out=smooth).sum(0))
    labels = np.zeros(distance.shape, np.int32)
    if share >= _LEAST_GROUND:
        labels = _outlined(distance, max(_CONTRAST, _DEVIATIONS * deviation))
        if labels.max() > _MANY and share < _PLAIN and deviation > _RESTLESS:
            labels[:] = 0
    labels = split_marks(_steep(labels, distance))
    if deviation > _RESTLESS:
        marked = labels.any()
        return measure_marks(labels, lab, distance, rise) if marked else _of_spots(lab)
    return measure_marks(_with_lines(labels, distance, lab[0]), lab, distance, rise)


def _is_slope(lab: Plane) -> bool:
    """Whether a picture is nothing but a gradient, straight and steady from one side to another."""
    # What is far from one when looked at coarsely is none.
    return _is_steady(_coarse(lab), _COARSE * _ASTRAY) and _is_steady(lab, _ASTRAY)


def _coarse(planes: Plane) -> Plane:
    """Average blocks, where there are enough of them."""
    height, width = (side // _STRIDE for side in planes.shape[1:])
    if min(height, width) < _FEWEST:
        return planes
    return patch_means(planes[:, : height * _STRIDE, : width * _STRIDE], (height, width))


def _is_steady(lab: Plane, most: float) -> bool:
    """Whether colours are nowhere farther than this from what they are along a straight way."""
    squared = lab[0] ** 2
    evened = blur(lab * (squared / (squared + np.float32(_DIM**2))), _SLOPE_SIGMA)
    down, right = np.gradient(evened, axis=(1, 2))
    turn = 0.5 * np.arctan2(2 * np.sum(down * right), np.sum(right**2) - np.sum(down**2))
    rows, columns = (np.arange(side, dtype=np.float32) for side in lab.shape[1:])
    way = (rows * np.sin(turn))[:, None] + columns * np.cos(turn)
    place = np.round(way - way.min()).astype(np.intp).ravel()
    number = np.maximum(np.bincount(place), 1)
    profile = np.stack([np.bincount(place, channel.ravel()) / number for channel in evened])
    if any(
        np.abs(channel.ravel() - np.take(mean, place)).max() > most
        for channel, mean in zip(evened, profile.astype(np.float32), strict=True)
    ):
        return False
    # Corners of slanting ways are single pixels.
    profile = ndimage.uniform_filter1d(profile.T, 5, axis=0)
    whole = float(np.linalg.norm(profile[-1] - profile[0]))
    gone = np.append(0.0, np.cumsum(np.linalg.norm(np.diff(profile, axis=0), axis=1)))
    stretch = max(1, round(_STRETCH * len(gone)))
    sudden = float((gone[stretch:] - gone[:-stretch]).max(initial=0.0))
    return whole > _CONTRAST and gone[-1] < _DETOUR * whole and sudden < _SUDDEN * whole


def _with_lines(labels: Labels, distance: Plane, lightness: Plane) -> Labels:
    """Add faint lines to marks, and take away what only lies between the lines."""
    count = int(labels.max())
    areas = np.maximum(np.bincount(labels.ravel(), minlength=count + 1), 1)
    weak = np.bincount(labels.ravel(), distance.ravel(), count + 1) < _WEAK * areas
    weak[0] = True
    parts, number = ndimage.label(faint_lines(lightness, ~weak[labels]), np.ones((3, 3)))
    if not number:
        return labels
    rim = np.flatnonzero((labels > 0) & (least_around(labels) == 0))
    label = labels.ravel()[rim]
    beside = _grown(parts > 0, _BESIDE).ravel()[rim]
    rims = np.maximum(np.bincount(label, minlength=count + 1), 1)
    kept = ~weak | (np.bincount(label, beside, count + 1) < _BETWEEN * rims)
    kept[0] = False
    left = (np.cumsum(kept) * kept)[labels]
    return np.asarray(np.where(parts > 0, left.max() + parts, left), np.int32)


def _of_spots(lab: Plane) -> Marks:
    """Make marks of spots that have no clear outline: discs, smaller ones on top of larger ones."""
    spots = prevailing_spots(lab[0])
    labels = np.zeros(lab.shape[1:], np.int32)
    order = np.argsort(-spots.radius, kind="stable")
    for number, index in enumerate(order, 1):
        middle = np.array([spots.row[index], spots.column[index]])
        low = np.maximum(np.floor(middle - spots.radius[index]), 0).astype(int)
        high = np.ceil(middle + spots.radius[index]).astype(int) + 1
        view = labels[low[0] : high[0], low[1] : high[1]]
        rows, columns = np.ogrid[: view.shape[0], : view.shape[1]]
        away = np.hypot(rows + low[0] - middle[0], columns + low[1] - middle[1])
        view[away <= spots.radius[index]] = number
    present = np.bincount(labels.ravel(), minlength=len(order) + 1) > 0
    marks = measure_marks(labels, lab, labels * 0.0)
    elongation = spots.elongation[order][present[1:]]
    area = np.pi * spots.radius[order][present[1:]] ** 2
    return replace(marks, elongation=elongation, area=area, fill=np.ones_like(area), sharp=False)


def _ground(smooth: Plane) -> tuple[Plane, float, float]:
    """Fit the slowly changing ground: its planes, their deviation, its share of the picture."""
    height, width = smooth.shape[1:]
    sample = smooth[:, ::_STRIDE, ::_STRIDE]
    rows, columns = np.indices(sample.shape[1:], np.float32) * _STRIDE
    basis = _basis(rows / max(height, width), columns / max(height, width)).reshape(-1, 6)
    basis = basis.astype(np.float64)
    colours = sample.reshape(3, -1).T.astype(np.float64, order="C")
    steps = np.linalg.norm(np.diff(sample, axis=1 + int(width > height)), axis=0)
    noise = float(np.quantile(steps, 0.25)) / _QUARTER if steps.size else 0.0
    limit = float(np.clip(_NEAR * noise, _NEAREST, _FARTHEST))
    near = np.linalg.norm(colours - _commonest(colours), axis=1) < max(limit, _CELL)
    deviation = limit / _NEAR
    fit = np.zeros((6, 3))
    for turn in range(_FITS):
        # Straight slopes first: curved ones run away where only a part is known.
        terms = 3 if turn < _FITS // 2 else 6
        known = basis[near, :terms]
        fit[:] = 0
        fit[:terms] = np.linalg.solve(
            product(known.T, known) + 1e-3 * len(known) * np.diag([0, *[1] * (terms - 1)]),
            product(known.T, colours[near]),
        )
        away = np.linalg.norm(colours - product(basis, fit), axis=1)
        near = away < limit
        if not near.any():
            break
        deviation = float(np.sqrt(np.mean(away[near] ** 2)))
    # The terms of the basis again, but without an array of all of them.
    down, right = (np.arange(side) / max(height, width) - 0.5 for side in (height, width))
    still, sloping, aside, mixed, bent, bent_aside = fit[..., None, None].astype(np.float32)
    down, right = down[:, None].astype(np.float32), right.astype(np.float32)
    ground = still + down * (sloping + bent * down) + right * (aside + bent_aside * right)
    ground = ground + (mixed * down) * right
    return ground, deviation, float(near.mean())


def _basis(rows: Plane, columns: Plane) -> Plane:
    """Return terms of a surface of the second degree, shape (..., 6)."""
    rows, columns = rows - np.float32(0.5), columns - np.float32(0.5)
    terms = (np.ones_like(rows), rows, columns, rows * columns, rows**2, columns**2)
    return np.stack(terms, -1).astype(np.float32)


def _commonest(colours: Columns) -> Columns:
    """Return the middle of the commonest colours, of shape (n, 3)."""
    cells = np.floor(colours / _CELL).astype(int)
    low = cells.min(0)
    shape = cells.max(0) - low + 1
    places = np.ravel_multi_index(tuple((cells - low).T), tuple(shape))
    counts = np.bincount(places, minlength=int(shape.prod())).reshape(shape).astype(float)
    counts = ndimage.uniform_filter(counts, 3, mode="constant")
    best = np.array(np.unravel_index(int(counts.argmax()), counts.shape)) + low
    near = (np.abs(cells - best) <= 1).all(1)
    return np.asarray(np.median(colours[near], axis=0), np.float64)


def _outlined(distance: Plane, least: float) -> Labels:
    """Label marks within the outline at which they have about half of their contrast."""
    labels, count = ndimage.label(distance > least)
    if not count:
        return np.asarray(labels, np.int32)
    inside = np.flatnonzero(labels)
    label, contrast = labels.ravel()[inside], distance.ravel()[inside]
    # Sorted by mark, then by contrast.
    ranks = np.sort(label * float(_FARAWAY) + contrast)
    sizes = np.bincount(label, minlength=count + 1)
    starts = np.cumsum(sizes)[:-1]
    place = starts + (_TYPICAL * (sizes[1:] - 1)).astype(int)
    typical = np.append(0.0, ranks[place] % _FARAWAY)
    kept = distance > np.maximum(least, _OUTLINE * typical).astype(np.float32)[labels]
    labels, count = ndimage.label(kept & (labels > 0))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    large = sizes >= _LEAST_PIXELS
    return np.asarray((np.cumsum(large) * large)[labels], np.int32)


def _steep(labels: Labels, distance: Plane) -> Labels:
    """Keep the marks that have an outline; slow changes of the ground, and textures, have none."""
    count = int(labels.max())
    if not count:
        return labels
    inside = labels > 0
    rim = np.flatnonzero(inside & (least_around(labels) == 0))
    down, right = np.gradient(distance)
    slope = np.sqrt(down**2 + right**2)
    label = labels.ravel()[rim]
    rims = np.maximum(np.bincount(label, minlength=count + 1), 1)
    slopes = np.bincount(label, slope.ravel()[rim], count + 1) / rims
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    contrast = np.bincount(labels.ravel(), distance.ravel(), count + 1) / np.maximum(areas, 1)
    radius = np.sqrt(areas / np.pi)
    kept = slopes > contrast * np.maximum(_STEEP / np.maximum(radius, 1), _STEEPEST)
    away = ~_grown(inside, _AWAY)
    if away.any():
        rough = _RMS * float(np.median(slope[away]))
        kept &= (slopes > _STEEPER * rough) & (contrast > _STRONGER * rough)
    kept[0] = False
    if max(kept.sum() / count, areas[kept].sum() / areas[1:].sum()) < _OUTLINED:
        kept[:] = False
    return np.asarray((np.cumsum(kept) * kept)[labels], np.int32)


def split_marks(labels: Labels) -> Labels:
    """Part labelled marks that touch, where a neck joins them; shape (height, width)."""
    count = int(labels.max())
    if not count:
        return labels
    depth = depths(labels > 0)
    hollow = _pale_middles(labels, depth)
    if hollow.any():
        parted = split_marks(np.where(hollow > 0, hollow, labels))
        parted[hollow > 0] = 0
        return parted
    deepest, area = _most(depth, labels, count), np.bincount(labels.ravel())
    # A disc has the area of its largest inner circle.
    clumped = (deepest >= _SPLIT_RADIUS) & (area > 1.4 * np.pi * deepest**2)
    clumped &= area < 400 * deepest**2
    width = 4 * (np.bincount(labels.ravel(), depth.ravel()) / np.maximum(area, 1) - 0.5)
    clumped &= (area < _LINE * width**2) | (deepest > _STEADY[0] * width + _STEADY[1])
    if not clumped.any():
        return labels
    # Every other pixel tells as much of smooth depths.
    soft = ndimage.gaussian_filter(depth, 1.2)[::2, ::2]
    few = labels[::2, ::2]
    deep = clumped[few] & (soft > 0.45 * deepest[few])
    log = np.log(np.where(deep, np.maximum(soft, 0.5), 0.5))
    above = log - reconstruction(log - _NECK, log)
    peaks, number = ndimage.label((above > 1e-6) & deep, np.ones((3, 3)))
    high = _most(above, peaks, number) > _NECK - 1e-3
    peaks, number = (np.cumsum(high) * high)[peaks], int(high.sum())
    owner = _most(few, peaks, number).astype(int)
    many = (np.bincount(owner[1:], minlength=count + 1) > 1)[labels]
    if not many.any():
        return labels
    seeds = np.zeros(labels.shape, np.int32)
    seeds[::2, ::2] = peaks
    down, right = ndimage.distance_transform_edt(
        seeds == 0, return_distances=False, return_indices=True
    )
    nearest = seeds[down, right]
    first = np.zeros(count + 1, int)
    first[owner[:0:-1]] = np.arange(number, 0, -1)
    nearest = np.where(owner[nearest] == labels, nearest, first[labels])
    return _renumbered(np.where(many, count + nearest, labels))


def _renumbered(labels: Labels) -> Labels:
    """Return labels without gaps in their numbers, in the same order."""
    present = np.bincount(labels.ravel()) > 0
    present[0] = False
    return np.asarray((np.cumsum(present) * present)[labels], np.int32)


def _pale_middles(labels: Labels, depth: Any) -> Labels:
    """Holes that are narrow beside their mark, as of cells whose middle is pale: its label."""
    outside, owner, sizes = _enclosed(labels)
    area = np.maximum(np.bincount(labels.ravel()), 1)
    width = 4 * np.maximum(np.bincount(labels.ravel(), depth.ravel()) / area - 0.5, 0)
    narrow = sizes < np.pi / 4 * (_HOLLOW * width[owner]) ** 2
    return np.asarray((owner * narrow)[outside], np.int32)


def _most(values: Any, labels: Any, count: int) -> Columns:
    """Largest value under each label, in the order of labels from 0; 0 where there is none."""
    most = np.zeros(count + 1)
    inside = np.flatnonzero(labels)
    np.maximum.at(most, np.ravel(labels)[inside], np.ravel(values)[inside])
    return most


def measure_marks(labels: Labels, lab: Plane, distance: Any, rise: Any = None) -> Marks:
    """Measure labelled marks, shape (height, width), on Oklab times 100, (3, height, width).

    ``distance`` of every pixel from the ground weighs their colours; ``rise`` is how much lighter
    than the ground each is. Numbers that no pixel has are no marks: a part may have lain in a
    hollow alone, or a line on all of a mark.
    """
    labels = _renumbered(labels)
    count = int(labels.max())
    inside = np.flatnonzero(labels)
    label = labels.ravel()[inside] - 1
    rows, columns = np.divmod(inside, labels.shape[1])

    def sums(weight: Any = None) -> Columns:
        return np.bincount(label, weight, count).astype(np.float64)

    area = sums()
    row, column = sums(rows) / area, sums(columns) / area
    down, right = rows - row[label], columns - column[label]
    vertical = sums(down**2) / area + 1 / 12
    horizontal = sums(right**2) / area + 1 / 12
    mixed = sums(down * right) / area
    middle, half = (vertical + horizontal) / 2, (horizontal - vertical) / 2
    spread = np.hypot(half, mixed)
    long, short = middle + spread, np.maximum(middle - spread, 1e-6)
    depth = depths(_apart(labels))
    width = np.maximum(4 * (sums(depth.ravel()[inside]) / area - 0.5), 1.0)
    holes, hole_area = _holes(labels, count)
    # The rim of a mark has the colour of the ground in it.
    contrast = np.ravel(distance)[inside]
    mean = sums(contrast) / area
    weight = (contrast >= mean[label] * (1 - 1e-6)).astype(float)
    colours = [sums(np.take(plane, inside) * weight) for plane in lab]
    return Marks(
        labels=labels,
        row=row,
        column=column,
        area=area,
        colour=np.stack(colours, 1) / np.maximum(sums(weight), 1e-9)[:, None],
        contrast=mean,
        rise=np.zeros(count) if rise is None else sums(np.ravel(rise)[inside]) / area,
        elongation=np.sqrt(short / long),
        fill=area / (4 * np.pi * np.sqrt(long * short)),
        angle=0.5 * np.arctan2(2 * mixed, 2 * half),
        width=width,
        slender=area / width**2,
        depth=_most(depth, labels, count)[1:],
        holes=holes,
        hole_area=hole_area,
        missing=_missing(labels, area + hole_area),
    )


def _missing(labels: Labels, area: Columns) -> Columns:
    """Tell what the corners of the smallest rectangle around each mark lack."""
    padded = np.pad(labels, 1)
    inner = least_around(padded) == most_around(padded)
    rim = np.flatnonzero((labels > 0) & ~inner[1:-1, 1:-1])
    label = labels.ravel()[rim] - 1
    order = np.argsort(label, kind="stable")
    starts = np.searchsorted(label[order], np.arange(len(area)))
    rows, columns = np.divmod(rim[order], labels.shape[1])
    smallest, missing = np.full(len(area), np.inf), np.full(len(area), _ROUNDED)
    for angle in _DIRECTIONS if len(area) else ():
        sine, cosine = np.sin(angle), np.cos(angle)
        along, across = columns * cosine + rows * sine, rows * cosine - columns * sine
        # Pixels reach beyond their centres, less in a slanting row of many.
        beyond = 0.5 if sine else 1.0
        first, second = (
            np.maximum.reduceat(way, starts) - np.minimum.reduceat(way, starts) + beyond
            for way in (along, across)
        )
        rectangle, short = first * second, np.minimum(first, second)
        smaller = rectangle < smallest
        smallest[smaller] = rectangle[smaller]
        missing[smaller] = ((rectangle - area) / short**2)[smaller]
    return missing


def _apart(labels: Labels) -> npt.NDArray[np.bool_]:
    """Pixels of marks, without those where two marks touch."""
    inside = labels > 0
    high = most_around(labels)
    low = least_around(np.where(inside, labels, labels.max(initial=0) + np.int32(1)))
    return np.asarray(inside & (high == low))


def _holes(labels: Labels, count: int) -> tuple[Columns, Columns]:
    """Count the holes in each mark, but for tiny ones beside others, and measure all of them."""
    numbers, areas, largest = np.zeros(count), np.zeros(count), np.zeros(count)
    _, owner, sizes = _enclosed(labels)
    owner, sizes = owner[owner > 0] - 1, sizes[owner > 0]
    np.maximum.at(largest, owner, sizes)
    np.add.at(numbers, owner, sizes > _TINY_HOLE * largest[owner])
    np.add.at(areas, owner, sizes)
    return numbers, areas


def _enclosed(labels: Labels) -> tuple[Labels, npt.NDArray[np.int64], Columns]:
    """Label the parts of the ground; say which mark is around each, 0 at the border, and areas."""
    outside, parts = ndimage.label(labels == 0, np.ones((3, 3)))
    if not parts:
        return np.asarray(outside, np.int32), np.zeros(1, int), np.zeros(1)
    flat = outside.ravel()
    first = np.zeros(parts + 1, int)
    first[flat[::-1]] = np.arange(len(flat))[::-1]
    # What lies left of the first pixel of a hole is around it.
    owner = labels.ravel()[np.maximum(first - 1, 0)].astype(int)
    border = np.concatenate([outside[0], outside[-1], outside[:, 0], outside[:, -1]])
    owner[border] = owner[0] = 0
    return outside, owner, np.bincount(flat, minlength=parts + 1).astype(float)


@dataclass(frozen=True, eq=False, slots=True)
class Network:
    """The middle lines of lines: places, ``(n, 2)`` rows and columns, of what they do.

    ``length`` are pixels of middle lines, ``ends`` where they end inside the picture, ``branches``
    where three meet, ``crossings`` where four or more do.
    """

    length: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    branches: npt.NDArray[np.int64]
    crossings: npt.NDArray[np.int64]


def trace_network(lines: npt.NDArray[np.bool_], width: float) -> Network:
    """Thin lines, shape (height, width), of about this width to their middles."""
    if not lines.any():
        nothing = np.zeros((0, 2), np.int64)
        return Network(nothing, nothing, nothing, nothing)
    skeleton = skeletonize(lines)
    around = ndimage.convolve(skeleton.astype(np.int8), np.ones((3, 3), np.int8), mode="constant")
    arms = np.where(skeleton, around - 1, 0)
    reach = int(np.ceil(0.75 * width)) + 2
    margin = np.zeros_like(skeleton)
    margin[reach:-reach, reach:-reach] = True
    ends = np.argwhere((arms == 1) & margin)
    # Wide knots: two branches nearer than a width are one crossing.
    core = _grown(arms >= 3, reach)
    knots, count = ndimage.label(core)
    rim = _grown(core, 1) & ~core & skeleton
    pieces, number = ndimage.label(rim, np.ones((3, 3)))
    degree = np.zeros(count + 1, int)
    if number and count:
        near = _most(most_around(knots), pieces, number)
        np.add.at(degree, near[1:].astype(int), 1)
    places = np.asarray(ndimage.center_of_mass(core, knots, np.arange(1, count + 1)))
    places = places.reshape(-1, 2).astype(int)
    return Network(
        length=np.argwhere(skeleton),
        ends=ends,
        branches=places[degree[1:] == 3],
        crossings=places[degree[1:] >= 4],
    )


def _grown(mask: npt.NDArray[np.bool_], reach: int) -> npt.NDArray[np.bool_]:
    """Mask widened by so many pixels in every direction."""
    return np.asarray(ndimage.maximum_filter(mask, 2 * reach + 1))
