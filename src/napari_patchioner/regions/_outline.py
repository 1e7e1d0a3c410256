"""Outlines that cross themselves: whether they do, what they enclose, and without small loops."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import shapely

from napari_patchioner.errors import RegionError

FloatArray: TypeAlias = npt.NDArray[np.float64]

MOST_CROSSINGS = 20_000
"""Crossings of an outline that are sorted out."""

# Corners of an outline that cannot cross itself often.
_FEW = 40
_TOUCHING = 8
_EDGES_AT_ONCE = 64
_EDGES_FIRST = 4


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


def is_tangled(vertices: npt.ArrayLike) -> bool:
    """Return whether an outline crosses itself so often that nobody can have drawn it.

    What it encloses would take minutes and gigabytes to find out. Vertices of shape (n, 2); the
    last joins the first.

    >>> is_tangled([[0, 0], [20, 20], [20, 0], [0, 20]])
    False
    """
    points = np.asarray(vertices, float)
    count = len(points)
    if count * (count - 3) / 2 <= MOST_CROSSINGS or shapely.is_valid(shapely.Polygon(points)):
        return False
    edges = shapely.linestrings(np.stack([points, np.roll(points, -1, axis=0)], axis=1))
    tree = shapely.STRtree(edges)
    # Those that share a corner, as cuts to holes do, only touch there; up to a few on average.
    _, alike = np.unique(points, axis=0, return_counts=True)
    touching = min(int((2 * alike * (2 * alike - 1)).sum()) - 2 * count, _TOUCHING * count)
    met = start = 0
    some = edges[:_EDGES_FIRST]
    while len(some):
        # Each meets itself and its two neighbours, and each crossing is met from both sides.
        met += len(tree.query(some, predicate="intersects")[0]) - 3 * len(some)
        if met > 2 * MOST_CROSSINGS + touching:
            return True
        start += len(some)
        some = edges[start : start + min(2 * len(some), _EDGES_AT_ONCE)]
    return False


def crosses_itself(vertices: npt.ArrayLike) -> bool:
    """Return whether an outline crosses itself; one that only touches itself does not.

    Vertices of shape (n, 2); the last joins the first.

    >>> crosses_itself([[0, 0], [20, 20], [20, 0], [0, 20]])
    True
    """
    points = np.asarray(vertices, float)
    if len(points) < 4 or is_flat(points):
        return False
    outline = shapely.Polygon(points[:, ::-1])
    if shapely.is_valid(outline):
        return False
    if is_tangled(points):
        return True
    # Where an outline crosses itself, signed areas cancel or pile up; where it only touches
    # itself they do not.
    area = shapely.area(_enclosed(points[:, ::-1]))
    return not np.isclose(area, signed_area(points), rtol=1e-6)


def outline_rings(vertices: FloatArray) -> list[tuple[float, FloatArray]]:
    """Return the rings, none of which crosses itself, whose areas make what an outline encloses.

    With 1 or, for holes, -1, and their vertices; the outline itself where it does not cross itself.
    Else what is within an odd number of turns, as pycocotools fills it.
    """
    if not crosses_itself(vertices):
        return [(1.0, vertices)]
    return polygon_rings(enclosed(vertices[:, ::-1]))


def polygon_rings(geometry: shapely.Geometry) -> list[tuple[float, FloatArray]]:
    """Return 1 or, for holes, -1 and ``(row, column)`` of each ring of polygons in ``x y``."""
    return [
        (sign, shapely.get_coordinates(ring)[:-1, ::-1])
        for part in shapely.get_parts(shapely.get_parts(geometry))
        if isinstance(part, shapely.Polygon)  # a union may leave lines as well
        for sign, rings in ((1.0, [part.exterior]), (-1.0, part.interiors))
        for ring in rings
    ]


def enclosed(points: npt.ArrayLike) -> shapely.Geometry:
    """Return what an outline encloses, as polygons: where it goes around an odd number of times.

    Corners of shape (n, 2); the last joins the first. A tangled outline is a RegionError.

    >>> enclosed([[0, 0], [20, 20], [20, 0], [0, 20]]).area
    200.0
    """
    if is_tangled(points):
        raise RegionError(
            f"The outline crosses itself more than {MOST_CROSSINGS:,} times: draw it again."
        )
    return _enclosed(np.asarray(points, float))


def _enclosed(points: FloatArray) -> shapely.Geometry:
    """Return what an outline encloses that is not tangled."""
    outline = shapely.Polygon(points)
    if len(points) < _FEW or shapely.is_valid(outline):
        return shapely.make_valid(outline)
    # `make_valid` takes minutes for thousands of crossings. So cut the outline at each, and take
    # the faces that a ray from within leaves through an odd number of edges.
    faces = shapely.get_parts(shapely.polygonize([shapely.union_all(outline.exterior)]))
    shapely.prepare(outline)
    inside = shapely.contains_properly(outline, shapely.point_on_surface(faces))
    try:
        return shapely.coverage_union_all(faces[inside])
    except shapely.GEOSException:  # rounding makes faces of a very thin outline overlap
        return shapely.union_all(faces[inside])


def is_flat(vertices: FloatArray) -> bool:
    """Whether all vertices lie on one line."""
    offsets = vertices - vertices.mean(axis=0)
    (down, both), (_, across) = offsets.T @ offsets
    # Far from flat, as nearly all are, needs no singular values; rounding is far smaller.
    if down * across - both * both > 1e-9 * (down + across) ** 2 > 0:
        return False
    spread = np.linalg.svd(offsets, compute_uv=False)
    return len(spread) < 2 or bool(spread[1] <= 1e-9 * max(1.0, spread[0]))


def signed_area(vertices: FloatArray) -> float:
    """Size of the signed area inside a closed outline, in square units of its coordinates."""
    rows, columns = (vertices - vertices.mean(axis=0)).T
    return float(abs(rows @ np.roll(columns, -1) - columns @ np.roll(rows, -1)) / 2)


def untangle(vertices: FloatArray, tolerance: float = 0.05) -> FloatArray:
    """Cut an outline where it crosses itself and keep its largest loop, if the others are small.

    Loops that are too large to be an accident are what was drawn: the outline stays as it is.

    Vertices are ``(row, column)``, shape (n, 2), the last joining the first; ``tolerance`` is the
    largest share of the area that the other loops may have together. Returns the same vertices if
    the outline did not cross itself before, or does so on purpose.

    Examples
    --------
    >>> lasso = np.array([[0, 0], [0, 9.0], [9, 9], [9, 0.2], [8.9, -0.1], [9, -0.1]])
    >>> untangle(lasso).round(1).tolist()
    [[0.0, 0.0], [0.0, 9.0], [9.0, 9.0], [9.0, 0.2], [8.9, -0.1]]
    """
    vertices = check_points(np.asarray(vertices, float))
    if not crosses_itself(vertices) or is_tangled(vertices):
        return vertices
    loops = _loops(vertices)
    sizes = [signed_area(loop) for loop in loops]
    largest = int(np.argmax(sizes))
    if sum(sizes) - sizes[largest] > tolerance * sum(sizes) or crosses_itself(loops[largest]):
        return vertices
    return loops[largest]


def _loops(vertices: FloatArray) -> list[FloatArray]:
    """Cut the path into closed parts each time it comes back to a place where it was."""
    # Rounded, so that a place met twice is the same place in spite of floating point.
    walk = _with_crossings(vertices).round(6)
    loops: list[FloatArray] = []
    path: list[tuple[float, float]] = []
    reached: dict[tuple[float, float], int] = {}
    for row, column in walk.tolist():
        place = (row, column)
        if place in reached:
            start = reached[place]
            loops.append(np.array(path[start:]))
            for left in path[start:]:
                del reached[left]
            del path[start:]
        reached[place] = len(path)
        path.append(place)
    return [loop for loop in [*loops, np.array(path)] if len(loop) > 2] or [vertices]


def _with_crossings(vertices: FloatArray) -> FloatArray:
    """Insert each crossing into both edges that cross there, shape (m, 2)."""
    after = np.roll(vertices, -1, axis=0)
    starts, steps = vertices, after - vertices
    edge, share, place = [np.arange(len(vertices))], [np.zeros(len(vertices))], [vertices]
    # A rectangle around each edge, a little larger than that.
    little = 1e-8 * float(np.ptp(vertices, axis=0).max())
    low, high = np.minimum(vertices, after), np.maximum(vertices, after)
    boxes = shapely.box(*(low - little).T, *(high + little).T)
    tree = shapely.STRtree(boxes)
    for first in range(0, len(vertices), _EDGES_AT_ONCE):
        i, j = tree.query(boxes[first : first + _EDGES_AT_ONCE])
        i, j = (i + first)[i + first < j], j[i + first < j]
        # Edge i against later ones near it: starts[i] + s * steps[i] = starts[j] + t * steps[j].
        gap, own, others = starts[j] - starts[i], steps[i], steps[j]
        scale = own[:, 0] * others[:, 1] - own[:, 1] * others[:, 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            s = (gap[:, 0] * others[:, 1] - gap[:, 1] * others[:, 0]) / scale
            t = (gap[:, 0] * own[:, 1] - gap[:, 1] * own[:, 0]) / scale
        # A corner that lies on another edge counts as a crossing.
        apart = np.maximum(np.abs(s - 0.5), np.abs(t - 0.5))
        cross = np.flatnonzero(apart <= 0.5 + 1e-9)
        points = starts[i[cross]] + s[cross, None] * own[cross]
        edge += [i[cross], j[cross]]
        share += [s[cross].clip(0, 1), t[cross].clip(0, 1)]
        place += [points, points]
    order = np.lexsort((np.concatenate(share), np.concatenate(edge)))
    return np.concatenate(place)[order]
