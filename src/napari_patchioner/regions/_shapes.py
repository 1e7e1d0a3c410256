"""What a person can draw, and its geometry: no napari object and no model.

All coordinates are ``(row, column)`` in full-resolution image pixels with pixel centres at
integers, as napari has them: the pixel ``(0, 0)`` fills the square from -0.5 to 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import shapely

from napari_patchioner.errors import RegionError

from ._outline import FloatArray, check_points, enclosed, polygon_rings

Kind: TypeAlias = Literal["box", "polygon", "ellipse", "trace", "point", "set", "image", "mask"]

LabelBox: TypeAlias = tuple[slice, slice]

TOLERANCE = 1e-3
"""How far, in pixels, a vertex may have moved by writing and reading numbers."""

_RINGS = ("box", "polygon", "ellipse")
# find_objects makes a list as long as the largest label.
_LARGEST_LISTED = 1_000_000
_ELLIPSE_VERTICES = 64
# What an ellipse is measured by: patches and bounds.
_FINE_VERTICES = 512


class Region:
    """Anything a person can draw: one of the eight kinds below, each with a word of its own.

    Coordinates are ``(row, column)`` in full-resolution image pixels, pixel centres at integers.
    """

    __slots__ = ()
    kind: ClassVar[Kind]

    @property
    def is_area(self) -> bool:
        """Whether the region encloses pixels; false for points, traces and sets with those."""
        return all(part.kind not in ("point", "trace") for part in self.parts())

    def parts(self) -> tuple[Region, ...]:
        """Return the members of a set; any other region by itself."""
        return (self,)

    def for_image(self, height: int, width: int) -> Region:
        """Return the region with a box around all pixels in place of the whole image.

        >>> WholeImage().for_image(20, 30)
        Box(top=-0.5, left=-0.5, bottom=19.5, right=29.5)
        """
        return self

    def coords(self) -> FloatArray:
        """Return the points that define it, shape (n, 2); none of masks, sets and whole images.

        The corners of a box or of the rectangle around an ellipse, in order around it.

        >>> Box(0, 1, 2, 3).coords().tolist()
        [[0.0, 1.0], [0.0, 3.0], [2.0, 3.0], [2.0, 1.0]]
        """
        return np.zeros((0, 2))

    def outline(self) -> FloatArray | None:
        """Return the vertices around a box, polygon or ellipse, shape (n, 2); None for others."""
        return self.coords() if self.kind in ("box", "polygon") else None

    def rings(self, *, holes: bool = True) -> list[FloatArray]:
        """Return the closed outlines of an area, each of shape (n, 2); none for other kinds.

        With those of the holes in a mask, a pixel within an odd number of rings belongs to it.
        """
        outline = self.outline()
        return [] if outline is None else [outline]

    def fine_outline(self) -> FloatArray:
        """Return the outline of an area to measure it by, once its points are checked."""
        return check_points(self.coords())

    def inside(self) -> shapely.Geometry | None:
        """Return what an area encloses as a geometry in ``x y``; None for other kinds."""
        if self.kind not in ("box", "ellipse"):
            return None
        return shapely.make_valid(shapely.Polygon(self.fine_outline()[:, ::-1]))

    def bounds(self) -> Box:
        """Return the smallest box around the region, of no height or width around a point.

        A region without points, with points that are not finite, and a whole image, whose size
        only the image knows, have none: that is a RegionError.

        >>> Trace(np.array([[3.0, 9.0], [5.0, 2.0]])).bounds()
        Box(top=3.0, left=2.0, bottom=5.0, right=9.0)
        """
        return _box_around(check_points(self.coords()))


@dataclass(frozen=True, eq=False, slots=True)
class Point(Region):
    """One position; it takes the patch it lies in."""

    kind: ClassVar[Kind] = "point"
    row: float
    column: float

    def coords(self) -> FloatArray:
        """Return the point, shape (1, 2)."""
        return np.array([[self.row, self.column]], float)


@dataclass(frozen=True, eq=False, slots=True)
class Box(Region):
    """An axis-aligned rectangle, given by its edges (not by pixel indices).

    The box around the single pixel ``(0, 0)`` is ``Box(-0.5, -0.5, 0.5, 0.5)``.
    """

    kind: ClassVar[Kind] = "box"
    top: float
    left: float
    bottom: float
    right: float

    def coords(self) -> FloatArray:
        """Return the corners from the top left one around, shape (4, 2)."""
        top, left, bottom, right = self.top, self.left, self.bottom, self.right
        return np.array([[top, left], [top, right], [bottom, right], [bottom, left]], float)


@dataclass(frozen=True, eq=False, slots=True)
class Polygon(Region):
    """A closed outline (polygon, lasso, rotated rectangle); the last vertex joins the first.

    The vertices, shape (n, 2) with ``n >= 3``, are not repeated at the end.
    """

    kind: ClassVar[Kind] = "polygon"
    vertices: FloatArray

    def coords(self) -> FloatArray:
        """Return the vertices, shape (n, 2)."""
        return np.asarray(self.vertices, float)

    def inside(self) -> shapely.Geometry | None:
        """Return what the outline goes around an odd number of times."""
        return enclosed(self.coords()[:, ::-1]) if len(self.vertices) > 2 else None


@dataclass(frozen=True, eq=False, slots=True)
class Ellipse(Region):
    """An ellipse, given by the corners, (4, 2), of the rectangle around it, possibly rotated."""

    kind: ClassVar[Kind] = "ellipse"
    corners: FloatArray

    def coords(self) -> FloatArray:
        """Return the corners of the rectangle around it, shape (4, 2)."""
        return np.asarray(self.corners, float)

    def outline(self, count: int = _ELLIPSE_VERTICES) -> FloatArray:
        """Return so many vertices evenly around it, shape (count, 2)."""
        corners = self.coords()
        angles = np.arange(count)[:, None] * (2 * np.pi / count)
        along, across = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
        return np.asarray(corners.mean(axis=0) + np.cos(angles) * along + np.sin(angles) * across)

    def fine_outline(self) -> FloatArray:
        """Return an outline to measure it by, shape (512, 2), once its corners are checked."""
        if len(check_points(self.coords())) != 4:
            raise RegionError(
                f"An ellipse needs 4 corners, not {len(self.corners)}: draw it again."
            )
        return self.outline(_FINE_VERTICES)

    def bounds(self) -> Box:
        """Return the smallest box around the ellipse, not around its corners."""
        return _box_around(self.fine_outline())


@dataclass(frozen=True, eq=False, slots=True)
class Mask(Region):
    """Any set of pixels, holes and separate parts included: those that are true.

    The pixels, shape (height, width), may be a part of the image whose own corner sits at
    ``offset``.
    """

    kind: ClassVar[Kind] = "mask"
    pixels: npt.NDArray[np.bool_]
    offset: tuple[int, int] = (0, 0)

    def runs(self) -> npt.NDArray[np.int64]:
        """Return the box of each horizontal run of pixels, shape (n, 4).

        Row by row: first row, first column, and one beyond the last row and the last column, so
        that the edges lie at integers where pixel corners do.
        """
        padded = np.pad(np.asarray(self.pixels, np.int8), ((0, 0), (1, 1)))
        steps = np.diff(padded, axis=1)
        rows, starts = np.nonzero(steps == 1)
        ends = np.nonzero(steps == -1)[1]
        top, left = self.offset
        return np.stack([rows + top, starts + left, rows + top + 1, ends + left], axis=1)

    def polygons(self) -> shapely.Geometry:
        """Return its parts with their holes in ``x y``, pixel corners at integers."""
        boxes = shapely.box(*self.runs()[:, [1, 0, 3, 2]].T)
        # Without this, every pixel along a straight edge is a vertex of its own.
        return shapely.simplify(shapely.union_all(boxes), 0)

    def inside(self) -> shapely.Geometry:
        """Return its pixels as squares put together."""
        return shapely.union_all(shapely.box(*(self.runs()[:, [1, 0, 3, 2]] - 0.5).T))

    def rings(self, *, holes: bool = True) -> list[FloatArray]:
        """Return the outlines of its parts along the edges of pixels, and those of their holes."""
        rings = polygon_rings(self.polygons())
        return [np.ascontiguousarray(ring) - 0.5 for sign, ring in rings if holes or sign > 0]

    def cropped(self) -> Mask:
        """Return the same pixels without the empty rows and columns around them."""
        pixels = np.asarray(self.pixels, bool)
        if pixels.ndim != 2:
            raise RegionError(
                f"A mask has rows and columns, not the shape {pixels.shape}: use a plane."
            )
        rows, columns = (np.flatnonzero(pixels.any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            return Mask(pixels[:0, :0])
        corner = (self.offset[0] + int(rows[0]), self.offset[1] + int(columns[0]))
        return Mask(pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], corner)

    def bounds(self) -> Box:
        """Return the box around its pixels, not around their centres."""
        mask = self.cropped()
        if not mask.pixels.size:
            raise RegionError("The mask is empty: paint at least one pixel.")
        (top, left), (height, width) = mask.offset, mask.pixels.shape
        return Box(top - 0.5, left - 0.5, top + height - 0.5, left + width - 0.5)


@dataclass(frozen=True, eq=False, slots=True)
class Trace(Region):
    """A pointer trace: every point counts, so a place passed twice weighs twice (eq. 2).

    The points, shape (n, 2), are in the order they were made. A ``connected`` trace bridges gaps
    wider than one patch with points one patch apart, because the pen passed there; another counts
    the recorded points and nothing else.
    """

    kind: ClassVar[Kind] = "trace"
    points: FloatArray
    connected: bool = True

    def coords(self) -> FloatArray:
        """Return the points, shape (n, 2)."""
        return np.asarray(self.points, float)


@dataclass(frozen=True, eq=False, slots=True)
class RegionSet(Region):
    """Several regions captioned as one; patches shared by members weigh more (eq. 1).

    There is at least one member, and none is a set; with ``union`` a shared patch counts once
    instead.
    """

    kind: ClassVar[Kind] = "set"
    members: tuple[Region, ...]
    union: bool = False

    def parts(self) -> tuple[Region, ...]:
        """Return the members."""
        return self.members

    def for_image(self, height: int, width: int) -> RegionSet:
        """Return the set with a box around all pixels in place of the whole image."""
        return replace(self, members=tuple(part.for_image(height, width) for part in self.members))

    def rings(self, *, holes: bool = True) -> list[FloatArray]:
        """Return the outlines of all members."""
        return [ring for member in self.members for ring in member.rings(holes=holes)]

    def bounds(self) -> Box:
        """Return the box around all members."""
        if not self.members:
            raise RegionError("A set of regions needs at least one region, and none that is a set.")
        return _box_around(np.concatenate([part.bounds().coords() for part in self.members]))


@dataclass(frozen=True, eq=False, slots=True)
class WholeImage(Region):
    """The whole image, whatever its size."""

    kind: ClassVar[Kind] = "image"

    def for_image(self, height: int, width: int) -> Box:
        """Return the box around all pixels of an image."""
        return Box(-0.5, -0.5, height - 0.5, width - 0.5)

    def bounds(self) -> Box:
        """Refuse: only the image knows its size."""
        raise RegionError("The whole image has no box of its own: ask the image for its size.")


def united(region: Region) -> Region:
    """Return a region in which patches that members share count once."""
    return replace(region, union=True) if isinstance(region, RegionSet) else region


def _box_around(points: FloatArray) -> Box:
    (top, left), (bottom, right) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return Box(top, left, bottom, right)


def upright_box(corners: npt.ArrayLike, *, tolerance: float = 1e-9) -> Box | None:
    """Return the box with these four corners, or None where they are not an upright rectangle.

    ``(row, column)`` of the corners in either direction around, starting anywhere, each at most so
    many pixels from where it belongs.

    >>> upright_box([[2, 3], [0, 3], [0, 1], [2, 1]])
    Box(top=0.0, left=1.0, bottom=2.0, right=3.0)
    >>> upright_box([[0, 1], [1, 2], [2, 1], [1, 0]]) is None
    True
    """
    points = np.asarray(corners, float)
    if points.shape != (4, 2):
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    on_edge = np.minimum(abs(points - low), abs(points - high)) <= tolerance
    opposite = abs(points[0] + points[2] - points[1] - points[3]) <= 4 * tolerance
    diagonal = abs(points[2] - points[0]) >= high - low - 2 * tolerance
    if not (on_edge.all() and opposite.all() and diagonal.all()):
        return None
    return Box(*low.tolist(), *high.tolist())


def same_drawing(region: Region, other: Region, *, tolerance: float = TOLERANCE) -> bool:
    """Return whether two regions show the same thing, but for vertices off by so many pixels.

    A box and a polygon around it, or rings that begin elsewhere or run the other way, are the same;
    a polygon and an ellipse with the same corners are not.

    >>> same_drawing(Box(0, 0, 1, 2), Polygon(np.array([[1.0, 0], [1, 2], [0, 2], [0, 0]])))
    True
    """
    if isinstance(region, RegionSet) and isinstance(other, RegionSet):
        return (
            region.union is other.union
            and len(region.members) == len(other.members)
            and all(
                same_drawing(member, second, tolerance=tolerance)
                for member, second in zip(region.members, other.members, strict=True)
            )
        )
    if isinstance(region, Mask) and isinstance(other, Mask):
        mask, second = region.cropped(), other.cropped()
        return mask.offset == second.offset and np.array_equal(mask.pixels, second.pixels)
    # A polygon may be a box, and a trace of one point shows what a point does.
    alike = {"box", "polygon"}, {"trace", "point"}
    if region.kind != other.kind and {region.kind, other.kind} not in alike:
        return False
    points, others = region.coords(), other.coords()
    if points.shape != others.shape:
        return False
    ways = [others]
    if region.kind in _RINGS:
        # Begun at any vertex that fits the first one, and run in either direction.
        fits = (abs(others - points[:1]) <= tolerance).all(axis=1)
        starts = np.flatnonzero(fits).tolist()
        ways = [np.roll(others, -start, axis=0) for start in starts]
        ways += [np.roll(others[::-1], start + 1, axis=0) for start in starts]
    return any(bool((abs(points - way) <= tolerance).all()) for way in ways)


def label_boxes(labels: npt.NDArray[Any]) -> dict[int, LabelBox]:
    """Return rows and columns of the box around each label of a plane but 0, in rising order.

    >>> label_boxes(np.array([[0, 7], [0, 7]]))
    {7: (slice(0, 2, None), slice(1, 2, None))}
    """
    from scipy.ndimage import find_objects

    if not labels.size:
        return {}
    if labels.dtype.kind == "b" or labels.dtype.itemsize < 4:
        labels = labels.astype(np.int32)
    if labels.max() <= _LARGEST_LISTED and labels.min() >= 0:
        listed = find_objects(labels.astype(np.intp, copy=False))
        return {value: box for value, box in enumerate(listed, start=1) if box is not None}
    values, dense = np.unique(labels, return_inverse=True)
    boxes = zip(values, find_objects(dense.reshape(labels.shape) + 1), strict=True)
    return {int(value): box for value, box in boxes if value != 0}
