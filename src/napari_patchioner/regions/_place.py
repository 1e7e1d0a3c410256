"""How large regions are, and how they lie to each other and in their image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import shapely

from napari_patchioner.errors import RegionError

from ._outline import FloatArray
from ._shapes import Box, Ellipse, Mask, Region

Relation: TypeAlias = Literal[
    "inside",
    "around",
    "touching",
    "overlapping",
    "left of",
    "right of",
    "above",
    "below",
    "above and left of",
    "above and right of",
    "below and left of",
    "below and right of",
    "beside",
]

# A region lies inside another with this share of it, where it is no more than that share as large.
_INSIDE, _SMALLER = 0.95, 0.8
# With that share in a larger region of its kind, a region shows a part of the same.
_NESTED = 0.8
# Outlines drawn by hand overlap by as much where things only touch.
_TOUCHING = 0.05
# One direction alone is named where the other is no more than this share of it.
_STRAIGHT = 0.5
# Times as long as wide: such a region has a length rather than a diameter.
_ELONGATED = 3.0
# Lengths that differ by less are the same, whatever the unit.
_EXACT = 1e-9
# From this share of the image on, a region fills most of it.
_MOST = 0.5


class Size(NamedTuple):
    """How large a region is: a diameter (``"across"``) or a length (``"long"``)."""

    kind: Literal["across", "long"]
    value: float


class Layout:
    """How regions of one plane lie to each other.

    What is measured of all regions is measured at once, what takes longer when it is asked for.

    Parameters
    ----------
    regions : sequence of Region
        In ``(row, column)`` image pixels, pixel centres at integers. A whole image, and what has
        no geometry, such as an empty mask, have no size and no place.
    sides : tuple of float
        Height and width of a pixel, in any unit; all lengths are in it.
    shape : tuple of int, optional
        Height and width of the image in pixels; what lies beyond is cut off.

    Attributes
    ----------
    boxes : ndarray of float, shape (n, 4)
        Top, left, bottom and right of each region; nan where it has none.
    diameters : ndarray of float, shape (n,)
        Of the circle of the same area; 0 of points and traces.
    lengths : ndarray of float, shape (n,)
        Of traces that are one line, along them; 0 of others.
    outside : frozenset of int
        The indices of regions that lie outside the image as a whole, and so have no place.

    Examples
    --------
    >>> layout = Layout([Box(0, 0, 10, 10), Box(0, 30, 10, 40), Box(2, 2, 4, 4)], sides=(0.5, 0.5))
    >>> layout.relation(0, 1), layout.relation(1, 0), layout.relation(2, 0)
    ('left of', 'right of', 'inside')
    >>> layout.size(0)
    Size(kind='across', value=5.64...)
    """

    def __init__(
        self,
        regions: Sequence[Region],
        *,
        sides: tuple[float, float] = (1.0, 1.0),
        shape: tuple[int, int] | None = None,
    ) -> None:
        self.regions = tuple(regions)
        self.sides = sides
        self.outside: frozenset[int] = frozenset()
        self._pixel = max(sides) * (1 + _EXACT)
        self._scale = np.array([*sides, *sides])
        self._geometries: dict[int, shapely.Geometry] = {}
        count = len(self.regions)
        self.boxes = np.full((count, 4), np.nan)
        areas = np.zeros(count)
        self.lengths = np.zeros(count)
        rings: dict[int, FloatArray] = {}
        for index, region in enumerate(self.regions):
            try:
                if isinstance(region, Mask):
                    areas[index] = np.count_nonzero(region.pixels)
                elif isinstance(region, Ellipse):
                    areas[index] = math.pi / 4 * _parallelogram(region.coords())
                elif isinstance(region, Box):
                    areas[index] = abs((region.bottom - region.top) * (region.right - region.left))
                elif region.kind == "polygon" and len(region.coords()) > 2:
                    rings[index] = region.coords()
                elif region.kind == "set":
                    areas[index] = self.geometry(index).area / math.prod(sides)
                box = _tight(region) if isinstance(region, Mask) else region.bounds()
                self.boxes[index] = box.top, box.left, box.bottom, box.right
            except (RegionError, shapely.errors.GEOSException):
                rings.pop(index, None)
                areas[index] = 0.0
            if region.kind == "trace" and getattr(region, "connected", False):
                steps = np.diff(region.coords() * sides, axis=0)
                self.lengths[index] = np.hypot(*steps.T).sum() if len(steps) else 0.0
        for index, area in self._polygon_areas(rings):
            areas[index] = area
        self.boxes *= self._scale
        if shape is not None:
            self._clip(areas, *shape)
        self.diameters = 2 * np.sqrt(areas * math.prod(sides) / math.pi)

    def _clip(self, areas: FloatArray, height: int, width: int) -> None:
        """Cut off what lies beyond an image; what lies there as a whole has no place."""
        # The corner of the first pixel is half a pixel from its centre.
        edges = (np.array([0.0, 0.0, height, width]) - 0.5) * self._scale
        beyond = (self.boxes[:, :2] < edges[:2]) | (self.boxes[:, 2:] > edges[2:])
        outside, image = set(), shapely.box(*edges[[1, 0, 3, 2]])
        for index in np.flatnonzero(beyond.any(axis=1)).tolist():
            if self.regions[index].kind == "image":
                continue
            try:
                inner = shapely.intersection(self.geometry(index), image)
            except (RegionError, shapely.errors.GEOSException):
                continue
            # Of what has an area, an edge that touches the image shows nothing of it.
            if inner.is_empty or (areas[index] > 0 and inner.area == 0):
                outside.add(index)
                self.boxes[index], areas[index], self.lengths[index] = np.nan, 0.0, 0.0
                continue
            self._geometries[index] = inner
            left, top, right, bottom = inner.bounds
            self.boxes[index] = top, left, bottom, right
            areas[index] = inner.area / math.prod(self.sides)
            self.lengths[index] = inner.length if self.lengths[index] > 0 else 0.0
        self.outside = frozenset(outside)

    def _polygon_areas(self, rings: dict[int, FloatArray]) -> Iterable[tuple[int, float]]:
        """Yield the area of each polygon in pixels; only those that cross themselves take long."""
        if not rings:
            return
        points = np.concatenate(list(rings.values()))[:, ::-1]
        owners = np.repeat(np.arange(len(rings)), list(map(len, rings.values())))
        polygons = shapely.polygons(shapely.linearrings(points, indices=owners))
        sound, areas = shapely.is_valid(polygons), shapely.area(polygons)
        for index, is_sound, area in zip(rings, sound.tolist(), areas.tolist(), strict=True):
            # An eight has two halves of areas that would cancel each other.
            yield index, area if is_sound else self.geometry(index).area / math.prod(self.sides)

    def __len__(self) -> int:
        return len(self.regions)

    def is_placed(self, index: int) -> bool:
        """Whether a region has a place."""
        return not math.isnan(self.boxes[index, 0])

    def is_area(self, index: int) -> bool:
        """Whether a region has an extent in both directions."""
        return bool(self.diameters[index] > 0)

    def geometry(self, index: int) -> shapely.Geometry:
        """Return a region as a geometry in ``x y``, in the unit of the pixels' sides."""
        known = self._geometries.get(index)
        if known is None:
            flat = _flat(self.regions[index])
            matrix = np.diag(self.sides[::-1])
            known = shapely.transform(flat, lambda points: points @ matrix)
            self._geometries[index] = known
        return known

    def size(self, index: int) -> Size | None:
        """Return how large a region is; None of points and of what has no size.

        A trace is as long as its line; an area three times as long as wide, by the smallest
        rectangle around it in any direction, is as long as that; of any other the diameter of the
        circle of the same area counts.
        """
        if self.lengths[index] > 0:
            return Size("long", float(self.lengths[index]))
        if not self.is_area(index):
            return None
        around = shapely.minimum_rotated_rectangle(self.geometry(index))
        corners = shapely.get_coordinates(around)
        if len(corners) > 3:
            short, long = sorted(np.hypot(*(corners[1:3] - corners[:2]).T).tolist())
            if long >= (_ELONGATED - _EXACT) * short:
                return Size("long", long)
        return Size("across", float(self.diameters[index]))

    def gaps(self, index: int) -> FloatArray:
        """Return how far the boxes of all regions are from that of one, shape (n,)."""
        top, left, bottom, right = self.boxes[index]
        down = np.maximum(self.boxes[:, 0] - bottom, top - self.boxes[:, 2])
        along = np.maximum(self.boxes[:, 1] - right, left - self.boxes[:, 3])
        return np.asarray(np.hypot(np.maximum(down, 0), np.maximum(along, 0)))

    def nested(self, members: Sequence[int], share: float = _NESTED) -> set[int]:
        """Return those of some regions of which such a share lies in a larger one of them.

        >>> Layout([Box(0, 0, 9, 9), Box(1, 1, 3, 3), Box(0, 20, 9, 29)]).nested([0, 1, 2])
        {1}
        """
        order = sorted(members, key=lambda member: (-self.diameters[member], member))
        boxes = self.boxes[order]
        tree = shapely.STRtree(shapely.box(*boxes[:, [1, 0, 3, 2]].T))
        firsts, seconds = tree.query(tree.geometries, predicate="intersects")
        nested: set[int] = set()
        for inner, outer in zip(firsts.tolist(), seconds.tolist(), strict=True):
            if outer >= inner or order[inner] in nested or not self.is_area(order[outer]):
                continue
            low, high = np.maximum(boxes[inner, :2], boxes[outer, :2]), boxes[[inner, outer], 2:]
            common = np.prod(np.maximum(high.min(axis=0) - low, 0))
            own = np.prod(boxes[inner, 2:] - boxes[inner, :2])
            # What the boxes do not have in common, the outlines cannot.
            may_be = own == 0 or common >= share * self._area(order[inner])
            if may_be and self._share(order[inner], order[outer]) >= share:
                nested.add(order[inner])
        return nested

    def _area(self, index: int) -> float:
        return math.pi / 4 * float(self.diameters[index]) ** 2

    def relation(self, index: int, other: int) -> Relation | None:
        """Return how one region lies to another in the image; None where one has no place.

        "Left of" and the like hold where the boxes around both are apart in that direction; both
        directions are named where neither is twice as far as the other. What mirrors the image
        mirrors the words.
        """
        if not (self.is_placed(index) and self.is_placed(other)):
            return None
        first, second = self.boxes[index], self.boxes[other]
        down = max(second[0] - first[2], first[0] - second[2])
        along = max(second[1] - first[3], first[1] - second[3])
        if max(down, along) <= self._pixel and (near := self._near(index, other)):
            return near
        return self._direction(first, second)

    def _near(self, index: int, other: int) -> Relation | None:
        """Return how regions lie that have something in common, or touch; else None."""
        within, holding = self._share(index, other), self._share(other, index)
        sizes = self.diameters[[index, other]] ** 2
        smaller, larger = (sizes <= (_SMALLER + _EXACT) * sizes[::-1]).tolist()
        if within >= _INSIDE - _EXACT and smaller:
            return "inside"
        if holding >= _INSIDE - _EXACT and larger:
            return "around"
        if max(within, holding) > _TOUCHING + _EXACT:
            return "overlapping"
        lines = [self.is_area(i) or self.lengths[i] > 0 for i in (index, other)]
        apart = shapely.distance(self.geometry(index), self.geometry(other))
        return "touching" if all(lines) and apart <= self._pixel else None

    def _share(self, index: int, other: int) -> float:
        """Return the share of a region that lies in another, an area; of points, how many."""
        if not self.is_area(other):
            return 0.0
        inner, outer = self.geometry(index), self.geometry(other)
        if not self.is_area(index):
            # A line along the edge, or a point on it, is inside whatever the last digit says.
            outer = shapely.buffer(outer, 1e-6 * self._pixel)
        common = shapely.intersection(inner, outer)
        if self.is_area(index):
            return float(common.area / inner.area)
        if inner.length > 0:
            return float(common.length / inner.length)
        return float(shapely.get_num_coordinates(common) / shapely.get_num_coordinates(inner))

    def _direction(self, first: FloatArray, second: FloatArray) -> Relation:
        """Return the direction from one box to another."""
        # Edges that lie on each other are as far apart as edges are known.
        slack = self._pixel / 2
        down, along = (second[:2] + second[2:] - first[:2] - first[2:]).tolist()
        vertical = horizontal = ""
        if abs(down) > self._pixel:
            upper, lower = (first, second) if down > 0 else (second, first)
            if upper[2] <= lower[0] + slack:
                vertical = "above" if down > 0 else "below"
        if abs(along) > self._pixel:
            nearer, farther = (first, second) if along > 0 else (second, first)
            if nearer[3] <= farther[1] + slack:
                horizontal = "left of" if along > 0 else "right of"
        if vertical and horizontal:
            if abs(down) <= (_STRAIGHT + _EXACT) * abs(along):
                vertical = ""
            elif abs(along) <= (_STRAIGHT + _EXACT) * abs(down):
                horizontal = ""
        words = [word for word in (vertical, horizontal) if word]
        return " and ".join(words) or "beside"  # type: ignore[return-value]

    def position(self, index: int, height: int, width: int) -> str:
        """Return where in an image of so many pixels a region lies, if that can be said shortly.

        >>> Layout([Box(0, 0, 10, 10)]).position(0, 100, 40)
        'in the top left quarter of the image'
        """
        if not self.is_placed(index):
            return ""
        high, wide = height * self.sides[0], width * self.sides[1]
        if math.pi / 4 * self.diameters[index] ** 2 > _MOST * high * wide:
            return "filling most of the image"
        # The corner of the first pixel is half a pixel from its centre.
        top, left, bottom, right = (self.boxes[index] + self._scale / 2).tolist()
        if all(
            low >= whole / 4 and end <= whole * 3 / 4
            for low, end, whole in ((top, bottom, high), (left, right, wide))
        ):
            return "in the middle of the image"
        vertical = "top" if bottom <= high / 2 else "bottom" if top >= high / 2 else ""
        horizontal = "left" if right <= wide / 2 else "right" if left >= wide / 2 else ""
        if vertical and horizontal:
            return f"in the {vertical} {horizontal} quarter of the image"
        half = {"top": "upper", "bottom": "lower"}.get(vertical, horizontal)
        return f"in the {half} half of the image" if half else ""


def _parallelogram(corners: FloatArray) -> float:
    """Return the area of the rectangle around an ellipse, given its four corners."""
    (x, y), (u, v) = corners[1] - corners[0], corners[3] - corners[0]
    return abs(float(x * v - y * u))


def _tight(mask: Mask) -> Box:
    """Return the box around the pixels of a mask, at once where no edge is empty."""
    pixels: npt.NDArray[np.bool_] = mask.pixels
    if pixels.size and all(map(np.any, (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))):
        (top, left), (height, width) = mask.offset, pixels.shape
        return Box(top - 0.5, left - 0.5, top + height - 0.5, left + width - 0.5)
    return mask.bounds()


def _flat(region: Region) -> shapely.Geometry:
    """Return a region as a geometry in ``x y`` pixels."""
    if region.kind == "set":
        return shapely.union_all([_flat(member) for member in region.parts()])
    if (inside := region.inside()) is not None:
        return inside
    points = region.coords()[:, ::-1]
    if region.kind == "trace" and len(points) > 1 and getattr(region, "connected", False):
        return shapely.linestrings(points)
    return shapely.multipoints(shapely.points(points))
