"""What a person can draw, and its geometry: no napari object and no model.

All coordinates are ``(row, column)`` in full-resolution image pixels with pixel centres at
integers, as napari has them: the pixel ``(0, 0)`` fills the square from -0.5 to 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import shapely

from napari_patchioner.errors import RegionError

FloatArray: TypeAlias = npt.NDArray[np.float64]
Kind: TypeAlias = Literal["box", "polygon", "ellipse", "trace", "point", "set", "image", "mask"]

_ELLIPSE_VERTICES = 64
# What an ellipse is measured by: patches and bounds.
_FINE_VERTICES = 512


class Region:
    """Anything a person can draw: one of the eight kinds below.

    Attributes
    ----------
    kind : str
        What it is, in one word: ``"box"``, ``"polygon"``, ``"ellipse"``, ``"mask"``, ``"trace"``,
        ``"point"``, ``"set"`` or ``"image"``.
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
    """One position; it takes the patch it lies in.

    Attributes
    ----------
    row, column : float
        Position in image pixels, pixel centres at integers.
    """

    kind: ClassVar[Kind] = "point"
    row: float
    column: float

    def coords(self) -> FloatArray:
        """Return the point, shape (1, 2)."""
        return np.array([[self.row, self.column]], float)


@dataclass(frozen=True, eq=False, slots=True)
class Box(Region):
    """An axis-aligned rectangle, given by its edges (not by pixel indices).

    Attributes
    ----------
    top, left, bottom, right : float
        Edges in image pixels; the box around the single pixel ``(0, 0)`` is
        ``Box(-0.5, -0.5, 0.5, 0.5)``.
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

    Attributes
    ----------
    vertices : ndarray of float, shape (n, 2)
        ``(row, column)`` of each corner, ``n >= 3``, not repeated at the end.
    """

    kind: ClassVar[Kind] = "polygon"
    vertices: FloatArray

    def coords(self) -> FloatArray:
        """Return the vertices, shape (n, 2)."""
        return np.asarray(self.vertices, float)


@dataclass(frozen=True, eq=False, slots=True)
class Ellipse(Region):
    """An ellipse, possibly rotated, given by the four corners of its bounding rectangle.

    Attributes
    ----------
    corners : ndarray of float, shape (4, 2)
        ``(row, column)`` of the corners of the (possibly rotated) rectangle, in order around it.
    """

    kind: ClassVar[Kind] = "ellipse"
    corners: FloatArray

    def coords(self) -> FloatArray:
        """Return the corners of the rectangle around it, shape (4, 2)."""
        return np.asarray(self.corners, float)

    def outline(self, count: int = _ELLIPSE_VERTICES) -> FloatArray:
        """Return so many vertices evenly around it, shape (count, 2)."""
        centre, along, across = self._waves(count)
        return np.asarray(centre + along + across)

    def fine_outline(self) -> FloatArray:
        """Return an outline to measure it by, shape (512, 2), once its corners are checked."""
        check_points(self.coords())
        if len(self.corners) != 4:
            raise RegionError(
                f"An ellipse needs 4 corners, not {len(self.corners)}: draw it again."
            )
        centre, along, across = self._waves(_FINE_VERTICES)
        return np.asarray(centre + (along + across))

    def bounds(self) -> Box:
        """Return the smallest box around the ellipse, not around its corners."""
        return _box_around(self.fine_outline())

    def _waves(self, count: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Centre, and how far each vertex lies along both half axes, shape (count, 2) each."""
        corners = self.coords()
        angles = np.arange(count)[:, None] * (2 * np.pi / count)
        along, across = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
        return corners.mean(axis=0), np.cos(angles) * along, np.sin(angles) * across


@dataclass(frozen=True, eq=False, slots=True)
class Mask(Region):
    """Any set of pixels: holes and separate parts included.

    Attributes
    ----------
    pixels : ndarray of bool, shape (height, width)
        True where the region is; its own corner sits at ``offset``.
    offset : tuple of int
        ``(row, column)`` of ``pixels[0, 0]`` in the image.
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

    def rings(self, *, holes: bool = True) -> list[FloatArray]:
        """Return the outlines of its parts along the edges of pixels, and those of their holes."""
        return [
            np.ascontiguousarray(shapely.get_coordinates(ring)[:-1, ::-1]) - 0.5
            for part in shapely.get_parts(self.polygons())
            if isinstance(part, shapely.Polygon)
            for ring in (part.exterior, *(part.interiors if holes else ()))
        ]

    def bounds(self) -> Box:
        """Return the box around its pixels, not around their centres."""
        pixels = np.argwhere(self.pixels)
        if not len(pixels):
            raise RegionError("The mask is empty: paint at least one pixel.")
        low, high = pixels.min(axis=0) - 0.5, pixels.max(axis=0) + 0.5
        return _box_around(np.array([low, high]) + self.offset)


@dataclass(frozen=True, eq=False, slots=True)
class Trace(Region):
    """A pointer trace: every point counts, so a place passed twice weighs twice (eq. 2).

    Attributes
    ----------
    points : ndarray of float, shape (n, 2)
        ``(row, column)`` of the recorded positions, in the order they were made.
    connected : bool
        Bridge gaps wider than one patch with points one patch apart, because the pen passed
        there. False counts the recorded points and nothing else.
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

    Attributes
    ----------
    members : tuple of Region
        At least one region; sets do not nest.
    union : bool
        Count a shared patch once instead.
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
        boxes = [member.bounds() for member in self.members]
        return Box(
            min(box.top for box in boxes),
            min(box.left for box in boxes),
            max(box.bottom for box in boxes),
            max(box.right for box in boxes),
        )


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


def check_points(points: FloatArray) -> FloatArray:
    """Refuse points that are none, are no ``(row, column)`` pairs, or lie nowhere."""
    if not points.size:
        raise RegionError("The region has no points: draw it again.")
    if points.ndim != 2 or points.shape[1] != 2:
        raise RegionError(
            f"Points of a region are (row, column) pairs, not an array of shape {points.shape}."
        )
    if not np.isfinite(points).all():
        raise RegionError("A point of the region is not a finite number: draw it again.")
    return points


def _box_around(points: FloatArray) -> Box:
    (top, left), (bottom, right) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return Box(top, left, bottom, right)
